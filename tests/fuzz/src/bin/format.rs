// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Texts of `events/*/format` and `header_page`, and what a schema made of them does with a record.
// max_len: 4096
#![no_main]

use ftrace_analyzer::format::{parse_event, parse_header_page, Schema};
use ftrace_analyzer::ringbuf::{PageLayout, SUBBUF_MAX, SUBBUF_MIN};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // The reader hands over text; what is not UTF-8 does not get here.
    let Ok(text) = std::str::from_utf8(data) else { return };
    match parse_header_page(text) {
        Ok(layout) => {
            assert!((SUBBUF_MIN..=SUBBUF_MAX).contains(&layout.subbuf_size()));
            let again = PageLayout::new(
                layout.commit_offset.into(),
                layout.commit_size.into(),
                layout.data_offset.into(),
                layout.data_size,
            );
            assert_eq!(again, Ok(layout));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    match parse_event(text) {
        Ok(format) => {
            for (name, _) in format.fields() {
                assert!(!name.is_empty() && format.field(name).is_some());
            }
            let mut schema = Schema::default();
            if let Ok(true) = schema.add(&format) {
                // Fields may lie anywhere; records are short, long, and of bytes that make located strings point far.
                for (len, byte) in [(0, 0), (7, 1), (8, 1), (64, 1), (64, 0xff), (70_000, 0), (70_000, 0xff)] {
                    let _ = schema.decode(format.id, &vec![byte; len]);
                }
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
