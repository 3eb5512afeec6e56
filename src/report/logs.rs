// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Log files of programs, put among a recording's calls by the times that their lines bear.
//!
//! Three forms, told apart by the first line that has a time: CRI (`TIME stdout F text`, long lines in parts marked `P`;
//! kubernetes/design-proposals kubelet-cri-logging), Docker's json-file (`{"log":"text\n","stream":"stdout","time":…}`, a
//! part has no `\n`), and lines that begin with an RFC 3339 time. Files are read once, in their own order, a line at a
//! time: a line that is older than the one before stands behind that.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use super::time::rfc3339_prefix;
use super::{Options, Printer, Tally};
use crate::calls::{Call, Lines, Note, Texts};
use crate::error::{Error, Result};
use crate::ids::Timestamp;
use crate::record::{self, record};
use crate::recording::{open_for_reading, Clock, Meta, Recording};

/// Longest line that is kept, bytes: Docker's parts of 16 KiB with every character escaped, and more.
const LINE_MAX: usize = 256 << 10;

/// Bytes that are read at once.
const READ_MAX: usize = 64 << 10;

/// Lines that are looked at for one with a time.
const DETECT_MAX: usize = 1000;

/// A line of a log.
pub(crate) struct LogLine<'a> {
    /// Its place among the calls, trace clock.
    pub ts: Timestamp,
    /// The time it bears, nanoseconds since 1970.
    pub real: u64,
    /// `stdout` or `stderr`; empty where the log does not say.
    pub stream: &'static str,
    /// Without the line's end.
    pub text: &'a [u8],
    /// The file as it was given; empty for what a recording itself holds.
    pub file: &'a Path,
}

/// What became of a file's lines.
#[derive(Debug, Default)]
pub(crate) struct LogCount {
    /// The file as it was given.
    pub file: PathBuf,
    /// Shown.
    pub shown: u64,
    /// Outside of the recording's time, or of `--since` and `--until`.
    pub outside: u64,
    /// Without a time of their own, put behind the line before.
    pub untimed: u64,
    /// Longer than [`LINE_MAX`]; the rest is left out.
    pub cut: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Cri,
    Docker,
    Plain,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stream {
    #[default]
    Unknown,
    Out,
    Err,
}

impl Stream {
    fn from_name(name: &[u8]) -> Option<Stream> {
        match name {
            b"stdout" => Some(Stream::Out),
            b"stderr" => Some(Stream::Err),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Stream::Unknown => "",
            Stream::Out => "stdout",
            Stream::Err => "stderr",
        }
    }
}

/// A line of Docker's.
#[derive(Default)]
struct DockerLine {
    log: String,
    stream: String,
    time: String,
}

record!(DockerLine { log: Text, stream: Text, time: Text });

/// What a line says.
#[derive(Default)]
struct Said {
    /// Nanoseconds since 1970.
    real: u64,
    stream: Stream,
    text: Vec<u8>,
    /// More of it follows in another line.
    partial: bool,
}

fn parse(format: Format, line: &[u8]) -> Option<Said> {
    if format == Format::Docker {
        let mut docker = DockerLine::default();
        record::read(line, "a log line", &mut docker).ok()?;
        let (real, _) = rfc3339_prefix(docker.time.as_bytes(), None)?;
        let mut text = docker.log.into_bytes();
        let partial = text.last() != Some(&b'\n');
        text.truncate(text.len() - usize::from(!partial));
        return Some(Said {
            real,
            stream: Stream::from_name(docker.stream.as_bytes()).unwrap_or_default(),
            text,
            partial,
        });
    }
    let (real, rest) = rfc3339_prefix(line, None)?;
    let rest = rest.strip_prefix(b" ").unwrap_or(rest);
    if format == Format::Plain {
        return Some(Said { real, text: rest.to_vec(), ..Said::default() });
    }
    let (stream, rest) = (rest.get(..6)?, rest.get(6..)?);
    let (tag, text) = rest.strip_prefix(b" ")?.split_first()?;
    // Tags may be more than one, `P:TAG`; a message may be empty.
    let text = match text.iter().position(|byte| *byte == b' ') {
        Some(0) => text.get(1..)?,
        Some(at) if text.first() == Some(&b':') => text.get(at + 1..)?,
        None if text.is_empty() => text,
        _ => return None,
    };
    let stream = Stream::from_name(stream)?;
    matches!(tag, b'F' | b'P').then(|| Said { real, stream, text: text.to_vec(), partial: *tag == b'P' })
}

/// A file that is being read.
struct Log {
    from: File,
    /// What was read and not looked at yet lies from `at` on.
    waiting: Vec<u8>,
    at: usize,
    /// Not known before the first line that has a time.
    format: Option<Format>,
    /// Lines without a time before that.
    unknown: usize,
    count: LogCount,
    /// The next line to be shown, and its place among the calls.
    next: Option<(Timestamp, Said)>,
    /// The time so far, nanoseconds since 1970.
    so_far: u64,
    /// The stream of the line before.
    stream: Stream,
    /// What there is of a line that is partial so far: of standard output and standard error.
    parts: [Said; 2],
}

impl Log {
    fn open(path: &Path) -> Result<Log> {
        Ok(Log {
            from: open_for_reading(path, OFlag::empty())?,
            waiting: Vec::new(),
            at: 0,
            format: None,
            unknown: 0,
            count: LogCount { file: path.to_owned(), ..LogCount::default() },
            next: None,
            so_far: 0,
            stream: Stream::Unknown,
            parts: Default::default(),
        })
    }

