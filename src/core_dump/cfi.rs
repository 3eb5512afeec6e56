// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `.eh_frame`: where a function keeps what it will restore, for each of its instructions.
//!
//! No more of DWARF than compilers write there: a register and an offset give the frame, registers are saved at offsets from
//! it. What is computed by an expression is unknown (the PLT, and signal frames, which `backtrace` knows by itself).
//! Source: DWARF 5, 6.4; Linux Standard Base, 10.6 (.eh_frame, .eh_frame_hdr); aadwarf64.

use super::unwind::{signed, Memory, State, REGISTERS};

/// Entries that are looked through where there is no table to search in.
const ENTRIES_MAX: u32 = 200_000;
/// Longest entry in bytes, and most states that it may put aside.
const ENTRY_MAX: u64 = 64 << 10;
const SAVED_MAX: usize = 4;

/// How a register of the caller is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// It is what it is.
    Same,
    /// It is lost; of a return address: this is the first function of a thread.
    Undefined,
    /// By an expression.
    Unknown,
    /// Saved at this offset from the frame's address.
    At(i64),
    /// The frame's address and this.
    Is(i64),
    /// In another register.
    In(u8),
}

/// What holds at one instruction.
#[derive(Clone, Copy, Debug)]
struct Row {
    /// The frame's address: a register, and what is added to it.
    frame: Option<(u8, i64)>,
    /// Whether the frame's address stands there: functions of i386 that align the stack, `main` above all.
    is_there: bool,
    rules: [Rule; REGISTERS],
}

/// What is common to many entries.
#[derive(Clone, Copy, Debug)]
struct Common {
    code_step: u64,
    data_step: i64,
    return_register: u8,
    /// How addresses are written.
    encoding: u8,
    has_more: bool,
    is_signal: bool,
    from: u64,
    to: u64,
}

/// What came of it.
#[derive(Clone, Debug)]
pub enum Step {
    /// The caller's state, and whether this frame is one that the kernel made for a signal.
    Caller(Box<State>, bool),
    /// There is none.
    End,
}

/// Bytes that are read one after the other.
struct Tape<'a, 'b> {
    memory: &'a mut Memory<'b>,
    at: u64,
    end: u64,
}

impl Tape<'_, '_> {
    fn number(&mut self, width: u8) -> Option<u64> {
        let next = self.at.checked_add(u64::from(width)).filter(|next| *next <= self.end)?;
        let value = self.memory.number(self.at, width)?;
        self.at = next;
        Some(value)
    }

    fn byte(&mut self) -> Option<u8> {
        self.number(1).map(|byte| byte as u8)
    }

    /// LEB128, with its sign or without.
    fn leb(&mut self, has_sign: bool) -> Option<u64> {
        let (mut value, mut shift) = (0u64, 0u32);
        loop {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            shift += 7;
            if byte & 0x80 == 0 {
                return Some(if has_sign { signed(value, shift.min(64)) as u64 } else { value });
            }
        }
    }

    fn register(&mut self) -> Option<u8> {
        self.leb(false).map(|number| number.min(255) as u8)
    }

    fn skip(&mut self, bytes: u64) -> Option<()> {
        self.at = self.at.checked_add(bytes).filter(|next| *next <= self.end)?;
        Some(())
    }

    /// An address as `encoding` (DW_EH_PE_…) has it; `base` is what those relative to data are relative to.
    fn pointer(&mut self, encoding: u8, base: u64) -> Option<u64> {
        let here = self.at;
        let wide = self.memory.wide;
        let value = match encoding & 0x0f {
            0 => self.number(if wide { 8 } else { 4 })?,
            1 => self.leb(false)?,
            9 => self.leb(true)?,
            2 => self.number(2)?,
            3 => self.number(4)?,
            0xa => signed(self.number(2)?, 16) as u64,
            0xb => signed(self.number(4)?, 32) as u64,
            4 | 0xc => self.number(8)?,
            _ => return None,
        };
        let value = match encoding & 0xf0 {
            0 => value,
            0x10 => here.wrapping_add(value),
            0x30 => base.wrapping_add(value),
            _ => return None,
        };
        Some(self.memory.address(value))
    }

    /// The length that an entry begins with.
    fn entry(&mut self) -> Option<()> {
        let length = self.number(4).filter(|length| *length > 0 && *length < 0xffff_fff0)?;
        self.end = self.at.checked_add(length)?;
        Some(())
    }
}

