// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Opening a recording, whole or cut short, and finding those that a directory holds.

use core::ops::ControlFlow;
use std::fs::File;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use super::formats::Formats;
use super::meta::{Meta, META_MAX};
use super::stream::{Counts, Item, Stream, Tail};
use super::writer::parse_segment_name;
use crate::error::{Error, Result};
use crate::format::Event;
use crate::ids::{CpuId, Timestamp};
use crate::sys;
use crate::words::quoted;

/// Largest `formats` file that is read, in bytes; ours have some 20 KB.
pub(super) const FORMATS_MAX: u64 = 1 << 20;

/// One file of sub-buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Segment {
    /// The CPU.
    pub cpu: CpuId,
    /// Its number on that CPU, from 0; lower ones may have been removed by the limits.
    pub index: u32,
    /// Size in bytes.
    pub bytes: u64,
}

/// A recording opened for reading.
#[derive(Debug)]
pub struct Recording {
    /// Its directory.
    pub dir: PathBuf,
    /// Its description.
    pub meta: Box<Meta>,
    formats: Formats,
    segments: Vec<Segment>,
}

/// Whether what was decoded and what was lost add up to what the kernel says it wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conservation {
    /// Events decoded from the recording.
    pub decoded: u64,
    /// Events in segments that the limits removed.
    pub trimmed: u64,
    /// Events the kernel lost, by its statistics; while the recording runs, by the marks in its sub-buffers.
    pub lost: u64,
    /// Events handed to the recorder that did not reach the disk (full disk, killed recorder, damage).
    pub not_stored: u64,
    /// Events the kernel says were written; `None` where the statistics were not read (running or killed).
    pub written: Option<u64>,
}

impl Conservation {
    /// Whether decoded + trimmed + lost = written, exactly. `None` where the kernel's figure is not known.
    pub fn balanced(&self) -> Option<bool> {
        let sum = self.decoded.checked_add(self.trimmed)?.checked_add(self.lost)?;
        self.written.map(|written| sum == written)
    }
}

/// Opens any file.
pub fn open_for_reading(path: &Path, flags: OFlag) -> Result<File> {
    sys::open(path, flags | OFlag::O_RDONLY).map_err(|why| Error::io("open", path, why))
}

/// Opens a regular file. A recording may come from anywhere: a pipe in its place would hold us up for good, and a link lead
/// to what its owner may not read.
pub(super) fn open_file(path: &Path) -> Result<File> {
    let _owner = sys::as_owner();
    let file = open_for_reading(path, OFlag::O_NONBLOCK)?;
    if sys::status_of(&file).is_ok_and(|status| status.is_file()) {
        return Ok(file);
    }
    Err(Error::malformed(format!("{} is not a file", path.display()), None))
}

/// Reads a regular file of at most `max` bytes.
pub fn read_bounded(path: &Path, max: usize) -> Result<Vec<u8>> {
    let bytes = sys::read_on(&open_file(path)?, max).map_err(|why| Error::io("read", path, why))?;
    if bytes.len() > max {
        return Err(Error::limit(format!("{} is larger than expected", path.display()), max as u64));
    }
    Ok(bytes)
}

/// The segments in a directory, by CPU and number.
pub(super) fn segments_in(dir: &Path) -> Result<Vec<Segment>> {
    let _owner = sys::as_owner();
    let mut segments = Vec::new();
    for name in sys::names(dir).map_err(|why| Error::io("list", dir, why))? {
        let Some((cpu, index)) = name.to_str().and_then(parse_segment_name) else { continue };
        // Links, pipes and directories of such a name are none of a recorder's.
        let Ok(file) = sys::status_of_link(&dir.join(&name)) else { continue };
        if file.is_file() {
            segments.push(Segment { cpu, index, bytes: file.size });
        }
    }
    segments.sort_unstable();
    Ok(segments)
}

impl Recording {
    /// Opens the recording in `dir`.
    pub fn open(dir: &Path) -> Result<Recording> {
        let _owner = sys::as_owner();
        let meta = Recording::read_meta(dir)?;
        let formats = Formats::from_bytes(&read_bounded(&dir.join("formats"), FORMATS_MAX as usize)?)?;
        let segments = segments_in(dir)?;
        Ok(Recording { dir: dir.to_owned(), meta, formats, segments })
    }

    /// Reads only `meta.json` of the recording in `dir`.
    pub fn read_meta(dir: &Path) -> Result<Box<Meta>> {
        let path = dir.join("meta.json");
        Meta::from_json(&read_bounded(&path, META_MAX)?).map_err(|why| why.within(format_args!("{}", path.display())))
    }

