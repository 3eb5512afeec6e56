// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Calls in the order in which they were entered, though their ends come in another, within bounded memory.
//!
//! A queue of [`ORDER_MAX`] places holds everything from the oldest open call on. A call may block for hours among
//! millions of others, so when the queue is full its front must go without waiting: its end is looked up in what a pass
//! over the recording found ([`LongCalls`], made when it is first needed), or, where nobody can look ahead (live), it goes
//! as `unfinished` and its end follows as `resumed`.

use std::collections::{HashSet, VecDeque};

use super::prepass::LongCalls;
use super::{Call, End, Lines, Note, Steps};
use crate::error::Result;

/// Places of the queue. At 128 bytes each 2 MiB; 16384 calls are some milliseconds of a busy container, so that only
/// calls that block stay longer.
pub const ORDER_MAX: usize = 16384;

pub(super) enum Entry {
    Call(Call),
    Note(Box<Note>),
}

/// Looks ahead in the recording for calls that stay open for long.
type LookAhead<'a> = Box<dyn FnMut() -> Result<LongCalls> + 'a>;

/// The queue; see the module's description.
pub struct Order<'a, L: Lines> {
    /// Where calls and notes go in their order.
    pub lines: L,
    pub(super) queue: VecDeque<Entry>,
    max: usize,
    /// Ticket of the queue's front.
    first: u64,
    pub(super) look_ahead: Option<LookAhead<'a>>,
    pub(super) long: Option<LongCalls>,
    /// Tickets of calls that were told as unfinished and whose end is still to be told; one a task at most.
    early: HashSet<u64>,
    /// Why looking ahead failed, if it did.
    pub failed: Option<crate::error::Error>,
}

impl<'a, L: Lines> Order<'a, L> {
    /// A queue that tells what it cannot wait for as unfinished.
    pub fn live(lines: L) -> Order<'a, L> {
        Order::with_max(lines, ORDER_MAX)
    }

    /// A queue that looks ahead: `known` where the pass was made already, else `look_ahead` makes it when needed.
    pub fn complete(lines: L, known: Option<LongCalls>, look_ahead: LookAhead<'a>) -> Order<'a, L> {
        let mut order = Order::with_max(lines, ORDER_MAX);
        order.long = known;
        order.look_ahead = Some(look_ahead);
        order
    }

    pub(super) fn with_max(lines: L, max: usize) -> Order<'a, L> {
        Order {
            lines,
            queue: VecDeque::with_capacity(max),
            max,
            first: 0,
            look_ahead: None,
            long: None,
            early: HashSet::new(),
            failed: None,
        }
    }

    /// Tells everything that waits; open calls as unfinished. For the end of a batch of live output, and for the end.
    pub fn flush(&mut self) {
        self.release();
        while !self.queue.is_empty() {
            self.force();
            self.release();
        }
    }

    /// Tells what is complete at the front.
    #[inline]
    fn release(&mut self) {
        loop {
            match self.queue.front() {
                Some(Entry::Call(call)) if call.end == End::Open => return,
                Some(Entry::Call(call)) => self.lines.call(call),
                Some(Entry::Note(note)) => self.lines.note(note),
                None => return,
            }
            self.queue.pop_front();
            self.first += 1;
        }
    }

    /// Tells the open call at the front with its end from a look ahead, or as unfinished.
    #[cold]
    fn force(&mut self) {
        let Some(Entry::Call(call)) = self.queue.pop_front() else { return };
        let ticket = self.first;
        self.first += 1;
        if self.long.is_none() {
            if let Some(mut look_ahead) = self.look_ahead.take() {
                match look_ahead() {
                    Ok(long) => self.long = Some(long),
                    Err(why) => self.failed = Some(why),
                }
            }
        }
        match self.long.as_mut().and_then(|long| long.take(ticket, &call)) {
            Some(end) => self.lines.call(&end),
            None => {
                self.lines.unfinished(&call);
                self.early.insert(ticket);
            }
        }
    }

    #[inline]
    fn push(&mut self, entry: Entry) -> u64 {
        if self.queue.len() >= self.max {
            // Only an open call stays at the front.
            self.force();
            self.release();
        }
        self.queue.push_back(entry);
        self.first + self.queue.len() as u64 - 1
    }
}

impl<L: Lines> Steps for Order<'_, L> {
    type Ticket = u64;

    #[inline]
    fn opened(&mut self, call: &Call) -> u64 {
        self.push(Entry::Call(*call))
    }

    #[inline]
    fn closed(&mut self, ticket: u64, call: &Call) {
        let Some(at) = ticket.checked_sub(self.first) else {
            if self.early.remove(&ticket) {
                self.lines.resumed(call);
            }
            return;
        };
        if at == 0 {
            self.lines.call(call);
            self.queue.pop_front();
            self.first += 1;
            self.release();
        } else if let Some(Entry::Call(entry)) = self.queue.get_mut(at as usize) {
            *entry = *call;
        }
    }

    fn whole(&mut self, call: &Call) {
        if self.queue.is_empty() {
            self.lines.call(call);
            self.first += 1;
        } else {
            self.push(Entry::Call(*call));
            // The push may have emptied the queue in front of it.
            self.release();
        }
    }

    fn note(&mut self, note: Note) {
        if self.queue.is_empty() {
            self.lines.note(&note);
            self.first += 1;
        } else {
            self.push(Entry::Note(Box::new(note)));
            self.release();
        }
    }
}
