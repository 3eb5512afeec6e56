// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The command line: arguments, one file a verb, and the one place where an error becomes a line and an exit code.
//!
//! Names of verbs and options, and what other programs rely on: docs/ftrace-analyzer.1 and `--help`.

mod args;
mod attach;
mod doctor;
mod follow;
mod gc;
mod help;
mod help_table;
mod hook;
mod list;
mod out;
mod report;
mod run;
mod select;
mod stop;
mod units;
mod verbs;

use std::ffi::OsString;

use argh::FromArgs;

use self::args::Args;
use self::verbs::{Grammar, Verb};
use crate::error::{exit, Error, Quoted, Result};
use crate::words::split_once;

/// Runs the program with these arguments, the program's name first; gives its exit code.
pub fn main(arguments: Vec<OsString>) -> u8 {
    let words = arguments.get(1..).unwrap_or_default();
    if matches!(words, [word] if word == "--version" || word == "-V") {
        return finish("", out::print(version().as_bytes()).map(|()| exit::OK));
    }
    let (grammar, skip) = match verbs::find(words) {
        Ok(found) => found,
        Err(error) => return fail("", &error),
    };
    let words = words.get(skip..).unwrap_or_default();
    // Another program's command line need not be text.
    let end = if grammar.verb == Verb::Run { verbs::command_begin(words) } else { words.len() };
    let (ours, command) = words.split_at(end);
    let args = match read(grammar, ours) {
        Ok(Some(args)) => args,
        Ok(None) => return exit::OK,
        Err(error) => return refuse(grammar, ours, &error),
    };
    let result = match grammar.verb {
        Verb::HookStart => return hook::main(&args, hook::start),
        Verb::HookStop => return hook::main(&args, hook::stop),
        Verb::Run => return run::main(&args, command),
        Verb::Top | Verb::Hook => Ok(exit::USAGE),
        Verb::Attach => attach::main(&args),
        Verb::Follow => follow::main(&args),
        Verb::Stop => stop::main(&args),
        Verb::List => list::main(&args),
        Verb::Report => report::main(&args),
        Verb::Doctor => doctor::main(&args),
        Verb::Gc => gc::main(&args),
    };
    finish(grammar.name, result)
}

/// Reads a verb's words; none if they ask for help, which is then given.
fn read(grammar: &Grammar, words: &[OsString]) -> Result<Option<Args>> {
    let mut texts = Vec::with_capacity(words.len());
    for word in words {
        match word.to_str() {
            Some(text) => texts.push(text),
            None => {
                let shown = word.to_string_lossy();
                return Err(Error::usage(format!("the argument {} is not UTF-8", Quoted(&shown))));
            }
        }
    }
    if grammar.verb == Verb::Top && texts.is_empty() {
        texts.push("--help");
    }
    let args = match Args::from_args(&[grammar.name], &texts) {
        Ok(args) => args,
        Err(early) if early.status.is_err() => return Err(usage_error(early.output.trim_end())),
        Err(_) => {
            // `help report` means `report --help`.
            let of = match grammar.verb {
                Verb::Top => verbs::find(words.get(1..).unwrap_or_default())?.0,
                _ => grammar,
            };
            return out::print(&help::text(of.verb)).map(|()| None);
        }
    };
    verbs::check(grammar, &args)?;
    Ok(Some(args))
}

/// The end of a wrong command line; that of a hook must not keep a container from starting.
fn refuse(grammar: &Grammar, ours: &[OsString], error: &Error) -> u8 {
    if matches!(grammar.verb, Verb::Hook | Verb::HookStart | Verb::HookStop) {
        return hook::fail(error, ours.iter().any(|word| word == "--strict"));
    }
    fail(grammar.name, error)
}

/// argh's text, as a sentence of ours.
fn usage_error(text: &str) -> Error {
    let (first, _) = split_once(text, "\n\n").unwrap_or((text, ""));
    Error::usage(first.replace('\n', " ")).hint("--help tells what there is")
}

/// Version, target and build profile.
fn version() -> String {
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    let libc = if cfg!(target_env = "musl") { "musl" } else { "gnu" };
    let link = if cfg!(target_feature = "crt-static") { "static" } else { "dynamic" };
    [
        concat!("ftrace-analyzer ", env!("CARGO_PKG_VERSION"), " ("),
        std::env::consts::ARCH,
        "-",
        std::env::consts::OS,
        "-",
        libc,
        ", ",
        link,
        ", ",
        profile,
        ")\n",
    ]
    .concat()
}

/// The exit code of a verb's result; an error is told first.
fn finish(verb: &str, result: Result<u8>) -> u8 {
    match result {
        Ok(code) => code,
        Err(error) => fail(verb, &error),
    }
}

fn fail(verb: &str, error: &Error) -> u8 {
    out::complain(verb, error);
    error.exit_code()
}
