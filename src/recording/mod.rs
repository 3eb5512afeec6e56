// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Our on-disk form: a directory with the raw sub-buffers per CPU and all that is needed to decode them elsewhere.
//!
//! ```text
//! ID-START/
//!   meta.json             who, when, on what kernel, with which options, and how it ended
//!   formats               events/header_page and the format of each event, as the kernel printed them
//!   cpu0.000000.pages …   whole sub-buffers as the kernel handed them out, in order
//!   calls.json            instead of those in mode count: calls by number
//! ```
//!
//! Nothing is decoded before it is stored: a better decoder can read an old recording again. The format in words, with
//! what holds after a crash at each moment: docs/recording-format.md.

mod base;
mod call_counts;
mod clock;
mod damage;
mod formats;
mod meta;
mod meta_file;
mod newest;
mod pages;
mod reader;
mod stream;
mod writer;

pub use base::{create_base, dir_of_user, make_user_dir, USERS};
pub use call_counts::{CallCount, CallCounts, NumberCount, ENTERS, NUMBERS_MAX, TWICE};
pub use clock::Clock;
pub use damage::Damage;
pub use formats::{Formats, HEADER_EVENT, HEADER_PAGE};
pub use meta::{
    Anchor, ContainerMeta, CpuStats, EndState, HostMeta, InitialTask, Meta, OpenFile, OptionsMeta, PageMeta,
    ProfileMeta, Trimmed, FORMAT_VERSION, META_MAX,
};
pub use meta_file::MetaFile;
pub use newest::{copy_newest, Newest};
pub use reader::{list_recordings, open_for_reading, read_bounded, Conservation, Recording, Segment};
pub use stream::{Counts, Item, Stream, Tail};
pub use writer::{segment_name, SegmentWriter, Store};
