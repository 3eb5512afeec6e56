// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Live: the strings that calls were made with, by each means that this kernel has (`--strings`), and what is left of the
//! means afterwards. On a kernel with none the program's path at its exec is all that is known.
#![allow(clippy::unwrap_used)]

#[path = "common/live.rs"]
mod live;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use live::{wait_for, Cc, Live, TRACING};
use serde_json::{json, Value};

/// The first mark of `live-work paths`.
const MARKS: u64 = 5_000_000;

/// Records `live-work paths` and gives the means that was used, and what is known of the strings of the call behind each
/// mark.
fn record(live: &Live, program: &Path, means: &str) -> (String, BTreeMap<u64, Value>) {
    let words = ["run", "-q", "--strings", means, "--", program.to_str().unwrap(), "paths", "5000000"];
    live.bin(&words).expect_code(0);
    let name = program.file_name().unwrap().to_str().unwrap();
    let recording = live.recordings(name).pop().unwrap();
    let meta = live.meta(&recording);
    let lines = live.report_json(recording.to_str().unwrap(), &[]);
    let end = lines.last().unwrap();
    assert_eq!((&end["events"]["lost"], &end["events"]["balanced"]), (&json!(0), &json!(true)));
    let mut calls = lines.iter().filter(|line| line["type"] == "call");
    let mut found = BTreeMap::new();
    while let Some(call) = calls.next() {
        let number = || u64::from_str_radix(call["args"][0].as_str()?.trim_start_matches("0x"), 16).ok();
        if call["name"] != "getpgid" || !number().is_some_and(|number| number >= MARKS) {
            continue;
        }
        if let Some(call) = calls.next() {
            found.insert(number().unwrap() - MARKS, json!({ "strings": call["strings"], "cut": call["cut"] }));
        }
    }
    assert!(!found.is_empty(), "no marks in {lines:#?}");
    (meta["options"]["strings"].as_str().unwrap().to_owned(), found)
}

/// Defines, or removes, a probe on an event.
fn define(definition: &str) -> bool {
    let file = fs::OpenOptions::new().append(true).open(Path::new(TRACING).join("dynamic_events"));
    file.and_then(|mut file| file.write_all(definition.as_bytes())).is_ok()
}

fn has_event_probes() -> bool {
    define("e:fa_test/execve syscalls.sys_enter_execve nr=$__syscall_nr:s32") && define("-:fa_test/execve")
}

/// What the kernel can, by its files; as `--strings` names it.
fn means() -> Vec<&'static str> {
    let mut means = Vec::new();
    if Path::new(TRACING).join("syscall_user_buf_size").exists() {
        means.push("events");
    } else if Path::new(TRACING).join("kprobe_events").exists() {
        means.push("copies");
    }
    if has_event_probes() {
        means.push("probes");
    }
    means
}

fn probes_left() -> Vec<String> {
    let defined = fs::read_to_string(Path::new(TRACING).join("dynamic_events")).unwrap_or_default();
    defined.lines().filter(|line| line.contains("ftrace_analyzer/")).map(str::to_owned).collect()
}

#[test]
fn each_means_tells_the_strings_that_it_can_and_makes_none_up() {
    let Some(live) = Live::alone("each_means_tells_the_strings_that_it_can_and_makes_none_up", &[Cc]) else { return };
    if means().is_empty() {
        return live::kernel_lacks(
            "each_means_tells_the_strings_that_it_can_and_makes_none_up",
            "this kernel has none",
        );
    }
    let longest = format!("/{}", "x".repeat(999));
    let program = live::work().unwrap();
    for used in means() {
        let (recorded, found) = record(&live, program, used);
        // Behind the last mark comes the end.
        assert_eq!((recorded.as_str(), found.len()), (used, 14), "{found:?}");
        let strings = |mark: u64| &found[&mark]["strings"];
        // 6.1's event probes read no strings at all.
        if used == "probes" && strings(0).is_null() {
            continue;
        }
        assert_eq!(strings(0), &json!({ "1": "/plain" }), "{used}");
        // The kernel takes 0xff for a letter.
        let (long, cut, odd) = match used {
            "events" => (&longest[..165], json!([1]), "/odd..\u{fffd}\"x\\"),
            _ => (&longest[..], Value::Null, "/odd\n\u{1}\u{fffd}\"x\\"),
        };
        if used == "events" {
            let known = strings(1)["1"].as_str().unwrap();
            assert!(known.len() >= 160 && long.starts_with(known), "{known}");
        } else {
            assert_eq!(strings(1), &json!({ "1": long }), "{used}");
        }
        assert_eq!(found[&1]["cut"], cut, "{used}");
        assert_eq!(strings(2), &json!({ "1": odd }), "{used}");
        // A page that nobody has touched: a probe on the event finds nothing there.
        let cold = if used == "probes" { &Value::Null } else { &json!({ "1": "/cold" }) };
        assert!(strings(3) == &json!({ "1": "/cold" }) || strings(3) == cold, "{used}: {:?}", strings(3));
        // An empty one, which no means tells from one that could not be read; NULL; no memory there.
        assert_eq!((strings(4), strings(5), strings(6)), (&Value::Null, &Value::Null, &Value::Null), "{used}");
        assert_eq!(strings(7), &json!({ "1": "/plain", "3": "/other" }), "{used}");
        assert_eq!(strings(8), &json!({ "1": "/plain", "3": "/plain" }), "{used}");
        if has_event_probes() {
            // The empty one is told by 7.2's probes, and by those before only as one that could not be read.
            let told = |mark: u64, arg: &str| {
                let elements = &strings(mark)[arg];
                let with = |empty: Value| elements == &json!(["zero", empty, "two words", null]);
                assert!(with(Value::Null) || with(json!("")), "{used}: {elements}");
            };
            told(9, "1");
            assert_eq!(strings(9)["0"], "/plain", "{used}");
            let many: Vec<String> = (0..12).map(|nth| nth.to_string()).collect();
            assert_eq!(strings(10), &json!({ "0": "/plain", "1": many }), "{used}");
            assert_eq!(found[&10]["cut"], json!([1]), "{used}");
            told(12, "2");
            assert_eq!(strings(12)["1"], "/plain", "{used}");
        }
        assert_eq!(strings(11)["0"], "/other", "{used}");
        // They go behind the recording's end, which nobody waits for.
        wait_for("the end of the probes", || probes_left().is_empty().then_some(()));
    }
    live.expect_nothing_left();
}

