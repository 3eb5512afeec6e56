// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Live: what happens inside a container, and whether the report tells it as it was.
#![allow(clippy::unwrap_used)]

#[path = "common/live.rs"]
mod live;

use std::collections::BTreeSet;

use live::{Cc, Live, Runc, SLOW};
use serde_json::Value;

/// Runs a container and gives its calls and notes, without the recording and end objects.
fn record(live: &Live, args: &[&str], code: i32) -> Vec<Value> {
    let id = live.id();
    live.run_container(Runc, &live.bundle(args), &id).expect_code(code);
    live.expect_nothing_left();
    let mut lines = live.report_json(&id, &[]);
    let end = lines.pop().unwrap();
    assert_eq!(
        (&end["type"], &end["events"]["balanced"], &end["events"]["lost"]),
        (&"end".into(), &true.into(), &0.into())
    );
    lines.remove(0);
    lines
}

fn of<'a>(lines: &'a [Value], kind: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["type"] == kind).collect()
}

fn calls<'a>(lines: &'a [Value], name: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["type"] == "call" && line["name"] == name).collect()
}

#[test]
fn calls_come_with_names_arguments_results_and_times() {
    let Some(live) = Live::new("calls_come_with_names_arguments_results_and_times", &[Runc]) else { return };
    let lines = record(&live, &["sh", "-c", "cat /nowhere; sleep 0.2; exit 9"], 9);
    assert_eq!((&lines[0]["type"], &lines[0]["name"], &lines[0]["ret"]), (&"call".into(), &"execve".into(), &0.into()));
    let failed = lines.iter().find(|line| line["errno"] == "ENOENT").expect("the open of /nowhere");
    assert!(matches!(failed["name"].as_str(), Some("open" | "openat")), "{failed}");
    assert_eq!((failed["comm"].as_str(), &failed["ret"]), (Some("cat"), &(-2).into()));
    let slept = lines.iter().find(|line| line["name"].as_str().is_some_and(|name| name.contains("nanosleep"))).unwrap();
    let duration = slept["duration_ns"].as_u64().unwrap();
    assert!((200_000_000..2_000_000_000 * u64::from(SLOW)).contains(&duration), "{slept}");
    assert!(lines.iter().filter(|line| line["type"] == "call").all(|line| line.get("uncertain").is_none()));
}

#[test]
fn children_are_followed_from_fork_to_exit() {
    let Some(live) = Live::new("children_are_followed_from_fork_to_exit", &[Runc]) else { return };
    let script = "(exit 1); (exit 2) & wait $!; /bin/busybox true; sh -c 'ls / >/dev/null; exit 4'; exit 5";
    let lines = record(&live, &["sh", "-c", script], 5);
    let forked: BTreeSet<i64> = of(&lines, "fork").iter().map(|fork| fork["child"].as_i64().unwrap()).collect();
    let exits = of(&lines, "exit");
    let statuses: Vec<u64> = exits.iter().filter_map(|exit| exit["status"].as_u64()).collect();
    for status in [0, 1, 2, 4, 5] {
        assert!(statuses.contains(&status), "{statuses:?}");
    }
    assert_eq!(statuses.len(), exits.len(), "{exits:?}");
    assert_eq!(exits.last().unwrap()["status"], 5);
    // Every task but the first was forked, and every one that was forked ended and called.
    let ended: BTreeSet<i64> = exits.iter().map(|exit| exit["pid"].as_i64().unwrap()).collect();
    let called: BTreeSet<i64> = of(&lines, "call").iter().map(|call| call["pid"].as_i64().unwrap()).collect();
    assert_eq!(ended, called);
    assert_eq!(ended.difference(&forked).count(), 1, "{ended:?} {forked:?}");
    assert!(calls(&lines, "execve").iter().any(|call| call["comm"] == "sh"), "comm of the caller at the call's entry");
}

