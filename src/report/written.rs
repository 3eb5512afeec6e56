// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What programs wrote to standard output and error, as lines of a log: of recordings that hold buffers (`--data`).
//!
//! What counts is what the container's first descriptors 1 and 2 stood for at the start, also where a program has copied
//! them to other numbers; where that is not known, the number. A line is put together from the writes of one task, and
//! stands behind the call that ended it.

use std::path::Path;

use super::logs::{LogCount, LogLine};
use super::time::Clock;
use super::{Options, Printer, Tally};
use crate::calls::{Call, End, Lines, Note, Text, Texts, What};
use crate::error::Result;
use crate::ids::{Pid, Timestamp};
use crate::recording::Meta;
use crate::syscalls;

/// Most lines that are not ended yet, each of another task or stream: more than tasks that write half lines at a time.
const OPEN_MAX: usize = 64;
/// Longest line that is put together, bytes.
const LINE_MAX: usize = 16 << 10;

const NAMES: [&str; 2] = ["stdout", "stderr"];

/// A line that has not ended.
struct Open {
    pid: Pid,
    stream: usize,
    ts: Timestamp,
    text: Vec<u8>,
}

/// A printer that gets such lines besides.
struct Written<'a> {
    printer: Box<dyn Printer<'a> + 'a>,
    clock: Clock,
    with_runtime: bool,
    /// What standard output and error stood for at the start; empty where that says nothing.
    streams: [String; 2],
    /// Events were lost: descriptors are not known any more.
    lost: bool,
    open: Vec<Open>,
    /// Of tasks in a call whose end was not there when it was told, which stream it writes to.
    waiting: Vec<(Pid, usize)>,
}

/// `printer` with lines of what was written, where the recording has that.
pub(crate) fn with_lines<'a>(
    printer: Box<dyn Printer<'a> + 'a>,
    meta: &Meta,
    options: &Options,
) -> Box<dyn Printer<'a> + 'a> {
    if meta.options.data == 0 {
        return printer;
    }
    let first = meta.tasks.iter().find(|task| task.tid == meta.init_pid);
    let target = |fd| {
        let open = first.and_then(|task| task.fds.iter().find(|open| open.fd == fd));
        // A runtime gives the terminal later.
        open.map(|open| open.path.clone()).filter(|path| path != "/dev/null").unwrap_or_default()
    };
    Box::new(Written {
        printer,
        clock: Clock::new(meta),
        with_runtime: options.filter.with_runtime,
        streams: [target(1), target(2)],
        lost: false,
        open: Vec::new(),
        waiting: Vec::new(),
    })
}

/// What a call wrote, and whether there was more; nothing if it is not known.
fn written(call: &Call, texts: &Texts) -> Option<(Vec<u8>, bool)> {
    let mut bytes = Vec::new();
    let mut asked = 0;
    for text in texts.of(1) {
        let (piece, length) = match text {
            Text::Data(data) => (data, call.args.get(2).copied()?),
            Text::Piece { bytes, length, filled: false, .. } => (bytes, length),
            _ => continue,
        };
        // Nothing behind a gap.
        if bytes.len() as u64 == asked {
            bytes.extend_from_slice(piece.get(..usize::try_from(length).unwrap_or(usize::MAX)).unwrap_or(piece));
        }
        asked = asked.saturating_add(length);
    }
    if asked == 0 || !matches!(syscalls::name(call.abi, call.nr), Some("write" | "writev")) {
        return None;
    }
    let count = match call.end {
        End::Returned => u64::try_from(call.ret).ok()?,
        _ => asked,
    };
    bytes.truncate(usize::try_from(count).unwrap_or(usize::MAX));
    let cut = (bytes.len() as u64) < count;
    Some((bytes, cut))
}

