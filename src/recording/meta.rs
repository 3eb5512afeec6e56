// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `meta.json`: everything about a recording that is not an event.
//!
//! Written when the recording starts (so that one cut short can be read), once a minute, and when it ends. Read back
//! leniently: members that are missing take their defaults, unknown ones are passed over.

use crate::arch::{Abi, Arch};
use crate::error::{Error, Result};
use crate::ids::{pod_path, Pid, Timestamp};
use crate::json::Json;
use crate::record::{self, record};
use crate::ringbuf::PageLayout;

/// Version of the recording format; a reader refuses higher ones.
pub const FORMAT_VERSION: u32 = 1;

/// Largest `meta.json` that is read, in bytes: some KB, plus the command line and the initial tasks (60 bytes each).
pub const META_MAX: usize = 4 << 20;

/// A pair of times read together: what the trace clock and the wall clock showed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Anchor {
    /// Trace clock, nanoseconds.
    pub trace_ns: Timestamp,
    /// CLOCK_REALTIME, nanoseconds since 1970.
    pub realtime_ns: u64,
}

/// `per_cpu/cpuN/stats` after the last read, in events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuStats {
    /// The CPU.
    pub cpu: u16,
    /// Still in the buffer.
    pub entries: u64,
    /// Overwritten before they were read.
    pub overrun: u64,
    /// Lost because a nested event could not be committed.
    pub commit_overrun: u64,
    /// Not written because the buffer was full (overwrite off).
    pub dropped: u64,
    /// Handed out to the reader.
    pub read: u64,
}

impl CpuStats {
    /// Events the kernel wrote or tried to write on this CPU.
    pub fn written(&self) -> u64 {
        self.entries.saturating_add(self.read).saturating_add(self.lost())
    }

    /// Events the kernel says it lost on this CPU.
    pub fn lost(&self) -> u64 {
        self.overrun.saturating_add(self.dropped).saturating_add(self.commit_overrun)
    }
}

/// The container as the runtime's state told it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerMeta {
    /// Container id.
    pub id: String,
    /// Bundle directory.
    pub bundle: String,
    /// Pod name where the engine said it.
    pub pod: String,
    /// Pod namespace where the engine said it.
    pub namespace: String,
    /// Container name where the engine said it.
    pub name: String,
    /// The pod's uid where the engine said it.
    pub pod_uid: String,
    /// Image where the engine said it.
    pub image: String,
    /// Whether it may gain no privileges by execve: `yes` or `no`; empty where nothing told.
    pub no_new_privileges: String,
    /// The filter of system calls: its default action (`SCMP_ACT_ERRNO`), `none` where there is none, `filter` where
    /// there is one that the kernel does not show; empty where nothing told.
    pub seccomp: String,
    /// How many startContainer hooks its bundle has: they run in the container, under its filter.
    pub start_hooks: u16,
    /// Capabilities that its programs can have; empty where nothing told, too.
    pub capabilities: Vec<String>,
}

impl ContainerMeta {
    /// `NAMESPACE/POD/CONTAINER`; empty where it is in no pod.
    pub fn pod_path(&self) -> String {
        pod_path(&self.namespace, &self.pod, &self.name)
    }
}

/// The machine that was traced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostMeta {
    /// `uname -n`.
    pub node: String,
    /// `uname -r`.
    pub release: String,
    /// `uname -v`.
    pub version: String,
    /// `uname -m`.
    pub machine: String,
    /// /proc/sys/kernel/random/boot_id.
    pub boot_id: String,
    /// Number of per-CPU buffers.
    pub cpus: u16,
}

/// What the user asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OptionsMeta {
    /// `continuous`, `flight`, `profile` or `count`.
    pub mode: String,
    /// Ring buffer per CPU in KiB, as the kernel reports it.
    pub buffer_size_kb: u64,
    /// Limit of the recording in bytes; 0 is none.
    pub max_size: u64,
    /// Limit of the recording's age in seconds; 0 is none.
    pub max_age_s: u64,
    /// `--syscalls` as it was given; empty is all.
    pub syscalls: String,
    /// Only calls that failed were recorded.
    pub errors_only: bool,
    /// How contents of string arguments were got: `copies`, `events`, `probes`, `none`, `off`; empty in recordings of
    /// versions that could not.
    pub strings: String,
    /// Bytes of each buffer that were asked for; 0 is none.
    pub data: u64,
    /// How they were got: `returns` or `entries` of functions, `none`; empty where none were asked for.
    pub data_means: String,
    /// By which means calls were counted: `hist` or `events`; empty where they were recorded.
    pub counted_by: String,
}

