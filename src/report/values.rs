// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One argument, by its kind, as the text that strace has for it.
//!
//! The look is strace's own (strace 6.1: `print_fields.h`, `xlat.c`, and a file for each family of calls): decimal or
//! hexadecimal, NULL, flags with `|`, what has no name in hexadecimal behind, octal permissions, quoted strings.

use super::out::push_hex;
use super::sockaddr::{push_address, push_piece};
use crate::calls::{Call, Text, Texts};
use crate::json::{push_i64, push_u64};
use crate::syscalls::{self, kind, Argument};

/// What an argument's text depends on besides its value.
pub(crate) struct Context<'a> {
    pub call: &'a Call,
    pub texts: &'a Texts,
    /// The argument behind it.
    pub next: Option<&'a Argument>,
}

const AT_FDCWD: i64 = -100;

/// Appends `argument`.
#[inline]
pub(crate) fn push_value(buf: &mut Vec<u8>, argument: &Argument, context: &Context<'_>) {
    let value = argument.value;
    match argument.kind {
        kind::SIGNED => push_i64(buf, argument.signed()),
        kind::UNSIGNED => push_u64(buf, value),
        kind::HEX => push_hex(buf, value),
        kind::PTR | kind::STR | kind::STRS | kind::IN | kind::OUT => push_memory(buf, argument, context),
        kind::FD | kind::DIRFD => {
            let fd = argument.signed();
            if fd == AT_FDCWD && argument.kind == kind::DIRFD {
                buf.extend_from_slice(b"AT_FDCWD");
            } else {
                push_i64(buf, i64::from(fd as i32));
            }
            push_target(buf, argument.register, context.texts);
        }
        kind::UID => push_i64(buf, if value == u64::from(u32::MAX) { -1 } else { value as i64 }),
        other => push_named(buf, other, context.call, value),
    }
}

/// `NULL`, or `0x…`.
pub(crate) fn push_pointer(buf: &mut Vec<u8>, value: u64) {
    if value == 0 {
        buf.extend_from_slice(b"NULL");
    } else {
        push_hex(buf, value);
    }
}

/// `</path>` behind a descriptor, where it is known.
pub(crate) fn push_target(buf: &mut Vec<u8>, register: u8, texts: &Texts) {
    if texts.is_empty() {
        return;
    }
    for text in texts.of(register) {
        if let Text::Target(path) = text {
            buf.push(b'<');
            push_escaped(buf, path, b'>');
            buf.push(b'>');
        }
    }
}

/// `[` in front of the first element, `, ` between them.
#[inline(never)]
fn push_open(buf: &mut Vec<u8>, begun: usize) {
    buf.extend_from_slice(if buf.len() == begun { b"[" } else { b", " });
}

/// What it points at if that is known, else the address.
fn push_memory(buf: &mut Vec<u8>, argument: &Argument, context: &Context<'_>) {
    let begun = buf.len();
    let failed = context.call.ret < 0;
    // Of a vector that the call fills.
    let mut left = context.call.ret as u64;
    if !context.texts.is_empty() && argument.value != 0 {
        for text in context.texts.of(argument.register) {
            match text {
                Text::String { bytes, cut } => push_quoted(buf, bytes, cut),
                Text::Element { bytes, cut } => {
                    push_open(buf, begun);
                    push_quoted(buf, bytes, cut);
                }
                Text::Unread(at) => {
                    push_open(buf, begun);
                    push_hex(buf, at);
                }
                Text::MoreElements => {
                    push_open(buf, begun);
                    buf.extend_from_slice(b"...");
                }
                Text::Address { filled, .. } | Text::Piece { filled, .. } if filled && failed => {}
                Text::Address { bytes, cut, .. } => push_address(buf, bytes, cut, context.call),
                Text::Piece { base, length, bytes, filled } => {
                    push_open(buf, begun);
                    let told = if filled { length.min(left) } else { length };
                    left -= told.min(left);
                    push_piece(buf, base, length, bytes, told);
                }
                // A probe may be in a call of another kind.
                Text::Data(_) if argument.kind == kind::PTR => {}
                Text::Data(bytes) => {
                    let length = match argument.kind {
                        kind::OUT => u64::try_from(context.call.ret).ok(),
                        _ => context.next.map(|next| next.value),
                    };
                    if let Some(length) = length {
                        let shown = bytes.get(..usize::try_from(length).unwrap_or(usize::MAX)).unwrap_or(bytes);
                        push_quoted(buf, shown, (shown.len() as u64) < length);
                    }
                }
                Text::Target(_) => {}
            }
        }
        if buf.get(begun) == Some(&b'[') {
            let pieces = context.texts.of(argument.register).filter(|text| matches!(text, Text::Piece { .. })).count();
            if pieces != 0 && context.next.is_some_and(|next| next.value > pieces as u64) {
                buf.extend_from_slice(b", ...");
            }
            buf.push(b']');
        }
    }
    if buf.len() == begun {
        push_pointer(buf, argument.value);
    }
}

