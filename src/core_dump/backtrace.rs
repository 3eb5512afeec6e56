// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The functions that a dying thread was in, as addresses, without any symbols: by the unwind tables in its memory, by frame
//! pointers where there are none.
//!
//! Tables are in pages that dumps leave out, so this is done while the process is still there. Its memory is read, and for
//! programs without a table to search in (static ones) the sections of their file: both may be made up by it, and a file may
//! be on a file system that a process of the container serves. Hence a process of our own that has little time.
//! Source: kernel arch/*/kernel/signal.c for frames of signals; AAPCS64 6.4.6 and GCC for frame pointers.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags};

use super::cfi::{self, Step};
use super::elf::Core;
use super::exidx;
use super::unwind::{special, table, Memory, State};
use crate::arch::Abi;
use crate::ids::Pid;
use crate::proc;
use crate::sys::{self, Forked};

/// Most frames that are told: a stack that overflowed has many thousands of the same.
pub const FRAMES_MAX: usize = 128;
/// How long it may take, in milliseconds: a few are enough, a slow board takes some ten.
const PATIENCE: u64 = 1_000;
/// How many words of the stack are looked through for a return address.
const SEARCH_MAX: u64 = 256;
/// Most sections of a program that are looked at.
const SECTIONS_MAX: u64 = 128;
const PT_GNU_EH_FRAME: u64 = 0x6474_e550;
const PT_ARM_EXIDX: u64 = 0x7000_0001;

/// How an address was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// It is where the thread was.
    Register,
    /// By a table.
    Table,
    /// By a frame pointer.
    FramePointer,
    /// It is where a signal came.
    Signal,
    /// The last call left it in its register or on the stack; there is no knowing whether it still counts.
    Guess,
}

/// All of them, with their names.
const NAMES: [(By, &str); 5] = [
    (By::Register, "register"),
    (By::Table, "table"),
    (By::FramePointer, "frame pointer"),
    (By::Signal, "signal"),
    (By::Guess, "guess"),
];

impl By {
    /// Its name.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(by, _)| *by == self).map_or("", |(_, name)| *name)
    }
}

/// A function that the thread was in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Where it was, or where it will be when what it called returns.
    pub pc: u64,
    /// How that was found.
    pub by: By,
    /// Whether it is where a call returns to, and not an instruction that was carried out or will be.
    pub is_return: bool,
}

impl Frame {
    /// An address in the call itself, where `pc` is the one behind it.
    pub fn lookup(&self) -> u64 {
        self.pc.wrapping_sub(u64::from(self.is_return))
    }
}

/// The bits of a return address that are the address: ARM's lowest one is Thumb's, aarch64's highest may sign it.
fn mask(abi: Abi) -> u64 {
    match abi {
        Abi::X86_64 => u64::MAX,
        Abi::I386 => 0xffff_ffff,
        Abi::Aarch64 => (1 << 48) - 1,
        Abi::Arm => 0xffff_fffe,
    }
}

/// Those of the first thread. `file`: opens the file that is mapped at an address.
pub fn frames(core: &Core, file: &dyn Fn(u64) -> Option<File>) -> Vec<Frame> {
    let Some(thread) = core.threads.first() else { return Vec::new() };
    let mut memory = Memory::new(core);
    let (mut state, mut by) = (State::of(thread, core.abi), By::Register);
    let (mut found, mut is_uncertain) = (Vec::new(), false);
    let (sp, fp, _) = special(core.abi);
    while found.len() < FRAMES_MAX {
        let interrupted = by_signal(&mut memory, &state);
        let is_return = !matches!(by, By::Register | By::Signal) && interrupted.is_none();
        let frame = Frame { pc: state.pc, by, is_return };
        found.push(frame);
        let (next, how) = match interrupted {
            Some(next) => (next, By::Signal),
            None => match by_table(&mut memory, &state, frame.lookup(), file) {
                Some(Step::End) => break,
                Some(Step::Caller(next, is_signal)) => (*next, if is_signal { By::Signal } else { By::Table }),
                None => match by_guess(&mut memory, &state, by == By::Register) {
                    Some(next) => next,
                    None => break,
                },
            },
        };
        let is_code = core.load_of(next.pc).is_some_and(|load| load.is_code);
        let is_same = (next.pc, next.get(sp), next.get(fp)) == (state.pc, state.get(sp), state.get(fp));
        // A signal may have a stack of its own; else the caller's is above.
        let is_below = how != By::Signal && next.get(sp).zip(state.get(sp)).is_some_and(|(next, own)| next < own);
        if !is_code || is_same || is_below {
            break;
        }
        // What follows from an uncertain one is not certain either.
        is_uncertain |= how == By::Guess && found.len() > 1;
        (state, by) = (next, if is_uncertain { By::Guess } else { how });
    }
    found
}

