// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `follow`: a running recording as it grows; also what `run` prints.
//!
//! The recorder says ten times a second up to which time everything is on disk; up to there the files are merged and
//! printed. A reader that is slow, or goes away, costs the recording nothing.

use std::io::Write;
use std::path::Path;

use super::args::{Args, Opt};
use super::out;
use super::select::read_as_owner;
use crate::error::{exit, Result};
use crate::recorder::{find_running, running, Client, Reply, RunState, Spawned, DATA_NOTE, FILTER_NOTE};
use crate::recording::{EndState, Meta, Recording, Tail};
use crate::report::{needs_events, Filter, Live, Options};
use crate::sys::Stdio;

/// How long a word of the recorder is waited for before `idle` is called again.
const PATIENCE: u64 = 200;

/// How long a recorder may take to store what the kernel's buffers hold.
const FLUSH_PATIENCE: u64 = 10_000;

fn state_of(dir: &Path) -> Option<RunState> {
    running().into_iter().find(|state| dir.as_os_str() == state.recording.as_str())
}

/// Waits until the recorder has completed its recording.
pub fn wait_end(recorder: &Spawned) {
    let Some(mut client) = state_of(&recorder.dir).and_then(|state| Client::connect(&state).ok()) else { return };
    if client.follow().is_err() {
        return;
    }
    loop {
        match client.reply(3_600_000) {
            Ok(Reply::At(_) | Reply::Timeout) => {}
            Ok(Reply::Done | Reply::Gone) | Err(_) => return,
        }
    }
}

/// Prints the recording in `dir` until its recorder ends; calls `idle` at least five times a second, which says whether
/// to go on when nobody reads any more. Gives the exit code that the recording deserves.
pub fn print(
    dir: &Path,
    output: Box<dyn Write>,
    (with_runtime, colour): (bool, bool),
    idle: &mut dyn FnMut() -> bool,
) -> Result<u8> {
    let mut client = state_of(dir).and_then(|state| Client::connect(&state).ok());
    let mut recording = Recording::open(dir)?;
    if let Some(client) = &mut client {
        if recording.meta.options.mode == "flight" {
            // What has been overwritten so far shows only in what the kernel has now.
            client.flush(FLUSH_PATIENCE)?;
            recording = Recording::open(dir)?;
        }
        client.follow()?;
    }
    recording.find_start()?;
    let mut stream = recording.stream(Tail::Wait)?;
    let filter = Filter { with_runtime, ..Filter::of(&recording.meta) };
    let options = Options { filter, colour, ..Options::default() };
    let mut live = Some(Live::text(&recording.meta, &options, output)?);
    loop {
        let reply = match &mut client {
            Some(client) => client.reply(PATIENCE)?,
            None => Reply::Gone,
        };
        let go_on = idle();
        let until = match reply {
            Reply::At(ts) => ts,
            Reply::Done | Reply::Gone => u64::MAX,
            Reply::Timeout => continue,
        };
        if let Some(printer) = &mut live {
            printer.follow(&mut stream, until)?;
            if until < u64::MAX && !printer.batch_done()? {
                // Nobody reads any more; the recording goes on all the same.
                live = None;
                if !go_on {
                    return Ok(exit::OK);
                }
            }
        }
        if until == u64::MAX {
            break;
        }
    }
    if let Some(printer) = live {
        printer.finish()?;
    }
    let meta = Recording::read_meta(dir)?;
    let partial = meta.end_state() == EndState::Cut || (meta.lost() > 0 && meta.options.mode != "flight");
    Ok(if partial { exit::PARTIAL } else { exit::OK })
}

/// What came of a recording that was printed, where it is not whole.
pub fn tell_losses(dir: &Path) -> Result<()> {
    let meta = Recording::read_meta(dir)?;
    if meta.lost() > 0 && meta.options.mode != "flight" {
        let written = meta.written().unwrap_or(0);
        out::note(&format!(
            "ftrace-analyzer: {} of {written} events were lost; --buffer-size-kb gives more room\n",
            meta.lost()
        ));
    }
    tell_unfiltered(&meta);
    if meta.end_state() == EndState::Cut {
        out::note(&format!("ftrace-analyzer: the recording is cut short: {}\n", out::shown(&meta.end_reason)));
    }
    Ok(())
}

/// That the kernel did not take the filter, or has no means to tell buffers, where it is so.
pub fn tell_unfiltered(meta: &Meta) {
    let wanted = |note: &&String| [FILTER_NOTE, DATA_NOTE].iter().any(|begin| note.starts_with(begin));
    for note in meta.problems.iter().filter(wanted) {
        out::note(&["ftrace-analyzer: ", &out::shown(note), "\n"].concat());
    }
}

pub fn main(args: &Args<'_>) -> Result<u8> {
    let state = find_running(args.word.unwrap_or_default())?;
    read_as_owner(Path::new(&state.recording));
    needs_events(&Recording::open(Path::new(&state.recording))?)?;
    let how = (args.has(Opt::WithRuntime), out::colour(args, Stdio::Out)?);
    let code = print(Path::new(&state.recording), Box::new(Stdio::Out), how, &mut || false)?;
    tell_losses(Path::new(&state.recording))?;
    Ok(code)
}
