// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Dumps that are of no container: they go where they would have gone without us.
//!
//! To a program: it takes our place, with the pipe of which nothing was read and the kernel's pidfd, and words as the kernel
//! would have made them. Into a file: as the kernel would have written it, from the dying process's root and working
//! directory, as its user, with its groups and capabilities. That is done by a child, which gives up for good what it does
//! not need; nothing is executed or read below that root.
//! Source: kernel fs/coredump.c `coredump_file`, `coredump_pipe`, `vfs_coredump`; core(5).

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::unistd::alarm;

use super::about::{is_the_one, About, Given};
use super::pattern::{expand, has_letter, way, Values, Way};
use super::settings::Settings;
use super::stream::store;
use crate::error::{Error, Kind, Result};
use crate::ids::Pid;
use crate::proc;
use crate::sys::{self, Forked};
use crate::words::number;

/// Where the kernel puts the pidfd (fs/coredump.c `COREDUMP_PIDFD_NUMBER`).
const PIDFD: i32 = 3;
/// Seconds after which the kernel ends the child.
const WRITE_WITHIN: u32 = 1200;
/// Longest error of the child that is read, in bytes.
const ERROR_MAX: usize = 1024;

/// What the letters of a pattern stand for; `pattern` tells which are asked for.
fn values(given: &Given, about: &About, pattern: &str) -> Values {
    let number = |pid: i32| pid as u64;
    let mut comm = sys::open(&proc::path(given.tid, "comm"), OFlag::O_RDONLY)
        .and_then(|file| sys::read_on(&file, ERROR_MAX))
        .unwrap_or_else(|_| about.comm.clone().into_bytes());
    if comm.last() == Some(&b'\n') {
        comm.pop();
    }
    // Paths are told by us from our root, by the kernel from the process's.
    let mut exe = sys::read_link_bytes(&proc::path(given.tid, "exe")).unwrap_or_default();
    let root = sys::read_link_bytes(&proc::path(given.tid, "root")).unwrap_or_default();
    if exe.strip_prefix(&*root).is_some_and(|rest| rest.starts_with(b"/")) {
        exe.drain(..root.len());
    }
    if exe.is_empty() {
        exe = [&*comm, b" (path unknown)"].concat();
    }
    let mut host = about.node.clone().into_bytes();
    let me = std::process::id() as Pid;
    let uts = |place: &Path| sys::open(place, OFlag::O_RDONLY);
    if has_letter(pattern, b'h') {
        if let (Ok(its), Ok(own)) = (uts(&proc::path(given.tid, "ns/uts")), uts(&proc::path(me, "ns/uts"))) {
            host = sys::host_name(&its, &own);
        }
    }
    Values {
        pid: [number(given.pid), number(about.inner_pid)],
        tid: [number(given.tid), number(about.inner_tid)],
        user: u64::from(given.user),
        group: u64::from(given.group),
        signal: given.signal as u64,
        time: given.time,
        mode: u64::from(given.mode),
        limit: given.limit,
        cpu: given.cpu,
        pidfd: given.pidfd.map(|_| PIDFD as u64),
        host,
        comm,
        exe,
    }
}

/// Hands a dump on, of which nothing was read. Comes back where there is nobody to hand it to, or when it is a file.
pub fn hand_on(given: &Given, about: &About, dump: &File, settings: &Settings) -> Result<()> {
    let pattern = &settings.previous;
    match way(pattern) {
        Way::Pipe => {
            let mut words = Vec::new();
            for word in expand(pattern, &values(given, about, pattern), false) {
                words.extend(CString::new(word));
            }
            // As the kernel would have started it: without what our own beginning has put there.
            sys::reset_signals();
            sys::close_on_execute(1);
            sys::close_on_execute(2);
            if !has_letter(pattern, b'F') {
                sys::close_on_execute(PIDFD);
            }
            // Only if it failed.
            let why = sys::execute(&words);
            Err(Error::sys(["hand the dump on to ", pattern].concat(), std::io::Error::from(why)))
        }
        // Who listens would take us for the process that died, and ask /proc for us.
        Way::Socket => Err(Error::unsupported("handing dumps on to a socket")),
        Way::File => write_file(given, about, dump, pattern),
    }
}

/// Who the kernel would have been: the dying thread's rights.
#[derive(Debug, Default, PartialEq, Eq)]
struct Writer {
    user: u32,
    group: u32,
    groups: Vec<u32>,
    capabilities: u64,
    umask: u32,
}

/// Reads it from /proc/TID/status; what is not told is that of nobody.
fn writer(status: &str, is_in_ours: bool) -> Writer {
    // Real, effective, saved, of the file system.
    let fs_id = |key: &str| sys::value_of(status, key)?.split_ascii_whitespace().nth(3).and_then(number);
    let radix = |key: &str, radix| sys::value_of(status, key).and_then(|text| u64::from_str_radix(text, radix).ok());
    let mut groups = Vec::new();
    for group in sys::value_of(status, "Groups").unwrap_or_default().split_ascii_whitespace() {
        groups.extend(number(group).map(|group| group as u32));
    }
    Writer {
        user: fs_id("Uid").map_or(u32::MAX, |user| user as u32),
        group: fs_id("Gid").map_or(u32::MAX, |group| group as u32),
        groups,
        // Those of another user namespace are not the machine's.
        capabilities: radix("CapEff", 16).filter(|_| is_in_ours).unwrap_or(0),
        umask: radix("Umask", 8).unwrap_or(0o022) as u32,
    }
}

