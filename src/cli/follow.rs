// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `follow`: a running recording as it grows; also what `run` prints.
//!
//! The recorder says ten times a second up to which time everything is on disk; up to there the files are merged and
//! printed. A reader that is slow, or goes away, costs the recording nothing.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use super::args::Follow;
use super::out;
use crate::error::{exit, Result};
use crate::recorder::{find_running, running, Client, Reply, RunState, Spawned};
use crate::recording::{Recording, Tail};

/// How long a word of the recorder is waited for before `idle` is called again.
const PATIENCE: Duration = Duration::from_millis(200);

fn state_of(dir: &Path) -> Option<RunState> {
    running().into_iter().find(|state| Path::new(&state.recording) == dir)
}

/// Waits until the recorder has completed its recording.
pub fn wait_end(recorder: &Spawned) {
    let Some(mut client) = state_of(&recorder.dir).and_then(|state| Client::connect(&state).ok()) else { return };
    if client.follow().is_err() {
        return;
    }
    loop {
        match client.reply(Duration::from_secs(3600)) {
            Ok(Reply::At(_) | Reply::Timeout) => {}
            Ok(Reply::Done | Reply::Gone) | Err(_) => return,
        }
    }
}

/// Prints the recording in `dir` until its recorder ends; calls `idle` at least five times a second.
pub fn print(dir: &Path, mut output: Box<dyn Write>, with_runtime: bool, idle: &mut dyn FnMut()) -> Result<u8> {
    let _ = (with_runtime, &mut output);
    let mut client = match state_of(dir) {
        Some(state) => Client::connect(&state).ok(),
        None => None,
    };
    if let Some(client) = &mut client {
        client.follow()?;
    }
    let recording = Recording::open(dir)?;
    let mut stream = recording.stream(Tail::Wait)?;
    loop {
        let reply = match &mut client {
            Some(client) => client.reply(PATIENCE)?,
            None => Reply::Gone,
        };
        idle();
        match reply {
            Reply::At(ts) => {
                let _ = stream.run(ts, |_| std::ops::ControlFlow::Continue(()))?;
            }
            Reply::Timeout => {}
            Reply::Done | Reply::Gone => {
                let _ = stream.run(u64::MAX, |_| std::ops::ControlFlow::Continue(()))?;
                break;
            }
        }
    }
    let recording = Recording::open(dir)?;
    out::note(&format!("{:?}\n{:?}\n", stream.counts(), recording.conservation(&stream.counts())));
    Ok(exit::OK)
}

pub fn main(args: &Follow) -> Result<u8> {
    let state = find_running(&args.id)?;
    print(Path::new(&state.recording), out::open(None)?, args.with_runtime, &mut || {})
}
