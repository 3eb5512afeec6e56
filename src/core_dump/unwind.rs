// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What unwinding has in common, whatever it goes by: registers, and memory that is read byte by byte within bounds.
//!
//! Registers are numbered as DWARF numbers them on each machine.
//! Source: the psABI documents of x86-64 and i386, aadwarf64, aadwarf32.

use super::elf::{places, Core, Module, Thread};
use crate::arch::Abi;

/// More than any machine numbers among those that are needed.
pub const REGISTERS: usize = 34;
/// Bytes that are fetched at a time.
const BLOCK: usize = 4096;
/// Blocks that are fetched for one backtrace at the most: 32 MB of tables and stack.
const BLOCKS_MAX: u32 = 8192;

/// Registers of one frame, as far as they are known.
#[derive(Clone, Debug)]
pub struct State {
    /// By their numbers.
    pub registers: [Option<u64>; REGISTERS],
    /// Where it goes on.
    pub pc: u64,
}

/// The numbers of stack pointer, frame pointer, and the register that calls leave the return address in.
pub fn special(abi: Abi) -> (usize, usize, Option<usize>) {
    match abi {
        Abi::X86_64 => (7, 6, None),
        Abi::I386 => (4, 5, None),
        Abi::Aarch64 => (31, 29, Some(30)),
        Abi::Arm => (13, 11, Some(14)),
    }
}

/// Which of the kernel's registers (user_regs_struct) has which number.
const X86_64: [u8; 16] = [10, 12, 11, 5, 13, 14, 4, 19, 9, 8, 7, 6, 3, 2, 1, 0];
const I386: [u8; 8] = [6, 1, 2, 0, 15, 5, 3, 4];

impl State {
    /// That of a thread when it died.
    pub fn of(thread: &Thread, abi: Abi) -> State {
        let mut registers = [None; REGISTERS];
        let order: &[u8] = match abi {
            Abi::X86_64 => &X86_64,
            Abi::I386 => &I386,
            _ => &[],
        };
        for (number, register) in registers.iter_mut().enumerate() {
            let at = if order.is_empty() { Some(number) } else { order.get(number).map(|at| usize::from(*at)) };
            *register = at.and_then(|at| thread.registers.get(at)).copied();
        }
        let [pc, ..] = places(abi);
        State { registers, pc: thread.registers.get(pc).copied().unwrap_or_default() }
    }

    /// A register that is known.
    pub fn get(&self, number: usize) -> Option<u64> {
        self.registers.get(number).copied().flatten()
    }

    /// Sets one.
    pub fn set(&mut self, number: usize, value: Option<u64>) {
        if let Some(register) = self.registers.get_mut(number) {
            *register = value;
        }
    }
}

/// The memory of a process.
pub struct Memory<'a> {
    /// Its dump.
    pub core: &'a Core,
    /// Whether words have 8 bytes.
    pub wide: bool,
    block: Vec<u8>,
    start: u64,
    left: u32,
}

impl<'a> Memory<'a> {
    /// That of a dump.
    pub fn new(core: &'a Core) -> Memory<'a> {
        Memory { core, wide: !core.abi.is_32bit(), block: Vec::new(), start: 0, left: BLOCKS_MAX }
    }

    /// A byte, if it is there and not too much was read before.
    pub fn byte(&mut self, address: u64) -> Option<u8> {
        let at = address.wrapping_sub(self.start) as usize;
        if let Some(byte) = self.block.get(at).filter(|_| address >= self.start) {
            return Some(*byte);
        }
        self.left = self.left.checked_sub(1)?;
        self.start = address & !(BLOCK as u64 - 1);
        self.block.resize(BLOCK, 0);
        let have = self.core.memory(self.start, &mut self.block);
        self.block.truncate(have);
        self.block.get((address - self.start) as usize).copied()
    }

    /// A number of as many bytes.
    pub fn number(&mut self, address: u64, width: u8) -> Option<u64> {
        let mut number = 0;
        for nth in (0..u64::from(width)).rev() {
            number = number << 8 | u64::from(self.byte(address.checked_add(nth)?)?);
        }
        Some(number)
    }

    /// A word of the process.
    pub fn word(&mut self, address: u64) -> Option<u64> {
        self.number(address, if self.wide { 8 } else { 4 })
    }

    /// What an address is in the process: no more bits than it has.
    pub fn address(&self, value: u64) -> u64 {
        if self.wide {
            value
        } else {
            u64::from(value as u32)
        }
    }
}

/// Where a table of a module is, by the kind of its program header: its address and its bytes.
pub fn table(module: &Module, kind: u64) -> Option<(u64, u64)> {
    let header = module.headers.iter().find(|header| header.kind == kind)?;
    Some((header.address.wrapping_add(module.bias), header.bytes))
}

/// A number with its sign, of as many bits.
pub fn signed(value: u64, bits: u32) -> i64 {
    let shift = 64u32.saturating_sub(bits).min(63);
    ((value << shift) as i64) >> shift
}
