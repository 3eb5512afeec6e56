// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A ring of a real kernel held against the kernel's own text and counts of it: what `tests/captures/make` leaves.
//!
//! Nothing about a kernel is written here: layouts, formats and numbers are the capture's.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ftrace_analyzer::format::{parse_event, parse_header_page, Event, Schema};
use ftrace_analyzer::ringbuf::{Missed, Page, PageLayout};

/// One ring: a directory with `header_page`, `trace.txt` and `cpuN.raw`, `cpuN.stats`.
pub struct Capture {
    pub dir: PathBuf,
    pub layout: PageLayout,
    pub schema: Schema,
    /// Event names by number.
    pub names: BTreeMap<u16, String>,
    /// Number and raw bytes.
    pub cpus: Vec<(u32, Vec<u8>)>,
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// Every ring below `base`, of every board that a directory of it holds.
pub fn captures_in(base: &Path) -> Vec<Capture> {
    let mut captures = Vec::new();
    for board in entries(base).into_iter().filter(|board| board.is_dir()) {
        for dir in entries(&board).into_iter().filter(|dir| dir.join("header_page").exists()) {
            captures.push(load(&board, dir));
        }
    }
    assert!(!captures.is_empty(), "no captures in {}", base.display());
    captures
}

fn load(board: &Path, dir: PathBuf) -> Capture {
    let mut schema = Schema::default();
    let mut names = BTreeMap::new();
    for &(system, name) in Schema::EVENTS {
        let path = board.join("events").join(system).join(name).join("format");
        let text = read(&path);
        let format = parse_event(&text).unwrap();
        assert_eq!(format.name, name);
        assert_eq!(schema.add(&format), Ok(true), "{}", path.display());
        names.insert(format.id, name.to_owned());
    }
    assert!(schema.has_syscalls());
    let layout = parse_header_page(&read(&dir.join("header_page"))).unwrap();
    let mut cpus = Vec::new();
    for path in entries(&dir) {
        let cpu = path.file_name().unwrap().to_str().unwrap().strip_prefix("cpu").and_then(|n| n.strip_suffix(".raw"));
        if let Some(cpu) = cpu {
            cpus.push((cpu.parse().unwrap(), fs::read(&path).unwrap()));
        }
    }
    cpus.sort();
    Capture { dir, layout, schema, names, cpus }
}

/// A line of the kernel's text, and the same of ours.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    pid: i32,
    cpu: u32,
    /// Microseconds.
    time: u64,
    event: String,
    text: String,
}

impl Capture {
    pub fn pages<'a>(&'a self, raw: &'a [u8]) -> impl Iterator<Item = Page<'a>> {
        assert_eq!(raw.len() % self.layout.subbuf_size(), 0, "{}: whole sub-buffers", self.dir.display());
        raw.chunks(self.layout.subbuf_size()).map(|page| Page::parse(page, &self.layout).unwrap())
    }

    /// All records in the order of time and, at the same nanosecond, of CPUs, which is the kernel's own.
    pub fn records(&self) -> Vec<(u64, u32, &[u8])> {
        let mut records = Vec::new();
        for (cpu, raw) in &self.cpus {
            let mut before = 0;
            for record in self.pages(raw).flat_map(|page| page.records()) {
                let record = record.unwrap();
                assert!(record.ts >= before, "{}: time goes back on CPU {cpu}", self.dir.display());
                before = record.ts;
                records.push((record.ts, *cpu, record.data));
            }
        }
        records.sort_by_key(|(ts, cpu, _)| (*ts, *cpu));
        records
    }

    /// A counter of `cpuN.stats`.
    pub fn stat(&self, cpu: u32, name: &str) -> u64 {
        let stats = read(&self.dir.join(format!("cpu{cpu}.stats")));
        let value = stats.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        value.unwrap_or_else(|| panic!("no {name} in {stats}")).trim().parse().unwrap()
    }

    pub fn text(&self) -> String {
        read(&self.dir.join("trace.txt"))
    }
}

/// `            comm-PID     [CPU] flags  SECONDS.MICROS: EVENT: TEXT`; the name may hold anything but ` [`.
fn parse_line(line: &str) -> Option<Line> {
    let (task, rest) = line.split_once(" [")?;
    let (cpu, rest) = rest.split_once("] ")?;
    let (_flags, rest) = rest.split_once(' ')?;
    let (time, rest) = rest.trim_start().split_once(": ")?;
    let (event, text) = rest.split_once(": ")?;
    let (seconds, micros) = time.split_once('.')?;
    Some(Line {
        pid: task.rsplit_once('-')?.1.trim().parse().ok()?,
        cpu: cpu.parse().ok()?,
        time: seconds.parse::<u64>().ok()? * 1_000_000 + micros.parse::<u64>().ok().filter(|_| micros.len() == 6)?,
        event: event.to_owned(),
        text: text.to_owned(),
    })
}

fn lossy(comm: &[u8]) -> String {
    String::from_utf8_lossy(comm).into_owned()
}

