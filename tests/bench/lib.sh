# SPDX-License-Identifier: Apache-2.0 OR MIT
# What the sections share: set-up and clean-up, samples and figures, the load process, recorders, plain ftrace instances.

tracing=/sys/kernel/tracing
load_cpu=1
work= load_in= load_out= load_pid= attached= plain=

note() { [ -t 2 ] && printf '%s\n' "... $*" >&2; return 0; }

# ---- set-up and clean-up ----------------------------------------------------------------------------------------------

prepare() {
	[ "$(nproc)" -gt 1 ] || load_cpu=0
	load_average=$(cut -d' ' -f1-3 /proc/loadavg)
	local target=${CARGO_TARGET_DIR:-$root/target}
	mkdir -p "$target"
	target=$(realpath "$target")
	target_dir=$target
	trap clean_up EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	# Below the target directory, for that is on a disk where /tmp may be memory; the recorder wants it for itself.
	work=$(mktemp -d "$target/bench.XXXXXX")
	export FTRACE_ANALYZER_RUN_DIR=$work/run
	mkdir -m 700 "$work/recordings"
	if [ -z "$binary" ]; then
		note "cargo build --release"
		cargo build --quiet --release --manifest-path "$root/Cargo.toml" --target-dir "$target" --bin ftrace-analyzer || exit 0
		binary=$target/release/ftrace-analyzer
	fi
	local helper
	for helper in load cost alive; do
		local flags=
		[ $helper = alive ] && flags=-static
		if ! ${CC:-cc} -O2 $flags -o "$work/$helper" "$here/helpers/$helper.c"; then
			echo "tests/bench/run: no working C compiler (${CC:-cc}): nothing can be measured" >&2
			exit 0
		fi
	done
	# Guest memory that was never used is given by the host at first touch, at a price that would be ours.
	if [ -n "$warm" ]; then
		note "touching memory"
		warm_mb=$([ -n "$quick" ] && echo 512 || echo 2048)
		dd if=/dev/zero of="$work/warm" bs=1M count=$warm_mb status=none
		rm -f "$work/warm"
	fi
	samples=$work/samples figures=$work/figures
	: >"$samples" >"$figures"
}

