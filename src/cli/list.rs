// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `list`: the recordings, oldest first, as a table or as JSON.
//!
//! Calls and tasks are counted from the recording itself; for a finished one that is done once and kept beside it in
//! `counts`, which may be deleted at any time.

use std::collections::BTreeSet;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::args::List;
use super::{out, select, units};
use crate::calendar::Utc;
use crate::error::{exit, Result};
use crate::format::Event;
use crate::ids::Pid;
use crate::json::Json;
use crate::recorder::{running, RunState};
use crate::recording::{list_recordings, EndState, Item, Meta, Recording, Tail};
use crate::sys::realtime_ns;

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
    let bytes = recording.bytes();
    if finished {
        if let Some(tally) = fs::read_to_string(&kept).ok().as_deref().and_then(|text| parse_kept(text, bytes)) {
            return Ok(tally);
        }
    }
    let mut tasks: BTreeSet<Pid> = meta.tasks.iter().map(|task| task.tid).collect();
    let mut calls = 0;
    let mut stream = recording.stream(if finished { Tail::Use } else { Tail::Wait })?;
    let _ = stream.run(u64::MAX, |item| {
        match item {
            Item::Event { event: Event::SysEnter { .. }, .. } => calls += 1,
            Item::Event { event: Event::Fork { child: pid, .. } | Event::NewTask { pid, .. }, .. } => {
                tasks.insert(pid);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    })?;
    let lost = if meta.stats.is_empty() { stream.counts().lost } else { meta.lost() };
    let tally = Tally { tasks: tasks.len() as u64, calls, lost, bytes };
    if finished {
        // Others may read a recording they must not write; it is only a saving.
        let _ = out::replace(&kept, &format!("1 {} {} {} {}\n", tally.tasks, tally.calls, tally.lost, tally.bytes));
    }
    Ok(tally)
}

/// The `counts` file, if it is of this version and of a recording of this size.
fn parse_kept(text: &str, bytes: u64) -> Option<Tally> {
    let mut numbers = text.split_ascii_whitespace().map(|word| word.parse::<u64>().ok());
    let mut next = || numbers.next().flatten();
    if next()? != 1 {
        return None;
    }
    let tally = Tally { tasks: next()?, calls: next()?, lost: next()?, bytes: next()? };
    (tally.bytes == bytes).then_some(tally)
}

/// One row.
struct Row {
    dir: PathBuf,
    state: &'static str,
    started: u64,
    ended: u64,
    meta: Meta,
    tally: Tally,
}

fn row(dir: PathBuf, meta: Meta, live: &[RunState]) -> Result<Row> {
    let is_live = live.iter().any(|state| Path::new(&state.recording) == dir);
    let state = match meta.end_state() {
        EndState::Complete => "complete",
        EndState::Cut => "cut",
        EndState::Running if is_live => "running",
        EndState::Running => "killed",
    };
    let started = meta.anchors.first().map_or(0, |anchor| anchor.realtime_ns);
    let ended = if is_live && meta.end_state() == EndState::Running {
        realtime_ns()
    } else {
        meta.anchors.last().map_or(started, |anchor| anchor.realtime_ns)
    };
    let tally = tally(&dir, &meta, !is_live)?;
    Ok(Row { dir, state, started, ended, meta, tally })
}

impl Row {
    fn pod(&self) -> String {
        let container = &self.meta.container;
        if container.pod.is_empty() {
            return "-".to_owned();
        }
        format!("{}/{}/{}", container.namespace, container.pod, container.name)
    }

    fn cells(&self) -> [String; 9] {
        [
            select::unit(&self.dir),
            self.state.to_owned(),
            self.pod(),
            Utc::from_unix(self.started / 1_000_000_000).to_string(),
            units::show_duration(self.ended.saturating_sub(self.started)),
            self.tally.tasks.to_string(),
            self.tally.calls.to_string(),
            self.tally.lost.to_string(),
            units::show_size(self.tally.bytes),
        ]
    }

    fn to_json(&self, json: &mut Json) {
        let container = &self.meta.container;
        json.begin_object().field_u64("schema", 1).field_str("recording", &select::unit(&self.dir));
        json.field_str("path", &self.dir.display().to_string()).field_str("name", &self.meta.name);
        json.field_str("container", &container.id).field_str("namespace", &container.namespace);
        json.field_str("pod", &container.pod).field_str("container_name", &container.name);
        json.field_str("state", self.state).field_str("end_reason", &self.meta.end_reason);
        json.field_u64("start_ns", self.started).field_u64("duration_ns", self.ended.saturating_sub(self.started));
        json.field_u64("tasks", self.tally.tasks).field_u64("calls", self.tally.calls);
        json.field_u64("lost", self.tally.lost).field_u64("bytes", self.tally.bytes).end_object().newline();
    }
}

/// Columns as wide as their widest cell; numbers stand to the right.
fn table(rows: &[Row]) -> String {
    let head = ["RECORDING", "STATE", "POD", "START (UTC)", "DURATION", "TASKS", "CALLS", "LOST", "SIZE"];
    let mut cells = vec![head.map(str::to_owned)];
    cells.extend(rows.iter().map(Row::cells));
    let has_pods = rows.iter().any(|row| !row.meta.container.pod.is_empty());
    let mut widths = [0usize; 9];
    for row in &cells {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in &cells {
        let mut line = String::new();
        for (index, (cell, width)) in row.iter().zip(widths).enumerate() {
            if index == 2 && !has_pods {
                continue;
            }
            let padding = " ".repeat(width.saturating_sub(cell.chars().count()));
            if index >= 4 {
                line.push_str(&padding);
                line.push_str(cell);
            } else {
                line.push_str(cell);
                line.push_str(&padding);
            }
            line.push_str("  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

pub fn main(args: &List) -> Result<u8> {
    let live = running();
    let mut rows = Vec::new();
    let mut code = exit::OK;
    for (dir, meta) in list_recordings(&args.dir)? {
        match meta.and_then(|meta| row(dir, meta, &live)) {
            Ok(row) => rows.push(row),
            Err(error) => {
                out::complain("list", &error);
                code = exit::FAILED;
            }
        }
    }
    // Recordings that run elsewhere than in --dir.
    for state in &live {
        let dir = PathBuf::from(&state.recording);
        if !rows.iter().any(|row| row.dir == dir) {
            if let Ok(row) = Recording::read_meta(&dir).and_then(|meta| row(dir, meta, &live)) {
                rows.push(row);
            }
        }
    }
    if args.json {
        let mut json = Json::new();
        for row in &rows {
            row.to_json(&mut json);
        }
        out::print(json.as_bytes())?;
    } else if rows.is_empty() {
        out::print(
            format!("no recordings in {}; ftrace-analyzer run -- COMMAND makes one\n", args.dir.display()).as_bytes(),
        )?;
    } else {
        out::print(table(&rows).as_bytes())?;
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
