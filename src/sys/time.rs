// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Clocks, and sleeping.

#![allow(unsafe_code)]

use nix::libc;

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

/// Sleeps, unless a signal comes.
pub fn sleep_ms(ms: u16) {
    let _ = nix::poll::poll(&mut [], nix::poll::PollTimeout::from(ms));
}
