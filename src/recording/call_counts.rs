// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `calls.json`: what a recording of mode `count` holds instead of sub-buffers.
//!
//! Stored is what the kernel told (enters, exits and failed exits by number), and what that means in calls is decided
//! when it is read: exits are counted because a call that seccomp refuses has no enter; but exit has no exit, sigreturn
//! leaves with the number -1 on most machines, and the child of a clone leaves it a second time.

use std::io::Write;
use std::path::Path;

use nix::fcntl::OFlag;

use super::reader::{read_bounded, Conservation};
use super::stream::Counts;
use super::{EndState, Meta};
use crate::arch::{Abi, Arch};
use crate::error::{Error, Kind, Result};
use crate::ids::SyscallNr;
use crate::json::Json;
use crate::record::{self, record};
use crate::sys;
use crate::syscalls;

/// Numbers that are counted apart; a program that tries out all numbers must not fill the memory. Any table of calls has
/// a third of it.
pub const NUMBERS_MAX: usize = 2048;

/// Largest file that is read, in bytes: 100 for each number.
const FILE_MAX: usize = 1 << 20;

/// The calls that return with other numbers or not at all, whose enters are counted.
pub const ENTERS: &str = "exit,exit_group,sigreturn,rt_sigreturn";

/// The calls from which the new task returns, too, with 0.
pub const TWICE: &str = "clone,clone3,fork,vfork";

/// What the kernel told of one number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NumberCount {
    /// Of the 32-bit ABI beside the machine's own.
    pub compat: bool,
    /// The number.
    pub nr: SyscallNr,
    /// Enters; counted for [`ENTERS`] only.
    pub enters: u64,
    /// Exits.
    pub exits: u64,
    /// Exits with an error number.
    pub errors: u64,
    /// Exits with 0; counted for [`TWICE`], of others perhaps.
    pub zeros: u64,
}

/// The whole file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallCounts {
    /// [`super::FORMAT_VERSION`].
    pub format_version: u32,
    /// The container's program was executed; true from the start where no runtime comes before it.
    pub started: bool,
    /// Programs of both ABIs ran, and the means of counting does not tell their calls apart.
    pub mixed: bool,
    /// Tasks seen.
    pub tasks: u64,
    /// Events taken from the ring buffer.
    pub events: u64,
    /// Events lost before they were, by the marks in sub-buffers.
    pub lost: u64,
    /// Events that could not be decoded.
    pub damaged: u64,
    /// Events the kernel counted in its histograms.
    pub hits: u64,
    /// Events that found no room there.
    pub dropped: u64,
    /// Exits with numbers beyond [`NUMBERS_MAX`].
    pub others: u64,
    /// By ABI and number.
    pub numbers: Vec<NumberCount>,
}

record!(NumberCount { compat: Bool, nr: I32, enters: U64, exits: U64, errors: U64, zeros: U64 });
record!(CallCounts {
    format_version: U32,
    started: Bool,
    mixed: Bool,
    tasks: U64,
    events: U64,
    lost: U64,
    damaged: U64,
    hits: U64,
    dropped: U64,
    others: U64,
    numbers: List,
});

/// Calls of one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallCount {
    /// The ABI that the number is of.
    pub abi: Abi,
    /// The number.
    pub nr: SyscallNr,
    /// Calls that ended, or that never do.
    pub calls: u64,
    /// Those with an error number.
    pub errors: u64,
}

impl CallCounts {
    /// Name of the file.
    pub const FILE: &'static str = "calls.json";
    /// Name of what is to take its place.
    pub const NEXT: &'static str = "calls.next";

    /// The number's counts; `None` where there are too many others.
    #[inline]
    pub fn number(&mut self, compat: bool, nr: SyscallNr) -> Option<&mut NumberCount> {
        let at = match self.numbers.binary_search_by(|known| (known.compat, known.nr).cmp(&(compat, nr))) {
            Ok(at) => at,
            Err(_) if self.numbers.len() >= NUMBERS_MAX => return None,
            Err(at) => {
                self.numbers.insert(at, NumberCount { compat, nr, ..NumberCount::default() });
                at
            }
        };
        self.numbers.get_mut(at)
    }

