// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The lines for people below a report: how much there is, what is missing, and how the recording ended.

use std::os::unix::ffi::OsStrExt;

use super::logs::LogCount;
use super::out::push_safe;
use super::text::push_traced;
use super::{Options, Outcome};
use crate::json::push_u64;
use crate::recording::{EndState, Meta, OptionsMeta};
use crate::words::split_once;

/// Appends the lines, each behind `# `.
pub(crate) fn push(buf: &mut Vec<u8>, meta: &Meta, options: &Options, outcome: &Outcome) {
    if outcome.shown == 0 {
        push_empty(buf, meta, options, outcome);
    } else if outcome.hidden > 0 {
        line(buf, |buf| {
            number(buf, outcome.hidden, "call* kept back by the filter");
        });
    }
    if outcome.runtime > 0 && outcome.shown > 0 {
        line(buf, |buf| {
            number(buf, outcome.runtime, "call*");
            buf.extend_from_slice(b" of the container runtime's own left out (--with-runtime shows them)");
        });
    }
    push_place(buf, meta);
    push_recorded(buf, &meta.options);
    push_conservation(buf, outcome);
    line(buf, |buf| push_end(buf, meta, outcome));
    for problem in &meta.problems {
        line(buf, |buf| {
            buf.extend_from_slice(b"problem: ");
            push_safe(buf, problem.as_bytes());
        });
    }
}

/// Which pod the container is in.
fn push_place(buf: &mut Vec<u8>, meta: &Meta) {
    let path = meta.container.pod_path();
    if path.is_empty() {
        return;
    }
    line(buf, |buf| {
        buf.extend_from_slice(b"container of pod:");
        push_safe(buf, path.as_bytes());
        if !meta.container.image.is_empty() {
            buf.extend_from_slice(b", image ");
            push_safe(buf, meta.container.image.as_bytes());
        }
    });
}

fn line(buf: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    buf.extend_from_slice(b"# ");
    write(buf);
    buf.push(b'\n');
}

/// A number and what it counts, where `*` stands for the plural's s.
#[inline(never)]
pub(super) fn number(buf: &mut Vec<u8>, count: u64, what: &str) {
    push_u64(buf, count);
    buf.push(b' ');
    let (before, behind) = split_once(what, "*").unwrap_or((what, ""));
    buf.extend_from_slice(before.as_bytes());
    if count != 1 {
        buf.push(b's');
    }
    buf.extend_from_slice(behind.as_bytes());
}

/// Why there is nothing to see.
fn push_empty(buf: &mut Vec<u8>, meta: &Meta, options: &Options, outcome: &Outcome) {
    line(buf, |buf| {
        if outcome.counts.records == 0 {
            buf.extend_from_slice(b"no events: ");
        } else if outcome.never_started && outcome.hidden == 0 {
            buf.extend_from_slice(b"the container's program was never executed; ");
            number(buf, outcome.runtime, "call*");
            buf.extend_from_slice(b" of the runtime's own (--with-runtime shows them); ");
        } else if outcome.hidden > 0 {
            buf.extend_from_slice(b"nothing passes the filter");
            options.filter.describe(buf);
            buf.extend_from_slice(b" (");
            number(buf, outcome.hidden, "call*");
            buf.extend_from_slice(b" kept back); ");
        } else {
            buf.extend_from_slice(b"no calls; ");
        }
        push_traced(buf, meta.span());
    });
}

/// What the recording was limited to, if it was.
fn push_recorded(buf: &mut Vec<u8>, recorded: &OptionsMeta) {
    if recorded.syscalls.is_empty() && !recorded.errors_only {
        return;
    }
    line(buf, |buf| {
        buf.extend_from_slice(b"recorded with");
        if !recorded.syscalls.is_empty() {
            buf.extend_from_slice(b" --syscalls ");
            push_safe(buf, recorded.syscalls.as_bytes());
        }
        if recorded.errors_only {
            buf.extend_from_slice(b" --errors-only");
        }
        buf.extend_from_slice(b": other calls are not in it");
    });
}

