// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The verbs and their options, as argh reads and explains them.
//!
//! argh has no shared groups of options, so the record options are written once, in a macro, and put into each verb
//! that records.

use std::path::PathBuf;

use argh::FromArgs;

use super::units::{parse_size, parse_time};
use crate::recorder::{Mode, RecordOptions, DIR_DEFAULT, MAX_SIZE_DEFAULT};

/// Where recordings lie: `FTRACE_ANALYZER_DIR`, else /var/lib/ftrace-analyzer.
pub fn default_dir() -> PathBuf {
    std::env::var_os("FTRACE_ANALYZER_DIR")
        .filter(|dir| !dir.is_empty())
        .map_or_else(|| DIR_DEFAULT.into(), PathBuf::from)
}

fn parse_mode(text: &str) -> Result<Mode, String> {
    Mode::from_name(text).ok_or_else(|| format!("{text:?} is not a mode; there are continuous and flight"))
}

fn parse_buffer(text: &str) -> Result<u64, String> {
    match text.parse() {
        // A sub-buffer of 64 KiB and one to read it with must fit, and no machine has more than 4 TiB to give.
        Ok(kb @ 128..=4_294_967_296) => Ok(kb),
        _ => Err(format!("{text:?} is not a buffer size; write KiB per CPU, 128 or more")),
    }
}

/// What a container does not have to carry, or has to: `KEY` or `KEY=VALUE`.
fn parse_condition(text: &str) -> Result<(String, Option<String>), String> {
    let (key, value) = match text.split_once('=') {
        Some((key, value)) => (key, Some(value.to_owned())),
        None => (text, None),
    };
    if key.is_empty() {
        return Err(format!("{text:?} has no key; write KEY or KEY=VALUE"));
    }
    Ok((key.to_owned(), value))
}

macro_rules! record_verb {
    ($(#[$meta:meta])* $name:ident { $($extra:tt)* }) => {
        #[derive(FromArgs, Debug)]
        $(#[$meta])*
        pub struct $name {
            /// continuous: drain all the time (default); flight: keep only the newest calls in kernel memory and save
            /// them at the end, on a crash, or on report
            #[argh(option, from_str_fn(parse_mode), default = "Mode::Continuous", arg_name = "mode")]
            pub mode: Mode,
            /// ring buffer per CPU in KiB (default: 1408 for hooks, 4096 for run and attach, less where memory is short)
            #[argh(option, from_str_fn(parse_buffer), arg_name = "kib")]
            pub buffer_size_kb: Option<u64>,
            /// limit of the recording in bytes, or with K, M, G (default 256M, 0: none); the oldest goes first
            #[argh(option, from_str_fn(parse_size), default = "MAX_SIZE_DEFAULT", arg_name = "size")]
            pub max_size: u64,
            /// limit of the recording's age in seconds, or with m, h, d (default none); the oldest goes first
            #[argh(option, from_str_fn(parse_time), default = "0", arg_name = "time")]
            pub max_age: u64,
            /// label of the recording (default: container or command name)
            #[argh(option, arg_name = "text")]
            pub name: Option<String>,
            /// where recordings lie (default $FTRACE_ANALYZER_DIR, else /var/lib/ftrace-analyzer)
            #[argh(option, default = "default_dir()", arg_name = "dir")]
            pub dir: PathBuf,
            $($extra)*
        }

        impl $name {
            /// The record options among these.
            pub fn record_options(&self) -> RecordOptions {
                RecordOptions {
                    mode: self.mode,
                    buffer_size_kb: self.buffer_size_kb,
                    max_size: self.max_size,
                    max_age_s: self.max_age,
                    name: self.name.clone(),
                    dir: self.dir.clone(),
                }
            }
        }
    };
}

/// Trace what a container (or a command) asks the kernel for, with ftrace alone.
#[derive(FromArgs, Debug)]
#[argh(
    example = "ftrace-analyzer run -- ls /",
    example = "ftrace-analyzer report --format summary",
    note = "Recordings lie in /var/lib/ftrace-analyzer, hooks say what went wrong in /run/ftrace-analyzer/hook.log.",
    error_code(0, "done"),
    error_code(1, "failed"),
    error_code(2, "wrong usage"),
    error_code(3, "this kernel or system lacks a feature, which the message names"),
    error_code(4, "done, but data was lost or is partial")
)]
pub struct Top {
    #[argh(subcommand)]
    pub verb: Verb,
}

#[derive(FromArgs, Debug)]
#[argh(subcommand)]
pub enum Verb {
    Hook(Hook),
    Run(Run),
    Attach(Attach),
    Follow(Follow),
    Stop(Stop),
    List(List),
    Report(Report),
    Doctor(Doctor),
    Gc(Gc),
}

