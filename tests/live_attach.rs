// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Live: what already runs is found, recorded with all its threads, followed and left again.
#![allow(clippy::unwrap_used)]

#[path = "common/live.rs"]
mod live;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use live::{pause, wait_for, Cc, Live, Runc, BIN, SLOW};
use serde_json::{json, Value};

/// Ends a process group of the test when the test ends.
struct Group(Child);
impl Drop for Group {
    fn drop(&mut self) {
        let _ = std::process::Command::new("kill").args(["-KILL", "--", &format!("-{}", self.0.id())]).status();
        let _ = self.0.wait();
    }
}

/// Two processes of three threads each that mark themselves all the time.
fn busy(live: &Live) -> Group {
    let work = live.bundle(&["work"]).join("rootfs/bin/work");
    let mut command = live.command(work.to_str().unwrap());
    let group = Group(command.args(["live", "2"]).process_group(0).spawn().unwrap());
    pause(100);
    group
}

/// The arguments of the marks in a report.
fn marks(lines: &[Value]) -> BTreeSet<String> {
    let calls = lines.iter().filter(|line| line["name"] == "getpgid" && line["args"].is_array());
    calls.map(|call| call["args"][0].as_str().unwrap().to_owned()).collect()
}

fn hex(numbers: &[u32]) -> BTreeSet<String> {
    numbers.iter().map(|number| format!("{number:#x}")).collect()
}

#[test]
fn attaching_to_a_process_records_all_its_threads_and_stop_leaves_it_alone() {
    let test = "attaching_to_a_process_records_all_its_threads_and_stop_leaves_it_alone";
    let Some(live) = Live::new(test, &[Runc, Cc]) else { return };
    let group = busy(&live);
    let pid = group.0.id();
    // Any thread names its process.
    let threads = live::entries(std::path::Path::new(&format!("/proc/{pid}/task")));
    assert_eq!(threads.len(), 3);
    let last = threads[2].file_name().unwrap().to_str().unwrap().to_owned();
    let mut attach = live.start(&["attach", &format!("pid:{last}")], "attach");
    let name = format!("pid-{pid}");
    wait_for("the recorder", || live.recorder(&name));
    pause(300);
    let stopped = live.bin(&["stop", &name]).expect_code(0);
    assert!(stopped.stderr.contains("stopped on request"), "{}", stopped.stderr);
    assert_eq!(live::wait(&mut attach, "attach").code(), Some(0));
    live.expect_nothing_left();
    assert_eq!(
        marks(&live.report_json(&name, &[])),
        hex(&[300_000, 300_001, 300_002]),
        "its own threads and no others"
    );
    assert!(fs::metadata(format!("/proc/{pid}")).is_ok(), "the process goes on");
    let said = fs::read_to_string(live.path("attach.err")).unwrap();
    assert!(said.contains("recording 3 threads of pid:"), "{said}");
}

#[test]
fn attaching_to_a_container_records_all_its_processes_until_it_ends() {
    let test = "attaching_to_a_container_records_all_its_processes_until_it_ends";
    let Some(live) = Live::new(test, &[Runc, Cc]) else { return };
    let id = live.id();
    live.start_container(&live.bundle_with(&["work", "live", "2"], json!({})), &id);
    pause(100);
    let mut attach = live.start(&["attach", &id], "attach");
    wait_for("the recorder", || live.recorder(&id));
    pause(300);
    live.oci(Runc, &["delete", "--force", &id]).expect_code(0);
    assert_eq!(live::wait(&mut attach, "attach").code(), Some(0), "ends with the container");
    live.expect_nothing_left();
    let wanted = hex(&[300_000, 300_001, 300_002, 400_000, 400_001, 400_002]);
    assert_eq!(marks(&live.report_json(&id, &[])), wanted);
    assert_eq!(live.meta(&live.recordings(&id)[0])["container"]["id"], json!(id));
}

#[test]
fn attach_ends_by_ctrl_c_and_says_what_it_has() {
    let Some(live) = Live::new("attach_ends_by_ctrl_c_and_says_what_it_has", &[Runc, Cc]) else { return };
    let group = busy(&live);
    let name = format!("pid-{}", group.0.id());
    let mut attach = live.start(&["attach", &name.replace('-', ":")], "attach");
    wait_for("the recorder", || live.recorder(&name));
    let mut kill = live.command("kill");
    kill.args(["-INT", &attach.id().to_string()]);
    live::run(kill, b"").expect_code(0);
    assert_eq!(live::wait(&mut attach, "attach").code(), Some(0));
    let said = fs::read_to_string(live.path("attach.err")).unwrap();
    assert!(said.contains("events, 0 lost") && said.contains("SIGINT"), "{said}");
    live.expect_nothing_left();
}

