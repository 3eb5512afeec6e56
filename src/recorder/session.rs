// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Setting a recording up: everything is checked first, and what was made is undone when a later step fails.
//!
//! The order loses nothing and costs least: instance, sub-buffer size, buffer, clock, files, pipes, event-fork, pids,
//! events of the scheduler and signals, system calls last. Measured 8 to 10 ms for a hook on 6.18 (docs/kernel-support.md).

use std::fs::File;
use std::path::Path;

use super::buffers::DATA_NOTE;
use super::control;
use super::counter::Counter;
use super::drain::Drain;
use super::event_filter;
use super::histograms::Plan;
use super::joiner;
use super::memory;
use super::options::{Mode, RecordOptions};
use super::quiet::Quiet;
use super::run_state::RunState;
use super::strings::{self, Prepared, Strings, NONE};
use super::target::{Origin, Target};
use crate::calendar::Utc;
use crate::error::{Error, Kind, Result};
use crate::format::Schema;
use crate::ids::{CpuId, Pid};
use crate::proc;
use crate::recording::{
    create_base, Anchor, EndState, Formats, HostMeta, Meta, MetaFile, PageMeta, Store, FORMAT_VERSION, HEADER_EVENT,
    HEADER_PAGE,
};
use crate::sys::{self, realtime_ns};
use crate::tracefs::{Instance, Tracefs, INSTANCE_PREFIX};

/// Sub-buffer size for `run` and `attach` where the kernel lets us choose (6.8 and later), in KiB: a traced call costs a
/// tenth less than with 4 (docs/ring-buffer.md has the table).
const SUBBUF_KB: u32 = 64;
// Hooks leave both as the kernel made them: either change waits for RCU, 5 to 20 ms each, while the container waits for us.

/// Fill level in percent at which the kernel wakes us.
pub(super) const WAKE_PERCENT: u8 = 25;

/// A recording in progress.
#[derive(Debug)]
pub struct Session {
    pub(super) tracefs: Tracefs,
    pub(super) instance: Instance,
    pub(super) cpus: Vec<CpuId>,
    pub(super) drain: Drain,
    pub(super) store: Store,
    pub(super) meta: Box<Meta>,
    pub(super) meta_file: MetaFile,
    pub(super) state: RunState,
    /// The control socket; of a user's recording there are two.
    pub(super) listeners: Vec<File>,
    pub(super) mode: Mode,
    /// In modes that only count.
    pub(super) counter: Option<Box<Counter>>,
    /// In mode `profile`.
    pub(super) quiet: Option<Box<Quiet>>,
}

/// Removes the instance, and probes that nobody else uses, unless it was disarmed.
struct Undo<'a>(Option<(&'a Tracefs, &'a Instance)>);

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        if let Some((tracefs, instance)) = self.0 {
            let _ = instance.remove();
            strings::release(tracefs);
        }
    }
}

/// Reads trace clock and wall clock as close together as can be.
pub(super) fn read_anchor(instance: &Instance, cpu: CpuId) -> Option<Anchor> {
    // The shortest of a few tries: the one least disturbed in between.
    let mut best: Option<(u64, Anchor)> = None;
    for _ in 0..3 {
        let before = realtime_ns();
        let now = instance.stats(cpu).ok()?.now?;
        let width = realtime_ns().saturating_sub(before);
        if !best.is_some_and(|(known, _)| known <= width) {
            best = Some((width, Anchor { trace_ns: now, realtime_ns: before + width / 2 }));
        }
    }
    best.map(|(_, anchor)| anchor)
}

/// `20261123T030617.123`, UTC.
fn start_stamp(realtime_ns: u64) -> String {
    format!("{}.{:03}", Utc::from_unix(realtime_ns / 1_000_000_000).compact(), realtime_ns / 1_000_000 % 1000)
}

