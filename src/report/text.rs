// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Lines as strace prints them (strace(1), `-f -tt -T`), as far as a recording knows what they tell.
//!
//! Arguments come from [`args`](super::args).

use std::io::Write;
use std::os::unix::ffi::OsStrExt;

use super::args::{push_args, push_late};
use super::footer::push_first_calls;
use super::logs::LogLine;
use super::out::{push_hex, push_safe, push_safe_text, push_seconds, Colours, Out, Who, COLOURS, PLAIN};
use super::time::{push_date, push_span, TimeOfDay};
use super::values::{push_named, push_octal, push_target};
use super::{Gate, Options, Printer, Tally};
use crate::arch::Abi;
use crate::calls::{Call, Cause, End, Lines, Note, Texts, What, RESULT};
use crate::format::Seen;
use crate::ids::{Pid, SyscallNr};
use crate::json::{push_i64, push_u64};
use crate::recording::{Clock, Meta};
use crate::syscalls::{self, Outcome};
use crate::tasks::Comm;

/// Prints lines.
pub(crate) struct Text<'a> {
    out: Out<'a>,
    gate: Gate<'a>,
    time: TimeOfDay,
    who: Who,
    colours: &'static Colours,
}

impl<'a> Text<'a> {
    pub fn new(meta: &Meta, options: &'a Options, to: impl Write + 'a) -> Text<'a> {
        Text {
            out: Out::new(to),
            gate: Gate::new(options),
            time: TimeOfDay::new(Clock::new(meta), options.utc_offset_s),
            who: Who::new(if options.colour { push_dim_task } else { push_task }),
            colours: if options.colour { &COLOURS } else { &PLAIN },
        }
    }

    /// What was recorded, and the day that the times of day are of.
    pub fn head(&mut self, meta: &Meta, options: &Options) {
        if !options.footer {
            return;
        }
        let buf = &mut self.out.buf;
        buf.extend_from_slice(b"# ");
        push_safe(buf, meta.name.as_bytes());
        buf.extend_from_slice(b", recorded from ");
        push_date(buf, meta.anchors.first().map_or(0, |anchor| anchor.realtime_ns), options.utc_offset_s);
        buf.extend_from_slice(b" on ");
        push_safe(buf, meta.host.node.as_bytes());
        buf.extend_from_slice(b" (");
        push_safe(buf, meta.host.machine.as_bytes());
        buf.extend_from_slice(b", Linux ");
        push_safe(buf, meta.host.release.as_bytes());
        buf.extend_from_slice(b")\n");
        push_first_calls(buf, meta);
    }

    #[inline]
    fn begin(&mut self, pid: Pid, comm: &Comm, ts: u64) {
        self.gate.tally.shown += 1;
        let buf = &mut self.out.buf;
        self.who.push(buf, pid, 0, comm);
        self.time.push(buf, ts);
        buf.push(b' ');
    }
}

fn push_dim_task(buf: &mut Vec<u8>, pid: Pid, tgid: Pid, comm: &[u8]) {
    buf.extend_from_slice(COLOURS.task);
    push_task(buf, pid, tgid, comm);
    buf.extend_from_slice(COLOURS.off);
}

/// `[pid 791 ls] `. Names of tasks are bytes; most are plain.
fn push_task(buf: &mut Vec<u8>, pid: Pid, _: Pid, comm: &[u8]) {
    buf.extend_from_slice(b"[pid ");
    push_i64(buf, i64::from(pid));
    buf.push(b' ');
    push_safe(buf, if comm.is_empty() { b"?" } else { comm });
    buf.extend_from_slice(b"] ");
}

#[inline]
fn push_bright_name(buf: &mut Vec<u8>, call: &Call, colours: &Colours) {
    buf.extend_from_slice(colours.name);
    push_name(buf, call.abi, call.nr);
    buf.extend_from_slice(colours.off);
}

