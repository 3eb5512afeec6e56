// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Live: the main job from hook to report in one piece, and whether `doctor` tells of this kernel what is true. Made for
//! boards (cross/board), where layouts and features differ, and as true elsewhere.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "common/live.rs"]
mod live;

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::Command;

use live::{wait_for, Cc, Crun, Live, Need, Runc, TRACING};
use serde_json::{json, Value};

/// Forks, threads, a signal and a kill, then a program that stays until it is killed.
const SCRIPT: &str = "(exit 3); work threads 5; work handler; work killed; sleep 600 & wait";

/// Starts a container under `need`, which returns when it is created and started.
fn start(live: &Live, need: Need, bundle: &Path, id: &str) {
    let log = fs::File::create(live.path(&format!("{id}.log"))).unwrap();
    let words = ["run", "--detach", "--bundle", bundle.to_str().unwrap(), id].map(str::to_owned);
    let mut command = live.oci_command(need, &words);
    command.stdin(std::process::Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    let status = live::wait(&mut command.spawn().unwrap(), "run --detach");
    assert!(status.success(), "{}", fs::read_to_string(live.path(&format!("{id}.log"))).unwrap());
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("no number: {value}"))
}

/// A recorder has never more than 1 MB resident: on a board, where it is the release artefact.
fn check_memory(recorder: u64) {
    let status = fs::read_to_string(format!("/proc/{recorder}/status")).unwrap();
    let of = |key: &str| -> u64 {
        let rest =
            status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_else(|| panic!("no {key} in {status}"));
        rest.trim().trim_end_matches(" kB").parse().unwrap()
    };
    let (now, most) = (of("VmRSS:"), of("VmHWM:"));
    if live::BOARD {
        live::tell(&format!("recorder resident: {now} KiB, {most} at the most\n"), "FTRACE_ANALYZER_SCORE_LOG");
        // Of a dynamic one, as Yocto's recipe makes with glibc, the C library's pages count as well.
        let dynamic = !live::libraries(Path::new(live::BIN)).is_empty();
        assert!(most <= if dynamic { 2048 } else { 1024 }, "{status}");
    }
}

/// Hook start, a container with all that, an exec into it, its end, hook stop, and what the report tells of it.
fn main_job(live: &Live, need: Need) {
    let id = live.id();
    start(live, need, &live.bundle(&["sh", "-c", SCRIPT]), &id);
    let state: Value = serde_json::from_str(&live.oci(need, &["state", &id]).expect_code(0).stdout).unwrap();
    let pid = number(&state["pid"]);
    // The last of the script is all that is left.
    wait_for("the script's end", || {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
        let name = fs::read_to_string(format!("/proc/{}/comm", children.trim())).ok()?;
        (name == "sleep\n").then_some(())
    });
    let entered = live.oci(need, &["exec", &id, "/bin/sh", "-c", "echo entered; exit 6"]).expect_code(6);
    assert_eq!(entered.stdout, "entered\n");
    let recorder = live.recorder(&id).expect("an exec's end is not the container's");
    check_memory(number(&recorder["recorder_pid"]));
    live.oci(need, &["delete", "--force", &id]).expect_code(0);
    live.expect_nothing_left();

    let meta = live.meta(&live.recordings(&id)[0]);
    assert_eq!((&meta["origin"], &meta["state"]), (&json!("hook"), &json!("complete")), "{meta}");
    let lines = live.report_json(&id, &[]);
    let of = |kind: &str| lines.iter().filter(|line| line["type"] == kind).collect::<Vec<_>>();
    let calls = |name: &str| of("call").into_iter().filter(|line| line["name"] == name).collect::<Vec<_>>();
    // Losses add up, and there are none.
    let events = &of("end")[0]["events"];
    assert_eq!((&events["balanced"], &events["lost"], &events["damaged"]), (&json!(true), &json!(0), &json!(0)));
    assert_eq!(number(&events["decoded"]), number(&events["written"]), "{events}");
    // Begins with the execve of the container's program, and ends by a kill from outside.
    let first = of("call")[0];
    assert_eq!((&first["name"], &first["ret"]), (&json!("execve"), &json!(0)), "{first}");
    let shell = number(&first["pid"]);
    let exits = of("exit");
    let own = exits.iter().find(|exit| number(&exit["pid"]) == shell).expect("the shell's end");
    assert_eq!(own["killed"], json!(true), "{own}");
    // Forks and their statuses.
    let statuses: BTreeSet<u64> = exits.iter().filter_map(|exit| exit["status"].as_u64()).collect();
    assert!([0, 3, 5, 7].iter().all(|status| statuses.contains(status)), "{statuses:?}");
    // Threads, each with a call of its own.
    assert_eq!(of("fork").iter().filter(|fork| fork["thread"] == true).count(), 5);
    let marks: BTreeSet<String> =
        calls("getpgid").iter().map(|call| call["args"][0].as_str().unwrap().to_owned()).collect();
    let wanted = (200_000..200_005).chain([100_015]).map(|mark| format!("{mark:#x}"));
    assert!(wanted.clone().all(|mark| marks.contains(&mark)), "{marks:?}");
    // A signal with its handler, and a child that SIGKILL ended in the call that it waited in.
    let signal = of("signal").into_iter().find(|signal| signal["signal_name"] == "SIGTERM").expect("the signal");
    assert_eq!(signal["code_name"], "SI_USER", "{signal}");
    assert_eq!(calls("rt_sigreturn").len() + calls("sigreturn").len(), 1 + count_chld_handlers(&lines, shell));
    let waits = of("call").into_iter().find(|call| call["errno"] == "ERESTARTNOHAND").expect("the call it died in");
    assert!(exits.iter().any(|exit| exit["pid"] == waits["pid"] && exit["killed"] == true), "{waits}");
    // The text says the same at its end.
    let text = live.bin(&["report", &id]).expect_code(0).stdout;
    assert!(text.contains("they add up") && text.contains("# recording complete"), "{text}");
}

