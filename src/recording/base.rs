// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The directory that holds the recordings, and those of users below it: made where they are missing, and refused where
//! others could get in our way.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::sys;

/// Refuses a directory in which others could lay files or links in our way.
fn check_base(base: &Path) -> Result<()> {
    let status = sys::status_of_link(base).map_err(|why| Error::io("open", base, why))?;
    if !status.is_dir() {
        return Err(Error::malformed(format!("{} is not a directory", base.display()), None));
    }
    let me = match sys::owner() {
        (0, _) => nix::unistd::geteuid().as_raw(),
        (owner, _) => owner,
    };
    if status.user != me && status.user != 0 {
        return Err(Error::malformed(format!("{} belongs to user {}", base.display(), status.user), None)
            .hint("name a directory of your own"));
    }
    if status.mode & 0o022 != 0 {
        return Err(Error::malformed(format!("{} can be written by others", base.display()), None)
            .hint("name a directory of your own, or chmod go-w it"));
    }
    Ok(())
}

/// Makes the directory that holds the recordings, with its parents.
pub fn create_base(base: &Path) -> Result<()> {
    if !sys::is_absolute(base) {
        return Err(Error::usage(format!("--dir {} is not an absolute path", base.display())));
    }
    let _owner = sys::as_owner();
    sys::make_dirs(base).map_err(|why| Error::io("create", base, why.into()))?;
    check_base(base)
}

/// The directory, below that of all recordings, that has one for each user.
pub const USERS: &str = "users";

/// A user's directory below that of all recordings.
pub fn dir_of_user(base: &Path, user: u32) -> PathBuf {
    base.join(USERS).join(user.to_string())
}

/// The same, made if it is not there. Nobody but root can put something else in its place.
pub fn make_user_dir(base: &Path, user: u32, group: u32) -> Result<PathBuf> {
    create_base(base)?;
    let users = base.join(USERS);
    for dir in [base, &users] {
        match sys::make_dir(dir) {
            Err(why) if why != nix::errno::Errno::EEXIST => return Err(Error::io("create", dir, why.into())),
            _ => {}
        }
        let status = sys::status_of_link(dir).map_err(|why| Error::io("open", dir, why))?;
        if !status.is_dir() || status.user != 0 || status.mode & 0o022 != 0 {
            return Err(Error::malformed([&dir.to_string_lossy(), " is not root's alone to write"].concat(), None));
        }
        // Users come through, and see no names.
        if status.mode & 0o011 != 0o011 {
            sys::set_rights(dir, status.mode & 0o777 | 0o011).map_err(|why| Error::io("prepare", dir, why))?;
        }
    }
    let dir = dir_of_user(base, user);
    if sys::make_dir(&dir).is_ok() {
        sys::give(&dir, user, group).map_err(|why| Error::io("prepare", &dir, why))?;
    }
    let status = sys::status_of_link(&dir).map_err(|why| Error::io("open", &dir, why))?;
    if !status.is_dir() || status.user != user {
        return Err(Error::malformed([&dir.to_string_lossy(), " is not the user's directory"].concat(), None));
    }
    Ok(dir)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_directory_that_others_can_write_is_refused() {
        let dir = std::env::temp_dir().join(format!("ftrace-analyzer-base-{}", std::process::id()));
        sys::make_dir(&dir).unwrap();
        assert!(check_base(&dir).is_ok());
        fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        assert!(check_base(&dir).unwrap_err().remedy().is_some());
        fs::remove_dir(&dir).unwrap();
        assert!(create_base(Path::new("relative")).is_err());
    }
}
