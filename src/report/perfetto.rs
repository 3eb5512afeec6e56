// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Perfetto's trace format: which packets, tracks and slices say what a recording says.
//!
//! A track for each task, a slice for each call with its arguments and result, instants for signals, execs and ends; failed
//! calls once more as instants on a track of their process, gaps as slices on a track of their CPU. Times are the wall
//! clock's, made from the trace clock here, so that they are those of the JSON lines; the clock snapshots give both.
//! Source: Perfetto's protos/perfetto/trace, docs/reference/synthetic-track-event.md and docs/concepts/clock-sync.md.
//! Packets need not be in order of time: the reader sorts them and keeps the order of those of one time.

use std::io::Write;
use std::os::unix::ffi::OsStrExt;

use super::args::{each, registers};
use super::out::{push_hex, Out};
use super::protobuf::{begin, end, number, text};
use super::text::{push_cause, push_errno, push_name, push_signal, returns_address};
use super::tracks::{Lane, Track, Tracks};
use super::{Gate, Options, Printer, Tally};
use crate::arch::Abi;
use crate::calls::{Call, End, Lines, Note, Texts, What};
use crate::ids::{CpuId, Pid, Timestamp};
use crate::json::push_u64;
use crate::recording::{Clock, Meta};
use crate::syscalls;
use crate::tasks::Comm;

/// `Trace.packet`.
const PACKET: u32 = 1;
/// `TracePacket`.
const CLOCK_SNAPSHOT: u32 = 6;
const TIMESTAMP: u32 = 8;
const SEQUENCE: u32 = 10;
const TRACK_EVENT: u32 = 11;
const SYSTEM_INFO: u32 = 45;
const TRACK_DESCRIPTOR: u32 = 60;
/// `TrackDescriptor`.
const UUID: u32 = 1;
const TRACK_NAME: u32 = 2;
const PROCESS: u32 = 3;
const THREAD: u32 = 4;
const PARENT_UUID: u32 = 5;
/// `TrackEvent`.
const ANNOTATION: u32 = 4;
const TYPE: u32 = 9;
const TRACK_UUID: u32 = 11;
const CATEGORY: u32 = 22;
const NAME: u32 = 23;
/// `TrackEvent.Type`.
const SLICE_BEGIN: u64 = 1;
const SLICE_END: u64 = 2;
const INSTANT: u64 = 3;
/// `DebugAnnotation`.
const BOOL: u32 = 2;
const UINT: u32 = 3;
const INT: u32 = 4;
const STRING: u32 = 6;
const POINTER: u32 = 7;
const ANNOTATION_NAME: u32 = 10;

/// All packets are of one writer.
const WRITER: u64 = 1;
/// `BUILTIN_CLOCK_REALTIME`, the clock of all times.
const REALTIME: u64 = 1;
/// The trace clock: the first of the numbers that a writer may give to clocks of its own.
const TRACE_CLOCK: u64 = 64;

/// Arguments with their names, for the annotations of a slice; registers where no more is known.
fn arguments(call: &Call, texts: &Texts, push: &mut dyn FnMut(&[u8], &[u8])) {
    let mut value = Vec::new();
    if each(call, texts, &mut value, &mut |name, text| push(name.as_bytes(), text)) {
        return;
    }
    for (digit, register) in (b'0'..).zip(registers(call)) {
        value.clear();
        push_hex(&mut value, register);
        push(&[b'a', b'r', b'g', digit], &value);
    }
}

/// Writes packets.
pub(crate) struct Perfetto<'a> {
    out: Out<'a>,
    gate: Gate<'a>,
    clock: Clock,
    tracks: Tracks,
    /// Tracks of losses.
    cpus: Vec<(CpuId, u64)>,
    init: Pid,
    command: &'a [String],
    native: Option<Abi>,
    /// Time of the newest line.
    now: Timestamp,
    /// A name that is being put together.
    name: Vec<u8>,
}

