// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `core export`: a stored dump as the plain ELF file that debuggers open.
//!
//! What is stored is that file already. A copy of it gets holes where it has zeros; a pipe gets the zeros.

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::Path;

use nix::fcntl::OFlag;

use super::list;
use crate::cli::args::{self, Args, Opt};
use crate::cli::out;
use crate::core_dump::keeper::CORE;
use crate::core_dump::stream::{store, Cut};
use crate::error::{exit, Error, Result};
use crate::sys::{self, Stdio};

/// Bytes copied at a time.
const CHUNK: usize = 64 << 10;

/// `core export`.
pub fn export(args: &Args<'_>) -> Result<u8> {
    let dump = list::find(&args::dir(args), args.word)?;
    let path = dump.dir.join(CORE);
    let from = sys::open(&path, OFlag::O_RDONLY | OFlag::O_NOFOLLOW).map_err(|why| Error::io("open", &path, why))?;
    match args.get(Opt::Output).filter(|to| *to != "-") {
        Some(to) => to_file(&from, Path::new(to))?,
        None if Stdio::Out.as_fd().is_terminal() => {
            return Err(Error::usage("a core dump is nothing for a terminal").hint("--output FILE, or a pipe"))
        }
        None => to_pipe(&from, &path)?,
    }
    if dump.about.cut.is_empty() {
        return Ok(exit::OK);
    }
    out::note(
        &["ftrace-analyzer: core export: not all of the dump is there: ", &out::shown(&dump.about.cut), "\n"].concat(),
    );
    Ok(exit::PARTIAL)
}

/// Makes a file of it, for its owner alone; nothing is left of one that could not be written whole.
fn to_file(from: &File, to: &Path) -> Result<()> {
    let file = sys::open(to, OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL).map_err(|why| {
        let exists = why.kind() == std::io::ErrorKind::AlreadyExists;
        let error = Error::io("create", to, why);
        if exists {
            error.hint("what is there is not replaced")
        } else {
            error
        }
    })?;
    let done = store(from, &file, to, 0, &mut || u64::MAX).and_then(|stored| match stored.cut {
        None | Some(Cut::Limit | Cut::Room) => Ok(()),
        Some(Cut::Space) => Err(Error::io("write", to, std::io::Error::from_raw_os_error(nix::libc::ENOSPC))),
        Some(Cut::Failed(errno)) => Err(Error::io("write", to, std::io::Error::from_raw_os_error(errno))),
    });
    if done.is_err() {
        let _ = sys::remove_file(to);
    }
    done
}

fn to_pipe(mut from: &File, path: &Path) -> Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let have = std::io::Read::read(&mut from, &mut buffer).map_err(|why| Error::io("read", path, why))?;
        if have == 0 {
            return Ok(());
        }
        let written = Stdio::Out.write_all(buffer.get(..have).unwrap_or_default());
        if matches!(&written, Err(why) if why.kind() == std::io::ErrorKind::BrokenPipe) {
            return Ok(());
        }
        out::forgive_closed(written)?;
    }
}
