// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The calls that seccomp refused in a recording, found from ftrace alone: they have an exit and no enter.
//!
//! seccomp runs before the tracepoint of the enter (kernel/entry/common.c `syscall_trace_enter`, arch/arm64/kernel/ptrace.c),
//! and a call that it answers goes on to the tracepoint of the exit. No audit subsystem is asked. What does not show: a call
//! that is let pass and logged; the call for which a thread of several was killed (`do_exit` comes before the exit); a
//! task's first call after tracing began, which may as well have been entered before. See docs/seccomp.md.

use crate::arch::Abi;
use crate::calls::{Call, End, Note, Steps, What};
use crate::ids::{Pid, SyscallNr};
use crate::json::Json;
use crate::recording::{Meta, Recording};
use crate::syscalls;
use crate::tasks::Comm;

use super::seen::First;
use super::Walked;

/// Refusals that are told apart; a program may try out all numbers.
pub const DENIALS_MAX: usize = 4096;

/// `SIGSYS`
const SIGSYS: i32 = 31;
/// `si_code` of a SIGSYS that seccomp sent.
const SYS_SECCOMP: i32 = 1;

/// What a refused call got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// An error number.
    Errno(i32),
    /// A SIGSYS: the action is trap or kill.
    Signal,
    /// A result that is no error: a supervisor answered (notify), or a tracer.
    Other,
}

/// Refusals of one call, with one answer, by tasks of one name.
#[derive(Clone, Debug)]
pub struct Denial {
    /// The ABI that the number is of.
    pub abi: Abi,
    /// The number.
    pub nr: SyscallNr,
    /// What it got.
    pub answer: Answer,
    /// The first one: when, and which task.
    pub first: First,
    /// The runtime's own, before the container's program.
    pub runtime: bool,
    /// How many.
    pub count: u64,
}

/// All refusals of a recording, in the order of their first times.
#[derive(Debug, Default)]
pub struct Denials {
    /// One for each call, answer and name of a task.
    pub all: Vec<Denial>,
    /// How many found no room.
    pub others: u64,
    /// Calls of the container, refused or not.
    pub calls: u64,
    /// Tasks that seccomp killed although no call of theirs was seen refused: when, which, its name.
    pub killed: Vec<First>,
    /// The last refused call of a task that got no error number: its place in `all`.
    pending: Vec<(Pid, usize)>,
}

impl Denials {
    fn add(&mut self, denial: Denial) -> Option<usize> {
        let same = |known: &Denial| {
            (known.abi, known.nr, known.answer, known.runtime) == (denial.abi, denial.nr, denial.answer, denial.runtime)
                && known.first.comm == denial.first.comm
        };
        if let Some(at) = self.all.iter().position(same) {
            if let Some(known) = self.all.get_mut(at) {
                known.count += denial.count;
            }
            return Some(at);
        }
        if self.all.len() >= DENIALS_MAX {
            self.others += denial.count;
            return None;
        }
        self.all.push(denial);
        Some(self.all.len() - 1)
    }

    /// How many calls were refused.
    pub fn count(&self) -> u64 {
        self.all.iter().fold(self.others, |sum, denial| sum + denial.count)
    }
}

impl Steps for Denials {
    fn opened(&mut self, call: &Call) -> u64 {
        self.calls += u64::from(!call.runtime);
        if call.end != End::Refused {
            return 0;
        }
        let Call { entered: ts, pid, tgid, comm, abi, nr, runtime, .. } = *call;
        let answer = call.errno().map_or(Answer::Other, Answer::Errno);
        let first = First { ts, pid, tgid, comm };
        let place = self.add(Denial { abi, nr, answer, first, runtime, count: 1 });
        if let (Answer::Other, Some(place)) = (answer, place) {
            self.pending.retain(|(known, _)| *known != pid);
            self.pending.push((pid, place));
        }
        0
    }

    fn closed(&mut self, _: u64, _: &Call) {}

    fn note(&mut self, note: Note) {
        let What::Signal { sig: SIGSYS, code: SYS_SECCOMP } = note.what else { return };
        let first = First { ts: note.ts, pid: note.pid, tgid: note.tgid, comm: note.comm };
        match self.pending.iter().position(|(pid, _)| *pid == note.pid) {
            Some(at) => {
                // The signal is the answer to the call before.
                let (_, place) = self.pending.swap_remove(at);
                let Some(denial) = self.all.get_mut(place) else { return };
                if denial.count == 1 {
                    denial.answer = Answer::Signal;
                    return;
                }
                denial.count -= 1;
                let one = Denial { answer: Answer::Signal, first, count: 1, ..denial.clone() };
                self.add(one);
            }
            None if self.killed.len() < DENIALS_MAX => self.killed.push(first),
            None => self.others += 1,
        }
    }
}

/// The call's name, or its number.
pub(super) fn name_of(abi: Abi, nr: SyscallNr) -> String {
    syscalls::name(abi, nr).map_or_else(|| format!("syscall_{nr:#x}"), str::to_owned)
}

/// What it got, as a word.
fn word(answer: Answer) -> String {
    match answer {
        Answer::Errno(errno) => syscalls::errno_name(errno).map_or_else(|| errno.to_string(), str::to_owned),
        Answer::Signal => "SIGSYS".to_owned(),
        Answer::Other => "answered".to_owned(),
    }
}

