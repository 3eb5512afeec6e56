// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One dump, from the kernel's call to a directory that is whole.
//!
//! The order: what /proc has, for it goes with the process; then the container's recording is told to keep what it has, for
//! other tasks write on; then the dump; then what takes time. The dying process and its parent wait for us all the while, so
//! nothing here waits for anybody without an end.

use std::fs::File;
use std::path::{Path, PathBuf};

use nix::unistd::alarm;

use super::about::{read_proc, About, Given};
use super::backtrace::Source;
use super::copy::copy;
use super::elf::Core;
use super::growing::Place;
use super::keeper::CORE;
use super::pattern::{way, Way};
use super::settings::Settings;
use super::shelf::{Begun, Shelf, BESIDE};
use super::stream::{store, Cut};
use crate::error::{Error, Result};
use crate::proc;
use crate::sys;

/// Seconds after which the kernel ends us, whatever we wait for: /proc may have to read memory that a file system in user
/// space keeps back (cmdline), and so may the directory of a user.
const LOOK_WITHIN: u32 = 20;
const STORE_WITHIN: u32 = 1200;

/// What the handler asks of those who know recordings.
pub trait Recordings {
    /// Whose process it is: fills in the container and its recording, as far as they are known; `cgroups` is
    /// /proc/PID/cgroup.
    fn find(&mut self, about: &mut About, cgroups: &str);
    /// Has the recording store what the kernel's ring has.
    fn keep(&mut self, about: &mut About);
    /// Copies the end of the recording into files that `create` makes.
    fn copy_calls(&mut self, about: &About, create: &mut dyn FnMut(&str) -> Result<File>) -> Result<()>;
}

/// What became of a dump.
#[derive(Debug)]
pub enum Handled {
    /// It is stored there.
    Stored(PathBuf, Box<About>),
    /// It is one of a crash loop of large ones, and was counted.
    Counted(Box<About>),
    /// It is of no container, and nothing was read of it.
    Other(Box<About>),
}

/// Handles one. `dump`: the kernel's pipe.
pub fn handle(given: &Given, dump: &File, settings: &Settings, recordings: &mut dyn Recordings) -> Result<Handled> {
    alarm::set(LOOK_WITHIN);
    // Before it is looked at for the last time whether it is the one that dies.
    let source = Source::open(given.pid);
    let user = proc::user_of_namespaces(given.pid);
    let root = if settings.copy_to.is_empty() { (0, 0) } else { proc::root_outside(given.pid) };
    let (about, cgroups) = read_proc(given, settings.environment)?;
    let mut about = Box::new(about);
    recordings.find(&mut about, &cgroups);
    // Nothing can be handed on to a socket: those are stored with the others.
    if about.container.id.is_empty() && way(&settings.previous) != Way::Socket {
        alarm::cancel();
        return Ok(Handled::Other(about));
    }
    sys::set_umask(0o077);
    // A user's recording tells of what is in his namespaces and of nothing else.
    if !about.recording.is_empty() && about.owner != 0 && about.owner != user {
        about.recording.clear();
        about.problems.push("its container's recording is another user's".into());
    }
    // Of a set-uid program root alone may have it, whoever started it (CVE-2022-4415).
    about.owner = if given.mode == 1 { user } else { 0 };
    recordings.keep(&mut about);
    // The filter that follows keeps it from being set again.
    alarm::set(STORE_WITHIN);
    let shelf = Shelf::open(Path::new(&settings.dir), &about)?;
    // From here on nothing is executed, and nothing is read or written but as an ordinary user could.
    let needs_users = about.owner != 0 || !about.recording.is_empty() || root.0 != 0;
    sys::set_owner(0, 0);
    sys::confine(if needs_users { sys::CAP_SETUID | sys::CAP_SETGID } else { 0 });
    let mut place = match shelf.begin(&about)? {
        Begun::Place(place) => place,
        Begun::Counted => return Ok(Handled::Counted(about)),
    };
    if let Err(why) = fill(&mut place, dump, source, settings, &mut about, recordings) {
        place.give_up();
        return Err(why);
    }
    let dir = place.finish(&mut about, settings)?;
    if !settings.copy_to.is_empty() && given.mode == 1 && !about.container.bundle.is_empty() {
        let to = if about.owner == 0 { root } else { (about.owner, about.group) };
        if let Err(why) = copy(&dir, &about, settings, to) {
            about.problems.push(["not copied to its bundle: ", &why.to_string()].concat());
        }
    }
    Ok(Handled::Stored(dir, about))
}

fn fill(
    place: &mut Place,
    dump: &File,
    source: Source,
    settings: &Settings,
    about: &mut About,
    recordings: &mut dyn Recordings,
) -> Result<()> {
    // Before the dump, while other tasks of the container have not added much.
    if !about.recording.is_empty() {
        if let Err(why) = recordings.copy_calls(about, &mut |name| place.create(name)) {
            about.problems.push(["no last calls: ", &why.to_string()].concat());
        }
    }
    let file = place.create(CORE)?;
    let mut stored = store(dump, &file, Path::new(CORE), settings.max_dump, &mut || place.grow(settings))?;
    if stored.cut == Some(Cut::Space) {
        // What is known of it needs some room, too.
        stored.bytes = stored.bytes.saturating_sub(BESIDE);
        stored.written = stored.written.min(stored.bytes);
        sys::set_len(&file, stored.bytes).map_err(|why| Error::io("write", Path::new(CORE), why))?;
    }
    (about.bytes, about.written) = (stored.bytes, stored.written);
    about.cut = match stored.cut {
        None => String::new(),
        Some(Cut::Limit) => ["the limit of ", &settings.max_dump.to_string(), " bytes"].concat(),
        Some(Cut::Room) => place.full.into(),
        Some(Cut::Space) => "the file system is full".into(),
        Some(Cut::Failed(errno)) => std::io::Error::from_raw_os_error(errno).to_string(),
    };
    match Core::open(file) {
        Ok(mut core) => {
            about.set_core(&core);
            let frames = source.frames(&mut core, &about.executable);
            about.set_backtrace(&core, &frames);
            if core.is_cut && about.cut.is_empty() {
                about.cut.push_str("the kernel did not write all of it: the process was killed meanwhile");
            }
            core.sync().map_err(|why| Error::io("write", Path::new(CORE), why))?;
        }
        Err(why) => about.problems.push(why.to_string()),
    }
    Ok(())
}
