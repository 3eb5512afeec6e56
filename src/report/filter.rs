// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which calls and lines of a recording are wanted.
//!
//! Filters choose what is shown, never what is counted as decoded or lost. A list of calls is compiled to a set of numbers
//! per ABI, so that asking costs a bit test.

use super::out::push_safe;
use crate::arch::{Abi, Arch};
use crate::calls::{Call, Note, What};
use crate::error::{Error, Result};
use crate::ids::{Pid, SyscallNr, Timestamp};
use crate::json::push_i64;
use crate::syscalls;
use crate::words::{quoted, trim};

/// Numbers of one ABI that a set holds: those below [`PLAIN`], and ARM's private calls behind them.
const PLACES: usize = 1024;

/// Numbers below this have the place of their number.
const PLAIN: SyscallNr = 1000;

/// Of ARM's private calls; see `syscalls`.
const PRIVATE: SyscallNr = 0xf_0000;

/// The numbers of one ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct NrSet {
    abi: Abi,
    bits: [u64; PLACES / 64],
}

impl NrSet {
    /// Where a number's bit is; none for a number that no call has.
    #[inline]
    fn place(nr: SyscallNr) -> Option<(usize, u64)> {
        let at = if nr < PLAIN { nr } else { nr.wrapping_sub(PRIVATE).checked_add(PLAIN)? };
        let at = usize::try_from(at).ok().filter(|at| *at < PLACES)?;
        Some((at / 64, 1 << (at % 64)))
    }

    fn set(&mut self, nr: SyscallNr, there: bool) {
        let Some((word, bit)) = NrSet::place(nr) else { return };
        if let Some(word) = self.bits.get_mut(word) {
            *word = if there { *word | bit } else { *word & !bit };
        }
    }

    #[inline]
    fn contains(&self, nr: SyscallNr) -> bool {
        NrSet::place(nr).is_some_and(|(word, bit)| self.bits.get(word).is_some_and(|word| word & bit != 0))
    }
}

/// A list of calls as `--syscalls` gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyscallList {
    /// Whether the sets name what is left out.
    exclude: bool,
    sets: Vec<NrSet>,
}

impl SyscallList {
    /// Reads `openat,read`, `!futex,!read` or, as strace has it, `!futex,read` (all but these). A name must exist in one of
    /// the ABIs of the machine; after names to show, `!` takes names out again.
    pub fn parse(text: &str, arch: Arch) -> Result<SyscallList> {
        let mut sets = Vec::new();
        for abi in [Some(arch.native_abi()), arch.compat_abi()].into_iter().flatten() {
            sets.push(NrSet { abi, bits: [0; PLACES / 64] });
        }
        let exclude = trim(text).starts_with('!');
        // Names that `!` takes out again go last, wherever they stand.
        for taking_out in [false, true] {
            for word in text.split(',').map(trim) {
                let (marked, name) = match word.strip_prefix('!') {
                    Some(name) => (true, trim(name)),
                    None => (false, word),
                };
                if (marked && !exclude) == taking_out {
                    put(&mut sets, name, !taking_out)?;
                }
            }
        }
        Ok(SyscallList { exclude, sets })
    }

    /// Whether a call is in the list.
    #[inline]
    pub fn contains(&self, abi: Abi, nr: SyscallNr) -> bool {
        let named = self.sets.iter().any(|set| set.abi == abi && set.contains(nr));
        named != self.exclude
    }
}

/// Puts the number that `name` has in each ABI into the sets, or takes it out.
fn put(sets: &mut [NrSet], name: &str, there: bool) -> Result<()> {
    if let Some(class) = name.strip_prefix('%') {
        return Err(Error::usage(format!("the class %{class} is not known")).hint("name the system calls"));
    }
    let mut found = false;
    for set in sets.iter_mut() {
        if let Some(nr) = syscalls::number(set.abi, name) {
            set.set(nr, there);
            found = true;
        }
    }
    if found {
        return Ok(());
    }
    let error = Error::usage(format!("there is no system call {}", quoted(name)));
    Err(match sets.iter().find_map(|set| syscalls::nearest(set.abi, name)) {
        Some(nearest) => error.hint(format!("did you mean {nearest}?")),
        None => error,
    })
}

