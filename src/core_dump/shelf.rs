// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The directory that a dump goes to, root's or a user's, and what is there already: who may have it, and who comes next.
//!
//! Several handlers share it. Dumps of one container come one behind the other, so that a loop of large ones leaves some that
//! are whole. What is not locked and has a name that begins with a dot was left by a handler that was killed.
//!
//! A user's directory is the user's own: he may put there what he likes, and links in place of what we made. Directories are
//! opened once and then used as /proc/self/fd/N, and all is done with his rights (docs/security.md).

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use super::about::About;
use super::growing::Place;
use super::keeper::{self, CORES, MORE};
use crate::calendar::Utc;
use crate::error::{Error, Kind, Result};
use crate::ids::ContainerId;
use crate::recording::{create_base, dir_of_user, make_user_dir};
use crate::sys;

/// Its length is how many bytes a growing dump may have.
pub(super) const ROOM: &str = "room";
/// Dumps of one container with less than this between them are a crash loop, in nanoseconds.
const LOOP_WITHIN: u64 = 60_000_000_000;
/// In a crash loop dumps of more bytes than [`LARGE`] are stored no more often than this, in nanoseconds.
const LARGE_EVERY: u64 = 10_000_000_000;
const LARGE: u64 = 16 << 20;
/// Bytes beside a dump that count from the start: what is known of it.
pub(super) const BESIDE: u64 = 64 << 10;
/// And the end of the recording.
const RECORDED: u64 = (2 << 20) + (256 << 10);
/// Most dumps in one directory: containers without end leave no dumps without end.
pub(super) const DUMPS_MAX: usize = 1000;
/// Most names that are looked at in a directory that is not root's alone.
const NAMES_MAX: usize = 2 * DUMPS_MAX;
/// Containers that have to wait for each other by chance: locks that lie about.
const TURNS: u32 = 16;
/// What dumps of no container are called, and those whose container has a name that can not be part of a path.
const NONE: &str = "host";
const UNKNOWN: &str = "unknown";

/// The directory that a dump goes to.
#[derive(Debug)]
pub struct Shelf {
    /// For people.
    pub(super) path: PathBuf,
    /// For us: whatever is in its place by now.
    pub(super) at: PathBuf,
    pub(super) dir: File,
    /// Whose it is.
    user: (u32, u32),
    /// Held while what is there is counted and changed.
    pub(super) counting: File,
    /// Held by the one handler of a container.
    turn: File,
    /// Held by the one handler whose dump is large.
    pub(super) large: File,
    /// Has the last dump's number.
    pub(super) number: File,
}

/// One dump in it, by what costs little to know.
pub(super) struct Entry {
    pub name: String,
    /// When it was stored, nanoseconds since 1970.
    pub stored: u64,
    /// On the disk, or what it may grow to.
    pub bytes: u64,
    /// What it may grow by.
    pub pending: u64,
    pub grows: bool,
}

impl Entry {
    /// `CONTAINER-TIME-PID` up to the time.
    pub fn label(&self) -> &str {
        label_of(self.name.strip_prefix('.').unwrap_or(&self.name))
    }
}

/// What comes of asking for a place.
#[derive(Debug)]
pub enum Begun {
    /// There is one.
    Place(Box<Place>),
    /// It is one of too many, and was counted.
    Counted,
}

/// What a dump's name begins with.
pub(super) fn label_of(name: &str) -> &str {
    name.rsplitn(3, '-').nth(2).unwrap_or_default()
}

/// The name of a container's dumps up to the time: its id if that can be part of a path.
fn label(about: &About) -> String {
    match ContainerId::new(&about.container.id) {
        Ok(id) => id.as_str().to_owned(),
        Err(_) if about.container.id.is_empty() => NONE.to_owned(),
        // Who may make control groups may call them anything.
        Err(_) => UNKNOWN.to_owned(),
    }
}

/// What an open directory is called for as long as it is open, whatever is in its place.
pub(super) fn by_number(file: &File) -> PathBuf {
    ["/proc/self/fd/", &file.as_raw_fd().to_string()].concat().into()
}

fn open_dir(path: &Path) -> Result<File> {
    sys::open(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW)
        .map_err(|why| Error::io("open", path, why))
}