/// [`PageLayout`] as it stands in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageMeta {
    /// Bytes.
    pub commit_offset: u32,
    /// Bytes.
    pub commit_size: u32,
    /// Bytes.
    pub data_offset: u32,
    /// Bytes.
    pub data_size: u32,
}

/// What `--max-size` and `--max-age` removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// Events in the removed segments, counted before they went.
    pub events: u64,
    /// Segments removed.
    pub segments: u64,
    /// Bytes removed.
    pub bytes: u64,
}

/// What a recording of mode `profile` left out, and when it may have left out too much.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProfileMeta {
    /// The ABI that the numbers are of; `mixed` once programs of two ran, from when on nothing is left out.
    pub abi: String,
    /// How often the kernel's filter was narrowed.
    pub narrowed: u32,
    /// Numbers that are left out.
    pub known: u32,
    /// These, as `0-3,5`.
    pub excluded: String,
    /// Exits are not recorded any more, for no task was under a filter of seccomp's that could refuse a call.
    pub without_exits: bool,
    /// A program of another ABI ran while numbers were left out: calls of its own may be missing.
    pub narrowed_past: bool,
    /// Calls whose arguments matter and that came so often that they were left out: not all arguments were seen.
    pub limited: Vec<String>,
}

/// A task that was there when the recording began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InitialTask {
    /// Global thread id.
    pub tid: Pid,
    /// Thread group (process) id.
    pub tgid: Pid,
    /// Name.
    pub comm: String,
    /// ABI by the ELF class of its program; empty where it could not be read.
    pub abi: String,
    /// Its working directory; empty where it could not be read, and for threads but the first.
    pub cwd: String,
    /// Its open descriptors, or the first of them; none for threads but the first.
    pub fds: Vec<OpenFile>,
}

/// A descriptor that was open when the recording began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenFile {
    /// Its number.
    pub fd: i32,
    /// What /proc/PID/fd says that it stands for.
    pub path: String,
}

/// How far the recording came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndState {
    /// The recorder had not ended it when this was written: it runs, or was killed.
    Running,
    /// Ended as it should: drained, statistics read.
    Complete,
    /// Ended early by a fault that [`Meta::end_reason`] names.
    Cut,
}

/// The whole of `meta.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// Program and version that wrote it.
    pub tool: String,
    /// The recording's label: container id, command name or `--name`.
    pub name: String,
    /// How it was started: `hook`, `run` or `attach`.
    pub origin: String,
    /// The container; empty id for `run` and `attach pid:`.
    pub container: ContainerMeta,
    /// The traced command line (`run`), else empty.
    pub command: Vec<String>,
    /// The container's first process: global pid.
    pub init_pid: Pid,
    /// Whether what comes before the first process's execve is the runtime's own set-up.
    pub starts_in_runtime: bool,
    /// The machine.
    pub host: HostMeta,
    /// Layout of the sub-buffers.
    pub page: PageMeta,
    /// Trace clock, e.g. `local`.
    pub clock: String,
    /// Wall clock against trace clock: first at the start, last at the newest write of this file.
    pub anchors: Vec<Anchor>,
    /// Options of the recording.
    pub options: OptionsMeta,
    /// Tasks at the start.
    pub tasks: Vec<InitialTask>,
    /// `running`, `complete` or `cut`.
    pub state: String,
    /// Why the recording ended, as a sentence part; empty while it runs.
    pub end_reason: String,
    /// Per CPU, after the last read; empty while it runs.
    pub stats: Vec<CpuStats>,
    /// What the limits removed.
    pub trimmed: Trimmed,
    /// In mode `profile`.
    pub profile: ProfileMeta,
    /// Faults met on the way that did not end the recording.
    pub problems: Vec<String>,
}

