// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Live: a recording of mode `profile` has every call that a whole one has, however often the filter changes; a container
//! that goes on as before writes next to nothing; and what is left out by a number of one ABI is told where programs of
//! another ran.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "common/live.rs"]
mod live;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use ftrace_analyzer::arch::Arch;
use ftrace_analyzer::syscalls;
use live::{wait_for, Cc, Live, Runc, Work32, BOARD, TRACING};
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;
use serde_json::{json, Value};

/// The calls that `work firsts` makes once each; their arguments are -1, 0, 0.
const FIRSTS: &str =
    "getsid getpriority sched_getscheduler getrusage times sysinfo umask sched_get_priority_max capget \
                      getgroups sched_rr_get_interval timer_delete";

/// The kernel's own ABI.
const NATIVE: &str = std::env::consts::ARCH;

/// A bundle that is recorded in this mode.
fn bundle(live: &Live, mode: &str, args: &[&str]) -> std::path::PathBuf {
    let start = ["start", "--strict", "--mode", mode];
    live.bundle_with(args, json!({ "createRuntime": [live.hook(&start)], "poststop": [live.hook(&["stop"])] }))
}

fn summary(live: &Live, id: &str) -> Value {
    let out = live.bin(&["report", id, "--format", "summary", "--json"]);
    serde_json::from_str(&out.stdout).unwrap()
}

/// The names of the calls that a finished recording has, all of them.
fn names(live: &Live, id: &str) -> BTreeSet<String> {
    let summary = summary(live, id);
    let events = &summary["events"];
    assert_eq!((&events["balanced"], &events["lost"], &events["damaged"]), (&json!(true), &json!(0), &json!(0)));
    let rows = summary["syscalls"].as_array().unwrap().iter();
    rows.map(|row| row["name"].as_str().map_or_else(|| row["nr"].to_string(), str::to_owned)).collect()
}

/// Events that the kernel wrote for the recording.
fn written(meta: &Value) -> u64 {
    let of = |cpu: &Value, key: &str| cpu[key].as_u64().unwrap();
    meta["stats"].as_array().unwrap().iter().map(|cpu| of(cpu, "entries") + of(cpu, "read") + of(cpu, "overrun")).sum()
}

/// Waits until the recorder of a container has something to say in meta.json: whoever asks for a report gets it written.
fn wait_until(live: &Live, id: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    wait_for(what, || {
        live.bin(&["report", id, "-o", "/dev/null"]);
        let profile = live.meta(&live.recordings(id)[0])["profile"].clone();
        wanted(&profile).then_some(profile)
    })
}

fn narrowed(profile: &Value) -> bool {
    profile["narrowed"].as_u64().unwrap() >= 1
}

/// Whether a number is among those that are left out.
fn left_out(profile: &Value, nr: i32) -> bool {
    profile["excluded"].as_str().unwrap().split(',').filter(|range| !range.is_empty()).any(|range| {
        let (first, last) = range.rsplit_once('-').filter(|(first, _)| !first.is_empty()).unwrap_or((range, range));
        (first.parse().unwrap()..=last.parse().unwrap()).contains(&nr)
    })
}

/// The filter of a running recording.
fn filter(live: &Live, id: &str, event: &str) -> String {
    let state = live.recorder(id).unwrap();
    let instance = state["instance"].as_str().unwrap();
    fs::read_to_string(Path::new(TRACING).join("instances").join(instance).join("events/raw_syscalls").join(event))
        .unwrap()
}

/// A script that goes on with `then` once the file is there.
fn then(first: &str, then: &str) -> String {
    format!("{first}; while [ ! -e /tmp/go ]; do sleep 0.1; done; {then}")
}

fn go(bundle: &Path) {
    fs::write(bundle.join("rootfs/tmp/go"), "").unwrap();
}

/// The recorder is as small as others; on a board, where it is the release artefact.
fn check_memory(live: &Live, id: &str) {
    let recorder = live.recorder(id).unwrap()["recorder_pid"].as_u64().unwrap();
    let status = fs::read_to_string(format!("/proc/{recorder}/status")).unwrap();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim().trim_end_matches(" kB");
    if BOARD {
        live::tell(&format!("recorder resident: {most} KiB at the most\n"), "FTRACE_ANALYZER_SCORE_LOG");
        assert!(most.parse::<u64>().unwrap() <= 1024, "{status}");
    }
}

