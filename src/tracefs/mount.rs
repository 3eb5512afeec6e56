// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Finding tracefs by the mount table, and mounting it where it is missing and we may.
//!
//! sysvinit images mount debugfs only, which automounts tracefs below it; systemd mounts /sys/kernel/tracing.
//! Source: proc_pid_mountinfo(5); fs/tracefs/inode.c.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use nix::mount::{mount, MsFlags};

use super::instance::INSTANCE_PREFIX;
use crate::error::{Error, Result};

/// Where the kernel offers a directory to mount tracefs on.
pub const TRACEFS_PATH: &str = "/sys/kernel/tracing";

/// A mounted tracefs.
#[derive(Clone, Debug)]
pub struct Tracefs {
    root: PathBuf,
}

/// Reads a file of tracefs with large reads from the first on. std begins with one of 32 bytes where a file has no size,
/// and `events/header_page` gives nothing at any offset but 0: its rest would be missing (kernel/trace/trace_events.c
/// `show_header`; seen on 6.18).
pub(super) fn read_text(path: &Path) -> io::Result<String> {
    let mut file = fs::File::open(path)?;
    let mut bytes = Vec::new();
    let mut chunk = vec![0u8; 16 << 10];
    loop {
        match file.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(chunk.get(..count).unwrap_or_default()),
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            Err(why) => return Err(why),
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Undoes the kernel's octal escapes of blanks and backslashes in mount paths.
fn unescape(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let octal = if *first == b'\\' { tail.get(..3) } else { None };
        let value =
            octal.and_then(|digits| core::str::from_utf8(digits).ok()).and_then(|d| u8::from_str_radix(d, 8).ok());
        match value {
            Some(value) => {
                bytes.push(value);
                rest = tail.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The mount point of tracefs in the text of a mountinfo file: the standard one first, else the first of its own, else
/// the one below debugfs.
pub fn find_in_mountinfo(text: &str) -> Option<PathBuf> {
    let mut tracefs = Vec::new();
    let mut debugfs = Vec::new();
    for line in text.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let mut fields = left.split(' ');
        let (Some(root), Some(point)) = (fields.nth(3), fields.next()) else { continue };
        // A bind mount of a part of tracefs (one instance, say) is not tracefs.
        if root != "/" {
            continue;
        }
        match right.split(' ').next() {
            Some("tracefs") => tracefs.push(unescape(point)),
            Some("debugfs") => debugfs.push(unescape(point)),
            _ => {}
        }
    }
    if tracefs.iter().any(|point| point == TRACEFS_PATH) {
        return Some(PathBuf::from(TRACEFS_PATH));
    }
    let own = tracefs.first().map(PathBuf::from);
    own.or_else(|| debugfs.first().map(|point| Path::new(point).join("tracing")))
}

impl Tracefs {
    /// A tracefs at a given place (tests, and callers that know).
    pub fn at(root: impl Into<PathBuf>) -> Tracefs {
        Tracefs { root: root.into() }
    }

    /// The mounted tracefs, if there is one.
    pub fn find() -> Option<Tracefs> {
        let text = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let root = find_in_mountinfo(&text)?;
        root.join("instances").is_dir().then_some(Tracefs { root })
    }

    /// The mounted tracefs; mounted now at its standard place where it is missing.
    pub fn open() -> Result<Tracefs> {
        if let Some(found) = Tracefs::find() {
            return Ok(found);
        }
        let root = Path::new(TRACEFS_PATH);
        let nothing: Option<&str> = None;
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        if let Err(errno) = mount(Some("tracefs"), root, Some("tracefs"), flags, nothing) {
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
        let Ok(entries) = fs::read_dir(self.root.join("instances")) else { return Vec::new() };
        let mut names: Vec<String> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| name.starts_with(INSTANCE_PREFIX))
            .collect();
        names.sort_unstable();
        names
    }

    /// Whether the kernel has this event.
    pub fn has_event(&self, system: &str, name: &str) -> bool {
        self.root.join("events").join(system).join(name).join("enable").exists()
    }

    /// Number of per-CPU buffers an instance has.
    pub fn cpu_count(&self) -> u64 {
        fs::read_dir(self.root.join("per_cpu")).map_or(1, |entries| entries.count().max(1)) as u64
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
