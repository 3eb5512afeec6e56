# SPDX-License-Identifier: Apache-2.0 OR MIT
# What a system call costs: getppid in a loop.

about_call() { echo "cost of a system call (getppid on CPU $load_cpu), ns a call and ratios of the same round"; }
can_call() { can_trace; }

# One measurement; sets $took to ns for $1 calls.
call_loop() { load_do loop 20000 && load_do loop "$1" && sample "$2" "$(awk -v t="$took" -v n="$1" 'BEGIN {printf "%.2f", t / n}')"; }

call_one() {
	local calls=$call_calls
	case $1 in
	untraced) load_begin && call_loop $calls call.untraced ;;
	attach) load_begin && attach_begin && call_loop $calls call.attach ;;
	hook) load_begin && hook_begin && call_loop $calls call.hook ;;
	plain-attach)
		load_begin && plain_begin "$attach_subbuf" "$attach_buffer" "$our_events" && call_loop $calls call.plain-attach ;;
	plain-hook)
		load_begin && plain_begin "$hook_subbuf" "$hook_buffer" "$our_events" && call_loop $calls call.plain-hook ;;
	strace) load_begin strace -f -o /dev/null && call_loop $((calls / 200)) call.strace ;;
	perf) load_begin perf trace -o /dev/null && call_loop $((calls / 40)) call.perf ;;
	esac
	attach_end
	case $1 in hook) hook_end ;; esac
	load_end
	plain_end
	drop_recordings
}

# Sizes and events of our own instances, read back from the kernel, so that the plain ones are the same.
call_probe() {
	local at
	load_begin && attach_begin || return 1
	at=$tracing/instances/$(instance)
	our_events=$(cat "$at/set_event")
	attach_subbuf=$(cat "$at/buffer_subbuf_size_kb" 2>/dev/null || echo 4)
	attach_buffer=$(tr -dc '0-9 ' <"$at/buffer_size_kb" | awk '{print $NF}')
	attach_end
	hook_begin || return 1
	at=$tracing/instances/$(instance)
	hook_subbuf=$(cat "$at/buffer_subbuf_size_kb" 2>/dev/null || echo 4)
	hook_buffer=$(tr -dc '0-9 ' <"$at/buffer_size_kb" | awk '{print $NF}')
	hook_end
	load_end
	drop_recordings
}

bench_call() {
	local rounds=9 kinds=(untraced plain-hook hook plain-attach attach) round i
	call_calls=2000000
	[ -z "$quick" ] || { rounds=3; call_calls=400000; }
	call_probe || { load_end; skip call "all" "the recorder did not start"; return; }
	has strace && kinds+=(strace)
	has perf && load_begin perf trace -o /dev/null && kinds+=(perf)
	load_end
	for ((round = 0; round < rounds; round++)); do
		note "call: round $((round + 1)) of $rounds"
		for i in $(in_turn $round ${#kinds[@]}); do call_one "${kinds[i]}"; done
	done
	figure call "untraced" value call.untraced "" 1 ns 0
	figure call "traced, nobody reading, $hook_subbuf KiB sub-buffers" value call.plain-hook "" 1 ns 0
	figure call "traced by hook start" value call.hook "" 1 ns 0
	figure call "traced, nobody reading, $attach_subbuf KiB sub-buffers" value call.plain-attach "" 1 ns 0
	figure call "traced by attach" value call.attach "" 1 ns 0
	figure call "nobody reading, $hook_subbuf KiB / untraced" ratio call.plain-hook call.untraced 1 "" 2
	figure call "hook start / untraced" ratio call.hook call.untraced 1 "" 2
	figure call "nobody reading, $attach_subbuf KiB / untraced" ratio call.plain-attach call.untraced 1 "" 2
	figure call "attach / untraced" ratio call.attach call.untraced 1 "" 2
	figure call "hook start / nobody reading, $hook_subbuf KiB" ratio call.hook call.plain-hook 1 "" 3 "<=" 1.10
	figure call "attach / nobody reading, $attach_subbuf KiB" ratio call.attach call.plain-attach 1 "" 3 "<=" 1.10
	if has strace; then
		figure call "strace -f -o /dev/null / untraced" ratio call.strace call.untraced 1 "" 0
		figure call "strace -f -o /dev/null / hook start" ratio call.strace call.hook 1 "" 0
	else
		skip call "strace -f" "no strace"
	fi
	case " ${kinds[*]} " in
	*" perf "*)
		figure call "perf trace -o /dev/null / untraced" ratio call.perf call.untraced 1 "" 1
		figure call "perf trace -o /dev/null / hook start" ratio call.perf call.hook 1 "" 1
		;;
	*) skip call "perf trace" "no perf, or it cannot trace here" ;;
	esac
}