#[test]
fn threads_are_told_apart_and_belong_to_their_process() {
    let Some(live) = Live::new("threads_are_told_apart_and_belong_to_their_process", &[Runc, Cc]) else { return };
    let lines = record(&live, &["work", "threads", "20"], 0);
    let marks = calls(&lines, "getpgid");
    let arguments: BTreeSet<&str> = marks.iter().map(|call| call["args"][0].as_str().unwrap()).collect();
    let wanted: Vec<String> = (200_000..200_020).map(|number| format!("{number:#x}")).collect();
    assert_eq!(arguments, wanted.iter().map(String::as_str).collect());
    let pids: BTreeSet<i64> = marks.iter().map(|call| call["pid"].as_i64().unwrap()).collect();
    let leaders: BTreeSet<i64> = marks.iter().map(|call| call["tgid"].as_i64().unwrap()).collect();
    assert_eq!((pids.len(), leaders.len()), (20, 1));
    assert!(pids.is_disjoint(&leaders));
    assert_eq!(of(&lines, "fork").iter().filter(|fork| fork["thread"] == true).count(), 20);
    assert!(marks.iter().all(|call| call["errno"] == "ESRCH"));
}

#[test]
fn a_handled_signal_and_what_its_handler_calls_are_seen() {
    let Some(live) = Live::new("a_handled_signal_and_what_its_handler_calls_are_seen", &[Runc, Cc]) else { return };
    let lines = record(&live, &["work", "handler"], 5);
    let mut signals = of(&lines, "signal");
    // One by which Go's scheduler nudges runc's threads may still be pending when the program starts.
    signals.retain(|signal| signal["signal_name"] != "SIGURG");
    assert_eq!(signals.len(), 1, "{signals:?}");
    assert_eq!((&signals[0]["signal_name"], &signals[0]["code_name"]), (&"SIGTERM".into(), &"SI_USER".into()));
    let at = |wanted: &Value| lines.iter().position(|line| std::ptr::eq(line, wanted)).unwrap();
    let mark = calls(&lines, "getpgid")[0];
    assert_eq!(mark["args"][0], format!("{:#x}", 100_015));
    // 32-bit ARM has both; a handler without siginfo returns by the older one.
    let back = [calls(&lines, "rt_sigreturn"), calls(&lines, "sigreturn")].concat();
    let places = [at(calls(&lines, "kill")[0]), at(signals[0]), at(mark), at(back[0])];
    assert!(places.windows(2).all(|pair| pair[0] < pair[1]), "{places:?}");
    assert_eq!(of(&lines, "exit")[0]["status"], 5);
}

#[test]
fn a_crash_is_told_with_its_reason() {
    let Some(live) = Live::new("a_crash_is_told_with_its_reason", &[Runc, Cc]) else { return };
    let lines = record(&live, &["work", "segv"], 139);
    let signal = *of(&lines, "signal").last().unwrap();
    assert_eq!((&signal["signal_name"], &signal["code_name"]), (&"SIGSEGV".into(), &"SEGV_MAPERR".into()));
    let exit = of(&lines, "exit")[0];
    assert_eq!((&exit["killed"], &exit["signal_name"]), (&true.into(), &"SIGSEGV".into()));
}

#[test]
fn a_child_killed_by_sigkill_is_told_from_one_that_exits() {
    let Some(live) = Live::new("a_child_killed_by_sigkill_is_told_from_one_that_exits", &[Runc, Cc]) else { return };
    let lines = record(&live, &["work", "killed"], 7);
    let child = of(&lines, "fork")[0]["child"].clone();
    let exits = of(&lines, "exit");
    let exit = exits.iter().find(|exit| exit["pid"] == child).unwrap();
    assert_eq!((&exit["killed"], exit.get("status")), (&true.into(), None), "{exit}");
    assert_eq!(exits.iter().find(|exit| exit["pid"] != child).unwrap()["status"], 7);
    // arm64 has no pause; the C library's is a ppoll there.
    let waits = |line: &&Value| line["pid"] == child && (line["name"] == "pause" || line["name"] == "ppoll");
    let last = lines.iter().find(waits).expect("the call it died in");
    assert_eq!((&last["pid"], &last["errno"]), (&child, &"ERESTARTNOHAND".into()), "{last}");
}

#[test]
fn a_container_killed_from_outside_ends_its_recording() {
    let Some(live) = Live::new("a_container_killed_from_outside_ends_its_recording", &[Runc]) else { return };
    let id = live.id();
    live.start_container(&live.bundle(&["sleep", "60"]), &id);
    live.oci(Runc, &["kill", &id, "KILL"]).expect_code(0);
    // The recorder notices before any poststop hook comes.
    live.expect_nothing_left();
    let report = live.bin(&["report", &id]).expect_code(0);
    assert!(report.calls().last().unwrap().contains("+++ killed by SIGKILL"), "{}", report.stdout);
    live.oci(Runc, &["delete", &id]).expect_code(0);
    assert_eq!(live.recordings(&id).len(), 1);
}
