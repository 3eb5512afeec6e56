// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The events of a recording in time order over all CPUs.
//!
//! Each CPU's file is in time order by itself; the heads are merged, the lower CPU first on equal times as the kernel's
//! own `trace` file does. A gap stands where it began, damage where it was met: neither ends the stream. Memory is one
//! buffer a CPU, whatever the recording's size.

use core::ops::{ControlFlow, Range};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::unistd::{lseek64, Whence};

use super::damage::Damage;
use super::formats::{ContentsEvent, Formats};
use super::reader::open_file;
use super::writer::segment_name;
use crate::error::{Error, Kind, Result};
use crate::format::{Event, Schema};
use crate::ids::{CpuId, Pid, Timestamp};
use crate::ringbuf::{Cursor, Missed, Page, PageError, PageLayout};
use crate::sys;

/// Bytes read at a time for one CPU; rounded up to whole sub-buffers.
pub(super) const CHUNK: usize = 128 << 10;

/// What to do with a sub-buffer at the end of a file that is not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// Decode what is there: nobody writes any more.
    Use,
    /// Wait for the rest: the recorder is writing.
    Wait,
}

/// One thing that happened, in its place in time.
#[derive(Debug)]
pub enum Item<'a> {
    /// An event.
    Event {
        /// Trace clock, nanoseconds.
        ts: Timestamp,
        /// Where it was written.
        cpu: CpuId,
        /// The task that was running: global thread id.
        pid: Pid,
        /// What it says.
        event: Event<'a>,
    },
    /// The kernel lost events on this CPU.
    Lost {
        /// The CPU.
        cpu: CpuId,
        /// Time of the last event before the gap.
        from: Timestamp,
        /// Time of the first event behind it.
        to: Timestamp,
        /// How many, where the kernel stored the number.
        count: Option<u64>,
    },
    /// A part of the recording that cannot be decoded: the rest of a sub-buffer, zeroes up to the next one, or a file.
    Damaged {
        /// The CPU.
        cpu: CpuId,
        /// Time of the last event before it.
        ts: Timestamp,
        /// The file.
        file: PathBuf,
        /// Offset in the file, in bytes.
        offset: u64,
        /// What is wrong.
        error: Damage,
    },
}

/// What a stream has passed on so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records decoded, of any event.
    pub records: u64,
    /// Sub-buffers read.
    pub pages: u64,
    /// Events that sub-buffers say were lost before them, where they give the number.
    pub lost: u64,
    /// Gaps of unknown size.
    pub unknown_gaps: u64,
    /// Damaged places: sub-buffers, runs of zeroes, missing files.
    pub damaged: u64,
}

enum Head {
    /// Nothing read yet, or the end: try again.
    None,
    Record {
        ts: Timestamp,
        data: Range<usize>,
    },
    Lost {
        from: Timestamp,
        to: Timestamp,
        count: Option<u64>,
    },
    Damaged {
        ts: Timestamp,
        index: u32,
        offset: u64,
        error: Damage,
    },
}

struct CpuStream {
    cpu: CpuId,
    dir: PathBuf,
    layout: PageLayout,
    tail: Tail,
    /// Indices of the segments still to be opened, the next one last.
    segments: Vec<u32>,
    /// The segment that is open.
    index: Option<u32>,
    /// The segment that should come next.
    expected: Option<u32>,
    /// The first of the segments that were not there when the next one was opened.
    missing: Option<u32>,
    /// The current sub-buffer promises more than is there: told behind its last record.
    short: Option<PageError>,
    /// The last sub-buffer was zeroes: a run of them is told once.
    in_zeroes: bool,
    file: Option<File>,
    /// Offset in the file of the first byte in `buf`.
    buf_offset: u64,
    /// Allocated with the first file: a recording may name any number of CPUs.
    buf: Vec<u8>,
    /// Bytes of `buf` that hold file contents.
    have: usize,
    /// Where the next page starts in `buf`.
    next_page: usize,
    /// The current page's data in `buf`.
    data: Range<usize>,
    cursor: Cursor,
    last_ts: Timestamp,
    head: Head,
    counts: Counts,
}

/// The merged events of a recording; see the module's description.
pub struct Stream {
    kinds: Kinds,
    cpus: Vec<CpuStream>,
}

/// The events that are understood.
struct Kinds {
    schema: Schema,
    contents: Vec<ContentsEvent>,
}

