// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The asking side: a hook without privileges. It must not hang, for a container waits for it.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;

use nix::poll::{PollFd, PollFlags};

use super::request::{Request, REQUEST_MAX};
use crate::error::{Error, Kind, Result};
use crate::proc;
use crate::recorder::{read_answer, RecordOptions, Target};
use crate::sys;

/// The helper's socket by default.
const SOCKET: &str = "/run/ftrace-analyzer.socket";

/// How long the helper may take for all it does, in milliseconds; a start takes it some ten.
const PATIENCE: u64 = 10_000;

/// Largest answer, in bytes: a path, or a sentence.
const ANSWER_MAX: usize = 16 << 10;

/// Where the helper listens: `FTRACE_ANALYZER_SOCKET` (for tests), else /run/ftrace-analyzer.socket.
pub fn socket_path() -> PathBuf {
    sys::variable("FTRACE_ANALYZER_SOCKET").map_or_else(|| SOCKET.into(), PathBuf::from)
}

/// Whether there is a helper to ask.
pub fn is_there() -> bool {
    sys::exists(&socket_path())
}

/// Waits until the socket is ready; an error when the time is over.
fn wait(stream: &File, flags: PollFlags, until: u64) -> Result<()> {
    let left = until.saturating_sub(sys::monotonic_ms());
    match sys::poll(&mut [PollFd::new(stream.as_fd(), flags)], left) {
        true => Ok(()),
        false => Err(failed(std::io::Error::from(ErrorKind::TimedOut))),
    }
}

fn failed(why: std::io::Error) -> Error {
    Error::sys("ask the helper for a recording", why)
}

/// Has the helper record a container; gives the recording's directory when tracing is on.
pub fn ask(target: Target, options: &RecordOptions) -> Result<PathBuf> {
    let start_time = proc::stat(target.init_pid).map_or(0, |stat| stat.start_time);
    let pidfd = sys::pidfd_open(target.init_pid).ok();
    let text = Request::new(target, options, start_time).to_json();
    if text.len() > REQUEST_MAX {
        return Err(Error::limit("the request to the helper is too large", REQUEST_MAX as u64));
    }
    let path = socket_path();
    let mut stream = sys::connect_now(&path.to_string_lossy()).map_err(|why| match why.kind() {
        ErrorKind::WouldBlock => Error::new(Kind::Busy, "the helper has too many to serve".into()),
        ErrorKind::ConnectionRefused => Error::not_found("the helper that records for users")
            .hint("have root start the service ftrace-analyzer (docs/security.md)"),
        _ => Error::io("connect to", &path, why),
    })?;
    let until = sys::monotonic_ms() + PATIENCE;
    let mut sent = 0;
    while let Some(rest) = text.get(sent..).filter(|rest| !rest.is_empty()) {
        wait(&stream, PollFlags::POLLOUT, until)?;
        let with = pidfd.as_ref().filter(|_| sent == 0).map(|fd| fd.as_fd());
        let done = if with.is_some() { sys::send_with(&stream, rest, with) } else { stream.write(rest) };
        match done {
            Ok(count) => sent += count,
            Err(why) if matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            // It may have refused before it has read all; the answer tells.
            Err(why) if why.kind() == ErrorKind::BrokenPipe => break,
            Err(why) => return Err(failed(why)),
        }
    }
    sys::end_writing(&stream);
    let mut answer = Vec::new();
    let mut chunk = [0; 512];
    while answer.len() < ANSWER_MAX {
        wait(&stream, PollFlags::POLLIN, until)?;
        match sys::receive_with(&stream, &mut chunk) {
            Ok((0, _)) => break,
            Ok((count, _)) => answer.extend_from_slice(chunk.get(..count).unwrap_or_default()),
            Err(why) if matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(why) if why.kind() == ErrorKind::ConnectionReset => break,
            Err(why) => return Err(failed(why)),
        }
    }
    read_answer(&answer)
}
