// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Core dumps, sorted by container: the kernel's one core_pattern, who has it, and what becomes of a dump.

pub mod about;
pub mod backtrace;
pub mod cfi;
pub mod copy;
pub mod deaths;
pub mod elf;
pub mod exidx;
pub mod forward;
pub mod growing;
pub mod handler;
pub mod keeper;
pub mod owner;
pub mod pattern;
pub mod place;
pub mod settings;
pub mod shelf;
pub mod stream;
pub mod trial;
pub mod trusted;
pub mod unwind;
