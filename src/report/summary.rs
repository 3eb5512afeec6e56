// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Counts, errors and times per system call.
//!
//! The table is that of `strace -c -w`: wall-clock time spent in calls, those that wait included, sorted by it. A call
//! counts when it ended, in whatever way; its time counts only where both its ends are known. Needs no order, so calls go
//! straight from the pairing into the sums.

use super::footer;
use super::histogram::Histogram;
use super::out::{push_point, push_safe, push_seconds};
use super::text::push_name;
use super::time::{push_date, push_span};
use super::{counts, pass, Gate, Options, Outcome};
use crate::arch::Abi;
use crate::calls::{Call, End, Note, Steps, What};
use crate::error::Result;
use crate::ids::SyscallNr;
use crate::json::push_u64;
use crate::recording::{CallCount, Meta, Recording};

/// Numbers below this have a place of their own.
const DIRECT: usize = 512;

/// How many ABIs there are.
const ABIS: usize = 4;

/// Kinds of calls with other numbers (ARM's private calls, numbers no kernel has) that get a row each; a program that tries
/// out all numbers must not fill the memory. The rest are summed up in [`Sums::others`].
pub(crate) const OTHERS_MAX: usize = 256;

/// One row.
#[derive(Debug)]
pub(crate) struct Row {
    /// The call's ABI and number; in sums of several calls they say nothing.
    pub abi: Abi,
    /// See `abi`.
    pub nr: SyscallNr,
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
    fn new(abi: Abi, nr: SyscallNr) -> Row {
        Row {
            abi,
            nr,
            calls: 0,
            errors: 0,
            refused: 0,
            timed: 0,
            total: 0,
            min: None,
            max: 0,
            histogram: Histogram::default(),
        }
    }

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

/// The whole summary.
pub(crate) struct Sums<'a> {
    gate: Gate<'a>,
    rows: Vec<Row>,
    /// By ABI and number below [`DIRECT`]: place in `rows` + 1; 0 for none.
    places: Vec<u16>,
    /// Rows of other numbers.
    other_rows: usize,
    /// Calls whose number got no row of its own.
    pub others: Row,
    /// All together.
    pub total: Row,
    /// Signals taken.
    pub signals: u64,
    /// Of a recording that only has counts: whether the calls of two ABIs could not be told apart.
    pub mixed: Option<bool>,
}

impl<'a> Sums<'a> {
    pub fn new(options: &'a Options) -> Sums<'a> {
        Sums {
            gate: Gate::new(options),
            rows: Vec::new(),
            places: vec![0; ABIS * DIRECT],
            other_rows: 0,
            others: Row::new(Abi::X86_64, 0),
            total: Row::new(Abi::X86_64, 0),
            signals: 0,
            mixed: None,
        }
    }

    /// Where `places` has the call's row.
    #[inline]
    fn place(call: &Call) -> Option<usize> {
        let nr = usize::try_from(call.nr).ok().filter(|nr| *nr < DIRECT)?;
        Some(call.abi as usize * DIRECT + nr)
    }

    #[inline]
    fn add(&mut self, call: &Call) {
        if !self.gate.passes(call) {
            return;
        }
        self.gate.tally.shown += 1;
        let row = Sums::place(call).and_then(|at| self.places.get(at)).map_or(0, |row| usize::from(*row));
        match self.rows.get_mut(row.wrapping_sub(1)) {
            Some(row) => row.add(call),
            None => self.add_new(call),
        }
    }

    /// A call whose row is not there yet, or that has no place of its own.
    #[cold]
    fn add_new(&mut self, call: &Call) {
        match Sums::place(call).and_then(|at| self.places.get_mut(at)) {
            Some(place) => *place = self.rows.len() as u16 + 1,
            None => {
                if let Some(row) = self.rows.iter_mut().find(|row| (row.abi, row.nr) == (call.abi, call.nr)) {
                    return row.add(call);
                }
                if self.other_rows == OTHERS_MAX {
                    return self.others.add(call);
                }
                self.other_rows += 1;
            }
        }
        let mut row = Row::new(call.abi, call.nr);
        row.add(call);
        self.rows.push(row);
    }

    /// All rows, those with the most time first; of equal ones those with the most calls, then by number.
    pub fn sorted(&self) -> Vec<&Row> {
        let mut rows: Vec<&Row> = self.rows.iter().collect();
        rows.sort_unstable_by(|a, b| {
            b.total.cmp(&a.total).then(b.calls.cmp(&a.calls)).then((a.abi, a.nr).cmp(&(b.abi, b.nr)))
        });
        rows
    }

    /// A row of calls that were counted and not recorded.
    pub fn add_count(&mut self, count: CallCount) {
        let mut row = Row::new(count.abi, count.nr);
        (row.calls, row.errors) = (count.calls, count.errors);
        self.rows.push(row);
    }

    /// Adds up the rows.
    pub fn finish(&mut self) {
        let total = &mut self.total;
        for row in self.rows.iter().chain([&self.others]) {
            total.calls += row.calls;
            total.errors += row.errors;
            total.refused += row.refused;
            total.timed += row.timed;
            total.total = total.total.saturating_add(row.total);
            if total.min.is_none() || row.min.is_some_and(|min| total.min > Some(min)) {
                total.min = row.min;
            }
            total.max = total.max.max(row.max);
            total.histogram.merge(&row.histogram);
        }
    }

    /// Whether calls of more than one ABI were seen.
    fn many_abis(&self) -> bool {
        self.rows.iter().any(|row| self.rows.first().is_some_and(|first| first.abi != row.abi))
    }
}

impl Steps for Sums<'_> {
    fn opened(&mut self, _: &Call) -> u64 {
        0
    }

