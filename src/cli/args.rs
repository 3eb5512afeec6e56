// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The verbs and their options, as argh reads and explains them.
//!
//! argh has no shared groups of options, so the record options are written once, in a macro, and put into each verb
//! that records.

use core::convert::Infallible;
use core::ops::Deref;
use core::str::FromStr;
use std::path::PathBuf;

use argh::FromArgs;

use super::units::{Scale, DATA, SIZE, TIME};
use crate::arch::Arch;
use crate::error::{Error, Quoted, Result};
use crate::proc;
use crate::recorder::{Mode, RecordOptions, Strings, DIR_DEFAULT, MAX_SIZE_DEFAULT};
use crate::sys::variable;
use crate::syscalls::SyscallList;
use crate::words::quoted;

/// A word of the command line, kept as long as the program runs.
///
/// Every option has this type and is read by its verb: argh then has one way to fill an option, and nothing to drop.
#[derive(Clone, Copy, Debug)]
pub struct Word(&'static str);

impl FromStr for Word {
    type Err = Infallible;

    fn from_str(text: &str) -> core::result::Result<Self, Infallible> {
        Ok(Word(Box::leak(text.into())))
    }
}

impl Deref for Word {
    type Target = str;

    fn deref(&self) -> &str {
        self.0
    }
}

/// Where recordings lie: `--dir`, else `FTRACE_ANALYZER_DIR`, else /var/lib/ftrace-analyzer.
pub fn dir(word: Option<Word>) -> PathBuf {
    match word {
        Some(word) => word.0.into(),
        None => variable("FTRACE_ANALYZER_DIR").map_or_else(|| DIR_DEFAULT.into(), PathBuf::from),
    }
}

/// An option's value that is none, in argh's words.
pub fn bad_value(option: &str, value: &str, why: &str) -> Error {
    Error::usage(format!("Error parsing option '{option}' with value '{value}': {} {why}", Quoted(value)))
        .hint("--help tells what there is")
}

/// An option's number.
pub fn number(option: &str, word: Option<Word>, default: u64, scale: &Scale) -> Result<u64> {
    match word {
        None => Ok(default),
        Some(word) => scale.parse(&word).ok_or_else(|| bad_value(option, &word, scale.wrong)),
    }
}

/// Reads a list of calls.
pub fn syscall_list(list: Word, arch: Arch) -> Result<SyscallList> {
    SyscallList::parse(list.0, arch).map_err(|unknown| {
        let (what, mark) = if unknown.is_class { ("class of system calls ", "%") } else { ("system call ", "") };
        let error = Error::usage(["there is no ", what].concat() + &quoted(&[mark, unknown.word].concat()));
        match unknown.nearest {
            Some(nearest) => error.hint(["did you mean ", mark, nearest, "?"].concat()),
            None if unknown.is_class => error.hint("classes are those of strace, like %file, %network, %process"),
            None => error,
        }
    })
}

/// Kibibytes for each CPU. A sub-buffer of 64 KiB and one to read it with must fit, and no machine has more than 4 TiB
/// to give.
const BUFFER: Scale = Scale {
    units: &[("", 1)],
    capitals: false,
    range: (128, 4_294_967_296),
    wrong: "is not a buffer size; write KiB per CPU, 128 or more",
};

/// The options of what is recorded, as they stand in [`record_verb`].
fn record_options(
    [mode, buffer, max_size, max_age, name, strings, data, base, list]: [Option<Word>; 9],
    errors_only: bool,
) -> Result<RecordOptions> {
    let mode = match mode {
        None => Mode::Continuous,
        Some(word) => Mode::from_name(&word)
            .ok_or_else(|| bad_value("--mode", &word, "is not a mode; there are continuous, flight and count"))?,
    };
    // On a machine without tables the recorder says so.
    if let (Some(list), (Some(arch), ..)) = (list, proc::uname()) {
        syscall_list(list, arch)?;
    }
    Ok(RecordOptions {
        mode,
        buffer_size_kb: Some(number("--buffer-size-kb", buffer, 0, &BUFFER)?).filter(|kb| *kb > 0),
        max_size: number("--max-size", max_size, MAX_SIZE_DEFAULT, &SIZE)?,
        max_age_s: number("--max-age", max_age, 0, &TIME)?,
        syscalls: list.map(|word| word.0.to_owned()),
        errors_only,
        name: name.map(|word| word.0.to_owned()),
        strings: match strings {
            None => Strings::Auto,
            Some(word) => Strings::from_name(&word)
                .ok_or_else(|| bad_value("--strings", &word, "is none of auto, off, copies, events and probes"))?,
        },
        data: number("--data", data, 0, &DATA)?,
        dir: dir(base),
    })
}

macro_rules! record_verb {
    ($(#[$meta:meta])* $name:ident { $($extra:tt)* }) => {
        #[derive(FromArgs, Debug)]
        $(#[$meta])*
        pub struct $name {
            /// continuous (default): store everything as it happens; flight: keep the newest calls in kernel memory,
            /// store them at the end or when report asks; count: only how often each call was made and failed
            #[argh(option, arg_name = "mode")]
            pub mode: Option<Word>,
            /// ring buffer per CPU in KiB, 128 or more (default: 1408 for hooks, 4096 for run and attach; less where
            /// memory is short)
            #[argh(option, arg_name = "kib")]
            pub buffer_size_kb: Option<Word>,
            /// size limit of the recording: bytes, or a number with K, M or G (default 256M; 0: no limit); the oldest
            /// part is removed first
            #[argh(option, arg_name = "size")]
            pub max_size: Option<Word>,
            /// age limit of what is kept: seconds, or a number with m, h or d (default 0: no limit); the oldest part is
            /// removed first
            #[argh(option, arg_name = "time")]
            pub max_age: Option<Word>,
            /// label of the recording (default: container id or command name)
            #[argh(option, arg_name = "text")]
            pub name: Option<Word>,
            /// contents of string arguments: auto (default), off, or one means: copies (kernel's copies of paths), events
            /// (Linux 6.19), probes (on events)
            #[argh(option, arg_name = "means")]
            pub strings: Option<Word>,
            /// record this much of each buffer read or written, and socket addresses: 8 to 512 bytes, secrets or not
            /// (default: nothing)
            #[argh(option, arg_name = "n")]
            pub data: Option<Word>,
            /// directory of the recordings (default: $FTRACE_ANALYZER_DIR, else /var/lib/ftrace-analyzer)
            #[argh(option, arg_name = "dir")]
            pub dir: Option<Word>,
            /// only these calls: names and %classes separated by commas, ! in front leaves out (default: all)
            #[argh(option, arg_name = "list")]
            pub syscalls: Option<Word>,
            /// only calls that fail
            #[argh(switch)]
            pub errors_only: bool,
            $($extra)*
        }

        impl $name {
            /// The record options among these.
            pub fn record_options(&self) -> Result<RecordOptions> {
                let Self {
                    mode, buffer_size_kb, max_size, max_age, name, strings, data, dir, syscalls, errors_only, ..
                } = *self;
                record_options(
                    [mode, buffer_size_kb, max_size, max_age, name, strings, data, dir, syscalls],
                    errors_only,
                )
            }
        }
    };
}

/// Trace what a container (or a command) asks the kernel for, with ftrace alone.
#[derive(FromArgs, Debug)]
#[argh(
    example = "ftrace-analyzer run -- ls /",
    example = "ftrace-analyzer report --format summary",
    note = "Recordings are kept in /var/lib/ftrace-analyzer. \
            Hooks write what went wrong to /run/ftrace-analyzer/hook.log.",
    note = "--version prints version, target and build profile.",
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

/// Act as an OCI hook: start a recorder before the container's process runs, end it when the container has stopped.
#[derive(FromArgs, Debug)]
#[argh(
    subcommand,
    name = "hook",
    example = "\"hooks\": {{\"createRuntime\": [{{\"path\": \"/usr/bin/ftrace-analyzer\", \
               \"args\": [\"ftrace-analyzer\", \"hook\", \"start\"]}}]}}",
    example = "ftrace-analyzer hook stop < state.json",
    note = "A failure is written to /run/ftrace-analyzer/hook.log and, where there is one, to the system log.",
    error_code(0, "always, unless --strict is given"),
    error_code(1, "failed, with --strict"),
    error_code(2, "wrong usage, with --strict"),
    error_code(3, "this kernel or system lacks a feature, with --strict")
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
    /// As prestart or createRuntime hook: record the container whose state is given on standard input; returns when
    /// tracing is on.
    #[argh(
        subcommand,
        name = "start",
        example = "ftrace-analyzer hook start --mode flight < state.json",
        example = "ftrace-analyzer hook start --if-annotation ftrace-analyzer/trace=true < state.json",
        note = "The annotation ftrace-analyzer/trace=false keeps a container from being recorded, \
                ftrace-analyzer/mode chooses the mode.",
        error_code(0, "always, unless --strict is given"),
        error_code(1, "failed, with --strict"),
        error_code(2, "wrong usage, with --strict"),
        error_code(3, "this kernel or system lacks a feature, with --strict")
    )]
    HookStart {
        /// record only a container that carries this annotation: KEY or KEY=VALUE
        #[argh(option, arg_name = "cond")]
        pub if_annotation: Option<Word>,
        /// exit with the failure's code, which keeps the container from starting
        #[argh(switch)]
        pub strict: bool,
    }
}

