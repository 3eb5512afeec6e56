// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A recorder in a process of its own that whoever started us can forget about.
//!
//! The child sets tracing up itself and says through a pipe when it is on, or why it is not; the parent returns only
//! then. The child keeps none of our descriptors: a hook's stdout that stays open blocks runc until the recorder ends.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use nix::fcntl::OFlag;
use nix::unistd::setsid;

use super::log::{log, log_path};
use super::options::RecordOptions;
use super::session::Session;
use super::target::{Origin, Target};
use crate::error::{Error, Result};
use crate::ids::Pid;
use crate::sys::{self, Forked};
use crate::words::trim;

/// A recorder that has begun.
#[derive(Debug)]
pub struct Spawned {
    /// The recorder's process.
    pub pid: Pid,
    /// The recording's directory.
    pub dir: PathBuf,
}

/// Starts a recorder; returns when tracing is on.
pub fn spawn(target: &Target, options: &RecordOptions) -> Result<Spawned> {
    let (ready, said) = sys::pipe(OFlag::empty()).map_err(|why| Error::sys("make a pipe", why))?;
    match sys::fork().map_err(|why| Error::sys("start the recorder", why))? {
        Forked::Child => {
            sys::close_others(&[said.as_raw_fd()]);
            let code = record(target, options, File::from(said), None);
            // No destructor of the parent's frames may run here: their descriptors are closed.
            sys::exit(code);
        }
        Forked::Parent(pid) => {
            drop(said);
            let answer = sys::read_on(&File::from(ready), 64 << 10).unwrap_or_default();
            Ok(Spawned { pid, dir: read_answer(&answer)? })
        }
    }
}

/// What a recorder said of its start: the recording's directory, or why there is none.
pub fn read_answer(answer: &[u8]) -> Result<PathBuf> {
    let answer = String::from_utf8_lossy(answer);
    match answer.split_once(' ') {
        Some(("on", dir)) => Ok(PathBuf::from(trim(dir))),
        Some((code, text)) => Err(Error::relayed(code, text)),
        None => Err(Error::sys("start the recorder", std::io::Error::from(std::io::ErrorKind::UnexpectedEof))),
    }
}

/// The life of a process that is nothing but a recorder: it answers through `said` and lets go of what it was given to hold
/// once tracing is on. Gives the exit code.
pub fn record(target: &Target, options: &RecordOptions, mut said: File, held: Option<File>) -> u8 {
    let _ = setsid();
    let _ = sys::detach_stdio();
    let _ = std::env::set_current_dir("/");
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    sys::set_name("ftrace-recorder");
    sys::log_traps(&log_path());
    // Who attaches has it print, and it is for nobody else.
    if target.origin == Origin::Attach {
        sys::end_with_parent();
    }
    match Session::start(target, options) {
        Ok(session) => {
            let _ = said.write_all(format!("on {}\n", session.dir().display()).as_bytes());
            drop((said, held));
            if let super::Ending::Fault(why) = session.run() {
                log(&format!("recording of {}: {why}", target.label));
            }
            0
        }
        Err(why) => {
            let _ = said.write_all(why.to_relay().as_bytes());
            1
        }
    }
}
