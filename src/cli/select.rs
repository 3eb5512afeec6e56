// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which recording the user means: a path, a name, the unique beginning of one, a container of a pod, or the newest.

use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::ids::is_pod;
use crate::proc::is_root;
use crate::recorder::for_each_dir;
use crate::recording::{list_recordings, Meta};
use crate::sys;

/// Whether two paths, one of them perhaps the user's own spelling, mean the same recording.
pub fn is_same(one: &Path, other: &Path) -> bool {
    let id = |path: &Path| sys::status(path).ok().map(|status| status.id);
    one.as_os_str() == other.as_os_str() || (id(one).is_some() && id(one) == id(other))
}

/// The recording's directory name.
pub fn unit(dir: &Path) -> String {
    sys::last_part(dir)
}

/// Whether a recording is one of those that a word may mean.
pub fn is_meant(wanted: &str, dir: &Path, meta: Option<&Meta>) -> bool {
    match (wanted.strip_prefix("pod:"), meta) {
        (Some(pod), Some(meta)) => is_pod(pod, &meta.container.pod_path()),
        (None, Some(meta)) if meta.container.id == wanted || meta.name == wanted => true,
        _ => unit(dir).starts_with(wanted),
    }
}

/// The newest recording of the container with exactly this id.
pub fn find_container(base: &Path, id: &str) -> Result<PathBuf> {
    let mut all = list_recordings(base)?;
    let newest = all.iter().rposition(|(_, meta)| meta.as_ref().is_ok_and(|meta| meta.container.id == id));
    newest
        .map(|at| all.swap_remove(at).0)
        .ok_or_else(|| Error::not_found(format!("a recording of {id} in {}", base.display())))
}

/// The recording that `wanted` means, among those below `base`; the newest of several with the same name. For root also
/// among those of users; one that is somebody else's is read with his rights from then on.
pub fn find_recording(base: &Path, wanted: Option<&str>) -> Result<PathBuf> {
    let mut found = None;
    for_each_dir(base, &mut |dir| match (&found, wanted) {
        (None, _) => found = Some(find(dir, wanted)),
        (Some(Err(why)), Some(_)) if why.kind() == Kind::NotFound => {
            let there = find(dir, wanted);
            if there.is_ok() {
                found = Some(there);
            }
        }
        _ => {}
    });
    let dir = found.unwrap_or_else(|| Err(Error::not_found("a recording")))?;
    read_as_owner(&dir);
    Ok(dir)
}

/// Has root read a recording with the rights of whoever owns it, from now on: what lies in it may be links and worse.
pub fn read_as_owner(dir: &Path) {
    if let Some(owner) = sys::status(dir).ok().filter(|status| status.user != 0 && is_root()) {
        sys::set_owner(owner.user, owner.group);
    }
}

fn find(base: &Path, wanted: Option<&str>) -> Result<PathBuf> {
    if let Some(path) = wanted.map(Path::new) {
        let is_one = sys::status(&path.join("meta.json")).is_ok_and(|file| file.is_file());
        if is_one || (wanted.is_some_and(|name| name.contains('/')) && sys::is_dir(path)) {
            return Ok(path.to_owned());
        }
    }
    let mut all = list_recordings(base)?;
    let Some(wanted) = wanted else {
        let newest = all.pop().map(|(dir, _)| dir);
        return newest.ok_or_else(|| {
            Error::not_found(format!("a recording in {}", base.display()))
                .hint("ftrace-analyzer run -- COMMAND makes one; --dir or $FTRACE_ANALYZER_DIR say where to look")
        });
    };
    // The newest of this name; else the newest that begins so, where all that do are of one container or label.
    let (mut exact, mut newest) = (None, None);
    let mut labels: Vec<&str> = Vec::new();
    let (pod, mut pods) = (wanted.strip_prefix("pod:"), Vec::new());
    for (at, (dir, meta)) in all.iter().enumerate() {
        let unit = dir.as_os_str().to_str().and_then(|dir| dir.rsplit('/').next()).unwrap_or_default();
        if let Some(pod) = pod {
            let path = meta.as_ref().map(|meta| meta.container.pod_path()).unwrap_or_default();
            if is_pod(pod, &path) {
                newest = Some(at);
                if !pods.contains(&path) {
                    pods.push(path);
                }
            }
            continue;
        }
        let (id, name) = meta.as_ref().map_or(("", unit), |meta| (meta.container.id.as_str(), meta.name.as_str()));
        if unit == wanted || id == wanted || name == wanted {
            exact = Some(at);
        }
        if unit.starts_with(wanted) {
            newest = Some(at);
            let label = if id.is_empty() { name } else { id };
            if !labels.contains(&label) {
                labels.push(label);
            }
        }
    }
    labels.extend(pods.iter().map(String::as_str));
    if exact.is_none() && labels.len() > 1 {
        return Err(Error::several("recordings", wanted, &labels));
    }
    match exact.or(newest) {
        Some(at) => Ok(all.swap_remove(at).0),
        None => Err(Error::not_found(format!("a recording {wanted} in {}", base.display()))
            .hint("ftrace-analyzer list shows what there is")),
    }
}
