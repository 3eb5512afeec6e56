// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `seccomp check` and `seccomp diff`: recordings that a test writes down, and profiles, through the commands.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

use ftrace_analyzer::recording::{CallCounts, EndState, NumberCount, Recording, FORMAT_VERSION};
use serde_json::{json, Value};

#[path = "support/synthetic.rs"]
mod synthetic;
use synthetic::{fresh_dir, meta, Synthetic};

const STACK: u64 = 0x7ffd_1234_5670;

/// A directory with a recording `demo`.
fn recorded(name: &str, calls: impl Fn(&mut Synthetic)) -> (PathBuf, Recording) {
    let base = fresh_dir(name);
    let mut meta = meta(2);
    meta.starts_in_runtime = true;
    meta.tasks[0].comm = "runc:[2:INIT]".into();
    let mut log = Synthetic::new(&base, meta);
    // The runtime's own mount is none of the container's calls.
    log.call(0, 100, 165, &[STACK; 5], 1, 0).after(5);
    log.enter(0, 100, 59, [STACK, STACK, STACK, 0, 0, 0]).after(300).rename(0, 100, b"sh");
    log.exec(0, 100, 100, "/bin/sh").after(20).exit(0, 100, 59, 0).after(3);
    calls(&mut log);
    log.enter(0, 100, 231, [0; 6]).after(3).dies(0, 100, b"sh").after(2_000_000);
    (base, log.finish(EndState::Complete, "the container ended"))
}

fn profile(base: &Path, name: &str, profile: &Value) -> String {
    let path = base.join(name);
    std::fs::write(&path, profile.to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}

fn run(words: &[&str]) -> (i32, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_ftrace-analyzer")).arg("seccomp").args(words).output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap() + &String::from_utf8(out.stderr).unwrap();
    (out.status.code().unwrap(), text)
}

/// Allows the names, else EPERM, on x86_64 and i386.
fn allowing(names: &[&str]) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}],
    })
}

/// What the calls of [`some_calls`] need.
const NAMES: [&str; 6] = ["execve", "exit_group", "getpid", "socket", "mkdir", "openat"];

fn some_calls(log: &mut Synthetic) {
    log.call(0, 100, 39, &[], 1, 100).after(5).call(0, 100, 83, &[STACK, 0o777], 1, 0).after(5);
    for domain in [1, 16, 16] {
        log.call(0, 100, 41, &[domain, 2, 0], 1, 3).after(10);
    }
}

#[test]
fn nothing_is_told_where_all_is_allowed() {
    let (base, recording) = recorded("check-allowed", some_calls);
    let path = profile(&base, "p.json", &allowing(&NAMES));
    let dir = recording.dir.to_str().unwrap();
    let (code, text) = run(&["check", &path, dir, "--runtime", "none"]);
    assert_eq!((code, &*text), (0, "nothing would be refused: 6 calls of 4 kinds in 1 recording\n"));
    std::fs::remove_dir_all(base).unwrap();
}

#[test]
fn what_is_refused_is_told_with_its_first_caller() {
    let (base, recording) = recorded("check-refused", some_calls);
    let mut some = allowing(&["execve", "exit_group", "getpid"]);
    let rules = some["syscalls"].as_array_mut().unwrap();
    let netlink = json!([{"index": 0, "value": 16, "op": "SCMP_CMP_NE"}]);
    rules.push(json!({"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": netlink}));
    rules.push(json!({"names": ["getpid"], "action": "SCMP_ACT_LOG"}));
    let path = profile(&base, "p.json", &some);
    let dir = recording.dir.to_str().unwrap();
    let (code, text) = run(&["check", &path, dir, "--runtime", "none"]);
    let expected = "\
CALL          ACTION  COUNT  FIRST                       TASK
mkdir         EPERM   1      2025-11-23 09:24:53.500335  sh (pid 100)
socket(0x10)  EPERM   2      2025-11-23 09:24:53.500352  sh (pid 100)
2 of 4 kinds of calls would be refused, 3 of 6 calls in 1 recording
";
    assert_eq!((code, &*text), (1, expected));
    let (code, text) = run(&["check", &path, dir, dir, "--runtime", "none", "--json"]);
    let object: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &object["calls"], &object["partial"]), (1, &json!(12), &json!(false)), "{text}");
    let socket = &object["denied"][1];
    assert_eq!((&socket["name"], &socket["args"], &socket["count"]), (&"socket".into(), &json!(["0x10"]), &json!(4)));
    assert_eq!((&socket["errno"], &socket["action"]), (&"EPERM".into(), &"SCMP_ACT_ERRNO".into()));
    assert_eq!((&socket["pid"], &socket["comm"], &socket["nr"]), (&json!(100), &"sh".into(), &json!(41)));
    assert_eq!(
        (&object["unclear"], &object["watched"], &object["runtime_needs"]),
        (&json!([]), &json!([]), &json!([]))
    );
    std::fs::remove_dir_all(base).unwrap();
}

