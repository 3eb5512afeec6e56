// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `field:TYPE NAME; offset:N; size:N; signed:N;` lines to values. Any text gives a result or an error with its line.
//!
//! Source: kernel/trace/trace_events.c `f_show` (unchanged since 2.6.3x); kernel/trace/ring_buffer.c for header_page.

use crate::ringbuf::{LayoutError, PageLayout};
use crate::words::{number, split_once, trim};

/// How a field's bytes are to be taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// The value itself (or an array of it) at the offset.
    #[default]
    Plain,
    /// A 32-bit word at the offset: low half offset from the record's start, high half length.
    DataLoc,
    /// As `DataLoc`, but the offset counts from the end of the word itself.
    RelLoc,
}

/// One field of an event; offset and size in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Offset from the start of the record's payload.
    pub offset: u32,
    /// Size of the field, for an array of the whole array.
    pub size: u32,
    /// Whether the kernel says the value is signed.
    pub signed: bool,
    /// Plain or located elsewhere in the record.
    pub kind: Kind,
}

/// An event's format: its name, number and fields. Borrows from the text.
#[derive(Clone, Copy, Debug)]
pub struct EventFormat<'a> {
    /// The event's name, e.g. `sys_enter`.
    pub name: &'a str,
    /// The number in `common_type` of its records.
    pub id: u16,
    /// Every `field:` line of it has been read once without an error.
    text: &'a str,
}

/// Why a format text cannot be used; lines count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormatError {
    /// No `name:` line.
    NoName,
    /// No usable `ID:` line (a number below 65536).
    NoId,
    /// A `field:` line that does not follow the pattern.
    BadField {
        /// The line.
        line: usize,
    },
    /// header_page lacks `timestamp`, `commit` or `data`.
    NoHeaderField(&'static str),
    /// header_page describes a header no kernel has.
    Layout(LayoutError),
}

impl<'a> EventFormat<'a> {
    /// The field of that name.
    pub fn field(&self, name: &str) -> Option<Field> {
        self.fields().find(|(known, _)| *known == name).map(|(_, field)| field)
    }

    /// Name and place of each field, common fields first. Read from the text anew: a reader asks a few times per event and
    /// recording.
    pub fn fields(&self) -> Fields<'a> {
        Fields { rest: self.text }
    }
}

/// See [`EventFormat::fields`].
pub struct Fields<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a str, Field);

    fn next(&mut self) -> Option<(&'a str, Field)> {
        while !self.rest.is_empty() {
            let (line, rest) = split_once(self.rest, "\n").unwrap_or((self.rest, ""));
            self.rest = rest;
            if let Some((name, Some(field))) = declaration(trim(line)) {
                return Some((name, field));
            }
        }
        None
    }
}

/// What stands before the first `mark`, or everything.
fn before<'a>(text: &'a str, mark: &str) -> &'a str {
    split_once(text, mark).map_or(text, |(before, _)| before)
}

/// The lines with their numbers, without blanks around them.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.split('\n').map(trim))
}

/// A `field:` line, `field:unsigned long args[6]; offset:16; size:48; signed:0;`: the name and, where it follows the
/// pattern, the field. `None` for another line.
fn declaration(line: &str) -> Option<(&str, Option<Field>)> {
    let line = line.strip_prefix("field:")?;
    let (what, rest) = split_once(line, ";").unwrap_or((line, ""));
    let what = trim(what);
    // The name is the last word; an array's brackets stand behind it (`args[6]`) or, located, before it (`char[] file`).
    let last = what.bytes().rposition(|byte| matches!(byte, b' ' | b'\t' | b'*')).map_or(0, |at| at + 1);
    let name = before(what.get(last..)?, "[");
    let kind = if what.starts_with("__data_loc") {
        Kind::DataLoc
    } else if what.starts_with("__rel_loc") {
        Kind::RelLoc
    } else {
        Kind::Plain
    };
    // `signed` is missing on kernels before 2.6.33, but nothing depends on it there.
    let signed = value(rest, "signed:").is_some_and(|value| value != 0);
    let field = match (value(rest, "offset:"), value(rest, "size:")) {
        (Some(offset), Some(size)) if !name.is_empty() => Some(Field { offset, size, signed, kind }),
        _ => None,
    };
    Some((name, field))
}

/// The number behind `key`, which ends with a colon, up to a semicolon.
fn value(text: &str, key: &str) -> Option<u32> {
    let (_, behind) = split_once(text, key)?;
    u32::try_from(number(trim(before(behind, ";")))?).ok()
}

/// Takes the text of one `events/*/*/format` apart.
pub fn parse_event(text: &str) -> Result<EventFormat<'_>, FormatError> {
    let mut name = None;
    let mut id = None;
    for (_, text) in lines(text) {
        if let Some(value) = text.strip_prefix("name:") {
            name = name.or(Some(trim(value)));
        } else if let Some(value) = text.strip_prefix("ID:") {
            id = id.or(number(trim(value)).and_then(|id| u16::try_from(id).ok()));
        }
    }
    // Records have 16 bits for their fields' places.
    check(text, u32::from(u16::MAX))?;
    Ok(EventFormat { name: name.ok_or(FormatError::NoName)?, id: id.ok_or(FormatError::NoId)?, text })
}