/// As poststop hook: complete the recording of the container whose state is given on standard input.
#[derive(FromArgs, Debug)]
#[argh(
    subcommand,
    name = "stop",
    example = "ftrace-analyzer hook stop < state.json",
    example = "ftrace-analyzer hook stop --report /var/log/demo.calls < state.json",
    error_code(0, "always, unless --strict is given"),
    error_code(1, "failed, with --strict"),
    error_code(2, "wrong usage, with --strict")
)]
pub struct HookStop {
    /// also write the recording as text to this file (an absolute path)
    #[argh(option, arg_name = "file")]
    pub report: Option<Word>,
    /// directory of the recordings (default: $FTRACE_ANALYZER_DIR, else /var/lib/ftrace-analyzer)
    #[argh(option, arg_name = "dir")]
    pub dir: Option<Word>,
    /// exit with the failure's code
    #[argh(switch)]
    pub strict: bool,
}

record_verb! {
    /// Trace a command of this machine and its children, and print their calls to standard error as they happen.
    #[argh(
        subcommand,
        name = "run",
        example = "ftrace-analyzer run -- ls /",
        example = "ftrace-analyzer run -o calls.txt --max-size 1G -- make",
        note = "The exit status is the command's; 128 and the signal's number if a signal ended it.",
        error_code(2, "wrong usage"),
        error_code(125, "no command was given, or tracing could not be started"),
        error_code(126, "the command could not be executed"),
        error_code(127, "the command was not found")
    )]
    Run {
        /// print the calls to this file instead of standard error
        #[argh(option, short = 'o', arg_name = "file")]
        pub output: Option<Word>,
        /// colours: auto (default: on a terminal, unless NO_COLOR is set), always or never
        #[argh(option, arg_name = "when")]
        pub color: Option<Word>,
        /// print no calls, only record
        #[argh(switch, short = 'q')]
        pub quiet: bool,
        /// the command and its arguments, behind --
        #[argh(positional, greedy)]
        pub command: Vec<Word>,
    }
}

