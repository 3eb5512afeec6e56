// SPDX-License-Identifier: Apache-2.0 OR MIT
//! JSON for programs: one object a line, or the summary as one object. The schema stands in docs/json.md.
//!
//! Readers that keep numbers as doubles (jq, JavaScript) are exact up to 2^53 only. Times since 1970 and registers do not
//! fit, so they are strings; durations and counts do, so they are numbers. Call lines are put together by hand: they are
//! millions, and each member's name is fixed.

use std::io::Write;
use std::os::unix::ffi::OsStrExt;

use super::args::{each, registers};
use super::logs::{LogCount, LogLine};
use super::out::{push_hexes, Out, Who};
use super::summary::{Row, Sums};
use super::text::push_signal;
use super::{Gate, Options, Outcome, Printer, Tally};
use crate::calls::{Call, Cause, End, Lines, Note, Text, Texts, What};
use crate::format::Seen;
use crate::ids::Pid;
use crate::json::{push_escaped, push_i64, push_u64, Json};
use crate::recording::{Clock, EndState, Meta, Recording};
use crate::syscalls;

/// Version of the schema; grows when a reader of the old one would misread the new one.
const SCHEMA: u64 = 1;

/// Largest integer that a double holds with all below it.
const EXACT: i64 = (1 << 53) - 1;

/// Prints one object a line.
pub(crate) struct JsonLines<'a> {
    out: Out<'a>,
    gate: Gate<'a>,
    clock: Clock,
    who: Who,
    json: Json,
    /// One argument's text.
    scratch: Vec<u8>,
}

fn recording_members(json: &mut Json, recording: &Recording) {
    let meta = &recording.meta;
    json.field_str("name", &meta.name).field_str("origin", &meta.origin).field_str("tool", &meta.tool);
    json.key("container").begin_object().field_str("id", &meta.container.id);
    json.field_str("pod", &meta.container.pod).field_str("namespace", &meta.container.namespace);
    if !meta.container.pod_uid.is_empty() {
        json.field_str("pod_uid", &meta.container.pod_uid);
    }
    json.field_str("name", &meta.container.name).field_str("image", &meta.container.image).end_object();
    json.key("command").begin_array();
    for word in &meta.command {
        json.string(word);
    }
    json.end_array().field_i64("init_pid", i64::from(meta.init_pid));
    json.key("host").begin_object().field_str("node", &meta.host.node).field_str("kernel", &meta.host.release);
    json.field_str("machine", &meta.host.machine).field_u64("cpus", u64::from(meta.host.cpus)).end_object();
    if meta.counts_only() {
        json.field_str("counted_by", &meta.options.counted_by);
    }
    json.field_str("mode", &meta.options.mode).field_str("clock", &meta.clock);
    if meta.first_calls_only() {
        let profile = &meta.profile;
        json.key("profile").begin_object().field_str("abi", &profile.abi);
        json.field_u64("narrowed", u64::from(profile.narrowed)).field_u64("known", u64::from(profile.known));
        json.field_bool("without_exits", profile.without_exits).field_bool("narrowed_past", profile.narrowed_past);
        json.key("limited").begin_array();
        for name in &profile.limited {
            json.string(name);
        }
        json.end_array().end_object();
    }
    if !meta.options.syscalls.is_empty() || meta.options.errors_only {
        json.field_str("syscalls_recorded", &meta.options.syscalls).field_bool("errors_only", meta.options.errors_only);
    }
    json.key("start").quoted_u64(recording.started());
    json.field_u64("span_ns", meta.span());
}

fn outcome_members(json: &mut Json, recording: &Recording, outcome: &Outcome) {
    let sums = &outcome.conservation;
    json.key("events").begin_object().field_u64("decoded", sums.decoded).field_u64("lost", sums.lost);
    json.field_u64("trimmed", sums.trimmed).field_u64("not_stored", sums.not_stored);
    json.field_u64("unknown_gaps", outcome.counts.unknown_gaps).field_u64("damaged", outcome.counts.damaged);
    json.key("written");
    match sums.written {
        Some(written) => json.u64(written),
        None => json.null(),
    };
    json.key("balanced");
    match sums.balanced() {
        Some(balanced) => json.bool(balanced),
        None => json.null(),
    };
    json.end_object().field_u64("tasks", outcome.tasks);
    json.field_u64("shown", outcome.shown).field_u64("hidden", outcome.hidden).field_u64("runtime", outcome.runtime);
    let state = match outcome.end {
        EndState::Running => "running",
        EndState::Complete => "complete",
        EndState::Cut => "cut",
    };
    json.field_str("state", state).field_str("end_reason", &recording.meta.end_reason);
    json.key("problems").begin_array();
    for problem in &recording.meta.problems {
        json.string(problem);
    }
    json.end_array().field_bool("partial", outcome.is_partial());
}

