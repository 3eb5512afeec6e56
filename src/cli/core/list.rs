// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `core list`: the dumps that there are, for people as a table, for programs that carry them off as lines of JSON; and which
//! of them is meant by a name.
//!
//! In the order in which they were stored: who has read up to a dump's number has read all before it.

use std::path::Path;

use crate::calendar::Utc;
use crate::cli::args::{self, Args, Opt};
use crate::cli::table::Table;
use crate::cli::{out, select, units};
use crate::core_dump::keeper::{self, Dump, ABOUT, CORE, CORES};
use crate::core_dump::{owner, pattern};
use crate::error::{exit, Error, Result};
use crate::ids::is_pod;
use crate::json::Json;
use crate::recorder::{for_each_dir, run_dir};
use crate::recording::{Anchor, Meta};
use crate::report::{parse_duration, parse_time};
use crate::sys;
use crate::words::{beginning, number};

/// From here on a bare number is a dump's, and no number of seconds.
const NUMBERS_FROM: u64 = 1_000_000_000_000_000;
const SECOND: u64 = 1_000_000_000;
const DAY: u64 = 86_400 * SECOND;
/// Most characters of a cell.
const CELL_MAX: usize = 240;

const COLUMNS: usize = 8;
const HEAD: [&str; COLUMNS] = ["CORE", "USER", "POD", "TIME (UTC)", "PROCESS", "SIGNAL", "STATE", "SIZE"];
/// Columns that are shown only if there is something in them.
const USER: usize = 1;
const POD: usize = 2;
/// Numbers from here on.
const NUMBERS: usize = 7;

/// From which dump on.
enum Since {
    /// Behind the one of this number.
    Number(u64),
    /// Processes that died then or later, nanoseconds since 1970.
    Time(u64),
}

fn since(word: &str) -> Result<Since> {
    if let Some(of_dump) = number(word).filter(|value| *value >= NUMBERS_FROM) {
        return Ok(Since::Number(of_dump));
    }
    let now = sys::realtime_ns();
    if let Ok(ago) = parse_duration(word) {
        return Ok(Since::Time(now.saturating_sub(ago)));
    }
    // A time of day is today's.
    let midnight = now - now % DAY;
    let anchors = vec![Anchor { trace_ns: midnight, realtime_ns: midnight }];
    let time = parse_time(word, &Meta { anchors, ..Meta::default() }, 0).map_err(|_| {
        args::bad_value(
            Opt::Since,
            word,
            "is no time; write 09:24:53, 2026-11-23T09:24:53Z, 2h (ago) or a dump's number",
        )
    })?;
    Ok(Since::Time(time))
}

/// Whether a dump is one of those that a word may mean.
fn is_meant(wanted: &str, dump: &Dump) -> bool {
    match wanted.strip_prefix("pod:") {
        Some(pod) => is_pod(pod, &dump.about.container.pod_path()),
        None => dump.about.container.id == wanted || select::unit(&dump.dir).starts_with(wanted),
    }
}

/// All dumps that are wanted, in the order of their numbers, for root those of users too; and what can not be read.
fn gather(base: &Path, wanted: &dyn Fn(&Dump) -> bool) -> (Vec<Dump>, Vec<Error>) {
    let (mut dumps, mut wrong) = (Vec::<Dump>::new(), Vec::new());
    for_each_dir(base, &mut |dir| {
        let _owner = sys::as_owner();
        match keeper::list(dir) {
            Ok((found, bad)) => {
                for dump in found.into_iter().filter(|dump| wanted(dump)) {
                    let at = dumps.partition_point(|known| known.about.stored_ns <= dump.about.stored_ns);
                    dumps.insert(at, dump);
                }
                wrong.extend(bad);
            }
            Err(why) => wrong.push(why),
        }
    });
    (dumps, wrong)
}

/// The dump that a word means: its directory or the file in it, its name, the unique beginning of one; of a container, or of
/// `pod:NAMESPACE/POD[/CONTAINER]`, the newest; without a word the newest of all. What lies in a user's directory is read with
/// his rights from then on.
pub(super) fn find(base: &Path, wanted: Option<&str>) -> Result<Dump> {
    if let Some(path) = wanted.map(Path::new) {
        let dirs = [Some(path), sys::parent(path).filter(|_| path.ends_with(CORE))];
        let is_one = |dir: &Path| sys::status_of_link(&dir.join(ABOUT)).is_ok_and(|file| file.is_file());
        if let Some(dir) = dirs.into_iter().flatten().find(|dir| is_one(dir)) {
            select::read_as_owner(dir);
            return keeper::read(dir);
        }
    }
    let (mut dumps, _) = gather(base, &|dump| wanted.map_or(true, |wanted| is_meant(wanted, dump)));
    let Some(newest) = dumps.pop() else {
        let what = wanted.map_or_else(String::new, |wanted| [" ", wanted].concat());
        let error = Error::not_found(["a core dump", &what, " in ", &base.join(CORES).to_string_lossy()].concat());
        return Err(error.hint("ftrace-analyzer core list shows what there is"));
    };
    let names = |dump: &Dump| match wanted {
        Some(wanted) if wanted.starts_with("pod:") => dump.about.container.pod_path(),
        _ => dump.about.container.id.clone(),
    };
    let label = names(&newest);
    let others: Vec<String> = dumps.iter().map(names).filter(|other| *other != label).collect();
    let is_exact = |dump: &Dump| wanted.is_some_and(|wanted| wanted == dump.about.container.id);
    if wanted.is_some() && !others.is_empty() {
        // A container may be called as others begin.
        if let Some(at) = dumps.iter().rposition(is_exact).filter(|_| !is_exact(&newest)) {
            return Ok(chosen(dumps.swap_remove(at)));
        }
        if !is_exact(&newest) {
            let all: Vec<&str> = others.iter().chain([&label]).map(String::as_str).collect();
            return Err(Error::several("core dumps", wanted.unwrap_or_default(), &all));
        }
    }
    Ok(chosen(newest))
}

