// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The kernel's ring buffer pages: bytes in, records out, nothing assumed about the machine that reads.
//!
//! A *sub-buffer* (older kernels: page) is what one read of `per_cpu/cpuN/trace_pipe_raw` hands out: a header with a
//! time stamp and a `commit` word, then records of a 4-byte header and a payload. How wide the words are comes from the
//! traced kernel's `events/header_page` as a [`PageLayout`], never from this program's own pointers: a 32-bit binary on
//! a 64-bit kernel reads 64-bit pages, and a laptop reads a board's.
//! Source of truth: kernel/trace/ring_buffer.c (`struct buffer_data_page`, `rb_event_length`, `ring_buffer_read_page`)
//! and include/linux/ring_buffer.h (`enum ring_buffer_type`). The format in words: docs/ring-buffer.md.

mod layout;
mod page;

pub use layout::{LayoutError, PageLayout, SUBBUF_MAX, SUBBUF_MIN};
pub use page::{Cursor, Missed, Page, PageError, Record, Records};
