// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Clocks, and sleeping.

#![allow(unsafe_code)]

use nix::libc;
use nix::poll::PollFd;

fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec, which `now` is.
    unsafe {
        // Not the C library's, which looks for the vdso's: a kilobyte of code.
        #[cfg(target_pointer_width = "64")]
        libc::syscall(libc::SYS_clock_gettime, clock, &mut now);
        #[cfg(not(target_pointer_width = "64"))]
        libc::clock_gettime(clock, &mut now);
    }
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + now.tv_nsec as u64
}

/// CLOCK_REALTIME in nanoseconds since 1970; 0 for a clock set before that.
pub fn realtime_ns() -> u64 {
    clock_ns(libc::CLOCK_REALTIME)
}

/// CLOCK_MONOTONIC in milliseconds: for what happens within one process.
pub fn monotonic_ms() -> u64 {
    clock_ns(libc::CLOCK_MONOTONIC) / 1_000_000
}

/// poll(2) for as many milliseconds at most; whether there is something. A signal is as good as the end of the time.
pub fn poll(fds: &mut [PollFd<'_>], ms: u64) -> bool {
    let (count, at) = (fds.len(), fds.as_mut_ptr());
    // SAFETY: PollFd is a struct pollfd, and there are as many as is said.
    unsafe {
        #[cfg(target_pointer_width = "64")]
        {
            // The kernel leaves there what is left of it.
            let mut time = libc::timespec { tv_sec: (ms / 1000) as i64, tv_nsec: (ms % 1000 * 1_000_000) as i64 };
            libc::syscall(libc::SYS_ppoll, at, count, &mut time, 0usize, 0usize) > 0
        }
        #[cfg(not(target_pointer_width = "64"))]
        {
            libc::poll(at.cast(), count as libc::nfds_t, i32::try_from(ms).unwrap_or(i32::MAX)) > 0
        }
    }
}

/// Sleeps, unless a signal comes.
pub fn sleep_ms(ms: u16) {
    poll(&mut [], u64::from(ms));
}