impl Kinds {
    #[inline]
    fn decode<'a>(&'a self, id: u16, data: &'a [u8]) -> Event<'a> {
        match self.schema.decode(id, data) {
            Event::Other { .. } => self.decode_contents(id, data),
            event => event,
        }
    }

    fn decode_contents<'a>(&'a self, id: u16, data: &'a [u8]) -> Event<'a> {
        match self.contents.iter().find(|event| event.id() == id) {
            Some(event) => Event::Contents(event.contents(data)),
            None => Event::Other { id },
        }
    }
}

impl CpuStream {
    fn new(dir: PathBuf, cpu: CpuId, layout: PageLayout, tail: Tail, mut segments: Vec<u32>) -> CpuStream {
        segments.sort_unstable_by(|a, b| b.cmp(a));
        CpuStream {
            cpu,
            dir,
            layout,
            tail,
            segments,
            index: None,
            expected: None,
            missing: None,
            short: None,
            in_zeroes: false,
            file: None,
            buf_offset: 0,
            buf: Vec::new(),
            have: 0,
            next_page: 0,
            data: 0..0,
            cursor: Cursor::default(),
            last_ts: 0,
            head: Head::None,
            counts: Counts::default(),
        }
    }

    fn head_ts(&self) -> Option<Timestamp> {
        match &self.head {
            Head::None => None,
            Head::Record { ts, .. } | Head::Damaged { ts, .. } => Some(*ts),
            Head::Lost { from, .. } => Some(*from),
        }
    }

    /// Moves the head on; [`Head::None`] where nothing more is there (yet).
    #[inline]
    fn advance(&mut self) -> Result<()> {
        if self.next_record() {
            return Ok(());
        }
        self.advance_page()
    }

    /// Sets the head to the sub-buffer's next record or to its damage; false behind the last one.
    #[inline]
    fn next_record(&mut self) -> bool {
        let data = self.buf.get(self.data.clone()).unwrap_or_default();
        match self.cursor.next(data) {
            Some(Ok(record)) => {
                let end = self.data.start + self.cursor.at;
                self.head = Head::Record { ts: record.ts, data: end - record.data.len()..end };
                self.last_ts = record.ts;
                self.counts.records += 1;
            }
            Some(Err(error)) => self.set_damaged(self.data.start, error.into()),
            None => return false,
        }
        true
    }

    fn set_damaged(&mut self, at: usize, error: Damage) {
        self.short = None;
        self.counts.damaged += 1;
        let index = self.index.unwrap_or_default();
        let offset = self.buf_offset.saturating_add(at as u64);
        self.head = Head::Damaged { ts: self.last_ts, index, offset, error };
    }

    /// Tells of a missing file in its place; false where there is none.
    fn tell_missing(&mut self) -> bool {
        let Some(index) = self.missing.take() else { return false };
        self.counts.damaged += 1;
        self.head = Head::Damaged { ts: self.last_ts, index, offset: 0, error: Damage::Missing };
        true
    }

    /// Goes to the next page that has something to tell.
    #[cold]
    fn advance_page(&mut self) -> Result<()> {
        let subbuf = self.layout.subbuf_size();
        loop {
            if let Some(error) = self.short.take() {
                self.set_damaged(self.data.start, error.into());
                self.data = 0..0;
                return Ok(());
            }
            self.data = 0..0;
            self.cursor = Cursor::default();
            if self.next_page >= self.have {
                let more = self.fill()?;
                if self.tell_missing() {
                    return Ok(());
                }
                if !more {
                    self.head = Head::None;
                    return Ok(());
                }
            }
            let at = self.next_page;
            let end = (at + subbuf).min(self.have);
            self.next_page = end;
            self.counts.pages += 1;
            let bytes = self.buf.get(at..end).unwrap_or_default();
            let page = match Page::parse_prefix(bytes, &self.layout) {
                Ok((page, None)) => page,
                Ok((page, Some(commit))) => {
                    let error = PageError::ShortData { commit, have: page.len() };
                    if commit > self.layout.data_size as usize {
                        // No kernel writes such a length: what stands behind it need not be records.
                        self.in_zeroes = false;
                        self.set_damaged(at, error.into());
                        return Ok(());
                    }
                    self.short = Some(error);
                    page
                }
                Err(error) => {
                    self.in_zeroes = false;
                    self.set_damaged(at, error.into());
                    return Ok(());
                }
            };
            let is_zero = page.is_empty() && page.timestamp() == 0 && page.missed() == Missed::None;
            if is_zero {
                if !std::mem::replace(&mut self.in_zeroes, true) {
                    self.set_damaged(at, Damage::Zeroes);
                    return Ok(());
                }
                if self.next_page >= self.have {
                    self.skip_hole();
                }
                continue;
            }
            self.in_zeroes = false;
            let start = at + usize::from(self.layout.data_offset);
            self.data = start..start + page.len();
            self.cursor = page.start();
            let from = if self.last_ts == 0 { page.timestamp() } else { self.last_ts };
            let count = match page.missed() {
                Missed::None => {
                    // The caller's loop would come straight back here for an empty page.
                    if self.next_record() {
                        return Ok(());
                    }
                    continue;
                }
                Missed::Count(count) => {
                    self.counts.lost = self.counts.lost.saturating_add(count);
                    Some(count)
                }
                Missed::Unknown => {
                    self.counts.unknown_gaps += 1;
                    None
                }
            };
            self.head = Head::Lost { from, to: page.timestamp().max(from), count };
            return Ok(());
        }
    }

