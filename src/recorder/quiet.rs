// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Mode `profile`: the kernel's filter is narrowed as calls become known, so that a steady container costs little.
//!
//! A number is known once an enter of it is on the disk that the container's program, or what came of it, made; the
//! runtime's own make none known. A filter changes by one pointer (kernel/trace/trace_events_filter.c
//! `apply_event_filter`: event_set_filter, then a grace period before the old one goes), and either filter lets a number
//! through that is not known: no first call is lost. What is never left out: execve and the ends of tasks, and calls with
//! an argument that profiles have rules about, up to [`LIMIT`] times.
//!
//! The filter sees a number and not the ABI it is of, and two ABIs' numbers mean different things. So numbers are left
//! out by the one ABI that runs, and none any more once a program of another is met: by /proc at its exec, or where it
//! was gone by then by its end, for exit_group has another number in each.

use super::counter::Tasks;
use super::drain::Drain;
use super::event_filter::{add, push_ranges, Range};
use super::lanes::Lanes;
use crate::arch::{Abi, Arch};
use crate::error::{Error, Result};
use crate::format::{is_again, Event, Joined, Schema, Seen};
use crate::ids::{Pid, SyscallNr, Timestamp};
use crate::proc;
use crate::recording::{Formats, Meta, ProfileMeta, Store};
use crate::sys;
use crate::syscalls::Numbers;
use crate::tracefs::Instance;

/// How often a call with an argument that rules are made of is seen before it is left out like the others: a closed set of
/// values shows within far fewer.
const LIMIT: u16 = 4096;

/// A filter is written at once, and is less than a page: the smallest that Linux has.
const FILTER_MAX: usize = 4096;

// Times are in milliseconds of the monotonic clock.

/// From the container's first call to the first narrowing: what a program does at its start has come by then.
const FIRST_AFTER: u64 = 200;
/// The least between two.
const AGAIN_AFTER: u64 = 1_000;
/// The most that a number waits, where it is not called often.
const LATEST_AFTER: u64 = 32_000;
/// Calls of known numbers that make it worth while to narrow the filter before that.
const NOISE: u32 = 256;
/// So many of them that they might fill the buffer, and how long they are borne with.
const FLOOD: u32 = 8_192;
const FLOOD_AFTER: u64 = 20;

/// How long it may take to list the tasks of a join, in nanoseconds.
const JOIN_WITHIN: u64 = 2_000_000_000;

/// None of the numbers that there are.
const NO_CALL: SyscallNr = SyscallNr::MIN;

/// Numbers of an ABI that are never left out: execve, execveat, exit, exit_group.
static KEPT: [[SyscallNr; 4]; 4] = [[59, 322, 60, 231], [11, 358, 1, 252], [221, 281, 93, 94], [11, 387, 1, 248]];

/// sigreturn and rt_sigreturn, which leave with the number -1, and seccomp, by ABI.
static OTHERS: [[SyscallNr; 3]; 4] = [[NO_CALL, 15, 317], [119, 173, 354], [NO_CALL, 139, 277], [119, 173, 383]];

/// How many there are in [`LIMITED`].
const LIMITED_LEN: usize = 6;

/// The place of prctl in [`LIMITED`].
const PRCTL: usize = 2;

/// prctl's PR_SET_SECCOMP.
const SET_SECCOMP: u64 = 22;

/// Calls with an argument that rules are made of, and their numbers by ABI.
static LIMITED: [(&str, [SyscallNr; 4]); LIMITED_LEN] = [
    ("ioctl", [16, 54, 29, 54]),
    ("clone", [56, 120, 220, 120]),
    ("prctl", [157, 172, 167, 172]),
    ("socket", [41, 359, 198, 281]),
    ("personality", [135, 136, 92, 136]),
    ("socketcall", [NO_CALL, 102, NO_CALL, 102]),
];

fn of<T: Copy>(table: &[T; 4], abi: Abi) -> T {
    let [x86_64, i386, aarch64, arm] = *table;
    match abi {
        Abi::X86_64 => x86_64,
        Abi::I386 => i386,
        Abi::Aarch64 => aarch64,
        Abi::Arm => arm,
    }
}