/// What is wanted; the default is all of the container's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only these calls.
    pub syscalls: Option<SyscallList>,
    /// Only calls that failed or were refused.
    pub errors_only: bool,
    /// Only this task: a thread, or a process with all its threads.
    pub pid: Option<Pid>,
    /// Only tasks of this name.
    pub comm: Option<Vec<u8>>,
    /// Only what begins at this time of the trace clock or later.
    pub since: Option<Timestamp>,
    /// Only what begins at this time of the trace clock or earlier.
    pub until: Option<Timestamp>,
    /// Only calls that took this many nanoseconds or longer.
    pub min_duration: Option<u64>,
    /// The container runtime's own set-up too.
    pub with_runtime: bool,
}

impl Filter {
    /// Whether everything but the runtime's set-up is wanted.
    pub fn is_all(&self) -> bool {
        let bounds = self.since.is_some() || self.until.is_some() || self.min_duration.is_some();
        let task = self.pid.is_some() || self.comm.is_some();
        !(bounds || task || self.errors_only || self.syscalls.is_some())
    }

    #[inline]
    fn in_time(&self, ts: Timestamp) -> bool {
        self.since.map_or(true, |since| ts >= since) && self.until.map_or(true, |until| ts <= until)
    }

    #[inline]
    fn of_task(&self, pid: Pid, tgid: Pid, comm: &[u8], runtime: bool) -> bool {
        (self.with_runtime || !runtime)
            && self.pid.map_or(true, |wanted| wanted == pid || wanted == tgid)
            && self.comm.as_ref().map_or(true, |wanted| wanted == comm)
    }

    /// Whether a call that has not ended is wanted as far as can be told.
    #[inline]
    pub fn wants_open(&self, call: &Call) -> bool {
        self.in_time(call.entered)
            && self.of_task(call.pid, call.tgid, call.comm.as_bytes(), call.runtime)
            && self.syscalls.as_ref().map_or(true, |list| list.contains(call.abi, call.nr))
    }

    /// Whether a call is wanted.
    #[inline]
    pub fn wants(&self, call: &Call) -> bool {
        self.wants_open(call)
            && (!self.errors_only || call.errno().is_some())
            && self.min_duration.map_or(true, |least| call.duration().is_some_and(|duration| duration >= least))
    }

    /// Whether something besides calls is wanted. Losses and damage concern every task.
    pub fn wants_note(&self, note: &Note) -> bool {
        let of_all = matches!(note.what, What::Lost { .. } | What::Damaged { .. });
        self.in_time(note.ts) && (of_all || self.of_task(note.pid, note.tgid, note.comm.as_bytes(), note.runtime))
    }

