// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `--syscalls` and `--errors-only` as filters of the kernel's events, and what is kept although nobody asked for it.
//!
//! The filter sees a number and not the ABI it is of, so it lets through what is wanted in either ABI of the machine;
//! reports apply the exact list. It is a tree of comparisons, for the kernel goes through it for every call of a traced
//! task: a list of a hundred numbers one after the other would cost more than writing the event.
//! Source: kernel/trace/trace_events_filter.c `predicate_parse` (one write, less than a page), `parse_pred`.

use crate::arch::Arch;
use crate::ids::SyscallNr;
use crate::syscalls::{max_nr, name, number, SyscallList, PRIVATE_CALLS};
use crate::tracefs::Instance;

use super::histograms::FAILED;
use super::options::RecordOptions;

/// Calls whose enter and exit are kept: execve's exit tells the new program's ABI (x86_64), and that another thread has
/// superseded the process's others.
const EXECS: &str = "execve,execveat";

/// Calls whose enter is kept: besides those, the ends, for `sched_process_exit` has no status.
const EXECS_AND_ENDS: &str = "execve,execveat,exit,exit_group";

/// A range of numbers that go through, both ends included.
pub(super) type Range = (SyscallNr, SyscallNr);

/// Ranges that are compared one after the other at the end of each branch.
const LEAF: usize = 4;

/// Adds a range behind the others.
pub(super) fn add(ranges: &mut Vec<Range>, (first, last): Range) {
    match ranges.last_mut() {
        Some((_, end)) if *end == first - 1 => *end = last,
        _ => ranges.push((first, last)),
    }
}

/// The numbers of the calls that are in one of the lists, in either ABI.
pub(super) fn ranges(lists: &[&SyscallList], arch: Arch) -> Vec<Range> {
    let native = arch.native_abi();
    let abis = [native, arch.compat_abi().unwrap_or(native)];
    let excludes = lists.iter().any(|list| list.excludes());
    let mut found = Vec::new();
    // x86 and arm64 leave rt_sigreturn with the number -1. Numbers beyond the tables have no name to be excluded by.
    let mut next = -1;
    let mut beyond = SyscallNr::MIN;
    for (from, to) in [(0, max_nr(native)), PRIVATE_CALLS] {
        if excludes {
            add(&mut found, (beyond, from - 1));
        } else if from == 0
            && lists.iter().any(|list| {
                abis.iter().any(|abi| number(*abi, "rt_sigreturn").is_some_and(|nr| list.contains(*abi, nr)))
            })
        {
            add(&mut found, (next, next));
        }
        for nr in from..=to {
            let wanted = abis.iter().any(|abi| lists.iter().any(|list| list.contains(*abi, nr)));
            // Numbers that no ABI has a call for go along with their neighbours: reports leave them out.
            let joins = next == nr && abis.iter().all(|abi| name(*abi, nr).is_none());
            if wanted || (joins && !found.is_empty()) {
                add(&mut found, (nr, nr));
                next = nr + 1;
            }
        }
        beyond = to + 1;
    }
    if excludes {
        add(&mut found, (beyond, SyscallNr::MAX));
    }
    found
}

pub(super) fn push_compare(out: &mut String, operator: &str, nr: SyscallNr) {
    out.push_str("id");
    out.push_str(operator);
    out.push_str(&nr.to_string());
}

/// Appends the condition that the number is in one of the ranges, which rise.
pub(super) fn push_ranges(out: &mut String, ranges: &[Range]) {
    if ranges.len() > LEAF {
        let (low, high) = ranges.split_at(ranges.len() / 2);
        if let Some((first, _)) = high.first() {
            push_compare(out, "<", *first);
            out.push_str("&&(");
            push_ranges(out, low);
            out.push_str(")||");
            push_compare(out, ">=", *first);
            out.push_str("&&(");
            push_ranges(out, high);
            out.push(')');
        }
        return;
    }
    for (turn, (first, last)) in ranges.iter().enumerate() {
        if turn > 0 {
            out.push_str("||");
        }
        if first == last {
            push_compare(out, "==", *first);
        } else {
            push_compare(out, ">=", *first);
            out.push_str("&&");
            push_compare(out, "<=", *last);
        }
    }
}

/// The filters of `sys_enter` and `sys_exit`; an empty one lets everything through.
pub(super) fn filters(list: Option<SyscallList>, errors_only: bool, arch: Arch) -> [String; 2] {
    let mut texts = [String::new(), String::new()];
    for ((text, kept), is_exit) in texts.iter_mut().zip([EXECS_AND_ENDS, EXECS]).zip([false, true]) {
        let Ok(kept) = SyscallList::parse(kept, arch) else { continue };
        let errors = errors_only && is_exit;
        if errors {
            // Results of mmap are negative numbers, too.
            text.push_str(FAILED);
        }
        if let Some(list) = &list {
            text.push_str(if errors { "&&(" } else { "" });
            push_ranges(text, &ranges(&[list, &kept], arch));
            text.push_str(if errors { ")" } else { "" });
        }
        if errors {
            text.push_str("||");
            push_ranges(text, &ranges(&[&kept], arch));
        }
    }
    texts
}

