// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where a profile comes from: the file beside it, the remarks for people, and who made a call first.
//!
//! The profile itself has no place for that: comments are not JSON, and runtimes refuse members they do not know.

use crate::arch::Abi;
use crate::calendar::Utc;
use crate::ids::{SyscallNr, Timestamp};
use crate::json::{push_u64, Json};
use crate::recording::{Clock, Meta};
use crate::syscalls::errno_name;

use super::denials::{comm_of, name_of};
use super::generate::{Made, Named, Source, Wish};
use super::runtimes::{Runtime, TABLE_VERSION};
use super::seen::First;

/// A table of words, aligned.
pub(super) struct Table {
    columns: usize,
    cells: Vec<String>,
}

impl Table {
    /// With these heads, which are separated by blanks.
    pub(super) fn new(heads: &str) -> Table {
        let cells: Vec<String> = heads.split(' ').map(str::to_owned).collect();
        Table { columns: cells.len(), cells }
    }

    /// Adds a row; of names from elsewhere, what would move the cursor is shown.
    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        for cell in cells {
            self.cells.push(cell.chars().map(|char| if crate::words::breaks(char) { '?' } else { char }).collect());
        }
    }

    /// Appends the lines.
    pub(super) fn push(&self, out: &mut Vec<u8>) {
        let width = |column: usize| {
            self.cells.iter().skip(column).step_by(self.columns).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns).map(width).collect();
        for row in self.cells.chunks(self.columns) {
            for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
                out.extend_from_slice(cell.as_bytes());
                if at + 1 < self.columns {
                    let blanks = width.saturating_sub(cell.chars().count()) + 2;
                    out.resize(out.len() + blanks, b' ');
                }
            }
            out.push(b'\n');
        }
    }
}

/// A time of day, UTC, with microseconds.
pub(super) fn time(meta: &Meta, ts: Timestamp) -> String {
    let real = Clock::new(meta).realtime(ts);
    let micros = 1_000_000 + real / 1000 % 1_000_000;
    let micros = micros.to_string();
    [&Utc::from_unix(real / 1_000_000_000).to_string(), ".", micros.get(1..).unwrap_or_default()].concat()
}

/// A task: its name and number.
pub(super) fn task(first: &First) -> String {
    [&comm_of(&first.comm), " (pid ", &first.pid.to_string(), ")"].concat()
}

/// The call's name; with its ABI where that is not the machine's own.
pub(super) fn name_with_abi(meta: &Meta, abi: Abi, nr: SyscallNr) -> String {
    let mut name = name_of(abi, nr);
    if meta.native_abi() != Some(abi) {
        name.push_str(&[" (", abi.name(), ")"].concat());
    }
    name
}

/// Version of the JSON of all commands; it grows when a reader of the old one would misread the new one.
const SCHEMA: u64 = 1;

/// Begins an object of this type.
pub(super) fn begin(json: &mut Json, kind: &str) {
    json.begin_object().field_u64("schema", SCHEMA).field_str("type", kind);
}

/// The members that tell when a call was made and by whom.
pub(super) fn write_first(json: &mut Json, meta: &Meta, first: &First) {
    json.field_str("first", &time(meta, first.ts));
    json.key("ts").quoted_u64(Clock::new(meta).realtime(first.ts));
    json.field_i64("pid", i64::from(first.pid)).field_i64("tgid", i64::from(first.tgid));
    json.field_str("comm", &comm_of(&first.comm));
}

/// Why a name is in the profile, as words.
fn reasons(named: &Named) -> Vec<&'static str> {
    let why = named.why;
    [(why.container, "container"), (why.runtime, "runtime"), (why.program, "program"), (why.spelling, "spelling")]
        .into_iter()
        .filter_map(|(is, word)| is.then_some(word))
        .collect()
}

/// What an object says of a name, and the object's end: why it is there, which recording has it first, and who made it
/// there.
fn write_named(json: &mut Json, sources: &[Source], named: &Named) {
    json.field_str("name", named.name).key("because").begin_array();
    for reason in reasons(named) {
        json.string(reason);
    }
    json.end_array().field_u64("calls", named.calls);
    if let Some((source, first)) = named.first.and_then(|(at, first)| Some((sources.get(at)?, first))) {
        json.field_str("recording", &source.name);
        if let Some(first) = first {
            write_first(json, &source.recording.meta, &first);
        }
    }
    json.end_object();
}

/// The file beside the profile; docs/json.md describes it.
pub fn write_sources(json: &mut Json, sources: &[Source], wish: &Wish<'_>, made: &Made) {
    begin(json, "profile_sources");
    json.field_str("tool", concat!("ftrace-analyzer ", env!("CARGO_PKG_VERSION")));
    json.field_str("runtime", wish.runtime.name()).field_u64("runtime_table", TABLE_VERSION);
    json.field_bool("no_new_privileges", made.no_new_privileges).field_bool("portable", wish.portable);
    json.field_bool("base", wish.base.is_some());
    let errno = i32::try_from(made.profile.defaultErrnoRet).ok().and_then(errno_name);
    json.field_str("default_action", &made.profile.defaultAction).field_str("default_errno", errno.unwrap_or("EPERM"));
    json.field_str("default_reason", DEFAULT_REASON).field_u64("nameless_calls", made.nameless);
    json.key("recordings").begin_array();
    for source in sources {
        let meta = &source.recording.meta;
        json.line_break()
            .begin_object()
            .field_str("recording", &source.name)
            .field_str("container", &meta.container.id);
        let started = source.recording.started() / 1_000_000_000;
        json.field_str("started", &Utc::from_unix(started).to_string()).field_u64("duration_ns", meta.span());
        json.field_str("node", &meta.host.node).field_str("kernel", &meta.host.release);
        json.field_str("machine", &meta.host.machine).field_str("tool", &meta.tool);
        json.field_str("mode", &meta.options.mode).field_u64("tasks", source.walked.tasks);
        json.field_u64("calls", source.calls()).field_u64("kinds", source.seen.calls.len() as u64);
        json.field_u64("runtime_calls", source.seen.runtime).field_u64("lost", source.walked.conservation.lost);
        json.key("unfit").begin_array();
        for reason in &source.unfit {
            json.string(reason);
        }
        json.end_array().end_object();
    }
    json.end_array().key("calls").begin_array();
    for named in &made.names {
        json.line_break().begin_object();
        write_named(json, sources, named);
    }
    json.end_array().key("arguments").begin_array();
    for limit in &made.limits {
        json.line_break().begin_object().field_str("name", limit.name).field_u64("index", u64::from(limit.index));
        json.field_bool("limited", limit.why.is_empty()).field_str("reason", limit.why).key("values").begin_array();
        for (value, _) in &limit.values {
            json.u64(u64::from(*value));
        }
        json.end_array().end_object();
    }
    json.end_array().key("refused_by_base").begin_array();
    for name in &made.refused_by_base {
        json.string(name);
    }
    json.end_array().end_object();
    json.newline();
}

