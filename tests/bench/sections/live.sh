# SPDX-License-Identifier: Apache-2.0 OR MIT
# How late a line of live output is: from a call to its line in the reader's hands.

about_live() { echo "from a call (kill of a signal 0 to itself) to its line out of run's pipe, one call every 0.15 s"; }
can_live() { can_trace; }

bench_live() {
	local calls=60
	[ -z "$quick" ] || calls=10
	cat >"$work/live.py" <<-'END'
	import datetime, subprocess, sys, time
	binary, directory, calls = sys.argv[1:]
	program = f"import os, time\nfor _ in range({calls}):\n    time.sleep(0.15)\n    os.kill(os.getpid(), 0)\n"
	run = subprocess.Popen([binary, "run", "--dir", directory, "--", sys.executable, "-S", "-c", program],
	                       stderr=subprocess.PIPE)
	for line in run.stderr:
	    now = time.time()
	    if b" kill(" in line:
	        clock = line.split(b"] ", 1)[1].split(b" ", 1)[0].decode()
	        day = datetime.datetime.fromtimestamp(now, datetime.timezone.utc).strftime("%Y-%m-%d ")
	        made = datetime.datetime.strptime(day + clock + "+0000", "%Y-%m-%d %H:%M:%S.%f%z").timestamp()
	        print(round((now - made) * 1000, 2))
	END
	local late
	while read -r late; do sample live.late "$late"; done < <(python3 "$work/live.py" "$binary" "$work/recordings" "$calls")
	wait_no_recorder
	drop_recordings
	figure live "a line is late by" value live.late "" 1 ms 0 "<=" 200
}
