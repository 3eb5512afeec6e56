// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which calls and lines of a recording are wanted.
//!
//! Filters choose what is shown, never what is counted as decoded or lost. What the recording itself was limited to comes
//! first: the kernel keeps some calls besides, which pairing needs, and may have refused the whole filter.

use super::out::push_safe;
use crate::calls::{Call, Note, What};
use crate::ids::{Pid, Timestamp};
use crate::json::push_i64;
use crate::recording::Meta;
use crate::syscalls::SyscallList;

/// What is wanted; the default is all of the container's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The recording's own `--syscalls`.
    pub recorded_syscalls: Option<Box<SyscallList>>,
    /// The recording's own `--errors-only`.
    pub recorded_errors_only: bool,
    /// Only these calls.
    pub syscalls: Option<Box<SyscallList>>,
    /// Only calls that failed or were refused.
    pub errors_only: bool,
    /// Only this task: a thread, or a process with all its threads.
    pub pid: Option<Pid>,
    /// Only tasks of this name.
    pub comm: Option<Vec<u8>>,
    /// Only what begins at this time of the trace clock or later.
    pub since: Option<Timestamp>,
    /// Only what begins at this time of the trace clock or earlier.
    pub until: Option<Timestamp>,
    /// Only calls that took this many nanoseconds or longer.
    pub min_duration: Option<u64>,
    /// The container runtime's own set-up too.
    pub with_runtime: bool,
}

impl Filter {
    /// All that the recording was to have.
    pub fn of(meta: &Meta) -> Filter {
        let list = Some(meta.options.syscalls.as_str()).filter(|list| !list.is_empty());
        Filter {
            // A list that only a later version knows has chosen in the kernel already.
            recorded_syscalls: list
                .zip(meta.arch())
                .and_then(|(list, arch)| SyscallList::parse(list, arch).ok())
                .map(Box::new),
            recorded_errors_only: meta.options.errors_only,
            ..Filter::default()
        }
    }

    /// Whether the recording was to have this call, as far as can be told.
    #[inline]
    pub fn was_asked_for(&self, call: &Call) -> bool {
        (!self.recorded_errors_only || call.errno().is_some())
            && self.recorded_syscalls.as_ref().map_or(true, |list| list.contains(call.abi, call.nr))
    }

    /// Whether all that the recording has was asked for.
    pub fn asks_for_all(&self) -> bool {
        !self.recorded_errors_only && self.recorded_syscalls.is_none()
    }

    /// Whether only the end of a call can tell if it is wanted.
    pub fn needs_end(&self) -> bool {
        self.errors_only || self.recorded_errors_only || self.min_duration.is_some()
    }

    /// Whether everything but the runtime's set-up is wanted.
    pub fn is_all(&self) -> bool {
        let bounds = self.since.is_some() || self.until.is_some() || self.min_duration.is_some();
        let task = self.pid.is_some() || self.comm.is_some();
        !(bounds || task || self.errors_only || self.syscalls.is_some())
    }

    /// Whether it chooses by tasks, times or durations, of which counts know nothing.
    pub fn is_of_tasks_or_times(&self) -> bool {
        let bounds = self.since.is_some() || self.until.is_some() || self.min_duration.is_some();
        bounds || self.pid.is_some() || self.comm.is_some() || self.with_runtime
    }

    /// Whether the time, of the trace clock, is between the bounds.
    #[inline]
    pub fn in_time(&self, ts: Timestamp) -> bool {
        self.since.map_or(true, |since| ts >= since) && self.until.map_or(true, |until| ts <= until)
    }

    #[inline]
    fn of_task(&self, pid: Pid, tgid: Pid, comm: &[u8], runtime: bool) -> bool {
        (self.with_runtime || !runtime)
            && self.pid.map_or(true, |wanted| wanted == pid || wanted == tgid)
            && self.comm.as_ref().map_or(true, |wanted| wanted == comm)
    }

    /// Whether a call that has not ended is wanted as far as can be told.
    #[inline]
    pub fn wants_open(&self, call: &Call) -> bool {
        self.in_time(call.entered)
            && self.of_task(call.pid, call.tgid, call.comm.as_bytes(), call.runtime)
            && self.syscalls.as_ref().map_or(true, |list| list.contains(call.abi, call.nr))
            && self.recorded_syscalls.as_ref().map_or(true, |list| list.contains(call.abi, call.nr))
    }

