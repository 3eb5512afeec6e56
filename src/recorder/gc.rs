// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Cleaning up behind recorders that were killed, and keeping the recordings within limits.
//!
//! A killed recorder leaves its instance with up to a buffer full of events: those are saved into the recording before
//! the instance goes. What is young and incomplete may be somebody who is just starting, and is left alone.

use std::path::{Path, PathBuf};

use super::counter::Counter;
use super::drain::Drain;
use super::ending::final_stats;
use super::joins;
use super::run_state::{all_states, running, RunState};
use super::session::{read_anchor, read_formats};
use super::strings::release;
use crate::error::{Error, Kind, Result};
use crate::ids::Timestamp;
use crate::recording::{dir_of_user, list_recordings, CallCounts, EndState, Meta, MetaFile, Recording, Store, USERS};
use crate::sys;
use crate::tracefs::{Instance, Tracefs, INSTANCE_PREFIX};

/// Age below which a directory without a readable state, or an instance without a state, may belong to a start in
/// progress; in seconds.
const YOUNG_S: i64 = 10;

/// What was cleaned up.
#[derive(Debug, Default)]
pub struct Swept {
    /// Recordings of killed recorders that were completed.
    pub recordings: Vec<String>,
    /// Instances removed.
    pub instances: Vec<String>,
    /// Running-state directories removed.
    pub states: Vec<String>,
    /// What could not be cleaned up.
    pub problems: Vec<Error>,
}

impl Swept {
    /// Whether there was nothing to do.
    pub fn is_empty(&self) -> bool {
        self.recordings.is_empty() && self.instances.is_empty() && self.states.is_empty() && self.problems.is_empty()
    }
}

fn is_young(path: &Path) -> bool {
    let now = (sys::realtime_ns() / 1_000_000_000) as i64;
    sys::status(path).is_ok_and(|status| now.saturating_sub(status.modified) < YOUNG_S)
}

/// Saves what the kernel still has of a dead recorder's instance and marks the recording as cut.
fn salvage(tracefs: Option<&Tracefs>, state: &RunState) -> Result<()> {
    let dir = PathBuf::from(&state.recording);
    let mut meta = Recording::read_meta(&dir)?;
    if meta.end_state() != EndState::Running {
        return Ok(());
    }
    let this_boot = meta.host.boot_id == crate::proc::boot_id();
    meta.end_reason = if this_boot { "the recorder was killed" } else { "the machine went down" }.to_owned();
    if let Some(instance) = tracefs.and_then(|tracefs| Instance::named(tracefs, &state.instance).ok()) {
        if this_boot && sys::is_dir(instance.path()) {
            let _ = instance.set_tracing(false);
            if let Err(why) = drain_into(&instance, &dir, &state.dir, &mut meta) {
                meta.problems.push(format!("what the kernel still had could not be saved: {why}"));
            }
        }
    }
    meta.set_state(EndState::Cut);
    MetaFile::reopen(&dir).write_last(&mut meta)
}

/// Marks recordings below `dir` as cut whose recorder is gone without its running state: /run is empty after a restart of
/// the machine. Gives their names.
pub fn close_dead(dir: &Path) -> Result<Vec<String>> {
    let live = running();
    let boot_id = crate::proc::boot_id();
    let mut closed = Vec::new();
    for (path, meta) in list_recordings(dir)? {
        let Ok(mut meta) = meta else { continue };
        let is_live = live.iter().any(|state| state.recording.as_str() == path.as_os_str());
        let this_boot = meta.host.boot_id == boot_id;
        // One of this boot may be just starting, or have its running state where we do not look.
        if meta.end_state() != EndState::Running || is_live || this_boot {
            continue;
        }
        meta.end_reason = "the machine went down".to_owned();
        meta.set_state(EndState::Cut);
        MetaFile::reopen(&path).write_last(&mut meta)?;
        closed.push(sys::last_part(&path));
    }
    Ok(closed)
}

/// The newer of the counts that a dead recorder left in its recording and below /run.
fn counts_left(dirs: [&Path; 2]) -> Option<Box<CallCounts>> {
    let (user, group) = sys::owner();
    let mut newest: Option<Box<CallCounts>> = None;
    for (at, dir) in dirs.into_iter().enumerate() {
        if at > 0 {
            // That below /run is root's.
            sys::set_owner(0, 0);
        }
        let counts = CallCounts::load(dir).ok().filter(|counts| counts.format_version > 0);
        newest = newest.into_iter().chain(counts).max_by_key(|counts| counts.events);
    }
    sys::set_owner(user, group);
    newest
}

fn drain_into(instance: &Instance, dir: &Path, kept: &Path, meta: &mut Meta) -> Result<()> {
    let cpus = instance.cpus()?;
    let mut store = Store::reopen(dir, meta, &cpus)?;
    let mut drain = Drain::open(instance, &cpus, meta.layout()?.subbuf_size())?;
    if meta.counts_only() {
        let mut counter = Counter::new(meta, &read_formats(instance)?, cpus.len(), counts_left([dir, kept]))?;
        while counter.take(&mut drain, Timestamp::MAX)? > 0 {}
        counter.save(instance, dir, true)?;
    }
    while drain.everything(&mut store)? > 0 {}
    if let (Some(cpu), 1) = (cpus.first(), meta.anchors.len()) {
        meta.anchors.extend(read_anchor(instance, *cpu));
    }
    meta.stats = final_stats(instance, &cpus);
    meta.trimmed = store.trimmed;
    store.sync();
    Ok(())
}

