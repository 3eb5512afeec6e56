// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Calls in the order in which they were entered, though their ends come in another, within bounded memory.
//!
//! A queue of [`ORDER_MAX`] places holds everything from the oldest open call on. A call may block for hours among
//! millions of others, so when the queue is full its front must go without waiting: its end is looked up in what a pass
//! over the recording found ([`LongCalls`], made when it is first needed), or, where nobody can look ahead (live), it goes
//! as `unfinished` and its end follows as `resumed`.

use super::prepass::LongCalls;
use super::{Call, End, Lines, Note, Steps, Text, Texts, NO_TEXTS};
use crate::error::Result;

/// Places of the queue, a power of two. At 104 bytes each 1.6 MiB; 16384 calls are some milliseconds of a busy container,
/// so that only calls that block stay longer.
pub const ORDER_MAX: usize = 16384;

enum Entry {
    Call(Call),
    Note(Box<Note>),
    /// It has been told.
    Gone,
}

/// Looks ahead in the recording for calls that stay open for long.
type LookAhead<'a> = Box<dyn FnMut() -> Result<LongCalls> + 'a>;

/// The queue; see the module's description.
pub struct Order<'a, L: Lines> {
    /// Where calls and notes go in their order.
    pub lines: L,
    /// What has the ticket N lies at place N - `base` modulo `max`.
    places: Vec<Entry>,
    /// What is known about the arguments of the call at the same place; up to the last that ever had any.
    texts: Vec<Texts>,
    /// The front's ticket when the queue was last empty: a short queue stays where the processor's cache has it.
    base: u64,
    /// A power of two.
    max: usize,
    /// Ticket of the queue's front.
    first: u64,
    /// The next ticket.
    next: u64,
    pub(super) look_ahead: Option<LookAhead<'a>>,
    pub(super) long: Option<LongCalls>,
    /// Tickets of calls that were told as unfinished and whose end is still to be told, in rising order; one a task at most.
    early: Vec<u64>,
    /// What became known about the arguments of such calls since; few have any.
    late_texts: Vec<(u64, Texts)>,
    /// Whether a call is told at its end alone.
    whole: bool,
    /// Why looking ahead failed, if it did.
    pub failed: Option<crate::error::Error>,
}

impl<'a, L: Lines> Order<'a, L> {
    /// A queue that tells what it cannot wait for as unfinished; with `whole`, not until it has ended, and then with
    /// everything.
    pub fn live(lines: L, whole: bool) -> Order<'a, L> {
        Order { whole, ..Order::with_max(lines, ORDER_MAX) }
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
            places: Vec::new(),
            texts: Vec::new(),
            base: 0,
            max,
            first: 0,
            next: 0,
            look_ahead: None,
            long: None,
            early: Vec::new(),
            late_texts: Vec::new(),
            whole: false,
            failed: None,
        }
    }

    /// Tells everything that waits; open calls as unfinished. For the end of a batch of live output, and for the end.
    pub fn flush(&mut self) {
        self.release();
        while self.first != self.next {
            self.force();
            self.release();
        }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        (self.next - self.first) as usize
    }

    #[inline]
    fn place(&mut self, ticket: u64) -> Option<&mut Entry> {
        self.places.get_mut((ticket - self.base) as usize & (self.max - 1))
    }

    /// Something passed an empty queue.
    #[inline]
    fn told(&mut self) {
        self.first += 1;
        self.next += 1;
    }

    /// Tells what is complete at the front.
    #[inline]
    fn release(&mut self) {
        while self.first != self.next {
            let at = (self.first - self.base) as usize & (self.max - 1);
            let Some(front) = self.places.get_mut(at) else { return };
            match front {
                Entry::Call(call) if call.end == End::Open => return,
                Entry::Call(call) => {
                    let texts = self.texts.get_mut(at);
                    self.lines.call(call, texts.as_deref().unwrap_or(&NO_TEXTS));
                    if let Some(texts) = texts {
                        texts.clear();
                    }
                }
                Entry::Note(note) => {
                    self.lines.note(note);
                    *front = Entry::Gone;
                }
                Entry::Gone => {}
            }
            self.first += 1;
        }
    }

    /// What is known about a call's arguments; its place is left without.
    fn take_texts(&mut self, ticket: u64) -> Texts {
        let at = (ticket - self.base) as usize & (self.max - 1);
        self.texts.get_mut(at).map(std::mem::take).unwrap_or_default()
    }

    /// Tells the open call at the front with its end from a look ahead, or as unfinished.
    #[cold]
    fn force(&mut self) {
        let ticket = self.first;
        self.first += 1;
        let Some(Entry::Call(call)) = self.place(ticket) else { return };
        let call = *call;
        if self.long.is_none() {
            if let Some(mut look_ahead) = self.look_ahead.take() {
                match look_ahead() {
                    Ok(long) => self.long = Some(long),
                    Err(why) => self.failed = Some(why),
                }
            }
        }
        let texts = self.take_texts(ticket);
        match self.long.as_mut().and_then(|long| long.take(ticket, &call)) {
            Some(end) => self.lines.call(&end, &texts),
            None => {
                if !self.whole {
                    self.lines.unfinished(&call, &texts);
                } else if !texts.is_empty() {
                    self.late_texts.push((ticket, texts));
                }
                self.early.push(ticket);
            }
        }
    }

    #[inline]
    fn push(&mut self, entry: Entry) -> u64 {
        if self.first == self.next {
            self.base = self.next;
        } else if self.len() >= self.max {
            // Only an open call stays at the front.
            self.force();
            self.release();
        }
        let ticket = self.next;
        self.next += 1;
        match self.place(ticket) {
            Some(place) => *place = entry,
            None => self.places.push(entry),
        }
        ticket
    }
}

