// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The tasks of a recording: who they are, whose threads, under which name, of which program.
//!
//! Followed from the tasks that were there at the start, through `task_newtask`/`sched_process_fork` (written by the
//! parent, before the child runs), `task_rename`, `sched_process_exec` and `sched_process_exit`. Thread ids are the
//! kernel's global ones and come round again, so a task that is born takes the place of a dead one of its number.
//! Sources: kernel/fork.c `copy_process`, fs/exec.c `begin_new_exec` and `de_thread`, kernel/exit.c `do_exit`.

mod abi;
mod table;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

pub use abi::{Abis, ImageId, Votes, IMAGES_MAX};
pub use table::PidTable;

use crate::arch::Abi;
use crate::format::is_again;
use crate::ids::{CpuId, Pid, Timestamp};
use crate::recording::Meta;

/// `CLONE_THREAD`: the child joins its parent's thread group.
const CLONE_THREAD: u64 = 0x1_0000;

/// Ended tasks that stay known, oldest forgotten first: a dying task still sends its parent a signal, and lines about it
/// still want its name. Only their number bounds the memory that dead tasks take.
pub const DEAD_MAX: usize = 1024;

/// A task's name as the kernel has it: up to 15 bytes that need not be text (`TASK_COMM_LEN`).
#[derive(Clone, Copy, Default, Eq)]
pub struct Comm {
    bytes: [u8; 15],
    len: u8,
}

impl Comm {
    /// From the kernel's bytes; what is beyond 15 is cut.
    pub fn new(name: &[u8]) -> Comm {
        let mut comm = Comm::default();
        for (to, from) in comm.bytes.iter_mut().zip(name) {
            *to = *from;
            comm.len += 1;
        }
        comm
    }

    /// The bytes, without NUL.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&self.bytes)
    }
}

impl PartialEq for Comm {
    #[inline(never)]
    fn eq(&self, other: &Comm) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl core::fmt::Debug for Comm {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "\"{}\"", self.as_bytes().escape_ascii())
    }
}

/// How far a task is that came into the container from outside (`runc exec`), or a child of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Join {
    /// It did not.
    #[default]
    No,
    /// It still is the runtime, which becomes the program by execve; so are its children, each until its own.
    SetUp,
    /// It is the container's.
    Done,
}

/// A task's place in [`Tasks`]; valid until the task is forgotten.
pub type Slot = u32;

/// One task, with the state `S` that a user of [`Tasks`] keeps about it.
#[derive(Clone, Debug)]
pub struct Task<S> {
    /// Global thread id.
    pub pid: Pid,
    /// Global process id; 0 where it is not known.
    pub tgid: Pid,
    /// The task that made it; 0 where it is not known.
    pub parent: Pid,
    /// Its name at this moment.
    pub comm: Comm,
    /// The program it runs.
    pub image: ImageId,
    /// That program's ABI.
    pub abi: Abi,
    /// Whether its ABI needs no more evidence.
    pub settled: bool,
    /// Whether it is part of the container runtime's own set-up.
    pub runtime: bool,
    /// Whether it came from outside.
    pub join: Join,
    /// When it was made; `None` if it was there before.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// The user's state.
    pub state: S,
    /// Counts the tasks that had this slot.
    generation: u32,
}

/// The tasks of a recording at one moment of it.
#[derive(Debug)]
pub struct Tasks<S> {
    abis: Abis,
    table: PidTable,
    slots: Vec<Task<S>>,
    free: Vec<Slot>,
    dead: VecDeque<(Slot, u32)>,
    /// The task each CPU's last event was of.
    recent: Vec<(Pid, Slot)>,
    next_image: ImageId,
    /// The container's first process, while it still is the runtime's.
    awaited: Option<Pid>,
    /// Whether the recording has `task_rename` events.
    renames: bool,
    /// Tasks seen, the runtime's too.
    pub seen: u64,
}

impl<S: Default> Tasks<S> {
    /// The tasks at the recording's start.
    pub fn new(meta: &Meta, abis: Abis) -> Tasks<S> {
        let mut tasks = Tasks {
            abis,
            table: PidTable::new(),
            slots: Vec::new(),
            free: Vec::new(),
            dead: VecDeque::new(),
            recent: Vec::new(),
            next_image: 0,
            awaited: meta.starts_in_runtime.then_some(meta.init_pid),
            renames: false,
            seen: 0,
        };
        for initial in &meta.tasks {
            let leader = tasks.table.get(initial.tgid).and_then(|slot| tasks.get(slot)).map(|leader| leader.image);
            let slot = tasks.make(initial.tid);
            let (compat, native) = (tasks.abis.compat, tasks.abis.native);
            if let Some(task) = tasks.get_mut(slot) {
                task.tgid = initial.tgid;
                task.comm = Comm::new(initial.comm.as_bytes());
                task.image = leader.unwrap_or(task.image);
                if let Some(abi) = Abi::from_name(&initial.abi).filter(|abi| *abi == native || Some(*abi) == compat) {
                    task.abi = abi;
                    task.settled = true;
                }
            }
        }
        tasks
    }

