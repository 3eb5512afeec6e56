// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Counts of calls while they happen, and the histograms' reader.
//!
//! Events of all CPUs are taken in time order, up to a time before which all are written: the exec of the container's
//! program divides the runtime's calls from its own, and a task's ABI is that of its last exec. /proc tells the ABI of the
//! program that runs now, which may be a later one; so the first calls of a program decide ([`STARTS`]), and what /proc
//! says holds until then. Memory is a sub-buffer a CPU and the counts.

use std::path::Path;

use super::drain::Drain;
use super::histograms::{FAILED, STARTS, ZERO};
use super::lanes::Lanes;
use crate::arch::{kernel_version, Abi, Arch};
use crate::error::{Error, Result};
use crate::format::{is_again, Event, Joined, Schema, Seen};
use crate::ids::{Pid, SyscallNr, Timestamp};
use crate::proc;
use crate::recording::{CallCounts, Formats, Meta, FORMAT_VERSION};
use crate::sys;
use crate::syscalls::{number, PRIVATE_CALLS};
use crate::tracefs::{parse_hist, Instance};
use crate::words::split_once;

/// Whether the number is that of one of these calls.
fn is_one(names: &str, abi: Abi, nr: SyscallNr) -> bool {
    names.split(',').any(|name| number(abi, name) == Some(nr))
}

/// Tasks, by a bit each up to the highest: half a megabyte where the kernel has its most, 4 KiB where it has 32768.
#[derive(Debug, Default)]
pub(super) struct Tasks(Vec<u64>);

impl Tasks {
    #[inline]
    pub fn has(&self, pid: Pid) -> bool {
        self.0.get(pid as usize / 64).is_some_and(|word| word >> (pid % 64) & 1 != 0)
    }

    pub fn set(&mut self, pid: Pid, there: bool) {
        let at = pid as usize / 64;
        // The kernel's highest number is below 2^22.
        if there && at >= self.0.len() && pid >> 22 == 0 {
            self.0.resize(at + 1, 0);
        }
        if let Some(word) = self.0.get_mut(at) {
            let bit = 1 << (pid % 64);
            *word = if there { *word | bit } else { *word & !bit };
        }
    }
}

/// The counts of a running recording.
#[derive(Debug)]
pub(super) struct Counter {
    pub counts: Box<CallCounts>,
    schema: Schema,
    /// There but while events are taken.
    lanes: Option<Box<Lanes>>,
    /// Calls are in the kernel's histograms, and only what happens to tasks is in the events.
    pub hist: bool,
    errors_only: bool,
    arch: Arch,
    init: Pid,
    /// Tasks that run programs of the compat ABI.
    compat: Tasks,
    /// Tasks between their exec and the event behind it.
    execing: Tasks,
    /// Tasks whose calls have not proven the ABI of their program yet.
    unproven: Tasks,
    /// Those of which /proc told nothing either.
    unknown: Tasks,
    /// Tasks that came into the container from outside and still are the runtime.
    joining: Tasks,
    native_seen: bool,
    compat_seen: bool,
    /// Execs of the container, the first one included.
    execs: u64,
    /// The histograms have what tells whether a native program ran, see [`Counter::has_native`].
    tells_native: bool,
}

impl Counter {
    /// For a recording that begins, or with the counts of one whose recorder died.
    pub fn new(meta: &Meta, formats: &Formats, cpus: usize, before: Option<Box<CallCounts>>) -> Result<Counter> {
        let arch = meta.arch().ok_or_else(|| Error::unsupported("system call tables for this machine"))?;
        let mut counter = Counter {
            schema: formats.schema()?,
            lanes: Some(Lanes::new(formats.layout()?, cpus)),
            hist: meta.options.counted_by == "hist",
            errors_only: meta.options.errors_only,
            arch,
            init: meta.init_pid,
            compat: Tasks::default(),
            execing: Tasks::default(),
            unproven: Tasks::default(),
            unknown: Tasks::default(),
            joining: Tasks::default(),
            native_seen: false,
            compat_seen: false,
            execs: 0,
            tells_native: match arch.compat_abi() {
                Some(Abi::I386) => kernel_version(&meta.host.release) >= (5, 4),
                _ => meta.starts_in_runtime && meta.options.syscalls.is_empty() && !meta.options.errors_only,
            },
            counts: before.unwrap_or_else(|| {
                Box::new(CallCounts {
                    format_version: FORMAT_VERSION,
                    started: !meta.starts_in_runtime,
                    tasks: meta.tasks.len() as u64,
                    ..CallCounts::default()
                })
            }),
        };
        for count in &counter.counts.numbers {
            counter.compat_seen |= count.compat;
            counter.native_seen |= !count.compat;
        }
        if counter.counts.started {
            for task in &meta.tasks {
                counter.set_abi(task.tid, Abi::from_name(&task.abi));
            }
        }
        Ok(counter)
    }

