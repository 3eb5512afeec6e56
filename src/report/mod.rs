// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A recording as text, as a summary, as JSON: what every report has in common.
//!
//! Reports read recordings and nothing else. Each reads the whole recording, whatever is filtered, so that what was decoded
//! can be held against what the kernel says it wrote; [`Outcome`] carries the result to the exit code.

mod args;
mod counts;
mod filter;
mod footer;
mod histogram;
mod json;
mod live;
mod logs;
mod out;
mod perfetto;
mod protobuf;
mod sockaddr;
mod summary;
mod text;
mod time;
mod trace_dat;
mod tracks;
mod values;
mod written;

use std::io::Write;
use std::path::PathBuf;

pub use filter::Filter;
pub use live::Live;
pub use time::{parse_duration, parse_time};

use self::logs::{LogCount, LogLine};
use crate::calls::{Call, Lines, Note, Order, Prepass, Steps, Texts, Tracker};
use crate::error::{Error, Result};
use crate::ids::Timestamp;
use crate::recording::{Conservation, Counts, EndState, Recording, Tail};
use crate::tasks::Abis;

/// How a report is made.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What is shown.
    pub filter: Filter,
    /// Zone of the times of day: seconds east of Greenwich.
    pub utc_offset_s: i32,
    /// For people: whether text ends with what was decoded and lost.
    pub footer: bool,
    /// Whether text has the terminal's colours.
    pub colour: bool,
    /// Logs whose lines are put among the calls.
    pub logs: Vec<PathBuf>,
}

/// What a report found, for the exit code and for those who ask whether it is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What was decoded and lost against what the kernel wrote.
    pub conservation: Conservation,
    /// The decoder's counts.
    pub counts: Counts,
    /// How the recording ended.
    pub end: EndState,
    /// In a flight recording what was overwritten is no loss.
    pub flight: bool,
    /// Calls and other lines shown.
    pub shown: u64,
    /// Calls that the filter kept back.
    pub hidden: u64,
    /// Calls of the container runtime's set-up that were left out.
    pub runtime: u64,
    /// The container's program was never executed.
    pub never_started: bool,
    /// Tasks seen.
    pub tasks: u64,
    /// The reader closed the pipe before the end: no error, and the counts are of what was read.
    pub closed: bool,
}

impl Outcome {
    /// Whether data is missing that should be there: exit code 4.
    pub fn is_partial(&self) -> bool {
        if self.closed {
            return false;
        }
        let lost = !self.flight && self.conservation.lost > 0;
        lost || self.conservation.not_stored > 0
            || self.counts.damaged > 0
            || (!self.flight && self.counts.unknown_gaps > 0)
            || self.conservation.balanced() == Some(false)
            || self.end == EndState::Cut
    }
}

/// What became of the calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Shown, other lines included.
    pub shown: u64,
    /// Kept back by the filter.
    pub hidden: u64,
    /// Left out as the runtime's own.
    pub runtime: u64,
}

/// The filter at work, and what became of the calls.
pub(crate) struct Gate<'a> {
    pub filter: &'a Filter,
    /// Nothing but the runtime's own is kept back.
    all: bool,
    /// The recording has nothing but what was asked for.
    asked: bool,
    pub tally: Tally,
}

impl<'a> Gate<'a> {
    pub fn new(options: &'a Options) -> Gate<'a> {
        let filter = &options.filter;
        Gate { filter, all: filter.is_all(), asked: filter.asks_for_all(), tally: Tally::default() }
    }

    /// Whether the call is to be shown; counts it otherwise, unless the recording was not to have it at all.
    #[inline]
    pub fn passes(&mut self, call: &Call) -> bool {
        if !self.asked && !self.filter.was_asked_for(call) {
            return false;
        }
        if call.runtime && !self.filter.with_runtime {
            self.tally.runtime += 1;
            return false;
        }
        if !self.all && !self.filter.wants(call) {
            self.tally.hidden += 1;
            return false;
        }
        true
    }
}

/// `Lines` of reports.
pub(crate) trait Printer<'a>: Lines {
    /// What it did.
    fn tally(&self) -> Tally;
    /// Where its lines go.
    fn out(&mut self) -> &mut out::Out<'a>;
    /// There are no more.
    fn last(&mut self) {}
    /// Prints a line of a log, in its place by time; false where the bounds of the time keep it back.
    fn log(&mut self, _line: &LogLine<'_>) -> bool {
        false
    }
    /// Prints what logs have up to the recording's end; tells what became of their lines.
    fn end_logs(&mut self) -> Result<Vec<LogCount>> {
        Ok(Vec::new())
    }
}

