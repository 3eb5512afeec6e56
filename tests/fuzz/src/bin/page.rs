// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Sub-buffers of both word sizes and several sizes: every record, every event.
//!
//! The first byte chooses the layout: bit 0 a 32-bit kernel's, bits 1 and 2 the size; the sub-buffer follows.
// max_len: 4300
#![no_main]

use std::sync::OnceLock;

use ftrace_analyzer::format::{Event, Schema};
use ftrace_analyzer::ringbuf::{Page, PageLayout};
use libfuzzer_sys::fuzz_target;

static SCHEMAS: OnceLock<[Schema; 2]> = OnceLock::new();

fuzz_target!(|data: &[u8]| {
    let Some((choice, bytes)) = data.split_first() else { return };
    let narrow = choice & 1 == 1;
    let long = if narrow { 4 } else { 8 };
    let size = [4096, 256, 65536, 8 << 20][usize::from(choice >> 1 & 3)];
    let layout = PageLayout::new(8, long, 8 + long, size - 8 - long).expect("a kernel's layout");
    let schema = &SCHEMAS.get_or_init(|| [fuzz::schema(8), fuzz::schema(4)])[usize::from(narrow)];

    let Ok(page) = Page::parse(bytes, &layout) else { return };
    let inside = page.data().as_ptr_range();
    assert!(page.is_empty() || bytes.as_ptr_range().start <= inside.start && inside.end <= bytes.as_ptr_range().end);
    assert!(page.len() <= layout.data_size as usize);
    let _ = page.missed();
    let mut records = page.records();
    let mut before = records.offset();
    while let Some(record) = records.next() {
        assert!(records.offset() > before, "no way made");
        before = records.offset();
        let Ok(record) = record else {
            assert!(records.next().is_none(), "a record behind an error");
            break;
        };
        let payload = record.data.as_ptr_range();
        assert!(inside.start <= payload.start && payload.end <= inside.end, "bytes from outside");
        let Some(common) = Schema::common(record.data) else { continue };
        match schema.decode(common.id, record.data) {
            Event::Fork { comm: text, .. }
            | Event::NewTask { comm: text, .. }
            | Event::Exec { filename: text, .. }
            | Event::Exit { comm: text, .. }
            | Event::Rename { comm: text, .. }
            | Event::Mark { text } => {
                let text = text.as_ptr_range();
                assert!(payload.start <= text.start && text.end <= payload.end, "text from outside the record");
            }
            Event::Other { id } => assert_eq!(id, common.id),
            _ => {}
        }
    }
});
