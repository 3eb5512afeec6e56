// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Files and directories as all of the program needs them, in one place each: std brings its own code for every way to
//! read a file, and a walker of trees for removing a directory; std, nix and the C library each have theirs around every
//! call with a path. Here there is one for all of these calls.
//!
//! Source: openat(2), unlinkat(2), mkdirat(2), renameat(2), readlinkat(2), fstatat(2), getdents(2).

#![allow(unsafe_code)]

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc::{self, c_long};
use nix::sys::stat::Mode;

use crate::words::{number, trim};

/// Bytes asked for at a time. Not less: `events/header_page` of tracefs gives nothing at any offset but 0
/// (kernel/trace/trace_events.c `show_header`; seen on 6.18), where std begins with 32 bytes.
const CHUNK: usize = 4 << 10;

/// One of the calls that take a directory and a path first, again when a signal has come in between.
///
/// # Safety
///
/// The call is one of these, and `rest` is what it takes behind the path.
#[inline(never)]
unsafe fn at(call: c_long, dir: RawFd, path: &Path, rest: [usize; 3]) -> Result<usize, Errno> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
    let [first, second, third] = rest;
    loop {
        // SAFETY: the path ends in NUL; for the rest, the contract of this function.
        match Errno::result(unsafe { libc::syscall(call, dir, path.as_ptr(), first, second, third) }) {
            Err(Errno::EINTR) => {}
            done => return done.map(|result| result as usize),
        }
    }
}

/// open(2), closed in programs that we execute; what is made is its owner's alone.
pub fn open(path: &Path, flags: OFlag) -> io::Result<File> {
    open_for(path, flags, Mode::S_IRUSR | Mode::S_IWUSR)
}

/// [`open`] with other rights for what is made.
pub fn open_for(path: &Path, flags: OFlag, rights: Mode) -> io::Result<File> {
    let flags = (flags | OFlag::O_CLOEXEC | OFlag::O_LARGEFILE).bits() as usize;
    // SAFETY: two integers follow the path; the kernel has just given us the descriptor, nobody else owns it.
    unsafe {
        let file = at(libc::SYS_openat, libc::AT_FDCWD, path, [flags, rights.bits() as usize, 0])?;
        Ok(File::from_raw_fd(file as RawFd))
    }
}

/// Reads on to the end of a file, or until there are more than `max` bytes.
pub fn read_on(mut file: &File, max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // On the stack: the recorder keeps the memory it once had.
    let mut chunk = [0u8; CHUNK];
    loop {
        match file.read(&mut chunk) {
            Ok(0) => return Ok(bytes),
            Ok(count) => bytes.extend_from_slice(chunk.get(..count).unwrap_or_default()),
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            Err(why) => return Err(why),
        }
        if bytes.len() > max {
            return Ok(bytes);
        }
    }
}

/// A file of /proc, /sys or tracefs, whole; what is not UTF-8 in it is replaced.
pub fn read_text(path: &Path) -> io::Result<String> {
    let bytes = read_on(&open(path, OFlag::O_RDONLY)?, usize::MAX)?;
    Ok(String::from_utf8(bytes).unwrap_or_else(|why| String::from_utf8_lossy(why.as_bytes()).into_owned()))
}

/// Makes a file this long. std's way has an error for lengths that no file has, whose text is a kilobyte of code.
pub fn set_len(file: &File, len: u64) -> io::Result<()> {
    Ok(nix::unistd::ftruncate(file, len as nix::libc::off_t)?)
}

/// What stands behind `key:` at the start of a line, without blanks around it: how /proc and tracefs tell figures.
pub fn value_of<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    for line in text.split('\n') {
        if let Some(value) = line.strip_prefix(key).and_then(|rest| rest.strip_prefix(':')) {
            return Some(trim(value));
        }
    }
    None
}

/// What a file is, as far as we ask.
#[derive(Clone, Copy, Debug)]
pub struct Status {
    /// Type and rights.
    pub mode: u32,
    /// Its owner.
    pub user: u32,
    /// The owner's group.
    pub group: u32,
    /// How many names it has.
    pub links: u64,
    /// Bytes.
    pub size: u64,
    /// Bytes that it takes on the disk.
    pub disk: u64,
    /// When it was changed, in seconds since 1970.
    pub modified: i64,
    /// The same in nanoseconds.
    pub modified_ns: u64,
    /// Device and inode: the same file by any name.
    pub id: (u64, u64),
}

impl Status {
    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFDIR
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFREG
    }
}