/// The kernel's descriptions of the events, as they are in this instance.
pub(super) fn read_formats(instance: &Instance) -> Result<Formats> {
    let mut formats = Formats::default();
    formats.push(HEADER_PAGE, &instance.read(HEADER_PAGE)?);
    if let Ok(text) = instance.read(HEADER_EVENT) {
        formats.push(HEADER_EVENT, &text);
    }
    for &(system, name) in Schema::EVENTS.iter().chain([&Schema::MARK]) {
        let path = format!("events/{system}/{name}/format");
        if let Ok(text) = instance.read(&path) {
            formats.push(&path, &text);
        }
    }
    // Checked now: a recording that cannot be decoded is worth nothing.
    formats.schema()?;
    Ok(formats)
}

impl Session {
    /// Sets everything up; when this returns, the target's calls are recorded.
    pub fn start(target: &Target, options: &RecordOptions) -> Result<Session> {
        check_first(target, options)?;
        let tracefs = Tracefs::open()?;
        if !tracefs.has_event("raw_syscalls", "sys_enter") {
            return Err(Error::unsupported("the raw_syscalls events").hint(
                "build the kernel with CONFIG_FTRACE_SYSCALLS, or any tracer that selects CONFIG_EVENT_TRACING; \
                 under lockdown=confidentiality tracefs is empty",
            ));
        }
        let (arch, _, release, ..) = proc::uname();
        memory::check_room(&release, tracefs.cpu_count(), memory::available_kb())?;
        sys::hold_signals();
        let (unit, instance) = make_instance(&tracefs, &target.label)?;
        let mut undo = Undo(Some((&tracefs, &instance)));
        let (plan, note) = match arch.filter(|_| options.mode.counts()) {
            Some(arch) => Plan::make(&instance, options, target, arch)?,
            None => (Plan::default(), event_filter::apply(&instance, options, arch)),
        };
        let (buffer_kb, mut notes) = configure(&tracefs, &instance, options, target.origin, plan.hist)?;
        notes.extend(note);
        let cpus = instance.cpus()?;
        let mut formats = read_formats(&instance)?;
        let mut prepared = Prepared::default();
        // The events of strings know no filter of ours.
        let has_contents = !options.mode.counts() && options.mode != Mode::Profile;
        let strings = if has_contents { options.strings } else { Strings::Off };
        if let Err(why) = prepared.set_up(&tracefs, &instance, strings, formats.layout()?.long_size()) {
            notes.push(format!("strings are not recorded: {why}"));
        }
        if options.data > 0 && has_contents {
            let done = prepared.set_up_data(&tracefs, options.data, formats.layout()?.long_size());
            if done.is_err() || prepared.data_means == NONE {
                let why = done.err().map(|why| why.to_string());
                let why = why.as_deref().unwrap_or("this kernel has no probes of its functions (CONFIG_KPROBE_EVENTS)");
                notes.push([DATA_NOTE, ": ", why].concat());
            }
        }
        prepared.describe(&instance, &mut formats);
        let mut meta = describe(target, options, &instance, &formats, buffer_kb, cpus.len())?;
        meta.problems = notes;
        meta.options.strings = prepared.means.to_owned();
        meta.options.data_means = prepared.data_means.to_owned();
        let mut counter = None;
        if options.mode.counts() {
            meta.options.counted_by = plan.means().to_owned();
            counter = Some(Box::new(Counter::new(&meta, &formats, cpus.len(), None)?));
        }
        let quiet = match options.mode {
            Mode::Profile => Some(Box::new(Quiet::new(&meta, &formats, cpus.len())?)),
            _ => None,
        };
        let first_cpu = cpus.first().copied().unwrap_or_default();
        meta.anchors.extend(read_anchor(&instance, first_cpu));
        let (store, meta_file) = Store::create(&options.dir, &unit, &formats, &mut meta, &cpus)?;
        let mut state = RunState::for_this_process(&store.dir, target, instance.name());
        // A join begins with calls of the runtime's, which histograms have no place for.
        if target.origin != Origin::Run && !plan.hist {
            joiner::describe(&mut state, target);
        }
        let begun = begin(target, &instance, &cpus, &meta, (&prepared, &plan), &mut state);
        drop(prepared);
        let (drain, listeners) = match begun {
            Ok(parts) => parts,
            Err(why) => {
                state.withdraw();
                let _owner = sys::as_owner();
                let _ = sys::remove_dir_with_files(&store.dir);
                return Err(why);
            }
        };
        undo.0 = None;
        drop(undo);
        Ok(Session {
            tracefs,
            instance,
            cpus,
            drain,
            store,
            meta,
            meta_file,
            state,
            listeners,
            mode: options.mode,
            counter,
            quiet,
        })
    }

