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
    /// Opens a path below the working directory: its flags are this argument.
    Open(u8),
    /// Opens a path below argument 0.
    OpenAt(u8),
    Dup,
    /// Copies to the number in argument 1; flags are this argument.
    DupTo(u8),
    Fcntl,
    Socket,
    /// Flags are this argument.
    Accept(u8),
    /// Opens something that has no path: its name, and the argument with the flags.
    Nameless(&'static str, u8),
    Close,
    CloseRange,
    Unshare,
    Chdir,
    Fchdir,
}

/// No argument: without flags such a descriptor stays open over exec, or (`ALWAYS`) never does.
const NEVER: u8 = 6;
const ALWAYS: u8 = 7;

#[rustfmt::skip]
static EFFECTS: [(&str, Effect); 40] = [
    ("open", Effect::Open(1)), ("creat", Effect::Open(NEVER)), ("openat", Effect::OpenAt(2)),
    // Its flags are in memory: taken as closed at exec, where that is not known.
    ("openat2", Effect::OpenAt(ALWAYS)), ("open_tree", Effect::OpenAt(2)), ("fspick", Effect::OpenAt(ALWAYS)),
    ("dup", Effect::Dup), ("dup2", Effect::DupTo(NEVER)), ("dup3", Effect::DupTo(2)), ("fcntl", Effect::Fcntl),
    ("fcntl64", Effect::Fcntl), ("socket", Effect::Socket), ("accept", Effect::Accept(NEVER)),
    ("accept4", Effect::Accept(3)), ("close", Effect::Close), ("close_range", Effect::CloseRange),
    ("unshare", Effect::Unshare), ("chdir", Effect::Chdir), ("fchdir", Effect::Fchdir),
    ("epoll_create", Effect::Nameless("anon_inode:[eventpoll]", NEVER)),
    ("epoll_create1", Effect::Nameless("anon_inode:[eventpoll]", 0)),
    ("eventfd", Effect::Nameless("anon_inode:[eventfd]", NEVER)),
    ("eventfd2", Effect::Nameless("anon_inode:[eventfd]", 1)),
    ("timerfd_create", Effect::Nameless("anon_inode:[timerfd]", 1)),
    ("signalfd", Effect::Nameless("anon_inode:[signalfd]", NEVER)),
    ("signalfd4", Effect::Nameless("anon_inode:[signalfd]", 3)),
    ("inotify_init", Effect::Nameless("anon_inode:inotify", NEVER)),
    ("inotify_init1", Effect::Nameless("anon_inode:inotify", 0)),
    ("fanotify_init", Effect::Nameless("anon_inode:[fanotify]", ALWAYS)),
    ("memfd_create", Effect::Nameless("memfd", ALWAYS)),
    ("pidfd_open", Effect::Nameless("anon_inode:[pidfd]", ALWAYS)),
    ("pidfd_getfd", Effect::Nameless("", ALWAYS)),
    ("userfaultfd", Effect::Nameless("anon_inode:[userfaultfd]", 0)),
    ("perf_event_open", Effect::Nameless("anon_inode:[perf_event]", ALWAYS)),
    ("io_uring_setup", Effect::Nameless("anon_inode:[io_uring]", ALWAYS)),
    ("landlock_create_ruleset", Effect::Nameless("anon_inode:[landlock-ruleset]", ALWAYS)),
    ("mq_open", Effect::Nameless("", ALWAYS)), ("fsopen", Effect::Nameless("anon_inode:[fscontext]", ALWAYS)),
    ("fsmount", Effect::Nameless("", ALWAYS)), ("open_by_handle_at", Effect::Nameless("", ALWAYS)),
];

/// What is known of the calls of one ABI, by number.
#[derive(Debug)]
struct Known {
    abi: Abi,
    /// Index in [`EFFECTS`] and one more; 0 for no effect. And the registers that hold descriptors, a bit each.
    calls: Vec<(u8, u8)>,
}