    /// The task at `slot`.
    #[inline]
    pub fn get(&self, slot: Slot) -> Option<&Task<S>> {
        self.slots.get(slot as usize)
    }

    /// The task at `slot`.
    #[inline]
    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut Task<S>> {
        self.slots.get_mut(slot as usize)
    }

    /// All tasks that are known, with those that ended a short time ago.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Task<S>> {
        self.slots.iter_mut()
    }

    /// The slot of `pid`, if it is known.
    pub fn find(&self, pid: Pid) -> Option<Slot> {
        self.table.get(pid)
    }

    /// The slot of the task that an event on `cpu` is of; a task not heard of before is made.
    #[inline]
    pub fn slot(&mut self, cpu: CpuId, pid: Pid) -> Slot {
        match self.recent.get(usize::from(cpu)) {
            Some((last, slot)) if *last == pid => *slot,
            _ => self.slot_slow(cpu, pid),
        }
    }

    #[inline(never)]
    fn slot_slow(&mut self, cpu: CpuId, pid: Pid) -> Slot {
        let slot = self.table.get(pid).unwrap_or_else(|| self.make_unknown(pid));
        let at = usize::from(cpu);
        if at >= self.recent.len() {
            self.recent.resize(at + 1, (Pid::MIN, 0));
        }
        if let Some(recent) = self.recent.get_mut(at) {
            *recent = (pid, slot);
        }
        slot
    }

    fn new_image(&mut self) -> (ImageId, Abi) {
        let image = self.next_image;
        self.next_image = self.next_image.saturating_add(1);
        (image, self.abis.of(image))
    }

    /// A task of which nothing is known but its number; takes the place of an older one of the same number.
    pub fn make(&mut self, pid: Pid) -> Slot {
        let (image, abi) = self.new_image();
        self.seen += 1;
        let known = self.table.get(pid).or_else(|| self.free.pop());
        let slot = known.unwrap_or(self.slots.len() as Slot);
        let generation = self.get(slot).map_or(0, |task| task.generation.wrapping_add(1));
        let task = Task {
            pid,
            tgid: 0,
            parent: 0,
            comm: Comm::default(),
            image,
            abi,
            settled: self.abis.compat.is_none(),
            runtime: self.awaited.is_some(),
            join: Join::No,
            started: None,
            ended: None,
            state: S::default(),
            generation,
        };
        match self.get_mut(slot) {
            Some(place) => *place = task,
            None => self.slots.push(task),
        }
        self.table.insert(pid, slot);
        slot
    }

    /// A task whose birth was not seen. While one that joins is being listed, the kernel lists its children already and
    /// does not tell of their births (set_event_pid: the list counts at once, what runs is asked again after RCU).
    fn make_unknown(&mut self, pid: Pid) -> Slot {
        let joins = self.slots.iter().any(|task| task.join == Join::SetUp && task.ended.is_none());
        let slot = self.make(pid);
        if let Some(task) = self.get_mut(slot).filter(|_| joins) {
            task.join = Join::SetUp;
            task.runtime = true;
        }
        slot
    }

    /// `parent` made the task `child`. `flags` are those of clone where `task_newtask` told them. `None` if this child
    /// is known already: the kernel writes two events for one birth.
    pub fn born(
        &mut self,
        ts: Timestamp,
        parent: Slot,
        child: Pid,
        comm: &[u8],
        flags: Option<u64>,
        is_newborn: impl Fn(&S) -> bool,
    ) -> Option<Slot> {
        let made_by = self.get(parent).map_or(0, |task| task.pid);
        let known = self.find(child).and_then(|slot| self.get(slot));
        if known.is_some_and(|task| {
            task.started.is_some() && task.ended.is_none() && task.parent == made_by && is_newborn(&task.state)
        }) {
            return None;
        }
        let image = self.next_image;
        let slot = self.make(child);
        // It inherits its program: the image made for it is not used.
        self.next_image = image;
        let parent =
            self.get(parent).map(|task| (task.tgid, task.image, task.abi, task.settled, task.runtime, task.join));
        let task = self.get_mut(slot)?;
        task.parent = made_by;
        task.started = Some(ts);
        task.comm = Comm::new(comm);
        task.tgid = child;
        if let Some((tgid, image, abi, settled, runtime, join)) = parent {
            if flags.is_some_and(|flags| flags & CLONE_THREAD != 0) {
                task.tgid = tgid;
            }
            task.image = image;
            task.abi = abi;
            task.settled = settled;
            task.runtime = runtime;
            task.join = if join == Join::SetUp { join } else { Join::No };
        }
        Some(slot)
    }

    /// A task came into the container from outside, as the runtime or, with `late`, as the container's program already.
    /// Gives its slot if that is news.
    pub fn joined(&mut self, pid: Pid, tgid: Pid, late: bool, comm: &[u8]) -> Option<Slot> {
        let known = self.find(pid).and_then(|slot| Some((slot, self.get(slot)?)));
        let slot = match known.filter(|(_, task)| task.ended.is_none()) {
            // Its exec was not seen: it came before the kernel knew the task.
            Some((slot, task)) if late && task.join == Join::SetUp => slot,
            Some((slot, task)) if task.tgid != 0 => {
                if let Some(task) = self.get_mut(slot).filter(|task| late && task.join == Join::Done) {
                    // Its exec was seen and perhaps not its new name, which comes just before.
                    task.comm = Comm::new(comm);
                }
                return None;
            }
            // Its birth was not seen, but it was listed by it.
            Some((slot, _)) => slot,
            None => self.make(pid),
        };
        let task = self.get_mut(slot)?;
        task.tgid = tgid;
        task.comm = Comm::new(comm);
        task.runtime = !late;
        task.join = if late { Join::Done } else { Join::SetUp };
        Some(slot)
    }

    /// The task's name changed.
    pub fn renamed(&mut self, cpu: CpuId, pid: Pid, comm: &[u8]) {
        self.renames = true;
        let slot = self.slot(cpu, pid);
        if let Some(task) = self.get_mut(slot) {
            task.comm = Comm::new(comm);
        }
    }

    /// The task runs a new program. The thread `old_pid` that called execve goes on as `pid`, the number of its thread
    /// group's leader, which has died (`de_thread`), and takes its state along. Gives its slot.
    pub fn execed(&mut self, pid: Pid, old_pid: Pid, filename: &[u8]) -> Slot {
        let mut slot = self.find(pid).unwrap_or_else(|| self.make(pid));
        if old_pid != pid {
            if let Some(old) = self.find(old_pid) {
                // The two change places in the table; the leader's remains are found under the old number and go first.
                self.table.insert(pid, old);
                self.table.insert(old_pid, slot);
                self.recent.clear();
                if let Some(leader) = self.get_mut(slot) {
                    leader.pid = old_pid;
                }
                self.forget(slot);
                slot = old;
            }
        }
        let (image, abi) = self.new_image();
        let first = self.awaited == Some(pid);
        if first {
            self.awaited = None;
        }
        let settled = self.abis.compat.is_none();
        let renames = self.renames;
        if let Some(task) = self.get_mut(slot) {
            task.pid = pid;
            task.tgid = pid;
            task.ended = None;
            task.image = image;
            task.abi = abi;
            task.settled = settled;
            task.runtime &= !first;
            if task.join == Join::SetUp && !is_again(filename) {
                task.join = Join::Done;
                task.runtime = false;
            }
            if !renames {
                let name = filename.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
                task.comm = Comm::new(filename.get(name..).unwrap_or_default());
            }
        }
        slot
    }

    /// The task ended. It stays known until [`DEAD_MAX`] others have ended or its number is used again.
    pub fn exited(&mut self, ts: Timestamp, slot: Slot) {
        let Some(task) = self.get_mut(slot) else { return };
        task.ended = Some(ts);
        let entry = (slot, task.generation);
        self.dead.push_back(entry);
        if self.dead.len() > DEAD_MAX {
            if let Some((oldest, generation)) = self.dead.pop_front() {
                if self.get(oldest).is_some_and(|task| task.generation == generation && task.ended.is_some()) {
                    self.forget(oldest);
                }
            }
        }
    }

    fn forget(&mut self, slot: Slot) {
        let Some(task) = self.get_mut(slot) else { return };
        task.generation = task.generation.wrapping_add(1);
        task.state = S::default();
        task.join = Join::No;
        let pid = task.pid;
        self.table.remove(pid);
        self.recent.clear();
        self.free.push(slot);
    }

    /// The ABIs that the tasks' programs are looked up in.
    pub fn abis(&self) -> &Abis {
        &self.abis
    }

    /// Slots in use or kept for the dead, for tests of the bound.
    pub fn slots(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether the container's first execve has not been seen yet.
    pub fn in_runtime(&self) -> bool {
        self.awaited.is_some()
    }
}
