// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `stop`: ends a running recording and says what it holds.

use std::path::Path;

use super::args::Args;
use super::select::read_as_owner;
use super::{out, units};
use crate::error::{exit, Error, Result};
use crate::recorder::{end_recorder, find_running};
use crate::recording::{CallCounts, EndState, Recording};

/// How long completing may take: draining hundreds of megabytes to slow flash.
const PATIENCE: u64 = 60_000;

pub fn main(args: &Args<'_>) -> Result<u8> {
    let running = find_running(args.word.unwrap_or_default())?;
    read_as_owner(Path::new(&running.recording));
    if !end_recorder(&running, PATIENCE)? {
        let late = std::io::Error::from(std::io::ErrorKind::TimedOut);
        return Err(Error::sys(format!("end the recording {}", running.unit()), late));
    }
    closing_line(Path::new(&running.recording))
}

/// One line on a recording that has just ended, and the exit code that fits.
pub fn closing_line(dir: &Path) -> Result<u8> {
    let recording = Recording::open(dir)?;
    let meta = &recording.meta;
    let mut lost = meta.lost();
    let mut written = meta.written().unwrap_or(0);
    if meta.counts_only() {
        let counts = CallCounts::load(dir)?;
        lost += counts.dropped;
        written += counts.hits + counts.dropped;
    }
    let size = units::show_size(recording.bytes());
    let mut text =
        format!("{}: {written} events, {lost} lost, {size}: {}\n", dir.display(), out::shown(&meta.end_reason));
    for problem in &meta.problems {
        text.push_str(&format!("  {}\n", out::shown(problem)));
    }
    out::note(&text);
    // In flight mode the kernel is meant to overwrite what is old.
    let partial = meta.end_state() != EndState::Complete || (lost > 0 && meta.options.mode != "flight");
    Ok(if partial { exit::PARTIAL } else { exit::OK })
}
