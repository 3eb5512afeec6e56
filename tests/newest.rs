// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The end of a recording, copied without its beginning, is what the whole one ends with.
#![allow(clippy::unwrap_used)]

#[path = "support/synthetic.rs"]
mod synthetic;

use std::fs::File;
use std::ops::ControlFlow;
use std::path::Path;

use ftrace_analyzer::recording::{copy_newest, EndState, InitialTask, Item, Newest, Recording, Tail};
use synthetic::{fresh_dir, meta, Synthetic, START};

/// Times and CPUs of the events from `since` on, and how many sub-buffers were read for them.
fn from(recording: &Recording, since: u64) -> (Vec<(u64, u16)>, u64) {
    let mut stream = recording.stream(Tail::Use).unwrap();
    let mut found = Vec::new();
    let flow = stream.run(u64::MAX, |item| {
        if let Item::Event { ts, cpu, .. } = item {
            if ts >= since {
                found.push((ts, cpu));
            }
        }
        ControlFlow::Continue(())
    });
    assert!(flow.unwrap().is_continue());
    (found, stream.counts().pages)
}

/// Copies a recording's end; gives whether that is all of it.
fn copy(whole: &Recording, to: &Path, since: u64, until: u64, max: u64) -> (Recording, bool) {
    std::fs::create_dir(to).unwrap();
    let mut meta = Recording::read_meta(&whole.dir).unwrap();
    let known = InitialTask { tid: 100, tgid: 100, comm: "known".into(), ..InitialTask::default() };
    let mut newest = Newest { since, until, max, tasks: vec![known], reason: "it died".into() };
    let create = &mut |name: &str| Ok(File::create(to.join(name)).unwrap());
    let is_whole = copy_newest(&whole.dir, &mut meta, &mut newest, create).unwrap();
    (Recording::open(to).unwrap(), is_whole)
}

#[test]
fn the_end_of_a_recording_is_copied_without_its_beginning() {
    let dir = fresh_dir("newest");
    let mut meta = meta(3);
    // Segments of 256 KiB.
    meta.options.max_size = 4 << 20;
    meta.starts_in_runtime = true;
    let mut synthetic = Synthetic::new(&dir, meta);
    // The third CPU is idle but at the beginning, the second one in the middle.
    synthetic.call(2, 100, 1, &[1], 1, 0);
    for round in 0..9_000u64 {
        let cpu = usize::from(round % 7 == 0 && !(3_000..6_000).contains(&round));
        synthetic.after(10).call(cpu, 100, 39, &[round], 2, 100);
    }
    let whole = synthetic.finish(EndState::Complete, "");
    assert!(whole.segments().len() > 4, "{:?}", whole.segments());
    let (all, pages) = from(&whole, 0);
    let last = all.last().unwrap().0;
    let to = dir.join("copy");
    for since in
        [0, START, START + 1, all[777].0, all[9_001].0, all[9_001].0 + 1, all[17_000].0, last, last + 1, u64::MAX]
    {
        let (end, is_whole) = copy(&whole, &to, since, last, u64::MAX);
        let (found, read) = from(&end, since);
        let wanted: Vec<_> = all.iter().copied().filter(|(ts, _)| *ts >= since).collect();
        assert!(found == wanted, "since {since}: {} of {}", found.len(), wanted.len());
        if since > all[17_000].0 {
            assert!(read < pages / 10, "{read} of {pages} sub-buffers");
        }
        assert_eq!(is_whole, since <= START + 1, "since {since}");
        // Who the tasks were at the beginning, and that it was the runtime's, is true of the beginning alone.
        assert_eq!((end.meta.starts_in_runtime, end.meta.tasks[0].comm == "known"), (is_whole, !is_whole));
        assert_eq!((end.meta.end_state(), end.meta.end_reason.as_str()), (EndState::Complete, "it died"));
        std::fs::remove_dir_all(&to).unwrap();
    }
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_copy_that_would_be_too_large_has_the_newest_part() {
    let dir = fresh_dir("newest-max");
    let mut synthetic = Synthetic::new(&dir, meta(2));
    for round in 0..9_000u64 {
        synthetic.after(10).call((round % 2) as usize, 100, 39, &[round], 2, 100);
    }
    let whole = synthetic.finish(EndState::Complete, "");
    let (all, _) = from(&whole, 0);
    let last = all.last().unwrap().0;
    for max in [0, 8 << 10, 100_000, 300_000] {
        let to = dir.join("copy");
        let (end, is_whole) = copy(&whole, &to, START, last, max);
        let (found, _) = from(&end, 0);
        // All that there is room for, and a sub-buffer of each CPU in any case.
        let bytes = end.bytes();
        assert!(bytes <= max.max(8 << 10) && bytes + (8 << 10) > max && bytes > 0, "{bytes} of {max}");
        assert!(!is_whole && end.meta.trimmed.bytes == whole.bytes() - bytes);
        // From when on there is something of both.
        let first = |cpu: u16| found.iter().find(|event| event.1 == cpu).unwrap().0;
        let begin = first(0).max(first(1));
        let wanted: Vec<_> = all.iter().filter(|event| event.0 >= begin).collect();
        assert!(found.iter().filter(|event| event.0 >= begin).eq(wanted), "{max}");
        std::fs::remove_dir_all(&to).unwrap();
    }
    std::fs::remove_dir_all(dir).unwrap();
}
