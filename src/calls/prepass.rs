// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What must be known of a whole recording before its first line is printed: a pass that prints nothing.
//!
//! It finds the ABI of each program image (the evidence may come late) and the ends of the calls that stay open while
//! [`ORDER_MAX`] others begin. There are at most tasks × calls / ORDER_MAX of those; each takes some 40 bytes.

use super::order::ORDER_MAX;
use super::pairing::Tracker;
use super::{Call, End, Note, Steps};
use crate::error::Result;
use crate::ids::{Pid, SyscallNr, Timestamp};
use crate::recording::{Recording, Tail};
use crate::tasks::Abis;

/// The end of a call that stays open for long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongCall {
    /// Its place among all that is told.
    ticket: u64,
    entered: Timestamp,
    ended: Timestamp,
    ret: i64,
    pid: Pid,
    nr: SyscallNr,
    end: End,
    uncertain: bool,
    runtime: bool,
}

/// Ends of the calls that stay open for long, in the order in which they were entered.
#[derive(Debug, Default)]
pub struct LongCalls {
    calls: Vec<LongCall>,
    next: usize,
}

impl LongCalls {
    /// The call `open` with its end. Tickets are asked for in rising order; one that is not there, or is another call's (the
    /// recording grew at a place that both passes did not see alike), gives `None`.
    pub(super) fn take(&mut self, ticket: u64, open: &Call) -> Option<Call> {
        loop {
            let found = *self.calls.get(self.next)?;
            if found.ticket > ticket {
                return None;
            }
            self.next += 1;
            if found.ticket == ticket {
                let same = (found.pid, found.nr, found.entered) == (open.pid, open.nr, open.entered);
                let LongCall { ended, ret, end, uncertain, runtime, .. } = found;
                return same.then_some(Call { ended, ret, end, uncertain, runtime, ..*open });
            }
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }
}

/// Counts tickets as [`super::Order`] gives them and keeps the calls that would block its queue.
pub(super) struct Finder {
    next: u64,
    span: u64,
    calls: Vec<LongCall>,
}

impl Finder {
    pub(super) fn new(span: usize) -> Finder {
        Finder { next: 0, span: span as u64, calls: Vec::new() }
    }

    pub(super) fn into_calls(self) -> LongCalls {
        LongCalls { calls: self.calls, next: 0 }
    }
}

impl Steps for Finder {
    #[inline]
    fn opened(&mut self, _: &Call) -> u64 {
        self.next += 1;
        self.next - 1
    }

    #[inline]
    fn closed(&mut self, ticket: u64, call: &Call) {
        // With the call at the front, the queue is full when `span` tickets from its own on are given.
        if self.next - ticket > self.span {
            let Call { entered, ended, ret, pid, nr, end, uncertain, runtime, .. } = *call;
            // They end nearly in the order of their tickets.
            let before = self.calls.iter().rposition(|call| call.ticket < ticket).map_or(0, |at| at + 1);
            self.calls.insert(before, LongCall { ticket, entered, ended, ret, pid, nr, end, uncertain, runtime });
        }
    }

    fn whole(&mut self, _: &Call) {
        self.next += 1;
    }

    fn note(&mut self, _: Note) {
        self.next += 1;
    }
}

/// The result of the pass.
#[derive(Debug)]
pub struct Prepass {
    /// ABIs per image.
    pub abis: Abis,
    /// Ends of calls that stay open for long.
    pub long: LongCalls,
}

impl Prepass {
    /// Reads the recording once. Calls are paired by number alone, so the pass need not know the ABIs it is to find,
    /// but for the few calls that do not return; where a compat image is found it is made again with that knowledge.
    pub fn run(recording: &Recording) -> Result<Prepass> {
        let first = Prepass::pass(recording, None)?;
        if first.abis.any_compat() {
            return Prepass::pass(recording, Some(first.abis));
        }
        Ok(first)
    }

    /// One pass, with the ABIs where they are known.
    pub fn pass(recording: &Recording, abis: Option<Abis>) -> Result<Prepass> {
        let mut tracker = Tracker::new(&recording.meta, abis.clone(), abis.is_none())?;
        let mut finder = Finder::new(ORDER_MAX);
        tracker.follow(&mut recording.stream(Tail::Use)?, Timestamp::MAX, &mut finder)?;
        tracker.finish(&mut finder);
        let abis = abis.unwrap_or_else(|| tracker.abis());
        Ok(Prepass { abis, long: finder.into_calls() })
    }
}
