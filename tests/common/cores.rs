// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The kernel's core_pattern for a test: taken by `core install` with the test's own directories, given back at its end.
//!
//! core_pattern is one for the machine, so such a test is alone ([`Live::alone`]). The kernel starts the handler without an
//! environment: a script of the test's stands in for the installed program and sets the directories.
#![allow(dead_code)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::live::{entries, wait_for, Live, BIN};

/// core_pattern.
pub const PATTERN: &str = "kernel/core_pattern";
/// core_pipe_limit.
pub const LIMIT: &str = "kernel/core_pipe_limit";

/// Settings of the machine, as they were when this is dropped.
pub struct Sysctl(Vec<(PathBuf, String)>);

impl Sysctl {
    /// Sets some, by their paths below /proc/sys.
    #[track_caller]
    pub fn set(values: &[(&str, &str)]) -> Sysctl {
        let before = Sysctl::keep(&values.iter().map(|(name, _)| *name).collect::<Vec<_>>());
        for (name, value) in values {
            fs::write(Path::new("/proc/sys").join(name), value).unwrap();
        }
        before
    }

    /// Keeps some as they are.
    #[track_caller]
    pub fn keep(names: &[&str]) -> Sysctl {
        let path = |name: &&str| Path::new("/proc/sys").join(name);
        Sysctl(names.iter().map(|name| (path(name), fs::read_to_string(path(name)).unwrap())).collect())
    }
}

impl Drop for Sysctl {
    fn drop(&mut self) {
        for (path, text) in &self.0 {
            let _ = fs::write(path, text);
        }
    }
}

/// Ours is installed until this is dropped.
pub struct Cores<'a> {
    live: &'a Live,
    _before: Sysctl,
}

impl<'a> Cores<'a> {
    /// `core install OPTIONS`; `previous` is what is found there.
    #[track_caller]
    pub fn install(live: &'a Live, previous: &str, options: &[&str]) -> Cores<'a> {
        let _before = Sysctl::keep(&[PATTERN, LIMIT]);
        let program = stand_in(live);
        fs::write(Path::new("/proc/sys").join(PATTERN), previous).unwrap();
        let cores = Cores { live, _before };
        let mut words = vec!["core", "install", "--binary", program.to_str().unwrap()];
        // An option is given once.
        if !options.contains(&"--force") {
            words.push("--force");
        }
        live.bin(&[&words, options].concat()).expect_code(0);
        cores
    }

    /// The dumps that are whole, oldest names first.
    pub fn dumps(&self) -> Vec<PathBuf> {
        let mut found = entries(&self.live.path("recordings/cores"));
        found.retain(|path| !path.file_name().unwrap().to_str().unwrap().starts_with('.'));
        found
    }

    /// Waits until there are this many.
    #[track_caller]
    pub fn wait_for(&self, count: usize) -> Vec<PathBuf> {
        wait_for("dumps", || Some(self.dumps()).filter(|dumps| dumps.len() >= count))
    }
}

/// Writes the script that stands in for the installed program.
pub fn stand_in(live: &Live) -> PathBuf {
    let program = live.path("fa");
    let script = format!(
        "#!/bin/sh\nexport FTRACE_ANALYZER_RUN_DIR={} PATH=/usr/sbin:/usr/bin:/sbin:/bin\nexec {BIN} \"$@\" 2>>{}\n",
        live.path("run").display(),
        live.path("handler.err").display(),
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    program
}
