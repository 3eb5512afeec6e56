# SPDX-License-Identifier: Apache-2.0 OR MIT
# From the signal to the stored dump, beside systemd-coredump: Debian's program, unpacked, behind its socket.

core_mib=200
[ -z "$quick" ] || core_mib=50
core_kernel=/proc/sys/kernel
core_before= core_socket=
about_core() { echo "a process of $core_mib MiB in a recorded container under runc dies: until its dump is stored"; }
can_core() {
	can_trace || return
	has runc || { echo "no runc"; return 1; }
	[ -w $core_kernel/core_pattern ] || { echo "core_pattern can not be set"; return 1; }
}

# Gives back what was there; clean_up calls it, too.
core_end() {
	[ -z "$core_socket" ] || kill "$core_socket" 2>/dev/null
	core_socket=
	[ -n "$core_before" ] || return 0
	echo "${core_before% *}" >$core_kernel/core_pattern
	echo "${core_before##* }" >$core_kernel/core_pipe_limit
	core_before=
	[ -z "$core_settings" ] || rm -f /etc/systemd/coredump.conf
	rm -f /run/bench-coredump
}

# systemd-coredump as Debian has it for this machine's systemd, or why there is none.
core_systemd() {
	has systemd-socket-activate || { echo "no systemd-socket-activate"; return 1; }
	[ ! -e /etc/systemd/coredump.conf ] && [ ! -e /run/systemd/coredump ] || { echo "it is set up on this machine"; return 1; }
	mkdir -p "$work/deb"
	(cd "$work/deb" && apt-get download -qq -o APT::Sandbox::User=root systemd-coredump && dpkg -x ./*.deb root) >/dev/null 2>&1 ||
		{ echo "Debian's package can not be had"; return 1; }
	ln -sf "$work"/deb/root/*/systemd/systemd-coredump /run/bench-coredump
	! ldd /run/bench-coredump | grep -q 'not found' || { echo "it is of another systemd than this machine's"; return 1; }
}

# core_one KIND: one process; the dump is removed.
core_one() {
	local kind=$1 dir=$work/recordings/cores watch stored died
	case $kind in
	ours)
		echo "$core_ours" >$core_kernel/core_pattern
		;;
	*)
		dir=/var/lib/systemd/coredump
		[ "$kind" = plain ] && echo -e '[Coredump]\nCompress=no' >/etc/systemd/coredump.conf || rm -f /etc/systemd/coredump.conf
		echo '|/run/bench-coredump %P %u %g %s %t 9223372036854775808 %h %d' >$core_kernel/core_pattern
		;;
	esac
	mkdir -p "$dir"
	sync
	"$work/dumped" watch "$dir" >"$work/stored" &
	watch=$!
	: >"$work/container-core-$$"
	died=$(runc --root "$work/runc" run --bundle "$work/bundle-core" "container-core-$$" 2>/dev/null)
	sample "core.$kind.gone" $(($(awk '{printf "%.0f", $1 * 1e9}' /proc/uptime) - died))
	[ -n "$died" ] && wait $watch && sample "core.$kind.stored" $(($(cat "$work/stored") - died))
	rm -f "$work/container-core-$$"
	# It goes on: a stack trace, what stays.
	sleep 1
	wait_no_recorder
	[ "$kind" != ours ] || sample core.size "$(du -k "$dir"/*/core | cut -f1)"
	rm -rf "${dir:?}"/*
	drop_recordings
}

bench_core() {
	local rounds=9 round i kinds=(ours) why
	[ -z "$quick" ] || rounds=2
	"${CC:-cc}" -O2 -static -o "$work/dumped" "$here/helpers/dumped.c" || return
	start_bundle "$work/bundle-core" "$(our_hooks)" "\"/dumped\", \"die\", \"$core_mib\""
	cp "$work/dumped" "$work/bundle-core/rootfs/dumped"
	core_before="$(cat $core_kernel/core_pattern) $(cat $core_kernel/core_pipe_limit)" core_settings=1
	# The kernel gives no environment: a script has our directories, and somebody who tells the memory.
	cat >"$work/fa" <<-END
	#!/bin/sh
	export FTRACE_ANALYZER_RUN_DIR=$work/run
	exec $work/dumped memory $work/memory $binary "\$@"
	END
	chmod 755 "$work/fa"
	if ! "$binary" core install --force --binary "$work/fa" --dir "$work/recordings" >/dev/null; then
		skip core "dumps" "core install failed"
		core_end
		return
	fi
	core_ours=$(cat $core_kernel/core_pattern)
	if why=$(core_systemd); then
		systemd-socket-activate --seqpacket --accept -l /run/systemd/coredump /run/bench-coredump >/dev/null 2>&1 &
		core_socket=$!
		kinds+=(plain packed)
	else
		skip core "systemd-coredump" "$why"
	fi
	sleep 0.5
	for ((round = 0; round < rounds; round++)); do
		note "core: round $((round + 1)) of $rounds"
		for i in $(in_turn $round ${#kinds[@]}); do core_one "${kinds[i]}"; done
	done
	core_end
	[ -z "$why" ] && rm -f /run/systemd/coredump
	while read -r kib; do sample core.memory "$kib"; done <"$work/memory"
	figure core "until it is stored" value core.ours.stored "" 1000000 ms 0
	figure core "until it is stored, systemd-coredump, Compress=no" value core.plain.stored "" 1000000 ms 0
	figure core "until it is stored, systemd-coredump as it comes" value core.packed.stored "" 1000000 ms 0
	if [ -z "$why" ]; then
		figure core "ours beside Compress=no" ratio core.ours.stored core.plain.stored 1 "" 2 "<=" 1
		figure core "ours beside systemd-coredump as it comes" ratio core.ours.stored core.packed.stored 1 "" 2 "<=" 1
	fi
	figure core "resident memory of the handler at the most" value core.memory "" 1024 MiB 2 "<=" 2
	figure core "bytes on the disk" value core.size "" 1024 MiB 0
}