/// A value of an annotation that is a number.
fn annotate(buf: &mut Vec<u8>, name: &[u8], kind: u32, value: u64) {
    let start = begin(buf, ANNOTATION);
    text(buf, ANNOTATION_NAME, name);
    number(buf, kind, value);
    end(buf, start);
}

fn annotate_flag(buf: &mut Vec<u8>, name: &[u8], set: bool) {
    if set {
        annotate(buf, name, BOOL, 1);
    }
}

fn annotate_text(buf: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    let start = begin(buf, ANNOTATION);
    text(buf, ANNOTATION_NAME, name);
    text(buf, STRING, value);
    end(buf, start);
}

/// A packet's beginning, up to the message that it carries.
fn begin_packet(buf: &mut Vec<u8>, ts: u64, message: u32) -> (usize, usize) {
    let packet = begin(buf, PACKET);
    number(buf, TIMESTAMP, ts);
    number(buf, SEQUENCE, WRITER);
    (packet, begin(buf, message))
}

fn end_packet(buf: &mut Vec<u8>, (packet, message): (usize, usize)) {
    end(buf, message);
    end(buf, packet);
}

/// An event's beginning; annotations may follow.
fn begin_event(buf: &mut Vec<u8>, ts: u64, kind: u64, track: u64) -> (usize, usize) {
    let packet = begin_packet(buf, ts, TRACK_EVENT);
    number(buf, TYPE, kind);
    number(buf, TRACK_UUID, track);
    packet
}

fn push_slice_end(buf: &mut Vec<u8>, ts: u64, track: u64) {
    let packet = begin_event(buf, ts, SLICE_END, track);
    end_packet(buf, packet);
}

/// What a call came to.
fn push_result(buf: &mut Vec<u8>, call: &Call) {
    let errno = call.errno();
    let address = errno.is_none() && returns_address(call.abi, call.nr);
    annotate(buf, b"ret", if address { POINTER } else { INT }, call.ret as u64);
    if let Some(name) = errno.and_then(syscalls::errno_name) {
        annotate_text(buf, b"errno", name.as_bytes());
    }
}

