// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Files and directories as all of the program needs them, in one place each: std brings its own code for every way to
//! read a file, and a walker of trees for removing a directory.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::mkdir;

/// Bytes asked for at a time. Not less: `events/header_page` of tracefs gives nothing at any offset but 0
/// (kernel/trace/trace_events.c `show_header`; seen on 6.18), where std begins with 32 bytes.
const CHUNK: usize = 4 << 10;

/// open(2), closed in programs that we execute; what is made is its owner's alone. Not std's, whose refusals of odd wishes
/// bring the tables of Unicode.
pub fn open(path: &Path, flags: OFlag) -> io::Result<File> {
    open_for(path, flags, Mode::S_IRUSR | Mode::S_IWUSR)
}

/// [`open`] with other rights for what is made.
pub fn open_for(path: &Path, flags: OFlag, rights: Mode) -> io::Result<File> {
    loop {
        match nix::fcntl::open(path, flags | OFlag::O_CLOEXEC, rights) {
            Err(Errno::EINTR) => {}
            opened => return Ok(opened?.into()),
        }
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
            return Some(crate::words::trim(value));
        }
    }
    None
}

/// The names in a directory, in no order.
pub fn names(dir: &Path) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    for entry in Dir::open(dir, flags, Mode::empty())?.iter().flatten() {
        match entry.file_name().to_bytes() {
            b"." | b".." => {}
            name => names.push(OsStr::from_bytes(name).to_owned()),
        }
    }
    Ok(names)
}

/// The numbers among the names in a directory behind `prefix`, sorted: `cpu0` with `cpu`, a process in /proc with nothing.
pub fn numbers(dir: &Path, prefix: &str) -> io::Result<Vec<i32>> {
    let mut numbers = Vec::new();
    for name in names(dir)? {
        numbers.extend(name.to_str().and_then(|name| name.strip_prefix(prefix)?.parse::<i32>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Makes a directory for its owner alone. Its parent must be there, and it must not.
pub fn make_dir(dir: &Path) -> Result<(), Errno> {
    mkdir(dir, Mode::S_IRWXU)
}

/// Makes a directory for its owner alone, and those above it that are missing.
pub fn make_dirs(dir: &Path) -> Result<(), Errno> {
    match (make_dir(dir), dir.parent()) {
        (Err(Errno::EEXIST), _) if dir.is_dir() => Ok(()),
        (Err(Errno::ENOENT), Some(parent)) => {
            make_dirs(parent)?;
            make_dir(dir)
        }
        (made, _) => made,
    }
}

/// Removes a directory of ours with the files in it. A directory within is none of ours: it stays, and that is an error.
pub fn remove_dir_with_files(dir: &Path) -> io::Result<()> {
    // A link in its place goes, and what it leads to stays.
    if fs::remove_file(dir).is_ok() {
        return Ok(());
    }
    for name in names(dir)? {
        let _ = fs::remove_file(dir.join(name));
    }
    fs::remove_dir(dir)
}

#[cfg(test)]
mod tests {
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
