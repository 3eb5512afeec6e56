// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the numbers in a system call event are called: calls per ABI, their arguments, error numbers, signals.
//!
//! Names are the kernel's own for that ABI, as its `unistd.h` has them after `__NR_` (`newfstatat`, `mmap2`, `_llseek`)
//! and as libseccomp takes them. They are not always the names of the kernel's trace events (`newfstat`, `sendfile64`).
//! The tables are generated from the headers user space is built with, see `tests/tables/generate`.

mod args;
mod args_table;
mod class_table;
mod errno;
mod errno_table;
mod list;
mod numbers;
mod packed;
mod packed_table;
mod sets;
mod sets_table;
mod signal;
mod signal_table;
mod spellings;
mod spellings_table;
mod table;

pub use args::{arguments, outcome, Argument, Arguments, Outcome, ARGUMENTS_MAX};
pub use args_table::kind;
pub use errno::{errno_name, errno_number, errno_text};
pub use list::{SyscallList, UnknownWord};
pub use numbers::Numbers;
pub use sets::{split, Word};
pub use signal::{si_code_name, signal_name};
pub use spellings::{each_of as each_spelling, OF_ARM, OF_X86_64};

use core::cmp::Reverse;

use crate::arch::Abi;
use crate::ids::SyscallNr;

/// First of ARM's private calls, `breakpoint` (arch/arm/include/uapi/asm/unistd.h); the others follow without a gap.
const ARM_PRIVATE: SyscallNr = 0xf0001;

/// Name of call `nr`, in constant time; `None` for a number the ABI has no call for. That is any number on which the
/// kernel answers `ENOSYS`, also negative ones, calls newer than the table, and x32 calls (bit 30 on x86_64).
pub fn name(abi: Abi, nr: SyscallNr) -> Option<&'static str> {
    call_name(usize::from(entry(abi, nr)))
}

/// Number of the call with exactly this name. Takes a second name the ABI's headers give a call as well: on ARM 341 is
/// `arm_sync_file_range` and `sync_file_range2`, and seccomp profiles use the latter.
pub fn number(abi: Abi, name: &str) -> Option<SyscallNr> {
    if let Some((nr, _)) = all(abi).find(|(_, call)| *call == name) {
        return Some(nr);
    }
    let is_it = |(entry, _): &&(u16, u16)| call_name(usize::from(*entry)) == Some(name);
    aliases(abi).iter().find(is_it).map(|(_, nr)| SyscallNr::from(*nr))
}

/// Highest number in the table, ARM's private calls aside.
pub fn max_nr(abi: Abi) -> SyscallNr {
    // Every ABI has the numbers of the newest calls.
    let _ = abi;
    (table::COMMON_FIRST + table::COMMON_LEN) as SyscallNr - 1
}

/// The first of ARM's private calls and the last; other ABIs have none.
pub static PRIVATE_CALLS: (SyscallNr, SyscallNr) =
    (ARM_PRIVATE, ARM_PRIVATE + table::ARM_PRIVATE.len() as SyscallNr - 1);

/// Every call of the ABI with its name, by rising number; ARM's private calls come last.
pub fn all(abi: Abi) -> impl Iterator<Item = (SyscallNr, &'static str)> {
    (0..=max_nr(abi))
        .chain(ARM_PRIVATE..ARM_PRIVATE + table::ARM_PRIVATE.len() as SyscallNr)
        .filter_map(move |nr| Some((nr, name(abi, nr)?)))
}

/// The name of this ABI a user most likely meant by `name`, for an error message; the name itself if it is one.
///
/// At most a third of the bytes, and no more than three, may be missing, added, wrong or swapped with their neighbour:
/// a suggestion further off than that confuses more than it helps. Of equally close names it is the one that starts
/// like `name` for longest (`umount` means `umount2`, not `mount`), then the first of the alphabet.
pub fn nearest(abi: Abi, name: &str) -> Option<&'static str> {
    nearest_of(name, &mut all(abi).map(|(_, known)| known))
}