#[test]
fn attaching_to_what_is_not_there_says_so() {
    let Some(live) = Live::new("attaching_to_what_is_not_there_says_so", &[]) else { return };
    for (target, code) in [("pid:999999999", 1), ("pid:0", 2), ("pid:x", 2), ("no-such-container", 1), ("thing:1", 2)] {
        let out = live.bin(&["attach", target]).expect_code(code);
        assert!(out.stderr.starts_with("ftrace-analyzer: attach: "), "{}", out.stderr);
    }
    assert_eq!(live::entries(&live.path("recordings")).len(), 0);
}

#[test]
fn follow_shows_calls_within_a_second_and_ends_with_the_recording() {
    let test = "follow_shows_calls_within_a_second_and_ends_with_the_recording";
    let Some(live) = Live::new(test, &[Runc]) else { return };
    for mode in ["continuous", "flight"] {
        let hooks = json!({ "createRuntime": [live.hook(&["start", "--mode", mode])] });
        let script = "n=0; until [ -e /tmp/go ]; do sleep 0.05; done; echo x >/nowhere/file; sleep 0.2";
        let bundle = live.bundle_with(&["sh", "-c", script], hooks);
        let config = fs::read_to_string(bundle.join("config.json")).unwrap();
        fs::write(bundle.join("config.json"), config.replace("\"readonly\":true", "\"readonly\":false")).unwrap();
        let id = live.id();
        live.start_container(&bundle, &id);
        let mut follow = live.start(&["follow", &id], &format!("follow-{mode}"));
        let shown = || fs::read_to_string(live.path(&format!("follow-{mode}"))).unwrap();
        wait_for("the past", || shown().contains(" execve(").then_some(()));
        fs::write(bundle.join("rootfs/tmp/go"), "").unwrap();
        let begun = Instant::now();
        // The directory does not exist; nothing else of the loop fails after the file is there.
        wait_for("the call", || shown().lines().rev().take(60).any(|l| l.contains("write(2")).then_some(()));
        let took = begun.elapsed();
        assert!(took < Duration::from_millis(1500) * SLOW, "{took:?}");
        assert_eq!(live::wait(&mut follow, "follow").code(), Some(0));
        assert!(shown().lines().last().unwrap().contains("+++ exited with "), "{}", shown());
        live.expect_nothing_left();
        live.oci(Runc, &["delete", "--force", &id]);
    }
}

#[test]
fn a_flight_recording_that_lost_its_beginning_can_be_followed() {
    let test = "a_flight_recording_that_lost_its_beginning_can_be_followed";
    let Some(live) = Live::alone(test, &[Runc, Cc]) else { return };
    let hooks = json!({ "createRuntime": [live.hook(&["start", "--mode", "flight", "--buffer-size-kb", "128"])] });
    let script = "work loop 200000; exec work live 1";
    let id = live.id();
    live.start_container(&live.bundle_with(&["sh", "-c", script], hooks), &id);
    pause(800);
    let mut follow = live.start(&["follow", &id], "follow");
    wait_for("marks", || fs::read_to_string(live.path("follow")).unwrap().contains("getpgid(300000)").then_some(()));
    live.oci(Runc, &["delete", "--force", &id]).expect_code(0);
    assert_eq!(live::wait(&mut follow, "follow").code(), Some(0));
}

#[test]
fn a_follower_that_goes_away_costs_the_recording_nothing() {
    let Some(live) = Live::new("a_follower_that_goes_away_costs_the_recording_nothing", &[Runc, Cc]) else { return };
    let id = live.id();
    live.start_container(&live.bundle(&["work", "live", "2"]), &id);
    let mut command = live.command(BIN);
    command.args(["follow", &id]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut follow = command.process_group(0).spawn().unwrap();
    pause(300);
    drop(follow.stdout.take());
    pause(300);
    assert!(live.recorder(&id).is_some());
    live.bin(&["stop", &id]).expect_code(0);
    let ended = live::wait(&mut follow, "follow");
    assert_eq!(ended.code(), Some(0), "no death by SIGPIPE: {ended:?}");
    live.expect_nothing_left();
    live.bin(&["report", &id]).expect_code(0);
}

#[test]
fn follow_ends_when_its_reader_has_gone_and_the_recording_does_not() {
    let test = "follow_ends_when_its_reader_has_gone_and_the_recording_does_not";
    let Some(live) = Live::new(test, &[]) else { return };
    let mut traced = live.command("sh").args(["-c", "while :; do /bin/true; sleep 0.05; done"]).spawn().unwrap();
    let id = format!("pid:{}", traced.id());
    let mut attach = live.start(&["attach", &id], "attach");
    let name = format!("pid-{}", traced.id());
    wait_for("a recorder", || live.recorder(&name));
    let piped = format!("{} follow {name} | head -1", BIN);
    let head = live.command("timeout").args(["20", "sh", "-c", &piped]).output().unwrap();
    assert!(head.status.success(), "follow goes on without a reader: {head:?}");
    assert_eq!(String::from_utf8_lossy(&head.stdout).lines().count(), 1);
    assert!(live.recorder(&name).is_some(), "the recording has ended with its reader");
    traced.kill().unwrap();
    traced.wait().unwrap();
    live::wait(&mut attach, "attach");
}
