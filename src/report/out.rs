// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The buffer that reports are written through, and numbers and bytes as text without `core::fmt`.
//!
//! A report of a busy container is a hundred bytes for each of millions of lines: formatting through traits and one write
//! a line would cost more than decoding. A closed pipe (`report | head`) is the reader's right and no error.

use std::io::{self, Write};

use crate::error::{Error, Result};
use crate::ids::Pid;
use crate::json::push_u64;
use crate::tasks::Comm;
use crate::words::breaks;

/// Bytes gathered before a write.
const FLUSH_AT: usize = 64 << 10;

/// A buffered output that remembers the first failure, so that the hot path need not ask after each line.
pub struct Out<'a> {
    /// What waits to be written.
    pub buf: Vec<u8>,
    to: Box<dyn Write + 'a>,
    error: Option<io::Error>,
}

impl<'a> Out<'a> {
    /// Writes to `to`.
    pub fn new(to: impl Write + 'a) -> Out<'a> {
        Out { buf: Vec::with_capacity(FLUSH_AT + 4096), to: Box::new(to), error: None }
    }

    /// To be called after each line.
    #[inline]
    pub fn line_done(&mut self) {
        if self.buf.len() >= FLUSH_AT {
            self.write();
        }
    }

    /// Hands what waits to the output.
    pub fn write(&mut self) {
        if self.error.is_none() {
            if let Err(why) = self.to.write_all(&self.buf).and_then(|()| self.to.flush()) {
                self.error = Some(why);
            }
        }
        self.buf.clear();
    }

    /// Whether writing failed, for whatever reason.
    #[inline]
    pub fn failed(&self) -> bool {
        self.error.is_some()
    }

    /// Writes the rest. `Ok(false)` where the reader closed the pipe.
    pub fn finish(&mut self) -> Result<bool> {
        self.write();
        match self.error.take() {
            None => Ok(true),
            Some(why) if why.kind() == io::ErrorKind::BrokenPipe => {
                self.error = Some(io::ErrorKind::BrokenPipe.into());
                Ok(false)
            }
            Some(why) => Err(Error::sys("write the report", why)),
        }
    }
}

/// Appends `0x…`, or `0`.
#[inline]
pub fn push_hex(out: &mut Vec<u8>, value: u64) {
    push_hexes(out, &[value], b"");
}

/// Appends up to six values as [`push_hex`] does, two bytes or three between them. Put together from the back in one piece:
/// copying pieces of a few bytes costs more than making them.
#[inline]
pub fn push_hexes(out: &mut Vec<u8>, values: &[u64], between: &[u8]) {
    let mut text = [0u8; 6 * 21];
    let mut len = 0;
    let mut places = text.iter_mut().rev();
    let mut put = |byte: u8| {
        if let Some(place) = places.next() {
            *place = byte;
            len += 1;
        }
    };
    for (turn, value) in values.iter().rev().enumerate() {
        if turn != 0 {
            between.iter().rev().for_each(|byte| put(*byte));
        }
        let mut rest = *value;
        loop {
            let digit = (rest & 15) as u8;
            put(digit + if digit < 10 { b'0' } else { b'a' - 10 });
            rest >>= 4;
            if rest == 0 {
                break;
            }
        }
        if *value != 0 {
            put(b'x');
            put(b'0');
        }
    }
    out.extend_from_slice(text.get(text.len() - len..).unwrap_or_default());
}

/// Appends `value` with at least `width` digits, zeroes in front.
#[inline]
pub fn push_padded(out: &mut Vec<u8>, value: u64, width: usize) {
    let mut limit = 1u64;
    for _ in 1..width {
        limit = limit.saturating_mul(10);
        if value < limit {
            out.push(b'0');
        }
    }
    push_u64(out, value);
}

/// Appends nanoseconds as seconds with six digits behind the point.
#[inline]
pub fn push_seconds(out: &mut Vec<u8>, ns: u64) {
    push_point(out, ns / 1000, 6);
}

/// Appends `value` with a point before its last `places` digits, at least one digit before it.
#[inline]
pub fn push_point(out: &mut Vec<u8>, mut value: u64, places: usize) {
    let mut text = [0u8; 24];
    let mut len = 0;
    for place in text.iter_mut().rev() {
        len += 1;
        if len == places + 1 {
            *place = b'.';
            continue;
        }
        *place = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 && len > places {
            break;
        }
    }
    out.extend_from_slice(text.get(text.len() - len..).unwrap_or_default());
}

/// What a line says of its task, kept for the next line: most are of the same one.
pub struct Who {
    pid: Pid,
    tgid: Pid,
    comm: Comm,
    text: Vec<u8>,
    write: fn(&mut Vec<u8>, Pid, Pid, &[u8]),
}

impl Who {
    /// As `write` puts it.
    pub fn new(write: fn(&mut Vec<u8>, Pid, Pid, &[u8])) -> Who {
        Who { pid: 0, tgid: 0, comm: Comm::default(), text: Vec::new(), write }
    }

