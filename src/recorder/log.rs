// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where a process without a terminal says what went wrong: hook.log beside the running state, and the system log.
//!
//! runc shows a hook's stderr only when the hook fails, and ours does not fail; so the file is what the user finds.

use std::io::Write;
use std::path::PathBuf;

use nix::fcntl::OFlag;

use super::run_state::{make_run_dir, run_dir};
use crate::calendar::Utc;
use crate::sys::{self, realtime_ns};

/// Size in bytes at which the log is put aside as `hook.log.1`: /run is memory.
const LOG_MAX: u64 = 256 << 10;
/// Longest line, in bytes.
const LINE_MAX: usize = 1024;

/// The file; its directory is there once anything of ours has run.
pub fn log_path() -> PathBuf {
    run_dir().join("hook.log")
}

/// Appends a line with the time, and passes it to the system log where there is one. Failures are nobody's to hear.
pub fn log(line: &str) {
    let mut text = String::new();
    for character in line.chars() {
        if text.len() + character.len_utf8() > LINE_MAX {
            break;
        }
        text.push(if character == '\n' { ' ' } else { character });
    }
    if let Ok(dir) = make_run_dir() {
        let path = log_path();
        if sys::status_of_link(&path).is_ok_and(|file| file.size > LOG_MAX) {
            let _ = sys::rename(&path, &dir.join("hook.log.1"));
        }
        let file = sys::open(&path, OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CREAT | OFlag::O_NOFOLLOW);
        if let Ok(mut file) = file {
            let now = Utc::from_unix(realtime_ns() / 1_000_000_000);
            let _ = file.write_all(format!("{now} UTC [{}] {text}\n", std::process::id()).as_bytes());
        }
    }
    if let Ok(mut socket) = sys::datagrams("/dev/log") {
        // Facility daemon, severity warning (RFC 3164).
        let _ = socket.write(format!("<28>ftrace-analyzer[{}]: {text}", std::process::id()).as_bytes());
    }
}