#[test]
fn a_profile_recording_has_the_calls_that_a_whole_one_has() {
    let test = "a_profile_recording_has_the_calls_that_a_whole_one_has";
    let Some(live) = Live::new(test, &[Runc, Cc]) else { return };
    let args = ["sh", "-c", "work firsts 2 20000; work handler; cat /nope; work threads 3; exit 3"];
    let [whole, first] = ["continuous", "profile"].map(|mode| {
        let id = live.id();
        live.run_container(Runc, &bundle(&live, mode, &args), &id).expect_code(3);
        live.expect_nothing_left();
        (names(&live, &id), live.meta(&live.recordings(&id)[0]))
    });
    assert!(FIRSTS.split(' ').all(|name| whole.0.contains(name)), "{:?}", whole.0);
    assert_eq!(first.0, whole.0);
    let profile = &first.1["profile"];
    assert!(narrowed(profile) && profile["narrowed_past"] == false, "{profile}");
    assert_eq!(profile["abi"], NATIVE);
    assert!(written(&first.1) < written(&whole.1), "{} {}", written(&first.1), written(&whole.1));
}

#[test]
fn no_first_call_is_lost_while_the_filter_changes_under_load() {
    let Some(live) = Live::alone("no_first_call_is_lost_while_the_filter_changes_under_load", &[Cc]) else { return };
    // As many calls as a recorder of the tests' build takes on a machine with others on it.
    let pause = if BOARD { "5000" } else { "400" };
    for round in 0..if BOARD { 1 } else { 3 } {
        let name = format!("round{round}");
        let work = live::work().unwrap().to_str().unwrap();
        let options = ["run", "-q", "--mode", "profile", "--buffer-size-kb", "16384", "--name", &name, "--"];
        live.bin(&[&options, &[work, "firsts", "3", pause][..]].concat()).expect_code(0);
        let recording = live.recordings("live-work").pop().unwrap();
        let path = recording.to_str().unwrap();
        let lines = live.report_json(path, &[]);
        let end = lines.last().unwrap();
        assert_eq!((&end["events"]["lost"], &end["events"]["balanced"]), (&json!(0), &json!(true)));
        for first in FIRSTS.split(' ') {
            let found = lines.iter().find(|line| line["type"] == "call" && line["name"] == first);
            let call = found.unwrap_or_else(|| panic!("no {first}"));
            let meta = live.meta(&recording);
            assert_eq!(call["pid"], meta["init_pid"], "{call}");
        }
        assert!(lines.iter().all(|line| !line.to_string().contains("refused")), "nothing was refused");
        let profile = &live.meta(&recording)["profile"];
        assert!(profile["narrowed"].as_u64().unwrap() >= 2, "{profile}");
    }
}

#[test]
fn a_steady_container_writes_next_to_nothing_and_what_comes_late_is_there_with_its_task() {
    let test = "a_steady_container_writes_next_to_nothing_and_what_comes_late_is_there_with_its_task";
    let Some(live) = Live::new(test, &[Runc, Cc]) else { return };
    let id = live.id();
    let calls = if BOARD { 100_000 } else { 2_000_000 };
    let script = then("work loop 10", &format!("work loop {calls}; work first; exit 4"));
    let bundle = bundle(&live, "profile", &["sh", "-c", &script]);
    live.start_container(&bundle, &id);
    let getppid = syscalls::number(Arch::from_machine(NATIVE).unwrap().native_abi(), "getppid").unwrap();
    let profile = wait_until(&live, &id, "getppid to be left out", |profile| left_out(profile, getppid));
    assert_eq!((&profile["narrowed_past"], &profile["limited"]), (&json!(false), &json!([])));
    assert!(filter(&live, &id, "sys_enter/filter").len() < 4096);
    // Nothing confines it, so nothing can be refused.
    assert_eq!((&profile["without_exits"], filter(&live, &id, "sys_exit/enable").trim()), (&json!(true), "0"));
    check_memory(&live, &id);
    go(&bundle);
    live.expect_nothing_left();
    let meta = live.meta(&live.recordings(&id)[0]);
    assert!(written(&meta) < calls / 10, "{} events of {calls} calls", written(&meta));
    let lines = live.report_json(&id, &[]);
    let late = lines.iter().find(|line| line["name"] == "getsid").expect("the late call");
    assert_eq!((&late["args"][0], &late["comm"]), (&json!("0x1e240"), &json!("work")), "{late}");
    assert!(lines.iter().any(|line| line["type"] == "exit" && line["pid"] == late["pid"] && line["status"] == 0));
    let text = live.bin(&["report", &id]).expect_code(0).stdout;
    assert!(text.lines().nth(1).unwrap().starts_with("# mode profile: of each call the first ones only"), "{text}");
    let table = live.bin(&["report", &id, "--format", "summary"]).expect_code(0).stdout;
    assert!(table.contains("\n# mode profile: of each call the first ones only"), "{table}");
    assert_eq!(lines[0]["profile"]["narrowed_past"], false, "{}", lines[0]);
}

