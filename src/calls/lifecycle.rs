// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Births, execs, signals and ends: the events between calls, and what they do to the call a task is in.
//!
//! The kernel writes two events for a birth (`task_newtask`, `sched_process_fork`), both in the parent; an exec by a thread
//! lets the leader's number pass to it; a task that ends takes its open call along. Sources: kernel/fork.c, fs/exec.c
//! `de_thread`, kernel/exit.c `do_exit`, kernel/signal.c.

use crate::format::{Event, Joined, Seen};
use crate::ids::{CpuId, Pid, Timestamp};
use crate::tasks::{Comm, Join, Slot};

use super::contents::path_of_exec;
use super::ending::{GroupEnd, ThreadEnd, KILL};
use super::pairing::{leave_open, Phase, Tracker};
use super::{Note, Steps, What};

impl Tracker {
    /// Changes what is known of the end of the process that the task belongs to.
    pub(super) fn group(&mut self, slot: Slot, change: impl FnOnce(&mut GroupEnd)) {
        let leader = self.leader(slot);
        if let Some(task) = self.tasks.get_mut(leader) {
            change(&mut task.state.group);
        }
    }

    fn leader(&self, slot: Slot) -> Slot {
        match self.tasks.get(slot) {
            Some(task) if task.tgid != 0 && task.tgid != task.pid => self.tasks.find(task.tgid).unwrap_or(slot),
            _ => slot,
        }
    }

    /// Ends the call that a task of this number is in, if there is one.
    fn leave_open(&mut self, pid: Pid, ts: Timestamp, steps: &mut dyn Steps) {
        if let Some(task) = self.tasks.find(pid).and_then(|slot| self.tasks.get_mut(slot)) {
            leave_open(task, ts, steps);
        }
    }

    #[cold]
    #[inline(never)]
    pub(super) fn other(&mut self, ts: Timestamp, cpu: CpuId, pid: Pid, event: Event<'_>, steps: &mut dyn Steps) {
        match event {
            Event::NewTask { pid: child, flags, comm } => self.born(ts, cpu, pid, child, Some(flags), comm, steps),
            Event::Fork { parent, child, comm } => self.born(ts, cpu, parent, child, None, comm, steps),
            Event::Rename { pid, comm } => self.tasks.renamed(cpu, pid, comm),
            Event::Exec { pid, old_pid, filename } => self.execed(ts, pid, old_pid, filename, steps),
            Event::Exit { pid, comm } => self.ended(ts, cpu, pid, comm, steps),
            Event::SignalDeliver { sig, code, handler } => {
                let slot = self.tasks.slot(cpu, pid);
                let leader = self.leader(slot);
                let Some(mut group) = self.tasks.get(leader).map(|task| task.state.group) else { return };
                if let Some(task) = self.tasks.get_mut(slot) {
                    task.state.end.delivered(&mut group, sig, handler);
                }
                self.group(slot, |known| *known = group);
                if sig != KILL {
                    self.note(ts, slot, What::Signal { sig, code }, steps);
                }
            }
            Event::SignalGenerate { sig, pid: target, result: 0, .. } => {
                if let Some(slot) = self.tasks.find(target) {
                    self.group(slot, |group| group.sent(sig));
                }
            }
            Event::Mark { text } => {
                if let Some(joined) = Joined::parse(text) {
                    self.joined(ts, joined, steps);
                }
            }
            Event::Contents(contents) => self.contents(cpu, pid, &contents, steps),
            Event::SignalGenerate { .. } | Event::Other { .. } | Event::SysEnter { .. } | Event::SysExit { .. } => {}
        }
    }

    #[allow(clippy::too_many_arguments)] // the fields of one event
    fn born(
        &mut self,
        ts: Timestamp,
        cpu: CpuId,
        parent: Pid,
        child: Pid,
        flags: Option<u64>,
        comm: &[u8],
        steps: &mut dyn Steps,
    ) {
        let parent = self.tasks.slot(cpu, parent);
        if child <= 0 {
            return;
        }
        // A namesake whose end was lost leaves its call behind.
        self.leave_open(child, ts, steps);
        let Some(slot) = self.tasks.born(ts, parent, child, comm, flags, |state| state.phase == Phase::Newborn) else {
            return;
        };
        if let Some(mut descriptors) = self.descriptors.take() {
            let of_parent = self.files_of(parent, &mut descriptors);
            let files = descriptors.born(of_parent, flags.unwrap_or(0));
            if let Some(task) = self.tasks.get_mut(slot) {
                task.state.files = files;
            }
            self.descriptors = Some(descriptors);
        }
        let mut thread = None;
        if let Some(task) = self.tasks.get_mut(slot) {
            task.state.phase = Phase::Newborn;
            task.state.last = ts;
            thread = flags.map(|_| task.tgid != task.pid);
        }
        self.note(ts, parent, What::Fork { child, thread, comm: Comm::new(comm) }, steps);
    }