/// The call's name; `syscall_0x1ff` as strace has it where the number has none.
#[inline]
pub(crate) fn push_name(buf: &mut Vec<u8>, abi: Abi, nr: SyscallNr) {
    match syscalls::name(abi, nr) {
        Some(name) => buf.extend_from_slice(name.as_bytes()),
        None => {
            buf.extend_from_slice(b"syscall_");
            push_hex(buf, u64::from(nr as u32));
        }
    }
}

/// Calls whose results are addresses, by [`Abi`]: mmap, brk, mremap, shmat and, at 32 bits, mmap2.
static ADDRESSES: [[SyscallNr; 5]; 4] =
    [[9, 12, 25, 30, -1], [90, 45, 163, 397, 192], [222, 214, 216, 196, -1], [-1, 45, 163, 305, 192]];

/// Whether a result is an address.
#[inline]
pub(crate) fn returns_address(abi: Abi, nr: SyscallNr) -> bool {
    nr >= 0 && ADDRESSES.get(abi as usize).is_some_and(|calls| calls.contains(&nr))
}

/// ` = 3`, ` = -1 ENOENT (No such file or directory)`, ` = ? ERESTARTSYS (To be restarted …)`.
#[inline]
fn push_result(buf: &mut Vec<u8>, call: &Call, texts: &Texts, colours: &Colours) {
    buf.extend_from_slice(b" = ");
    match call.errno() {
        Some(errno) => {
            buf.extend_from_slice(colours.error);
            // The kernel's own numbers never reach the program: it sees a restart or EINTR.
            buf.extend_from_slice(if errno >= 512 { b"? " } else { b"-1 " });
            push_errno(buf, errno);
            if let Some(text) = syscalls::errno_text(errno) {
                buf.extend_from_slice(b" (");
                buf.extend_from_slice(text.as_bytes());
                buf.push(b')');
            }
            buf.extend_from_slice(colours.off);
        }
        None if returns_address(call.abi, call.nr) => {
            let mask = if call.abi.is_32bit() { u64::from(u32::MAX) } else { u64::MAX };
            push_hex(buf, call.ret as u64 & mask);
        }
        // Without its beginning the arguments are not known that would tell.
        None if call.end == End::StartUnknown => push_i64(buf, call.ret),
        None => push_outcome(buf, call, texts),
    }
}

/// A result that is no address, with what it says: `0x8002 (flags O_RDWR|O_LARGEFILE)`, `022`, `0 (Timeout)`, `3</path>`.
fn push_outcome(buf: &mut Vec<u8>, call: &Call, texts: &Texts) {
    match syscalls::outcome(call.abi, call.nr, &call.args, call.ret) {
        Outcome::Plain => {
            push_i64(buf, call.ret);
            push_target(buf, RESULT, texts);
        }
        Outcome::Octal => push_octal(buf, call.ret as u64),
        Outcome::Timeout => buf.extend_from_slice(b"0 (Timeout)"),
        Outcome::Named { hex, label, kind } => {
            if hex {
                push_hex(buf, call.ret as u64);
            } else {
                push_i64(buf, call.ret);
            }
            buf.extend_from_slice(b" (");
            buf.extend_from_slice(label.as_bytes());
            push_named(buf, kind, call, call.ret as u64);
            buf.push(b')');
        }
    }
}

pub(crate) fn push_errno(buf: &mut Vec<u8>, errno: i32) {
    match syscalls::errno_name(errno) {
        Some(name) => buf.extend_from_slice(name.as_bytes()),
        None => {
            buf.extend_from_slice(b"errno ");
            push_i64(buf, i64::from(errno));
        }
    }
}

