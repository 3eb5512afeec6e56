// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Real rings of real kernels, decoded and held against the kernel's own text of the same ring.
//!
//! Every directory below `tests/captures/` is one machine; how to make another is told at the head of
//! `tests/captures/make`. Nothing about a kernel is written here: layouts, formats and numbers are the capture's.
// clippy.toml allows them in test functions, and a helper of tests is none.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "common/captures.rs"]
mod common;

use std::path::Path;

use common::{captures_in, check_missed, check_read, check_text, Capture};
use ftrace_analyzer::format::Schema;
use ftrace_analyzer::ringbuf::Missed;

fn captures() -> Vec<Capture> {
    captures_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures"))
}

#[test]
fn records_are_the_lines_of_the_kernels_own_text() {
    captures().iter().for_each(check_text);
}

#[test]
fn records_are_as_many_as_the_kernel_says_were_read() {
    captures().iter().for_each(check_read);
}

#[test]
fn missed_events_are_as_many_as_the_kernel_says_were_overrun() {
    captures().iter().for_each(check_missed);
}

#[test]
fn the_captures_hold_what_they_are_for() {
    let mut counted = 0;
    for capture in captures() {
        let overrun: u64 = capture.cpus.iter().map(|(cpu, _)| capture.stat(*cpu, "overrun")).sum();
        let size = capture.layout.subbuf_size();
        match capture.dir.file_name().and_then(|name| name.to_str()) {
            Some("lossy") => {
                assert!(overrun > 0, "{}", capture.dir.display());
                let pages = capture.cpus.iter().flat_map(|(_, raw)| capture.pages(raw));
                counted += pages.filter(|page| matches!(page.missed(), Missed::Count(_))).count();
                continue;
            }
            Some("subbuf64k") => assert_eq!(size, 65536),
            name => assert_eq!(name, Some("plain")),
        }
        assert_eq!(overrun, 0, "{}", capture.dir.display());
        let busy = capture.cpus.iter().filter(|(cpu, _)| capture.stat(*cpu, "read events") > 0).count();
        assert_eq!(busy > 1, capture.cpus.len() > 1, "{}: CPUs to merge", capture.dir.display());
        for (id, name) in &capture.names {
            let records = capture.records();
            let count = records.iter().filter(|(_, _, data)| Schema::common(data).unwrap().id == *id).count();
            assert!(count > 0, "{}: no {name}", capture.dir.display());
        }
    }
    assert!(counted > 0, "no page with the number of missed events");
}

#[test]
fn the_rest_of_a_page_is_zeroed_and_not_decoded() {
    // The kernel clears what lies behind the data before it hands a page out; a decoder that read on would find
    // records of no length there.
    for capture in captures() {
        for (_, raw) in &capture.cpus {
            for (page, bytes) in capture.pages(raw).zip(raw.chunks(capture.layout.subbuf_size())) {
                let stored = match page.missed() {
                    Missed::Count(_) => usize::from(capture.layout.long_size()),
                    _ => 0,
                };
                let rest = &bytes[usize::from(capture.layout.data_offset) + page.len() + stored..];
                assert!(rest.iter().all(|byte| *byte == 0), "{}", capture.dir.display());
            }
        }
    }
}
