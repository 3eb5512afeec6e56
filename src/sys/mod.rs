// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The few system calls that nix lacks or leaves unsafe, each behind a safe function: the only unsafe code of the crate.
//!
//! Source: the manual pages of section 2 named at each function.

mod process;
mod time;

pub use process::{
    close_others, detach_stdio, fork, ignore_signal, lower_nice, pidfd_open, reset_signals, set_name, Forked,
};
pub use time::realtime_ns;