/// A string in quotes, and `...` behind it if there was more.
pub(crate) fn push_quoted(buf: &mut Vec<u8>, bytes: &[u8], cut: bool) {
    buf.push(b'"');
    push_escaped(buf, bytes, b'"');
    buf.push(b'"');
    if cut {
        buf.extend_from_slice(b"...");
    }
}

/// As a C string has them, octal as short as what follows lets it be; `end` with a backslash, too.
pub(super) fn push_escaped(buf: &mut Vec<u8>, bytes: &[u8], end: u8) {
    let mut rest = bytes;
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        let letter = match byte {
            b'\n' => b'n',
            b'\t' => b't',
            b'\r' => b'r',
            0x0b => b'v',
            0x0c => b'f',
            b'\\' => b'\\',
            byte if *byte == end => end,
            0x20..=0x7e => {
                buf.push(*byte);
                continue;
            }
            byte => {
                buf.push(b'\\');
                let digits = if rest.first().is_some_and(u8::is_ascii_digit) || *byte > 0o77 {
                    3
                } else if *byte > 7 {
                    2
                } else {
                    1
                };
                for digit in (0..digits).rev() {
                    buf.push(b'0' + (byte >> (3 * digit) & 7));
                }
                continue;
            }
        };
        buf.push(b'\\');
        buf.push(letter);
    }
}

/// Octal with a zero in front, three digits at least: `0644`, `022`, `000`.
pub(crate) fn push_octal(buf: &mut Vec<u8>, value: u64) {
    let mut shift = 63;
    while shift > 6 && value >> shift == 0 {
        shift -= 3;
    }
    // `%#03o`: the zero in front is one of the three where it suffices.
    if shift >= 6 && value >> 6 != 0 {
        buf.push(b'0');
    }
    loop {
        buf.push(b'0' + (value >> shift & 7) as u8);
        if shift == 0 {
            return;
        }
        shift -= 3;
    }
}

/// Names of the set's values with `|` between, and what is left; nothing at all gives `0`. True if there was a name.
fn push_set(buf: &mut Vec<u8>, of: u8, call: &Call, value: u64) -> bool {
    let begun = buf.len();
    let rest = syscalls::split(of, call.abi, value, &mut |word| {
        if buf.len() != begun {
            buf.push(b'|');
        }
        buf.extend(word.bytes());
    });
    let named = buf.len() != begun;
    if rest != 0 || !named {
        if named {
            buf.push(b'|');
        }
        push_hex(buf, rest);
    }
    named
}

fn push_signal(buf: &mut Vec<u8>, value: u64) {
    match i32::try_from(value).ok().and_then(syscalls::signal_name) {
        Some(name) => buf.extend_from_slice(name.as_bytes()),
        None => push_i64(buf, i64::from(value as i32)),
    }
}

/// `21<<MAP_HUGE_SHIFT` for the six bits in which flags have the size of huge pages.
fn push_huge(buf: &mut Vec<u8>, value: u64, shift: &[u8]) {
    let size = value >> 26 & 0x3f;
    if size != 0 {
        buf.push(b'|');
        push_u64(buf, size);
        buf.extend_from_slice(b"<<");
        buf.extend_from_slice(shift);
    }
}

const HUGE: u64 = 0x3f << 26;

