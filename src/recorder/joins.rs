// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Processes that join a running container (`runc exec`, `kubectl exec`, probes): they are children of the runtime, which
//! event-fork does not see.
//!
//! One small tracing instance for the machine tells of tasks that were put into a control group or made by a container
//! runtime. One recorder at a time reads it, for all; the others wait for its end. What may be a join is looked up in
//! /proc: a task whose mount namespace is that of a container that is recorded, or whose control group is the container's
//! or below it, joined it. Its threads are added to that container's recording, behind a mark that tells so.
//! Source: kernel/cgroup/cgroup.c `cgroup_migrate_execute` (no event of CLONE_INTO_CGROUP), kernel/fork.c
//! `copy_process`; runc libcontainer/nsenter/nsexec.c, process_linux.go; crun src/libcrun/container.c.

use std::ffi::OsString;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::fcntl::OFlag;
use nix::sys::signal::Signal;

use super::control::Client;
use super::joiner::{join, makes_another, scan};
use super::log::log;
use super::memory;
use super::run_state::{all_states, run_dir, running, RunState};
use crate::error::{Error, Kind, Result};
use crate::ids::Pid;
use crate::proc;
use crate::sys::{self, Forked};
use crate::tracefs::{Instance, Tracefs, INSTANCE_PREFIX};
use crate::words::{next_part, number, split_once, trim};

/// The file in the run directory that the reading recorder has locked, with its process number in it.
const LOCK: &str = "joins";

/// Buffer per CPU of the watching instance, in KiB: room for some hundred events.
const BUFFER_KB: u64 = 64;

/// Which new tasks may be joins: those made in a control group (CLONE_INTO_CGROUP), and those that a container runtime
/// makes, by its name. The first is refused where clone's flags have 32 bits.
const MADE_IN_CGROUP: &str = "clone_flags & 0x200000000 || ";
const MADE_BY_RUNTIME: &str = "comm ~ \"*runc*\" || comm ~ \"*crun*\" || comm ~ \"*youki*\"";

/// How often the reading recorder is looked for while it is not known, in milliseconds.
const LOOK_EVERY: u64 = 100;

/// Most reads of the watch in one turn.
const READS: u32 = 8;

/// Processes that were looked at last: a join shows as a dozen events, one for each hierarchy of version 1.
const RECENT: usize = 64;

/// How often the instance is tried to be removed while somebody has it open, and how long between, in milliseconds.
const BUSY_TURNS: u32 = 20;
const BUSY_PAUSE: u16 = 10;

/// What this recorder has to do with joins.
#[derive(Debug)]
enum Stage {
    /// Nothing: the watch failed.
    Off,
    /// Another one reads; its end shows.
    Waits(Option<OwnedFd>),
    /// A child sets the watch up; it says why not, if so, and ends.
    Prepares(File),
    /// The watch's lines.
    Reads(File),
}

/// The watch for joins as one recorder sees it.
#[derive(Debug)]
pub(super) struct Joins {
    tracefs: Tracefs,
    lock: File,
    stage: Stage,
    /// Recorders known by their state directories.
    states: Vec<RunState>,
    /// What lay in the run directory when they were read.
    names: Vec<OsString>,
    /// A state was not there yet.
    incomplete: bool,
    /// The beginning of a line whose end is still to be read.
    begun: Vec<u8>,
    /// Processes looked at, with their start times.
    recent: Vec<(Pid, u64)>,
    next: usize,
    last_look: u64,
}

/// The watching instance's name: one for each run directory.
fn instance_name() -> String {
    let (device, inode) = sys::status(&run_dir()).map_or((0, 0), |status| status.id);
    format!("{INSTANCE_PREFIX}joins-{device}-{inode}")
}

fn open_lock() -> Result<File> {
    let path = run_dir().join(LOCK);
    sys::open(&path, OFlag::O_RDWR | OFlag::O_CREAT).map_err(|why| Error::io("open", &path, why))
}

/// Does something in a child that keeps only this descriptor: it may wait for RCU, for which a recorder has no time.
fn in_child(keep: &[RawFd], job: &mut dyn FnMut()) -> std::io::Result<()> {
    match sys::fork()? {
        Forked::Child => {
            sys::close_others(keep);
            job();
            sys::exit(0)
        }
        Forked::Parent(_) => Ok(()),
    }
}

