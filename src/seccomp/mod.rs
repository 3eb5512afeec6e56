// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Seccomp profiles from recordings: made, checked, compared; and the calls that seccomp refused.
//!
//! Features read recordings and nothing else, as reports do. What a profile means stands in docs/seccomp.md.

mod base;
mod check;
mod denials;
mod diff;
mod effect;
mod forms;
mod generate;
mod limits;
mod profile;
pub mod runtimes;
mod seen;
mod sources;
mod verdict;

pub use check::{push_check, write_check, Check, Finding};
pub use denials::{push_table as push_denials, write as write_denials, Denial, Denials};
pub use diff::{push_diff, write_diff, Diff, Difference, Kind};
pub use effect::{Branch, Effects, Machine, Test, DEFAULT_CAPS};
pub use forms::{write as write_profile, Form};
pub use generate::{check_fit, generate, Made, Named, Source, Wish};
pub use profile::{Action, ArchMap, Condition, Profile, Rule, Selector, EPERM, MASKED, PROFILE_MAX};
pub use seen::{First, Seen, SeenCall, CALLS_MAX, LIMITED, VALUES_MAX};
pub use sources::{push_remarks, push_why, write_sources, write_why};
pub use verdict::Verdict;

use crate::arch::{Abi, Arch};
use crate::calls::{Prepass, Steps, Tracker};
use crate::error::{Error, Result};
use crate::ids::Timestamp;
use crate::recording::{CallCounts, Conservation, Counts, EndState, Recording, Tail};

/// What was found of a recording besides its calls.
#[derive(Clone, Copy, Debug)]
pub struct Walked {
    /// What was decoded and lost against what the kernel wrote.
    pub conservation: Conservation,
    /// The decoder's counts.
    pub counts: Counts,
    /// The container's program was never executed.
    pub never_started: bool,
    /// Tasks seen.
    pub tasks: u64,
}

impl Walked {
    /// For a recording that only has counts.
    fn of_counts(recording: &Recording, counts: &CallCounts) -> Walked {
        let (conservation, decoded) = counts.conservation(&recording.meta);
        let never_started = counts.never_started(&recording.meta);
        Walked { conservation, counts: decoded, never_started, tasks: counts.tasks }
    }

    /// Whether data is missing that should be there.
    pub fn is_partial(&self, recording: &Recording) -> bool {
        self.conservation.lost > 0
            || self.conservation.not_stored > 0
            || self.counts.damaged > 0
            || self.counts.unknown_gaps > 0
            || self.conservation.balanced() == Some(false)
            || recording.meta.end_state() == EndState::Cut
    }
}

/// The traced machine, or why its calls cannot be named.
pub fn arch_of(recording: &Recording) -> Result<Arch> {
    let machine = &recording.meta.host.machine;
    recording.meta.arch().ok_or_else(|| Error::unsupported(["system call tables for the machine ", machine].concat()))
}

/// The ABIs of a machine's programs.
pub fn abis_of(arch: Arch) -> impl Iterator<Item = Abi> {
    core::iter::once(arch.native_abi()).chain(arch.compat_abi())
}

/// Passes a whole recording of events to `steps`, with every call under the ABI that its program speaks.
pub fn walk(recording: &Recording, steps: &mut dyn Steps) -> Result<Walked> {
    let meta = &recording.meta;
    let mut abis = None;
    if arch_of(recording)?.compat_abi().is_some() {
        abis = Some(Prepass::run(recording)?.abis);
    }
    let mut tracker = Tracker::new(meta, abis, false)?;
    let mut stream = recording.stream(Tail::Use)?;
    tracker.follow(&mut stream, Timestamp::MAX, steps)?;
    tracker.finish(steps);
    let counts = stream.counts();
    Ok(Walked {
        conservation: recording.conservation(&counts),
        counts,
        never_started: meta.starts_in_runtime && tracker.in_runtime(),
        tasks: tracker.tasks_seen(),
    })
}
