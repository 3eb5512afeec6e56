// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What programs wrote to standard output and error, as lines of a log: of recordings that hold buffers (`--data`).
//!
//! What counts is what the container's first descriptors 1 and 2 stood for at the start, also where a program has copied
//! them to other numbers; where that is not known, the number. A line is put together from the writes of one task, and
//! stands behind the call that ended it.

use std::path::Path;

use super::logs::{LogCount, LogLine};
use super::{Options, Printer, Tally};
use crate::calls::{Call, End, Lines, Note, Text, Texts, What};
use crate::error::Result;
use crate::ids::{Pid, Timestamp};
use crate::recording::{Clock, Meta};
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

    /// The stream of the call that a task was in, if that waited; it does no more.
    #[inline(never)]
    fn waited(&mut self, pid: Pid) -> Option<usize> {
        let at = self.waiting.iter().position(|(of, _)| *of == pid)?;
        Some(self.waiting.swap_remove(at).1)
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
        self.waited(call.pid);
        if let Some(stream) = self.stream(call, texts).filter(|_| self.waiting.len() < OPEN_MAX) {
            self.waiting.push((call.pid, stream));
        }
    }
    fn resumed(&mut self, call: &Call, texts: &Texts) {
        self.printer.resumed(call, texts);
        let waiting = self.waited(call.pid);
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

#[cfg(test)]
mod tests {
    use super::super::text::Text as TextLines;
    use super::*;
    use crate::arch::Abi;
    use crate::calls::Cause;
    use crate::recording::{InitialTask, OpenFile};
    use crate::syscalls::number;
    use crate::tasks::Comm;

    /// A call of task 7 and the descriptor's target.
    struct Write(&'static str, u64, &'static [u8], &'static [u8], u64, i64);

    fn meta(streams: [&str; 2]) -> Meta {
        let fds = (1..).zip(streams).map(|(fd, path)| OpenFile { fd, path: path.to_owned() }).collect();
        let mut meta = Meta { init_pid: 7, ..Meta::default() };
        meta.options.data = 8;
        meta.tasks.push(InitialTask { tid: 7, tgid: 7, fds, ..InitialTask::default() });
        meta
    }

    fn call(name: &str, fd: u64, count: u64, ret: i64) -> Call {
        Call {
            entered: 5,
            ended: 6,
            ret,
            args: [fd, 16, count, 0, 0, 0],
            nr: number(Abi::X86_64, name).unwrap(),
            pid: 7,
            tgid: 7,
            comm: Comm::default(),
            abi: Abi::X86_64,
            end: End::Returned,
            uncertain: false,
            runtime: false,
        }
    }

    /// The lines of a log that come of these calls.
    fn lines(meta: &Meta, writes: &[Write], is_lost: bool) -> Vec<String> {
        let options = Options::default();
        let mut out = Vec::new();
        let mut printer = with_lines(Box::new(TextLines::new(meta, &options, &mut out)), meta, &options);
        let mut note = |what: What| {
            let (ts, pid, tgid, comm, runtime) = (9, 7, 7, Comm::default(), false);
            printer.note(&Note { ts, pid, tgid, comm, runtime, what });
        };
        if is_lost {
            note(What::Lost { cpu: 0, from: 0, to: 1, count: None });
        }
        for Write(name, fd, target, bytes, count, ret) in writes {
            let mut texts = Texts::default();
            if !target.is_empty() {
                texts.push(0, Text::Target(target));
            }
            texts.push(1, Text::Data(bytes));
            printer.call(&call(name, *fd, *count, *ret), &texts);
        }
        printer.note(&Note {
            ts: 9,
            pid: 7,
            tgid: 7,
            comm: Comm::default(),
            runtime: false,
            what: What::Exit(Cause::Exited(0)),
        });
        printer.end_logs().unwrap();
        printer.out().finish().unwrap();
        drop(printer);
        let text = String::from_utf8(out).unwrap();
        let logs = text.lines().filter(|line| line.starts_with("== "));
        logs.map(|line| line.splitn(3, ' ').nth(2).unwrap().to_owned()).collect()
    }

    const OUT: &[u8] = b"pipe:[1]";
    const ERR: &[u8] = b"pipe:[2]";

    #[test]
    fn lines_are_put_together_from_writes_and_cut_where_more_was_written() {
        let meta = meta(["pipe:[1]", "pipe:[2]"]);
        let writes = [
            Write("write", 1, OUT, b"one\ntwo ", 8, 8),
            Write("write", 2, ERR, b"else\r\n", 6, 6),
            Write("write", 1, OUT, b"halves\n...", 7, 7),
            // What was not written, or failed, is no output; what was written and not recorded is missing.
            Write("write", 1, OUT, b"short\n", 6, 5),
            Write("write", 1, OUT, b"failed\n", 7, -9),
            Write("write", 1, OUT, b"\n01234567", 100, 100),
            Write("write", 1, OUT, b"no end", 6, 6),
        ];
        let expected = [
            "stdout: one",
            "stderr: else",
            "stdout: two halves",
            "stdout: short",
            "stdout: 01234567...",
            "stdout: no end",
        ];
        assert_eq!(lines(&meta, &writes, false), expected);
    }

    #[test]
    fn what_is_standard_output_is_known_by_what_it_was_at_the_start() {
        let writes = [
            Write("write", 1, OUT, b"a\n", 2, 2),
            Write("write", 7, ERR, b"b\n", 2, 2),
            // Another pipe, a file, another call.
            Write("write", 1, b"", b"c\n", 2, 2),
            Write("write", 1, b"/tmp/x", b"d\n", 2, 2),
            Write("sendto", 1, OUT, b"e\n", 2, 2),
        ];
        let both = meta(["pipe:[1]", "pipe:[2]"]);
        assert_eq!(lines(&both, &writes, false), ["stdout: a", "stderr: b"]);
        // Behind a loss descriptors are not known.
        assert_eq!(lines(&both, &writes, true), ["stdout: a", "stderr: b", "stdout: c"]);
        // A terminal comes later, and is both.
        let terminal = [Write("write", 2, b"/dev/pts/0", b"f\n", 2, 2), Write("write", 1, b"/tmp/x", b"g\n", 2, 2)];
        assert_eq!(lines(&meta(["/dev/null", "/dev/null"]), &terminal, false), ["stderr: f"]);
        assert!(lines(&Meta::default(), &writes, false).is_empty(), "a recording without buffers");
    }
}
