// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One sub-buffer taken apart: header, missed-event marks, records. Total (any bytes give records or an error with an
//! offset, never a panic or a read outside), without allocation.
//!
//! Source of truth: kernel/trace/ring_buffer.c; include/linux/ring_buffer.h for the record types. Words are little
//! endian: every architecture we know is; a recording from a big-endian kernel is refused when it is opened.

use super::PageLayout;

/// Bits of `commit` that hold the length of the data; the kernel keeps flags in 30 and 31, other readers mask 27 bits too.
const COMMIT_LEN_MASK: u64 = (1 << 27) - 1;
/// `RB_MISSED_STORED`: the number of missed events stands behind the data.
const MISSED_STORED: u64 = 1 << 30;
/// `RB_MISSED_EVENTS`: events were lost before this sub-buffer. On 64-bit kernels the flag is added as a negative int,
/// so the upper half of the word is then all ones: mask, never compare.
const MISSED_EVENTS: u64 = 1 << 31;

/// Record types above the 28 that are lengths (`enum ring_buffer_type`).
const TYPE_PADDING: u32 = 29;
const TYPE_TIME_EXTEND: u32 = 30;
const TYPE_TIME_STAMP: u32 = 31;

/// Bits of a time delta in a record header; extensions carry what lies above.
const TIME_DELTA_BITS: u32 = 27;
/// Top bits that an absolute stamp does not carry (`TS_MSB`): they come from the running time.
const TS_MSB: u64 = 0xf8 << 56;

/// Why a sub-buffer cannot be read on; offsets are bytes from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageError {
    /// Fewer bytes than a header has.
    ShortHeader {
        /// Bytes that are there.
        have: usize,
    },
    /// `commit` promises more data than there are bytes.
    ShortData {
        /// Length that `commit` gives.
        commit: usize,
        /// Bytes that are there behind the header.
        have: usize,
    },
    /// A record's length word is 0 to 3, which is less than the word itself (seen as a zero-filled page whose `commit`
    /// promised data, on Android boards).
    ZeroLength {
        /// Where the record starts.
        offset: usize,
    },
    /// A record reaches past the end of the data.
    Overrun {
        /// Where the record starts.
        offset: usize,
    },
}

/// What the kernel says was lost between the previous sub-buffer of this CPU and this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    /// Nothing.
    None,
    /// This many events.
    Count(u64),
    /// At least one; there was no room for the number.
    Unknown,
}

/// A sub-buffer whose header has been checked.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    timestamp: u64,
    missed: Missed,
    data: &'a [u8],
    data_offset: usize,
}

/// One event's payload with its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Nanoseconds of the trace clock.
    pub ts: u64,
    /// The payload: common fields, then the event's own. May have up to four spare bytes at its end.
    pub data: &'a [u8],
}

/// Where a reader stands in a page: the offset of the next record and the running time.
///
/// Kept apart from the page's bytes so that a caller that owns a buffer can stop anywhere and go on later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Offset of the next record from the start of the data.
    pub at: usize,
    /// Time of the record before it, or the page's own.
    pub ts: u64,
}

/// Iterator over the records of a page. After an error it ends.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    data: &'a [u8],
    data_offset: usize,
    cursor: Cursor,
}

fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(word.try_into().ok()?))
}

fn le64(bytes: &[u8], at: usize) -> Option<u64> {
    let word = bytes.get(at..at.checked_add(8)?)?;
    Some(u64::from_le_bytes(word.try_into().ok()?))
}

fn le_long(bytes: &[u8], at: usize, size: u8) -> Option<u64> {
    if size == 8 {
        le64(bytes, at)
    } else {
        le32(bytes, at).map(u64::from)
    }
}

