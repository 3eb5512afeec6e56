// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Live: `--mode count` counts exactly what there was, by the kernel's histograms where it has them and from events
//! everywhere, while the container runs, at its end and after the recorder was killed; nobody else's calls.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "common/live.rs"]
mod live;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use live::{wait_for, which, work, Cc, Live, Runc, Work32, BOARD, TRACING};
use serde_json::{json, Value};

/// Calls and errors by ABI and name.
type Table = BTreeMap<(String, String), (u64, u64)>;

/// Both means; the first is histograms where the kernel has them.
const MODES: [&str; 2] = ["count", "count-events"];

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("no number: {value}"))
}

fn table(summary: &Value) -> Table {
    let rows = summary["syscalls"].as_array().unwrap().iter();
    rows.map(|row| {
        let name = row["name"].as_str().map_or_else(|| row["nr"].to_string(), str::to_owned);
        ((row["abi"].as_str().unwrap().to_owned(), name), (number(&row["calls"]), number(&row["errors"])))
    })
    .collect()
}

/// The calls of that name, of whatever ABI.
fn of(table: &Table, name: &str) -> Vec<(u64, u64)> {
    let mut found: Vec<_> = table.iter().filter(|((_, known), _)| known == name).map(|(_, counts)| *counts).collect();
    found.sort_unstable();
    found
}

/// A bundle that is recorded in this mode.
fn bundle(live: &Live, options: &[&str], args: &[&str]) -> std::path::PathBuf {
    let start: Vec<&str> = ["start", "--strict"].iter().chain(options).copied().collect();
    live.bundle_with(args, json!({ "createRuntime": [live.hook(&start)], "poststop": [live.hook(&["stop"])] }))
}

/// Runs a container and gives the summary's object.
fn record(live: &Live, options: &[&str], args: &[&str]) -> (String, Value) {
    let id = live.id();
    live.run_container(Runc, &bundle(live, options, args), &id);
    live.expect_nothing_left();
    let out = live.bin(&["report", &id, "--format", "summary", "--json"]).expect_code(0);
    let summary: Value = serde_json::from_str(&out.stdout).unwrap();
    let events = &summary["events"];
    assert_eq!((&events["balanced"], &events["lost"], &summary["partial"]), (&json!(true), &json!(0), &json!(false)));
    (id, summary)
}

/// Somebody who calls getppid all the time and is traced by nobody.
struct Noise(Child);

