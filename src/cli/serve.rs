// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `serve`: root's helper, which records for users.

use super::args::{self, bad_value, number, Args, Opt, BUFFER};
use super::units::{Scale, SIZE};
use crate::error::{Error, Kind, Result};
use crate::recorder::MAX_SIZE_DEFAULT;
use crate::serve::{listen, serve_one, Limits};
use crate::sys::{self, Stdio};
use crate::words::{self, next_part, split_once};

/// Defaults of what a user may have: KiB per CPU, recordings at a time, bytes of all.
const BUFFER_KB: u64 = 4096;
const RECORDINGS: u64 = 8;
const TOTAL: u64 = 1 << 30;

/// Recordings of one user at a time.
const COUNT: Scale =
    Scale { units: &[("", 1)], capitals: false, range: (1, 64), wrong: "is no number of recordings from 1 to 64" };

/// A group by its number or its name.
fn group(text: &str) -> Result<u32> {
    let groups = sys::read_text("/etc/group".as_ref()).unwrap_or_default();
    let (mut rest, mut number) = (groups.as_str(), text);
    while let Some(line) = next_part(&mut rest, "\n") {
        // NAME:PASSWORD:NUMBER:MEMBERS
        let behind = line.strip_prefix(text).and_then(|line| split_once(line.strip_prefix(':')?, ":"));
        number = behind.and_then(|(_, behind)| split_once(behind, ":")).map_or(number, |(number, _)| number);
    }
    let found = words::number(number).and_then(|group| u32::try_from(group).ok());
    found.ok_or_else(|| bad_value(Opt::Group, text, "is no group of this machine"))
}

pub fn main(args: &Args<'_>) -> Result<u8> {
    let limits = Limits {
        dir: args::dir(args),
        buffer_size_kb: number(args, Opt::BufferSizeKb, BUFFER_KB, &BUFFER)?,
        max_size: number(args, Opt::MaxSize, MAX_SIZE_DEFAULT, &SIZE)?,
        max_total: number(args, Opt::MaxTotal, TOTAL, &SIZE)?,
        recordings: number(args, Opt::Recordings, RECORDINGS, &COUNT)?,
    };
    if !crate::proc::is_root() {
        return Err(Error::new(Kind::Permission, "serve, which is root's".into()));
    }
    if let Some(path) = args.get(Opt::Listen) {
        let group = args.get(Opt::Group).map(group).transpose()?;
        return listen(path.as_ref(), group, &limits);
    }
    // The connection, as systemd and inetd hand it over; number 0 gets /dev/null.
    let stream = Stdio::In.again().map_err(|why| Error::sys("take the connection", why))?;
    Ok(serve_one(stream, &limits))
}