fn open_lock(dir: &Path, name: &str) -> Result<File> {
    let path = dir.join(name);
    sys::open(&path, OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW).map_err(|why| Error::io("open", &path, why))
}

impl Shelf {
    /// Opens the directory for a dump: root's, or that of the user whose it is. `base`: where recordings lie.
    pub fn open(base: &Path, about: &About) -> Result<Shelf> {
        create_base(base)?;
        let roots = base.join(CORES);
        make(&roots)?;
        let dir = open_dir(&roots)?;
        check(&dir, &roots, nix::unistd::geteuid().as_raw())?;
        let hash = label(about).bytes().fold(0u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
        let at = by_number(&dir);
        // Each user has own ones: who keeps his own directory from answering keeps nobody else waiting.
        let lock = |what: &str, number: u32| {
            open_lock(&at, &[what, &about.owner.to_string(), "-", &number.to_string()].concat())
        };
        let (counting, turn) = (lock(".counting", 0)?, lock(".turn", hash % TURNS)?);
        let (large, number) = (lock(".large", 0)?, open_lock(&at, ".number")?);
        if about.owner == 0 {
            return Ok(Shelf { path: roots, at, dir, user: (0, 0), counting, turn, large, number });
        }
        make_user_dir(base, about.owner, about.group)?;
        let home = open_dir(&dir_of_user(base, about.owner))?;
        let user = (about.owner, check(&home, base, about.owner)?);
        sys::set_owner(user.0, user.1);
        let _owner = sys::as_owner();
        make(&by_number(&home).join(CORES))?;
        let dir = open_dir(&by_number(&home).join(CORES))?;
        let path = dir_of_user(base, about.owner).join(CORES);
        check(&dir, &path, about.owner)?;
        Ok(Shelf { path, at: by_number(&dir), dir, user, counting, turn, large, number })
    }

    /// While it lives files are its owner's.
    pub(super) fn enter(&self) -> sys::AsOwner {
        sys::set_owner(self.user.0, self.user.1);
        sys::as_owner()
    }

    /// What is there, oldest first.
    pub(super) fn entries(&self) -> Result<Vec<Entry>> {
        let max = if self.user.0 == 0 { usize::MAX } else { NAMES_MAX };
        let names = sys::names_up_to(&self.at, max).map_err(|why| Error::io("list", &self.path, why))?;
        let mut entries = Vec::<Entry>::new();
        for name in names {
            let Ok(name) = name.into_string() else { continue };
            let dir = self.at.join(&name);
            let grows = name.starts_with('.');
            let (mut bytes, mut stored, mut room) = (0, 0, 0);
            // Locks are files.
            let Ok(files) = sys::names_up_to(&dir, NAMES_MAX) else { continue };
            for file in files {
                let Ok(status) = sys::status_of_link(&dir.join(&file)) else { continue };
                bytes += status.disk;
                // Nothing comes into it later but what counts others.
                if file == keeper::ABOUT {
                    stored = status.modified_ns;
                } else if file == ROOM {
                    room = status.size;
                }
            }
            if grows || stored > 0 {
                let pending = room.saturating_sub(bytes);
                let at = entries.partition_point(|known| known.stored <= stored);
                entries.insert(at, Entry { name, stored, bytes: bytes + pending, pending, grows });
            }
        }
        Ok(entries)
    }

    pub(super) fn remove(&self, entry: &Entry) -> bool {
        sys::remove_dir_with_files(&self.at.join(&entry.name)).is_ok()
    }

    /// Removes what killed handlers left; gives how many.
    fn sweep(&self) -> usize {
        let mut removed = 0;
        for name in sys::names_up_to(&self.at, NAMES_MAX).unwrap_or_default() {
            let dir = self.at.join(&name);
            let is_left = name.as_encoded_bytes().starts_with(b".")
                && open_dir(&dir).is_ok_and(|file| sys::lock(&file).is_ok())
                && sys::remove_dir_with_files(&dir).is_ok();
            removed += usize::from(is_left);
        }
        removed
    }

    /// Makes the place for a dump, after those of the same container that are being stored.
    pub fn begin(self, about: &About) -> Result<Begun> {
        let failed = |why| Error::io("lock", &self.path, std::io::Error::from(why));
        sys::lock_in_turn(&self.turn).map_err(failed)?;
        sys::lock_in_turn(&self.counting).map_err(failed)?;
        let owner = self.enter();
        self.sweep();
        let label = label(about);
        let entries = self.entries()?;
        if let (Some(last), true) = self.newest(&entries, &label) {
            let age = sys::realtime_ns().saturating_sub(last.stored);
            if last.bytes > LARGE && age < LARGE_EVERY && self.count(last) {
                return Ok(Begun::Counted);
            }
        }
        let stamp = Utc::from_unix(about.time_ns / 1_000_000_000).compact();
        let mut name = [&label, "-", &stamp, "-", &about.pid.to_string()].concat();
        // A number may be a process's twice in a second.
        let is_taken = |name: &str| sys::status_of_link(&self.at.join(name)).is_ok();
        while is_taken(&name) || is_taken(&[".", &name].concat()) {
            name.push_str(".again");
        }
        let path = self.at.join([".", &name].concat());
        sys::make_dir(&path).map_err(|why| Error::io("create", &self.path.join(&name), why.into()))?;
        let lock = open_dir(&path)?;
        sys::lock(&lock).map_err(|why| Error::io("lock", &self.path.join(&name), why.into()))?;
        let dir = by_number(&lock);
        let room = create(&dir, ROOM)?;
        let beside = if about.recording.is_empty() { BESIDE } else { RECORDED };
        let _ = sys::set_len(&room, beside);
        sys::unlock(&self.counting);
        drop(owner);
        Ok(Begun::Place(Box::new(Place { dir, shelf: self, name, room, beside, allowed: 0, full: "", _lock: lock })))
    }

    /// The newest dump of a container, and whether that is in a crash loop, into which the next one comes.
    pub(super) fn newest<'a>(&self, entries: &'a [Entry], label: &str) -> (Option<&'a Entry>, bool) {
        let (mut before, mut last) = (None::<&Entry>, None);
        for entry in entries {
            if entry.label() == label && !entry.grows {
                before = last.replace(entry);
            }
        }
        let near = |earlier: u64, later: u64| later.saturating_sub(earlier) < LOOP_WITHIN;
        // One that stands for others already is in a loop, however long ago that began.
        let in_loop = match (before, last) {
            (Some(before), Some(last)) => {
                near(last.stored, sys::realtime_ns()) && (near(before.stored, last.stored) || self.not_kept(last).0 > 0)
            }
            _ => false,
        };
        (last, in_loop)
    }

