// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The one error type: a kind that a caller can act on, and the sentence the user reads.
//!
//! `Display` is what stands behind `ftrace-analyzer: <verb>: `: lower case, no full stop, naming what, where and how big.
//! The remedy, where one is known, is kept apart so that it can be printed on a line of its own. Exit codes are decided
//! here and nowhere else.

use core::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// `Result` with our [`Error`].
pub type Result<T> = core::result::Result<T, Error>;

/// What went wrong, in kinds a caller can act on.
#[derive(Debug)]
pub enum Kind {
    /// This kernel or system lacks a feature; the feature is named.
    NotSupported {
        /// What is needed, e.g. `raw_syscalls events (CONFIG_FTRACE_SYSCALLS or HAVE_SYSCALL_TRACEPOINTS)`.
        need: String,
    },
    /// Something is in use by somebody else.
    Busy {
        /// What, and by whom as far as it is known.
        by: String,
    },
    /// The kernel refused access.
    Permission {
        /// The file or directory.
        path: PathBuf,
    },
    /// A file, directory, recording or container is not there.
    NotFound {
        /// What was looked for.
        what: String,
    },
    /// Input that does not follow its format.
    Malformed {
        /// Which input and what is wrong with it.
        what: String,
        /// Offset in bytes from its start, where known.
        offset: Option<u64>,
    },
    /// A stated limit was passed.
    Limit {
        /// What was too large or too many.
        what: String,
        /// The limit, in the unit that `what` names.
        max: u64,
    },
    /// A system call failed in a way none of the kinds above names.
    Io {
        /// What was being done, with the path.
        what: String,
        /// The operating system's error.
        source: io::Error,
    },
    /// The command line or an option's value is wrong.
    Usage(String),
    /// An error of the recorder's process, with its exit code.
    Relayed {
        /// Its sentence.
        text: String,
        /// Its exit code.
        code: u8,
    },
    /// Our own assumption failed: please report it.
    Bug(String),
}

/// An error with an optional remedy.
#[derive(Debug)]
pub struct Error {
    /// The kind, which decides the exit code.
    pub kind: Kind,
    /// What the user can do about it, printed as `hint: …`.
    pub hint: Option<String>,
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
    /// An error without a hint.
    pub fn new(kind: Kind) -> Self {
        Error { kind, hint: None }
    }

    /// Adds the remedy.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Wrong usage.
    pub fn usage(text: impl Into<String>) -> Self {
        Error::new(Kind::Usage(text.into()))
    }

    /// Input that does not follow its format.
    pub fn malformed(what: impl Into<String>, offset: Option<u64>) -> Self {
        Error::new(Kind::Malformed { what: what.into(), offset })
    }

    /// Something is not there.
    pub fn not_found(what: impl Into<String>) -> Self {
        Error::new(Kind::NotFound { what: what.into() })
    }

    /// A feature that this kernel or system lacks.
    pub fn unsupported(need: impl Into<String>) -> Self {
        Error::new(Kind::NotSupported { need: need.into() })
    }

    /// A stated limit was passed.
    pub fn limit(what: impl Into<String>, max: u64) -> Self {
        Error::new(Kind::Limit { what: what.into(), max })
    }

    /// A failed file operation: `doing` is a verb such as `open` or `write`. Errors that have a kind of their own get it.
    pub fn io(doing: &str, path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::PermissionDenied => Error::new(Kind::Permission { path: path.to_owned() }),
            io::ErrorKind::NotFound => Error::not_found(path.display().to_string()),
            _ => Error::new(Kind::Io { what: format!("{doing} {}", path.display()), source }),
        }
    }

    /// A failed system call that is not about one file.
    pub fn sys(what: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Error::new(Kind::Io { what: what.into(), source: source.into() })
    }

    /// The operating system's error number behind this error, where there is one.
    pub fn errno(&self) -> Option<i32> {
        match &self.kind {
            Kind::Io { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }

    /// One line for another process of ours, which makes an error of it with [`Error::relayed`].
    pub fn to_relay(&self) -> String {
        let flat = |text: &str| text.replace('\n', " ");
        let hint = self.hint.as_deref().map(flat).unwrap_or_default();
        format!("{} {}\n{hint}", self.exit_code(), flat(&self.to_string()))
    }

    /// The error that another process of ours reported: its exit code and the rest of its text.
    pub fn relayed(code: &str, text: &str) -> Self {
        let (sentence, hint) = text.split_once('\n').unwrap_or((text, ""));
        let kind = Kind::Relayed { text: sentence.to_owned(), code: code.parse().unwrap_or(exit::FAILED) };
        Error { kind, hint: (!hint.is_empty()).then(|| hint.to_owned()) }
    }

    /// The program's exit code for this error.
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            Kind::Usage(_) => exit::USAGE,
            Kind::NotSupported { .. } => exit::UNSUPPORTED,
            Kind::Relayed { code, .. } => code,
            _ => exit::FAILED,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::NotSupported { need } => write!(f, "this system lacks {need}"),
            Kind::Busy { by } => f.write_str(by),
            Kind::Permission { path } => write!(f, "no permission for {}", path.display()),
            Kind::NotFound { what } => write!(f, "{what} not found"),
            Kind::Malformed { what, offset: Some(at) } => write!(f, "{what} (at byte {at})"),
            Kind::Malformed { what, offset: None } => f.write_str(what),
            Kind::Limit { what, max } => write!(f, "{what}, the limit is {max}"),
            Kind::Io { what, source } => write!(f, "{what}: {}", errno_text(source)),
            Kind::Usage(text) | Kind::Relayed { text, .. } => f.write_str(text),
            Kind::Bug(text) => write!(f, "unexpected: {text} (please report this)"),
        }
    }
}

/// The system's text without std's ` (os error N)`.
fn errno_text(source: &io::Error) -> String {
    let text = source.to_string();
    match text.find(" (os error ") {
        Some(at) => text.get(..at).unwrap_or(&text).to_owned(),
        None => text,
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            Kind::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn io_errors_get_the_kind_a_caller_can_act_on() {
        let path = Path::new("/x");
        let of = |code| Error::io("open", path, io::Error::from_raw_os_error(code));
        assert!(matches!(of(13).kind, Kind::Permission { .. }));
        assert!(matches!(of(2).kind, Kind::NotFound { .. }));
        assert_eq!(of(28).to_string(), "open /x: No space left on device");
        assert_eq!(of(28).errno(), Some(28));
    }

    #[test]
    fn errors_survive_the_way_between_processes() {
        let relay = Error::unsupported("tracefs").hint("mount\nit").to_relay();
        let (code, text) = relay.split_once(' ').unwrap();
        let error = Error::relayed(code, text);
        assert_eq!((error.to_string().as_str(), error.exit_code()), ("this system lacks tracefs", 3));
        assert_eq!(error.hint.as_deref(), Some("mount it"));
    }

    #[test]
    fn exit_codes_follow_the_kind() {
        assert_eq!(Error::usage("x").exit_code(), 2);
        assert_eq!(Error::unsupported("tracefs").exit_code(), 3);
        assert_eq!(Error::not_found("x").exit_code(), 1);
    }
}
