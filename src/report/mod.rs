// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A recording as text, as a summary, as JSON: what every report has in common.
//!
//! Reports read recordings and nothing else. Each reads the whole recording, whatever is filtered, so that what was decoded
//! can be held against what the kernel says it wrote; [`Outcome`] carries the result to the exit code.

mod args;
mod filter;
mod footer;
mod histogram;
mod json;
mod live;
mod out;
mod summary;
mod text;
mod time;
mod values;

use std::io::Write;

pub use filter::{Filter, SyscallList};
pub use live::Live;
pub use time::{parse_duration, parse_time};

use crate::calls::{Call, Lines, Note, Order, Prepass, Steps, Texts, Tracker};
use crate::error::Result;
use crate::ids::Timestamp;
use crate::recording::{Conservation, Counts, EndState, Meta, Recording, Tail};
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
    pub tally: Tally,
}

impl<'a> Gate<'a> {
    pub fn new(options: &'a Options) -> Gate<'a> {
        Gate { filter: &options.filter, all: options.filter.is_all(), tally: Tally::default() }
    }

    /// Whether the call is to be shown; counts it otherwise.
    #[inline]
    pub fn passes(&mut self, call: &Call) -> bool {
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

/// strace-like text, one line a call in the order in which calls were entered.
pub fn text(recording: &Recording, options: &Options, to: &mut dyn Write) -> Result<Outcome> {
    let mut printer = text::Text::new(&recording.meta, options, to);
    printer.head(&recording.meta, options);
    in_order(recording, Box::new(printer), &|buf, outcome| {
        if options.footer {
            footer::push(buf, &recording.meta, options, outcome);
        }
    })
}

/// JSON lines; see docs/json.md.
pub fn json(recording: &Recording, options: &Options, to: &mut dyn Write) -> Result<Outcome> {
    let mut printer = json::JsonLines::new(&recording.meta, options, to);
    printer.head(recording);
    in_order(recording, Box::new(printer), &|buf, outcome| json::push_end(buf, recording, outcome))
}

/// Counts, errors and times per system call, as `strace -c -w` prints them.
pub fn summary(recording: &Recording, options: &Options, to: &mut dyn Write) -> Result<Outcome> {
    let (sums, outcome) = summary::gather(recording, options)?;
    let mut out = out::Out::new(to);
    summary::push_table(&mut out.buf, &recording.meta, options, &sums, &outcome);
    end(&mut out, outcome)
}

/// As [`summary`], as one JSON object.
pub fn summary_json(recording: &Recording, options: &Options, to: &mut dyn Write) -> Result<Outcome> {
    let (sums, outcome) = summary::gather(recording, options)?;
    let mut out = out::Out::new(to);
    json::push_summary(&mut out.buf, recording, &sums, &outcome);
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

/// Passes the whole recording to `printer` in the order in which calls were entered, and ends it with what `close` appends.
fn in_order<'a>(
    recording: &Recording,
    printer: Box<dyn Printer<'a> + 'a>,
    close: &dyn Fn(&mut Vec<u8>, &Outcome),
) -> Result<Outcome> {
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
    outcome.set_tally(printer.tally());
    let out = printer.out();
    if !out.failed() {
        close(&mut out.buf, &outcome);
    }
    end(out, outcome)
}

/// Time the recording spans, nanoseconds: from its start to the newest write of its description.
fn wall_span(meta: &Meta) -> u64 {
    match (meta.anchors.first(), meta.anchors.last()) {
        (Some(first), Some(last)) => last.trace_ns.saturating_sub(first.trace_ns),
        _ => 0,
    }
}
