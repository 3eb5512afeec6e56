// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Talking to a running recorder: a stream socket, one word a line, answers a line each.
//!
//! `flush` stores what the kernel's buffers hold; answer `at T`: everything up to trace-clock time T is on disk.
//! `follow` asks for that ten times a second, unasked from then on. `stop` ends the recording; answer `done` when it is
//! complete. `busy` answers one client too many. The end of the connection is the end of the recorder.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags};

use super::run_state::RunState;
use crate::error::{Error, Kind, Result};
use crate::ids::Timestamp;
use crate::sys;
use crate::words::{number, quoted};

/// Connections served at once; one more is answered `busy`.
pub const CLIENTS_MAX: usize = 32;

/// What a client may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Store what is in the kernel's buffers.
    Flush,
    /// The same ten times a second from now on.
    Follow,
    /// End the recording.
    Stop,
}

/// Either end of a connection.
#[derive(Debug)]
struct Lines {
    stream: File,
    /// What was read and not given out yet.
    read: Vec<u8>,
}

impl Lines {
    /// Reads what there is; false at the end of the connection.
    fn read(&mut self) -> io::Result<bool> {
        let mut buffer = [0u8; 64];
        let count = self.stream.read(&mut buffer)?;
        self.read.extend_from_slice(buffer.get(..count).unwrap_or_default());
        Ok(count > 0)
    }

    /// Takes the first whole line, without its end.
    fn next(&mut self) -> Option<String> {
        let end = self.read.iter().position(|byte| *byte == b'\n')?;
        let behind = self.read.split_off(end + 1);
        let mut line = std::mem::replace(&mut self.read, behind);
        line.pop();
        Some(String::from_utf8_lossy(&line).into_owned())
    }
}

/// A connection as the recorder sees it.
#[derive(Debug)]
pub struct Connection {
    lines: Lines,
    /// Wants a watermark after each flush.
    pub follows: bool,
    /// Wants one watermark.
    pub wants_flush: bool,
    /// Wants to know when the recording is complete.
    pub wants_end: bool,
}

/// A socket's path has 107 bytes at most (unix(7)); through the directory's descriptor any depth fits.
fn short_path(dir: &Path) -> Result<(File, String)> {
    let handle = sys::open(dir, OFlag::O_PATH | OFlag::O_DIRECTORY).map_err(|why| Error::io("open", dir, why))?;
    let path = format!("/proc/self/fd/{}/control", handle.as_raw_fd());
    Ok((handle, path))
}

/// The recorder's listening sockets: root's, and in the recording's directory that of its owner. Of two, because nobody but
/// root can put something else in the place of the first.
pub fn listen(state: &RunState) -> Result<Vec<File>> {
    let mut listeners = vec![listen_in(&state.dir)?];
    if state.owner != 0 {
        let _owner = sys::as_owner();
        listeners.push(listen_in(Path::new(&state.recording))?);
    }
    Ok(listeners)
}

fn listen_in(dir: &Path) -> Result<File> {
    let (_dir, path) = short_path(dir)?;
    let shown = dir.join("control");
    let listener = sys::listen(&path).map_err(|why| Error::io("bind", &shown, why))?;
    sys::make_private(&shown).map_err(|why| Error::io("prepare", &shown, why))?;
    Ok(listener)
}

impl Connection {
    /// Takes a new connection.
    pub fn new(stream: File) -> Connection {
        Connection { lines: Lines { stream, read: Vec::new() }, follows: false, wants_flush: false, wants_end: false }
    }

    /// For poll(2).
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.lines.stream.as_fd()
    }

    /// Reads what the client wrote; `Err` when it is gone or talks nonsense.
    pub fn requests(&mut self) -> io::Result<Vec<Request>> {
        let mut requests = Vec::new();
        loop {
            match self.lines.read() {
                Ok(true) => {}
                Ok(false) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => return Ok(requests),
                Err(why) => return Err(why),
            }
            while let Some(line) = self.lines.next() {
                requests.push(match line.as_str() {
                    "flush" => Request::Flush,
                    "follow" => Request::Follow,
                    "stop" => Request::Stop,
                    _ => return Err(io::ErrorKind::InvalidData.into()),
                });
            }
            if self.lines.read.len() > 64 {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
    }

    /// Sends a line; a client that does not read misses it rather than hold up the recorder.
    pub fn send(&mut self, line: &str) {
        let _ = self.lines.stream.write(line.as_bytes());
    }
}

/// What a recorder answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Everything up to this time of the trace clock is on disk.
    At(Timestamp),
    /// The recording is complete.
    Done,
    /// The recorder closed the connection: it has ended.
    Gone,
    /// Nothing came within the time given.
    Timeout,
}

