// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The command line: arguments, one file a verb, and the one place where an error becomes a line and an exit code.
//!
//! Names of verbs and options, and what other programs rely on: docs/ftrace-analyzer.1 and `--help`.

mod args;
mod attach;
mod doctor;
mod follow;
mod gc;
mod hook;
mod list;
mod out;
mod report;
mod run;
mod select;
mod stop;
mod units;

use std::ffi::OsString;

use argh::FromArgs;

use self::args::{Top, Verb};
use crate::error::{exit, Error, Quoted, Result};
use crate::words::split_once;

/// Runs the program with these arguments, the program's name first; gives its exit code.
pub fn main(arguments: Vec<OsString>) -> u8 {
    // What follows `--` is another program's command line and need not be text.
    let split = arguments.iter().position(|word| word == "--").unwrap_or(arguments.len());
    let (ours, theirs) = arguments.split_at(split);
    let mut words = Vec::with_capacity(ours.len());
    for word in ours.iter().skip(1) {
        match word.to_str() {
            Some(word) => words.push(word),
            None => {
                let verb = words.first().copied().unwrap_or_default();
                let shown = word.to_string_lossy();
                return refuse(verb, ours, &Error::usage(format!("the argument {} is not UTF-8", Quoted(&shown))));
            }
        }
    }
    if matches!(words.as_slice(), ["--version" | "-V"]) {
        return finish("", out::print(version().as_bytes()).map(|()| exit::OK));
    }
    if words.is_empty() {
        words.push("--help");
    }
    let top = match Top::from_args(&["ftrace-analyzer"], &words) {
        Ok(top) => top,
        Err(early) if early.status.is_ok() => {
            return finish("", out::print(early.output.as_bytes()).map(|()| exit::OK))
        }
        Err(early) => {
            let verb = words.first().copied().unwrap_or_default();
            return refuse(verb, ours, &usage_error(early.output.trim_end()));
        }
    };
    let verb = top.verb.name();
    let result = match top.verb {
        Verb::Hook(hook) => return hook::main(&hook),
        Verb::Run(run) => return run::main(&run, theirs.get(1..)),
        Verb::Attach(attach) => attach::main(&attach),
        Verb::Follow(follow) => follow::main(&follow),
        Verb::Stop(stop) => stop::main(&stop),
        Verb::List(list) => list::main(&list),
        Verb::Report(report) => report::main(&report),
        Verb::Doctor(doctor) => doctor::main(&doctor),
        Verb::Gc(gc) => gc::main(&gc),
    };
    finish(verb, result)
}

/// The end of a wrong command line; that of a hook must not keep a container from starting.
fn refuse(verb: &str, ours: &[OsString], error: &Error) -> u8 {
    if verb == "hook" {
        return hook::fail(error, ours.iter().any(|word| word == "--strict"));
    }
    fail(verb, error)
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
