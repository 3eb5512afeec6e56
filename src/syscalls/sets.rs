// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How a number splits into the names of constants: the bytes of [`sets_table`](super::sets_table) and their rules.
//!
//! ```text
//! set:   style, mask as LEB128 if the style has LOW, entries
//! style: FLAGS: bits are named one by one; LOW: those of the mask are a number; LAST: which comes behind the others
//! entry: 0x00-0x3f  flags: this bit; otherwise: the value of the entry before and this much
//!        0x40 VALUE     LEB128: this value
//!        0x41 LOW_VALUE LEB128: this value of the number in the mask
//!        0x42 PREFIX    no entry: what names begin with from here on
//!        0x43 MACHINES  no entry: the next one is for these ABIs, a bit each
//!        0x44 NEGATIVE  LEB128: minus this
//!        then the name behind the prefix, the top bit set in its last byte
//! ```
//! The first entry that fits counts. The bytes are made by `tests/tables/arguments.py`.

use super::args_table::kind::FIRST_SET;
use super::sets_table::{SETS, STARTS};
use crate::arch::Abi;

const FLAGS: u8 = 1;
const LOW: u8 = 2;
const LAST: u8 = 4;

const VALUE: u8 = 0x40;
const LOW_VALUE: u8 = 0x41;
const PREFIX: u8 = 0x42;
const MACHINES: u8 = 0x43;

/// A constant's name.
#[derive(Clone, Copy, Debug)]
pub struct Word {
    prefix: &'static [u8],
    rest: &'static [u8],
}

impl Word {
    /// The name, byte by byte: ASCII.
    #[inline]
    pub fn bytes(self) -> impl Iterator<Item = u8> {
        self.prefix.iter().chain(self.rest).map(|byte| byte & 0x7f)
    }
}

#[derive(Clone, Copy)]
struct Reader {
    rest: &'static [u8],
}

impl Reader {
    #[inline]
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    #[inline]
    fn leb(&mut self) -> u64 {
        leb(&mut self.rest)
    }

    #[inline]
    fn word(&mut self) -> &'static [u8] {
        let length = self.rest.iter().position(|byte| byte & 0x80 != 0).map_or(self.rest.len(), |last| last + 1);
        let (word, rest) = self.rest.split_at(length);
        self.rest = rest;
        word
    }
}