/// What the tables of the module say.
fn by_table(memory: &mut Memory<'_>, state: &State, pc: u64, file: &dyn Fn(u64) -> Option<File>) -> Option<Step> {
    let core = memory.core;
    let module = core.module(pc)?;
    // A machine runs programs of its own two ABIs; the tests have all of them.
    let is_arm = cfg!(any(target_arch = "arm", target_arch = "aarch64", debug_assertions));
    if is_arm && core.abi == Abi::Arm {
        let (at, bytes) = table(&module, PT_ARM_EXIDX)?;
        return exidx::step(memory, at, bytes, state, pc);
    }
    if cfg!(all(target_arch = "arm", not(debug_assertions))) {
        return None;
    }
    let entry = match table(&module, PT_GNU_EH_FRAME) {
        Some((header, _)) => cfi::find(memory, header, pc)?,
        None => {
            let (start, bytes) = eh_frame(&file(pc)?, memory.wide)?;
            cfi::search(memory, start.wrapping_add(module.bias), bytes, pc)?
        }
    };
    cfi::step(memory, entry, state, pc, special(core.abi).0, mask(core.abi))
}

/// Where `.eh_frame` is, by the sections of a file: its address and its bytes.
fn eh_frame(file: &File, wide: bool) -> Option<(u64, u64)> {
    let number = |at: u64, width: usize| {
        let mut bytes = [0; 8];
        file.read_exact_at(bytes.get_mut(..width)?, at).ok()?;
        Some(u64::from_le_bytes(bytes))
    };
    let either = |wide_at: u64, narrow_at: u64| if wide { wide_at } else { narrow_at };
    let word = |at: u64| number(at, if wide { 8 } else { 4 });
    let sections = word(either(40, 32))?;
    let (size, count) = (number(either(58, 46), 2)?, number(either(60, 48), 2)?);
    let section = |index: u64| sections.checked_add(index * size);
    let names = word(section(number(either(62, 50), 2)?)?.checked_add(either(24, 16))?)?;
    for index in 0..count.min(SECTIONS_MAX) {
        let at = section(index)?;
        let mut name = [0; 10];
        let name_at = names.checked_add(number(at, 4)?)?;
        if file.read_exact_at(&mut name, name_at).is_ok() && name == *b".eh_frame\0" {
            return Some((word(at.checked_add(either(16, 12))?)?, word(at.checked_add(either(32, 20))?)?));
        }
    }
    None
}