    /// The recording's directory.
    pub fn dir(&self) -> &Path {
        &self.store.dir
    }

    /// What other invocations see of this recorder.
    pub fn state(&self) -> &RunState {
        &self.state
    }
}

/// Makes the instance; its name is the recording's, which it gives too. Two commands of the same name may start in the
/// same millisecond (a parallel make): the later one takes the next that is free.
fn make_instance(tracefs: &Tracefs, label: &str) -> Result<(String, Instance)> {
    let mut stamp = realtime_ns();
    let last = stamp + 64 * 1_000_000;
    loop {
        let unit = format!("{label}-{}", start_stamp(stamp));
        match Instance::create(tracefs, &format!("{INSTANCE_PREFIX}{unit}")) {
            Err(why) if why.kind() == Kind::Busy && stamp < last => stamp += 1_000_000,
            made => return made.map(|instance| (unit, instance)),
        }
    }
}

/// What can be refused before anything is made.
fn check_first(target: &Target, options: &RecordOptions) -> Result<()> {
    let (arch, _, _, _, machine) = proc::uname();
    if arch.is_none() {
        return Err(Error::unsupported(format!("system call tables for the machine {machine}")));
    }
    if !proc::in_initial_pid_namespace() {
        return Err(Error::unsupported("the machine's own process numbers in this pid namespace")
            .hint("ftrace records global process ids; run ftrace-analyzer on the host, not in a container"));
    }
    if !proc::is_alive(target.init_pid) {
        return Err(Error::not_found(format!("process {}", target.init_pid)));
    }
    if options.mode == Mode::Profile && (options.syscalls.is_some() || options.errors_only) {
        return Err(Error::usage("mode profile records the first of all calls, without --syscalls and --errors-only"));
    }
    create_base(&options.dir)
}

/// Sizes and clock; gives the buffer size per CPU in KiB and what the user should know.
fn configure(
    tracefs: &Tracefs,
    instance: &Instance,
    options: &RecordOptions,
    mut origin: Origin,
    hist: bool,
) -> Result<(u64, Vec<String>)> {
    let mut notes = Vec::new();
    if hist {
        // Next to nothing comes through the buffers.
        origin = Origin::Hook;
    }
    // Small ones where all CPUs' are in memory, too.
    let in_a_hurry = (origin == Origin::Hook && options.buffer_size_kb.is_none()) || options.mode == Mode::Profile;
    if !in_a_hurry {
        if let Err(why) = instance.set_subbuf_size_kb(SUBBUF_KB) {
            // Contiguous pages can be short on a small machine; single ones do as well, at more cost.
            notes.push(format!("sub-buffers stay at the kernel's size: {why}"));
        }
    }
    if let Some(kb) = options.buffer_size_kb {
        memory::check_asked(kb, instance.cpus()?.len() as u64, memory::available_kb())?;
        instance.set_buffer_size_kb(kb)?;
    } else if let (Some(have), Some(available)) = (instance.buffer_size_kb(), memory::available_kb()) {
        let chosen = memory::buffer_kb(origin, have, available, instance.cpus()?.len() as u64);
        if chosen < have {
            notes.push(format!(
                "{available} KiB of memory are available: buffers cut from {have} to {chosen} KiB a CPU"
            ));
        }
        if chosen != have {
            instance.set_buffer_size_kb(chosen)?;
        }
    }
    // With histograms there are only the events of tasks, and their programs are looked at while they run.
    instance.set_buffer_percent(if hist { 0 } else { WAKE_PERCENT })?;
    let clock = tracefs.default_clock();
    if clock == "global" && instance.clock() != clock {
        // The kernel found the CPUs' clocks to differ and switched its own instance; ours has to follow.
        instance.set_clock(&clock)?;
    }
    instance.set_event_fork(true)?;
    Ok((instance.buffer_size_kb().unwrap_or(0), notes))
}