#[test]
fn a_running_one_is_followed_and_filters_of_calls_are_refused() {
    let Some(live) = Live::new("a_running_one_is_followed_and_filters_of_calls_are_refused", &[Runc, Cc]) else {
        return;
    };
    for option in [&["--errors-only"][..], &["--syscalls", "read"]] {
        let words = [&["attach", "--mode", "profile"], option, &["pid:1"]].concat();
        assert!(live.bin(&words).expect_code(2).stderr.contains("mode profile"));
    }
    let id = live.id();
    let bundle = bundle(&live, "profile", &["sh", "-c", &then("work loop 10", "work first; work first; sleep 0.2")]);
    live.start_container(&bundle, &id);
    wait_until(&live, &id, "the first narrowing", narrowed);
    let mut follow = live.start(&["follow", &id], "followed");
    wait_for("its first lines", || {
        fs::read_to_string(live.path("followed")).unwrap().contains("execve(").then_some(())
    });
    go(&bundle);
    assert!(live::wait(&mut follow, "follow").success());
    let followed = fs::read_to_string(live.path("followed")).unwrap();
    assert_eq!(followed.matches("getsid(123456").count(), 2, "{followed}");
    live.expect_nothing_left();
}

#[test]
fn what_joins_makes_calls_known_from_its_execve_on() {
    let Some(live) = Live::new("what_joins_makes_calls_known_from_its_execve_on", &[Runc, Cc]) else { return };
    let id = live.id();
    let bundle = bundle(&live, "profile", &["sh", "-c", &then("work loop 10", "exit 3")]);
    live.start_container(&bundle, &id);
    wait_until(&live, &id, "the first narrowing", narrowed);
    let has = |profile: &Value, name: &str| {
        let nr = syscalls::number(Arch::from_machine(NATIVE).unwrap().native_abi(), name).unwrap();
        left_out(profile, nr)
    };
    // One that ends before it is looked up is missed, and told so: the next is not.
    let joined = |word: &str, code: i32, name: &str| {
        wait_until(&live, &id, "what a program that joined called", |_| {
            live.oci(Runc, &["exec", &id, "/bin/work", word]).expect_code(code);
            live.bin(&["report", &id, "-o", "/dev/null"]);
            has(&live.meta(&live.recordings(&id)[0])["profile"], name)
        })
    };
    joined("handler", 5, "kill");
    joined("first", 0, "getsid");
    let profile = wait_until(&live, &id, "the profile", |profile| has(profile, "getsid"));
    // What only the runtime calls there.
    assert!(!["capset", "setns", "keyctl", "pivot_root"].iter().any(|name| has(&profile, name)), "{profile}");
    go(&bundle);
    live.expect_nothing_left();
    let lines = live.report_json(&id, &[]);
    assert!(lines.iter().any(|line| line["name"] == "getsid" && line["comm"] == "work"));
}

#[test]
fn what_a_killed_recorder_left_is_saved() {
    let Some(live) = Live::new("what_a_killed_recorder_left_is_saved", &[Runc, Cc]) else { return };
    let id = live.id();
    let bundle = bundle(&live, "profile", &["sh", "-c", &then("work loop 10", "work first; sleep 1000 & wait")]);
    live.start_container(&bundle, &id);
    wait_until(&live, &id, "the first narrowing", narrowed);
    let recorder = live.recorder(&id).unwrap()["recorder_pid"].as_i64().unwrap();
    kill(Pid::from_raw(recorder as i32), Signal::SIGKILL).unwrap();
    wait_for("its end", || {
        fs::read_to_string(format!("/proc/{recorder}/stat")).map_or(true, |stat| stat.contains(") Z ")).then_some(())
    });
    go(&bundle);
    let init = live.init_pid(&id);
    wait_for("the late call", || {
        let children = fs::read_to_string(format!("/proc/{init}/task/{init}/children")).ok()?;
        let line = fs::read_to_string(format!("/proc/{}/cmdline", children.trim())).ok()?;
        line.contains("1000").then_some(())
    });
    live.bin(&["gc"]);
    let lines = live.report_json(&id, &[]);
    assert_eq!(lines.iter().filter(|line| line["name"] == "getsid").count(), 1);
    assert_eq!((&lines[0]["profile"]["abi"], &lines.last().unwrap()["state"]), (&json!(NATIVE), &json!("cut")));
    live.oci(Runc, &["delete", "--force", &id]);
}

