// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The dumps that are there: one directory each below `cores`. How they come there, and which of them stay: shelf.rs.

use std::fs::File;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};

use super::about::About;
use crate::error::{Error, Result};
use crate::record;
use crate::recording::read_bounded;
use crate::sys;
use crate::words::number;

/// The directory below that of the recordings.
pub const CORES: &str = "cores";
/// The dump.
pub const CORE: &str = "core";
/// What is known of it.
pub const ABOUT: &str = "core.json";
/// Its length is how many dumps of the container came behind it and were not stored.
pub const MORE: &str = "more";
/// How long a dump waits for its number, in milliseconds.
const NUMBER_WITHIN: u32 = 2_000;
/// Largest description read, in bytes.
const ABOUT_MAX: usize = 8 << 20;

/// A dump that is there.
#[derive(Debug)]
pub struct Dump {
    /// Its directory.
    pub dir: PathBuf,
    /// What is known of it.
    pub about: Box<About>,
    /// Bytes on disk of the dump.
    pub bytes: u64,
}

/// Gives a dump its number, which is greater than those of all that are there: who has seen one of a number has seen all
/// with smaller ones. `file` has the last one, and is locked until the dump has its name.
pub fn take_number(mut file: &File, about: &mut About) {
    about.stored_ns = sys::realtime_ns();
    for _ in 0..NUMBER_WITHIN {
        if sys::lock(file).is_ok() {
            break;
        }
        sys::sleep_ms(1);
    }
    let text = sys::read_on(file, 32).unwrap_or_default();
    // The clock may have been set back since, and boards begin in 1970.
    let last = core::str::from_utf8(&text).ok().and_then(number).unwrap_or(0);
    about.stored_ns = about.stored_ns.max(last.saturating_add(1));
    let _ = sys::set_len(file, 0).and_then(|()| file.rewind());
    let _ = file.write_all(about.stored_ns.to_string().as_bytes());
}

/// Reads what is known of the dump in a directory.
pub fn read(dir: &Path) -> Result<Dump> {
    let path = dir.join(ABOUT);
    let mut about = Box::<About>::default();
    record::read(&read_bounded(&path, ABOUT_MAX)?, &path.to_string_lossy(), &mut *about)?;
    let bytes = sys::status_of_link(&dir.join(CORE)).map_or(0, |file| file.disk);
    about.more = sys::status_of_link(&dir.join(MORE)).map_or(0, |file| file.size) as u32;
    Ok(Dump { dir: dir.to_owned(), about, bytes })
}

/// The dumps below `base`, oldest first, and those that can not be read.
pub fn list(base: &Path) -> Result<(Vec<Dump>, Vec<Error>)> {
    let cores = base.join(CORES);
    let names = match sys::names(&cores) {
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        names => names.map_err(|why| Error::io("list", &cores, why))?,
    };
    let (mut dumps, mut wrong) = (Vec::<Dump>::new(), Vec::new());
    for name in names {
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        match read(&cores.join(name)) {
            Ok(dump) => {
                let key = |dump: &Dump| (dump.about.time_ns, dump.about.pid);
                let at = dumps.partition_point(|known| key(known) <= key(&dump));
                dumps.insert(at, dump);
            }
            Err(why) => wrong.push(why),
        }
    }
    Ok((dumps, wrong))
}
