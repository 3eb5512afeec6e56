// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Events of a running recording in time order, for those recorders that look at them: the counter, and what narrows the
//! filter of mode `profile`.
//!
//! Events of all CPUs are taken up to a time before which all are written, so what one task does on two CPUs comes in its
//! order. Memory is a sub-buffer a CPU.

use crate::error::Result;
use crate::ids::Timestamp;
use crate::ringbuf::{Cursor, Missed, Page, PageLayout};

/// One CPU's sub-buffer, and where we are in it.
#[derive(Debug, Default)]
struct Lane {
    page: Vec<u8>,
    /// Where its records lie in `page`.
    data: (usize, usize),
    cursor: Cursor,
    /// The record that comes next: its time, and its place in `page`.
    head: Option<(Timestamp, usize, usize)>,
    /// The kernel had no more in this turn. What came since is later than what the turn is about.
    dry: bool,
    /// Bytes taken in this turn.
    moved: u64,
}

/// Takes a CPU's next sub-buffer, whole or not; gives its bytes, 0 where there is nothing now.
pub(super) type Read<'a> = &'a mut dyn FnMut(usize, &mut [u8]) -> Result<usize>;

/// All CPUs.
#[derive(Debug)]
pub(super) struct Lanes {
    lanes: Vec<Lane>,
    layout: PageLayout,
    /// Events lost before they were taken, by the marks in sub-buffers.
    pub lost: u64,
    /// Places that could not be decoded.
    pub damaged: u64,
}

impl Lanes {
    pub fn new(layout: PageLayout, cpus: usize) -> Box<Lanes> {
        let mut lanes = Box::new(Lanes { lanes: Vec::new(), layout, lost: 0, damaged: 0 });
        for _ in 0..cpus {
            lanes.lanes.push(Lane { page: vec![0; layout.subbuf_size()], ..Lane::default() });
        }
        lanes
    }

    /// Hands out the events up to `until`. Gives the bytes taken from the busiest CPU.
    pub fn walk(&mut self, until: Timestamp, read: Read<'_>, each: &mut dyn FnMut(Timestamp, &[u8])) -> Result<u64> {
        for lane in &mut self.lanes {
            (lane.dry, lane.moved) = (false, 0);
        }
        loop {
            let mut first: Option<(Timestamp, usize)> = None;
            for slot in 0..self.lanes.len() {
                self.fill(slot, read)?;
                if let Some((ts, ..)) = self.lanes.get(slot).and_then(|lane| lane.head) {
                    if ts <= until && !first.is_some_and(|(known, _)| known <= ts) {
                        first = Some((ts, slot));
                    }
                }
            }
            let Some(lane) = first.and_then(|(_, slot)| self.lanes.get_mut(slot)) else { break };
            let Some((ts, start, end)) = lane.head.take() else { break };
            each(ts, lane.page.get(start..end).unwrap_or_default());
        }
        Ok(self.lanes.iter().map(|lane| lane.moved).max().unwrap_or(0))
    }

    /// Whether events were taken that are later than the last turn was about.
    pub fn waits(&self) -> bool {
        self.lanes.iter().any(|lane| lane.head.is_some())
    }

    /// Finds a CPU's next record.
    #[inline]
    fn fill(&mut self, slot: usize, read: Read<'_>) -> Result<()> {
        let Some(lane) = self.lanes.get_mut(slot) else { return Ok(()) };
        while lane.head.is_none() && !lane.dry {
            let (start, end) = lane.data;
            match lane.cursor.next(lane.page.get(start..end).unwrap_or_default()) {
                Some(Ok(record)) => {
                    let end = start + lane.cursor.at;
                    lane.head = Some((record.ts, end - record.data.len(), end));
                }
                Some(Err(_)) => self.damaged += 1,
                None => {
                    let count = read(slot, &mut lane.page)?;
                    lane.dry = count == 0;
                    if lane.dry {
                        break;
                    }
                    lane.moved += count as u64;
                    match Page::parse(lane.page.get(..count).unwrap_or_default(), &self.layout) {
                        Ok(page) => {
                            let start = usize::from(self.layout.data_offset);
                            lane.data = (start, start + page.len());
                            lane.cursor = page.start();
                            match page.missed() {
                                Missed::None => {}
                                Missed::Count(lost) => self.lost += lost,
                                Missed::Unknown => self.lost += 1,
                            }
                        }
                        Err(_) => self.damaged += 1,
                    }
                }
            }
        }
        Ok(())
    }
}
