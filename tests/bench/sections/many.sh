# SPDX-License-Identifier: Apache-2.0 OR MIT
# Many containers that run at the same time: what their recordings take together, and how long the next one takes to
# start.

about_many() { echo "$many_containers containers at once under runc, each with its recording, beside as many without"; }
many_containers=100
[ -z "$quick" ] || many_containers=10
can_many() {
	can_trace || return
	has runc || { echo "no runc"; return 1; }
}

available_kb() { awk '$1 == "MemAvailable:" {print $2}' /proc/meminfo; }
# Open files of the whole machine.
open_files() { cut -f1 /proc/sys/fs/file-nr; }
# sum_of FIELD: of the recorders' smaps_rollup, in KiB.
sum_of() {
	local state
	for state in "$work"/run/*/state.json; do
		awk -v field="$1:" '$1 == field {print $2}' "/proc/$(recorder_of "$state")/smaps_rollup"
	done | awk '{sum += $1} END {print sum + 0}'
}

# A system call of a process that nobody traces, in ns.
bystander() {
	load_begin && load_do loop 200000 && sample "$1" "$(awk -v t="$took" 'BEGIN {printf "%.1f", t / 200000}')"
	load_end
}

# many_of plain|hooked: starts them one after the other, looks at them, and ends them.
many_of() {
	local kind=$1 i cost state files most=0 before=$(available_kb) open=$(open_files)
	for ((i = 0; i < many_containers; i++)); do
		: >"$work/container-$kind-$i"
		cost=$("$work/cost" runc --root "$work/runc" run --detach --bundle "$work/bundle-$kind" "container-$kind-$i" </dev/null 2>"$work/runc.err")
		sample "many.$kind.start" "${cost%% *}"
		# Of the first and the last tenth apart.
		[ $((i * 10)) -ge $many_containers ] || sample "many.$kind.first" "${cost%% *}"
		[ $(((i + 1) * 10)) -le $((many_containers * 9)) ] || sample "many.$kind.last" "${cost%% *}"
	done
	sleep 1
	sample "many.$kind.memory" $((before - $(available_kb)))
	sample "many.$kind.open" $(($(open_files) - open))
	bystander "many.$kind.bystander"
	if [ $kind = hooked ]; then
		for state in "$work"/run/*/state.json; do
			files=$(ls "/proc/$(recorder_of "$state")/fd" | wc -l)
			sample many.descriptors "$files"
		done
		sample many.recorders "$(ls "$work"/run/*/state.json | wc -l)"
		sample many.pss "$(sum_of Pss)"
		sample many.private "$(($(sum_of Private_Clean) + $(sum_of Private_Dirty)))"
		sample many.buffers "$(sed 's/.*"buffer_size_kb":\([0-9]*\).*/\1/' "$work"/recordings/*/meta.json |
			awk -v cpus="$(nproc)" '{sum += $1 * cpus} END {print sum}')"
	fi
	local begun=$(date +%s%N)
	for ((i = 0; i < many_containers; i++)); do
		runc --root "$work/runc" delete -f "container-$kind-$i"
		rm -f "$work/container-$kind-$i"
	done
	wait_no_recorder
	sample "many.$kind.end" $((($(date +%s%N) - begun) / many_containers))
}

bench_many() {
	local whole
	start_bundle "$work/bundle-plain" "" '"/alive", "stay"'
	start_bundle "$work/bundle-hooked" "$(our_hooks)" '"/alive", "stay"'
	many_of plain
	many_of hooked
	whole=$(grep -l '"state":"complete"' "$work"/recordings/*/meta.json | wc -l)
	sample many.whole "$whole"
	drop_recordings
	figure many "recorders at once" value many.recorders "" 1 "" 0
	figure many "recordings that are complete" value many.whole "" 1 "" 0
	figure many "runc run, without hooks" value many.plain.start "" 1000000 ms 1
	figure many "runc run, with hooks" value many.hooked.start "" 1000000 ms 1
	figure many "with hooks, the first tenth" value many.hooked.first "" 1000000 ms 1
	figure many "with hooks, the last tenth" value many.hooked.last "" 1000000 ms 1
	figure many "without hooks, the last tenth" value many.plain.last "" 1000000 ms 1
	figure many "a call of a process that is not traced, without hooks" value many.plain.bystander "" 1 ns 0
	figure many "a call of a process that is not traced, with hooks" value many.hooked.bystander "" 1 ns 0
	figure many "runc delete and the recorder's end, a container, without hooks" value many.plain.end "" 1000000 ms 1
	figure many "runc delete and the recorder's end, a container, with hooks" value many.hooked.end "" 1000000 ms 1
	figure many "memory available, less by, without hooks" value many.plain.memory "" 1024 MiB 1
	figure many "memory available, less by, with hooks" value many.hooked.memory "" 1024 MiB 1
	figure many "of that ring buffers" value many.buffers "" 1024 MiB 1
	figure many "recorders' memory together (PSS)" value many.pss "" 1024 MiB 1
	figure many "recorders' own memory together (private)" value many.private "" 1024 MiB 1
	figure many "descriptors of a recorder" value many.descriptors "" 1 "" 0
	figure many "open files of the machine, more by, without hooks" value many.plain.open "" 1 "" 0
	figure many "open files of the machine, more by, with hooks" value many.hooked.open "" 1 "" 0
}
