// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Counts, errors and times per system call.
//!
//! The table is that of `strace -c -w`: wall-clock time spent in calls, those that wait included, sorted by it. A call
//! counts when it ended, in whatever way; its time counts only where both its ends are known. Needs no order, so calls go
//! straight from the pairing into the sums.

use core::ops::ControlFlow;

use super::footer;
use super::histogram::Histogram;
use super::out::{push_padded, push_safe, push_seconds};
use super::text::push_name;
use super::time::{push_date, push_span};
use super::{wall_span, Filter, Options, Outcome, Tally};
use crate::arch::Abi;
use crate::calls::{Call, End, Note, Steps, Tracker, What};
use crate::error::Result;
use crate::ids::{SyscallNr, Timestamp};
use crate::json::push_u64;
use crate::recording::{Meta, Recording, Tail};
use crate::tasks::Abis;

/// Numbers below this have a place of their own.
const DIRECT: usize = 512;

/// Kinds of calls with other numbers (ARM's private calls, numbers no kernel has) that get a row each; a program that tries
/// out all numbers must not fill the memory. The rest are summed up in [`Sums::others`].
pub(crate) const OTHERS_MAX: usize = 256;

/// One row.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    /// Calls that ended, or that never do.
    pub calls: u64,
    /// Those with an error number, refused ones included.
    pub errors: u64,
    /// Those that seccomp refused or answered.
    pub refused: u64,
    /// Those whose both ends are known: the base of the times.
    pub timed: u64,
    /// Their time, nanoseconds.
    pub total: u64,
    /// The shortest one's; `None` without any.
    pub min: Option<u64>,
    /// The longest one's.
    pub max: u64,
    /// All of theirs.
    pub histogram: Histogram,
}

impl Row {
    #[inline]
    fn add(&mut self, call: &Call) {
        self.calls += 1;
        self.errors += u64::from(call.errno().is_some());
        self.refused += u64::from(call.end == End::Refused);
        if let Some(duration) = call.duration() {
            self.timed += 1;
            self.total = self.total.saturating_add(duration);
            self.min = Some(self.min.map_or(duration, |min| min.min(duration)));
            self.max = self.max.max(duration);
            self.histogram.add(duration);
        }
    }

    /// The time that `permille` of 1000 calls do not exceed, nanoseconds; off by 1.6 % at most.
    pub fn percentile(&self, permille: u64) -> u64 {
        self.histogram.percentile(permille).max(self.min.unwrap_or(0)).min(self.max)
    }

    /// Mean time of a call, nanoseconds.
    pub fn average(&self) -> u64 {
        self.total.checked_div(self.timed).unwrap_or(0)
    }
}

/// The rows of one ABI.
struct Rows {
    abi: Abi,
    direct: Vec<Option<Box<Row>>>,
}

/// The whole summary.
pub(crate) struct Sums {
    filter: Filter,
    all: bool,
    rows: Vec<Rows>,
    other_rows: Vec<(Abi, SyscallNr, Row)>,
    /// Calls whose number got no row of its own.
    pub others: Row,
    /// All together.
    pub total: Row,
    /// Signals taken.
    pub signals: u64,
    tally: Tally,
}

impl Sums {
    fn new(filter: &Filter) -> Sums {
        Sums {
            filter: filter.clone(),
            all: filter.is_all(),
            rows: Vec::new(),
            other_rows: Vec::new(),
            others: Row::default(),
            total: Row::default(),
            signals: 0,
            tally: Tally::default(),
        }
    }

    #[inline]
    fn add(&mut self, call: &Call) {
        if call.runtime && !self.filter.with_runtime {
            self.tally.runtime += 1;
            return;
        }
        if !self.all && !self.filter.wants(call) {
            self.tally.hidden += 1;
            return;
        }
        self.tally.shown += 1;
        let row = self.rows.iter_mut().find(|rows| rows.abi == call.abi);
        if let Some(Some(Some(row))) = row.map(|rows| rows.direct.get_mut(call.nr as usize)) {
            row.add(call);
            return;
        }
        self.add_new(call);
    }

