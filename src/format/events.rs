// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The events we record, and their payloads as values.
//!
//! `raw_syscalls` is the only dependable base: it needs no CONFIG_FTRACE_SYSCALLS and sees 32-bit tasks. The scheduler's
//! and signal events tell whose calls they are and how a task ended. A [`Schema`] holds where each field lies on the
//! traced kernel; decoding is total and does not allocate.
//! Source: include/trace/events/{syscalls,sched,task,signal}.h.

use super::text::{EventFormat, Field, Kind};
use crate::ids::{Pid, SyscallNr};

/// What one record says. Strings are the kernel's bytes up to the first NUL and not always UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// `raw_syscalls:sys_enter`. On 32-bit kernels the arguments are zero-extended.
    SysEnter {
        /// Number of the task's ABI.
        nr: SyscallNr,
        /// The six argument registers.
        args: [u64; 6],
    },
    /// `raw_syscalls:sys_exit`.
    SysExit {
        /// Number of the task's ABI.
        nr: SyscallNr,
        /// The result register, sign-extended from the kernel's word.
        ret: i64,
    },
    /// `sched:sched_process_fork`: written by the parent before the child runs.
    Fork {
        /// The task that forks.
        parent: Pid,
        /// The new task.
        child: Pid,
        /// The new task's name.
        comm: &'a [u8],
    },
    /// `task:task_newtask`: as `Fork`, with the flags of clone.
    NewTask {
        /// The new task.
        pid: Pid,
        /// `CLONE_*` flags.
        flags: u64,
        /// The new task's name.
        comm: &'a [u8],
    },
    /// `sched:sched_process_exec`: the task runs a new program from here on.
    Exec {
        /// The task after the exec (the thread group's leader).
        pid: Pid,
        /// The thread that called execve.
        old_pid: Pid,
        /// The program's path as the caller gave it.
        filename: &'a [u8],
    },
    /// `sched:sched_process_exit`.
    Exit {
        /// The task that ends.
        pid: Pid,
        /// Its name.
        comm: &'a [u8],
    },
    /// `task:task_rename`: prctl(PR_SET_NAME), a write to comm, or exec.
    Rename {
        /// The task; where the kernel's event does not say, the one that wrote the name.
        pid: Pid,
        /// Its new name.
        comm: &'a [u8],
    },
    /// `signal:signal_deliver`, in the context of the receiver.
    SignalDeliver {
        /// Signal number.
        sig: i32,
        /// `si_code`.
        code: i32,
        /// Address of the handler; 0 is SIG_DFL.
        handler: u64,
    },
    /// `signal:signal_generate`, in the context of the sender.
    SignalGenerate {
        /// Signal number.
        sig: i32,
        /// `si_code`.
        code: i32,
        /// The receiver.
        pid: Pid,
        /// Whether the whole thread group is meant.
        group: bool,
        /// `TRACE_SIGNAL_*`: 0 delivered, 1 ignored, 2 already pending, 3 overflow, 4 lost.
        result: i32,
    },
    /// An event of another kind, or one too short for its fields.
    Other {
        /// Its number.
        id: u16,
    },
}

/// Fields that every record begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommonFields {
    /// The event's number.
    pub id: u16,
    /// The task that was running: global thread id.
    pub pid: Pid,
}

/// Offset of `common_pid`, checked by [`Schema::add`].
const COMMON_PID: usize = 4;

