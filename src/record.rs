// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Structures as JSON objects, read and written by one list of their members.
//!
//! Reading is lenient: members that are missing or null keep the value they have, unknown ones are passed over, of
//! duplicates the last counts. serde-json-core knows the grammar and is instantiated here and nowhere else, with one
//! visitor: what serde derives for each structure is ten times as large. Two things are ours: the depth, because
//! serde-json-core recurses without limit into members that are passed over, and escapes in strings, because it refuses
//! surrogate pairs (`\ud83d\ude00`), which Python's tools write.

use core::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json_core::de;

use crate::error::{Error, Result};
use crate::json::Json;

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
    Record(&'a mut dyn Record),
    /// An array of objects.
    List(&'a mut dyn List),
}

/// A structure that is a JSON object.
pub trait Record {
    /// Hands out every member with its name, in the order in which they are written.
    fn members(&mut self, visit: &mut dyn FnMut(&'static str, Field<'_>));
}

/// An array of objects.
pub trait List {
    /// Removes all.
    fn clear(&mut self);
    /// Appends what `read` makes of a fresh object, and says whether there was one.
    fn add(&mut self, read: &mut dyn FnMut(&mut dyn Record) -> bool) -> bool;
    /// Hands out all in turn.
    fn each(&mut self, visit: &mut dyn FnMut(&mut dyn Record));
}

impl<T: Record + Default> List for Vec<T> {
    fn clear(&mut self) {
        self.clear();
    }

    fn add(&mut self, read: &mut dyn FnMut(&mut dyn Record) -> bool) -> bool {
        let mut item = T::default();
        let there = read(&mut item);
        if there {
            self.push(item);
        }
        there
    }

    fn each(&mut self, visit: &mut dyn FnMut(&mut dyn Record)) {
        for item in self {
            visit(item);
        }
    }
}

/// Lists the members of a structure, named as in the file: `record!(Anchor { trace_ns: U64, realtime_ns: U64 });`
macro_rules! record {
    ($type:ident { $($name:ident: $kind:ident),* $(,)? }) => {
        impl $crate::record::Record for $type {
            fn members(&mut self, visit: &mut dyn FnMut(&'static str, $crate::record::Field<'_>)) {
                $(visit(stringify!($name), $crate::record::Field::$kind(&mut self.$name));)*
            }
        }
    };
}
pub(crate) use record;

/// Writes a record as one JSON value.
pub fn write<'j>(json: &'j mut Json, record: &mut dyn Record) -> &'j mut Json {
    json.begin_object();
    record.members(&mut |name, field| {
        json.key(name);
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
            Field::Record(record) => write(json, record),
            Field::List(list) => {
                json.begin_array();
                list.each(&mut |record| _ = write(json, record));
                json.end_array()
            }
        };
    });
    json.end_object()
}

/// Reads a JSON object into a record. Errors name the text as `what` says.
pub fn read(text: &[u8], what: &str, record: &mut dyn Record) -> Result<()> {
    let mut parser = de::Deserializer::new(text, None);
    let outcome = Value { field: Some(Field::Record(record)), depth: 0 }.deserialize(&mut parser);
    match outcome.and_then(|()| parser.end()) {
        Ok(_) => Ok(()),
        Err(de::Error::AnyIsUnsupported) => {
            Err(Error::limit(what.to_owned() + " is nested too deeply", DEPTH_MAX as u64))
        }
        Err(why) => Err(Error::malformed(format!("{what} is not the JSON expected: {why}"), None)),
    }
}

/// What the parser is at: a value that belongs into a field, or `None` to be passed over.
struct Value<'a> {
    field: Option<Field<'a>>,
    depth: usize,
}

