// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The `formats` file: the kernel's own descriptions, one after the other, each behind a line `## PATH`.
//!
//! The text is kept as the kernel printed it, so that a later decoder finds fields that this one does not use.

use crate::error::{Error, Result};
use crate::format::{nr_place, parse_event, parse_header_page, parts, Contents, Part, Place, Schema};
use crate::ringbuf::PageLayout;
use crate::words::split_once;

/// Path of the page header's description below the tracefs instance.
pub const HEADER_PAGE: &str = "events/header_page";

/// Path of the record header's description. Nothing here needs it; other programs want it.
pub const HEADER_EVENT: &str = "events/header_event";

/// Where the descriptions of events lie that carry what arguments point at: the kernel's own, and our probes.
const CONTENTS: [&str; 2] = ["events/syscalls/sys_enter_", "events/ftrace_analyzer/"];

/// Largest `formats` file that is read, in bytes; the nine events of all kernels take 9 KB, those with strings 60.
const FORMATS_MAX: usize = 1 << 20;

/// An event that carries what arguments point at.
#[derive(Clone, Debug)]
pub struct ContentsEvent {
    id: u16,
    nr: Option<Place>,
    parts: Vec<Part>,
}

impl ContentsEvent {
    /// The number in its records' `common_type`.
    pub fn id(&self) -> u16 {
        self.id
    }

    /// Takes a record of it apart.
    pub fn contents<'a>(&'a self, data: &'a [u8]) -> Contents<'a> {
        Contents::new(self.nr, &self.parts, data)
    }
}

/// The file's text under construction or taken apart.
#[derive(Clone, Debug, Default)]
pub struct Formats {
    text: String,
}

impl Formats {
    /// From the file's bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Formats> {
        if bytes.len() > FORMATS_MAX {
            return Err(Error::limit(format!("the formats file has {} bytes", bytes.len()), FORMATS_MAX as u64));
        }
        let text = core::str::from_utf8(bytes)
            .map_err(|why| Error::malformed("the formats file is no text", Some(why.valid_up_to() as u64)))?;
        Ok(Formats { text: text.to_owned() })
    }

    /// Adds the text of `path` (relative to the instance).
    pub fn push(&mut self, path: &str, text: &str) {
        self.text.push_str("## ");
        self.text.push_str(path);
        self.text.push('\n');
        self.text.push_str(text);
        if !text.ends_with('\n') {
            self.text.push('\n');
        }
    }

    /// The file's text.
    pub fn as_bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// Path and text of each description; the marks stand at the start of a line.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut rest = self.text.strip_prefix("## ");
        core::iter::from_fn(move || loop {
            let text = rest?;
            let (part, behind) = split_once(text, "\n## ").map_or((text, None), |(part, behind)| (part, Some(behind)));
            rest = behind;
            if let Some(description) = part.split_once('\n') {
                return Some(description);
            }
        })
    }

    /// The text of `path`.
    pub fn get(&self, path: &str) -> Option<&str> {
        self.iter().find_map(|(of, text)| (of == path).then_some(text))
    }

    /// The page layout that `events/header_page` describes.
    pub fn layout(&self) -> Result<PageLayout> {
        let text = self.get(HEADER_PAGE).ok_or_else(|| Error::not_found(HEADER_PAGE))?;
        parse_header_page(text).map_err(|why| Error::malformed(format!("{HEADER_PAGE}: {why}"), None))
    }

    /// Where the fields of our events lie; an event whose text cannot be used is an error, for a call decoded with
    /// wrong offsets would look right.
    pub fn schema(&self) -> Result<Schema> {
        let mut schema = Schema::default();
        for (path, text) in self.iter().filter(|(path, _)| path.ends_with("/format")) {
            let format = parse_event(text).map_err(|why| Error::malformed(format!("{path}: {why}"), None))?;
            schema.add(&format).map_err(|why| Error::malformed(format!("{path}: {why}"), None))?;
        }
        if !schema.has_syscalls() {
            return Err(Error::not_found("the format of raw_syscalls:sys_enter and sys_exit"));
        }
        Ok(schema)
    }
}

impl Formats {
    /// The events that carry what arguments point at. One whose text cannot be used is left out: its calls show addresses.
    pub fn contents(&self) -> Vec<ContentsEvent> {
        let is_one = |path: &str| CONTENTS.iter().any(|below| path.starts_with(below));
        let mut events = Vec::new();
        for (_, text) in self.iter().filter(|(path, _)| is_one(path)) {
            let Ok(format) = parse_event(text) else { continue };
            let parts = parts(&format).collect();
            events.push(ContentsEvent { id: format.id, nr: nr_place(&format), parts });
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_are_told_apart_by_marks_at_the_start_of_a_line() {
        let mut formats = Formats::default();
        formats.push("events/a/format", "name: a\nprint fmt: \"## %d\", REC->x");
        formats.push("events/b/format", "name: b\n");
        let read = Formats::from_bytes(formats.as_bytes()).unwrap();
        let names: Vec<&str> = read.iter().map(|(path, _)| path).collect();
        assert_eq!(names, ["events/a/format", "events/b/format"]);
        assert!(read.iter().next().unwrap().1.ends_with("\"## %d\", REC->x"));
        assert_eq!(Formats::from_bytes(b"no mark").unwrap().iter().count(), 0);
    }
}
