// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `core install`, `core uninstall`, `core status`: who has core_pattern.

use std::path::Path;

use crate::cli::args::{self, bad_value, number, Args, Opt};
use crate::cli::out;
use crate::cli::units::{show_duration, show_size, Scale, SIZE, TIME};
use crate::core_dump::owner::{self, Status, PIPE_LIMIT_WANTED};
use crate::core_dump::pattern;
use crate::core_dump::settings::Settings;
use crate::error::{exit, Error, Result};
use crate::json::Json;
use crate::proc;
use crate::record;
use crate::recorder::run_dir;
use crate::sys;

/// Dumps of one container that are kept.
const KEEP: u64 = 8;

const COUNT: Scale =
    Scale { units: &[("", 1)], capitals: false, range: (0, u32::MAX as u64), wrong: "is not a number of dumps" };

/// What is kept where nobody says otherwise, by the room that the file system has.
pub(super) fn defaults(dir: &Path) -> Settings {
    const MIB: u64 = 1 << 20;
    // The nearest directory that exists tells the file system.
    let mut existing = dir;
    while !sys::is_dir(existing) {
        existing = sys::parent(existing).unwrap_or(Path::new("/"));
    }
    let free = sys::free_bytes(existing).unwrap_or(512 * MIB);
    Settings {
        dir: dir.to_string_lossy().into_owned(),
        pipe_limit: PIPE_LIMIT_WANTED,
        max_dump: (free / 8).clamp(16 * MIB, 2048 * MIB),
        max_container: (free / 6).clamp(24 * MIB, 4096 * MIB),
        max_total: (free / 4).clamp(32 * MIB, 8192 * MIB),
        keep_free: (free / 8).clamp(8 * MIB, 1024 * MIB),
        keep: KEEP as u32,
        ..Settings::default()
    }
}

/// A size that has to fit into another; 0 is no limit. What nobody asked for is made to fit.
fn size_within(args: &Args<'_>, option: Opt, default: u64, outer: (Opt, u64)) -> Result<u64> {
    let (outer, max) = outer;
    let size = number(args, option, if max > 0 { default.min(max) } else { default }, &SIZE)?;
    if max > 0 && (size == 0 || size > max) {
        let why = ["is more than what ", args::name(outer), " leaves: ", &max.to_string(), " bytes"].concat();
        return Err(bad_value(option, args.get(option).unwrap_or_default(), &why));
    }
    Ok(size)
}

/// What the options ask for.
fn wanted(args: &Args<'_>) -> Result<Settings> {
    let program = match args.get(Opt::Binary) {
        Some(path) => path.to_owned(),
        None => proc::link(std::process::id() as i32, "exe"),
    };
    if program.is_empty() || program.ends_with(" (deleted)") {
        return Err(
            Error::not_found("the file of this program").hint("--binary names the one that the kernel is to start")
        );
    }
    let default = defaults(&args::dir(args));
    let max_total = number(args, Opt::MaxTotal, default.max_total, &SIZE)?;
    let max_container = size_within(args, Opt::MaxContainer, default.max_container, (Opt::MaxTotal, max_total))?;
    let copy_to = args.get(Opt::CopyTo).unwrap_or_default();
    let is_part = |part: &str| !matches!(part, "" | "." | "..");
    if args.has(Opt::CopyTo) && !copy_to.split('/').all(is_part) {
        return Err(bad_value(
            Opt::CopyTo,
            copy_to,
            "is not a path below the bundle: it has no / in front, no . and no ..",
        ));
    }
    Ok(Settings {
        tool: concat!("ftrace-analyzer ", env!("CARGO_PKG_VERSION")).to_owned(),
        pattern: pattern::ours(&program)?,
        max_dump: size_within(args, Opt::MaxSize, default.max_dump, (Opt::MaxContainer, max_container))?,
        max_container,
        max_total,
        keep_free: number(args, Opt::KeepFree, default.keep_free, &SIZE)?,
        keep: number(args, Opt::Keep, KEEP, &COUNT)? as u32,
        max_age_s: number(args, Opt::MaxAge, 0, &TIME)?,
        environment: args.has(Opt::Environment),
        copy_to: copy_to.to_owned(),
        ..default
    })
}

