// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What can be wrong with a recording that is read: sub-buffers that no kernel wrote, and what a power failure, a full
//! disk or a careless copy made of the files that hold them.

use core::fmt;

use crate::ringbuf::PageError;

/// Why a part of a recording cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// A sub-buffer's bytes contradict each other.
    Page(PageError),
    /// Zeroes where a sub-buffer should be: the file system knew the file's size and lost its contents (power failure),
    /// or a copy left a hole. A kernel's sub-buffer has a time.
    Zeroes,
    /// The file is not there, though files before and behind it are.
    Missing,
}

impl From<PageError> for Damage {
    fn from(error: PageError) -> Self {
        Damage::Page(error)
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Damage::Page(error) => error.fmt(f),
            Damage::Zeroes => f.write_str("zeroes instead of a sub-buffer"),
            Damage::Missing => f.write_str("the file is missing"),
        }
    }
}