    /// The recorder tells of a thread that came into the container, of whose events there are none yet.
    fn joined(&mut self, ts: Timestamp, joined: Joined<'_>, steps: &mut dyn Steps) {
        let Joined { tid, tgid, seen, comm } = joined;
        let known = self.tasks.find(tid).and_then(|slot| self.tasks.get(slot));
        let known = known.map(|task| task.ended.is_none() && task.join == Join::SetUp);
        if seen == Seen::Missed && known == Some(false) {
            // It was listed as its parent's child, and has run and ended.
            return;
        }
        let news = self.tasks.joined(tid, tgid, seen != Seen::SetUp, comm);
        if let Some(slot) = news.filter(|_| seen != Seen::SetUp && tid == tgid) {
            self.note(ts, slot, What::Joined { seen }, steps);
            match self.tasks.get_mut(slot).filter(|_| seen == Seen::Missed) {
                // One of ours ends in its place, whose events are still to come.
                Some(task) if known.is_some() => task.runtime = true,
                Some(_) => self.tasks.exited(ts, slot),
                None => {}
            }
        }
    }

    fn execed(&mut self, ts: Timestamp, pid: Pid, old_pid: Pid, filename: &[u8], steps: &mut dyn Steps) {
        if pid <= 0 {
            return;
        }
        // The leader that made way, and whose end was lost.
        if old_pid != pid {
            self.leave_open(pid, ts, steps);
        }
        let old = self.tasks.find(old_pid).and_then(|slot| self.tasks.get(slot));
        let before = old.map(|task| task.abi);
        let joins = old.is_some_and(|task| task.join == Join::SetUp);
        let native = self.native;
        let slot = self.tasks.execed(pid, old_pid, filename);
        if let Some(task) = self.tasks.get_mut(slot) {
            path_of_exec(&mut task.state, filename, steps);
            task.state.before_exec = Some(before.unwrap_or(native));
            if task.state.phase != Phase::Inside {
                // The enter was lost, or came before the recording: an exit that follows is no refusal.
                task.state.phase = Phase::Unknown;
            }
            if let Some(descriptors) = &mut self.descriptors {
                task.state.files = descriptors.execed(task.state.files);
            }
            task.state.group = GroupEnd::default();
            task.state.end = ThreadEnd::default();
        }
        self.note(ts, slot, What::Exec { old_pid, filename: filename.to_vec() }, steps);
        if joins && self.tasks.get(slot).is_some_and(|task| task.join == Join::Done) {
            self.note(ts, slot, What::Joined { seen: Seen::SetUp }, steps);
        }
    }

    fn ended(&mut self, ts: Timestamp, cpu: CpuId, pid: Pid, comm: &[u8], steps: &mut dyn Steps) {
        let slot = self.tasks.slot(cpu, pid);
        let leader = self.leader(slot);
        let Some(group) = self.tasks.get(leader).map(|task| task.state.group) else { return };
        let Some(task) = self.tasks.get_mut(slot) else { return };
        if task.comm == Comm::default() {
            task.comm = Comm::new(comm);
        }
        let phase = task.state.phase;
        leave_open(task, ts, steps);
        task.state.phase = Phase::Unknown;
        if let Some(descriptors) = &mut self.descriptors {
            descriptors.leave(std::mem::take(&mut task.state.files));
        }
        if let (Some(votes), Phase::Inside | Phase::Leaving) = (&mut self.votes, phase) {
            if !task.settled && !task.state.end.by_signal() {
                votes.ended_in(task.image, task.state.call.nr);
            }
        }
        let cause = task.state.end.cause(&group, pid);
        // Under another name: it has run its program, and nothing of that was recorded. A task that runs on without a pause is
        // asked whether it is listed only after RCU.
        let missed =
            task.join == Join::SetUp && task.tgid == pid && Comm::new(comm) != task.comm && !comm.starts_with(b"runc:");
        if missed {
            task.runtime = false;
            self.note(ts, slot, What::Joined { seen: Seen::Missed }, steps);
        }
        self.note(ts, slot, What::Exit(cause), steps);
        self.tasks.exited(ts, slot);
    }

    fn note(&self, ts: Timestamp, slot: Slot, what: What, steps: &mut dyn Steps) {
        let Some(task) = self.tasks.get(slot) else { return };
        let (pid, tgid, comm, runtime) = (task.pid, task.tgid, task.comm, task.runtime);
        steps.note(Note { ts, pid, tgid, comm, runtime, what });
    }
}

/// A note that concerns no task.
pub(super) fn about_recording(ts: Timestamp, what: What) -> Note {
    Note { ts, pid: 0, tgid: 0, comm: Comm::default(), runtime: false, what }
}
