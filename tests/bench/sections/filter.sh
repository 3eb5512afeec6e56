# SPDX-License-Identifier: Apache-2.0 OR MIT
# What filters save: getppid in a loop under attach, with filters that keep it, leave it out, or leave its exit out.

about_filter() { echo "cost of a system call under attach with filters (getppid on CPU $load_cpu), ns and stored bytes a call"; }
can_filter() { can_trace; }

# filter_one NAME [OPTIONS OF attach]
filter_one() {
	local name=$1 calls=$filter_calls
	shift
	load_begin && attach_begin "$@" || { load_end; return; }
	load_do loop 20000 && load_do loop "$calls" &&
		sample "filter.$name" "$(awk -v t="$took" -v n="$calls" 'BEGIN {printf "%.2f", t / n}')"
	attach_end
	load_end
	sample "filter.$name.bytes" "$(cat "$work"/recordings/*/cpu*.pages | wc -c |
		awk -v n=$((calls + 20000)) '{printf "%.2f", $1 / n}')"
	drop_recordings
}

bench_filter() {
	local rounds=9 round i
	# 200 MB unfiltered: below --max-size, so that all of it is there to be measured.
	filter_calls=2000000
	[ -z "$quick" ] || { rounds=3; filter_calls=400000; }
	for ((round = 0; round < rounds; round++)); do
		note "filter: round $((round + 1)) of $rounds"
		for i in $(in_turn $round 5); do
			case $i in
			0) filter_one none ;;
			1) filter_one kept --syscalls getppid ;;
			2) filter_one name --syscalls openat ;;
			3) filter_one class --syscalls %file,%network ;;
			4) filter_one errors --errors-only ;;
			esac
		done
	done
	figure filter "without a filter" value filter.none "" 1 ns 0
	figure filter "--syscalls getppid: recorded" value filter.kept "" 1 ns 0
	figure filter "--syscalls openat: left out" value filter.name "" 1 ns 0
	figure filter "--syscalls %file,%network: left out" value filter.class "" 1 ns 0
	figure filter "--errors-only: its exit left out" value filter.errors "" 1 ns 0
	figure filter "--syscalls openat / without" ratio filter.name filter.none 1 "" 2
	figure filter "--syscalls %file,%network / without" ratio filter.class filter.none 1 "" 2
	figure filter "--errors-only / without" ratio filter.errors filter.none 1 "" 2
	figure filter "stored without a filter, bytes a call" value filter.none.bytes "" 1 B 1
	figure filter "stored with --errors-only, bytes a call" value filter.errors.bytes "" 1 B 1
	figure filter "stored with --syscalls openat, bytes a call" value filter.name.bytes "" 1 B 1
}