/// The task's name as text.
pub(super) fn comm_of(comm: &Comm) -> String {
    String::from_utf8_lossy(comm.as_bytes()).into_owned()
}

/// The refusals as one JSON object.
pub fn write(json: &mut Json, name: &str, meta: &Meta, denials: &Denials) {
    super::sources::begin(json, "denials");
    json.field_str("recording", name)
        .field_u64("calls", denials.calls)
        .field_u64("refused", denials.count())
        .key("denials")
        .begin_array();
    for denial in &denials.all {
        json.begin_object().field_str("call", &name_of(denial.abi, denial.nr)).field_str("abi", denial.abi.name());
        json.field_i64("nr", i64::from(denial.nr)).field_str("answer", &word(denial.answer));
        if let Answer::Errno(errno) = denial.answer {
            json.field_i64("errno", i64::from(errno));
        }
        json.field_u64("count", denial.count).field_bool("runtime", denial.runtime);
        super::sources::write_first(json, meta, &denial.first);
        json.end_object();
    }
    json.end_array().key("killed").begin_array();
    for first in &denials.killed {
        json.begin_object();
        super::sources::write_first(json, meta, first);
        json.end_object();
    }
    json.end_array().end_object();
    json.newline();
}

/// The refusals as a table for people.
pub fn push_table(out: &mut Vec<u8>, name: &str, recording: &Recording, walked: &Walked, denials: &Denials) {
    let meta = &recording.meta;
    let add = |out: &mut Vec<u8>, parts: &[&str]| parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
    if walked.is_partial(recording) {
        add(out, &["# data is missing: what was refused there is not told, and what is told may be wrong beside it\n"]);
    }
    if denials.all.is_empty() && denials.killed.is_empty() {
        let (calls, tasks) = (denials.calls.to_string(), walked.tasks.to_string());
        let filter = match meta.container.seccomp.as_str() {
            "" => "",
            "none" => "; the container had no seccomp profile",
            _ => "; the container had a seccomp profile",
        };
        add(out, &["no refused calls in ", name, ": ", &calls, " calls of ", &tasks, " tasks", filter, "\n"]);
        return;
    }
    let mut rows = super::sources::Table::new("CALL ANSWER COUNT FIRST TASK");
    for denial in &denials.all {
        let mut task = super::sources::task(&denial.first);
        if denial.runtime {
            task.push_str(" (the runtime)");
        }
        let name = super::sources::name_with_abi(meta, denial.abi, denial.nr);
        rows.row([
            name,
            word(denial.answer),
            denial.count.to_string(),
            super::sources::time(meta, denial.first.ts),
            task,
        ]);
    }
    for first in &denials.killed {
        let shown = ["?", "SIGSYS", "1"].map(str::to_owned);
        let [name, answer, count] = shown;
        rows.row([name, answer, count, super::sources::time(meta, first.ts), super::sources::task(first)]);
    }
    rows.push(out);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(pid: Pid, nr: SyscallNr, ret: i64) -> Call {
        Call {
            entered: 5,
            ended: 5,
            ret,
            args: [0; 6],
            nr,
            pid,
            tgid: pid,
            comm: Comm::new(b"sh"),
            abi: Abi::X86_64,
            end: End::Refused,
            uncertain: false,
            runtime: false,
        }
    }

    fn sigsys(pid: Pid) -> Note {
        let what = What::Signal { sig: SIGSYS, code: SYS_SECCOMP };
        Note { ts: 6, pid, tgid: pid, comm: Comm::new(b"sh"), runtime: false, what }
    }

    #[test]
    fn refusals_are_counted_by_call_answer_and_name() {
        let mut denials = Denials::default();
        for call in [refused(1, 83, -1), refused(2, 83, -1), refused(1, 83, -13), refused(1, 39, 39)] {
            denials.opened(&call);
        }
        denials.opened(&Call { end: End::StartUnknown, ..refused(1, 83, -1) });
        let shown: Vec<_> = denials.all.iter().map(|denial| (denial.nr, denial.answer, denial.count)).collect();
        assert_eq!(shown, [(83, Answer::Errno(1), 2), (83, Answer::Errno(13), 1), (39, Answer::Other, 1)]);
        assert_eq!(denials.count(), 4);
    }

    #[test]
    fn a_sigsys_is_the_answer_to_the_call_before() {
        let mut denials = Denials::default();
        for pid in [1, 2] {
            denials.opened(&refused(pid, 39, 39));
        }
        denials.note(sigsys(2));
        denials.note(sigsys(3));
        let shown: Vec<_> = denials.all.iter().map(|denial| (denial.answer, denial.count)).collect();
        assert_eq!(shown, [(Answer::Other, 1), (Answer::Signal, 1)]);
        assert_eq!(denials.killed.iter().map(|first| first.pid).collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let mut denials = Denials::default();
        for nr in 0..DENIALS_MAX as SyscallNr + 1 {
            denials.opened(&refused(1, nr, -1));
        }
        assert_eq!((denials.all.len(), denials.others, denials.count()), (DENIALS_MAX, 1, DENIALS_MAX as u64 + 1));
    }
}