/// Does something with the directory of recordings, and if root asks with that of each user below it, with his rights.
pub fn for_each_dir(base: &Path, job: &mut dyn FnMut(&Path)) {
    job(base);
    if !crate::proc::is_root() {
        return;
    }
    for user in sys::numbers(&base.join(USERS), "").unwrap_or_default() {
        let dir = dir_of_user(base, user as u32);
        let Ok(status) = sys::status_of_link(&dir) else { continue };
        if status.is_dir() && status.user == user as u32 && user != 0 {
            sys::set_owner(status.user, status.group);
            job(&dir);
            sys::set_owner(0, 0);
        }
    }
}

/// Cleans up behind killed recorders; that is root's to do, also for users.
pub fn sweep() -> Swept {
    let mut swept = Swept::default();
    if !crate::proc::is_root() {
        return swept;
    }
    let tracefs = Tracefs::find();
    let (states, unreadable) = all_states();
    let mut in_use: Vec<String> = Vec::new();
    let mut left: Vec<String> = Vec::new();
    let (watch, is_needed) = joins::watch(&states);
    if is_needed { &mut in_use } else { &mut left }.push(watch);
    for state in states {
        if state.is_alive() {
            in_use.push(state.instance);
            continue;
        }
        sys::set_owner(state.owner, state.group);
        match salvage(tracefs.as_ref(), &state) {
            Ok(()) => swept.recordings.push(state.unit().to_owned()),
            // Its recording was removed, say.
            Err(why) => swept.problems.push(why),
        }
        swept.states.push(state.unit().to_owned());
        state.withdraw();
        left.push(state.instance);
    }
    sys::set_owner(0, 0);
    for dir in unreadable.iter().filter(|dir| !is_young(dir)) {
        match sys::remove_dir_with_files(dir) {
            Ok(()) => swept.states.push(dir.display().to_string()),
            Err(why) => swept.problems.push(Error::io("remove", dir, why)),
        }
    }
    let Some(tracefs) = tracefs else { return swept };
    for name in tracefs.our_instances() {
        let Ok(instance) = Instance::named(&tracefs, &name) else { continue };
        let ours = left.contains(&name);
        if in_use.contains(&name) || (is_young(instance.path()) && !ours) {
            continue;
        }
        match instance.remove() {
            Ok(()) => swept.instances.push(name.strip_prefix(INSTANCE_PREFIX).unwrap_or(&name).to_owned()),
            // Somebody records into it: a recorder with its running state elsewhere. Nobody we know of left it.
            Err(why) if why.kind() == Kind::Busy && !ours => {}
            // Its recorder was just ending.
            Err(why) if why.kind() == Kind::NotFound => {}
            Err(why) => swept.problems.push(why),
        }
    }
    // What is in use stays: the kernel refuses.
    release(&tracefs);
    swept
}

/// Removes the oldest finished recordings below `dir` until all together are within `max_total` bytes (0: no limit) and
/// none is older than `max_age_s` seconds (0: no limit). Running ones count and stay. Gives the names of those removed.
pub fn apply_limits(dir: &Path, max_total: u64, max_age_s: u64) -> Result<Vec<String>> {
    let mut finished = Vec::new();
    let mut total = 0;
    for (path, meta) in list_recordings(dir)? {
        let Ok(meta) = meta else { continue };
        let Ok(recording) = Recording::open(&path) else { continue };
        let bytes = recording.bytes();
        total += bytes;
        if meta.end_state() != EndState::Running {
            let ended = meta.anchors.last().map_or(0, |anchor| anchor.realtime_ns);
            finished.push((path, bytes, ended));
        }
    }
    let now = sys::realtime_ns();
    let mut removed = Vec::new();
    for (path, bytes, ended) in finished {
        let too_old = max_age_s > 0 && now.saturating_sub(ended) > max_age_s.saturating_mul(1_000_000_000);
        let too_much = max_total > 0 && total > max_total;
        if too_old || too_much {
            let _owner = sys::as_owner();
            sys::remove_dir_with_files(&path).map_err(|why| Error::io("remove", &path, why))?;
            total = total.saturating_sub(bytes);
            removed.push(sys::last_part(&path));
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn recordings_of_an_earlier_boot_are_closed_and_those_of_this_one_are_left() {
        let base = std::env::temp_dir().join(format!("ftrace-analyzer-close-{}", std::process::id()));
        for (name, boot_id) in [("old", "another boot".to_owned()), ("new", crate::proc::boot_id())] {
            let dir = base.join(name);
            fs::create_dir_all(&dir).unwrap();
            let mut meta = Meta { format_version: 1, ..Meta::default() };
            meta.host.boot_id = boot_id;
            meta.set_state(EndState::Running);
            fs::write(dir.join("meta.json"), meta.to_json()).unwrap();
        }
        assert_eq!(close_dead(&base).unwrap(), ["old"]);
        assert_eq!(close_dead(&base).unwrap(), Vec::<String>::new());
        let old = Recording::read_meta(&base.join("old")).unwrap();
        assert_eq!((old.end_state(), old.end_reason.as_str()), (EndState::Cut, "the machine went down"));
        assert_eq!(Recording::read_meta(&base.join("new")).unwrap().end_state(), EndState::Running);
        fs::remove_dir_all(&base).unwrap();
    }
}
