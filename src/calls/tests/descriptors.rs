// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What descriptors stand for, through everything that opens, copies, closes and inherits them; x86_64.

use super::*;
use crate::format::{nr_place, parse_event, parts, Contents};
use crate::recording::OpenFile;

const OPEN: i32 = 2;
const CLOSE: i32 = 3;
const DUP2: i32 = 33;
const SOCKET: i32 = 41;
const ACCEPT: i32 = 43;
const FCNTL: i32 = 72;
const CHDIR: i32 = 80;
const FCHDIR: i32 = 81;
const OPENAT: i32 = 257;
const UNSHARE: i32 = 272;
const EPOLL_CREATE1: i32 = 291;
const CLOSE_RANGE: i32 = 436;

const CLOEXEC: u64 = 0x8_0000;
const CLONE_FILES: u64 = 0x400;
const AT_FDCWD: u64 = -100i64 as u64;
const F_DUPFD: u64 = 0;
const F_SETFD: u64 = 2;

/// Calls as `name(3</x>)=4</y>`: the first argument and the result.
#[derive(Default)]
struct Named(Vec<String>);

impl Lines for Named {
    fn call(&mut self, call: &Call, texts: &Texts) {
        let target = |arg: u8| {
            let known = texts.of(arg).find_map(|text| match text {
                Text::Target(bytes) => Some(format!("<{}>", String::from_utf8_lossy(bytes))),
                _ => None,
            });
            known.unwrap_or_default()
        };
        let name = syscalls::name(call.abi, call.nr).unwrap();
        self.0.push(format!("{name}({}{})={}{}", call.args[0] as i32, target(0), call.ret, target(RESULT)));
    }
    fn unfinished(&mut self, call: &Call, texts: &Texts) {
        self.call(call, texts);
    }
    fn resumed(&mut self, call: &Call, texts: &Texts) {
        self.call(call, texts);
    }
    fn note(&mut self, _: &Note) {}
}

/// What our probe on the kernel's copy of a path says.
const PATH: &str = "name: path\nID: 5\nformat:\n\
    \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
    \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\
    \tfield:__data_loc char[] kernel_text;\toffset:8;\tsize:4;\tsigned:1;\n\
    \tfield:u64 user_pointer;\toffset:12;\tsize:8;\tsigned:0;\n";

struct Log {
    tracker: Tracker,
    order: Order<'static, Named>,
    ts: u64,
}

impl Log {
    fn new(meta: &Meta) -> Log {
        let mut tracker = Tracker::new(meta, None, false).unwrap();
        tracker.follow_descriptors(meta);
        Log { tracker, order: Order::live(Named::default(), false), ts: 0 }
    }

    fn one() -> Log {
        Log::new(&meta("x86_64", &[(1, 1)]))
    }

    fn event(&mut self, pid: Pid, event: Event<'_>) {
        self.ts += 10;
        self.tracker.feed(Item::Event { ts: self.ts, cpu: 0, pid, event }, &mut self.order);
    }

    fn call(&mut self, pid: Pid, nr: i32, given: &[u64], ret: i64) -> &mut Self {
        self.path_call(pid, nr, given, None, ret)
    }

    /// A call with a path: where it stands in memory is its place in `given`.
    fn path_call(&mut self, pid: Pid, nr: i32, given: &[u64], path: Option<(u64, &str)>, ret: i64) -> &mut Self {
        let mut args = [0; 6];
        args[..given.len()].copy_from_slice(given);
        self.event(pid, Event::SysEnter { nr, args });
        if let Some((from, text)) = path {
            let format = parse_event(PATH).unwrap();
            let parts: Vec<_> = parts(&format).collect();
            let mut data = vec![0; 20];
            data[8..12].copy_from_slice(&((text.len() as u32 + 1) << 16 | 20).to_le_bytes());
            data[12..].copy_from_slice(&from.to_le_bytes());
            data.extend_from_slice(text.as_bytes());
            data.push(0);
            self.event(pid, Event::Contents(Contents::new(nr_place(&format), &parts, &data)));
        }
        self.event(pid, Event::SysExit { nr, ret });
        self
    }