    /// Reads the next chunk; false where there is none (yet).
    fn fill(&mut self) -> Result<bool> {
        let subbuf = self.layout.subbuf_size();
        // The recorder may have written on between our reading the end and its opening the next segment.
        let mut read_again = self.tail == Tail::Wait;
        loop {
            let Some(file) = &self.file else {
                if !self.open_next()? {
                    return Ok(false);
                }
                continue;
            };
            let offset = self.buf_offset + self.have as u64;
            let mut have = 0;
            while let Some(room) = self.buf.get_mut(have..).filter(|room| !room.is_empty()) {
                match file.read_at(room, offset + have as u64) {
                    Ok(0) => break,
                    Ok(count) => have += count,
                    Err(why) if why.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(why) => {
                        let name = self.index.map(|index| segment_name(self.cpu, index)).unwrap_or_default();
                        return Err(Error::io("read", &self.dir.join(name), why));
                    }
                }
            }
            if self.tail == Tail::Wait {
                have -= have % subbuf;
            }
            if have > 0 {
                self.buf_offset = offset;
                self.have = have;
                self.next_page = 0;
                return Ok(true);
            }
            if read_again && self.next_exists() {
                read_again = false;
                continue;
            }
            if !self.open_next()? {
                return Ok(false);
            }
        }
    }

    /// Goes to the end of a hole without reading it: a file of a few bytes may have one of terabytes.
    fn skip_hole(&mut self) {
        let Some(file) = &self.file else { return };
        let at = self.buf_offset.saturating_add(self.have as u64);
        let Some(end) = data_from(file, at) else { return };
        let subbuf = self.layout.subbuf_size() as u64;
        self.buf_offset = self.buf_offset.saturating_add((end / subbuf * subbuf).saturating_sub(at));
    }

    /// Whether a segment behind the open one is there; segments come one after the other, so only one can be new.
    fn next_exists(&mut self) -> bool {
        if self.segments.is_empty() {
            let next = self.index.map_or(0, |index| index.saturating_add(1));
            if sys::exists(&self.dir.join(segment_name(self.cpu, next))) {
                self.segments.push(next);
            }
        }
        !self.segments.is_empty()
    }

    /// Opens the next segment; false where there is none (yet).
    fn open_next(&mut self) -> Result<bool> {
        if self.tail == Tail::Wait {
            self.next_exists();
        }
        while let Some(next) = self.segments.pop() {
            if let Some(expected) = self.expected.filter(|expected| *expected < next) {
                self.missing = self.missing.or(Some(expected));
            }
            self.expected = Some(next.saturating_add(1));
            let path = self.dir.join(segment_name(self.cpu, next));
            match open_file(&path) {
                Ok(file) => {
                    if self.buf.is_empty() {
                        let subbuf = self.layout.subbuf_size();
                        self.buf = vec![0; CHUNK.div_ceil(subbuf) * subbuf];
                    }
                    self.file = Some(file);
                    self.index = Some(next);
                    self.buf_offset = 0;
                    self.have = 0;
                    self.next_page = 0;
                    return Ok(true);
                }
                // Trimmed by the recorder's size limit between listing and opening.
                Err(why) if why.kind() == Kind::NotFound => {}
                Err(why) => return Err(why),
            }
        }
        Ok(false)
    }
}

