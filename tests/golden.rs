// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Reports of one small recording, compared byte for byte with `tests/golden/`.
//!
//! When a change is meant: `GOLDEN_UPDATE=1 cargo test --test golden`, then read the difference before committing it.
//! The test with the variable set writes the files and fails, so that it cannot stay set unnoticed.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::Write;
use std::path::Path;

use ftrace_analyzer::arch::Arch;
use ftrace_analyzer::error::Result;
use ftrace_analyzer::recording::{EndState, Item, Recording, Tail};
use ftrace_analyzer::report::{self, Filter, Live, Options, Outcome};
use ftrace_analyzer::syscalls::SyscallList;

#[path = "support/synthetic.rs"]
mod synthetic;
use synthetic::{fresh_dir, meta, Synthetic};

const AT_FDCWD: u64 = 0xffff_ff9c;
const STACK: u64 = 0x7ffd_1234_5670;

/// A shell that starts a program, a thread, a crash, seccomp, a compat program, losses: one of each.
fn fixture(name: &str) -> Recording {
    fixture_on(name, "6.18.44")
}

fn fixture_on(name: &str, release: &str) -> Recording {
    let base = fresh_dir(name);
    let mut meta = meta(2);
    meta.host.release = release.into();
    meta.starts_in_runtime = true;
    meta.tasks[0].comm = "runc:[2:INIT]".into();
    let mut log = Synthetic::new(&base, meta);
    // The runtime's part, and the container's first execve.
    log.call(0, 100, 157, &[2, STACK], 1, 0).after(5);
    log.enter(0, 100, 59, [STACK, STACK, STACK, 0, 0, 0]).after(300).rename(0, 100, b"sh");
    log.exec(0, 100, 100, "/bin/sh").after(20).exit(0, 100, 59, 0).after(3);
    log.call(0, 100, 12, &[0], 1, 0x55d0_0000_0000).after(2);
    log.call(0, 100, 257, &[AT_FDCWD, STACK, 0x80000], 7, -2).after(2);
    log.call(0, 100, 9, &[0, 8192, 3, 0x22, 0xffff_ffff], 4, 0x7f12_3456_7000).after(2);
    // fork, exec, a name that is no text, a read that a signal interrupts
    log.enter(0, 100, 56, [0x120_0011, 0, 0, 0, 0, 0]).after(90).fork(0, 100, 101, 0x120_0011, "sh").after(10);
    log.exit(1, 101, 56, 0).after(1).exit(0, 100, 56, 101).after(1);
    log.enter(0, 100, 61, [0xffff_ffff, STACK, 0, 0, 0, 0]).after(10);
    log.enter(1, 101, 59, [STACK, STACK, STACK, 0, 0, 0]).after(200).rename(1, 101, b"w\x1b[\xff]");
    log.exec(1, 101, 101, "/bin/worker").after(10).exit(1, 101, 59, 0).after(2);
    log.call(1, 101, 83, &[STACK, 0o777], 1, -13).after(1);
    // seccomp: an exit alone, an error and a trap
    log.exit(1, 101, 165, -1).after(2).exit(1, 101, 101, 101).deliver(1, 101, 31, 1, 0x5555_0000).after(2);
    log.enter(1, 101, 15, [0; 6]).after(1).exit(1, 101, -1, -4).after(5);
    log.enter(1, 101, 0, [3, STACK, 512, 0, 0, 0]).after(1_500_000).exit(1, 101, 0, -512);
    log.deliver(1, 101, 17, 1, 0x5555_0000).after(1).call(1, 101, 9999, &[1, 2], 1, -38).after(1);
    // a thread that crashes its process
    log.enter(1, 101, 56, [0x3d_0f00, STACK, 0, 0, 0, 0]).fork(1, 101, 102, 0x3d_0f00, "worker").after(20);
    log.exit(1, 101, 56, 102).after(1).exit(0, 102, 56, 0).after(1);
    log.enter(1, 101, 202, [0x7f12_3456_7910, 265, 102, 0, 0, u64::MAX]).after(4);
    log.deliver(0, 102, 11, 1, 0).after(1).deliver(1, 101, 9, 0, 0).dies(1, 101, b"worker").dies(0, 102, b"worker");
    // losses, with a call over the gap
    log.after(10).enter(0, 100, 0, [0, STACK, 1, 0, 0, 0]).after(5);
    log.lose(1, 1234).after(100).call(1, 103, 39, &[], 1, 103).after(1).exit(0, 100, 0, 1);
    log.exit(1, 104, 0, 5).after(5);
    // a 32-bit program: names of another table; x86 lets execve return with its number
    log.enter(0, 100, 57, [0; 6]).after(30).fork(0, 100, 105, 0, "sh").exit(0, 100, 57, 105);
    log.exit(1, 105, 57, 0).after(1).enter(1, 105, 59, [STACK, STACK, STACK, 0, 0, 0]).after(100);
    log.exec(1, 105, 105, "/bin/old32").rename(1, 105, b"old32").after(1).exit(1, 105, 11, 0).after(1);
    for _ in 0..3 {
        log.call(1, 105, 5, &[0xffd8_1234, 0x8000], 2, -2).after(1);
    }
    log.call(1, 105, 192, &[0, 4096, 3, 0x22, 0xffff_ffff], 2, 0xf7f0_0000).after(1);
    log.enter(1, 105, 252, [1, 0, 0, 0, 0, 0]).after(5).dies(1, 105, b"old32").after(1);
    log.enter(0, 100, 231, [0; 6]).after(3).dies(0, 100, b"sh").after(2_000_000);
    log.finish(EndState::Complete, "the container ended")
}

