// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What file descriptors stand for: followed from the calls that open, copy and close them.
//!
//! One table for each set of processes that share their descriptors (CLONE_FILES), copied at fork, private again at exec,
//! which also closes what is marked so. Whatever is not known for certain stays a number: pipes (their numbers are in
//! memory), descriptors received in messages, and, once events were lost, all that was known before.
//! Sources: fs/file.c, kernel/fork.c `copy_files`; the manual pages of the calls; strace(1) `-yy` for the names.

use std::rc::Rc;

use crate::arch::Abi;
use crate::syscalls;
use crate::words::{nth, position};

use super::pairing::State;
use super::{Call, Steps, Text, RESULT};

/// Most descriptors that are known of one table: the usual limit of a process (RLIMIT_NOFILE).
const OPEN_MAX: usize = 1024;

const CLONE_FILES: u64 = 0x400;
const AT_FDCWD: i32 = -100;
/// O_CLOEXEC; SOCK_, EPOLL_, EFD_, TFD_, SFD_ and IN_CLOEXEC are the same on all ABIs here.
const CLOEXEC: u64 = 0x8_0000;
const F_DUPFD: u64 = 0;
const F_SETFD: u64 = 2;
const F_DUPFD_CLOEXEC: u64 = 1030;
const CLOSE_RANGE_CLOEXEC: u64 = 4;

/// What a call does to descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// Opens a path below the working directory.
    Open,
    /// Opens a path below argument 0.
    OpenAt,
    Dup,
    /// Copies to the number in argument 1.
    DupTo,
    Fcntl,
    Socket,
    Accept,
    /// Opens something that has no path.
    Nameless,
    /// As `Nameless`, of the kernel's anonymous inodes.
    Anon,
    Close,
    CloseRange,
    Unshare,
    Chdir,
    Fchdir,
}

/// In place of the argument with the flags: without them such a descriptor stays open over exec, or (`ALWAYS`) never does.
const NEVER: u8 = 6;
const ALWAYS: u8 = 7;

/// A line a call: its name, what it does, the argument with its flags, and the name of what it opens.
macro_rules! effects {
    ($($call:literal $effect:ident $flags:tt $name:literal)*) => {
        static CALLS: &str = concat!($($call, " "),*);
        static EFFECTS: &[(Effect, u8)] = &[$((Effect::$effect, $flags)),*];
        static NAMES: &str = concat!($($name, " "),*);
    };
}

effects! {
    "open" Open 1 ""
    "creat" Open NEVER ""
    "openat" OpenAt 2 ""
    // Its flags are in memory: taken as closed at exec, where that is not known.
    "openat2" OpenAt ALWAYS ""
    "open_tree" OpenAt 2 ""
    "fspick" OpenAt ALWAYS ""
    "dup" Dup NEVER ""
    "dup2" DupTo NEVER ""
    "dup3" DupTo 2 ""
    "fcntl" Fcntl NEVER ""
    "fcntl64" Fcntl NEVER ""
    "socket" Socket 1 ""
    "accept" Accept NEVER ""
    "accept4" Accept 3 ""
    "close" Close NEVER ""
    "close_range" CloseRange NEVER ""
    "unshare" Unshare NEVER ""
    "chdir" Chdir NEVER ""
    "fchdir" Fchdir NEVER ""
    "epoll_create" Anon NEVER "[eventpoll]"
    "epoll_create1" Anon 0 "[eventpoll]"
    "eventfd" Anon NEVER "[eventfd]"
    "eventfd2" Anon 1 "[eventfd]"
    "timerfd_create" Anon 1 "[timerfd]"
    "signalfd" Anon NEVER "[signalfd]"
    "signalfd4" Anon 3 "[signalfd]"
    "inotify_init" Anon NEVER "inotify"
    "inotify_init1" Anon 0 "inotify"
    "fanotify_init" Anon ALWAYS "[fanotify]"
    "memfd_create" Nameless ALWAYS "memfd"
    "pidfd_open" Anon ALWAYS "[pidfd]"
    "pidfd_getfd" Nameless ALWAYS ""
    "userfaultfd" Anon 0 "[userfaultfd]"
    "perf_event_open" Anon ALWAYS "[perf_event]"
    "io_uring_setup" Anon ALWAYS "[io_uring]"
    "landlock_create_ruleset" Anon ALWAYS "[landlock-ruleset]"
    "mq_open" Nameless ALWAYS ""
    "fsopen" Anon ALWAYS "[fscontext]"
    "fsmount" Nameless ALWAYS ""
    "open_by_handle_at" Nameless ALWAYS ""
}

