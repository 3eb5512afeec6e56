// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `doctor`: what this kernel and system can do, what is missing and how to get it.
//!
//! Looks and changes nothing, but for mounting tracefs where it is missing, which every recording would do as well.

use core::fmt::{self, Write};
use std::path::Path;

use super::args::{self, Args, Opt};
use super::{out, units};
use crate::core_dump;
use crate::error::{exit, Result};
use crate::format::{parse_header_page, Schema};
use crate::hooks;
use crate::json::Json;
use crate::proc;
use crate::recorder::{
    available_kb, best_buffers, best_strings, buffer_kb, check_room, needed_kb, run_dir, running, Origin,
    KERNEL_BUFFER_KB,
};
use crate::sys;
use crate::tracefs::Tracefs;

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// There.
    Good,
    /// Missing; something works less well.
    Less,
    /// Missing; the main job can not run.
    Bad,
    /// For information.
    Info,
}

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Verdict::Good => "ok",
            Verdict::Less => "less",
            Verdict::Bad => "MISSING",
            Verdict::Info => "info",
        }
    }
}

/// A check with two outcomes, as it is told.
struct Test {
    id: &'static str,
    yes: &'static str,
    no: &'static str,
    otherwise: Verdict,
    remedy: &'static str,
}

const ROOT: Test = Test {
    id: "root",
    yes: "running as root",
    no: "not running as root: recording needs write access to tracefs",
    otherwise: Verdict::Less,
    remedy: "run as root, or mount tracefs with gid= for your group",
};

const PID_NAMESPACE: Test = Test {
    id: "pid-namespace",
    yes: "the machine's own process numbers",
    no: "in a pid namespace: ftrace records numbers that are not seen here",
    otherwise: Verdict::Bad,
    remedy: "run on the host, not in a container",
};

const RAW_SYSCALLS: Test = Test {
    id: "raw-syscalls",
    yes: "raw_syscalls events (enter and exit of every call, of 32-bit programs too)",
    no: "no raw_syscalls events",
    otherwise: Verdict::Bad,
    remedy: "build the kernel with CONFIG_FTRACE_SYSCALLS=y (or any option that selects CONFIG_EVENT_TRACING)",
};

const SET_EVENT_PID: Test = Test {
    id: "set-event-pid",
    yes: "filter by task, inherited by children",
    no: "no set_event_pid",
    otherwise: Verdict::Bad,
    remedy: "a kernel of 4.7 or later is needed",
};

const SUBBUF_SIZE: Test = Test {
    id: "subbuf-size",
    yes: "sub-buffer size can be chosen: run and attach use 64 KiB, which costs the traced task least",
    no: "sub-buffer size is fixed (kernels before 6.8)",
    otherwise: Verdict::Less,
    remedy: "under more than a million events a second use a larger --buffer-size-kb",
};

/// What was found, in the form in which it is shown.
struct Findings {
    /// The text, or the members of the JSON array.
    text: String,
    json: Option<Json>,
    /// Something without which no container can be recorded is missing.
    bad: bool,
}

impl Findings {
    fn add(&mut self, verdict: Verdict, id: &str, finding: fmt::Arguments<'_>, remedy: &str) {
        self.bad |= verdict == Verdict::Bad;
        let Some(json) = &mut self.json else {
            let _ = writeln!(self.text, "{:<8} {finding}", verdict.name());
            if !remedy.is_empty() {
                let _ = writeln!(self.text, "{:<8} -> {remedy}", "");
            }
            return;
        };
        self.text.clear();
        let _ = self.text.write_fmt(finding);
        json.begin_object().field_str("id", id).field_str("verdict", verdict.name());
        json.field_str("finding", &self.text).field_str("remedy", remedy).end_object();
    }

    fn test(&mut self, good: bool, test: &Test) {
        match good {
            true => self.add(Verdict::Good, test.id, format_args!("{}", test.yes), ""),
            false => self.add(test.otherwise, test.id, format_args!("{}", test.no), test.remedy),
        }
    }
}

fn check_system(findings: &mut Findings) {
    let (arch, _, release, _, machine) = proc::uname();
    let (verdict, without, remedy) = match arch {
        Some(_) => (Verdict::Good, "", ""),
        None => (Verdict::Bad, ": no system call tables", "there are tables for x86_64, i386, aarch64 and arm"),
    };
    findings.add(verdict, "machine", format_args!("Linux {release} on {machine}{without}"), remedy);
    findings.test(nix::unistd::geteuid().is_root(), &ROOT);
    findings.test(proc::in_initial_pid_namespace(), &PID_NAMESPACE);
    if proc::is_confidential() {
        findings.add(
            Verdict::Bad,
            "lockdown",
            format_args!("kernel lockdown is at confidentiality: tracefs is empty"),
            "boot with lockdown=integrity or none",
        );
    }
    findings.add(Verdict::Info, "cgroups", format_args!("control groups: {}", proc::cgroup_version()), "");
}

