// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `list`: the recordings, or those of one container or pod, oldest first, as a table or as JSON.
//!
//! Calls and tasks are counted from the recording itself; for a finished one that is done once and kept beside it in
//! `counts`, which may be deleted at any time.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::args::{self, Args, Opt};
use super::{out, select, units};
use crate::calendar::Utc;
use crate::error::{exit, Error, Result};
use crate::format::Event;
use crate::ids::Pid;
use crate::json::{push_u64, Json};
use crate::recorder::{running, RunState};
use crate::recording::{list_recordings, CallCounts, EndState, Item, Meta, Recording, Tail};
use crate::sys::{read_text, realtime_ns};

/// What is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    tasks: u64,
    calls: u64,
    lost: u64,
    bytes: u64,
}

/// Counts a recording, or takes what was counted before.
fn tally(dir: &Path, meta: &Meta, finished: bool) -> Result<Tally> {
    let kept = dir.join("counts");
    let recording = Recording::open(dir)?;
    let mut bytes = recording.bytes();
    if let (true, Some(arch)) = (meta.counts_only(), meta.arch()) {
        bytes = dir.join(CallCounts::FILE).metadata().map_or(0, |file| file.len());
        let counts = CallCounts::load(dir)?;
        let calls = counts.calls(arch).iter().fold(counts.others, |sum, call| sum.saturating_add(call.calls));
        let lost = counts.dropped + if meta.stats.is_empty() { counts.lost } else { meta.lost() };
        return Ok(Tally { tasks: counts.tasks, calls: if counts.started { calls } else { 0 }, lost, bytes });
    }
    if finished {
        if let Some(tally) = read_text(&kept).ok().as_deref().and_then(|text| parse_kept(text, bytes)) {
            return Ok(tally);
        }
    }
    let mut tasks: Vec<Pid> = meta.tasks.iter().map(|task| task.tid).collect();
    tasks.sort_unstable();
    tasks.dedup();
    let mut calls = 0;
    let mut stream = recording.stream(if finished { Tail::Use } else { Tail::Wait })?;
    let _ = stream.run(u64::MAX, |item| {
        match item {
            Item::Event { event: Event::SysEnter { .. }, .. } => calls += 1,
            Item::Event { event: Event::Fork { child: pid, .. } | Event::NewTask { pid, .. }, .. } => {
                if let Err(at) = tasks.binary_search(&pid) {
                    tasks.insert(at, pid);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    })?;
    let lost = if meta.stats.is_empty() { stream.counts().lost } else { meta.lost() };
    let tally = Tally { tasks: tasks.len() as u64, calls, lost, bytes };
    if finished {
        // Others may read a recording they must not write; it is only a saving.
        let mut text = b"1".to_vec();
        for number in [tally.tasks, tally.calls, tally.lost, tally.bytes] {
            text.push(b' ');
            push_u64(&mut text, number);
        }
        text.push(b'\n');
        let _ = out::replace(&kept, &text);
    }
    Ok(tally)
}

/// The `counts` file, if it is of this version and of a recording of this size.
fn parse_kept(text: &str, bytes: u64) -> Option<Tally> {
    let mut words = text.split_ascii_whitespace();
    let mut next = || crate::words::number(words.next()?);
    if next()? != 1 {
        return None;
    }
    let tally = Tally { tasks: next()?, calls: next()?, lost: next()?, bytes: next()? };
    (tally.bytes == bytes).then_some(tally)
}

/// Columns of the table.
const COLUMNS: usize = 11;
const HEAD: [&str; COLUMNS] =
    ["RECORDING", "STATE", "POD", "ONLY", "MODE", "START (UTC)", "DURATION", "TASKS", "CALLS", "LOST", "SIZE"];
/// The column that is shown only if one of the recordings is of a pod.
const POD: usize = 2;
/// The column that is shown only if one of the recordings was limited to some calls.
const ONLY: usize = 3;
/// The column that is shown only if one of the recordings is not of mode continuous.
const MODE: usize = 4;
/// From this column on cells are numbers and stand to the right.
const NUMBERS: usize = 6;

/// What is shown: a table's cells row by row, or lines of JSON.
struct Rows {
    shown: Vec<PathBuf>,
    cells: Vec<String>,
    json: Option<Json>,
    has_pods: bool,
    has_limited: bool,
    has_modes: bool,
}

impl Rows {
    fn add(&mut self, dir: &Path, meta: &Meta, live: &[RunState]) -> Result<()> {
        let is_live = live.iter().any(|state| dir.as_os_str() == state.recording.as_str());
        let mut ended = meta.anchors.last().map_or(0, |anchor| anchor.realtime_ns);
        let state = match meta.end_state() {
            EndState::Complete => "complete",
            EndState::Cut => "cut",
            EndState::Running if is_live => {
                ended = realtime_ns();
                "running"
            }
            EndState::Running => "killed",
        };
        let started = meta.anchors.first().map_or(0, |anchor| anchor.realtime_ns);
        let duration = ended.saturating_sub(started);
        let tally = tally(dir, meta, !is_live)?;
        self.shown.push(dir.to_owned());
        let unit = select::unit(dir);
        let container = &meta.container;
        if let Some(json) = &mut self.json {
            json.begin_object().field_u64("schema", 1);
            json.field_str("recording", &unit).field_str("path", &dir.to_string_lossy());
            json.field_str("name", &meta.name).field_str("container", &container.id);
            json.field_str("namespace", &container.namespace).field_str("pod", &container.pod);
            json.field_str("container_name", &container.name).field_str("state", state);
            json.field_str("end_reason", &meta.end_reason).field_u64("start_ns", started);
            json.field_u64("duration_ns", duration).field_u64("tasks", tally.tasks).field_u64("calls", tally.calls);
            json.field_u64("lost", tally.lost).field_u64("bytes", tally.bytes);
            json.field_str("mode", &meta.options.mode);
            json.field_str("syscalls_recorded", &meta.options.syscalls);
            json.field_bool("errors_only", meta.options.errors_only).end_object().newline();
            return Ok(());
        }
        let mut pod = container.pod_path();
        self.has_pods |= !pod.is_empty();
        if pod.is_empty() {
            pod.push('-');
        }
        let mut only = meta.options.syscalls.clone();
        if meta.options.errors_only {
            only.push_str(if only.is_empty() { "errors" } else { " errors" });
        }
        self.has_limited |= !only.is_empty();
        if only.is_empty() {
            only.push('-');
        }
        let mode = meta.options.mode.clone();
        self.has_modes |= mode != "continuous";
        let start = Utc::from_unix(started / 1_000_000_000).to_string();
        self.cells.extend([unit, state.to_owned(), pod, only, mode, start, units::show_duration(duration)]);
        for number in [tally.tasks, tally.calls, tally.lost] {
            self.cells.push(number.to_string());
        }
        self.cells.push(units::show_size(tally.bytes));
        Ok(())
    }

    /// Columns as wide as their widest cell.
    fn table(&self) -> String {
        let mut widths = HEAD.map(str::len);
        for row in self.cells.chunks(COLUMNS) {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = String::new();
        let head = HEAD.map(str::to_owned);
        for row in core::iter::once(head.as_slice()).chain(self.cells.chunks(COLUMNS)) {
            for (index, (cell, width)) in row.iter().zip(widths).enumerate() {
                if (index == POD && !self.has_pods)
                    || (index == ONLY && !self.has_limited)
                    || (index == MODE && !self.has_modes)
                {
                    continue;
                }
                let padding = width.saturating_sub(cell.chars().count());
                let (before, after) = if index >= NUMBERS { (padding, 0) } else { (0, padding) };
                push_blanks(&mut text, before);
                text.push_str(cell);
                // Nothing stands to the right of the last column.
                if index + 1 < COLUMNS {
                    push_blanks(&mut text, after + 2);
                }
            }
            text.push('\n');
        }
        text
    }
}

fn push_blanks(text: &mut String, count: usize) {
    for _ in 0..count {
        text.push(' ');
    }
}

pub fn main(args: &Args<'_>) -> Result<u8> {
    let live = running();
    let base = args::dir(args);
    let mut rows = Rows {
        shown: Vec::new(),
        cells: Vec::new(),
        json: args.has(Opt::Json).then(Json::new),
        has_pods: false,
        has_limited: false,
        has_modes: false,
    };
    let mut code = exit::OK;
    for (dir, meta) in &list_recordings(&base)? {
        if !args.word.map_or(true, |word| select::is_meant(word, dir, meta.as_deref().ok())) {
            continue;
        }
        let added = match meta {
            Ok(meta) => rows.add(dir, meta, &live),
            Err(error) => {
                out::complain("list", error);
                code = exit::FAILED;
                continue;
            }
        };
        if let Err(error) = added {
            out::complain("list", &error);
            code = exit::FAILED;
        }
    }
    // Recordings that run elsewhere than in --dir.
    for state in &live {
        let dir = Path::new(&state.recording);
        if !rows.shown.iter().any(|shown| shown == dir) {
            let meta = Recording::read_meta(dir).ok();
            let meta = meta.filter(|meta| args.word.map_or(true, |word| select::is_meant(word, dir, Some(meta))));
            if let Some(meta) = meta {
                let _ = rows.add(dir, &meta, &live);
            }
        }
    }
    if let Some(json) = &rows.json {
        out::print(json.as_bytes())?;
    } else if let (true, Some(word)) = (rows.shown.is_empty(), args.word) {
        return Err(Error::not_found(["a recording ", word].concat()).hint("list without a name shows all"));
    } else if rows.shown.is_empty() {
        let text = format!("no recordings in {}; ftrace-analyzer run -- COMMAND makes one\n", base.display());
        out::print(text.as_bytes())?;
    } else {
        out::print(rows.table().as_bytes())?;
    }
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_counts_are_used_for_the_same_recording_only() {
        assert_eq!(parse_kept("1 2 3 4 5\n", 5), Some(Tally { tasks: 2, calls: 3, lost: 4, bytes: 5 }));
        assert_eq!(parse_kept("1 2 3 4 5\n", 6), None);
        assert_eq!(parse_kept("2 2 3 4 5\n", 5), None);
        assert_eq!(parse_kept("1 2 3\n", 5), None);
    }
}
