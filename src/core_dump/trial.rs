// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A dump to see whether the kernel calls the handler: what is wrong with that is told by `core install`, not by the first
//! crash that leaves nothing.
//!
//! A child of ours dies; its number stands in a file of root's, by which the handler knows it and does no more than to
//! write down that it was called, and whether the kernel gave it a pidfd (6.16, and 5.10 to 6.12 since June 2025).

use std::path::{Path, PathBuf};

use super::settings::write_whole;
use crate::error::{Error, Kind, Result};
use crate::ids::Pid;
use crate::sys::{self, Forked};
use crate::words::number;

/// How long the handler may take to be called, in milliseconds.
const PATIENCE_MS: u64 = 30_000;

fn file(run_dir: &Path) -> PathBuf {
    run_dir.join("core.trial")
}

/// Tries it: `yes` if the handler was called with a pidfd, `no` if without.
pub fn try_out(run_dir: &Path, pattern: &str) -> Result<&'static str> {
    let path = file(run_dir);
    let child = match sys::fork().map_err(|why| Error::sys("try a dump", why))? {
        Forked::Child => {
            let me = std::process::id().to_string();
            if write_whole(&path, me.as_bytes(), 0o600).is_ok() {
                sys::die_with_dump();
            }
            sys::exit(1)
        }
        Forked::Parent(pid) => pid,
    };
    let end = sys::monotonic_ms() + PATIENCE_MS;
    let mut ended = false;
    let told = loop {
        // The kernel waits for its helper's end before the child is gone.
        ended = ended || sys::wait(child, false).is_some();
        match sys::read_text(&path).as_deref() {
            Ok("yes") => break Some("yes"),
            Ok("no") => break Some("no"),
            _ if ended || sys::monotonic_ms() > end => break None,
            _ => sys::sleep_ms(5),
        }
    };
    if !ended {
        sys::kill(child);
        let _ = sys::wait(child, true);
    }
    let _ = sys::remove_file(&path);
    told.ok_or_else(|| {
        Error::new(Kind::Busy, ["the kernel did not start ", pattern.get(1..).unwrap_or(pattern)].concat())
            .hint("dmesg may tell why: a file system without programs (noexec), or a security module that forbids it")
    })
}

/// In the handler: whether this is the trial; writes down that it came.
pub fn is_trial(run_dir: &Path, pid: Pid, has_pidfd: bool) -> bool {
    let path = file(run_dir);
    let is_it = sys::read_text(&path).is_ok_and(|text| number(&text) == Some(pid as u64));
    is_it && write_whole(&path, if has_pidfd { b"yes" } else { b"no" }, 0o600).is_ok()
}