impl Known {
    fn new(abi: Abi) -> Known {
        let mut calls = Vec::new();
        for (nr, name) in syscalls::all(abi).filter(|(nr, _)| *nr <= syscalls::max_nr(abi)) {
            let effect = EFFECTS.iter().position(|(call, _)| *call == name).map_or(0, |at| at as u8 + 1);
            let mut mask = 0;
            if let Some(arguments) = syscalls::arguments(abi, nr, &[0; 6]) {
                for argument in arguments.as_slice().iter().filter(|argument| is_descriptor(argument.kind)) {
                    mask |= 1 << argument.register;
                }
            }
            calls.resize(nr as usize + 1, (0, 0));
            if let Some(last) = calls.last_mut() {
                *last = (effect, mask);
            }
        }
        Known { abi, calls }
    }
}

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

    fn call(&self, call: &Call) -> (Option<Effect>, u8) {
        let Some(known) = self.known.iter().find(|known| known.abi == call.abi) else { return (None, 0) };
        let at = usize::try_from(call.nr).unwrap_or(usize::MAX);
        let (effect, mask) = known.calls.get(at).copied().unwrap_or_default();
        (usize::from(effect).checked_sub(1).and_then(|at| EFFECTS.get(at)).map(|(_, effect)| *effect), mask)
    }

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
            table.open.retain(|open| !open.cloexec);
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
                    table.open.retain(|open| !within(open));
                }
            }
            _ => {}
        }
    }

    /// The call returned: does what it did, and tells what a new descriptor stands for.
    pub fn returned(&mut self, state: &mut State, steps: &mut dyn Steps) {
        let (Some(effect), _) = self.call(&state.call) else { return };
        let (call, path) = (state.call, state.path.take());
        let (ret, args) = (call.ret, call.args);
        let [first, second, third, ..] = args;
        if effect == Effect::Unshare && ret == 0 && first & CLONE_FILES != 0 {
            state.files = self.private(state.files);
        }
        let Some(table) = self.table(state.files) else { return };
        let flagged = |arg: u8| arg == ALWAYS || args.get(usize::from(arg)).is_some_and(|flags| flags & CLOEXEC != 0);
        let fd = ret as i32;
        if ret < 0 {
            return;
        }
        match effect {
            Effect::Open(flags) => table.set(fd, flagged(flags), path.map(|path| table.path(None, &path))),
            Effect::OpenAt(flags) => {
                let dir = Some(first as i32).filter(|dir| *dir != AT_FDCWD);
                table.set(fd, flagged(flags), path.map(|path| table.path(dir, &path)));
            }
            Effect::Dup => table.set(fd, false, target_of(table, first)),
            Effect::DupTo(flags) if first as i32 != second as i32 => {
                table.set(fd, flagged(flags), target_of(table, first));
            }
            Effect::Fcntl if matches!(second, F_DUPFD | F_DUPFD_CLOEXEC) => {
                table.set(fd, second == F_DUPFD_CLOEXEC, target_of(table, first));
            }
            Effect::Fcntl if second == F_SETFD => {
                if let Some(open) = table.open.iter_mut().find(|open| open.fd == first as i32) {
                    open.cloexec = third & 1 != 0;
                }
                return;
            }
            Effect::Socket => {
                table.set(fd, second & CLOEXEC != 0, Some(socket_name(first, second).as_bytes().into()));
            }
            Effect::Accept(flags) => table.set(fd, flagged(flags), target_of(table, first)),
            Effect::Nameless(name, flags) => table.set(fd, flagged(flags), Some(name.as_bytes().into())),
            Effect::Chdir => return table.cwd = path.map(|path| table.path(None, &path)),
            Effect::Fchdir => return table.cwd = target_of(table, first),
            _ => return,
        }
        if let Some(open) = table.find(fd) {
            steps.text(state.ticket, RESULT, Text::Target(&open.target));
        }
    }
}

fn target_of(table: &Table, fd: u64) -> Option<Rc<[u8]>> {
    table.find(fd as i32).map(|open| open.target.clone())
}