/// Why an event's format cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaError {
    /// The event lacks a field we need.
    MissingField(&'static str),
    /// A field has a size no kernel gives it.
    FieldSize(&'static str),
}

/// A word of the kernel: offset, and whether it has 8 bytes (else 4).
#[derive(Clone, Copy, Debug, Default)]
struct Word {
    at: usize,
    wide: bool,
}

/// A string: fixed array or located.
#[derive(Clone, Copy, Debug)]
enum Text {
    Array(usize, usize),
    DataLoc(usize),
    RelLoc(usize),
}

#[derive(Clone, Copy, Debug)]
enum Layout {
    SysEnter { nr: Word, args: Word },
    SysExit { nr: Word, ret: Word },
    Fork { parent: usize, child: usize, comm: Text },
    NewTask { pid: usize, flags: Word, comm: Text },
    Exec { pid: usize, old_pid: usize, filename: Text },
    Exit { pid: usize, comm: Text },
    Rename { pid: usize, comm: Text },
    SignalDeliver { sig: usize, code: usize, handler: Word },
    SignalGenerate { sig: usize, code: usize, pid: usize, group: usize, result: usize },
}

/// Where the fields of our events lie on the traced kernel.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    /// The two that make up nearly all records, looked at first.
    sys_enter: Option<(u16, Word, Word)>,
    sys_exit: Option<(u16, Word, Word)>,
    others: heapless::Vec<(u16, Layout), { Schema::EVENTS_MAX }>,
}

fn i32_at(data: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_le_bytes(data.get(at..at + 4)?.try_into().ok()?))
}

#[inline]
fn word_at(data: &[u8], word: Word) -> Option<u64> {
    if word.wide {
        Some(u64::from_le_bytes(data.get(word.at..word.at + 8)?.try_into().ok()?))
    } else {
        Some(u64::from(u32::from_le_bytes(data.get(word.at..word.at + 4)?.try_into().ok()?)))
    }
}

/// As `word_at`, but a 32-bit word is sign-extended.
#[inline]
fn signed_word_at(data: &[u8], word: Word) -> Option<i64> {
    let value = word_at(data, word)?;
    Some(if word.wide { value as i64 } else { i64::from(value as u32 as i32) })
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or(bytes)
}

fn text_at(data: &[u8], text: Text) -> Option<&[u8]> {
    let located = |at: usize, base: usize| {
        let word = i32_at(data, at)? as u32;
        let start = base + (word & 0xffff) as usize;
        data.get(start..start + (word >> 16) as usize)
    };
    let bytes = match text {
        Text::Array(at, size) => data.get(at..at + size)?,
        Text::DataLoc(at) => located(at, 0)?,
        Text::RelLoc(at) => located(at, at + 4)?,
    };
    Some(until_nul(bytes))
}

/// An event's field as a word, or as the first of `count` words without a gap.
fn word(format: &EventFormat<'_>, name: &'static str, count: u16) -> Result<Word, SchemaError> {
    let Field { offset, size, kind, .. } = format.field(name).ok_or(SchemaError::MissingField(name))?;
    match (kind, u32::from(size), u32::from(count)) {
        (Kind::Plain, size, count) if size == 8 * count => Ok(Word { at: usize::from(offset), wide: true }),
        (Kind::Plain, size, count) if size == 4 * count => Ok(Word { at: usize::from(offset), wide: false }),
        _ => Err(SchemaError::FieldSize(name)),
    }
}

/// An event's field as the offset of a 32-bit value.
fn int(format: &EventFormat<'_>, name: &'static str) -> Result<usize, SchemaError> {
    let field = format.field(name).ok_or(SchemaError::MissingField(name))?;
    if field.kind != Kind::Plain || field.size != 4 {
        return Err(SchemaError::FieldSize(name));
    }
    Ok(usize::from(field.offset))
}

fn text(format: &EventFormat<'_>, name: &'static str) -> Result<Text, SchemaError> {
    let field = format.field(name).ok_or(SchemaError::MissingField(name))?;
    let at = usize::from(field.offset);
    Ok(match field.kind {
        Kind::Plain => Text::Array(at, usize::from(field.size)),
        Kind::DataLoc => Text::DataLoc(at),
        Kind::RelLoc => Text::RelLoc(at),
    })
}

impl Schema {
    /// Events besides the two of `raw_syscalls` that a schema holds: the seven of [`Schema::EVENTS`], and room for more.
    pub const EVENTS_MAX: usize = 16;

