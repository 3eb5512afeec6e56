// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Live: the hooks under real runc and crun, in every stage, order and failure that a runtime may bring.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "common/live.rs"]
mod live;

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use live::{wait_for, Crun, Live, Need, Runc};
use serde_json::{json, Value};

/// Runs `sh -c 'exit 3'` with these hooks and checks that it was recorded from its execve to its end, once.
fn is_recorded_whole(live: &Live, need: Need, hooks: Value) -> String {
    let bundle = live.bundle_with(&["sh", "-c", "exit 3"], hooks);
    let id = live.id();
    live.run_container(need, &bundle, &id).expect_code(3);
    wait_for("the recording", || (live.recordings(&id).len() == 1).then_some(()));
    live.expect_nothing_left();
    let report = live.bin(&["report", &id]).expect_code(0);
    let calls = report.calls();
    assert!(calls[0].contains(" execve(\"/bin/sh\", ") && calls[0].contains(" = 0 <"), "{}", report.stdout);
    assert!(!calls[1].contains("execve("), "{}", report.stdout);
    assert!(calls[calls.len() - 1].ends_with("+++ exited with 3 +++"), "{}", report.stdout);
    assert!(calls[calls.len() - 2].contains("exit_group(3)"), "{}", report.stdout);
    let own = report.stdout.lines().find(|line| line.contains("of the container runtime's own left out")).unwrap();
    let own: usize = own.split(' ').nth(1).unwrap().parse().unwrap();
    for sentence in ["they add up", "# recording complete"] {
        assert!(report.stdout.contains(sentence), "{}", report.stdout);
    }
    let all = live.bin(&["report", &id, "--with-runtime"]).expect_code(0);
    let before = all.calls().iter().position(|line| *line == calls[0]).expect("the same execve");
    assert!(own > 0 && before > 0, "{own} {before}");
    assert!(!all.stdout.contains("left out"));
    id
}

#[test]
fn a_container_is_recorded_by_create_runtime_and_poststop_of_runc() {
    let Some(live) = Live::new("a_container_is_recorded_by_create_runtime_and_poststop_of_runc", &[Runc]) else {
        return;
    };
    let hooks = json!({ "createRuntime": [live.hook(&["start"])], "poststop": [live.hook(&["stop"])] });
    let id = is_recorded_whole(&live, Runc, hooks);
    let meta = live.meta(&live.recordings(&id)[0]);
    assert_eq!((&meta["origin"], &meta["container"]["id"]), (&json!("hook"), &json!(id)));
    assert!(meta["tasks"].as_array().unwrap().len() > 1, "all threads of runc's init, not only its first: {meta}");
}

#[test]
fn a_container_is_recorded_by_prestart_of_runc() {
    let Some(live) = Live::new("a_container_is_recorded_by_prestart_of_runc", &[Runc]) else { return };
    let hooks = json!({ "prestart": [live.hook(&["start"])], "poststop": [live.hook(&["stop"])] });
    is_recorded_whole(&live, Runc, hooks);
}

#[test]
fn prestart_and_create_runtime_at_once_make_one_recording() {
    let Some(live) = Live::new("prestart_and_create_runtime_at_once_make_one_recording", &[Runc]) else { return };
    let start = [live.hook(&["start"])];
    is_recorded_whole(
        &live,
        Runc,
        json!({ "prestart": start, "createRuntime": start, "poststop": [live.hook(&["stop"])] }),
    );
    let log = fs::read_to_string(live.path("run/hook.log")).unwrap();
    assert!(log.contains("is being recorded already"), "{log}");
}

#[test]
fn a_container_is_recorded_by_the_hooks_of_crun() {
    let Some(live) = Live::new("a_container_is_recorded_by_the_hooks_of_crun", &[Crun]) else { return };
    let stop = [live.hook(&["stop"])];
    for stage in ["createRuntime", "prestart"] {
        is_recorded_whole(&live, Crun, json!({ (stage): [live.hook(&["start"])], "poststop": stop }));
    }
}