record_verb! {
    /// Trace a container or process that already runs, until Ctrl-C, ftrace-analyzer stop, or its end.
    #[argh(
        subcommand,
        name = "attach",
        example = "ftrace-analyzer attach demo",
        example = "ftrace-analyzer attach pid:1234 --max-age 1h",
        error_code(0, "done"),
        error_code(1, "failed"),
        error_code(2, "wrong usage"),
        error_code(3, "this kernel or system lacks a feature"),
        error_code(4, "done, but data was lost or is partial")
    )]
    Attach {
        /// a container id or the unique beginning of one; or pid:N, the process with this number
        #[argh(positional)]
        pub target: Word,
    }
}

/// Print the calls of a running recording as they happen, like tail -f.
#[derive(FromArgs, Debug)]
#[argh(
    subcommand,
    name = "follow",
    example = "ftrace-analyzer follow demo",
    example = "ftrace-analyzer follow demo | grep EACCES",
    error_code(0, "done"),
    error_code(1, "failed"),
    error_code(2, "wrong usage"),
    error_code(4, "the recording ended, but data was lost or is partial")
)]
pub struct Follow {
    /// container id, label or directory of a running recording, or the unique beginning of its name
    #[argh(positional)]
    pub id: Word,
    /// print the calls of the container runtime's own set-up, too
    #[argh(switch)]
    pub with_runtime: bool,
    /// colours: auto (default: on a terminal, unless NO_COLOR is set), always or never
    #[argh(option, arg_name = "when")]
    pub color: Option<Word>,
}