/// Kinds that have names, alone or among other things.
#[inline(never)]
pub(crate) fn push_named(buf: &mut Vec<u8>, of: u8, call: &Call, value: u64) {
    let set = |buf: &mut Vec<u8>, of, value| push_set(buf, of, call, value);
    match of {
        kind::MODE => push_octal(buf, value & 0xffff),
        kind::SIG => push_signal(buf, value),
        kind::DEV => {
            // include/linux/kdev_t.h new_decode_dev
            buf.extend_from_slice(b"makedev(");
            push_hex(buf, value >> 8 & 0xfff);
            buf.extend_from_slice(b", ");
            push_hex(buf, value & 0xff | value >> 12 & 0xf_ff00);
            buf.push(b')');
        }
        kind::KEY if value == 0 => buf.extend_from_slice(b"IPC_PRIVATE"),
        kind::KEY => push_hex(buf, value),
        kind::KEYSERIAL => {
            let begun = buf.len();
            if !set(buf, kind::SET_KEY_SPEC, value & u64::from(u32::MAX)) {
                buf.truncate(begun);
                push_i64(buf, i64::from(value as i32));
            }
        }
        kind::PGOFF => push_hex(buf, value << 12),
        kind::FILEMODE => {
            // strace's print_symbolic_mode_t
            let begun = buf.len();
            if value & 0o177_000 != 0 {
                syscalls::split(kind::SET_FILETYPE, call.abi, value & 0o177_000, &mut |word| {
                    buf.extend(word.bytes());
                    buf.push(b'|');
                });
            }
            let known = buf.len() != begun;
            push_octal(buf, if known { value & 0o777 } else { value & 0xffff });
        }
        kind::QUOTACMD => {
            buf.extend_from_slice(b"QCMD(");
            set(buf, kind::SET_QUOTA, (value & u64::from(u32::MAX)) >> 8);
            buf.extend_from_slice(b", ");
            set(buf, kind::SET_QUOTATYPE, value & 0xff);
            buf.push(b')');
        }
        kind::OFLAGS => {
            // The access mode is a number, 0 to 3, and always named, first.
            let begun = buf.len();
            let mut first = true;
            let rest = syscalls::split(kind::SET_OPEN, call.abi, value & !3, &mut |word| {
                if !first {
                    if buf.len() != begun {
                        buf.push(b'|');
                    }
                    buf.extend(word.bytes());
                }
                first = false;
            });
            let rest = rest | value & 3;
            if rest != 0 || buf.len() == begun {
                if buf.len() != begun {
                    buf.push(b'|');
                }
                push_hex(buf, rest);
            }
        }
        kind::SET_SWAPON => {
            // The low half is the priority.
            let flags = value & !0x7fff;
            if flags != 0 {
                set(buf, of, flags);
            }
            if flags == 0 || value & 0x7fff != 0 {
                if flags != 0 {
                    buf.push(b'|');
                }
                push_u64(buf, value & 0x7fff);
            }
        }
        kind::SET_CLOCK if value as i32 >= 0 => {
            set(buf, of, value);
        }
        kind::SET_CLOCK => {
            // include/linux/posix-timers.h: a descriptor, or a task and which of its clocks, the number inverted.
            let number = i64::from(!(value as i32 >> 3));
            if value & 7 == 3 {
                buf.extend_from_slice(b"FD_TO_CLOCKID(");
                push_i64(buf, number);
            } else {
                let who: &[u8] = if value & 4 != 0 { b"MAKE_THREAD_CPUCLOCK(" } else { b"MAKE_PROCESS_CPUCLOCK(" };
                buf.extend_from_slice(who);
                push_i64(buf, number);
                buf.extend_from_slice(b", ");
                set(buf, kind::SET_CPUCLOCK, value & 3);
            }
            buf.push(b')');
        }
        kind::SET_IOCTL => {
            let begun = buf.len();
            if !set(buf, of, value) {
                buf.truncate(begun);
                buf.extend_from_slice(b"_IOC(");
                let direction: &[u8] = match value >> 30 & 3 {
                    0 => b"_IOC_NONE",
                    1 => b"_IOC_WRITE",
                    2 => b"_IOC_READ",
                    _ => b"_IOC_READ|_IOC_WRITE",
                };
                buf.extend_from_slice(direction);
                for part in [value >> 8 & 0xff, value & 0xff, value >> 16 & 0x3fff] {
                    buf.extend_from_slice(b", ");
                    push_hex(buf, part);
                }
                buf.push(b')');
            }
        }
        kind::SET_IPC_GET | kind::SET_SHMGET => {
            let flags = value & !0o777 & !HUGE;
            if flags != 0 {
                set(buf, of, flags);
                push_huge(buf, value, b"SHM_HUGE_SHIFT");
                buf.push(b'|');
            }
            push_octal(buf, value & 0o777);
        }
        kind::SET_IOPRIO => {
            buf.extend_from_slice(b"IOPRIO_PRIO_VALUE(");
            set(buf, of, value >> 13 & 7);
            buf.extend_from_slice(b", ");
            push_u64(buf, value & 0x1fff);
            buf.push(b')');
        }
        kind::SET_PERSONALITY if value == u64::from(u32::MAX) => push_hex(buf, value),
        kind::SET_CLONE => {
            let flags = value & !0xff;
            if flags != 0 {
                set(buf, of, flags);
            }
            if flags == 0 || value & 0xff != 0 {
                if flags != 0 {
                    buf.push(b'|');
                }
                push_signal(buf, value & 0xff);
            }
        }
        kind::SET_FUTEX => {
            // The flag is a part of the name.
            let mut first = true;
            let rest = syscalls::split(of, call.abi, value & !0x80, &mut |word| {
                if !first {
                    buf.push(b'|');
                }
                buf.extend(word.bytes());
                if first && value & 0x80 != 0 {
                    buf.extend_from_slice(b"_PRIVATE");
                }
                first = false;
            });
            if rest != 0 {
                if !first {
                    buf.push(b'|');
                }
                push_hex(buf, rest);
            }
        }
        kind::SET_MMAP | kind::SET_MEMFD => {
            let huge = value & HUGE != 0;
            set(buf, of, if huge { value & !HUGE } else { value });
            let shift: &[u8] = if of == kind::SET_MMAP { b"MAP_HUGE_SHIFT" } else { b"MFD_HUGE_SHIFT" };
            push_huge(buf, value, shift);
        }
        _ => {
            set(buf, of, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_have_three_digits_at_least() {
        for (value, expected) in
            [(0, "000"), (7, "007"), (0o22, "022"), (0o77, "077"), (0o644, "0644"), (0o7777, "07777"), (0o100, "0100")]
        {
            let mut buf = Vec::new();
            push_octal(&mut buf, value);
            assert_eq!(String::from_utf8(buf).unwrap(), expected);
        }
    }
}