    fn open(&mut self, pid: Pid, path: &str, flags: u64, fd: i64) -> &mut Self {
        self.path_call(pid, OPENAT, &[AT_FDCWD, 0x7000, flags], Some((0x7000, path)), fd)
    }

    fn read(&mut self, pid: Pid, fd: u64) -> &mut Self {
        self.call(pid, READ, &[fd], 0)
    }

    fn fork(&mut self, parent: Pid, child: Pid, flags: u64) -> &mut Self {
        self.event(parent, Event::NewTask { pid: child, flags, comm: b"child" });
        self
    }

    fn exec(&mut self, pid: Pid) -> &mut Self {
        self.event(pid, Event::SysEnter { nr: EXECVE, args: [0; 6] });
        self.event(pid, Event::Exec { pid, old_pid: pid, filename: b"/bin/x" });
        self.event(pid, Event::SysExit { nr: EXECVE, ret: 0 });
        self
    }

    /// The last lines.
    #[track_caller]
    fn shows(&mut self, expected: &[&str]) -> &mut Self {
        self.order.flush();
        let from = self.order.lines.0.len().saturating_sub(expected.len());
        assert_eq!(self.order.lines.0[from..], *expected);
        self
    }
}

#[test]
fn an_opened_path_stands_with_its_descriptor_until_it_is_closed() {
    let mut log = Log::one();
    log.open(1, "/etc/passwd", 0, 3).read(1, 3).call(1, CLOSE, &[3], 0).read(1, 3);
    log.shows(&["openat(-100)=3</etc/passwd>", "read(3</etc/passwd>)=0", "close(3</etc/passwd>)=0", "read(3)=0"]);
    log.path_call(1, OPEN, &[0x7000, 0], Some((0x7000, "/x")), 3)
        .read(1, 3)
        .shows(&["open(28672)=3</x>", "read(3</x>)=0"]);
}

#[test]
fn a_failed_open_changes_nothing_and_one_without_a_known_path_leaves_a_number() {
    let mut log = Log::one();
    log.open(1, "/a", 0, 3).open(1, "/b", 0, -2).read(1, 3).shows(&["openat(-100)=-2", "read(3</a>)=0"]);
    log.call(1, CLOSE, &[3], 0)
        .call(1, OPENAT, &[AT_FDCWD, 0x7000, 0], 3)
        .read(1, 3)
        .shows(&["openat(-100)=3", "read(3)=0"]);
}

#[test]
fn relative_paths_begin_at_their_directory_where_it_is_known() {
    let mut log = Log::one();
    log.open(1, "x", 0, 3).shows(&["openat(-100)=3<x>"]);
    log.path_call(1, CHDIR, &[0x7000], Some((0x7000, "/srv")), 0).open(1, "./x", 0, 4);
    log.shows(&["openat(-100</srv>)=4</srv/x>"]);
    log.open(1, "/", 0, 5).path_call(1, OPENAT, &[5, 0x7000, 0], Some((0x7000, "etc")), 6);
    log.shows(&["openat(5</>)=6</etc>"]);
    log.call(1, FCHDIR, &[6], 0).open(1, "y", 0, 7).shows(&["openat(-100</etc>)=7</etc/y>"]);
    log.path_call(1, CHDIR, &[0x7000], Some((0x7000, "below")), 0).open(1, "z", 0, 8);
    log.shows(&["openat(-100</etc/below>)=8</etc/below/z>"]);
    log.path_call(1, OPENAT, &[20, 0x7000, 0], Some((0x7000, "what")), 9).shows(&["openat(20)=9<what>"]);
}

#[test]
fn copies_stand_for_the_same() {
    let mut log = Log::one();
    log.open(1, "/a", 0, 3).call(1, DUP2, &[3, 1], 1).call(1, FCNTL, &[3, F_DUPFD, 10], 10).read(1, 1).read(1, 10);
    log.shows(&["dup2(3</a>)=1</a>", "fcntl(3</a>)=10</a>", "read(1</a>)=0", "read(10</a>)=0"]);
    log.call(1, DUP2, &[3, 3], 3).read(1, 3).shows(&["read(3</a>)=0"]);
    log.call(1, DUP2, &[50, 3], 3).read(1, 3).shows(&["read(3)=0"]);
}

