// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Live: `run` is transparent to the command and to whoever started it.
#![allow(clippy::unwrap_used)]

#[path = "common/live.rs"]
mod live;

use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use live::{Cc, Live, BIN};

#[test]
fn run_passes_the_commands_exit_status_on() {
    let Some(live) = Live::new("run_passes_the_commands_exit_status_on", &[]) else { return };
    for (words, code) in [
        (&["true"][..], 0),
        (&["sh", "-c", "exit 77"], 77),
        (&["sh", "-c", "kill -TERM $$"], 128 + 15),
        (&["sh", "-c", "kill -KILL $$"], 128 + 9),
        (&["sh", "-c", "kill -SEGV $$"], 128 + 11),
        (&["/nowhere/at/all"], 127),
        (&["no-such-command-anywhere"], 127),
        (&["/etc/passwd"], 126),
        (&["/etc"], 126),
    ] {
        let words: Vec<&str> = ["run", "-q", "--"].iter().chain(words).copied().collect();
        live.bin(&words).expect_code(code);
    }
    live.expect_nothing_left();
}

#[test]
fn a_command_is_looked_for_in_every_directory_of_path() {
    let Some(live) = Live::new("a_command_is_looked_for_in_every_directory_of_path", &[]) else { return };
    // One that may not be executed does not hide the one behind it, and is told where there is no other.
    let dir = live.path("not-executable");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("sh"), "").unwrap();
    let dir = dir.display();
    for (path, code) in [
        (format!("/nowhere:/etc/passwd:{dir}:/bin"), 5),
        (format!("{dir}:/nowhere"), 126),
        ("/nowhere".to_owned(), 127),
    ] {
        let mut command = live.command(BIN);
        command.args(["run", "-q", "--", "sh", "-c", "exit 5"]).env("PATH", path);
        live::run(command, b"").expect_code(code);
    }
    let mut command = live.command(BIN);
    command.args(["run", "-q", "--", "sh", "-c", "exit 5"]).env_remove("PATH");
    live::run(command, b"").expect_code(5);
    live.expect_nothing_left();
}

#[test]
fn run_that_can_not_trace_says_125_and_does_not_run_the_command() {
    let Some(live) = Live::new("run_that_can_not_trace_says_125_and_does_not_run_the_command", &[]) else { return };
    let (made, made_text) = (live.path("made"), live.path("made").display().to_string());
    let out = live.bin(&["run", "--dir", "/proc/nothing", "--", "touch", &made_text]).expect_code(125);
    assert!(out.stderr.starts_with("ftrace-analyzer: run: "), "{}", out.stderr);
    live.bin(&["run"]).expect_code(125);
    live.bin(&["run", "--no-such-option", "--", "touch", &made_text]);
    assert!(!made.exists());
    live.expect_nothing_left();
}

#[test]
fn calls_go_to_standard_error_and_the_commands_own_output_passes_through() {
    let test = "calls_go_to_standard_error_and_the_commands_own_output_passes_through";
    let Some(live) = Live::new(test, &[]) else { return };
    let out = live.bin_with(&["run", "--", "cat"], b"some\0bytes\n").expect_code(0);
    assert_eq!(out.stdout, "some\0bytes\n");
    let lines: Vec<&str> = out.stderr.lines().collect();
    assert!(lines[0].contains(" execve(\"/"), "{}", out.stderr);
    assert!(lines.iter().any(|line| line.contains("cat] ") && line.contains(" read(0") && line.contains(" = 11 <")));
    assert!(lines[lines.len() - 1].ends_with("+++ exited with 0 +++"), "{}", out.stderr);
    live.expect_nothing_left();
}

#[test]
fn calls_go_to_a_file_or_nowhere_when_told_so() {
    let Some(live) = Live::new("calls_go_to_a_file_or_nowhere_when_told_so", &[]) else { return };
    let file = live.path("calls.txt");
    let out =
        live.bin(&["run", "-o", file.to_str().unwrap(), "--", "sh", "-c", "echo out; echo err >&2"]).expect_code(0);
    assert_eq!((out.stdout.as_str(), out.stderr.as_str()), ("out\n", "err\n"));
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.lines().next().unwrap().contains(" execve(\"/"), "{text}");
    assert!(text.lines().last().unwrap().ends_with("+++ exited with 0 +++"), "{text}");
    let out = live.bin(&["run", "-q", "--", "echo", "quiet"]).expect_code(0);
    assert_eq!((out.stdout.as_str(), out.stderr.as_str()), ("quiet\n", ""));
    let report = live.bin(&["report", "echo"]).expect_code(0);
    assert!(report.stdout.contains(" write(1"), "recorded all the same: {}", report.stdout);
    live.expect_nothing_left();
}

