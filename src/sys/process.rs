// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Processes: fork, process descriptors, detaching from whoever started us.

#![allow(unsafe_code)]

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::sys::signal::Signal;

use crate::ids::Pid;
use crate::words::number;

/// Which side of a [`fork`] this is.
#[derive(Debug)]
pub enum Forked {
    /// The new process.
    Child,
    /// The old one; holds the new one's id.
    Parent(Pid),
}

/// fork(2). The program is single-threaded, so the child may go on as any program does.
pub fn fork() -> io::Result<Forked> {
    // musl's fork(3) brings locks for threads; what is below it does for a process without.
    #[cfg(target_env = "musl")]
    use bare::_Fork as fork;
    #[cfg(not(target_env = "musl"))]
    use libc::fork;
    // SAFETY: nothing in this crate starts threads, so no lock can be held by a thread that the child lacks.
    match unsafe { fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Forked::Child),
        pid => Ok(Forked::Parent(pid)),
    }
}

/// struct clone_args as of 5.5.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
}

/// Makes a process of this number that ends at once, if the number is free (clone3(2), `set_tid`, 5.5 and later). SIGCHLD
/// must be ignored.
pub fn spend_pid(pid: Pid) {
    let args = CloneArgs {
        exit_signal: libc::SIGCHLD as u64,
        set_tid: std::ptr::addr_of!(pid) as u64,
        set_tid_size: 1,
        ..CloneArgs::default()
    };
    // SAFETY: as in `fork`; the kernel reads the arguments and one number.
    match unsafe { libc::syscall(libc::SYS_clone3, &args, std::mem::size_of::<CloneArgs>()) } {
        0 => super::exit(0),
        // Until it has ended; there is nothing else to be had.
        made if made > 0 => _ = wait(pid, true),
        _ => {}
    }
}

#[cfg(target_env = "musl")]
mod bare {
    extern "C" {
        /// POSIX.1-2024; musl 1.2.2 and later.
        pub(super) fn _Fork() -> nix::libc::pid_t;
    }
}

/// pipe2(2), closed in programs that we execute: the end to read from and the one to write to.
pub fn pipe(flags: OFlag) -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds: [RawFd; 2] = [-1; 2];
    // SAFETY: the kernel writes two descriptors, which nobody else owns.
    unsafe {
        Errno::result(libc::syscall(libc::SYS_pipe2, fds.as_mut_ptr(), (flags | OFlag::O_CLOEXEC).bits()))?;
        Ok((OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])))
    }
}

/// Lets a pipe hold as many bytes (fcntl(2) F_SETPIPE_SZ); false where that is too many.
pub fn set_pipe_size(pipe: &impl AsRawFd, bytes: usize) -> bool {
    // SAFETY: integers.
    unsafe { libc::syscall(libc::SYS_fcntl, pipe.as_raw_fd(), libc::F_SETPIPE_SZ, bytes) >= 0 }
}

/// Has the kernel send this process SIGTERM when its parent ends, in whatever way (prctl(2) PR_SET_PDEATHSIG).
pub fn end_with_parent() {
    // SAFETY: integers.
    unsafe { libc::syscall(libc::SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGTERM, 0, 0, 0) };
}

/// Sends a child SIGINT.
pub fn interrupt(child: Pid) {
    // SAFETY: integers.
    unsafe { libc::syscall(libc::SYS_kill, child, libc::SIGINT) };
}

/// Ends a child at once.
pub fn kill(child: Pid) {
    // SAFETY: integers.
    unsafe { libc::syscall(libc::SYS_kill, child, libc::SIGKILL) };
}

/// Ends this process by a signal that leaves a dump, if the kernel has somebody to give it to: as a file there is none, by
/// the limit (core(5), RLIMIT_CORE).
pub fn die_with_dump() -> ! {
    super::reset_signals();
    // Who is started in the background by a script has it ignored.
    super::signal::set_handler(Signal::SIGQUIT, libc::SIG_DFL);
    let limit: [u64; 2] = [0, 0];
    // SAFETY: the kernel reads two numbers of 64 bits; the rest are integers.
    unsafe {
        libc::syscall(libc::SYS_prlimit64, 0, libc::RLIMIT_CORE, &limit, 0);
        libc::syscall(libc::SYS_prctl, libc::PR_SET_DUMPABLE, 1, 0, 0, 0);
        // By the kernel, whatever a handler of ours would do.
        libc::syscall(libc::SYS_kill, libc::getpid(), libc::SIGQUIT);
    }
    super::exit(1)
}

/// Keeps a descriptor from the program that takes our place.
pub fn close_on_execute(fd: RawFd) {
    // SAFETY: integers.
    unsafe { libc::syscall(libc::SYS_fcntl, fd, libc::F_SETFD, libc::FD_CLOEXEC) };
}