impl<'a> Perfetto<'a> {
    pub fn new(meta: &'a Meta, options: &'a Options, to: impl Write + 'a) -> Perfetto<'a> {
        Perfetto {
            out: Out::new(to),
            gate: Gate::new(options),
            clock: Clock::new(meta),
            tracks: Tracks::new(meta.anchors.first().map_or(0, |anchor| anchor.realtime_ns)),
            cpus: Vec::new(),
            init: meta.init_pid,
            command: &meta.command,
            native: meta.native_abi(),
            now: 0,
            name: Vec::new(),
        }
    }

    /// The clocks and the machine.
    pub fn head(&mut self, meta: &Meta) {
        let buf = &mut self.out.buf;
        let mut last = None;
        for anchor in [meta.anchors.first(), meta.anchors.last()] {
            let Some(anchor) = anchor else { continue };
            if last.replace(anchor.trace_ns) == Some(anchor.trace_ns) {
                continue;
            }
            let real = self.clock.realtime(anchor.trace_ns);
            let packet = begin_packet(buf, real, CLOCK_SNAPSHOT);
            for (clock, time) in [(REALTIME, real), (TRACE_CLOCK, anchor.trace_ns)] {
                let start = begin(buf, 1);
                number(buf, 1, clock);
                number(buf, 2, time);
                end(buf, start);
            }
            number(buf, 2, REALTIME);
            end_packet(buf, packet);
        }
        let started = meta.anchors.first().map_or(0, |anchor| anchor.realtime_ns);
        let packet = begin_packet(buf, started, SYSTEM_INFO);
        let utsname = begin(buf, 1);
        text(buf, 1, b"Linux");
        text(buf, 2, meta.host.version.as_bytes());
        text(buf, 3, meta.host.release.as_bytes());
        text(buf, 4, meta.host.machine.as_bytes());
        end(buf, utsname);
        end_packet(buf, packet);
    }

    /// The task's track; described anew where it is new or has another name.
    fn track(&mut self, pid: Pid, tgid: Pid, comm: &Comm, ts: u64) -> Track {
        let found = self.tracks.find(pid, tgid, comm);
        let track = found.track;
        if let Some(closed) = found.replaced {
            push_slice_end(&mut self.out.buf, self.clock.realtime(closed.ended).min(ts), closed.uuid);
        }
        if found.news {
            self.describe(pid, tgid, comm, ts, &track);
        }
        track
    }

    fn describe(&mut self, pid: Pid, tgid: Pid, comm: &Comm, ts: u64, track: &Track) {
        let buf = &mut self.out.buf;
        if track.new_process {
            let command: &[String] = if tgid == self.init { self.command } else { &[] };
            describe_process(buf, ts, track.process, tgid, command, b"");
        }
        let packet = begin_packet(buf, ts, TRACK_DESCRIPTOR);
        number(buf, UUID, track.uuid);
        if track.process != 0 {
            number(buf, PARENT_UUID, track.process);
            let thread = begin(buf, THREAD);
            number(buf, 1, tgid as u64);
            number(buf, 2, pid as u64);
            text(buf, 5, comm.as_bytes());
            end(buf, thread);
        } else {
            // Whose thread it is was not recorded.
            self.name.clear();
            self.name.extend_from_slice(comm.as_bytes());
            self.name.push(b' ');
            push_u64(&mut self.name, pid as u64);
            text(buf, TRACK_NAME, &self.name);
        }
        end_packet(buf, packet);
    }

    /// Ends the slice that the track was left in.
    fn close(&mut self, track: &Track, ts: Timestamp) {
        if let Some(ended) = self.tracks.take_open(track.slot, ts) {
            push_slice_end(&mut self.out.buf, self.clock.realtime(ended), track.uuid);
        }
    }

    fn show(&mut self, call: &Call, texts: &Texts) {
        self.gate.tally.shown += 1;
        self.now = self.now.max(call.ended);
        let ts = self.clock.realtime(call.entered);
        let track = self.track(call.pid, call.tgid, &call.comm, ts);
        self.close(&track, call.entered);
        self.name.clear();
        push_name(&mut self.name, call.abi, call.nr);
        let buf = &mut self.out.buf;
        let packet = begin_event(buf, ts, SLICE_BEGIN, track.uuid);
        text(buf, NAME, &self.name);
        text(buf, CATEGORY, b"syscall");
        let failed = call.errno();
        if failed.is_some() {
            text(buf, CATEGORY, b"error");
        }
        if !matches!(call.end, End::StartUnknown | End::Refused) {
            arguments(call, texts, &mut |name, value| annotate_text(buf, name, value));
        }
        if Some(call.abi) != self.native {
            annotate_text(buf, b"abi", call.abi.name().as_bytes());
        }
        let end: &[u8] = match call.end {
            End::Refused => b"refused",
            End::StartUnknown => b"start_unknown",
            End::Unfinished | End::Open => b"unfinished",
            End::Returned | End::Never => b"",
        };
        annotate_flag(buf, end, !end.is_empty());
        annotate_flag(buf, b"uncertain", call.uncertain);
        annotate_flag(buf, b"runtime", call.runtime);
        end_packet(buf, packet);
        match call.end {
            End::Returned | End::StartUnknown | End::Refused => {
                let ended = self.clock.realtime(call.ended);
                let packet = begin_event(buf, ended, SLICE_END, track.uuid);
                push_result(buf, call);
                end_packet(buf, packet);
                if failed.is_some() || call.end == End::Refused {
                    self.show_error(call, track.slot, ended);
                }
            }
            End::Never => self.tracks.leave_open(track.slot, Timestamp::MAX),
            End::Unfinished | End::Open => self.tracks.leave_open(track.slot, call.ended),
        }
        self.out.line_done();
    }

    /// The failed call again, where failures stand out.
    fn show_error(&mut self, call: &Call, slot: u32, ts: u64) {
        let Some(Lane { uuid, parent, is_new }) = self.tracks.errors(slot) else { return };
        let buf = &mut self.out.buf;
        if is_new {
            describe_lane(buf, ts, uuid, parent, b"errors");
        }
        self.name.push(b' ');
        match call.errno() {
            Some(errno) => push_errno(&mut self.name, errno),
            None if call.ret == i64::from(call.nr) => self.name.extend_from_slice(b"SIGSYS"),
            None => self.name.extend_from_slice(b"answered"),
        }
        if call.end == End::Refused {
            self.name.extend_from_slice(b" by seccomp");
        }
        let packet = begin_event(buf, ts, INSTANT, uuid);
        text(buf, NAME, &self.name);
        text(buf, CATEGORY, b"error");
        annotate(buf, b"tid", INT, call.pid as u64);
        end_packet(buf, packet);
    }

    /// The track of a CPU's losses.
    fn cpu(&mut self, cpu: CpuId, ts: u64) -> u64 {
        if let Some((_, uuid)) = self.cpus.iter().find(|(known, _)| *known == cpu) {
            return *uuid;
        }
        let uuid = self.tracks.new_uuid();
        self.cpus.push((cpu, uuid));
        self.name.clear();
        self.name.extend_from_slice(b"lost events CPU ");
        push_u64(&mut self.name, u64::from(cpu));
        describe_lane(&mut self.out.buf, ts, uuid, 0, &self.name);
        uuid
    }
}

/// A process. The reader keeps the first name that it is given, and a program's is not known when its process begins: it
/// comes when the process ends.
fn describe_process(buf: &mut Vec<u8>, ts: u64, uuid: u64, tgid: Pid, command: &[String], name: &[u8]) {
    let packet = begin_packet(buf, ts, TRACK_DESCRIPTOR);
    number(buf, UUID, uuid);
    let process = begin(buf, PROCESS);
    number(buf, 1, tgid as u64);
    for word in command {
        text(buf, 2, word.as_bytes());
    }
    if !name.is_empty() {
        text(buf, 6, name);
    }
    end(buf, process);
    end_packet(buf, packet);
}

/// A track that is no task's.
fn describe_lane(buf: &mut Vec<u8>, ts: u64, uuid: u64, parent: u64, name: &[u8]) {
    let packet = begin_packet(buf, ts, TRACK_DESCRIPTOR);
    number(buf, UUID, uuid);
    if parent != 0 {
        number(buf, PARENT_UUID, parent);
    }
    text(buf, TRACK_NAME, name);
    end_packet(buf, packet);
}

impl Lines for Perfetto<'_> {
    fn call(&mut self, call: &Call, texts: &Texts) {
        if self.gate.passes(call) {
            self.show(call, texts);
        }
    }

