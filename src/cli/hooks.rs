// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `hooks install`, `print` and `remove`: our hooks in the configuration of what starts containers.

use super::args::{self, bad_value, number, record_options, Args, Opt};
use super::units::Scale;
use super::verbs::Verb;
use super::{help, hook, out};
use crate::error::{exit, Error, Result};
use crate::hooks::documents::{has, RUNTIME_CLASS};
use crate::hooks::edit::Entry;
use crate::hooks::{self, Change, Plan, Runtime, RUNTIMES};
use crate::json::Json;
use crate::{proc, sys, words};

/// Options that go on to `hook start`, and to `hook stop`.
const START: [Opt; 12] = [
    Opt::Mode,
    Opt::BufferSizeKb,
    Opt::MaxSize,
    Opt::MaxAge,
    Opt::Name,
    Opt::Strings,
    Opt::Data,
    Opt::Dir,
    Opt::Syscalls,
    Opt::IfAnnotation,
    Opt::ErrorsOnly,
    Opt::Strict,
];
const STOP: [Opt; 3] = [Opt::Report, Opt::Seccomp, Opt::Dir];

const VERSION: Scale = Scale {
    units: &[("", 1)],
    capitals: false,
    range: (2, 3),
    wrong: "is no version of containerd's configuration; there are 2 and 3",
};

/// A hook with the options that were given for it.
fn entry(args: &Args<'_>, binary: &str, what: &str, options: &[Opt]) -> Entry {
    let mut entry = Entry { path: binary.to_owned(), ..Entry::default() };
    for word in ["ftrace-analyzer", "hook", what] {
        entry.args.push(word.to_owned());
    }
    for option in options {
        let Some(value) = args.get(*option) else { continue };
        entry.args.push(args::name(*option).to_owned());
        if option.has_value() {
            entry.args.push(value.to_owned());
        }
    }
    // Hooks of ours get no other environment than this.
    for name in ["FTRACE_ANALYZER_DIR", "FTRACE_ANALYZER_RUN_DIR"] {
        if let Some(value) = sys::variable(name) {
            entry.env.push([name, "=", &value.to_string_lossy()].concat());
        }
    }
    entry
}

/// An option that is an absolute path, or empty.
fn path<'a>(args: &Args<'a>, option: Opt) -> Result<&'a str> {
    match args.get(option) {
        Some(path) if !path.starts_with('/') => Err(bad_value(option, path, "is not an absolute path")),
        other => Ok(other.unwrap_or_default()),
    }
}

fn plan<'a>(args: &Args<'a>, what: What) -> Result<Plan<'a>> {
    let name = args
        .get(Opt::Runtime)
        .ok_or_else(|| Error::usage("--runtime is missing").hint(["there are ", RUNTIMES].concat()))?;
    let runtime = Runtime::from_name(name).ok_or_else(|| {
        bad_value(Opt::Runtime, name, "is none of those there are").hint(["there are ", RUNTIMES].concat())
    })?;
    let bundle = args.word.unwrap_or_default();
    if (runtime == Runtime::Bundle) == bundle.is_empty() {
        let error = if bundle.is_empty() { "the bundle is missing" } else { "a path goes with --runtime bundle alone" };
        return Err(Error::usage(error).hint("--help tells what there is"));
    }
    let root = path(args, Opt::Root)?;
    let mut plan = Plan {
        runtime,
        stage: args.get(Opt::Stage).unwrap_or("prestart"),
        start: Entry::default(),
        stop: Entry::default(),
        // A condition of the user's is the hook's to look at.
        always: args.has(Opt::Always) || args.has(Opt::IfAnnotation),
        root,
        into: Some(path(args, Opt::Into)?).filter(|path| !path.is_empty()),
        bundle,
        base: args.get(Opt::Base),
        version: number(args, Opt::Format, 0, &VERSION)?,
        force: args.has(Opt::Force),
    };
    if what == What::Remove {
        return Ok(plan);
    }
    if !matches!(plan.stage, "prestart" | "createRuntime") {
        return Err(bad_value(Opt::Stage, plan.stage, "is neither prestart nor createRuntime"));
    }
    // What is wrong with them is told now and not when a container starts.
    record_options(args)?;
    hook::condition(args)?;
    path(args, Opt::Report)?;
    path(args, Opt::Seccomp)?;
    let binary = match path(args, Opt::Binary)? {
        "" if !root.is_empty() => "/usr/bin/ftrace-analyzer".to_owned(),
        "" => proc::link(std::process::id() as i32, "exe"),
        given => given.to_owned(),
    };
    if binary.is_empty() || binary.ends_with(" (deleted)") {
        return Err(Error::not_found("the file of this program").hint("--binary names the one that hooks are to call"));
    }
    plan.start = entry(args, &binary, "start", &START);
    plan.stop = entry(args, &binary, "stop", &STOP);
    Ok(plan)
}