#[test]
fn refusals_by_seccomp_are_told_and_nothing_else_is_called_so() {
    let Some(live) = Live::new("refusals_by_seccomp_are_told_and_nothing_else_is_called_so", &[Runc, Cc]) else {
        return;
    };
    let id = live.id();
    let bundle = bundle(&live, "profile", &["sh", "-c", &then("work loop 10", "work firsts 2 5000; work first")]);
    let path = bundle.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["getsid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1 }]
    });
    fs::write(&path, config.to_string()).unwrap();
    live.start_container(&bundle, &id);
    let profile = wait_until(&live, &id, "the first narrowing", narrowed);
    assert_eq!(profile["without_exits"], false);
    assert_eq!(filter(&live, &id, "sys_exit/filter"), filter(&live, &id, "sys_enter/filter"));
    go(&bundle);
    live.expect_nothing_left();
    let text = live.bin(&["report", &id]).expect_code(0).stdout;
    let refused: Vec<&str> = text.lines().filter(|line| line.contains("by seccomp")).collect();
    assert_eq!(refused.len(), 2, "{refused:?}");
    assert!(refused.iter().all(|line| line.contains(" getsid(...) = ? (refused by seccomp: EPERM)")), "{refused:?}");
}

#[test]
fn a_32_bit_program_that_joins_has_everything_recorded_again_and_is_told() {
    let test = "a_32_bit_program_that_joins_has_everything_recorded_again_and_is_told";
    let Some(live) = Live::new(test, &[Runc, Work32]) else { return };
    let compat = if NATIVE == "x86_64" { "i386" } else { "arm" };
    let id = live.id();
    // The first is gone before anybody has looked.
    let script = then("work loop 10", "work32 loop 10; while [ -e /tmp/go ]; do sleep 0.1; done; work32 chain 900000");
    let bundle = bundle(&live, "profile", &["sh", "-c", &script]);
    live.start_container(&bundle, &id);
    wait_until(&live, &id, "the first narrowing", narrowed);
    go(&bundle);
    let profile = wait_until(&live, &id, "the other ABI", |profile| profile["abi"] == "mixed");
    assert_eq!((&profile["narrowed_past"], &profile["known"]), (&json!(true), &json!(0)));
    assert_eq!(filter(&live, &id, "sys_enter/filter").trim(), "none");
    assert_eq!(filter(&live, &id, "sys_exit/enable").trim(), "1");
    fs::remove_file(bundle.join("rootfs/tmp/go")).unwrap();
    live.expect_nothing_left();
    let lines = live.report_json(&id, &[]);
    let own = lines.iter().filter(|line| line["name"] == "getpgid" && line["abi"] == compat);
    let marks: BTreeSet<&str> = own.map(|line| line["args"][0].as_str().unwrap()).collect();
    assert!(["0xdbba0", "0xdbba1", "0xdbba2"].iter().all(|mark| marks.contains(mark)), "{marks:?}");
    let meta = live.meta(&live.recordings(&id)[0]);
    let problem = meta["problems"][0].as_str().unwrap();
    assert!(problem.starts_with(compat) && problem.contains("some of theirs are missing"), "{meta}");
}

#[test]
fn a_container_of_32_bits_is_narrowed_by_its_own_numbers() {
    let Some(live) = Live::new("a_container_of_32_bits_is_narrowed_by_its_own_numbers", &[Runc, Work32]) else {
        return;
    };
    let compat = if NATIVE == "x86_64" { "i386" } else { "arm" };
    let id = live.id();
    live.run_container(Runc, &bundle(&live, "profile", &["/bin/work32", "firsts", "2", "10000"]), &id).expect_code(0);
    live.expect_nothing_left();
    let profile = &live.meta(&live.recordings(&id)[0])["profile"];
    assert_eq!((&profile["abi"], &profile["narrowed_past"]), (&json!(compat), &json!(false)), "{profile}");
    assert!(narrowed(profile), "{profile}");
    let names = names(&live, &id);
    // The 32-bit ABI's calls of that time are called by two names.
    let found = |name: &str| names.contains(name) || names.contains(&format!("{name}32"));
    assert!(FIRSTS.split(' ').all(found), "{names:?}");
}