    fn closed(&mut self, _: u64, call: &Call) {
        self.add(call);
    }

    fn whole(&mut self, call: &Call) {
        self.add(call);
    }

    fn note(&mut self, note: Note) {
        if matches!(note.what, What::Signal { .. }) && self.gate.filter.wants_note(&note) {
            self.signals += 1;
        }
    }
}

/// Reads the recording; a second time only where it holds programs of another ABI than the kernel's own.
pub(crate) fn gather<'a>(recording: &Recording, options: &'a Options) -> Result<(Box<Sums<'a>>, Outcome)> {
    if recording.meta.counts_only() {
        return counts::gather(recording, options);
    }
    let mut abis = None;
    loop {
        let vote = abis.is_none();
        let mut sums = Box::new(Sums::new(options));
        let (mut outcome, found) = pass(recording, abis, vote, &mut *sums)?;
        if vote && found.any_compat() {
            abis = Some(found);
            continue;
        }
        sums.finish();
        outcome.set_tally(sums.gate.tally);
        return Ok((sums, outcome));
    }
}

/// Microseconds: to the nanosecond below 100, where short calls differ, and with one digit above.
fn push_micros(buf: &mut Vec<u8>, ns: u64) {
    if ns < 100_000 {
        push_point(buf, ns, 3);
    } else {
        push_point(buf, ns / 100, 1);
    }
}

/// `part` of `whole` in percent with two digits; what lies behind them is cut off.
fn push_percent(buf: &mut Vec<u8>, part: u64, whole: u64) {
    // Long division, digit by digit: the tenfold of a rest fits where the divisor has room for it, and it has but for
    // times of decades.
    let spare = u32::from(whole >> 60 != 0) * 4;
    let (mut rest, whole) = (part >> spare, (whole >> spare).max(1));
    let mut hundredths = rest / whole;
    for _ in 0..4 {
        rest = rest % whole * 10;
        hundredths = hundredths * 10 + rest / whole;
    }
    push_point(buf, hundredths, 2);
}

const HEAD: &str = "\
% time     seconds    avg µs    p50 µs    p99 µs    max µs     calls    errors syscall
------ ----------- --------- --------- --------- --------- --------- --------- ----------------
";
const COUNTS_HEAD: &str = "\
    calls    errors syscall
--------- --------- ----------------
";
const COUNTS_RULE: &str = "--------- --------- ----------------\n";
const RULE: &str = "\
------ ----------- --------- --------- --------- --------- --------- --------- ----------------
";