    /// Counts the events up to `until`. Gives the bytes taken from the busiest CPU.
    pub fn take(&mut self, drain: &mut Drain, mut until: Timestamp) -> Result<u64> {
        if self.hist {
            // What happens to tasks is looked at as soon as it is known; its order among CPUs means nothing.
            until = Timestamp::MAX;
        }
        let Some(mut lanes) = self.lanes.take() else { return Ok(0) };
        let taken = lanes.walk(until, &mut |slot, page| drain.read(slot, page), &mut |_, data| self.count(data));
        self.counts.lost += core::mem::take(&mut lanes.lost);
        self.counts.damaged += core::mem::take(&mut lanes.damaged);
        self.lanes = Some(lanes);
        taken
    }

    #[inline]
    fn count(&mut self, data: &[u8]) {
        self.counts.events += 1;
        let Some(common) = Schema::common(data) else {
            self.counts.damaged += 1;
            return;
        };
        let pid = common.pid;
        match self.schema.decode(common.id, data) {
            Event::SysExit { .. } | Event::SysEnter { .. } if self.joining.has(pid) => {}
            Event::SysExit { nr, ret } => {
                let before = self.compat.has(pid);
                let marks = PRIVATE_CALLS.0 <= nr || self.execing.has(pid);
                let of_exec = marks && self.look_for_mark(pid, nr);
                let compat = if of_exec { before } else { self.compat.has(pid) };
                let known = of_exec || !self.unknown.has(pid);
                let count = if known { self.counts.number(compat, nr) } else { None };
                match count {
                    Some(count) => {
                        count.exits += 1;
                        count.errors += u64::from((-4095..0).contains(&ret));
                        count.zeros += u64::from(ret == 0);
                    }
                    None => self.counts.others += 1,
                }
            }
            Event::SysEnter { nr, args } => {
                if self.unproven.has(pid) || self.execing.has(pid) {
                    self.look_for_start(pid, nr, &args);
                }
                let compat = self.compat.has(pid);
                if let Some(count) = self.counts.number(compat, nr) {
                    count.enters += 1;
                }
            }
            other => self.follow(other),
        }
    }

    /// What happens to tasks.
    #[cold]
    fn follow(&mut self, event: Event<'_>) {
        match event {
            Event::Fork { parent, child, .. } => {
                self.counts.tasks += u64::from(!self.joining.has(parent));
                for tasks in [&mut self.compat, &mut self.unproven, &mut self.unknown, &mut self.joining] {
                    tasks.set(child, tasks.has(parent));
                }
            }
            Event::Exec { pid, filename, .. } => {
                if self.joining.has(pid) && !is_again(filename) {
                    self.counts.tasks += 1;
                    self.joining.set(pid, false);
                }
                if !self.counts.started && pid == self.init {
                    // What was before is the runtime's.
                    self.counts.started = true;
                    self.counts.tasks = 1;
                    self.counts.others = 0;
                    self.counts.numbers.clear();
                }
                if self.hist {
                    self.execs += u64::from(self.counts.started);
                    self.set_abi(pid, proc::abi(pid));
                } else {
                    self.execing.set(pid, self.arch.compat_abi().is_some());
                }
            }
            Event::Exit { pid, .. } => {
                for tasks in
                    [&mut self.compat, &mut self.execing, &mut self.unproven, &mut self.unknown, &mut self.joining]
                {
                    tasks.set(pid, false);
                }
            }
            Event::Mark { text } => {
                let Some(joined) = Joined::parse(text) else { return };
                let late = joined.seen == Seen::Late;
                self.counts.tasks += u64::from(late && joined.tid == joined.tgid);
                self.joining.set(joined.tid, joined.seen == Seen::SetUp);
                if late {
                    self.set_abi(joined.tid, proc::abi(joined.tgid));
                }
            }
            Event::Other { .. } => self.counts.damaged += 1,
            _ => {}
        }
    }

    /// An exit that may tell the program's ABI: on x86_64 execve returns with the new program's number of it (5.4 and
    /// later), and ARM's private calls are made by every 32-bit program there. Whether it is execve's, with the number of
    /// the program before.
    #[cold]
    fn look_for_mark(&mut self, pid: Pid, nr: SyscallNr) -> bool {
        let Some(compat) = self.arch.compat_abi() else { return false };
        let native = self.arch.native_abi();
        let before = if self.compat.has(pid) { compat } else { native };
        let begins = self.begins(pid);
        if compat == Abi::Arm {
            if (PRIVATE_CALLS.0..=PRIVATE_CALLS.1).contains(&nr) {
                self.prove(pid, compat);
            }
            return begins && is_one("execve,execveat", before, nr);
        }
        self.set_abi(pid, [native, compat].into_iter().find(|abi| begins && number(*abi, "execve") == Some(nr)));
        false
    }

