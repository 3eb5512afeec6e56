// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Live: list, doctor, gc and the report's filters on real recordings, finished and running.
#![allow(clippy::unwrap_used)]

#[path = "common/live.rs"]
mod live;

use std::time::Duration;

use live::{Cc, Live, Runc};
use serde_json::Value;

/// A recording of a shell: a failed open by cat, a sleep of 0.3 s, children.
fn record(live: &Live) -> String {
    let id = live.id();
    let script = "cat /nowhere; sleep 0.3; ls / >/dev/null; exit 0";
    live.run_container(Runc, &live.bundle(&["sh", "-c", script]), &id).expect_code(0);
    live.expect_nothing_left();
    id
}

fn only_calls(mut lines: Vec<Value>) -> Vec<Value> {
    lines.retain(|line| line["type"] == "call");
    lines
}

#[test]
fn each_filter_shows_what_it_names_and_nothing_else() {
    let Some(live) = Live::new("each_filter_shows_what_it_names_and_nothing_else", &[Runc]) else { return };
    let id = record(&live);
    let all = only_calls(live.report_json(&id, &[]));
    let check = |args: &[&str], wanted: &dyn Fn(&Value) -> bool| {
        let shown = only_calls(live.report_json(&id, args));
        let expected: Vec<Value> = all.iter().filter(|call| wanted(call)).cloned().collect();
        assert!(!expected.is_empty() && expected.len() < all.len(), "{args:?} tells nothing apart");
        assert_eq!(shown, expected, "{args:?}");
    };
    check(&["--syscalls", "execve,clone,vfork,fork"], &|call| {
        ["execve", "clone", "vfork", "fork"].iter().any(|name| call["name"] == *name)
    });
    check(&["--syscalls", "!execve,read"], &|call| call["name"] != "execve" && call["name"] != "read");
    check(&["--errors-only"], &|call| call.get("errno").is_some());
    check(&["--comm", "cat"], &|call| call["comm"] == "cat");
    let pid = all.iter().find(|call| call["comm"] == "cat").unwrap()["pid"].clone();
    check(&["--pid", &pid.to_string()], &|call| call["pid"] == pid);
    check(&["--min-duration", "100ms"], &|call| call["duration_ns"].as_u64().is_some_and(|ns| ns >= 100_000_000));
    check(&["--errors-only", "--comm", "cat"], &|call| call["comm"] == "cat" && call.get("errno").is_some());
    // Offsets count from the start of the recording, which lies before the first call.
    let head: Value = live.report_json(&id, &[]).remove(0);
    let time = |text: &Value| text.as_str().unwrap().parse::<u64>().unwrap();
    let start = time(&head["start"]);
    let asleep = all.iter().find(|call| call["name"].as_str().unwrap().contains("nanosleep")).unwrap();
    let middle = (time(&asleep["ts"]) - start) / 1_000_000 + 150;
    check(&["--since", &format!("{middle}ms")], &|call| time(&call["ts"]) >= start + middle * 1_000_000);
    check(&["--until", &format!("{middle}ms")], &|call| time(&call["ts"]) <= start + middle * 1_000_000);
}

#[test]
fn an_unknown_name_is_a_usage_error_with_the_nearest() {
    let Some(live) = Live::new("an_unknown_name_is_a_usage_error_with_the_nearest", &[Runc]) else { return };
    let id = record(&live);
    let out = live.bin(&["report", &id, "--syscalls", "opnat"]).expect_code(2);
    assert!(out.stderr.contains("\"opnat\"") && out.stderr.contains("did you mean openat?"), "{}", out.stderr);
    for wrong in [["--since", "yesterday"], ["--min-duration", "5x"], ["--format", "xml"], ["--pid", "x"]] {
        live.bin(&["report", &id, wrong[0], wrong[1]]).expect_code(2);
    }
    live.bin(&["report", "no-such-recording"]).expect_code(1);
}

#[test]
fn summary_counts_what_text_and_json_show() {
    let Some(live) = Live::new("summary_counts_what_text_and_json_show", &[Runc]) else { return };
    let id = record(&live);
    let calls = only_calls(live.report_json(&id, &[]));
    let text = live.bin(&["report", &id]).expect_code(0);
    let lines = text.calls().iter().filter(|line| !line.contains(" --- ") && !line.contains(" +++ ")).count();
    let summary = live.bin(&["report", &id, "--format", "summary", "--json"]).expect_code(0).json().remove(0);
    assert_eq!((calls.len(), lines as u64), (lines, summary["total"]["calls"].as_u64().unwrap()));
    for row in summary["syscalls"].as_array().unwrap() {
        let counted = calls.iter().filter(|call| call["name"] == row["name"]).count() as u64;
        let failed =
            calls.iter().filter(|call| call["name"] == row["name"] && call.get("errno").is_some()).count() as u64;
        assert_eq!((row["calls"].as_u64(), row["errors"].as_u64()), (Some(counted), Some(failed)), "{row}");
    }
    let table = live.bin(&["report", &id, "--format", "summary"]).expect_code(0);
    assert!(table.stdout.starts_with("% time     seconds"), "{}", table.stdout);
    let file = live.path("report.txt");
    live.bin(&["report", &id, "-o", file.to_str().unwrap()]).expect_code(0);
    assert_eq!(std::fs::read_to_string(file).unwrap(), text.stdout);
}

