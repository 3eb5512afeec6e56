// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is left out, when, and what is not.
use std::fs;
use std::path::PathBuf;

use super::*;
use crate::recorder::tests::passes;
use crate::recording::InitialTask;
use crate::syscalls::{all, number, PRIVATE_CALLS};
use crate::tracefs::Tracefs;

const ABIS: [Abi; 4] = [Abi::X86_64, Abi::I386, Abi::Aarch64, Abi::Arm];

/// An instance's files, in which what is written stands one behind the other.
struct Fake(PathBuf, Instance);

impl Fake {
    fn new() -> Fake {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let next = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("ftrace-analyzer-quiet-{}-{next}", std::process::id()));
        let instance = Instance::named(&Tracefs::at(&root), "ftrace-analyzer-x").unwrap();
        for event in ["sys_enter", "sys_exit"] {
            let dir = instance.path().join("events/raw_syscalls").join(event);
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join("filter"), "").unwrap();
            fs::write(dir.join("enable"), "").unwrap();
        }
        Fake(root, instance)
    }

    fn take(&self, file: &str) -> String {
        let path = self.1.path().join("events/raw_syscalls").join(file);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, "").unwrap();
        text
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A recording of this process; only the ABIs of its tasks matter.
fn quiet(machine: &str, abis: &[Abi]) -> Quiet {
    let mut meta = Meta { init_pid: std::process::id() as Pid, ..Meta::default() };
    meta.host.machine = machine.to_owned();
    for abi in abis {
        let tid = meta.init_pid;
        meta.tasks.push(InitialTask { tid, abi: abi.name().to_owned(), ..InitialTask::default() });
    }
    let path =
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recordings/x86_64_6.12_x86_64/sh-20261124T142129.215/formats");
    let formats = fs::read(path).unwrap();
    let mut quiet = Quiet::new(&meta, &Formats::from_bytes(&formats).unwrap(), 1).unwrap();
    quiet.wait = 0;
    quiet
}

impl Quiet {
    fn calls(&mut self, fake: &Fake, name: &str) {
        let nr = number(self.abi, name).unwrap();
        self.entered(7, nr, &[0; 6], &fake.1);
    }
}

#[test]
fn the_numbers_are_those_of_the_tables() {
    for abi in ABIS {
        let numbers = |names: &[&str]| -> Vec<SyscallNr> {
            names.iter().map(|name| number(abi, name).unwrap_or(NO_CALL)).collect()
        };
        assert_eq!(of(&KEPT, abi).to_vec(), numbers(&["execve", "execveat", "exit", "exit_group"]));
        assert_eq!(of(&OTHERS, abi).to_vec(), numbers(&["sigreturn", "rt_sigreturn", "seccomp"]));
        for (name, table) in &LIMITED {
            let nr = if (*name, abi) == ("socketcall", Abi::Arm) { 102 } else { numbers(&[name])[0] };
            assert_eq!(of(table, abi), nr, "{abi} {name}");
        }
    }
    assert_eq!(LIMITED[PRCTL].0, "prctl");
}

#[test]
fn all_go_through_but_what_is_known_and_the_filter_fits_into_a_page() {
    for abi in ABIS {
        for step in [1, 2, 3, 7] {
            let mut known = Numbers::default();
            for (nr, _) in all(abi).step_by(step) {
                known.add(nr);
            }
            let text = filter_text(&known);
            assert!(text.len() < FILTER_MAX, "{} bytes", text.len());
            for nr in (-3..1100).chain(PRIVATE_CALLS.0 - 2..PRIVATE_CALLS.1 + 2).chain([SyscallNr::MIN, 0x4000_0000]) {
                assert_eq!(passes(&text, nr.into(), 0), !known.has(nr), "{abi} {step} {nr} {text}");
            }
        }
    }
}

#[test]
fn where_too_much_is_known_for_one_page_more_goes_through() {
    let mut known = Numbers::default();
    for nr in (0..1022).step_by(2) {
        known.add(nr);
    }
    let text = filter_text(&known);
    assert!(text.len() < FILTER_MAX, "{} bytes", text.len());
    let left_out = (0..1022).filter(|nr| !passes(&text, i64::from(*nr), 0));
    assert!(left_out.clone().all(|nr| known.has(nr)));
    assert!(left_out.count() > 100, "{text}");
}