fn remove(recording: &Recording) {
    let _ = std::fs::remove_dir_all(recording.dir.parent().unwrap());
}

type Report = fn(&Recording, &Options, &mut dyn Write) -> Result<Outcome>;

fn made(report: Report, recording: &Recording, options: &Options) -> (String, Outcome) {
    let mut bytes = Vec::new();
    let outcome = report(recording, options, &mut bytes).unwrap();
    (String::from_utf8(bytes).expect("reports are text whatever the kernel's bytes are"), outcome)
}

fn footer() -> Options {
    Options { footer: true, ..Options::default() }
}

#[track_caller]
fn same_as_file(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("GOLDEN_UPDATE").is_some() {
        std::fs::write(&path, text).unwrap();
        panic!("{} was written; unset GOLDEN_UPDATE and look at the difference", path.display());
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
    for (number, (line, expected)) in text.lines().zip(expected.lines()).enumerate() {
        assert_eq!(line, expected, "{name}, line {}", number + 1);
    }
    assert_eq!(text.len(), expected.len(), "{name} has another end");
}

#[test]
fn text_is_as_it_was() {
    let recording = fixture("golden-text");
    let (text, outcome) = made(report::text, &recording, &footer());
    remove(&recording);
    assert!(outcome.is_partial(), "events were lost");
    assert_eq!(outcome.conservation.balanced(), Some(true));
    same_as_file("text.txt", &text);
}

#[test]
fn text_with_the_runtimes_part_is_as_it_was() {
    let recording = fixture("golden-runtime");
    let mut options = footer();
    options.filter.with_runtime = true;
    options.filter.syscalls = Some(Box::new(SyscallList::parse("prctl,execve", Arch::X86_64).unwrap()));
    options.utc_offset_s = 3600;
    let (text, _) = made(report::text, &recording, &options);
    remove(&recording);
    same_as_file("runtime.txt", &text);
}

#[test]
fn summary_is_as_it_was() {
    let recording = fixture("golden-summary");
    let (text, _) = made(report::summary, &recording, &footer());
    remove(&recording);
    same_as_file("summary.txt", &text);
}

#[test]
fn summary_as_json_is_as_it_was() {
    let recording = fixture("golden-summary-json");
    let (json, _) = made(report::summary_json, &recording, &footer());
    remove(&recording);
    same_as_file("summary.json", &json);
}

#[test]
fn json_is_as_it_was() {
    let recording = fixture("golden-json");
    let (text, _) = made(report::json, &recording, &footer());
    remove(&recording);
    same_as_file("lines.json", &text);
}

#[test]
fn every_report_finds_the_same_calls() {
    let recording = fixture("golden-same");
    let (_, text) = made(report::text, &recording, &footer());
    let (_, json) = made(report::json, &recording, &footer());
    let (_, summary) = made(report::summary, &recording, &footer());
    remove(&recording);
    assert_eq!((text.runtime, text.tasks, text.conservation), (summary.runtime, summary.tasks, summary.conservation));
    assert_eq!((json.runtime, json.counts), (summary.runtime, summary.counts));
}

#[test]
fn live_output_of_one_batch_is_the_text_report() {
    let recording = fixture("golden-live");
    let options = Options::default();
    let (text, _) = made(report::text, &recording, &options);
    let mut bytes = Vec::new();
    let mut live = Live::text(&recording.meta, &options, &mut bytes).unwrap();
    let mut stream = recording.stream(Tail::Use).unwrap();
    let feed = |item: Item<'_>| {
        live.feed(item);
        core::ops::ControlFlow::Continue(())
    };
    assert!(stream.run(u64::MAX, feed).unwrap().is_continue());
    assert!(live.finish().unwrap());
    remove(&recording);
    let live = String::from_utf8(bytes).unwrap();
    assert_eq!(live, text);
}