/// What is known of the calls of one ABI, by number.
#[derive(Debug)]
struct Known {
    abi: Abi,
    /// Index in [`EFFECTS`], or one that it does not have; and the registers that hold descriptors, a bit each.
    calls: Vec<(u8, u8)>,
}

impl Known {
    fn new(abi: Abi) -> Known {
        let mut calls = Vec::new();
        for (nr, name) in syscalls::all(abi).filter(|(nr, _)| *nr <= syscalls::max_nr(abi)) {
            let effect = position(CALLS, name).map_or(u8::MAX, |at| at as u8);
            let mut mask = 0;
            if let Some(arguments) = syscalls::arguments(abi, nr, &[0; 6]) {
                for argument in arguments.as_slice().iter().filter(|argument| is_descriptor(argument.kind)) {
                    mask |= 1 << argument.register;
                }
            }
            calls.resize(nr as usize + 1, NOTHING);
            if let Some(last) = calls.last_mut() {
                *last = (effect, mask);
            }
        }
        Known { abi, calls }
    }
}

/// Of a call that has no effect and no descriptors.
const NOTHING: (u8, u8) = (u8::MAX, 0);

/// Whether arguments of this kind are descriptors.
fn is_descriptor(kind: u8) -> bool {
    matches!(kind, syscalls::kind::FD | syscalls::kind::DIRFD)
}

/// An open descriptor that is known.
#[derive(Clone, Debug)]
struct Open {
    fd: i32,
    cloexec: bool,
    target: Rc<[u8]>,
}

/// The descriptors of processes that share them.
#[derive(Clone, Debug, Default)]
struct Table {
    /// Tasks that use it.
    users: u32,
    open: Vec<Open>,
    /// The working directory, where it is known.
    cwd: Option<Rc<[u8]>>,
}

impl Table {
    fn find(&self, fd: i32) -> Option<&Open> {
        self.open.iter().find(|open| open.fd == fd)
    }

    fn close(&mut self, fd: i32) {
        if let Some(at) = self.open.iter().position(|open| open.fd == fd) {
            self.open.swap_remove(at);
        }
    }

    #[inline(never)]
    fn close_all(&mut self, gone: &dyn Fn(&Open) -> bool) {
        self.open.retain(|open| !gone(open));
    }

    fn set(&mut self, fd: i32, cloexec: bool, target: Option<Rc<[u8]>>) {
        self.close(fd);
        if let Some(target) = target.filter(|target| !target.is_empty() && self.open.len() < OPEN_MAX) {
            self.open.push(Open { fd, cloexec, target });
        }
    }

    /// The whole path, as far as the directory that it begins in is known.
    fn path(&self, dir: Option<i32>, path: &[u8]) -> Rc<[u8]> {
        let base = match dir {
            Some(dir) => self.find(dir).map(|open| &open.target),
            None => self.cwd.as_ref(),
        };
        match base {
            Some(base) if !path.starts_with(b"/") => {
                let below = path.strip_prefix(b"./").unwrap_or(path);
                let (slash, below): (&[u8], _) = match (base.ends_with(b"/"), below) {
                    (_, b"." | b"") => (b"", &b""[..]),
                    (true, _) => (b"", below),
                    (false, _) => (b"/", below),
                };
                [base, slash, below].concat().into()
            }
            _ => path.into(),
        }
    }
}

/// Which table a task uses; 0 is none yet.
pub(super) type Files = u32;