#[test]
fn a_recorder_holds_nothing_of_the_hook_and_up_nobody() {
    let Some(live) = Live::new("a_recorder_holds_nothing_of_the_hook_and_up_nobody", &[Runc]) else { return };
    let id = live.id();
    live.start_container(&live.bundle(&["sleep", "60"]), &id);
    let recorder = live.recorder(&id).expect("a recorder");
    let pid = recorder["recorder_pid"].as_i64().unwrap();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let session = stat.rsplit(") ").next().unwrap().split(' ').nth(3).unwrap();
    assert_eq!(session, pid.to_string(), "a session of its own");
    // It is the one that watches for joins; while that is set up it has the end of a pipe.
    let fds = std::path::PathBuf::from(format!("/proc/{pid}/fd"));
    let watch = |fd: &std::path::PathBuf| {
        fs::read_link(fd).is_ok_and(|target| target.display().to_string().contains("ftrace-analyzer-joins-"))
    };
    live::wait_for("the watch for joins", || live::entries(&fds).iter().any(watch).then_some(()));
    // Ends of pipes come in twos if they are its own.
    let mut pipes: BTreeMap<String, u32> = BTreeMap::new();
    for fd in live::entries(&fds) {
        let target = fs::read_link(&fd).unwrap().display().to_string();
        let own = ["/dev/null", "socket:", "anon_inode:[pidfd]", "pidfd:", "anon_inode:[signalfd]"];
        let instance = recorder["instance"].as_str().unwrap();
        let recording = recorder["recording"].as_str().unwrap();
        if target.starts_with("pipe:") {
            *pipes.entry(target).or_default() += 1;
            continue;
        }
        let is_own = own.iter().any(|own| target.starts_with(own));
        let joins = watch(&fd) || target.ends_with("/run/joins");
        assert!(is_own || joins || target.contains(instance) || target.starts_with(recording), "{fd:?} -> {target}");
    }
    assert!(pipes.values().all(|ends| *ends == 2), "{pipes:?}");
    // Another container comes and goes meanwhile; run() panics if somebody keeps runc's output.
    let other = live.id();
    let took = live.run_container(Runc, &live.bundle(&["true"]), &other).expect_code(0).took;
    assert!(took < Duration::from_secs(5) * live::SLOW, "{took:?}");
    assert!(live.recorder(&id).is_some());
    live.oci(Runc, &["delete", "--force", &id]).expect_code(0);
    live.expect_nothing_left();
}

#[test]
fn poststop_may_come_twice_and_late() {
    let Some(live) = Live::new("poststop_may_come_twice_and_late", &[Runc]) else { return };
    let (start, stop) = (live.hook(&["start"]), live.hook(&["stop", "--strict"]));
    let bundle = live.bundle_with(&["true"], json!({ "createRuntime": [start], "poststop": [stop, stop] }));
    let id = live.id();
    let out = live.run_container(Runc, &bundle, &id).expect_code(0);
    assert!(!out.stderr.contains("hook"), "runc tells of a failed poststop: {}", out.stderr);
    live.expect_nothing_left();
    let state = json!({ "ociVersion": "1.0.2-dev", "id": id, "status": "stopped", "bundle": bundle }).to_string();
    let late = live.bin_with(&["hook", "stop", "--strict"], state.as_bytes()).expect_code(0);
    assert_eq!(late.stderr, "");
    live.bin(&["report", &id]).expect_code(0);
    assert_eq!(live.recordings(&id).len(), 1);
}