/// `core install`.
pub fn install(args: &Args<'_>) -> Result<u8> {
    let mut settings = wanted(args)?;
    let done = owner::install(&run_dir(), &mut settings, args.has(Opt::Force), args.has(Opt::Persistent))?;
    for note in &done.notes {
        out::note(&["note: ", &out::shown(note), "\n"].concat());
    }
    if args.has(Opt::Json) {
        return print_json(&mut owner::status(&run_dir())?);
    }
    let text = ["core_pattern is ", &settings.pattern, "; it was ", &done.before].concat();
    let free = sys::free_bytes(Path::new(&settings.dir)).unwrap_or(u64::MAX);
    let room = match free <= settings.keep_free {
        true => [" is full: ", &show_size(settings.keep_free), " are to stay free, "].concat(),
        false => " has room: ".to_owned(),
    };
    out::print([&*out::shown(&text), "\n", &settings.dir, &room, &show_size(free), " are free\n"].concat().as_bytes())?;
    Ok(exit::OK)
}

/// `core uninstall`.
pub fn uninstall(args: &Args<'_>) -> Result<u8> {
    let done = owner::uninstall(&run_dir())?;
    for note in &done.notes {
        out::note(&["note: ", &out::shown(note), "\n"].concat());
    }
    if args.has(Opt::Json) {
        return print_json(&mut owner::status(&run_dir())?);
    }
    let why = if done.was_ours { "" } else { ", which is not of ours and stays" };
    out::print([&*out::shown(&["core_pattern is ", &done.pattern, why].concat()), "\n"].concat().as_bytes())?;
    Ok(exit::OK)
}

fn print_json(status: &mut Status) -> Result<u8> {
    let mut json = Json::new();
    record::write(&mut json, status).newline();
    out::print(json.as_bytes())?;
    Ok(code(status))
}

fn code(status: &Status) -> u8 {
    if status.problems.is_empty() {
        exit::OK
    } else {
        exit::FAILED
    }
}

/// A line of `core status`.
#[inline(never)]
fn row(text: &mut String, name: &str, parts: &[&str]) {
    text.push_str(name);
    for _ in name.len()..18 {
        text.push(' ');
    }
    text.push_str(&out::shown(&parts.concat()));
    text.push('\n');
}

/// `core status`.
pub fn status(args: &Args<'_>) -> Result<u8> {
    let mut status = owner::status(&run_dir())?;
    if args.has(Opt::Json) {
        return print_json(&mut status);
    }
    let mut text = String::new();
    let whose = match &*status.owner {
        "ours" => " (ours)",
        "other" => " (another handler's)",
        _ => " (files)",
    };
    row(&mut text, "core_pattern", &[&status.pattern, whose]);
    row(&mut text, "core_pipe_limit", &[&status.pipe_limit.to_string()]);
    if !status.kernel_modes.is_empty() {
        row(&mut text, "kernel's ways", &[&status.kernel_modes.join(", ")]);
    }
    let set_uid = match status.suid_dumpable {
        0 => " (no dumps of them)",
        2 => " (for root alone)",
        _ => "",
    };
    row(&mut text, "set-uid programs", &["fs.suid_dumpable is ", &status.suid_dumpable.to_string(), set_uid]);
    if status.installed {
        let settings = &status.settings;
        row(&mut text, "installed as", &[&settings.pattern]);
        row(
            &mut text,
            "before",
            &[&settings.previous, ", core_pipe_limit ", &settings.previous_pipe_limit.to_string()],
        );
        row(&mut text, "persistent", &[if status.persistent { "yes" } else { "no, until the next start" }]);
        row(&mut text, "pidfd", &[if status.pidfd.is_empty() { "not tried" } else { &status.pidfd }]);
        let or_none = |number: u64, show: &dyn Fn(u64) -> String| match number {
            0 => "no limit".to_owned(),
            number => show(number),
        };
        row(
            &mut text,
            "dumps",
            &[&status.dumps.to_string(), ", ", &show_size(status.bytes), " in ", &settings.dir, "/cores"],
        );
        row(&mut text, "a dump", &[&or_none(settings.max_dump, &show_size)]);
        let keep = or_none(settings.keep.into(), &|number| number.to_string());
        row(&mut text, "a container", &[&or_none(settings.max_container, &show_size), ", dumps: ", &keep]);
        row(
            &mut text,
            "all",
            &[&or_none(settings.max_total, &show_size), ", stay free: ", &show_size(settings.keep_free)],
        );
        row(&mut text, "age", &[&or_none(settings.max_age_s, &|s| show_duration(s.saturating_mul(1_000_000_000)))]);
        row(&mut text, "environment", &[if settings.environment { "written down" } else { "not written down" }]);
        if !settings.copy_to.is_empty() {
            row(&mut text, "copies", &["in the bundle's ", &settings.copy_to]);
        }
    }
    for problem in &status.problems {
        row(&mut text, "problem", &[problem]);
    }
    out::print(text.as_bytes())?;
    Ok(code(&status))
}