/// What a signal interrupted, if this is the code that returns from one. It is known by its bytes: C libraries have their
/// own without a table, and the tables of others say it in expressions.
fn by_signal(memory: &mut Memory<'_>, state: &State) -> Option<State> {
    /// Registers in the order of ucontext_t.
    const X86_64: [u8; 16] = [8, 9, 10, 11, 12, 13, 14, 15, 5, 4, 6, 3, 1, 0, 2, 7];
    const I386: [u8; 8] = [7, 6, 5, 4, 3, 2, 1, 0];
    const ARM: [u8; 15] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14];
    let (pc, abi) = (state.pc, memory.core.abi);
    let sp = state.get(special(abi).0)?;
    let mut code = |width: u8| memory.number(pc, width);
    // Where the first of the registers is, which they are, and how many words there are up to the program counter.
    let (offset, order, pc_at): (u64, &[u8], u64) = match abi {
        Abi::X86_64 if code(8) == Some(0x0f00_0000_0fc0_c748) => (40, &X86_64, 16),
        Abi::I386 if code(7) == Some(0x0080_cd00_0000_adb8) => (176, &I386, 10),
        Abi::I386 if code(8) == Some(0x80cd_0000_0077_b858) => (20, &I386, 10),
        Abi::Aarch64 if code(8) == Some(0xd400_0001_d280_1168) => (312, &[], 32),
        Abi::Arm => match (code(2), code(4)) {
            (Some(0x27ad), _) | (_, Some(0xe3a0_70ad | 0x07ad_f04f)) => (160, &ARM, 15),
            (Some(0x2777), _) | (_, Some(0xe3a0_7077 | 0x0777_f04f)) => (32, &ARM, 15),
            _ => return None,
        },
        _ => return None,
    };
    let width = if memory.wide { 8 } else { 4 };
    let mut caller = state.clone();
    let base = sp.checked_add(offset)?;
    for nth in 0..if order.is_empty() { 32 } else { order.len() } {
        let number = if order.is_empty() { nth } else { order.get(nth).copied().map_or(0, usize::from) };
        caller.set(number, Some(memory.word(base.checked_add(nth as u64 * width)?)?));
    }
    caller.pc = memory.word(base.checked_add(pc_at * width)?)? & mask(abi);
    Some(caller)
}

/// The caller where no table tells it.
fn by_guess(memory: &mut Memory<'_>, state: &State, is_first: bool) -> Option<(State, By)> {
    let core = memory.core;
    let is_code = |pc: u64| core.load_of(pc).is_some_and(|load| load.is_code);
    let mask = mask(core.abi);
    let width = if memory.wide { 8 } else { 4 };
    let (sp, fp, lr) = special(core.abi);
    let mut caller = state.clone();
    let frame = state.get(fp).filter(|frame| *frame != 0 && *frame % width == 0);
    let frame = frame.filter(|frame| state.get(sp).map_or(true, |sp| *frame >= sp));
    // Behind the frame pointer of the caller is the return address. GCC's ARM code has them the other way round.
    let mut saved = None;
    if let Some(frame) = frame {
        let mut pair = |first: u64, second: u64| Some((memory.word(first)?, memory.word(second)? & mask));
        // What is saved there need not be a frame pointer: the caller may use that register for anything.
        let good = |(_, back): &(u64, u64)| is_code(*back);
        saved = pair(frame, frame.checked_add(width)?).filter(good);
        if saved.is_none() && core.abi == Abi::Arm {
            saved = pair(frame.checked_sub(width)?, frame).filter(good);
        }
    }
    if is_first {
        let last = match lr {
            Some(lr) => state.get(lr).map(|value| value & mask),
            // A call of what is no code has left nothing but this.
            None if !is_code(state.pc) => memory.word(state.get(sp)?),
            None => None,
        };
        let last = last.filter(|last| is_code(*last) && saved.map_or(true, |(_, back)| back != *last));
        // Of a function that has called another one and went on, it is an address in the function itself.
        let is_call =
            core.abi != Abi::Arm || lr.and_then(|lr| state.get(lr)).is_some_and(|lr| is_behind_call(memory, lr));
        let last = last.filter(|_| is_call);
        if let Some(last) = last {
            caller.pc = last;
            match lr {
                Some(lr) => caller.set(lr, None),
                None => caller.set(sp, state.get(sp).map(|sp| sp.wrapping_add(width))),
            }
            return Some((caller, By::Guess));
        }
    }
    let Some(((next, back), frame)) = saved.zip(frame) else {
        // Of 32-bit ARM alone: elsewhere compilers leave tables also where nobody asks for them.
        return by_search(memory, state).filter(|_| core.abi == Abi::Arm).map(|caller| (caller, By::Guess));
    };
    caller.pc = back;
    caller.set(fp, Some(next));
    // On ARM the pair lies anywhere in the frame.
    caller.set(sp, lr.map_or(frame.checked_add(2 * width), |_| None));
    Some((caller, By::FramePointer))
}

