// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What comes in on standard input and on the command line of `hook start` never keeps a container from starting: exit
//! code 0 and a line in the log; with --strict another code and the same line.
#![allow(clippy::unwrap_used)]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;
use std::time::Duration;

#[path = "common/faults.rs"]
mod faults;
use faults::{can_trace, finish, Case, Process, BIN};

const PATIENCE: Duration = Duration::from_secs(30);

/// Runs a hook that must fail, forgiving and strict; the log must have one line each that holds all `words`.
fn fails(case: &Case, mut make: impl FnMut(bool) -> Command, input: &[u8], words: &[&str]) {
    for strict in [false, true] {
        let before = case.log().lines().count();
        let said = finish(make(strict), input, PATIENCE);
        assert_eq!(said.code == Some(0), !strict, "strict {strict}: {said:?}");
        assert!(said.out.is_empty(), "{said:?}");
        let log = case.log();
        let new: Vec<&str> = log.lines().skip(before).collect();
        assert_eq!(new.len(), 1, "{new:?} for {words:?}");
        for word in words {
            assert!(new[0].contains(word), "no {word:?} in {:?}", new[0]);
            assert!(said.err.contains(word) || word.starts_with("hint"), "no {word:?} in {:?}", said.err);
        }
    }
    assert!(case.recordings().is_empty() && case.states().is_empty() && case.instances().is_empty());
}

fn hook(case: &Case, verb: &str, strict: bool) -> Command {
    let mut command = case.tool(&["hook", verb]);
    if strict {
        command.arg("--strict");
    }
    command
}

#[test]
fn input_that_is_no_state_is_named_in_the_log_and_forgiven() {
    let case = Case::new("input");
    let deep = format!("{{\"id\":\"x\",\"a\":{}", "[".repeat(100_000));
    let wide = format!("{{\"id\":\"x\",\"pid\":1,\"a\":\"{}\"}}", "y".repeat(1 << 20));
    let binary: Vec<u8> = (0..4096u32).map(|at| (at * 7 + 128) as u8).collect();
    let inputs: [(&[u8], &[&str]); 9] = [
        (b"", &["is empty", "hint: a hook is called by a container runtime"]),
        (b" \n\t ", &["is empty"]),
        (b"garbage", &["not the JSON expected"]),
        (b"{\"id\":\"x\",\"pid\":12", &["not the JSON expected"]),
        (b"[1,2]", &["not the JSON expected"]),
        (b"{\"pid\":1}", &["has no id"]),
        (&binary, &["not UTF-8", "at byte"]),
        (deep.as_bytes(), &["nested too deeply", "the limit is 64"]),
        (wide.as_bytes(), &["bytes, the limit is 262144"]),
    ];
    for (input, words) in inputs {
        fails(&case, |strict| hook(&case, "start", strict), input, words);
        fails(&case, |strict| hook(&case, "stop", strict), input, words);
    }
}

#[test]
fn ids_that_are_no_ids_are_named_in_the_log_and_forgiven() {
    let case = Case::new("ids");
    let process = Process::idle();
    let long = "x".repeat(300);
    for (id, words) in [
        ("../../etc", ["\"../../etc\"", "starts with a dot"]),
        ("a/../b", ["'/'", "position 1"]),
        ("a b", ["' '", "allowed are letters"]),
        ("a\\nb", ["position 1", "allowed are letters"]),
        ("-rf", ["starts with a dot, a dash", "-rf"]),
        ("", ["container id", "is empty"]),
        ("a\\u0000", ["position 1", "allowed are letters"]),
        (long.as_str(), ["300 bytes long", "the limit is 200"]),
    ] {
        let state = format!("{{\"id\":\"{id}\",\"pid\":{}}}", process.pid());
        fails(&case, |strict| hook(&case, "start", strict), state.as_bytes(), &words);
    }
}

#[test]
fn pids_that_are_none_are_named_in_the_log_and_forgiven() {
    if !can_trace("pids_that_are_none_are_named_in_the_log_and_forgiven") {
        return;
    }
    let case = Case::new("pids");
    let mut ended = Process::start("true", &[]);
    let _ = ended.0.wait();
    let without = format!("{{\"id\":\"{}\",\"status\":\"creating\"}}", case.id);
    fails(
        &case,
        |strict| hook(&case, "start", strict),
        without.as_bytes(),
        &["has no pid", "hint: hook start belongs"],
    );
    for pid in ["0", "-1", "null", "99999999999"] {
        fails(&case, |strict| hook(&case, "start", strict), &case.state(pid), &["has no pid", &case.id]);
    }
    for pid in [ended.pid().to_string(), "2147483647".into()] {
        let words = format!("process {pid} not found");
        fails(&case, |strict| hook(&case, "start", strict), &case.state(pid), &[&words, &case.id]);
    }
}

#[test]
fn options_that_are_none_are_named_in_the_log_and_forgiven() {
    let case = Case::new("options");
    let options: [(&[&[u8]], &str); 5] = [
        (&[b"--no-such-option"], "--no-such-option"),
        (&[b"--mode", b"sometimes"], "there are continuous, flight, profile and count"),
        (&[b"--buffer-size-kb", b"many"], "write KiB per CPU"),
        (&[b"--dir", b"\xff\xfe"], "not UTF-8"),
        (&[b"extra"], "extra"),
    ];
    for (words, told) in options {
        let make = |strict| {
            let mut command = case.tool(&["hook", "start"]);
            if strict {
                command.arg("--strict");
            }
            command.args(words.iter().map(|word| OsStr::from_bytes(word)));
            command
        };
        fails(&case, make, b"", &[told]);
    }
    fails(&case, |strict| hook(&case, "begin", strict), b"", &["begin"]);
}

#[test]
fn a_hook_without_descriptors_is_forgiven() {
    let case = Case::new("closed");
    for closed in ["<&-", "<&- >&- 2>&-"] {
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("exec \"$0\" hook start {closed}")).arg(BIN);
        command.env("FTRACE_ANALYZER_RUN_DIR", &case.run).env("FTRACE_ANALYZER_DIR", &case.dir);
        let said = finish(command, b"", PATIENCE);
        assert_eq!(said.code, Some(0), "{said:?}");
    }
    assert_eq!(case.log().matches("is empty").count(), 2, "{}", case.log());
}

#[test]
fn a_state_of_more_than_a_pipe_full_is_taken_to_its_end() {
    // A runtime that gets EPIPE for its write may take that for the hook's failure. `finish` checks the write.
    let case = Case::new("pipefull");
    let said = finish(hook(&case, "start", false), &vec![b'x'; 5 << 20], PATIENCE);
    assert_eq!(said.code, Some(0));
    assert!(case.log().contains("has 5242880 bytes, the limit is 262144"), "{}", case.log());
}

#[test]
fn the_environment_may_be_empty_and_the_directory_gone() {
    if !can_trace("the_environment_may_be_empty_and_the_directory_gone") {
        return;
    }
    let case = Case::new("env");
    let process = Process::idle();
    let gone = case.root.join("gone");
    faults::private_dir(&gone);
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "rmdir \"$PWD\"; exec \"$0\" hook start --strict --dir \"$1\"", BIN]).arg(&case.dir);
    command.env_clear().env("FTRACE_ANALYZER_RUN_DIR", &case.run).current_dir(&gone);
    let said = finish(command, &case.state(process.pid()), PATIENCE);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    drop(process);
    case.assert_clean();
    assert_eq!(case.report("text").code, Some(0));
}