impl<L: Lines> Steps for Order<'_, L> {
    #[inline]
    fn opened(&mut self, call: &Call) -> u64 {
        self.push(Entry::Call(*call))
    }

    fn wants_texts(&self) -> bool {
        true
    }

    fn text(&mut self, ticket: u64, arg: u8, text: Text<'_>) {
        if ticket >= self.first {
            let at = (ticket - self.base) as usize & (self.max - 1);
            if self.texts.len() <= at {
                self.texts.resize_with(at + 1, Texts::default);
            }
            if let Some(texts) = self.texts.get_mut(at) {
                texts.push(arg, text);
            }
        } else if self.early.binary_search(&ticket).is_ok() {
            let known = self.late_texts.iter().position(|(of, _)| *of == ticket);
            let at = known.unwrap_or_else(|| {
                self.late_texts.push((ticket, Texts::default()));
                self.late_texts.len() - 1
            });
            if let Some((_, texts)) = self.late_texts.get_mut(at) {
                texts.push(arg, text);
            }
        }
    }

    #[inline]
    fn closed(&mut self, ticket: u64, call: &Call) {
        if ticket < self.first {
            if let Ok(at) = self.early.binary_search(&ticket) {
                self.early.remove(at);
                let late = self.late_texts.iter().position(|(of, _)| *of == ticket);
                let texts = late.map(|at| self.late_texts.swap_remove(at).1);
                let texts = texts.as_ref().unwrap_or(&NO_TEXTS);
                if self.whole {
                    self.lines.call(call, texts);
                } else {
                    self.lines.resumed(call, texts);
                }
            }
        } else if ticket == self.first {
            let at = (ticket - self.base) as usize & (self.max - 1);
            match self.texts.get_mut(at).filter(|texts| !texts.is_empty()) {
                None => self.lines.call(call, &NO_TEXTS),
                Some(texts) => {
                    self.lines.call(call, texts);
                    texts.clear();
                }
            }
            self.first += 1;
            self.release();
        } else if let Some(Entry::Call(entry)) = self.place(ticket) {
            *entry = *call;
        }
    }

    fn whole(&mut self, call: &Call) {
        if self.first == self.next {
            self.lines.call(call, &NO_TEXTS);
            self.told();
        } else {
            self.push(Entry::Call(*call));
            // The push may have emptied the queue in front of it.
            self.release();
        }
    }

    fn note(&mut self, note: Note) {
        if self.first == self.next {
            self.lines.note(&note);
            self.told();
        } else {
            self.push(Entry::Note(Box::new(note)));
            self.release();
        }
    }

    #[inline]
    fn is_closed(&self) -> bool {
        self.lines.closed()
    }
}