record!(Anchor { trace_ns: U64, realtime_ns: U64 });
record!(CpuStats { cpu: U16, entries: U64, overrun: U64, commit_overrun: U64, dropped: U64, read: U64 });
record!(ContainerMeta {
    id: Text,
    bundle: Text,
    pod: Text,
    namespace: Text,
    name: Text,
    pod_uid: Text,
    image: Text,
    no_new_privileges: Text,
    seccomp: Text,
    start_hooks: U16,
    capabilities: Texts,
});
record!(HostMeta { node: Text, release: Text, version: Text, machine: Text, boot_id: Text, cpus: U16 });
record!(OptionsMeta {
    mode: Text,
    buffer_size_kb: U64,
    max_size: U64,
    max_age_s: U64,
    syscalls: Text,
    errors_only: Bool,
    strings: Text,
    data: U64,
    data_means: Text,
    counted_by: Text,
});
record!(PageMeta { commit_offset: U32, commit_size: U32, data_offset: U32, data_size: U32 });
record!(Trimmed { events: U64, segments: U64, bytes: U64 });
record!(ProfileMeta {
    abi: Text,
    narrowed: U32,
    known: U32,
    excluded: Text,
    without_exits: Bool,
    narrowed_past: Bool,
    limited: Texts,
});
record!(OpenFile { fd: I32, path: Text });
record!(InitialTask { tid: I32, tgid: I32, comm: Text, abi: Text, cwd: Text, fds: List });
record!(Meta {
    format_version: U32,
    tool: Text,
    name: Text,
    origin: Text,
    container: Record,
    command: Texts,
    init_pid: I32,
    starts_in_runtime: Bool,
    host: Record,
    page: Record,
    clock: Text,
    anchors: List,
    options: Record,
    tasks: List,
    state: Text,
    end_reason: Text,
    stats: List,
    trimmed: Record,
    profile: Record,
    problems: Texts,
});

impl Meta {
    /// The state as a value; what is unknown counts as running, so that it is checked.
    pub fn end_state(&self) -> EndState {
        match self.state.as_str() {
            "complete" => EndState::Complete,
            "cut" => EndState::Cut,
            _ => EndState::Running,
        }
    }

    /// Sets the state.
    pub fn set_state(&mut self, state: EndState) {
        self.state = match state {
            EndState::Running => "running",
            EndState::Complete => "complete",
            EndState::Cut => "cut",
        }
        .to_owned();
    }

    /// Whether the recording has counts of calls and no events.
    pub fn counts_only(&self) -> bool {
        self.options.mode == "count"
    }

    /// Whether the recording has of each call only the first ones.
    pub fn first_calls_only(&self) -> bool {
        self.options.mode == "profile"
    }

    /// The traced kernel's architecture.
    pub fn arch(&self) -> Option<Arch> {
        Arch::from_machine(&self.host.machine)
    }

    /// The ABI of programs of the kernel's own word size.
    pub fn native_abi(&self) -> Option<Abi> {
        self.arch().map(Arch::native_abi)
    }

    /// The layout of the sub-buffers.
    pub fn layout(&self) -> Result<PageLayout> {
        let page = self.page;
        PageLayout::new(page.commit_offset, page.commit_size, page.data_offset, page.data_size)
            .map_err(|why| Error::malformed(format!("meta.json: {}", crate::format::FormatError::Layout(why)), None))
    }

    /// Wall-clock nanoseconds since 1970 for a time of the trace clock: by the line through the first and the last
    /// anchor where they lie a second apart or more (the clocks drift against each other by up to some 100 ppm), else by
    /// the first alone.
    pub fn realtime(&self, ts: Timestamp) -> u64 {
        let Some(first) = self.anchors.first() else { return ts };
        let since = i128::from(ts) - i128::from(first.trace_ns);
        let elapsed = match self.anchors.last() {
            Some(last) if last.trace_ns.saturating_sub(first.trace_ns) >= 1_000_000_000 => {
                let trace = i128::from(last.trace_ns - first.trace_ns);
                let real = i128::from(last.realtime_ns) - i128::from(first.realtime_ns);
                // A wall clock that was set meanwhile is a step, not a drift: 1 in 1000 is more than any crystal is off.
                if (real - trace).abs() * 1000 <= trace {
                    since * real / trace
                } else {
                    since
                }
            }
            _ => since,
        };
        u64::try_from(i128::from(first.realtime_ns) + elapsed).unwrap_or(0)
    }

    /// Time the recording spans, nanoseconds: from its start to the newest write of this file.
    pub fn span(&self) -> u64 {
        match (self.anchors.first(), self.anchors.last()) {
            (Some(first), Some(last)) => last.trace_ns.saturating_sub(first.trace_ns),
            _ => 0,
        }
    }

