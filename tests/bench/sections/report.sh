# SPDX-License-Identifier: Apache-2.0 OR MIT
# How fast a recording is read back.

about_report() { echo "million events a second of user time on one core, output to /dev/null"; }
can_report() { can_trace; }

# report_one KEY EVENTS COMMAND...
report_one() {
	local key=$1 events=$2 cost
	shift 2
	# cost counts only what it is the parent of, so the pinning is done by taskset in between, which execs.
	cost=$("$work/cost" taskset -c 0 "$@" 2>/dev/null)
	# shellcheck disable=SC2086
	set -- $cost
	sample "$key" "$(awk -v n="$events" -v t="$2" 'BEGIN {printf "%.5f", n / t}')"
	sample "$key.wall" "$(awk -v n="$events" -v t="$1" 'BEGIN {printf "%.5f", n * 1e3 / t}')"
}

bench_report() {
	local rounds=5 calls=5200000 perf_calls=400000 events perf_events=0 recording format round
	[ -z "$quick" ] || { rounds=2; calls=1000000; perf_calls=100000; }
	load_begin && attach_begin --max-size 0 || { load_end; skip report all "the recorder did not start"; return; }
	load_do mix $calls
	attach_end
	load_end
	recording=$(newest_recording)
	events=$(meta_sum "$recording" read)
	if ! has perf; then
		skip report "perf script" "no perf"
	elif load_begin perf record -q -e 'raw_syscalls:*' -m 16M -o "$work/perf.data" && load_do mix $perf_calls; then
		load_end
		perf_events=$(perf script -i "$work/perf.data" 2>/dev/null | wc -l)
	fi
	load_end
	[ "$perf_events" -gt $perf_calls ] || { has perf && skip report "perf script" "perf record made no recording here"; }
	for ((round = 0; round < rounds; round++)); do
		note "report: round $((round + 1)) of $rounds"
		for format in summary text json; do
			report_one report.$format "$events" "$binary" report "$recording" --format $format -o /dev/null
		done
		[ "$perf_events" -gt $perf_calls ] && report_one report.perf "$perf_events" perf script -i "$work/perf.data"
	done
	sample report.events "$events"
	figure report "events in the recording, million" value report.events "" 1000000 "" 1
	figure report "report --format summary, million events/s" value report.summary "" 1 "" 2 ">=" 10
	figure report "report --format text, million events/s" value report.text "" 1 "" 2 ">=" 1.5
	figure report "report --format json, million events/s" value report.json "" 1 "" 2
	figure report "the same by wall clock: summary" value report.summary.wall "" 1 "" 2
	figure report "the same by wall clock: text" value report.text.wall "" 1 "" 2
	figure report "the same by wall clock: json" value report.json.wall "" 1 "" 2
	figure report "perf script, million events/s" value report.perf "" 1 "" 3
	figure report "text / perf script" ratio report.text report.perf 1 "" 1
	drop_recordings
	rm -f "$work/perf.data"
}
