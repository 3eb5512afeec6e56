# SPDX-License-Identifier: Apache-2.0 OR MIT
# Size of the binaries, and memory of a recorder that is at work.

about_size() { echo "size of the binary, dynamic and static, and resident memory of the recorder with each"; }
can_size() { :; }

# size_one NAME BINARY
size_one() {
	sample "size.$1.file" "$(stat -c %s "$2")"
	[ -n "$size_traces" ] || return
	local pid hook_binary=$2
	load_begin && hook_begin || { load_end; return; }
	pid=$(recorder)
	load_do loop 20000
	load_tell loop 1500000
	sleep 0.5
	sample "size.$1.rss" "$(memory "$pid" VmRSS)"
	sample "size.$1.anon" "$(memory "$pid" RssAnon)"
	sample "size.$1.text" "$(memory "$pid" RssFile)"
	load_answer
	sample "size.$1.hwm" "$(memory "$pid" VmHWM)"
	hook_end
	load_end
	drop_recordings
}

bench_size() {
	local rounds=3 round static="$target_dir/static/release/ftrace-analyzer" why=
	[ -z "$quick" ] || rounds=1
	size_traces=
	if why=$(can_trace); then size_traces=1; else skip size "resident memory" "$why"; fi
	note "size: static build"
	if ! cargo rustc --quiet --release --manifest-path "$root/Cargo.toml" --bin ftrace-analyzer --target-dir "$target_dir/static" \
		-- -C target-feature=+crt-static -C relocation-model=static; then
		static=
		skip size "static" "the static build failed"
	fi
	for ((round = 0; round < rounds; round++)); do
		size_one dynamic "$binary"
		[ -z "$static" ] || size_one static "$static"
	done
	local kind
	for kind in dynamic static; do
		local target=()
		[ $kind = static ] && target=("<=" 1.5)
		figure size "$kind: binary" value size.$kind.file "" 1000 kB 0
		figure size "$kind: recorder VmRSS at work" value size.$kind.rss "" 1024 MiB 2 "${target[@]}"
		figure size "$kind: of that heap, stack and data" value size.$kind.anon "" 1024 MiB 2
		figure size "$kind: of that pages of the binary and libraries" value size.$kind.text "" 1024 MiB 2
		figure size "$kind: recorder VmHWM" value size.$kind.hwm "" 1024 MiB 2
	done
}
