// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Live: what joins a container that is recorded, as `runc exec` does, is recorded from its program on, in that container's
//! recording and no other.
//!
//! Each test has the machine for itself: removing an instance keeps all of tracefs waiting for as long as a join takes.
#![allow(clippy::unwrap_used)]

#[path = "common/live.rs"]
mod live;

use std::fs;

use std::process::{Command, Stdio};

use live::{kernel_lacks, pause, run, wait, wait_for, Cc, Crun, Live, Out, Runc};
use serde_json::{json, Value};

/// The recorder that reads the watch.
fn reader(live: &Live) -> Option<String> {
    fs::read_to_string(live.path("run/joins")).ok().filter(|pid| !pid.is_empty())
}

fn start(live: &Live, args: &[&str]) -> String {
    let id = live.id();
    live.start_container(&live.bundle(args), &id);
    live.wait_for_watch(None);
    id
}

fn exec(live: &Live, id: &str, words: &[&str], code: i32) -> Out {
    let out = live.oci(Runc, &[&["exec", id], words].concat()).expect_code(code);
    // One after the other: the kernel takes one list of tasks in some 10 ms.
    pause(100);
    out
}

fn end(live: &Live, id: &str) {
    live.oci(Runc, &["delete", "--force", id]).expect_code(0);
}

fn nothing_left(live: &Live) {
    live.expect_nothing_left();
    wait_for("the end of the watch", || (!live.watch().exists()).then_some(()));
    let log = fs::read_to_string(live.path("run/hook.log")).unwrap_or_default();
    assert_eq!(log, "", "nobody had anything to complain about");
}

/// The calls and notes of a recording that lost nothing.
fn lines(live: &Live, id: &str, args: &[&str]) -> Vec<Value> {
    let mut lines = live.report_json(id, args);
    let end = lines.pop().unwrap();
    assert_eq!((&end["events"]["balanced"], &end["events"]["lost"]), (&json!(true), &json!(0)), "{end}");
    assert_eq!(end["problems"], json!([]));
    lines.remove(0);
    lines
}

fn of<'a>(lines: &'a [Value], kind: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["type"] == kind).collect()
}

/// The processes that joined, none of them late.
fn joined(lines: &[Value]) -> Vec<i64> {
    let joins = of(lines, "join");
    let on_time = |join: &&&Value| join.get("late").is_none() && join.get("missed").is_none();
    assert!(joins.iter().all(|join| on_time(&join)), "{joins:?}");
    joins.iter().map(|join| join["pid"].as_i64().unwrap()).collect()
}

/// Checks that a process is there from its execve to its end.
fn is_whole(lines: &[Value], pid: i64, comm: &str, status: u64) {
    let own: Vec<&Value> = lines.iter().filter(|line| line["pid"] == pid).collect();
    let first = own.iter().find(|line| line["type"] == "call").unwrap();
    assert_eq!((&first["name"], &first["ret"]), (&json!("execve"), &json!(0)), "{first}");
    // A library or the C start files begin with it.
    let calls = own.iter().filter(|line| line["type"] == "call" && line["comm"] == comm).count();
    assert!(calls > 5, "{calls} of {own:?}");
    assert!(own.iter().all(|line| line.get("start_unknown").is_none() && line.get("refused").is_none()), "{own:?}");
    let last = own.last().unwrap();
    assert_eq!((&last["type"], &last["status"]), (&json!("exit"), &json!(status)), "{last}");
}

#[test]
fn what_joins_is_recorded_from_its_program_on_and_marked() {
    let Some(live) = Live::alone("what_joins_is_recorded_from_its_program_on_and_marked", &[Runc]) else { return };
    let id = start(&live, &["sleep", "60"]);
    assert_eq!(exec(&live, &id, &["/bin/echo", "hello"], 0).stdout, "hello\n");
    exec(&live, &id, &["/bin/sh", "-c", "/bin/ls / >/dev/null; exit 6"], 6);
    assert!(live.recorder(&id).is_some(), "an exec's end is not the container's");
    end(&live, &id);
    nothing_left(&live);
    let lines = lines(&live, &id, &[]);
    let [echo, sh] = joined(&lines)[..] else { panic!("{lines:?}") };
    is_whole(&lines, echo, "echo", 0);
    is_whole(&lines, sh, "sh", 6);
    let child = of(&lines, "fork").into_iter().find(|fork| fork["pid"] == sh).unwrap()["child"].as_i64().unwrap();
    assert!(of(&lines, "exec").iter().any(|exec| exec["pid"] == child && exec["filename"] == "/bin/ls"));
    assert!(lines.iter().all(|line| line.get("runtime").is_none()));
    let text = live.bin(&["report", &id]).expect_code(0).stdout;
    assert_eq!(text.matches(" --- joined the container ---\n").count(), 2, "{text}");
    // The runtime's part, and the container's own as it always is.
    let all = live.report_json(&id, &["--with-runtime"]);
    let set_up = |pid| all.iter().filter(|line| line["pid"] == pid && line["runtime"] == true).count();
    assert!(set_up(echo) > 10 && set_up(sh) > 10, "{} {}", set_up(echo), set_up(sh));
    for format in ["summary", "perfetto", "trace-dat"] {
        let file = live.path(format);
        live.bin(&["report", &id, "--format", format, "-o", file.to_str().unwrap()]).expect_code(0);
    }
}