impl Noise {
    fn start() -> Noise {
        // Beside everybody else, where that can be had: a board has few processors.
        let mut command = Command::new(work().unwrap());
        if which("nice").is_some() {
            command = Command::new("nice");
            command.args(["-n", "19"]).arg(work().unwrap());
        }
        command.args(["loop", "2000000000"]).stdin(Stdio::null()).stdout(Stdio::null());
        // A test that fails on a board aborts: who holds its output then holds up all.
        Noise(command.stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Noise {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn has_histograms() -> bool {
    Path::new(TRACING).join("events/raw_syscalls/sys_exit/hist").exists()
}

#[test]
fn both_means_count_what_a_recording_of_every_call_has_and_nobody_elses() {
    let test = "both_means_count_what_a_recording_of_every_call_has_and_nobody_elses";
    let Some(live) = Live::new(test, &[Runc, Cc]) else { return };
    let _noise = Noise::start();
    for (args, name, wanted) in [
        (&["work", "loop", "5000"][..], "getppid", (5000, 0)),
        (&["work", "chain", "900000", "/bin/work", "open", "100"], "getpgid", (3, 3)),
        (&["work", "handler"], "rt_sigreturn", (1, 0)),
        (&["cat", "/nope1", "/nope2"], "exit_group", (1, 0)),
    ]
    .into_iter()
    // An emulated machine takes half a minute for each container.
    .take(if BOARD { 2 } else { 4 })
    {
        let (_, whole) = record(&live, &[], args);
        let whole = table(&whole);
        for mode in MODES {
            let (id, counted) = record(&live, &["--mode", mode], args);
            let meta = live.meta(&live.recordings(&id)[0]);
            let means = if mode == "count" && has_histograms() { "hist" } else { "events" };
            assert_eq!((&meta["options"]["mode"], &meta["options"]["counted_by"]), (&json!("count"), &json!(means)));
            let counted = table(&counted);
            assert_eq!(of(&counted, name), [wanted], "{args:?} {mode}");
            assert_eq!(counted, whole, "{args:?} {mode}");
        }
    }
}

#[test]
fn counts_are_told_while_it_runs_and_what_a_killed_recorder_counted_is_kept() {
    let test = "counts_are_told_while_it_runs_and_what_a_killed_recorder_counted_is_kept";
    let Some(live) = Live::new(test, &[Runc, Cc]) else { return };
    for mode in MODES {
        let id = live.id();
        let bundle = bundle(&live, &["--mode", mode], &["work", "chain", "900000", "/bin/sleep", "1000"]);
        live.start_container(&bundle, &id);
        let comm = format!("/proc/{}/comm", live.init_pid(&id));
        wait_for("the last program", || (fs::read_to_string(&comm).ok()? == "sleep\n").then_some(()));
        // Told is what is a millisecond old.
        let seen = wait_for("three marks", || {
            let out = live.bin(&["report", &id]).expect_code(0);
            out.stdout.lines().any(|line| line.trim() == "3         3 getpgid").then_some(out.stdout)
        });
        assert!(seen.contains("# recording not ended: it still runs"), "{seen}");
        let list = live.bin(&["list"]).expect_code(0).stdout;
        assert!(list.lines().any(|line| line.contains(&id) && line.contains(" running ") && line.contains(" count ")));
        assert!(!list.lines().any(|line| line.contains(&id) && line.ends_with(" 0 B")), "its file has a size:\n{list}");
        let follow = live.bin(&["follow", &id]).expect_code(2);
        assert!(follow.stderr.contains("mode count"), "{}", follow.stderr);
        let dat = live.bin(&["report", &id, "--format", "trace-dat", "-o", "/dev/null"]).expect_code(2);
        assert!(dat.stderr.contains("no events"), "{}", dat.stderr);

        let recorder = number(&live.recorder(&id).unwrap()["recorder_pid"]).to_string();
        assert!(Command::new("kill").args(["-9", &recorder]).status().unwrap().success());
        wait_for("the recorder's end", || (!Path::new(&format!("/proc/{recorder}")).exists()).then_some(()));
        let killed = live.bin(&["report", &id]).expect_code(4).stdout;
        assert!(killed.contains("recording not ended: it still runs, or its recorder was killed"), "{killed}");
        // The first process makes one more call that the dead recorder did not see, and ends.
        live.oci(Runc, &["kill", &id, "KILL"]).expect_code(0);
        wait_for("the container's end", || (!Path::new(&comm).exists()).then_some(()));
        let gc = live.bin(&["gc"]).expect_code(0).stdout;
        assert!(gc.contains(&format!("completed the recording {id}")), "{gc}");
        live.oci(Runc, &["delete", "--force", &id]).expect_code(0);
        live.expect_nothing_left();
        let kept = live.bin(&["report", &id, "--json"]).expect_code(4);
        let kept: Value = serde_json::from_str(&kept.stdout).unwrap();
        assert_eq!((&kept["state"], &kept["end_reason"]), (&json!("cut"), &json!("the recorder was killed")));
        assert_eq!((&kept["events"]["balanced"], &kept["events"]["not_stored"]), (&json!(true), &json!(0)), "{kept}");
        assert_eq!(of(&table(&kept), "getpgid"), [(3, 3)]);
        // The call in which it was killed ended after the recorder had.
        let slept: u64 =
            table(&kept).iter().filter(|((_, name), _)| name.contains("nanosleep")).map(|(_, n)| n.0).sum();
        assert_eq!(slept, 1, "{kept}");
    }
}

#[test]
fn lists_and_errors_choose_what_is_counted_and_what_is_shown() {
    let Some(live) = Live::new("lists_and_errors_choose_what_is_counted_and_what_is_shown", &[Runc, Cc]) else {
        return;
    };
    for mode in MODES {
        let args = ["work", "chain", "900000", "/bin/cat", "/nope1", "/nope2", "/bin/sh"];
        let (id, all) = record(&live, &["--mode", mode], &args);
        let all = table(&all);
        let failed: Table =
            all.iter().filter(|(_, (_, errors))| *errors > 0).map(|(name, (_, n))| (name.clone(), (*n, *n))).collect();
        assert!(!failed.is_empty());
        let (_, errors) = record(&live, &["--mode", mode, "--errors-only"], &args);
        assert_eq!(table(&errors), failed, "{mode}");
        let (_, listed) = record(&live, &["--mode", mode, "--syscalls", "getpgid"], &args);
        assert_eq!((table(&listed).len(), of(&table(&listed), "getpgid")), (1, vec![(3, 3)]), "{mode}");
        // The same when reading.
        let shown = |options: &[&str]| {
            let words: Vec<&str> = ["report", &id, "--json"].iter().chain(options).copied().collect();
            table(&serde_json::from_str(&live.bin(&words).expect_code(0).stdout).unwrap())
        };
        assert_eq!(shown(&["--errors-only"]), failed);
        assert_eq!(shown(&["--syscalls", "getpgid"]), table(&listed));
        let text = live.bin(&["report", &id, "--errors-only"]).expect_code(0).stdout;
        assert!(text.contains(" kept back by the filter"), "{text}");
        for option in [&["--pid", "1"][..], &["--since", "1s"], &["--with-runtime"]] {
            let words: Vec<&str> = ["report", &id].iter().chain(option).copied().collect();
            assert!(live.bin(&words).expect_code(2).stderr.contains("neither tasks nor times"), "{option:?}");
        }
    }
}

#[test]
fn a_counted_command_is_shown_at_its_end_and_its_status_passed_on() {
    let Some(live) = Live::new("a_counted_command_is_shown_at_its_end_and_its_status_passed_on", &[Cc]) else { return };
    for mode in MODES {
        let out = live.bin(&["run", "--mode", mode, "--", work().unwrap().to_str().unwrap(), "handler"]).expect_code(5);
        // ARM's handlers without SA_SIGINFO return by the older call.
        let returns = |line: &str| matches!(line.trim(), "1         0 rt_sigreturn" | "1         0 sigreturn");
        assert!(out.stderr.lines().any(returns), "{}", out.stderr);
        assert!(out.stderr.contains("they add up"), "{}", out.stderr);
        let quiet = live.bin(&["run", "-q", "--mode", mode, "--", "true"]).expect_code(0);
        assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
    }
    live.expect_nothing_left();
}

#[test]
fn calls_of_32_bit_programs_are_counted_by_their_own_numbers() {
    let test = "calls_of_32_bit_programs_are_counted_by_their_own_numbers";
    let Some(live) = Live::new(test, &[Runc, Cc, Work32]) else { return };
    // All of it has room in the buffer, however busy the machine is.
    for mode in MODES {
        let (_, alone) = record(&live, &["--mode", mode], &["work32", "loop", "20000"]);
        // On arm64 the runtime's execve keeps its own number.
        let mut others = table(&alone).into_keys().filter(|(_, name)| name != "execve");
        assert!(others.all(|(abi, _)| abi == "i386" || abi == "arm"), "{mode}: {alone}");
        assert_eq!(of(&table(&alone), "getppid"), [(20_000, 0)]);
        assert_eq!(alone["mixed_abis"], false);
        let args = ["work", "chain", "900000", "/bin/work32", "loop", "20000"];
        let (id, both) = record(&live, &["--mode", mode], &args);
        if mode == "count" && has_histograms() {
            assert_eq!(both["mixed_abis"], true);
            let text = live.bin(&["report", &id]).expect_code(0).stdout;
            assert!(text.contains("do not tell their calls apart"), "{text}");
        } else {
            assert_eq!(both["mixed_abis"], false);
            assert_eq!(of(&table(&both), "getppid"), [(20_000, 0)], "{both}");
            assert_eq!(of(&table(&both), "getpgid"), [(1, 1), (3, 3)], "{both}");
        }
    }
}