impl<'a> Lines for Box<dyn Printer<'a> + 'a> {
    fn call(&mut self, call: &Call, texts: &Texts) {
        self.as_mut().call(call, texts);
    }
    fn unfinished(&mut self, call: &Call, texts: &Texts) {
        self.as_mut().unfinished(call, texts);
    }
    fn resumed(&mut self, call: &Call, texts: &Texts) {
        self.as_mut().resumed(call, texts);
    }
    fn note(&mut self, note: &Note) {
        self.as_mut().note(note);
    }
    fn closed(&self) -> bool {
        self.as_ref().closed()
    }
}

/// strace-like text, one line a call in the order in which calls were entered; of mere counts the summary.
pub fn text(recording: &Recording, options: &Options, to: &mut dyn Write) -> Result<Outcome> {
    if recording.meta.counts_only() {
        return summary(recording, options, to);
    }
    let mut printer = text::Text::new(&recording.meta, options, to);
    printer.head(&recording.meta, options);
    let printer = logs::merge(Box::new(printer), recording, options)?;
    let printer = written::with_lines(printer, &recording.meta, options);
    in_order(recording, printer, &|buf, outcome, logs| {
        if options.footer {
            footer::push(buf, &recording.meta, options, outcome);
            footer::push_logs(buf, logs);
        }
    })
}

/// JSON lines, of mere counts the summary's object; see docs/json.md.
pub fn json(recording: &Recording, options: &Options, to: &mut dyn Write) -> Result<Outcome> {
    if recording.meta.counts_only() {
        return summary_json(recording, options, to);
    }
    let mut printer = json::JsonLines::new(&recording.meta, options, to);
    printer.head(recording);
    let printer = logs::merge(Box::new(printer), recording, options)?;
    let printer = written::with_lines(printer, &recording.meta, options);
    in_order(recording, printer, &|buf, outcome, logs| json::push_end(buf, recording, outcome, logs))
}

/// Refuses recordings of mode `count`.
pub fn needs_events(recording: &Recording) -> Result<()> {
    if recording.meta.counts_only() {
        let what = "the recording is of mode count: it has how often calls were made, and no events";
        return Err(Error::usage(what).hint("the formats text, summary and json show it"));
    }
    Ok(())
}

/// Perfetto's trace format: a track a task, a slice a call.
pub fn perfetto(recording: &Recording, options: &Options, to: &mut dyn Write) -> Result<Outcome> {
    needs_events(recording)?;
    let mut printer = perfetto::Perfetto::new(&recording.meta, options, to);
    printer.head(&recording.meta);
    in_order(recording, Box::new(printer), &|_, _, _| {})
}

/// trace-cmd's format, version 6: the kernel's own bytes, whatever the options are.
pub fn trace_dat(recording: &Recording, _: &Options, to: &mut dyn Write) -> Result<Outcome> {
    needs_events(recording)?;
    let mut names = trace_dat::Names::new(&recording.meta);
    let (mut outcome, _) = pass(recording, None, false, &mut names)?;
    outcome.shown = outcome.counts.records;
    let mut out = out::Out::new(to);
    trace_dat::write(recording, &names, &mut out)?;
    end(&mut out, outcome)
}

