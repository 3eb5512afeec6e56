// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Records put together to calls: enter and exit of one task, with what lay between them.
//!
//! ```text
//! Stream ─ Item → Tracker ─ Steps → Order ─ Lines → text, JSON, live output
//!                              └──→ summary (needs no order, pays for none)
//! ```
//!
//! [`Tracker`] follows tasks and pairs; it tells a [`Steps`] when a call was entered and when it ended. [`Order`] is a
//! `Steps` that puts whole calls in the order in which they were entered, within bounded memory, and passes them to a
//! [`Lines`]. What is not known is not made up: see [`End`] and [`Call::uncertain`].

mod contents;
mod descriptors;
mod ending;
mod lifecycle;
mod memory;
mod order;
mod pairing;
mod prepass;
mod special;
#[cfg(test)]
mod tests;
mod texts;

use std::path::PathBuf;

pub use ending::Cause;
pub use order::{Order, ORDER_MAX};
pub use pairing::Tracker;
pub use prepass::{LongCall, LongCalls, Prepass};
pub use texts::{Text, Texts, NO_TEXTS, RESULT};

use crate::arch::Abi;
use crate::format::Seen;
use crate::ids::{CpuId, Pid, SyscallNr, Timestamp};
use crate::recording::Damage;
use crate::tasks::Comm;

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Not yet.
    Open,
    /// It returned; [`Call::ret`] holds.
    Returned,
    /// It returned, but its beginning was not recorded: no arguments, no duration.
    StartUnknown,
    /// `exit` and `exit_group`: they never return.
    Never,
    /// The task or the recording ended before it returned.
    Unfinished,
    /// Seccomp answered in the kernel's place, so it has an exit and no enter, and no arguments. `ret` is a negative error
    /// number (`SECCOMP_RET_ERRNO`), the call's own number (`RET_TRAP`, `RET_KILL`: a SIGSYS follows), or what a
    /// supervisor made of it (`RET_USER_NOTIF`).
    Refused,
}

/// One system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// When it was entered, trace clock; where that is not known, when it ended.
    pub entered: Timestamp,
    /// When it ended; for [`End::Unfinished`] when that was known, for all others but [`End::Returned`] equal to `entered`.
    pub ended: Timestamp,
    /// The result: negative error numbers down to -4095, those the kernel keeps for itself (ERESTARTSYS) included.
    pub ret: i64,
    /// The six argument registers; zero where they are not known.
    pub args: [u64; 6],
    /// Number in `abi`.
    pub nr: SyscallNr,
    /// The thread.
    pub pid: Pid,
    /// Its process; 0 where it is not known.
    pub tgid: Pid,
    /// Its name when it entered the call.
    pub comm: Comm,
    /// The ABI that `nr` is of.
    pub abi: Abi,
    /// How it ended.
    pub end: End,
    /// Events were lost between enter and exit: they may be of two calls, and the time between says nothing.
    pub uncertain: bool,
    /// The container runtime's own.
    pub runtime: bool,
}

impl Call {
    /// Time between enter and exit in nanoseconds; `None` where it did not return or either end is not known.
    #[inline]
    pub fn duration(&self) -> Option<u64> {
        match self.end {
            End::Returned if !self.uncertain => Some(self.ended.saturating_sub(self.entered)),
            _ => None,
        }
    }

    /// The error number it failed with. `rt_sigreturn` leaves a restored register where the result would be, which is no
    /// error of its.
    #[inline]
    pub fn errno(&self) -> Option<i32> {
        let returned = matches!(self.end, End::Returned | End::StartUnknown | End::Refused);
        if returned && (-4095..0).contains(&self.ret) && !special::is_sigreturn(self.abi, self.nr) {
            i32::try_from(-self.ret).ok()
        } else {
            None
        }
    }
}

/// Something besides calls that happened to a task or to the recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// When, trace clock.
    pub ts: Timestamp,
    /// The task; 0 for losses and damage.
    pub pid: Pid,
    /// Its process; 0 where it is not known.
    pub tgid: Pid,
    /// Its name.
    pub comm: Comm,
    /// The container runtime's own.
    pub runtime: bool,
    /// What happened.
    pub what: What,
}

/// See [`Note`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The task takes a signal. SIGKILL is not told here: the kernel gives it to every thread of a dying process, also
    /// after `exit_group` or another signal. It shows in the [`Cause`] of the end.
    Signal {
        /// Its number.
        sig: i32,
        /// `si_code`.
        code: i32,
    },
    /// The task ended.
    Exit(Cause),
    /// The task runs another program.
    Exec {
        /// The thread that asked for it.
        old_pid: Pid,
        /// Path as the caller gave it.
        filename: Vec<u8>,
    },
    /// The task made another.
    Fork {
        /// The new task.
        child: Pid,
        /// Whether it is a thread of the same process; `None` where the recording does not say.
        thread: Option<bool>,
        /// The new task's name.
        comm: Comm,
    },
    /// The task came into the container from outside (`runc exec`): it runs its program from here on.
    Joined {
        /// By the time the recorder heard of it: unless it was the runtime still, calls are missing.
        seen: Seen,
    },
    /// The kernel lost events.
    Lost {
        /// Of this CPU.
        cpu: CpuId,
        /// Between the event at this time
        from: Timestamp,
        /// and the one at this.
        to: Timestamp,
        /// How many, where the kernel tells.
        count: Option<u64>,
    },
    /// A part of the recording cannot be read.
    Damaged {
        /// The CPU.
        cpu: CpuId,
        /// The file.
        file: PathBuf,
        /// Offset in it, bytes.
        offset: u64,
        /// What is wrong.
        error: Damage,
    },
}

/// Takes what [`Tracker`] finds, in the order of the recording.
pub trait Steps {
    /// A call was entered. [`Call::end`] is [`End::Open`]. Gives a ticket that names the call until it ends.
    fn opened(&mut self, call: &Call) -> u64;

    /// Something about an argument of a call that was entered and has not ended; see [`Texts::push`].
    fn text(&mut self, _ticket: u64, _arg: u8, _text: Text<'_>) {}

    /// Whether what descriptors stand for is wanted: following them costs.
    fn wants_texts(&self) -> bool {
        false
    }

    /// A call that was entered ended.
    fn closed(&mut self, ticket: u64, call: &Call);

    /// A call whose beginning and end are known at one moment.
    fn whole(&mut self, call: &Call) {
        let ticket = self.opened(call);
        self.closed(ticket, call);
    }

    /// Something else happened.
    fn note(&mut self, note: Note);

    /// Whether no more is wanted: the reader is gone.
    fn is_closed(&self) -> bool {
        false
    }
}

/// Takes calls in the order in which they were entered.
pub trait Lines {
    /// A call with its end.
    fn call(&mut self, call: &Call, texts: &Texts);
    /// A call that has not ended yet but can be waited for no longer.
    fn unfinished(&mut self, call: &Call, texts: &Texts);
    /// The end of a call that was told as unfinished, with what became known since.
    fn resumed(&mut self, call: &Call, texts: &Texts);
    /// Something else.
    fn note(&mut self, note: &Note);
    /// Whether no more is wanted: the reader is gone.
    fn closed(&self) -> bool {
        false
    }
}
