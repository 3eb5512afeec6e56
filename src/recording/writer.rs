// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Writing a recording so that it reads back whatever the moment the recorder or the power dies.
//!
//! Sub-buffers are appended whole to segment files; a part-filled one takes its full place with a hole behind the data,
//! so that every sub-buffer starts at a multiple of its size. `meta.json` is replaced by renaming a file whose blocks
//! were reserved at the start: the end of a recording can be written on a full disk. Everything is created below a
//! directory descriptor, with O_EXCL and O_NOFOLLOW, for the recorder alone (0700/0600).

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use super::base::create_base;
use super::formats::Formats;
use super::meta::{Meta, Trimmed};
use super::meta_file::MetaFile;
use super::reader::open_file;
use crate::error::{Error, Kind, Result};
use crate::ids::{CpuId, Timestamp};
use crate::ringbuf::{Missed, Page, PageLayout};
use crate::sys;
use crate::words::number;

/// Smallest size of a segment in bytes; below, the directory would fill with files.
const SEGMENT_MIN: u64 = 256 << 10;
/// Largest size of a segment in bytes: what `--max-size` drops at a time.
const SEGMENT_MAX: u64 = 16 << 20;
/// Parts that `--max-size` and `--max-age` are divided into; what is kept is at least limit × (1 - 1/PARTS).
const PARTS: u64 = 16;

/// Name of a CPU's segment file.
pub fn segment_name(cpu: CpuId, index: u32) -> String {
    format!("cpu{cpu}.{index:06}.pages")
}

/// The inverse of [`segment_name`].
pub fn parse_segment_name(name: &str) -> Option<(CpuId, u32)> {
    let (cpu, index) = name.strip_prefix("cpu")?.strip_suffix(".pages")?.split_once('.')?;
    if index.len() < 6 {
        return None;
    }
    Some((CpuId::try_from(number(cpu)?).ok()?, u32::try_from(number(index)?).ok()?))
}

/// Creates a file of ours: it must not be there, and no link is followed.
pub(super) fn create_new(path: &Path) -> Result<File> {
    sys::open(path, OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW)
        .map_err(|why| Error::io("create", path, why))
}

/// One CPU's file that is being written.
#[derive(Debug)]
pub struct SegmentWriter {
    cpu: CpuId,
    index: u32,
    file: Option<File>,
    offset: u64,
    /// What the last place holds, if more can be put behind it.
    part: Option<Part>,
    /// When its file was opened, in milliseconds of the monotonic clock.
    opened: u64,
}

/// What a sub-buffer holds whose place has room left.
#[derive(Clone, Copy, Debug)]
struct Part {
    /// Bytes of records.
    used: usize,
    /// Time of the last record.
    ts: Timestamp,
}

/// Where the last record of a sub-buffer ends and what its time is; `None` where that is not known, or where something
/// stands behind the records.
fn part_of(page: &Page<'_>) -> Option<Part> {
    let (mut cursor, mut part) = (page.start(), Part { used: 0, ts: page.timestamp() });
    while let Some(record) = cursor.next(page.data()) {
        record.ok()?;
        part = Part { used: cursor.at, ts: cursor.ts };
    }
    (page.missed() == Missed::None).then_some(part)
}

/// A finished segment.
#[derive(Debug)]
struct Closed {
    cpu: CpuId,
    index: u32,
    bytes: u64,
    /// When it was finished, in milliseconds of the monotonic clock.
    at: u64,
}

/// The directory of one recording, open for writing.
#[derive(Debug)]
pub struct Store {
    /// The recording's directory.
    pub dir: PathBuf,
    layout: PageLayout,
    max_size: u64,
    /// In milliseconds; `u64::MAX` is no limit.
    max_age: u64,
    segment_size: u64,
    cpus: Vec<SegmentWriter>,
    /// Oldest first.
    closed: Vec<Closed>,
    bytes: u64,
    /// What the limits removed so far.
    pub trimmed: Trimmed,
}

impl Store {
    /// Makes the directory `name` below `base` and what does not change in it.
    pub fn create(
        base: &Path,
        name: &str,
        formats: &Formats,
        meta: &mut Meta,
        cpus: &[CpuId],
    ) -> Result<(Store, MetaFile)> {
        let _owner = sys::as_owner();
        create_base(base)?;
        let dir = base.join(name);
        sys::make_dir(&dir).map_err(|why| Error::io("create", &dir, why.into()))?;
        let made = Store::fill(&dir, formats, meta, cpus);
        if made.is_err() {
            // Undo, so that a start that failed leaves nothing.
            let _ = sys::remove_dir_with_files(&dir);
        }
        made
    }