/// Signals that the shell itself handled: busybox's does so for SIGCHLD while it waits.
fn count_chld_handlers(lines: &[Value], shell: u64) -> usize {
    let handled = |line: &&Value| line["type"] == "signal" && line["pid"].as_u64() == Some(shell);
    lines.iter().filter(handled).filter(|line| line["signal_name"] == "SIGCHLD").count()
}

#[test]
fn the_whole_main_job_works_under_runc() {
    let Some(live) = Live::new("the_whole_main_job_works_under_runc", &[Runc, Cc]) else { return };
    main_job(&live, Runc);
}

#[test]
fn the_whole_main_job_works_under_crun() {
    let Some(live) = Live::new("the_whole_main_job_works_under_crun", &[Crun, Cc]) else { return };
    main_job(&live, Crun);
}

/// A file's text, or nothing where there is none. In one read: header_page ends at any other offset than 0.
fn text(path: &str) -> String {
    let Ok(mut file) = fs::File::open(path) else { return String::new() };
    let mut bytes = vec![0; 16384];
    let count = file.read(&mut bytes).unwrap_or(0);
    String::from_utf8_lossy(&bytes[..count]).into_owned()
}

/// `field: LONG NAME; offset:O; size:S;` of header_page.
fn field(header: &str, name: &str) -> (u32, u32) {
    let line = header.lines().find(|line| line.contains(&format!(" {name};"))).unwrap();
    let value = |key: &str| line.split(key).nth(1).unwrap().split(';').next().unwrap().parse().unwrap();
    (value("offset:"), value("size:"))
}

