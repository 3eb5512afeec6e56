// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `core info`: what is known of one dump, for people, with the last calls of its process; or as JSON.

use std::path::Path;

use super::{calls, list};
use crate::calendar::Utc;
use crate::cli::args::{self, Args, Opt};
use crate::cli::table::push_blanks;
use crate::cli::units::{show_size, Scale};
use crate::cli::{out, select};
use crate::core_dump::about::About;
use crate::core_dump::keeper::Dump;
use crate::error::{exit, Result};
use crate::json::Json;
use crate::record;
use crate::sys;
use crate::words::{breaks, quoted};

/// Lines of calls that are shown where nobody says how many, and most of them.
const CALLS: u64 = 24;
const CALLS_MAX: Scale =
    Scale { units: &[("", 1)], capitals: false, range: (0, 1_000_000), wrong: "is no number of lines" };
/// Characters of what stands in front.
const LABEL: usize = 12;

/// The page that is shown.
struct Page(String);

impl Page {
    /// A line; none where there is nothing to say. Whoever died has had his hand in all of it.
    fn line(&mut self, label: &str, parts: &[&str]) {
        if parts.iter().all(|part| part.is_empty()) {
            return;
        }
        self.0.push_str(label);
        push_blanks(&mut self.0, LABEL.saturating_sub(label.len()));
        for part in parts {
            self.0.push_str(&out::shown(part));
        }
        self.0.push('\n');
    }

    /// What several lines are about.
    fn title(&mut self, parts: &[&str]) {
        self.0.push('\n');
        for part in parts {
            self.0.push_str(&out::shown(part));
        }
        self.0.push_str(":\n");
    }
}

/// `before` and a text; nothing where the text is empty.
fn with(before: &str, text: &str, behind: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    [before, text, behind].concat()
}

/// A command line, with quotes where words could be mistaken.
fn command(words: &[String]) -> String {
    let mut line = String::new();
    for word in words {
        if !line.is_empty() {
            line.push(' ');
        }
        let is_plain = !word.is_empty() && !word.chars().any(|char| breaks(char) || matches!(char, ' ' | '"' | '\''));
        line.push_str(&if is_plain { word.clone() } else { quoted(word) });
    }
    line
}

/// A number and what it is inside of the container, where that is another.
fn with_inner(outer: i32, inner: i32) -> String {
    let text = outer.to_string();
    if inner == outer {
        return text;
    }
    [&text, " (", &inner.to_string(), " in the container)"].concat()
}

fn push_head(page: &mut Page, dir: &Path, about: &About, stored: u64) {
    let container = &about.container;
    page.line("core", &[&select::unit(dir)]);
    page.line("directory", &[&dir.to_string_lossy()]);
    let time = Utc::from_unix(about.time_ns / 1_000_000_000).to_string();
    page.line("died", &[&time, " UTC on ", &about.node]);
    let (code, address) = (with(" (", &about.code_name, ")"), with(", at address ", &about.address, ""));
    page.line("signal", &[list::signal(about), " ", &about.signal.to_string(), &code, &address]);
    let engine = with(" (", &about.engine, ")");
    page.line("container", &[&container.id, if container.id.is_empty() { "" } else { &engine }]);
    page.line("within", &[&about.within]);
    page.line("pod", &[&container.pod_path()]);
    page.line("image", &[&container.image]);
    let pid = with_inner(about.pid, about.inner_pid);
    page.line("process", &[&pid, " ", &about.comm]);
    let name = about.threads.iter().find(|thread| thread.tid == about.tid).map_or("", |thread| &thread.comm);
    page.line("thread", &[&with_inner(about.tid, about.inner_tid), " ", name]);
    page.line("program", &[&about.executable, &with(", build id ", &about.build_id, "")]);
    page.line("command", &[&command(&about.command)]);
    let (user, group) = (about.user.to_string(), about.group.to_string());
    page.line("user", &[&user, ", group ", &group, &with(", capabilities 0x", &about.capabilities, "")]);
    page.line("at", &[&about.pc, &with(" in ", &about.pc_file, ""), &with(" + ", &about.pc_offset, "")]);
    let whole = if about.cut.is_empty() { ", complete" } else { ", cut: " };
    page.line("size", &[&show_size(about.bytes), ", ", &show_size(stored), " on disk", whole, &about.cut]);
    if about.not_kept > 0 {
        page.line("not kept", &[&about.not_kept.to_string(), " dumps of the container that came before this one"]);
    }
    if about.more > 0 {
        page.line("not kept", &[&about.more.to_string(), " dumps of the container that came after this one"]);
    }
    if about.owner != 0 {
        page.line("owner", &["user ", &about.owner.to_string()]);
    }
    page.line("recording", &[&about.recording]);
    for problem in &about.problems {
        page.line("problem", &[problem]);
    }
}