/// Sets the filters; gives what the user should know where the kernel does not take them. Both or none are set: an enter
/// whose exit is filtered otherwise would look like something that it is not.
#[inline(never)]
pub(super) fn apply(instance: &Instance, options: &RecordOptions, arch: Option<Arch>) -> Option<String> {
    let arch = arch?;
    // The names of calls are unpacked for those who want some of them.
    if options.syscalls.is_none() && !options.errors_only {
        return None;
    }
    let list = options.syscalls.as_ref().and_then(|text| SyscallList::parse(text, arch).ok());
    let texts = filters(list, options.errors_only, arch);
    for (event, text) in EVENTS.into_iter().zip(&texts).filter(|(_, text)| !text.is_empty()) {
        if let Err(why) = instance.set_filter("raw_syscalls", event, text) {
            for event in EVENTS {
                // Nothing can be done about a failure here, and nothing is lost: reports apply the filter.
                let _ = instance.set_filter("raw_syscalls", event, "0");
            }
            return Some([FILTER_NOTE, ": ", &why.to_string()].concat());
        }
    }
    None
}

const EVENTS: [&str; 2] = ["sys_enter", "sys_exit"];

/// How the note begins.
pub const FILTER_NOTE: &str = "all calls are recorded and the filter is applied when reading";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Abi;
    use crate::recorder::tests::passes;
    use crate::syscalls::all;

    fn both(list: &str, errors_only: bool, arch: Arch) -> [String; 2] {
        let list = (!list.is_empty()).then(|| SyscallList::parse(list, arch).unwrap());
        let both = filters(list, errors_only, arch);
        // The kernel takes less than a page in one write.
        assert!(both.iter().all(|text| text.len() < 4096), "{} and {} bytes", both[0].len(), both[1].len());
        both
    }

    fn every_other() -> String {
        let names: Vec<&str> = all(Abi::X86_64).map(|(_, name)| name).step_by(2).collect();
        names.join(",")
    }

    #[test]
    fn exactly_what_is_wanted_in_either_abi_goes_through_with_what_pairing_needs() {
        for arch in [Arch::X86_64, Arch::X86, Arch::Aarch64, Arch::Arm] {
            for text in
                ["openat", "%file", "!%file", "!read", "%network,!socket", "rt_sigreturn", "%%stat,%desc,%memory"]
            {
                let list = SyscallList::parse(text, arch).unwrap();
                let [enter, exit] = both(text, false, arch);
                let abis = || [Some(arch.native_abi()), arch.compat_abi()].into_iter().flatten();
                for nr in (0..600).chain(0xf0001..0xf0007) {
                    let wanted = abis().any(|abi| list.contains(abi, nr));
                    let named = abis().any(|abi| name(abi, nr).is_some());
                    let kept = |names: &[&str]| abis().any(|abi| names.iter().any(|n| number(abi, n) == Some(nr)));
                    if named || (wanted && nr < 600) {
                        let execs = kept(&["execve", "execveat"]);
                        let ends = kept(&["exit", "exit_group"]);
                        assert_eq!(
                            passes(&enter, nr.into(), 0),
                            wanted || execs || ends,
                            "{arch:?} {text} {nr} {enter}"
                        );
                        assert_eq!(passes(&exit, nr.into(), 0), wanted || execs, "{arch:?} {text} {nr} {exit}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_sigreturn_is_wanted_by_the_number_it_returns_with() {
        assert!(passes(&both("rt_sigreturn", false, Arch::X86_64)[1], -1, 5));
        assert!(!passes(&both("openat", false, Arch::X86_64)[1], -1, 5));
    }

    #[test]
    fn an_exclusion_lets_numbers_without_a_name_through() {
        let [enter, exit] = both("!openat", false, Arch::X86_64);
        for nr in [-7, -1, 999, 0x4000_0001, i64::from(SyscallNr::MAX)] {
            assert!(passes(&enter, nr, 0) && passes(&exit, nr, 0), "{nr} {enter}");
        }
    }

    #[test]
    fn only_errors_and_what_tells_an_exec_return() {
        let [enter, exit] = both("", true, Arch::X86_64);
        assert_eq!(enter, "");
        for (id, ret, wanted) in [
            (0, -1, true),
            (0, -4095, true),
            (0, -4096, false),
            (0, 0, false),
            (0, 3, false),
            (59, 0, true),
            (9, i64::MIN, false),
        ] {
            assert_eq!(passes(&exit, id, ret), wanted, "{id} {ret}");
        }
        let exit = &both("openat", true, Arch::X86_64)[1];
        assert!(passes(exit, 257, -2) && !passes(exit, 257, 3) && !passes(exit, 0, -2) && passes(exit, 59, 0));
    }

    #[test]
    fn the_longest_lists_fit_into_a_page() {
        for list in [every_other(), format!("!{}", every_other())] {
            let [enter, exit] = both(&list, true, Arch::X86_64);
            assert!(enter.len() > 1000 && exit.len() > 1000, "{enter}");
        }
    }
}
