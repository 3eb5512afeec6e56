// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A process that joined a container: how that is known, and how it comes into the recording.
//!
//! `set_event_pid` takes a thread at once and returns only after RCU, some 10 ms, in which nobody else's write is taken: all
//! this happens in children of the recorder. A mark in the ring, before the thread's first event, tells reports what it is.
//! Source: kernel/trace/trace_events.c `event_pid_write`, `event_filter_pid_sched_process_exit`; namespaces(7).

use std::fs::File;

use nix::fcntl::OFlag;

use super::log::log;
use super::run_state::{run_dir, running, RunState};
use super::target::{cgroups_of, Target};
use crate::error::{Error, Kind, Result};
use crate::format::JOIN;
use crate::ids::Pid;
use crate::proc;
use crate::sys;
use crate::tracefs::{Instance, Tracefs};
use crate::words::next_part;

/// How long one join may wait for others, in milliseconds.
const TURN_WITHIN: u32 = 2_000;

/// How long the kernel may take to strike a task off its list that ended, in milliseconds.
const GOES_WITHIN: u32 = 400;

/// What a container's recorder tells in its state of how joins are known: its mount namespace and control groups.
pub(super) fn describe(state: &mut RunState, target: &Target) {
    let id = &target.container.id;
    if id.is_empty() {
        return;
    }
    let of = |pid| proc::link(pid, "ns/mnt");
    let own = of(target.init_pid);
    // What asked for the recording belongs to the runtime, as we do where nobody asked.
    let runtime = target.asked.map_or(std::process::id() as Pid, |asked| asked.by);
    // A container may do without a mount namespace, and then has the machine's or that of its runtime.
    if own != of(1) && own != of(runtime) {
        state.mnt_ns = own;
    }
    // A user may put any process of his into a control group of his, and root's may look into his mounts.
    if target.asked.is_some() {
        state.user_ns = proc::link(target.init_pid, "ns/user");
    }
    state.cgroups = cgroups_of(target.init_pid, id);
    // Nor need it have a control group of its own: what the runtime, which our hook is a child of, is in is not.
    let ours = proc::cgroups(runtime);
    state.cgroups.retain(|known| !is_within(&ours, known));
}

/// Whether one of these lines of /proc/PID/cgroup is the known one, or one below.
fn is_within(cgroups: &str, known: &str) -> bool {
    let mut rest = cgroups;
    while let Some(line) = next_part(&mut rest, "\n") {
        if line.strip_prefix(known).is_some_and(|below| below.is_empty() || below.starts_with('/')) {
            return true;
        }
    }
    false
}

impl RunState {
    /// Whether processes that join are followed.
    pub(super) fn takes_joins(&self) -> bool {
        !self.mnt_ns.is_empty() || !self.cgroups.is_empty()
    }

    /// Whether a process with this mount namespace and these control groups is in the container.
    pub(super) fn is_in(&self, pid: Pid, mnt_ns: &str, cgroups: &str) -> bool {
        let has_ns = !mnt_ns.is_empty() && mnt_ns == self.mnt_ns;
        (has_ns || self.cgroups.iter().any(|known| is_within(cgroups, known))) && self.may_have(pid)
    }

    /// Whether a process may be recorded for whoever the recording is: a user gets none but what is in his container's user
    /// namespace, which nothing leaves.
    fn may_have(&self, pid: Pid) -> bool {
        self.owner == 0 || (!self.user_ns.is_empty() && proc::link(pid, "ns/user") == self.user_ns)
    }
}

/// How well a container's recorder fits a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    /// The process is in its control group, or in one below: of a container within it, perhaps.
    Within,
    /// The process is the container's.
    Own,
}