fn push_lists(page: &mut Page, about: &About) {
    page.title(&["threads (", &about.threads.len().to_string(), ")"]);
    for thread in &about.threads {
        let mark = if thread.tid == about.tid { " *" } else { "" };
        page.line("", &[&with_inner(thread.tid, thread.inner_tid), " ", &thread.comm, mark]);
    }
    page.title(&["open descriptors"]);
    for file in &about.descriptors {
        page.line("", &[&file.fd.to_string(), " ", &file.path]);
    }
    page.title(&["mapped files"]);
    for file in &about.files {
        page.line("", &[&file.start, " ", &file.path, &with(", build id ", &file.build_id, "")]);
    }
    page.title(&["limits (soft and hard)"]);
    for (name, values) in &about.limits {
        page.line("", &[name, ": ", values]);
    }
    if !about.environment.is_empty() {
        page.title(&["environment"]);
        for line in &about.environment {
            page.line("", &[line]);
        }
    }
}

/// The frames of the dying thread, a line each: where, which file and where in it, and how that is known.
fn backtrace(about: &About) -> Vec<String> {
    let mut lines = Vec::new();
    for frame in &about.backtrace {
        let plus = if frame.file.is_empty() { "" } else { "+" };
        let words = ["#", &lines.len().to_string(), " ", &frame.pc, " ", &frame.file, plus, &frame.offset];
        let how = if frame.by == "register" { String::new() } else { [" (by ", &frame.by, ")"].concat() };
        lines.push(words.concat() + &how);
    }
    lines
}

/// `core info`.
pub fn info(args: &Args<'_>) -> Result<u8> {
    let most = args::number(args, Opt::Calls, CALLS, &CALLS_MAX)? as usize;
    let Dump { dir, mut about, bytes } = list::find(&args::dir(args), args.word)?;
    let frames = backtrace(&about);
    let mut lines = Vec::new();
    let has_calls = sys::status_of_link(&dir.join("meta.json")).is_ok_and(|file| file.is_file());
    if has_calls && most > 0 {
        match calls::last(&dir, &about, most) {
            Ok(found) => lines = found,
            Err(why) => about.problems.push(why.to_string()),
        }
    }
    if args.has(Opt::Json) {
        let mut json = Json::new();
        json.begin_object().field_u64("schema", 1).field_str("type", "core_info");
        json.field_str("path", &dir.to_string_lossy()).field_u64("stored", bytes).key("core");
        record::write(&mut json, &mut *about).key("calls").begin_array();
        for line in &lines {
            json.bytes(line);
        }
        json.end_array().end_object().newline();
        return out::print(json.as_bytes()).map(|()| exit::OK);
    }
    let mut page = Page(String::new());
    push_head(&mut page, &dir, &about, bytes);
    push_lists(&mut page, &about);
    if !frames.is_empty() {
        page.title(&["backtrace of the thread that died"]);
        for frame in &frames {
            page.line("", &[frame]);
        }
    }
    if !lines.is_empty() {
        page.title(&["last system calls of the process (of all: ftrace-analyzer report ", &dir.to_string_lossy(), ")"]);
    }
    let mut text = page.0.into_bytes();
    for line in lines {
        text.extend_from_slice(&line);
        text.push(b'\n');
    }
    out::print(&text).map(|()| exit::OK)
}
