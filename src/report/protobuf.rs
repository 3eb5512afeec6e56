// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Writing protobuf by hand: variable-length numbers, fields, messages within messages.
//!
//! Source: protobuf.dev, "Encoding". A message's length stands before it and is known behind it only; nearly all are
//! shorter than 128 bytes, so one byte is kept free, and the message is moved on where it needs more.

/// A number, seven bits a byte, the lowest first.
pub(crate) fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A field that is a number. Negative ones are given in two's complement.
pub(crate) fn number(out: &mut Vec<u8>, field: u32, value: u64) {
    push_varint(out, u64::from(field) << 3);
    push_varint(out, value);
}

/// A field that is text. The format wants UTF-8, names of tasks and files are bytes: what is none becomes U+FFFD.
pub(crate) fn text(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    let start = begin(out, field);
    out.extend_from_slice(String::from_utf8_lossy(bytes).as_bytes());
    end(out, start);
}

/// Begins a field that is a message; [`end`] wants what this gives.
pub(crate) fn begin(out: &mut Vec<u8>, field: u32) -> usize {
    push_varint(out, u64::from(field) << 3 | 2);
    out.push(0);
    out.len()
}

/// Ends the message that began at `start`.
pub(crate) fn end(out: &mut Vec<u8>, start: usize) {
    let mut length = out.len().saturating_sub(start);
    let mut at = start.saturating_sub(1);
    loop {
        let byte = length as u8 & 0x7f;
        length >>= 7;
        let Some(place) = out.get_mut(at) else { return };
        if length == 0 {
            *place = byte;
            return;
        }
        *place = byte | 0x80;
        at += 1;
        out.insert(at, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_lengths_are_as_the_specification_has_them() {
        let mut out = Vec::new();
        number(&mut out, 1, 150);
        text(&mut out, 2, b"testing");
        assert_eq!(out, b"\x08\x96\x01\x12\x07testing");
        out.clear();
        number(&mut out, 60, -1i64 as u64);
        assert_eq!(out, b"\xe0\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01");
    }

    #[test]
    fn a_message_of_any_length_has_its_length_in_front() {
        for length in [0usize, 1, 127, 128, 300, 16383, 16384, 3_000_000] {
            let mut out = Vec::new();
            let outer = begin(&mut out, 1);
            text(&mut out, 3, &vec![b'x'; length]);
            end(&mut out, outer);
            let mut inner = vec![0x1a];
            push_varint(&mut inner, length as u64);
            let mut expected = vec![0x0a];
            push_varint(&mut expected, (inner.len() + length) as u64);
            expected.append(&mut inner);
            assert_eq!((&out[..expected.len()], out.len()), (&expected[..], expected.len() + length));
        }
    }

    #[test]
    fn what_is_no_text_is_replaced() {
        let mut out = Vec::new();
        text(&mut out, 1, b"a\xff");
        assert_eq!(out, "\x0a\x04a\u{fffd}".as_bytes());
    }
}
