// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `doctor`: what this kernel and system can do, what is missing and how to get it.
//!
//! Looks and changes nothing, but for mounting tracefs where it is missing, which every recording would do as well.

use std::path::Path;

use super::args::Doctor;
use super::{out, units};
use crate::error::{exit, Result};
use crate::format::{parse_header_page, Schema};
use crate::json::Json;
use crate::proc;
use crate::recorder::{buffer_kb, run_dir, running, Origin, KERNEL_BUFFER_KB};
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

struct Check {
    verdict: Verdict,
    id: &'static str,
    finding: String,
    remedy: String,
}

#[derive(Default)]
struct Checks(Vec<Check>);

impl Checks {
    fn add(&mut self, verdict: Verdict, id: &'static str, finding: impl Into<String>, remedy: impl Into<String>) {
        self.0.push(Check { verdict, id, finding: finding.into(), remedy: remedy.into() });
    }

    /// A yes-or-no check.
    fn test(&mut self, good: bool, otherwise: Verdict, id: &'static str, yes: &str, no: &str, remedy: &str) {
        match good {
            true => self.add(Verdict::Good, id, yes, ""),
            false => self.add(otherwise, id, no, remedy),
        }
    }
}

fn check_system(checks: &mut Checks) {
    let (arch, _, release, _, machine) = proc::uname();
    checks.test(
        arch.is_some(),
        Verdict::Bad,
        "machine",
        &format!("Linux {release} on {machine}"),
        &format!("Linux {release} on {machine}: no system call tables"),
        "there are tables for x86_64, i386, aarch64 and arm",
    );
    checks.test(
        nix::unistd::geteuid().is_root(),
        Verdict::Less,
        "root",
        "running as root",
        "not running as root: recording needs write access to tracefs",
        "run as root, or mount tracefs with gid= for your group",
    );
    checks.test(
        proc::in_initial_pid_namespace(),
        Verdict::Bad,
        "pid-namespace",
        "the machine's own process numbers",
        "in a pid namespace: ftrace records numbers that are not seen here",
        "run on the host, not in a container",
    );
    let lockdown = std::fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
    if lockdown.contains("[confidentiality]") {
        checks.add(
            Verdict::Bad,
            "lockdown",
            "kernel lockdown is at confidentiality: tracefs is empty",
            "boot with lockdown=integrity or none",
        );
    }
    let cgroups =
        match (Path::new("/sys/fs/cgroup/cgroup.controllers").exists(), Path::new("/sys/fs/cgroup/unified").exists()) {
            (true, _) => "version 2",
            (false, true) => "version 1 and 2 (hybrid)",
            (false, false) => "version 1, or none mounted",
        };
    checks.add(Verdict::Info, "cgroups", format!("control groups: {cgroups}"), "");
}

fn check_tracefs(checks: &mut Checks) -> Option<Tracefs> {
    match Tracefs::open() {
        Ok(tracefs) => {
            checks.add(Verdict::Good, "tracefs", format!("tracefs at {}", tracefs.root().display()), "");
            Some(tracefs)
        }
        Err(error) => {
            checks.add(Verdict::Bad, "tracefs", error.to_string(), error.hint.unwrap_or_default());
            None
        }
    }
}

fn check_events(checks: &mut Checks, tracefs: &Tracefs) {
    checks.test(
        tracefs.has_event("raw_syscalls", "sys_enter") && tracefs.has_event("raw_syscalls", "sys_exit"),
        Verdict::Bad,
        "raw-syscalls",
        "raw_syscalls events (enter and exit of every call, of 32-bit programs too)",
        "no raw_syscalls events",
        "build the kernel with CONFIG_FTRACE_SYSCALLS=y (or any option that selects CONFIG_EVENT_TRACING)",
    );
    let missing: Vec<String> = Schema::EVENTS
        .iter()
        .filter(|(system, name)| *system != "raw_syscalls" && !tracefs.has_event(system, name))
        .map(|(system, name)| format!("{system}:{name}"))
        .collect();
    checks.test(
        missing.is_empty(),
        Verdict::Less,
        "task-events",
        "events of the scheduler and signals (forks, program starts, ends and their reasons)",
        &format!("missing events: {}", missing.join(", ")),
        "tasks keep their first names and ends stay unexplained",
    );
    checks.test(
        tracefs.read_top("set_event_pid").is_some(),
        Verdict::Bad,
        "set-event-pid",
        "filter by task, inherited by children",
        "no set_event_pid",
        "a kernel of 4.7 or later is needed",
    );
    let header = tracefs.read_top("events/header_page").unwrap_or_default();
    match parse_header_page(&header) {
        Ok(layout) => {
            let text = format!(
                "sub-buffers of {} bytes, {}-bit words",
                layout.subbuf_size(),
                u32::from(layout.long_size()) * 8
            );
            checks.add(Verdict::Good, "page-layout", text, "");
        }
        Err(why) => checks.add(Verdict::Bad, "page-layout", format!("events/header_page: {why}"), "please report this"),
    }
    checks.test(
        tracefs.read_top("buffer_subbuf_size_kb").is_some(),
        Verdict::Less,
        "subbuf-size",
        "sub-buffer size can be chosen: run and attach use 64 KiB, which costs the traced task least",
        "sub-buffer size is fixed (kernels before 6.8)",
        "under more than a million events a second use a larger --buffer-size-kb",
    );
    let clock = tracefs.default_clock();
    checks.add(Verdict::Info, "clock", format!("trace clock: {clock}"), "");
}