impl Verb {
    /// As it is written.
    pub fn name(&self) -> &'static str {
        match self {
            Verb::Hook(_) => "hook",
            Verb::Run(_) => "run",
            Verb::Attach(_) => "attach",
            Verb::Follow(_) => "follow",
            Verb::Stop(_) => "stop",
            Verb::List(_) => "list",
            Verb::Report(_) => "report",
            Verb::Doctor(_) => "doctor",
            Verb::Gc(_) => "gc",
        }
    }
}

/// Be an OCI hook: start a recorder before the container's process runs, end it when the container has stopped.
#[derive(FromArgs, Debug)]
#[argh(
    subcommand,
    name = "hook",
    example = "\"hooks\": {{\"createRuntime\": [{{\"path\": \"/usr/bin/ftrace-analyzer\", \"args\": [\"ftrace-analyzer\", \"hook\", \"start\"]}}]}}",
    example = "ftrace-analyzer hook stop < state.json",
    error_code(0, "always, unless --strict is given; why is written to /run/ftrace-analyzer/hook.log")
)]
pub struct Hook {
    #[argh(subcommand)]
    pub verb: HookVerb,
}

#[derive(FromArgs, Debug)]
#[argh(subcommand)]
pub enum HookVerb {
    Start(HookStart),
    Stop(HookStop),
}

record_verb! {
    /// As prestart or createRuntime hook: begin to record the container whose state comes on standard input. Returns
    /// when tracing is on.
    #[argh(
        subcommand,
        name = "start",
        example = "ftrace-analyzer hook start --mode flight < state.json",
        example = "ftrace-analyzer hook start --if-annotation ftrace-analyzer/trace=true < state.json",
        error_code(0, "always, unless --strict is given")
    )]
    HookStart {
        /// do nothing unless the container carries this annotation: KEY or KEY=VALUE
        #[argh(option, from_str_fn(parse_condition), arg_name = "cond")]
        pub if_annotation: Option<(String, Option<String>)>,
        /// a failure keeps the container from starting
        #[argh(switch)]
        pub strict: bool,
    }
}

/// As poststop hook: complete the recording of the container whose state comes on standard input.
#[derive(FromArgs, Debug)]
#[argh(
    subcommand,
    name = "stop",
    example = "ftrace-analyzer hook stop < state.json",
    example = "ftrace-analyzer hook stop --report /var/log/demo.calls < state.json",
    error_code(0, "always, unless --strict is given")
)]
pub struct HookStop {
    /// write the recording as text to this file (absolute path)
    #[argh(option, arg_name = "file")]
    pub report: Option<PathBuf>,
    /// where recordings lie (default $FTRACE_ANALYZER_DIR, else /var/lib/ftrace-analyzer)
    #[argh(option, default = "default_dir()", arg_name = "dir")]
    pub dir: PathBuf,
    /// exit with the failure's code
    #[argh(switch)]
    pub strict: bool,
}

record_verb! {
    /// Trace a command of this machine and its children; prints calls as they happen to standard error.
    #[argh(
        subcommand,
        name = "run",
        example = "ftrace-analyzer run -- ls /",
        example = "ftrace-analyzer run -o calls.txt --max-size 1G -- make",
        note = "The exit status is the command's.",
        error_code(125, "tracing could not be started"),
        error_code(126, "the command could not be executed"),
        error_code(127, "the command was not found")
    )]
    Run {
        /// print the calls to this file instead of standard error
        #[argh(option, short = 'o', arg_name = "file")]
        pub output: Option<PathBuf>,
        /// print no calls, only record
        #[argh(switch, short = 'q')]
        pub quiet: bool,
        /// the command and its arguments; put -- in front
        #[argh(positional, greedy)]
        pub command: Vec<String>,
    }
}

record_verb! {
    /// Trace what already runs, until Ctrl-C, stop, or its end.
    #[argh(
        subcommand,
        name = "attach",
        example = "ftrace-analyzer attach demo",
        example = "ftrace-analyzer attach pid:1234 --max-age 1h",
        error_code(4, "done, but data was lost")
    )]
    Attach {
        /// a container id or the unique beginning of one, or pid:N for a process
        #[argh(positional)]
        pub target: String,
    }
}

/// Print a running recording as it grows, like tail -f.
#[derive(FromArgs, Debug)]
#[argh(
    subcommand,
    name = "follow",
    example = "ftrace-analyzer follow demo",
    example = "ftrace-analyzer follow demo | grep EACCES"
)]
pub struct Follow {
    /// container id, label or recording; the unique beginning of one
    #[argh(positional)]
    pub id: String,
    /// show the runtime's own set-up before the container's execve, too
    #[argh(switch)]
    pub with_runtime: bool,
}

