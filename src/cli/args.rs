// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The options: how they are read, and what their values mean.
//!
//! A table and a loop of ours: argh, which the rest of the field takes for its size, took 26 KB of 350 in the artefact for
//! the boards with its help for twelve verbs, and 7 without. Words and errors are as with it.

use std::ffi::OsString;
use std::path::PathBuf;

use super::units::{Scale, DATA, SIZE, TIME};
use super::verbs::{Grammar, COMMAND};
use crate::arch::Arch;
use crate::error::{Error, Quoted, Result};
use crate::proc;
use crate::recorder::{default_dir, Mode, RecordOptions, Strings, MAX_SIZE_DEFAULT};
use crate::sys::variable;
use crate::syscalls::{nearest_of, SyscallList};
use crate::words::{nth, quoted};

/// The options of all verbs, as they stand in [`NAMES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opt {
    Mode,
    BufferSizeKb,
    MaxSize,
    MaxAge,
    MaxTotal,
    Name,
    Strings,
    Data,
    Dir,
    Syscalls,
    IfAnnotation,
    Report,
    Output,
    Color,
    Format,
    Pid,
    Comm,
    Since,
    Until,
    MinDuration,
    MergeLog,
    Runtime,
    NoNewPrivileges,
    Base,
    Why,
    Seccomp,
    Stage,
    Into,
    Root,
    Binary,
    Listen,
    Group,
    Recordings,
    MaxContainer,
    KeepFree,
    Keep,
    CopyTo,
    Calls,
    // From here on: without a value.
    ErrorsOnly,
    Strict,
    Quiet,
    WithRuntime,
    Follow,
    ContainerOnly,
    Portable,
    Args,
    Force,
    Always,
    Persistent,
    Environment,
    Json,
}

impl Opt {
    /// Whether a value stands behind it.
    pub fn has_value(self) -> bool {
        (self as usize) < Opt::ErrorsOnly as usize
    }
}

const COUNT: usize = Opt::Json as usize + 1;

/// Their names; `src/cli/help/` explains them to the user.
pub const NAMES: &str = "\
    --mode --buffer-size-kb --max-size --max-age --max-total --name --strings --data --dir --syscalls \
    --if-annotation --report --output --color --format --pid --comm --since --until --min-duration --merge-log \
    --runtime --no-new-privileges --base --why --seccomp --stage --into --root --binary --listen --group --recordings \
    --max-container --keep-free --keep --copy-to --calls \
    --errors-only --strict --quiet --with-runtime --follow --container-only --portable --args --force --always \
    --persistent --environment --json";

/// The words behind a verb.
#[derive(Debug)]
pub struct Args<'a> {
    values: [Option<&'a str>; COUNT],
    /// What `--merge-log` named, each time.
    pub logs: Vec<&'a str>,
    /// The first word that is no option.
    pub word: Option<&'a str>,
    /// Those behind it, for verbs that take several.
    pub more: Vec<&'a str>,
}

impl<'a> Args<'a> {
    /// The value of an option, if it was given.
    pub fn get(&self, option: Opt) -> Option<&'a str> {
        self.values.get(option as usize).copied().flatten()
    }

    /// Whether an option was given.
    pub fn has(&self, option: Opt) -> bool {
        self.get(option).is_some()
    }
}

/// An option's name.
pub fn name(option: Opt) -> &'static str {
    nth(NAMES, option as usize)
}

