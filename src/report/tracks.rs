// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which track of an exported trace a task's calls stand on.
//!
//! Numbers of tasks come round again, names change, and whose thread a task is may become known late: each birth, and each
//! process that a number is found in, begins a track of its own. What has ended is forgotten, so that memory is that of the
//! tasks alive.

use crate::ids::{Pid, Timestamp};
use crate::tasks::{Comm, PidTable};

/// A task's track.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Track {
    /// Its number in [`Tracks`].
    pub slot: u32,
    /// Its own.
    pub uuid: u64,
    /// Its process's; 0 where that is not known.
    pub process: u64,
    /// Whether the process has not been described yet.
    pub new_process: bool,
}

/// A slice that is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Closed {
    /// The track.
    pub uuid: u64,
    /// When it ended at the latest, trace clock.
    pub ended: Timestamp,
}

/// What [`Tracks::find`] found.
pub(crate) struct Found {
    pub track: Track,
    /// Whether the track is to be described: it is new, or its name is.
    pub news: bool,
    /// The slice in which the task's last track was left.
    pub replaced: Option<Closed>,
}

/// A process's track besides its tasks'.
pub(crate) struct Lane {
    pub uuid: u64,
    pub parent: u64,
    pub is_new: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Thread {
    uuid: u64,
    tgid: Pid,
    comm: Comm,
    /// It is in a slice that ends then, or, where another begins before, with that.
    open: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Process {
    uuid: u64,
    /// The track of its errors, once there is one.
    errors: u64,
    /// Tracks of its threads.
    threads: u32,
}

/// The tracks of the tasks alive.
pub(crate) struct Tracks {
    next: u64,
    threads: Slots<Thread>,
    processes: Slots<Process>,
}

/// Things by the number of a task.
struct Slots<T> {
    table: PidTable,
    list: Vec<T>,
    free: Vec<u32>,
}

impl<T> Slots<T> {
    fn new() -> Slots<T> {
        Slots { table: PidTable::new(), list: Vec::new(), free: Vec::new() }
    }

    fn get(&mut self, slot: u32) -> Option<&mut T> {
        self.list.get_mut(slot as usize)
    }

    fn find(&mut self, pid: Pid) -> Option<&mut T> {
        let slot = self.table.get(pid)?;
        self.get(slot)
    }

    fn insert(&mut self, pid: Pid, value: T) -> u32 {
        let slot = self.free.pop().unwrap_or(self.list.len() as u32);
        match self.list.get_mut(slot as usize) {
            Some(place) => *place = value,
            None => self.list.push(value),
        }
        self.table.insert(pid, slot);
        slot
    }

    fn remove(&mut self, pid: Pid) {
        if let Some(slot) = self.table.get(pid) {
            self.table.remove(pid);
            self.free.push(slot);
        }
    }
}

impl Tracks {
    /// `seed` tells recordings apart: traces may be put together, and tracks of one number would become one.
    pub fn new(seed: u64) -> Tracks {
        // Forty bits in front of the count; never 0, the number of no track.
        Tracks { next: (seed >> 10 & 0xff_ffff | 1) << 24, threads: Slots::new(), processes: Slots::new() }
    }

    /// The number of a new track.
    pub fn new_uuid(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// The track of a task that is of this process and has this name now.
    pub fn find(&mut self, pid: Pid, tgid: Pid, comm: &Comm) -> Found {
        let mut replaced = None;
        if let Some(slot) = self.threads.table.get(pid) {
            if let Some(thread) = self.threads.get(slot) {
                if thread.tgid == tgid {
                    let news = thread.comm != *comm;
                    thread.comm = *comm;
                    let uuid = thread.uuid;
                    let process = self.processes.find(tgid).map_or(0, |process| process.uuid);
                    return Found { track: Track { slot, uuid, process, new_process: false }, news, replaced };
                }
                replaced = thread.open.map(|ended| Closed { uuid: thread.uuid, ended });
            }
            self.exited(pid);
        }
        let (mut process, mut new_process) = (0, false);
        if tgid != 0 {
            new_process = self.processes.find(tgid).is_none();
            if new_process {
                let uuid = self.new_uuid();
                self.processes.insert(tgid, Process { uuid, errors: 0, threads: 0 });
            }
            if let Some(known) = self.processes.find(tgid) {
                known.threads += 1;
                process = known.uuid;
            }
        }
        let uuid = self.new_uuid();
        let slot = self.threads.insert(pid, Thread { uuid, tgid, comm: *comm, open: None });
        Found { track: Track { slot, uuid, process, new_process }, news: true, replaced }
    }

    /// The track of the errors of the process that the task at `slot` is of.
    pub fn errors(&mut self, slot: u32) -> Option<Lane> {
        let tgid = self.threads.get(slot)?.tgid;
        let uuid = self.next + 1;
        let process = self.processes.find(tgid)?;
        let is_new = process.errors == 0;
        if is_new {
            process.errors = uuid;
            self.next = uuid;
        }
        Some(Lane { uuid: process.errors, parent: process.uuid, is_new })
    }

    /// The task's slice has no end yet; it ends at this time, or before, when another begins.
    pub fn leave_open(&mut self, slot: u32, ended: Timestamp) {
        if let Some(thread) = self.threads.get(slot) {
            thread.open = Some(ended);
        }
    }

    /// When the slice ended in which the task was left, if it was; `now` at the latest.
    pub fn take_open(&mut self, slot: u32, now: Timestamp) -> Option<Timestamp> {
        self.threads.get(slot)?.open.take().map(|ended| ended.min(now))
    }

    /// The same by the task's number, with its track.
    pub fn take_open_of(&mut self, pid: Pid, now: Timestamp) -> Option<(u64, Timestamp)> {
        let thread = self.threads.find(pid)?;
        let ended = thread.open.take()?;
        Some((thread.uuid, ended.min(now)))
    }

    /// The process that the task leads, with its name.
    pub fn leader(&mut self, pid: Pid) -> Option<(u64, Comm)> {
        let thread = *self.threads.find(pid).filter(|thread| thread.tgid == pid)?;
        Some((self.processes.find(pid)?.uuid, thread.comm))
    }

    /// All processes whose leaders have tracks.
    pub fn each_leader(&mut self, f: &mut dyn FnMut(Pid, u64, &Comm)) {
        for slot in 0..self.threads.list.len() as u32 {
            let Some(thread) = self.threads.get(slot).copied() else { continue };
            // Places of tasks that have ended are still there.
            let alive = self.threads.table.get(thread.tgid) == Some(slot);
            if let Some(process) = self.processes.find(thread.tgid).filter(|_| alive) {
                f(thread.tgid, process.uuid, &thread.comm);
            }
        }
    }

    /// A task has this number from now on.
    pub fn born(&mut self, pid: Pid, is_thread: bool) {
        self.exited(pid);
        if !is_thread {
            self.processes.remove(pid);
        }
    }

    /// The task has ended.
    pub fn exited(&mut self, pid: Pid) {
        let Some(thread) = self.threads.find(pid) else { return };
        let tgid = thread.tgid;
        self.threads.remove(pid);
        if let Some(process) = self.processes.find(tgid) {
            process.threads = process.threads.saturating_sub(1);
            if process.threads == 0 {
                self.processes.remove(tgid);
            }
        }
    }
}
