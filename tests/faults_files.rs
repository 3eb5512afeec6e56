// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is written is for its owner alone, and nobody can lay a link in its way.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{symlink, MetadataExt};
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

#[path = "common/faults.rs"]
mod faults;
use faults::{can_trace, finish, until, Case, Process, BIN};

const PATIENCE: Duration = Duration::from_secs(30);

/// `hook VERB` with the most generous umask.
fn generous(case: &Case, verb: &str, options: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "umask 0; exec \"$0\" \"$@\"", BIN, "hook", verb, "--strict"]).args(options);
    command.env("FTRACE_ANALYZER_DIR", &case.dir).env("FTRACE_ANALYZER_RUN_DIR", &case.run);
    command
}

/// All below `dir` is 0700 or 0600 and ours.
fn assert_private(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let data = entry.metadata().unwrap();
        let mode = if data.is_dir() { 0o700 } else { 0o600 };
        let path = entry.path();
        assert_eq!((data.mode() & 0o7777, data.uid()), (mode, 0), "{}", path.display());
        if data.is_dir() {
            assert_private(&path);
        }
    }
}

#[test]
fn recordings_state_log_and_reports_are_for_their_owner_alone() {
    if !can_trace("recordings_state_log_and_reports_are_for_their_owner_alone") {
        return;
    }
    let mut case = Case::new("private");
    // Made by the program itself, with their parents.
    case.dir = case.root.join("made/by/us");
    let mut process = Process::start("sh", &["-c", "while :; do sleep 0.01; done"]);
    let said = finish(generous(&case, "start", &[]), &case.state(process.pid()), PATIENCE);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    sleep(Duration::from_millis(50));
    finish(case.tool(&["hook", "start"]), b"garbage", PATIENCE);
    assert_private(&case.root.join("made"));
    let socket = case.states()[0].join("control");
    assert_eq!(fs::metadata(&socket).unwrap().mode() & 0o777, 0o600);
    assert_private(&case.run);
    let report = case.root.join("report.txt");
    let options = ["--report", report.to_str().unwrap()];
    let said = finish(generous(&case, "stop", &options), &case.state("0"), PATIENCE);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    assert!(fs::read_to_string(&report).unwrap().contains("recording complete"));
    // Keeps its counts beside the recording.
    case.assert_clean();
    assert_eq!(case.say(&["list"]).code, Some(0));
    assert!(case.recording().join("counts").exists());
    assert!(process.is_running());
    assert_private(&case.root);
}

#[test]
fn links_laid_in_the_way_are_not_followed() {
    if !can_trace("links_laid_in_the_way_are_not_followed") {
        return;
    }
    let case = Case::new("links");
    let target = case.root.join("target");
    fs::write(&target, "precious").unwrap();
    symlink(&target, case.run.join("hook.log")).unwrap();
    let said = finish(case.tool(&["hook", "start"]), b"garbage", PATIENCE);
    assert_eq!(said.code, Some(0));
    let process = Process::idle();
    case.start(process.pid(), &[]);
    drop(process);
    until("the recording ends", PATIENCE, || case.states().is_empty());
    symlink(&target, case.recording().join("counts")).unwrap();
    assert_eq!(case.say(&["list"]).code, Some(0));
    let link = case.root.join("report.txt");
    symlink(&target, &link).unwrap();
    for (path, words) in [(link.to_str().unwrap(), "report.txt"), ("relative.txt", "is not an absolute path")] {
        let options = ["hook", "stop", "--report", path];
        let mut command = case.tool(&options);
        command.current_dir(&case.root);
        let said = finish(command, &case.state("0"), PATIENCE);
        assert_eq!(said.code, Some(0), "{said:?}");
        assert!(said.err.contains(words), "{said:?}");
        let strict = finish(case.tool(&[&options[..], &["--strict"]].concat()), &case.state("0"), PATIENCE);
        assert!(strict.code != Some(0) && strict.err.contains(words), "{strict:?}");
    }
    assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
    assert!(!case.root.join("relative.txt").exists());
}

#[test]
fn a_hook_never_takes_a_recording_of_the_bundle_for_its_own() {
    if !can_trace("a_hook_never_takes_a_recording_of_the_bundle_for_its_own") {
        return;
    }
    // The working directory of a hook is the bundle: what lies there is the container's.
    let case = Case::new("bundle");
    let planted = case.root.join(&case.id);
    faults::private_dir(&planted);
    fs::write(planted.join("meta.json"), "{\"format_version\":1,\"name\":\"planted\"}").unwrap();
    fs::write(planted.join("formats"), "").unwrap();
    let report = case.root.join("report.txt");
    let mut command = case.tool(&["hook", "stop", "--report", report.to_str().unwrap()]);
    command.current_dir(&case.root);
    let said = finish(command, &case.state("0"), PATIENCE);
    assert_eq!(said.code, Some(0));
    assert!(said.err.contains(&format!("a recording of {} in", case.id)) && said.err.contains("not found"), "{said:?}");
    assert!(!report.exists());
}

#[test]
fn poststop_ends_the_recording_of_its_own_container_alone() {
    if !can_trace("poststop_ends_the_recording_of_its_own_container_alone") {
        return;
    }
    let case = Case::new("alone");
    let process = Process::idle();
    let longer = String::from_utf8(case.state(process.pid())).unwrap().replace("-alone\"", "-alone-2\"");
    let said = finish(case.tool(&["hook", "start", "--strict"]), longer.as_bytes(), PATIENCE);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    let recorder = case.recorder();
    assert_eq!(finish(case.tool(&["hook", "stop"]), &case.state("0"), PATIENCE).code, Some(0));
    assert!(faults::is_alive(recorder) && case.states().len() == 1, "alone-2 is not alone");
    let stop = longer.replace(&format!("\"pid\":{}", process.pid()), "\"pid\":0");
    assert_eq!(finish(case.tool(&["hook", "stop"]), stop.as_bytes(), PATIENCE).code, Some(0));
    case.assert_clean();
}
