// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The few system calls that nix lacks or leaves unsafe, each behind a safe function: the only unsafe code of the crate.
//! And what std does with more code than it takes.
//!
//! Source: the manual pages of section 2 named at each function.

mod files;
mod heap;
mod process;
mod start;
mod time;
mod trap;

pub use files::{
    make_dir, make_dirs, names, numbers, open, open_for, read_on, read_text, remove_dir_with_files, set_len, value_of,
};
pub use heap::Heap;
pub use process::{
    close_others, detach_stdio, fork, ignore_signal, lower_nice, page_size, pidfd_open, reset_signals, set_name, Forked,
};
pub use start::{begin, exit, variable, Stdio};
pub use time::{monotonic_ms, realtime_ns, sleep_ms};
pub use trap::log_traps;
