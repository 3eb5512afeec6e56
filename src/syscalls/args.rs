// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From six registers to a call's arguments: how many, which register, how wide, of what kind; and what its result is.
//!
//! Registers are wider than arguments, and on 32-bit ABIs narrower than some: an `int` is the low half, whatever the
//! high half has, and 64 bits lie in two registers, the low half first; on ARM (EABI, AAPCS 5.5 rule C.3) such a pair
//! begins with an even register, on i386 anywhere. How many arguments count depends for some calls on another argument
//! (`fcntl` by its command, `openat` by O_CREAT): as strace shows them.

use super::args_table::{self as table, call, kind};
use super::sets::{abi_index, leb};
use crate::arch::Abi;
use crate::ids::SyscallNr;

/// Most arguments of a call.
pub const ARGUMENTS_MAX: usize = 6;

/// One argument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Argument {
    /// Its bits, zero above [`Argument::is_64bit`].
    pub value: u64,
    /// Whether its type has 64 bits, and not 32.
    pub is_64bit: bool,
    /// What it is; see [`kind`].
    pub kind: u8,
    /// Index of its (first) register.
    pub register: u8,
    name: u16,
}

impl Argument {
    /// The kernel's name for it.
    pub fn name(&self) -> &'static str {
        table::NAMES.word(table::STARTS, usize::from(self.name)).unwrap_or_default()
    }

    /// The value with its sign.
    #[inline]
    pub fn signed(&self) -> i64 {
        if self.is_64bit {
            self.value as i64
        } else {
            i64::from(self.value as u32 as i32)
        }
    }
}

/// A call's arguments.
#[derive(Clone, Copy, Debug, Default)]
pub struct Arguments {
    list: [Argument; ARGUMENTS_MAX],
    len: usize,
    /// Whether their order is not that of the registers, so that names are to be printed.
    pub named: bool,
}

impl Arguments {
    /// The arguments in the order in which they are printed.
    #[inline]
    pub fn as_slice(&self) -> &[Argument] {
        self.list.get(..self.len).unwrap_or_default()
    }

    fn value(&self, at: usize) -> u64 {
        self.list.get(at).map_or(0, |argument| argument.value)
    }

    fn keep(&mut self, count: usize) {
        self.len = self.len.min(count);
    }
}

// The bits of the byte behind a kind in a rule, and above a name in a signature.
const WIDTH_INT: u8 = 0;
const WIDTH_REGISTER: u8 = 1;
const WIDTH_PAIR: u8 = 2;

/// Takes values out of registers.
struct Registers<'a> {
    abi: Abi,
    values: &'a [u64; ARGUMENTS_MAX],
    next: usize,
}

impl Registers<'_> {
    /// A register, as wide as it is.
    fn get(&self, at: usize) -> u64 {
        let value = self.values.get(at).copied().unwrap_or(0);
        if self.abi.is_32bit() {
            u64::from(value as u32)
        } else {
            value
        }
    }

    /// The next value: its bits, whether there are 64, and where it began.
    fn take(&mut self, width: u8) -> (u64, bool, usize) {
        let is_32bit = self.abi.is_32bit();
        if width == WIDTH_PAIR && self.abi == Abi::Arm && self.next % 2 != 0 {
            self.next += 1;
        }
        let at = self.next;
        let value = self.get(at);
        self.next += 1;
        match width {
            WIDTH_INT => (u64::from(value as u32), false, at),
            WIDTH_REGISTER => (value, !is_32bit, at),
            WIDTH_PAIR if !is_32bit => (value, true, at),
            _ => {
                // `pos_l, pos_h` of preadv are two registers everywhere, and on 64-bit ABIs the first has it all.
                let high = self.get(self.next);
                self.next += 1;
                (if is_32bit { value | high << 32 } else { value }, true, at)
            }
        }
    }
}