/// What the recorder knows of the calls of a recording of mode `profile`.
#[derive(Debug)]
pub(super) struct Quiet {
    /// There but while events are taken.
    lanes: Option<Box<Lanes>>,
    schema: Schema,
    arch: Arch,
    init: Pid,
    /// The container's program was executed.
    started: bool,
    /// Whose numbers are known.
    abi: Abi,
    /// Whether that was found out and not assumed.
    abi_seen: bool,
    /// Programs of two ABIs ran, or the kernel takes no filter: nothing is left out any more.
    given_up: bool,
    known: Numbers,
    excluded: Numbers,
    /// How often those of [`LIMITED`] were called.
    limited: [u16; LIMITED_LEN],
    /// Tasks whose last call had the number of the other ABI's exit_group.
    leaving: Tasks,
    /// Tasks that came into the container from outside and still are the runtime.
    joining: Tasks,
    /// How many there are.
    joins: u32,
    /// While one comes in, children of its may be there whose birth was not seen: up to this time nothing becomes known.
    joins_until: Timestamp,
    /// Some task may have a filter of seccomp's.
    confined: bool,
    /// Numbers became known since the filter was made.
    pending: bool,
    /// Calls of known numbers since then.
    noise: u32,
    /// When the filter was made, or the container began.
    last: u64,
    wait: u64,
    /// For meta.json.
    pub profile: ProfileMeta,
    /// What the user should know.
    pub problem: Option<String>,
    /// `profile` is not yet in meta.json.
    pub changed: bool,
}

impl Quiet {
    /// For a recording that begins.
    #[inline(never)]
    pub fn new(meta: &Meta, formats: &Formats, cpus: usize) -> Result<Quiet> {
        let arch = meta.arch().ok_or_else(|| Error::unsupported("system call tables for this machine"))?;
        let mut quiet = Quiet {
            lanes: Some(Lanes::new(formats.layout()?, cpus)),
            schema: formats.schema()?,
            arch,
            init: meta.init_pid,
            started: false,
            abi: arch.native_abi(),
            abi_seen: false,
            given_up: false,
            known: Numbers::default(),
            excluded: Numbers::default(),
            limited: [0; LIMITED_LEN],
            leaving: Tasks::default(),
            joining: Tasks::default(),
            joins: 0,
            joins_until: 0,
            confined: false,
            pending: false,
            noise: 0,
            last: 0,
            wait: FIRST_AFTER,
            profile: ProfileMeta::default(),
            problem: None,
            changed: false,
        };
        if !meta.starts_in_runtime {
            quiet.start();
            for task in &meta.tasks {
                quiet.runs(Abi::from_name(&task.abi), None);
                quiet.confined |= is_confined(task.tid);
            }
        }
        Ok(quiet)
    }

    fn start(&mut self) {
        self.started = true;
        self.last = sys::monotonic_ms();
        self.profile.abi = self.abi.name().to_owned();
    }

    /// Stores what the kernel has and looks at the events up to `until`. Gives the bytes taken from the busiest CPU.
    /// With `joined` what is little is put together on the disk, which somebody who follows would miss.
    pub fn take(
        &mut self,
        drain: &mut Drain,
        store: &mut Store,
        instance: &Instance,
        until: Timestamp,
        joined: bool,
    ) -> Result<u64> {
        let Some(mut lanes) = self.lanes.take() else { return Ok(0) };
        let mut read = |slot: usize, page: &mut [u8]| {
            let count = drain.read(slot, page)?;
            let bytes = page.get(..count).unwrap_or_default();
            match joined {
                _ if count == 0 => {}
                true => store.append_joined(slot, bytes)?,
                false => store.append_page(slot, bytes)?,
            }
            Ok(count)
        };
        let taken = lanes.walk(until, &mut read, &mut |ts, data| self.look(ts, data, instance));
        self.lanes = Some(lanes);
        let taken = taken?;
        store.trim()?;
        Ok(taken)
    }

    /// In how many milliseconds there is something to do without being woken.
    pub fn due(&self, now: u64) -> u64 {
        if self.lanes.as_deref().is_some_and(Lanes::waits) {
            // They are whole by then.
            return 3;
        }
        self.narrow_in(now)
    }

    /// In how many milliseconds the filter is to be narrowed.
    fn narrow_in(&self, now: u64) -> u64 {
        if !self.pending || self.given_up {
            return u64::MAX;
        }
        let wait = match self.noise {
            FLOOD.. => FLOOD_AFTER,
            NOISE.. => self.wait.min(AGAIN_AFTER),
            _ => self.wait,
        };
        (self.last + wait).saturating_sub(now)
    }

