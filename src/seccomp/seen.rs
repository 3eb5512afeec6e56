// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which calls recordings have: each once, with who made it first, and the values of the few arguments that rules are made of.
//!
//! Calls of the application are those behind the container's execve, of all tasks; those of the runtime are kept apart.

use crate::arch::Abi;
use crate::calls::{Call, End, Note, Steps, What};
use crate::error::Result;
use crate::format::Seen as Joining;
use crate::ids::{Pid, SyscallNr, Timestamp};
use crate::recording::{CallCounts, Recording};
use crate::syscalls;
use crate::tasks::Comm;

use super::{arch_of, walk, Walked};

/// Numbers that are told apart in one recording; a program that tries out all numbers must not fill the memory.
pub const CALLS_MAX: usize = 2048;

/// Values of one argument that are told apart: rules want a small closed set, and look at no more.
pub const VALUES_MAX: usize = 64;

/// The calls with an argument that rules are made of, and which argument it is. All are 32 bits wide in the kernel, what
/// the registers' upper halves hold is the C library's whim (musl's ioctl extends the sign, glibc's does not).
pub const LIMITED: [(&str, u32); 5] = [("socket", 0), ("clone", 0), ("prctl", 0), ("ioctl", 1), ("personality", 0)];

/// Who made a call first, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct First {
    /// Trace clock.
    pub ts: Timestamp,
    /// The thread.
    pub pid: Pid,
    /// Its process; 0 where it is not known.
    pub tgid: Pid,
    /// Its name.
    pub comm: Comm,
}

/// One call of a recording.
#[derive(Clone, Debug)]
pub struct SeenCall {
    /// The ABI that the number is of.
    pub abi: Abi,
    /// The number.
    pub nr: SyscallNr,
    /// How often it was made.
    pub calls: u64,
    /// How often of these seccomp refused it.
    pub refused: u64,
    /// Who made it first; `None` in recordings that only have counts.
    pub first: Option<First>,
    /// The values of the argument in [`LIMITED`] and how often each came, by value.
    pub values: Vec<(u32, u64)>,
    /// Of some calls the arguments are not known, or there were more values than [`VALUES_MAX`].
    pub open: bool,
}

impl SeenCall {
    /// Its name; `None` for a number that the ABI has no call for.
    pub fn name(&self) -> Option<&'static str> {
        syscalls::name(self.abi, self.nr)
    }
}

/// The calls of one recording.
#[derive(Debug, Default)]
pub struct Seen {
    /// The application's, by ABI and number.
    pub calls: Vec<SeenCall>,
    /// How many calls the runtime made before.
    pub runtime: u64,
    /// Calls with numbers beyond [`CALLS_MAX`].
    pub others: u64,
    /// Processes that joined and of which calls are missing.
    pub late_joins: u64,
    /// The container's first process, where its bundle has startContainer hooks: they run under the filter, as processes of
    /// their own in front of the program.
    hooks_beside: Option<Pid>,
}

impl Seen {
    /// Reads a recording.
    pub fn of(recording: &Recording) -> Result<(Seen, Walked)> {
        if recording.meta.counts_only() {
            return Seen::of_counts(recording);
        }
        let mut seen = Seen::default();
        if recording.meta.container.start_hooks > 0 {
            seen.hooks_beside = Some(recording.meta.init_pid);
        }
        let walked = walk(recording, &mut seen)?;
        Ok((seen, walked))
    }

    /// What a recorder counted.
    fn of_counts(recording: &Recording) -> Result<(Seen, Walked)> {
        let counts = CallCounts::load(&recording.dir)?;
        let mut seen = Seen { others: counts.others, ..Seen::default() };
        if counts.started {
            for call in counts.calls(arch_of(recording)?) {
                if let Some(known) = seen.at(call.abi, call.nr) {
                    known.calls += call.calls;
                    known.open = true;
                }
            }
        }
        Ok((seen, Walked::of_counts(recording, &counts)))
    }

    /// The call's place; `None` where there are too many others.
    fn at(&mut self, abi: Abi, nr: SyscallNr) -> Option<&mut SeenCall> {
        let at = match self.calls.binary_search_by(|known| (known.abi, known.nr).cmp(&(abi, nr))) {
            Ok(at) => at,
            Err(_) if self.calls.len() >= CALLS_MAX => return None,
            Err(at) => {
                self.calls.insert(at, SeenCall::new(abi, nr));
                at
            }
        };
        self.calls.get_mut(at)
    }
}