/// End a running recording; the traced tasks go on.
#[derive(FromArgs, Debug)]
#[argh(
    subcommand,
    name = "stop",
    example = "ftrace-analyzer stop demo",
    example = "ftrace-analyzer stop demo && ftrace-analyzer report demo",
    error_code(0, "done"),
    error_code(1, "failed"),
    error_code(2, "wrong usage"),
    error_code(4, "done, but data was lost or is partial")
)]
pub struct Stop {
    /// container id, label or directory of a running recording, or the unique beginning of its name
    #[argh(positional)]
    pub id: Word,
}

/// List running and finished recordings, the oldest first.
#[derive(FromArgs, Debug)]
#[argh(
    subcommand,
    name = "list",
    example = "ftrace-analyzer list",
    example = "ftrace-analyzer list --json",
    error_code(0, "done"),
    error_code(1, "a recording could not be read; the others are listed"),
    error_code(2, "wrong usage")
)]
pub struct List {
    /// print one JSON object a line instead of a table
    #[argh(switch)]
    pub json: bool,
    /// directory of the recordings (default: $FTRACE_ANALYZER_DIR, else /var/lib/ftrace-analyzer)
    #[argh(option, arg_name = "dir")]
    pub dir: Option<Word>,
}

/// Show a recording, finished or still running; without a name, the newest.
#[derive(FromArgs, Debug)]
#[argh(
    subcommand,
    name = "report",
    example = "ftrace-analyzer report demo --format summary",
    example = "ftrace-analyzer report --errors-only --syscalls openat,execve",
    example = "ftrace-analyzer report demo --format trace-dat -o demo.dat",
    note = "Filters choose what is shown; what was decoded and lost is always counted over the whole recording.",
    error_code(0, "done"),
    error_code(1, "failed"),
    error_code(2, "wrong usage"),
    error_code(3, "the recording is of a machine or a format that this program has no decoder for"),
    error_code(4, "done, but data was lost or is partial")
)]
pub struct Report {
    /// container id, label, name or path of a recording, or the unique beginning of its name
    #[argh(positional)]
    pub recording: Option<Word>,
    /// text (default): a line a call; summary: counts and times a call; json: an object a line; trace-dat: for trace-cmd
    /// and KernelShark, the kernel's data whole; perfetto: for ui.perfetto.dev
    #[argh(option, arg_name = "format")]
    pub format: Option<Word>,
    /// print JSON: with --format summary one object, else the same as --format json
    #[argh(switch)]
    pub json: bool,
    /// write to this file instead of standard output
    #[argh(option, short = 'o', arg_name = "file")]
    pub output: Option<Word>,
    /// only these calls: names and %classes separated by commas, ! in front leaves out
    #[argh(option, arg_name = "list")]
    pub syscalls: Option<Word>,
    /// only calls that failed
    #[argh(switch)]
    pub errors_only: bool,
    /// only this task: a thread, or a process with all its threads (numbers of the initial pid namespace)
    #[argh(option, arg_name = "n")]
    pub pid: Option<Word>,
    /// only tasks of this name
    #[argh(option, arg_name = "name")]
    pub comm: Option<Word>,
    /// from this time on: offset from the start (1.5s, 20ms, 5m) or UTC (09:24:53, 2026-11-23T09:24:53Z)
    #[argh(option, arg_name = "time")]
    pub since: Option<Word>,
    /// up to this time, written as for --since
    #[argh(option, arg_name = "time")]
    pub until: Option<Word>,
    /// only calls that took at least this long (10us, 5ms, 1s; a bare number is seconds)
    #[argh(option, arg_name = "time")]
    pub min_duration: Option<Word>,
    /// leave out the calls of the container runtime's own set-up (the default)
    #[argh(switch)]
    pub container_only: bool,
    /// show the calls of the container runtime's own set-up, too
    #[argh(switch)]
    pub with_runtime: bool,
    /// put the lines of this log among the calls: CRI, Docker's json-file, or lines that begin with an RFC 3339 time; may
    /// be given more than once
    #[argh(option, arg_name = "file")]
    pub merge_log: Vec<Word>,
    /// colours: auto (default: on a terminal, unless NO_COLOR is set), always or never
    #[argh(option, arg_name = "when")]
    pub color: Option<Word>,
    /// directory of the recordings (default: $FTRACE_ANALYZER_DIR, else /var/lib/ftrace-analyzer)
    #[argh(option, arg_name = "dir")]
    pub dir: Option<Word>,
}

