// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Counts of calls while they happen: the one place where a recorder decodes events, and the histograms' reader.
//!
//! Events of all CPUs are taken in time order, up to a time before which all are written: the exec of the container's
//! program divides the runtime's calls from its own, and a task's ABI is that of its last exec. Memory is a sub-buffer a
//! CPU and the counts.

use std::path::Path;

use super::drain::Drain;
use super::histograms::FAILED;
use crate::arch::{Abi, Arch};
use crate::error::{Error, Result};
use crate::format::{Event, Schema};
use crate::ids::{Pid, SyscallNr, Timestamp};
use crate::proc;
use crate::recording::{CallCounts, Formats, Meta, FORMAT_VERSION};
use crate::ringbuf::{Cursor, Missed, Page, PageLayout};
use crate::syscalls::{number, PRIVATE_CALLS};
use crate::tracefs::{parse_hist, Instance};

/// Tasks that are known to run 32-bit programs on a 64-bit kernel; further ones count as the kernel's own. 4 bytes each.
const COMPAT_MAX: usize = 1 << 16;

/// One CPU's sub-buffer, and where we are in it.
#[derive(Debug, Default)]
struct Lane {
    page: Vec<u8>,
    /// Where its records lie in `page`.
    data: (usize, usize),
    cursor: Cursor,
    /// The record that comes next: its time, and its place in `page`.
    head: Option<(Timestamp, usize, usize)>,
}

/// The counts of a running recording.
#[derive(Debug)]
pub(super) struct Counter {
    pub counts: Box<CallCounts>,
    schema: Schema,
    layout: PageLayout,
    lanes: Vec<Lane>,
    /// Calls are in the kernel's histograms, and only what happens to tasks is in the events.
    pub hist: bool,
    errors_only: bool,
    arch: Arch,
    init: Pid,
    /// Tasks that run programs of the compat ABI, sorted.
    compat: Vec<Pid>,
    /// Tasks between their exec and its exit.
    execing: Vec<Pid>,
    native_seen: bool,
    compat_seen: bool,
}

impl Counter {
    /// For a recording that begins, or with the counts of one whose recorder died.
    pub fn new(meta: &Meta, formats: &Formats, cpus: usize, before: Option<Box<CallCounts>>) -> Result<Counter> {
        let layout = formats.layout()?;
        let arch = meta.arch().ok_or_else(|| Error::unsupported("system call tables for this machine"))?;
        let mut counter = Counter {
            schema: formats.schema()?,
            layout,
            lanes: Vec::new(),
            hist: meta.options.counted_by == "hist",
            errors_only: meta.options.errors_only,
            arch,
            init: meta.init_pid,
            compat: Vec::new(),
            execing: Vec::new(),
            native_seen: false,
            compat_seen: false,
            counts: before.unwrap_or_else(|| {
                Box::new(CallCounts {
                    format_version: FORMAT_VERSION,
                    started: !meta.starts_in_runtime,
                    tasks: meta.tasks.len() as u64,
                    ..CallCounts::default()
                })
            }),
        };
        for _ in 0..cpus {
            counter.lanes.push(Lane { page: vec![0; layout.subbuf_size()], ..Lane::default() });
        }
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
    pub fn take(&mut self, drain: &mut Drain, until: Timestamp) -> Result<u64> {
        let mut moved = vec![0u64; self.lanes.len()];
        loop {
            let mut first: Option<(Timestamp, usize)> = None;
            for (slot, moved) in moved.iter_mut().enumerate() {
                *moved += self.fill(slot, drain)?;
                if let Some((ts, ..)) = self.lanes.get(slot).and_then(|lane| lane.head) {
                    if ts <= until && !first.is_some_and(|(known, _)| known <= ts) {
                        first = Some((ts, slot));
                    }
                }
            }
            let Some((_, slot)) = first else { break };
            let Some(lane) = self.lanes.get_mut(slot) else { break };
            let Some((_, start, end)) = lane.head.take() else { break };
            let page = core::mem::take(&mut lane.page);
            self.count(page.get(start..end).unwrap_or_default());
            if let Some(lane) = self.lanes.get_mut(slot) {
                lane.page = page;
            }
        }
        Ok(moved.into_iter().max().unwrap_or(0))
    }

    /// Finds a CPU's next record. Gives the bytes that were read for it.
    #[inline]
    fn fill(&mut self, slot: usize, drain: &mut Drain) -> Result<u64> {
        let Some(lane) = self.lanes.get_mut(slot) else { return Ok(0) };
        let mut moved = 0;
        while lane.head.is_none() {
            let (start, end) = lane.data;
            match lane.cursor.next(lane.page.get(start..end).unwrap_or_default()) {
                Some(Ok(record)) => {
                    let end = start + lane.cursor.at;
                    lane.head = Some((record.ts, end - record.data.len(), end));
                }
                Some(Err(_)) => self.counts.damaged += 1,
                None => {
                    let count = drain.read(slot, &mut lane.page)?;
                    if count == 0 {
                        break;
                    }
                    moved += count as u64;
                    match Page::parse(lane.page.get(..count).unwrap_or_default(), &self.layout) {
                        Ok(page) => {
                            let start = usize::from(self.layout.data_offset);
                            lane.data = (start, start + page.len());
                            lane.cursor = page.start();
                            match page.missed() {
                                Missed::None => {}
                                Missed::Count(lost) => self.counts.lost += lost,
                                Missed::Unknown => self.counts.lost += 1,
                            }
                        }
                        Err(_) => self.counts.damaged += 1,
                    }
                }
            }
        }
        Ok(moved)
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
            Event::SysExit { nr, ret } => {
                if !self.execing.is_empty() || PRIVATE_CALLS.0 <= nr {
                    self.look_for_mark(pid, nr);
                }
                let compat = self.is_compat(pid);
                match self.counts.number(compat, nr) {
                    Some(count) => {
                        count.exits += 1;
                        count.errors += u64::from((-4095..0).contains(&ret));
                    }
                    None => self.counts.others += 1,
                }
            }
            Event::SysEnter { nr, .. } => {
                let compat = self.is_compat(pid);
                if let Some(count) = self.counts.number(compat, nr) {
                    count.enters += 1;
                }
            }
            other => self.follow(other),
        }
    }

