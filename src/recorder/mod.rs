// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Recording: from a target and options to a finished recording, whoever dies on the way.
//!
//! A [`Session`] is set up (instance, filter, events, files), then its loop moves sub-buffers from the kernel to disk
//! until the traced tasks are gone or somebody says stop. It stores and does not decode. State for other invocations of
//! the program (`stop`, `follow`, `list`, `gc`) lies in a directory below /run.

mod buffers;
mod containers;
mod control;
mod counter;
mod drain;
mod ending;
mod event_filter;
mod event_loop;
mod gc;
mod histograms;
mod joiner;
mod joins;
mod lanes;
mod log;
mod memory;
mod options;
mod quiet;
mod run_state;
mod session;
mod spawn;
mod strings;
mod target;
#[cfg(test)]
mod tests;

pub use buffers::{best_buffers, DATA_MAX, DATA_MIN, DATA_NOTE};
pub use containers::{describe, describe_running, find, of_runtime, Described};
pub use control::{end_recorder, Client, Reply};
pub use ending::Ending;
pub use event_filter::FILTER_NOTE;
pub use gc::{apply_limits, close_dead, for_each_dir, sweep, Swept};
pub use joiner::{recorder_of, Fit};
pub use log::log;
pub use memory::{available_kb, buffer_kb, check_room, needed_kb, KERNEL_BUFFER_KB};
pub use options::{Mode, RecordOptions, DIR_DEFAULT, MAX_SIZE_DEFAULT};
pub use run_state::{default_dir, find_container_recorder, find_running, make_run_dir, run_dir, running, RunState};
pub use session::Session;
pub use spawn::{read_answer, record, spawn, Spawned};
pub use strings::{best_strings, Strings};
pub use target::{Asked, Origin, Target};
