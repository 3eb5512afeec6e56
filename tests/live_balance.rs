// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Live: what the kernel says it wrote is what was decoded, lost and removed, to the last event; under every load.
#![allow(clippy::unwrap_used)]

#[path = "common/live.rs"]
mod live;

use std::fs;
use std::time::Duration;

use live::{wait_for, Cc, Live, Runc};
use serde_json::{json, Value};

/// Calls of the flood.
const FLOOD: u64 = 2_000_000;

/// Runs the flood in a container recorded with `options`; gives the container's id.
fn flood(live: &Live, options: &[&str], count: u64) -> String {
    let start: Vec<&str> = ["start"].iter().chain(options).copied().collect();
    let hooks = json!({ "createRuntime": [live.hook(&start)], "poststop": [live.hook(&["stop"])] });
    let bundle = live.bundle_with(&["work", "loop", &count.to_string()], hooks);
    let id = live.id();
    live.run_container(Runc, &bundle, &id).expect_code(0);
    live.expect_nothing_left();
    id
}

/// The summary as JSON; its exit code must fit what it tells.
fn summary(live: &Live, id: &str) -> Value {
    let out = live.bin(&["report", id, "--format", "summary", "--json"]);
    let value = out.json().remove(0);
    assert_eq!(out.code, if value["partial"] == true { 4 } else { 0 }, "{value}");
    value
}

fn calls_of(summary: &Value, name: &str) -> u64 {
    let row = summary["syscalls"].as_array().unwrap().iter().find(|row| row["name"] == name);
    row.map_or(0, |row| row["calls"].as_u64().unwrap())
}

/// Decoded, lost, removed; checks that they add up to what the kernel wrote.
fn balance(value: &Value) -> (u64, u64, u64) {
    let events = &value["events"];
    let number = |name: &str| events[name].as_u64().unwrap_or_else(|| panic!("no {name}: {events}"));
    let (decoded, lost, trimmed) = (number("decoded"), number("lost"), number("trimmed"));
    assert_eq!(decoded + lost + trimmed + number("not_stored"), number("written"), "{events}");
    assert_eq!((&events["balanced"], number("damaged"), number("not_stored")), (&json!(true), 0, 0), "{events}");
    (decoded, lost, trimmed)
}

#[test]
fn two_million_calls_are_recorded_or_their_loss_is_told_exactly() {
    let test = "two_million_calls_are_recorded_or_their_loss_is_told_exactly";
    let Some(live) = Live::alone(test, &[Runc, Cc]) else { return };
    let id = flood(&live, &[], FLOOD);
    let summary = summary(&live, &id);
    let (decoded, lost, trimmed) = balance(&summary);
    let found = calls_of(&summary, "getppid");
    if lost == 0 {
        assert_eq!((found, trimmed, &summary["partial"]), (FLOOD, 0, &json!(false)));
        assert!(decoded > 2 * FLOOD);
    } else {
        assert_eq!(summary["partial"], true);
        assert!(found <= FLOOD && found + lost >= FLOOD, "{found} calls, {lost} events lost");
        let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("live::{test}: {lost} events lost\n"));
    }
    let meta = live.meta(&live.recordings(&id)[0]);
    let statistics: u64 = meta["stats"].as_array().unwrap().iter().map(|cpu| cpu["overrun"].as_u64().unwrap()).sum();
    assert_eq!(statistics, lost, "{meta}");
}

#[test]
fn an_overflowed_buffer_is_told_in_place_in_numbers_and_in_the_exit_code() {
    let test = "an_overflowed_buffer_is_told_in_place_in_numbers_and_in_the_exit_code";
    let Some(live) = Live::alone(test, &[Runc, Cc]) else { return };
    // A recorder that is stopped for a while loses whatever it is given.
    let hooks = json!({
        "createRuntime": [live.hook(&["start", "--buffer-size-kb", "128"])],
        "poststop": [live.hook(&["stop"])],
    });
    // Time for a report and a signal before the flood, and to see its end; the second nap is told from the first by
    // its length. An emulated machine needs longer for the former and has no need of as many calls.
    let (nap, many) = if live::BOARD { ("5.0", 100_000) } else { ("0.5", 300_000) };
    let script = format!("work loop 1000; work loop {many}; work loop 1000");
    let bundle =
        live.bundle_with(&["sh", "-c", &format!("sleep {nap}; {script}; sleep {nap}1; work loop 1000")], hooks);
    let id = live.id();
    live.start_container(&bundle, &id);
    let recorder = live.recorder(&id).unwrap()["recorder_pid"].to_string();
    let signal = |name: &str| {
        let mut kill = live.command("kill");
        kill.args([name, &recorder]);
        live::run(kill, b"").expect_code(0);
    };
    let pid = live.init_pid(&id);
    wait_for("the container's program", || {
        fs::read_to_string(format!("/proc/{pid}/comm")).ok().filter(|comm| comm == "sh\n")
    });
    // Its execve lies in a sub-buffer that is not full yet, and would be overwritten there: a report has it stored.
    let begun = live.bin(&["report", &id]);
    assert!(begun.stdout.contains(" execve("), "{}", begun.stdout);
    signal("-STOP");
    let last = format!("/proc/{pid}/task/{pid}/children");
    // Its children are worked off when the second nap is all there is.
    wait_for("the end of the flood", || {
        let child = fs::read_to_string(&last).ok()?.trim().to_owned();
        let words = fs::read_to_string(format!("/proc/{child}/cmdline")).ok()?;
        (words == format!("sleep\0{nap}1\0")).then_some(())
    });
    signal("-CONT");
    wait_for("the container's end", || live.recorder(&id).is_none().then_some(()));
    live.expect_nothing_left();
    let report = live.bin(&["report", &id]).expect_code(4);
    let (lines, text) = (report.calls(), &report.stdout);
    let losses: Vec<usize> =
        (0..lines.len()).filter(|at| lines[*at].starts_with("*** ") && lines[*at].contains(" lost on CPU ")).collect();
    assert!(!losses.is_empty());
    let counted: u64 = losses.iter().filter_map(|at| lines[*at].split(' ').nth(1)?.parse::<u64>().ok()).sum();
    let summary = summary(&live, &id);
    let (_, lost, _) = balance(&summary);
    assert!(lost > 0 && counted == lost, "{counted} told in place, {lost} in all");
    assert!(text.contains(&format!("{lost} lost")) && text.contains("they add up"));
    let execve = lines.iter().position(|line| line.contains(" execve(")).unwrap();
    assert!(execve < losses[0], "the beginning was recorded before the recorder stopped");
    let last_mark = lines.iter().rposition(|line| line.contains("getpgid(777777)")).expect("the last mark");
    assert!(last_mark > losses[losses.len() - 1], "the end was recorded after it went on");
    let found = calls_of(&summary, "getppid");
    assert!(found <= many + 3000 && found + lost >= many + 3000, "{found} {lost}");
}