// The numbers' sizes differ between targets.
#[allow(clippy::unnecessary_cast)]
fn status_at(dir: RawFd, path: &Path, flags: i32) -> Result<Status, Errno> {
    // SAFETY: a stat is numbers, for which all zeroes are values; the call writes one.
    let stat = unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        #[cfg(target_pointer_width = "64")]
        at(libc::SYS_newfstatat, dir, path, [std::ptr::addr_of_mut!(stat) as usize, flags as usize, 0])?;
        // The kernel's is not the C library's there.
        #[cfg(not(target_pointer_width = "64"))]
        {
            let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
            Errno::result(libc::fstatat(dir, path.as_ptr(), &mut stat, flags))?;
        }
        stat
    };
    Ok(Status {
        mode: stat.st_mode,
        user: stat.st_uid,
        group: stat.st_gid,
        links: stat.st_nlink as u64,
        size: stat.st_size as u64,
        disk: (stat.st_blocks as u64).saturating_mul(512),
        modified: stat.st_mtime as i64,
        modified_ns: (stat.st_mtime as u64).saturating_mul(1_000_000_000).saturating_add(stat.st_mtime_nsec as u64),
        id: (stat.st_dev as u64, stat.st_ino as u64),
    })
}

/// What stands at the path, or where a link there leads to.
pub fn status(path: &Path) -> io::Result<Status> {
    Ok(status_at(libc::AT_FDCWD, path, 0)?)
}

/// What stands at the path, also if it is a link.
pub fn status_of_link(path: &Path) -> io::Result<Status> {
    Ok(status_at(libc::AT_FDCWD, path, libc::AT_SYMLINK_NOFOLLOW)?)
}

/// What an open file is.
pub fn status_of(file: &File) -> io::Result<Status> {
    Ok(status_at(file.as_raw_fd(), Path::new(""), libc::AT_EMPTY_PATH)?)
}

/// Whether there is something at the path, or where a link there leads to.
pub fn exists(path: &Path) -> bool {
    status(path).is_ok()
}

/// Whether there is a directory.
pub fn is_dir(path: &Path) -> bool {
    status(path).is_ok_and(|status| status.is_dir())
}

/// What a link leads to.
pub fn read_link(link: &Path) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&read_link_bytes(link)?).into_owned())
}

/// The same where it need not be UTF-8.
pub fn read_link_bytes(link: &Path) -> io::Result<Vec<u8>> {
    let mut buffer = [0u8; CHUNK];
    // SAFETY: the kernel writes no more than the buffer has.
    let count = unsafe { at(libc::SYS_readlinkat, libc::AT_FDCWD, link, [buffer.as_mut_ptr() as usize, CHUNK, 0])? };
    Ok(buffer.get(..count).unwrap_or_default().to_vec())
}

/// Removes a file, or a link.
pub fn remove_file(path: &Path) -> io::Result<()> {
    // SAFETY: an integer.
    unsafe { at(libc::SYS_unlinkat, libc::AT_FDCWD, path, [0; 3])? };
    Ok(())
}

/// Removes an empty directory.
pub fn remove_dir(path: &Path) -> io::Result<()> {
    // SAFETY: an integer.
    unsafe { at(libc::SYS_unlinkat, libc::AT_FDCWD, path, [libc::AT_REMOVEDIR as usize, 0, 0])? };
    Ok(())
}

/// Gives a file another name; what has that name goes.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    let to = CString::new(to.as_os_str().as_bytes())?;
    // SAFETY: a directory and a path that ends in NUL.
    unsafe { at(libc::SYS_renameat, libc::AT_FDCWD, from, [libc::AT_FDCWD as usize, to.as_ptr() as usize, 0])? };
    Ok(())
}

/// Leaves a file to its owner alone.
pub fn make_private(path: &Path) -> io::Result<()> {
    set_rights(path, 0o600)
}

/// Sets who may do what with a file (chmod(2)).
pub fn set_rights(path: &Path, rights: u32) -> io::Result<()> {
    // SAFETY: an integer.
    unsafe { at(libc::SYS_fchmodat, libc::AT_FDCWD, path, [rights as usize, 0, 0])? };
    Ok(())
}

/// Gives a file to somebody else (lchown(2)).
pub fn give(path: &Path, user: u32, group: u32) -> io::Result<()> {
    let ids = [user as usize, group as usize, libc::AT_SYMLINK_NOFOLLOW as usize];
    // SAFETY: integers.
    unsafe { at(libc::SYS_fchownat, libc::AT_FDCWD, path, ids)? };
    Ok(())
}

