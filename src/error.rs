// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The one error type: a kind that a caller can act on, and the sentence the user reads.
//!
//! `Display` is what stands behind `ftrace-analyzer: <verb>: `: lower case, no full stop, naming what, where and how big.
//! The remedy, where one is known, is kept apart so that it can be printed on a line of its own. Exit codes are decided
//! here and nowhere else.

use core::fmt;
use std::io;
use std::path::Path;

use crate::words::{number, quoted, split_once};

/// `Result` with our [`Error`].
pub type Result<T> = core::result::Result<T, Error>;

/// What went wrong, in kinds a caller can act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// This kernel or system lacks a feature; the feature is named.
    NotSupported,
    /// Something is in use by somebody else.
    Busy,
    /// The kernel refused access.
    Permission,
    /// A file, directory, recording or container is not there.
    NotFound,
    /// Input that does not follow its format; the number is the offset in bytes from its start, where known.
    Malformed(Option<u64>),
    /// A stated limit was passed; the number is the limit, in the unit that the text names.
    Limit(u64),
    /// A system call failed in a way none of the kinds above names; the number is its errno.
    Io(i32),
    /// The command line or an option's value is wrong.
    Usage,
    /// An error of the recorder's process, with its exit code.
    Relayed(u8),
    /// Our own assumption failed: please report it.
    Bug,
}

/// An error with an optional remedy. One pointer wide: results of it are handed up through every function.
#[derive(Debug)]
pub struct Error(Box<Body>);

#[derive(Debug)]
struct Body {
    kind: Kind,
    what: String,
    hint: Option<String>,
}

/// Exit codes, as the manual promises them.
pub mod exit {
    /// Done.
    pub const OK: u8 = 0;
    /// Failed.
    pub const FAILED: u8 = 1;
    /// Wrong usage.
    pub const USAGE: u8 = 2;
    /// This kernel or system lacks a feature, which the message names.
    pub const UNSUPPORTED: u8 = 3;
    /// Done, but data was lost or is partial.
    pub const PARTIAL: u8 = 4;
    /// `run`: tracing could not be started.
    pub const RUN_NO_TRACE: u8 = 125;
    /// `run`: the command was found but could not be executed.
    pub const RUN_NOT_EXECUTABLE: u8 = 126;
    /// `run`: the command was not found.
    pub const RUN_NOT_FOUND: u8 = 127;
}

impl Error {
    /// An error without a hint: what went wrong, which `Display` completes by its kind.
    #[cold]
    pub fn new(kind: Kind, what: String) -> Self {
        Error(Box::new(Body { kind, what, hint: None }))
    }

