// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `field:TYPE NAME; offset:N; size:N; signed:N;` lines to values. Any text gives a result or an error with its line.
//!
//! Source: kernel/trace/trace_events.c `f_show` (unchanged since 2.6.3x); kernel/trace/ring_buffer.c for header_page.

use crate::ringbuf::{LayoutError, PageLayout};

/// Fields kept per event. `sched_process_exit`, the largest of those we use, has 8; ones behind the 32nd are counted in
/// [`EventFormat::fields_dropped`].
pub const FIELDS_MAX: usize = 32;

/// How a field's bytes are to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The value itself (or an array of it) at the offset.
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
    pub offset: u16,
    /// Size of the field, for an array of the whole array.
    pub size: u16,
    /// Whether the kernel says the value is signed.
    pub signed: bool,
    /// Plain or located elsewhere in the record.
    pub kind: Kind,
}

/// An event's format: its name, number and fields. Borrows from the text.
#[derive(Clone, Debug)]
pub struct EventFormat<'a> {
    /// The event's name, e.g. `sys_enter`.
    pub name: &'a str,
    /// The number in `common_type` of its records.
    pub id: u16,
    /// Name and place of each field, common fields first.
    pub fields: heapless::Vec<(&'a str, Field), FIELDS_MAX>,
    /// How many fields did not fit into [`FIELDS_MAX`].
    pub fields_dropped: u16,
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
        self.fields.iter().find(|(have, _)| *have == name).map(|(_, field)| *field)
    }
}

/// The value behind `key:` among the `;`-separated parts of a line.
fn part<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.split(';').find_map(|part| part.trim().strip_prefix(key)?.strip_prefix(':')).map(str::trim)
}

/// One `field:` line: name, offset, size, signed, kind.
fn parse_field(line: &str) -> Option<(&str, u32, u32, bool, Kind)> {
    let declaration = part(line, "field")?;
    let offset = part(line, "offset")?.parse().ok()?;
    let size = part(line, "size")?.parse().ok()?;
    // Missing on kernels before 2.6.33 only, but nothing depends on it there.
    let signed = part(line, "signed").is_some_and(|value| value != "0");
    let kind = match declaration {
        d if d.starts_with("__data_loc") => Kind::DataLoc,
        d if d.starts_with("__rel_loc") => Kind::RelLoc,
        _ => Kind::Plain,
    };
    // The name is the last word; an array's brackets stand behind it (`args[6]`) or, located, before it (`char[] file`).
    let last = declaration.rsplit([' ', '\t', '*']).next()?;
    let name = last.split('[').next()?;
    if name.is_empty() {
        return None;
    }
    Some((name, offset, size, signed, kind))
}

/// Takes the text of one `events/*/*/format` apart.
pub fn parse_event(text: &str) -> Result<EventFormat<'_>, FormatError> {
    let mut name = None;
    let mut id = None;
    let mut fields = heapless::Vec::new();
    let mut fields_dropped = 0u16;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(value) = line.strip_prefix("name:") {
            name = name.or(Some(value.trim()));
        } else if let Some(value) = line.strip_prefix("ID:") {
            id = id.or(value.trim().parse::<u16>().ok());
        } else if line.starts_with("field:") {
            let bad = FormatError::BadField { line: index + 1 };
            let (name, offset, size, signed, kind) = parse_field(line).ok_or(bad)?;
            let (Ok(offset), Ok(size)) = (u16::try_from(offset), u16::try_from(size)) else { return Err(bad) };
            if fields.push((name, Field { offset, size, signed, kind })).is_err() {
                fields_dropped = fields_dropped.saturating_add(1);
            }
        }
    }
    Ok(EventFormat { name: name.ok_or(FormatError::NoName)?, id: id.ok_or(FormatError::NoId)?, fields, fields_dropped })
}

/// Takes the text of `events/header_page` apart.
pub fn parse_header_page(text: &str) -> Result<PageLayout, FormatError> {
    let mut timestamp = None;
    let mut commit = None;
    let mut data = None;
    for (index, line) in text.lines().enumerate() {
        if !line.trim_start().starts_with("field:") {
            continue;
        }
        let (name, offset, size, _, _) = parse_field(line).ok_or(FormatError::BadField { line: index + 1 })?;
        match name {
            "timestamp" => timestamp = timestamp.or(Some((offset, size))),
            "commit" => commit = commit.or(Some((offset, size))),
            // `overwrite` shares the commit word's bytes and tells nothing.
            "data" => data = data.or(Some((offset, size))),
            _ => {}
        }
    }
    match timestamp {
        Some((0, 8)) => {}
        Some(_) => return Err(FormatError::Layout(LayoutError::Offsets)),
        None => return Err(FormatError::NoHeaderField("timestamp")),
    }
    let (commit_offset, commit_size) = commit.ok_or(FormatError::NoHeaderField("commit"))?;
    let (data_offset, data_size) = data.ok_or(FormatError::NoHeaderField("data"))?;
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
    fn fields_beyond_the_limit_are_counted() {
        let mut text = String::from("name: x\nID: 1\n");
        for index in 0..FIELDS_MAX + 1 {
            text.push_str(&format!("\tfield:int f{index};\toffset:{index};\tsize:4;\tsigned:1;\n"));
        }
        let format = parse_event(&text).unwrap();
        assert_eq!((format.fields.len(), format.fields_dropped), (FIELDS_MAX, 1));
        let fits = &text[..text.rfind("\tfield").unwrap()];
        assert_eq!(parse_event(fits).unwrap().fields_dropped, 0);
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