impl<'a> JsonLines<'a> {
    pub fn new(meta: &Meta, options: &'a Options, to: impl Write + 'a) -> JsonLines<'a> {
        JsonLines {
            out: Out::new(to),
            gate: Gate::new(options),
            clock: Clock::new(meta),
            who: Who::new(push_task),
            json: Json::new(),
            scratch: Vec::new(),
        }
    }

    /// The `recording` object.
    pub fn head(&mut self, recording: &Recording) {
        let mut json = Json::new();
        json.begin_object().field_u64("schema", SCHEMA).field_str("type", "recording");
        recording_members(&mut json, recording);
        json.end_object().newline();
        self.out.buf.extend_from_slice(json.as_bytes());
    }

    fn call_line(&mut self, call: &Call, texts: &Texts) {
        self.gate.tally.shown += 1;
        let real = self.clock.realtime(call.entered);
        let buf = &mut self.out.buf;
        buf.extend_from_slice(b"{\"type\":\"call\",\"ts\":\"");
        push_u64(buf, real);
        self.who.push(buf, call.pid, call.tgid, &call.comm);
        buf.extend_from_slice(call.abi.name().as_bytes());
        buf.extend_from_slice(b"\",\"nr\":");
        push_i64(buf, i64::from(call.nr));
        if let Some(name) = syscalls::name(call.abi, call.nr) {
            buf.extend_from_slice(b",\"name\":\"");
            buf.extend_from_slice(name.as_bytes());
            buf.push(b'"');
        }
        let no_args = matches!(call.end, End::StartUnknown | End::Refused);
        if !no_args {
            buf.extend_from_slice(b",\"args\":[\"");
            push_hexes(buf, &registers(call), b"\",\"");
            buf.extend_from_slice(b"\"]");
            push_arguments(buf, call, texts, &mut self.scratch);
        }
        if texts.iter().any(|(_, text)| is_string(text)) {
            push_strings(buf, texts);
        }
        if matches!(call.end, End::Returned | End::StartUnknown | End::Refused) {
            push_ret(buf, call);
        }
        if let Some(duration) = call.duration() {
            buf.extend_from_slice(b",\"duration_ns\":");
            push_u64(buf, duration);
        }
        let flag: &[u8] = match call.end {
            End::StartUnknown => b",\"start_unknown\":true",
            End::Refused => b",\"refused\":true",
            End::Unfinished | End::Open => b",\"unfinished\":true",
            End::Returned | End::Never => b"",
        };
        buf.extend_from_slice(flag);
        for (set, flag) in [(call.uncertain, &b",\"uncertain\":true"[..]), (call.runtime, b",\"runtime\":true")] {
            if set {
                buf.extend_from_slice(flag);
            }
        }
        buf.extend_from_slice(b"}\n");
        self.out.line_done();
    }
}

/// `,"arguments":{"dfd":"AT_FDCWD",…}`; nothing for a call whose arguments are not known.
fn push_arguments(buf: &mut Vec<u8>, call: &Call, texts: &Texts, scratch: &mut Vec<u8>) {
    let begun = buf.len();
    buf.extend_from_slice(b",\"arguments\":{");
    let mut first = true;
    let known = each(call, texts, scratch, &mut |name, text| {
        buf.extend_from_slice(if first { b"\"" } else { b",\"" });
        first = false;
        buf.extend_from_slice(name.as_bytes());
        buf.extend_from_slice(b"\":\"");
        push_escaped(buf, text);
        buf.push(b'"');
    });
    if known {
        buf.push(b'}');
    } else {
        buf.truncate(begun);
    }
}

/// `","pid":…,"tgid":…,"comm":…,"abi":"`, behind the time.
fn push_task(buf: &mut Vec<u8>, pid: Pid, tgid: Pid, comm: &[u8]) {
    buf.extend_from_slice(b"\",\"pid\":");
    push_i64(buf, i64::from(pid));
    if tgid != 0 {
        buf.extend_from_slice(b",\"tgid\":");
        push_i64(buf, i64::from(tgid));
    }
    buf.extend_from_slice(b",\"comm\":\"");
    push_escaped(buf, comm);
    buf.extend_from_slice(b"\",\"abi\":\"");
}

fn is_string(text: Text<'_>) -> bool {
    matches!(text, Text::String { .. } | Text::Element { .. } | Text::Unread(_) | Text::MoreElements)
}