/// An absolute stamp's 59 bits with the top 5 of the running time, one step further where the 59 wrapped in between.
/// A running time that has none of the 5 is taken to be below them, so that a stamp before it stays as it is
/// (`rb_fix_abs_ts`).
fn restore_msb(stamp: u64, running: u64) -> u64 {
    if running & TS_MSB == 0 {
        return stamp;
    }
    let full = (stamp & !TS_MSB) | (running & TS_MSB);
    if full < running {
        full.wrapping_add(1 << 59)
    } else {
        full
    }
}

impl<'a> Page<'a> {
    /// Checks the header of the sub-buffer that starts at `bytes`. What lies behind the data is not looked at, so a
    /// buffer may be longer than the sub-buffer.
    pub fn parse(bytes: &'a [u8], layout: &PageLayout) -> Result<Page<'a>, PageError> {
        let (page, have) = Page::parse_prefix(bytes, layout)?;
        match have {
            None => Ok(page),
            Some(commit) => Err(PageError::ShortData { commit, have: page.len() }),
        }
    }

    /// As [`Page::parse`], for a sub-buffer whose end may not have been written (a recorder or a machine that died):
    /// gives what is there, and the length that `commit` promises where that is more. The last record of such a page
    /// ends in [`PageError::Overrun`] where it was cut.
    pub fn parse_prefix(bytes: &'a [u8], layout: &PageLayout) -> Result<(Page<'a>, Option<usize>), PageError> {
        let data_offset = usize::from(layout.data_offset);
        let short = PageError::ShortHeader { have: bytes.len() };
        let timestamp = le64(bytes, 0).ok_or(short)?;
        let commit = le_long(bytes, usize::from(layout.commit_offset), layout.commit_size).ok_or(short)?;
        let room = bytes.get(data_offset..).ok_or(short)?;
        let room = room.get(..layout.data_size as usize).unwrap_or(room);
        let len = (commit & COMMIT_LEN_MASK) as usize;
        // A flag alone means "at least one": there was no room behind the data for the number, or the kernel lost count.
        let missed = if commit & MISSED_EVENTS == 0 {
            Missed::None
        } else if commit & MISSED_STORED == 0 {
            Missed::Unknown
        } else {
            match le_long(room, len, layout.commit_size) {
                Some(count) if count > 0 => Missed::Count(count),
                _ => Missed::Unknown,
            }
        };
        let page = |data| Page { timestamp, missed, data, data_offset };
        match room.get(..len) {
            Some(data) => Ok((page(data), None)),
            None => Ok((page(room), Some(len))),
        }
    }

    /// Time of the page: the base of its records' deltas.
    pub fn timestamp(&self) -> u64 {
        self.timestamp
    }

    /// What was lost before this page.
    pub fn missed(&self) -> Missed {
        self.missed
    }

    /// Length of the data in bytes.
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// Whether the page holds no record at all.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// The bytes of the records.
    pub fn data(&self) -> &'a [u8] {
        self.data
    }

    /// A cursor in front of the first record.
    pub fn start(&self) -> Cursor {
        Cursor { at: 0, ts: self.timestamp }
    }

    /// The records in the order they were written.
    pub fn records(&self) -> Records<'a> {
        Records { data: self.data, data_offset: self.data_offset, cursor: self.start() }
    }
}