#[test]
fn a_stop_hook_that_comes_before_the_container_is_gone_waits_for_its_end() {
    let test = "a_stop_hook_that_comes_before_the_container_is_gone_waits_for_its_end";
    let Some(live) = Live::new(test, &[Runc]) else { return };
    let id = live.id();
    live.start_container(
        &live.bundle_with(&["sleep", "100"], json!({ "createRuntime": [live.hook(&["start"])] })),
        &id,
    );
    let pid = live.init_pid(&id);
    // As crun's `delete --force` does, with more time between.
    let mut kill = live.start_program(&["sh", "-c", &format!("sleep 0.1; kill -9 {pid}")], "kill");
    let state = format!(r#"{{"ociVersion":"1.0.2","id":"{id}","status":"stopped","bundle":"/"}}"#);
    live.bin_with(&["hook", "stop", "--strict"], state.as_bytes()).expect_code(0);
    let lines = live.report_json(&id, &[]);
    assert!(lines.iter().any(|line| line["type"] == "exit" && line["pid"] == pid && line["killed"] == true));
    live::wait(&mut kill, "kill");
    live.oci(Runc, &["delete", "--force", &id]).expect_code(0);
    live.expect_nothing_left();
}

#[test]
fn a_stop_hook_leaves_the_recordings_of_others_alone() {
    let Some(live) = Live::new("a_stop_hook_leaves_the_recordings_of_others_alone", &[Runc]) else { return };
    let id = live.id();
    live.start_container(&live.bundle(&["sleep", "60"]), &id);
    let instance =
        format!("/sys/kernel/tracing/instances/{}", live.recorder(&id).unwrap()["instance"].as_str().unwrap());
    // Somebody else's running state, in which this recorder does not stand; and the instance is not young any more.
    std::thread::sleep(Duration::from_secs(11));
    let state = json!({ "ociVersion": "1.0.2-dev", "id": "nobody", "status": "stopped", "bundle": "/" }).to_string();
    fs::create_dir(live.path("elsewhere")).unwrap();
    for words in [&["hook", "stop", "--strict"][..], &["gc"]] {
        let mut command = live.command(live::BIN);
        command.args(words).env("FTRACE_ANALYZER_RUN_DIR", live.path("elsewhere"));
        live::run(command, state.as_bytes()).expect_code(0);
        assert_eq!(fs::read_to_string(format!("{instance}/tracing_on")).unwrap(), "1\n", "{words:?}");
    }
    live.oci(Runc, &["delete", "--force", &id]).expect_code(0);
    live.bin(&["report", &id]).expect_code(0);
}

#[test]
fn a_container_that_never_started_leaves_a_complete_recording() {
    let Some(live) = Live::new("a_container_that_never_started_leaves_a_complete_recording", &[Runc]) else { return };
    let bundle = live.bundle(&["sleep", "60"]);
    let id = live.id();
    // The container's process keeps what runc got for its output.
    let script = format!(
        "exec runc --root {} create --bundle {} {id} </dev/null >/dev/null 2>&1",
        live.path("runc").display(),
        bundle.display()
    );
    let mut command = live.command("sh");
    command.args(["-c", &script]);
    live::run(command, b"").expect_code(0);
    assert!(live.recorder(&id).is_some());
    live.oci(Runc, &["delete", "--force", &id]).expect_code(0);
    live.expect_nothing_left();
    let report = live.bin(&["report", &id]).expect_code(0);
    assert_eq!(report.calls(), Vec::<&str>::new());
    assert!(report.stdout.contains("the container's program was never executed"), "{}", report.stdout);
}

#[test]
fn without_a_poststop_hook_the_recorder_completes_by_itself() {
    let Some(live) = Live::new("without_a_poststop_hook_the_recorder_completes_by_itself", &[Runc]) else { return };
    let hooks = json!({ "createRuntime": [live.hook(&["start"])] });
    let id = is_recorded_whole(&live, Runc, hooks);
    assert_eq!(live.meta(&live.recordings(&id)[0])["end_reason"], "the traced tasks ended");
}

#[test]
fn a_hook_that_fails_behind_ours_leaves_nothing_running() {
    let Some(live) = Live::new("a_hook_that_fails_behind_ours_leaves_nothing_running", &[Runc, Crun]) else { return };
    let fails = json!({ "path": "/bin/false" });
    let hooks = json!({ "createRuntime": [live.hook(&["start"]), fails], "poststop": [live.hook(&["stop"])] });
    let bundle = live.bundle_with(&["true"], hooks);
    for need in [Runc, Crun] {
        let id = live.id();
        let out = live.run_container(need, &bundle, &id);
        assert_ne!(out.code, 0, "{}", out.stderr);
        live.expect_nothing_left();
        let meta = live.meta(&live.recordings(&id)[0]);
        assert_eq!(meta["state"], "complete", "{need:?}: {meta}");
    }
}

#[test]
fn the_stop_hook_writes_the_report_it_is_asked_for() {
    let Some(live) = Live::new("the_stop_hook_writes_the_report_it_is_asked_for", &[Runc]) else { return };
    let file = live.path("report.txt");
    let stop = live.hook(&["stop", "--report", file.to_str().unwrap()]);
    let bundle = live.bundle_with(&["true"], json!({ "createRuntime": [live.hook(&["start"])], "poststop": [stop] }));
    let id = live.id();
    live.run_container(Runc, &bundle, &id).expect_code(0);
    // It is there when runc returns, and whole.
    let written = fs::read_to_string(&file).unwrap();
    assert_eq!(written, live.bin(&["report", &id]).expect_code(0).stdout);
    assert!(written.contains("# recording complete"), "{written}");
}

#[test]
fn annotations_choose_the_calls_and_wrong_ones_are_logged_and_change_nothing() {
    let test = "annotations_choose_the_calls_and_wrong_ones_are_logged_and_change_nothing";
    let Some(live) = Live::new(test, &[Runc]) else { return };
    let bundle = live.bundle(&["ls", "/nowhere"]);
    let config: Value = serde_json::from_slice(&fs::read(bundle.join("config.json")).unwrap()).unwrap();
    let long = "read,".repeat(2000) + "write";
    for (key, value, syscalls, errors_only) in [
        ("syscalls", "%file,!execve", "%file,!execve", false),
        ("errors-only", "true", "", true),
        ("errors-only", "no", "", false),
        ("syscalls", "opennat", "", false),
        ("syscalls", "../../etc/passwd", "", false),
        ("syscalls", &long, "", false),
        ("mode", "fast\n", "", false),
        ("trace", "perhaps", "", false),
    ] {
        let mut config = config.clone();
        config["annotations"] = json!({ format!("ftrace-analyzer/{key}"): value });
        fs::write(bundle.join("config.json"), config.to_string()).unwrap();
        let id = live.id();
        live.run_container(Runc, &bundle, &id).expect_code(1);
        let meta = live.meta(&live.recordings(&id)[0]);
        assert_eq!(meta["options"]["syscalls"], syscalls, "{key}={value}");
        assert_eq!(meta["options"]["errors_only"], errors_only, "{key}={value}");
        assert_eq!(meta["options"]["mode"], "continuous", "{key}={value}");
        let log = fs::read_to_string(live.path("run/hook.log")).unwrap_or_default();
        let told = log
            .lines()
            .any(|line| line.contains(&format!("container {id}: annotation ftrace-analyzer/{key} can not be")));
        assert_eq!(told, syscalls.is_empty() && !errors_only, "{key}={value}: {log}");
    }
    live.expect_nothing_left();
}

#[test]
fn annotations_decide_whether_and_how_a_container_is_recorded() {
    let Some(live) = Live::new("annotations_decide_whether_and_how_a_container_is_recorded", &[Runc]) else { return };
    let start = live.hook(&["start", "--if-annotation", "ftrace-analyzer/trace=true"]);
    let hooks = json!({ "createRuntime": [start], "poststop": [live.hook(&["stop"])] });
    let bundle = live.bundle_with(&["true"], hooks);
    let config: Value = serde_json::from_slice(&fs::read(bundle.join("config.json")).unwrap()).unwrap();
    for (annotations, mode) in [
        (json!({}), None),
        (json!({ "ftrace-analyzer/trace": "false" }), None),
        (json!({ "ftrace-analyzer/trace": "true" }), Some("continuous")),
        (json!({ "ftrace-analyzer/trace": "true", "ftrace-analyzer/mode": "flight" }), Some("flight")),
    ] {
        let mut config = config.clone();
        config["annotations"] = annotations;
        fs::write(bundle.join("config.json"), config.to_string()).unwrap();
        let id = live.id();
        live.run_container(Runc, &bundle, &id).expect_code(0);
        live.expect_nothing_left();
        let modes: Vec<Value> =
            live.recordings(&id).iter().map(|dir| live.meta(dir)["options"]["mode"].clone()).collect();
        assert_eq!(modes, mode.map(Value::from).into_iter().collect::<Vec<Value>>(), "{config}");
    }
}