#[test]
fn on_kernels_that_do_not_mark_execve_the_abi_is_found_by_looking_ahead() {
    let recording = fixture_on("golden-old", "4.19.0");
    let names = |text: String| {
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>().join("\n")
    };
    let (text, _) = made(report::text, &recording, &footer());
    let (summary, _) = made(report::summary, &recording, &footer());
    remove(&recording);
    let recording = fixture("golden-new");
    let (new, _) = made(report::text, &recording, &footer());
    let (new_summary, _) = made(report::summary, &recording, &footer());
    remove(&recording);
    assert_eq!((names(text), names(summary)), (names(new), names(new_summary)));
}

#[test]
fn live_output_of_many_batches_shows_what_is_open_and_resumes_it() {
    let recording = fixture("golden-batches");
    let options = Options::default();
    let mut bytes = Vec::new();
    let mut live = Live::text(&recording.meta, &options, &mut bytes).unwrap();
    let mut stream = recording.stream(Tail::Use).unwrap();
    for until in [500, 700, 1_000_000, 1_501_000, u64::MAX / 2000].map(|micros| synthetic::START + micros * 1000) {
        let feed = |item: Item<'_>| {
            live.feed(item);
            core::ops::ControlFlow::Continue(())
        };
        assert!(stream.run(until, feed).unwrap().is_continue());
        assert!(live.batch_done().unwrap());
    }
    assert!(live.finish().unwrap());
    remove(&recording);
    same_as_file("live.txt", &String::from_utf8(bytes).unwrap());
}

#[test]
fn an_empty_report_says_why() {
    let recording = fixture("golden-empty");
    let mut options = footer();
    options.filter.comm = Some(b"nobody".to_vec());
    options.filter.until = Some(synthetic::START + 1_000_000);
    let (text, outcome) = made(report::text, &recording, &options);
    remove(&recording);
    assert_eq!(outcome.shown, 0);
    assert!(text.contains("nothing passes the filter --comm nobody --until ("), "{text}");
    assert!(text.contains("tracing was on for 3.5 s"), "{text}");

    let recording = Synthetic::new(&fresh_dir("golden-none"), meta(1)).finish(EndState::Complete, "");
    let (text, outcome) = made(report::text, &recording, &footer());
    let (summary, _) = made(report::summary, &recording, &footer());
    remove(&recording);
    assert!(text.contains("# no events: tracing was on for 0.0 s"), "{text}");
    assert!(summary.contains("# no events: tracing was on for 0.0 s"), "{summary}");
    assert!(!outcome.is_partial());
}

#[test]
fn a_container_that_never_started_is_told() {
    let mut meta = meta(1);
    meta.starts_in_runtime = true;
    let mut log = Synthetic::new(&fresh_dir("golden-never"), meta);
    log.call(0, 100, 59, &[STACK], 5, -2).enter(0, 100, 231, [1, 0, 0, 0, 0, 0]).dies(0, 100, b"runc");
    let recording = log.finish(EndState::Complete, "");
    let (text, outcome) = made(report::text, &recording, &footer());
    remove(&recording);
    assert!(outcome.never_started);
    assert!(text.contains("# the container's program was never executed; 2 calls of the runtime's own"), "{text}");
}

#[test]
fn a_recording_cut_short_is_partial_and_says_so() {
    let mut log = Synthetic::new(&fresh_dir("golden-cut"), meta(1));
    log.call(0, 100, 39, &[], 5, 100);
    let recording = log.finish(EndState::Cut, "the disk is full");
    let (text, outcome) = made(report::text, &recording, &footer());
    remove(&recording);
    assert!(outcome.is_partial());
    assert!(text.contains("# recording cut short: the disk is full"), "{text}");
    assert!(text.contains("the kernel's own count is not known"), "{text}");
}

/// A reader that goes away.
struct Head(usize);

