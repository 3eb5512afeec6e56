// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Calls read from strace's output and from our text report, and one held against the other.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;

/// A call as it was printed.
#[derive(Clone, Debug)]
pub struct Printed {
    pub name: String,
    pub args: Vec<String>,
    /// All behind ` = `, without the time it took.
    pub result: String,
}

/// Calls by task, tasks in the order of their first call.
pub struct Tasks(pub Vec<(String, Vec<Printed>)>);

impl Tasks {
    fn push(&mut self, task: &str, call: Printed) {
        match self.0.iter_mut().find(|(of, _)| of == task) {
            Some((_, calls)) => calls.push(call),
            None => self.0.push((task.into(), vec![call])),
        }
    }

    /// Leaves out all of the first task up to the call that `is_begin` and from the one that `is_end`.
    pub fn between(mut self, is_begin: impl Fn(&Printed) -> bool, is_end: impl Fn(&Printed) -> bool) -> Tasks {
        let (_, calls) = self.0.first_mut().expect("a task");
        let begin = calls.iter().position(is_begin).expect("the mark of the begin");
        let end = calls.iter().position(is_end).expect("the mark of the end");
        *calls = calls[begin + 1..end].to_vec();
        self
    }
}

/// Splits `name(a, b) = result`; what is in quotes or brackets is one piece.
fn parse(line: &str) -> Option<Printed> {
    let (name, rest) = line.split_once('(')?;
    let mut args = vec![String::new()];
    let mut depth = 0;
    let mut quoted = false;
    let mut chars = rest.char_indices();
    let mut end = None;
    while let Some((at, c)) = chars.next() {
        let arg = args.last_mut().unwrap();
        match c {
            '\\' if quoted => {
                arg.push(c);
                arg.extend(chars.next().map(|(_, c)| c));
                continue;
            }
            '"' => quoted = !quoted,
            _ if quoted => {}
            '(' | '[' | '{' => depth += 1,
            ')' if depth == 0 => {
                end = Some(at);
                break;
            }
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                args.push(String::new());
                continue;
            }
            _ => {}
        }
        arg.push(c);
    }
    let args: Vec<String> = args.iter().map(|arg| without_comments(arg.trim())).collect();
    let args = if args == [""] { Vec::new() } else { args };
    let result = rest[end? + 1..].trim_start().strip_prefix("= ")?.trim();
    Some(Printed { name: name.into(), args, result: result.into() })
}

/// `0x63 /* FUTEX_??? */` is `0x63`, and `10 /* SYSLOG_ACTION_SIZE_BUFFER */` the name.
fn without_comments(text: &str) -> String {
    match (text.find(" /* "), text.find(" */")) {
        (Some(from), Some(to)) if !text.starts_with('"') => match &text[from + 4..to] {
            comment if comment.contains('?') || !comment.contains('_') => {
                format!("{}{}", &text[..from], &text[to + 3..])
            }
            comment => comment.to_owned(),
        },
        _ => text.to_owned(),
    }
}

/// Output of `strace -f -o FILE`.
pub fn of_strace(text: &str) -> Tasks {
    let mut tasks = Tasks(Vec::new());
    let mut open: BTreeMap<String, String> = BTreeMap::new();
    for line in text.lines() {
        let (task, rest) = line.split_once(' ').unwrap();
        let rest = rest.trim_start();
        if rest.starts_with("---") || rest.starts_with("+++") {
            continue;
        }
        let mut whole = rest.to_owned();
        if let Some(begin) = rest.strip_suffix("<unfinished ...>") {
            open.insert(task.into(), begin.trim_end().into());
            continue;
        }
        if rest.starts_with("<... ") {
            let begin = open.remove(task).expect("a call to resume");
            whole = format!("{begin} {}", rest.split_once("resumed>").unwrap().1.trim_start());
        }
        let call = parse(&whole).unwrap_or_else(|| panic!("strace printed {whole}"));
        tasks.push(task, call);
    }
    tasks
}