    /// Dumps that were not kept before one, and behind it.
    pub(super) fn not_kept(&self, entry: &Entry) -> (u32, u32) {
        let dir = self.at.join(&entry.name);
        keeper::read(&dir).map_or((0, 0), |dump| (dump.about.not_kept, dump.about.more))
    }

    /// Counts a dump that is not stored, beside the one before it.
    fn count(&self, last: &Entry) -> bool {
        let path = self.at.join(&last.name).join(MORE);
        sys::open(&path, OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_APPEND | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK)
            .is_ok_and(|mut file| std::io::Write::write_all(&mut file, b".").is_ok())
    }
}

/// Makes a directory that may be there.
fn make(path: &Path) -> Result<()> {
    match sys::make_dir(path) {
        Err(why) if why != nix::errno::Errno::EEXIST => Err(Error::io("create", path, why.into())),
        _ => Ok(()),
    }
}

/// Refuses a directory that is not the user's own, or that others may write to. Gives its group.
fn check(dir: &File, path: &Path, user: u32) -> Result<u32> {
    let status = sys::status_of(dir).map_err(|why| Error::io("open", path, why))?;
    if status.user != user || status.mode & 0o022 != 0 {
        return Err(Error::new(
            Kind::Permission,
            [&path.to_string_lossy(), ", which others can write or own"].concat(),
        ));
    }
    Ok(status.group)
}

/// A new file for its owner alone.
pub(super) fn create(dir: &Path, name: &str) -> Result<File> {
    let path = dir.join(name);
    sys::open(&path, OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW)
        .map_err(|why| Error::io("create", &path, why))
}

#[cfg(test)]
#[path = "tests/shelf.rs"]
mod tests;
