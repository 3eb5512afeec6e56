// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a bundle's config.json says of the container's privileges, as far as recordings are about it.
//!
//! Source: runtime-spec config.md `process`, config-linux.md `seccomp`. Engines write the file before the hooks run, and the
//! hook runs before the runtime loads the filter, so only this file tells what will be refused.

use std::path::Path;

use nix::fcntl::OFlag;

use crate::record::{self, record};
use crate::sys;

/// Largest file that is read, in bytes: that of a pod with many mounts has 60 KB.
const CONFIG_MAX: usize = 1 << 20;

/// The members that are read.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// `process`
    pub process: Process,
    /// `linux`
    pub linux: Linux,
}

/// `process`
#[derive(Debug, Default, PartialEq, Eq)]
#[allow(non_snake_case)] // the members' names in the file
pub struct Process {
    /// Whether privileges can not grow by execve; decides when runtimes load the filter.
    pub noNewPrivileges: bool,
    /// Its capabilities.
    pub capabilities: Capabilities,
}

/// `process.capabilities`
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Those that programs of the container can have.
    pub bounding: Vec<String>,
}

/// `linux`
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Linux {
    /// The filter of system calls.
    pub seccomp: Seccomp,
}

/// `linux.seccomp`
#[derive(Debug, Default, PartialEq, Eq)]
#[allow(non_snake_case)]
pub struct Seccomp {
    /// What becomes of calls that no rule names; empty where there is no filter.
    pub defaultAction: String,
}

record!(Config { process: Record, linux: Record });
record!(Process { noNewPrivileges: Bool, capabilities: Record });
record!(Capabilities { bounding: Texts });
record!(Linux { seccomp: Record });
record!(Seccomp { defaultAction: Text });

/// Reads config.json of a bundle. `None` where it cannot be read: it is the container that matters, not the file.
pub fn read_config(bundle: &Path) -> Option<Config> {
    let file = sys::open(&bundle.join("config.json"), OFlag::O_RDONLY | OFlag::O_NONBLOCK).ok()?;
    let text = sys::read_on(&file, CONFIG_MAX + 1).ok()?;
    let mut config = Config::default();
    let whole = text.len() <= CONFIG_MAX && record::read(&text, "config.json", &mut config).is_ok();
    whole.then_some(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn privileges_are_read_and_their_absence_is_none() {
        let dir = std::env::temp_dir().join(format!("ftrace-analyzer-config-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        assert_eq!(read_config(&dir), None);
        let write = |text: &str| std::fs::write(dir.join("config.json"), text).unwrap();
        write("{\"process\":{\"noNewPrivileges\":true,\"capabilities\":{\"bounding\":[\"CAP_KILL\"]}},\"x\":[1]}");
        let config = read_config(&dir).unwrap();
        assert!(config.process.noNewPrivileges && config.linux.seccomp.defaultAction.is_empty());
        assert_eq!(config.process.capabilities.bounding, ["CAP_KILL"]);
        write("{\"linux\":{\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"syscalls\":[]}},\"process\":null}");
        let config = read_config(&dir).unwrap();
        assert_eq!(config.linux.seccomp.defaultAction, "SCMP_ACT_ERRNO");
        assert_eq!(config.process, Process::default());
        write("{");
        assert_eq!(read_config(&dir), None);
        write(&" ".repeat(CONFIG_MAX + 1));
        assert_eq!(read_config(&dir), None);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
