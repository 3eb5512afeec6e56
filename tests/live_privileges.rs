// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Live: what a recorder may still do once tracing is on.
#![allow(clippy::unwrap_used)]

#[path = "common/live.rs"]
mod live;

use std::fs;

use live::{wait_for, Live, Runc};

/// CAP_SYS_PTRACE, CAP_SYS_NICE and CAP_CHECKPOINT_RESTORE: what a recorder may keep.
const KEPT: u64 = 1 << 19 | 1 << 23 | 1 << 40;

/// Checks what /proc tells of a recorder.
#[track_caller]
fn expect_confined(pid: &str, joins: bool) {
    // Tracing is on a moment before, and the filter comes last. Where the kernel has no filters its line is missing.
    let status = wait_for("the end of set-up", || {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let has_filter = status.contains("Seccomp:\t2") || !status.contains("Seccomp:");
        (has_filter && status.contains("NoNewPrivs:\t1")).then_some(status)
    });
    let of = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).unwrap();
        line.trim().to_owned()
    };
    let caps = |key: &str| u64::from_str_radix(&of(key), 16).unwrap();
    let allowed = if joins { KEPT } else { 1 << 19 };
    for key in ["CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(caps(key) & !allowed, 0, "{key} {:x} of {status}", caps(key));
    }
    assert_eq!((caps("CapInh"), caps("CapAmb")), (0, 0));
    assert_eq!(caps("CapEff") & 1 << 19, 1 << 19, "what joins is looked up");
    assert_eq!(of("Threads"), "1");
}

/// What a recorder has open, of other things than it records from and into.
fn strange_descriptors(pid: &str, recording: &str) -> Vec<String> {
    let mut strange = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
        let Ok(target) = fs::read_link(entry.unwrap().path()) else { continue };
        let target = target.to_str().unwrap().to_owned();
        let known = ["pipe:[", "socket:[", "anon_inode:[pidfd]", "anon_inode:[signalfd]", "pidfd:["];
        let is_known = known.iter().any(|known| target.starts_with(known))
            || target == "/dev/null"
            || target.contains("/tracing/instances/ftrace-analyzer-")
            || target.starts_with(recording)
            || target.ends_with("/joins");
        if !is_known {
            strange.push(target);
        }
    }
    strange
}

#[test]
fn a_hooks_recorder_gives_up_what_it_does_not_need() {
    let Some(live) = Live::new("a_hooks_recorder_gives_up_what_it_does_not_need", &[Runc]) else { return };
    let id = live.id();
    live.start_container(&live.bundle(&["sleep", "100"]), &id);
    live.wait_for_watch(None);
    let state = live.recorder(&id).unwrap();
    let pid = state["recorder_pid"].to_string();
    expect_confined(&pid, true);
    // What it looks up of other processes is open for a moment.
    let strange = || strange_descriptors(&pid, state["recording"].as_str().unwrap());
    wait_for("a recorder with its own descriptors alone", || strange().is_empty().then_some(()));
    assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).unwrap().to_str(), Some("/"));
    // It still does all that it has to: a process joins, somebody looks, the end is written and nothing stays.
    wait_for("a process that joined", || {
        live.oci(Runc, &["exec", &id, "/bin/ls", "/joined-here"]);
        let report = live.bin(&["report", &id]).expect_code(0).stdout;
        (report.contains("/joined-here") || report.contains("joined the container")).then_some(())
    });
    live.oci(Runc, &["delete", "--force", &id]).expect_code(0);
    let end = live.report_json(&id, &[]).pop().unwrap();
    assert_eq!(end["events"]["balanced"], true);
    assert_eq!(live.meta(&live.recordings(&id)[0])["state"], "complete");
    live.expect_nothing_left();
    assert_eq!(fs::read_to_string(live.path("run/hook.log")).unwrap_or_default(), "");
}

#[test]
fn the_recorder_of_run_gives_it_up_and_the_command_keeps_it() {
    let Some(live) = Live::new("the_recorder_of_run_gives_it_up_and_the_command_keeps_it", &[]) else { return };
    let script = "cat /proc/self/status; sleep 100";
    let mut run = live.start(&["run", "-q", "--", "sh", "-c", script], "status");
    let state = wait_for("the recorder", || live.recorder("sh"));
    expect_confined(&state["recorder_pid"].to_string(), false);
    let own = fs::read_to_string("/proc/self/status").unwrap();
    let caps = |text: &str| text.lines().find(|line| line.starts_with("CapEff")).map(str::to_owned);
    let command = wait_for("the command", || {
        let text = fs::read_to_string(live.path("status")).ok()?;
        text.contains("voluntary").then_some(text)
    });
    assert_eq!(caps(&command), caps(&own));
    assert!(command.contains("NoNewPrivs:\t0"), "{command}");
    live.bin(&["stop", "sh"]).expect_code(0);
    let _ = nix::sys::signal::killpg(nix::unistd::Pid::from_raw(run.id() as i32), nix::sys::signal::Signal::SIGKILL);
    let _ = run.wait();
    live.expect_nothing_left();
}

#[test]
fn who_is_not_root_and_may_use_tracefs_records_and_leaves_nothing() {
    let test = "who_is_not_root_and_may_use_tracefs_records_and_leaves_nothing";
    let Some(live) = Live::new(test, &[]) else { return };
    let caps = "+dac_override";
    let words = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps", caps];
    let mut command = live.command(words[0]);
    command.args(&words[1..]).args(["--ambient-caps", caps, live::BIN, "run", "--", "cat", "/proc/self/status"]);
    let out = live::run(command, b"");
    if out.stderr.contains("setpriv") || out.code == 127 {
        return live::skip(test, "no setpriv of util-linux");
    }
    assert!(out.code == 0 && out.stderr.contains("read("), "{out:?}");
    assert!(out.stdout.contains("\nUid:\t65534\t65534\t65534\t65534\n"), "{}", out.stdout);
    let recording = live.recordings("cat").pop().unwrap();
    assert_eq!(
        (&live.meta(&recording)["state"], &live.meta(&recording)["problems"]),
        (&"complete".into(), &serde_json::json!([]))
    );
    live.expect_nothing_left();
}