    /// An enter of a program that has not proven its ABI.
    #[cold]
    fn look_for_start(&mut self, pid: Pid, nr: SyscallNr, args: &[u64; 6]) {
        let Some(compat) = self.arch.compat_abi() else { return };
        self.begins(pid);
        let native = self.arch.native_abi();
        // Compat entry leaves no more than 32 bits.
        if is_one(STARTS, native, nr) || args.iter().any(|arg| *arg > u64::from(u32::MAX)) {
            self.prove(pid, native);
        } else if is_one(STARTS, compat, nr) {
            self.prove(pid, compat);
        }
    }

    /// Whether this is a task's first event behind an exec; then what /proc says holds until its calls tell. Its file may
    /// be gone by now, or the task: then its calls count as of no number.
    fn begins(&mut self, pid: Pid) -> bool {
        let begins = self.execing.has(pid);
        if begins {
            self.execing.set(pid, false);
            self.unproven.set(pid, true);
            self.unknown.set(pid, true);
            self.set_abi(pid, proc::abi(pid));
        }
        begins
    }

    fn prove(&mut self, pid: Pid, abi: Abi) {
        self.unproven.set(pid, false);
        self.set_abi(pid, Some(abi));
    }

    /// Notes which ABI a task's program is of, if that is known.
    fn set_abi(&mut self, pid: Pid, abi: Option<Abi>) {
        let Some(abi) = abi else { return };
        let is_compat = Some(abi) == self.arch.compat_abi();
        self.compat_seen |= is_compat;
        self.native_seen |= !is_compat;
        self.compat.set(pid, is_compat);
        self.unknown.set(pid, false);
    }

    /// Takes the counts from the kernel's histograms, which go on.
    fn read_histograms(&mut self, instance: &Instance) -> Result<()> {
        let counts = &mut self.counts;
        counts.numbers.clear();
        (counts.hits, counts.dropped) = (0, 0);
        let (mut parts, mut private) = (0, false);
        for event in ["sys_enter", "sys_exit"] {
            let text = instance.read(&["events/raw_syscalls/", event, "/hist"].concat())?;
            parts += parse_hist(&text, "id", &mut |trigger, nr, hits| {
                let Some(nr) = nr else {
                    counts.dropped += hits;
                    return;
                };
                counts.hits += hits;
                let nr = nr as SyscallNr;
                private |= (PRIVATE_CALLS.0..=PRIVATE_CALLS.1).contains(&nr);
                let Some(count) = counts.number(false, nr) else { return };
                if event == "sys_enter" {
                    count.enters = hits;
                    return;
                }
                let to = if split_once(trigger, FAILED).is_some() {
                    if self.errors_only {
                        count.exits = hits;
                    }
                    &mut count.errors
                } else if split_once(trigger, ZERO).is_some() {
                    &mut count.zeros
                } else {
                    &mut count.exits
                };
                *to = hits;
            })?;
        }
        if parts != if self.errors_only { 2 } else { 4 } {
            return Err(Error::malformed("the kernel's histograms are not those that were made", None));
        }
        self.compat_seen |= private && self.arch.compat_abi() == Some(Abi::Arm);
        let native = self.native_seen || self.has_native();
        self.counts.mixed = self.compat_seen && native;
        for count in &mut self.counts.numbers {
            count.compat = self.compat_seen && !native;
        }
        Ok(())
    }

    /// Whether a native program ran by what the histograms have of execve, for one that soon becomes another is not seen in
    /// /proc. On x86_64 the number is that of the new program; on arm64 of the one before, which is the runtime only once.
    fn has_native(&self) -> bool {
        let done = |abi| {
            let nr = number(abi, "execve");
            let count = self.counts.numbers.iter().find(|count| Some(count.nr) == nr);
            count.map_or(0, |count| count.exits.saturating_sub(count.errors))
        };
        self.tells_native
            && match self.arch.compat_abi() {
                Some(Abi::I386) => done(Abi::X86_64) > 0,
                Some(compat) => self.execs.saturating_sub(done(compat)) > 1,
                None => false,
            }
    }

    /// Brings the counts up to date and writes them into a directory; into that of the recording with its owner's rights.
    pub fn save(&mut self, instance: &Instance, dir: &Path, is_recording: bool) -> Result<()> {
        if self.hist {
            self.read_histograms(instance)?;
        }
        let _owner = is_recording.then(sys::as_owner);
        self.counts.save(dir)
    }
}
