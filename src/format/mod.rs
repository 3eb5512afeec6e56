// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The kernel's own description of its events: text of `events/*/format` and `events/header_page` to offsets.
//!
//! Event ids are given at boot and field offsets differ by kernel, so both are read from the traced kernel and kept in
//! the recording. Only what the few events we use need is understood: name, ID and the `field:` lines.
//! Source: kernel/trace/trace_events.c `f_show`, kernel/trace/ring_buffer.c `ring_buffer_print_page_header`.

mod contents;
mod events;
mod marks;
mod text;

pub use contents::{nr_place, parts, Contents, Part, Role, Value};
pub use events::{CommonFields, Event, Place, Schema, SchemaError};
pub use marks::{is_again, Joined, Seen, JOIN};
pub use text::{parse_event, parse_header_page, EventFormat, Field, FormatError, Kind};