#[test]
fn a_join_is_seen_in_its_own_container_alone() {
    let Some(live) = Live::alone("a_join_is_seen_in_its_own_container_alone", &[Runc]) else { return };
    let ids: Vec<String> = (0..3).map(|_| start(&live, &["sleep", "60"])).collect();
    for (id, name) in [(&ids[1], "one"), (&ids[2], "two"), (&ids[1], "three")] {
        exec(&live, id, &["/bin/echo", name], 0);
    }
    ids.iter().for_each(|id| end(&live, id));
    nothing_left(&live);
    for (id, count) in ids.iter().zip([0, 2, 1]) {
        let lines = lines(&live, id, &[]);
        assert_eq!(joined(&lines).len(), count, "{id}");
        let echoes = of(&lines, "exec").iter().filter(|exec| exec["filename"] == "/bin/echo").count();
        assert_eq!(echoes, count, "{id}");
    }
}

#[test]
fn threads_of_what_joins_are_told_apart() {
    let Some(live) = Live::alone("threads_of_what_joins_are_told_apart", &[Runc, Cc]) else { return };
    let id = start(&live, &["sleep", "60"]);
    exec(&live, &id, &["/bin/work", "threads", "20"], 0);
    end(&live, &id);
    nothing_left(&live);
    let lines = lines(&live, &id, &[]);
    let [work] = joined(&lines)[..] else { panic!("{lines:?}") };
    is_whole(&lines, work, "work", 0);
    let marks = lines.iter().filter(|line| line["name"] == "getpgid" && line["tgid"] == work);
    assert_eq!(marks.count(), 20);
}

#[test]
fn another_recorder_watches_when_one_ends_or_is_killed() {
    let Some(live) = Live::alone("another_recorder_watches_when_one_ends_or_is_killed", &[Runc]) else { return };
    let ids: Vec<String> = (0..3).map(|_| start(&live, &["sleep", "60"])).collect();
    let pids: Vec<String> = ids.iter().map(|id| live.recorder(id).unwrap()["recorder_pid"].to_string()).collect();
    assert_eq!(reader(&live).as_ref(), Some(&pids[0]));
    end(&live, &ids[0]);
    let second = wait_for("the first one's successor", || {
        let reader = reader(&live)?;
        pids[1..].iter().position(|pid| *pid == reader).map(|at| at + 1)
    });
    let third = 3 - second;
    // The ended one's instance goes meanwhile, which takes its time.
    pause(500);
    exec(&live, &ids[third], &["/bin/echo", "after one ended"], 0);
    let killed = Command::new("kill").args(["-KILL", &pids[second]]).status();
    assert!(killed.unwrap().success());
    live.wait_for_watch(Some(&pids[third]));
    exec(&live, &ids[third], &["/bin/echo", "after one was killed"], 0);
    end(&live, &ids[third]);
    live.bin(&["gc"]).expect_code(0);
    end(&live, &ids[second]);
    nothing_left(&live);
    assert_eq!(joined(&lines(&live, &ids[third], &[])).len(), 2);
}

#[test]
fn gc_removes_the_watch_of_a_killed_recorder() {
    let Some(live) = Live::alone("gc_removes_the_watch_of_a_killed_recorder", &[Runc]) else { return };
    let id = start(&live, &["sleep", "60"]);
    let killed = Command::new("kill").args(["-KILL", &reader(&live).unwrap()]).status();
    assert!(killed.unwrap().success());
    wait_for("its end", || live.bin(&["list"]).stdout.contains("killed").then_some(()));
    assert!(live.watch().exists());
    live.bin(&["gc"]).expect_code(0);
    nothing_left(&live);
    end(&live, &id);
}

#[test]
fn what_joins_an_attached_container_is_recorded_too() {
    let Some(live) = Live::alone("what_joins_an_attached_container_is_recorded_too", &[Runc]) else { return };
    let id = live.id();
    live.start_container(&live.bundle_with(&["sleep", "60"], json!({})), &id);
    let mut attach = live.start(&["attach", &id], "attach");
    live.wait_for_watch(None);
    exec(&live, &id, &["/bin/echo", "hello"], 0);
    assert!(live.recorder(&id).is_some());
    end(&live, &id);
    assert_eq!(wait(&mut attach, "attach").code(), Some(0));
    nothing_left(&live);
    let lines = lines(&live, &id, &[]);
    let [echo] = joined(&lines)[..] else { panic!("{lines:?}") };
    is_whole(&lines, echo, "echo", 0);
}