#[test]
fn the_best_means_is_taken_and_off_takes_none() {
    let Some(live) = Live::alone("the_best_means_is_taken_and_off_takes_none", &[Cc]) else { return };
    let program = live::work().unwrap();
    let (recorded, found) = record(&live, program, "auto");
    assert_eq!(recorded, means().first().copied().unwrap_or("none"));
    assert_eq!(found[&0]["strings"].is_null(), recorded == "none");
    let (recorded, found) = record(&live, program, "off");
    assert_eq!(recorded, "off");
    assert!(found.values().all(|known| known["strings"].is_null()), "{found:?}");
    // What the kernel's own event of the exec says costs nothing.
    let newest = live.recordings("live-work").pop().unwrap();
    let exec = live.report_json(newest.to_str().unwrap(), &["--syscalls", "execve"]);
    let exec = exec.iter().find(|line| line["type"] == "call" && line["ret"] == 0).unwrap();
    assert_eq!(exec["strings"], json!({ "0": program.to_str().unwrap() }));
    let out = live.bin(&["run", "--strings", "some", "--", "true"]).expect_code(2);
    assert!(out.stderr.contains("--strings") && out.stderr.contains("copies"), "{}", out.stderr);
    live.expect_nothing_left();
}

#[test]
fn strings_of_32_bit_programs_come_from_the_kernels_copies() {
    let test = "strings_of_32_bit_programs_come_from_the_kernels_copies";
    let Some(live) = Live::alone(test, &[live::Work32]) else { return };
    if !means().contains(&"copies") {
        return live::kernel_lacks(
            test,
            "this kernel has no probes of its functions, or does not tell where a copy came from",
        );
    }
    let (_, found) = record(&live, live::work32().unwrap(), "auto");
    assert_eq!(found[&0]["strings"], json!({ "1": "/plain" }));
    assert_eq!(found[&3]["strings"], json!({ "1": "/cold" }));
    assert_eq!(found[&7]["strings"], json!({ "1": "/plain", "3": "/other" }));
    live.expect_nothing_left();
}

#[test]
fn probes_stay_while_another_recorder_uses_them_and_gc_removes_those_of_a_killed_one() {
    let test = "probes_stay_while_another_recorder_uses_them_and_gc_removes_those_of_a_killed_one";
    let Some(live) = Live::alone(test, &[Cc]) else { return };
    if !(has_event_probes() || means().contains(&"copies")) {
        return live::kernel_lacks(test, "this kernel has no probes");
    }
    let means = if means().contains(&"copies") { "copies" } else { "probes" };
    let loops = [
        "run",
        "-q",
        "--strings",
        means,
        "--",
        "sh",
        "-c",
        "i=0; while [ $((i += 1)) -lt 1000000 ]; do : </dev/null; done",
    ];
    let mut long = live.start(&loops, "long");
    let state = wait_for("the recorder", || live.recorder("sh"));
    let defined = probes_left().len();
    assert!(defined > 0);
    live.bin(&["run", "-q", "--strings", means, "--", "true"]).expect_code(0);
    assert_eq!(probes_left().len(), defined, "in use");
    let pid = state["recorder_pid"].as_i64().unwrap() as i32;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    let ended = || fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "));
    wait_for("the recorder's end", || ended().then_some(()));
    assert_eq!(probes_left().len(), defined, "nobody is there to remove them");
    let _ = nix::sys::signal::killpg(nix::unistd::Pid::from_raw(long.id() as i32), nix::sys::signal::Signal::SIGKILL);
    let _ = long.wait();
    live.bin(&["gc"]);
    assert_eq!(probes_left(), Vec::<String>::new());
    let lines = live.report_json("sh", &["--syscalls", "openat,open"]);
    let known = lines.iter().filter(|line| line["strings"]["1"] == "/dev/null" || line["strings"]["0"] == "/dev/null");
    assert!(known.count() > 0);
    live.expect_nothing_left();
}
