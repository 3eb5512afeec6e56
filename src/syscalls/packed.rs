// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The larger tables, packed: half of their bytes. What a recorder needs is not among them, so only reports unpack them, once
//! and when the first call is printed: some milliseconds, and half a megabyte that is given back.

use std::sync::OnceLock;

use super::packed_table::{LENGTH, PACKED};
use crate::packed::unpack;

/// A table among those that are packed: where it begins and ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part(pub(super) u16, pub(super) u16);

impl Part {
    /// Its bytes.
    #[inline(never)]
    pub(super) fn bytes(self) -> &'static [u8] {
        static TABLES: OnceLock<Vec<u8>> = OnceLock::new();
        TABLES.get_or_init(|| unpack(&PACKED, LENGTH)).get(usize::from(self.0)..usize::from(self.1)).unwrap_or_default()
    }

    /// The text from here to there; the tables are ASCII where they are text.
    pub(super) fn text(self, from: usize, to: usize) -> Option<&'static str> {
        core::str::from_utf8(self.bytes().get(from..to)?).ok()
    }
}