/// What the six registers of a call mean. `None` for a call whose prototype is not known.
#[inline(never)]
pub fn arguments(abi: Abi, nr: SyscallNr, registers: &[u64; ARGUMENTS_MAX]) -> Option<Arguments> {
    let entry = super::entry(abi, nr);
    let at = table::CALLS.number(usize::from(entry)).filter(|at| *at != table::NONE)?;
    let is_it = |(of, call, _): &&(u8, u16, u16)| *call == entry && *of == abi_index(abi);
    let at = table::OTHERS.iter().find(is_it).map_or(at, |(.., at)| *at);
    let mut signature = table::SIGNATURES.bytes().get(usize::from(at)..)?;
    let [count, rule] = *signature.get(..2)? else { return None };
    signature = signature.get(2..)?;
    let mut found = Arguments { len: usize::from(count), ..Arguments::default() };
    let mut from = Registers { abi, values: registers, next: 0 };
    for (argument, bytes) in found.list.iter_mut().zip(signature.chunks_exact(3)).take(usize::from(count)) {
        let [kind, low, high] = *bytes else { return None };
        let (value, is_64bit, register) = from.take(high >> 6);
        let name = u16::from_le_bytes([low, high & 0x3f]);
        *argument = Argument { value, is_64bit, kind, register: register as u8, name };
    }
    if rule != 0 {
        apply(rule, &mut found, &mut from);
    }
    special(entry, abi, &mut found);
    Some(found)
}

/// Lets one argument say what those behind it are.
fn apply(rule: u8, found: &mut Arguments, from: &mut Registers<'_>) -> Option<()> {
    let start = *table::RULE_STARTS.get(usize::from(rule).checked_sub(1)?)?;
    let mut rest: &'static [u8] = table::RULES.bytes().get(usize::from(start)..)?;
    let [selector, first] = *rest.get(..2)? else { return None };
    rest = rest.get(2..)?;
    let wanted = found.value(usize::from(selector)) & leb(&mut rest);
    let first = usize::from(first);
    let entries = leb(&mut rest);
    for _ in 0..entries {
        let mut fits = false;
        for _ in 0..leb(&mut rest) {
            fits |= leb(&mut rest) == wanted;
        }
        let (count, behind) = rest.split_first()?;
        let kinds = usize::from(count & 0x7f);
        let (bytes, behind) = behind.split_at((2 * kinds).min(behind.len()));
        rest = behind;
        if !fits {
            continue;
        }
        for (at, pair) in bytes.chunks_exact(2).enumerate() {
            let (&[kind, how], Some(argument)) = (pair, found.list.get_mut(first + at)) else { continue };
            from.next = match how >> 4 {
                0 => first + at,
                register => usize::from(register) - 1,
            };
            let (value, is_64bit, register) = from.take(how & 3);
            *argument = Argument { value, is_64bit, kind, register: register as u8, name: argument.name };
        }
        if count & 0x80 == 0 {
            found.keep(first + kinds);
        }
        return Some(());
    }
    Some(())
}

const O_CREAT: u64 = 0x40;
const O_TMPFILE_BIT: u64 = 0x40_0000;
const MREMAP_MAYMOVE_FIXED: u64 = 3;
const PR_SET_SECCOMP: u64 = 22;
const SECCOMP_MODE_STRICT: u64 = 1;
const SECCOMP_MODE_FILTER: u64 = 2;
/// clone's arguments as they are printed: stack, flags, parent_tid, tls, child_tid; and the flags of which one must be
/// there: CLONE_PARENT_SETTID or CLONE_PIDFD, CLONE_SETTLS, CLONE_CHILD_CLEARTID or CLONE_CHILD_SETTID.
static CLONE_ARGUMENTS: [(u8, u32); 5] = [(1, 0), (0, 0), (2, 0x10_1000), (3, 0x8_0000), (4, 0x120_0000)];