/// Without the paths behind descriptors (`3</path>`), which strace prints with -y only.
fn without_targets(line: &str) -> String {
    let mut kept = String::new();
    let mut rest = line;
    while let Some(at) = rest.find('<') {
        let (before, behind) = rest.split_at(at);
        kept.push_str(before);
        let end = behind.find('>').filter(|_| before.ends_with(|last: char| last.is_ascii_digit() || last == 'D'));
        let skipped = end.map_or(1, |end| end + 1);
        if end.is_none() {
            kept.push('<');
        }
        rest = &behind[skipped..];
    }
    kept + rest
}

/// Our text report.
pub fn of_report(text: &str) -> Tasks {
    let mut tasks = Tasks(Vec::new());
    for line in text.lines().filter(|line| line.starts_with("[pid ")) {
        let task = line["[pid ".len()..].split(' ').next().unwrap();
        let (_, rest) = line.split_once("] ").unwrap();
        let (_, rest) = rest.split_once(' ').unwrap();
        if rest.starts_with("---") || rest.starts_with("+++") {
            continue;
        }
        let rest =
            rest.rsplit_once(" <").map_or(rest, |(before, time)| if time.ends_with('>') { before } else { rest });
        let rest = &without_targets(rest);
        let call = parse(rest).unwrap_or_else(|| panic!("the report has {rest}"));
        tasks.push(task, call);
    }
    tasks
}

/// What came of comparing.
#[derive(Default)]
pub struct Score {
    pub calls: usize,
    pub calls_equal: usize,
    pub arguments: usize,
    pub arguments_equal: usize,
    /// Arguments that strace read from memory.
    pub memory: usize,
    /// Of those, the ones that we have as text, and the equal ones among them.
    pub memory_known: usize,
    pub memory_equal: usize,
    /// Different names of calls in the comparison.
    pub names: std::collections::BTreeSet<String>,
    pub differences: Vec<String>,
}

/// Whether the traced program's memory had to be read for it.
fn of_memory(text: &str) -> bool {
    text.starts_with(['"', '[', '{'])
}

/// Whether what we know of memory is what strace read there. Of an array some strings may be known to us and others not.
fn same_memory(theirs: &str, ours: &str) -> bool {
    let strings = |text: &str| parse(&format!("array({})= 0", text.trim_matches(['[', ']']))).map(|array| array.args);
    match (strings(theirs), strings(ours)) {
        (Some(theirs), Some(ours)) if theirs.len() == ours.len() => {
            let mut pairs = theirs.iter().zip(&ours);
            pairs.all(|(theirs, ours)| theirs == ours || ours.starts_with("0x"))
        }
        _ => false,
    }
}

/// ARM has calls with another order of arguments; the kernel, and we, name them so, and strace prints what they stand for.
fn as_the_kernel_names_it(their: &Printed, our: &Printed) -> Printed {
    let mut their = their.clone();
    match (their.name.as_str(), our.name.as_str()) {
        ("fadvise64_64", "arm_fadvise64_64") => their.args[1..].rotate_right(1),
        ("sync_file_range2", "arm_sync_file_range") => {}
        _ => return their,
    }
    our.name.clone_into(&mut their.name);
    their
}

/// Results are equal but for what strace read from memory: ` ([{fd=3, revents=POLLIN}])`.
fn result(text: &str) -> &str {
    text.find(" ([").map_or(text, |at| &text[..at])
}

/// Calls whose results are numbers that the kernel gives as they come, or times.
const NUMBERED: [&str; 11] = [
    "getppid",
    "getpgrp",
    "shmget",
    "semget",
    "msgget",
    "keyctl",
    "times",
    "time",
    "io_setup",
    "add_key",
    "request_key",
];

/// Calls whose results are compared without what stands behind them in brackets: strace adds the date to times, and 6.1 does
/// not know all that membarrier can do.
const NUMBER_ONLY: [&str; 3] = ["times", "time", "membarrier"];