    /// Reads a line without its end; false at the end of the file. What is too long is passed over and counted.
    fn read_line(&mut self, line: &mut Vec<u8>) -> Result<bool> {
        line.clear();
        let mut length = 0usize;
        loop {
            let Some(byte) = self.waiting.get(self.at) else {
                self.waiting.resize(READ_MAX, 0);
                self.at = 0;
                let got = self.from.read(&mut self.waiting).map_err(|why| Error::io("read", &self.count.file, why))?;
                self.waiting.truncate(got);
                if got == 0 && length == 0 {
                    return Ok(false);
                }
                if got == 0 {
                    break;
                }
                continue;
            };
            self.at += 1;
            length += 1;
            if *byte == b'\n' {
                break;
            }
            if line.len() < LINE_MAX {
                line.push(*byte);
            } else if length == LINE_MAX + 1 {
                self.count.cut += 1;
            }
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(true)
    }

    /// What a line says; the first that says something tells the format.
    fn parse(&mut self, line: &[u8]) -> Result<Option<Said>> {
        for format in [Format::Docker, Format::Cri, Format::Plain] {
            if self.format.map_or(true, |known| known == format) {
                if let Some(said) = parse(format, line) {
                    self.format = Some(format);
                    return Ok(Some(said));
                }
            }
        }
        self.unknown += 1;
        if self.format.is_none() && self.unknown == DETECT_MAX {
            return Err(self.no_log());
        }
        Ok(None)
    }

    fn no_log(&self) -> Error {
        Error::malformed(self.count.file.display().to_string() + ": none of its first lines has a time, so it", None)
            .hint("logs are CRI's, Docker's json-file, or lines that begin like 2025-11-23T09:24:53.5Z")
    }

    /// Joins the parts of a line; `None` while there are more to come.
    fn join(&mut self, said: Said) -> Option<Said> {
        let slot = self.parts.get_mut(usize::from(said.stream == Stream::Err))?;
        let partial = said.partial;
        if !slot.partial {
            *slot = said;
        } else if slot.text.len() + said.text.len() <= LINE_MAX {
            slot.text.extend_from_slice(&said.text);
        } else if !partial {
            self.count.cut += 1;
        }
        slot.partial = partial;
        (!partial).then(|| core::mem::take(slot))
    }

    /// Reads on until there is a line to be shown.
    fn advance(&mut self, clock: &Clock) -> Result<()> {
        let mut line = Vec::new();
        self.next = None;
        loop {
            let said = if self.read_line(&mut line)? {
                match self.parse(&line)? {
                    Some(said) => {
                        self.stream = said.stream;
                        match self.join(said) {
                            Some(whole) => whole,
                            None => continue,
                        }
                    }
                    None if line.is_empty() || self.format.is_none() => continue,
                    // A message of several lines has its time in the first.
                    None => {
                        self.count.untimed += 1;
                        Said {
                            real: self.so_far,
                            stream: self.stream,
                            text: core::mem::take(&mut line),
                            partial: false,
                        }
                    }
                }
            } else {
                // What was never ended.
                match self.parts.iter_mut().find(|part| part.partial).map(core::mem::take) {
                    Some(rest) => rest,
                    // An empty log is one.
                    None if self.unknown > 0 && self.format.is_none() => return Err(self.no_log()),
                    None => return Ok(()),
                }
            };
            self.so_far = self.so_far.max(said.real);
            self.next = Some((clock.trace_time(self.so_far), said));
            return Ok(());
        }
    }
}

/// A printer with logs merged into what it prints.
struct Merged<'a> {
    printer: Box<dyn Printer<'a> + 'a>,
    logs: Vec<Log>,
    clock: Clock,
    /// When the recording begins.
    start: Timestamp,
    /// How far it goes as far as is known.
    end: Timestamp,
    /// When the next line of the logs is due.
    due: Timestamp,
    failed: Option<Error>,
}

/// `printer` with the logs that the options name.
pub(crate) fn merge<'a>(
    printer: Box<dyn Printer<'a> + 'a>,
    recording: &Recording,
    options: &Options,
) -> Result<Box<dyn Printer<'a> + 'a>> {
    if options.logs.is_empty() {
        return Ok(printer);
    }
    let mut logs = Vec::new();
    for path in &options.logs {
        logs.push(Log::open(path)?);
    }
    let mut merged = Merged::new(printer, logs, &recording.meta);
    match merged.failed.take() {
        Some(why) => Err(why),
        None => Ok(Box::new(merged)),
    }
}

