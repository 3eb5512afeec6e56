// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The last calls of a dying process: the end of its container's recording, copied beside the dump when it dies, and shown
//! by whoever asks.
//!
//! The handler decodes nothing: the tables of names alone are more than the memory that it may have. What it copies is a
//! recording of its own, which `report` shows whole and on any machine.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::whose::{self, Found};
use crate::arch::Abi;
use crate::cli::report::open;
use crate::core_dump::about::About;
use crate::core_dump::handler::Recordings;
use crate::error::{Error, Kind, Result};
use crate::proc;
use crate::recorder::Client;
use crate::recording::{copy_newest, InitialTask, Newest, Recording};
use crate::report::{self, Filter, Options};
use crate::tracefs::{Instance, Tracefs};

/// How long a recorder may take to store what its ring has, in milliseconds.
const KEEP_PATIENCE: u64 = 2_000;
/// How far back the copy goes, in nanoseconds, and its size in bytes: some 20000 calls.
const CALLS_FROM: u64 = 30_000_000_000;
const CALLS_BYTES: u64 = 2 << 20;
/// Most tasks that the copy names.
const TASKS_MAX: usize = 512;

/// What the recordings of this machine know of a dying process.
#[derive(Default)]
pub struct OfRecorders {
    /// Where recordings lie.
    pub base: PathBuf,
    found: Found,
    tasks: Vec<InitialTask>,
}

impl OfRecorders {
    /// With recordings in a directory.
    pub fn new(base: &str) -> OfRecorders {
        OfRecorders { base: base.into(), found: Found::default(), tasks: Vec::new() }
    }

    /// The container's tasks, the dying process's first.
    fn tasks(&self, about: &About) -> Vec<InitialTask> {
        let task = |tid, tgid, comm, abi: Option<Abi>| InitialTask {
            tid,
            tgid,
            comm,
            abi: abi.map_or("", Abi::name).to_owned(),
            ..InitialTask::default()
        };
        let mut tasks = Vec::new();
        let abi = proc::abi(about.pid);
        for thread in about.threads.iter().take(TASKS_MAX) {
            tasks.push(task(thread.tid, about.pid, thread.comm.clone(), abi));
        }
        let instance = Tracefs::find()
            .zip(self.found.state.as_ref())
            .and_then(|(tracefs, state)| Instance::named(&tracefs, &state.instance).ok());
        for tid in instance.and_then(|instance| instance.pids().ok()).unwrap_or_default() {
            if tasks.len() >= TASKS_MAX {
                break;
            }
            match proc::thread_group(tid) {
                Some(tgid) if tgid != about.pid => tasks.push(task(tid, tgid, proc::comm(tid), proc::abi(tgid))),
                _ => {}
            }
        }
        tasks
    }
}

impl Recordings for OfRecorders {
    fn find(&mut self, about: &mut About, cgroups: &str) {
        self.found = whose::find(about, cgroups, &self.base);
        // Later the handler may not look at processes any more.
        if !about.recording.is_empty() {
            self.tasks = self.tasks(about);
        }
    }

    fn keep(&mut self, about: &mut About) {
        let Some(state) = &self.found.state else { return };
        let flushed = Client::connect(state).and_then(|mut client| client.flush(KEEP_PATIENCE));
        match flushed {
            Ok(Some(until)) => self.found.until = until,
            Ok(None) => about.problems.push("last calls may be missing: the recorder did not answer in time".into()),
            // It takes no connections any more, and has stored everything.
            Err(_) => about.problems.push("the container's recording ended just before".into()),
        }
    }

    fn copy_calls(&mut self, about: &About, create: &mut dyn FnMut(&str) -> Result<File>) -> Result<()> {
        let dir = Path::new(&about.recording);
        let owner = self.found.state.as_ref().map_or((about.owner, about.owner), |state| (state.owner, state.group));
        let mut meta = whose::as_owner(owner, &mut || Recording::read_meta(dir))?;
        let what = match meta.options.mode.as_str() {
            "count" => "it counts calls and does not record them",
            "profile" => "it has of each call only the first ones",
            _ => "",
        };
        if !what.is_empty() {
            let text = ["the recording is of mode ", &meta.options.mode, ": ", what].concat();
            return Err(Error::new(Kind::NotFound, text));
        }
        let last = meta.anchors.last().map_or(0, |anchor| anchor.trace_ns);
        let until = self.found.until.max(last);
        let mut newest = Newest {
            since: until.saturating_sub(CALLS_FROM),
            until,
            max: CALLS_BYTES,
            tasks: std::mem::take(&mut self.tasks),
            reason: ["process ", &about.pid.to_string(), " died"].concat(),
        };
        whose::as_owner(owner, &mut || copy_newest(dir, &mut meta, &mut newest, create).map(|_| ()))
    }
}

/// The last lines of a process's calls, as `report` prints them, from what was copied beside its dump.
pub(super) fn last(dir: &Path, about: &About, most: usize) -> Result<Vec<Vec<u8>>> {
    let (recording, _) = open(dir)?;
    let filter = Filter { pid: Some(about.pid), ..Filter::of(&recording.meta) };
    let options = Options { filter, footer: false, ..Options::default() };
    let mut last = LastLines { lines: Vec::new(), begun: Vec::new(), most, next: 0 };
    report::text(&recording, &options, &mut last)?;
    let next = last.next;
    last.lines.rotate_left(next);
    Ok(last.lines)
}

/// Keeps the last lines of what is written.
struct LastLines {
    lines: Vec<Vec<u8>>,
    begun: Vec<u8>,
    most: usize,
    /// The place of the next line, once all are taken.
    next: usize,
}

impl Write for LastLines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        for byte in bytes {
            if *byte != b'\n' {
                self.begun.push(*byte);
                continue;
            }
            let line = std::mem::take(&mut self.begun);
            if self.lines.len() < self.most {
                self.lines.push(line);
            } else if let Some(place) = self.lines.get_mut(self.next) {
                *place = line;
                self.next = (self.next + 1) % self.most;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