/// Holds `ours` against strace's `theirs`. `known` tells why a difference is meant to be.
pub fn compare(theirs: &Tasks, ours: &Tasks, known: &dyn Fn(&Printed, &Printed, usize) -> bool) -> Score {
    let mut score = Score::default();
    // Numbers that the kernel gives differ from run to run.
    let tasks = theirs.0.iter().zip(&ours.0);
    let mut numbers: BTreeMap<String, String> =
        tasks.map(|((theirs, _), (ours, _))| (theirs.clone(), ours.clone())).collect();
    fn same(numbers: &BTreeMap<String, String>, theirs: &str, ours: &str) -> bool {
        theirs == ours || numbers.get(theirs).is_some_and(|number| number == ours)
    }
    if theirs.0.len() != ours.0.len() {
        score.differences.push(format!("{} tasks, and {} under strace", ours.0.len(), theirs.0.len()));
    }
    for ((_, theirs), (task, ours)) in theirs.0.iter().zip(&ours.0) {
        if theirs.len() != ours.len() {
            score.differences.push(format!("task {task}: {} calls, and {} under strace", ours.len(), theirs.len()));
        }
        for (their, our) in theirs.iter().zip(ours) {
            let their = &as_the_kernel_names_it(their, our);
            score.calls += 1;
            score.names.insert(our.name.clone());
            let shown = || format!("{}({}) = {}", our.name, our.args.join(", "), our.result);
            let model = || format!("{}({}) = {}", their.name, their.args.join(", "), their.result);
            // On i386 strace prints the call that is meant; the arguments of socketcall it reads from memory.
            let through_ipc = our.name == "ipc" && our.args[0].to_lowercase() == their.name;
            let indirect = our.name == "socketcall" && our.args[0] == format!("SYS_{}", their.name.to_uppercase());
            let (their_result, our_result) = (result(&their.result), result(&our.result));
            if NUMBERED.contains(&their.name.as_str()) && !their_result.starts_with('-') && !our_result.starts_with('-')
            {
                let number = |text: &str| text.split(' ').next().unwrap_or_default().to_owned();
                numbers.insert(number(their_result), number(our_result));
            }
            let first = |text: &str| {
                if NUMBER_ONLY.contains(&our.name.as_str()) {
                    text.split(' ').next().unwrap_or_default().to_owned()
                } else {
                    text.to_owned()
                }
            };
            // The address it gives lies in memory, too.
            let from_memory = through_ipc && their.name == "shmat";
            let named = their.name == our.name || indirect || through_ipc;
            let equal = named && (from_memory || same(&numbers, &first(their_result), &first(our_result)));
            if indirect && equal {
                score.calls_equal += 1;
                score.memory += their.args.len();
                score.arguments += 1;
                score.arguments_equal += 1;
                continue;
            }
            score.calls_equal += usize::from(equal);
            let mut differs = !equal;
            let our_args = &our.args[usize::from(through_ipc)..];
            for at in 0..their.args.len().max(our_args.len()) {
                let (their_arg, our_arg) = (their.args.get(at), our_args.get(at));
                if their_arg.is_some_and(|arg| of_memory(arg)) {
                    score.memory += 1;
                    // An array of addresses alone is what nothing is known of.
                    if let Some(our_arg) = our_arg.filter(|arg| of_memory(arg) && !arg.starts_with("[0x")) {
                        let equal = same_memory(their_arg.map_or("", String::as_str), our_arg) || known(their, our, at);
                        score.memory_known += 1;
                        score.memory_equal += usize::from(equal);
                        differs |= !equal;
                    }
                    continue;
                }
                score.arguments += 1;
                let equal = matches!((their_arg, our_arg), (Some(theirs), Some(ours)) if same(&numbers, theirs, ours));
                if equal || known(their, our, at) {
                    score.arguments_equal += 1;
                } else {
                    differs = true;
                }
            }
            if differs {
                score.differences.push(format!("ours {}\n  strace {}", shown(), model()));
            }
        }
    }
    score
}
