// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Lines while the recording is being made: what is known at the end of each batch is shown at once.
//!
//! A call that is open at the end of a batch is shown as `<unfinished ...>` and its end later as `<... resumed>`. Nobody can
//! look ahead here, so a program's ABI is its kernel's native one unless the recording's start knew better.

use std::io::Write;

use super::json::JsonLines;
use super::text::Text;
use super::Options;
use crate::calls::{Order, Tracker};
use crate::error::Result;
use crate::recording::{Item, Meta};

enum Printing<'a> {
    Text(Tracker<Order<'a, Text<'a>>>, Order<'a, Text<'a>>),
    Json(Tracker<Order<'a, JsonLines<'a>>>, Order<'a, JsonLines<'a>>),
}

/// Prints what a growing recording brings. Feed it from `Stream::run` and call [`Live::batch_done`] after each run.
pub struct Live<'a>(Printing<'a>);

impl<'a> Live<'a> {
    /// Prints text to `to`.
    pub fn text(meta: &Meta, options: &Options, to: impl Write + 'a) -> Result<Live<'a>> {
        let text = Text::new(meta, options, to);
        Ok(Live(Printing::Text(Tracker::new(meta, None, false)?, Order::live(text))))
    }

    /// Prints JSON lines to `to`: calls and notes, without the `recording` and `end` objects.
    pub fn json(meta: &Meta, options: &Options, to: impl Write + 'a) -> Result<Live<'a>> {
        let json = JsonLines::new(meta, options, to);
        Ok(Live(Printing::Json(Tracker::new(meta, None, false)?, Order::live(json))))
    }

    /// Takes the next item.
    pub fn feed(&mut self, item: Item<'_>) {
        match &mut self.0 {
            Printing::Text(tracker, order) => tracker.feed(item, order),
            Printing::Json(tracker, order) => tracker.feed(item, order),
        }
    }

    /// Shows what waits. `Ok(false)` once the reader has closed the pipe.
    pub fn batch_done(&mut self) -> Result<bool> {
        match &mut self.0 {
            Printing::Text(_, order) => {
                order.flush();
                order.lines.out().finish()
            }
            Printing::Json(_, order) => {
                order.flush();
                order.lines.out().finish()
            }
        }
    }

    /// Ends the output: what is still open stays unfinished. `Ok(false)` if the reader has closed the pipe.
    pub fn finish(mut self) -> Result<bool> {
        match &mut self.0 {
            Printing::Text(tracker, order) => tracker.finish(order),
            Printing::Json(tracker, order) => tracker.finish(order),
        }
        self.batch_done()
    }
}