fn write_file(given: &Given, about: &About, dump: &File, pattern: &str) -> Result<()> {
    // A page is the least that the kernel begins with.
    if given.limit < sys::page_size() as u64 {
        return Ok(());
    }
    let gone = || Error::not_found(["process ", &given.pid.to_string()].concat());
    let started = proc::stat(given.pid).ok_or_else(gone)?.start_time;
    let appends_pid = proc::setting("kernel/core_uses_pid").is_ok_and(|text| text != "0");
    let words = expand(pattern, &values(given, about, pattern), appends_pid);
    let path = PathBuf::from(OsString::from_vec(words.into_iter().next().unwrap_or_default()));
    // Of a set-uid program only root may have it, and where its user can not choose.
    let is_for_root = given.mode == 2;
    if is_for_root && !sys::is_absolute(&path) {
        return Err(Error::usage("core_pattern needs an absolute path for programs that may be dumped by root alone"));
    }
    let open = |name: &str| {
        let path = proc::path(given.tid, name);
        sys::open(&path, OFlag::O_PATH | OFlag::O_DIRECTORY).map_err(|why| Error::io("open", &path, why))
    };
    let (root, cwd) = (open("root")?, open("cwd")?);
    let status = sys::read_text(&proc::path(given.tid, "status")).map_err(|_| gone())?;
    let namespace = |path: &Path| sys::read_link(path).ok();
    let is_in_ours =
        namespace(&proc::path(given.tid, "ns/user")) == namespace(&proc::path(std::process::id() as Pid, "ns/user"));
    let mut writer = writer(&status, is_in_ours);
    if is_for_root {
        writer.user = 0;
    }
    if !is_the_one(given, started) {
        return Err(gone());
    }
    let (from, mut to) = sys::pipe(OFlag::empty())
        .map(|(from, to)| (File::from(from), File::from(to)))
        .map_err(|why| Error::sys("make a pipe", why))?;
    match sys::fork().map_err(|why| Error::sys("start the dump's writer", why))? {
        Forked::Child => {
            // A file system in user space may keep us waiting, and others wait for us.
            alarm::set(WRITE_WITHIN);
            let places = (!is_for_root).then_some((&root, &cwd));
            if let Err(why) = write_as(&writer, places, &path, given.limit, dump) {
                let _ = to.write_all(why.to_string().as_bytes());
            }
            sys::exit(0)
        }
        Forked::Parent(child) => {
            drop(to);
            let told = sys::read_on(&from, ERROR_MAX).unwrap_or_default();
            let _ = sys::wait(child, true);
            match told.is_empty() {
                true => Ok(()),
                false => Err(Error::new(Kind::Busy, String::from_utf8_lossy(&told).into_owned())),
            }
        }
    }
}

/// Writes the file as this user would, from this root and working directory. For a process that does nothing else.
fn write_as(writer: &Writer, places: Option<(&File, &File)>, path: &Path, limit: u64, dump: &File) -> Result<()> {
    if let Some((root, cwd)) = places {
        let root = PathBuf::from(["/proc/self/fd/", &root.as_raw_fd().to_string()].concat());
        sys::enter_root(&root, Some(cwd)).map_err(|why| Error::sys("enter the process's root", why))?;
    }
    sys::set_umask(writer.umask);
    if !sys::act_as(writer.user, writer.group, &writer.groups, writer.capabilities) {
        return Err(Error::new(Kind::Permission, "the dying process's user".into()));
    }
    // Root's rights are not to remove another one's.
    if places.is_some() {
        let _ = sys::remove_file(path);
    }
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
    let file = sys::open(path, flags).map_err(|why| Error::io("create", path, why))?;
    let status = sys::status_of(&file).map_err(|why| Error::io("create", path, why))?;
    if !status.is_file() || status.links != 1 || status.user != writer.user || status.mode & 0o677 != 0o600 {
        return Err(Error::new(Kind::Busy, [&*path.to_string_lossy(), " is no private file of the user's"].concat()));
    }
    // RLIM_INFINITY is the largest number of the kernel's words, which are ours.
    let limit = if limit >= usize::MAX as u64 { 0 } else { limit };
    store(dump, &file, path, limit, &mut || u64::MAX).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_writer_has_the_rights_of_the_dying_thread() {
        let status = "Name:\tUid:\nUmask:\t0027\nUid:\t1000\t1001\t1002\t1003\nGid:\t1\t2\t3\t4\nGroups:\t5 60000 \n\
                      CapInh:\t0000000000000001\nCapEff:\t000001ffffffffff\n";
        let writer = writer(status, true);
        let wanted =
            Writer { user: 1003, group: 4, groups: vec![5, 60000], capabilities: 0x1ff_ffff_ffff, umask: 0o027 };
        assert_eq!(writer, wanted);
        assert_eq!(super::writer(status, false).capabilities, 0);
        let nobody = super::writer("", true);
        assert_eq!((nobody.user, nobody.group, nobody.capabilities, nobody.umask), (u32::MAX, u32::MAX, 0, 0o022));
    }
}
