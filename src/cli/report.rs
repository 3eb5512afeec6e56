// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `report`: a recording as text, summary or JSON; also one that still runs.

use std::io::IsTerminal;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use super::args::Report;
use super::{out, select};
use crate::error::{exit, Error, Result};
use crate::recorder::{running, Client};
use crate::recording::{EndState, Recording};
use crate::report::{self, parse_duration, parse_time, Filter, Options, Outcome, SyscallList};

/// How long a running recorder may take to store what the kernel's buffers hold.
const FLUSH_PATIENCE: Duration = Duration::from_secs(10);

/// The forms a recording can be shown in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Text,
    Summary,
    Json,
}

fn format_of(args: &Report) -> Result<Format> {
    match args.format.as_str() {
        "text" if args.json => Ok(Format::Json),
        "text" => Ok(Format::Text),
        "summary" => Ok(Format::Summary),
        "json" => Ok(Format::Json),
        other => Err(Error::usage(format!("there is no format {other:?}")).hint("write text, summary or json")),
    }
}

/// Opens the recording; one that still runs is brought up to date first.
fn open(dir: &Path) -> Result<Recording> {
    bring_up_to_date(dir)?;
    let mut recording = Recording::open(dir)?;
    recording.find_start()?;
    Ok(recording)
}

fn bring_up_to_date(dir: &Path) -> Result<()> {
    let recording = Recording::open(dir)?;
    if recording.meta.end_state() != EndState::Running {
        return Ok(());
    }
    let Some(state) = running().into_iter().find(|state| Path::new(&state.recording) == recording.dir) else {
        return Ok(());
    };
    // A recorder that ends just now closes the connection, and has stored everything.
    if let Ok(mut client) = Client::connect(&state) {
        client.flush(FLUSH_PATIENCE)?;
    }
    Ok(())
}

fn filter_of(args: &Report, recording: &Recording) -> Result<Filter> {
    let meta = &recording.meta;
    let syscalls = match &args.syscalls {
        None => None,
        Some(list) => {
            let arch = meta
                .arch()
                .ok_or_else(|| Error::unsupported(format!("system call tables for {}", meta.host.machine)))?;
            Some(SyscallList::parse(list, arch)?)
        }
    };
    let time = |text: &Option<String>| text.as_ref().map(|text| parse_time(text, meta, 0)).transpose();
    Ok(Filter {
        syscalls,
        errors_only: args.errors_only,
        pid: args.pid,
        comm: args.comm.as_ref().map(|comm| comm.as_bytes().to_vec()),
        since: time(&args.since)?,
        until: time(&args.until)?,
        min_duration: args.min_duration.as_deref().map(parse_duration).transpose()?,
        with_runtime: args.with_runtime && !args.container_only,
    })
}

fn code_of(outcome: &Outcome) -> u8 {
    if outcome.is_partial() {
        exit::PARTIAL
    } else {
        exit::OK
    }
}

/// `hook stop --report`: the whole recording as text.
pub fn write_text(dir: &Path, to: &Path) -> Result<()> {
    let recording = open(dir)?;
    let mut output = out::open(Some(to))?;
    let options = Options { footer: true, ..Options::default() };
    report::text(&recording, &options, &mut output)?;
    output.flush().map_err(|why| Error::io("write", to, why))
}

pub fn main(args: &Report) -> Result<u8> {
    let format = format_of(args)?;
    let dir = select::find_recording(&args.dir, args.recording.as_deref())?;
    let recording = open(&dir)?;
    let options = Options { filter: filter_of(args, &recording)?, utc_offset_s: 0, footer: true };
    let mut output = out::open(args.output.as_deref())?;
    let outcome = match format {
        Format::Text => report::text(&recording, &options, &mut output)?,
        Format::Json => report::json(&recording, &options, &mut output)?,
        Format::Summary if args.json => report::summary_json(&recording, &options, &mut output)?,
        Format::Summary => report::summary(&recording, &options, &mut output)?,
    };
    out::forgive_closed(output.flush())?;
    if args.output.is_some() && std::io::stderr().is_terminal() {
        out::note(&format!("{} lines of {}\n", outcome.shown, dir.display()));
    }
    Ok(code_of(&outcome))
}