    /// A call whose row is not there yet, or that has no place of its own.
    #[cold]
    fn add_new(&mut self, call: &Call) {
        if (0..DIRECT as SyscallNr).contains(&call.nr) {
            if !self.rows.iter().any(|rows| rows.abi == call.abi) {
                self.rows.push(Rows { abi: call.abi, direct: vec![None; DIRECT] });
            }
            let rows = self.rows.iter_mut().find(|rows| rows.abi == call.abi);
            if let Some(place) = rows.and_then(|rows| rows.direct.get_mut(call.nr as usize)) {
                place.get_or_insert_with(Box::default).add(call);
            }
            return;
        }
        let room = self.other_rows.len() < OTHERS_MAX;
        let found = self.other_rows.iter_mut().find(|(abi, nr, _)| (*abi, *nr) == (call.abi, call.nr));
        match found {
            Some((_, _, row)) => row.add(call),
            None if room => {
                let mut row = Row::default();
                row.add(call);
                self.other_rows.push((call.abi, call.nr, row));
            }
            None => self.others.add(call),
        }
    }

    /// All rows, those with the most time first; of equal ones those with the most calls, then by number.
    pub fn sorted(&self) -> Vec<(Abi, SyscallNr, &Row)> {
        let direct = self.rows.iter().flat_map(|rows| {
            (0..).zip(&rows.direct).filter_map(|(nr, row)| row.as_deref().map(|row| (rows.abi, nr, row)))
        });
        let others = self.other_rows.iter().map(|(abi, nr, row)| (*abi, *nr, row));
        let mut rows: Vec<_> = direct.chain(others).collect();
        rows.sort_by(|(a_abi, a_nr, a), (b_abi, b_nr, b)| {
            b.total.cmp(&a.total).then(b.calls.cmp(&a.calls)).then((a_abi, a_nr).cmp(&(b_abi, b_nr)))
        });
        rows
    }

    /// Adds up the rows.
    fn finish(&mut self) {
        let mut total = Row::default();
        let rows = self.sorted();
        for row in rows.iter().map(|(_, _, row)| *row).chain([&self.others]) {
            total.calls += row.calls;
            total.errors += row.errors;
            total.refused += row.refused;
            total.timed += row.timed;
            total.total = total.total.saturating_add(row.total);
            total.min = [total.min, row.min].into_iter().flatten().min();
            total.max = total.max.max(row.max);
            total.histogram.merge(&row.histogram);
        }
        self.total = total;
    }

    /// Whether calls of more than one ABI were seen.
    fn abis(&self) -> usize {
        self.rows.len()
    }
}

impl Steps for Sums {
    type Ticket = ();

    #[inline]
    fn opened(&mut self, _: &Call) {}

    #[inline]
    fn closed(&mut self, (): (), call: &Call) {
        self.add(call);
    }

    fn note(&mut self, note: Note) {
        if matches!(note.what, What::Signal { .. }) && self.filter.wants_note(&note) {
            self.signals += 1;
        }
    }
}

/// Reads the recording; a second time only where it holds programs of another ABI than the kernel's own.
pub(crate) fn gather(recording: &Recording, options: &Options) -> Result<(Sums, Outcome)> {
    let (sums, outcome, abis) = pass(recording, options, None)?;
    if abis.any_compat() {
        let (sums, outcome, _) = pass(recording, options, Some(abis))?;
        return Ok((sums, outcome));
    }
    Ok((sums, outcome))
}

fn pass(recording: &Recording, options: &Options, abis: Option<Abis>) -> Result<(Sums, Outcome, Abis)> {
    let meta = &recording.meta;
    let vote = abis.is_none();
    let mut tracker = Tracker::new(meta, abis, vote)?;
    let mut sums = Sums::new(&options.filter);
    let mut stream = recording.stream(Tail::Use)?;
    let _ = stream.run(Timestamp::MAX, |item| {
        tracker.feed(item, &mut sums);
        ControlFlow::Continue(())
    })?;
    tracker.finish(&mut sums);
    sums.finish();
    let never = meta.starts_in_runtime && tracker.in_runtime();
    let outcome = Outcome::new(recording, stream.counts(), sums.tally, tracker.tasks_seen(), never, false);
    Ok((sums, outcome, tracker.abis()))
}

/// Appends `text` right-aligned.
fn push_right(buf: &mut Vec<u8>, width: usize, write: impl FnOnce(&mut Vec<u8>)) {
    let start = buf.len();
    write(buf);
    let pad = width.saturating_sub(buf.len() - start);
    buf.splice(start..start, core::iter::repeat(b' ').take(pad));
}

