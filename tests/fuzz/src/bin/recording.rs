// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A whole recording: description, formats, and the sub-buffers of two CPUs, read by every report.
//!
//! The first byte: bit 0, a description follows, else one of a kernel of today with sub-buffers of 256 bytes; bit 1,
//! formats follow, else the capture's; bit 2, the recording was not ended; bit 3, it starts in the runtime; bits 4 and 5,
//! filters. A description and formats have their length (two bytes) in front. Then two bytes: where CPU 0's part ends.
// max_len: 4300
#![no_main]

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::OnceLock;

use ftrace_analyzer::recording::{segment_name, Item, Recording, Tail};
use ftrace_analyzer::report::{self, Filter, Options, Outcome};
use libfuzzer_sys::fuzz_target;

static DIR: OnceLock<PathBuf> = OnceLock::new();

/// Counts what is written, and stops a report that never ends.
struct Sink(u64);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        assert!(self.0 < 64 << 20, "a report of 64 MB of an input of 4 KB");
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A directory in memory where there is one.
fn dir() -> PathBuf {
    let shared = PathBuf::from("/dev/shm");
    let base = if shared.is_dir() { shared } else { std::env::temp_dir() };
    // Nobody tells a target that it ends: the next one clears up.
    for entry in fs::read_dir(&base).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix("ftrace-analyzer-fuzz-"));
        if pid.is_some_and(|pid| !PathBuf::from(format!("/proc/{pid}")).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    let dir = base.join(format!("ftrace-analyzer-fuzz-{}", std::process::id()));
    fs::create_dir_all(&dir).expect("a directory for the recording");
    dir
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> &'a [u8] {
    let (first, tail) = rest.split_at(len.min(rest.len()));
    *rest = tail;
    first
}

fn word(rest: &mut &[u8]) -> usize {
    take(rest, 2).iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte))
}

fuzz_target!(|data: &[u8]| {
    let Some((flags, mut rest)) = data.split_first() else { return };
    let is_set = |bit: u8| flags >> bit & 1 == 1;
    let rest = &mut rest;
    let meta = if is_set(0) {
        let len = word(rest);
        take(rest, len).to_vec()
    } else {
        fuzz::meta(is_set(2), is_set(3)).into_bytes()
    };
    let formats = if is_set(1) {
        let len = word(rest);
        take(rest, len).to_vec()
    } else {
        fuzz::formats()
    };
    let split = word(rest);
    let pages = [take(rest, split), *rest];

    let dir = DIR.get_or_init(dir);
    fs::write(dir.join("meta.json"), meta).expect("written");
    fs::write(dir.join("formats"), formats).expect("written");
    for (cpu, pages) in (0..).zip(pages) {
        fs::write(dir.join(segment_name(cpu, 0)), pages).expect("written");
    }
    let recording = match Recording::open(dir) {
        Ok(recording) => recording,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert_eq!(recording.bytes(), pages.iter().map(|pages| pages.len() as u64).sum::<u64>());
    let filter = Filter {
        with_runtime: is_set(4),
        errors_only: is_set(5),
        since: is_set(5).then_some(1 << 40),
        ..Filter::default()
    };
    let options = Options { filter, utc_offset_s: i32::from(*flags) * 100, footer: true, ..Options::default() };
    let reports = [report::text, report::json, report::summary, report::summary_json];
    let made: Vec<Outcome> =
        reports.iter().filter_map(|report| report(&recording, &options, &mut Sink(0)).ok()).collect();
    assert!(made.is_empty() || made.len() == 4, "all can be made, or none");
    for outcome in &made {
        assert_eq!(outcome.counts, made[0].counts);
        assert_eq!(outcome.conservation, made[0].conservation);
        assert_eq!(outcome.is_partial(), made[0].is_partial());
    }
    // As `follow` reads it: again and again up to a time, then to the end.
    let Ok(mut stream) = recording.stream(Tail::Wait) else { return };
    for until in [0, 1 << 20, 1 << 40, u64::MAX, u64::MAX] {
        let run = stream.run(until, |item| {
            if let Item::Event { ts, .. } = item {
                assert!(ts <= until);
            }
            std::ops::ControlFlow::Continue(())
        });
        assert!(run.is_ok());
    }
});
