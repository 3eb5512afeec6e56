// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which recording the user means: a path, a name, the unique beginning of one, or the newest.

use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
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

/// The newest recording of the container with exactly this id.
pub fn find_container(base: &Path, id: &str) -> Result<PathBuf> {
    let of_it = |(_, meta): &(PathBuf, Result<Box<Meta>>)| meta.as_ref().is_ok_and(|meta| meta.container.id == id);
    let newest = list_recordings(base)?.into_iter().rev().find(of_it);
    newest.map(|(dir, _)| dir).ok_or_else(|| Error::not_found(format!("a recording of {id} in {}", base.display())))
}

/// The recording that `wanted` means, among those below `base`; the newest of several with the same name.
pub fn find_recording(base: &Path, wanted: Option<&str>) -> Result<PathBuf> {
    let is_path = |path: &&Path| {
        sys::status(&path.join("meta.json")).is_ok_and(|file| file.is_file())
            || (sys::parent(path).is_some() && sys::is_dir(path))
    };
    if let Some(path) = wanted.map(Path::new).filter(is_path) {
        return Ok(path.to_owned());
    }
    let mut all = list_recordings(base)?;
    let Some(wanted) = wanted else {
        let newest = all.pop().map(|(dir, _)| dir);
        return newest.ok_or_else(|| {
            Error::not_found(format!("a recording in {}", base.display()))
                .hint("ftrace-analyzer run -- COMMAND makes one; --dir or $FTRACE_ANALYZER_DIR say where to look")
        });
    };
    let named = |meta: &Meta| meta.name == wanted || meta.container.id == wanted;
    let exact = all.iter().rposition(|(dir, meta)| unit(dir) == wanted || meta.as_ref().is_ok_and(|meta| named(meta)));
    if let Some(at) = exact {
        return Ok(all.swap_remove(at).0);
    }
    // A beginning may fit several recordings of one container; the newest is meant then.
    let mut labels: Vec<String> = Vec::new();
    let mut newest = None;
    for (dir, meta) in all {
        let unit = unit(&dir);
        if !unit.starts_with(wanted) {
            continue;
        }
        let label = match meta {
            Ok(meta) if !meta.container.id.is_empty() => meta.container.id,
            Ok(meta) => meta.name,
            Err(_) => unit,
        };
        if let Err(at) = labels.binary_search(&label) {
            labels.insert(at, label);
        }
        newest = Some(dir);
    }
    match newest {
        None => Err(Error::not_found(format!("a recording {wanted} in {}", base.display()))
            .hint("ftrace-analyzer list shows what there is")),
        Some(dir) if labels.len() == 1 => Ok(dir),
        _ => Err(Error::new(
            Kind::Busy,
            format!("{} recordings begin with {wanted}: {}", labels.len(), labels.join(", ")),
        )
        .hint("give more of the name")),
    }
}