/// The one of `words` that is meant by `name`, as [`nearest`] finds it.
pub fn nearest_of(name: &str, words: &mut dyn Iterator<Item = &'static str>) -> Option<&'static str> {
    let limit = (name.len() / 3).clamp(1, 3);
    let mut best: Option<(usize, Reverse<usize>, &str)> = None;
    for known in words {
        let Some(slips) = distance(name.as_bytes(), known.as_bytes(), limit) else { continue };
        let same = name.bytes().zip(known.bytes()).take_while(|(given, meant)| given == meant).count();
        let this = (slips, Reverse(same), known);
        if best.map_or(true, |best| this < best) {
            best = Some(this);
        }
    }
    best.map(|(.., known)| known)
}

/// Index of the name of call `nr`, or [`table::NONE`].
#[inline]
fn entry(abi: Abi, nr: SyscallNr) -> u16 {
    let own = match abi {
        Abi::X86_64 => table::X86_64,
        Abi::I386 => table::I386,
        Abi::Aarch64 => table::AARCH64,
        Abi::Arm => table::ARM,
    };
    let Ok(at) = usize::try_from(nr) else { return table::NONE };
    if let Some(entry) = own.number(at) {
        return entry;
    }
    let first = if abi.is_32bit() { table::COMMON_FIRST } else { table::COMMON_64 };
    let found = match at.checked_sub(table::COMMON_FIRST).and_then(|at| table::COMMON.number(at)) {
        Some(_) if abi == Abi::Arm && table::ARM_LACKS.iter().any(|nr| usize::from(*nr) == at) => None,
        Some(entry) if at >= first => Some(entry),
        None if abi == Abi::Arm => {
            at.checked_sub(ARM_PRIVATE as usize).and_then(|at| table::ARM_PRIVATE.get(at).copied())
        }
        _ => None,
    };
    found.unwrap_or(table::NONE)
}

/// Indices of second names, with the number each stands for.
fn aliases(abi: Abi) -> &'static [(u16, u16)] {
    match abi {
        Abi::Arm => &table::ARM_ALIASES,
        Abi::X86_64 | Abi::I386 | Abi::Aarch64 => &[],
    }
}

/// Name number `at` in the order of the alphabet.
#[inline]
fn call_name(at: usize) -> Option<&'static str> {
    table::NAMES.word(table::STARTS, at)
}