/// What the user has to know and do besides: what `--help` notes of the runtime, and what is found missing.
fn notes(plan: &Plan<'_>, args: &Args<'_>) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    let binary = &plan.start.path;
    if !sys::exists([plan.root, binary].concat().as_ref()) {
        notes.push([binary, " is not there: until it is, containers with this hook do not start"].concat());
    }
    if plan.runtime == Runtime::Containerd {
        let (config, dir, main) = (plan.main_path(), plan.dir(), plan.main()?);
        let pattern = [dir, "/*.toml"].concat();
        let imports = main.as_ref().map_or("", |main| &main.imports);
        // Also as it is written beside the directory.
        let is_below =
            |quote: &str| has(imports, &[quote, words::behind_last(dir, b'/').unwrap_or_default(), "/*.toml"].concat());
        if !has(imports, &pattern)
            && !has(imports, &[dir, "/ftrace-analyzer.toml"].concat())
            && !is_below("\"")
            && !is_below("\x27")
        {
            let why = match main {
                None => " is missing; containerd before 2.2 needs it, with the line",
                Some(_) if imports.is_empty() => " has to have above its first table the line",
                Some(_) => " has to have among its imports what this line has:",
            };
            notes.push([&config, why, " imports = [\"", &pattern, "\"]"].concat());
        }
    }
    let name = args.get(Opt::Runtime).unwrap_or_default();
    let help = help::text(Verb::HooksInstall);
    let mut help = core::str::from_utf8(&help).unwrap_or_default();
    while let Some(line) = words::next_part(&mut help, "\n") {
        let note =
            line.strip_prefix("  ").and_then(|line| line.strip_prefix(name)).and_then(|line| line.strip_prefix(": "));
        notes.extend(note.filter(|note| !plan.always || !has(note, "the annotation")).map(str::to_owned));
    }
    if plan.runtime == Runtime::Containerd {
        notes.push(["for kubectl apply:\n", RUNTIME_CLASS].concat());
    }
    Ok(notes)
}

/// Tells what became of each file, or shows what it is to have.
fn tell(args: &Args<'_>, changes: &[Change], notes: &[String], what: What) -> Result<()> {
    let as_json = args.has(Opt::Json);
    let mut json = Json::new();
    let mut text = String::new();
    json.begin_object()
        .field_u64("schema", 1)
        .field_str("type", "hooks")
        .field_str("runtime", args.get(Opt::Runtime).unwrap_or_default());
    json.key("files").begin_array();
    for change in changes {
        let outcome = match (what, change.outcome()) {
            (What::Remove, "unchanged") => "none",
            (What::Remove, _) => "removed",
            (_, outcome) => outcome,
        };
        json.begin_object().field_str("path", &change.path);
        if what == What::Print {
            let after = change.after.as_deref().unwrap_or_default();
            json.key("text").bytes(after).end_object();
            if !as_json {
                out::note(&["# ", &change.path, "\n"].concat());
                out::print(after)?;
            }
            continue;
        }
        json.field_str("state", outcome).field_str("was", change.version()).end_object();
        let sentence = match outcome {
            "unchanged" => ": installed already, unchanged",
            "replaced" => ": replaced what was there, of version ",
            "removed" => ": removed, of version ",
            "none" => ": nothing of ours there",
            _ => ": written",
        };
        let version = if sentence.ends_with(' ') { change.version() } else { "" };
        for part in [&change.path, sentence, version, "\n"] {
            text.push_str(part);
        }
    }
    json.end_array().key("notes").begin_array();
    for note in notes {
        json.string(note);
        for part in ["note: ", note, if note.ends_with('\n') { "" } else { "\n" }] {
            text.push_str(part);
        }
    }
    json.end_array().end_object().newline();
    match what {
        _ if as_json => out::print(json.as_bytes()),
        What::Print => {
            out::note(&text);
            Ok(())
        }
        _ => out::print(text.as_bytes()),
    }
}

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum What {
    Install,
    Print,
    Remove,
}

/// Applies changes; those that were not reached stay as they are.
fn apply(plan: &Plan<'_>, changes: &[Change]) -> Result<()> {
    for change in changes {
        change.apply().map_err(|why| match plan.runtime {
            Runtime::Bundle => why,
            _ => why.hint("it takes root; --into names another directory"),
        })?;
    }
    Ok(())
}

/// All three.
pub fn main(args: &Args<'_>, what: What) -> Result<u8> {
    let plan = plan(args, what)?;
    let changes = hooks::changes(&plan, what != What::Remove)?;
    let notes = if what == What::Remove { Vec::new() } else { notes(&plan, args)? };
    if what != What::Print {
        apply(&plan, &changes)?;
    }
    tell(args, &changes, &notes, what).map(|()| exit::OK)
}