impl Written<'_> {
    /// Which stream the call wrote to.
    fn stream(&self, call: &Call, texts: &Texts) -> Option<usize> {
        let by_number = match call.args.first().map(|fd| *fd as u32) {
            Some(1) => Some(0),
            Some(2) => Some(1),
            _ => None,
        };
        let target = texts.of(0).find_map(|text| match text {
            Text::Target(path) => Some(path),
            _ => None,
        });
        let is = |stream: &usize| self.streams.get(*stream).map(String::as_bytes) == target;
        match target {
            None if self.lost || self.streams.iter().all(String::is_empty) => by_number,
            None => None,
            Some(_) => by_number.filter(is).or_else(|| (0..2).find(is)).or_else(|| {
                let terminal = |path: &&[u8]| {
                    [&b"/dev/pts/"[..], b"/dev/tty", b"/dev/console"].iter().any(|dev| path.starts_with(dev))
                };
                let unknown = self.streams.iter().any(String::is_empty) && target.filter(terminal).is_some();
                by_number.filter(|_| unknown)
            }),
        }
    }

    fn told(&mut self, ts: Timestamp, stream: usize, text: &[u8]) {
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let stream = NAMES.get(stream).copied().unwrap_or_default();
        self.printer.log(&LogLine { ts, real: self.clock.realtime(ts), stream, text, file: Path::new("") });
    }

    fn add(&mut self, call: &Call, texts: &Texts, waiting: Option<usize>) {
        if texts.is_empty() || (call.runtime && !self.with_runtime) {
            return;
        }
        let Some((bytes, cut)) = written(call, texts) else { return };
        let (pid, ts) = (call.pid, call.entered);
        let Some(stream) = waiting.or_else(|| self.stream(call, texts)) else { return };
        let known = self.open.iter().position(|open| (open.pid, open.stream) == (pid, stream));
        let mut text = known.map_or_else(Vec::new, |at| self.open.remove(at).text);
        text.extend_from_slice(&bytes);
        let mut rest = text.as_slice();
        while let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, behind) = rest.split_at(at);
            self.told(ts, stream, line);
            rest = behind.get(1..).unwrap_or_default();
        }
        if cut {
            self.told(ts, stream, &[rest, b"..."].concat());
        } else if rest.len() > LINE_MAX {
            self.told(ts, stream, rest);
        } else if !rest.is_empty() {
            if self.open.len() >= OPEN_MAX {
                let oldest = self.open.remove(0);
                self.told(ts, oldest.stream, &oldest.text);
            }
            self.open.push(Open { pid, stream, ts, text: rest.to_vec() });
        }
    }

    /// Tells what the task (0: all of them) has not ended.
    fn end(&mut self, pid: Pid, ts: Timestamp) {
        while let Some(at) = self.open.iter().position(|open| pid == 0 || open.pid == pid) {
            let open = self.open.remove(at);
            self.told(ts.max(open.ts), open.stream, &open.text);
        }
    }
}

impl Lines for Written<'_> {
    fn call(&mut self, call: &Call, texts: &Texts) {
        self.printer.call(call, texts);
        self.add(call, texts, None);
    }
    fn unfinished(&mut self, call: &Call, texts: &Texts) {
        self.printer.unfinished(call, texts);
        self.add(call, texts, None);
        // By its end nothing may be known of its descriptor but the number.
        self.waiting.retain(|(of, _)| *of != call.pid);
        if let Some(stream) = self.stream(call, texts).filter(|_| self.waiting.len() < OPEN_MAX) {
            self.waiting.push((call.pid, stream));
        }
    }
    fn resumed(&mut self, call: &Call, texts: &Texts) {
        self.printer.resumed(call, texts);
        let waiting = self.waiting.iter().position(|(of, _)| *of == call.pid).map(|at| self.waiting.swap_remove(at).1);
        self.add(call, texts, waiting);
    }
    fn note(&mut self, note: &Note) {
        match note.what {
            What::Exit(_) => self.end(note.pid, note.ts),
            What::Lost { .. } | What::Damaged { .. } => self.lost = true,
            _ => {}
        }
        self.printer.note(note);
    }
    fn closed(&self) -> bool {
        self.printer.closed()
    }
}

impl<'a> Printer<'a> for Written<'a> {
    fn tally(&self) -> Tally {
        self.printer.tally()
    }
    fn out(&mut self) -> &mut super::out::Out<'a> {
        self.printer.out()
    }
    fn log(&mut self, line: &LogLine<'_>) -> bool {
        self.printer.log(line)
    }
    fn end_logs(&mut self) -> Result<Vec<LogCount>> {
        self.end(0, 0);
        self.printer.end_logs()
    }
}