fn check_tracefs(findings: &mut Findings) -> Option<Tracefs> {
    match Tracefs::open() {
        Ok(tracefs) => {
            findings.add(Verdict::Good, "tracefs", format_args!("tracefs at {}", tracefs.root().display()), "");
            Some(tracefs)
        }
        Err(error) => {
            findings.add(Verdict::Bad, "tracefs", format_args!("{error}"), error.remedy().unwrap_or_default());
            None
        }
    }
}

fn check_events(findings: &mut Findings, tracefs: &Tracefs) {
    let mut missing = String::new();
    let mut raw = true;
    for &(system, name) in Schema::EVENTS {
        if tracefs.has_event(system, name) {
            continue;
        }
        if system == "raw_syscalls" {
            raw = false;
            continue;
        }
        for part in [if missing.is_empty() { "" } else { ", " }, system, ":", name] {
            missing.push_str(part);
        }
    }
    findings.test(raw, &RAW_SYSCALLS);
    if missing.is_empty() {
        findings.add(
            Verdict::Good,
            "task-events",
            format_args!("events of the scheduler and signals (forks, program starts, ends and their reasons)"),
            "",
        );
    } else {
        let remedy = "tasks keep their first names and ends stay unexplained";
        findings.add(Verdict::Less, "task-events", format_args!("missing events: {missing}"), remedy);
    }
    findings.test(tracefs.read_top("set_event_pid").is_some(), &SET_EVENT_PID);
    let mut long_size = 8;
    let header = tracefs.read_top("events/header_page").unwrap_or_default();
    match parse_header_page(&header) {
        Ok(layout) => {
            long_size = layout.long_size();
            let bits = u32::from(layout.long_size()) * 8;
            findings.add(
                Verdict::Good,
                "page-layout",
                format_args!("sub-buffers of {} bytes, {bits}-bit words", layout.subbuf_size()),
                "",
            );
        }
        Err(why) => {
            findings.add(Verdict::Bad, "page-layout", format_args!("events/header_page: {why}"), "please report this");
        }
    }
    findings.test(tracefs.read_top("buffer_subbuf_size_kb").is_some(), &SUBBUF_SIZE);
    check_strings(findings, tracefs, long_size);
    check_data(findings, tracefs, long_size);
    findings.test(tracefs.read_top("events/raw_syscalls/sys_exit/hist").is_some(), &COUNT);
    findings.add(Verdict::Info, "clock", format_args!("trace clock: {}", tracefs.default_clock()), "");
}

fn check_strings(findings: &mut Findings, tracefs: &Tracefs, long_size: u8) {
    let (means, argv) = match best_strings(tracefs, long_size) {
        Ok(found) => found,
        Err(why) => return findings.add(Verdict::Less, "strings", format_args!("strings: {why}"), ""),
    };
    let how = match means {
        "events" => "strings of calls are in the kernel's events (native calls, 165 bytes)",
        "copies" => "paths of calls are told by a probe of the kernel's own copies",
        "probes" => "strings of calls are read by probes on events, where their pages are there",
        _ => {
            let remedy =
                "build the kernel with CONFIG_KPROBE_EVENTS=y, or take 6.19 or later with CONFIG_FTRACE_SYSCALLS";
            return findings.add(Verdict::Less, "strings", format_args!("strings of calls show as addresses"), remedy);
        }
    };
    let and = if argv { "; the arguments of execve, too" } else { "" };
    findings.add(Verdict::Good, "strings", format_args!("{how}{and}"), "");
}

fn check_data(findings: &mut Findings, tracefs: &Tracefs, long_size: u8) {
    let remedy = "take 6.9 or later (not on 32-bit ARM) with CONFIG_KPROBE_EVENTS=y";
    let (verdict, finding, remedy) = match best_buffers(tracefs, long_size) {
        "returns" => (Verdict::Good, "buffers read and written, and socket addresses", ""),
        "entries" => (Verdict::Less, "buffers written and addresses given, where their pages are there", remedy),
        _ => (Verdict::Less, "nothing", remedy),
    };
    findings.add(verdict, "data", format_args!("--data tells {finding}"), remedy);
}

const COUNT: Test = Test {
    id: "count",
    yes: "--mode count: calls are counted by histograms in the kernel",
    no: "--mode count: calls are counted from their events; the kernel has no histograms",
    otherwise: Verdict::Less,
    remedy: "build the kernel with CONFIG_HIST_TRIGGERS=y: a counted call costs less then",
};

