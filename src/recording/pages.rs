// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The sub-buffers of one CPU as bytes, for programs that decode them by themselves.
//!
//! Those programs trust what a kernel wrote, so nothing else reaches them: a damaged sub-buffer is cut behind its last
//! good record or left out, and the next one says that events are missing before it. What is left decodes to the same
//! records as [`Stream`](super::Stream) gives. Layout of the header: kernel/trace/ring_buffer.c, docs/ring-buffer.md.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::reader::open_file;
use super::stream::{data_from, CHUNK};
use super::writer::segment_name;
use super::Recording;
use crate::error::{Error, Kind, Result};
use crate::ids::CpuId;
use crate::ringbuf::{Missed, Page, PageLayout};

/// `RB_MISSED_EVENTS`, in the lower half of `commit`.
const MISSED_EVENTS: u32 = 1 << 31;
/// `RB_MISSED_STORED`: the number stands behind the data.
const MISSED_STORED: u32 = 1 << 30;

/// What became of a sub-buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// As the kernel wrote it.
    Whole,
    /// Its end was cut off.
    Cut,
    /// Nothing of it can be used.
    Nothing,
    /// No kernel wrote here.
    Zeroes,
}

impl Recording {
    /// Calls `f` with each sub-buffer of the CPU in order, each of the layout's size, until it gives false. Of a recording
    /// that grows, what was there when it was opened.
    pub fn each_page(&self, cpu: CpuId, f: &mut dyn FnMut(&[u8]) -> bool) -> Result<()> {
        let layout = self.meta.layout()?;
        let subbuf = layout.subbuf_size();
        let mut buf = vec![0; CHUNK.div_ceil(subbuf) * subbuf];
        let mut expected = None;
        // Whether something is missing since the sub-buffer that was passed on last.
        let mut lost = false;
        for segment in self.segments().iter().filter(|segment| segment.cpu == cpu) {
            lost |= expected.is_some_and(|expected| expected != segment.index);
            expected = Some(segment.index.saturating_add(1));
            let path = self.dir.join(segment_name(cpu, segment.index));
            let file = match open_file(&path) {
                Ok(file) => file,
                Err(why) if why.kind() == Kind::NotFound => {
                    lost = true;
                    continue;
                }
                Err(why) => return Err(why),
            };
            let mut at = 0;
            while at < segment.bytes {
                let have = fill(&file, &mut buf, at, segment.bytes).map_err(|why| Error::io("read", &path, why))?;
                if have == 0 {
                    break;
                }
                at += have as u64;
                let mut state = State::Whole;
                for (index, page) in buf.chunks_mut(subbuf).take(have.div_ceil(subbuf)).enumerate() {
                    state = mend(page, have - index * subbuf, &layout, lost);
                    if state == State::Whole || state == State::Cut {
                        if !f(page) {
                            return Ok(());
                        }
                        lost = false;
                    }
                    lost |= state != State::Whole;
                }
                if state == State::Zeroes {
                    // Not read: a file of a few bytes may have a hole of terabytes.
                    let data = data_from(&file, at).unwrap_or(at);
                    at = at.max(data / subbuf as u64 * subbuf as u64);
                }
            }
        }
        Ok(())
    }
}

/// Reads whole sub-buffers from `at` on, none beyond `end`; zeroes follow what is there. Gives the bytes read.
fn fill(file: &File, buf: &mut [u8], at: u64, end: u64) -> std::io::Result<usize> {
    let most = usize::try_from(end - at).unwrap_or(usize::MAX).min(buf.len());
    let mut have = 0;
    while let Some(room) = buf.get_mut(have..most).filter(|room| !room.is_empty()) {
        match file.read_at(room, at + have as u64) {
            Ok(0) => break,
            Ok(count) => have += count,
            Err(why) if why.kind() == std::io::ErrorKind::Interrupted => {}
            Err(why) => return Err(why),
        }
    }
    if let Some(rest) = buf.get_mut(have..) {
        rest.fill(0);
    }
    Ok(have)
}