    /// The kind, which decides the exit code.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// What the user can do about it, printed as `hint: …`.
    pub fn remedy(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// Adds the remedy.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// The same error about something that its maker could not know, such as the file that was read.
    pub fn within(mut self, name: fmt::Arguments<'_>) -> Self {
        self.0.what = format!("{name}: {}", self.0.what);
        self
    }

    /// The same error in a sentence that says more; exit code and hint stay.
    pub fn told_as(mut self, what: String) -> Self {
        (self.0.kind, self.0.what) = (Kind::Relayed(self.exit_code()), what);
        self
    }

    /// Wrong usage.
    pub fn usage(text: impl Into<String>) -> Self {
        Error::new(Kind::Usage, text.into())
    }

    /// Input that does not follow its format.
    pub fn malformed(what: impl Into<String>, offset: Option<u64>) -> Self {
        Error::new(Kind::Malformed(offset), what.into())
    }

    /// Something is not there.
    pub fn not_found(what: impl Into<String>) -> Self {
        Error::new(Kind::NotFound, what.into())
    }

    /// A word that may mean several; the first of them are told.
    #[cold]
    pub fn several(what: &str, wanted: &str, names: &[&str]) -> Self {
        let shown = names.get(..4).unwrap_or(names).join(", ");
        let count = names.len().to_string();
        let more = if names.len() > 4 { ", ..." } else { "" };
        let text = [&*count, " ", what, " begin with ", wanted, ": ", &shown, more].concat();
        Error::new(Kind::Busy, text).hint("give more of the name")
    }

    /// A feature that this kernel or system lacks.
    pub fn unsupported(need: impl Into<String>) -> Self {
        Error::new(Kind::NotSupported, need.into())
    }

    /// A stated limit was passed.
    pub fn limit(what: impl Into<String>, max: u64) -> Self {
        Error::new(Kind::Limit(max), what.into())
    }

    /// A failed file operation: `doing` is a verb such as `open` or `write`. Errors that have a kind of their own get it.
    #[cold]
    pub fn io(doing: &str, path: &Path, source: io::Error) -> Self {
        let path = path.display();
        match source.kind() {
            io::ErrorKind::PermissionDenied => Error::new(Kind::Permission, path.to_string()),
            io::ErrorKind::NotFound => Error::not_found(path.to_string()),
            _ => Error::sys(format!("{doing} {path}"), source),
        }
    }

    /// A failed system call that is not about one file.
    pub fn sys(what: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Error::failed(what.into(), &source.into())
    }

    #[cold]
    fn failed(what: String, source: &io::Error) -> Self {
        let errno = source.raw_os_error().unwrap_or(0);
        let text = match source.kind() {
            _ if errno != 0 => errno_text(errno),
            io::ErrorKind::UnexpectedEof => "it ended too early",
            io::ErrorKind::TimedOut => "timed out",
            io::ErrorKind::InvalidData => "invalid data",
            io::ErrorKind::InvalidInput => "invalid name",
            _ => "it did not work",
        };
        let number = if text.is_empty() { errno.to_string() } else { String::new() };
        Error::new(Kind::Io(errno), what + ": " + if text.is_empty() { "error " } else { text } + &number)
    }

    /// The operating system's error number behind this error, where there is one.
    pub fn errno(&self) -> Option<i32> {
        match self.0.kind {
            Kind::Io(errno) if errno != 0 => Some(errno),
            _ => None,
        }
    }

    /// One line for another process of ours, which makes an error of it with [`Error::relayed`].
    pub fn to_relay(&self) -> String {
        let flat = |text: &str| text.replace('\n', " ");
        let hint = self.remedy().map(flat).unwrap_or_default();
        format!("{} {}\n{hint}", self.exit_code(), flat(&self.to_string()))
    }

    /// The error that another process of ours reported: its exit code and the rest of its text.
    pub fn relayed(code: &str, text: &str) -> Self {
        let (sentence, hint) = text.split_once('\n').unwrap_or((text, ""));
        let error =
            Error::new(Kind::Relayed(number(code).map_or(exit::FAILED, |code| code as u8)), sentence.to_owned());
        if hint.is_empty() {
            return error;
        }
        error.hint(hint)
    }

    /// The program's exit code for this error.
    pub fn exit_code(&self) -> u8 {
        match self.0.kind {
            Kind::Usage => exit::USAGE,
            Kind::NotSupported => exit::UNSUPPORTED,
            Kind::Relayed(code) => code,
            _ => exit::FAILED,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, after) = match self.0.kind {
            Kind::NotSupported => ("this system lacks ", ""),
            Kind::Permission => ("no permission for ", ""),
            Kind::NotFound => ("", " not found"),
            Kind::Bug => ("unexpected: ", " (please report this)"),
            _ => ("", ""),
        };
        f.write_str(before)?;
        f.write_str(&self.0.what)?;
        match self.0.kind {
            Kind::Malformed(Some(at)) => write!(f, " (at byte {at})"),
            Kind::Limit(max) => write!(f, ", the limit is {max}"),
            _ => f.write_str(after),
        }
    }
}

impl std::error::Error for Error {}

/// A text of unknown origin between quotes, so that it cannot break the line or the terminal. As `{:?}` shows it, but for
/// some rare characters, and without the tables that `{:?}` needs.
#[derive(Debug)]
pub struct Quoted<'a>(pub &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&quoted(self.0))
    }
}