#[test]
fn numbers_are_left_out_once_they_came_but_for_execs_and_ends() {
    let (fake, mut quiet) = (Fake::new(), quiet("aarch64", &[Abi::Aarch64]));
    quiet.confined = true;
    for name in ["read", "openat", "execve", "exit_group", "rt_sigreturn", "read"] {
        quiet.calls(&fake, name);
    }
    quiet.narrow(&fake.1);
    let (enter, exit) = (fake.take("sys_enter/filter"), fake.take("sys_exit/filter"));
    assert_eq!(enter, exit);
    let out: Vec<i64> = (-1..500).filter(|nr| !passes(&enter, *nr, 0)).collect();
    assert_eq!(out, [-1, 56, 63, 139]);
    assert_eq!((quiet.profile.narrowed, quiet.profile.excluded.as_str()), (1, "-1,56,63,139"));
    // Nothing new, nothing to do.
    quiet.calls(&fake, "read");
    assert_eq!(quiet.narrow_in(u64::MAX), u64::MAX);
    quiet.calls(&fake, "close");
    quiet.last = 0;
    quiet.narrow(&fake.1);
    assert!(!passes(&fake.take("sys_enter/filter"), 57, 0));
}

#[test]
fn a_number_that_comes_often_does_not_wait_for_the_rare_ones() {
    let (fake, mut quiet) = (Fake::new(), quiet("aarch64", &[Abi::Aarch64]));
    (quiet.last, quiet.wait) = (0, LATEST_AFTER);
    quiet.calls(&fake, "read");
    assert_eq!(quiet.narrow_in(10), LATEST_AFTER - 10);
    for _ in 0..NOISE {
        quiet.calls(&fake, "read");
    }
    assert_eq!(quiet.narrow_in(10), AGAIN_AFTER - 10);
    quiet.noise = FLOOD;
    assert_eq!(quiet.narrow_in(10), FLOOD_AFTER - 10);
}

#[test]
fn calls_with_arguments_for_rules_are_left_out_after_a_while_and_told() {
    let (fake, mut quiet) = (Fake::new(), quiet("x86_64", &[Abi::X86_64]));
    for _ in 1..LIMIT {
        quiet.calls(&fake, "ioctl");
        quiet.calls(&fake, "prctl");
    }
    assert!(!quiet.pending && quiet.profile.limited.is_empty());
    quiet.calls(&fake, "ioctl");
    assert!(quiet.pending && quiet.known.has(16) && !quiet.known.has(157));
    assert_eq!(quiet.profile.limited, ["ioctl"]);
    quiet.calls(&fake, "ioctl");
    assert_eq!(quiet.profile.limited, ["ioctl"]);
}

#[test]
fn exits_are_off_while_nothing_can_be_refused() {
    let (fake, mut quiet) = (Fake::new(), quiet("x86_64", &[Abi::X86_64]));
    if quiet.confined {
        // The tests themselves run under a filter.
        return;
    }
    quiet.calls(&fake, "read");
    quiet.narrow(&fake.1);
    assert_eq!((fake.take("sys_exit/enable"), fake.take("sys_exit/filter")), ("0".into(), String::new()));
    assert!(quiet.profile.without_exits);
    quiet.calls(&fake, "seccomp");
    assert_eq!(fake.take("sys_exit/enable"), "1");
    (quiet.last, quiet.wait) = (0, 0);
    quiet.narrow(&fake.1);
    assert!(!quiet.profile.without_exits && !passes(&fake.take("sys_exit/filter"), 317, 0));
}

#[test]
fn a_program_of_another_abi_ends_it_and_that_is_told() {
    let (fake, mut quiet) = (Fake::new(), quiet("x86_64", &[Abi::X86_64]));
    quiet.runs(Some(Abi::X86_64), Some(&fake.1));
    quiet.calls(&fake, "read");
    quiet.narrow(&fake.1);
    fake.take("sys_enter/filter");
    // Gone before /proc was looked at: the number that it ended with tells.
    quiet.entered(9, 252, &[0; 6], &fake.1);
    assert!(quiet.leaving.has(9) && !quiet.known.has(252));
    quiet.runs(quiet.other_abi(), Some(&fake.1));
    assert_eq!(fake.take("sys_enter/filter"), "0");
    assert_eq!((quiet.profile.abi.as_str(), quiet.profile.narrowed_past, quiet.profile.known), (MIXED, true, 0));
    assert!(quiet.problem.is_some());
    quiet.calls(&fake, "write");
    quiet.narrow(&fake.1);
    assert_eq!(fake.take("sys_enter/filter"), "");
}

#[test]
fn both_abis_from_the_start_leave_nothing_out_and_one_is_whichever_it_is() {
    let both = quiet("x86_64", &[Abi::X86_64, Abi::I386]);
    assert_eq!((both.profile.abi.as_str(), both.profile.narrowed_past, both.given_up), (MIXED, false, true));
    let compat = quiet("aarch64", &[Abi::Arm]);
    assert_eq!((compat.abi, compat.profile.abi.as_str(), compat.given_up), (Abi::Arm, "arm", false));
}