/// The recorder of the container that a process is in: by its first process, by namespace, by an id and owner
/// that are known otherwise, or by control group, where the innermost one counts.
pub fn recorder_of(pid: Pid, cgroups: &str, id: &str, owner: u32) -> Option<(RunState, Fit)> {
    let mnt_ns = proc::link(pid, "ns/mnt");
    let mut best = None;
    let mut best_rank = (Fit::Within, 0);
    for state in running() {
        let is_named = state.container == id && state.owner == owner;
        let own = state.init_pid == pid || (!mnt_ns.is_empty() && mnt_ns == state.mnt_ns) || is_named;
        let depth = state.cgroups.iter().filter(|known| is_within(cgroups, known)).map(String::len).max().unwrap_or(0);
        let rank = (if own { Fit::Own } else { Fit::Within }, depth);
        // Whoever owns it may have given it any name.
        if state.container.is_empty() || (!own && depth == 0) || rank < best_rank || !state.may_have(pid) {
            continue;
        }
        best_rank = rank;
        best = Some((state, rank.0));
    }
    best
}

/// Adds what joined while nobody read.
pub(super) fn scan(tracefs: &Tracefs, states: &[RunState]) {
    for pid in proc::processes() {
        let (mnt_ns, cgroups) = (proc::link(pid, "ns/mnt"), proc::cgroups(pid));
        for state in states.iter().filter(|state| state.is_in(pid, &mnt_ns, &cgroups)) {
            join(tracefs, state, pid, false);
        }
    }
}

/// Adds a process's threads to a recording, each behind its mark; with `told` the kernel told of it just now.
pub(super) fn join(tracefs: &Tracefs, state: &RunState, tgid: Pid, told: bool) {
    // The first process is its recorder's own business, and when it is gone the container is.
    if tgid == state.init_pid || !proc::is_alive(state.init_pid) || !state.is_alive() {
        return;
    }
    let added = Instance::named(tracefs, &state.instance).and_then(|instance| add(&instance, state, tgid, told));
    if let Err(why) = added {
        // It may have ended meanwhile.
        if state.is_alive() && proc::is_alive(tgid) {
            log(&format!("process {tgid} joined container {} and is not recorded: {why}", state.container));
        }
    }
}

fn add(instance: &Instance, state: &RunState, tgid: Pid, told: bool) -> Result<()> {
    // Else it may be one that only makes the one that joins, and has done so.
    let inside = proc::link(tgid, "ns/mnt") == state.mnt_ns;
    let comm = proc::comm(tgid);
    let threads = proc::threads(tgid);
    // Of those that the kernel told of just now there is no time to ask: that would wait for others' writes.
    if !told && contains_all(&instance.pids()?, &threads) {
        return Ok(());
    }
    let turn = take_turn();
    if !proc::is_alive(tgid) {
        return if inside { mark(instance, (tgid, tgid), MISSED, &comm) } else { Ok(()) };
    }
    if makes_another(tgid) {
        return Ok(());
    }
    // Who knows a thread already, by a birth that was recorded, passes its mark over.
    for tid in &threads {
        mark(instance, (*tid, tgid), SET_UP, &proc::comm(*tid))?;
    }
    instance.add_pids(&threads)?;
    drop(turn);
    // The number may have become another's since we looked: nothing of that may be seen by who may not.
    if !state.may_have(tgid) && proc::is_alive(tgid) {
        instance.set_tracing(false)?;
        return Err(Error::new(
            Kind::Busy,
            "its number was given to another one meanwhile; the recording ends here".into(),
        ));
    }
    for tid in &threads {
        if proc::stat(*tid).is_none() {
            take_back(instance, (*tid, tgid), inside, &comm)?;
        }
    }
    // Those born meanwhile are listed, but their births may not have been recorded. A runtime's threads end with its execve;
    // where that came before the kernel knew the task, there may be threads that nobody knows.
    let (late, now) = (proc::runs_program_of(tgid, state.init_pid), proc::threads(tgid));
    for tid in &now {
        if late || !threads.contains(tid) {
            mark(instance, (*tid, tgid), if late { LATE } else { SET_UP }, &proc::comm(*tid))?;
        }
    }
    if late && !contains_all(&instance.pids()?, &now) {
        instance.add_pids(&now)?;
    }
    Ok(())
}

