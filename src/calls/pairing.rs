// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Enter and exit matched per task, and what it means where one is without the other.
//!
//! An exit without an enter is: the return of clone in the child (x86 writes one, arm does not; kernel/entry), a call
//! answered by seccomp (which runs before `trace_sys_enter`), a call that began before tracing did, or one whose enter
//! was lost. The kernel marks none of them, so the task's history decides. execve's exit comes after
//! `sched_process_exec`, on x86 with the new program's number; `rt_sigreturn` on x86 and arm64 exits with the number -1.

use core::ops::ControlFlow;
use std::rc::Rc;

use crate::arch::{Abi, Arch};
use crate::error::{Error, Result};
use crate::format::Event;
use crate::ids::{CpuId, Pid, SyscallNr, Timestamp};
use crate::recording::{Item, Meta, Stream};
use crate::syscalls::Numbers;
use crate::tasks::{Abis, Comm, Join, Slot, Task, Tasks, Votes};
use crate::words::quoted;

use super::contents::EarlyContents;
use super::descriptors::{Descriptors, Files};
use super::ending::{GroupEnd, ThreadEnd};
use super::lifecycle::about_recording;
use super::special::{is_exec, is_sigreturn, special, ExecMark};
use super::{Call, End, Steps, What};

/// What filters of runtimes answer, as results.
const EPERM: i64 = -1;
const ENOSYS: i64 = -38;

/// Where a task stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not known: no event yet.
    #[default]
    Unknown,
    /// Made while we watched, no call yet.
    Newborn,
    /// In user space.
    Outside,
    /// In a call.
    Inside,
    /// In `exit` or `exit_group`, which has been told already.
    Leaving,
}

/// What is kept per task.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) phase: Phase,
    /// Time of its last call event.
    pub(super) last: Timestamp,
    /// The call it is in ([`Phase::Inside`]), or the last one it was in. Its task is the one that entered it: an execve by
    /// another thread than the leader changes the number.
    pub(super) call: Call,
    /// The call's ticket with [`Steps`].
    pub(super) ticket: u64,
    /// The arguments of that call whose strings have been told, a bit each.
    pub(super) told: u8,
    /// The string that was told first, where descriptors are followed.
    pub(super) path: Option<Rc<[u8]>>,
    /// Its descriptors, where they are followed.
    pub(super) files: Files,
    /// It has called execve and not entered a call since: the ABI of the program it ran before.
    pub(super) before_exec: Option<Abi>,
    /// Whether its own end is in sight.
    pub(super) end: ThreadEnd,
    /// Its process's; kept with the leader only.
    pub(super) group: GroupEnd,
}

impl Default for State {
    fn default() -> State {
        State {
            phase: Phase::Unknown,
            last: 0,
            call: Call {
                entered: 0,
                ended: 0,
                ret: 0,
                args: [0; 6],
                nr: 0,
                pid: 0,
                tgid: 0,
                comm: Comm::default(),
                abi: Abi::X86_64,
                end: End::Open,
                uncertain: false,
                runtime: false,
            },
            ticket: 0,
            told: 0,
            path: None,
            files: 0,
            before_exec: None,
            end: ThreadEnd::default(),
            group: GroupEnd::default(),
        }
    }
}

/// Follows the tasks of a recording and pairs their calls; see the module's description.
pub struct Tracker {
    pub(super) tasks: Tasks<State>,
    pub(super) native: Abi,
    /// Whether the child of clone writes an exit of its own.
    child_returns: bool,
    /// Whether exits are missing, those of calls that did not fail or of any: a call then ends, without a result, when its
    /// task does anything else.
    exits_missing: bool,
    /// Where enters are missing of numbers that came before: those numbers. An exit of one alone is no refusal.
    came_before: Option<Box<Numbers>>,
    /// Whether an exit alone may be a refusal at all: not where the first calls of a number may be missing.
    tells_refusals: bool,
    /// What execve's exit tells of the new program's ABI.
    exec_mark: ExecMark,
    /// The latest end of all gaps so far.
    gap_end: Timestamp,
    /// CPUs whose events are missing since a damaged place, up to their next event.
    damaged: Vec<CpuId>,
    /// The latest end of the other gaps while there are such CPUs; `gap_end` then lies beyond all times.
    gap_end_known: Timestamp,
    pub(super) votes: Option<Votes>,
    pub(super) early: EarlyContents,
    /// Where they are followed: not for a summary, which shows none.
    pub(super) descriptors: Option<Box<Descriptors>>,
    /// Time of the newest event.
    now: Timestamp,
}