    #[inline]
    fn is_compat(&self, pid: Pid) -> bool {
        !self.compat.is_empty() && self.compat.binary_search(&pid).is_ok()
    }

    /// What happens to tasks.
    #[cold]
    fn follow(&mut self, event: Event<'_>) {
        match event {
            Event::Fork { parent, child, .. } => {
                self.counts.tasks += 1;
                if self.is_compat(parent) {
                    self.set_compat(child, true);
                }
            }
            Event::Exec { pid, .. } => {
                if !self.counts.started && pid == self.init {
                    // What was before is the runtime's.
                    self.counts.started = true;
                    self.counts.tasks = 1;
                    self.counts.others = 0;
                    self.counts.numbers.clear();
                }
                // Its file may be gone by now, or the task; then its first calls may tell.
                self.set_abi(pid, proc::abi(pid));
                if self.arch == Arch::X86_64 && !self.hist {
                    self.execing.push(pid);
                }
            }
            Event::Exit { pid, .. } => {
                self.set_compat(pid, false);
                self.execing.retain(|known| *known != pid);
            }
            Event::Other { .. } => self.counts.damaged += 1,
            _ => {}
        }
    }

    /// An exit that tells the program's ABI: on x86_64 execve returns with the new program's number of it (5.4 and
    /// later), and ARM's private calls are made by every 32-bit program there.
    #[cold]
    fn look_for_mark(&mut self, pid: Pid, nr: SyscallNr) {
        let Some(compat) = self.arch.compat_abi() else { return };
        if nr >= PRIVATE_CALLS.0 {
            if compat == Abi::Arm && nr <= PRIVATE_CALLS.1 {
                self.set_abi(pid, Some(compat));
            }
            return;
        }
        let before = self.execing.len();
        self.execing.retain(|known| *known != pid);
        if self.execing.len() < before {
            let native = self.arch.native_abi();
            let mark = [native, compat].into_iter().find(|abi| number(*abi, "execve") == Some(nr));
            self.set_abi(pid, mark);
        }
    }

    /// Notes which ABI a task's program is of, if that is known.
    fn set_abi(&mut self, pid: Pid, abi: Option<Abi>) {
        let Some(abi) = abi else { return };
        let is_compat = Some(abi) == self.arch.compat_abi();
        self.compat_seen |= is_compat;
        self.native_seen |= !is_compat;
        self.set_compat(pid, is_compat);
    }

    fn set_compat(&mut self, pid: Pid, is_compat: bool) {
        match self.compat.binary_search(&pid) {
            Ok(at) if !is_compat => {
                self.compat.remove(at);
            }
            Err(at) if is_compat && self.compat.len() < COMPAT_MAX => self.compat.insert(at, pid),
            _ => {}
        }
    }

    /// Takes the counts from the kernel's histograms, which go on.
    pub fn read_histograms(&mut self, instance: &Instance) -> Result<()> {
        let mut parts = Vec::new();
        for event in ["sys_enter", "sys_exit"] {
            let text = instance.read(&["events/raw_syscalls/", event, "/hist"].concat())?;
            for part in parse_hist(&text, "id")? {
                parts.push((event, part));
            }
        }
        if parts.len() != if self.errors_only { 2 } else { 3 } {
            return Err(Error::malformed("the kernel's histograms are not those that were made", None));
        }
        let is_private = |(nr, _): &(i64, u64)| (PRIVATE_CALLS.0.into()..=PRIVATE_CALLS.1.into()).contains(nr);
        let marked = parts.iter().any(|(_, part)| part.entries.iter().any(is_private));
        self.compat_seen |= marked && self.arch.compat_abi() == Some(Abi::Arm);
        let compat = self.compat_seen && !self.native_seen;
        let counts = &mut self.counts;
        counts.mixed = self.compat_seen && self.native_seen;
        counts.numbers.clear();
        (counts.hits, counts.dropped, counts.others) = (0, 0, 0);
        for (event, part) in parts {
            counts.dropped += part.dropped;
            let failed = part.trigger.contains(FAILED);
            for (nr, hits) in part.entries {
                counts.hits += hits;
                let Some(count) = counts.number(compat, nr as SyscallNr) else { continue };
                match event {
                    "sys_enter" => count.enters = hits,
                    _ if failed => {
                        count.errors = hits;
                        if self.errors_only {
                            count.exits = hits;
                        }
                    }
                    _ => count.exits = hits,
                }
            }
        }
        Ok(())
    }

    /// Takes all there is, from histograms or events.
    pub fn everything(&mut self, instance: &Instance, drain: &mut Drain, until: Timestamp) -> Result<u64> {
        let until = if self.hist { Timestamp::MAX } else { until };
        let moved = self.take(drain, until)?;
        if self.hist {
            self.read_histograms(instance)?;
        }
        Ok(moved)
    }

    /// Writes the counts into a directory.
    pub fn save(&mut self, dir: &Path) -> Result<()> {
        self.counts.save(dir)
    }
}
