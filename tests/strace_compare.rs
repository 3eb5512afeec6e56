// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Live: a program of several hundred different calls, once under strace and once under us: names, results and error
//! numbers of all calls agree, and all arguments that strace prints without reading the program's memory.
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

/// Runs the program under both.
fn compared(live: &Live, program: &Path, known: &dyn Fn(&Printed, &Printed, usize) -> bool) -> Score {
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
    command.args(["-f", "-qq", "-X", "abbrev", "-e", "verbose=none", "-s", "4096", "-o"]).arg(&traced);
    command.arg(program).current_dir(&work);
    run(command, b"").expect_code(0);
    fresh();
    let mut command = live.command(live::BIN);
    command.args(["run", "-q", "--name", "many", "--", program]).current_dir(&work);
    run(command, b"").expect_code(0);
    let report = live.bin(&["report", "many"]).expect_code(0);
    let theirs = of_strace(&fs::read_to_string(traced).unwrap());
    let ours = of_report(&report.stdout);
    let between = |tasks: strace::Tasks| tasks.between(mark("0x1"), mark("0x2"));
    compare(&between(theirs), &between(ours), known)
}

/// Prints the score beside libtest's own output, and asserts it.
#[track_caller]
fn assert_all(test: &str, score: &Score, least: usize) {
    let text = format!(
        "{test}: {} calls ({} names): name, result and errno equal in {}; {} arguments: {} equal; {} from memory: {} known, {} equal\n",
        score.calls, score.names.len(), score.calls_equal, score.arguments, score.arguments_equal, score.memory,
        score.memory_known, score.memory_equal
    );
    let _ = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
    assert!(score.differences.is_empty(), "{text}{}", score.differences.join("\n"));
    assert_eq!((score.calls_equal, score.arguments_equal), (score.calls, score.arguments));
    assert!(score.calls >= least, "{text}");
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
        _ => false,
    }
}

#[test]
fn every_call_and_argument_is_what_strace_prints() {
    let test = "every_call_and_argument_is_what_strace_prints";
    let Some(live) = Live::new(test, &[]) else { return };
    let program = missing_strace().map_or_else(|| live::many_calls(false), Err);
    match program {
        Ok(program) => assert_all(test, &compared(&live, &program, &meant), 600),
        Err(why) => skip(test, &why),
    }
}

#[test]
fn every_call_and_argument_of_a_32_bit_program_is_what_strace_prints() {
    let test = "every_call_and_argument_of_a_32_bit_program_is_what_strace_prints";
    let Some(live) = Live::new(test, &[live::Work32]) else { return };
    let program = missing_strace().map_or_else(|| live::many_calls(true), Err);
    match program {
        Ok(program) => assert_all(test, &compared(&live, &program, &meant), 500),
        Err(why) => skip(test, &why),
    }
}
