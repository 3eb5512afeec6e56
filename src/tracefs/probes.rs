// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Probes of ours: defining them, which is for the whole machine, and removing them again.
//!
//! `dynamic_events` (5.0 and later) and `kprobe_events` hold everybody's probes; opened with O_TRUNC they lose them all, so
//! they are appended to only. A definition that an instance has switched on cannot be removed (EBUSY), which makes the
//! kernel count its users for us. A lock keeps two recorders from defining and removing at once.
//! Source: kernel/trace/trace_dynevent.c, trace_kprobe.c, trace_eprobe.c; Documentation/trace/kprobetrace.rst.

use std::fs::File;
use std::io::Write;

use nix::fcntl::OFlag;

use super::mount::Tracefs;
use crate::error::{Error, Result};
use crate::sys;

/// The group that all our probes are in, and nobody else's.
pub const PROBE_GROUP: &str = "ftrace_analyzer";

/// The file that is locked: as old as the mount, there for all who see these probes, and wanted by nobody else.
const LOCK: &str = "README";

/// How often, at [`LOCK_WAIT_MS`], the lock is tried for: two recorders that start at once take some milliseconds each.
const LOCK_TRIES: u32 = 100;
const LOCK_WAIT_MS: u16 = 5;

/// Held while probes are defined and switched on, or removed.
#[derive(Debug)]
pub struct ProbeLock {
    _held: File,
}

impl ProbeLock {
    /// Takes the lock. An error where another process keeps it for longer than half a second.
    pub fn take(tracefs: &Tracefs) -> Result<ProbeLock> {
        let path = &tracefs.root().join(LOCK);
        let file = sys::open(path, OFlag::O_RDONLY).map_err(|why| Error::io("open", path, why))?;
        for _ in 0..LOCK_TRIES {
            match sys::lock(&file) {
                Ok(()) => return Ok(ProbeLock { _held: file }),
                Err(nix::Error::EAGAIN | nix::Error::EINTR) => {}
                Err(why) => return Err(Error::io("lock", path, why.into())),
            }
            sys::sleep_ms(LOCK_WAIT_MS);
        }
        Err(Error::io("lock", path, nix::Error::EAGAIN.into()))
    }
}

impl Tracefs {
    /// The file that takes definitions; `None` on a kernel without probes.
    fn definitions(&self) -> Option<&'static str> {
        ["dynamic_events", "kprobe_events"].into_iter().find(|file| sys::exists(&self.root().join(file)))
    }

    /// Whether the kernel has probes of any kind.
    pub fn has_probe_definitions(&self) -> bool {
        self.definitions().is_some()
    }

    /// Whether the kernel puts strings into its events of calls (6.19 and later).
    pub fn has_event_strings(&self) -> bool {
        sys::exists(&self.root().join("syscall_user_buf_size"))
    }

    /// Whether the kernel can probe its own functions (CONFIG_KPROBE_EVENTS).
    pub fn has_kprobes(&self) -> bool {
        sys::exists(&self.root().join("kprobe_events"))
    }

    /// Whether a probe of ours with this name is defined.
    pub fn has_probe(&self, name: &str) -> bool {
        self.has_event(PROBE_GROUP, name)
    }

    /// Adds one definition, or with `-:` takes one away.
    pub fn define(&self, definition: &str) -> Result<()> {
        let Some(file) = self.definitions() else { return Err(Error::unsupported("probes")) };
        let path = self.root().join(file);
        let mut handle =
            sys::open(&path, OFlag::O_WRONLY | OFlag::O_APPEND).map_err(|why| Error::io("open", &path, why))?;
        handle.write_all(definition.as_bytes()).map_err(|why| Error::io("write a probe to", &path, why))
    }

    /// Removes all probes of ours that nobody uses. Gives how many are left.
    pub fn remove_probes(&self) -> usize {
        let mut left = 0;
        for name in sys::names(&self.root().join("events").join(PROBE_GROUP)).unwrap_or_default() {
            let Some(name) = name.to_str().filter(|name| self.has_probe(name)) else { continue };
            left += usize::from(self.define(&format!("-:{PROBE_GROUP}/{name}")).is_err());
        }
        left
    }
}