    fn fill(dir: &Path, formats: &Formats, meta: &mut Meta, cpus: &[CpuId]) -> Result<(Store, MetaFile)> {
        let path = dir.join("formats");
        create_new(&path)?.write_all(formats.as_bytes()).map_err(|why| Error::io("write", &path, why))?;
        let meta_file = MetaFile::create(dir, meta)?;
        Ok((Store::empty(dir, meta, cpus)?, meta_file))
    }

    fn empty(dir: &Path, meta: &Meta, cpus: &[CpuId]) -> Result<Store> {
        let (max_size, max_age_s) = (meta.options.max_size, meta.options.max_age_s);
        let segment_size = if max_size == 0 { SEGMENT_MAX } else { (max_size / PARTS).clamp(SEGMENT_MIN, SEGMENT_MAX) };
        Ok(Store {
            dir: dir.to_owned(),
            layout: meta.layout()?,
            max_size,
            max_age: if max_age_s == 0 { u64::MAX } else { max_age_s.saturating_mul(1000) },
            segment_size,
            cpus: cpus
                .iter()
                .map(|cpu| SegmentWriter { cpu: *cpu, index: 0, file: None, offset: 0, part: None, opened: 0 })
                .collect(),
            closed: Vec::new(),
            bytes: 0,
            trimmed: Trimmed::default(),
        })
    }

    /// Opens the directory of a recorder that died, to add what the kernel still has: behind the last segments.
    pub fn reopen(dir: &Path, meta: &Meta, cpus: &[CpuId]) -> Result<Store> {
        let _owner = sys::as_owner();
        let mut store = Store::empty(dir, meta, cpus)?;
        for name in sys::names(dir).map_err(|why| Error::io("list", dir, why))? {
            let Some((cpu, index)) = name.to_str().and_then(parse_segment_name) else { continue };
            if let Some(writer) = store.cpus.iter_mut().find(|writer| writer.cpu == cpu) {
                writer.index = writer.index.max(index + 1);
            }
        }
        store.trimmed = meta.trimmed;
        Ok(store)
    }

    /// Bytes stored and not removed.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The file to append to for the CPU at `slot` (its place in the list given to [`Store::create`]) and the offset to
    /// write at; a full or old segment is closed and the next one opened.
    pub fn target(&mut self, slot: usize) -> Result<(&File, u64)> {
        let now = sys::monotonic_ms();
        let Some(writer) = self.cpus.get_mut(slot) else {
            return Err(Error::new(Kind::Bug, format!("no segment writer {slot}")));
        };
        let full = writer.offset >= self.segment_size;
        let old = writer.offset > 0 && now - writer.opened >= self.max_age / PARTS;
        if writer.file.is_some() && (full || old) {
            writer.file = None;
            self.closed.push(Closed { cpu: writer.cpu, index: writer.index, bytes: writer.offset, at: now });
            writer.index += 1;
            writer.offset = 0;
            writer.part = None;
        }
        if writer.file.is_none() {
            let path = self.dir.join(segment_name(writer.cpu, writer.index));
            let _owner = sys::as_owner();
            writer.file = Some(create_new(&path)?);
            writer.opened = now;
        }
        match &writer.file {
            Some(file) => Ok((file, writer.offset)),
            None => Err(Error::new(Kind::Bug, "segment not open".into())),
        }
    }

    /// Notes that `bytes` (whole sub-buffers) were written at the offset [`Store::target`] gave.
    pub fn appended(&mut self, slot: usize, bytes: u64) {
        if let Some(writer) = self.cpus.get_mut(slot) {
            writer.offset += bytes;
            writer.part = None;
            self.bytes += bytes;
        }
    }

    /// Cuts off what a failed write left behind the last whole sub-buffer.
    pub fn cut_tail(&mut self, slot: usize) {
        if let Some(SegmentWriter { file: Some(file), offset, .. }) = self.cpus.get(slot) {
            let _ = sys::set_len(file, *offset);
        }
    }

    /// Appends one sub-buffer that read(2) gave. Of one that is not half full only its used part is
    /// written, and the rest of its place is a hole.
    pub fn append_page(&mut self, slot: usize, bytes: &[u8]) -> Result<()> {
        let subbuf = self.layout.subbuf_size();
        let used = match Page::parse_prefix(bytes, &self.layout) {
            // Behind the data stands the count of missed events.
            Ok((page, _)) => (usize::from(self.layout.data_offset) + page.len() + 8).min(bytes.len()),
            Err(_) => bytes.len(),
        };
        let whole = bytes.len() == subbuf && used > subbuf / 2;
        let used = if whole { bytes } else { bytes.get(..used).unwrap_or(bytes) };
        let (file, offset) = self.target(slot)?;
        let end = offset + subbuf as u64;
        let mut written = file.write_all_at(used, offset);
        if !whole {
            written = written.and_then(|()| sys::set_len(file, end));
        }
        if let Err(why) = written {
            self.cut_tail(slot);
            return Err(Error::io("write", &self.dir, why));
        }
        self.appended(slot, subbuf as u64);
        Ok(())
    }