    /// What the counts mean in calls, by ABI and number.
    pub fn calls(&self, arch: Arch) -> Vec<CallCount> {
        let mut calls = Vec::with_capacity(self.numbers.len());
        // Sigreturns of each ABI that left with the number -1.
        let mut unmarked = [0u64; 2];
        for last in [false, true] {
            for count in self.numbers.iter().filter(|count| (count.nr == -1) == last) {
                let abi = arch.compat_abi().filter(|_| count.compat).unwrap_or(arch.native_abi());
                let [own, other] = &mut unmarked;
                let returned = if count.compat { other } else { own };
                let mut call = CallCount { abi, nr: count.nr, calls: count.exits, errors: count.errors };
                match syscalls::name(abi, count.nr) {
                    // What stands where a result would be is a restored register.
                    Some("sigreturn" | "rt_sigreturn") => {
                        *returned += count.enters.saturating_sub(count.exits);
                        (call.calls, call.errors) = (count.enters.max(count.exits), 0);
                    }
                    Some("clone" | "clone3" | "fork" | "vfork") => call.calls = call.calls.saturating_sub(count.zeros),
                    // Those that have exits were refused and have no enters.
                    Some("exit" | "exit_group") => call.calls += count.enters,
                    _ if last => {
                        call.calls = call.calls.saturating_sub(*returned);
                        call.errors = call.errors.min(call.calls);
                    }
                    _ => {}
                }
                if call.calls > 0 {
                    calls.push(call);
                }
            }
        }
        calls
    }

    /// What was counted and lost against what the kernel wrote: what it counted in histograms is added to both sides, what
    /// found no room there to the losses.
    pub fn conservation(&self, meta: &Meta) -> (Conservation, Counts) {
        let written = meta.written();
        let lost = written.map_or(self.lost, |_| meta.lost()).saturating_add(self.dropped);
        let decoded = self.events.saturating_add(self.hits);
        let written = written.map(|written| written.saturating_add(self.hits).saturating_add(self.dropped));
        let not_stored = written.map_or(0, |written| written.saturating_sub(decoded.saturating_add(lost)));
        (
            Conservation { decoded, trimmed: 0, lost, not_stored, written },
            Counts { records: decoded, damaged: self.damaged, ..Counts::default() },
        )
    }

    /// Whether the container's program was never executed, in a recording that ended.
    pub fn never_started(&self, meta: &Meta) -> bool {
        !self.started && meta.end_state() != EndState::Running
    }

    /// Reads the file in `dir`. Where there is none, nothing was counted yet: a recorder writes it when it is asked to,
    /// every minute, and at its end.
    pub fn load(dir: &Path) -> Result<Box<CallCounts>> {
        let mut counts = Box::<CallCounts>::default();
        let text = match read_bounded(&dir.join(Self::FILE), FILE_MAX) {
            Err(why) if why.kind() == Kind::NotFound => return Ok(counts),
            read => read?,
        };
        // Blocks that a power failure kept from the disk read as zeroes, which could hide in a member's name.
        if text.contains(&0) {
            return Err(Error::malformed("calls.json has holes", None));
        }
        record::read(&text, Self::FILE, &mut *counts)?;
        if counts.format_version == 0 {
            return Err(Error::malformed("calls.json has no format_version", None));
        }
        let mut last = None;
        if counts.numbers.iter().any(|count| last.replace((count.compat, count.nr)) >= Some((count.compat, count.nr))) {
            return Err(Error::malformed("calls.json is not in order", None));
        }
        Ok(counts)
    }