/// All tables.
#[derive(Debug)]
pub(super) struct Descriptors {
    known: [Known; 2],
    /// [`Files`] is an index and one more.
    tables: Vec<Table>,
    free: Vec<Files>,
}

/// strace's names of sockets.
fn socket_name(domain: u64, kind: u64) -> &'static str {
    match (domain as u32, kind & 0xf) {
        (1, 1) => "UNIX-STREAM",
        (1, 2) => "UNIX-DGRAM",
        (1, 5) => "UNIX-SEQPACKET",
        (2, 1) => "TCP",
        (2, 2) => "UDP",
        (10, 1) => "TCPv6",
        (10, 2) => "UDPv6",
        (16, _) => "NETLINK",
        (17, _) => "PACKET",
        _ => "socket",
    }
}

impl Descriptors {
    /// For a machine's ABIs; the second is the same where there is none.
    pub fn new(native: Abi, compat: Option<Abi>) -> Descriptors {
        let known = [Known::new(native), Known::new(compat.unwrap_or(native))];
        Descriptors { known, tables: Vec::new(), free: Vec::new() }
    }

    /// See [`Known::calls`].
    fn call(&self, call: &Call) -> (u8, u8) {
        let Some(known) = self.known.iter().find(|known| known.abi == call.abi) else { return NOTHING };
        known.calls.get(call.nr as usize).copied().unwrap_or(NOTHING)
    }

    #[inline(never)]
    fn table(&mut self, files: Files) -> Option<&mut Table> {
        self.tables.get_mut((files as usize).checked_sub(1)?)
    }

    fn add(&mut self, table: Table) -> Files {
        match self.free.pop() {
            Some(files) => {
                if let Some(place) = self.table(files) {
                    *place = table;
                }
                files
            }
            None => {
                self.tables.push(table);
                self.tables.len() as Files
            }
        }
    }

    /// A table that nothing is known of, for one task.
    pub fn make(&mut self) -> Files {
        self.add(Table { users: 1, ..Table::default() })
    }

    /// One task more uses the table.
    pub fn share(&mut self, files: Files) -> Files {
        if let Some(table) = self.table(files) {
            table.users += 1;
        }
        files
    }

    /// What was open before the recording began. Whether it is closed at an exec is not known: but for standard input,
    /// output and error it is taken as closed.
    pub fn was_open(&mut self, files: Files, fd: i32, target: &[u8]) {
        if let Some(table) = self.table(files) {
            table.set(fd, fd > 2, Some(target.into()));
        }
    }

    /// Where the process was before the recording began.
    pub fn was_in(&mut self, files: Files, dir: &[u8]) {
        if let Some(table) = self.table(files).filter(|_| !dir.is_empty()) {
            table.cwd = Some(dir.into());
        }
    }

    /// A task was made by one that uses `files`; `flags` are clone's.
    pub fn born(&mut self, files: Files, flags: u64) -> Files {
        if flags & CLONE_FILES != 0 {
            return self.share(files);
        }
        match self.table(files).cloned() {
            Some(table) => self.add(Table { users: 1, ..table }),
            None => 0,
        }
    }

    /// A task no longer uses the table.
    pub fn leave(&mut self, files: Files) {
        let Some(table) = self.table(files) else { return };
        table.users = table.users.saturating_sub(1);
        if table.users == 0 {
            *table = Table::default();
            self.free.push(files);
        }
    }

    /// The table for one task alone.
    fn private(&mut self, files: Files) -> Files {
        if self.table(files).is_some_and(|table| table.users > 1) {
            let own = self.born(files, 0);
            self.leave(files);
            return own;
        }
        files
    }

    /// The task runs another program.
    pub fn execed(&mut self, files: Files) -> Files {
        let files = self.private(files);
        if let Some(table) = self.table(files) {
            table.close_all(&|open| open.cloexec);
        }
        files
    }

    /// Events were lost: any of them may have opened or closed something.
    pub fn forget(&mut self) {
        for table in &mut self.tables {
            table.open.clear();
            table.cwd = None;
        }
    }

