// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The texts of `--help`: written in `src/cli/help/`, packed in the program.

use super::help_table::{LENGTH, PACKED, STARTS};
use super::verbs::{Verb, VERBS};
use crate::packed::unpack;

/// The text for a verb.
pub fn text(verb: Verb) -> Vec<u8> {
    let at = VERBS.iter().position(|known| known.verb == verb).unwrap_or_default();
    let start = |at: usize| STARTS.get(at).copied().map_or(LENGTH, usize::from);
    let mut text = unpack(&PACKED, LENGTH);
    text.truncate(start(at + 1));
    text.drain(..start(at).min(text.len()));
    text
}