/// Where a file's next data from `at` on begins, or the file's end; `None` where the file system does not tell.
pub(super) fn data_from(file: &File, at: u64) -> Option<u64> {
    match lseek64(file, i64::try_from(at).unwrap_or(i64::MAX), Whence::SeekData) {
        Ok(data) => Some(data as u64),
        // Nothing but the hole up to the end.
        Err(Errno::ENXIO) => Some(sys::status_of(file).map_or(at, |status| status.size)),
        Err(_) => None,
    }
}

impl Stream {
    /// A stream over the segments of each CPU; `Recording::stream` makes it.
    pub(super) fn new(
        dir: PathBuf,
        formats: &Formats,
        layout: PageLayout,
        tail: Tail,
        segments: Vec<(CpuId, Vec<u32>)>,
    ) -> Result<Stream> {
        let kinds = Kinds { schema: formats.schema()?, contents: formats.contents() };
        let cpus = segments
            .into_iter()
            .map(|(cpu, segments)| CpuStream::new(dir.clone(), cpu, layout, tail, segments))
            .collect();
        Ok(Stream { kinds, cpus })
    }

    /// Calls `f` for everything up to and including the time `until`, in time order, until it breaks. May be called again
    /// with a later time; a stream that waits for its recorder ([`Tail::Wait`]) then sees what came in meanwhile.
    pub fn run(&mut self, until: Timestamp, mut f: impl FnMut(Item<'_>) -> ControlFlow<()>) -> Result<ControlFlow<()>> {
        self.look_again()?;
        while let Some((index, limit)) = self.first(until) {
            let Some(cpu) = self.cpus.get_mut(index) else { break };
            while cpu.head_ts().is_some_and(|ts| ts <= limit) {
                let flow = cpu.item(&self.kinds).map_or(ControlFlow::Continue(()), &mut f);
                cpu.advance()?;
                if flow.is_break() {
                    return Ok(flow);
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Reads on where the end was reached: the recorder may have written meanwhile.
    fn look_again(&mut self) -> Result<()> {
        for cpu in &mut self.cpus {
            if matches!(cpu.head, Head::None) {
                cpu.advance()?;
            }
        }
        Ok(())
    }

    /// The CPU whose head comes first, and the time up to which it can go on alone; `None` if all heads lie behind `until`.
    fn first(&self, until: Timestamp) -> Option<(usize, Timestamp)> {
        let mut best: Option<(usize, Timestamp)> = None;
        // How far the best CPU may go before the next one's turn.
        let mut limit = until;
        for (index, cpu) in self.cpus.iter().enumerate() {
            let Some(ts) = cpu.head_ts().filter(|ts| *ts <= until) else { continue };
            match best {
                Some((_, best_ts)) if ts >= best_ts => limit = limit.min(ts),
                _ => {
                    // The CPU that was best so far comes first at equal times, and it lies behind this one's head.
                    if let Some((_, best_ts)) = best {
                        limit = best_ts - 1;
                    }
                    best = Some((index, ts));
                }
            }
        }
        best.map(|(index, _)| (index, limit))
    }

    /// What has been passed on so far, over all CPUs. A CPU's next event is counted already.
    pub fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        for cpu in &self.cpus {
            let counts = &cpu.counts;
            sum.records += counts.records;
            sum.pages += counts.pages;
            sum.lost = sum.lost.saturating_add(counts.lost);
            sum.unknown_gaps += counts.unknown_gaps;
            sum.damaged += counts.damaged;
        }
        sum
    }
}

impl CpuStream {
    /// The head as an item; `None` for a record shorter than its common fields, which is not one of the kernel's: it counts,
    /// and says nothing.
    #[inline]
    fn item<'a>(&'a self, kinds: &'a Kinds) -> Option<Item<'a>> {
        let cpu = self.cpu;
        Some(match &self.head {
            Head::None => return None,
            Head::Record { ts, data } => {
                let data = self.buf.get(data.clone()).unwrap_or_default();
                let common = Schema::common(data)?;
                Item::Event { ts: *ts, cpu, pid: common.pid, event: kinds.decode(common.id, data) }
            }
            Head::Lost { from, to, count } => Item::Lost { cpu, from: *from, to: *to, count: *count },
            Head::Damaged { ts, index, offset, error } => {
                let file = self.dir.join(segment_name(cpu, *index));
                Item::Damaged { cpu, ts: *ts, file, offset: *offset, error: *error }
            }
        })
    }
}