    /// A call begins: tells what its descriptors stand for, and does what is certain already.
    pub fn entered(&mut self, state: &State, steps: &mut dyn Steps) {
        let (effect, mask) = self.call(&state.call);
        let effect = EFFECTS.get(usize::from(effect)).map(|(effect, _)| *effect);
        let (files, args) = (state.files, state.call.args);
        if mask == 0 && effect != Some(Effect::CloseRange) {
            return;
        }
        let Some(table) = self.table(files) else { return };
        for (arg, value) in (0u8..).zip(args) {
            if mask >> arg & 1 == 0 {
                continue;
            }
            if let Some(open) = table.find(value as i32) {
                steps.text(state.ticket, arg, Text::Target(&open.target));
            } else if let (AT_FDCWD, Some(cwd)) = (value as i32, &table.cwd) {
                steps.text(state.ticket, arg, Text::Target(cwd));
            }
        }
        let [first, last, flags, ..] = args;
        match effect {
            // Closed before another task can be given the number, and whatever the result.
            Some(Effect::Close) => table.close(first as i32),
            Some(Effect::CloseRange) => {
                let within = |open: &Open| (first as u32..=last as u32).contains(&(open.fd as u32));
                if flags & CLOSE_RANGE_CLOEXEC != 0 {
                    table.open.iter_mut().filter(|open| within(open)).for_each(|open| open.cloexec = true);
                } else {
                    table.close_all(&within);
                }
            }
            _ => {}
        }
    }

    /// The call returned: does what it did, and tells what a new descriptor stands for.
    #[inline(never)]
    pub fn returned(&mut self, state: &mut State, steps: &mut dyn Steps) {
        let at = usize::from(self.call(&state.call).0);
        let Some((effect, flags)) = EFFECTS.get(at).copied() else { return };
        let path = state.path.take();
        let (ret, args) = (state.call.ret, state.call.args);
        let [first, second, third, ..] = args;
        if effect == Effect::Unshare && ret == 0 && first & CLONE_FILES != 0 {
            state.files = self.private(state.files);
        }
        let Some(table) = self.table(state.files) else { return };
        if ret < 0 {
            return;
        }
        let fd = ret as i32;
        let flags = args.get(usize::from(flags)).copied().unwrap_or(if flags == ALWAYS { CLOEXEC } else { 0 });
        let mut cloexec = flags & CLOEXEC != 0;
        let target = match effect {
            Effect::Open | Effect::Chdir => path.map(|path| table.path(None, &path)),
            Effect::OpenAt => path.map(|path| table.path(Some(first as i32).filter(|dir| *dir != AT_FDCWD), &path)),
            Effect::DupTo if first as i32 == second as i32 => return,
            Effect::Fcntl => match second {
                F_DUPFD | F_DUPFD_CLOEXEC => {
                    cloexec = second == F_DUPFD_CLOEXEC;
                    target_of(table, first)
                }
                F_SETFD => {
                    if let Some(open) = table.open.iter_mut().find(|open| open.fd == first as i32) {
                        open.cloexec = third & 1 != 0;
                    }
                    return;
                }
                _ => return,
            },
            Effect::Socket => Some(socket_name(first, second).as_bytes().into()),
            Effect::Dup | Effect::DupTo | Effect::Accept | Effect::Fchdir => target_of(table, first),
            Effect::Nameless | Effect::Anon => {
                let prefix: &[u8] = if effect == Effect::Anon { b"anon_inode:" } else { b"" };
                Some([prefix, nth(NAMES, at).as_bytes()].concat().into())
            }
            Effect::Close | Effect::CloseRange | Effect::Unshare => return,
        };
        if matches!(effect, Effect::Chdir | Effect::Fchdir) {
            table.cwd = target;
            return;
        }
        table.set(fd, cloexec, target);
        if let Some(open) = table.find(fd) {
            steps.text(state.ticket, RESULT, Text::Target(&open.target));
        }
    }
}

fn target_of(table: &Table, fd: u64) -> Option<Rc<[u8]>> {
    table.find(fd as i32).map(|open| open.target.clone())
}