impl<'a> Merged<'a> {
    fn new(printer: Box<dyn Printer<'a> + 'a>, logs: Vec<Log>, meta: &Meta) -> Merged<'a> {
        let time = |at: Option<&crate::recording::Anchor>| at.map_or(0, |anchor| anchor.trace_ns);
        let (start, end) = (time(meta.anchors.first()), time(meta.anchors.last()));
        let mut merged = Merged { printer, logs, clock: Clock::new(meta), start, end, due: 0, failed: None };
        for at in 0..merged.logs.len() {
            merged.advance(at);
        }
        merged.set_due();
        merged
    }

    fn advance(&mut self, at: usize) {
        if let Some(log) = self.logs.get_mut(at) {
            if let Err(why) = log.advance(&self.clock) {
                self.failed = Some(why);
            }
        }
    }

    fn set_due(&mut self) {
        self.due = self.logs.iter().filter_map(|log| Some(log.next.as_ref()?.0)).min().unwrap_or(Timestamp::MAX);
    }

    /// Shows the lines up to a time, in their order over all files.
    #[inline]
    fn up_to(&mut self, ts: Timestamp) {
        if self.due <= ts {
            self.show_up_to(ts);
        }
        self.end = self.end.max(ts);
    }

    #[cold]
    fn show_up_to(&mut self, until: Timestamp) {
        while self.due <= until && self.due < Timestamp::MAX {
            let due = self.due;
            let found = self.logs.iter().position(|log| log.next.as_ref().is_some_and(|(ts, _)| *ts == due));
            let Some(at) = found else { return };
            let in_recording = (self.start..=until).contains(&due);
            if let Some(log) = self.logs.get_mut(at) {
                if let Some((ts, said)) = log.next.take() {
                    let Said { real, stream, text, .. } = &said;
                    let line = LogLine { ts, real: *real, stream: stream.name(), text, file: &log.count.file };
                    if in_recording && self.printer.log(&line) {
                        log.count.shown += 1;
                    } else {
                        log.count.outside += 1;
                    }
                }
            }
            self.advance(at);
            self.set_due();
        }
    }
}

impl Lines for Merged<'_> {
    fn call(&mut self, call: &Call, texts: &Texts) {
        self.up_to(call.entered);
        self.printer.call(call, texts);
    }
    fn unfinished(&mut self, call: &Call, texts: &Texts) {
        self.up_to(call.entered);
        self.printer.unfinished(call, texts);
    }
    fn resumed(&mut self, call: &Call, texts: &Texts) {
        self.up_to(call.ended);
        self.printer.resumed(call, texts);
    }
    fn note(&mut self, note: &Note) {
        self.up_to(note.ts);
        self.printer.note(note);
    }
    fn closed(&self) -> bool {
        self.printer.closed()
    }
}