/// Word number `at` of words that stand end to end in `text`; an empty one means there is none.
///
/// One text with 16-bit offsets instead of an array of `&str`: a sixth of the bytes, and nothing for the loader to
/// relocate in a static PIE binary.
fn word(text: &'static str, starts: &[u16], at: usize) -> Option<&'static str> {
    let from = *starts.get(at)?;
    let to = *starts.get(at.checked_add(1)?)?;
    text.get(usize::from(from)..usize::from(to)).filter(|word| !word.is_empty())
}

/// How many bytes must be put in, taken out, changed or swapped with their neighbour; `None` if more than `most`.
fn distance(mut given: &[u8], mut known: &[u8], most: usize) -> Option<usize> {
    while let ([first, rest @ ..], [wanted, behind @ ..]) = (given, known) {
        if first != wanted {
            break;
        }
        (given, known) = (rest, behind);
    }
    if given.is_empty() && known.is_empty() {
        return Some(0);
    }
    let mut left = most.checked_sub(1)?;
    let mut best = None;
    let swapped = given.len() > 1 && known.len() > 1 && given.first() == known.get(1) && given.get(1) == known.first();
    for (of_given, of_known) in [(1, 1), (1, 0), (0, 1), (2, 2)] {
        let (Some(rest), Some(behind)) = (given.get(of_given..), known.get(of_known..)) else { continue };
        if of_given == 2 && !swapped {
            continue;
        }
        if let Some(slips) = distance(rest, behind, left) {
            best = Some(slips + 1);
            // Another way must be shorter.
            let Some(less) = slips.checked_sub(1) else { break };
            left = less;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABIS: [Abi; 4] = [Abi::X86_64, Abi::I386, Abi::Aarch64, Abi::Arm];

    #[test]
    fn one_number_means_another_call_on_each_abi() {
        let names = |nr| ABIS.map(|abi| name(abi, nr));
        assert_eq!(names(0), [Some("read"), Some("restart_syscall"), Some("io_setup"), Some("restart_syscall")]);
        assert_eq!(names(45), [Some("recvfrom"), Some("brk"), Some("truncate"), Some("brk")]);
        assert_eq!(names(59), [Some("execve"), Some("oldolduname"), Some("pipe2"), None]);
        assert_eq!(names(221), [Some("fadvise64"), Some("fcntl64"), Some("execve"), Some("fcntl64")]);
        assert_eq!(
            names(262),
            [Some("newfstatat"), Some("timer_getoverrun"), Some("fanotify_init"), Some("clock_settime")]
        );
    }

    #[test]
    fn one_call_has_another_number_on_each_abi() {
        let numbers = |name| ABIS.map(|abi| number(abi, name));
        assert_eq!(numbers("openat"), [Some(257), Some(295), Some(56), Some(322)]);
        assert_eq!(numbers("execve"), [Some(59), Some(11), Some(221), Some(11)]);
        assert_eq!(numbers("rt_sigreturn"), [Some(15), Some(173), Some(139), Some(173)]);
        assert_eq!(numbers("exit_group"), [Some(231), Some(252), Some(94), Some(248)]);
        assert_eq!(numbers("umount2"), [Some(166), Some(52), Some(39), Some(52)]);
        assert_eq!(numbers("clone3"), [Some(435); 4]);
    }

    #[test]
    fn names_are_spelt_as_the_abi_spells_them() {
        assert_eq!(ABIS.map(|abi| number(abi, "newfstatat")), [Some(262), None, Some(79), None]);
        assert_eq!(ABIS.map(|abi| number(abi, "fstat64")), [None, Some(197), None, Some(197)]);
        assert_eq!(ABIS.map(|abi| number(abi, "mmap2")), [None, Some(192), None, Some(192)]);
        assert_eq!(ABIS.map(|abi| number(abi, "_llseek")), [None, Some(140), None, Some(140)]);
        assert_eq!(name(Abi::Arm, 270), Some("arm_fadvise64_64"));
        assert_eq!(name(Abi::I386, 272), Some("fadvise64_64"));
    }

    #[test]
    fn private_calls_are_arms_alone() {
        let privates = ["breakpoint", "cacheflush", "usr26", "usr32", "set_tls", "get_tls"];
        for (nr, call) in (0xf0001..).zip(privates) {
            assert_eq!(name(Abi::Arm, nr), Some(call));
            assert_eq!(number(Abi::Arm, call), Some(nr));
            assert_eq!(name(Abi::Aarch64, nr), None);
            assert_eq!(number(Abi::I386, call), None);
        }
        assert_eq!(name(Abi::Arm, 983045), Some("set_tls"));
        assert_eq!(name(Abi::Arm, 0xf0000), None);
        assert_eq!(name(Abi::Arm, 0xf0007), None);
    }

    #[test]
    fn a_second_name_leads_to_the_number_and_not_back() {
        assert_eq!(number(Abi::Arm, "sync_file_range2"), Some(341));
        assert_eq!(name(Abi::Arm, 341), Some("arm_sync_file_range"));
        assert_eq!(ABIS.map(|abi| number(abi, "sync_file_range")), [Some(277), Some(314), Some(84), None]);
        assert_eq!(number(Abi::X86_64, "sync_file_range2"), None);
    }

    #[test]
    fn every_entry_leads_to_its_number_and_back() {
        for (abi, least) in ABIS.into_iter().zip([380, 460, 325, 425]) {
            let mut count = 0;
            for (nr, call) in all(abi) {
                assert_eq!(name(abi, nr), Some(call));
                assert_eq!(number(abi, call), Some(nr), "{abi} {call}");
                assert!(call.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{call}");
                count += 1;
            }
            assert!(count >= least, "{abi} has {count} calls");
        }
    }

    #[test]
    fn every_name_is_a_name() {
        let names: Vec<_> = (0..table::STARTS.bytes().len() / 2 - 1).map(call_name).collect();
        assert!(names.windows(2).all(|pair| pair[0].is_some() && pair[0] < pair[1]));
    }

    #[test]
    fn unknown_numbers_and_names_are_none() {
        for abi in ABIS {
            for nr in [-1, 9999, 0x4000_0000, 0x4000_0001, 0xf0000, 0xfffff, i32::MIN, i32::MIN + 1, i32::MAX] {
                assert_eq!(name(abi, nr), None, "{abi} {nr}");
            }
            assert_eq!(name(abi, max_nr(abi) + 1), None);
            for call in ["", "Openat", "openat ", "opena", "openatt", "\u{e9}", "sys_openat"] {
                assert_eq!(number(abi, call), None, "{abi} {call:?}");
            }
        }
        // 245 to 259 are left for private calls of other machines with the generic table.
        assert_eq!(name(Abi::Aarch64, 250), None);
    }

    #[test]
    fn the_newest_calls_are_in() {
        for abi in ABIS {
            assert!(max_nr(abi) >= 471);
            assert!(name(abi, max_nr(abi)).is_some());
            assert_eq!(number(abi, "rseq_slice_yield"), Some(471));
        }
    }

    #[test]
    fn a_misspelt_name_finds_the_one_meant() {
        for (given, meant) in [
            ("openat", "openat"),
            ("opnat", "openat"),
            ("openta", "openat"),
            ("raed", "read"),
            ("opeantt", "openat"),
            ("umount", "umount2"),
            ("rt_sigretrun", "rt_sigreturn"),
            ("fstat64", "fstat"),
            ("epoll_waitt", "epoll_wait"),
        ] {
            assert_eq!(nearest(Abi::X86_64, given), Some(meant), "{given}");
        }
        assert_eq!(nearest(Abi::Arm, "settls"), Some("set_tls"));
    }

    #[test]
    fn nothing_close_is_no_suggestion() {
        for given in ["", "qqqq", "frobnicate", "sys_enter_openat", "\u{e9}\u{e9}\u{e9}", &"x".repeat(10_000)] {
            assert_eq!(nearest(Abi::X86_64, given), None, "{given}");
        }
    }

    #[test]
    fn distances_count_each_kind_of_slip_once() {
        for (given, known, slips) in [
            ("", "", 0),
            ("", "read", 4),
            ("read", "", 4),
            ("read", "read", 0),
            ("rad", "read", 1),
            ("reead", "read", 1),
            ("rxad", "read", 1),
            ("raed", "read", 1),
            ("dear", "read", 2),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(given.as_bytes(), known.as_bytes(), slips), Some(slips), "{given} {known}");
            assert_eq!(distance(given.as_bytes(), known.as_bytes(), 9), Some(slips), "{given} {known}");
            let less = slips.checked_sub(1).and_then(|less| distance(given.as_bytes(), known.as_bytes(), less));
            assert_eq!(less, None, "{given} {known}");
        }
    }
}