    /// The events we know, as `system/name` below `events/`; the first two are required.
    pub const EVENTS: [(&'static str, &'static str); 9] = [
        ("raw_syscalls", "sys_enter"),
        ("raw_syscalls", "sys_exit"),
        ("sched", "sched_process_fork"),
        ("sched", "sched_process_exec"),
        ("sched", "sched_process_exit"),
        ("task", "task_newtask"),
        ("task", "task_rename"),
        ("signal", "signal_deliver"),
        ("signal", "signal_generate"),
    ];

    /// Adds an event of [`Schema::EVENTS`] by its format; others are passed over. `Ok(true)` if it is one of ours.
    pub fn add(&mut self, format: &EventFormat<'_>) -> Result<bool, SchemaError> {
        for (name, at, size) in [("common_type", 0, 2), ("common_pid", COMMON_PID as u16, 4)] {
            let field = format.field(name).ok_or(SchemaError::MissingField(name))?;
            if (field.offset, field.size) != (at, size) {
                return Err(SchemaError::FieldSize(name));
            }
        }
        let layout = match format.name {
            "sys_enter" => Layout::SysEnter { nr: word(format, "id", 1)?, args: word(format, "args", 6)? },
            "sys_exit" => Layout::SysExit { nr: word(format, "id", 1)?, ret: word(format, "ret", 1)? },
            "sched_process_fork" => Layout::Fork {
                parent: int(format, "parent_pid")?,
                child: int(format, "child_pid")?,
                comm: text(format, "child_comm")?,
            },
            "task_newtask" => Layout::NewTask {
                pid: int(format, "pid")?,
                flags: word(format, "clone_flags", 1)?,
                comm: text(format, "comm")?,
            },
            "sched_process_exec" => Layout::Exec {
                pid: int(format, "pid")?,
                old_pid: int(format, "old_pid")?,
                filename: text(format, "filename")?,
            },
            "sched_process_exit" => Layout::Exit { pid: int(format, "pid")?, comm: text(format, "comm")? },
            "task_rename" => Layout::Rename {
                // Taken out in 6.14 as a repetition of common_pid and put back in 7.0 and late stables, because a thread
                // can rename another of its process through /proc. Without it the writer is the best guess.
                pid: format.field("pid").map_or(Ok(COMMON_PID), |_| int(format, "pid"))?,
                comm: text(format, "newcomm")?,
            },
            "signal_deliver" => Layout::SignalDeliver {
                sig: int(format, "sig")?,
                code: int(format, "code")?,
                handler: word(format, "sa_handler", 1)?,
            },
            "signal_generate" => Layout::SignalGenerate {
                sig: int(format, "sig")?,
                code: int(format, "code")?,
                pid: int(format, "pid")?,
                group: int(format, "group")?,
                result: int(format, "result")?,
            },
            _ => return Ok(false),
        };
        match layout {
            Layout::SysEnter { nr, args } => self.sys_enter = Some((format.id, nr, args)),
            Layout::SysExit { nr, ret } => self.sys_exit = Some((format.id, nr, ret)),
            // Nine names cannot fill sixteen places; a name given twice takes the first.
            _ => drop(self.others.push((format.id, layout))),
        }
        Ok(true)
    }

    /// Whether both events of `raw_syscalls` are there.
    pub fn has_syscalls(&self) -> bool {
        self.sys_enter.is_some() && self.sys_exit.is_some()
    }

    /// The number of `raw_syscalls:sys_enter`.
    pub fn sys_enter_id(&self) -> Option<u16> {
        self.sys_enter.map(|(id, _, _)| id)
    }

    /// The number of `raw_syscalls:sys_exit`.
    pub fn sys_exit_id(&self) -> Option<u16> {
        self.sys_exit.map(|(id, _, _)| id)
    }