# Whatever happens: no process, no instance, no file stays. Only what this run started is ended.
clean_up() {
	trap '' INT TERM HUP
	exec 1>/dev/null
	[ -n "$work" ] || return
	load_end
	attach_end
	core_end
	local state pid id
	for state in "$work"/run/*/state.json; do
		[ -e "$state" ] || continue
		pid=$(recorder_of "$state")
		[ -n "$pid" ] && kill -TERM "$pid" 2>/dev/null
	done
	wait_no_recorder
	plain_end
	for id in "$work"/container-*; do
		[ -e "$id" ] && runc --root "$work/runc" delete -f "$(basename "$id")" 2>/dev/null
	done
	rm -rf "$work"
}

header() {
	local commit cpu memory
	commit=$(git -C "$root" rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
	[ -z "$(git -C "$root" status --porcelain --untracked-files=no 2>/dev/null)" ] || commit="$commit, changed"
	cpu=$(sed -n 's/^model name[[:space:]]*: //p; s/^Model[[:space:]]*: //p' /proc/cpuinfo | head -n 1)
	memory=$(awk '/MemTotal/ {printf "%.0f GB", $2 / 1e6}' /proc/meminfo)
	grep -q '^flags.* hypervisor' /proc/cpuinfo && cpu="$cpu, virtual machine"
	local rows=(
		"machine" "$(uname -m), ${cpu:-unknown CPU}, $memory"
		"kernel" "$(uname -sr)"
		"CPUs" "$(nproc) online, load on CPU $load_cpu, load average at the start $load_average"
		"date" "$(date -u +%Y-%m-%dT%H:%MZ)"
		"commit" "$commit"
		"binary" "$("$binary" --version 2>/dev/null)"
		"warm" "$([ -n "$warm" ] && echo "$warm_mb MB written to the recordings' file system and removed first" || echo no)"
		"rounds" "$([ -n "$quick" ] && echo "quick: short, for the working and not for the figures" || echo full)"
	)
	local i
	case ${1:-text} in
	text) for ((i = 0; i < ${#rows[@]}; i += 2)); do printf '%-8s %s\n' "${rows[i]}" "${rows[i + 1]}"; done ;;
	markdown)
		for ((i = 0; i < ${#rows[@]}; i += 2)); do printf '* %s: %s\n' "${rows[i]}" "${rows[i + 1]}"; done
		echo
		;;
	json)
		for ((i = 0; i < ${#rows[@]}; i += 2)); do
			[ $i -eq 0 ] || printf ,
			printf '"%s":"%s"' "${rows[i]}" "$(printf %s "${rows[i + 1]}" | sed 's/["\\]/\\&/g')"
		done
		;;
	esac
}

# ---- samples and figures ----------------------------------------------------------------------------------------------

sample() { printf '%s\t%s\n' "$1" "$2" >>"$samples"; }

# figure SECTION LABEL value|ratio|diff KEY KEY2 SCALE UNIT DIGITS [COMPARE TARGET]
figure() {
	printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4" "$5" "$6" "$7" "$8" "${9-}" "${10-}" >>"$figures"
}

# skip SECTION LABEL REASON
skip() { figure "$1" "$2" skip "$3" "" 1 "" 0; }

table() { awk -v style="$1" -v only="${2-}" -f "$here/figures.awk" "$samples" "$figures"; }

has() { command -v "$1" >/dev/null 2>&1; }

# For can_SECTION: what all that trace need.
can_trace() {
	[ "$(id -u)" = 0 ] || { echo "needs root"; return 1; }
	[ -d $tracing/events/raw_syscalls ] || mount -t tracefs tracefs $tracing 2>/dev/null
	[ -d $tracing/events/raw_syscalls ] || { echo "needs tracefs with raw_syscalls at $tracing"; return 1; }
}

# The numbers 0 to N-1, backwards in every second round: drift hits all alike.
in_turn() { if [ $(($1 % 2)) = 0 ]; then seq 0 $(($2 - 1)); else seq $(($2 - 1)) -1 0; fi; }

# ---- the load process -------------------------------------------------------------------------------------------------

# load_begin [COMMAND...]: starts the load, under COMMAND if given, and waits until it is held.
load_begin() {
	rm -f "$work/in" "$work/out"
	mkfifo "$work/in" "$work/out"
	"$@" "$work/load" $load_cpu <"$work/in" >"$work/out" 2>/dev/null &
	load_job=$!
	exec {load_in}>"$work/in" {load_out}<"$work/out"
	load_pid=
	read -r -t 20 _ load_pid <&"$load_out" && [ -n "$load_pid" ]
}

load_tell() { printf '%s\n' "$*" >&"$load_in"; }
load_answer() { read -r -t 300 took <&"$load_out"; }
# load_do COMMAND: nanoseconds it took in $took.
load_do() { load_tell "$@" && load_answer; }

load_end() {
	[ -n "$load_in" ] || return 0
	{ load_tell quit; } 2>/dev/null
	exec {load_in}>&- {load_out}<&-
	load_in=
	# The parent of the load may be a tracer that does not want to end.
	local i
	for ((i = 0; i < 100; i++)); do
		kill -0 "$load_job" 2>/dev/null || break
		sleep 0.02
	done
	kill -KILL ${load_pid:+"$load_pid"} "$load_job" 2>/dev/null
	wait "$load_job" 2>/dev/null
	load_pid=
	return 0
}

# ---- recorders --------------------------------------------------------------------------------------------------------

recorder_of() { grep -o '"recorder_pid":[0-9]*' "$1" | cut -d: -f2; }
# Recorder and instance of the one recording that runs.
recorder() { recorder_of "$(echo "$work"/run/*/state.json)"; }
instance() { grep -o '"instance":"[^"]*"' "$work"/run/*/state.json | cut -d'"' -f4; }

wait_no_recorder() {
	local i
	for ((i = 0; i < 500; i++)); do
		# The directory of a recorder goes with it; the file by which recorders agree on who watches joins stays.
		compgen -G "$work/run/*/" >/dev/null || return 0
		sleep 0.02
	done
	return 1
}