/// Reads a verb's words: the options, and at which word another program's command line begins, for a verb that has one.
/// `None` if they ask for help.
pub fn read<'a>(grammar: &Grammar, words: &'a [OsString]) -> Result<Option<(Args<'a>, usize)>> {
    let mut args = Args { values: [None; COUNT], logs: Vec::new(), word: None, more: Vec::new() };
    let mut words_after_dashes = false;
    let mut at = 0;
    while let Some(given) = words.get(at) {
        let text = |word: &'a OsString| {
            word.to_str()
                .ok_or_else(|| Error::usage(format!("the argument {} is not UTF-8", Quoted(&word.to_string_lossy()))))
        };
        // What another program gets need not be text.
        let word = match given.to_str() {
            None if grammar.word == COMMAND => break,
            _ => text(given)?,
        };
        if !words_after_dashes && matches!(word, "--help" | "help") {
            return Ok(None);
        }
        if words_after_dashes || !word.starts_with('-') || word.len() < 2 {
            if grammar.word == COMMAND {
                break;
            }
            at += 1;
            match args.word {
                None if !grammar.word.is_empty() => args.word = Some(word),
                Some(_) if grammar.word.ends_with("...]") || args.more.len() < grammar.needs() - 1 => {
                    args.more.push(word);
                }
                _ => return Err(Error::usage(format!("there is an argument too many: {}", Quoted(word)))),
            }
            continue;
        }
        if word == "--" {
            if grammar.word == COMMAND {
                break;
            }
            words_after_dashes = true;
            at += 1;
            continue;
        }
        let word = match word {
            "-o" => "--output",
            "-q" => "--quiet",
            long => long,
        };
        let taken = || grammar.options.split(' ');
        let Some(option) = NAMES.split(' ').position(|name| name == word) else {
            let error = Error::usage(format!("there is no option {}", Quoted(word)));
            return Err(match nearest_of(word, &mut taken()) {
                Some(near) => error.hint(["did you mean ", near, "?"].concat()),
                None => error.hint("--help tells what there is"),
            });
        };
        if !taken().any(|name| name == word) {
            return Err(Error::usage([grammar.name, " takes no ", word].concat()).hint("--help tells what there is"));
        }
        at += 1;
        let mut value = "";
        if option < Opt::ErrorsOnly as usize {
            let Some(next) = words.get(at) else {
                return Err(Error::usage([word, " needs a value"].concat()).hint("--help tells what there is"));
            };
            value = text(next)?;
            at += 1;
        }
        let Some(place) = args.values.get_mut(option) else { continue };
        if option == Opt::MergeLog as usize {
            args.logs.push(value);
        } else if option < Opt::ErrorsOnly as usize && place.is_some() {
            return Err(Error::usage([word, " is given twice"].concat()));
        }
        *place = Some(value);
    }
    let given = usize::from(args.word.is_some()) + args.more.len();
    if given < grammar.needs() {
        let missing = grammar.word.split(' ').nth(given).unwrap_or_default();
        return Err(Error::usage([missing, " is missing"].concat()).hint("--help tells what there is"));
    }
    Ok(Some((args, at)))
}

/// Where recordings lie: `--dir`, else `FTRACE_ANALYZER_DIR`, else /var/lib/ftrace-analyzer, for users a directory of their
/// own in it.
pub fn dir(args: &Args<'_>) -> PathBuf {
    match args.get(Opt::Dir) {
        Some(word) => word.into(),
        None => variable("FTRACE_ANALYZER_DIR").map_or_else(default_dir, PathBuf::from),
    }
}

/// An option's value that is none.
pub fn bad_value(option: Opt, value: &str, why: &str) -> Error {
    Error::usage(format!("{}: {} {why}", name(option), Quoted(value))).hint("--help tells what there is")
}

/// An option's number.
pub fn number(args: &Args<'_>, option: Opt, default: u64, scale: &Scale) -> Result<u64> {
    match args.get(option) {
        None => Ok(default),
        Some(word) => scale.parse(word).ok_or_else(|| bad_value(option, word, scale.wrong)),
    }
}