/// `,"strings":{"0":"/bin/ls","1":["ls","-l"]}`: by the argument's index, an array for an array of strings. What could
/// not be read is null; `"cut":[0]` names arguments of which there was more.
fn push_strings(buf: &mut Vec<u8>, texts: &Texts) {
    buf.extend_from_slice(b",\"strings\":{");
    let mut begun = false;
    let mut cut = 0u8;
    for arg in 0..6 {
        let mut elements = 0;
        for text in texts.of(arg) {
            let (bytes, is_cut, is_element) = match text {
                Text::String { bytes, cut } => (Some(bytes), cut, false),
                Text::Element { bytes, cut } => (Some(bytes), cut, true),
                Text::Unread(_) => (None, false, true),
                Text::MoreElements => {
                    cut |= 1 << arg;
                    continue;
                }
                Text::Data(_) | Text::Address { .. } | Text::Piece { .. } | Text::Target(_) => continue,
            };
            if elements > 0 {
                buf.push(b',');
            } else {
                buf.extend_from_slice(if begun { b",\"" } else { b"\"" });
                push_u64(buf, u64::from(arg));
                buf.extend_from_slice(if is_element { b"\":[" } else { b"\":" });
                begun = true;
            }
            elements += usize::from(is_element);
            cut |= u8::from(is_cut) << arg;
            match bytes {
                Some(bytes) => {
                    buf.push(b'"');
                    push_escaped(buf, bytes);
                    buf.push(b'"');
                }
                None => buf.extend_from_slice(b"null"),
            }
        }
        if elements > 0 {
            buf.push(b']');
        }
    }
    buf.push(b'}');
    if cut != 0 {
        buf.extend_from_slice(b",\"cut\":[");
        for (nth, arg) in (0..6u64).filter(|arg| cut >> arg & 1 != 0).enumerate() {
            if nth > 0 {
                buf.push(b',');
            }
            push_u64(buf, arg);
        }
        buf.push(b']');
    }
}

fn push_ret(buf: &mut Vec<u8>, call: &Call) {
    buf.extend_from_slice(b",\"ret\":");
    if (-EXACT..=EXACT).contains(&call.ret) {
        push_i64(buf, call.ret);
    } else {
        buf.push(b'"');
        push_i64(buf, call.ret);
        buf.push(b'"');
    }
    if let Some(name) = call.errno().and_then(syscalls::errno_name) {
        buf.extend_from_slice(b",\"errno\":\"");
        buf.extend_from_slice(name.as_bytes());
        buf.push(b'"');
    }
}

impl Lines for JsonLines<'_> {
    fn call(&mut self, call: &Call, texts: &Texts) {
        if self.gate.passes(call) {
            self.call_line(call, texts);
        }
    }

    /// Programs want a call once and whole: the line comes when it ends.
    fn unfinished(&mut self, _: &Call, _: &Texts) {}

    fn resumed(&mut self, call: &Call, texts: &Texts) {
        self.call(call, texts);
    }

    fn note(&mut self, note: &Note) {
        if !self.gate.filter.wants_note(note) {
            return;
        }
        self.gate.tally.shown += 1;
        let json = &mut self.json;
        json.clear();
        let kind = match &note.what {
            What::Signal { .. } => "signal",
            What::Exit(_) => "exit",
            What::Exec { .. } => "exec",
            What::Fork { .. } => "fork",
            What::Joined { .. } => "join",
            What::Lost { .. } => "lost",
            What::Damaged { .. } => "damaged",
        };
        let clock = &self.clock;
        let time = |json: &mut Json, name: &str, ts| {
            json.key(name).quoted_u64(clock.realtime(ts));
        };
        json.begin_object().field_str("type", kind);
        time(json, "ts", note.ts);
        if note.pid != 0 {
            json.field_i64("pid", i64::from(note.pid));
            if note.tgid != 0 {
                json.field_i64("tgid", i64::from(note.tgid));
            }
            json.key("comm").bytes(note.comm.as_bytes());
        }
        match &note.what {
            What::Signal { sig, code } => {
                signal(json, *sig);
                json.field_i64("code", i64::from(*code));
                if let Some(name) = syscalls::si_code_name(*sig, *code) {
                    json.field_str("code_name", name);
                }
            }
            What::Exit(cause) => match cause {
                Cause::Exited(status) => {
                    json.field_u64("status", u64::from(*status));
                }
                Cause::Killed(sig) => signal(json.field_bool("killed", true), *sig),
                Cause::KilledFromOutside => {
                    json.field_bool("killed", true);
                }
                Cause::Superseded { by } => {
                    json.field_i64("superseded_by", i64::from(*by));
                }
                Cause::Unknown => {}
            },
            What::Exec { old_pid, filename } => {
                json.field_i64("old_pid", i64::from(*old_pid)).key("filename").bytes(filename);
            }
            What::Joined { seen } => match seen {
                Seen::SetUp => {}
                Seen::Late => _ = json.field_bool("late", true),
                Seen::Missed => _ = json.field_bool("missed", true),
            },
            What::Fork { child, thread, comm } => {
                json.field_i64("child", i64::from(*child)).key("child_comm").bytes(comm.as_bytes());
                if let Some(thread) = thread {
                    json.field_bool("thread", *thread);
                }
            }
            What::Lost { cpu, from, to, count } => {
                json.field_u64("cpu", u64::from(*cpu));
                time(json, "from", *from);
                time(json, "to", *to);
                json.key("count");
                match count {
                    Some(count) => json.u64(*count),
                    None => json.null(),
                };
            }
            What::Damaged { cpu, file, offset, error } => {
                json.field_u64("cpu", u64::from(*cpu)).key("file").bytes(file.as_os_str().as_bytes());
                json.field_u64("offset", *offset).field_str("error", &error.to_string());
            }
        }
        if note.runtime {
            json.field_bool("runtime", true);
        }
        json.end_object().newline();
        self.out.buf.extend_from_slice(self.json.as_bytes());
        self.out.line_done();
    }

    #[inline]
    fn closed(&self) -> bool {
        self.out.failed()
    }
}

