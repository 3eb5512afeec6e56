# SPDX-License-Identifier: Apache-2.0 OR MIT
# What a container's start takes with the hook and without.

about_start() { echo "container start under runc, with and without the hooks, and the hooks alone"; }
can_start() { can_trace; }

# start_bundle DIRECTORY HOOKS [ARGS]: a bundle whose program says when it is alive.
start_bundle() {
	local bundle=$1 hooks=$2 args=${3:-'"/alive"'}
	mkdir -p "$bundle/rootfs/proc"
	cp "$work/alive" "$bundle/rootfs/alive"
	cat >"$bundle/config.json" <<-END
	{"ociVersion": "1.0.2",
	 "process": {"user": {"uid": 0, "gid": 0}, "args": [$args], "cwd": "/", "env": ["PATH=/"], "noNewPrivileges": true},
	 "root": {"path": "rootfs", "readonly": true},
	 "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
	 $hooks
	 "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}]}}
	END
}

# Our hooks as a member of config.json.
our_hooks() {
	local env="\"env\": [\"FTRACE_ANALYZER_RUN_DIR=$work/run\", \"FTRACE_ANALYZER_DIR=$work/recordings\"]"
	hook() { printf '"%s": [{"path": "%s", "args": ["ftrace-analyzer", "hook", "%s"], %s}]' "$1" "$binary" "$2" "$env"; }
	echo "\"hooks\": {$(hook createRuntime start), $(hook poststop stop)},"
}

# start_one plain|hooked
start_one() {
	local id=container-$1-$$ cost
	: >"$work/$id"
	cost=$("$work/cost" runc --root "$work/runc" run --bundle "$work/bundle-$1" "$id" 2>"$work/runc.err")
	# shellcheck disable=SC2086
	set -- "$1" $cost
	# Removing an instance takes 110 ms behind the container's back; it must not overlap with the next start.
	sleep 0.4
	wait_no_recorder
	[ "${5:-0}" -gt 0 ] || return 1
	sample "start.$1.alive" "$5"
	sample "start.$1.whole" "$2"
}

bench_start() {
	local rounds=15 round i kinds=(plain hooked) works=
	[ -z "$quick" ] || rounds=3
	if ! has runc; then
		skip start "container start" "no runc"
	else
		start_bundle "$work/bundle-plain" ""
		start_bundle "$work/bundle-hooked" "$(our_hooks)"
		if start_one plain && start_one hooked && [ -n "$(ls "$work/recordings")" ]; then
			works=1
		else
			skip start "container start" "runc cannot run a container here: $(tail -n 1 "$work/runc.err")"
		fi
		: >"$samples.new"
		grep -v '^start\.' "$samples" >"$samples.new"
		cat "$samples.new" >"$samples"
	fi
	for ((round = 0; round < rounds; round++)); do
		note "start: round $((round + 1)) of $rounds"
		for i in $(in_turn $round 2); do [ -z "$works" ] || start_one ${kinds[i]}; done
		load_begin || continue
		hook_state creating
		local cost
		cost=$("$work/cost" "$binary" hook start --strict --dir "$work/recordings" <"$work/state") &&
			sample start.hook_start "${cost%% *}"
		sleep 0.1
		hook_state stopped
		cost=$("$work/cost" "$binary" hook stop --strict --dir "$work/recordings" <"$work/state") &&
			sample start.hook_stop "${cost%% *}"
		load_end
		wait_no_recorder
		drop_recordings
		sleep 0.2
	done
	if [ -n "$works" ]; then
		figure start "runc run to the program's main, without hooks" value start.plain.alive "" 1000000 ms 1
		figure start "runc run to the program's main, with hooks" value start.hooked.alive "" 1000000 ms 1
		figure start "start: slower with hooks by" diff start.hooked.alive start.plain.alive 1000000 ms 1 "<=" 15
		figure start "the whole runc run, without hooks" value start.plain.whole "" 1000000 ms 1
		figure start "the whole runc run, with hooks" value start.hooked.whole "" 1000000 ms 1
		figure start "the whole runc run: slower with hooks by" diff start.hooked.whole start.plain.whole 1000000 ms 1
	fi
	figure start "hook start alone, on a held process" value start.hook_start "" 1000000 ms 1 "<=" 10
	figure start "hook stop alone" value start.hook_stop "" 1000000 ms 1
}
