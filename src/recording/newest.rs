// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The end of a recording as one of its own, made without reading or decoding what comes before, in little memory: what a
//! container did last, to be kept beside what became of it.
//!
//! A sub-buffer begins with its time, and each CPU's are in order, so the place is found by halving. Sub-buffers are copied
//! whole.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::meta::{EndState, InitialTask, Meta, Trimmed};
use super::reader::{open_file, segments_in, Segment, FORMATS_MAX};
use super::writer::segment_name;
use crate::error::{Error, Result};
use crate::ids::Timestamp;
use crate::ringbuf::{Page, PageLayout};

/// Bytes copied at a time.
const PART: usize = 16 << 10;

/// How near to the right time is near enough, in nanoseconds: a sub-buffer is filled in some 10 microseconds at the least.
const NEAR: u64 = 1_000;

/// What is to be copied, and what is to be said of it.
#[derive(Debug, Default)]
pub struct Newest {
    /// From this time of the trace clock on.
    pub since: Timestamp,
    /// The newest that there is; 0 where it is not known.
    pub until: Timestamp,
    /// Most bytes of sub-buffers.
    pub max: u64,
    /// Tasks that were there when it ended: where the beginning is left out, nothing else tells who they are.
    pub tasks: Vec<InitialTask>,
    /// Why it ends where it ends.
    pub reason: String,
}

/// The time of the sub-buffer at an offset; `None` where there is none, or a hole.
fn time_at(file: &File, layout: &PageLayout, offset: u64) -> Option<Timestamp> {
    let mut head = [0; 64];
    let head = head.get_mut(..usize::from(layout.data_offset))?;
    file.read_exact_at(head, offset).ok()?;
    let (page, _) = Page::parse_prefix(head, layout).ok()?;
    Some(page.timestamp()).filter(|ts| *ts > 0)
}

/// Offset of the last sub-buffer of `bytes` that begins no later than `since`; a hole counts as later, so that nothing is
/// passed over.
fn place_of(file: &File, layout: &PageLayout, bytes: u64, since: Timestamp) -> u64 {
    let subbuf = layout.subbuf_size() as u64;
    let (mut low, mut high) = (0, bytes.div_ceil(subbuf));
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        match time_at(file, layout, middle * subbuf) {
            Some(ts) if ts <= since => low = middle,
            _ => high = middle,
        }
    }
    low * subbuf
}

/// The parts of segments from `since` on, each with its first offset, the newest first; and their bytes.
fn parts(
    dir: &Path,
    layout: &PageLayout,
    segments: &[Segment],
    since: Timestamp,
) -> Result<(Vec<(Segment, u64)>, u64)> {
    let (mut keep, mut sum) = (Vec::new(), 0u64);
    // Of each CPU all down to the first that begins before.
    let mut found = None;
    for segment in segments.iter().rev() {
        if found == Some(segment.cpu) {
            continue;
        }
        let file = open_file(&dir.join(segment_name(segment.cpu, segment.index)))?;
        let mut from = 0;
        if time_at(&file, layout, 0).is_some_and(|ts| ts <= since) {
            found = Some(segment.cpu);
            from = place_of(&file, layout, segment.bytes, since);
        }
        sum = sum.saturating_add(segment.bytes - from);
        keep.push((*segment, from));
    }
    Ok((keep, sum))
}

fn copy(from: &File, mut at: u64, end: u64, mut to: &File) -> std::io::Result<()> {
    let mut part = vec![0; PART];
    while at < end {
        let room = part.len().min((end - at) as usize);
        let count = from.read_at(part.get_mut(..room).unwrap_or_default(), at)?;
        if count == 0 {
            break;
        }
        to.write_all(part.get(..count).unwrap_or_default())?;
        at += count as u64;
    }
    Ok(())
}

/// Copies the end of the recording in `dir`, whose description is `meta`, into files that `create` makes; `meta` then is
/// that of the copy. Gives whether it is all that there was.
pub fn copy_newest(
    dir: &Path,
    meta: &mut Meta,
    what: &mut Newest,
    create: &mut dyn FnMut(&str) -> Result<File>,
) -> Result<bool> {
    let layout = meta.layout()?;
    let segments = segments_in(dir)?;
    let (mut kept, mut bytes) = parts(dir, &layout, &segments, what.since)?;
    if bytes > what.max {
        // From when on it is not too much. One sub-buffer of each CPU is always taken.
        let (mut before, mut since) = (what.since, what.until);
        while since > before + NEAR {
            let middle = before + (since - before) / 2;
            match parts(dir, &layout, &segments, middle)?.1 > what.max {
                true => before = middle,
                false => since = middle,
            }
        }
        (kept, bytes) = parts(dir, &layout, &segments, since)?;
    }
    let is_whole = kept.len() == segments.len() && kept.iter().all(|(_, from)| *from == 0);
    let total = segments.iter().fold(0u64, |sum, segment| sum.saturating_add(segment.bytes));
    meta.stats.clear();
    meta.set_state(EndState::Complete);
    meta.end_reason = std::mem::take(&mut what.reason);
    if !is_whole {
        // The container's program began in what is left out: the usual rule would take all up to its next execve for the
        // runtime's.
        meta.starts_in_runtime = false;
        meta.trimmed = Trimmed { bytes: meta.trimmed.bytes.saturating_add(total - bytes), ..meta.trimmed };
        meta.tasks = std::mem::take(&mut what.tasks);
    }
    let mut write = |name: &str, write: &mut dyn FnMut(&mut File) -> std::io::Result<()>| {
        let mut file = create(name)?;
        write(&mut file).map_err(|why| Error::io("write", Path::new(name), why))
    };
    let mut copy = |name: &str, at: u64, end: u64| {
        let from = open_file(&dir.join(name))?;
        write(name, &mut |to| copy(&from, at, end, to))
    };
    copy("formats", 0, FORMATS_MAX)?;
    for (segment, at) in kept.iter().rev() {
        // What is being written just now is left out.
        let end = segment.bytes - segment.bytes % layout.subbuf_size() as u64;
        copy(&segment_name(segment.cpu, segment.index), *at, end)?;
    }
    let text = meta.to_json();
    write("meta.json", &mut |to| to.write_all(&text))?;
    Ok(is_whole)
}
