// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Printing that does not panic: a reader that went away (`| head`) is no failure of ours, anything else is an error.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::Path;

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use super::args::{bad_value, Args, Opt};
use crate::error::{Error, Result};
use crate::sys::{self, Stdio};
use crate::words::breaks;

/// Writes to standard output.
pub fn print(bytes: &[u8]) -> Result<()> {
    forgive_closed(Stdio::Out.write_all(bytes))
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
    let _ = Stdio::Err.write_all(text.as_bytes());
}

/// A text with what could break the line or the terminal replaced: names of files, and what stands in them, may be somebody
/// else's.
pub fn shown(text: &str) -> String {
    let mut shown = String::new();
    for char in text.chars() {
        shown.push(if breaks(char) { '?' } else { char });
    }
    shown
}

/// The two lines of an error.
pub fn complain(verb: &str, error: &Error) {
    let mut text = String::from("ftrace-analyzer: ");
    for part in [verb, if verb.is_empty() { "" } else { ": " }, &shown(&error.to_string()), "\n"] {
        text.push_str(part);
    }
    if let Some(hint) = error.remedy() {
        for part in ["hint: ", &shown(hint), "\n"] {
            text.push_str(part);
        }
    }
    note(&text);
}

/// Makes a file for its owner alone, or replaces its contents; a link in its place is not followed.
pub fn create_private(path: &Path) -> io::Result<File> {
    sys::open(path, OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_NOFOLLOW)
}

/// Writes a small private file; what stands in its place and is none holds nobody up.
pub fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    sys::open(path, flags)?.write_all(text)
}

/// Whether text on `to` is to have colours: as `--color` says, else on a terminal that has them. `NO_COLOR` is that of
/// no-color.org. A file never has, unless told so.
pub fn colour(args: &Args<'_>, to: Stdio) -> Result<bool> {
    match args.get(Opt::Color).unwrap_or("auto") {
        "always" => Ok(true),
        "never" => Ok(false),
        "auto" if args.has(Opt::Output) || !to.as_fd().is_terminal() => Ok(false),
        "auto" => {
            let [term, no_color] = ["TERM", "NO_COLOR"].map(|name| sys::variable(name).unwrap_or_default());
            Ok(!term.is_empty() && term != "dumb" && no_color.is_empty())
        }
        other => Err(bad_value(Opt::Color, other, "is none of auto, always and never")),
    }
}

/// Where a report goes: a file, or one of the standard descriptors. Reports gather what they write.
pub fn open(path: Option<&str>, otherwise: Stdio) -> Result<Box<dyn Write>> {
    match path.map(Path::new) {
        None => Ok(Box::new(otherwise)),
        Some(path) => {
            let file =
                sys::open_for(path, OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC, Mode::from_bits_truncate(0o666))
                    .map_err(|why| Error::io("create", path, why))?;
            Ok(Box::new(file))
        }
    }
}
