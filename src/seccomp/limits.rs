// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Rules on arguments: of which calls, and why of the others not.
//!
//! A rule that is too narrow stops the container in the field, where the recording did not come. So only a small set of
//! values that did not grow for a while makes one, and no call that the runtime makes itself under the filter.

use super::generate::{calls_named, Named, Source};
use super::seen::{SeenCall, LIMITED};
use crate::arch::Abi;

/// The most values that make a rule.
pub const SET_MAX: usize = 8;

/// How many calls there must be for each value.
pub const TIMES: u64 = 4;

/// What became of a call's argument.
#[derive(Clone, Debug)]
pub struct Limit {
    /// The call.
    pub name: &'static str,
    /// The argument, from 0.
    pub index: u32,
    /// Its values by rising number, and how often each came.
    pub values: Vec<(u32, u64)>,
    /// Why there is no rule; empty where there is one.
    pub why: &'static str,
}

/// Decides for each call that the container made.
pub(super) fn find(sources: &[Source], names: &[Named]) -> Vec<Limit> {
    let mut limits = Vec::new();
    for (name, index) in LIMITED {
        let Some(named) = names.iter().find(|named| named.name == name && named.why.container) else { continue };
        let mut all = SeenCall::new(Abi::X86_64, 0);
        for call in calls_named(sources, name) {
            all.open |= call.open;
            for (value, times) in &call.values {
                all.add_value(*value, *times);
            }
        }
        let why = if named.why.runtime {
            "the runtime makes this call, too, with arguments of its own"
        } else if all.open {
            "not all of its arguments are known, or there were too many"
        } else if all.values.len() > SET_MAX {
            "more than 8 values were seen"
        } else if named.calls < TIMES * all.values.len() as u64 {
            "it was called less than 4 times for each value: too seldom to tell that there are no others"
        } else {
            ""
        };
        limits.push(Limit { name, index, values: all.values, why });
    }
    limits
}
