# SPDX-License-Identifier: Apache-2.0 OR MIT
# What counting saves: getppid in a loop under attach, recorded, counted from events and, where the kernel has them, by
# histograms.

about_count() { echo "cost of a counted system call under attach (getppid on CPU $load_cpu), ns and stored bytes a call"; }
can_count() { can_trace; }

# count_one NAME [OPTIONS OF attach]; without options the loop is not traced.
count_one() {
	local name=$1 calls=$count_calls
	shift
	load_begin || return
	if [ $# -gt 0 ]; then attach_begin "$@" || { load_end; return; }; fi
	load_do loop 20000 && load_do loop "$calls" &&
		sample "count.$name" "$(awk -v t="$took" -v n="$calls" 'BEGIN {printf "%.2f", t / n}')"
	[ $# -eq 0 ] || attach_end
	load_end
	[ $# -eq 0 ] || sample "count.$name.bytes" "$(find "$work"/recordings -name 'cpu*.pages' -o -name calls.json | xargs -r cat |
		wc -c | awk -v n=$((calls + 20000)) '{printf "%.3f", $1 / n}')"
	drop_recordings
}

bench_count() {
	local rounds=9 kinds=(untraced recorded events) round i
	count_calls=2000000
	[ -z "$quick" ] || { rounds=3; count_calls=400000; }
	[ ! -e "$tracing/events/raw_syscalls/sys_exit/hist" ] || kinds+=(hist)
	for ((round = 0; round < rounds; round++)); do
		note "count: round $((round + 1)) of $rounds"
		for i in $(in_turn $round ${#kinds[@]}); do
			case ${kinds[i]} in
			untraced) count_one untraced ;;
			recorded) count_one recorded --mode continuous ;;
			events) count_one events --mode count-events ;;
			hist) count_one hist --mode count ;;
			esac
		done
	done
	figure count "untraced" value count.untraced "" 1 ns 0
	figure count "recorded" value count.recorded "" 1 ns 0
	figure count "counted from events" value count.events "" 1 ns 0
	figure count "counted from events / recorded" ratio count.events count.recorded 1 "" 2
	figure count "recorded / untraced" ratio count.recorded count.untraced 1 "" 2
	figure count "counted from events / untraced" ratio count.events count.untraced 1 "" 2
	case " ${kinds[*]} " in
	*" hist "*)
		figure count "counted by histograms" value count.hist "" 1 ns 0
		figure count "counted by histograms / recorded" ratio count.hist count.recorded 1 "" 2
		figure count "counted by histograms / untraced" ratio count.hist count.untraced 1 "" 2
		;;
	*) skip count "histograms" "this kernel has none" ;;
	esac
	figure count "stored, recorded, bytes a call" value count.recorded.bytes "" 1 B 1
	figure count "stored, counted, bytes a call" value count.events.bytes "" 1 B 3
}
