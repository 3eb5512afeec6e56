// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whether nobody but root can change what a path leads to.
//!
//! The kernel starts the handler as root with all capabilities, for a crash that anybody can cause: who can replace the
//! program, or a directory or link on the way to it, is root. The same of the directory that dumps are written to. A
//! directory that everybody may write to is no way in if it is sticky, as /tmp is: what is root's in it stays (open(2),
//! inode(7)). Links are followed one by one, as each is looked up again whenever the kernel starts the program.

use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::sys::{self, Status};

/// As many links as the kernel follows (path_resolution(7)).
const LINKS_MAX: usize = 40;

/// Rights of a group and of others to write, to execute, and sticky.
const WRITE_GROUP: u32 = 0o020;
const WRITE_OTHERS: u32 = 0o002;
const EXECUTE: u32 = 0o111;
const STICKY: u32 = 0o1000;

/// Who else may change it, as a sentence goes on; `None` if nobody.
fn weakness(status: &Status) -> Option<String> {
    if status.user != 0 {
        return Some([" belongs to user ", &status.user.to_string()].concat());
    }
    // A link's rights mean nothing.
    if !status.is_file() && !status.is_dir() || status.is_dir() && status.mode & STICKY != 0 {
        return None;
    }
    if status.mode & WRITE_OTHERS != 0 {
        return Some(" can be written by everybody".into());
    }
    (status.mode & WRITE_GROUP != 0 && status.group != 0)
        .then(|| [" can be written by group ", &status.group.to_string()].concat())
}

/// Follows a path and gives what is at its end; an error names the first part that somebody else can change.
pub fn follow(path: &Path) -> Result<(PathBuf, Status)> {
    let mut todo: Vec<String> = parts(&path.to_string_lossy());
    let mut at = PathBuf::from("/");
    let mut links = 0;
    let look = |at: &Path| sys::status_of_link(at).map_err(|why| Error::io("look at", at, why));
    let mut status = look(&at)?;
    loop {
        if let Some(why) = weakness(&status) {
            return Err(Error::new(Kind::Busy, [&*at.to_string_lossy(), &why].concat()));
        }
        let Some(part) = todo.pop() else { return Ok((at, status)) };
        if part == ".." {
            at = sys::parent(&at).unwrap_or(Path::new("/")).to_owned();
            status = look(&at)?;
            continue;
        }
        let next = at.join(part);
        status = look(&next)?;
        if status.mode & nix::libc::S_IFMT != nix::libc::S_IFLNK {
            at = next;
            continue;
        }
        links += 1;
        if links > LINKS_MAX {
            return Err(Error::limit(["links on the way to ", &path.to_string_lossy()].concat(), LINKS_MAX as u64));
        }
        // A link of another user's is one that he can replace, if the directory is sticky.
        if let Some(why) = weakness(&status) {
            return Err(Error::new(Kind::Busy, [&*next.to_string_lossy(), &why].concat()));
        }
        let target = sys::read_link(&next).map_err(|why| Error::io("read", &next, why))?;
        if target.starts_with('/') {
            at = PathBuf::from("/");
        }
        todo.extend(parts(&target));
        status = look(&at)?;
    }
}

/// The parts of a path, the first one last.
fn parts(path: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for part in path.split('/') {
        if !part.is_empty() && part != "." {
            parts.insert(0, part.to_owned());
        }
    }
    parts
}

/// Whether the kernel may start this as root.
pub fn program(path: &str) -> Result<()> {
    const HINT: &str = "a program that others can change makes them root: name one below directories of root's alone";
    let (_, status) = follow(Path::new(path)).map_err(|why| match why.kind() {
        Kind::Busy => why.hint(HINT),
        Kind::NotFound => why.hint("--binary names the program that the kernel is to start"),
        _ => why,
    })?;
    if !status.is_file() || status.mode & EXECUTE == 0 {
        return Err(Error::new(Kind::Busy, [path, " is no program that can be executed"].concat()));
    }
    Ok(())
}

/// Whether root's dumps may lie in this directory.
pub fn directory(path: &Path) -> Result<()> {
    const HINT: &str = "who can change it could lead dumps astray: --dir names a directory below ones of root's alone";
    let (_, status) = follow(path).map_err(|why| if why.kind() == Kind::Busy { why.hint(HINT) } else { why })?;
    if !status.is_dir() {
        return Err(Error::new(Kind::Busy, [&*path.to_string_lossy(), " is no directory"].concat()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{chown, symlink, PermissionsExt};

    use super::*;

    fn set(path: &Path, rights: u32) {
        fs::set_permissions(path, Permissions::from_mode(rights)).unwrap();
    }

    #[test]
    fn only_what_root_alone_can_change_is_trusted() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let dir = std::env::temp_dir().join(format!("ftrace-analyzer-trusted-{}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        set(&dir, 0o755);
        let of = |name: &str| dir.join(name);
        let told = |name: &str| program(of(name).to_str().unwrap()).err().map(|why| why.to_string());
        let file = of("program");
        fs::write(&file, "#!/bin/sh\n").unwrap();
        set(&file, 0o755);
        assert_eq!(told("program"), None, "/tmp is sticky, and what is in it is root's");
        for (rights, why) in [(0o644, "is no program that can be executed"), (0o757, "can be written by everybody")] {
            set(&file, rights);
            assert_eq!(told("program"), Some(format!("{} {why}", file.display())));
        }
        set(&file, 0o775);
        assert_eq!(told("program"), None, "root's group is root");
        chown(&file, None, Some(50)).unwrap();
        assert_eq!(told("program"), Some(format!("{} can be written by group 50", file.display())));
        chown(&file, Some(65534), Some(0)).unwrap();
        set(&file, 0o755);
        assert_eq!(told("program"), Some(format!("{} belongs to user 65534", file.display())));
        chown(&file, Some(0), None).unwrap();
        // A directory on the way, and one that only a link leads through.
        fs::create_dir(of("open")).unwrap();
        fs::copy(&file, of("open/program")).unwrap();
        set(&of("open"), 0o777);
        symlink("open/../program", of("link")).unwrap();
        symlink(of("link"), of("second")).unwrap();
        for name in ["open/program", "link", "second"] {
            assert_eq!(told(name), Some(format!("{} can be written by everybody", of("open").display())), "{name}");
        }
        set(&of("open"), 0o1777);
        for name in ["open/program", "link", "second"] {
            assert_eq!(told(name), None, "{name}");
        }
        std::os::unix::fs::lchown(of("link"), Some(65534), None).unwrap();
        assert_eq!(told("second"), Some(format!("{} belongs to user 65534", of("link").display())));
        symlink("circle", of("circle")).unwrap();
        assert!(told("circle").unwrap().ends_with("the limit is 40"));
        assert!(told("missing").unwrap().ends_with("missing not found"));
        assert!(told("open").unwrap().ends_with("is no program that can be executed"));
        assert!(directory(&of("open")).is_ok() && directory(&file).is_err());
        fs::remove_dir_all(&dir).unwrap();
    }
}