impl Joins {
    /// The watch, for a recorder whose state tells how joins are known.
    pub fn new(tracefs: &Tracefs, state: &RunState) -> Option<Joins> {
        let lock = open_lock().ok().filter(|_| state.takes_joins())?;
        // Nobody waits for our children.
        sys::ignore_signal(Signal::SIGCHLD);
        Some(Joins {
            tracefs: tracefs.clone(),
            lock,
            stage: Stage::Waits(None),
            states: Vec::new(),
            names: Vec::new(),
            incomplete: false,
            begun: Vec::new(),
            recent: Vec::new(),
            next: 0,
            last_look: 0,
        })
    }

    /// For poll(2).
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.stage {
            Stage::Waits(Some(reader)) => Some(reader.as_fd()),
            Stage::Prepares(file) | Stage::Reads(file) => Some(file.as_fd()),
            Stage::Waits(None) | Stage::Off => None,
        }
    }

    /// Longest time until the next [`Joins::turn`].
    pub fn patience(&self) -> u64 {
        match &self.stage {
            Stage::Waits(None) => LOOK_EVERY,
            _ => u64::MAX,
        }
    }

    /// Does what is to be done; `ready`: what [`Joins::fd`] gave is. An error where joins will not be seen.
    pub fn turn(&mut self, ready: bool) -> Result<()> {
        let done = match &self.stage {
            Stage::Off => Ok(()),
            Stage::Waits(_) => self.wait(ready),
            Stage::Prepares(_) => self.prepared(),
            Stage::Reads(_) if ready => self.read(),
            Stage::Reads(_) => Ok(()),
        };
        if done.is_err() {
            self.stage = Stage::Off;
            sys::unlock(&self.lock);
        }
        done
    }

    /// Takes the reader's place if it is free.
    fn wait(&mut self, ready: bool) -> Result<()> {
        if sys::lock(&self.lock).is_ok() {
            return self.prepare();
        }
        if ready {
            self.stage = Stage::Waits(None);
        }
        let now = sys::monotonic_ms();
        if matches!(self.stage, Stage::Waits(None)) && now - self.last_look >= LOOK_EVERY {
            self.last_look = now;
            self.stage = Stage::Waits(self.reader().and_then(|pid| sys::pidfd_open(pid).ok()));
        }
        Ok(())
    }

    fn reader(&mut self) -> Option<Pid> {
        self.lock.seek(SeekFrom::Start(0)).ok()?;
        let text = sys::read_on(&self.lock, 64).ok()?;
        let pid = number(trim(core::str::from_utf8(&text).ok()?))? as Pid;
        proc::is_alive(pid).then_some(pid)
    }

    /// Has a child set the watch up, and look for those that joined before.
    fn prepare(&mut self) -> Result<()> {
        let me = std::process::id().to_string();
        let _ = sys::set_len(&self.lock, 0);
        let _ = self.lock.seek(SeekFrom::Start(0)).and_then(|_| self.lock.write_all(me.as_bytes()));
        let (ready, said) = sys::pipe(OFlag::O_NONBLOCK).map_err(|why| Error::sys("make a pipe", why))?;
        self.look_for_states();
        let (tracefs, states) = (&self.tracefs, &self.states);
        let mut said = File::from(said);
        let keep = [said.as_raw_fd()];
        in_child(&keep, &mut || match set_up(tracefs) {
            Ok(()) => scan(tracefs, states),
            Err(why) => {
                let _ = said.write_all(why.to_string().as_bytes());
            }
        })
        .map_err(|why| Error::sys("start a process", why))?;
        self.stage = Stage::Prepares(File::from(ready));
        Ok(())
    }

    /// Opens the watch once the child has ended.
    fn prepared(&mut self) -> Result<()> {
        let Stage::Prepares(said) = &mut self.stage else { return Ok(()) };
        let mut text = [0; 512];
        match said.read(&mut text) {
            Err(why) if why.kind() == ErrorKind::WouldBlock => Ok(()),
            Ok(count) if count > 0 => {
                let why = String::from_utf8_lossy(text.get(..count).unwrap_or_default()).into_owned();
                Err(Error::new(Kind::Busy, why))
            }
            _ => {
                self.stage = Stage::Reads(Instance::named(&self.tracefs, &instance_name())?.open_lines()?);
                // What came meanwhile waits in the buffer.
                self.read()
            }
        }
    }

    /// Takes the watch's lines and looks the tasks up.
    fn read(&mut self) -> Result<()> {
        let Stage::Reads(lines) = &mut self.stage else { return Ok(()) };
        let mut chunk = [0; 4 << 10];
        let mut pids = Vec::new();
        // A flood must not keep the recorder from its ring: what is left wakes it again.
        for _ in 0..READS {
            let Ok(count) = lines.read(&mut chunk) else { break };
            self.begun.extend_from_slice(chunk.get(..count).unwrap_or_default());
            let end = self.begun.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            let behind = self.begun.split_off(end);
            let text = std::mem::replace(&mut self.begun, behind);
            let text = String::from_utf8_lossy(&text);
            let mut rest: &str = &text;
            while let Some(line) = next_part(&mut rest, "\n") {
                find_pids(line, &mut pids);
            }
        }
        if pids.is_empty() {
            return Ok(());
        }
        self.look_for_states();
        for pid in pids {
            self.look_at(pid);
        }
        Ok(())
    }

    /// Brings the list of recorders up to date. A state is written once, behind its directory.
    fn look_for_states(&mut self) {
        let names = sys::names(&run_dir()).unwrap_or_default();
        if names != self.names || self.incomplete {
            let (states, unreadable) = all_states();
            self.incomplete = !unreadable.is_empty();
            self.states = states;
            self.names = names;
        }
    }

    /// Adds the process of a task to the recordings of the containers that it is in.
    fn look_at(&mut self, tid: Pid) {
        let Some(tgid) = proc::thread_group(tid) else { return };
        let mnt_ns = proc::link(tgid, "ns/mnt");
        let cgroups = proc::cgroups(tgid);
        if !self.states.iter().any(|state| state.is_in(tgid, &mnt_ns, &cgroups)) {
            return;
        }
        let Some(stat) = proc::stat(tgid).filter(|stat| stat.state != 'Z') else { return };
        let start = stat.start_time;
        if self.recent.contains(&(tgid, start)) {
            return;
        }
        if makes_another(tgid) {
            return;
        }
        let (tracefs, states) = (&self.tracefs, &self.states);
        let mut add = || {
            for state in states {
                if state.is_in(tgid, &mnt_ns, &cgroups) {
                    join(tracefs, state, tgid, true);
                }
            }
        };
        // The process is a millisecond from its program.
        sys::run_first(true);
        let made = in_child(&[], &mut add);
        sys::run_first(false);
        if made.is_err() {
            return;
        }
        match self.recent.get_mut(self.next) {
            Some(place) => *place = (tgid, start),
            None => self.recent.push((tgid, start)),
        }
        self.next = (self.next + 1) % RECENT;
    }

    /// Leaves the watch to another recorder, which wakes up by it. What joins in between waits in the buffer.
    pub fn release(&mut self) {
        let read = matches!(self.stage, Stage::Prepares(_) | Stage::Reads(_));
        self.stage = Stage::Off;
        sys::unlock(&self.lock);
        if read {
            let me = std::process::id() as Pid;
            for state in running() {
                if state.takes_joins() && state.recorder_pid != me && Client::connect(&state).is_ok() {
                    break;
                }
            }
        }
    }

    /// Removes the watch if this was the last recorder; its state must be gone.
    pub fn tidy(&mut self) {
        if sys::lock(&self.lock).is_err() || running().iter().any(RunState::takes_joins) {
            return;
        }
        if let Ok(instance) = Instance::named(&self.tracefs, &instance_name()) {
            if sys::is_dir(instance.path()) {
                // The process that lists what joins may have it open for a moment yet; one that still has is another
                // recorder's, which removes it when it ends.
                for _ in 0..BUSY_TURNS {
                    match instance.remove() {
                        Err(why) if why.kind() == Kind::Busy => sys::sleep_ms(BUSY_PAUSE),
                        Err(why) => return log(&why.to_string()),
                        Ok(()) => return,
                    }
                }
            }
        }
    }
}