    /// The whole slice comes with its end.
    fn unfinished(&mut self, _: &Call, _: &Texts) {}

    fn resumed(&mut self, call: &Call, texts: &Texts) {
        self.call(call, texts);
    }

    fn note(&mut self, note: &Note) {
        let wanted = self.gate.filter.wants_note(note);
        let ts = self.clock.realtime(note.ts);
        if let What::Lost { cpu, from, to, count } = &note.what {
            if wanted {
                let track = self.cpu(*cpu, ts);
                self.name.clear();
                if let Some(count) = count {
                    push_u64(&mut self.name, *count);
                    self.name.push(b' ');
                }
                self.name.extend_from_slice(b"events lost");
                let buf = &mut self.out.buf;
                let packet = begin_event(buf, self.clock.realtime(*from), SLICE_BEGIN, track);
                text(buf, NAME, &self.name);
                text(buf, CATEGORY, b"lost");
                if let Some(count) = count {
                    annotate(buf, b"count", UINT, *count);
                }
                end_packet(buf, packet);
                push_slice_end(buf, self.clock.realtime(*to), track);
            }
        } else if let What::Damaged { cpu, file, offset, error } = &note.what {
            if wanted {
                let track = self.cpu(*cpu, ts);
                let buf = &mut self.out.buf;
                let packet = begin_event(buf, ts, INSTANT, track);
                text(buf, NAME, b"damaged");
                text(buf, CATEGORY, b"lost");
                annotate_text(buf, b"file", file.as_os_str().as_bytes());
                annotate(buf, b"offset", UINT, *offset);
                annotate_text(buf, b"error", error.to_string().as_bytes());
                end_packet(buf, packet);
            }
        } else {
            self.task_note(note, ts, wanted);
            if matches!(note.what, What::Fork { .. }) {
                return;
            }
        }
        self.gate.tally.shown += u64::from(wanted);
        self.out.line_done();
    }