/// Tell what this kernel and system can do, what is missing, and how to get it.
#[derive(FromArgs, Debug)]
#[argh(
    subcommand,
    name = "doctor",
    example = "ftrace-analyzer doctor",
    example = "ftrace-analyzer doctor --json",
    error_code(0, "containers can be recorded here"),
    error_code(2, "wrong usage"),
    error_code(3, "containers can not be recorded here")
)]
pub struct Doctor {
    /// print one JSON object instead of text
    #[argh(switch)]
    pub json: bool,
    /// directory of the recordings (default: $FTRACE_ANALYZER_DIR, else /var/lib/ftrace-analyzer)
    #[argh(option, arg_name = "dir")]
    pub dir: Option<Word>,
}

/// Save the last events of killed recorders, remove what they left, and apply limits to the finished recordings.
#[derive(FromArgs, Debug)]
#[argh(
    subcommand,
    name = "gc",
    example = "ftrace-analyzer gc",
    example = "ftrace-analyzer gc --max-total 1G --max-age 7d",
    error_code(0, "done, or nothing to do"),
    error_code(1, "something could not be cleaned up"),
    error_code(2, "wrong usage")
)]
pub struct Gc {
    /// remove the oldest finished recordings until all take no more than this: bytes, or a number with K, M or G
    /// (default 0: no limit)
    #[argh(option, arg_name = "size")]
    pub max_total: Option<Word>,
    /// remove finished recordings that ended longer ago than this: seconds, or a number with m, h or d (default 0: no
    /// limit)
    #[argh(option, arg_name = "time")]
    pub max_age: Option<Word>,
    /// directory of the recordings (default: $FTRACE_ANALYZER_DIR, else /var/lib/ftrace-analyzer)
    #[argh(option, arg_name = "dir")]
    pub dir: Option<Word>,
}