/// The task that a line of the watch is about. A name in it may look like a number: all are looked up, and are no joins.
fn find_pids(line: &str, pids: &mut Vec<Pid>) {
    // A thread of a process that is known, or will be: the flag CLONE_THREAD, 0x10000.
    if let Some((_, flags)) = split_once(line, " clone_flags=") {
        let end = flags.find(' ').unwrap_or(flags.len());
        let digit = end.checked_sub(5).and_then(|at| flags.as_bytes().get(at));
        if digit.and_then(|digit| char::from(*digit).to_digit(16)).is_some_and(|digit| digit & 1 != 0) {
            return;
        }
    }
    let mut rest = line;
    while let Some((_, behind)) = split_once(rest, " pid=") {
        let end = behind.find(|char: char| !char.is_ascii_digit()).unwrap_or(behind.len());
        let pid = behind.get(..end).and_then(number).and_then(|pid| Pid::try_from(pid).ok());
        pids.extend(pid.filter(|pid| !pids.contains(pid)));
        rest = behind;
    }
}

/// Makes the watching instance, unless it is there from another recorder.
fn set_up(tracefs: &Tracefs) -> Result<()> {
    let instance = Instance::named(tracefs, &instance_name())?;
    // The last step.
    if instance.read("events/task/task_newtask/enable").is_ok_and(|on| on.starts_with('1')) {
        return Ok(());
    }
    let (_, _, release, ..) = proc::uname();
    memory::check_room(&release, tracefs.cpu_count(), memory::available_kb())?;
    match Instance::create(tracefs, instance.name()) {
        // One who was killed on the way left it.
        Err(why) if why.kind() != Kind::Busy => return Err(why),
        _ => {}
    }
    instance.set_buffer_size_kb(BUFFER_KB)?;
    instance.set_buffer_percent(0)?;
    let filter = [MADE_IN_CGROUP, MADE_BY_RUNTIME].concat();
    if instance.set_filter("task", "task_newtask", &filter).is_err() {
        instance.set_filter("task", "task_newtask", MADE_BY_RUNTIME)?;
    }
    if tracefs.has_event("cgroup", "cgroup_attach_task") {
        instance.enable_event("cgroup", "cgroup_attach_task", true)?;
    }
    instance.enable_event("task", "task_newtask", true)
}