/// What a recording of mode `profile` holds.
pub(crate) fn push_first_calls(buf: &mut Vec<u8>, meta: &Meta) {
    if !meta.first_calls_only() {
        return;
    }
    let profile = &meta.profile;
    line(buf, |buf| {
        buf.extend_from_slice(b"mode profile: of each call the first ones only, so figures are the least there was; ");
        if profile.abi == "mixed" {
            buf.extend_from_slice(b"at the end nothing was left out, for programs of 32 and of 64 bits ran");
            return;
        }
        number(buf, u64::from(profile.known), "number* left out after ");
        number(buf, u64::from(profile.narrowed), "narrowing*");
    });
    if !profile.limited.is_empty() {
        line(buf, |buf| {
            buf.extend_from_slice(b"not all arguments were seen of");
            for name in &profile.limited {
                buf.push(b' ');
                push_safe(buf, name.as_bytes());
            }
        });
    }
}

/// What became of the lines of logs.
pub(crate) fn push_logs(buf: &mut Vec<u8>, logs: &[LogCount]) {
    for log in logs {
        line(buf, |buf| {
            push_safe(buf, log.file.as_os_str().as_bytes());
            buf.extend_from_slice(b": ");
            number(buf, log.shown, "line* shown");
            for (count, what) in [
                (log.outside, " outside of the time shown"),
                (log.untimed, " without a time of their own, put behind the line before"),
                (log.cut, " cut"),
            ] {
                if count > 0 {
                    buf.extend_from_slice(b", ");
                    push_u64(buf, count);
                    buf.extend_from_slice(what.as_bytes());
                }
            }
        });
    }
}

/// Decoded, lost, written, and whether they add up.
pub(crate) fn push_conservation(buf: &mut Vec<u8>, outcome: &Outcome) {
    let sums = &outcome.conservation;
    line(buf, |buf| {
        number(buf, sums.decoded, "event* decoded");
        for (count, what) in [
            (sums.lost, if outcome.flight { " overwritten or lost" } else { " lost" }),
            (sums.trimmed, " removed by the recording's limits"),
            (sums.not_stored, " not stored"),
        ] {
            if count > 0 || what == " lost" {
                buf.extend_from_slice(b", ");
                push_u64(buf, count);
                buf.extend_from_slice(what.as_bytes());
            }
        }
        if outcome.counts.unknown_gaps > 0 && sums.written.is_none() {
            buf.extend_from_slice(b" and more in ");
            number(buf, outcome.counts.unknown_gaps, "gap* of unknown size");
        }
        match (sums.written, sums.balanced()) {
            (Some(written), balanced) => {
                buf.extend_from_slice(b"; the kernel wrote ");
                push_u64(buf, written);
                buf.extend_from_slice(if balanced == Some(true) { b": they add up" } else { b": they do NOT add up" });
            }
            (None, _) => buf.extend_from_slice(b"; the kernel's own count is not known"),
        }
    });
    if outcome.counts.damaged > 0 {
        line(buf, |buf| number(buf, outcome.counts.damaged, "damaged place*"));
    }
}

/// How the recording ended.
pub(crate) fn push_end(buf: &mut Vec<u8>, meta: &Meta, outcome: &Outcome) {
    match outcome.end {
        EndState::Complete => buf.extend_from_slice(b"recording complete"),
        EndState::Cut => buf.extend_from_slice(b"recording cut short"),
        EndState::Running => buf.extend_from_slice(b"recording not ended: it still runs, or its recorder was killed"),
    }
    if !meta.end_reason.is_empty() {
        buf.extend_from_slice(b": ");
        push_safe(buf, meta.end_reason.as_bytes());
    }
    buf.extend_from_slice(b"; ");
    push_traced(buf, meta.span());
}
