// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The helper: who asks, for what, whether he may have it; then it is the recorder.
//!
//! Every refusal is an answer and a line of the log. What may last is bounded: a request's bytes and its time, a user's
//! recordings and theirs sizes, everybody's together.
//! Source: unix(7) SO_PEERCRED, pidfd_open(2), ioctl_ns(2), user_namespaces(7), subuid(5).

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags};

use super::request::{parse, Request, REQUEST_MAX};
use crate::error::{Error, Kind, Result};
use crate::ids::Pid;
use crate::proc;
use crate::recorder::{apply_limits, log, record, running, Asked, Origin, RecordOptions, Target};
use crate::recording::make_user_dir;
use crate::sys::{self, Forked, Peer};
use crate::words::{next_part, number, split_once};

/// How long a request may take to come, in milliseconds.
const PATIENCE: u64 = 5_000;

/// How long a user's requests wait for each other, in milliseconds.
const TURN_WITHIN: u64 = 3_000;

/// Recordings of all users together: each is a process and a tracing instance.
const ALL_MAX: usize = 64;

/// Connections of one user that are served at once, beside his recordings.
const PENDING_MAX: usize = 8;

/// What the administrator allows.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// Where recordings lie: those of users are in `users/UID` below.
    pub dir: PathBuf,
    /// Most of `--buffer-size-kb`.
    pub buffer_size_kb: u64,
    /// Most of `--max-size`.
    pub max_size: u64,
    /// Bytes of all recordings of one user.
    pub max_total: u64,
    /// Recordings of one user at a time.
    pub recordings: u64,
}

/// Serves one connection: the process becomes the recorder and comes back when the recording has ended. Gives the exit code.
pub fn serve_one(mut stream: File, limits: &Limits) -> u8 {
    let peer = match sys::peer(&stream) {
        Ok(peer) => peer,
        Err(why) => {
            log(&["serve: ", &Error::sys("ask who is there", why).to_string()].concat());
            return 1;
        }
    };
    match prepare(&stream, peer, limits) {
        // Nothing else of ours is open; what has been the user's has been closed.
        Ok(ready) => record(&ready.target, &ready.options, stream, Some(ready.turn)),
        Err(why) => {
            log(&["serve: user ", &peer.user.to_string(), ": ", &why.to_string()].concat());
            let _ = stream.write_all(why.to_relay().as_bytes());
            1
        }
    }
}

/// What is to be recorded, once it is known that it may.
struct Ready {
    target: Target,
    options: RecordOptions,
    /// Ours, of the container's first process.
    _pidfd: Option<OwnedFd>,
    /// Holds back the same user's next request.
    turn: File,
}

fn prepare(stream: &File, peer: Peer, limits: &Limits) -> Result<Ready> {
    check_user(peer.user)?;
    let (text, theirs) = receive(stream)?;
    let request = parse(&text)?;
    let id = request.id()?;
    let mut options = request.options(limits)?;
    let (pid, pidfd) = find_process(&request, theirs, peer.pid)?;
    let asked = Asked {
        user: peer.user,
        group: peer.group,
        by: peer.pid,
        start_time: proc::stat(pid).map_or(0, |stat| stat.start_time),
        pidfd: pidfd.as_ref().map_or(-1, |fd| fd.as_raw_fd()),
    };
    check_process(pid, peer.user)?;
    options.dir = make_user_dir(&limits.dir, peer.user, peer.group)?;
    let turn = take_turn(&options.dir)?;
    let states = running();
    let of_user = states.iter().filter(|state| state.owner == peer.user).count();
    let of_all = states.iter().filter(|state| state.owner != 0).count();
    if of_user as u64 >= limits.recordings {
        return Err(Error::limit("recordings of this user that run already", limits.recordings));
    }
    if of_all >= ALL_MAX {
        return Err(Error::limit("recordings of all users that run already", ALL_MAX as u64));
    }
    if states.iter().any(|state| state.owner == peer.user && state.container == id.as_str() && state.init_pid == pid) {
        return Err(Error::new(Kind::Busy, ["container ", id.as_str(), " is being recorded already"].concat()));
    }
    // From here on files are made, read and removed as the user.
    sys::set_owner(peer.user, peer.group);
    // The oldest go, so that this one has its room, too.
    apply_limits(&options.dir, limits.max_total.saturating_sub(options.max_size).max(1), 0)?;
    let target = Target {
        origin: Origin::Hook,
        label: id.to_string(),
        container: request.container,
        command: Vec::new(),
        init_pid: pid,
        others: Vec::new(),
        starts_in_runtime: true,
        asked: Some(asked),
    };
    Ok(Ready { target, options, _pidfd: pidfd, turn })
}