/// Appends the table and what is to be known about it.
pub(crate) fn push_table(buf: &mut Vec<u8>, meta: &Meta, options: &Options, sums: &Sums<'_>, outcome: &Outcome) {
    let counts_only = sums.mixed.is_some();
    if sums.total.calls > 0 {
        buf.extend_from_slice(if counts_only { COUNTS_HEAD } else { HEAD }.as_bytes());
        let many_abis = sums.many_abis();
        for row in sums.sorted() {
            push_row(buf, row, sums.total.total, counts_only);
            push_name(buf, row.abi, row.nr);
            if many_abis {
                buf.extend_from_slice(b" (");
                buf.extend_from_slice(row.abi.name().as_bytes());
                buf.push(b')');
            }
            buf.push(b'\n');
        }
        if sums.others.calls > 0 {
            push_row(buf, &sums.others, sums.total.total, counts_only);
            buf.extend_from_slice(b"(other numbers)\n");
        }
        buf.extend_from_slice(if counts_only { COUNTS_RULE } else { RULE }.as_bytes());
        push_row(buf, &sums.total, sums.total.total, counts_only);
        buf.extend_from_slice(b"total\n\n");
    }
    buf.extend_from_slice(b"# ");
    push_safe(buf, meta.name.as_bytes());
    buf.extend_from_slice(b": ");
    footer::number(buf, outcome.tasks, "task* in ");
    push_span(buf, meta.span());
    buf.extend_from_slice(b" from ");
    push_date(buf, meta.anchors.first().map_or(0, |anchor| anchor.realtime_ns), options.utc_offset_s);
    buf.extend_from_slice(b"; ");
    footer::number(buf, sums.total.calls, "call*, ");
    push_u64(buf, sums.total.errors);
    buf.extend_from_slice(b" failed");
    for (count, what) in [
        (sums.total.refused, " refused or answered by seccomp"),
        (if counts_only { 0 } else { sums.total.calls - sums.total.timed }, " without a time"),
        (sums.signals, if sums.signals == 1 { " signal" } else { " signals" }),
    ] {
        if count > 0 {
            buf.extend_from_slice(b", ");
            push_u64(buf, count);
            buf.extend_from_slice(what.as_bytes());
        }
    }
    buf.push(b'\n');
    footer::push_first_calls(buf, meta);
    push_refused(buf, sums);
    if sums.mixed.is_some() {
        buf.extend_from_slice(b"# ");
        buf.extend_from_slice(counts::how(meta).as_bytes());
        buf.push(b'\n');
    }
    if sums.mixed == Some(true) {
        buf.extend_from_slice(counts::MIXED.as_bytes());
    }
    footer::push(buf, meta, options, outcome);
}

/// Which calls seccomp refused: the table has them among those that failed.
fn push_refused(buf: &mut Vec<u8>, sums: &Sums<'_>) {
    let mut before = "# refused or answered by seccomp: ";
    for row in sums.rows.iter().filter(|row| row.refused > 0) {
        buf.extend_from_slice(before.as_bytes());
        push_name(buf, row.abi, row.nr);
        buf.push(b' ');
        push_u64(buf, row.refused);
        before = ", ";
    }
    if before == ", " {
        buf.push(b'\n');
    }
}

/// A row up to the call's name.
fn push_row(buf: &mut Vec<u8>, row: &Row, whole: u64, counts_only: bool) {
    let mut cell = Vec::new();
    if !counts_only {
        push_percent(&mut cell, row.total, whole);
        push_right(buf, &mut cell, 6);
        push_seconds(&mut cell, row.total);
        push_right(buf, &mut cell, 11);
        for ns in [row.average(), row.percentile(500), row.percentile(990), row.max] {
            push_micros(&mut cell, ns);
            push_right(buf, &mut cell, 9);
        }
    }
    for count in [row.calls, row.errors] {
        push_u64(&mut cell, count);
        push_right(buf, &mut cell, 9);
    }
}

/// Appends what is in `cell` right-aligned, and a blank; empties it.
fn push_right(buf: &mut Vec<u8>, cell: &mut Vec<u8>, width: usize) {
    for _ in cell.len()..width {
        buf.push(b' ');
    }
    buf.extend_from_slice(cell);
    buf.push(b' ');
    cell.clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percents_are_cut_off_behind_two_digits() {
        for (part, whole, expected) in [
            (0, 0, "0.00"),
            (0, 7, "0.00"),
            (1, 3, "33.33"),
            (2, 3, "66.66"),
            (1, 10_000, "0.01"),
            (9_999, 100_000_000, "0.00"),
            (99_999, 100_000, "99.99"),
            (5, 5, "100.00"),
            ((1 << 60) - 2, (1 << 60) - 1, "99.99"),
            (u64::MAX / 2, u64::MAX, "49.99"),
            (u64::MAX, u64::MAX, "100.00"),
        ] {
            let mut text = Vec::new();
            push_percent(&mut text, part, whole);
            assert_eq!(String::from_utf8(text).unwrap(), expected, "{part} of {whole}");
        }
        // As the division of wider numbers does it.
        let mut seed = 7u64;
        for round in 0..10_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let whole = (seed >> 4 >> (round % 50)).max(1);
            let part = seed.rotate_left(29) % whole;
            let hundredths = u128::from(part) * 10_000 / u128::from(whole);
            let mut text = Vec::new();
            push_percent(&mut text, part, whole);
            let expected = format!("{}.{:02}", hundredths / 100, hundredths % 100);
            assert_eq!(String::from_utf8(text).unwrap(), expected, "{part} of {whole}");
        }
    }
}
