// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The command line: arguments, one file a verb, and the one place where an error becomes a line and an exit code.
//!
//! Names of verbs and options, and what other programs rely on: docs/ftrace-analyzer.1 and `--help`.

mod args;
mod attach;
mod core;
mod doctor;
mod follow;
mod gc;
mod help;
mod help_table;
mod hook;
mod hooks;
mod list;
mod out;
mod report;
mod run;
mod seccomp;
mod select;
mod serve;
mod stop;
mod table;
mod units;
mod verbs;

use std::ffi::OsString;

use self::verbs::{Grammar, Verb};
use crate::error::{exit, Error, Quoted, Result};

/// Runs the program with these arguments, the program's name first; gives its exit code.
pub fn main(arguments: Vec<OsString>) -> u8 {
    let words = arguments.get(1..).unwrap_or_default();
    if matches!(words, [word] if word == "--version" || word == "-V") {
        return finish("", out::print(version().as_bytes()).map(|()| exit::OK));
    }
    // `help report` means `report --help`, and no word at all means `--help`.
    if words.first().map_or(true, |word| word == "--help" || word == "help") {
        let found = verbs::find(words.get(1..).unwrap_or_default());
        return finish("", found.and_then(|(grammar, _)| help(grammar)));
    }
    let (grammar, skip) = match verbs::find(words) {
        Ok(found) => found,
        Err(error) => return fail("", &error),
    };
    let words = words.get(skip..).unwrap_or_default();
    let first = words.first().map(|word| word.to_string_lossy()).unwrap_or_default();
    let of_group = match grammar.verb {
        Verb::Core => Some("there are core install, uninstall, status, list, info and export"),
        Verb::Hook => Some("there are hook start and hook stop"),
        Verb::Hooks => Some("there are hooks install, print and remove"),
        Verb::Seccomp => Some("there are seccomp generate, check, diff and denials"),
        _ => None,
    };
    if let Some(hint) = of_group.filter(|_| !matches!(&*first, "--help" | "help")) {
        let error = Error::usage(format!("there is no {} {}", grammar.name, Quoted(&first)));
        return refuse(grammar, words, &error.hint(hint));
    }
    let (args, end) = match args::read(grammar, words) {
        Ok(Some(read)) => read,
        Ok(None) => return finish("", help(grammar)),
        Err(error) => return refuse(grammar, words, &error),
    };
    let result = match grammar.verb {
        Verb::HookStart => return hook::main(&args, hook::start),
        Verb::HookStop => return hook::main(&args, hook::stop),
        Verb::Run => return run::main(&args, words.get(end..).unwrap_or_default()),
        Verb::Top | Verb::Core | Verb::Hook | Verb::Seccomp | Verb::Hooks => Ok(exit::USAGE),
        Verb::Attach => attach::main(&args),
        Verb::Follow => follow::main(&args),
        Verb::Stop => stop::main(&args),
        Verb::List => list::main(&args),
        Verb::Report => report::main(&args),
        Verb::SeccompGenerate => seccomp::generate(&args),
        Verb::SeccompCheck => seccomp::check(&args),
        Verb::SeccompDiff => seccomp::diff(&args),
        Verb::SeccompDenials => seccomp::denials(&args),
        Verb::HooksInstall => hooks::main(&args, hooks::What::Install),
        Verb::HooksPrint => hooks::main(&args, hooks::What::Print),
        Verb::HooksRemove => hooks::main(&args, hooks::What::Remove),
        Verb::CoreInstall => core::install(&args),
        Verb::CoreUninstall => core::uninstall(&args),
        Verb::CoreStatus => core::status(&args),
        Verb::CoreHandle => core::handle(&args),
        Verb::CoreList => core::list(&args),
        Verb::CoreExport => core::export(&args),
        Verb::CoreInfo => core::info(&args),
        Verb::Doctor => doctor::main(&args),
        Verb::Gc => gc::main(&args),
        Verb::Serve => serve::main(&args),
    };
    finish(grammar.name, result)
}

/// Prints a verb's help.
fn help(grammar: &Grammar) -> Result<u8> {
    out::print(&help::text(grammar.verb)).map(|()| exit::OK)
}

/// The end of a wrong command line; that of a hook must not keep a container from starting.
fn refuse(grammar: &Grammar, ours: &[OsString], error: &Error) -> u8 {
    if matches!(grammar.verb, Verb::Hook | Verb::HookStart | Verb::HookStop) {
        return hook::fail(error, ours.iter().any(|word| word == "--strict"));
    }
    fail(grammar.name, error)
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