impl Cursor {
    /// The record at the cursor, which moves behind it; `None` at the end of `data` (the slice [`Page::data`] gave).
    /// Padding, discarded records and time stamps are passed over and their times added.
    #[inline]
    pub fn next<'a>(&mut self, data: &'a [u8]) -> Option<Result<Record<'a>, PageError>> {
        loop {
            let rest = data.get(self.at..)?;
            let (Some(head), Some(body)) = (le32(rest, 0), rest.get(4..)) else {
                // Fewer than four bytes cannot hold a record; the kernel aligns to four, so this is damage unless it is the end.
                return if rest.is_empty() {
                    None
                } else {
                    Some(Err(self.stop(data, PageError::Overrun { offset: self.at })))
                };
            };
            let type_len = head & 31;
            let delta = u64::from(head >> 5);
            match type_len {
                1..=28 => {
                    let len = type_len as usize * 4;
                    let Some(payload) = body.get(..len) else {
                        return Some(Err(self.stop(data, PageError::Overrun { offset: self.at })));
                    };
                    self.at += 4 + len;
                    self.ts = self.ts.wrapping_add(delta);
                    return Some(Ok(Record { ts: self.ts, data: payload }));
                }
                0 => {
                    // array[0] is the length of the record behind the header and counts itself.
                    let Some(len) = le32(body, 0) else {
                        return Some(Err(self.stop(data, PageError::Overrun { offset: self.at })));
                    };
                    if len < 4 {
                        return Some(Err(self.stop(data, PageError::ZeroLength { offset: self.at })));
                    }
                    let Some(payload) = body.get(4..len as usize) else {
                        return Some(Err(self.stop(data, PageError::Overrun { offset: self.at })));
                    };
                    self.at += 4 + len as usize;
                    self.ts = self.ts.wrapping_add(delta);
                    return Some(Ok(Record { ts: self.ts, data: payload }));
                }
                TYPE_PADDING => {
                    if delta == 0 {
                        // Nothing further in this page; array[0] means nothing here.
                        self.at = data.len();
                        return None;
                    }
                    let Some(len) = le32(body, 0) else {
                        return Some(Err(self.stop(data, PageError::Overrun { offset: self.at })));
                    };
                    if len < 4 {
                        return Some(Err(self.stop(data, PageError::ZeroLength { offset: self.at })));
                    }
                    // A discarded record; its time still counts, because the writer had moved its clock. A delta of 1 stands
                    // for 0, which would mean the end of the page (`rb_event_discard`, `check_buffer`).
                    if len as usize > body.len() {
                        return Some(Err(self.stop(data, PageError::Overrun { offset: self.at })));
                    }
                    self.at += 4 + len as usize;
                    self.ts = self.ts.wrapping_add(if delta == 1 { 0 } else { delta });
                }
                TYPE_TIME_EXTEND | TYPE_TIME_STAMP => {
                    let Some(high) = le32(body, 0) else {
                        return Some(Err(self.stop(data, PageError::Overrun { offset: self.at })));
                    };
                    let value = (u64::from(high) << TIME_DELTA_BITS) + delta;
                    self.ts = if type_len == TYPE_TIME_EXTEND {
                        self.ts.wrapping_add(value)
                    } else {
                        restore_msb(value, self.ts)
                    };
                    self.at += 8;
                }
                _ => return Some(Err(self.stop(data, PageError::Overrun { offset: self.at }))),
            }
        }
    }

    /// Ends the iteration and passes the error on: behind damage no record boundary can be trusted.
    #[cold]
    fn stop(&mut self, data: &[u8], error: PageError) -> PageError {
        self.at = data.len();
        error
    }
}

impl PageError {
    /// The error's offset from the start of the sub-buffer, given the size of its header.
    pub fn offset_in_page(&self, data_offset: usize) -> usize {
        match self {
            PageError::ShortHeader { .. } => 0,
            PageError::ShortData { .. } => 8,
            PageError::ZeroLength { offset } | PageError::Overrun { offset } => data_offset + offset,
        }
    }
}

impl core::fmt::Display for PageError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            PageError::ShortHeader { have } => write!(f, "a page of {have} bytes is shorter than its header"),
            PageError::ShortData { commit, have } => write!(f, "the page promises {commit} bytes and has {have}"),
            PageError::ZeroLength { offset } => write!(f, "a record of no length at data offset {offset}"),
            PageError::Overrun { offset } => write!(f, "the record at data offset {offset} reaches past the page"),
        }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, PageError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.cursor.next(self.data)
    }
}

impl Records<'_> {
    /// Offset of the next record from the start of the sub-buffer.
    pub fn offset(&self) -> usize {
        self.data_offset + self.cursor.at
    }
}