/// The entry for an address by `.eh_frame_hdr`, whose address is given.
pub fn find(memory: &mut Memory<'_>, header: u64, pc: u64) -> Option<u64> {
    let mut tape = Tape { memory, at: header, end: u64::MAX };
    let (version, frame, count, table) = (tape.byte()?, tape.byte()?, tape.byte()?, tape.byte()?);
    // What all linkers write: pairs of 4 bytes with sign, relative to the header.
    if version != 1 || table != 0x3b {
        return None;
    }
    tape.pointer(frame, header)?;
    let count = tape.pointer(count, header)?;
    let first = tape.at;
    let mut pair = |index: u64| {
        let at = first.checked_add(index.checked_mul(8)?)?;
        let mut tape = Tape { memory: &mut *memory, at, end: u64::MAX };
        Some((tape.pointer(table, header)?, tape.pointer(table, header)?))
    };
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        if pair(middle)?.0 <= pc {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    pair(low.checked_sub(1)?).map(|(_, entry)| entry)
}

/// The entry for an address, by looking through `.eh_frame`.
pub fn search(memory: &mut Memory<'_>, start: u64, bytes: u64, pc: u64) -> Option<u64> {
    let (mut at, end) = (start, start.checked_add(bytes)?);
    let mut known: Option<(u64, Common)> = None;
    for _ in 0..ENTRIES_MAX {
        if at >= end {
            break;
        }
        let mut tape = Tape { memory, at, end };
        tape.entry()?;
        let (id_at, next) = (tape.at, tape.end);
        let id = tape.number(4)?;
        if id != 0 {
            let common_at = id_at.wrapping_sub(id);
            if known.map_or(true, |(at, _)| at != common_at) {
                known = Some((common_at, common(tape.memory, common_at)?));
            }
            let (_, common) = known?;
            let mut tape = Tape { memory, at: id_at + 4, end: next };
            let first = tape.pointer(common.encoding, 0)?;
            let length = tape.pointer(common.encoding & 0x0f, 0)?;
            if pc.wrapping_sub(first) < length {
                return Some(at);
            }
        }
        at = next;
    }
    None
}

fn common(memory: &mut Memory<'_>, at: u64) -> Option<Common> {
    let mut tape = Tape { memory, at, end: u64::MAX };
    tape.entry()?;
    if tape.number(4)? != 0 {
        return None;
    }
    let version = tape.byte()?;
    let mut letters = [0u8; 8];
    let mut count = 0;
    loop {
        let letter = tape.byte()?;
        if letter == 0 {
            break;
        }
        *letters.get_mut(count)? = letter;
        count += 1;
    }
    if version == 4 {
        tape.skip(2)?;
    }
    let code_step = tape.leb(false)?;
    let data_step = tape.leb(true)? as i64;
    let return_register = if version == 1 { tape.byte()? } else { tape.register()? };
    let (mut encoding, mut is_signal) = (0, false);
    let has_more = letters[0] == b'z';
    let mut from = tape.at;
    if has_more {
        let bytes = tape.leb(false)?;
        from = tape.at.checked_add(bytes)?;
        for letter in letters.iter().skip(1) {
            match letter {
                b'R' => encoding = tape.byte()?,
                b'P' => {
                    let encoding = tape.byte()?;
                    tape.pointer(encoding & 0x0f, 0)?;
                }
                b'L' => _ = tape.byte()?,
                b'S' => is_signal = true,
                b'B' | b'G' | 0 => {}
                _ => return None,
            }
        }
    } else if count > 0 {
        return None;
    }
    let to = tape.end;
    Some(Common { code_step, data_step, return_register, encoding, has_more, is_signal, from, to })
}

/// The caller's state by the entry at an address. `sp`: the number of the stack pointer. `mask`: the bits of addresses.
pub fn step(memory: &mut Memory<'_>, entry: u64, state: &State, pc: u64, sp: usize, mask: u64) -> Option<Step> {
    let mut tape = Tape { memory, at: entry, end: u64::MAX };
    tape.entry()?;
    let (id_at, end) = (tape.at, tape.end);
    let id = tape.number(4)?;
    if id == 0 || end - id_at > ENTRY_MAX {
        return None;
    }
    let common = common(tape.memory, id_at.wrapping_sub(id))?;
    let mut tape = Tape { memory, at: id_at + 4, end };
    let first = tape.pointer(common.encoding, 0)?;
    let length = tape.pointer(common.encoding & 0x0f, 0)?;
    if pc.wrapping_sub(first) >= length {
        return None;
    }
    if common.has_more {
        let bytes = tape.leb(false)?;
        tape.skip(bytes)?;
    }
    let from = tape.at;
    let mut row = Row { frame: None, is_there: false, rules: [Rule::Same; REGISTERS] };
    let initial = row;
    run(memory, &common, (common.from, common.to), &mut row, &initial, (0, u64::MAX))?;
    let initial = row;
    run(memory, &common, (from, end), &mut row, &initial, (first, pc))?;

    let (register, offset) = row.frame?;
    let mut frame = memory.address(state.get(usize::from(register))?.wrapping_add(offset as u64));
    if row.is_there {
        frame = memory.word(frame)?;
    }
    let mut caller = state.clone();
    for (number, rule) in row.rules.iter().enumerate() {
        let value = match *rule {
            Rule::Same => continue,
            Rule::Undefined | Rule::Unknown => None,
            Rule::At(offset) => Some(memory.word(memory.address(frame.wrapping_add(offset as u64)))?),
            Rule::Is(offset) => Some(memory.address(frame.wrapping_add(offset as u64))),
            Rule::In(other) => state.get(usize::from(other)),
        };
        caller.set(number, value);
    }
    if row.rules.get(sp) == Some(&Rule::Same) {
        caller.set(sp, Some(frame));
    }
    let back = usize::from(common.return_register);
    match row.rules.get(back)? {
        Rule::Undefined => return Some(Step::End),
        // The return address is still where the call left it.
        _ => caller.pc = caller.get(back)? & mask,
    }
    Some(Step::Caller(Box::new(caller), common.is_signal))
}

/// Runs instructions up to the one that is behind `pc`; `bounds` is the function's first address and that.
fn run(
    memory: &mut Memory<'_>,
    common: &Common,
    (from, to): (u64, u64),
    row: &mut Row,
    initial: &Row,
    (mut at, pc): (u64, u64),
) -> Option<()> {
    let mut tape = Tape { memory, at: from, end: to };
    let mut saved: Vec<Row> = Vec::new();
    while tape.at < to {
        let op = tape.byte()?;
        let low = op & 0x3f;
        let scaled = |value: u64| (value as i64).wrapping_mul(common.data_step);
        let set = |row: &mut Row, register: u8, rule: Rule| {
            if let Some(place) = row.rules.get_mut(usize::from(register)) {
                *place = rule;
            }
        };
        let restore = |register: u8| initial.rules.get(usize::from(register)).copied().unwrap_or(Rule::Same);
        let advance = match op {
            0x40..=0x7f => Some(u64::from(low)),
            0x02 => Some(tape.number(1)?),
            0x03 => Some(tape.number(2)?),
            0x04 => Some(tape.number(4)?),
            _ => None,
        };
        if let Some(steps) = advance {
            at = at.wrapping_add(steps.wrapping_mul(common.code_step));
            if at > pc {
                return Some(());
            }
            continue;
        }
        match op {
            0x80..=0xbf => {
                let offset = scaled(tape.leb(false)?);
                set(row, low, Rule::At(offset));
            }
            0xc0..=0xff => set(row, low, restore(low)),
            0x00 => {}
            // DW_CFA_set_loc
            0x01 => {
                at = tape.pointer(common.encoding, 0)?;
                if at > pc {
                    return Some(());
                }
            }
            // offset_extended, val_offset, and those with a sign or a minus
            0x05 | 0x11 | 0x14 | 0x15 | 0x2f => {
                let register = tape.register()?;
                let offset = scaled(tape.leb(matches!(op, 0x11 | 0x15))?);
                let rule = match op {
                    0x14 | 0x15 => Rule::Is(offset),
                    0x2f => Rule::At(offset.wrapping_neg()),
                    _ => Rule::At(offset),
                };
                set(row, register, rule);
            }
            0x06 => {
                let register = tape.register()?;
                set(row, register, restore(register));
            }
            0x07 => set(row, tape.register()?, Rule::Undefined),
            0x08 => set(row, tape.register()?, Rule::Same),
            0x09 => {
                let register = tape.register()?;
                set(row, register, Rule::In(tape.register()?));
            }
            0x0a if saved.len() < SAVED_MAX => saved.push(*row),
            0x0b => *row = saved.pop()?,
            0x0c | 0x12 => {
                let register = tape.register()?;
                let offset = tape.leb(op == 0x12)?;
                row.frame = Some((register, if op == 0x12 { scaled(offset) } else { offset as i64 }));
                row.is_there = false;
            }
            0x0d => row.frame = Some((tape.register()?, row.frame?.1)),
            0x0e => row.frame = Some((row.frame?.0, tape.leb(false)? as i64)),
            0x13 => row.frame = Some((row.frame?.0, scaled(tape.leb(true)?))),
            0x0f => {
                let bytes = tape.leb(false)?;
                let next = tape.at.checked_add(bytes)?;
                row.frame = None;
                // DW_OP_breg0 to 31, and DW_OP_deref at the end, is all that compilers need.
                let register = tape.byte()?.wrapping_sub(0x70);
                if register < 32 {
                    let offset = tape.leb(true)? as i64;
                    row.is_there = tape.byte() == Some(6) && tape.at == next;
                    row.frame = Some((register, offset)).filter(|_| row.is_there);
                }
                tape.at = next;
            }
            0x10 | 0x16 => {
                let register = tape.register()?;
                let bytes = tape.leb(false)?;
                tape.skip(bytes)?;
                set(row, register, Rule::Unknown);
            }
            // Signed return addresses (aarch64): which bits are the address is known without.
            0x2d => {}
            // DW_CFA_GNU_args_size
            0x2e => _ = tape.leb(false)?,
            _ => return None,
        }
    }
    Some(())
}
