// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `list`: the recordings, or those of one container or pod, oldest first, as a table or as JSON.
//!
//! Calls and tasks are counted from the recording itself; for a finished one that is done once and kept beside it in
//! `counts`, which may be deleted at any time.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::args::{self, Args, Opt};
use super::table::Table;
use super::{out, select, units};
use crate::calendar::Utc;
use crate::error::{exit, Error, Result};
use crate::format::Event;
use crate::ids::Pid;
use crate::json::{push_u64, Json};
use crate::proc::is_root;
use crate::recorder::{for_each_dir, running, RunState};
use crate::recording::{list_recordings, read_bounded, CallCounts, EndState, Item, Meta, Recording, Tail};
use crate::sys::{self, realtime_ns};
use crate::words::beginning;

/// Largest file of counts, in bytes: five numbers.
const KEPT_MAX: usize = 256;

/// Largest recording of a user that is read to count it for root, in bytes: its owner can make a file of any size.
const OTHERS_MAX: u64 = 1 << 30;

/// Most characters of a cell.
const CELL_MAX: usize = 240;

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
    let _owner = sys::as_owner();
    let recording = Recording::open(dir)?;
    let mut bytes = recording.bytes();
    if let (true, Some(arch)) = (meta.counts_only(), meta.arch()) {
        bytes = sys::status(&dir.join(CallCounts::FILE)).map_or(0, |file| file.size);
        let counts = CallCounts::load(dir)?;
        let calls = counts.calls(arch).iter().fold(counts.others, |sum, call| sum.saturating_add(call.calls));
        let lost = counts.dropped + if meta.stats.is_empty() { counts.lost } else { meta.lost() };
        return Ok(Tally { tasks: counts.tasks, calls: if counts.started { calls } else { 0 }, lost, bytes });
    }
    if finished {
        let text = read_bounded(&kept, KEPT_MAX).ok();
        if let Some(tally) = text.and_then(|text| parse_kept(core::str::from_utf8(&text).ok()?, bytes)) {
            return Ok(tally);
        }
    }
    if sys::owner().0 != 0 && bytes > OTHERS_MAX {
        return Err(Error::limit("a user's recording is too large to be counted: bytes", OTHERS_MAX));
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
const COLUMNS: usize = 12;
const HEAD: [&str; COLUMNS] =
    ["RECORDING", "STATE", "USER", "POD", "ONLY", "MODE", "START (UTC)", "DURATION", "TASKS", "CALLS", "LOST", "SIZE"];
/// The column that is shown only if one of the recordings is a user's, and root looks.
const USER: usize = 2;
/// The column that is shown only if one of the recordings is of a pod.
const POD: usize = 3;
/// The column that is shown only if one of the recordings was limited to some calls.
const ONLY: usize = 4;
/// The column that is shown only if one of the recordings is not of mode continuous.
const MODE: usize = 5;
/// From this column on cells are numbers and stand to the right.
const NUMBERS: usize = 7;

/// What is shown: a table's cells row by row, or lines of JSON.
struct Rows {
    shown: Vec<PathBuf>,
    cells: Vec<String>,
    json: Option<Json>,
    has_users: bool,
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
        let (user, _) = sys::owner();
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
            json.field_bool("errors_only", meta.options.errors_only);
            if user != 0 {
                json.field_u64("user", u64::from(user));
            }
            json.end_object().newline();
            return Ok(());
        }
        self.has_users |= user != 0;
        let user = if user == 0 { "-".to_owned() } else { user.to_string() };
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
        self.cells.extend([unit, state.to_owned(), user, pod, only, mode, start, units::show_duration(duration)].map(
            |cell| {
                // Whoever made the recording may have written anything.
                out::shown(beginning(&cell, CELL_MAX))
            },
        ));
        for number in [tally.tasks, tally.calls, tally.lost] {
            self.cells.push(number.to_string());
        }
        self.cells.push(units::show_size(tally.bytes));
        Ok(())
    }

    /// Adds those of one directory; what cannot be read is told.
    fn add_all(&mut self, all: &[(PathBuf, Result<Box<Meta>>)], live: &[RunState], code: &mut u8) {
        for (dir, meta) in all {
            let told = match meta {
                Ok(meta) => self.add(dir, meta, live).err(),
                Err(error) => {
                    out::complain("list", error);
                    *code = exit::FAILED;
                    continue;
                }
            };
            if let Some(error) = told {
                out::complain("list", &error);
                *code = exit::FAILED;
            }
        }
    }

    fn table(&self) -> String {
        let columns = [(USER, self.has_users), (POD, self.has_pods), (ONLY, self.has_limited), (MODE, self.has_modes)];
        let hidden: Vec<usize> = columns.iter().filter(|(_, is_shown)| !is_shown).map(|(at, _)| *at).collect();
        Table { head: &HEAD, numbers: NUMBERS, hidden: &hidden }.text(&self.cells)
    }
}

pub fn main(args: &Args<'_>) -> Result<u8> {
    let live = running();
    let base = args::dir(args);
    let mut code = exit::OK;
    let mut rows = Rows {
        shown: Vec::new(),
        cells: Vec::new(),
        json: args.has(Opt::Json).then(Json::new),
        has_users: false,
        has_pods: false,
        has_limited: false,
        has_modes: false,
    };
    let is_meant = |dir: &Path, meta: Option<&Meta>| args.word.map_or(true, |word| select::is_meant(word, dir, meta));
    for_each_dir(&base, &mut |dir| {
        let told = list_recordings(dir).map(|mut all| {
            all.retain(|(dir, meta)| is_meant(dir, meta.as_deref().ok()));
            rows.add_all(&all, &live, &mut code);
        });
        if let Err(error) = told {
            out::complain("list", &error);
            code = exit::FAILED;
        }
    });
    // Recordings that run elsewhere than in --dir.
    for state in &live {
        let dir = Path::new(&state.recording);
        if !rows.shown.iter().any(|shown| shown == dir) {
            // Only root reads as somebody else.
            if is_root() {
                sys::set_owner(state.owner, state.group);
            }
            let meta = Recording::read_meta(dir).ok();
            if let Some(meta) = meta.filter(|meta| is_meant(dir, Some(meta))) {
                let _ = rows.add(dir, &meta, &live);
            }
            if is_root() {
                sys::set_owner(0, 0);
            }
        }
    }
    if let Some(json) = &rows.json {
        out::print(json.as_bytes())?;
    } else if rows.shown.is_empty() && code != exit::OK {
        // What there was could not be read.
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
