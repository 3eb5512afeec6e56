// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The events we record, and their payloads as values.
//!
//! `raw_syscalls` is the only dependable base: it needs no CONFIG_FTRACE_SYSCALLS and sees 32-bit tasks. The scheduler's
//! and signal events tell whose calls they are and how a task ended. A [`Schema`] holds where each field lies on the
//! traced kernel; decoding is total and does not allocate.
//! Source: include/trace/events/{syscalls,sched,task,signal}.h; kernel/trace/trace_entries.h `print`.

use super::contents::Contents;
use super::text::{EventFormat, Field, Kind};
use crate::ids::{Pid, SyscallNr};
use crate::words::next;

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
    /// `ftrace:print`: what somebody wrote into the instance's `trace_marker`, which is a recorder of ours.
    Mark {
        /// Its text.
        text: &'a [u8],
    },
    /// What a call's arguments point at; never from [`Schema::decode`], which does not know these events.
    Contents(Contents<'a>),
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
const COMMON_PID: u32 = 4;

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

/// A field's place in the records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    at: u16,
    /// Of words and fixed arrays.
    size: u16,
    kind: Kind,
}

impl Place {
    fn word(self) -> Word {
        Word { at: usize::from(self.at), wide: self.size == 8 || self.size == 48 }
    }
}

/// Most fields that an event is taken apart into.
const PLACES: usize = 5;

/// The fields of each of [`Schema::EVENTS`], in the order in which [`Schema::decode`] takes them. Before the name stands
/// what it must be: `i` a value of 32 bits, `p` one that `common_pid` tells, too, `w` a word of the kernel, `a` six of
/// them, `t` a string, fixed array or located.
static FIELDS: [&str; Schema::EVENTS.len()] = [
    "wid aargs ",
    "wid wret ",
    "iparent_pid ichild_pid tchild_comm ",
    "ipid iold_pid tfilename ",
    "ipid tcomm ",
    "ipid wclone_flags tcomm ",
    // Its pid was taken out in 6.14 as a repetition of common_pid and put back in 7.0 and late stables, because a thread
    // can rename another of its process through /proc. Without it the writer is the best guess.
    "ppid tnewcomm ",
    "isig icode wsa_handler ",
    "isig icode ipid igroup iresult ",
];

/// Where the fields of our events lie on the traced kernel.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    /// The two that make up nearly all records, looked at first.
    sys_enter: Option<(u16, Word, Word)>,
    sys_exit: Option<(u16, Word, Word)>,
    /// Number and fields of each of [`Schema::EVENTS`], by its first description.
    others: [Option<(u16, [Place; PLACES])>; Schema::EVENTS.len()],
    /// Number of [`Schema::MARK`], and where its text begins, which goes on to the record's end.
    mark: Option<(u16, u16)>,
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

pub(super) fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.iter().position(|byte| *byte == 0).and_then(|end| bytes.get(..end)).unwrap_or(bytes)
}

/// The bytes of a field.
pub(super) fn bytes_at(data: &[u8], place: Place) -> Option<&[u8]> {
    let at = usize::from(place.at);
    if place.kind == Kind::Plain {
        return data.get(at..at + usize::from(place.size));
    }
    let word = i32_at(data, at)? as u32;
    let base = if place.kind == Kind::RelLoc { at + 4 } else { 0 };
    let start = base + (word & 0xffff) as usize;
    data.get(start..start + (word >> 16) as usize)
}

fn text_at(data: &[u8], place: Place) -> Option<&[u8]> {
    Some(until_nul(bytes_at(data, place)?))
}

/// A field's place. Formats are read with offset and size below 65536.
pub(super) fn place_of(field: Field) -> Place {
    Place { at: field.offset as u16, size: field.size as u16, kind: field.kind }
}

