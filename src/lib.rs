// SPDX-License-Identifier: Apache-2.0 OR MIT
//! ftrace-analyzer: what a container asks the kernel for, from ftrace alone.
//!
//! The modules stand in layer order; a module uses modules of lower layers only (`tests/layers.rs` holds this).
//! The way of one system call through them is told in `docs/architecture.md`.

// 0 vocabulary: no IO, no unsafe
pub mod arch;
pub mod calendar;
pub mod error;
pub mod ids;
pub mod json;
pub mod record;
pub mod words;

// 1 pure decoding: core only, no alloc, no unsafe
pub mod ringbuf;

pub mod format;
pub mod packed;
pub mod syscalls;

// 2 the live kernel: the only modules that touch /sys and /proc
pub mod proc;
pub mod sys;
pub mod tracefs;

// 3 meaning
pub mod oci;
pub mod recording;

pub mod tasks;

pub mod calls;

// 4 features, independent of one another
pub mod core_dump;
pub mod hooks;
pub mod recorder;
pub mod report;
pub mod seccomp;

pub mod serve;

// 5 the surface
pub mod cli;