fn check_room(checks: &mut Checks, tracefs: Option<&Tracefs>, dir: &Path) {
    let cpus = tracefs.map_or(1, Tracefs::cpu_count);
    let available = proc::mem_available_kb().unwrap_or(u64::MAX);
    let hook = buffer_kb(Origin::Hook, KERNEL_BUFFER_KB, available, cpus);
    let run = buffer_kb(Origin::Run, KERNEL_BUFFER_KB, available, cpus);
    let short = hook < KERNEL_BUFFER_KB;
    checks.add(
        if short { Verdict::Less } else { Verdict::Info },
        "buffers",
        format!(
            "ring buffers on each of {cpus} CPUs: {hook} KiB for hooks, {run} KiB for run and attach; {} of memory available",
            units::show_size(available.saturating_mul(1024))
        ),
        if short { "memory is short: fewer recordings at once lose less" } else { "" },
    );
    // The nearest directory that exists tells the file system.
    let existing = dir.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/"));
    if let Ok(fs) = nix::sys::statvfs::statvfs(existing) {
        // Both are 32 bits wide on 32-bit targets.
        #[allow(clippy::useless_conversion)]
        let free = u64::from(fs.blocks_available()).saturating_mul(u64::from(fs.fragment_size()));
        let short = free < 64 << 20;
        checks.add(
            if short { Verdict::Less } else { Verdict::Info },
            "disk",
            format!("recordings in {}, {} free", dir.display(), units::show_size(free)),
            if short { "name another place with --dir, or lower --max-size" } else { "" },
        );
    }
    let live = running().len();
    let ours = tracefs.map_or(0, |tracefs| tracefs.our_instances().len());
    checks.test(
        ours <= live,
        Verdict::Less,
        "leftovers",
        &format!("{live} recordings are running; state in {}", run_dir().display()),
        &format!("{live} recordings are running, but {ours} tracing instances of ours exist"),
        "ftrace-analyzer gc removes what killed recorders left",
    );
}

pub fn main(args: &Doctor) -> Result<u8> {
    let mut checks = Checks::default();
    check_system(&mut checks);
    let tracefs = check_tracefs(&mut checks);
    if let Some(tracefs) = &tracefs {
        check_events(&mut checks, tracefs);
    }
    check_room(&mut checks, tracefs.as_ref(), &args.dir);
    let bad = checks.0.iter().any(|check| check.verdict == Verdict::Bad);
    if args.json {
        let mut json = Json::new();
        json.begin_object().field_u64("schema", 1).field_bool("can_record", !bad).key("checks").begin_array();
        for check in &checks.0 {
            json.begin_object().field_str("id", check.id).field_str("verdict", check.verdict.name());
            json.field_str("finding", &check.finding).field_str("remedy", &check.remedy).end_object();
        }
        json.end_array().end_object().newline();
        out::print(json.as_bytes())?;
    } else {
        let mut text = String::new();
        for check in &checks.0 {
            text.push_str(&format!("{:<8} {}\n", check.verdict.name(), check.finding));
            if !check.remedy.is_empty() {
                text.push_str(&format!("{:<8} -> {}\n", "", check.remedy));
            }
        }
        text.push_str(if bad { "containers can not be recorded here\n" } else { "containers can be recorded here\n" });
        out::print(text.as_bytes())?;
    }
    Ok(if bad { exit::UNSUPPORTED } else { exit::OK })
}