#[test]
fn the_json_report_balances_like_the_summary() {
    let Some(live) = Live::alone("the_json_report_balances_like_the_summary", &[Runc, Cc]) else { return };
    let id = flood(&live, &["--buffer-size-kb", "128"], 200_000);
    let out = live.bin(&["report", &id, "--format", "json"]);
    let end: Value = serde_json::from_str(out.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(end["type"], "end");
    let from_json = balance(&end);
    assert_eq!(from_json, balance(&summary(&live, &id)));
    assert_eq!(out.code, if from_json.1 > 0 { 4 } else { 0 });
}

#[test]
fn max_size_keeps_the_newest_and_counts_what_goes() {
    let Some(live) = Live::alone("max_size_keeps_the_newest_and_counts_what_goes", &[Runc, Cc]) else { return };
    let id = flood(&live, &["--max-size", "4M"], FLOOD);
    let recording = &live.recordings(&id)[0];
    let size: u64 = live::entries(recording).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!((2 << 20..5 << 20).contains(&size), "{size} bytes");
    let summary = summary(&live, &id);
    let (decoded, _, trimmed) = balance(&summary);
    assert!(trimmed > FLOOD, "{trimmed} of {decoded}");
    let left = calls_of(&summary, "getppid");
    assert!(left > 10_000 && left < FLOOD / 2, "{left}");
    let text = live.bin(&["report", &id]);
    assert!(text.stdout.contains(&format!("{trimmed} removed by the recording's limits")));
    assert!(text.calls().iter().any(|line| line.contains("getpgid(777777)")), "the newest are there");
}

#[test]
fn a_flight_recording_keeps_the_newest_calls_and_is_complete_without_the_rest() {
    let test = "a_flight_recording_keeps_the_newest_calls_and_is_complete_without_the_rest";
    let Some(live) = Live::alone(test, &[Runc, Cc]) else { return };
    let id = flood(&live, &["--mode", "flight", "--buffer-size-kb", "256"], 200_000);
    let report = live.bin(&["report", &id]).expect_code(0);
    let lines = report.calls();
    assert!(lines.iter().any(|line| line.contains("getpgid(777777)")), "the last calls are there");
    assert!(lines[lines.len() - 1].ends_with("+++ exited with 0 +++"), "{}", lines[lines.len() - 1]);
    let summary = summary(&live, &id);
    let (decoded, overwritten, _) = balance(&summary);
    assert!(overwritten > 100_000 && decoded > 1000, "{decoded} {overwritten}");
    assert_eq!((&summary["partial"], &summary["recording"]["mode"]), (&json!(false), &json!("flight")));
    assert!(report.stdout.contains(&format!("{overwritten} overwritten or lost")), "the footer says so");
}

#[test]
fn a_running_flight_recording_can_be_looked_at_and_goes_on() {
    let Some(live) = Live::new("a_running_flight_recording_can_be_looked_at_and_goes_on", &[Runc, Cc]) else { return };
    let start = live.hook(&["start", "--mode", "flight"]);
    let bundle = live.bundle_with(&["work", "live", "2"], json!({ "createRuntime": [start] }));
    let id = live.id();
    live.start_container(&bundle, &id);
    std::thread::sleep(Duration::from_millis(300));
    let first = live.bin(&["report", &id, "--syscalls", "getpgid"]).expect_code(0);
    assert!(first.calls().len() > 20, "{}", first.stdout);
    std::thread::sleep(Duration::from_millis(300));
    let second = live.bin(&["report", &id, "--syscalls", "getpgid"]).expect_code(0);
    assert!(second.calls().len() > first.calls().len() + 20, "it goes on");
    let running = live.oci(Runc, &["state", &id]).expect_code(0);
    assert!(running.stdout.contains("\"status\": \"running\""));
    live.bin(&["stop", &id]).expect_code(0);
    live.expect_nothing_left();
    let running = live.oci(Runc, &["state", &id]).expect_code(0);
    assert!(running.stdout.contains("\"status\": \"running\""), "stop ends the recording, not the container");
    balance(&summary(&live, &id));
}