#[test]
fn a_closed_standard_error_costs_neither_the_command_nor_the_recording() {
    let Some(live) = Live::new("a_closed_standard_error_costs_neither_the_command_nor_the_recording", &[]) else {
        return;
    };
    let script = "i=0; while [ $i -lt 300 ]; do i=$((i+1)); echo $i; done; sleep 0.5; exit 5";
    let mut command = live.command(BIN);
    command.args(["run", "--", "sh", "-c", script]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.process_group(0).spawn().unwrap();
    drop(child.stderr.take());
    let mut stdout = String::new();
    child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
    assert_eq!(live::wait(&mut child, "run").code(), Some(5));
    assert_eq!(stdout.lines().count(), 300);
    live.expect_nothing_left();
    let report = live.bin(&["report", "sh", "--syscalls", "write"]).expect_code(0);
    assert_eq!(report.calls().iter().filter(|line| line.contains(" write(1")).count(), 300);
}

#[test]
fn children_that_outlive_the_command_are_recorded_to_their_end() {
    let Some(live) = Live::new("children_that_outlive_the_command_are_recorded_to_their_end", &[Cc]) else { return };
    let script = "(sleep 0.4; exit 8) >/dev/null 2>&1 & exit 2";
    let out = live.bin(&["run", "--", "sh", "-c", script]).expect_code(2);
    assert!(out.stderr.contains("+++ exited with 8 +++"), "{}", out.stderr);
    live.expect_nothing_left();
}

#[test]
fn a_recorder_killed_by_sigkill_leaves_a_readable_recording_and_gc_cleans_up() {
    let test = "a_recorder_killed_by_sigkill_leaves_a_readable_recording_and_gc_cleans_up";
    let Some(live) = Live::new(test, &[]) else { return };
    let mut run = live.start(&["run", "-q", "--", "sh", "-c", "echo one; sleep 1; echo two"], "out");
    let recorder = live::wait_for("the recorder", || live.recorder("sh"));
    std::thread::sleep(std::time::Duration::from_millis(300));
    let mut kill = live.command("kill");
    kill.args(["-KILL", &recorder["recorder_pid"].to_string()]);
    live::run(kill, b"").expect_code(0);
    assert_eq!(live::wait(&mut run, "run").code(), Some(0), "the command is not harmed");
    assert_eq!(fs::read_to_string(live.path("out")).unwrap(), "one\ntwo\n");
    let gc = live.bin(&["gc"]).expect_code(0);
    assert!(
        gc.stdout.contains("completed the recording sh-") && gc.stdout.contains("of a killed recorder"),
        "{}",
        gc.stdout
    );
    live.expect_nothing_left();
    let report = live.bin(&["report", "sh"]).expect_code(4);
    assert!(report.stdout.contains("recording cut short: the recorder was killed"), "{}", report.stdout);
    // What the kernel still had was saved: the command's end, long after the recorder's.
    assert!(report.calls().last().unwrap().contains("+++ exited with 0 +++"), "{}", report.stdout);
    assert!(report.stdout.contains("they add up"), "{}", report.stdout);
}

#[test]
fn ctrl_c_ends_the_command_and_the_recording_is_completed() {
    let Some(live) = Live::new("ctrl_c_ends_the_command_and_the_recording_is_completed", &[]) else { return };
    // Whoever starts the tests in the background may have them ignore it, and all that they start.
    let run = ["env", "--default-signal=INT,QUIT", live::BIN, "run", "-q", "--", "sleep", "60"];
    let mut run = live.start_program(&run, "out");
    live::wait_for("the command", || {
        // The first call after the execve is on disk at the earliest when a report asks for it.
        live.recorder("sleep")?;
        live.bin(&["report", "sleep"]).stdout.contains("nanosleep(").then_some(())
    });
    // As a terminal does it: to the whole group.
    let mut kill = live.command("kill");
    kill.args(["-INT", "--", &format!("-{}", run.id())]);
    live::run(kill, b"").expect_code(0);
    assert_eq!(live::wait(&mut run, "run").code(), Some(128 + 2));
    live.expect_nothing_left();
    let report = live.bin(&["report", "sleep"]).expect_code(0);
    let last = report.calls().last().copied().unwrap_or_default().to_owned();
    assert!(last.contains("+++ killed by "), "{last}");
    assert!(report.stdout.contains("# recording complete"), "{}", report.stdout);
}