    /// Appends the filter's options as they were given, each behind a blank, for a report that shows nothing.
    pub fn describe(&self, out: &mut Vec<u8>) {
        let mut option = |given: bool, name: &str, value: &dyn Fn(&mut Vec<u8>)| {
            if given {
                out.extend_from_slice(name.as_bytes());
                value(out);
            }
        };
        let none = |_: &mut Vec<u8>| {};
        option(self.syscalls.is_some(), " --syscalls", &none);
        option(self.errors_only, " --errors-only", &none);
        option(self.pid.is_some(), " --pid ", &|out| push_i64(out, i64::from(self.pid.unwrap_or(0))));
        option(self.comm.is_some(), " --comm ", &|out| push_safe(out, self.comm.as_deref().unwrap_or_default()));
        option(self.since.is_some(), " --since", &none);
        option(self.until.is_some(), " --until", &none);
        option(self.min_duration.is_some(), " --min-duration", &none);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calls::End;
    use crate::tasks::Comm;

    fn list(text: &str) -> SyscallList {
        SyscallList::parse(text, Arch::X86_64).unwrap()
    }

    fn call(nr: SyscallNr) -> Call {
        Call {
            entered: 100,
            ended: 150,
            ret: 0,
            args: [0; 6],
            nr,
            pid: 7,
            tgid: 5,
            comm: Comm::new(b"sh"),
            abi: Abi::X86_64,
            end: End::Returned,
            uncertain: false,
            runtime: false,
        }
    }

    #[test]
    fn names_are_of_the_calls_own_abi() {
        let list = list("openat, fstat64");
        assert!(list.contains(Abi::X86_64, 257));
        assert!(list.contains(Abi::I386, 295));
        assert!(list.contains(Abi::I386, 197), "known to one of the two ABIs only");
        assert!(!list.contains(Abi::I386, 257));
        assert!(!list.contains(Abi::X86_64, 9999));
    }

    #[test]
    fn an_exclamation_mark_leaves_out() {
        for text in ["!read,!write", "!read,write"] {
            let list = list(text);
            assert!(!list.contains(Abi::X86_64, 0) && !list.contains(Abi::X86_64, 1) && list.contains(Abi::X86_64, 2));
            assert!(list.contains(Abi::X86_64, -1), "numbers without a name stay");
        }
        let list = list("read,write,!write");
        assert!(list.contains(Abi::X86_64, 0) && !list.contains(Abi::X86_64, 1));
    }

    #[test]
    fn arms_private_calls_can_be_chosen() {
        let list = SyscallList::parse("set_tls", Arch::Aarch64).unwrap();
        assert!(list.contains(Abi::Arm, 0xf0005) && !list.contains(Abi::Arm, 0xf0006));
        let list = SyscallList::parse("!set_tls", Arch::Arm).unwrap();
        assert!(!list.contains(Abi::Arm, 0xf0005) && list.contains(Abi::Arm, 0xf0006));
    }

    #[test]
    fn unknown_names_and_classes_are_usage_errors_with_a_hint() {
        let error = SyscallList::parse("openat,raed", Arch::X86_64).unwrap_err();
        assert_eq!((error.exit_code(), error.remedy()), (2, Some("did you mean read?")));
        for wrong in ["%file", "", "!", "read,,write", "frobnicate", "!frobnicate"] {
            assert_eq!(SyscallList::parse(wrong, Arch::X86_64).unwrap_err().exit_code(), 2, "{wrong}");
        }
    }

    #[test]
    fn each_filter_lets_through_what_it_names() {
        let all = Filter::default();
        let read = call(0);
        let failed = Call { ret: -2, ..read };
        assert!(all.is_all() && all.wants(&read));
        assert!(!all.wants(&Call { runtime: true, ..read }));
        assert!(Filter { with_runtime: true, ..all.clone() }.wants(&Call { runtime: true, ..read }));
        let errors = Filter { errors_only: true, ..all.clone() };
        assert!(!errors.wants(&read) && errors.wants(&failed) && errors.wants_open(&read));
        for (pid, wanted) in [(7, true), (5, true), (6, false)] {
            assert_eq!(Filter { pid: Some(pid), ..all.clone() }.wants(&read), wanted);
        }
        assert!(Filter { comm: Some(b"sh".to_vec()), ..all.clone() }.wants(&read));
        assert!(!Filter { comm: Some(b"s".to_vec()), ..all.clone() }.wants(&read));
        for (since, until, wanted) in [(100, 100, true), (101, 200, false), (0, 99, false)] {
            let filter = Filter { since: Some(since), until: Some(until), ..all.clone() };
            assert_eq!(filter.wants(&read), wanted);
        }
        for (least, wanted) in [(50, true), (51, false)] {
            assert_eq!(Filter { min_duration: Some(least), ..all.clone() }.wants(&read), wanted);
        }
        let open = Call { end: End::Unfinished, ..read };
        assert!(!Filter { min_duration: Some(0), ..all.clone() }.wants(&open), "nobody knows how long it took");
    }
}
