// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `report`: a recording as text, summary or JSON; also one that still runs.

use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::Path;

use super::args::{self, bad_value, Args, Opt};
use super::{out, select};
use crate::error::{exit, Error, Quoted, Result};
use crate::recorder::{running, Client};
use crate::recording::{EndState, Recording};
use crate::report::{self, parse_duration, parse_time, Filter, Options, Outcome};
use crate::sys::Stdio;

/// How long a running recorder may take to store what the kernel's buffers hold.
const FLUSH_PATIENCE: u64 = 10_000;

/// The forms a recording can be shown in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Text,
    Summary,
    Json,
    TraceDat,
    Perfetto,
}

impl Format {
    /// Whether it is for programs alone.
    fn is_binary(self) -> bool {
        matches!(self, Format::TraceDat | Format::Perfetto)
    }
}

fn format_of(args: &Args<'_>) -> Result<Format> {
    match args.get(Opt::Format).unwrap_or("text") {
        "text" if args.has(Opt::Json) => Ok(Format::Json),
        "text" => Ok(Format::Text),
        "summary" => Ok(Format::Summary),
        "json" => Ok(Format::Json),
        "trace-dat" => Ok(Format::TraceDat),
        "perfetto" => Ok(Format::Perfetto),
        other => Err(Error::usage(format!("there is no format {}", Quoted(other)))
            .hint("write text, summary, json, trace-dat or perfetto")),
    }
}

/// Opens the recording; one that still runs is brought up to date first. Also tells whether it was cut short by the death
/// of its recorder.
pub fn open(dir: &Path) -> Result<(Recording, bool)> {
    let killed = bring_up_to_date(dir)?;
    let mut recording = Recording::open(dir)?;
    recording.find_start()?;
    Ok((recording, killed))
}

fn bring_up_to_date(dir: &Path) -> Result<bool> {
    if Recording::read_meta(dir)?.end_state() != EndState::Running {
        return Ok(false);
    }
    let Some(state) = running().into_iter().find(|state| select::is_same(Path::new(&state.recording), dir)) else {
        // It may have ended between our two looks.
        return Ok(Recording::read_meta(dir)?.end_state() == EndState::Running);
    };
    // A recorder that ends just now closes the connection, and has stored everything.
    if let Ok(mut client) = Client::connect(&state) {
        client.flush(FLUSH_PATIENCE)?;
    }
    Ok(false)
}

fn filter_of(args: &Args<'_>, recording: &Recording) -> Result<Filter> {
    let meta = &recording.meta;
    let syscalls = match args.get(Opt::Syscalls) {
        None => None,
        Some(list) => {
            let arch = meta
                .arch()
                .ok_or_else(|| Error::unsupported(format!("system call tables for {}", meta.host.machine)))?;
            Some(Box::new(args::syscall_list(list, arch)?))
        }
    };
    let pid = match args.get(Opt::Pid) {
        None => None,
        Some(word) => Some(
            crate::words::number(word)
                .and_then(|pid| crate::ids::Pid::try_from(pid).ok())
                .ok_or_else(|| bad_value(Opt::Pid, word, "is no number of a task"))?,
        ),
    };
    let time = |option| match args.get(option) {
        None => Ok(None),
        Some(word) => parse_time(word, meta, 0).map(Some),
    };
    Ok(Filter {
        syscalls,
        errors_only: args.has(Opt::ErrorsOnly),
        pid,
        comm: args.get(Opt::Comm).map(|comm| comm.as_bytes().to_vec()),
        since: time(Opt::Since)?,
        until: time(Opt::Until)?,
        min_duration: args.get(Opt::MinDuration).map(parse_duration).transpose()?,
        with_runtime: args.has(Opt::WithRuntime) && !args.has(Opt::ContainerOnly),
        ..Filter::of(meta)
    })
}

