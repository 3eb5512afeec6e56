# SPDX-License-Identifier: Apache-2.0 OR MIT
# What is lost, and what the recorder's processor time is.

about_drain() {
	echo "the recorder beside a load that never waits (saturated) and one of 1.9 million events a second (paced)"
}
can_drain() { can_trace; }

# drain_one hook|attach saturated|paced
drain_one() {
	local key=drain.$1.$2 calls pid before after recording command seconds
	# One call is two events: one call in 1053 ns is 1.9 million events a second.
	case $2 in
	saturated) calls=$drain_calls command="loop $calls" seconds=$(awk -v n=$calls 'BEGIN {print n * 3.5e-7}') ;;
	paced) calls=$((drain_calls / 2)) command="pace $calls 1053" seconds=$(awk -v n=$calls 'BEGIN {print n * 5.2e-7}') ;;
	esac
	load_begin || return
	if [ "$1" = hook ]; then hook_begin; else attach_begin; fi || { load_end; return; }
	pid=$(recorder)
	before=$(cpu_ns "$pid")
	load_tell "$command"
	# About half way.
	sleep "$seconds"
	sample "$key.rss" "$(memory "$pid" VmRSS)"
	sample "$key.hwm" "$(memory "$pid" VmHWM)"
	load_answer
	# What is still in the buffer is drained at the next tick.
	sleep 0.15
	after=$(cpu_ns "$pid")
	if [ "$1" = hook ]; then hook_end; else attach_end; fi
	load_end
	recording=$(newest_recording)
	sample "$key.cpu" "$(awk -v a="$after" -v b="$before" -v t="$took" 'BEGIN {printf "%.4f", 100 * (a - b) / t}')"
	local lost read
	lost=$(meta_sum "$recording" overrun dropped commit_overrun)
	read=$(meta_sum "$recording" read)
	sample "$key.lost" "$lost"
	sample "$key.produced" "$(awk -v n=$((read + lost)) -v t="$took" 'BEGIN {printf "%.6f", n * 1e3 / t}')"
	sample "$key.drained" "$(awk -v n="$read" -v t="$took" 'BEGIN {printf "%.6f", n * 1e3 / t}')"
	sample "$key.per_event" "$(awk -v a="$after" -v b="$before" -v n="$read" 'BEGIN {printf "%.4f", n ? (a - b) / n : 0}')"
	drop_recordings
}

bench_drain() {
	local rounds=5 kinds=("hook saturated" "hook paced" "attach saturated" "attach paced") round i
	drain_calls=4000000
	[ -z "$quick" ] || { rounds=2; drain_calls=1000000; }
	for ((round = 0; round < rounds; round++)); do
		note "drain: round $((round + 1)) of $rounds"
		for i in $(in_turn $round ${#kinds[@]}); do
			# shellcheck disable=SC2086
			drain_one ${kinds[i]}
		done
	done
	local how load
	for how in hook attach; do
		for load in saturated paced; do
			local key=drain.$how.$load share=()
			[ $load = paced ] && share=("<=" 15)
			figure drain "$how, $load: events produced, million/s" value $key.produced "" 1 "" 2
			figure drain "$how, $load: events drained, million/s" value $key.drained "" 1 "" 2
			figure drain "$how, $load: events lost" value $key.lost "" 1 "" 0 "<=" 0
			figure drain "$how, $load: recorder's share of one CPU" value $key.cpu "" 1 % 1 "${share[@]}"
			figure drain "$how, $load: recorder's time an event" value $key.per_event "" 1 ns 1
		done
		figure drain "$how: recorder VmRSS half way" value drain.$how.saturated.rss "" 1024 MiB 2
		figure drain "$how: recorder VmHWM" value drain.$how.saturated.hwm "" 1024 MiB 2
	done
}
