// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Live: the strings that calls were made with, by each means that this kernel has (`--strings`), and what is left of the
//! means afterwards. On a kernel with none the program's path at its exec is all that is known.
#![allow(clippy::unwrap_used)]

#[path = "common/live.rs"]
mod live;

use std::collections::BTreeMap;
use std::path::Path;

use live::{define_probe, our_probes, wait_for, Cc, Live, TRACING};
use serde_json::{json, Value};

/// The first mark of `live-work paths`.
const MARKS: u64 = 5_000_000;

/// Records `live-work paths` and gives the means that was used, and what is known of the strings of the call behind each
/// mark.
fn record(live: &Live, program: &Path, means: &str) -> (String, BTreeMap<u64, Value>) {
    let words = ["run", "-q", "--strings", means, "--", program.to_str().unwrap(), "paths", "5000000"];
    live.bin(&words).expect_code(0);
    let recording = live.recordings(program.file_name().unwrap().to_str().unwrap()).pop().unwrap();
    let calls = live.marked_calls(&recording, MARKS).into_iter();
    let found = calls.map(|(mark, call)| (mark, json!({ "strings": call["strings"], "cut": call["cut"] })));
    (live.meta(&recording)["options"]["strings"].as_str().unwrap().to_owned(), found.collect())
}

fn has_event_probes() -> bool {
    define_probe("e:fa_test/execve syscalls.sys_enter_execve nr=$__syscall_nr:s32") && define_probe("-:fa_test/execve")
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
        wait_for("the end of the probes", || our_probes().is_empty().then_some(()));
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
    let script = "i=0; while [ $((i += 1)) -lt 1000000 ]; do : </dev/null; done";
    live.check_probes(&["--strings", means], &["--strings", means], script);
    let lines = live.report_json("sh", &["--syscalls", "openat,open"]);
    let known = lines.iter().filter(|line| line["strings"]["1"] == "/dev/null" || line["strings"]["0"] == "/dev/null");
    assert!(known.count() > 0);
}