/// All from the result on.
#[inline]
fn push_end(buf: &mut Vec<u8>, call: &Call, texts: &Texts, colours: &Colours) {
    match call.end {
        End::Returned => {
            push_result(buf, call, texts, colours);
            match call.duration() {
                Some(duration) => {
                    buf.extend_from_slice(b" <");
                    push_seconds(buf, duration);
                    buf.extend_from_slice(b">\n");
                }
                None => buf.extend_from_slice(b" <?>\n"),
            }
        }
        End::StartUnknown => {
            push_result(buf, call, texts, colours);
            buf.extend_from_slice(b" (start not recorded)\n");
        }
        End::Never | End::Unfinished | End::Open => buf.extend_from_slice(b" = ?\n"),
        End::Refused => {
            buf.extend_from_slice(colours.error);
            match call.errno() {
                Some(errno) => {
                    buf.extend_from_slice(b" = ? (refused by seccomp: ");
                    push_errno(buf, errno);
                }
                // RET_TRAP and RET_KILL put the call's number back for the signal's handler.
                None if call.ret == i64::from(call.nr) => buf.extend_from_slice(b" = ? (refused by seccomp: SIGSYS"),
                None => {
                    buf.extend_from_slice(b" = ");
                    push_i64(buf, call.ret);
                    buf.extend_from_slice(b" (answered by seccomp");
                }
            }
            buf.push(b')');
            buf.extend_from_slice(colours.off);
            buf.push(b'\n');
        }
    }
}

impl Lines for Text<'_> {
    #[inline]
    fn call(&mut self, call: &Call, texts: &Texts) {
        if !self.gate.passes(call) {
            return;
        }
        self.begin(call.pid, &call.comm, call.entered);
        let buf = &mut self.out.buf;
        push_bright_name(buf, call, self.colours);
        if matches!(call.end, End::StartUnknown | End::Refused) {
            buf.extend_from_slice(b"(...)");
        } else {
            buf.push(b'(');
            push_args(buf, call, texts);
            buf.push(b')');
        }
        push_end(buf, call, texts, self.colours);
        self.out.line_done();
    }

    fn unfinished(&mut self, call: &Call, texts: &Texts) {
        // Whether it fails or takes long enough is not known yet; its end will tell.
        let filter = self.gate.filter;
        if (call.runtime && !filter.with_runtime) || filter.needs_end() || !filter.wants_open(call) {
            return;
        }
        self.begin(call.pid, &call.comm, call.entered);
        let buf = &mut self.out.buf;
        push_bright_name(buf, call, self.colours);
        buf.push(b'(');
        push_args(buf, call, texts);
        buf.extend_from_slice(b" <unfinished ...>\n");
        self.out.line_done();
    }

    fn resumed(&mut self, call: &Call, texts: &Texts) {
        if !self.gate.passes(call) {
            return;
        }
        self.begin(call.pid, &call.comm, call.ended);
        let buf = &mut self.out.buf;
        buf.extend_from_slice(b"<... ");
        push_bright_name(buf, call, self.colours);
        buf.extend_from_slice(b" resumed>");
        push_late(buf, call, texts);
        buf.push(b')');
        push_end(buf, call, texts, self.colours);
        self.out.line_done();
    }

    fn note(&mut self, note: &Note) {
        if !self.gate.filter.wants_note(note) {
            return;
        }
        let colour = match &note.what {
            What::Exec { .. } | What::Fork { .. } => return,
            What::Joined { .. } => b"",
            What::Signal { .. } | What::Exit(Cause::Killed(_) | Cause::KilledFromOutside) => self.colours.signal,
            What::Exit(_) => b"",
            What::Lost { .. } | What::Damaged { .. } => self.colours.loss,
        };
        if note.pid != 0 {
            self.begin(note.pid, &note.comm, note.ts);
        } else {
            self.gate.tally.shown += 1;
        }
        let (buf, time) = (&mut self.out.buf, &mut self.time);
        buf.extend_from_slice(colour);
        match &note.what {
            What::Exec { .. } | What::Fork { .. } => {}
            What::Signal { sig, code } => {
                buf.extend_from_slice(b"--- ");
                push_signal(buf, *sig);
                buf.extend_from_slice(b" {si_code=");
                match syscalls::si_code_name(*sig, *code) {
                    Some(name) => buf.extend_from_slice(name.as_bytes()),
                    None => push_i64(buf, i64::from(*code)),
                }
                buf.extend_from_slice(b"} ---");
            }
            What::Joined { seen } => {
                buf.extend_from_slice(b"--- joined the container");
                buf.extend_from_slice(match seen {
                    Seen::SetUp => b" ---",
                    Seen::Late => b", seen late: calls are missing ---",
                    Seen::Missed => b" and ended before it could be recorded ---",
                });
            }
            What::Exit(cause) => {
                buf.extend_from_slice(b"+++ ");
                push_cause(buf, *cause);
                buf.extend_from_slice(b" +++");
            }
            What::Lost { cpu, from, to, count } => {
                buf.extend_from_slice(b"*** ");
                if let Some(count) = count {
                    push_u64(buf, *count);
                    buf.push(b' ');
                }
                buf.extend_from_slice(if *count == Some(1) { b"event lost on CPU " } else { b"events lost on CPU " });
                push_u64(buf, u64::from(*cpu));
                buf.extend_from_slice(b" between ");
                time.push(buf, *from);
                buf.extend_from_slice(b" and ");
                time.push(buf, *to);
                buf.extend_from_slice(b" ***");
            }
            What::Damaged { cpu, file, offset, error } => {
                buf.extend_from_slice(b"*** damaged data of CPU ");
                push_u64(buf, u64::from(*cpu));
                buf.extend_from_slice(b" at byte ");
                push_u64(buf, *offset);
                buf.extend_from_slice(b" of ");
                push_safe(buf, file.as_os_str().as_bytes());
                buf.extend_from_slice(b": ");
                push_safe(buf, error.to_string().as_bytes());
                buf.extend_from_slice(b" ***");
            }
        }
        if !colour.is_empty() {
            buf.extend_from_slice(self.colours.off);
        }
        buf.push(b'\n');
        self.out.line_done();
    }

    #[inline]
    fn closed(&self) -> bool {
        self.out.failed()
    }
}