#[test]
fn exec_closes_what_is_marked_so() {
    let mut log = Log::one();
    log.open(1, "/a", CLOEXEC, 3).open(1, "/b", 0, 4).open(1, "/c", 0, 5).call(1, FCNTL, &[5, F_SETFD, 1], 0);
    log.open(1, "/d", CLOEXEC, 6).call(1, FCNTL, &[6, F_SETFD, 0], 0).exec(1);
    log.read(1, 3).read(1, 4).read(1, 5).read(1, 6);
    log.shows(&["read(3)=0", "read(4</b>)=0", "read(5)=0", "read(6</d>)=0"]);
}

#[test]
fn a_fork_copies_and_a_thread_shares() {
    let mut log = Log::one();
    log.open(1, "/a", 0, 3).fork(1, 2, 0).fork(1, 3, CLONE_THREAD | CLONE_FILES);
    log.call(2, CLOSE, &[3], 0).read(1, 3).read(3, 3).shows(&["read(3</a>)=0", "read(3</a>)=0"]);
    log.open(3, "/b", 0, 4).read(1, 4).read(2, 4).shows(&["read(4</b>)=0", "read(4)=0"]);
    log.call(3, UNSHARE, &[CLONE_FILES], 0).call(3, CLOSE, &[4], 0).read(3, 4).read(1, 4);
    log.shows(&["read(4)=0", "read(4</b>)=0"]);
}

#[test]
fn an_exec_in_a_child_that_shares_leaves_the_parents_alone() {
    let mut log = Log::one();
    log.open(1, "/a", CLOEXEC, 3).fork(1, 2, CLONE_FILES).exec(2).read(2, 3).read(1, 3);
    log.shows(&["read(3)=0", "read(3</a>)=0"]);
}

#[test]
fn sockets_and_nameless_files_have_straces_names() {
    let mut log = Log::one();
    log.call(1, SOCKET, &[2, 1 | CLOEXEC, 0], 3).call(1, ACCEPT, &[3], 4).read(1, 4);
    log.shows(&["socket(2)=3<TCP>", "accept(3<TCP>)=4<TCP>", "read(4<TCP>)=0"]);
    log.call(1, SOCKET, &[1, 2, 0], 5).call(1, EPOLL_CREATE1, &[0], 6);
    log.shows(&["socket(1)=5<UNIX-DGRAM>", "epoll_create1(0)=6<anon_inode:[eventpoll]>"]);
}

#[test]
fn close_range_closes_and_marks() {
    let mut log = Log::one();
    log.open(1, "/a", 0, 3).open(1, "/b", 0, 4).open(1, "/c", 0, 5).call(1, CLOSE_RANGE, &[4, 4, 0], 0);
    log.call(1, CLOSE_RANGE, &[5, u64::from(u32::MAX), 4], 0).read(1, 3).read(1, 4).read(1, 5);
    log.shows(&["read(3</a>)=0", "read(4)=0", "read(5</c>)=0"]);
    log.exec(1).read(1, 5).shows(&["read(5)=0"]);
}

#[test]
fn lost_events_make_everything_unknown() {
    let mut log = Log::one();
    log.open(1, "/a", 0, 3);
    log.tracker.feed(Item::Lost { cpu: 1, from: log.ts, to: log.ts + 1, count: Some(1) }, &mut log.order);
    log.read(1, 3).shows(&["read(3)=0"]);
}

#[test]
fn what_was_open_at_the_start_is_known_and_an_exec_keeps_the_first_three() {
    let mut meta = meta("x86_64", &[(1, 1), (2, 1)]);
    meta.tasks[0].cwd = "/home".into();
    meta.tasks[0].fds = [(0, "/dev/pts/0"), (7, "/log")].map(|(fd, path)| OpenFile { fd, path: path.into() }).into();
    let mut log = Log::new(&meta);
    log.read(2, 0).read(1, 7).open(1, "x", 0, 3);
    log.shows(&["read(0</dev/pts/0>)=0", "read(7</log>)=0", "openat(-100</home>)=3</home/x>"]);
    log.exec(1).read(1, 0).read(1, 7).shows(&["read(0</dev/pts/0>)=0", "read(7)=0"]);
}
