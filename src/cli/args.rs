// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The options, as argh reads them, and what their values mean.
//!
//! There is one set of options for all verbs: [`super::verbs`] tells which of them a verb takes. argh would make reading and
//! explaining anew for each verb, which took a twelfth of the artefact for the boards.

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

/// What stands behind a verb. `src/cli/help/` explains it to the user.
#[derive(FromArgs, Debug)]
pub struct Args {
    /// what the recorder keeps
    #[argh(option)]
    pub mode: Option<Word>,
    /// ring buffer of each CPU
    #[argh(option)]
    pub buffer_size_kb: Option<Word>,
    /// limit of a recording
    #[argh(option)]
    pub max_size: Option<Word>,
    /// limit of what is kept
    #[argh(option)]
    pub max_age: Option<Word>,
    /// limit of all recordings
    #[argh(option)]
    pub max_total: Option<Word>,
    /// label
    #[argh(option)]
    pub name: Option<Word>,
    /// means for the contents of strings
    #[argh(option)]
    pub strings: Option<Word>,
    /// bytes of each buffer
    #[argh(option)]
    pub data: Option<Word>,
    /// where recordings lie
    #[argh(option)]
    pub dir: Option<Word>,
    /// calls
    #[argh(option)]
    pub syscalls: Option<Word>,
    /// what a container carries to be recorded
    #[argh(option)]
    pub if_annotation: Option<Word>,
    /// where the text goes when the container has stopped
    #[argh(option)]
    pub report: Option<Word>,
    /// where the output goes
    #[argh(option, short = 'o')]
    pub output: Option<Word>,
    /// when to colour
    #[argh(option)]
    pub color: Option<Word>,
    /// form of the report
    #[argh(option)]
    pub format: Option<Word>,
    /// thread or process
    #[argh(option)]
    pub pid: Option<Word>,
    /// name of a task
    #[argh(option)]
    pub comm: Option<Word>,
    /// first moment
    #[argh(option)]
    pub since: Option<Word>,
    /// last moment
    #[argh(option)]
    pub until: Option<Word>,
    /// shortest time of a call
    #[argh(option)]
    pub min_duration: Option<Word>,
    /// only calls that fail
    #[argh(switch)]
    pub errors_only: bool,
    /// whether a failure is the exit code of a hook
    #[argh(switch)]
    pub strict: bool,
    /// whether to print nothing
    #[argh(switch, short = 'q')]
    pub quiet: bool,
    /// with the container runtime's own calls
    #[argh(switch)]
    pub with_runtime: bool,
    /// without the container runtime's own calls
    #[argh(switch)]
    pub container_only: bool,
    /// output for programs
    #[argh(switch)]
    pub json: bool,
    /// a file of log lines, each time it is given
    #[argh(option)]
    pub merge_log: Vec<Word>,
    /// what is no option
    #[argh(positional)]
    pub words: Vec<Word>,
}

impl Args {
    /// All options: whether each was given, and its name.
    pub fn options(&self) -> [(bool, &'static str); OPTIONS] {
        [
            (self.mode.is_some(), "--mode"),
            (self.buffer_size_kb.is_some(), "--buffer-size-kb"),
            (self.max_size.is_some(), "--max-size"),
            (self.max_age.is_some(), "--max-age"),
            (self.max_total.is_some(), "--max-total"),
            (self.name.is_some(), "--name"),
            (self.strings.is_some(), "--strings"),
            (self.data.is_some(), "--data"),
            (self.dir.is_some(), "--dir"),
            (self.syscalls.is_some(), "--syscalls"),
            (self.if_annotation.is_some(), "--if-annotation"),
            (self.report.is_some(), "--report"),
            (self.output.is_some(), "--output"),
            (self.color.is_some(), "--color"),
            (self.format.is_some(), "--format"),
            (self.pid.is_some(), "--pid"),
            (self.comm.is_some(), "--comm"),
            (self.since.is_some(), "--since"),
            (self.until.is_some(), "--until"),
            (self.min_duration.is_some(), "--min-duration"),
            (self.errors_only, "--errors-only"),
            (self.strict, "--strict"),
            (self.quiet, "--quiet"),
            (self.with_runtime, "--with-runtime"),
            (self.container_only, "--container-only"),
            (self.json, "--json"),
            (!self.merge_log.is_empty(), "--merge-log"),
        ]
    }

    /// The first word that is no option.
    pub fn word(&self) -> &'static str {
        self.words.first().map_or("", |word| word.0)
    }
}

/// How many there are.
const OPTIONS: usize = 27;

/// Those without a value; behind each other one stands its value.
pub const SWITCHES: [&str; 7] =
    ["--errors-only", "--strict", "--quiet", "--with-runtime", "--container-only", "--json", "-q"];

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

/// The options of what is recorded.
pub fn record_options(args: &Args) -> Result<RecordOptions> {
    let Args { mode, buffer_size_kb, max_size, max_age, name, strings, data, dir: base, syscalls: list, .. } = *args;
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
        buffer_size_kb: Some(number("--buffer-size-kb", buffer_size_kb, 0, &BUFFER)?).filter(|kb| *kb > 0),
        max_size: number("--max-size", max_size, MAX_SIZE_DEFAULT, &SIZE)?,
        max_age_s: number("--max-age", max_age, 0, &TIME)?,
        syscalls: list.map(|word| word.0.to_owned()),
        errors_only: args.errors_only,
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