    /// Writes the file in `dir`: it is whole and on the disk before it takes the place of the one before.
    pub fn save(&mut self, dir: &Path) -> Result<()> {
        let mut json = Json::new();
        record::write(&mut json, self).newline();
        let next = dir.join(Self::NEXT);
        let written =
            sys::open(&next, OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK)
                .and_then(|mut file| file.write_all(json.as_bytes()).and_then(|()| file.sync_data()));
        written
            .and_then(|()| sys::rename(&next, &dir.join(Self::FILE)))
            .map_err(|why| Error::io("write", &dir.join(Self::FILE), why))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn counts(numbers: &[(bool, SyscallNr, u64, u64, u64)]) -> CallCounts {
        let mut counts = CallCounts { format_version: 1, started: true, ..CallCounts::default() };
        for (compat, nr, enters, exits, errors) in numbers {
            let count = counts.number(*compat, *nr).unwrap();
            (count.enters, count.exits, count.errors) = (*enters, *exits, *errors);
        }
        counts
    }

    fn calls(numbers: &[(bool, SyscallNr, u64, u64, u64)]) -> Vec<(Abi, SyscallNr, u64, u64)> {
        let all = counts(numbers).calls(Arch::X86_64);
        all.iter().map(|call| (call.abi, call.nr, call.calls, call.errors)).collect()
    }

    #[test]
    fn exits_are_calls_and_enters_are_where_there_are_no_exits() {
        let abi = Abi::X86_64;
        assert_eq!(calls(&[(false, 257, 0, 10, 4)]), [(abi, 257, 10, 4)]);
        // Two that ended a process, one that seccomp refused.
        assert_eq!(calls(&[(false, 231, 2, 1, 1)]), [(abi, 231, 3, 1)]);
        // The same numbers of the other ABI are other calls.
        assert_eq!(calls(&[(true, 252, 3, 0, 0)]), [(Abi::I386, 252, 3, 0)]);
        // An enter that was let through for the other ABI's sake is none of this call's.
        assert_eq!(calls(&[(false, 252, 3, 0, 0)]), []);
    }

    #[test]
    fn what_a_new_task_returns_from_is_its_parents_call() {
        let mut counts =
            counts(&[(false, 0, 0, 9, 0), (false, 56, 0, 5, 1), (true, 56, 0, 4, 0), (true, 120, 0, 3, 0)]);
        for count in &mut counts.numbers {
            count.zeros = 2;
        }
        let calls = counts.calls(Arch::X86_64);
        let figures: Vec<_> = calls.iter().map(|call| (call.nr, call.calls, call.errors)).collect();
        assert_eq!(figures, [(0, 9, 0), (56, 3, 1), (56, 4, 0), (120, 1, 0)]);
    }

    #[test]
    fn a_sigreturn_is_no_error_and_leaves_nothing_under_minus_one() {
        let abi = Abi::X86_64;
        assert_eq!(calls(&[(false, -1, 0, 5, 2), (false, 15, 5, 0, 0)]), [(abi, 15, 5, 0)]);
        assert_eq!(calls(&[(false, -1, 0, 6, 6), (false, 15, 5, 0, 0)]), [(abi, 15, 5, 0), (abi, -1, 1, 1)]);
        // Where it keeps its number.
        assert_eq!(calls(&[(false, -1, 0, 1, 1), (false, 15, 5, 5, 3)]), [(abi, 15, 5, 0), (abi, -1, 1, 1)]);
    }

    #[test]
    fn numbers_beyond_the_limit_get_no_place() {
        let mut counts = CallCounts::default();
        for nr in 0..NUMBERS_MAX as SyscallNr {
            assert!(counts.number(false, nr).is_some());
        }
        assert!(counts.number(false, NUMBERS_MAX as SyscallNr).is_none());
        assert!(counts.number(false, 0).is_some());
    }

    #[test]
    fn what_is_saved_reads_back_and_what_is_cut_does_not() {
        let dir = std::env::temp_dir().join(format!("ftrace-analyzer-counts-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        assert_eq!(*CallCounts::load(&dir).unwrap(), CallCounts::default());
        let mut kept = counts(&[(false, -1, 0, u64::MAX, 2), (true, 15, 5, 0, 0)]);
        kept.save(&dir).unwrap();
        assert_eq!(*CallCounts::load(&dir).unwrap(), kept);
        let path = dir.join(CallCounts::FILE);
        let text = fs::read(&path).unwrap();
        let end = text.iter().rposition(|byte| *byte == b'}').unwrap();
        for cut in 0..=end {
            fs::write(&path, &text[..cut]).unwrap();
            assert!(CallCounts::load(&dir).is_err(), "{cut}");
        }
        // Blocks that the power failure kept from the disk.
        let mut holes = text.clone();
        holes[40..80].fill(0);
        fs::write(&path, &holes).unwrap();
        assert!(CallCounts::load(&dir).is_err());
        fs::remove_dir_all(&dir).unwrap();
    }
}