impl Write for Head {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(std::io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_goes_away_ends_the_report_early_and_without_error() {
    let mut log = Synthetic::new(&fresh_dir("golden-pipe"), meta(1));
    for _ in 0..20_000 {
        log.call(0, 100, 39, &[], 1, 100);
    }
    let recording = log.finish(EndState::Complete, "");
    for report in [report::text as Report, report::json, report::perfetto] {
        let outcome = report(&recording, &footer(), &mut Head(100_000)).unwrap();
        assert!(outcome.closed && !outcome.is_partial());
        assert!(outcome.counts.records < 40_000, "it reads on for nobody");
    }
    for report in [report::summary as Report, report::trace_dat] {
        assert!(report(&recording, &footer(), &mut Head(0)).unwrap().closed);
    }
    remove(&recording);
}

#[test]
fn a_call_over_more_than_the_queue_holds_stands_where_it_was_entered() {
    // Without a compat ABI the look ahead is made only when the queue is full.
    for (machine, getpid, read) in [("x86_64", 39, 0), ("i686", 20, 3)] {
        let mut meta = meta(2);
        meta.host.machine = machine.into();
        let mut log = Synthetic::new(&fresh_dir(&format!("golden-long-{machine}")), meta);
        log.enter(1, 200, read, [3, 0, 1, 0, 0, 0]).after(1);
        for turn in 0..20_000 {
            log.call(0, 100, getpid, &[turn], 1, 100);
        }
        log.exit(1, 200, read, 1);
        let recording = log.finish(EndState::Complete, "");
        let (text, _) = made(report::text, &recording, &Options::default());
        remove(&recording);
        let first = "[pid 200 ?] 09:24:53.500000 read(3, NULL, 1) = 1 <0.020001>";
        assert_eq!(text.lines().next(), Some(first));
        assert_eq!((text.lines().count(), text.contains("unfinished")), (20_001, false));
    }
}

#[test]
fn filters_by_time_and_duration_choose_lines() {
    let recording = fixture("golden-filter");
    let with = |filter: Filter| made(report::text, &recording, &Options { filter, ..Options::default() }).0;
    let slow = with(Filter { min_duration: Some(1_000_000_000), ..Filter::default() });
    assert!(slow.lines().filter(|line| line.contains(") = ")).all(|line| line.contains("<1.5")), "{slow}");
    let since = report::parse_time("09:24:55", &recording.meta, 0).unwrap();
    let late = with(Filter { since: Some(since), ..Filter::default() });
    assert!(late.lines().next().unwrap().contains(" 09:24:55."), "{late}");
    let errors = with(Filter { errors_only: true, ..Filter::default() });
    assert!(errors
        .lines()
        .filter(|line| line.contains(") = "))
        .all(|line| line.contains("= -1 E") || line.contains("= ? ")));
    remove(&recording);
}

#[test]
fn every_line_of_json_is_an_object_and_damage_ends_no_report() {
    let recording = fixture("golden-damage");
    let segments: Vec<_> = std::fs::read_dir(&recording.dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "pages"))
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    let mut damaged = 0;
    let mut seed = 7u64;
    for round in 0..400 {
        for (path, bytes) in &segments {
            let mut bytes = bytes.clone();
            for _ in 0..round % 6 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                // The pages' tails are holes.
                let at = (seed >> 33) as usize % bytes.len() / 4096 * 4096 + (seed >> 20) as usize % 2000;
                bytes[at] ^= (seed >> 8) as u8;
            }
            std::fs::write(path, bytes).unwrap();
        }
        let mut options = footer();
        options.filter.with_runtime = true;
        let (lines, outcome) = made(report::json, &recording, &options);
        let (summary, _) = made(report::summary_json, &recording, &options);
        made(report::text, &recording, &options);
        made(report::summary, &recording, &options);
        for export in [report::trace_dat as Report, report::perfetto] {
            assert_eq!(export(&recording, &options, &mut Vec::new()).unwrap().counts, outcome.counts);
        }
        damaged += u32::from(outcome.counts.damaged > 0);
        assert!(outcome.counts.damaged == 0 || outcome.is_partial());
        for line in lines.lines().chain(summary.lines()) {
            let object = serde_json::from_str::<serde_json::Value>(line);
            assert!(object.is_ok_and(|value| value.is_object()), "{line}");
        }
    }
    remove(&recording);
    assert!(damaged > 10, "the damage was too mild to test anything: {damaged}");
}