/// The remarks below a text report, for forms that have no place for them.
pub fn remarks(recording: &Recording, options: &Options, outcome: &Outcome) -> Vec<u8> {
    let mut buf = Vec::new();
    footer::push(&mut buf, &recording.meta, options, outcome);
    buf
}

/// Counts, errors and times per system call, as `strace -c -w` prints them.
pub fn summary(recording: &Recording, options: &Options, to: &mut dyn Write) -> Result<Outcome> {
    summed_up(recording, options, to, false)
}

/// As [`summary`], as one JSON object.
pub fn summary_json(recording: &Recording, options: &Options, to: &mut dyn Write) -> Result<Outcome> {
    summed_up(recording, options, to, true)
}

#[inline(never)]
fn summed_up(recording: &Recording, options: &Options, to: &mut dyn Write, as_json: bool) -> Result<Outcome> {
    let (sums, outcome) = summary::gather(recording, options)?;
    let mut out = out::Out::new(to);
    match as_json {
        true => json::push_summary(&mut out.buf, recording, &sums, &outcome),
        false => summary::push_table(&mut out.buf, &recording.meta, options, &sums, &outcome),
    }
    end(&mut out, outcome)
}

fn end(out: &mut out::Out<'_>, mut outcome: Outcome) -> Result<Outcome> {
    outcome.closed = !out.finish()?;
    Ok(outcome)
}

/// Passes the whole recording to `steps`: what was found, but for the tally, and the ABIs if they were to be voted on.
fn pass(recording: &Recording, abis: Option<Abis>, vote: bool, steps: &mut dyn Steps) -> Result<(Outcome, Abis)> {
    let meta = &recording.meta;
    let mut tracker = Tracker::new(meta, abis, vote)?;
    if steps.wants_texts() {
        tracker.follow_descriptors(meta);
    }
    let mut stream = recording.stream(Tail::Use)?;
    let whole = tracker.follow(&mut stream, Timestamp::MAX, steps)?;
    tracker.finish(steps);
    let counts = stream.counts();
    let outcome = Outcome {
        conservation: recording.conservation(&counts),
        counts,
        end: meta.end_state(),
        flight: meta.options.mode == "flight",
        shown: 0,
        hidden: 0,
        runtime: 0,
        never_started: meta.starts_in_runtime && tracker.in_runtime(),
        tasks: tracker.tasks_seen(),
        closed: !whole,
    };
    Ok((outcome, tracker.abis()))
}

impl Outcome {
    fn set_tally(&mut self, tally: Tally) {
        (self.shown, self.hidden, self.runtime) = (tally.shown, tally.hidden, tally.runtime);
    }
}

/// Appends what ends a report.
type Close<'a> = &'a dyn Fn(&mut Vec<u8>, &Outcome, &[LogCount]);

/// Passes the whole recording to `printer` in the order in which calls were entered, and ends it with what `close` appends.
fn in_order<'a>(recording: &Recording, printer: Box<dyn Printer<'a> + 'a>, close: Close<'_>) -> Result<Outcome> {
    // Where programs of two ABIs may run, names need a look at the whole recording; the order's look ahead comes with it.
    let (mut abis, mut long) = (None, None);
    if recording.meta.arch().is_some_and(|arch| arch.compat_abi().is_some()) {
        let found = Prepass::run(recording)?;
        (abis, long) = (Some(found.abis), Some(found.long));
    }
    let look_ahead = Box::new(|| Ok(Prepass::pass(recording, None)?.long));
    let mut order = Order::complete(printer, long, look_ahead);
    let (mut outcome, _) = pass(recording, abis, false, &mut order)?;
    order.flush();
    if let Some(why) = order.failed {
        return Err(why);
    }
    let mut printer = order.lines;
    let logs = printer.end_logs()?;
    outcome.set_tally(printer.tally());
    printer.last();
    let out = printer.out();
    if !out.failed() {
        close(&mut out.buf, &outcome, &logs);
    }
    end(out, outcome)
}
