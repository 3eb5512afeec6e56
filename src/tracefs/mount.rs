// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Finding tracefs by the mount table, and mounting it where it is missing and we may.
//!
//! sysvinit images mount debugfs only, which automounts tracefs below it; systemd mounts /sys/kernel/tracing.
//! Source: proc_pid_mountinfo(5); fs/tracefs/inode.c.

use std::path::{Path, PathBuf};

use super::instance::INSTANCE_PREFIX;
use crate::error::{Error, Result};
use crate::sys::{self, numbers, read_text};
use crate::words::{next_part, nth, split_once};

/// Where the kernel offers a directory to mount tracefs on.
pub const TRACEFS_PATH: &str = "/sys/kernel/tracing";

/// A mounted tracefs.
#[derive(Clone, Debug)]
pub struct Tracefs {
    root: PathBuf,
}

/// Undoes the kernel's octal escapes of blanks and backslashes in mount paths.
fn unescape(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    loop {
        match rest {
            [] => break,
            [b'\\', high @ b'0'..=b'3', middle @ b'0'..=b'7', low @ b'0'..=b'7', tail @ ..] => {
                bytes.push((high - b'0') << 6 | (middle - b'0') << 3 | (low - b'0'));
                rest = tail;
            }
            [byte, tail @ ..] => {
                bytes.push(*byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The mount point of tracefs in the text of a mountinfo file: the standard one first, else the first of its own, else
/// the one below debugfs.
pub fn find_in_mountinfo(text: &str) -> Option<PathBuf> {
    let mut own = None;
    let mut below_debugfs = None;
    let mut rest = text;
    while let Some(line) = next_part(&mut rest, "\n") {
        let Some((left, right)) = split_once(line, " - ") else { continue };
        let (root, point) = (nth(left, 3), nth(left, 4));
        // A bind mount of a part of tracefs (one instance, say) is not tracefs.
        if root != "/" || point.is_empty() {
            continue;
        }
        match nth(right, 0) {
            "tracefs" if point == TRACEFS_PATH => return Some(PathBuf::from(TRACEFS_PATH)),
            "tracefs" if own.is_none() => own = Some(point),
            "debugfs" if below_debugfs.is_none() => below_debugfs = Some(point),
            _ => {}
        }
    }
    match own {
        Some(point) => Some(PathBuf::from(unescape(point))),
        None => below_debugfs.map(|point| Path::new(&unescape(point)).join("tracing")),
    }
}

impl Tracefs {
    /// A tracefs at a given place (tests, and callers that know).
    pub fn at(root: impl Into<PathBuf>) -> Tracefs {
        Tracefs { root: root.into() }
    }

    /// The mounted tracefs, if there is one.
    pub fn find() -> Option<Tracefs> {
        let text = read_text(Path::new("/proc/self/mountinfo")).ok()?;
        let root = find_in_mountinfo(&text)?;
        sys::is_dir(&root.join("instances")).then_some(Tracefs { root })
    }

    /// The mounted tracefs; mounted now at its standard place where it is missing.
    pub fn open() -> Result<Tracefs> {
        if let Some(found) = Tracefs::find() {
            return Ok(found);
        }
        let root = Path::new(TRACEFS_PATH);
        if let Err(errno) = sys::mount("tracefs", root) {
            return Err(match errno {
                nix::Error::ENODEV | nix::Error::ENOENT => {
                    Error::unsupported("tracefs").hint("build the kernel with CONFIG_FTRACE and CONFIG_FTRACE_SYSCALLS")
                }
                nix::Error::EPERM | nix::Error::EACCES => Error::io("mount", root, errno.into())
                    .hint(format!("run as root, or have root run: mount -t tracefs tracefs {TRACEFS_PATH}")),
                errno => Error::sys(format!("mount tracefs at {TRACEFS_PATH}"), errno),
            });
        }
        Ok(Tracefs { root: root.to_owned() })
    }

    /// Where it is mounted.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Names of the instances that are ours.
    pub fn our_instances(&self) -> Vec<String> {
        let mut names = Vec::new();
        for name in sys::names(&self.root.join("instances")).unwrap_or_default() {
            names.extend(name.into_string().ok().filter(|name| name.starts_with(INSTANCE_PREFIX)));
        }
        names.sort_unstable();
        names
    }

    /// Whether the kernel has this event.
    pub fn has_event(&self, system: &str, name: &str) -> bool {
        sys::exists(&self.root.join(format!("events/{system}/{name}/enable")))
    }

    /// Whether there are events of this system.
    pub fn has_event_system(&self, system: &str) -> bool {
        sys::exists(&self.root.join("events").join(system))
    }

    /// Number of per-CPU buffers an instance has.
    pub fn cpu_count(&self) -> u64 {
        numbers(&self.root.join("per_cpu"), "cpu").map_or(1, |cpus| cpus.len().max(1)) as u64
    }

    /// Text of a file of the top-level instance, for `doctor`; reading changes nothing.
    pub fn read_top(&self, file: &str) -> Option<String> {
        read_text(&self.root.join(file)).ok()
    }

    /// The clock in use by default; `local` unless the kernel found the CPUs' clocks to differ.
    pub fn default_clock(&self) -> String {
        self.read_top("trace_clock").as_deref().and_then(bracketed).unwrap_or("local").to_owned()
    }
}

/// The word in square brackets, which is how tracefs marks the choice that is active.
pub fn bracketed(text: &str) -> Option<&str> {
    let start = text.find('[')? + 1;
    let len = text.get(start..)?.find(']')?;
    text.get(start..start + len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_place_is_preferred_then_any_then_debugfs() {
        let debug = "24 1 0:7 / /sys/kernel/debug rw - debugfs debugfs rw\n";
        let other = "25 1 0:12 / /mnt/my\\040trace rw shared:1 - tracefs nodev rw\n";
        let standard = "26 1 0:12 / /sys/kernel/tracing rw - tracefs tracefs rw\n";
        let part = "27 1 0:12 /instances/x /sys/kernel/tracing rw - tracefs tracefs rw\n";
        let find = |text: String| find_in_mountinfo(&text).map(|path| path.display().to_string());
        assert_eq!(find(format!("{debug}{other}{standard}")).as_deref(), Some("/sys/kernel/tracing"));
        assert_eq!(find(format!("{debug}{other}{part}")).as_deref(), Some("/mnt/my trace"));
        assert_eq!(find(debug.into()).as_deref(), Some("/sys/kernel/debug/tracing"));
        assert_eq!(find("garbage\n1 2 - tracefs".into()), None);
    }

    #[test]
    fn the_active_choice_stands_in_brackets() {
        assert_eq!(bracketed("local [global] counter"), Some("global"));
        assert_eq!(bracketed("local"), None);
    }
}