/// Root needs no helper. A user's subordinate ids are none of their own: with them he would have limits by the thousand.
fn check_user(user: u32) -> Result<()> {
    if user == 0 {
        return Err(Error::usage("root records without the helper"));
    }
    let subids = sys::read_text(Path::new("/etc/subuid")).unwrap_or_default();
    if is_subordinate(&subids, user) {
        return Err(Error::new(Kind::Permission, "subordinate user ids (/etc/subuid)".into()));
    }
    Ok(())
}

/// Whether an id is in one of the ranges of a subuid file, `NAME:FIRST:COUNT` a line.
fn is_subordinate(text: &str, user: u32) -> bool {
    let mut rest = text;
    while let Some(line) = next_part(&mut rest, "\n") {
        let range = split_once(line, ":").and_then(|(_, range)| split_once(range, ":"));
        let range = range.and_then(|(first, count)| Some((number(first)?, number(count)?)));
        if range.is_some_and(|(first, count)| u64::from(user).wrapping_sub(first) < count) {
            return true;
        }
    }
    false
}

/// Reads to the end of what the client writes, within bounds of size and time.
fn receive(stream: &File) -> Result<(Vec<u8>, Option<OwnedFd>)> {
    let until = sys::monotonic_ms() + PATIENCE;
    let (mut text, mut fd) = (Vec::new(), None);
    let mut chunk = [0; 4 << 10];
    while text.len() <= REQUEST_MAX {
        let left = until.saturating_sub(sys::monotonic_ms());
        if left == 0 || !sys::poll(&mut [PollFd::new(stream.as_fd(), PollFlags::POLLIN)], left) {
            return Err(Error::sys("read the request", std::io::Error::from(ErrorKind::TimedOut)));
        }
        match sys::receive_with(stream, &mut chunk) {
            Ok((0, _)) => break,
            Ok((count, with)) => {
                text.extend_from_slice(chunk.get(..count).unwrap_or_default());
                fd = fd.or(with);
            }
            Err(why) if matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(why) => return Err(Error::sys("read the request", why)),
        }
    }
    Ok((text, fd))
}

fn process(pid: Pid) -> String {
    ["process ", &pid.to_string()].concat()
}

/// The process that is meant, in our numbers, with a pidfd of our own: theirs may be of a nested pid namespace, and is any
/// descriptor at all until the kernel says otherwise.
fn find_process(request: &Request, theirs: Option<OwnedFd>, peer: Pid) -> Result<(Pid, Option<OwnedFd>)> {
    let gone = || Error::not_found(process(request.pid));
    let Some(theirs) = theirs else {
        // A kernel without pidfds, 5.3 and before: then the number must mean the same for both.
        let same = proc::link(peer, "ns/pid") == proc::link(std::process::id() as Pid, "ns/pid");
        if !same || request.pid <= 0 {
            return Err(Error::unsupported("pidfds, and the hook has process numbers of its own")
                .hint("run the container engine in the machine's pid namespace"));
        }
        let ours = sys::pidfd_open(request.pid).ok();
        // What we have open now is what started then, if it is.
        return match proc::stat(request.pid) {
            Some(stat) if stat.start_time == request.start_time => Ok((request.pid, ours)),
            // Another one has it by now, or none.
            _ => Err(gone()),
        };
    };
    let pid = sys::pid_of(&theirs).ok_or_else(gone)?;
    let ours = sys::pidfd_open(pid).map_err(|_| gone())?;
    // As long as theirs means that number, ours means the same process.
    match sys::pid_of(&theirs) == Some(pid) {
        true => Ok((pid, Some(ours))),
        false => Err(gone()),
    }
}

