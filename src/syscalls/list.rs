// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Lists of calls as `--syscalls` gives them: names, classes, exclusions; compiled to a set of numbers per ABI, so that
//! asking costs a bit test.
//!
//! The form is strace's (strace(1), `-e trace=`), the classes and their members too; see `tests/tables/generate`.

use crate::arch::{Abi, Arch};
use crate::ids::SyscallNr;
use crate::words::{split_once, trim};

use super::{all, class_table as classes, entry, nearest, nearest_of, number, word, ARM_PRIVATE};

/// Numbers of one ABI that a set holds: those below [`PLAIN`], and ARM's private calls behind them.
const PLACES: usize = 1024;

/// Numbers below this have the place of their number.
const PLAIN: SyscallNr = 1000;

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
        let at = if nr < PLAIN { nr } else { nr.wrapping_sub(ARM_PRIVATE - 1).checked_add(PLAIN)? };
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

/// A word of a list that is neither a call nor a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownWord<'a> {
    /// The word, for a class without the `%`.
    pub word: &'a str,
    /// Whether it was to be a class.
    pub is_class: bool,
    /// The call or class that is most likely meant.
    pub nearest: Option<&'static str>,
}

/// A list of calls as `--syscalls` gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyscallList {
    /// Whether the sets name what is left out.
    exclude: bool,
    /// The machine's own ABI and its 32-bit one; an empty one where there is none.
    sets: [NrSet; 2],
}

impl SyscallList {
    /// Reads `openat,%network`, `!futex,!read` or, as strace has it, `!futex,read` (all but these). A name must exist in
    /// one of the ABIs of the machine; after names to show, `!` takes names out again.
    pub fn parse(text: &str, arch: Arch) -> Result<SyscallList, UnknownWord<'_>> {
        let native = arch.native_abi();
        let set = |abi| NrSet { abi, bits: [0; PLACES / 64] };
        let mut sets = [set(native), set(arch.compat_abi().unwrap_or(native))];
        let exclude = trim(text).starts_with('!');
        // Names that `!` takes out again go last, wherever they stand.
        for taking_out in [false, true] {
            let mut rest = text;
            loop {
                let word = trim(split_once(rest, ",").map_or(rest, |(word, _)| word));
                let (marked, name) = match word.strip_prefix('!') {
                    Some(name) => (true, trim(name)),
                    None => (false, word),
                };
                if (marked && !exclude) == taking_out {
                    put(&mut sets, name, !taking_out)?;
                }
                match split_once(rest, ",") {
                    Some((_, behind)) => rest = behind,
                    None => break,
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

    /// Whether it says what is left out, so that numbers without a name are in it.
    pub fn excludes(&self) -> bool {
        self.exclude
    }
}

/// Name of class number `at`.
fn class_name(at: usize) -> Option<&'static str> {
    word(classes::CLASSES, &classes::CLASS_STARTS, at)
}

/// Puts the numbers that `name` has in each ABI into the sets, or takes them out.
fn put<'a>(sets: &mut [NrSet; 2], name: &'a str, there: bool) -> Result<(), UnknownWord<'a>> {
    let count = classes::CLASS_STARTS.len() - 1;
    if let Some(class) = name.strip_prefix('%') {
        let Some(at) = (0..count).find(|at| class_name(*at) == Some(class)) else {
            let nearest = nearest_of(class, &mut (0..count).filter_map(class_name));
            return Err(UnknownWord { word: class, is_class: true, nearest });
        };
        let set_of = classes::SET_OF.bytes();
        for set in sets {
            for (nr, _) in all(set.abi) {
                let of = set_of.get(usize::from(entry(set.abi, nr))).map(|of| usize::from(*of));
                if of.and_then(|of| classes::SETS.get(of)).is_some_and(|classes| classes >> at & 1 != 0) {
                    set.set(nr, there);
                }
            }
        }
        return Ok(());
    }
    let mut found = false;
    for set in sets.iter_mut() {
        if let Some(nr) = number(set.abi, name) {
            set.set(nr, there);
            found = true;
        }
    }
    if found {
        return Ok(());
    }
    let nearest = sets.iter().find_map(|set| nearest(set.abi, name));
    Err(UnknownWord { word: name, is_class: false, nearest })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> SyscallList {
        SyscallList::parse(text, Arch::X86_64).unwrap()
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
            assert!(list.excludes());
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
    fn classes_have_straces_members_in_each_abi() {
        let names = |text: &str, abi| {
            let list = SyscallList::parse(text, Arch::X86_64).unwrap();
            all(abi).filter(|(nr, _)| list.contains(abi, *nr)).map(|(_, name)| name).collect::<Vec<_>>()
        };
        let pure = ["getpid", "getuid", "getgid", "geteuid", "getegid", "getppid", "getpgrp", "gettid"];
        assert_eq!(names("%pure", Abi::X86_64), pure);
        assert_eq!(names("%lstat", Abi::I386), ["oldlstat", "lstat", "lstat64"]);
        assert!(names("%%stat", Abi::X86_64).contains(&"statx") && !names("%stat", Abi::X86_64).contains(&"statx"));
        assert!(names("%file", Abi::X86_64).contains(&"openat") && !names("%file", Abi::X86_64).contains(&"read"));
        assert_eq!(names("%ipc", Abi::I386).first(), Some(&"ipc"), "the multiplexer stands for its parts");
        assert!(names("%network", Abi::I386).contains(&"socketcall"));
        assert!(!names("%file,!openat,!%stat", Abi::X86_64).contains(&"openat"));
        assert!(names("!%file", Abi::X86_64).contains(&"read") && !names("!%file", Abi::X86_64).contains(&"openat"));
        for at in 0..classes::CLASS_STARTS.len() - 1 {
            let class = format!("%{}", class_name(at).unwrap());
            assert!(!names(&class, Abi::X86_64).is_empty(), "{class}");
        }
    }

    #[test]
    fn unknown_names_and_classes_are_told_with_the_nearest() {
        for (text, word, is_class, nearest) in [
            ("openat,raed", "raed", false, Some("read")),
            ("%fiel", "fiel", true, Some("file")),
            ("!%netwrok", "netwrok", true, Some("network")),
            ("%frobnicate", "frobnicate", true, None),
            ("", "", false, None),
            ("!", "", false, None),
            ("%", "", true, None),
            ("read,,write", "", false, None),
            ("!frobnicate", "frobnicate", false, None),
            ("settls", "settls", false, Some("setns")),
        ] {
            assert_eq!(SyscallList::parse(text, Arch::X86_64), Err(UnknownWord { word, is_class, nearest }), "{text}");
        }
    }
}
