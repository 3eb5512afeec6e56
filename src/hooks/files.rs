// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Files of configuration, read and replaced so that nobody ever sees half of one, and no link leads us elsewhere.
//!
//! Source: rename(2), fsync(2), open(2) `O_NOFOLLOW`.

use std::io::Write;
use std::path::Path;

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use crate::error::{Error, Result};
use crate::sys;

/// Largest file that is read, in bytes.
const SIZE_MAX: usize = 64 << 20;

/// The bytes of a file; `None` where there is none. A link is an error: what it leads to may be anybody's.
pub fn read(path: &str) -> Result<Option<Vec<u8>>> {
    let path = Path::new(path);
    let failed = |why| Error::io("read", path, why);
    let file = match sys::open(path, OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK) {
        Ok(file) => file,
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(why) => return Err(failed(why).hint("of a link, name what it leads to")),
    };
    let bytes = sys::read_on(&file, SIZE_MAX).map_err(failed)?;
    match bytes.len() > SIZE_MAX {
        true => Err(Error::limit([&*path.to_string_lossy(), " is larger than expected"].concat(), SIZE_MAX as u64)),
        false => Ok(Some(bytes)),
    }
}

/// How many of a file's directories are not there.
pub fn missing_dirs(path: &str) -> usize {
    let (mut dir, mut count) = (sys::parent(Path::new(path)), 0);
    while let Some(missing) = dir.filter(|dir| !sys::exists(dir)) {
        count += 1;
        dir = sys::parent(missing);
    }
    count
}

/// Gives a file new contents, or makes it. Owner and rights stay; a new one is for everybody to read.
pub fn replace(path: &str, text: &[u8]) -> Result<()> {
    let target = Path::new(path);
    let failed = |doing: &str, why: std::io::Error| Error::io(doing, target, why);
    let dir = sys::parent(target).unwrap_or(Path::new("."));
    sys::make_dirs_for(dir, 0o755).map_err(|why| Error::io("make", dir, why.into()))?;
    // Without the ending that engines look for.
    let name = [".", &sys::last_part(target), ".", &std::process::id().to_string()].concat();
    let fresh = dir.join(name);
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
    let mut file = sys::open_for(&fresh, flags, Mode::from_bits_truncate(0o644)).map_err(|why| failed("write", why))?;
    let mut write = || {
        if let Some(old) = sys::status_of_link(target).ok().filter(|old| old.is_file()) {
            sys::make_like(&file, &old)?;
        }
        file.write_all(text)?;
        file.sync_data()?;
        sys::rename(&fresh, target)
    };
    if let Err(why) = write() {
        let _ = sys::remove_file(&fresh);
        return Err(failed("write", why));
    }
    sync_dir(dir);
    Ok(())
}

/// Removes a file, and so many of its directories as are empty then.
pub fn remove(path: &str, dirs: usize) -> Result<()> {
    let path = Path::new(path);
    sys::remove_file(path).map_err(|why| Error::io("remove", path, why))?;
    let mut dir = sys::parent(path);
    for _ in 0..dirs {
        let Some(empty) = dir.filter(|dir| sys::remove_dir(dir).is_ok()) else { break };
        dir = sys::parent(empty);
    }
    if let Some(dir) = dir {
        sync_dir(dir);
    }
    Ok(())
}

fn sync_dir(dir: &Path) {
    if let Ok(dir) = sys::open(dir, OFlag::O_RDONLY | OFlag::O_DIRECTORY) {
        let _ = dir.sync_data();
    }
}
