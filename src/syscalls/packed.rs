// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The larger tables, packed: half of their bytes. Unpacked once, when the first name or number is asked for: by reports, and
//! by recorders that choose among calls or count them. That takes some milliseconds, and 2.9 MB that are given back.

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

    /// Number `at` of a table of numbers: the low bytes of all stand in front of the high ones.
    pub(super) fn number(self, at: usize) -> Option<u16> {
        let bytes = self.bytes();
        let (low, high) = bytes.split_at(bytes.len() / 2);
        Some(u16::from_le_bytes([*low.get(at)?, *high.get(at)?]))
    }

    /// Word `at` of words that stand end to end, of which `starts` tells where each starts; an empty one means that there is
    /// none.
    pub(super) fn word(self, starts: Part, at: usize) -> Option<&'static str> {
        let (from, to) = (starts.number(at)?, starts.number(at + 1)?);
        self.text(usize::from(from), usize::from(to)).filter(|word| !word.is_empty())
    }

    /// The text from here to there; the tables are ASCII where they are text.
    fn text(self, from: usize, to: usize) -> Option<&'static str> {
        core::str::from_utf8(self.bytes().get(from..to)?).ok()
    }
}
