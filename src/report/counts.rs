// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Reports of recordings that only have counts: the summary's table and object, without times.

use super::summary::Sums;
use super::{Options, Outcome};
use crate::error::{Error, Result};
use crate::recording::{CallCounts, Meta, Recording};

/// Where both ABIs of a kernel were spoken and numbers are all that is known.
pub(crate) const MIXED: &str =
    "# programs of 32 and of 64 bits ran, and histograms do not tell their calls apart: names are those of 64 bits\n";

/// How the counts came about.
pub(crate) fn how(meta: &Meta) -> &'static str {
    match meta.options.counted_by.as_str() {
        "hist" => "counted by the kernel's histograms",
        _ => "counted from the kernel's events",
    }
}

/// The sums by what the recorder counted, and what is known of them.
pub(crate) fn gather<'a>(recording: &Recording, options: &'a Options) -> Result<(Box<Sums<'a>>, Outcome)> {
    let meta = &recording.meta;
    let counts = CallCounts::load(&recording.dir)?;
    let arch = meta
        .arch()
        .ok_or_else(|| Error::unsupported(["a decoder for recordings of the machine ", &meta.host.machine].concat()))?;
    let filter = &options.filter;
    if filter.is_of_tasks_or_times() {
        return Err(Error::usage("a recording of mode count has neither tasks nor times to choose by")
            .hint("--syscalls and --errors-only choose among what was counted"));
    }
    let mut sums = Box::new(Sums::new(options));
    sums.mixed = Some(counts.mixed);
    let (mut shown, mut hidden) = (0, 0);
    let failed_only = filter.errors_only || filter.recorded_errors_only;
    let listed = |list: &Option<Box<crate::syscalls::SyscallList>>, abi, nr| {
        list.as_ref().map_or(true, |list| list.contains(abi, nr))
    };
    // Before the program's exec all calls are the runtime's.
    let calls = if counts.started { counts.calls(arch) } else { Vec::new() };
    for mut call in calls {
        if !listed(&filter.recorded_syscalls, call.abi, call.nr) {
            continue;
        }
        let all = call.calls;
        if failed_only {
            call.calls = call.errors;
        }
        if !listed(&filter.syscalls, call.abi, call.nr) {
            call.calls = 0;
        }
        if !filter.recorded_errors_only {
            hidden += all - call.calls;
        }
        if call.calls > 0 {
            shown += call.calls;
            sums.add_count(call);
        }
    }
    sums.others.calls = if failed_only || filter.syscalls.is_some() { 0 } else { counts.others };
    shown += sums.others.calls;
    sums.finish();
    let (conservation, decoded) = counts.conservation(meta);
    let outcome = Outcome {
        conservation,
        counts: decoded,
        end: meta.end_state(),
        flight: false,
        shown,
        hidden,
        runtime: 0,
        never_started: counts.never_started(meta),
        tasks: counts.tasks,
        closed: false,
    };
    Ok((sums, outcome))
}
