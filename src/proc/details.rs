// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What /proc says of one process at length: its words, its limits; and whose a pidfd is.
//!
//! Source: proc_pid_cmdline(5), proc_pid_environ(5), proc_pid_limits(5), proc_pid_fdinfo(5).

use std::fs::File;
use std::os::fd::RawFd;
use std::path::Path;

use nix::fcntl::OFlag;

use crate::ids::Pid;
use crate::sys::{open, read_on, read_text, value_of};
use crate::words::{next_part, number, trim};

/// Opens a file of a process for reading.
pub fn open_of(pid: Pid, file: &str) -> std::io::Result<File> {
    open(["/proc/", &pid.to_string(), "/", file].concat().as_ref(), OFlag::O_RDONLY)
}

/// A file of words that NULs end (`cmdline`, `environ`), cut to `max` bytes; of more than `words` of them the last one has
/// the rest.
pub fn words(pid: Pid, file: &str, max: usize, words: usize) -> Vec<String> {
    let text = open_of(pid, file).and_then(|file| read_on(&file, max)).unwrap_or_default();
    let text = text.get(..text.len().min(max)).unwrap_or_default();
    let text = text.strip_suffix(b"\0").unwrap_or(text);
    if text.is_empty() {
        return Vec::new();
    }
    text.splitn(words, |byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// Limits: name, then soft and hard with a blank between them. They stand in columns, and names have blanks themselves.
pub fn limits(pid: Pid) -> Vec<(String, String)> {
    let text = read_text(["/proc/", &pid.to_string(), "/limits"].concat().as_ref()).unwrap_or_default();
    let (mut rest, mut found) = (text.as_str(), Vec::new());
    let _ = next_part(&mut rest, "\n");
    while let Some(line) = next_part(&mut rest, "\n") {
        let (Some(name), Some(values)) = (line.get(..26), line.get(26..)) else { continue };
        let mut values = values.split_ascii_whitespace();
        if let (Some(soft), Some(hard)) = (values.next(), values.next()) {
            found.push((trim(name).to_owned(), [soft, " ", hard].concat()));
        }
    }
    found
}

/// The process that a pidfd of ours means, as long as it is there.
pub fn pid_of_pidfd(fd: RawFd) -> Option<Pid> {
    let info = read_text(Path::new(&["/proc/self/fdinfo/", &fd.to_string()].concat())).ok()?;
    Pid::try_from(number(trim(value_of(&info, "Pid")?))?).ok()
}