    /// Events the kernel says it wrote or tried to write; `None` while the recording runs.
    pub fn written(&self) -> Option<u64> {
        if self.stats.is_empty() {
            return None;
        }
        Some(self.stats.iter().fold(0, |sum, cpu| sum.saturating_add(cpu.written())))
    }

    /// Events the kernel says it lost; 0 while the recording runs.
    pub fn lost(&self) -> u64 {
        self.stats.iter().fold(0, |sum, cpu| sum.saturating_add(cpu.lost()))
    }

    /// The file's text, readable and with a newline at its end.
    pub fn to_json(&mut self) -> Vec<u8> {
        let mut json = Json::new();
        record::write(&mut json, self).newline();
        json.into_bytes()
    }

    /// Reads the file's text back. Spaces and NULs behind it (a reserved block) are passed over.
    pub fn from_json(text: &[u8]) -> Result<Box<Meta>> {
        let end = text.iter().rposition(|byte| !matches!(byte, b' ' | b'\n' | 0)).map_or(0, |at| at + 1);
        let text = text.get(..end).unwrap_or_default();
        let mut meta = Box::<Meta>::default();
        record::read(text, "meta.json", &mut *meta)?;
        if meta.format_version == 0 {
            return Err(Error::malformed("meta.json has no format_version", None));
        }
        if meta.format_version > FORMAT_VERSION {
            return Err(Error::unsupported(format!("a reader for recording format {}", meta.format_version))
                .hint("use the ftrace-analyzer that made the recording, or a newer one"));
        }
        Ok(meta)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Meta {
        Meta {
            format_version: FORMAT_VERSION,
            tool: "ftrace-analyzer 0.1.0".into(),
            name: "demo \"x\"\n".into(),
            origin: "hook".into(),
            container: ContainerMeta { id: "demo".into(), bundle: "/b".into(), ..ContainerMeta::default() },
            command: vec!["ls".into(), "a\\b".into()],
            init_pid: 42,
            starts_in_runtime: true,
            host: HostMeta { machine: "x86_64".into(), cpus: 2, ..HostMeta::default() },
            page: PageMeta { commit_offset: 8, commit_size: 8, data_offset: 16, data_size: 4080 },
            anchors: vec![Anchor { trace_ns: 5, realtime_ns: 1_000 }],
            tasks: vec![InitialTask {
                tid: 42,
                tgid: 42,
                comm: "runc:[2:INIT]".into(),
                abi: "x86_64".into(),
                ..InitialTask::default()
            }],
            state: "complete".into(),
            stats: vec![CpuStats { cpu: 1, read: 10, overrun: 2, ..CpuStats::default() }],
            trimmed: Trimmed { events: 7, segments: 1, bytes: 4096 },
            problems: vec!["a problem".into()],
            ..Meta::default()
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let mut meta = full();
        let mut text = meta.to_json();
        assert_eq!(*Meta::from_json(&text).unwrap(), meta);
        text.extend_from_slice(&[b' '; 100]);
        text.push(0);
        assert_eq!(*Meta::from_json(&text).unwrap(), meta);
        assert_eq!((meta.written(), meta.lost()), (Some(12), 2));
    }

    #[test]
    fn missing_members_take_defaults_and_unknown_ones_are_passed_over() {
        let meta = Meta::from_json(b"{\"format_version\":1,\"new\":{\"a\":[1,{\"b\":null}]}}").unwrap();
        assert_eq!(meta.end_state(), EndState::Running);
        assert!(meta.layout().is_err());
    }

    #[test]
    fn newer_formats_and_garbage_are_refused() {
        assert_eq!(Meta::from_json(b"{\"format_version\":2}").unwrap_err().exit_code(), 3);
        assert!(Meta::from_json(b"{}").is_err());
        assert!(Meta::from_json(b"").is_err());
        assert!(Meta::from_json(b"[]").is_err());
    }

    #[test]
    fn wall_clock_follows_drift_but_not_a_step() {
        let mut meta = full();
        meta.anchors = vec![
            Anchor { trace_ns: 0, realtime_ns: 1_000 },
            Anchor { trace_ns: 10_000_000_000, realtime_ns: 10_000_101_000 },
        ];
        assert_eq!(meta.realtime(5_000_000_000), 5_000_051_000);
        meta.anchors[1].realtime_ns += 3_600_000_000_000;
        assert_eq!(meta.realtime(5_000_000_000), 5_000_001_000);
    }
}