    /// Whether a call is wanted.
    #[inline]
    pub fn wants(&self, call: &Call) -> bool {
        self.wants_open(call)
            && (!self.errors_only || call.errno().is_some())
            && self.min_duration.map_or(true, |least| call.duration().is_some_and(|duration| duration >= least))
    }

    /// Whether something besides calls is wanted. Losses and damage concern every task.
    pub fn wants_note(&self, note: &Note) -> bool {
        let of_all = matches!(note.what, What::Lost { .. } | What::Damaged { .. });
        self.in_time(note.ts) && (of_all || self.of_task(note.pid, note.tgid, note.comm.as_bytes(), note.runtime))
    }

    /// Appends the filter's options as they were given, each behind a blank, for a report that shows nothing.
    pub fn describe(&self, out: &mut Vec<u8>) {
        let mut option = |given: bool, name: &str, value: &dyn Fn(&mut Vec<u8>)| {
            if given {
                out.extend_from_slice(name.as_bytes());
                value(out);
            }
        };
        let none = |_: &mut Vec<u8>| {};
        option(self.syscalls.is_some(), " --syscalls", &none);
        option(self.errors_only, " --errors-only", &none);
        option(self.pid.is_some(), " --pid ", &|out| push_i64(out, i64::from(self.pid.unwrap_or(0))));
        option(self.comm.is_some(), " --comm ", &|out| push_safe(out, self.comm.as_deref().unwrap_or_default()));
        option(self.since.is_some(), " --since", &none);
        option(self.until.is_some(), " --until", &none);
        option(self.min_duration.is_some(), " --min-duration", &none);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Abi;
    use crate::calls::End;
    use crate::ids::SyscallNr;
    use crate::tasks::Comm;

    fn call(nr: SyscallNr) -> Call {
        Call {
            entered: 100,
            ended: 150,
            ret: 0,
            args: [0; 6],
            nr,
            pid: 7,
            tgid: 5,
            comm: Comm::new(b"sh"),
            abi: Abi::X86_64,
            end: End::Returned,
            uncertain: false,
            runtime: false,
        }
    }

    #[test]
    fn each_filter_lets_through_what_it_names() {
        let all = Filter::default();
        let read = call(0);
        let failed = Call { ret: -2, ..read };
        assert!(all.is_all() && all.wants(&read));
        assert!(!all.wants(&Call { runtime: true, ..read }));
        assert!(Filter { with_runtime: true, ..all.clone() }.wants(&Call { runtime: true, ..read }));
        let errors = Filter { errors_only: true, ..all.clone() };
        assert!(!errors.wants(&read) && errors.wants(&failed) && errors.wants_open(&read));
        for (pid, wanted) in [(7, true), (5, true), (6, false)] {
            assert_eq!(Filter { pid: Some(pid), ..all.clone() }.wants(&read), wanted);
        }
        assert!(Filter { comm: Some(b"sh".to_vec()), ..all.clone() }.wants(&read));
        assert!(!Filter { comm: Some(b"s".to_vec()), ..all.clone() }.wants(&read));
        for (since, until, wanted) in [(100, 100, true), (101, 200, false), (0, 99, false)] {
            let filter = Filter { since: Some(since), until: Some(until), ..all.clone() };
            assert_eq!(filter.wants(&read), wanted);
        }
        for (least, wanted) in [(50, true), (51, false)] {
            assert_eq!(Filter { min_duration: Some(least), ..all.clone() }.wants(&read), wanted);
        }
        let open = Call { end: End::Unfinished, ..read };
        assert!(!Filter { min_duration: Some(0), ..all.clone() }.wants(&open), "nobody knows how long it took");
    }

    #[test]
    fn what_the_recording_was_limited_to_is_not_shown_beyond() {
        let mut meta = Meta::default();
        meta.host.machine = "x86_64".into();
        assert!(Filter::of(&meta).asks_for_all());
        meta.options.syscalls = "read,openat".into();
        let (read, write) = (call(0), call(1));
        let filter = Filter::of(&meta);
        assert!(filter.was_asked_for(&read) && !filter.was_asked_for(&write) && filter.is_all());
        assert!(filter.wants_open(&read) && !filter.wants_open(&write) && !filter.needs_end());
        meta.options.errors_only = true;
        let filter = Filter::of(&meta);
        assert!(!filter.was_asked_for(&read) && filter.was_asked_for(&Call { ret: -2, ..read }) && filter.needs_end());
        // The exit was filtered in the kernel: the call did not fail.
        assert!(!filter.was_asked_for(&Call { end: End::Unfinished, ..read }));
    }
}