    #[inline]
    fn look(&mut self, ts: Timestamp, data: &[u8], instance: &Instance) {
        let Some(common) = Schema::common(data) else { return };
        match self.schema.decode(common.id, data) {
            Event::SysEnter { .. } if !self.started || (self.joins > 0 && ts < self.joins_until) => {}
            Event::SysEnter { .. } if self.joins > 0 && self.joining.has(common.pid) => {}
            Event::SysEnter { nr, args } => self.entered(common.pid, nr, &args, instance),
            Event::Fork { parent, child, .. } if self.joins > 0 => self.joins(child, self.joining.has(parent)),
            Event::Mark { text } => {
                if let Some(joined) = Joined::parse(text) {
                    self.joins(joined.tid, joined.seen == Seen::SetUp);
                    self.joins_until = ts.saturating_add(JOIN_WITHIN);
                    if joined.seen == Seen::Late {
                        self.runs(proc::abi(joined.tgid), Some(instance));
                    }
                }
            }
            Event::Exec { pid, filename, .. } if self.joining.has(pid) && is_again(filename) => {}
            Event::Exec { pid, .. } => {
                self.joins(pid, false);
                if !self.started && pid == self.init {
                    // What was before is the runtime's.
                    self.start();
                }
                if self.started && self.arch.compat_abi().is_some() {
                    self.leaving.set(pid, false);
                    self.runs(proc::abi(pid), Some(instance));
                }
            }
            Event::Exit { pid, .. } => {
                self.joins(pid, false);
                if self.leaving.has(pid) {
                    self.leaving.set(pid, false);
                    self.runs(self.other_abi(), Some(instance));
                }
            }
            _ => {}
        }
    }

    /// Notes whether a task is the runtime of a join.
    fn joins(&mut self, pid: Pid, joins: bool) {
        match (self.joining.has(pid), joins) {
            (false, true) => self.joins += 1,
            (true, false) => self.joins = self.joins.saturating_sub(1),
            _ => return,
        }
        self.joining.set(pid, joins);
    }

    fn other_abi(&self) -> Option<Abi> {
        let (native, compat) = (self.arch.native_abi(), self.arch.compat_abi());
        if self.abi == native {
            compat
        } else {
            Some(native)
        }
    }

    /// A program of this ABI runs.
    fn runs(&mut self, abi: Option<Abi>, instance: Option<&Instance>) {
        let Some(abi) = abi else { return };
        if self.profile.abi == MIXED || abi == self.abi {
            self.abi_seen = true;
            return;
        }
        if !self.abi_seen && self.known.is_empty() {
            self.abi = abi;
            self.abi_seen = true;
            self.profile.abi = abi.name().to_owned();
            return;
        }
        self.profile.abi = MIXED.to_owned();
        self.profile.narrowed_past = self.profile.narrowed > 0;
        if self.profile.narrowed_past {
            let what =
                [abi.name(), " programs ran while calls were left out by their numbers: some of theirs are missing"];
            self.problem = Some(what.concat());
        }
        if let Some(instance) = instance {
            self.give_up(instance);
        }
        self.given_up = true;
    }

    /// Has everything recorded again.
    fn give_up(&mut self, instance: &Instance) {
        self.given_up = true;
        self.excluded = Numbers::default();
        let mut result = self.exits(instance, true);
        for event in ["sys_enter", "sys_exit"] {
            result = result.and(instance.set_filter("raw_syscalls", event, "0"));
        }
        if let Err(why) = result {
            self.problem = Some(["calls are still left out: ", &why.to_string()].concat());
        }
        self.tell();
    }

    /// Switches exits on or off.
    fn exits(&mut self, instance: &Instance, on: bool) -> Result<()> {
        if self.profile.without_exits == on {
            instance.enable_event("raw_syscalls", "sys_exit", on)?;
            self.profile.without_exits = !on;
            self.changed = true;
        }
        Ok(())
    }

    #[inline]
    fn entered(&mut self, pid: Pid, nr: SyscallNr, args: &[u64; 6], instance: &Instance) {
        if self.excluded.has(nr) {
            // It was under way when the filter changed.
            return;
        }
        if self.known.has(nr) {
            self.noise = self.noise.saturating_add(1);
            return;
        }
        self.entered_new(pid, nr, args, instance);
    }