    #[inline]
    fn closed(&self) -> bool {
        self.out.failed()
    }
}

impl Perfetto<'_> {
    fn task_note(&mut self, note: &Note, ts: u64, wanted: bool) {
        if let What::Fork { child, thread, .. } = &note.what {
            // A number that came round again is another task's.
            self.tracks.born(*child, *thread == Some(true));
            return;
        }
        self.name.clear();
        let mut category: &[u8] = b"task";
        match &note.what {
            What::Signal { sig, .. } => {
                category = b"signal";
                push_signal(&mut self.name, *sig);
            }
            What::Exec { filename, .. } => {
                self.name.extend_from_slice(b"exec ");
                self.name.extend_from_slice(filename);
            }
            What::Exit(cause) => push_cause(&mut self.name, *cause),
            What::Joined { .. } => self.name.extend_from_slice(b"joined the container"),
            _ => return,
        }
        let is_exit = matches!(note.what, What::Exit(_));
        if is_exit {
            if let Some((uuid, ended)) = self.tracks.take_open_of(note.pid, note.ts) {
                push_slice_end(&mut self.out.buf, self.clock.realtime(ended), uuid);
            }
        }
        if wanted {
            let name = std::mem::take(&mut self.name);
            let track = self.track(note.pid, note.tgid, &note.comm, ts);
            self.name = name;
            let buf = &mut self.out.buf;
            let packet = begin_event(buf, ts, INSTANT, track.uuid);
            text(buf, NAME, &self.name);
            text(buf, CATEGORY, category);
            if let What::Signal { sig, code } = &note.what {
                annotate(buf, b"code", INT, *code as u64);
                if let Some(name) = syscalls::si_code_name(*sig, *code) {
                    annotate_text(buf, b"code_name", name.as_bytes());
                }
            }
            end_packet(buf, packet);
        }
        if let What::Exec { old_pid, .. } = &note.what {
            // It goes on under its process's number.
            if *old_pid != note.pid {
                self.tracks.exited(*old_pid);
            }
        }
        if is_exit {
            if let Some((uuid, comm)) = self.tracks.leader(note.pid) {
                describe_process(&mut self.out.buf, ts, uuid, note.pid, &[], comm.as_bytes());
            }
            self.tracks.exited(note.pid);
        }
    }
}

impl<'a> Printer<'a> for Perfetto<'a> {
    fn tally(&self) -> Tally {
        self.gate.tally
    }

    fn out(&mut self) -> &mut Out<'a> {
        &mut self.out
    }

    fn last(&mut self) {
        let buf = &mut self.out.buf;
        let ts = self.clock.realtime(self.now);
        self.tracks.each_leader(&mut |tgid, uuid, comm| describe_process(buf, ts, uuid, tgid, &[], comm.as_bytes()));
    }
}
