// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Hand-made event sequences and what becomes of them, one short string a line.
//!
//! A string is `PID NAME(first argument)=result`, with a mark for each way a call can end; durations follow as `<ns>`.

mod descriptors;
mod ending;
mod joins;
mod order;
mod pairing;

use super::*;
use crate::format::Event;
use crate::recording::{HostMeta, InitialTask, Item, Meta};
use crate::syscalls;

/// x86_64 numbers.
pub const READ: i32 = 0;
pub const WRITE: i32 = 1;
pub const RT_SIGRETURN: i32 = 15;
pub const GETPID: i32 = 39;
pub const CLONE: i32 = 56;
pub const EXECVE: i32 = 59;
pub const EXIT: i32 = 60;
pub const MKDIR: i32 = 83;
pub const EXIT_GROUP: i32 = 231;
pub const CLONE_THREAD: u64 = 0x1_0000;

/// Keeps what it is told as strings.
#[derive(Default)]
pub struct Shown(pub Vec<String>);

fn show(call: &Call) -> String {
    let name = syscalls::name(call.abi, call.nr).map_or_else(|| call.nr.to_string(), str::to_owned);
    let mark = if call.uncertain { "~" } else { "" };
    let runtime = if call.runtime { "runtime " } else { "" };
    let end = match call.end {
        End::Open => "open".into(),
        End::Returned => format!("={}{mark}", call.ret),
        End::StartUnknown => format!("=?{}{mark}", call.ret),
        End::Never => "=never".into(),
        End::Unfinished => "=unfinished".into(),
        End::Refused => format!("=refused{}", call.ret),
    };
    let duration = call.duration().map_or_else(String::new, |ns| format!(" <{ns}>"));
    format!("{runtime}{} {name}({}){end}{duration}", call.pid, call.args[0])
}

impl Lines for Shown {
    fn call(&mut self, call: &Call, _: &Texts) {
        self.0.push(show(call));
    }
    fn unfinished(&mut self, call: &Call, _: &Texts) {
        self.0.push(format!("{}...", show(call)));
    }
    fn resumed(&mut self, call: &Call, _: &Texts) {
        self.0.push(format!("...{}", show(call)));
    }
    fn note(&mut self, note: &Note) {
        let text = match &note.what {
            What::Signal { sig, code } => format!("{} signal {sig} code {code}", note.pid),
            What::Exit(cause) => format!("{} {cause:?}", note.pid),
            What::Exec { .. } | What::Fork { .. } => return,
            What::Joined { seen } => format!("{} joined {seen:?}", note.pid),
            What::Lost { cpu, count, .. } => format!("lost {count:?} on {cpu}"),
            What::Damaged { cpu, .. } => format!("damaged on {cpu}"),
        };
        self.0.push(if note.runtime { format!("runtime {text}") } else { text });
    }
}

/// A recording's events, one after the other; every one 10 ns after that before it.
pub struct Log<'a> {
    pub tracker: Tracker,
    pub order: Order<'a, Shown>,
    pub ts: u64,
    pub cpu: u16,
}

pub fn meta(machine: &str, tasks: &[(Pid, Pid)]) -> Meta {
    Meta {
        host: HostMeta { machine: machine.into(), ..HostMeta::default() },
        tasks: tasks.iter().map(|&(tid, tgid)| InitialTask { tid, tgid, ..InitialTask::default() }).collect(),
        ..Meta::default()
    }
}

impl<'a> Log<'a> {
    pub fn new(meta: &Meta) -> Log<'a> {
        Log::with(meta, Order::live(Shown::default(), false))
    }

    pub fn with(meta: &Meta, order: Order<'a, Shown>) -> Log<'a> {
        Log { tracker: Tracker::new(meta, None, false).unwrap(), order, ts: 1000, cpu: 0 }
    }

    /// On x86_64 with the tasks 1 and 2, both in user space.
    pub fn two() -> Log<'a> {
        let mut log = Log::new(&meta("x86_64", &[(1, 1), (2, 2)]));
        log.enter(1, GETPID, 0).exit(1, GETPID, 1).enter(2, GETPID, 0).exit(2, GETPID, 2);
        log.order.lines.0.clear();
        log
    }

    pub fn on(&mut self, cpu: u16) -> &mut Self {
        self.cpu = cpu;
        self
    }

    pub fn event(&mut self, pid: Pid, event: Event<'_>) -> &mut Self {
        self.ts += 10;
        self.tracker.feed(Item::Event { ts: self.ts, cpu: self.cpu, pid, event }, &mut self.order);
        self
    }

    pub fn enter(&mut self, pid: Pid, nr: i32, arg: u64) -> &mut Self {
        self.event(pid, Event::SysEnter { nr, args: [arg, 0, 0, 0, 0, 0] })
    }

    pub fn exit(&mut self, pid: Pid, nr: i32, ret: i64) -> &mut Self {
        self.event(pid, Event::SysExit { nr, ret })
    }

    /// Both of the kernel's events of one birth.
    pub fn fork(&mut self, parent: Pid, child: Pid, flags: u64) -> &mut Self {
        self.event(parent, Event::NewTask { pid: child, flags, comm: b"child" });
        self.event(parent, Event::Fork { parent, child, comm: b"child" })
    }

    pub fn exec(&mut self, pid: Pid, old_pid: Pid) -> &mut Self {
        self.event(pid, Event::Exec { pid, old_pid, filename: b"/bin/x" })
    }

    pub fn dies(&mut self, pid: Pid) -> &mut Self {
        self.event(pid, Event::Exit { pid, comm: b"x" })
    }

    pub fn deliver(&mut self, pid: Pid, sig: i32, handler: u64) -> &mut Self {
        self.event(pid, Event::SignalDeliver { sig, code: 0, handler })
    }

    pub fn send(&mut self, from: Pid, to: Pid, sig: i32, result: i32) -> &mut Self {
        self.event(from, Event::SignalGenerate { sig, code: 0, pid: to, group: true, result })
    }

    /// A gap on `cpu` that begins now and ends `after` ns later.
    pub fn lost(&mut self, cpu: u16, after: u64) -> &mut Self {
        let (from, to) = (self.ts, self.ts + after);
        self.tracker.feed(Item::Lost { cpu, from, to, count: Some(7) }, &mut self.order);
        self
    }

    /// What was shown so far, without waiting for open calls.
    #[track_caller]
    pub fn shows(&mut self, expected: &[&str]) -> &mut Self {
        assert_eq!(self.order.lines.0, expected);
        self
    }

    /// What was shown when the recording ends here.
    #[track_caller]
    pub fn ends(&mut self, expected: &[&str]) {
        self.tracker.finish(&mut self.order);
        self.order.flush();
        self.shows(expected);
    }
}