    /// A call that is not known.
    #[cold]
    fn entered_new(&mut self, pid: Pid, nr: SyscallNr, args: &[u64; 6], instance: &Instance) {
        let ends = self.other_abi().is_some_and(|abi| of(&KEPT, abi).last() == Some(&nr));
        self.leaving.set(pid, ends);
        let [sigreturn, rt_sigreturn, seccomp] = of(&OTHERS, self.abi);
        let limited = LIMITED.iter().position(|(_, numbers)| of(numbers, self.abi) == nr);
        let [first, ..] = *args;
        if nr == seccomp || (limited == Some(PRCTL) && first == SET_SECCOMP) {
            self.confined = true;
            if self.exits(instance, true).is_err() {
                self.give_up(instance);
            }
        }
        if ends || nr < 0 || of(&KEPT, self.abi).contains(&nr) {
            return;
        }
        if let Some((count, (name, _))) = limited.and_then(|at| Some((self.limited.get_mut(at)?, LIMITED.get(at)?))) {
            *count += 1;
            if *count < LIMIT {
                return;
            }
            self.profile.limited.push((*name).to_owned());
        }
        self.pending |= self.known.add(nr);
        if nr == sigreturn || nr == rt_sigreturn {
            self.known.add(-1);
        }
    }

    /// Narrows the filter if it is time to.
    #[inline(never)]
    pub fn narrow(&mut self, instance: &Instance) {
        if self.narrow_in(sys::monotonic_ms()) > 0 {
            return;
        }
        if !self.confined && !is_confined(self.init) {
            // Nothing can be refused, and a call's result tells nothing of it.
            let _ = self.exits(instance, false);
        }
        let text = filter_text(&self.known);
        let mut result = Ok(());
        if !self.profile.without_exits {
            result = instance.set_filter("raw_syscalls", "sys_exit", &text);
        }
        result = result.and_then(|()| instance.set_filter("raw_syscalls", "sys_enter", &text));
        (self.pending, self.noise) = (false, 0);
        if let Err(why) = result {
            self.problem = Some(["nothing is left out: ", &why.to_string()].concat());
            self.give_up(instance);
            return;
        }
        self.excluded = self.known.clone();
        self.profile.narrowed += 1;
        self.wait = if self.profile.narrowed == 1 { AGAIN_AFTER } else { (self.wait * 2).min(LATEST_AFTER) };
        self.last = sys::monotonic_ms();
        self.tell();
    }

    fn tell(&mut self) {
        self.profile.known = self.excluded.len();
        self.profile.excluded.clear();
        for (first, last) in ranges(&self.excluded) {
            let text = &mut self.profile.excluded;
            text.push_str(if text.is_empty() { "" } else { "," });
            text.push_str(&first.to_string());
            if last > first {
                text.push('-');
                text.push_str(&last.to_string());
            }
        }
        self.changed = true;
    }
}

/// What stands in the place of the ABI once there are two.
const MIXED: &str = "mixed";

/// Whether seccomp may refuse calls of this task; true for one that is gone.
fn is_confined(pid: Pid) -> bool {
    // A kernel without seccomp has no such line, and refuses nothing.
    proc::status(pid, "Seccomp").map_or(!proc::is_alive(pid), |mode| mode != "0")
}

fn ranges(numbers: &Numbers) -> Vec<Range> {
    let (mut found, mut from) = (Vec::new(), SyscallNr::MIN);
    while let Some(nr) = numbers.next(from) {
        add(&mut found, (nr, nr));
        from = nr + 1;
    }
    found
}

/// The condition that lets all numbers through but these. More than fit into it go through where there are too many.
fn filter_text(excluded: &Numbers) -> String {
    let (mut passing, mut next): (Vec<Range>, _) = (Vec::new(), SyscallNr::MIN);
    for (first, last) in ranges(excluded) {
        passing.push((next, first - 1));
        next = last + 1;
    }
    passing.push((next, SyscallNr::MAX));
    loop {
        let mut text = String::new();
        push_ranges(&mut text, &passing);
        if text.len() < FILTER_MAX {
            return text;
        }
        let joined = passing.chunks(2).filter_map(|some| Some((some.first()?.0, some.last()?.1)));
        passing = joined.collect();
    }
}

#[cfg(test)]
#[path = "tests/quiet.rs"]
mod tests;