/// Information, unless something is scarce.
fn scarce(findings: &mut Findings, short: bool, id: &str, finding: fmt::Arguments<'_>, remedy: &str) {
    match short {
        true => findings.add(Verdict::Less, id, finding, remedy),
        false => findings.add(Verdict::Info, id, finding, ""),
    }
}

fn check_space(findings: &mut Findings, tracefs: Option<&Tracefs>, dir: &Path) {
    let cpus = tracefs.map_or(1, Tracefs::cpu_count);
    let (_, _, release, ..) = proc::uname();
    let available = available_kb().unwrap_or(u64::MAX);
    let hook = buffer_kb(Origin::Hook, KERNEL_BUFFER_KB, available, cpus);
    let run = buffer_kb(Origin::Run, KERNEL_BUFFER_KB, available, cpus);
    match check_room(&release, cpus, available_kb()) {
        Ok(()) => {
            let memory = units::show_size(available.saturating_mul(1024));
            let needed = units::show_size(needed_kb(&release, cpus) * 1024);
            findings.add(
                Verdict::Info,
                "memory",
                format_args!("{memory} of memory available; a recording takes {needed} at its start"),
                "",
            );
        }
        Err(why) => findings.add(Verdict::Bad, "memory", format_args!("{why}"), why.remedy().unwrap_or_default()),
    }
    let remedy = "memory is short: fewer recordings at once lose less";
    scarce(
        findings,
        hook < KERNEL_BUFFER_KB,
        "buffers",
        format_args!("ring buffers on each of {cpus} CPUs: {hook} KiB for hooks, {run} KiB for run and attach"),
        remedy,
    );
    // The nearest directory that exists tells the file system.
    let mut existing = dir;
    while !sys::is_dir(existing) {
        existing = sys::parent(existing).unwrap_or(Path::new("/"));
    }
    if let Some(free) = sys::free_bytes(existing) {
        let free_size = units::show_size(free);
        let remedy = "name another place with --dir, or lower --max-size";
        scarce(
            findings,
            free < 64 << 20,
            "disk",
            format_args!("recordings in {}, {free_size} free", dir.display()),
            remedy,
        );
    }
    let live = running().len();
    let ours = tracefs.map_or(0, |tracefs| tracefs.our_instances().len());
    if ours <= live {
        let state = run_dir();
        findings.add(
            Verdict::Good,
            "leftovers",
            format_args!("{live} recordings are running; state in {}", state.display()),
            "",
        );
    } else {
        findings.add(
            Verdict::Less,
            "leftovers",
            format_args!("{live} recordings are running, but {ours} tracing instances of ours exist"),
            "ftrace-analyzer gc removes what killed recorders left",
        );
    }
}

fn check_hooks(findings: &mut Findings) {
    let (told, missing) = hooks::installed();
    match missing {
        None => findings.add(Verdict::Info, "hooks", format_args!("{told}"), ""),
        Some(program) => findings.add(
            Verdict::Less,
            "hooks",
            format_args!("{told}; they call {program}, which is missing: such containers do not start"),
            "ftrace-analyzer hooks install, or remove",
        ),
    }
}

fn check_cores(findings: &mut Findings) {
    let (told, is_wrong) = core_dump::owner::doctor(&run_dir());
    scarce(findings, is_wrong, "core-dumps", format_args!("{told}"), "ftrace-analyzer core status tells more");
}

pub fn main(args: &Args<'_>) -> Result<u8> {
    let json = args.has(Opt::Json).then(|| {
        let mut json = Json::new();
        json.begin_array();
        json
    });
    let mut findings = Findings { text: String::new(), json, bad: false };
    check_system(&mut findings);
    let tracefs = check_tracefs(&mut findings);
    if let Some(tracefs) = &tracefs {
        check_events(&mut findings, tracefs);
    }
    check_space(&mut findings, tracefs.as_ref(), &args::dir(args));
    check_hooks(&mut findings);
    check_cores(&mut findings);
    if let Some(mut checks) = findings.json {
        checks.end_array();
        let mut json = Json::new();
        json.begin_object().field_u64("schema", 1).field_bool("can_record", !findings.bad).key("checks");
        json.raw(&String::from_utf8_lossy(checks.as_bytes())).end_object().newline();
        out::print(json.as_bytes())?;
    } else {
        let negation = if findings.bad { "not " } else { "" };
        let _ = writeln!(findings.text, "containers can {negation}be recorded here");
        out::print(findings.text.as_bytes())?;
    }
    Ok(if findings.bad { exit::UNSUPPORTED } else { exit::OK })
}
