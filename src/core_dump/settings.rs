// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the handler is to do, written down by `core install`: the kernel starts it without environment and options.
//!
//! `core.json` lies in the run directory, and in /etc/ftrace-analyzer too where it is to outlast the machine's next start. The
//! first that is there counts.

use std::io::Write;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use crate::error::{Error, Result};
use crate::json::Json;
use crate::record::{self, record};
use crate::sys;

/// Where settings lie that last.
const LASTING: &str = "/etc/ftrace-analyzer";
const FILE: &str = "core.json";
/// Largest file read, in bytes.
const FILE_MAX: usize = 64 << 10;

/// What is written down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The program that wrote it, with its version.
    pub tool: String,
    /// core_pattern as it is to be.
    pub pattern: String,
    /// core_pipe_limit as it is to be.
    pub pipe_limit: u32,
    /// core_pattern as it was before, to be put back, and for dumps that are not of containers.
    pub previous: String,
    /// core_pipe_limit as it was before.
    pub previous_pipe_limit: u32,
    /// Whether the kernel gave a pidfd when it was tried: `yes` or `no`; empty where it was not.
    pub pidfd: String,
    /// Where recordings lie, and dumps below `cores`.
    pub dir: String,
    /// Most bytes of one dump; 0 is no limit.
    pub max_dump: u64,
    /// Most bytes of all dumps of one container; 0 is no limit.
    pub max_container: u64,
    /// Most bytes of all dumps; 0 is no limit.
    pub max_total: u64,
    /// Bytes of the file system that stay free.
    pub keep_free: u64,
    /// Most dumps of one container that are kept; 0 is no limit.
    pub keep: u32,
    /// Seconds after which dumps are removed; 0 is never.
    pub max_age_s: u64,
    /// Whether the environment of the dying program is written down.
    pub environment: bool,
    /// A directory of the container's bundle that dumps are copied to, too: a relative path without `..`; empty for none.
    pub copy_to: String,
}

record!(Settings {
    tool: Text,
    pattern: Text,
    pipe_limit: U32,
    previous: Text,
    previous_pipe_limit: U32,
    pidfd: Text,
    dir: Text,
    max_dump: U64,
    max_container: U64,
    max_total: U64,
    keep_free: U64,
    keep: U32,
    max_age_s: U64,
    environment: Bool,
    copy_to: Text,
});

/// The places of the file, the one that counts first.
pub(super) fn places(run_dir: &Path) -> [PathBuf; 2] {
    [run_dir.join(FILE), Path::new(LASTING).join(FILE)]
}

/// What is written down; `None` where nothing is.
pub fn load(run_dir: &Path) -> Result<Option<Settings>> {
    for path in places(run_dir) {
        let text = match sys::open(&path, OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK) {
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => continue,
            opened => opened.and_then(|file| sys::read_on(&file, FILE_MAX)),
        };
        let text = text.map_err(|why| Error::io("read", &path, why))?;
        let mut settings = Settings::default();
        record::read(&text, &path.display().to_string(), &mut settings)?;
        return Ok(Some(settings));
    }
    Ok(None)
}

/// Writes it down, whole or not at all.
pub fn save(settings: &mut Settings, run_dir: &Path, lasting: bool) -> Result<()> {
    let mut json = Json::new();
    record::write(&mut json, settings).newline();
    let [run, etc] = places(run_dir);
    for path in [Some(run), lasting.then_some(etc)].into_iter().flatten() {
        write_whole(&path, json.as_bytes(), 0o600)?;
    }
    Ok(())
}

/// Replaces a file by one with this text.
pub(super) fn write_whole(path: &Path, text: &[u8], rights: u32) -> Result<()> {
    let failed = |why| Error::io("write", path, why);
    if let Some(dir) = sys::parent(path) {
        sys::make_dirs(dir).map_err(|why| Error::io("create", dir, why.into()))?;
    }
    let next = PathBuf::from([&*path.to_string_lossy(), ".next"].concat());
    let _ = sys::remove_file(&next);
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
    let rights = nix::sys::stat::Mode::from_bits_truncate(rights as nix::libc::mode_t);
    let written = sys::open_for(&next, flags, rights).and_then(|mut file| {
        file.write_all(text)?;
        file.sync_data()
    });
    let done = written.and_then(|()| sys::rename(&next, path));
    if done.is_err() {
        let _ = sys::remove_file(&next);
    }
    done.map_err(failed)
}

/// Forgets it.
pub fn remove(run_dir: &Path) -> Result<()> {
    for path in places(run_dir) {
        match sys::remove_file(&path) {
            Err(why) if why.kind() != std::io::ErrorKind::NotFound => return Err(Error::io("remove", &path, why)),
            _ => {}
        }
    }
    Ok(())
}
