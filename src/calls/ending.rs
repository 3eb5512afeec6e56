// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Why a task ended, from the events around its end.
//!
//! `sched_process_exit` carries no status. What the kernel does (kernel/signal.c `get_signal`, `complete_signal`;
//! kernel/exit.c `do_group_exit`): a fatal signal that dumps no core turns into SIGKILL for every thread of the process
//! already when it is sent, so SIGTERM leaves a `signal_generate` of 15 and a `signal_deliver` of 9; one that dumps core
//! is delivered as itself to one thread, the others get 9; `exit_group` and execve give 9 to the other threads. A sender
//! outside the container is not traced, so its `signal_generate` is not there.

use crate::ids::Pid;

/// Why a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// `exit`, or `exit_group` in any thread, with this status (0 to 255).
    Exited(u8),
    /// This signal.
    Killed(i32),
    /// A signal, most likely SIGKILL; or another that the process did not handle, as its sender was not traced.
    KilledFromOutside,
    /// Another thread of the process called execve.
    Superseded {
        /// The thread, by the number it had.
        by: Pid,
    },
    /// The events do not tell (lost, or recorded without signals).
    Unknown,
}

/// SIGKILL.
pub(super) const KILL: i32 = 9;

/// Whether the signal ends a process that does nothing about it (signal(7), "Term" and "Core").
fn is_fatal(sig: i32) -> bool {
    // SIGCHLD, SIGCONT, the four stops, SIGURG, SIGWINCH
    (1..=64).contains(&sig) && !matches!(sig, 17..=23 | 28)
}

/// What points to a thread's end.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ThreadEnd {
    /// Status given to `exit`.
    status: Option<u8>,
    /// A fatal signal taken with its default action.
    fatal: i32,
    /// SIGKILL was delivered.
    killed: bool,
}

/// What points to a process's end; kept with the leader.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct GroupEnd {
    /// Status given to `exit_group`.
    status: Option<u8>,
    /// A fatal signal that one of its threads took with its default action.
    fatal: i32,
    /// A fatal signal sent to it and not taken yet.
    sent: i32,
    /// The thread that is inside execve.
    execing: Pid,
}

impl ThreadEnd {
    /// The thread called `exit`.
    pub fn exit(&mut self, arg: u64) {
        self.status = Some(arg as u8);
    }

    /// The thread lives: a signal that looked fatal was not (the first process of a pid namespace survives many).
    /// True if the process lives with it.
    #[inline]
    pub fn entered_call(&mut self) -> bool {
        let was = self.fatal != 0;
        self.fatal = 0;
        self.killed = false;
        was
    }

    /// A signal was delivered.
    pub fn delivered(&mut self, group: &mut GroupEnd, sig: i32, handler: u64) {
        if sig == KILL {
            self.killed = true;
        } else if handler == 0 && is_fatal(sig) {
            self.fatal = sig;
            group.fatal = sig;
        }
        if group.sent == sig && sig != KILL {
            group.sent = 0;
        }
    }

    /// Whether a signal stands behind the end.
    pub fn by_signal(&self) -> bool {
        self.killed || self.fatal != 0
    }

    /// Why the thread ends now.
    pub fn cause(&self, group: &GroupEnd, pid: Pid) -> Cause {
        if let Some(status) = self.status {
            return Cause::Exited(status);
        }
        if self.fatal != 0 {
            return Cause::Killed(self.fatal);
        }
        if let Some(status) = group.status {
            return Cause::Exited(status);
        }
        if group.fatal != 0 {
            return Cause::Killed(group.fatal);
        }
        if group.execing != 0 && group.execing != pid && group.sent == 0 {
            return Cause::Superseded { by: group.execing };
        }
        if group.sent != 0 && self.killed {
            return Cause::Killed(group.sent);
        }
        if self.killed {
            return Cause::KilledFromOutside;
        }
        Cause::Unknown
    }
}

impl GroupEnd {
    /// A thread called `exit_group`. The first one counts: later ones do not get that far.
    pub fn exit_group(&mut self, arg: u64) {
        self.status.get_or_insert(arg as u8);
    }

    /// The process lives on.
    pub fn survived(&mut self) {
        self.fatal = 0;
    }

    /// A signal was sent to it and queued.
    pub fn sent(&mut self, sig: i32) {
        if is_fatal(sig) && self.sent != KILL {
            self.sent = sig;
        }
    }

    /// A thread is inside execve from now on.
    pub fn exec_entered(&mut self, pid: Pid) {
        self.execing = pid;
    }

    /// That thread's execve failed.
    pub fn exec_failed(&mut self, pid: Pid) {
        if self.execing == pid {
            self.execing = 0;
        }
    }
}