#[test]
fn doctor_tells_what_this_kernel_has() {
    // A recording that just begins has an instance and no state yet, which doctor would tell as a leftover.
    let Some(live) = Live::alone("doctor_tells_what_this_kernel_has", &[]) else { return };
    let out = live.bin(&["doctor", "--json"]).expect_code(0);
    let said = out.json().remove(0);
    let check = |id: &str| {
        let found = said["checks"].as_array().unwrap().iter().find(|check| check["id"] == id);
        found.map(|check| (check["verdict"].as_str().unwrap(), check["finding"].as_str().unwrap()))
    };
    let get = |id: &str| check(id).unwrap_or_else(|| panic!("nothing about {id}: {said}"));
    let verdict = |there: bool, otherwise: &'static str| if there { "ok" } else { otherwise };

    let release = text("/proc/sys/kernel/osrelease").trim().to_owned();
    let machine = String::from_utf8(Command::new("uname").arg("-m").output().unwrap().stdout).unwrap();
    assert_eq!(get("machine"), ("ok", format!("Linux {release} on {}", machine.trim()).as_str()));
    assert_eq!(get("root").0, "ok");
    let initial = fs::read_link("/proc/self/ns/pid").unwrap().as_os_str() == "pid:[4026531836]";
    assert_eq!(get("pid-namespace").0, verdict(initial, "MISSING"));
    let confidential = text("/sys/kernel/security/lockdown").contains("[confidentiality]");
    assert_eq!(check("lockdown").is_some(), confidential);
    let unified = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    assert_eq!(get("cgroups").1.contains("version 2"), unified, "{:?}", get("cgroups"));
    let mounted = get("tracefs").1.strip_prefix("tracefs at ").unwrap();
    assert!(text("/proc/mounts").lines().any(|line| line.split(' ').nth(1) == Some(mounted)), "{mounted}");

    let file = |name: &str| Path::new(TRACING).join(name).exists();
    let old = release.starts_with("5.") || release.starts_with("6.");
    let strings = match (file("syscall_user_buf_size"), file("kprobe_events") && old) {
        (true, _) => ("ok", "in the kernel's events"),
        (_, true) => ("ok", "the kernel's own copies"),
        _ => ("less", "show as addresses"),
    };
    // Probes on events alone: no kernel here is built so.
    assert_eq!((get("strings").0, get("strings").1.contains(strings.1)), (strings.0, true), "{:?}", get("strings"));
    assert!(!text("/sys/kernel/tracing/dynamic_events").contains("ftrace_analyzer"));

    let event = |name: &str| Path::new(TRACING).join("events").join(name).join("format").exists();
    let raw = event("raw_syscalls/sys_enter") && event("raw_syscalls/sys_exit");
    assert_eq!(get("raw-syscalls").0, verdict(raw, "MISSING"));
    let others =
        ["sched/sched_process_fork", "sched/sched_process_exec", "sched/sched_process_exit", "task/task_newtask"];
    let others = others.iter().chain(&["task/task_rename", "signal/signal_deliver", "signal/signal_generate"]);
    let missing: Vec<String> = others.filter(|name| !event(name)).map(|name| name.replace('/', ":")).collect();
    assert_eq!(get("task-events").0, verdict(missing.is_empty(), "less"));
    assert!(missing.iter().all(|name| get("task-events").1.contains(name)), "{missing:?}");
    assert_eq!(get("count").0, verdict(file("events/raw_syscalls/sys_exit/hist"), "less"));
    assert_eq!(get("set-event-pid").0, verdict(Path::new(TRACING).join("set_event_pid").exists(), "MISSING"));

    let header = text(&format!("{TRACING}/events/header_page"));
    let ((at, size), (_, word)) = (field(&header, "data"), field(&header, "commit"));
    let layout = format!("sub-buffers of {} bytes, {}-bit words", at + size, word * 8);
    assert_eq!(get("page-layout"), ("ok", layout.as_str()));
    let chosen = Path::new(TRACING).join("buffer_subbuf_size_kb").exists();
    assert_eq!(get("subbuf-size").0, verdict(chosen, "less"));
    let mut version = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (version.next().unwrap(), version.next().unwrap());
    assert_eq!(chosen, version >= (6, 8), "the size of sub-buffers came with 6.8: {release}");
    let clocks = text(&format!("{TRACING}/trace_clock"));
    let clock = clocks.split(['[', ']']).nth(1).unwrap();
    assert!(get("clock").1.ends_with(&format!(" {clock}")), "{:?} {clocks}", get("clock"));
    let cpus = live::entries(&Path::new(TRACING).join("per_cpu")).len();
    assert!(get("buffers").1.contains(&format!("each of {cpus} CPUs")), "{:?}", get("buffers"));
    assert!(check("disk").is_some() && get("leftovers").0 == "ok", "{said}");

    // What it says of all together is true as well.
    let out = live.bin(&["run", "-q", "--", "true"]);
    assert_eq!(said["can_record"] == true, out.code == 0, "{}", out.stderr);
}
