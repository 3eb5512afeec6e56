// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A recording as text, as a summary, as JSON: what every report has in common.
//!
//! Reports read recordings and nothing else. Each reads the whole recording, whatever is filtered, so that what was decoded
//! can be held against what the kernel says it wrote; [`Outcome`] carries the result to the exit code.

mod filter;
mod footer;
mod histogram;
mod json;
mod live;
mod out;
mod summary;
mod text;
mod time;

use core::ops::ControlFlow;
use std::io::Write;

pub use filter::{Filter, SyscallList};
pub use live::Live;
pub use time::{parse_duration, parse_time};

use crate::calls::{Lines, Order, Prepass, Tracker};
use crate::error::Result;
use crate::ids::Timestamp;
use crate::recording::{Conservation, Counts, EndState, Meta, Recording, Tail};

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
    fn new(
        recording: &Recording,
        counts: Counts,
        tally: Tally,
        tasks: u64,
        never_started: bool,
        closed: bool,
    ) -> Outcome {
        Outcome {
            conservation: recording.conservation(&counts),
            counts,
            end: recording.meta.end_state(),
            flight: recording.meta.options.mode == "flight",
            shown: tally.shown,
            hidden: tally.hidden,
            runtime: tally.runtime,
            never_started,
            tasks,
            closed,
        }
    }

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

/// strace-like text, one line a call in the order in which calls were entered.
pub fn text(recording: &Recording, options: &Options, to: &mut dyn Write) -> Result<Outcome> {
    let mut printer = text::Text::new(&recording.meta, options, to);
    printer.head(&recording.meta, options);
    let (printer, mut outcome) = in_order(recording, printer)?;
    let mut out = printer.into_out();
    if options.footer && !out.failed() {
        footer::push(&mut out.buf, &recording.meta, options, &outcome);
    }
    outcome.closed = !out.finish()?;
    Ok(outcome)
}

/// JSON lines; see docs/json.md.
pub fn json(recording: &Recording, options: &Options, to: &mut dyn Write) -> Result<Outcome> {
    let mut printer = json::JsonLines::new(&recording.meta, options, to);
    printer.head(recording);
    let (printer, mut outcome) = in_order(recording, printer)?;
    let mut out = printer.into_out();
    json::push_end(&mut out.buf, recording, &outcome);
    outcome.closed = !out.finish()?;
    Ok(outcome)
}

/// Counts, errors and times per system call, as `strace -c -w` prints them.
pub fn summary(recording: &Recording, options: &Options, to: &mut dyn Write) -> Result<Outcome> {
    let (sums, mut outcome) = summary::gather(recording, options)?;
    let mut out = out::Out::new(to);
    summary::push_table(&mut out.buf, &recording.meta, options, &sums, &outcome);
    outcome.closed = !out.finish()?;
    Ok(outcome)
}

/// As [`summary`], as one JSON object.
pub fn summary_json(recording: &Recording, options: &Options, to: &mut dyn Write) -> Result<Outcome> {
    let (sums, mut outcome) = summary::gather(recording, options)?;
    let mut out = out::Out::new(to);
    json::push_summary(&mut out.buf, recording, &sums, &outcome);
    outcome.closed = !out.finish()?;
    Ok(outcome)
}

/// What `Lines` of reports can tell about what they did.
pub(crate) trait Printer: Lines {
    fn tally(&self) -> Tally;
}

/// Passes the whole recording to `printer` in the order in which calls were entered.
fn in_order<P: Printer>(recording: &Recording, printer: P) -> Result<(P, Outcome)> {
    let meta = &recording.meta;
    // Where programs of two ABIs may run, names need a look at the whole recording; the order's look ahead comes with it.
    let compat = meta.arch().is_some_and(|arch| arch.compat_abi().is_some());
    let (abis, long) = match compat.then(|| Prepass::run(recording)).transpose()? {
        Some(found) => (Some(found.abis), Some(found.long)),
        None => (None, None),
    };
    let mut tracker = Tracker::new(meta, abis, false)?;
    let look_ahead = Box::new(|| Ok(Prepass::pass(recording, None)?.long));
    let mut order = Order::complete(printer, long, look_ahead);
    let mut stream = recording.stream(Tail::Use)?;
    let run = stream.run(Timestamp::MAX, |item| {
        tracker.feed(item, &mut order);
        if order.lines.closed() {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    tracker.finish(&mut order);
    order.flush();
    if let Some(why) = order.failed {
        return Err(why);
    }
    let printer = order.lines;
    let tally = printer.tally();
    let never = meta.starts_in_runtime && tracker.in_runtime();
    let outcome = Outcome::new(recording, stream.counts(), tally, tracker.tasks_seen(), never, run.is_break());
    Ok((printer, outcome))
}

/// Time the recording spans, nanoseconds: from its start to the newest write of its description.
fn wall_span(meta: &Meta) -> u64 {
    match (meta.anchors.first(), meta.anchors.last()) {
        (Some(first), Some(last)) => last.trace_ns.saturating_sub(first.trace_ns),
        _ => 0,
    }
}