    /// The common fields of a record's payload; `None` if it is shorter than they are.
    #[inline]
    pub fn common(data: &[u8]) -> Option<CommonFields> {
        let head: [u8; 8] = data.get(..8)?.try_into().ok()?;
        let [a, b, _, _, p, q, r, s] = head;
        Some(CommonFields { id: u16::from_le_bytes([a, b]), pid: Pid::from_le_bytes([p, q, r, s]) })
    }

    /// What the record says; `id` is that of its [`CommonFields`].
    #[inline]
    pub fn decode<'a>(&self, id: u16, data: &'a [u8]) -> Event<'a> {
        let decoded = match (self.sys_enter, self.sys_exit) {
            (Some((enter, nr, args)), _) if enter == id => decode_enter(data, nr, args),
            (_, Some((exit, nr, ret))) if exit == id => decode_exit(data, nr, ret),
            _ => self.decode_other(id, data),
        };
        decoded.unwrap_or(Event::Other { id })
    }

    fn decode_other<'a>(&self, id: u16, data: &'a [u8]) -> Option<Event<'a>> {
        let (_, layout) = self.others.iter().find(|(known, _)| *known == id)?;
        Some(match *layout {
            Layout::SysEnter { nr, args } => decode_enter(data, nr, args)?,
            Layout::SysExit { nr, ret } => decode_exit(data, nr, ret)?,
            Layout::Fork { parent, child, comm } => {
                Event::Fork { parent: i32_at(data, parent)?, child: i32_at(data, child)?, comm: text_at(data, comm)? }
            }
            Layout::NewTask { pid, flags, comm } => {
                Event::NewTask { pid: i32_at(data, pid)?, flags: word_at(data, flags)?, comm: text_at(data, comm)? }
            }
            Layout::Exec { pid, old_pid, filename } => Event::Exec {
                pid: i32_at(data, pid)?,
                old_pid: i32_at(data, old_pid)?,
                filename: text_at(data, filename)?,
            },
            Layout::Exit { pid, comm } => Event::Exit { pid: i32_at(data, pid)?, comm: text_at(data, comm)? },
            Layout::Rename { pid, comm } => Event::Rename { pid: i32_at(data, pid)?, comm: text_at(data, comm)? },
            Layout::SignalDeliver { sig, code, handler } => Event::SignalDeliver {
                sig: i32_at(data, sig)?,
                code: i32_at(data, code)?,
                handler: word_at(data, handler)?,
            },
            Layout::SignalGenerate { sig, code, pid, group, result } => Event::SignalGenerate {
                sig: i32_at(data, sig)?,
                code: i32_at(data, code)?,
                pid: i32_at(data, pid)?,
                group: i32_at(data, group)? != 0,
                result: i32_at(data, result)?,
            },
        })
    }
}

#[inline]
fn decode_enter(data: &[u8], nr: Word, args: Word) -> Option<Event<'_>> {
    let nr = signed_word_at(data, nr)? as SyscallNr;
    let mut values = [0u64; 6];
    if args.wide {
        let bytes = data.get(args.at..args.at + 48)?;
        for (value, chunk) in values.iter_mut().zip(bytes.chunks_exact(8)) {
            *value = u64::from_le_bytes(chunk.try_into().ok()?);
        }
    } else {
        let bytes = data.get(args.at..args.at + 24)?;
        for (value, chunk) in values.iter_mut().zip(bytes.chunks_exact(4)) {
            *value = u64::from(u32::from_le_bytes(chunk.try_into().ok()?));
        }
    }
    Some(Event::SysEnter { nr, args: values })
}

#[inline]
fn decode_exit(data: &[u8], nr: Word, ret: Word) -> Option<Event<'_>> {
    Some(Event::SysExit { nr: signed_word_at(data, nr)? as SyscallNr, ret: signed_word_at(data, ret)? })
}

impl core::fmt::Display for SchemaError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            SchemaError::MissingField(name) => write!(f, "the event has no field {name}"),
            SchemaError::FieldSize(name) => write!(f, "the field {name} has an unknown place or size"),
        }
    }
}