/// PIDFD_GET_INFO with the first and second version of its structure (include/uapi/linux/pidfd.h), 6.16 and later for what
/// is asked here.
const PIDFD_GET_INFO: u32 = 0xc048_ff0b;
const PIDFD_INFO_COREDUMP: u64 = 1 << 4;

/// struct pidfd_info up to `coredump_mask`: 72 bytes.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    ids: [u32; 11],
    exit_code: i32,
    coredump_mask: u32,
    spare: u32,
}

/// How the kernel dumps the process that a pidfd means, by its own decision: PIDFD_COREDUMPED (1), PIDFD_COREDUMP_SKIP (2),
/// PIDFD_COREDUMP_USER (4), PIDFD_COREDUMP_ROOT (8). `None` where it does not tell.
pub fn dump_mode(pidfd: RawFd) -> Option<u32> {
    let mut info = PidfdInfo { mask: PIDFD_INFO_COREDUMP, ..PidfdInfo::default() };
    // SAFETY: the kernel writes as many bytes as the number of the call says, which the structure has.
    let done = unsafe { libc::syscall(libc::SYS_ioctl, pidfd, PIDFD_GET_INFO, &mut info) };
    (done == 0 && info.mask & PIDFD_INFO_COREDUMP != 0).then_some(info.coredump_mask)
}

/// The machine's name in another process's UTS namespace.
pub fn host_name(namespace: &File, own: &File) -> Vec<u8> {
    let mut name = Vec::new();
    // SAFETY: integers; a utsname is bytes, for which all zeroes are values, and the call writes one.
    unsafe {
        if libc::syscall(libc::SYS_setns, namespace.as_raw_fd(), libc::CLONE_NEWUTS) == 0 {
            let mut uts: libc::utsname = std::mem::zeroed();
            if libc::syscall(libc::SYS_uname, &mut uts) == 0 {
                name.extend(uts.nodename.iter().map(|byte| *byte as u8).take_while(|byte| *byte != 0));
            }
            libc::syscall(libc::SYS_setns, own.as_raw_fd(), libc::CLONE_NEWUTS);
        }
    }
    name
}

/// Waits for a child's end, or looks whether it has come. Gives the exit code as shells have it.
pub fn wait(pid: Pid, block: bool) -> Option<u8> {
    let mut status = 0;
    loop {
        // SAFETY: the kernel writes one status.
        match Errno::result(unsafe { libc::waitpid(pid, &mut status, if block { 0 } else { libc::WNOHANG }) }) {
            Err(Errno::EINTR) => {}
            Err(_) | Ok(0) => return None,
            // Without flags nothing but the end is told.
            Ok(_) if libc::WIFSIGNALED(status) => return Some(128 + libc::WTERMSIG(status) as u8),
            Ok(_) => return Some(libc::WEXITSTATUS(status) as u8),
        }
    }
}

/// Bytes of a page of memory (getauxval(3)).
pub fn page_size() -> usize {
    // SAFETY: reads what the kernel has left for every process.
    let size = unsafe { libc::getauxval(libc::AT_PAGESZ) } as usize;
    if size == 0 {
        4096
    } else {
        size
    }
}

/// pidfd_open(2), Linux 5.3 and later; the descriptor becomes readable when the process ends, and never means another one.
pub fn pidfd_open(pid: Pid) -> io::Result<OwnedFd> {
    // SAFETY: the call takes two integers and touches no memory of ours.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given us this descriptor, nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// The process that a pidfd means, in the numbers of our /proc (proc_pid_fdinfo(5)); `None` if it is gone, or if the
/// descriptor is of another kind.
pub fn pid_of(pidfd: &impl AsRawFd) -> Option<Pid> {
    let text = super::read_text(Path::new(&["/proc/self/fdinfo/", &pidfd.as_raw_fd().to_string()].concat())).ok()?;
    Some(number(super::value_of(&text, "Pid")?)? as Pid).filter(|pid| *pid > 0)
}

/// ioctl_ns(2) NS_GET_PARENT, 4.9 and later.
const NS_GET_PARENT: u32 = 0xb702;
/// NS_GET_OWNER_UID, 4.11 and later.
const NS_GET_OWNER_UID: u32 = 0xb704;

/// The user who made a user namespace, in our numbers.
pub fn owner_of_namespace(namespace: &File) -> io::Result<u32> {
    let mut user = u32::MAX;
    // SAFETY: the kernel writes one number of 32 bits.
    Errno::result(unsafe { libc::syscall(libc::SYS_ioctl, namespace.as_raw_fd(), NS_GET_OWNER_UID, &mut user) })?;
    Ok(user)
}

/// The user namespace that one was made in; an error for the machine's own.
pub fn parent_of_namespace(namespace: &File) -> io::Result<File> {
    // SAFETY: the kernel has just given us the descriptor, nobody else owns it.
    unsafe {
        let fd = Errno::result(libc::syscall(libc::SYS_ioctl, namespace.as_raw_fd(), NS_GET_PARENT, 0))?;
        Ok(File::from_raw_fd(fd as RawFd))
    }
}

/// Closes all descriptors but those in `keep` (and 0 to 2). close_range(2) is 5.9 and later and has no wrapper in musl;
/// below that /proc/self/fd is walked.
///
/// For a child right after fork that never returns to its parent's frames: values there that own descriptors must not be
/// dropped any more.
pub fn close_others(keep: &[RawFd]) {
    let mut keep: Vec<RawFd> = keep.iter().copied().filter(|fd| *fd > 2).collect();
    keep.sort_unstable();
    let mut first: libc::c_uint = 3;
    for fd in &keep {
        let fd = *fd as libc::c_uint;
        if fd > first && !close_range(first, fd - 1) {
            return close_by_proc(&keep);
        }
        first = fd + 1;
    }
    if !close_range(first, libc::c_uint::MAX) {
        close_by_proc(&keep);
    }
}

fn close_range(first: libc::c_uint, last: libc::c_uint) -> bool {
    // SAFETY: closes descriptors that, by the contract of `close_others`, no living value owns.
    unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) == 0 }
}