#[test]
fn joins_are_counted_from_their_program_on_and_not_by_histograms() {
    let Some(live) = Live::alone("joins_are_counted_from_their_program_on_and_not_by_histograms", &[Runc, Cc]) else {
        return;
    };
    for (mode, wanted) in [("count-events", 500), ("count", 0)] {
        let id = live.id();
        let hooks = json!({
            "createRuntime": [live.hook(&["start", "--mode", mode])],
            "poststop": [live.hook(&["stop"])],
        });
        live.start_container(&live.bundle_with(&["sleep", "60"], hooks), &id);
        if wanted > 0 || live.watch().exists() {
            live.wait_for_watch(None);
        }
        exec(&live, &id, &["/bin/work", "loop", "500"], 0);
        end(&live, &id);
        nothing_left(&live);
        let summary = live.bin(&["report", &id, "--json"]).expect_code(0).json().remove(0);
        let rows = summary["syscalls"].as_array().unwrap();
        let calls = |name: &str| -> u64 {
            let rows = rows.iter().filter(|row| row["name"] == name);
            rows.filter_map(|row| row["calls"].as_u64()).sum()
        };
        if summary["recording"]["counted_by"] == "hist" || wanted > 0 {
            assert_eq!(calls("getppid"), wanted, "{mode}: {summary}");
        }
        // What the runtime does to get into a container, and nobody here.
        assert_eq!(calls("setns") + calls("capset"), 0, "{mode}: {summary}");
    }
}

#[test]
fn a_flight_recording_has_what_joined_too() {
    let Some(live) = Live::alone("a_flight_recording_has_what_joined_too", &[Runc]) else { return };
    let id = live.id();
    let start = live.hook(&["start", "--mode", "flight"]);
    let hooks = json!({ "createRuntime": [start], "poststop": [live.hook(&["stop"])] });
    live.start_container(&live.bundle_with(&["sleep", "60"], hooks), &id);
    live.wait_for_watch(None);
    exec(&live, &id, &["/bin/echo", "hello"], 0);
    end(&live, &id);
    nothing_left(&live);
    let lines = lines(&live, &id, &[]);
    let [echo] = joined(&lines)[..] else { panic!("{lines:?}") };
    is_whole(&lines, echo, "echo", 0);
}

#[test]
fn what_joins_by_being_made_in_the_control_group_is_recorded() {
    let test = "what_joins_by_being_made_in_the_control_group_is_recorded";
    let Some(live) = Live::alone(test, &[Runc, Crun]) else { return };
    // Version 2 in a mount namespace of its own, where crun makes a group. Without rules for devices it needs no BPF.
    let bundle = live.bundle(&["sleep", "60"]);
    let config = bundle.join("config.json");
    let mut spec: Value = serde_json::from_slice(&fs::read(&config).unwrap()).unwrap();
    spec["linux"]["resources"] = json!({});
    fs::write(&config, spec.to_string()).unwrap();
    let root = live.path("crun");
    let crun = |words: &[&str]| {
        let script = "mount --make-rprivate /; mount -t cgroup2 none /sys/fs/cgroup; exec crun \"$@\"";
        let mut command = live.command("unshare");
        command.args(["-m", "sh", "-c", script, "crun", "--cgroup-manager=cgroupfs", "--root"]).arg(&root).args(words);
        command
    };
    let id = live.id();
    let log = fs::File::create(live.path("crun.log")).unwrap();
    let mut run_it = crun(&["run", "--detach", "--bundle", bundle.to_str().unwrap(), &id]);
    run_it.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    if !wait(&mut run_it.spawn().unwrap(), "crun run").success() {
        kernel_lacks(test, &fs::read_to_string(live.path("crun.log")).unwrap());
        return;
    }
    live.wait_for_watch(None);
    let state = live.recorder(&id).unwrap();
    assert!(state["cgroups"].to_string().contains(&id), "a group of its own: {state}");
    // crun leaves less time than runc: on a busy machine some are late, or had ended when they were looked up, and one that
    // nobody could look up is not told. So it is tried until one is whole.
    let whole = || {
        let out = run(crun(&["exec", &id, "/bin/echo", "hello"]), b"").expect_code(0);
        assert_eq!(out.stdout, "hello\n");
        pause(150);
        let lines = live.report_json(&id, &[]);
        let joins = of(&lines, "join").into_iter();
        let mut whole = joins.filter(|join| join.get("late").is_none() && join.get("missed").is_none());
        let begun = |pid: &Value| {
            let first = lines.iter().find(|line| line["pid"] == *pid && line["type"] == "call")?;
            (first["name"] == "execve" && first.get("start_unknown").is_none()).then_some(pid.as_i64().unwrap())
        };
        whole.find_map(|join| begun(&join["pid"]))
    };
    let echo = wait_for("a process that joined and is whole", whole);
    run(crun(&["delete", "--force", &id]), b"").expect_code(0);
    nothing_left(&live);
    is_whole(&lines(&live, &id, &[]), echo, "echo", 0);
}