/// An event's field, if it is what it must be; see [`FIELDS`].
fn place(format: &EventFormat<'_>, wanted: &'static str) -> Result<Place, SchemaError> {
    let (need, name) = wanted.split_at(1);
    let Some(field) = format.field(name) else {
        return match need {
            "p" => Ok(Place { at: COMMON_PID as u16, size: 4, kind: Kind::Plain }),
            _ => Err(SchemaError::MissingField(name)),
        };
    };
    let fits = match need {
        "t" => return Ok(place_of(field)),
        "w" => matches!(field.size, 4 | 8),
        "a" => matches!(field.size, 24 | 48),
        _ => field.size == 4,
    };
    if field.kind != Kind::Plain || !fits {
        return Err(SchemaError::FieldSize(name));
    }
    Ok(place_of(field))
}

impl Schema {
    /// The events we know, as `system/name` below `events/`; the first two are required.
    pub const EVENTS: &'static [(&'static str, &'static str); 9] = &[
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

    /// The event of marks. It is always on, and no kernel is without.
    pub const MARK: (&'static str, &'static str) = ("ftrace", "print");

    /// Adds an event of [`Schema::EVENTS`], or [`Schema::MARK`], by its format; others are passed over. `Ok(true)` if it is one of ours.
    pub fn add(&mut self, format: &EventFormat<'_>) -> Result<bool, SchemaError> {
        for (name, at, size) in [("common_type", 0, 2), ("common_pid", COMMON_PID, 4)] {
            let field = format.field(name).ok_or(SchemaError::MissingField(name))?;
            if (field.offset, field.size) != (at, size) {
                return Err(SchemaError::FieldSize(name));
            }
        }
        let Some(event) = Schema::EVENTS.iter().position(|(_, name)| *name == format.name) else {
            let text = format.field("buf").filter(|_| format.name == Schema::MARK.1);
            self.mark = text.map(|text| (format.id, place_of(text).at)).or(self.mark);
            return Ok(text.is_some());
        };
        let mut places = [Place::default(); PLACES];
        let mut fields = FIELDS.get(event).copied().unwrap_or_default();
        for to in &mut places {
            let Some(wanted) = next(&mut fields) else { break };
            *to = place(format, wanted)?;
        }
        let [first, second, ..] = places;
        match event {
            0 => self.sys_enter = Some((format.id, first.word(), second.word())),
            1 => self.sys_exit = Some((format.id, first.word(), second.word())),
            _ => {
                if let Some(other) = self.others.get_mut(event) {
                    *other = other.or(Some((format.id, places)));
                }
            }
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
        if let Some((_, at)) = self.mark.filter(|(mark, _)| *mark == id) {
            return Some(Event::Mark { text: until_nul(data.get(usize::from(at)..)?) });
        }
        let is_it = |other: &Option<(u16, [Place; PLACES])>| other.as_ref().is_some_and(|(known, _)| *known == id);
        let event = self.others.iter().position(is_it)?;
        let (_, [a, b, c, d, e]) = (*self.others.get(event)?)?;
        let int = |place: Place| i32_at(data, usize::from(place.at));
        let text = |place: Place| text_at(data, place);
        let word = |place: Place| word_at(data, place.word());
        // By the place in `EVENTS`.
        Some(match event {
            2 => Event::Fork { parent: int(a)?, child: int(b)?, comm: text(c)? },
            3 => Event::Exec { pid: int(a)?, old_pid: int(b)?, filename: text(c)? },
            4 => Event::Exit { pid: int(a)?, comm: text(b)? },
            5 => Event::NewTask { pid: int(a)?, flags: word(b)?, comm: text(c)? },
            6 => Event::Rename { pid: int(a)?, comm: text(b)? },
            7 => Event::SignalDeliver { sig: int(a)?, code: int(b)?, handler: word(c)? },
            8 => Event::SignalGenerate {
                sig: int(a)?,
                code: int(b)?,
                pid: int(c)?,
                group: int(d)? != 0,
                result: int(e)?,
            },
            _ => return None,
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