/// End a running recording; the traced tasks go on.
#[derive(FromArgs, Debug)]
#[argh(
    subcommand,
    name = "stop",
    example = "ftrace-analyzer stop demo",
    example = "ftrace-analyzer stop demo && ftrace-analyzer report demo",
    error_code(4, "done, but data was lost")
)]
pub struct Stop {
    /// container id, label or recording; the unique beginning of one
    #[argh(positional)]
    pub id: String,
}

/// List running and finished recordings.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "list", example = "ftrace-analyzer list", example = "ftrace-analyzer list --json")]
pub struct List {
    /// one JSON object a line
    #[argh(switch)]
    pub json: bool,
    /// where recordings lie (default $FTRACE_ANALYZER_DIR, else /var/lib/ftrace-analyzer)
    #[argh(option, default = "default_dir()", arg_name = "dir")]
    pub dir: PathBuf,
}

/// Show a recording, also one that still runs; the newest without a name.
#[derive(FromArgs, Debug)]
#[argh(
    subcommand,
    name = "report",
    example = "ftrace-analyzer report demo --format summary",
    example = "ftrace-analyzer report --errors-only --syscalls openat,execve",
    error_code(4, "done, but data was lost or is partial")
)]
pub struct Report {
    /// container id, label, recording or path of one; the unique beginning of a name
    #[argh(positional)]
    pub recording: Option<String>,
    /// text (default), summary or json
    #[argh(option, default = "String::from(\"text\")", arg_name = "format")]
    pub format: String,
    /// the summary as one JSON object; with text the same as --format json
    #[argh(switch)]
    pub json: bool,
    /// write to this file instead of standard output
    #[argh(option, short = 'o', arg_name = "file")]
    pub output: Option<PathBuf>,
    /// only these calls: names, separated by commas; ! in front of one excludes it
    #[argh(option, arg_name = "list")]
    pub syscalls: Option<String>,
    /// only calls that failed
    #[argh(switch)]
    pub errors_only: bool,
    /// only this task (global thread or process id)
    #[argh(option, arg_name = "n")]
    pub pid: Option<i32>,
    /// only tasks of this name
    #[argh(option, arg_name = "name")]
    pub comm: Option<String>,
    /// from this time on: offset from the start (1.5s) or wall clock (09:24:53, 2026-11-23T09:24:53Z)
    #[argh(option, arg_name = "time")]
    pub since: Option<String>,
    /// up to this time: as --since
    #[argh(option, arg_name = "time")]
    pub until: Option<String>,
    /// only calls that took at least this long (10us, 5ms, 1s)
    #[argh(option, arg_name = "time")]
    pub min_duration: Option<String>,
    /// leave out the runtime's own set-up before the container's execve (the default)
    #[argh(switch)]
    pub container_only: bool,
    /// show the runtime's own set-up, too
    #[argh(switch)]
    pub with_runtime: bool,
    /// where recordings lie (default $FTRACE_ANALYZER_DIR, else /var/lib/ftrace-analyzer)
    #[argh(option, default = "default_dir()", arg_name = "dir")]
    pub dir: PathBuf,
}

/// Tell what this kernel and system can do, what is missing and how to get it.
#[derive(FromArgs, Debug)]
#[argh(
    subcommand,
    name = "doctor",
    example = "ftrace-analyzer doctor",
    example = "ftrace-analyzer doctor --json",
    error_code(3, "the main job can not run here")
)]
pub struct Doctor {
    /// one JSON object
    #[argh(switch)]
    pub json: bool,
    /// where recordings lie (default $FTRACE_ANALYZER_DIR, else /var/lib/ftrace-analyzer)
    #[argh(option, default = "default_dir()", arg_name = "dir")]
    pub dir: PathBuf,
}

/// Remove what killed recorders left (their last events are saved first) and apply limits to the recordings.
#[derive(FromArgs, Debug)]
#[argh(
    subcommand,
    name = "gc",
    example = "ftrace-analyzer gc",
    example = "ftrace-analyzer gc --max-total 1G --max-age 7d"
)]
pub struct Gc {
    /// remove the oldest finished recordings until all take no more than this (default 0: no limit)
    #[argh(option, from_str_fn(parse_size), default = "0", arg_name = "size")]
    pub max_total: u64,
    /// remove finished recordings that are older than this (default 0: no limit)
    #[argh(option, from_str_fn(parse_time), default = "0", arg_name = "time")]
    pub max_age: u64,
    /// where recordings lie (default $FTRACE_ANALYZER_DIR, else /var/lib/ftrace-analyzer)
    #[argh(option, default = "default_dir()", arg_name = "dir")]
    pub dir: PathBuf,
}