impl<'a> Printer<'a> for Merged<'a> {
    fn tally(&self) -> Tally {
        self.printer.tally()
    }
    fn out(&mut self) -> &mut super::out::Out<'a> {
        self.printer.out()
    }
    fn log(&mut self, line: &LogLine<'_>) -> bool {
        self.up_to(line.ts);
        self.printer.log(line)
    }
    fn end_logs(&mut self) -> Result<Vec<LogCount>> {
        if self.closed() {
            return Ok(Vec::new());
        }
        self.show_up_to(self.end);
        // What follows is none of the recording's, and counted.
        self.start = Timestamp::MAX;
        self.show_up_to(Timestamp::MAX);
        match self.failed.take() {
            Some(why) => Err(why),
            None => Ok(self.logs.iter_mut().map(|log| core::mem::take(&mut log.count)).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: u64 = 1_475_713_029_669_794_202;

    fn said(format: Format, line: &str) -> Option<(u64, String, String, bool)> {
        let said = parse(format, line.as_bytes())?;
        Some((said.real, said.stream.name().to_owned(), String::from_utf8(said.text).unwrap(), said.partial))
    }

    #[test]
    fn lines_are_read_as_their_writers_wrote_them() {
        let whole = |stream: &str, text: &str| Some((TIME, stream.to_owned(), text.to_owned(), false));
        let part = |stream: &str, text: &str| Some((TIME, stream.to_owned(), text.to_owned(), true));
        for (line, expected) in [
            ("2016-10-06T00:17:09.669794202Z stdout F The content", whole("stdout", "The content")),
            ("2016-10-06T02:17:09.669794202+02:00 stderr P  part ", part("stderr", " part ")),
            ("2016-10-06T00:17:09.669794202Z stdout F:TAG:x text", whole("stdout", "text")),
            ("2016-10-06T00:17:09.669794202Z stdout F ", whole("stdout", "")),
            ("2016-10-06T00:17:09.669794202Z stdout F", whole("stdout", "")),
            ("2016-10-06T00:17:09.669794202Z stdout Full", None),
            ("2016-10-06T00:17:09.669794202Z stdin F text", None),
            ("2016-10-06T00:17:09.669794202Z std", None),
            ("text", None),
            ("", None),
        ] {
            assert_eq!(said(Format::Cri, line), expected, "{line}");
        }
        for (line, expected) in [
            ("2016-10-06T00:17:09.669794202Z text  more", whole("", "text  more")),
            ("2016-10-05 19:47:09.669794202-04:30 text", whole("", "text")),
            ("2016-10-06t00:17:09.669794202z", whole("", "")),
            // Without a zone it is no RFC 3339 time, and nobody knows which one it is.
            ("2016-10-06T00:17:09.669794202 text", None),
            ("Oct  6 00:17:09 host text", None),
        ] {
            assert_eq!(said(Format::Plain, line), expected, "{line}");
        }
        let docker = |log: &str| {
            format!("{{\"log\":\"{log}\",\"stream\":\"stderr\",\"time\":\"2016-10-06T00:17:09.669794202Z\"}}")
        };
        assert_eq!(said(Format::Docker, &docker("a \\\"b\\\"\\u003c\\n")), whole("stderr", "a \"b\"<"));
        assert_eq!(said(Format::Docker, &docker("a part")), part("stderr", "a part"));
        assert_eq!(said(Format::Docker, "{\"log\":\"x\\n\"}"), None);
        assert_eq!(said(Format::Docker, &docker("x")[1..]), None);
    }

    #[test]
    fn a_line_at_the_limit_is_whole_and_the_next_longer_one_is_cut_and_counted() {
        let path = std::env::temp_dir().join(format!("ftrace-analyzer-log-{}", std::process::id()));
        for (length, cut) in [(LINE_MAX, 0), (LINE_MAX + 1, 1), (3 * LINE_MAX, 1)] {
            let mut text = vec![b'x'; length];
            text.extend_from_slice(b"\nnext\n");
            std::fs::write(&path, text).unwrap();
            let mut log = Log::open(&path).unwrap();
            let mut line = Vec::new();
            assert!(log.read_line(&mut line).unwrap());
            assert_eq!((line.len(), log.count.cut), (length.min(LINE_MAX), cut));
            assert!(log.read_line(&mut line).unwrap());
            assert_eq!((line.as_slice(), log.count.cut), (&b"next"[..], cut));
            assert!(!log.read_line(&mut line).unwrap());
        }
        std::fs::remove_file(path).unwrap();
    }
}