/// For `gc`: the name of the watch, and whether somebody needs it.
pub(super) fn watch(states: &[RunState]) -> (String, bool) {
    (instance_name(), states.iter().any(|state| state.takes_joins() && state.is_alive()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pids(line: &str) -> Vec<Pid> {
        let mut pids = Vec::new();
        find_pids(line, &mut pids);
        pids
    }

    #[test]
    fn lines_of_the_watch_name_their_tasks_and_threads_are_passed_over() {
        let begin = "            runc-851     [000] d..1. 14026.738557: ";
        for (text, found) in [
            (
                "cgroup_attach_task: dst_root=2 dst_id=13315 dst_level=1 dst_path=/t1 pid=856 comm=runc:[2:INIT]",
                &[856][..],
            ),
            // Before 5.14 or so, in another order.
            (
                "cgroup_attach_task: dst_root=2 dst_id=3 dst_level=1 dst_path=/a pid=7/b pid=856 comm=x pid=9",
                &[7, 856, 9],
            ),
            ("task_newtask: pid=14788 comm=runc clone_flags=4100 oom_score_adj=0", &[14788]),
            ("task_newtask: pid=14788 comm=crun clone_flags=200000000 oom_score_adj=0", &[14788]),
            ("task_newtask: pid=14786 comm=runc clone_flags=3d0f00 oom_score_adj=0", &[]),
            ("task_newtask: pid=5 comm=x clone_flags=0 oom_score_adj=0", &[5]),
            ("task_newtask: pid=99999999999 comm=x pid= clone_flags=", &[]),
            ("CPU:1 [LOST 12 EVENTS]", &[]),
        ] {
            assert_eq!(pids(&[begin, text].concat()), found, "{text}");
        }
    }
}