fn check_process(pid: Pid, user: u32) -> Result<()> {
    let refused = || {
        Err(Error::new(Kind::Permission, process(pid))
            .hint("users may record containers in user namespaces that they made, and nothing else"))
    };
    match proc::is_within_users(pid, user) {
        Ok(true) => Ok(()),
        Ok(false) => refused(),
        Err(why) if why.kind() == ErrorKind::PermissionDenied => refused(),
        Err(why) if why.raw_os_error() == Some(nix::libc::ENOTTY) => {
            Err(Error::unsupported("a kernel that tells who made a user namespace").hint("Linux 4.11 does"))
        }
        Err(_) => Err(Error::not_found(process(pid))),
    }
}

/// A user's requests come one behind the other: what is counted must not change before the recording counts, too. Who
/// locks his directory himself keeps nobody else waiting.
fn take_turn(dir: &Path) -> Result<File> {
    let file = sys::open(dir, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW)
        .map_err(|why| Error::io("open", dir, why))?;
    let until = sys::monotonic_ms() + TURN_WITHIN;
    while sys::lock(&file).is_err() {
        if sys::monotonic_ms() > until {
            return Err(Error::new(Kind::Busy, "another request of this user is being served".into()));
        }
        sys::sleep_ms(5);
    }
    Ok(file)
}

/// Listens at a path for ever, where no other program does so for us: a process for each connection.
pub fn listen(path: &Path, group: Option<u32>, limits: &Limits) -> Result<u8> {
    // One that was killed left it.
    if sys::status_of_link(path).is_ok_and(|status| status.mode & nix::libc::S_IFMT == nix::libc::S_IFSOCK) {
        let _ = sys::remove_file(path);
    }
    let prepare = |why| Error::io("prepare", path, why);
    let listener = sys::listen(&path.to_string_lossy()).map_err(|why| Error::io("bind", path, why))?;
    if let Some(group) = group {
        sys::give(path, 0, group).map_err(prepare)?;
    }
    sys::set_rights(path, if group.is_some() { 0o660 } else { 0o666 }).map_err(prepare)?;
    let mut served: Vec<(Pid, u32)> = Vec::new();
    loop {
        sys::poll(&mut [PollFd::new(listener.as_fd(), PollFlags::POLLIN)], 1_000);
        served.retain(|(pid, _)| sys::wait(*pid, false).is_none());
        while let Ok(stream) = sys::accept(&listener) {
            let Ok(peer) = sys::peer(&stream) else { continue };
            let of_user = served.iter().filter(|(_, user)| *user == peer.user).count();
            let is_full =
                of_user >= limits.recordings as usize + PENDING_MAX || served.len() >= ALL_MAX + 8 * PENDING_MAX;
            // One more is closed without an answer.
            if is_full {
                continue;
            }
            match sys::fork() {
                Ok(Forked::Child) => {
                    sys::close_others(&[stream.as_raw_fd()]);
                    let code = serve_one(stream, limits);
                    // No destructor of the parent's frames may run here.
                    sys::exit(code);
                }
                Ok(Forked::Parent(pid)) => served.push((pid, peer.user)),
                Err(why) => log(&["serve: ", &Error::sys("start a process", why).to_string()].concat()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subordinate_ids_are_told_from_users() {
        let text = "# none\na:100000:65536\nb:200000:1\nbroken:1\n:::\nc:4294967295:5\n";
        let all = [99_999, 100_000, 165_535, 165_536, 200_000, 200_001, 1, 0, u32::MAX];
        let found = all.map(|user| is_subordinate(text, user));
        assert_eq!(found, [false, true, true, false, true, false, false, false, true]);
        assert!(!is_subordinate("", 5));
    }
}
