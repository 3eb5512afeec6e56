// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `seccomp generate`, `check`, `diff`, `denials`: profiles from recordings, and what seccomp refused.

use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use super::args::{self, bad_value, Args, Opt};
use super::{out, report, select};
use crate::error::{exit, Error, Quoted, Result};
use crate::json::Json;
use crate::recording::open_for_reading;
use crate::seccomp::{self, runtimes::Runtime, Form, Made, Profile, Source, Wish, PROFILE_MAX};
use crate::{sys, syscalls};

/// What of the words are recordings, as sources; the newest recording where there are none.
fn sources(args: &Args<'_>, words: &[&str]) -> Result<Vec<Source>> {
    let base = args::dir(args);
    let mut dirs: Vec<PathBuf> = Vec::new();
    for word in words {
        dirs.push(select::find_recording(&base, Some(word))?);
    }
    if words.is_empty() {
        dirs.push(select::find_recording(&base, None)?);
    }
    let mut sources = Vec::new();
    for dir in dirs {
        let (recording, killed) = report::open(&dir)?;
        sources.push(Source::read(select::unit(&dir), recording, killed)?);
    }
    Ok(sources)
}

/// All words.
fn words<'a>(args: &Args<'a>) -> Vec<&'a str> {
    args.word.iter().chain(&args.more).copied().collect()
}

fn runtime_of(args: &Args<'_>, otherwise: &str) -> Result<(Runtime, Option<bool>)> {
    let word = args.get(Opt::Runtime).unwrap_or(otherwise);
    let runtime = Runtime::from_name(word)
        .ok_or_else(|| bad_value(Opt::Runtime, word, "is no runtime; there are any, runc, crun and none"))?;
    let no_new_privileges = match args.get(Opt::NoNewPrivileges).unwrap_or("auto") {
        "auto" => None,
        "yes" => Some(true),
        "no" => Some(false),
        other => return Err(bad_value(Opt::NoNewPrivileges, other, "is none of auto, yes and no")),
    };
    Ok((runtime, no_new_privileges))
}

/// Reads a profile; it may come through a pipe.
fn read_profile(path: &str) -> Result<Profile> {
    let file = open_for_reading(Path::new(path), OFlag::empty())?;
    let text = sys::read_on(&file, PROFILE_MAX + 1).map_err(|why| Error::io("read", Path::new(path), why))?;
    if text.len() > PROFILE_MAX {
        return Err(Error::limit([path, " is larger than a profile can be"].concat(), PROFILE_MAX as u64));
    }
    Profile::parse(&text, path)
}

/// `seccomp generate`.
pub fn generate(args: &Args<'_>) -> Result<u8> {
    let word = args.get(Opt::Format).unwrap_or("oci");
    let form = Form::from_name(word)
        .ok_or_else(|| bad_value(Opt::Format, word, "is no form of a profile; there are oci, crd and systemd"))?;
    let (runtime, no_new_privileges) = runtime_of(args, if form == Form::Systemd { "none" } else { "any" })?;
    let base = args.get(Opt::Base).map(read_profile).transpose()?;
    if args.has(Opt::Json) && !args.has(Opt::Why) {
        return Err(Error::usage("--json goes with --why").hint("a profile is JSON anyway"));
    }
    let sources = sources(args, &words(args))?;
    let wish = Wish {
        runtime,
        no_new_privileges,
        portable: args.has(Opt::Portable),
        args: args.has(Opt::Args),
        base: base.as_ref(),
    };
    let made = seccomp::generate(&sources, &wish)?;
    if let Some(name) = args.get(Opt::Why) {
        return why(args, name, &sources, &wish, &made);
    }
    if !args.has(Opt::Force) {
        seccomp::check_fit(&sources)?;
    }
    let name = args.get(Opt::Name).or_else(|| sources.first().map(|source| source.recording.meta.name.as_str()));
    let text = seccomp::write_profile(&made, form, name.unwrap_or_default());
    match args.get(Opt::Output).map(Path::new) {
        None => out::print(&text)?,
        Some(path) => write_files(&sources, &wish, &made, &text, path)?,
    }
    let mut remarks = Vec::new();
    seccomp::push_remarks(&mut remarks, &sources, &wish, &made);
    out::note(&String::from_utf8_lossy(&remarks));
    Ok(exit::OK)
}