/// The traced machine's architecture, or why its calls cannot be named.
fn arch(meta: &Meta) -> Result<Arch> {
    meta.arch().ok_or_else(|| Error::unsupported("system call tables for ".to_owned() + &quoted(&meta.host.machine)))
}

impl Tracker {
    /// For a recording; `abis` where an earlier pass found them. With `vote` the evidence for the next pass is gathered.
    pub fn new(meta: &Meta, abis: Option<Abis>, vote: bool) -> Result<Tracker> {
        let arch = arch(meta)?;
        let abis = abis.unwrap_or_else(|| Abis::new(arch));
        Ok(Tracker {
            native: abis.native,
            child_returns: matches!(arch, Arch::X86_64 | Arch::X86),
            exits_missing: meta.options.errors_only || meta.first_calls_only(),
            came_before: meta.first_calls_only().then(Box::default),
            tells_refusals: !meta.first_calls_only() || (!meta.profile.narrowed_past && meta.trimmed.events == 0),
            exec_mark: ExecMark::new(arch, &meta.host.release),
            gap_end: 0,
            damaged: Vec::new(),
            gap_end_known: 0,
            votes: (vote && abis.compat.is_some()).then(|| Votes::new(&abis)),
            early: EarlyContents::default(),
            descriptors: None,
            tasks: Tasks::new(meta, abis),
            now: 0,
        })
    }

    /// Has it tell what descriptors stand for, from what was open at the start on.
    pub fn follow_descriptors(&mut self, meta: &Meta) {
        // Where most calls that open and close are missing, what they stand for is not known.
        let Some(arch) = meta.arch().filter(|_| !meta.first_calls_only()) else { return };
        let mut descriptors = Box::new(Descriptors::new(arch.native_abi(), arch.compat_abi()));
        for known in &meta.tasks {
            let slot = self.tasks.slot(0, known.tid);
            let files = self.files_of(slot, &mut descriptors);
            descriptors.was_in(files, known.cwd.as_bytes());
            for open in &known.fds {
                descriptors.was_open(files, open.fd, open.path.as_bytes());
            }
        }
        self.descriptors = Some(descriptors);
    }

    /// The table of a task; threads of a process that were there before the recording share one.
    pub(super) fn files_of(&mut self, slot: Slot, descriptors: &mut Descriptors) -> Files {
        let Some(task) = self.tasks.get(slot) else { return 0 };
        let (files, tgid, pid) = (task.state.files, task.tgid, task.pid);
        if files != 0 {
            return files;
        }
        let leader = if tgid != 0 && tgid != pid { self.tasks.find(tgid) } else { None };
        let of_leader = leader.and_then(|leader| self.tasks.get(leader)).map_or(0, |leader| leader.state.files);
        let files = if of_leader != 0 { descriptors.share(of_leader) } else { descriptors.make() };
        if let Some(task) = self.tasks.get_mut(slot) {
            task.state.files = files;
        }
        files
    }

    /// Tasks seen so far, the runtime's too.
    pub fn tasks_seen(&self) -> u64 {
        self.tasks.seen
    }

    /// Whether the container's first execve is still to come.
    pub fn in_runtime(&self) -> bool {
        self.tasks.in_runtime()
    }

    /// Time of the newest event.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The ABIs by the evidence gathered, where that was asked for.
    pub fn abis(&self) -> Abis {
        let abis = self.tasks.abis().clone();
        match &self.votes {
            Some(votes) => abis.with(votes),
            None => abis,
        }
    }

