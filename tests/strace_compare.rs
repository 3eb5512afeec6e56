// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Live: a program of several hundred different calls, once under strace and once under us: names, results and error
//! numbers of all calls agree, all arguments that strace prints without reading the program's memory, and of the strings
//! those that the kernel has a means for. On the boards, too (tests/on_board.rs).
#![allow(clippy::unwrap_used)]

#[path = "common/live.rs"]
mod live;
#[path = "common/strace.rs"]
mod strace;

use std::fs;
use std::path::Path;

use live::{run, skip, which, Live};
use strace::{compare, of_report, of_strace, Printed, Score};

/// The marks around what is compared.
fn mark(number: &'static str) -> impl Fn(&Printed) -> bool {
    move |call| {
        call.name == "prctl" && call.args.first().is_some_and(|arg| arg == "0x4d61726b") && call.args[1] == number
    }
}

/// Runs the program once under strace, and once under us with the best means of strings that this kernel has, or none. If
/// that is another, once more with probes, which tell nothing of programs of the other word size. Gives the means and what
/// came of them.
fn compared(live: &Live, program: &Path, narrow: bool) -> Vec<(String, Score)> {
    let name = program.file_name().unwrap().to_str().unwrap();
    let program = program.to_str().unwrap();
    let work = live.path("work");
    // Each finds the same empty directory under the same name.
    let fresh = || {
        let _ = fs::remove_dir_all(&work);
        fs::create_dir(&work).unwrap();
    };
    fresh();
    let traced = live.path("strace.txt");
    let mut command = live.command("strace");
    command.args(["-f", "-qq", "-X", "abbrev", "-e", "verbose=execve,execveat", "-s", "4096", "-o"]).arg(&traced);
    command.arg(program).current_dir(&work);
    run(command, b"").expect_code(0);
    let theirs = fs::read_to_string(traced).unwrap();
    let between = |tasks: strace::Tasks| tasks.between(mark("0x1"), mark("0x2"));
    let mut scores: Vec<(String, Score)> = Vec::new();
    for &wanted in if narrow { &["auto"][..] } else { &["auto", "probes"] } {
        fresh();
        let mut command = live.command(live::BIN);
        command.args(["run", "-q", "--strings", wanted, "--", program]).current_dir(&work);
        run(command, b"").expect_code(0);
        let recording = live.recordings(name).pop().unwrap();
        let means = live.meta(&recording)["options"]["strings"].as_str().unwrap().to_owned();
        if scores.is_empty() || (means == wanted && scores[0].0 != means) {
            let ours = of_report(&live.bin(&["report", recording.to_str().unwrap()]).expect_code(0).stdout);
            scores.push((means, compare(&between(of_strace(&theirs)), &between(ours), &meant)));
        }
    }
    scores
}

/// How many strings of the program each means has to know at least, of those that strace shows: fewer calls have paths
/// where there is only the `at` form of each.
fn least_known(means: &str, narrow: bool) -> usize {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    match means {
        "copies" if narrow => 119,
        "copies" => 85,
        "events" if !narrow => 120,
        // 6.1's read none, and none were read on armv7 with 6.12.95 either.
        "probes" if !release.starts_with("6.1.") && cfg!(target_pointer_width = "64") => 100,
        _ => 0,
    }
}

/// Compares, tells the scores (also to the file that FTRACE_ANALYZER_SCORE_LOG names), and asserts them.
#[track_caller]
fn assert_all(live: &Live, program: &Path, narrow: bool) {
    for (means, score) in compared(live, program, narrow) {
        let text = format!(
            "compared with strace{}, strings by {means}: {} calls ({} names): name, result and errno equal in {}; {} \
             arguments: {} equal; {} from memory: {} known, {} equal\n",
            if narrow { ", 32-bit program" } else { "" },
            score.calls,
            score.names.len(),
            score.calls_equal,
            score.arguments,
            score.arguments_equal,
            score.memory,
            score.memory_known,
            score.memory_equal
        );
        live::tell(&text, "FTRACE_ANALYZER_SCORE_LOG");
        assert!(score.differences.is_empty(), "{text}{}", score.differences.join("\n"));
        assert_eq!((score.calls_equal, score.arguments_equal), (score.calls, score.arguments));
        assert_eq!(score.memory_equal, score.memory_known);
        assert!(score.calls >= if narrow { 500 } else { 600 }, "{text}");
        assert!(score.memory_known >= least_known(&means, narrow), "{text}");
    }
}

/// strace with a look that is known here.
fn missing_strace() -> Option<String> {
    which("strace").is_none().then(|| "no strace".into())
}

/// Differences that are meant to be, with their reasons.
fn meant(theirs: &Printed, ours: &Printed, at: usize) -> bool {
    let (their_arg, our_arg) =
        (theirs.args.get(at).map_or("", String::as_str), ours.args.get(at).map_or("", String::as_str));
    match (ours.name.as_str(), at) {
        // The frame's address is the stack pointer's, not an argument.
        ("sigreturn", 0) => our_arg.is_empty(),
        // strace knows which call is resumed from the one before.
        ("restart_syscall", 0) => our_arg.is_empty(),
        // strace 6.1 does not decode it and prints registers.
        ("rseq", _) => theirs.args.len() >= ours.args.len(),
        // strace 6.1 does not know SCHED_RESET_ON_FORK.
        ("sched_setscheduler", 1) => our_arg.ends_with("|SCHED_RESET_ON_FORK") && their_arg == "0x40000001",
        // strace has these names only where a header of the C library did when it was built, and here it did not.
        ("clock_gettime" | "clock_gettime64", 0) => our_arg.contains("CLOCK") && their_arg.starts_with("0xff"),
        // strace prints all commands of a number; we know the one that is no file system's own.
        ("ioctl", 1) => their_arg.split(" or ").any(|name| name == our_arg),
        // Unknown values are decimal with strace here and hexadecimal elsewhere.
        ("syslog", 0) => (their_arg, our_arg) == ("77", "0x4d"),
        // strace reads no name of this length, the kernel as much of it as fits the event.
        ("sethostname" | "setdomainname", 0) => ours.args[1] == "4294967295" && their_arg.starts_with("0x"),
        _ => false,
    }
}

#[test]
fn every_call_and_argument_is_what_strace_prints() {
    let test = "every_call_and_argument_is_what_strace_prints";
    let Some(live) = Live::new(test, &[]) else { return };
    let program = missing_strace().map_or_else(|| live::many_calls(false), Err);
    match program {
        Ok(program) => assert_all(&live, &program, false),
        Err(why) => skip(test, &why),
    }
}

#[test]
fn every_call_and_argument_of_a_32_bit_program_is_what_strace_prints() {
    let test = "every_call_and_argument_of_a_32_bit_program_is_what_strace_prints";
    let Some(live) = Live::new(test, &[live::Work32]) else { return };
    let program = missing_strace().map_or_else(|| live::many_calls(true), Err);
    match program {
        Ok(program) => assert_all(&live, &program, true),
        Err(why) => skip(test, &why),
    }
}