/// What no rule can tell.
fn special(entry: u16, abi: Abi, found: &mut Arguments) {
    match entry {
        call::OPEN if found.value(1) & (O_CREAT | O_TMPFILE_BIT) == 0 => found.keep(2),
        call::OPENAT if found.value(2) & (O_CREAT | O_TMPFILE_BIT) == 0 => found.keep(3),
        call::MQ_OPEN if found.value(1) & O_CREAT == 0 => found.keep(2),
        call::MREMAP if found.value(3) & MREMAP_MAYMOVE_FIXED != MREMAP_MAYMOVE_FIXED => found.keep(4),
        // Only device files have a device: S_IFCHR 0020000, S_IFBLK 0060000.
        call::MKNOD if !matches!(found.value(1) & 0o170_000, 0o020_000 | 0o060_000) => found.keep(2),
        call::MKNODAT if !matches!(found.value(2) & 0o170_000, 0o020_000 | 0o060_000) => found.keep(3),
        // Only LINUX_REBOOT_CMD_RESTART2 looks at the last.
        call::REBOOT if found.value(2) != 0xa1b2_c3d4 => found.keep(3),
        // MEMBARRIER_CMD_FLAG_CPU
        call::MEMBARRIER if found.value(1) & 1 == 0 => found.keep(2),
        call::PRCTL if found.value(0) == PR_SET_SECCOMP => match found.value(1) {
            SECCOMP_MODE_STRICT => found.keep(2),
            SECCOMP_MODE_FILTER => {
                found.keep(3);
                if let Some(filter) = found.list.get_mut(2) {
                    filter.kind = kind::PTR;
                }
            }
            _ => {}
        },
        call::LLSEEK => {
            // fd, high, low, result, whence: the offset is one.
            let [_, high, low, result, whence, _] = &mut found.list;
            high.value = (high.value & u64::from(u32::MAX)) << 32 | low.value & u64::from(u32::MAX);
            high.is_64bit = true;
            (*low, *result) = (*result, *whence);
            found.keep(4);
        }
        call::CLONE => {
            let Arguments { list, .. } = core::mem::take(found);
            let bits = list.first().map_or(0, |flags| flags.value);
            for (nth, mask) in CLONE_ARGUMENTS {
                // The last two are the other way round on x86_64.
                let at = if abi == Abi::X86_64 && nth > 2 { 7 - nth } else { nth };
                let wanted = mask == 0 || bits & u64::from(mask) != 0;
                let argument = list.get(usize::from(at)).filter(|_| wanted);
                if let (Some(argument), Some(place)) = (argument, found.list.get_mut(found.len)) {
                    *place = *argument;
                    found.len += 1;
                }
            }
            found.named = true;
        }
        _ => {}
    }
}

/// What a result that is no error says beside its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing.
    Plain,
    /// Permissions, to be read in octal.
    Octal,
    /// That time was up.
    Timeout,
    /// A value of this kind, or `hex` and a label in front.
    Named {
        /// Whether the number is read in hexadecimal.
        hex: bool,
        /// What stands before the names.
        label: &'static str,
        /// See [`kind`].
        kind: u8,
    },
}

