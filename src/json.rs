// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Writing JSON (RFC 8259) into a byte buffer, one value after the other, without an intermediate tree.
//!
//! Strings from the kernel need not be UTF-8: bytes that are not are written as U+FFFD, so that the output always is
//! valid JSON. Reading JSON is [`crate::record`]'s work.

/// A JSON text under construction. Commas are set by itself; the caller sees to it that ends match beginnings.
#[derive(Debug, Default)]
pub struct Json {
    out: Vec<u8>,
    /// Whether the next value in the current container needs a comma in front.
    comma: bool,
}

impl Json {
    /// An empty text.
    pub fn new() -> Self {
        Json::default()
    }

    /// What has been written so far.
    pub fn as_bytes(&self) -> &[u8] {
        &self.out
    }

    /// The finished text.
    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    /// Starts anew and keeps the memory.
    pub fn clear(&mut self) {
        self.out.clear();
        self.comma = false;
    }

    /// Ends a line, for streams of one object a line.
    pub fn newline(&mut self) {
        self.out.push(b'\n');
        self.comma = false;
    }

    /// Breaks the line between two values of an array or object.
    pub fn line_break(&mut self) -> &mut Self {
        if self.comma {
            self.out.push(b',');
            self.comma = false;
        }
        self.out.push(b'\n');
        self
    }

    fn separate(&mut self) {
        if self.comma {
            self.out.push(b',');
        }
        self.comma = true;
    }

    /// `{`
    pub fn begin_object(&mut self) -> &mut Self {
        self.separate();
        self.out.push(b'{');
        self.comma = false;
        self
    }

    /// `}`
    pub fn end_object(&mut self) -> &mut Self {
        self.out.push(b'}');
        self.comma = true;
        self
    }

    /// `[`
    pub fn begin_array(&mut self) -> &mut Self {
        self.separate();
        self.out.push(b'[');
        self.comma = false;
        self
    }

    /// `]`
    pub fn end_array(&mut self) -> &mut Self {
        self.out.push(b']');
        self.comma = true;
        self
    }

    /// A member's name; the next call writes its value.
    pub fn key(&mut self, name: &str) -> &mut Self {
        self.string(name);
        self.out.push(b':');
        self.comma = false;
        self
    }

    /// A string.
    pub fn string(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    /// A string of bytes that may not be UTF-8.
    pub fn bytes(&mut self, text: &[u8]) -> &mut Self {
        self.separate();
        self.out.push(b'"');
        push_escaped(&mut self.out, text);
        self.out.push(b'"');
        self
    }

    /// A number as a string, for readers that keep numbers as doubles.
    pub fn quoted_u64(&mut self, value: u64) -> &mut Self {
        self.separate();
        self.out.push(b'"');
        push_u64(&mut self.out, value);
        self.out.push(b'"');
        self
    }

    /// A number.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.separate();
        push_u64(&mut self.out, value);
        self
    }

    /// A number.
    pub fn i64(&mut self, value: i64) -> &mut Self {
        self.separate();
        push_i64(&mut self.out, value);
        self
    }

    /// `true` or `false`.
    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.separate();
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
        self
    }

    /// `null`.
    pub fn null(&mut self) -> &mut Self {
        self.separate();
        self.out.extend_from_slice(b"null");
        self
    }

    /// A value that is JSON already (a number with a fraction, say).
    pub fn raw(&mut self, text: &str) -> &mut Self {
        self.separate();
        self.out.extend_from_slice(text.as_bytes());
        self
    }

    /// A string member.
    pub fn field_str(&mut self, name: &str, value: &str) -> &mut Self {
        self.key(name).string(value)
    }

    /// A number member.
    pub fn field_u64(&mut self, name: &str, value: u64) -> &mut Self {
        self.key(name).u64(value)
    }

    /// A number member.
    pub fn field_i64(&mut self, name: &str, value: i64) -> &mut Self {
        self.key(name).i64(value)
    }

    /// A member that is true or false.
    pub fn field_bool(&mut self, name: &str, value: bool) -> &mut Self {
        self.key(name).bool(value)
    }
}

/// Appends bytes escaped for the inside of a JSON string; what is not UTF-8 becomes U+FFFD.
pub fn push_escaped(out: &mut Vec<u8>, mut text: &[u8]) {
    while let Err(bad) = core::str::from_utf8(text) {
        let (good, rest) = text.split_at(bad.valid_up_to());
        push_valid(out, good);
        out.extend_from_slice("\u{fffd}".as_bytes());
        text = bad.error_len().and_then(|len| rest.get(len..)).unwrap_or_default();
    }
    push_valid(out, text);
}

fn push_valid(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut plain = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let escaped = match byte {
            b'"' | b'\\' => *byte,
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0..=0x1f => b'u',
            _ => continue,
        };
        out.extend_from_slice(bytes.get(plain..at).unwrap_or_default());
        out.extend_from_slice(&[b'\\', escaped]);
        if escaped == b'u' {
            let low = byte & 15;
            out.extend_from_slice(&[b'0', b'0', b'0' + (byte >> 4), low + if low < 10 { b'0' } else { b'a' - 10 }]);
        }
        plain = at + 1;
    }
    out.extend_from_slice(bytes.get(plain..).unwrap_or_default());
}

/// Appends a number in decimal; the hot path of every report, hence without `core::fmt`.
pub fn push_u64(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0u8; 20];
    let mut len = 0;
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + (value % 10) as u8;
        value /= 10;
        len += 1;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(20 - len..).unwrap_or_default());
}

/// As [`push_u64`], with a sign.
pub fn push_i64(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    push_u64(out, value.unsigned_abs());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_arrays_and_escapes() {
        let mut json = Json::new();
        json.begin_object().field_str("a", "x\"\\\n\u{1}é").key("b").begin_array().u64(1).i64(-2).end_array();
        json.field_bool("c", true).key("d").null().end_object();
        assert_eq!(json.into_bytes(), "{\"a\":\"x\\\"\\\\\\n\\u0001é\",\"b\":[1,-2],\"c\":true,\"d\":null}".as_bytes());
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        let mut json = Json::new();
        json.bytes(b"a\xffb");
        assert_eq!(json.as_bytes(), "\"a\u{fffd}b\"".as_bytes());
    }

    #[test]
    fn numbers_at_their_limits() {
        let mut out = Vec::new();
        for value in [0, 9, 10, u64::MAX] {
            push_u64(&mut out, value);
            out.push(b' ');
        }
        push_i64(&mut out, i64::MIN);
        assert_eq!(out, b"0 9 10 18446744073709551615 -9223372036854775808");
    }
}
