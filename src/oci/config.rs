// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a bundle's config.json says of the container's privileges and its pod, as far as recordings are about it.
//!
//! Source: runtime-spec config.md `process`, config-linux.md `seccomp`. Engines write the file before the hooks run, and the
//! hook runs before the runtime loads the filter, so only this file tells what will be refused.

use crate::record::{self, record};

/// Largest file that is read, in bytes: that of a pod with many mounts has 60 KB.
pub const CONFIG_MAX: usize = 1 << 20;

/// The members that are read.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// `process`
    pub process: Process,
    /// `linux`
    pub linux: Linux,
    /// `hooks`
    pub hooks: Hooks,
    /// Those that the state has, too.
    pub annotations: Vec<(String, String)>,
}

/// `hooks`
#[derive(Debug, Default, PartialEq, Eq)]
#[allow(non_snake_case)]
pub struct Hooks {
    /// Those that run in the container, in front of its program and under its filter.
    pub startContainer: Vec<Hook>,
}

/// One of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Hook {
    /// What is executed.
    pub path: String,
}

/// `process`
#[derive(Debug, Default, PartialEq, Eq)]
#[allow(non_snake_case)] // the members' names in the file
pub struct Process {
    /// Whether privileges can not grow by execve; decides when runtimes load the filter.
    pub noNewPrivileges: bool,
    /// Its environment, as `NAME=VALUE`.
    pub env: Vec<String>,
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

record!(Config { process: Record, linux: Record, hooks: Record, annotations: Pairs });
record!(Hooks { startContainer: List });
record!(Hook { path: Text });
record!(Process { noNewPrivileges: Bool, env: Texts, capabilities: Record });
record!(Capabilities { bounding: Texts });
record!(Linux { seccomp: Record });
record!(Seccomp { defaultAction: Text });

/// Reads the text of a config.json. `None` where it is none: it is the container that matters, not the file.
pub fn parse_config(text: &[u8]) -> Option<Config> {
    let mut config = Config::default();
    record::read(text, "config.json", &mut config).ok().map(|()| config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn privileges_are_read_and_their_absence_is_none() {
        let read = |text: &str| parse_config(text.as_bytes());
        let config =
            read("{\"process\":{\"noNewPrivileges\":true,\"capabilities\":{\"bounding\":[\"CAP_KILL\"]}},\"x\":[1]}")
                .unwrap();
        assert!(config.process.noNewPrivileges && config.linux.seccomp.defaultAction.is_empty());
        assert_eq!(config.process.capabilities.bounding, ["CAP_KILL"]);
        let config =
            read("{\"linux\":{\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"syscalls\":[]}},\"process\":null}")
                .unwrap();
        assert_eq!(config.linux.seccomp.defaultAction, "SCMP_ACT_ERRNO");
        assert_eq!(config.process, Process::default());
        assert_eq!(
            read("{\"hooks\":{\"startContainer\":[{\"path\":\"/a\"}],\"poststop\":[{}]}}")
                .unwrap()
                .hooks
                .startContainer
                .len(),
            1
        );
        assert_eq!(read("{"), None);
    }
}
