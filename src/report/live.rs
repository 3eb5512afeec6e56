// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Lines while the recording is being made: what is known at the end of each batch is shown at once.
//!
//! A call that is open at the end of a batch is shown as `<unfinished ...>` and its end later as `<... resumed>`. Nobody can
//! look ahead here, so a program's ABI is its kernel's native one unless the recording's start knew better.

use std::io::Write;

use super::json::JsonLines;
use super::text::Text;
use super::written::with_lines;
use super::{Options, Printer};
use crate::calls::{Order, Tracker};
use crate::error::Result;
use crate::ids::Timestamp;
use crate::recording::{Item, Meta, Stream};

/// Prints what a growing recording brings. Call [`Live::batch_done`] after each [`Live::follow`].
pub struct Live<'a> {
    tracker: Tracker,
    order: Order<'a, Box<dyn Printer<'a> + 'a>>,
}

impl<'a> Live<'a> {
    /// Prints text to `to`.
    pub fn text(meta: &Meta, options: &'a Options, to: impl Write + 'a) -> Result<Live<'a>> {
        Live::new(meta, options, Box::new(Text::new(meta, options, to)))
    }

    /// Prints JSON lines to `to`: calls and notes, without the `recording` and `end` objects.
    pub fn json(meta: &Meta, options: &'a Options, to: impl Write + 'a) -> Result<Live<'a>> {
        Live::new(meta, options, Box::new(JsonLines::new(meta, options, to)))
    }

    fn new(meta: &Meta, options: &Options, printer: Box<dyn Printer<'a> + 'a>) -> Result<Live<'a>> {
        let printer = with_lines(printer, meta, options);
        let order = Order::live(printer, options.filter.needs_end());
        let mut tracker = Tracker::new(meta, None, false)?;
        tracker.follow_descriptors(meta);
        Ok(Live { tracker, order })
    }

    /// Takes the next item.
    pub fn feed(&mut self, item: Item<'_>) {
        self.tracker.feed(item, &mut self.order);
    }

    /// Takes everything up to the time `until`, or until the reader has closed the pipe.
    pub fn follow(&mut self, stream: &mut Stream, until: Timestamp) -> Result<()> {
        self.tracker.follow(stream, until, &mut self.order).map(drop)
    }

    /// Shows what waits. `Ok(false)` once the reader has closed the pipe.
    pub fn batch_done(&mut self) -> Result<bool> {
        self.order.flush();
        self.order.lines.out().finish()
    }

    /// Ends the output: what is still open stays unfinished. `Ok(false)` if the reader has closed the pipe.
    pub fn finish(mut self) -> Result<bool> {
        self.tracker.finish(&mut self.order);
        self.order.flush();
        self.order.lines.end_logs()?;
        self.batch_done()
    }
}
