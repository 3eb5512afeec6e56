// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The one owner of tracefs: where it is mounted, our instances in it, and every write to them.
//!
//! Rules that hold for every function here: nothing outside an instance of ours is ever written, but definitions of
//! probes in a group of ours; `set_event_pid` is
//! opened for appending and never truncated (truncating removes the filter and traces the whole machine until the next
//! write); an instance is made before its filter, the filter before its events.
//! Source: Documentation/trace/ftrace.rst; kernel/trace/trace.c, trace_events.c, trace_pid.c.

mod hist;
mod instance;
mod mount;
mod probes;
mod stats;

pub use hist::parse_hist;
pub use instance::{Instance, INSTANCE_PREFIX};
pub use mount::{Tracefs, TRACEFS_PATH};
pub use probes::{ProbeLock, PROBE_GROUP};
pub use stats::BufferStats;