/// What the kernel's text of the event must say, as parts in their order; we do not decode every field.
fn parts(event: &Event<'_>) -> Vec<String> {
    match *event {
        Event::SysEnter { nr, args } => {
            let args = args.map(|arg| format!("{arg:x}")).join(", ");
            vec![format!("NR {nr} ({args})")]
        }
        Event::SysExit { nr, ret } => vec![format!("NR {nr} = {ret}")],
        Event::Contents(_) | Event::Mark { .. } => Vec::new(),
        Event::Fork { parent, child, comm } => {
            vec!["comm=".into(), format!(" pid={parent} child_comm={} child_pid={child}", lossy(comm))]
        }
        Event::NewTask { pid, flags, comm } => {
            vec![format!("pid={pid} comm={} clone_flags={flags:x} ", lossy(comm))]
        }
        Event::Exec { pid, old_pid, filename } => {
            vec![format!("filename={} pid={pid} old_pid={old_pid}", lossy(filename))]
        }
        Event::Exit { pid, comm } => vec![format!("comm={} pid={pid} prio=", lossy(comm))],
        Event::Rename { pid, comm } => vec![format!("pid={pid} "), format!(" newcomm={} ", lossy(comm))],
        Event::SignalDeliver { sig, code, handler } => {
            vec![format!("sig={sig} errno="), format!(" code={code} sa_handler={handler:x} ")]
        }
        Event::SignalGenerate { sig, code, pid, group, result } => vec![
            format!("sig={sig} errno="),
            format!(" code={code} comm="),
            format!(" pid={pid} grp={} res={result}", u8::from(group)),
        ],
        Event::Other { id } => panic!("event {id} was not decoded"),
    }
}

/// Whether `text` begins with the first part, has the others behind it, and ends with the last where that names the
/// last field.
fn says(text: &str, parts: &[String]) -> bool {
    let Some(mut rest) = text.strip_prefix(parts[0].as_str()) else { return false };
    for part in &parts[1..] {
        let Some(at) = rest.find(part.as_str()) else { return false };
        rest = &rest[at + part.len()..];
    }
    // A part that ends inside a number would pass for a longer one.
    rest.is_empty() || parts[parts.len() - 1].ends_with([' ', '='])
}

/// Our records are the lines of the kernel's own text.
pub fn check_text(capture: &Capture) {
    let at = capture.dir.display();
    let text = capture.text();
    let mut lines = text.lines().filter(|line| !line.starts_with('#'));
    let mut count = 0;
    for (ts, cpu, data) in capture.records() {
        count += 1;
        let line = lines.next().unwrap_or_else(|| panic!("{at}: the text ends before record {count}"));
        let theirs = parse_line(line).unwrap_or_else(|| panic!("{at}: not understood: {line}"));
        let common = Schema::common(data).unwrap();
        let event = capture.schema.decode(common.id, data);
        let ours = Line {
            pid: common.pid,
            cpu,
            // The kernel rounds to the nearest microsecond (kernel/trace/trace.c ns2usecs).
            time: (ts + 500) / 1000,
            event: capture.names[&common.id].clone(),
            text: theirs.text.clone(),
        };
        assert_eq!(ours, theirs, "{at}: record {count}, {ts} ns");
        assert!(says(&theirs.text, &parts(&event)), "{at}: {line}\n{event:?}");
    }
    assert_eq!(lines.next(), None, "{at}: the text goes on after {count} records");
    assert!(count > 0, "{at}");
}

/// As many records as the kernel says were read.
pub fn check_read(capture: &Capture) {
    for (cpu, raw) in &capture.cpus {
        let records = capture.pages(raw).flat_map(|page| page.records()).count() as u64;
        assert_eq!(records, capture.stat(*cpu, "read events"), "{} CPU {cpu}", capture.dir.display());
        // Nothing was left behind, so that the counts below say it all.
        assert_eq!(capture.stat(*cpu, "entries"), 0);
    }
}

/// As many missed events as the kernel says were overrun.
pub fn check_missed(capture: &Capture) {
    let mut all = 0;
    for (cpu, raw) in &capture.cpus {
        let overrun = capture.stat(*cpu, "overrun");
        let (mut missed, mut unknown) = (0, 0);
        for page in capture.pages(raw) {
            match page.missed() {
                Missed::None => {}
                Missed::Count(count) => missed += count,
                Missed::Unknown => unknown += 1,
            }
        }
        // A page too full for the number says only that there was one.
        if unknown == 0 {
            assert_eq!(missed, overrun, "{} CPU {cpu}", capture.dir.display());
        } else {
            assert!(missed + unknown <= overrun, "{} CPU {cpu}", capture.dir.display());
        }
        all += overrun + capture.stat(*cpu, "read events");
    }
    // `# entries-in-buffer/entries-written: 657/1078   #P:2`
    let text = capture.text();
    let written = text.lines().find_map(|line| line.strip_prefix("# entries-in-buffer/entries-written: "));
    let written = written.and_then(|rest| rest.split_whitespace().next()?.split_once('/')).unwrap().1;
    assert_eq!(all, written.parse::<u64>().unwrap(), "{}", capture.dir.display());
}