    /// Takes everything up to the time `until`. False once `steps` wants no more.
    pub fn follow(&mut self, stream: &mut Stream, until: Timestamp, steps: &mut dyn Steps) -> Result<bool> {
        let run = stream.run(until, |item| {
            self.feed(item, steps);
            if steps.is_closed() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        Ok(run.is_continue())
    }

    /// Takes the next item of the stream.
    #[inline]
    pub fn feed(&mut self, item: Item<'_>, steps: &mut dyn Steps) {
        match item {
            // Numbers below 0 are no task's: damage that decoded by chance.
            Item::Event { pid, .. } if pid < 0 => {}
            Item::Event { ts, cpu, pid, event } => {
                self.now = ts;
                if !self.damaged.is_empty() {
                    self.recovered(ts, cpu);
                }
                match event {
                    Event::SysEnter { nr, args } => self.enter(ts, cpu, pid, nr, &args, steps),
                    Event::SysExit { nr, ret } => self.exit(ts, cpu, pid, nr, ret, steps),
                    other => self.other(ts, cpu, pid, other, steps),
                }
            }
            Item::Lost { cpu, from, to, count } => {
                self.gap_end = self.gap_end.max(to);
                self.gap_end_known = self.gap_end_known.max(to);
                self.forget_descriptors();
                steps.note(about_recording(from, What::Lost { cpu, from, to, count }));
            }
            Item::Damaged { cpu, ts, file, offset, error } => {
                self.forget_descriptors();
                // How far the missing events reach shows with the CPU's next one.
                self.gap_end = Timestamp::MAX;
                if !self.damaged.contains(&cpu) {
                    self.damaged.push(cpu);
                }
                steps.note(about_recording(ts, What::Damaged { cpu, file, offset, error }));
            }
        }
    }

    fn forget_descriptors(&mut self) {
        if let Some(descriptors) = &mut self.descriptors {
            descriptors.forget();
        }
    }

    #[inline(never)]
    fn descriptors_entered(&mut self, slot: Slot, steps: &mut dyn Steps) {
        let Some(mut descriptors) = self.descriptors.take() else { return };
        self.files_of(slot, &mut descriptors);
        if let Some(task) = self.tasks.get_mut(slot) {
            descriptors.entered(&task.state, steps);
        }
        self.descriptors = Some(descriptors);
    }

    /// An event on `cpu`: if it was missing, it is so no more.
    #[cold]
    fn recovered(&mut self, ts: Timestamp, cpu: CpuId) {
        if let Some(at) = self.damaged.iter().position(|other| *other == cpu) {
            self.damaged.swap_remove(at);
            self.gap_end_known = self.gap_end_known.max(ts);
            if self.damaged.is_empty() {
                self.gap_end = self.gap_end_known;
            }
        }
    }

    /// Ends the recording: what is open stays unfinished.
    pub fn finish(&mut self, steps: &mut dyn Steps) {
        for task in self.tasks.iter_mut() {
            leave_open(task, self.now, steps);
        }
    }

    #[inline]
    fn enter(&mut self, ts: Timestamp, cpu: CpuId, pid: Pid, nr: SyscallNr, args: &[u64; 6], steps: &mut dyn Steps) {
        let slot = self.tasks.slot(cpu, pid);
        let Some(task) = self.tasks.get_mut(slot) else { return };
        if task.ended.is_some() {
            // The number came round again and the birth was lost.
            self.tasks.make(pid);
            return self.enter(ts, cpu, pid, nr, args, steps);
        }
        if task.state.phase == Phase::Inside {
            // Its exit was lost, or not recorded because it did not fail.
            leave_open(task, ts, steps);
        }
        if !task.settled {
            if let Some(votes) = &mut self.votes {
                task.settled = votes.entered(task.image, nr, args);
            }
        }
        let survived = task.state.end.entered_call();
        let (tgid, runtime, comm, abi) = (task.tgid, task.runtime, task.comm, task.abi);
        if let (Some(numbers), false) = (&mut self.came_before, runtime) {
            numbers.add(nr);
        }
        let special = special(abi);
        let leaves = nr == special.exit || nr == special.exit_group;
        let state = &mut task.state;
        state.last = ts;
        state.call = Call {
            entered: ts,
            ended: ts,
            ret: 0,
            args: *args,
            nr,
            pid,
            tgid,
            comm,
            abi,
            end: End::Open,
            uncertain: false,
            runtime,
        };
        if leaves {
            state.phase = Phase::Leaving;
            state.call.end = End::Never;
            let status = args.first().copied().unwrap_or(0);
            if nr == special.exit {
                state.end.exit(status);
            }
            steps.whole(&state.call);
            if nr == special.exit_group {
                self.group(slot, |group| group.exit_group(status));
            }
            return;
        }
        state.phase = Phase::Inside;
        state.before_exec = None;
        state.ticket = steps.opened(&state.call);
        state.told = 0;
        state.path = None;
        if !self.early.is_empty() {
            self.early.entered(pid, nr, state, steps);
        }
        if self.descriptors.is_some() {
            self.descriptors_entered(slot, steps);
        }
        if is_exec(abi, nr) {
            self.group(slot, |group| group.exec_entered(pid));
        }
        if survived {
            self.group(slot, |group| group.survived());
        }
    }

    #[inline]
    fn exit(&mut self, ts: Timestamp, cpu: CpuId, pid: Pid, nr: SyscallNr, ret: i64, steps: &mut dyn Steps) {
        let slot = self.tasks.slot(cpu, pid);
        let Some(task) = self.tasks.get_mut(slot) else { return };
        let state = &mut task.state;
        // A gap that reaches into the time since the task's last event may have swallowed others of it.
        let uncertain = self.gap_end > state.last;
        let Call { abi, nr: entered, .. } = state.call;
        let matches = nr == entered
            || (nr == -1 && is_sigreturn(abi, entered))
            // x86 puts the new program's number for execve in place of the caller's (arch/x86/kernel/process_64.c
            // `set_personality_ia32`, seen on 6.18); arm64 keeps it.
            || (state.before_exec.is_some() && ret == 0);
        if state.phase == Phase::Inside && matches {
            state.phase = Phase::Outside;
            state.last = ts;
            let call = &mut state.call;
            call.ended = ts;
            call.ret = ret;
            call.end = End::Returned;
            call.uncertain = uncertain;
            call.tgid = task.tgid;
            call.runtime = task.runtime;
            if let Some(descriptors) = &mut self.descriptors {
                descriptors.returned(state, steps);
            }
            steps.closed(state.ticket, &state.call);
            if state.before_exec.take().is_some() {
                if let Some(abi) = self.exec_mark.abi(nr) {
                    task.abi = abi;
                    task.settled = true;
                }
            }
            if !task.settled && !is_sigreturn(abi, entered) {
                if let Some(votes) = &mut self.votes {
                    task.settled = votes.returned(task.image, ret);
                }
            }
            if ret < 0 && is_exec(abi, nr) {
                self.group(slot, |group| group.exec_failed(pid));
            }
            return;
        }
        self.exit_alone(ts, slot, nr, ret, uncertain, steps);
    }

    /// An exit that is not that of the open call.
    #[cold]
    fn exit_alone(
        &mut self,
        ts: Timestamp,
        slot: Slot,
        nr: SyscallNr,
        ret: i64,
        uncertain: bool,
        steps: &mut dyn Steps,
    ) {
        if self.tasks.get(slot).is_some_and(|task| task.ended.is_some()) {
            // The number came round again and the birth was lost.
            if let Some(pid) = self.tasks.get(slot).map(|task| task.pid) {
                self.tasks.make(pid);
            }
        }
        let (child_returns, exits_missing) = (self.child_returns, self.exits_missing);
        let came_before = self.came_before.as_deref();
        let refusable = self.tells_refusals && !came_before.is_some_and(|numbers| numbers.has(nr));
        // Of a task that was born meanwhile, a call that did not come before would have come with its enter.
        let whole = came_before.is_some();
        let refusable_in = |phase| match phase {
            Phase::Outside => true,
            Phase::Inside => exits_missing,
            Phase::Newborn => whole,
            Phase::Unknown | Phase::Leaving => false,
        };
        let Some(task) = self.tasks.get_mut(slot) else { return };
        let before = task.state.phase;
        // While a thread that joins is being listed, an enter of its may be missing: only what a filter answers is a refusal.
        let refusable = refusable && (task.join != Join::SetUp || matches!(ret, EPERM | ENOSYS));
        leave_open(task, ts, steps);
        task.state.phase = Phase::Outside;
        task.state.last = ts;
        // An execve returns with the number of the old program's ABI or of the new one's, see `exit`.
        let before_exec = task.state.before_exec.take();
        if let Some(abi) = before_exec.and_then(|_| self.exec_mark.abi(nr)) {
            task.abi = abi;
            task.settled = true;
        }
        let abi = before_exec.filter(|before| is_exec(*before, nr)).unwrap_or(task.abi);
        let special = special(abi);
        let forks = nr == special.clone || nr == special.clone3 || nr == special.fork || nr == special.vfork;
        if child_returns && ret == 0 && forks && matches!(before, Phase::Unknown | Phase::Newborn) {
            return;
        }
        let call = Call {
            entered: ts,
            ended: ts,
            ret,
            args: [0; 6],
            nr,
            pid: task.pid,
            tgid: task.tgid,
            comm: task.comm,
            abi,
            // A sigreturn shows as -1; a skipped call (ptrace) too. Inside another call, whose exit is missing, is outside.
            end: if refusable && refusable_in(before) && !uncertain && nr >= 0 {
                End::Refused
            } else {
                End::StartUnknown
            },
            uncertain,
            runtime: task.runtime,
        };
        steps.whole(&call);
    }
}

/// Ends the call that the task is in, if any, without a result.
pub(super) fn leave_open(task: &mut Task<State>, ts: Timestamp, steps: &mut dyn Steps) {
    if task.state.phase == Phase::Inside {
        task.state.phase = Phase::Unknown;
        let call = &mut task.state.call;
        call.ended = ts;
        call.end = End::Unfinished;
        call.tgid = task.tgid;
        call.runtime = task.runtime;
        steps.closed(task.state.ticket, call);
    }
}