    /// Appends one sub-buffer that read(2) gave, behind the records of the last one where that has room for them: of a
    /// recording that comes in by single events each would take a place of its own. Between them stands the time that
    /// passed, as the kernel writes it.
    #[inline(never)]
    pub fn append_joined(&mut self, slot: usize, bytes: &[u8]) -> Result<()> {
        let new = Page::parse(bytes, &self.layout).ok().and_then(|page| Some((page, part_of(&page)?)));
        let room = self.layout.data_size as usize;
        if let (Some((page, part)), Some(writer)) = (new, self.cpus.get_mut(slot)) {
            let before = writer.part.filter(|before| before.used + 8 + part.used <= room);
            if let (Some(before), Some(file)) = (before, &writer.file) {
                if let Some(extend) = page.timestamp().checked_sub(before.ts).and_then(time_extend) {
                    let place = writer.offset - self.layout.subbuf_size() as u64;
                    let records = page.data().get(..part.used).unwrap_or_default();
                    let used = before.used + 8 + part.used;
                    let at = place + u64::from(self.layout.data_offset) + before.used as u64;
                    // The length last: whoever reads meanwhile sees what was there before.
                    let length = (used as u64).to_le_bytes();
                    let length = length.get(..usize::from(self.layout.commit_size)).unwrap_or_default();
                    let written = file.write_all_at(&[&extend[..], records].concat(), at);
                    let written =
                        written.and_then(|()| file.write_all_at(length, place + u64::from(self.layout.commit_offset)));
                    writer.part = Some(Part { used, ts: part.ts });
                    return written.map_err(|why| Error::io("write", &self.dir, why));
                }
            }
        }
        self.append_page(slot, bytes)?;
        if let Some(writer) = self.cpus.get_mut(slot) {
            writer.part = new.map(|(_, part)| part);
        }
        Ok(())
    }

    /// Removes the oldest segments while the recording is over its limits; what goes is counted first.
    pub fn trim(&mut self) -> Result<()> {
        loop {
            let too_large = self.max_size > 0 && self.bytes > self.max_size;
            let Some(oldest) = self.closed.first() else { return Ok(()) };
            if !too_large && sys::monotonic_ms() - oldest.at <= self.max_age {
                return Ok(());
            }
            let closed = self.closed.remove(0);
            let _owner = sys::as_owner();
            let path = self.dir.join(segment_name(closed.cpu, closed.index));
            self.trimmed.events += count_records(&path, &self.layout, closed.bytes)?;
            self.trimmed.segments += 1;
            self.trimmed.bytes += closed.bytes;
            self.bytes = self.bytes.saturating_sub(closed.bytes);
            sys::remove_file(&path).map_err(|why| Error::io("remove", &path, why))?;
        }
    }

    /// Makes what was written durable. May take as long as the disk takes for the whole recording, so it is done when
    /// nobody waits: a power failure before that shows in the report as events that were not stored.
    pub fn sync(&self) {
        for closed in &self.closed {
            self.sync_file(&segment_name(closed.cpu, closed.index));
        }
        for writer in self.cpus.iter().filter(|writer| writer.file.is_some()) {
            self.sync_file(&segment_name(writer.cpu, writer.index));
        }
        self.sync_file("meta.json");
        self.sync_file(".");
    }

    fn sync_file(&self, name: &str) {
        let _owner = sys::as_owner();
        if let Ok(file) = sys::open(&self.dir.join(name), OFlag::O_RDONLY | OFlag::O_NONBLOCK) {
            let _ = file.sync_data();
        }
    }
}

/// A record that lets time pass; `None` for more than it can tell.
fn time_extend(delta: Timestamp) -> Option<[u8; 8]> {
    let word = u64::from(u32::try_from(delta >> 27).ok()?) << 32 | (delta << 5 & 0xffff_ffff) | 30;
    Some(word.to_le_bytes())
}