#[test]
fn a_running_recording_is_listed_and_reported_and_a_finished_one_is_too() {
    let test = "a_running_recording_is_listed_and_reported_and_a_finished_one_is_too";
    let Some(live) = Live::new(test, &[Runc, Cc]) else { return };
    let done = record(&live);
    let id = live.id();
    live.start_container(&live.bundle(&["work", "live", "2"]), &id);
    std::thread::sleep(Duration::from_millis(200));
    let first = live.bin(&["report", &id]).expect_code(0);
    assert!(first.stdout.contains("getpgid(300002)"), "up to date, not up to the last flush: {}", first.stdout);
    assert!(first.stdout.contains("recording not ended"), "{}", first.stdout);
    let table = live.bin(&["list"]).expect_code(0).stdout;
    let row =
        |name: &str| table.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{table}")).to_owned();
    assert!(row(&id).contains(" running ") && row(&done).contains(" complete "), "{table}");
    let rows = live.bin(&["list", "--json"]).expect_code(0).json();
    assert_eq!(rows.len(), 2);
    let row = |name: &str| rows.iter().find(|row| row["container"] == *name).unwrap();
    assert_eq!((&row(&id)["state"], &row(&done)["state"]), (&"running".into(), &"complete".into()));
    let calls =
        live.bin(&["report", &done, "--with-runtime", "--format", "summary", "--json"]).expect_code(0).json().remove(0);
    let (listed, counted) = (row(&done)["calls"].as_u64().unwrap(), calls["total"]["calls"].as_u64().unwrap());
    // The list counts entered calls; the summary also those that had begun when tracing did, and what seccomp refused.
    assert!(listed <= counted && counted - listed < 10, "{listed} {counted}");
    assert_eq!((&row(&done)["lost"], &row(&done)["tasks"]), (&0.into(), &calls["tasks"]));
    live.bin(&["stop", &id]).expect_code(0);
    live.expect_nothing_left();
    live.bin(&["stop", &id]).expect_code(1);
    let newest = live.bin(&["report"]).expect_code(0);
    assert!(newest.stdout.contains(&format!("# {id}, recorded from ")), "the newest without a name");
}

#[test]
fn gc_has_nothing_to_do_and_applies_limits() {
    let Some(live) = Live::new("gc_has_nothing_to_do_and_applies_limits", &[Runc]) else { return };
    let (old, new) = (record(&live), record(&live));
    live.bin(&["gc"]).expect_code(0);
    assert_eq!((live.recordings(&old).len(), live.recordings(&new).len()), (1, 1));
    let size: u64 = live.bin(&["list", "--json"]).json().iter().map(|row| row["bytes"].as_u64().unwrap()).sum();
    let out = live.bin(&["gc", "--max-total", &(size - 1).to_string()]).expect_code(0);
    assert!(out.stdout.contains(&format!("removed the recording {old}-")), "{}", out.stdout);
    assert_eq!((live.recordings(&old).len(), live.recordings(&new).len()), (0, 1));
    live.bin(&["gc", "--max-age", "1d"]).expect_code(0);
    std::thread::sleep(Duration::from_millis(1100));
    live.bin(&["gc", "--max-age", "1"]).expect_code(0);
    assert_eq!(live.recordings(&new).len(), 0);
}

#[test]
fn doctor_finds_that_this_machine_can_record() {
    let Some(live) = Live::new("doctor_finds_that_this_machine_can_record", &[]) else { return };
    let out = live.bin(&["doctor"]).expect_code(0);
    assert!(out.stdout.ends_with("containers can be recorded here\n"), "{}", out.stdout);
    let json = live.bin(&["doctor", "--json"]).expect_code(0).json().remove(0);
    assert_eq!(json["can_record"], true);
    let checks = json["checks"].as_array().unwrap();
    assert!(checks.iter().any(|check| check["id"] == "raw-syscalls" && check["verdict"] == "ok"), "{json}");
    assert_eq!(live::entries(&live.path("recordings")).len(), 0, "it changes nothing");
}