/// A connection to a running recorder.
#[derive(Debug)]
pub struct Client {
    lines: Lines,
}

impl Client {
    /// Connects.
    pub fn connect(state: &RunState) -> Result<Client> {
        let (_dir, path) = short_path(&state.dir)?;
        let stream = sys::connect(&path).map_err(|why| Error::io("connect to", &state.dir.join("control"), why))?;
        Ok(Client { lines: Lines { stream, read: Vec::new() } })
    }

    fn request(&mut self, line: &str) -> Result<()> {
        match self.lines.stream.write_all(line.as_bytes()) {
            // The recorder ended meanwhile; the next reply says so.
            Err(why) if why.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other.map_err(|why| Error::sys("talk to the recorder", why)),
        }
    }

    /// Asks for one flush and waits for its time; `None` if the recorder has ended or does not answer in
    /// `patience`, in milliseconds as everywhere here.
    pub fn flush(&mut self, patience: u64) -> Result<Option<Timestamp>> {
        self.request("flush\n")?;
        match self.reply(patience)? {
            Reply::At(ts) => Ok(Some(ts)),
            Reply::Done | Reply::Gone | Reply::Timeout => Ok(None),
        }
    }

    /// Asks for flushes from now on.
    pub fn follow(&mut self) -> Result<()> {
        self.request("follow\n")
    }

    /// Asks the recorder to end.
    pub fn stop(&mut self) -> Result<()> {
        self.request("stop\n")
    }

    /// Waits for the next reply.
    pub fn reply(&mut self, patience: u64) -> Result<Reply> {
        loop {
            if let Some(line) = self.lines.next() {
                return understand(&line);
            }
            let mut fds = [PollFd::new(self.lines.stream.as_fd(), PollFlags::POLLIN)];
            if !sys::poll(&mut fds, patience) {
                return Ok(Reply::Timeout);
            }
            match self.lines.read() {
                Ok(true) => {}
                Ok(false) => return Ok(Reply::Gone),
                Err(why) if why.kind() == io::ErrorKind::ConnectionReset => return Ok(Reply::Gone),
                Err(why) => return Err(Error::sys("talk to the recorder", why)),
            }
        }
    }

    /// For poll(2).
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.lines.stream.as_fd()
    }

    /// Whether a reply has been read from the socket already and waits in the buffer.
    pub fn has_buffered(&self) -> bool {
        !self.lines.read.is_empty()
    }
}

/// The meaning of a recorder's line.
fn understand(line: &str) -> Result<Reply> {
    if line == "done" {
        return Ok(Reply::Done);
    }
    if line == "busy" {
        return Err(Error::new(Kind::Busy, format!("the recorder serves {CLIENTS_MAX} others already"))
            .hint("end one of those who follow the recording"));
    }
    match line.strip_prefix("at ").and_then(number) {
        Some(ts) => Ok(Reply::At(ts)),
        None => Err(Error::malformed("the recorder answered ".to_owned() + &quoted(line), None)),
    }
}

/// Has a recorder end and waits until its recording is complete, so long as it answers within `patience`; false if it
/// does not. A recorder that takes no connections any more has completed its recording.
pub fn end_recorder(state: &RunState, patience: u64) -> Result<bool> {
    let Ok(mut client) = Client::connect(state) else { return Ok(true) };
    client.stop()?;
    loop {
        match client.reply(patience)? {
            Reply::At(_) => {}
            Reply::Done | Reply::Gone => return Ok(true),
            Reply::Timeout => return Ok(false),
        }
    }
}
