// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which calls and lines of a recording are wanted.
//!
//! Filters choose what is shown, never what is counted as decoded or lost. A list of calls is compiled to a set of numbers
//! per ABI, so that asking costs a bit test.

use crate::arch::{Abi, Arch};
use crate::calls::{Call, Note, What};
use crate::error::{Error, Result};
use crate::ids::{Pid, SyscallNr, Timestamp};
use crate::syscalls;

/// Numbers below this are in the bit set; those above (ARM's private calls) are few.
const BITS: usize = 1024;

/// The numbers of one ABI.
#[derive(Clone, Debug, PartialEq, Eq)]
struct NrSet {
    abi: Abi,
    bits: [u64; BITS / 64],
    others: Vec<SyscallNr>,
}

impl NrSet {
    fn insert(&mut self, nr: SyscallNr) {
        match usize::try_from(nr).ok().and_then(|at| self.bits.get_mut(at / 64).map(|word| (word, at % 64))) {
            Some((word, bit)) => *word |= 1 << bit,
            None => self.others.push(nr),
        }
    }

    #[inline]
    fn contains(&self, nr: SyscallNr) -> bool {
        match usize::try_from(nr).ok().and_then(|at| self.bits.get(at / 64).map(|word| (word, at % 64))) {
            Some((word, bit)) => word >> bit & 1 != 0,
            None => self.others.contains(&nr),
        }
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
        let abis: Vec<Abi> = core::iter::once(arch.native_abi()).chain(arch.compat_abi()).collect();
        let empty = |abi: &Abi| NrSet { abi: *abi, bits: [0; BITS / 64], others: Vec::new() };
        let mut named: Vec<NrSet> = abis.iter().map(empty).collect();
        let mut without: Vec<NrSet> = named.clone();
        let exclude = text.trim_start().starts_with('!');
        for word in text.split(',').map(str::trim) {
            let (to, name) = match word.strip_prefix('!') {
                Some(name) if !exclude => (&mut without, name.trim_start()),
                Some(name) => (&mut named, name.trim_start()),
                None => (&mut named, word),
            };
            if let Some(class) = name.strip_prefix('%') {
                return Err(Error::usage(format!("the class %{class} is not known")).hint("name the system calls"));
            }
            let mut found = false;
            for set in to.iter_mut() {
                if let Some(nr) = syscalls::number(set.abi, name) {
                    set.insert(nr);
                    found = true;
                }
            }
            if !found {
                return Err(unknown(name, &abis));
            }
        }
        for (set, without) in named.iter_mut().zip(&without) {
            for (word, gone) in set.bits.iter_mut().zip(&without.bits) {
                *word &= !gone;
            }
            set.others.retain(|nr| !without.others.contains(nr));
        }
        Ok(SyscallList { exclude, sets: named })
    }

    /// Whether a call is in the list.
    #[inline]
    pub fn contains(&self, abi: Abi, nr: SyscallNr) -> bool {
        let named = self.sets.iter().any(|set| set.abi == abi && set.contains(nr));
        named != self.exclude
    }
}

fn unknown(name: &str, abis: &[Abi]) -> Error {
    let error = Error::usage(format!("there is no system call {name:?}"));
    match abis.iter().find_map(|abi| syscalls::nearest(*abi, name)) {
        Some(nearest) => error.hint(format!("did you mean {nearest}?")),
        None => error,
    }
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
        *self == Filter { with_runtime: self.with_runtime, ..Filter::default() }
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

    /// The filter in words, for a report that shows nothing; empty without one.
    pub fn describe(&self) -> String {
        let mut words = Vec::new();
        if self.syscalls.is_some() {
            words.push("--syscalls".to_owned());
        }
        if self.errors_only {
            words.push("--errors-only".to_owned());
        }
        if let Some(pid) = self.pid {
            words.push(format!("--pid {pid}"));
        }
        if let Some(comm) = &self.comm {
            words.push(format!("--comm {}", comm.escape_ascii()));
        }
        if self.since.is_some() {
            words.push("--since".to_owned());
        }
        if self.until.is_some() {
            words.push("--until".to_owned());
        }
        if self.min_duration.is_some() {
            words.push("--min-duration".to_owned());
        }
        words.join(" ")
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
        assert_eq!((error.exit_code(), error.hint.as_deref()), (2, Some("did you mean read?")));
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