/// Whether every `field:` line follows the pattern, with an offset and a size up to `max`.
fn check(text: &str, max: u32) -> Result<(), FormatError> {
    for (line, text) in lines(text) {
        if let Some((_, field)) = declaration(text) {
            if !field.is_some_and(|field| field.offset | field.size <= max) {
                return Err(FormatError::BadField { line });
            }
        }
    }
    Ok(())
}

/// Takes the text of `events/header_page` apart.
pub fn parse_header_page(text: &str) -> Result<PageLayout, FormatError> {
    check(text, u32::MAX)?;
    let place = |name| {
        let field = Fields { rest: text }.find(|(known, _)| *known == name);
        field.map(|(_, field)| (field.offset, field.size)).ok_or(FormatError::NoHeaderField(name))
    };
    // `overwrite` shares the commit word's bytes and tells nothing.
    let timestamp = place("timestamp")?;
    let ((commit_offset, commit_size), (data_offset, data_size)) = (place("commit")?, place("data")?);
    if timestamp != (0, 8) {
        return Err(FormatError::Layout(LayoutError::Offsets));
    }
    PageLayout::new(commit_offset, commit_size, data_offset, data_size).map_err(FormatError::Layout)
}

impl core::fmt::Display for FormatError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            FormatError::NoName => f.write_str("no name: line"),
            FormatError::NoId => f.write_str("no ID: line with a number below 65536"),
            FormatError::BadField { line } => write!(f, "line {line} is no field description"),
            FormatError::NoHeaderField(name) => write!(f, "header_page has no field {name}"),
            FormatError::Layout(LayoutError::CommitSize(size)) => write!(f, "commit of {size} bytes, not 4 or 8"),
            FormatError::Layout(LayoutError::Offsets) => f.write_str("the fields of header_page overlap"),
            FormatError::Layout(LayoutError::SubbufSize(size)) => write!(f, "a sub-buffer of {size} bytes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYS_ENTER: &str = "name: sys_enter\nID: 443\nformat:\n\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n\tfield:long id;\toffset:8;\tsize:8;\tsigned:1;\n\tfield:unsigned long args[6];\toffset:16;\tsize:48;\tsigned:0;\n\nprint fmt: \"NR %ld\", REC->id\n";

    #[test]
    fn fields_have_name_offset_size_and_kind() {
        let format = parse_event(SYS_ENTER).unwrap();
        assert_eq!((format.name, format.id), ("sys_enter", 443));
        assert_eq!(format.field("args"), Some(Field { offset: 16, size: 48, signed: false, kind: Kind::Plain }));
        assert_eq!(format.field("id").map(|f| f.signed), Some(true));
        assert_eq!(format.field("ar"), None);
    }

    #[test]
    fn located_strings_and_pointers_keep_their_names() {
        let text = "name: x\nID: 1\n\tfield:__data_loc char[] filename;\toffset:8;\tsize:4;\tsigned:0;\n\tfield:const char * path;\toffset:16;\tsize:8;\tsigned:0;\n\tfield:__rel_loc char[] r;\toffset:24;\tsize:4;\tsigned:0;\n\tfield:char comm[16];\toffset:28;\tsize:16;\tsigned:0;\n";
        let format = parse_event(text).unwrap();
        assert_eq!(format.field("filename").map(|f| f.kind), Some(Kind::DataLoc));
        assert_eq!(format.field("path").map(|f| f.offset), Some(16));
        assert_eq!(format.field("r").map(|f| f.kind), Some(Kind::RelLoc));
        assert_eq!(format.field("comm").map(|f| f.size), Some(16));
    }

    #[test]
    fn damaged_text_is_an_error_with_its_line() {
        assert_eq!(parse_event("").map(|_| ()), Err(FormatError::NoName));
        assert_eq!(parse_event("name: x\nID: 70000\n").map(|_| ()), Err(FormatError::NoId));
        assert_eq!(
            parse_event("name: x\nID: 1\n\tfield:int y;\toffset:z;").map(|_| ()),
            Err(FormatError::BadField { line: 3 })
        );
        assert_eq!(
            parse_event("name: x\nID: 1\n\tfield:int y;\toffset:70000;\tsize:4;\tsigned:0;").map(|_| ()),
            Err(FormatError::BadField { line: 3 })
        );
    }

    #[test]
    fn fields_come_in_their_order_however_many() {
        let mut text = String::from("name: x\nID: 1\n");
        for index in 0..100 {
            text.push_str(&format!("\tfield:int f{index};\toffset:{index};\tsize:4;\tsigned:1;\n"));
        }
        let format = parse_event(&text).unwrap();
        let fields: Vec<_> = format.fields().map(|(name, field)| (name.to_string(), field.offset)).collect();
        assert_eq!(fields, (0..100).map(|index| (format!("f{index}"), index)).collect::<Vec<_>>());
    }

    #[test]
    fn header_pages_of_64_and_32_bit_kernels() {
        let text = "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n\tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;\n\tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;\n\tfield: char data;\toffset:16;\tsize:4080;\tsigned:0;\n";
        assert_eq!(parse_header_page(text), Ok(PageLayout::LONG64_4K));
        let text = text
            .replace("commit;\toffset:8;\tsize:8", "commit;\toffset:8;\tsize:4")
            .replace("offset:16;\tsize:4080", "offset:12;\tsize:4084");
        assert_eq!(
            parse_header_page(&text).map(|l| (l.long_size(), l.data_offset, l.subbuf_size())),
            Ok((4, 12, 4096))
        );
        assert_eq!(parse_header_page("nothing"), Err(FormatError::NoHeaderField("timestamp")));
    }
}
