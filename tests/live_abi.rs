// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Live: 32-bit programs beside 64-bit ones in one container of a 64-bit kernel, each call named by its own ABI's table.
//!
//! Marks (getpgid of processes that are not there) tell which program made a call: getpgid has another number in every
//! ABI, and the numbers of one are other calls in the other's table.
#![allow(clippy::unwrap_used)]

#[path = "common/live.rs"]
mod live;

use std::collections::BTreeMap;

use live::{Live, Runc, Work32};
use serde_json::Value;

/// The kernel's own ABI and its 32-bit one.
fn abis() -> (&'static str, &'static str) {
    match std::env::consts::ARCH {
        "x86_64" => ("x86_64", "i386"),
        "aarch64" => ("aarch64", "arm"),
        other => panic!("no 32-bit ABI is known beside {other}"),
    }
}

/// Runs a container under the hooks and gives its calls.
fn record(live: &Live, args: &[&str]) -> Vec<Value> {
    record_as(live, &live.id(), args)
}

fn record_as(live: &Live, id: &str, args: &[&str]) -> Vec<Value> {
    live.run_container(Runc, &live.bundle(args), id).expect_code(0);
    live.expect_nothing_left();
    let lines = live.report_json(id, &[]);
    assert_eq!(lines.last().unwrap()["events"]["lost"], 0);
    lines.into_iter().filter(|line| line["type"] == "call").collect()
}

/// The marks `from..to` by number: the ABI and the task of each.
fn marks(calls: &[Value], from: u64, to: u64) -> BTreeMap<u64, (String, i64)> {
    let mut found = BTreeMap::new();
    for call in calls.iter().filter(|call| call["name"] == "getpgid") {
        let number = u64::from_str_radix(call["args"][0].as_str().unwrap().trim_start_matches("0x"), 16).unwrap();
        if (from..to).contains(&number) {
            assert_eq!(call["errno"], "ESRCH", "{call}");
            let before = found.insert(number, (call["abi"].as_str().unwrap().into(), call["pid"].as_i64().unwrap()));
            assert_eq!(before, None, "{call}");
        }
    }
    found
}

#[test]
fn a_task_that_changes_its_abi_by_exec_is_right_on_both_sides() {
    let Some(live) = Live::new("a_task_that_changes_its_abi_by_exec_is_right_on_both_sides", &[Runc, Work32]) else {
        return;
    };
    let (native, compat) = abis();
    let chain = ["/bin/work", "chain", "500000", "/bin/work32", "chain", "510000", "/bin/work", "chain", "520000"];
    let chain: Vec<&str> = chain.into_iter().chain(["/bin/work32", "chain", "530000"]).collect();
    let calls = record(&live, &chain);
    let found = marks(&calls, 500_000, 540_000);
    let wanted: Vec<u64> = [500_000, 510_000, 520_000, 530_000].into_iter().flat_map(|base| base..base + 3).collect();
    assert_eq!(found.keys().copied().collect::<Vec<u64>>(), wanted);
    for (number, (abi, _)) in &found {
        assert_eq!(abi, if number / 10_000 % 2 == 0 { native } else { compat }, "{number}");
    }
    // One task went through all four programs, and each had a child of its own.
    let init = found[&500_000].1;
    for base in [500_000, 510_000, 520_000, 530_000] {
        assert_eq!((found[&base].1, found[&(base + 2)].1), (init, init));
        assert_ne!(found[&(base + 1)].1, init);
    }
    // Every call of the task, not the marks alone: the ABI changes with execve and nowhere else, and is entered by the old.
    let mut expected = [native, compat, native, compat].into_iter();
    let mut now = expected.next();
    let own: Vec<&Value> = calls.iter().filter(|call| call["pid"] == init).collect();
    // The container's execve is its runtime's.
    for call in own.iter().skip(1) {
        assert_eq!(call["abi"].as_str(), now, "{call}");
        if call["name"] == "execve" {
            assert_eq!(call["ret"], 0, "{call}");
            now = expected.next();
        }
    }
    assert_eq!((now, expected.next()), (Some(compat), None));
    assert!(own.iter().all(|call| call.get("name").is_some()), "a number without a name");
}

#[test]
fn threads_and_forks_of_both_abis_run_beside_each_other() {
    let Some(live) = Live::new("threads_and_forks_of_both_abis_run_beside_each_other", &[Runc, Work32]) else { return };
    let (native, compat) = abis();
    let script = "work chain 600000 /bin/work threads 3 & work32 chain 610000 /bin/work32 threads 3 & \
                  sh -c 'work32 chain 630000; exec work chain 620000' & wait";
    let calls = record(&live, &["sh", "-c", script]);
    for (number, (abi, _)) in marks(&calls, 600_000, 640_000) {
        assert_eq!(abi, if number / 10_000 % 2 == 0 { native } else { compat }, "{number}");
    }
    assert_eq!(marks(&calls, 600_000, 640_000).len(), 12);
    // Both sets of threads make the marks 200000 to 200002.
    for abi in [native, compat] {
        let of: Vec<Value> = calls.iter().filter(|call| call["abi"] == abi).cloned().collect();
        assert_eq!(marks(&of, 200_000, 200_003).len(), 3, "{abi}");
    }
    let shell: Vec<&Value> = calls.iter().filter(|call| call["comm"] == "sh" || call["comm"] == "busybox").collect();
    assert!(!shell.is_empty() && shell.iter().all(|call| call["abi"] == native), "the shell is native");
}

#[test]
fn a_32_bit_program_may_be_the_containers_first() {
    let Some(live) = Live::new("a_32_bit_program_may_be_the_containers_first", &[Runc, Work32]) else { return };
    let (native, compat) = abis();
    let id = live.id();
    let calls = record_as(&live, &id, &["/bin/work32", "chain", "700000", "/bin/work", "chain", "710000"]);
    for (number, (abi, _)) in marks(&calls, 700_000, 720_000) {
        assert_eq!(abi, if number < 710_000 { compat } else { native }, "{number}");
    }
    assert_eq!(marks(&calls, 700_000, 720_000).len(), 6);
    let summary = live.bin(&["report", &id, "--format", "summary"]).expect_code(0);
    assert!(summary.stdout.contains(compat), "{}", summary.stdout);
}

#[test]
fn arms_private_calls_have_names() {
    let needs: &[live::Need] = if cfg!(target_arch = "arm") { &[Runc, live::Cc] } else { &[Runc, Work32] };
    let Some(live) = Live::new("arms_private_calls_have_names", needs) else { return };
    if !cfg!(any(target_arch = "arm", target_arch = "aarch64")) {
        // i386 programs have none: the mode's marks come without calls between them.
        let calls = record(&live, &["/bin/work32", "private", "800000"]);
        assert_eq!(marks(&calls, 800_000, 800_002).len(), 2);
        return;
    }
    let program = if cfg!(target_arch = "arm") { "/bin/work" } else { "/bin/work32" };
    let calls = record(&live, &[program, "private", "800000"]);
    let names: Vec<&str> = calls.iter().map(|call| call["name"].as_str().unwrap_or("unnamed")).collect();
    assert!(!names.contains(&"unnamed"), "{names:?}");
    assert!(names.contains(&"set_tls"), "{names:?}");
    let first = names.iter().position(|name| *name == "getpgid").unwrap();
    assert_eq!(names[first..first + 3], ["getpgid", "cacheflush", "getpgid"]);
    // The container's execve is its runtime's.
    assert!(calls.iter().skip(1).all(|call| call["abi"] == "arm"));
}