# attach_begin [OPTION...]: attaches to the load; the recorder's pid is in $attached.
attach_begin() {
	: >"$work/attach.err"
	"$binary" attach --dir "$work/recordings" "$@" "pid:$load_pid" >/dev/null 2>"$work/attach.err" \
		{load_in}>&- {load_out}<&- 3>&- &
	attached=$!
	local i
	for ((i = 0; i < 500; i++)); do
		grep -q ^recording "$work/attach.err" && return 0
		kill -0 $attached 2>/dev/null || break
		sleep 0.01
	done
	cat "$work/attach.err" >&2
	return 1
}

attach_end() {
	[ -n "$attached" ] || return 0
	kill -INT "$attached" 2>/dev/null
	wait "$attached" 2>/dev/null
	attached=
	wait_no_recorder
}

hook_state() {
	printf '{"ociVersion":"1.0.2","id":"bench","status":"%s","pid":%s,"bundle":"%s"}' "$1" "$load_pid" "$work" >"$work/state"
}
hook_begin() {
	hook_state creating
	"${hook_binary:-$binary}" hook start --strict --dir "$work/recordings" "$@" <"$work/state"
}
hook_end() {
	hook_state stopped
	"${hook_binary:-$binary}" hook stop --strict --dir "$work/recordings" <"$work/state"
	wait_no_recorder
}

drop_recordings() { rm -rf "$work/recordings/"*; }
newest_recording() { ls -td "$work/recordings/"*/ | head -n 1; }

# meta_sum RECORDING MEMBER...: the sum of these members over the CPUs' statistics.
meta_sum() {
	local meta=$1/meta.json member
	shift
	for member; do
		sed 's/.*"stats":\[\([^]]*\)\].*/\1/' "$meta" | grep -o "\"$member\":[0-9]*"
	done | awk -F: '{sum += $2} END {printf "%d\n", sum}'
}

# CPU time of a process in ns; from the scheduler where it says, else from the clock ticks.
cpu_ns() {
	if [ -r "/proc/$1/schedstat" ]; then
		cut -d' ' -f1 "/proc/$1/schedstat"
	else
		sed 's/.*) //' "/proc/$1/stat" | awk -v hz="$(getconf CLK_TCK)" '{printf "%.0f\n", ($12 + $13) * 1e9 / hz}'
	fi
}
# memory PID FIELD: of /proc/PID/status, in KiB.
memory() { awk -v field="$2:" '$1 == field {print $2}' "/proc/$1/status"; }

# ---- plain instances: the same events and filter, nobody reads ---------------------------------------------------------

# plain_begin SUBBUF_KB BUFFER_KB EVENTS: traces the load into a ring buffer that only overwrites itself.
plain_begin() {
	plain=$tracing/instances/bench-$$-$RANDOM
	mkdir "$plain" || { plain=; return 1; }
	[ ! -e "$plain/buffer_subbuf_size_kb" ] || echo "$1" >"$plain/buffer_subbuf_size_kb"
	echo "$2" >"$plain/buffer_size_kb"
	echo 1 >"$plain/options/overwrite"
	echo 1 >"$plain/options/event-fork"
	echo "$load_pid" >>"$plain/set_event_pid"
	local event
	for event in $3; do
		echo 1 >"$plain/events/${event/://}/enable"
	done
}

plain_end() {
	[ -n "$plain" ] || return 0
	local i
	for ((i = 0; i < 50; i++)); do
		rmdir "$plain" 2>/dev/null && break
		sleep 0.1
	done
	plain=
}
