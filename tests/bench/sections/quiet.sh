# SPDX-License-Identifier: Apache-2.0 OR MIT
# What a container that goes on as before costs under --mode profile: getppid in a loop under attach, untraced, recorded
# whole, and once the filter leaves it out.

about_quiet() { echo "cost of a system call that is known under attach --mode profile (getppid on CPU $load_cpu), ns and stored bytes a call"; }
can_quiet() { can_trace; }

# quiet_one NAME [OPTIONS OF attach]; without options the loop is not traced.
quiet_one() {
	local name=$1 calls=$quiet_calls cpu=
	shift
	load_begin || return
	if [ $# -gt 0 ]; then attach_begin "$@" || { load_end; return; }; fi
	# The calls by which it becomes known; then the filter is narrowed, and all is as it stays.
	load_do loop 20000
	sleep 1.5
	[ $# -eq 0 ] || cpu=$(cpu_ns "$(recorder)")
	if load_do loop "$calls"; then
		sample "quiet.$name" "$(awk -v t="$took" -v n="$calls" 'BEGIN {printf "%.2f", t / n}')"
		[ -z "$cpu" ] || sample "quiet.$name.cpu" "$(($(cpu_ns "$(recorder)") - cpu))"
	fi
	[ $# -eq 0 ] || attach_end
	load_end
	[ $# -eq 0 ] || sample "quiet.$name.bytes" "$(find "$work"/recordings -name 'cpu*.pages' | xargs -r cat |
		wc -c | awk -v n=$((calls + 20000)) '{printf "%.3f", $1 / n}')"
	drop_recordings
}

bench_quiet() {
	local rounds=9 round i
	quiet_calls=2000000
	[ -z "$quick" ] || { rounds=3; quiet_calls=400000; }
	for ((round = 0; round < rounds; round++)); do
		note "quiet: round $((round + 1)) of $rounds"
		for i in $(in_turn $round 3); do
			case $i in
			0) quiet_one untraced ;;
			1) quiet_one whole --mode continuous ;;
			2) quiet_one profile --mode profile ;;
			esac
		done
	done
	figure quiet "untraced" value quiet.untraced "" 1 ns 0
	figure quiet "recorded whole" value quiet.whole "" 1 ns 0
	figure quiet "mode profile, call known" value quiet.profile "" 1 ns 0
	figure quiet "recorded whole / untraced" ratio quiet.whole quiet.untraced 1 "" 2
	figure quiet "mode profile / untraced" ratio quiet.profile quiet.untraced 1 "" 2
	figure quiet "mode profile / recorded whole" ratio quiet.profile quiet.whole 1 "" 2
	figure quiet "recorder's processor time for 2 million calls, recorded whole" value quiet.whole.cpu "" 1000000 ms 1
	figure quiet "recorder's processor time for 2 million calls, mode profile" value quiet.profile.cpu "" 1000000 ms 1
	figure quiet "stored, recorded whole, bytes a call" value quiet.whole.bytes "" 1 B 1
	figure quiet "stored, mode profile, first 20,000 included, bytes a call" value quiet.profile.bytes "" 1 B 3
}