/// Records in a segment file, of which we wrote so many bytes: its owner may have made more of it.
fn count_records(path: &Path, layout: &PageLayout, bytes_written: u64) -> Result<u64> {
    let file = open_file(path)?;
    let mut page = vec![0u8; layout.subbuf_size()];
    let mut offset = 0;
    let mut records = 0;
    while offset < bytes_written {
        let mut have = 0;
        while let Some(room) = page.get_mut(have..).filter(|room| !room.is_empty()) {
            match file.read_at(room, offset + have as u64) {
                Ok(0) => break,
                Ok(count) => have += count,
                Err(why) => return Err(Error::io("read", path, why)),
            }
        }
        let bytes = page.get(..have).unwrap_or_default();
        let Ok((parsed, _)) = Page::parse_prefix(bytes, layout) else { return Ok(records) };
        records += parsed.records().filter(|record| record.is_ok()).count() as u64;
        offset += have as u64;
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn segment_names_read_back_and_others_do_not() {
        assert_eq!(parse_segment_name(&segment_name(3, 12)), Some((3, 12)));
        assert_eq!(parse_segment_name(&segment_name(0, 1_234_567)), Some((0, 1_234_567)));
        for name in ["cpu0.pages", "cpu.000001.pages", "cpu0.1.pages", "cpu0.00000x.pages", "meta.json"] {
            assert_eq!(parse_segment_name(name), None);
        }
    }

    /// A sub-buffer of records of 4 bytes with these distances in time.
    fn page(ts: Timestamp, records: &[(u64, u32)]) -> Vec<u8> {
        let mut data = Vec::new();
        for (delta, payload) in records {
            data.extend_from_slice(&((*delta as u32) << 5 | 1).to_le_bytes());
            data.extend_from_slice(&payload.to_le_bytes());
        }
        let mut page = [ts.to_le_bytes(), (data.len() as u64).to_le_bytes()].concat();
        page.extend_from_slice(&data);
        page.resize(4096, 0);
        page
    }

    fn records(bytes: &[u8], layout: &PageLayout) -> Vec<(Timestamp, u32)> {
        let page = Page::parse(bytes, layout).unwrap();
        let payload = |data: &[u8]| u32::from_le_bytes(data[..4].try_into().unwrap());
        page.records().map(|record| record.map(|record| (record.ts, payload(record.data))).unwrap()).collect()
    }

    #[test]
    fn part_filled_sub_buffers_share_a_place_while_it_has_room_and_keep_their_times() {
        let dir = std::env::temp_dir().join(format!("ftrace-analyzer-joined-{}", std::process::id()));
        sys::make_dir(&dir).unwrap();
        let layout = PageLayout::LONG64_4K;
        let page_meta = super::super::PageMeta { commit_offset: 8, commit_size: 8, data_offset: 16, data_size: 4080 };
        let meta = Meta { page: page_meta, ..Meta::default() };
        let mut store = Store::empty(&dir, &meta, &[3]).unwrap();
        let late = 1_000_000_000_000_000;
        store.append_joined(0, &page(1000, &[(5, 1), (7, 2)])).unwrap();
        store.append_joined(0, &page(late, &[(1, 3)])).unwrap();
        // The page's time is that of the record before it.
        store.append_joined(0, &page(late + 1, &[(0, 4), (9, 5)])).unwrap();
        // One whose time goes back, and one that tells of losses, stand alone, and nothing is put behind the latter.
        store.append_joined(0, &page(late, &[(2, 6)])).unwrap();
        let mut lossy = page(late + 50, &[(1, 7)]);
        lossy[8..16].copy_from_slice(&(8u64 | 1 << 31).to_le_bytes());
        store.append_joined(0, &lossy).unwrap();
        store.append_joined(0, &page(late + 60, &[(1, 8)])).unwrap();
        // Eight bytes are left: the time that passed would fit, its record would not.
        let many: Vec<(u64, u32)> = (0..507).map(|nr| (1, 100 + nr)).collect();
        store.append_joined(0, &page(late + 70, &many)).unwrap();
        store.append_joined(0, &page(late + 700, &[(1, 9)])).unwrap();
        store.append_joined(0, &page(late + 800, &[(1, 10)])).unwrap();
        let bytes = fs::read(dir.join(segment_name(3, 0))).unwrap();
        let pages: Vec<_> = bytes.chunks(4096).map(|page| records(page, &layout)).collect();
        assert_eq!(pages[0], [(1005, 1), (1012, 2), (late + 1, 3), (late + 1, 4), (late + 10, 5)]);
        assert_eq!((&pages[1][..], &pages[2][..]), (&[(late + 2, 6)][..], &[(late + 51, 7)][..]));
        assert_eq!((pages[3].len(), pages[3][0], pages[3][507]), (508, (late + 61, 8), (late + 577, 606)));
        assert_eq!((&pages[4][..], pages.len()), (&[(late + 701, 9), (late + 801, 10)][..], 5));
        assert_eq!(store.bytes(), bytes.len() as u64);
        fs::remove_dir_all(&dir).unwrap();
    }
}
