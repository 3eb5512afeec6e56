// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Printing that does not panic: a reader that went away (`| head`) is no failure of ours, anything else is an error.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::OFlag;

use crate::error::{Error, Result};

/// Writes to standard output.
pub fn print(bytes: &[u8]) -> Result<()> {
    let mut stdout = io::stdout().lock();
    forgive_closed(stdout.write_all(bytes).and_then(|()| stdout.flush()))
}

/// A closed pipe counts as success.
pub fn forgive_closed(result: io::Result<()>) -> Result<()> {
    match result {
        Err(why) if why.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(|why| Error::sys("write the output", why)),
    }
}

/// Writes to standard error; a failure there is nobody's to hear.
pub fn note(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// The two lines of an error.
pub fn complain(verb: &str, error: &Error) {
    let verb = if verb.is_empty() { String::new() } else { format!("{verb}: ") };
    let mut text = format!("ftrace-analyzer: {verb}{error}\n");
    if let Some(hint) = &error.hint {
        text.push_str(&format!("hint: {hint}\n"));
    }
    note(&text);
}

/// Makes a file for its owner alone, or replaces its contents; a link in its place is not followed.
pub fn create_private(path: &Path) -> io::Result<File> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC).bits();
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).custom_flags(flags).open(path)
}

/// Writes a small private file.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    create_private(path)?.write_all(text.as_bytes())
}

/// Where a report goes: a file, or standard output.
pub fn open(path: Option<&Path>) -> Result<Box<dyn Write>> {
    match path {
        None => Ok(Box::new(io::stdout().lock())),
        Some(path) => {
            let file = File::create(path).map_err(|why| Error::io("create", path, why))?;
            Ok(Box::new(BufWriter::new(file)))
        }
    }
}