const DEFAULT_REASON: &str =
    "a call that is not named fails as on a kernel that does not have it, and C libraries fall \
    back on older ones (clone3, faccessat2, openat2); with EPERM they give up";

/// Appends a line of parts.
fn line(out: &mut Vec<u8>, parts: &[&str]) {
    out.extend_from_slice(b"# ");
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
    out.push(b'\n');
}

/// The remarks for people: what the profile is made of, each line behind `# `.
pub fn push_remarks(out: &mut Vec<u8>, sources: &[Source], wish: &Wish<'_>, made: &Made) {
    let count = |is: fn(&Named) -> bool| made.names.iter().filter(|named| is(named)).count().to_string();
    let mut parts = vec![made.names.len().to_string(), " calls: ".to_owned(), count(|named| named.why.container)];
    let mut add = |count: String, text: &[&str]| parts.extend([count, text.concat()]);
    add(String::new(), &[" of the container, "]);
    let runtime = wish.runtime.told();
    if wish.runtime != Runtime::None {
        let how = if made.no_new_privileges { " with no-new-privileges" } else { "" };
        let more = count(|named| named.why.runtime && !named.why.container);
        add(more, &[" more that ", runtime, " needs to start a program", how, ", "]);
    }
    add(count(|named| named.why.program && !named.why.container && !named.why.runtime), &[" more of every program"]);
    if wish.portable {
        let more = count(|named| named.why.spelling && !named.why.runtime && !named.why.program);
        add(", ".to_owned() + &more, &[" more as other machines spell them"]);
    }
    line(out, &[&parts.concat()]);
    for source in sources {
        let meta = &source.recording.meta;
        let millis = meta.span() / 1_000_000;
        let (calls, tasks) = (source.calls().to_string(), source.walked.tasks.to_string());
        let span = match millis {
            0..=9999 => millis.to_string() + " ms",
            _ => (millis / 1000).to_string() + " s",
        };
        line(
            out,
            &[
                "from ",
                &source.name,
                ": ",
                &span,
                ", ",
                &calls,
                " calls, ",
                &tasks,
                " tasks, Linux ",
                &meta.host.release,
                " ",
                &meta.host.machine,
            ],
        );
        for reason in &source.unfit {
            line(out, &["unfit, and used by --force: ", reason]);
        }
    }
    if wish.base.is_none() {
        line(out, &["what is not named fails with ENOSYS: C libraries then fall back on older calls"]);
    }
    for limit in &made.limits {
        let mut text = Vec::new();
        for (value, _) in &limit.values {
            text.push(b' ');
            push_u64(&mut text, u64::from(*value));
        }
        let values = String::from_utf8_lossy(&text);
        match limit.why {
            "" => line(out, &[limit.name, " is limited to the values of its argument that were seen:", &values]),
            why => line(out, &[limit.name, " is not limited by its argument: ", why]),
        }
    }
    if made.nameless > 0 {
        line(
            out,
            &[&made.nameless.to_string(), " calls have numbers that have no name here, and are not in the profile"],
        );
    }
    for name in &made.refused_by_base {
        line(out, &[name, " was called by the container and stays refused, as the base has it"]);
    }
}

/// `--why` as JSON.
pub fn write_why(json: &mut Json, sources: &[Source], named: &Named) {
    begin(json, "why");
    write_named(json, sources, named);
    json.newline();
}

/// `--why` for people: who made the call first, when, in which recording; else why the name is there.
pub fn push_why(out: &mut Vec<u8>, sources: &[Source], wish: &Wish<'_>, named: &Named) {
    let mut add = |parts: &[&str]| parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
    add(&[named.name, ": "]);
    let mut between = "";
    if let Some((at, first)) = named.first {
        if let Some(source) = sources.get(at) {
            match first {
                Some(first) => {
                    let when = time(&source.recording.meta, first.ts);
                    add(&["first by ", &task(&first), " at ", &when, " UTC in ", &source.name]);
                }
                None => add(&["counted in ", &source.name]),
            }
            add(&[", ", &named.calls.to_string(), if named.calls == 1 { " call" } else { " calls" }]);
            between = "; ";
        }
    }
    let why = named.why;
    let runtime = wish.runtime.told();
    for (is, parts) in [
        (why.runtime, [runtime, " needs it to start a program"]),
        (why.program, ["every program needs it", ""]),
        (why.spelling, ["another machine's spelling of a call that was made", ""]),
    ] {
        if is {
            add(&[between]);
            add(&parts);
            between = "; ";
        }
    }
    add(&["\n"]);
}