fn describe(
    target: &Target,
    options: &RecordOptions,
    instance: &Instance,
    formats: &Formats,
    buffer_kb: u64,
    cpus: usize,
) -> Result<Box<Meta>> {
    let (_, node, release, version, machine) = proc::uname();
    let layout = formats.layout()?;
    let mut meta = Box::new(Meta {
        format_version: FORMAT_VERSION,
        tool: concat!("ftrace-analyzer ", env!("CARGO_PKG_VERSION")).to_owned(),
        name: options.name.clone().unwrap_or_else(|| target.label.clone()),
        origin: target.origin.name().to_owned(),
        container: target.container.clone(),
        command: target.command.clone(),
        init_pid: target.init_pid,
        starts_in_runtime: target.starts_in_runtime,
        host: HostMeta { node, release, version, machine, boot_id: proc::boot_id(), cpus: cpus as u16 },
        page: PageMeta {
            commit_offset: u32::from(layout.commit_offset),
            commit_size: u32::from(layout.commit_size),
            data_offset: u32::from(layout.data_offset),
            data_size: layout.data_size,
        },
        clock: instance.clock(),
        options: options.to_meta(buffer_kb),
        tasks: target.initial_tasks(&target.threads()),
        ..Meta::default()
    });
    meta.set_state(EndState::Running);
    Ok(meta)
}

/// The part that makes this recorder known and switches recording on.
fn begin(
    target: &Target,
    instance: &Instance,
    cpus: &[CpuId],
    meta: &Meta,
    (prepared, plan): (&Prepared, &Plan),
    state: &mut RunState,
) -> Result<(Drain, Vec<File>)> {
    let drain = Drain::open(instance, cpus, meta.layout()?.subbuf_size())?;
    state.publish()?;
    let listeners = control::listen(state)?;
    add_all_threads(target, instance)?;
    check_owner(target, instance)?;
    for &(system, name) in Schema::EVENTS {
        let is_wanted =
            !meta.counts_only() || matches!(name, "sched_process_fork" | "sched_process_exec" | "sched_process_exit");
        if system != "raw_syscalls" && is_wanted && instance.has(&format!("events/{system}/{name}/enable")) {
            instance.enable_event(system, name, true)?;
        }
    }
    prepared.switch_on(instance);
    match meta.counts_only() {
        true => plan.switch_on(instance)?,
        // Enter and exit together.
        false => instance.enable_event("raw_syscalls", "", true)?,
    }
    if !proc::is_alive(target.init_pid) {
        return Err(Error::not_found(format!("process {} (it ended while tracing was set up)", target.init_pid)));
    }
    Ok((drain, listeners))
}

/// Adds the target's threads until no new one shows: a listed thread's children are added by the kernel, but one that
/// was not listed yet may have started another meanwhile.
fn add_all_threads(target: &Target, instance: &Instance) -> Result<()> {
    let mut known: Vec<Pid> = Vec::new();
    // Each turn needs a thread that an unlisted thread started within microseconds; 16 is more than any seen.
    for _ in 0..16 {
        let new: Vec<Pid> = target.threads().into_iter().filter(|tid| !known.contains(tid)).collect();
        if new.is_empty() {
            break;
        }
        instance.add_pids(&new)?;
        known.extend(new);
    }
    if known.is_empty() {
        return Err(Error::not_found(format!("process {}", target.init_pid)));
    }
    Ok(())
}

/// For a user: whether all that is listed now, before the first event, is his. A number that was his process's may be
/// another's by now, or the next one's to come.
fn check_owner(target: &Target, instance: &Instance) -> Result<()> {
    let Some(asked) = &target.asked else { return Ok(()) };
    let mut pids = instance.pids()?;
    pids.retain(|pid| !proc::is_within_users(*pid, asked.user).unwrap_or(false));
    if !pids.is_empty() {
        // What ended meanwhile is struck off.
        let listed = instance.pids()?;
        pids.retain(|pid| listed.contains(pid));
    }
    if pids.is_empty() && asked.is_still(target.init_pid) {
        return Ok(());
    }
    Err(Error::not_found(format!("process {} (it ended while tracing was set up)", target.init_pid)))
}
