// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Structures as JSON objects, read and written by one list of their members.
//!
//! Reading is lenient: members that are missing or null keep the value they have, unknown ones are passed over, of
//! duplicates the last counts. The parser is ours: what serde makes of the same structures is three times as large and
//! more, has no limit of the depth, and serde-json-core refuses the surrogate pairs (`\ud83d\ude00`) that Python's tools
//! write.

use crate::error::{Error, Result};
use crate::json::Json;
use crate::words;

/// Deepest nesting that is read, below the outermost object: ours have four levels.
const DEPTH_MAX: usize = 64;

/// The place of a member's value.
pub enum Field<'a> {
    /// true or false
    Bool(&'a mut bool),
    /// A number up to 65535.
    U16(&'a mut u16),
    /// A number of 32 bits.
    U32(&'a mut u32),
    /// A number of 64 bits.
    U64(&'a mut u64),
    /// A number of 32 bits with a sign, such as a pid.
    I32(&'a mut i32),
    /// A number of 64 bits with a sign.
    I64(&'a mut i64),
    /// A string.
    Text(&'a mut String),
    /// A string where it matters whether there is one.
    Option(&'a mut Option<String>),
    /// An array of strings.
    Texts(&'a mut Vec<String>),
    /// An object whose members' names are not known before, with strings as values; null is the empty one.
    Pairs(&'a mut Vec<(String, String)>),
    /// An object.
    Record(&'a mut &'a mut dyn Record),
    /// An array of objects.
    List(&'a mut &'a mut dyn List),
}

/// A structure that is a JSON object.
pub trait Record {
    /// The names of its members, a blank behind each.
    fn names(&self) -> &'static str;
    /// Hands out every member, in that order.
    fn members(&mut self, visit: &mut dyn FnMut(Field<'_>));
}

/// An array of objects.
pub trait List {
    /// Removes all.
    fn clear(&mut self);
    /// Appends an object and hands it out.
    fn add(&mut self) -> Option<&mut dyn Record>;
    /// One of them.
    fn get(&mut self, at: usize) -> Option<&mut dyn Record>;
}

impl<T: Record + Default> List for Vec<T> {
    fn clear(&mut self) {
        self.clear();
    }

    fn add(&mut self) -> Option<&mut dyn Record> {
        self.push(T::default());
        self.get(self.len() - 1)
    }

    fn get(&mut self, at: usize) -> Option<&mut dyn Record> {
        self.get_mut(at).map(|item| item as &mut dyn Record)
    }
}

/// Lists the members of a structure, named as in the file: `record!(Anchor { trace_ns: U64, realtime_ns: U64 });`
macro_rules! record {
    (@field Record $value:expr) => { $crate::record::Field::Record(&mut ($value as &mut dyn $crate::record::Record)) };
    (@field List $value:expr) => { $crate::record::Field::List(&mut ($value as &mut dyn $crate::record::List)) };
    (@field $kind:ident $value:expr) => { $crate::record::Field::$kind($value) };
    ($type:ident { $($name:ident: $kind:ident),* $(,)? }) => {
        impl $crate::record::Record for $type {
            fn names(&self) -> &'static str {
                concat!($(stringify!($name), " "),*)
            }
            fn members(&mut self, visit: &mut dyn FnMut($crate::record::Field<'_>)) {
                $(visit($crate::record::record!(@field $kind &mut self.$name));)*
            }
        }
    };
}
pub(crate) use record;

/// Writes a record as one JSON value.
pub fn write<'j>(json: &'j mut Json, record: &mut dyn Record) -> &'j mut Json {
    json.begin_object();
    let mut names = record.names();
    record.members(&mut |field| {
        json.key(words::next(&mut names).unwrap_or_default());
        match field {
            Field::Bool(value) => json.bool(*value),
            Field::U16(value) => json.u64(u64::from(*value)),
            Field::U32(value) => json.u64(u64::from(*value)),
            Field::U64(value) => json.u64(*value),
            Field::I32(value) => json.i64(i64::from(*value)),
            Field::I64(value) => json.i64(*value),
            Field::Text(value) => json.string(value),
            Field::Option(Some(value)) => json.string(value),
            Field::Option(None) => json.null(),
            Field::Texts(values) => {
                json.begin_array();
                for value in values {
                    json.string(value);
                }
                json.end_array()
            }
            Field::Pairs(pairs) => {
                json.begin_object();
                for (name, value) in pairs {
                    json.key(name).string(value);
                }
                json.end_object()
            }
            Field::Record(record) => write(json, *record),
            Field::List(list) => {
                json.begin_array();
                let mut at = 0;
                while let Some(record) = list.get(at) {
                    write(json, record);
                    at += 1;
                }
                json.end_array()
            }
        };
    });
    json.end_object()
}

/// Reads a JSON object into a record. Errors name the text as `what` says.
pub fn read(text: &[u8], what: &str, record: &mut dyn Record) -> Result<()> {
    let mut parser = Parser::new(text, 0);
    let read = parser.value(Some(Field::Record(&mut (&mut *record as &mut dyn Record))), 0);
    parser.peek();
    if parser.too_deep {
        return Err(Error::limit(what.to_owned() + " is nested too deeply", DEPTH_MAX as u64));
    }
    if read.is_none() || parser.at < text.len() {
        return Err(Error::malformed(what.to_owned() + " is not the JSON expected", Some(parser.at as u64)));
    }
    Ok(())
}

/// A JSON text and where in it the reader is. Its functions give `None` where it is not what was expected.
#[derive(Debug)]
pub struct Parser<'t> {
    text: &'t [u8],
    /// The offset of the next byte.
    pub at: usize,
    too_deep: bool,
}

impl<'t> Parser<'t> {
    /// A reader that begins at an offset.
    pub fn new(text: &'t [u8], at: usize) -> Self {
        Parser { text, at, too_deep: false }
    }

    /// Passes over a value, whatever it is.
    pub fn skip(&mut self) -> Option<()> {
        self.value(None, 0)
    }

    /// The next byte that is no blank; 0 at the end.
    pub fn peek(&mut self) -> u8 {
        loop {
            match self.text.get(self.at) {
                Some(b' ' | b'\n' | b'\t' | b'\r') => self.at += 1,
                other => return other.copied().unwrap_or(0),
            }
        }
    }

    /// Takes `word` if it is next.
    pub fn takes(&mut self, word: &[u8]) -> bool {
        self.peek();
        let there = self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word));
        if there {
            self.at += word.len();
        }
        there
    }

    /// A value that belongs into `field`; without one it is passed over.
    fn value(&mut self, field: Option<Field<'_>>, depth: usize) -> Option<()> {
        if depth > DEPTH_MAX {
            self.too_deep = true;
            return None;
        }
        if self.takes(b"null") {
            return Some(());
        }
        match field {
            Some(Field::Bool(place)) => *place = self.bool()?,
            Some(Field::U16(place)) => *place = self.magnitude()?.try_into().ok()?,
            Some(Field::U32(place)) => *place = self.magnitude()?.try_into().ok()?,
            Some(Field::U64(place)) => *place = self.magnitude()?,
            Some(Field::I32(place)) => *place = self.signed()?.try_into().ok()?,
            Some(Field::I64(place)) => *place = self.signed()?,
            Some(Field::Text(place)) => self.string(place)?,
            Some(Field::Option(place)) => self.string(place.get_or_insert_with(String::new))?,
            other => match self.peek() {
                b'[' => self.array(other, depth + 1)?,
                b'{' => self.object(other, depth + 1)?,
                _ if other.is_some() => return None,
                b'"' => self.string(&mut String::new())?,
                b'-' | b'0'..=b'9' => {
                    while let Some(b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E') = self.text.get(self.at) {
                        self.at += 1;
                    }
                }
                _ => _ = self.bool()?,
            },
        }
        Some(())
    }

    fn bool(&mut self) -> Option<bool> {
        let is = self.takes(b"true");
        (is || self.takes(b"false")).then_some(is)
    }

    fn magnitude(&mut self) -> Option<u64> {
        self.peek();
        let begun = self.at;
        let mut value = 0u64;
        while let Some(digit @ b'0'..=b'9') = self.text.get(self.at) {
            value = value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
            self.at += 1;
        }
        (self.at != begun).then_some(value)
    }

    fn signed(&mut self) -> Option<i64> {
        let negative = self.takes(b"-");
        let magnitude = self.magnitude()?;
        if negative {
            return 0i64.checked_sub_unsigned(magnitude);
        }
        magnitude.try_into().ok()
    }

    fn array(&mut self, mut field: Option<Field<'_>>, depth: usize) -> Option<()> {
        self.at += 1;
        match &mut field {
            Some(Field::Texts(texts)) => texts.clear(),
            Some(Field::List(list)) => list.clear(),
            None => {}
            Some(_) => return None,
        }
        if self.takes(b"]") {
            return Some(());
        }
        loop {
            match &mut field {
                Some(Field::Texts(texts)) => {
                    let mut text = String::new();
                    self.value(Some(Field::Text(&mut text)), depth)?;
                    texts.push(text);
                }
                Some(Field::List(list)) => self.value(Some(Field::Record(&mut list.add()?)), depth)?,
                _ => self.value(None, depth)?,
            }
            if !self.takes(b",") {
                return self.takes(b"]").then_some(());
            }
        }
    }

    fn object(&mut self, mut field: Option<Field<'_>>, depth: usize) -> Option<()> {
        self.at += 1;
        match &mut field {
            Some(Field::Pairs(pairs)) => pairs.clear(),
            Some(Field::Record(_)) | None => {}
            Some(_) => return None,
        }
        if self.takes(b"}") {
            return Some(());
        }
        loop {
            let mut name = String::new();
            self.string(&mut name)?;
            if !self.takes(b":") {
                return None;
            }
            let mut value = None;
            match &mut field {
                Some(Field::Pairs(pairs)) => {
                    let mut text = String::new();
                    value = Some(self.value(Some(Field::Text(&mut text)), depth));
                    pairs.push((name, text));
                }
                Some(Field::Record(record)) => {
                    let mut names = record.names();
                    record.members(&mut |field| {
                        if words::next(&mut names) == Some(&name) {
                            value = Some(self.value(Some(field), depth));
                        }
                    });
                }
                _ => {}
            }
            match value {
                Some(value) => value?,
                None => self.value(None, depth)?,
            }
            if !self.takes(b",") {
                return self.takes(b"}").then_some(());
            }
        }
    }

    /// What a string means. Halves of a surrogate pair without the other mean U+FFFD.
    pub fn string(&mut self, out: &mut String) -> Option<()> {
        if !self.takes(b"\"") {
            return None;
        }
        out.clear();
        loop {
            let rest = self.text.get(self.at..)?;
            let plain = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
            out.push_str(core::str::from_utf8(rest.get(..plain)?).ok()?);
            let [mark, rest @ ..] = rest.get(plain..)? else { return None };
            self.at += plain + 1;
            if *mark == b'"' {
                return Some(());
            }
            let [kind, rest @ ..] = rest else { return None };
            self.at += 1;
            out.push(match kind {
                b'"' | b'\\' | b'/' => char::from(*kind),
                b'b' => '\u{8}',
                b'f' => '\u{c}',
                b'n' => '\n',
                b'r' => '\r',
                b't' => '\t',
                b'u' => {
                    let mut code = unit(rest)?;
                    self.at += 4;
                    if (0xd800..0xdc00).contains(&code) {
                        let second = rest.get(4..).and_then(|rest| rest.strip_prefix(b"\\u")).and_then(unit);
                        if let Some(low @ 0xdc00..=0xdfff) = second {
                            code = 0x10000 + ((code & 0x3ff) << 10) + (low & 0x3ff);
                            self.at += 6;
                        }
                    }
                    char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
                }
                _ => return None,
            });
        }
    }
}

/// The four hexadecimal digits behind `\u`.
fn unit(text: &[u8]) -> Option<u32> {
    let digits = text.get(..4)?;
    digits.iter().try_fold(0, |code, digit| Some(code << 4 | char::from(*digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq)]
    struct Part {
        n: u16,
    }
    record!(Part { n: U16 });

    #[derive(Debug, Default, PartialEq)]
    struct Whole {
        yes: bool,
        large: u64,
        small: i64,
        pid: i32,
        word: u32,
        text: String,
        option: Option<String>,
        texts: Vec<String>,
        pairs: Vec<(String, String)>,
        part: Part,
        parts: Vec<Part>,
    }
    record!(Whole {
        yes: Bool,
        large: U64,
        small: I64,
        pid: I32,
        word: U32,
        text: Text,
        option: Option,
        texts: Texts,
        pairs: Pairs,
        part: Record,
        parts: List,
    });

    fn read_whole(text: &str) -> Result<Whole> {
        let mut whole = Whole::default();
        read(text.as_bytes(), "the test", &mut whole).map(|()| whole)
    }

    #[test]
    fn what_is_written_reads_back() {
        let mut whole = Whole {
            yes: true,
            large: u64::MAX,
            small: i64::MIN,
            pid: i32::MIN,
            word: u32::MAX,
            text: "\"\\\n\u{1}\u{1f600}".into(),
            option: Some(String::new()),
            texts: vec!["a".into(), String::new()],
            pairs: vec![("k\"".into(), "v".into())],
            part: Part { n: 65535 },
            parts: vec![Part { n: 1 }, Part { n: 2 }],
        };
        let mut json = Json::new();
        write(&mut json, &mut whole);
        let text = String::from_utf8(json.into_bytes()).unwrap();
        assert!(text.ends_with("\"part\":{\"n\":65535},\"parts\":[{\"n\":1},{\"n\":2}]}"), "{text}");
        assert_eq!(read_whole(&text).unwrap(), whole);
        let spaced = text.replace(',', " ,\n").replace(':', "\t: ");
        assert_eq!(read_whole(&spaced).unwrap(), whole);
    }

    #[test]
    fn a_string_that_is_missing_is_told_from_an_empty_one() {
        let option = |text: &str| read_whole(text).unwrap().option;
        assert_eq!(option("{}"), None);
        assert_eq!(option("{\"option\":null}"), None);
        assert_eq!(option("{\"option\":\"\"}"), Some(String::new()));
        assert_eq!(option("{\"option\":\"a\",\"option\":\"b\"}").as_deref(), Some("b"));
    }

    #[test]
    fn missing_null_unknown_and_duplicate_members_are_tolerated() {
        assert_eq!(read_whole("{}").unwrap(), Whole::default());
        let nulls = r#"{"yes":null,"large":null,"text":null,"pairs":null,"part":null,"parts":null,"texts":null}"#;
        assert_eq!(read_whole(nulls).unwrap(), Whole::default());
        let whole = read_whole(
            r#"{"new":{"a":[1,-2.5e3,null,true,{"b":"\ud83d\ude00","c":[]}]},"pid":1,"parts":[{"n":1}],"pid":2,
               "parts":[{"x":"]","n":3}],"pairs":{"a":null}}"#,
        )
        .unwrap();
        assert_eq!((whole.pid, whole.parts), (2, vec![Part { n: 3 }]));
        assert_eq!(whole.pairs, [("a".to_owned(), String::new())]);
    }

    #[test]
    fn escapes_mean_what_they_mean() {
        let text = |escaped: &str| read_whole(&format!("{{\"te\\u0078t\":\"{escaped}\"}}")).map(|whole| whole.text);
        assert_eq!(text(r#"\"\\\/\b\f\n\r\t\u00e9é"#).unwrap(), "\"\\/\u{8}\u{c}\n\r\té\u{e9}");
        assert_eq!(text(r"\ud83d\ude00!").unwrap(), "\u{1f600}!");
        assert_eq!(text(r"\uD83Dz").unwrap(), "\u{fffd}z");
        assert_eq!(text(r"\ude00\ud83d\ud83d\ude00").unwrap(), "\u{fffd}\u{fffd}\u{1f600}");
        for bad in [r"\x", r"\u12", r"\u+123", r"\u12é", r"\é"] {
            assert!(text(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_no_json_object_of_the_kind_is_an_error() {
        for bad in [
            "",
            "[]",
            "1",
            "{",
            "{\"yes\":1}",
            "{\"yes\":tru}",
            "{\"large\":-1}",
            "{\"large\":18446744073709551616}",
            "{\"part\":{\"n\":65536}}",
            "{\"pid\":2147483648}",
            "{\"pid\":\"1\"}",
            "{\"text\":1}",
            "{\"texts\":{}}",
            "{\"texts\":[1]}",
            "{\"parts\":[1]}",
            "{\"parts\":[{}",
            "{\"parts\":[{},]}",
            "{\"pairs\":[]}",
            "{\"pairs\":{\"a\":1}}",
            "{\"text\":\"a\"} x",
            "{\"text\":\"a\",}",
            "{\"text\":\"a",
            "{text:1}",
        ] {
            let why = read_whole(bad).unwrap_err().to_string();
            assert!(why.starts_with("the test is not the JSON expected (at byte "), "{bad}: {why}");
        }
        assert!(read(b"{\"text\":\"\xff\"}", "x", &mut Whole::default()).is_err());
    }

    #[test]
    fn nesting_is_limited_wherever_it_is() {
        let nested = |depth: usize| format!("{{\"a\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
        read_whole(&nested(DEPTH_MAX - 1)).unwrap();
        let why = read_whole(&nested(DEPTH_MAX)).unwrap_err().to_string();
        assert_eq!(why, "the test is nested too deeply, the limit is 64");
        assert!(read_whole(&format!("{{\"a\":{}", "{\"b\":[".repeat(100_000))).is_err());
        // Brackets in strings are not nesting.
        read_whole(&format!("{{\"a\":\"{}\\\"{}\"}}", "[".repeat(100), "{".repeat(100))).unwrap();
    }
}