fn contains_all(pids: &[Pid], wanted: &[Pid]) -> bool {
    wanted.iter().all(|pid| pids.contains(pid))
}

/// Whether a process's children will be in another pid namespace: it only makes the one that joins, which tells of itself by
/// its birth. A write for this one would have that one's wait for RCU.
pub(super) fn makes_another(pid: Pid) -> bool {
    let children = proc::link(pid, "ns/pid_for_children");
    !children.is_empty() && children != proc::link(pid, "ns/pid")
}

/// A write waits for RCU, some 10 ms, and keeps all others waiting: who has to wait looks again whether it still makes
/// sense.
fn take_turn() -> Option<File> {
    let file = sys::open(&run_dir(), OFlag::O_RDONLY | OFlag::O_DIRECTORY).ok()?;
    for _ in 0..TURN_WITHIN {
        if sys::lock(&file).is_ok() {
            break;
        }
        sys::sleep_ms(1);
    }
    Some(file)
}

/// Takes a thread from the kernel's list that had ended before it came there. It would stay until the next task of this
/// number ends, and that may be anybody's. So that task is one of ours, which does nothing but end (5.5 and later). One that
/// ended later goes from the list by itself, once RCU lets go of it.
fn take_back(instance: &Instance, (tid, tgid): (Pid, Pid), inside: bool, comm: &str) -> Result<()> {
    for _ in 0..GOES_WITHIN / 20 {
        if !instance.pids()?.contains(&tid) {
            return Ok(());
        }
        sys::sleep_ms(20);
    }
    if tid == tgid && inside {
        mark(instance, (tgid, tgid), MISSED, comm)?;
    }
    sys::spend_pid(tid);
    Ok(())
}

const SET_UP: &str = " setup ";
const LATE: &str = " late ";
const MISSED: &str = " missed ";

fn mark(instance: &Instance, (tid, tgid): (Pid, Pid), how: &str, comm: &str) -> Result<()> {
    instance.mark(&[JOIN, &tid.to_string(), " ", &tgid.to_string(), how, comm].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_in_a_container_by_mount_namespace_or_control_group() {
        let state = RunState {
            mnt_ns: "mnt:[7]".into(),
            cgroups: vec!["4:memory:/pod/demo".into(), "0::/demo".into()],
            ..RunState::default()
        };
        let is_in = |cgroups: &str| state.is_in(1, "mnt:[8]", cgroups);
        assert!(state.is_in(1, "mnt:[7]", ""));
        assert!(is_in("5:cpu:/\n4:memory:/pod/demo\n"));
        assert!(is_in("4:memory:/pod/demo/below\n"));
        assert!(is_in("0::/demo\n"));
        for other in ["", "0::/\n", "0::/demo2\n", "5:memory:/pod/demo\n", "4:memory:/pod\n", "0::/x/demo\n"] {
            assert!(!is_in(other), "{other}");
        }
        assert!(!RunState::default().is_in(1, "", "0::/\n"));
        assert!(state.takes_joins() && !RunState::default().takes_joins());
    }

    #[test]
    fn a_users_recording_has_what_is_in_his_user_namespace_and_nothing_else() {
        let me = std::process::id() as Pid;
        let mut state = RunState { mnt_ns: "mnt:[7]".into(), owner: 1000, ..RunState::default() };
        assert!(!state.is_in(me, "mnt:[7]", ""), "where none is known there is none");
        state.user_ns = proc::link(me, "ns/user");
        assert!(state.is_in(me, "mnt:[7]", "") && !state.is_in(me, "mnt:[8]", ""));
        state.user_ns = "user:[8]".into();
        assert!(!state.is_in(me, "mnt:[7]", ""));
    }
}