/// Takes a LEB128 number off the front; zero past the end.
#[inline]
pub(super) fn leb(from: &mut &'static [u8]) -> u64 {
    let mut value = 0;
    let mut shift = 0;
    while let Some((byte, rest)) = from.split_first() {
        *from = rest;
        value |= u64::from(byte & 0x7f).wrapping_shl(shift);
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

/// Number of an ABI in masks and tables of the generated files.
#[inline]
pub(super) fn abi_index(abi: Abi) -> u8 {
    match abi {
        Abi::X86_64 => 0,
        Abi::I386 => 1,
        Abi::Aarch64 => 2,
        Abi::Arm => 3,
    }
}

/// The bits of a set that are a number and not flags, of a set of which it is asked for.
fn opened(kind: u8) -> (u8, u64, Reader) {
    let at = usize::from(kind.saturating_sub(FIRST_SET));
    let from = STARTS.number(at).unwrap_or(0);
    let to = STARTS.number(at + 1).unwrap_or(from);
    let mut reader = Reader { rest: SETS.bytes().get(usize::from(from)..usize::from(to)).unwrap_or_default() };
    let style = reader.byte().unwrap_or(0);
    let mask = if style & LOW != 0 { reader.leb() } else { 0 };
    (style, mask, reader)
}

/// Names of the parts of `value` in the set `kind`, one by one to `push`, in the order in which they are printed.
/// Gives what no name stands for: bits of flags, or the whole of another value.
#[inline(never)]
pub fn split(kind: u8, abi: Abi, value: u64, push: &mut dyn FnMut(Word)) -> u64 {
    let (style, mask, reader) = opened(kind);
    let mut rest = value;
    if style & (FLAGS | LAST) != FLAGS | LAST {
        walk(style, mask, reader, abi, value, &mut rest, push);
        return rest;
    }
    // Flags first: once without the number, once without the flags.
    let mut flags = value & !mask;
    if flags != 0 {
        walk(style & !LOW, 0, reader, abi, value & !mask, &mut flags, push);
    }
    let mut low = value & mask;
    walk(style, mask, reader, abi, value & mask, &mut low, push);
    flags | low
}

fn walk(style: u8, mask: u64, mut reader: Reader, abi: Abi, value: u64, left: &mut u64, push: &mut dyn FnMut(Word)) {
    let mut prefix: &'static [u8] = &[];
    let mut last = 0u64;
    let mut machines = u8::MAX;
    let mut low_done = false;
    while let Some(code) = reader.byte() {
        let flags = style & FLAGS != 0;
        let mut fits;
        match code {
            PREFIX => {
                prefix = reader.word();
                continue;
            }
            MACHINES => {
                machines = reader.byte().unwrap_or(0);
                continue;
            }
            LOW_VALUE => {
                let low = reader.leb();
                fits = mask != 0 && !low_done && value & mask == low;
                if fits && machines >> abi_index(abi) & 1 != 0 {
                    low_done = true;
                    *left &= !mask;
                }
            }
            _ if flags => {
                let bits = if code < VALUE { 1 << code } else { reader.leb() };
                fits = if bits == 0 { value == 0 } else { *left & bits == bits };
                if fits && machines >> abi_index(abi) & 1 != 0 {
                    *left &= !bits;
                }
            }
            code => {
                let known = match code {
                    0..=0x3f => {
                        last = last.wrapping_add(u64::from(code));
                        last
                    }
                    VALUE => {
                        last = reader.leb();
                        last
                    }
                    _ => reader.leb().wrapping_neg(),
                };
                // Negative ones also where an int was not extended.
                fits = known == value || (code > VALUE && u64::from(known as u32) == value);
                if fits && machines >> abi_index(abi) & 1 != 0 {
                    *left = 0;
                }
            }
        }
        let word = Word { prefix, rest: reader.word() };
        fits &= machines >> abi_index(abi) & 1 != 0;
        machines = u8::MAX;
        if fits {
            push(word);
            if !flags {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::args_table::kind;
    use super::*;

    fn text(kind: u8, abi: Abi, value: u64) -> String {
        let mut words = Vec::new();
        let rest = split(kind, abi, value, &mut |word| words.push(String::from_utf8(word.bytes().collect()).unwrap()));
        if rest != 0 {
            words.push(format!("{rest:#x}"));
        }
        words.join("|")
    }

    #[test]
    fn flags_are_named_in_order_with_what_is_left_behind() {
        assert_eq!(text(kind::SET_OPEN, Abi::X86_64, 0), "O_RDONLY");
        assert_eq!(text(kind::SET_OPEN, Abi::X86_64, 0o2_100_102), "O_RDWR|O_CREAT|O_LARGEFILE|O_CLOEXEC");
        assert_eq!(text(kind::SET_OPEN, Abi::X86_64, 2 | 1 << 40), "O_RDWR|0x10000000000");
        assert_eq!(text(kind::SET_OPEN, Abi::X86_64, 0x40_1000), "O_RDONLY|O_DSYNC|__O_TMPFILE");
    }

    #[test]
    fn one_bit_means_another_flag_on_another_machine() {
        assert_eq!(text(kind::SET_OPEN, Abi::X86_64, 0x8000), "O_RDONLY|O_LARGEFILE");
        assert_eq!(text(kind::SET_OPEN, Abi::Aarch64, 0x8000), "O_RDONLY|O_NOFOLLOW");
        assert_eq!(text(kind::SET_OPEN, Abi::I386, 0x10000), "O_RDONLY|O_DIRECTORY");
        assert_eq!(text(kind::SET_OPEN, Abi::Arm, 0x10000), "O_RDONLY|O_DIRECT");
        assert_eq!(text(kind::SET_OPEN, Abi::Arm, 0x40_4002), "O_RDWR|O_TMPFILE");
    }

    #[test]
    fn values_are_named_whole_or_not_at_all() {
        assert_eq!(text(kind::SET_CLOCK, Abi::Arm, 1), "CLOCK_MONOTONIC");
        assert_eq!(text(kind::SET_CLOCK, Abi::Arm, 99), "0x63");
        assert_eq!(text(kind::SET_KEY_SPEC, Abi::X86_64, 0xffff_fffd), "KEY_SPEC_SESSION_KEYRING");
        assert_eq!(text(kind::SET_KEY_SPEC, Abi::X86_64, u64::MAX), "KEY_SPEC_THREAD_KEYRING");
    }

    #[test]
    fn every_entry_of_every_set_reads_back() {
        for at in 0..STARTS.bytes().len() / 2 - 1 {
            let (style, _, mut reader) = opened(FIRST_SET + at as u8);
            assert!(style < 8);
            let mut words = 0;
            while let Some(code) = reader.byte() {
                match code {
                    MACHINES => assert!((1..15).contains(&reader.byte().unwrap())),
                    0..=0x3f | VALUE..=PREFIX | 0x44 => {
                        if matches!(code, VALUE | LOW_VALUE | 0x44) {
                            reader.leb();
                        }
                        let word = reader.word();
                        assert!(word.last().unwrap() & 0x80 != 0 && word.len() < 40);
                        words += 1;
                    }
                    _ => panic!("code {code:#x} in set {at}"),
                }
            }
            assert!(words > 0);
        }
    }
}