/// `SIGSEGV`, or `signal 99`.
pub(crate) fn push_signal(buf: &mut Vec<u8>, sig: i32) {
    match syscalls::signal_name(sig) {
        Some(name) => buf.extend_from_slice(name.as_bytes()),
        None => {
            buf.extend_from_slice(b"signal ");
            push_i64(buf, i64::from(sig));
        }
    }
}

/// Why a task ended.
pub(crate) fn push_cause(buf: &mut Vec<u8>, cause: Cause) {
    match cause {
        Cause::Exited(status) => {
            buf.extend_from_slice(b"exited with ");
            push_u64(buf, u64::from(status));
        }
        Cause::Killed(sig) => {
            buf.extend_from_slice(b"killed by ");
            push_signal(buf, sig);
        }
        Cause::KilledFromOutside => buf.extend_from_slice(b"killed by SIGKILL or another signal from outside"),
        Cause::Superseded { by } => {
            buf.extend_from_slice(b"superseded by execve in pid ");
            push_i64(buf, i64::from(by));
        }
        Cause::Unknown => buf.extend_from_slice(b"exited"),
    }
}

impl<'a> Printer<'a> for Text<'a> {
    fn tally(&self) -> Tally {
        self.gate.tally
    }

    fn out(&mut self) -> &mut Out<'a> {
        &mut self.out
    }

    /// `== 09:24:53.123456 stdout: text`, or the file's name where there is no stream.
    fn log(&mut self, line: &LogLine<'_>) -> bool {
        if !self.gate.filter.in_time(line.ts) {
            return false;
        }
        self.gate.tally.shown += 1;
        let buf = &mut self.out.buf;
        buf.extend_from_slice(b"== ");
        self.time.push_real(buf, line.real);
        buf.push(b' ');
        if line.stream.is_empty() {
            push_safe_text(
                buf,
                line.file.as_os_str().as_bytes().rsplit(|byte| *byte == b'/').next().unwrap_or_default(),
            );
        } else {
            buf.extend_from_slice(line.stream.as_bytes());
        }
        buf.extend_from_slice(b": ");
        push_safe_text(buf, line.text);
        buf.push(b'\n');
        self.out.line_done();
        true
    }
}

/// For lines about an empty report.
pub(crate) fn push_traced(buf: &mut Vec<u8>, span: u64) {
    buf.extend_from_slice(b"tracing was on for ");
    push_span(buf, span);
}