/// Microseconds: to the nanosecond below 100, where short calls differ, and with one digit above.
fn push_micros(buf: &mut Vec<u8>, ns: u64) {
    push_u64(buf, ns / 1000);
    buf.push(b'.');
    if ns < 100_000 {
        push_padded(buf, ns % 1000, 3);
    } else {
        push_u64(buf, ns % 1000 / 100);
    }
}

/// `part` of `whole` in percent with two digits.
fn push_percent(buf: &mut Vec<u8>, part: u64, whole: u64) {
    let hundredths = (u128::from(part) * 10_000).checked_div(u128::from(whole)).unwrap_or(0) as u64;
    push_u64(buf, hundredths / 100);
    buf.push(b'.');
    push_padded(buf, hundredths % 100, 2);
}

const HEAD: &str = "\
% time     seconds    avg µs    p50 µs    p99 µs    max µs     calls    errors syscall
------ ----------- --------- --------- --------- --------- --------- --------- ----------------
";
const RULE: &str = "\
------ ----------- --------- --------- --------- --------- --------- --------- ----------------
";

/// Appends the table and what is to be known about it.
pub(crate) fn push_table(buf: &mut Vec<u8>, meta: &Meta, options: &Options, sums: &Sums, outcome: &Outcome) {
    if sums.total.calls > 0 {
        buf.extend_from_slice(HEAD.as_bytes());
        for (abi, nr, row) in sums.sorted() {
            push_row(buf, row, sums.total.total, |buf| {
                push_name(buf, abi, nr);
                if sums.abis() > 1 {
                    buf.extend_from_slice(b" (");
                    buf.extend_from_slice(abi.name().as_bytes());
                    buf.push(b')');
                }
            });
        }
        if sums.others.calls > 0 {
            push_row(buf, &sums.others, sums.total.total, |buf| buf.extend_from_slice(b"(other numbers)"));
        }
        buf.extend_from_slice(RULE.as_bytes());
        push_row(buf, &sums.total, sums.total.total, |buf| buf.extend_from_slice(b"total"));
        buf.push(b'\n');
    }
    buf.extend_from_slice(b"# ");
    push_safe(buf, meta.name.as_bytes());
    buf.extend_from_slice(b": ");
    push_u64(buf, outcome.tasks);
    buf.extend_from_slice(if outcome.tasks == 1 { b" task in " } else { b" tasks in " });
    push_span(buf, wall_span(meta));
    buf.extend_from_slice(b" from ");
    push_date(buf, meta.anchors.first().map_or(0, |anchor| anchor.realtime_ns), options.utc_offset_s);
    buf.extend_from_slice(b"; ");
    push_u64(buf, sums.total.calls);
    buf.extend_from_slice(if sums.total.calls == 1 { b" call, " } else { b" calls, " });
    push_u64(buf, sums.total.errors);
    buf.extend_from_slice(b" failed");
    for (count, what) in [
        (sums.total.refused, " refused or answered by seccomp"),
        (sums.total.calls - sums.total.timed, " without a time"),
        (sums.signals, if sums.signals == 1 { " signal" } else { " signals" }),
    ] {
        if count > 0 {
            buf.extend_from_slice(b", ");
            push_u64(buf, count);
            buf.extend_from_slice(what.as_bytes());
        }
    }
    buf.push(b'\n');
    footer::push(buf, meta, options, outcome);
}

fn push_row(buf: &mut Vec<u8>, row: &Row, whole: u64, name: impl FnOnce(&mut Vec<u8>)) {
    push_right(buf, 6, |buf| push_percent(buf, row.total, whole));
    buf.push(b' ');
    push_right(buf, 11, |buf| push_seconds(buf, row.total));
    for ns in [row.average(), row.percentile(500), row.percentile(990), row.max] {
        buf.push(b' ');
        push_right(buf, 9, |buf| push_micros(buf, ns));
    }
    for count in [row.calls, row.errors] {
        buf.push(b' ');
        push_right(buf, 9, |buf| push_u64(buf, count));
    }
    buf.push(b' ');
    name(buf);
    buf.push(b'\n');
}