impl SeenCall {
    /// A call that was not made yet.
    pub fn new(abi: Abi, nr: SyscallNr) -> SeenCall {
        SeenCall { abi, nr, calls: 0, refused: 0, first: None, values: Vec::new(), open: false }
    }

    /// Takes the value of an argument, `times` times.
    pub fn add_value(&mut self, value: u32, times: u64) {
        match self.values.binary_search_by_key(&value, |(known, _)| *known) {
            Ok(at) => {
                if let Some((_, count)) = self.values.get_mut(at) {
                    *count += times;
                }
            }
            Err(_) if self.values.len() >= VALUES_MAX => self.open = true,
            Err(at) => self.values.insert(at, (value, times)),
        }
    }
}

/// Which argument of the call rules are made of.
pub fn limited_argument(name: &str) -> Option<u32> {
    LIMITED.iter().find(|(known, _)| *known == name).map(|(_, index)| *index)
}

impl Steps for Seen {
    fn opened(&mut self, call: &Call) -> u64 {
        let of_hook = self.hooks_beside.is_some_and(|init| call.tgid != 0 && call.tgid != init);
        if call.runtime && !of_hook {
            self.runtime += 1;
            return 0;
        }
        let Some(known) = self.at(call.abi, call.nr) else {
            self.others += 1;
            return 0;
        };
        known.calls += 1;
        known.refused += u64::from(call.end == End::Refused);
        if known.first.is_none() {
            let Call { entered: ts, pid, tgid, comm, .. } = *call;
            known.first = Some(First { ts, pid, tgid, comm });
        }
        // A name is looked for once, then the values tell that there is an argument to follow.
        if known.calls == 1 || !known.values.is_empty() {
            if let Some(index) = known.name().and_then(limited_argument) {
                match call.end {
                    End::Open => known.add_value(call.args.get(index as usize).copied().unwrap_or(0) as u32, 1),
                    _ => known.open = true,
                }
            }
        }
        0
    }

    fn closed(&mut self, _: u64, _: &Call) {}

    fn note(&mut self, note: Note) {
        self.late_joins += u64::from(matches!(note.what, What::Joined { seen: Joining::Late | Joining::Missed }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(runtime: bool, tgid: Pid) -> Call {
        Call {
            entered: 5,
            ended: 5,
            ret: 0,
            args: [0; 6],
            nr: 83,
            pid: tgid,
            tgid,
            comm: Comm::default(),
            abi: Abi::X86_64,
            end: End::Open,
            uncertain: false,
            runtime,
        }
    }

    #[test]
    fn what_start_container_hooks_call_is_the_containers_and_what_starts_them_is_the_runtimes() {
        for (hooks_beside, calls, runtime) in [(None, 1, 2), (Some(7), 2, 1)] {
            let mut seen = Seen { hooks_beside, ..Seen::default() };
            for call in [call(true, 7), call(true, 8), call(false, 7)] {
                seen.opened(&call);
            }
            assert_eq!((seen.calls[0].calls, seen.runtime), (calls, runtime), "{hooks_beside:?}");
        }
    }

    #[test]
    fn joins_of_which_calls_are_missing_are_counted() {
        let mut seen = Seen::default();
        for how in [Joining::SetUp, Joining::Late, Joining::Missed] {
            let what = What::Joined { seen: how };
            seen.note(Note { ts: 1, pid: 7, tgid: 7, comm: Comm::default(), runtime: false, what });
        }
        assert_eq!(seen.late_joins, 2);
    }

    #[test]
    fn values_and_numbers_beyond_their_limits_are_told() {
        let mut call = SeenCall::new(Abi::X86_64, 16);
        for value in 0..VALUES_MAX as u32 {
            call.add_value(value, 1);
        }
        assert!(!call.open);
        call.add_value(0, 1);
        call.add_value(VALUES_MAX as u32, 1);
        assert!(call.open && call.values.len() == VALUES_MAX);
        let mut seen = Seen::default();
        for nr in 0..CALLS_MAX as SyscallNr + 1 {
            seen.opened(&Call { nr, ..self::call(false, 7) });
        }
        assert_eq!((seen.calls.len(), seen.others), (CALLS_MAX, 1));
    }
}