/// Reads a list of calls.
pub fn syscall_list(list: &str, arch: Arch) -> Result<SyscallList> {
    SyscallList::parse(list, arch).map_err(|unknown| {
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
pub const BUFFER: Scale = Scale {
    units: &[("", 1)],
    capitals: false,
    range: (128, 4_294_967_296),
    wrong: "is not a buffer size; write KiB per CPU, 128 or more",
};

/// The options of what is recorded.
pub fn record_options(args: &Args<'_>) -> Result<RecordOptions> {
    let mode = match args.get(Opt::Mode) {
        None => Mode::Continuous,
        Some(word) => Mode::from_name(word).ok_or_else(|| {
            bad_value(Opt::Mode, word, "is not a mode; there are continuous, flight, profile and count")
        })?,
    };
    let syscalls = args.get(Opt::Syscalls);
    // On a machine without tables the recorder says so.
    if let (Some(list), (Some(arch), ..)) = (syscalls, proc::uname()) {
        syscall_list(list, arch)?;
    }
    Ok(RecordOptions {
        mode,
        buffer_size_kb: Some(number(args, Opt::BufferSizeKb, 0, &BUFFER)?).filter(|kb| *kb > 0),
        max_size: number(args, Opt::MaxSize, MAX_SIZE_DEFAULT, &SIZE)?,
        max_age_s: number(args, Opt::MaxAge, 0, &TIME)?,
        syscalls: syscalls.map(str::to_owned),
        errors_only: args.has(Opt::ErrorsOnly),
        name: args.get(Opt::Name).map(str::to_owned),
        strings: match args.get(Opt::Strings) {
            None => Strings::Auto,
            Some(word) => Strings::from_name(word)
                .ok_or_else(|| bad_value(Opt::Strings, word, "is none of auto, off, copies, events and probes"))?,
        },
        data: number(args, Opt::Data, 0, &DATA)?,
        dir: dir(args),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::verbs::find;

    fn arguments(line: &str) -> Vec<OsString> {
        line.split_ascii_whitespace().map(OsString::from).collect()
    }

    fn wrong(line: &str) -> String {
        let words = arguments(line);
        let (grammar, skip) = find(&words).unwrap();
        let result = read(grammar, &words[skip..]);
        let error = result.err().unwrap_or_else(|| panic!("{line} is taken"));
        assert_eq!(error.exit_code(), 2);
        error.to_string()
    }

    #[test]
    fn options_and_the_word_stand_in_any_order() {
        for line in [
            "report --format json demo --merge-log a -o out --errors-only --merge-log b",
            "report demo -o out --merge-log a --merge-log b --errors-only --format json",
        ] {
            let words = arguments(line);
            let (args, end) = read(find(&words).unwrap().0, &words[1..]).unwrap().unwrap();
            assert_eq!(
                (args.word, args.get(Opt::Format), args.get(Opt::Output)),
                (Some("demo"), Some("json"), Some("out"))
            );
            assert_eq!(
                (args.logs.as_slice(), args.has(Opt::ErrorsOnly), args.has(Opt::Json)),
                (&["a", "b"][..], true, false)
            );
            assert_eq!(end, words.len() - 1);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, told) in [
            ("stop", "<id> is missing"),
            ("stop a b", "there is an argument too many: \"b\""),
            ("doctor a", "there is an argument too many: \"a\""),
            ("list --jsn", "there is no option \"--jsn\""),
            ("list --mode x", "list takes no --mode"),
            ("list --dir", "--dir needs a value"),
            ("list --dir a --dir b", "--dir is given twice"),
            ("hook start a", "there is an argument too many: \"a\""),
            ("hook start --json", "hook start takes no --json"),
        ] {
            assert_eq!(wrong(line), told);
        }
        let words = arguments("--jsn");
        let error = read(find(&arguments("list")).unwrap().0, &words).map(|_| ()).unwrap_err();
        assert_eq!(error.remedy(), Some("did you mean --json?"));
    }

    #[test]
    fn behind_dashes_nothing_is_an_option() {
        let words = arguments("-- --json");
        let (args, _) = read(find(&arguments("report")).unwrap().0, &words).unwrap().unwrap();
        assert_eq!((args.word, args.has(Opt::Json)), (Some("--json"), false));
    }

    #[test]
    fn a_command_begins_behind_our_own_options() {
        let run = find(&arguments("run")).unwrap().0;
        for (line, begin) in [
            ("ls -l", 0),
            ("-q ls", 1),
            ("--errors-only -o file ls -q", 3),
            ("--name -- -- ls", 2),
            ("-- ls --help", 0),
            ("-q -- -q", 1),
            ("", 0),
        ] {
            assert_eq!(read(run, &arguments(line)).unwrap().map(|(_, end)| end), Some(begin), "{line}");
        }
        assert!(read(run, &arguments("-q --help ls")).unwrap().is_none());
    }

    #[test]
    fn names_are_in_the_order_of_the_options() {
        for (option, text) in
            [(Opt::Mode, "--mode"), (Opt::MergeLog, "--merge-log"), (Opt::ErrorsOnly, "--errors-only")]
        {
            assert_eq!(name(option), text);
        }
        assert_eq!((name(Opt::Json), NAMES.split(' ').count()), ("--json", COUNT));
    }
}
