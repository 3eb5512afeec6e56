// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A dump's way into its container: a copy in a directory of the bundle that the administrator chose.
//!
//! What lies below a bundle's root is the container's to change while we write: links, pipes, other directories. So each step
//! of the way is opened by itself and no link is followed, nothing that is there is written to, and all is done with the
//! file rights of the container's own root user, who so can read it: what he could not do himself does not happen.
//! Source: openat(2), setfsuid(2).

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use super::about::About;
use super::settings::Settings;
use super::shelf::{by_number, label_of};
use super::stream::store;
use crate::error::{Error, Result};
use crate::sys;

/// Most files of one dump.
const FILES_MAX: usize = 1000;
/// Most names that are looked at in a directory of the container's.
const NAMES_MAX: usize = 1000;

fn open_dir(path: &Path) -> Result<File> {
    sys::open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW).map_err(|why| Error::io("open", path, why))
}

#[inline(never)]
fn at(dir: &File, name: &OsStr) -> PathBuf {
    by_number(dir).join(name)
}

/// Removes a directory with files, wherever links there may lead.
fn remove(dir: &File, name: &OsStr) {
    let Ok(old) = open_dir(&at(dir, name)) else { return };
    for file in sys::names_up_to(&at(&old, ".".as_ref()), NAMES_MAX).unwrap_or_default() {
        let _ = sys::remove_file(&at(&old, &file));
    }
    let _ = sys::remove_dir(&at(dir, name));
}

/// Opens a directory in a directory; makes it where there is nothing.
fn step(dir: &File, part: &str) -> Result<File> {
    if part == ".." || part.is_empty() {
        return Err(Error::usage("no directory in the bundle"));
    }
    let next = at(dir, part.as_ref());
    // Unless it is there; whatever that is, it is opened only if it is a directory.
    let _ = sys::make_dir(&next);
    open_dir(&next)
}

/// Copies a stored dump with the rights of `user`. Copies of the container's earlier dumps go: there is one at a time.
pub fn copy(from: &Path, about: &About, settings: &Settings, user: (u32, u32)) -> Result<()> {
    let name = &*sys::last_part(from);
    let owner = sys::as_owner();
    let mut dumps = Vec::new();
    for file in sys::names_up_to(from, FILES_MAX).map_err(|why| Error::io("list", from, why))? {
        let path = from.join(&file);
        let dump = sys::open(&path, OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK);
        dumps.push((file, dump.map_err(|why| Error::io("read", &path, why))?));
    }
    drop(owner);
    let bundle = Path::new(&about.container.bundle);
    if !sys::is_absolute(bundle) {
        return Err(Error::not_found("the container's bundle"));
    }
    // Root's engine made a bundle of root's and what lies in it; what is below that is the container's.
    let owner = sys::as_owner();
    let mut parts = settings.copy_to.split('/').filter(|part| !part.is_empty());
    let mut dir = step(&open_dir(bundle)?, parts.next().unwrap_or_default())?;
    drop(owner);
    sys::set_owner(user.0, user.1);
    let _owner = sys::as_owner();
    for part in parts {
        dir = step(&dir, part)?;
    }
    let shown = bundle.join(&settings.copy_to).join(name);
    for other in sys::names_up_to(&at(&dir, ".".as_ref()), NAMES_MAX).map_err(|why| Error::io("list", &shown, why))? {
        if other.to_str().map_or("", label_of) == label_of(name) {
            remove(&dir, &other);
        }
    }
    sys::make_dir(&at(&dir, name.as_ref())).map_err(|why| Error::io("create", &shown, why.into()))?;
    let to = open_dir(&at(&dir, name.as_ref()))?;
    for (file, dump) in &dumps {
        let path = at(&to, file);
        let room = sys::free_bytes(&at(&to, ".".as_ref())).unwrap_or(0).saturating_sub(settings.keep_free);
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
        let copied = sys::open(&path, flags)
            .map_err(|why| Error::io("create", &shown.join(file), why))
            .and_then(|copy| store(dump, &copy, &shown, 0, &mut || room));
        let failed = match copied {
            Ok(stored) if stored.cut.is_none() => continue,
            Ok(_) => Error::limit(
                [&shown.to_string_lossy(), " has no room: bytes that are to stay free"].concat(),
                settings.keep_free,
            ),
            Err(why) => why,
        };
        remove(&dir, name.as_ref());
        return Err(failed);
    }
    Ok(())
}