/// What the result `ret` of a call says. For results that are no errors.
pub fn outcome(abi: Abi, nr: SyscallNr, registers: &[u64; ARGUMENTS_MAX], ret: i64) -> Outcome {
    let named = |hex, label, kind| Outcome::Named { hex, label, kind };
    let second = registers.get(1).map_or(0, |value| *value as u32);
    match super::entry(abi, nr) {
        call::UMASK => Outcome::Octal,
        call::POLL
        | call::PPOLL
        | call::PPOLL_TIME64
        | call::SELECT
        | call::NEWSELECT
        | call::PSELECT6
        | call::PSELECT6_TIME64
        | call::RECVMMSG
        | call::RECVMMSG_TIME64
            if ret == 0 =>
        {
            Outcome::Timeout
        }
        call::PERSONALITY => named(true, "", kind::SET_PERSONALITY),
        call::SCHED_GETSCHEDULER => named(false, "", kind::SET_SCHED),
        call::IOPRIO_GET => named(false, "", kind::SET_IOPRIO),
        // MEMBARRIER_CMD_QUERY
        call::MEMBARRIER if ret != 0 && registers.first().is_some_and(|value| *value as u32 == 0) => {
            named(true, "", kind::SET_MEMBARRIER)
        }
        call::FCNTL | call::FCNTL64 => match second {
            // F_GETFL
            3 => named(true, "flags ", kind::SET_OPEN),
            // F_GETFD
            1 if ret != 0 => named(true, "flags ", kind::SET_FDFLAGS),
            // F_GET_SEALS
            1034 if ret != 0 => named(true, "seals ", kind::SET_SEAL),
            // F_GETLEASE
            1025 => named(true, "", kind::SET_LEASE),
            // F_GETSIG
            11 if ret != 0 => named(false, "", kind::SIG),
            _ => Outcome::Plain,
        },
        call::PRCTL => match registers.first().map_or(0, |value| *value as u32) {
            // PR_GET_DUMPABLE
            3 => named(false, "", kind::SET_DUMPABLE),
            // PR_GET_SECUREBITS
            27 if ret != 0 => named(true, "", kind::SET_SECUREBITS),
            // PR_GET_SPECULATION_CTRL
            52 => named(true, "", kind::SET_PR_SPEC_STATE),
            _ => Outcome::Plain,
        },
        _ => Outcome::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syscalls::{all, number};

    const ABIS: [Abi; 4] = [Abi::X86_64, Abi::I386, Abi::Aarch64, Abi::Arm];

    fn of(abi: Abi, name: &str, registers: [u64; 6]) -> Vec<(&'static str, u64)> {
        let found = arguments(abi, number(abi, name).unwrap(), &registers).unwrap();
        found.as_slice().iter().map(|argument| (argument.name(), argument.value)).collect()
    }

    #[test]
    fn every_call_that_a_kernel_has_has_arguments() {
        for abi in ABIS {
            let without: Vec<&str> =
                all(abi).filter(|(nr, _)| arguments(abi, *nr, &[0; 6]).is_none()).map(|(_, name)| name).collect();
            // Numbers kept for calls that are long gone or never came.
            let least = if abi.is_32bit() { 24 } else { 14 };
            assert!(without.len() < least, "{abi}: {without:?}");
            assert!(!without.contains(&"openat") && !without.contains(&"sigreturn"), "{abi}: {without:?}");
            for (nr, name) in all(abi) {
                let found = arguments(abi, nr, &[u64::MAX; 6]).unwrap_or_default();
                let mut names: Vec<&str> = found.as_slice().iter().map(Argument::name).collect();
                names.sort_unstable();
                assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{abi} {name}: {names:?}");
                for argument in found.as_slice() {
                    assert!(!argument.name().is_empty() && argument.register < 6, "{abi} {name}");
                    assert!(argument.is_64bit || argument.value <= u64::from(u32::MAX), "{abi} {name}");
                }
            }
        }
    }

    #[test]
    fn an_int_is_the_low_half_whatever_the_high_half_has() {
        for dfd in [0xffff_ff9c, 0xffff_ffff_ffff_ff9c] {
            let found = arguments(Abi::Aarch64, 56, &[dfd, 1, 0, 0, 0, 0]).unwrap();
            assert_eq!(found.as_slice()[0].signed(), -100);
            assert_eq!(found.as_slice()[0].kind, kind::DIRFD);
        }
        assert_eq!(of(Abi::I386, "munmap", [1 << 40 | 7, 1 << 40 | 9, 0, 0, 0, 0]), [("addr", 7), ("len", 9)]);
    }

    #[test]
    fn halves_are_joined_with_the_alignment_of_each_abi() {
        let (low, high) = (0x8000_0001, 2);
        let whole = 0x2_8000_0001;
        let pread = |at: usize| {
            let mut registers = [9; 6];
            (registers[0], registers[at], registers[at + 1]) = (3, low, high);
            registers
        };
        assert_eq!(of(Abi::Arm, "pread64", pread(4))[3], ("pos", whole));
        assert_eq!(of(Abi::I386, "pread64", pread(3))[3], ("pos", whole));
        assert_eq!(of(Abi::X86_64, "pread64", [3, 1, 2, whole, 5, 5])[3], ("pos", whole));
        assert_eq!(of(Abi::Arm, "ftruncate64", [3, 9, low, high, 0, 0])[1], ("length", whole));
        assert_eq!(of(Abi::I386, "ftruncate64", [3, low, high, 9, 0, 0])[1], ("length", whole));
        let found = of(Abi::Arm, "arm_fadvise64_64", [3, 4, low, high, 5, 0]);
        assert_eq!(found, [("fd", 3), ("advice", 4), ("offset", whole), ("len", 5)]);
        let found = of(Abi::Arm, "readahead", [3, 9, low, high, 77, 0]);
        assert_eq!(found, [("fd", 3), ("offset", whole), ("count", 77)]);
        let found = of(Abi::I386, "fallocate", [3, 1, low, high, 4, 0]);
        assert_eq!(found, [("fd", 3), ("mode", 1), ("offset", whole), ("len", 4)]);
        let found = of(Abi::Arm, "fanotify_mark", [3, 1, low, high, 0xffff_ff9c, 8]);
        assert_eq!(found[2..], [("mask", whole), ("dfd", 0xffff_ff9c), ("pathname", 8)]);
        assert_eq!(of(Abi::Arm, "sync_file_range2", [3, 7, 1, 0, 2, 0])[2..], [("offset", 1), ("nbytes", 2)]);
        assert_eq!(
            of(Abi::I386, "sync_file_range", [3, 1, 0, 2, 0, 7])[1..],
            [("offset", 1), ("nbytes", 2), ("flags", 7)]
        );
        // fs/read_write.c puts these together itself: no alignment, and on 64-bit ABIs the second is not looked at.
        assert_eq!(of(Abi::Arm, "preadv2", [3, 1, 2, low, high, 8])[3..], [("pos_l", whole), ("flags", 8)]);
        assert_eq!(of(Abi::X86_64, "preadv2", [3, 1, 2, whole, 99, 8])[3..], [("pos_l", whole), ("flags", 8)]);
        assert_eq!(
            of(Abi::Arm, "_llseek", [3, high, low, 5, 1, 0])[1..],
            [("offset_high", whole), ("result", 5), ("whence", 1)]
        );
    }

    #[test]
    fn as_many_arguments_count_as_the_call_takes() {
        let count = |abi, name, registers| of(abi, name, registers).len();
        assert_eq!(count(Abi::X86_64, "openat", [0, 1, 0, 0, 0, 0]), 3);
        assert_eq!(count(Abi::X86_64, "openat", [0, 1, 0x41, 0, 0, 0]), 4);
        assert_eq!(count(Abi::Aarch64, "openat", [0, 1, 0x40_4000, 0, 0, 0]), 4);
        assert_eq!(count(Abi::X86_64, "fcntl", [0, 3, 0, 0, 0, 0]), 2);
        assert_eq!(count(Abi::Arm, "fcntl64", [0, 4, 0, 0, 0, 0]), 3);
        assert_eq!(count(Abi::X86_64, "futex", [1, 0x80, 0, 0, 0, 0]), 4);
        assert_eq!(count(Abi::X86_64, "futex", [1, 0x81, 0, 0, 0, 0]), 3);
        assert_eq!(count(Abi::X86_64, "mremap", [1, 0, 0, 1, 0, 0]), 4);
        assert_eq!(count(Abi::X86_64, "mremap", [1, 0, 0, 3, 0, 0]), 5);
        assert_eq!(count(Abi::I386, "mmap", [1, 0, 0, 3, 0, 0]), 1);
        assert_eq!(count(Abi::I386, "select", [1, 0, 0, 3, 0, 0]), 1);
        assert_eq!(count(Abi::X86_64, "mknod", [1, 0o100_644, 0, 3, 0, 0]), 2);
        assert_eq!(count(Abi::X86_64, "mknod", [1, 0o020_644, 0x103, 3, 0, 0]), 3);
    }

    #[test]
    fn clone_has_its_arguments_in_another_order_on_each_abi() {
        let flags = 0x138_0000;
        let expected = [("child_stack", 2), ("flags", flags), ("parent_tid", 3), ("tls", 5), ("child_tidptr", 4)];
        assert_eq!(of(Abi::X86_64, "clone", [flags, 2, 3, 4, 5, 0]), expected);
        for abi in [Abi::I386, Abi::Aarch64, Abi::Arm] {
            assert_eq!(of(abi, "clone", [flags, 2, 3, 5, 4, 0]), expected);
        }
        assert_eq!(of(Abi::Arm, "clone", [17, 0, 3, 5, 4, 0]), [("child_stack", 0), ("flags", 17)]);
    }
}
