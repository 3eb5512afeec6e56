// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `per_cpu/cpuN/stats`: what was written, read and lost on one CPU, and what the trace clock shows now.
//!
//! Source: kernel/trace/trace.c `tracing_stats_read`.

use crate::ids::Timestamp;
use crate::sys::value_of;
use crate::words::number;

/// One CPU's statistics, in events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BufferStats {
    /// In the buffer, not read yet.
    pub entries: u64,
    /// Overwritten before they were read (overwrite on).
    pub overrun: u64,
    /// Lost in nested contexts.
    pub commit_overrun: u64,
    /// Not written because the buffer was full (overwrite off).
    pub dropped: u64,
    /// Handed out to readers.
    pub read: u64,
    /// The trace clock now, in nanoseconds (the file gives microseconds); `None` for clocks that do not count time.
    pub now: Option<Timestamp>,
}

impl BufferStats {
    /// Parses the file's text; lines that are missing count as 0.
    pub fn parse(text: &str) -> BufferStats {
        let count = |key| value_of(text, key).and_then(number).unwrap_or_default();
        BufferStats {
            entries: count("entries"),
            overrun: count("overrun"),
            commit_overrun: count("commit overrun"),
            dropped: count("dropped events"),
            read: count("read events"),
            now: value_of(text, "now ts").and_then(parse_seconds),
        }
    }
}

/// `SECONDS.MICROSECONDS` to nanoseconds.
fn parse_seconds(text: &str) -> Option<Timestamp> {
    let (seconds, micros) = text.split_once('.')?;
    if micros.len() != 6 {
        return None;
    }
    number(seconds)?.checked_mul(1_000_000_000)?.checked_add(number(micros)? * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_text_is_read() {
        let text = "entries: 5\noverrun: 7\ncommit overrun: 1\nbytes: 52\noldest event ts:   100.000001\nnow ts:   818.616161\ndropped events: 2\nread events: 11\n";
        let stats = BufferStats::parse(text);
        assert_eq!((stats.entries, stats.overrun, stats.commit_overrun, stats.dropped, stats.read), (5, 7, 1, 2, 11));
        assert_eq!(stats.now, Some(818_616_161_000));
    }

    #[test]
    fn clocks_that_count_no_time_give_none() {
        assert_eq!(BufferStats::parse("now ts: 12345\n").now, None);
        assert_eq!(BufferStats::parse("").entries, 0);
    }
}