/// Cuts a sub-buffer, of which `have` bytes are there, behind its last good record, and marks it where events are missing
/// before it.
fn mend(bytes: &mut [u8], have: usize, layout: &PageLayout, lost: bool) -> State {
    let there = bytes.get(..have).unwrap_or(bytes);
    let Ok((page, short)) = Page::parse_prefix(there, layout) else { return State::Nothing };
    if short.is_some_and(|commit| commit > layout.data_size as usize) {
        // No kernel writes such a length: what stands behind it need not be records.
        return State::Nothing;
    }
    if page.is_empty() && page.timestamp() == 0 && page.missed() == Missed::None {
        return State::Zeroes;
    }
    let (data, missed, mut cursor) = (page.data(), page.missed(), page.start());
    let whole = loop {
        let at = cursor.at;
        match cursor.next(data) {
            Some(Ok(_)) => {}
            None => break data.len(),
            Some(Err(_)) => break at,
        }
    };
    let cut = whole < data.len() || short.is_some();
    if cut && whole == 0 {
        return State::Nothing;
    }
    let mark = lost && missed == Missed::None;
    if cut || mark {
        let flags = match missed {
            Missed::Count(_) => MISSED_EVENTS | MISSED_STORED,
            Missed::Unknown => MISSED_EVENTS,
            Missed::None if mark => MISSED_EVENTS,
            Missed::None => 0,
        };
        let long = usize::from(layout.commit_size);
        if cut {
            let rest = bytes.get_mut(usize::from(layout.data_offset) + whole..).unwrap_or_default();
            rest.fill(0);
            if let Missed::Count(count) = missed {
                put(rest, 0, long, count);
            }
        }
        // A length fits below the flags: `parse_prefix` has masked it.
        put(bytes, usize::from(layout.commit_offset), long, u64::from(whole as u32 | flags));
    }
    if cut {
        State::Cut
    } else {
        State::Whole
    }
}

/// Writes a word of the kernel, of 4 bytes or 8.
fn put(bytes: &mut [u8], at: usize, size: usize, value: u64) {
    for (place, byte) in bytes.iter_mut().skip(at).take(size).zip(value.to_le_bytes()) {
        *place = byte;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sub-buffer with two records of 4 bytes each; the second one's length word is `second`.
    fn page(second: u32, flags: u64, count: u64) -> Vec<u8> {
        let mut bytes = 7u64.to_le_bytes().to_vec();
        bytes.extend_from_slice(&(16 | flags).to_le_bytes());
        for word in [1, 0xaaaa, second, 0xbbbb] {
            bytes.extend_from_slice(&u32::to_le_bytes(word));
        }
        bytes.extend_from_slice(&count.to_le_bytes());
        bytes.resize(4096, 0);
        bytes
    }

    fn parse(bytes: &[u8]) -> (usize, Missed) {
        let page = Page::parse(bytes, &PageLayout::LONG64_4K).unwrap();
        assert!(page.records().all(|record| record.is_ok()));
        (page.records().count(), page.missed())
    }

    #[test]
    fn whole_sub_buffers_stay_as_they_are() {
        let stored = u64::from(MISSED_EVENTS | MISSED_STORED);
        for mut bytes in [page(1, 0, 0), page(1, stored, 9), page(1, 0xffff_ffff_8000_0000, 0)] {
            let before = bytes.clone();
            assert_eq!(mend(&mut bytes, 4096, &PageLayout::LONG64_4K, false), State::Whole);
            assert_eq!(bytes, before);
        }
    }

    #[test]
    fn a_damaged_end_is_cut_off_and_the_number_of_missed_events_stays() {
        let mut bytes = page(28, u64::from(MISSED_EVENTS | MISSED_STORED), 9);
        assert_eq!(mend(&mut bytes, 4096, &PageLayout::LONG64_4K, true), State::Cut);
        assert_eq!(parse(&bytes), (1, Missed::Count(9)));
        // The file ends within the second record, whose place holds zeroes.
        let mut bytes = page(1, 0, 0);
        bytes[28..].fill(0);
        assert_eq!(mend(&mut bytes, 28, &PageLayout::LONG64_4K, false), State::Cut);
        assert_eq!(parse(&bytes), (1, Missed::None));
    }

    #[test]
    fn a_sub_buffer_behind_damage_says_that_events_are_missing() {
        let mut bytes = page(1, 0, 0);
        assert_eq!(mend(&mut bytes, 4096, &PageLayout::LONG64_4K, true), State::Whole);
        assert_eq!(parse(&bytes), (2, Missed::Unknown));
    }

    #[test]
    fn what_no_kernel_wrote_is_left_out() {
        assert_eq!(mend(&mut [0; 4096], 4096, &PageLayout::LONG64_4K, false), State::Zeroes);
        let mut bytes = page(1, 0, 0);
        bytes[8..16].copy_from_slice(&5000u64.to_le_bytes());
        assert_eq!(mend(&mut bytes, 4096, &PageLayout::LONG64_4K, false), State::Nothing);
        let mut bytes = page(1, 0, 0);
        bytes[16] = 28 | 0x80;
        assert_eq!(mend(&mut bytes, 4096, &PageLayout::LONG64_4K, false), State::Nothing);
    }
}