/// Writes the profile into a file, and beside it what it comes from.
fn write_files(sources: &[Source], wish: &Wish<'_>, made: &Made, text: &[u8], path: &Path) -> Result<()> {
    let mut json = Json::new();
    seccomp::write_sources(&mut json, sources, wish, made);
    let mut beside = path.as_os_str().to_owned();
    beside.push(".sources.json");
    for (path, text) in [(path, text), (Path::new(&beside), json.as_bytes())] {
        out::replace(path, text).map_err(|why| Error::io("write", path, why))?;
    }
    Ok(())
}

/// `--why`.
fn why(args: &Args<'_>, name: &str, sources: &[Source], wish: &Wish<'_>, made: &Made) -> Result<u8> {
    let Some(named) = made.names.iter().find(|named| named.name == name) else {
        let abis = sources.iter().filter_map(|source| source.recording.meta.native_abi());
        let near =
            abis.filter(|abi| syscalls::number(*abi, name).is_none()).find_map(|abi| syscalls::nearest(abi, name));
        let error = Error::not_found(format!(
            "{} in the profile: no recording has it, and nothing else needs it",
            Quoted(name)
        ));
        return Err(match near {
            Some(near) => error.hint(["did you mean ", near, "?"].concat()),
            None => error,
        });
    };
    if args.has(Opt::Json) {
        let mut json = Json::new();
        seccomp::write_why(&mut json, sources, named);
        out::print(json.as_bytes())?;
    } else {
        let mut text = Vec::new();
        seccomp::push_why(&mut text, sources, wish, named);
        out::print(&text)?;
    }
    Ok(exit::OK)
}

/// `hook stop --seccomp`: the profile of one recording, with the choices that nobody made.
pub fn write_for_hook(dir: &Path, to: &Path) -> Result<()> {
    let (recording, killed) = report::open(dir)?;
    let sources = [Source::read(select::unit(dir), recording, killed)?];
    seccomp::check_fit(&sources)?;
    let wish = Wish { runtime: Runtime::Any, no_new_privileges: None, portable: false, args: false, base: None };
    let made = seccomp::generate(&sources, &wish)?;
    write_files(&sources, &wish, &made, &seccomp::write_profile(&made, Form::Oci, ""), to)
}

/// `seccomp check`.
pub fn check(args: &Args<'_>) -> Result<u8> {
    let (runtime, no_new_privileges) = runtime_of(args, "any")?;
    let path = args.word.unwrap_or_default();
    let profile = read_profile(path)?;
    let sources = sources(args, &args.more)?;
    let check = seccomp::Check::run(&profile, path, &sources, runtime, no_new_privileges)?;
    if args.has(Opt::Json) {
        let mut json = Json::new();
        seccomp::write_check(&mut json, path, &sources, runtime, &check);
        out::print(json.as_bytes())?;
    } else {
        let mut text = Vec::new();
        seccomp::push_check(&mut text, &sources, runtime, &check);
        out::print(&text)?;
    }
    Ok(match check.refuses() {
        true => exit::FAILED,
        false if check.is_partial() => exit::PARTIAL,
        false => exit::OK,
    })
}

/// `seccomp diff`.
pub fn diff(args: &Args<'_>) -> Result<u8> {
    let words = words(args);
    let [a, b] = words[..] else { return Err(Error::usage("two profiles are compared")) };
    let profiles = [&read_profile(a)?, &read_profile(b)?];
    let diff = seccomp::Diff::of(profiles, [a, b])?;
    if args.has(Opt::Json) {
        let mut json = Json::new();
        seccomp::write_diff(&mut json, [a, b], &diff);
        out::print(json.as_bytes())?;
    } else {
        let mut text = Vec::new();
        seccomp::push_diff(&mut text, [a, b], &diff);
        out::print(&text)?;
    }
    Ok(if diff.is_same() { exit::OK } else { exit::FAILED })
}

/// `seccomp denials`.
pub fn denials(args: &Args<'_>) -> Result<u8> {
    let dir = select::find_recording(&args::dir(args), args.word)?;
    let (recording, killed) = report::open(&dir)?;
    crate::report::needs_events(&recording)?;
    let mut denials = seccomp::Denials::default();
    let walked = seccomp::walk(&recording, &mut denials)?;
    let meta = &recording.meta;
    if args.has(Opt::Json) {
        let mut json = Json::new();
        seccomp::write_denials(&mut json, &select::unit(&dir), meta, &denials);
        out::print(json.as_bytes())?;
    } else {
        let mut text = Vec::new();
        seccomp::push_denials(&mut text, &select::unit(&dir), &recording, &walked, &denials);
        out::print(&text)?;
    }
    Ok(if killed || walked.is_partial(&recording) { exit::PARTIAL } else { exit::OK })
}