/// Texts of the error numbers that our own calls meet, as glibc's strerror has them (asm-generic/errno.h): all of them by
/// libc and std are three times as long. Not those of `syscalls::errno_text`, which are packed: to unpack them takes
/// megabytes, which a recorder that tells why it failed may not have.
const ERRNO_TEXTS: &str = "\
    1 Operation not permitted\n\
    2 No such file or directory\n\
    3 No such process\n\
    4 Interrupted system call\n\
    5 Input/output error\n\
    6 No such device or address\n\
    7 Argument list too long\n\
    8 Exec format error\n\
    9 Bad file descriptor\n\
    10 No child processes\n\
    11 Resource temporarily unavailable\n\
    12 Cannot allocate memory\n\
    13 Permission denied\n\
    14 Bad address\n\
    16 Device or resource busy\n\
    17 File exists\n\
    18 Invalid cross-device link\n\
    19 No such device\n\
    20 Not a directory\n\
    21 Is a directory\n\
    22 Invalid argument\n\
    23 Too many open files in system\n\
    24 Too many open files\n\
    26 Text file busy\n\
    27 File too large\n\
    28 No space left on device\n\
    29 Illegal seek\n\
    30 Read-only file system\n\
    31 Too many links\n\
    32 Broken pipe\n\
    36 File name too long\n\
    38 Function not implemented\n\
    39 Directory not empty\n\
    40 Too many levels of symbolic links\n\
    71 Protocol error\n\
    75 Value too large for defined data type\n\
    95 Operation not supported\n\
    97 Address family not supported by protocol\n\
    98 Address already in use\n\
    104 Connection reset by peer\n\
    105 No buffer space available\n\
    107 Transport endpoint is not connected\n\
    110 Connection timed out\n\
    111 Connection refused\n\
    116 Stale file handle\n\
    122 Disk quota exceeded\n\
";

/// The text of an error number; empty for one that is not listed.
fn errno_text(errno: i32) -> &'static str {
    let is_it = |line: &&str| split_once(line, " ").and_then(|(nr, _)| number(nr)) == Some(errno as u64);
    ERRNO_TEXTS.split('\n').find(is_it).and_then(|line| split_once(line, " ")).map_or("", |(_, text)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn io_errors_get_the_kind_a_caller_can_act_on() {
        let path = Path::new("/x");
        let of = |code| Error::io("open", path, io::Error::from_raw_os_error(code));
        assert_eq!(of(13).kind(), Kind::Permission);
        assert_eq!(of(2).kind(), Kind::NotFound);
        assert_eq!(of(28).to_string(), "open /x: No space left on device");
        assert_eq!(of(28).errno(), Some(28));
    }

    #[test]
    fn texts_are_those_of_the_system_and_what_has_none_is_told_by_number() {
        let mut listed = 0;
        for errno in 1..134 {
            let (text, of_libc) = (errno_text(errno), io::Error::from_raw_os_error(errno).to_string());
            assert!(text.is_empty() || of_libc.starts_with(&(text.to_owned() + " (os error")), "{errno} {text}");
            listed += usize::from(!text.is_empty());
        }
        assert_eq!(listed, ERRNO_TEXTS.lines().count());
        let of = |source| Error::sys("x", source).to_string();
        assert_eq!(of(io::Error::from_raw_os_error(133)), "x: error 133");
        assert_eq!(of(io::ErrorKind::TimedOut.into()), "x: timed out");
    }

    #[test]
    fn errors_survive_the_way_between_processes() {
        let relay = Error::unsupported("tracefs").hint("mount\nit").to_relay();
        let (code, text) = relay.split_once(' ').unwrap();
        let error = Error::relayed(code, text);
        assert_eq!((error.to_string().as_str(), error.exit_code()), ("this system lacks tracefs", 3));
        assert_eq!(error.remedy(), Some("mount it"));
    }

    #[test]
    fn quoted_text_stays_between_its_quotes() {
        for text in ["", "abc", "é ü 中 😀", "a\"b\\c\n", "\u{1b}[31m\u{7f}\u{85}", "\u{202e}abc\u{200b}\u{feff}"]
        {
            assert_eq!(Quoted(text).to_string(), format!("{text:?}"));
        }
    }

    #[test]
    fn exit_codes_follow_the_kind() {
        assert_eq!(Error::usage("x").exit_code(), 2);
        assert_eq!(Error::unsupported("tracefs").exit_code(), 3);
        assert_eq!(Error::not_found("x").exit_code(), 1);
    }
}
