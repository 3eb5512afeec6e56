// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Signals as a program without threads needs them. The C library's functions see to threads, too, with a kilobyte of code.
//!
//! Source: rt_sigaction(2), sigprocmask(2), signalfd(2); kernel include/linux/signal_types.h `k_sigaction`.

#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{FromRawFd, RawFd};

use nix::errno::Errno;
use nix::libc::{self, c_int, c_ulong};
use nix::sys::signal::Signal;

/// Bytes of a set of signals.
const SET: usize = 8;

/// The signals that end a recorder.
const ENDS: [Signal; 4] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT];

/// The kernel's struct sigaction of x86, ARM and AArch64.
#[repr(C)]
struct Action {
    handler: usize,
    flags: c_ulong,
    restorer: usize,
    mask: [u32; 2],
}

/// There is a restorer; x86 asks for one.
const RESTORER: c_int = 0x0400_0000;

/// Sets what a signal does. `handler` is a function that does not return.
pub(super) fn set_handler(which: Signal, handler: usize) {
    let flags =
        if handler > libc::SIG_IGN { libc::SA_SIGINFO | libc::SA_RESETHAND | libc::SA_NODEFER | RESTORER } else { 0 };
    let action = Action { handler, flags: flags as c_ulong, restorer: handler, mask: [0; 2] };
    // SAFETY: as the kernel wants it; for the handler see above, and where it would return to is never used.
    unsafe { libc::syscall(libc::SYS_rt_sigaction, which as c_int, &action, 0usize, SET) };
}

/// Ignores a signal in this process.
pub fn ignore_signal(which: Signal) {
    set_handler(which, libc::SIG_IGN);
}

fn set_mask(mask: u64) {
    // SAFETY: the kernel reads one set, which is 64 bits.
    unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &mask, 0usize, SET) };
}

/// What a child has to undo before it executes a program: SIGPIPE is ignored here, and signals that we read through a
/// descriptor are blocked; both would be inherited.
pub fn reset_signals() {
    set_mask(0);
    set_handler(Signal::SIGPIPE, libc::SIG_DFL);
}

fn ends() -> u64 {
    ENDS.iter().fold(0, |mask, signal| mask | 1 << (*signal as c_int - 1))
}

/// Has the signals that end a recorder wait for its loop: one that came while tracing is set up would leave an instance
/// that records for nobody.
pub fn hold_signals() {
    set_mask(ends());
}

/// The held signals as a file, for [`read_signal`].
pub fn signal_file() -> io::Result<File> {
    let flags = libc::SFD_NONBLOCK | libc::SFD_CLOEXEC;
    // SAFETY: the kernel reads one set; it has just given us the descriptor, nobody else owns it.
    unsafe {
        let fd = libc::syscall(libc::SYS_signalfd4, -1, &ends(), SET, flags);
        Ok(File::from_raw_fd(Errno::result(fd)? as RawFd))
    }
}

/// The number of a signal that has come.
pub fn read_signal(mut file: &File) -> Option<i32> {
    // struct signalfd_siginfo begins with it.
    let mut info = [0u8; 128];
    file.read_exact(&mut info).ok()?;
    info.first().map(|signal| i32::from(*signal))
}