fn chosen(dump: Dump) -> Dump {
    select::read_as_owner(&dump.dir);
    dump
}

fn push_json(json: &mut Json, Dump { dir, about, bytes }: &Dump) {
    let container = &about.container;
    json.begin_object().field_u64("schema", 1).field_str("type", "core");
    json.field_str("core", &select::unit(dir)).field_str("path", &dir.to_string_lossy());
    json.key("number").quoted_u64(about.stored_ns).key("time").quoted_u64(about.time_ns);
    json.field_str("node", &about.node).field_str("container", &container.id);
    json.field_str("namespace", &container.namespace).field_str("pod", &container.pod);
    json.field_str("container_name", &container.name).field_str("image", &container.image);
    json.field_str("engine", &about.engine).field_i64("pid", i64::from(about.pid));
    json.field_str("comm", &about.comm).field_str("executable", &about.executable);
    json.field_i64("signal", i64::from(about.signal)).field_str("signal_name", &about.signal_name);
    json.field_bool("complete", about.cut.is_empty()).field_str("cut", &about.cut);
    json.field_u64("bytes", about.bytes).field_u64("stored", *bytes);
    json.field_u64("not_kept", u64::from(about.not_kept)).field_u64("more", u64::from(about.more));
    if about.owner != 0 {
        json.field_u64("user", u64::from(about.owner));
    }
    json.end_object().newline();
}

/// What is said where there is no dump: where they would be, and whether any would come.
fn nothing(base: &Path) -> String {
    let found = owner::status(&run_dir());
    let is_ours = found.is_ok_and(|status| pattern::is_ours(&status.pattern));
    let why = if is_ours {
        ""
    } else {
        "; none will come: core_pattern is not ours, ftrace-analyzer core install makes it so"
    };
    ["no core dumps in ", &base.join(CORES).to_string_lossy(), why, "\n"].concat()
}

/// `core list`.
pub fn list(args: &Args<'_>) -> Result<u8> {
    let base = args::dir(args);
    let since = args.get(Opt::Since).map(since).transpose()?;
    let is_wanted = |dump: &Dump| {
        let is_since = match since {
            None => true,
            Some(Since::Number(number)) => dump.about.stored_ns > number,
            Some(Since::Time(time)) => dump.about.time_ns >= time,
        };
        is_since && args.word.map_or(true, |word| is_meant(word, dump))
    };
    let (dumps, wrong) = gather(&base, &is_wanted);
    let mut json = Json::new();
    let (mut cells, mut has_users, mut has_pods) = (Vec::new(), false, false);
    for dump in &dumps {
        if args.has(Opt::Json) {
            push_json(&mut json, dump);
            continue;
        }
        let about = &dump.about;
        has_users |= about.owner != 0;
        let mut pod = about.container.pod_path();
        has_pods |= !pod.is_empty();
        if pod.is_empty() {
            pod.push('-');
        }
        let time = Utc::from_unix(about.time_ns / SECOND).to_string();
        let state = if about.cut.is_empty() { "complete" } else { "cut" };
        let user = about.owner.to_string();
        let size = units::show_size(dump.bytes);
        let row = [&*select::unit(&dump.dir), &user, &pod, &time, &about.comm, signal(about), state, &size];
        // Whoever died may be called anything.
        cells.extend(row.map(|cell| out::shown(beginning(cell, CELL_MAX))));
    }
    if args.has(Opt::Json) {
        out::print(json.as_bytes())?;
    } else if !cells.is_empty() {
        let columns = [(USER, has_users), (POD, has_pods)];
        let hidden: Vec<usize> = columns.iter().filter(|(_, is_shown)| !is_shown).map(|(at, _)| *at).collect();
        out::print(Table { head: &HEAD, numbers: NUMBERS, hidden: &hidden }.text(&cells).as_bytes())?;
    } else if wrong.is_empty() {
        if let Some(word) = args.word {
            return Err(Error::not_found(["a core dump of ", word].concat()).hint("core list without a name shows all"));
        }
        out::print(nothing(&base).as_bytes())?;
    }
    for why in &wrong {
        out::complain("core list", why);
    }
    Ok(if wrong.is_empty() { exit::OK } else { exit::FAILED })
}

/// The signal's name; `?` for one that has none.
pub(super) fn signal(about: &crate::core_dump::about::About) -> &str {
    if about.signal_name.is_empty() {
        "?"
    } else {
        &about.signal_name
    }
}