#[test]
fn logged_calls_are_told_and_are_no_failure() {
    let (base, recording) = recorded("check-logged", some_calls);
    let mut some = allowing(&NAMES);
    some["defaultAction"] = "SCMP_ACT_LOG".into();
    some["syscalls"] = json!([{"names": ["mkdir"], "action": "SCMP_ACT_KILL_PROCESS"}]);
    let path = profile(&base, "p.json", &some);
    let dir = recording.dir.to_str().unwrap();
    let (code, text) = run(&["check", &path, dir, "--runtime", "none"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.lines().nth(1).unwrap().starts_with("mkdir       killed  1  "), "{text}");
    some["syscalls"] = json!([]);
    let path = profile(&base, "p.json", &some);
    let (code, text) = run(&["check", &path, dir]);
    assert!(text.contains("socket      logged  3"), "{text}");
    assert!(text.ends_with("nothing would be refused: 6 calls of 4 kinds in 1 recording\n"), "{text}");
    assert_eq!(code, 0, "{text}");
    std::fs::remove_dir_all(base).unwrap();
}

#[test]
fn what_the_runtime_needs_is_held_against_the_profile() {
    let (base, recording) = recorded("check-needs", some_calls);
    let path = profile(&base, "p.json", &allowing(&NAMES));
    let dir = recording.dir.to_str().unwrap();
    let (code, text) = run(&["check", &path, dir, "--runtime", "crun", "--no-new-privileges", "yes"]);
    let expected = "\
CALL         ACTION  COUNT  FIRST  TASK
close        EPERM   -      -      crun, before it executes the program
close_range  EPERM   -      -      crun, before it executes the program
lseek        EPERM   -      -      crun, before it executes the program
umask        EPERM   -      -      crun, before it executes the program
of the container's own calls nothing would be refused: 6 calls of 4 kinds in 1 recording
";
    assert_eq!((code, &*text), (1, expected));
    let (code, text) = run(&["check", &path, dir, "--runtime", "runc", "--no-new-privileges", "yes"]);
    assert_eq!(code, 1);
    // execve is 59, exit_group 231, openat 257: runc answers to numbers above.
    assert!(text.contains("\nclose         EPERM   -") && text.contains("\nclose_range   ENOSYS  -"), "{text}");
    for name in ["docker-20.10.24.json", "containers-common-0.50.1.json"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/seccomp").join(name);
        let (code, text) = run(&["check", path.to_str().unwrap(), dir]);
        assert_eq!((code, &*text), (0, "nothing would be refused: 6 calls of 4 kinds in 1 recording\n"));
    }
    std::fs::remove_dir_all(base).unwrap();
}

#[test]
fn a_recording_with_losses_is_no_proof() {
    let (base, recording) = recorded("check-partial", |log| {
        log.call(0, 100, 39, &[], 1, 100).after(5).lose(0, 7).after(5).call(0, 100, 39, &[], 1, 100).after(5);
    });
    let path = profile(&base, "p.json", &allowing(&NAMES));
    let dir = recording.dir.to_str().unwrap();
    let (code, text) = run(&["check", &path, dir, "--runtime", "none"]);
    assert_eq!(code, 4, "{text}");
    assert!(text.contains(": 7 events were lost, "), "{text}");
    assert_eq!(run(&["check", &profile(&base, "q.json", &allowing(&["read"])), dir]).0, 1);
    std::fs::remove_dir_all(base).unwrap();
}

#[test]
fn a_refused_call_was_tried_and_its_arguments_are_not_known() {
    let (base, recording) = recorded("check-tried", |log| {
        log.call(0, 100, 39, &[], 1, 100).after(5).exit(0, 100, 41, -1).after(5).exit(0, 100, 87, -1).after(5);
    });
    let mut some = allowing(&["execve", "exit_group", "getpid"]);
    let rule = json!({"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]});
    some["syscalls"].as_array_mut().unwrap().push(rule);
    let path = profile(&base, "p.json", &some);
    let dir = recording.dir.to_str().unwrap();
    let (code, text) = run(&["check", &path, dir, "--runtime", "none"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("\nunlink  EPERM    1 ") && text.contains("\nsocket  depends  1 "), "{text}");
    assert!(text.contains(": seccomp refused 2 of its calls"), "{text}");
    some["syscalls"][0]["names"].as_array_mut().unwrap().push("unlink".into());
    let (code, text) = run(&["check", &profile(&base, "p.json", &some), dir, "--runtime", "none"]);
    assert_eq!(code, 4, "{text}");
    std::fs::remove_dir_all(base).unwrap();
}

#[test]
fn counts_are_checked_without_tasks_and_arguments() {
    let base = fresh_dir("check-counts");
    let mut about = meta(2);
    about.options.mode = "count".into();
    let log = Synthetic::new(&base, about);
    let recording = log.finish(EndState::Complete, "it ended");
    let number = |nr, exits| NumberCount { nr, exits, ..NumberCount::default() };
    let numbers = vec![number(39, 5), number(41, 2), number(83, 1)];
    let mut counts = CallCounts { format_version: FORMAT_VERSION, started: true, numbers, ..CallCounts::default() };
    counts.save(&recording.dir).unwrap();
    let mut some = allowing(&["getpid"]);
    let rule = json!({"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]});
    some["syscalls"].as_array_mut().unwrap().push(rule);
    let (code, text) =
        run(&["check", &profile(&base, "p.json", &some), recording.dir.to_str().unwrap(), "--runtime", "none"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("\nmkdir   EPERM    1      ?      ?\nsocket  depends  2      ?      ?\n"), "{text}");
    std::fs::remove_dir_all(base).unwrap();
}

#[test]
fn profiles_are_compared_by_what_they_do() {
    let base = fresh_dir("diff");
    std::fs::create_dir_all(&base).unwrap();
    let one = profile(&base, "one.json", &allowing(&["read", "write", "mkdir"]));
    // The same in other words: order, a rule that is the default's, one name twice, conditions that are always met.
    let mut other = allowing(&["mkdir", "read"]);
    let rules = other["syscalls"].as_array_mut().unwrap();
    rules.push(json!({"names": ["dup"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}));
    for (op, value) in [("SCMP_CMP_LT", 7), ("SCMP_CMP_GE", 7)] {
        let args = json!([{"index": 0, "value": value, "op": op}]);
        rules.push(json!({"names": ["write", "nonsense"], "action": "SCMP_ACT_ALLOW", "args": args}));
    }
    let same = profile(&base, "same.json", &other);
    let (code, text) = run(&["diff", &one, &same]);
    assert!(code == 0 && text.starts_with("the profiles do the same: ") && text.ends_with("(x86_64 i386)\n"), "{text}");
    let mut third = allowing(&["read", "openat"]);
    third["architectures"] = json!(["SCMP_ARCH_X86_64"]);
    let rules = third["syscalls"].as_array_mut().unwrap();
    let args = json!([{"index": 1, "value": 0xff00, "valueTwo": 0x100, "op": "SCMP_CMP_MASKED_EQ"}]);
    rules.push(json!({"names": ["write"], "action": "SCMP_ACT_ALLOW", "args": args}));
    rules.push(json!({"names": ["dup"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}));
    let third = profile(&base, "third.json", &third);
    let (code, text) = run(&["diff", &one, &third]);
    let expected = "\
only A has i386: the other kills a thread for any of its calls
ALLOWS        CALL         A        B        ON
only A        mkdir        allowed  EPERM    x86_64
only B        openat       EPERM    allowed  x86_64
otherwise     dup          EPERM    ENOSYS   x86_64
by arguments  write(0, 0)  allowed  EPERM    x86_64
differences: 4; ";
    assert_eq!(code, 1);
    assert!(text.contains(expected), "{text}");
    let (code, text) = run(&["diff", &one, &third, "--json"]);
    let object: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &object["same"]), (1, &json!(false)));
    let kinds: Vec<&str> =
        object["differences"].as_array().unwrap().iter().map(|d| d["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds.len(), 4, "{text}");
    let write = object["differences"].as_array().unwrap().iter().find(|d| d["name"] == "write").unwrap();
    assert_eq!((&write["kind"], &write["b"]["action"]), (&"conditions".into(), &"depends".into()));
    assert_eq!(write["example"]["b"], json!({"action": "SCMP_ACT_ERRNO", "errno": "EPERM"}));
    std::fs::remove_dir_all(base).unwrap();
}

#[test]
fn a_profile_that_no_runtime_loads_is_an_error_that_names_the_call() {
    let base = fresh_dir("check-wrong");
    std::fs::create_dir_all(&base).unwrap();
    let args = json!([{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}]);
    let rule = json!({"names": ["dup"], "action": "SCMP_ACT_ALLOW", "args": args});
    let wrong = json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule]});
    let path = profile(&base, "p.json", &wrong);
    let (code, text) = run(&["diff", &path, &path]);
    assert_eq!(code, 1);
    assert!(text.contains("p.json: the rules for \"dup\" have a condition that is none"), "{text}");
    std::fs::remove_dir_all(base).unwrap();
}