/// The next word of the stack that is the address behind a call; calls that have returned leave such, too.
fn by_search(memory: &mut Memory<'_>, state: &State) -> Option<State> {
    let (sp, _, lr) = special(memory.core.abi);
    let start = state.get(sp)?;
    for nth in 0..SEARCH_MAX {
        let at = start.checked_add(nth * 4)?;
        let word = memory.word(at)?;
        if is_behind_call(memory, word) {
            let mut caller = state.clone();
            caller.pc = word & mask(Abi::Arm);
            caller.set(sp, Some(at + 4));
            caller.set(lr?, None);
            return Some(caller);
        }
    }
    None
}

/// Whether the instruction before an address is BL or BLX; the lowest bit of the address says in which instruction set.
fn is_behind_call(memory: &mut Memory<'_>, back: u64) -> bool {
    let at = (back & mask(Abi::Arm)).wrapping_sub(4);
    if !memory.core.load_of(at).is_some_and(|load| load.is_code) {
        return false;
    }
    let Some(code) = memory.number(at, 4) else { return false };
    if back & 1 == 1 {
        let (first, second) = (code & 0xffff, code >> 16);
        return (first & 0xf800 == 0xf000 && second & 0xc000 == 0xc000) || second & 0xff80 == 0x4780;
    }
    back & 2 == 0 && (code >> 24 & 0xf == 0xb || code >> 25 == 0x7d || code & 0x0fff_fff0 == 0x012f_ff30)
}

/// What a process that dies has besides its dump.
#[derive(Debug, Default)]
pub struct Source {
    /// Its memory, /proc/PID/mem.
    memory: Option<File>,
    /// Its program.
    program: Option<File>,
}

impl Source {
    /// Opens both, before the dump is taken: what is open means this process and never another one with its number.
    pub fn open(pid: Pid) -> Source {
        let open = |name| proc::open_of(pid, name).ok();
        Source { memory: open("mem"), program: open("exe") }
    }

    /// The frames of the first thread, by a process that does nothing else and has a time for it. `program`: its path.
    pub fn frames(self, core: &mut Core, program: &str) -> Vec<Frame> {
        let Ok((from, to)) = sys::pipe(OFlag::empty()) else { return Vec::new() };
        match sys::fork() {
            Err(_) => Vec::new(),
            Ok(Forked::Child) => {
                // What holds it up does not outlive us.
                sys::end_with_parent();
                drop(from);
                if let Some(memory) = self.memory {
                    core.attach(memory);
                }
                let file = |address: u64| {
                    let (mapped, _) = core.file_of(address)?;
                    let program = self.program.as_ref().filter(|_| mapped.path == program.as_bytes())?;
                    program.try_clone().ok()
                };
                let mut text = Vec::new();
                for frame in frames(core, &file) {
                    text.push(frame.by as u8 | u8::from(frame.is_return) << 7);
                    text.extend_from_slice(&frame.pc.to_le_bytes());
                }
                let _ = File::from(to).write_all(&text);
                sys::exit(0)
            }
            Ok(Forked::Parent(child)) => {
                drop(to);
                let from = File::from(from);
                if !sys::poll(&mut [PollFd::new(from.as_fd(), PollFlags::POLLIN)], PATIENCE) {
                    return Vec::new();
                }
                // All of it is less than a pipe holds, and comes at once.
                let text = sys::read_on(&from, FRAMES_MAX * 9).unwrap_or_default();
                sys::wait(child, true);
                text.chunks_exact(9).map(read_frame).collect()
            }
        }
    }
}

/// One as the other process writes it.
fn read_frame(bytes: &[u8]) -> Frame {
    let first = bytes.first().copied().unwrap_or_default();
    let by = NAMES.get(usize::from(first & 0x7f)).map_or(By::Guess, |(by, _)| *by);
    let pc = bytes.iter().skip(1).rev().fold(0, |pc, byte| pc << 8 | u64::from(*byte));
    Frame { pc, by, is_return: first >> 7 == 1 }
}
