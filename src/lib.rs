// SPDX-License-Identifier: Apache-2.0 OR MIT
//! ftrace-analyzer: what a container asks the kernel for, from ftrace alone.
//!
//! The modules stand in layer order; a module uses modules of lower layers only (`tests/layers.rs` holds this).
//! The way of one system call through them is told in `docs/architecture.md`.

// 0 vocabulary: no IO, no unsafe
pub mod arch;
pub mod error;
pub mod ids;
pub mod json;

// 1 pure decoding: core only, no alloc, no unsafe
pub mod ringbuf;

pub mod format;
pub mod syscalls;

// 3 meaning
pub mod calls;
pub mod recording;
pub mod tasks;

// 4 features
pub mod report;