fn code_of(outcome: &Outcome, killed: bool) -> u8 {
    if killed && !outcome.closed || outcome.is_partial() {
        exit::PARTIAL
    } else {
        exit::OK
    }
}

/// Everything there is, for people.
fn whole(recording: &Recording) -> Options {
    Options { filter: Filter::of(&recording.meta), footer: true, ..Options::default() }
}

/// `hook stop --report`: the whole recording as text.
pub fn write_text(dir: &Path, to: &Path) -> Result<()> {
    let (recording, _) = open(dir)?;
    // Written by root on a container's behalf: what it holds is not for everybody, and no link may lead it elsewhere.
    let mut output = out::create_private(to).map_err(|why| Error::io("create", to, why))?;
    report::text(&recording, &whole(&recording), &mut output).map(|_| ())
}

/// The whole recording as text, as `run` shows it at the end of a flight recording.
pub fn print_text(dir: &Path, to: &mut dyn Write, colour: bool) -> Result<()> {
    let (recording, _) = open(dir)?;
    report::text(&recording, &Options { colour, ..whole(&recording) }, to).map(|_| ())
}

/// What does not go together with a binary form.
fn check_binary(args: &Args<'_>, format: Format) -> Result<()> {
    if !format.is_binary() {
        return Ok(());
    }
    if !args.has(Opt::Output) && std::io::stdout().is_terminal() {
        return Err(Error::usage("this format is not for terminals".to_owned()).hint("name a file: -o FILE"));
    }
    use Opt::{Comm, ContainerOnly, ErrorsOnly, Json, MinDuration, Pid, Since, Syscalls, Until};
    let filters = [Json, Syscalls, ErrorsOnly, Pid, Comm, Since, Until, MinDuration, ContainerOnly];
    // The first is no filter, and no binary form knows it.
    let known = if format == Format::TraceDat { filters.len() } else { 1 };
    match filters.iter().take(known).find(|option| args.has(**option)).map(|option| args::name(*option)) {
        None => Ok(()),
        Some(name) if format == Format::TraceDat => {
            Err(Error::usage(format!("{name} does not go with trace-dat, which holds the kernel's own data whole"))
                .hint("trace-cmd report and KernelShark have filters of their own"))
        }
        Some(name) => Err(Error::usage(format!("{name} does not go with perfetto"))),
    }
}

pub fn main(args: &Args<'_>) -> Result<u8> {
    let format = format_of(args)?;
    check_binary(args, format)?;
    if format == Format::Summary && args.has(Opt::MergeLog) {
        return Err(Error::usage("--merge-log is for the formats text and json"));
    }
    let dir = select::find_recording(&args::dir(args), args.word)?;
    let (recording, killed) = open(&dir)?;
    let options = Options {
        filter: filter_of(args, &recording)?,
        utc_offset_s: 0,
        footer: true,
        colour: out::colour(args, Stdio::Out)?,
        logs: args.logs.iter().map(|path| path.into()).collect(),
    };
    let mut output = out::open(args.get(Opt::Output), Stdio::Out)?;
    let outcome = match format {
        Format::Text => report::text(&recording, &options, &mut *output)?,
        Format::Json => report::json(&recording, &options, &mut *output)?,
        Format::Summary if args.has(Opt::Json) => report::summary_json(&recording, &options, &mut *output)?,
        Format::Summary => report::summary(&recording, &options, &mut *output)?,
        Format::TraceDat => report::trace_dat(&recording, &options, &mut *output)?,
        Format::Perfetto => report::perfetto(&recording, &options, &mut *output)?,
    };
    if format.is_binary() && outcome.is_partial() {
        out::note(&String::from_utf8_lossy(&report::remarks(&recording, &options, &outcome)));
    }
    if args.has(Opt::Output) && Stdio::Err.as_fd().is_terminal() {
        out::note(&format!("{} lines of {}\n", outcome.shown, dir.display()));
    }
    Ok(code_of(&outcome, killed))
}