fn signal(json: &mut Json, sig: i32) {
    let mut name = Vec::new();
    push_signal(&mut name, sig);
    json.field_i64("signal", i64::from(sig)).key("signal_name").bytes(&name);
}

impl<'a> Printer<'a> for JsonLines<'a> {
    fn tally(&self) -> Tally {
        self.gate.tally
    }

    fn out(&mut self) -> &mut Out<'a> {
        &mut self.out
    }

    fn log(&mut self, line: &LogLine<'_>) -> bool {
        if !self.gate.filter.in_time(line.ts) {
            return false;
        }
        self.gate.tally.shown += 1;
        let json = &mut self.json;
        json.clear();
        json.begin_object().field_str("type", "log").key("ts").quoted_u64(line.real);
        for (name, value) in [("stream", line.stream.as_bytes()), ("file", line.file.as_os_str().as_bytes())] {
            if !value.is_empty() {
                json.key(name).bytes(value);
            }
        }
        json.key("text").bytes(line.text);
        json.end_object().newline();
        self.out.buf.extend_from_slice(self.json.as_bytes());
        self.out.line_done();
        true
    }
}

/// Appends the `end` object.
pub(crate) fn push_end(buf: &mut Vec<u8>, recording: &Recording, outcome: &Outcome, logs: &[LogCount]) {
    let mut json = Json::new();
    json.begin_object().field_str("type", "end");
    outcome_members(&mut json, recording, outcome);
    if !logs.is_empty() {
        json.key("logs").begin_array();
        for log in logs {
            json.begin_object().key("file").bytes(log.file.as_os_str().as_bytes());
            json.field_u64("shown", log.shown).field_u64("outside", log.outside);
            json.field_u64("untimed", log.untimed).field_u64("cut", log.cut).end_object();
        }
        json.end_array();
    }
    json.end_object().newline();
    buf.extend_from_slice(json.as_bytes());
}

fn row_members(json: &mut Json, row: &Row, counts_only: bool) {
    json.field_u64("calls", row.calls).field_u64("errors", row.errors);
    if counts_only {
        return;
    }
    json.field_u64("refused", row.refused);
    json.field_u64("timed", row.timed).field_u64("total_ns", row.total).field_u64("avg_ns", row.average());
    json.field_u64("p50_ns", row.percentile(500)).field_u64("p99_ns", row.percentile(990));
    json.field_u64("max_ns", row.max);
}

/// Appends the summary as one object.
pub(crate) fn push_summary(buf: &mut Vec<u8>, recording: &Recording, sums: &Sums<'_>, outcome: &Outcome) {
    let mut json = Json::new();
    json.begin_object().field_u64("schema", SCHEMA).field_str("type", "summary");
    json.key("recording").begin_object();
    recording_members(&mut json, recording);
    json.end_object().key("syscalls").begin_array();
    for row in sums.sorted() {
        json.begin_object().field_str("abi", row.abi.name()).field_i64("nr", i64::from(row.nr));
        if let Some(name) = syscalls::name(row.abi, row.nr) {
            json.field_str("name", name);
        }
        row_members(&mut json, row, sums.mixed.is_some());
        json.end_object();
    }
    json.end_array();
    for (name, row) in [("others", &sums.others), ("total", &sums.total)] {
        json.key(name).begin_object();
        row_members(&mut json, row, sums.mixed.is_some());
        json.end_object();
    }
    match sums.mixed {
        None => json.field_u64("signals", sums.signals),
        Some(mixed) => json.field_bool("mixed_abis", mixed),
    };
    outcome_members(&mut json, recording, outcome);
    json.end_object().newline();
    buf.extend_from_slice(json.as_bytes());
}