fn close_by_proc(keep: &[RawFd]) {
    for fd in super::numbers(Path::new("/proc/self/fd"), "").unwrap_or_default() {
        if fd <= 2 || keep.contains(&fd) {
            continue;
        }
        // SAFETY: as above; closing one twice (the directory's own) only fails.
        unsafe { libc::close(fd) };
    }
}

/// Makes another process's root ours (chroot(2)) and goes to a directory that was opened before. Needs CAP_SYS_CHROOT.
pub fn enter_root(root: &Path, cwd: Option<&File>) -> io::Result<()> {
    let path = std::ffi::CString::new(root.as_os_str().as_encoded_bytes())?;
    // SAFETY: a string that ends in NUL, and a descriptor that is open.
    unsafe {
        Errno::result(libc::chroot(path.as_ptr()))?;
        match cwd {
            Some(cwd) => Errno::result(libc::fchdir(cwd.as_raw_fd()))?,
            None => Errno::result(libc::chdir(b"/\0".as_ptr().cast()))?,
        };
    }
    Ok(())
}

/// Puts /dev/null on standard input, output and error, so that nobody waits for us to close them: runc reads a hook's
/// output until its end, not until the hook exits.
pub fn detach_stdio() -> io::Result<()> {
    let null = super::open(Path::new("/dev/null"), OFlag::O_RDWR)?;
    for fd in 0..3 {
        if null.as_raw_fd() != fd {
            // SAFETY: 0 to 2 are replaced, not closed, and `null` is open.
            Errno::result(unsafe { libc::syscall(libc::SYS_dup3, null.as_raw_fd(), fd, 0) })?;
        }
    }
    if null.as_raw_fd() < 3 {
        // It was given one of the three numbers because that one was closed: it must stay open.
        std::mem::forget(null);
    }
    Ok(())
}

/// What a program writes to its standard output, no more than `max` bytes, and its exit code as shells have it (127 where
/// there is no such program).
pub fn output(words: &[CString], max: usize) -> io::Result<(Vec<u8>, u8)> {
    let (from, to) = pipe(OFlag::empty())?;
    match fork()? {
        Forked::Parent(pid) => {
            drop(to);
            let from = std::fs::File::from(from);
            let bytes = super::read_on(&from, max);
            drop(from);
            let code = wait(pid, true);
            Ok((bytes?, code.unwrap_or(127)))
        }
        Forked::Child => {
            // SAFETY: 1 is replaced, not closed; the pipe's end is none of 0 to 2, which are open.
            unsafe { libc::syscall(libc::SYS_dup3, to.as_raw_fd(), 1, 0) };
            super::reset_signals();
            super::execute(words);
            super::exit(127)
        }
    }
}

/// Sets the name that ps shows; what is behind the 15th byte is cut off (prctl PR_SET_NAME).
pub fn set_name(name: &str) {
    let mut buffer = [0u8; 16];
    for (to, from) in buffer.iter_mut().zip(name.bytes().take(15)) {
        *to = from;
    }
    // SAFETY: the kernel reads at most 16 bytes, and the buffer ends in NUL.
    unsafe { libc::syscall(libc::SYS_prctl, libc::PR_SET_NAME, buffer.as_ptr()) };
}

/// Has this process, and the children that it makes, run before all others (sched_setscheduler(2)), or as it did before; a
/// refusal is no error.
pub fn run_first(first: bool) {
    let (policy, priority) = if first { (libc::SCHED_FIFO, 1) } else { (libc::SCHED_OTHER, 0) };
    let priority: libc::c_int = priority;
    // SAFETY: the kernel reads one number.
    unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, policy, &priority) };
}

/// Asks for more processor time (setpriority); a refusal is no error, the recorder then runs as any other process.
pub fn lower_nice(nice: i32) {
    // SAFETY: integers only.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
}
