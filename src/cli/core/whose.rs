// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whose process it is that dies: by a recorder, by its control group, by what engines and runtimes keep.
//!
//! What a process is called by others is believed only where it can not choose it: its namespaces, the control groups that
//! root made, and what lies in root's directories. Namespaces of its own make no container: browsers have them, too.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::core_dump::about::About;
use crate::core_dump::place;
use crate::ids::{ContainerId, Timestamp};
use crate::proc;
use crate::recorder::{describe_running, of_runtime, recorder_of, Fit, RunState};
use crate::recording::{dir_of_user, Meta, Recording};
use crate::sys;
use crate::words::next_part;

/// How long after its end a recording may tell what a process did last, in nanoseconds: a recorder that was killed writes
/// its description once a minute.
const ENDED_WITHIN: u64 = 90_000_000_000;

/// A container's recording.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Its recorder, if that still runs.
    pub state: Option<RunState>,
    /// Its newest event, where that is known.
    pub until: Timestamp,
}

/// Fills in the container and its recording. `cgroups`: /proc/PID/cgroup; `base`: where recordings lie.
pub(super) fn find(about: &mut About, cgroups: &str, base: &Path) -> Found {
    // A user calls the groups in his slice what he likes; what is his container's is in a user namespace of his.
    let is_true = |user| user == 0 || proc::is_within_users(about.pid, user).unwrap_or(false);
    if let Some(place) = place::find(cgroups).filter(|place| is_true(place.user)) {
        about.owner = place.user;
        about.set_place(&place);
    } else if let Some((id, engine)) = of_runtime(cgroups) {
        about.container.id = id;
        about.engine = engine.to_owned();
    }
    let mut found = Found::default();
    let mut is_described = false;
    if let Some((state, fit)) = recorder_of(about.pid, cgroups, &about.container.id, about.owner) {
        about.owner = state.owner;
        about.recording.clone_from(&state.recording);
        let is_own = fit == Fit::Own || about.container.id.is_empty();
        match as_owner((state.owner, state.group), &mut || Recording::read_meta(Path::new(&state.recording))) {
            Ok(meta) if is_own => {
                about.container = meta.container;
                is_described = true;
            }
            Ok(_) => about.within.clone_from(&state.container),
            Err(why) => about.problems.push(why.to_string()),
        }
        if is_own {
            about.container.id.clone_from(&state.container);
        }
        found.state = Some(state);
    } else if let Some((dir, meta)) = ended_of(base, about, cgroups) {
        found.until = meta.anchors.last().map_or(0, |anchor| anchor.trace_ns);
        let age = about.time_ns.saturating_sub(meta.anchors.last().map_or(0, |anchor| anchor.realtime_ns));
        if age < ENDED_WITHIN {
            about.recording = dir.to_string_lossy().into_owned();
        }
        let seconds = (age / 1_000_000_000).to_string();
        about.problems.push(["the container's recording had ended, ", &seconds, " s before"].concat());
        about.container = meta.container;
        is_described = true;
    }
    // What lies in root's directories is about root's containers.
    if !is_described && !about.container.id.is_empty() && about.owner == 0 {
        about.container = describe_running(&about.container.id).meta;
    }
    found
}

/// Does something with the rights of a recording's owner.
pub(super) fn as_owner<T>(owner: (u32, u32), job: &mut dyn FnMut() -> T) -> T {
    let before = sys::owner();
    if owner != before {
        sys::set_owner(owner.0, owner.1);
    }
    let done = job();
    if owner != before {
        sys::set_owner(before.0, before.1);
    }
    done
}

/// The newest recording of the container, which has no recorder any more: by its id, or by the names of control groups.
fn ended_of(base: &Path, about: &About, cgroups: &str) -> Option<(PathBuf, Box<Meta>)> {
    let (dir, owner) = match about.owner {
        0 => (base.to_owned(), (0, 0)),
        user => {
            let dir = dir_of_user(base, user);
            let status = sys::status_of_link(&dir).ok().filter(|status| status.user == user)?;
            (dir, (user, status.group))
        }
    };
    let names = sys::names(&dir).unwrap_or_default();
    let ended = |id: &str| ended(&dir, owner, &names, id);
    if !about.container.id.is_empty() {
        return ended(&about.container.id);
    }
    let mut rest = cgroups;
    while let Some(line) = next_part(&mut rest, "\n") {
        if let Some(found) = line.rsplit('/').find_map(ended) {
            return Some(found);
        }
    }
    None
}

/// The newest recording of a container, of this boot of the machine.
fn ended(dir: &Path, owner: (u32, u32), names: &[OsString], id: &str) -> Option<(PathBuf, Box<Meta>)> {
    let id = ContainerId::new(id).ok()?;
    let mut newest = "";
    for name in names.iter().filter_map(|name| name.to_str()) {
        let start = name.strip_prefix(id.as_str()).and_then(|rest| rest.strip_prefix('-'));
        // The start is the same number of digits for all.
        if start.is_some_and(|start| start.starts_with("20")) && name > newest {
            newest = name;
        }
    }
    let dir = Some(dir.join(newest)).filter(|_| !newest.is_empty())?;
    let meta = as_owner(owner, &mut || Recording::read_meta(&dir)).ok()?;
    (meta.container.id == id.as_str() && meta.host.boot_id == proc::boot_id()).then_some((dir, meta))
}
