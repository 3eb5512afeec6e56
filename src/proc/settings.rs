// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The kernel's settings below /proc/sys, by their paths there: one value each, a line end behind it.
//!
//! Source: proc_sys(5), Documentation/admin-guide/sysctl/.

use std::io::{self, Write};
use std::path::PathBuf;

use nix::fcntl::OFlag;

use crate::sys;

/// Where a setting is.
pub fn setting_path(name: &str) -> PathBuf {
    ["/proc/sys/", name].concat().into()
}

/// A setting as it is.
pub fn setting(name: &str) -> io::Result<String> {
    let text = sys::read_text(&setting_path(name))?;
    Ok(text.strip_suffix('\n').unwrap_or(&text).to_owned())
}

/// Changes one.
pub fn change_setting(name: &str, text: &str) -> io::Result<()> {
    sys::open(&setting_path(name), OFlag::O_WRONLY)?.write_all(text.as_bytes())
}