    /// Where the execve of the container's program is among the events that were overwritten or removed, all that is left
    /// is the program's: without this a flight recording, or one that outgrew its limit, would pass for the runtime's
    /// set-up as a whole. What the first task is called then is not known either.
    pub fn find_start(&mut self) -> Result<()> {
        if !self.meta.starts_in_runtime || self.meta.counts_only() {
            return Ok(());
        }
        let init = self.meta.init_pid;
        let mut stream = self.stream(Tail::Use)?;
        let found = stream.run(Timestamp::MAX, |item| match item {
            Item::Event { event: Event::Exec { pid, .. }, .. } if pid == init => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        })?;
        let counts = stream.counts();
        let sums = self.conservation(&counts);
        // Limits are applied to whole segments from the first on; meta.json counts what went only now and then.
        let trimmed = sums.trimmed > 0 || self.has_removed_segments();
        if found.is_continue() && (trimmed || sums.lost > 0 || counts.unknown_gaps > 0) {
            self.meta.starts_in_runtime = false;
            for task in self.meta.tasks.iter_mut().filter(|task| task.tid == init) {
                task.comm.clear();
            }
        }
        Ok(())
    }

    /// The kernel's descriptions of its events.
    pub fn formats(&self) -> &Formats {
        &self.formats
    }

    /// The files of sub-buffers, by CPU and number.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Whether the first segment of a CPU is gone.
    fn has_removed_segments(&self) -> bool {
        let mut last = None;
        self.segments.iter().any(|segment| last.replace(segment.cpu) != Some(segment.cpu) && segment.index > 0)
    }

    /// Size on disk of the sub-buffers, in bytes.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().fold(0, |sum, segment| sum.saturating_add(segment.bytes))
    }

    /// The events in time order. [`Tail::Wait`] for a recording whose recorder still writes.
    pub fn stream(&self, tail: Tail) -> Result<Stream> {
        if self.meta.arch().is_none() {
            // Byte order and tables of another machine would be guessed.
            return Err(Error::unsupported(
                "a decoder for recordings of the machine ".to_owned() + &quoted(&self.meta.host.machine),
            ));
        }
        let layout = self.meta.layout()?;
        let mut by_cpu: Vec<(CpuId, Vec<u32>)> = Vec::new();
        if tail == Tail::Wait {
            // A CPU that was idle so far has no file yet.
            by_cpu.extend((0..self.meta.host.cpus).map(|cpu| (cpu, Vec::new())));
        }
        for segment in &self.segments {
            match by_cpu.iter_mut().find(|(cpu, _)| *cpu == segment.cpu) {
                Some((_, indices)) => indices.push(segment.index),
                None => by_cpu.push((segment.cpu, vec![segment.index])),
            }
        }
        Stream::new(self.dir.clone(), &self.formats, layout, tail, by_cpu)
    }

    /// Checks the decoder's counts (of a stream that was read to its end) against the kernel's statistics.
    pub fn conservation(&self, counts: &Counts) -> Conservation {
        let written = self.meta.written();
        let lost = if written.is_some() { self.meta.lost() } else { counts.lost };
        let trimmed = self.meta.trimmed.events;
        let not_stored = written
            .map_or(0, |written| written.saturating_sub(counts.records.saturating_add(trimmed).saturating_add(lost)));
        Conservation { decoded: counts.records, trimmed, lost, not_stored, written }
    }

    /// Wall-clock nanoseconds since 1970 of the recording's start.
    pub fn started(&self) -> u64 {
        self.meta.anchors.first().map_or(0, |anchor| anchor.realtime_ns)
    }

    /// Trace-clock time of the recording's start.
    pub fn start_ts(&self) -> Timestamp {
        self.meta.anchors.first().map_or(0, |anchor| anchor.trace_ns)
    }
}

fn has_segments(dir: &Path) -> bool {
    let names = sys::names(dir).unwrap_or_default();
    names.iter().any(|name| name.to_str().and_then(parse_segment_name).is_some())
}

/// Bytes of all descriptions together that are read for a list: whoever made them, there must be an end.
const LIST_MAX: u64 = 256 << 20;

/// The recordings below `dir`, oldest first; what cannot be read comes with its error. A directory that is not there
/// holds none.
pub fn list_recordings(dir: &Path) -> Result<Vec<(PathBuf, Result<Box<Meta>>)>> {
    let _owner = sys::as_owner();
    let mut room = LIST_MAX;
    let names = match sys::names(dir) {
        Ok(names) => names,
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(why) => return Err(Error::io("list", dir, why)),
    };
    let mut found = Vec::new();
    for name in names {
        let path = dir.join(name);
        // A directory without a description may be a recording that begins just now, but not once it has sub-buffers.
        let size = sys::status(&path.join("meta.json")).map(|file| file.size);
        if size.is_ok() || has_segments(&path) {
            let left = room.checked_sub(size.unwrap_or(0).saturating_add(4096));
            room = left.unwrap_or(room);
            let meta = match left {
                Some(_) => Recording::read_meta(&path),
                None => Err(Error::limit("there are too many recordings: bytes of descriptions", LIST_MAX)),
            };
            found.push((path, meta));
        }
    }
    let start = |meta: &Result<Box<Meta>>| {
        meta.as_ref().ok().and_then(|meta| meta.anchors.first().map(|anchor| anchor.realtime_ns)).unwrap_or(0)
    };
    found.sort_unstable_by(|(a, a_meta), (b, b_meta)| {
        start(a_meta).cmp(&start(b_meta)).then_with(|| a.as_os_str().cmp(b.as_os_str()))
    });
    Ok(found)
}
