// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Recordings made on other machines report here to the bytes to which they did there.
//!
//! Every directory below `tests/recordings/` is one machine: a recording of `sh -c '(exit 3); ls /; kill -SEGV $$'` and
//! what `report --with-runtime --format text|json|summary` said of it on that machine. A run of a board leaves such
//! a directory in its results; cross/boards/README.md tells how it becomes one of these.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn directories(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.is_dir());
    found.sort();
    found
}

#[test]
fn recordings_of_other_machines_report_as_they_did_there() {
    let machines = directories(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings"));
    assert!(!machines.is_empty());
    for machine in machines {
        let recordings = directories(&machine);
        assert_eq!(recordings.len(), 1, "{}", machine.display());
        for form in ["text", "json", "summary"] {
            let mut report = Command::new(env!("CARGO_BIN_EXE_ftrace-analyzer"));
            let out = report.arg("report").arg(&recordings[0]).args(["--with-runtime", "--format", form]).output();
            let out = out.unwrap();
            assert!(out.status.success(), "{}: {}", machine.display(), String::from_utf8_lossy(&out.stderr));
            let there = fs::read(machine.join(form)).unwrap();
            assert!(!there.is_empty() && out.stdout == there, "{}: {form} differs", machine.display());
        }
    }
}