/// A member's name.
struct Name<'a>(&'a mut String);

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, parser: D) -> core::result::Result<(), D::Error> {
        if self.depth > DEPTH_MAX {
            // serde-json-core's answer to this is an error of its own, which nothing else here can cause.
            return parser.deserialize_any(self);
        }
        match self.field {
            None => parser.deserialize_ignored_any(self),
            Some(_) => parser.deserialize_option(self),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, parser: D) -> core::result::Result<(), D::Error> {
        parser.deserialize_str(Value { field: Some(Field::Text(self.0)), depth: 0 })
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("another type")
    }

    fn visit_none<E>(self) -> core::result::Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> core::result::Result<(), E> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, parser: D) -> core::result::Result<(), D::Error> {
        match self.field {
            Some(Field::Bool(_)) => parser.deserialize_bool(self),
            Some(Field::U16(_) | Field::U32(_) | Field::U64(_)) => parser.deserialize_u64(self),
            Some(Field::I32(_) | Field::I64(_)) => parser.deserialize_i64(self),
            Some(Field::Texts(_) | Field::List(_)) => parser.deserialize_seq(self),
            Some(Field::Pairs(_) | Field::Record(_)) => parser.deserialize_map(self),
            Some(Field::Text(_) | Field::Option(_)) | None => parser.deserialize_str(self),
        }
    }

    fn visit_bool<E>(self, value: bool) -> core::result::Result<(), E> {
        if let Some(Field::Bool(place)) = self.field {
            *place = value;
        }
        Ok(())
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> core::result::Result<(), E> {
        let fits = match self.field {
            Some(Field::U16(place)) => u16::try_from(value).map(|value| *place = value),
            Some(Field::U32(place)) => u32::try_from(value).map(|value| *place = value),
            Some(Field::U64(place)) => {
                *place = value;
                Ok(())
            }
            _ => Ok(()),
        };
        fits.map_err(E::custom)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> core::result::Result<(), E> {
        match self.field {
            Some(Field::I32(place)) => *place = i32::try_from(value).map_err(E::custom)?,
            Some(Field::I64(place)) => *place = value,
            _ => {}
        }
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(self, escaped: &str) -> core::result::Result<(), E> {
        let place = match self.field {
            Some(Field::Text(place)) => place,
            Some(Field::Option(place)) => place.get_or_insert_with(String::new),
            _ => return Ok(()),
        };
        unescape(escaped, place).ok_or_else(|| E::custom("escape"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> core::result::Result<(), A::Error> {
        let depth = self.depth + 1;
        match self.field {
            Some(Field::Texts(texts)) => {
                texts.clear();
                let mut text = String::new();
                while seq.next_element_seed(Value { field: Some(Field::Text(&mut text)), depth })?.is_some() {
                    texts.push(core::mem::take(&mut text));
                }
                Ok(())
            }
            Some(Field::List(list)) => {
                list.clear();
                let mut outcome = Ok(None);
                while list.add(&mut |record| {
                    outcome = seq.next_element_seed(Value { field: Some(Field::Record(record)), depth });
                    matches!(outcome, Ok(Some(())))
                }) {}
                outcome.map(|_| ())
            }
            _ => {
                while seq.next_element_seed(Value { field: None, depth })?.is_some() {}
                Ok(())
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> core::result::Result<(), A::Error> {
        let depth = self.depth + 1;
        if let Some(Field::Pairs(pairs)) = &mut self.field {
            pairs.clear();
        }
        let mut name = String::new();
        while map.next_key_seed(Name(&mut name))?.is_some() {
            match &mut self.field {
                Some(Field::Pairs(pairs)) => {
                    let mut value = String::new();
                    map.next_value_seed(Value { field: Some(Field::Text(&mut value)), depth })?;
                    pairs.push((core::mem::take(&mut name), value));
                    continue;
                }
                Some(Field::Record(record)) => {
                    let mut outcome = None;
                    record.members(&mut |member, field| {
                        if member == name {
                            outcome = Some(map.next_value_seed(Value { field: Some(field), depth }));
                        }
                    });
                    if let Some(outcome) = outcome {
                        outcome?;
                        continue;
                    }
                }
                _ => {}
            }
            map.next_value_seed(Value { field: None, depth })?;
        }
        Ok(())
    }
}

/// Writes what a string between quotes means to `out`. Halves of a surrogate pair without the other mean U+FFFD.
fn unescape(escaped: &str, out: &mut String) -> Option<()> {
    out.clear();
    let mut rest = escaped;
    while let Some((plain, tail)) = rest.split_once('\\') {
        out.push_str(plain);
        let kind = *tail.as_bytes().first()?;
        rest = tail.get(1..)?;
        out.push(match kind {
            b'"' | b'\\' | b'/' => char::from(kind),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let mut code = unit(rest)?;
                rest = rest.get(4..)?;
                if (0xd800..0xdc00).contains(&code) {
                    let low = rest.strip_prefix("\\u").and_then(unit).filter(|low| (0xdc00..0xe000).contains(low));
                    if let Some(low) = low {
                        code = 0x10000 + ((code & 0x3ff) << 10) + (low & 0x3ff);
                        rest = rest.get(6..)?;
                    }
                }
                char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            _ => return None,
        });
    }
    out.push_str(rest);
    Some(())
}

/// The four hexadecimal digits behind `\u`.
fn unit(text: &str) -> Option<u32> {
    let digits = text.as_bytes().get(..4)?;
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
            assert!(why.starts_with("the test is not the JSON expected: "), "{bad}: {why}");
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
        // Brackets in strings are not nesting; a quote in a value that is none does not begin one.
        read_whole(&format!("{{\"a\":\"{}\\\"{}\"}}", "[".repeat(100), "{".repeat(100))).unwrap();
        let hidden = format!("{{\"a\":x\",\"b\":{}", "[".repeat(100_000));
        assert!(read_whole(&hidden).unwrap_err().to_string().contains("nested too deeply"));
    }
}
