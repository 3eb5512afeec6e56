// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a panic says in the artefacts for the boards, where it is a trap instruction without a message (`cross/build`: texts
//! and places of panics took a tenth of the binary): its address, which `cross/where` turns into a line of the source. The
//! binary's own address is fixed, so that number is enough. Elsewhere panics speak for themselves and nothing traps.
//!
//! Source: sigaction(2) on `si_addr` of SIGILL and SIGTRAP; signal-safety(7) on what a handler may call.

#![allow(unsafe_code)]

use std::ffi::CString;
use std::io::Write;
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use nix::libc::{self, c_char, c_int, c_void};
use nix::sys::signal::Signal;

use super::signal::set_handler;

/// Where a line goes besides standard error; a string that is never given back, or null.
static LOG: AtomicPtr<c_char> = AtomicPtr::new(ptr::null_mut());

/// The target as `cross/build` has it.
const TARGET: &str = if cfg!(target_arch = "aarch64") {
    "aarch64-unknown-linux-musl"
} else if cfg!(target_arch = "arm") {
    "armv7-unknown-linux-musleabihf"
} else {
    "x86_64-unknown-linux-musl"
};

/// From now on a trap tells its address before it ends the process.
pub(super) fn tell_traps() {
    // x86 and ARM trap by an undefined instruction, AArch64 by a breakpoint.
    for signal in [Signal::SIGILL, Signal::SIGTRAP] {
        // It has the type that SA_SIGINFO asks for, calls nothing that a handler may not call, and lives as long as the
        // program.
        set_handler(signal, told as extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) -> ! as usize);
    }
}

/// Has a trap's line appended to this file, too: for processes whose standard error nobody reads.
pub fn log_traps(path: &Path) {
    if let Ok(path) = CString::new(path.as_os_str().as_encoded_bytes()) {
        LOG.store(path.into_raw(), Ordering::Relaxed);
    }
}

extern "C" fn told(signal: c_int, info: *mut libc::siginfo_t, _: *mut c_void) -> ! {
    // SAFETY: the kernel has filled it in for a signal that an instruction raised.
    let address = unsafe { (*info).si_addr() } as usize;
    let mut digits = [b'0'; 2 * std::mem::size_of::<usize>()];
    let mut rest = address;
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef".get(rest & 15).copied().unwrap_or(0);
        rest >>= 4;
    }
    let mut buffer = [0u8; 256];
    let mut free = &mut buffer[..];
    for part in [
        concat!("ftrace-analyzer: a bug in ", env!("CARGO_PKG_VERSION"), " at 0x").as_bytes(),
        &digits,
        b", please report it\nhint: in its source, cross/where 0x",
        &digits,
        b" ",
        TARGET.as_bytes(),
        b" names the line\n",
    ] {
        let _ = free.write(part);
    }
    let length = 256 - free.len();
    let log = LOG.load(Ordering::Relaxed);
    // SAFETY: all calls are safe in handlers; the path is a string that stays, and the buffer is ours.
    unsafe {
        libc::write(2, buffer.as_ptr().cast(), length);
        if !log.is_null() {
            let flags = libc::O_WRONLY | libc::O_APPEND | libc::O_CREAT | libc::O_NOFOLLOW | libc::O_CLOEXEC;
            let file = libc::syscall(libc::SYS_openat, libc::AT_FDCWD, log, flags, 0o600);
            libc::write(file as c_int, buffer.as_ptr().cast(), length);
        }
        // Its default is back (SA_RESETHAND), and it is not blocked (SA_NODEFER): this ends the process.
        libc::syscall(libc::SYS_kill, libc::getpid(), signal);
        libc::_exit(128 + signal)
    }
}
