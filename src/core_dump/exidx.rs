// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `.ARM.exidx`: how the functions of 32-bit ARM are left again, in one or a few bytes each.
//!
//! Source: Exception Handling ABI for the Arm Architecture (ehabi32), 6 (index table entries) and 10.3 (instructions).

use super::cfi::Step;
use super::unwind::{signed, Memory, State};

/// Most bytes of instructions of one function: a byte counts words.
const BYTES_MAX: usize = 4 * 256;

/// An offset of 31 bits from where it stands.
fn near(at: u64, word: u64) -> u64 {
    u64::from(at.wrapping_add(signed(word, 31) as u64) as u32)
}

/// The caller's state by the table of `bytes` at `table`.
pub fn step(memory: &mut Memory<'_>, table: u64, bytes: u64, state: &State, pc: u64) -> Option<Step> {
    let (mut low, mut high) = (0, bytes / 8);
    while low < high {
        let middle = low + (high - low) / 2;
        let at = table.wrapping_add(middle * 8);
        if near(at, memory.word(at)?) <= pc {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    let at = table.wrapping_add(low.checked_sub(1)? * 8 + 4);
    let word = memory.word(at)?;
    // EXIDX_CANTUNWIND: so is C that was compiled without tables, as it is where nobody asks for them.
    if word == 1 {
        return None;
    }
    let mut code = Vec::new();
    if word >> 31 == 1 {
        push(&mut code, word, 3);
    } else {
        let mut at = near(at, word);
        let mut first = memory.word(at)?;
        if first >> 31 == 0 {
            // A language's own routine; GCC's and Clang's have the same behind it.
            at = at.wrapping_add(4);
            first = memory.word(at)?;
            push(&mut code, first, 3);
            read_more(memory, &mut code, at, first >> 24)?;
        } else if first >> 24 & 0xf == 0 {
            push(&mut code, first, 3);
        } else {
            push(&mut code, first, 2);
            read_more(memory, &mut code, at, first >> 16)?;
        }
    }
    run(memory, &code, state)
}

/// The lowest bytes of a word, highest first.
fn push(code: &mut Vec<u8>, word: u64, count: usize) {
    let bytes = (word as u32).to_be_bytes();
    code.extend_from_slice(bytes.get(4 - count..).unwrap_or_default());
}

fn read_more(memory: &mut Memory<'_>, code: &mut Vec<u8>, at: u64, words: u64) -> Option<()> {
    for nth in 1..=words & 0xff {
        push(code, memory.word(at.wrapping_add(4 * nth))?, 4);
    }
    (code.len() <= BYTES_MAX).then_some(())
}

fn run(memory: &mut Memory<'_>, code: &[u8], state: &State) -> Option<Step> {
    let mut caller = state.clone();
    let mut sp = state.get(13)?;
    let mut has_pc = false;
    let mut bytes = code.iter().copied();
    let mut next = || bytes.next();
    while let Some(op) = next() {
        let low = u64::from(op);
        // Which registers are popped, from r0 on.
        let mut pops = 0u64;
        match op {
            0x00..=0x3f => sp = sp.wrapping_add((low << 2) + 4),
            0x40..=0x7f => sp = sp.wrapping_sub(((low & 0x3f) << 2) + 4),
            0x80..=0x8f => {
                pops = ((low & 0xf) << 8 | u64::from(next()?)) << 4;
                if pops == 0 {
                    return Some(Step::End);
                }
            }
            0x9d | 0x9f => return None,
            0x90..=0x9f => sp = caller.get(usize::from(op & 0xf))?,
            0xa0..=0xaf => {
                pops = (0xff >> (7 - (low & 7)) & 0xff) << 4;
                pops |= (low & 8) << 11;
            }
            0xb0 => break,
            0xb1 => pops = u64::from(next()?) & 0xf,
            0xb2 => {
                let (mut value, mut shift) = (0u64, 0);
                loop {
                    let byte = next()?;
                    value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
                    shift += 7;
                    if byte & 0x80 == 0 {
                        break;
                    }
                }
                sp = sp.wrapping_add(0x204).wrapping_add(value << 2);
            }
            // Floating point, in the two ways to store it.
            0xb3 => sp = sp.wrapping_add((u64::from(next()?) & 0xf) * 8 + 12),
            // The code that authenticates a return address.
            0xb4 => sp = sp.wrapping_add(4),
            0xb5 => {}
            0xb8..=0xbf => sp = sp.wrapping_add((low & 7) * 8 + 12),
            0xc8 | 0xc9 => sp = sp.wrapping_add((u64::from(next()?) & 0xf) * 8 + 8),
            0xd0..=0xd7 => sp = sp.wrapping_add((low & 7) * 8 + 8),
            _ => return None,
        }
        let mut new_sp = None;
        for register in (0..16).filter(|register| pops >> register & 1 == 1) {
            let value = memory.word(memory.address(sp))?;
            sp = sp.wrapping_add(4);
            match register {
                13 => new_sp = Some(value),
                15 => (caller.pc, has_pc) = (value, true),
                _ => caller.set(register, Some(value)),
            }
        }
        sp = memory.address(new_sp.unwrap_or(sp));
    }
    caller.set(13, Some(sp));
    if !has_pc {
        caller.pc = caller.get(14)?;
    }
    // The lowest bit says in which instruction set it goes on.
    caller.pc &= !1;
    Some(Step::Caller(Box::new(caller), false))
}