/// Mounts a file system of the kernel's own, by its name, for looking at it and no more.
pub fn mount(name: &str, place: &Path) -> Result<(), Errno> {
    let name = CString::new(name).map_err(|_| Errno::EINVAL)?;
    let place = CString::new(place.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    // SAFETY: strings that end in NUL.
    let done = unsafe { libc::mount(name.as_ptr(), place.as_ptr(), name.as_ptr(), flags, std::ptr::null()) };
    Errno::result(done).map(|_| ())
}

/// Bytes that are free for everybody in the file system of a file or directory.
// The numbers' sizes differ between targets.
#[allow(clippy::unnecessary_cast)]
pub fn free_bytes(path: &Path) -> Option<u64> {
    let file = open(path, OFlag::O_PATH).ok()?;
    // SAFETY: a statfs is numbers, for which all zeroes are values; the call writes one.
    let stat = unsafe {
        let mut stat: libc::statfs = std::mem::zeroed();
        #[cfg(target_pointer_width = "64")]
        let done = libc::syscall(libc::SYS_fstatfs, file.as_raw_fd(), &mut stat);
        #[cfg(not(target_pointer_width = "64"))]
        let done = libc::fstatfs(file.as_raw_fd(), &mut stat);
        Errno::result(done).ok()?;
        stat
    };
    Some((stat.f_bavail as u64).saturating_mul(stat.f_frsize as u64))
}

/// flock(2).
fn flock(file: &File, how: i32) -> Result<(), Errno> {
    // SAFETY: integers.
    Errno::result(unsafe { libc::syscall(libc::SYS_flock, file.as_raw_fd(), how) }).map(|_| ())
}

/// Locks a file until it is closed or unlocked, unless another process has it locked.
pub fn lock(file: &File) -> Result<(), Errno> {
    flock(file, libc::LOCK_EX | libc::LOCK_NB)
}

/// Waits until no other process has a file locked, and locks it until it is closed.
pub fn lock_in_turn(file: &File) -> Result<(), Errno> {
    loop {
        match flock(file, libc::LOCK_EX) {
            Err(Errno::EINTR) => {}
            done => return done,
        }
    }
}

/// Undoes [`lock`].
pub fn unlock(file: &File) {
    let _ = flock(file, libc::LOCK_UN);
}

/// The names in a directory, in no order.
pub fn names(dir: &Path) -> io::Result<Vec<OsString>> {
    names_up_to(dir, usize::MAX)
}

/// The same; an error where there are more than `max`, for directories that others write to.
pub fn names_up_to(dir: &Path, max: usize) -> io::Result<Vec<OsString>> {
    let dir = open(dir, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
    let mut names = Vec::new();
    let mut buffer = [0u8; CHUNK];
    loop {
        // SAFETY: the kernel writes no more than the buffer has.
        let count = unsafe { libc::syscall(libc::SYS_getdents64, dir.as_raw_fd(), buffer.as_mut_ptr(), CHUNK) };
        let mut rest = buffer.get(..Errno::result(count)? as usize).unwrap_or_default();
        if rest.is_empty() {
            return Ok(names);
        }
        // Of each: inode and offset (8 bytes each), its own length, a type, the name.
        while let Some([low, high]) = rest.get(16..18) {
            let length = usize::from(u16::from_ne_bytes([*low, *high])).max(19);
            let name = rest.get(19..length).unwrap_or_default();
            let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
            if name != b"." && name != b".." {
                names.push(OsStr::from_bytes(name).to_owned());
            }
            if names.len() > max {
                return Err(Errno::EOVERFLOW.into());
            }
            rest = rest.get(length..).unwrap_or_default();
        }
    }
}

/// The numbers among the names in a directory behind `prefix`, sorted: `cpu0` with `cpu`, a process in /proc with nothing.
pub fn numbers(dir: &Path, prefix: &str) -> io::Result<Vec<i32>> {
    let mut numbers = Vec::new();
    for name in names(dir)? {
        numbers.extend(name.to_str().and_then(|name| number(name.strip_prefix(prefix)?)).map(|number| number as i32));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Makes a directory for its owner alone. Its parent must be there, and it must not.
pub fn make_dir(dir: &Path) -> Result<(), Errno> {
    make_dir_for(dir, 0o700)
}

fn make_dir_for(dir: &Path, rights: usize) -> Result<(), Errno> {
    // SAFETY: an integer.
    unsafe { at(libc::SYS_mkdirat, libc::AT_FDCWD, dir, [rights, 0, 0]).map(|_| ()) }
}

/// Makes a directory for its owner alone, and those above it that are missing.
pub fn make_dirs(dir: &Path) -> Result<(), Errno> {
    make_dirs_for(dir, 0o700)
}

/// [`make_dirs`] with other rights.
pub fn make_dirs_for(dir: &Path, rights: usize) -> Result<(), Errno> {
    match make_dir_for(dir, rights) {
        Err(Errno::EEXIST) if is_dir(dir) => Ok(()),
        Err(Errno::ENOENT) => {
            let parent = parent(dir).ok_or(Errno::ENOENT)?;
            make_dirs_for(parent, rights)?;
            make_dir_for(dir, rights)
        }
        made => made,
    }
}

/// Gives an open file the owner, group and rights of another.
pub fn make_like(file: &File, other: &Status) -> Result<(), Errno> {
    let owner = [other.user as usize, other.group as usize, libc::AT_EMPTY_PATH as usize];
    // SAFETY: integers. The owner comes first: a change of it takes set-id bits away. Not fchown, which on ARM knows 16 bits.
    unsafe {
        at(libc::SYS_fchownat, file.as_raw_fd(), Path::new(""), owner)?;
        Errno::result(libc::syscall(libc::SYS_fchmod, file.as_raw_fd(), other.mode & 0o7777)).map(|_| ())
    }
}

/// Whether it begins at the root.
pub fn is_absolute(path: &Path) -> bool {
    path.as_os_str().as_bytes().starts_with(b"/")
}

/// The path before its last part; `None` where there is nothing before it.
pub fn parent(path: &Path) -> Option<&Path> {
    let (before, last) = split_last(path);
    (!before.is_empty() && !last.is_empty()).then(|| Path::new(OsStr::from_bytes(before)))
}

/// The last part of a path, in UTF-8.
pub fn last_part(path: &Path) -> String {
    String::from_utf8_lossy(split_last(path).1).into_owned()
}

/// What stands before the last part of a path and what that is, without slashes at their ends.
fn split_last(path: &Path) -> (&[u8], &[u8]) {
    let path = without_slashes(path.as_os_str().as_bytes());
    let start = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    let (before, last) = path.split_at(start);
    (without_slashes(before), last)
}

/// The path without slashes at its end, but for that of the root.
fn without_slashes(mut path: &[u8]) -> &[u8] {
    while let [before @ .., b'/'] = path {
        if before.is_empty() {
            break;
        }
        path = before;
    }
    path
}

/// Removes a directory of ours with the files in it. A directory within is none of ours: it stays, and that is an error.
pub fn remove_dir_with_files(dir: &Path) -> io::Result<()> {
    // A link in its place goes, and what it leads to stays.
    if remove_file(dir).is_ok() {
        return Ok(());
    }
    for name in names(dir)? {
        let _ = remove_file(&dir.join(name));
    }
    remove_dir(dir)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_directory_goes_with_its_files_and_a_link_to_it_alone() {
        let base = std::env::temp_dir().join(format!("ftrace-analyzer-files-{}", std::process::id()));
        let (dir, link) = (base.join("dir"), base.join("link"));
        make_dirs(&dir.join("within")).unwrap();
        make_dirs(&dir.join("within")).unwrap();
        assert_eq!(make_dir(&dir), Err(Errno::EEXIST));
        assert_eq!(make_dir(&base.join("none/within")), Err(Errno::ENOENT));
        fs::write(dir.join("file"), "x").unwrap();
        assert_eq!(make_dirs(&dir.join("file")), Err(Errno::EEXIST));
        std::os::unix::fs::symlink(&dir, &link).unwrap();
        remove_dir_with_files(&link).unwrap();
        assert!(dir.join("file").exists() && !link.exists());
        assert!(remove_dir_with_files(&dir).is_err());
        assert!(dir.join("within").exists() && !dir.join("file").exists());
        fs::remove_dir(dir.join("within")).unwrap();
        remove_dir_with_files(&dir).unwrap();
        remove_dir_with_files(&base).unwrap();
        assert!(!base.exists());
    }

    #[test]
    fn files_are_read_to_their_end_or_limit() {
        let path = std::env::temp_dir().join(format!("ftrace-analyzer-read-{}", std::process::id()));
        let text = "0123456789".repeat(CHUNK / 3);
        fs::write(&path, &text).unwrap();
        assert_eq!(read_text(&path).unwrap(), text);
        assert!(read_on(&File::open(&path).unwrap(), CHUNK).unwrap().len() > CHUNK);
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn values_are_found_by_their_keys() {
        let text = "MemTotal:  5 kB\nMem:\t7\n x: 1\n";
        assert_eq!((value_of(text, "Mem"), value_of(text, "MemTotal")), (Some("7"), Some("5 kB")));
        assert_eq!((value_of(text, "x"), value_of("", "x")), (None, None));
    }

    #[test]
    fn numbers_are_told_from_other_names() {
        let me = std::process::id() as i32;
        assert!(numbers(Path::new("/proc"), "").unwrap().contains(&me));
        assert_eq!(numbers(Path::new("/sys/devices/system/cpu"), "cpu").unwrap().first(), Some(&0));
        assert!(numbers(Path::new("/none"), "").is_err());
    }
}