    /// Appends it.
    #[inline]
    pub fn push(&mut self, out: &mut Vec<u8>, pid: Pid, tgid: Pid, comm: &Comm) {
        if self.text.is_empty() || (self.pid, self.tgid) != (pid, tgid) || self.comm != *comm {
            (self.pid, self.tgid, self.comm) = (pid, tgid, *comm);
            self.text.clear();
            (self.write)(&mut self.text, pid, tgid, comm.as_bytes());
        }
        out.extend_from_slice(&self.text);
    }
}

/// Appends bytes of unknown origin so that they cannot break the line or the terminal: `\n`, `\x1b`, `\\`; text stays.
pub fn push_safe(out: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x20..=0x7e => out.push(*byte),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                out.extend_from_slice(b"\\x");
                for nibble in [byte >> 4, byte & 15] {
                    out.push(nibble + if nibble < 10 { b'0' } else { b'a' - 10 });
                }
            }
        }
    }
}

/// As [`push_safe`], but letters of all languages stay.
pub fn push_safe_text(out: &mut Vec<u8>, bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else { return push_safe(out, bytes) };
    for char in text.chars() {
        let mut place = [0; 4];
        let bytes = char.encode_utf8(&mut place).as_bytes();
        if char.is_ascii() || breaks(char) {
            push_safe(out, bytes);
        } else {
            out.extend_from_slice(bytes);
        }
    }
}

/// The terminal's colours, as escape sequences (ECMA-48 SGR); or nothing.
pub struct Colours {
    /// Before whose call it is.
    pub task: &'static [u8],
    /// Before a call's name.
    pub name: &'static [u8],
    /// Before an error.
    pub error: &'static [u8],
    /// Before a signal.
    pub signal: &'static [u8],
    /// Before what was lost.
    pub loss: &'static [u8],
    /// Behind each.
    pub off: &'static [u8],
}

/// No colours.
pub static PLAIN: Colours = Colours { task: b"", name: b"", error: b"", signal: b"", loss: b"", off: b"" };

/// For a terminal, dark or light: dim, bold, red, yellow, magenta.
pub static COLOURS: Colours = Colours {
    task: b"\x1b[2m",
    name: b"\x1b[1m",
    error: b"\x1b[31m",
    signal: b"\x1b[33m",
    loss: b"\x1b[35m",
    off: b"\x1b[0m",
};

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_look_as_the_standard_library_prints_them() {
        for value in [1, 9, 15, 16, 255, 256, 0xffff_ff9c, 1 << 31, 1 << 32, 0x7fff_1234_5678, 1 << 63, u64::MAX] {
            assert_eq!(text(|out| push_hex(out, value)), format!("{value:#x}"));
        }
        assert_eq!(text(|out| push_hex(out, 0)), "0");
        for value in [0, 5, 10, 999, 1_000_000, 123_456_789] {
            assert_eq!(text(|out| push_padded(out, value, 9)), format!("{value:09}"));
            assert_eq!(text(|out| push_padded(out, value, 1)), format!("{value}"));
        }
        assert_eq!(text(|out| push_seconds(out, 12_000_345_999)), "12.000345");
        for (value, places, expected) in [
            (0, 2, "0.00"),
            (7, 2, "0.07"),
            (100, 2, "1.00"),
            (12_345, 3, "12.345"),
            (u64::MAX, 1, "1844674407370955161.5"),
        ] {
            assert_eq!(text(|out| push_point(out, value, places)), expected);
        }
        assert_eq!(text(|out| push_hexes(out, &[u64::MAX, 0, 0x10a], b"\",\"")), "0xffffffffffffffff\",\"0\",\"0x10a");
        assert_eq!(text(|out| push_hexes(out, &[u64::MAX; 6], b", ")), ["0xffffffffffffffff"; 6].join(", "));
    }

    #[test]
    fn names_cannot_break_out_of_their_line() {
        assert_eq!(text(|out| push_safe(out, b"a b\n\x1b[31m\\\xff]")), "a b\\n\\x1b[31m\\\\\\xff]");
    }

    #[test]
    fn texts_keep_their_letters_and_lose_their_controls() {
        let made = text(|out| push_safe_text(out, "Gr\u{fc}\u{df}e \u{1f600}\t\u{202e}\u{9b}1m\x1b[0m".as_bytes()));
        assert_eq!(made, "Gr\u{fc}\u{df}e \u{1f600}\\t\\xe2\\x80\\xae\\xc2\\x9b1m\\x1b[0m");
        assert_eq!(text(|out| push_safe_text(out, b"\xff\xc3")), "\\xff\\xc3");
    }

    struct Full(usize, io::ErrorKind);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0 == 0 {
                return Err(self.1.into());
            }
            let count = bytes.len().min(self.0);
            self.0 -= count;
            Ok(count)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_pipe_is_told_apart_from_a_full_disk() {
        let write = |kind| {
            let mut out = Out::new(Full(10, kind));
            out.buf.extend_from_slice(&[b'x'; FLUSH_AT]);
            out.line_done();
            assert!(out.failed());
            out.finish()
        };
        assert!(matches!(write(io::ErrorKind::BrokenPipe), Ok(false)));
        assert!(write(io::ErrorKind::StorageFull).is_err());
    }
}
