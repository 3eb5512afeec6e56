// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a signal is called and what its `si_code` says about where it came from.
//!
//! Both stand as numbers in `signal:signal_generate` and `signal:signal_deliver`. All ABIs here use the numbers of
//! asm-generic/signal.h and asm-generic/siginfo.h; spellings are strace's.

use super::signal_table::{CODES, NAMES, SIGNALS, STARTS};

/// `SIGSEGV` for 11, in constant time. The real-time signals are the kernel's 32 to 64, `SIGRTMIN` and `SIGRT_1` to
/// `SIGRT_32`, so glibc's own `SIGRTMIN` (34) is `SIGRT_2`. `None` outside 1 to 64.
pub fn signal_name(sig: i32) -> Option<&'static str> {
    let at = usize::try_from(sig).ok()?.checked_sub(1)?;
    if at < SIGNALS {
        NAMES.word(STARTS, at)
    } else {
        None
    }
}

/// `SEGV_MAPERR` for 11 and 1, `SI_TKILL` for any signal and -6. Positive codes below `SI_KERNEL` (128) mean something
/// else for each signal; `None` where the signal has no such code, as for ptrace's `SIGTRAP | event << 8`.
pub fn si_code_name(sig: i32, code: i32) -> Option<&'static str> {
    signal_name(sig)?;
    let wanted = |(of, value): &(u8, i16)| (*of == 0 || i32::from(*of) == sig) && i32::from(*value) == code;
    NAMES.word(STARTS, SIGNALS.checked_add(CODES.iter().position(wanted)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_their_first_name() {
        for (sig, name) in [
            (1, "SIGHUP"),
            (6, "SIGABRT"),
            (7, "SIGBUS"),
            (9, "SIGKILL"),
            (11, "SIGSEGV"),
            (16, "SIGSTKFLT"),
            (17, "SIGCHLD"),
            (29, "SIGIO"),
            (31, "SIGSYS"),
            (32, "SIGRTMIN"),
            (33, "SIGRT_1"),
            (34, "SIGRT_2"),
            (64, "SIGRT_32"),
        ] {
            assert_eq!(signal_name(sig), Some(name));
        }
    }

    #[test]
    fn every_signal_up_to_64_has_a_name_and_no_other_number() {
        assert!((1..=64).all(|sig| signal_name(sig).is_some_and(|name| name.starts_with("SIG"))));
        for sig in [0, 65, 66, 128, -1, -11, i32::MIN, i32::MAX] {
            assert_eq!(signal_name(sig), None, "{sig}");
            assert_eq!(si_code_name(sig, 0), None, "{sig}");
        }
    }

    #[test]
    fn codes_of_a_sender_are_the_same_for_every_signal() {
        for sig in [1, 11, 17, 34, 64] {
            for (code, name) in [
                (0, "SI_USER"),
                (128, "SI_KERNEL"),
                (-1, "SI_QUEUE"),
                (-2, "SI_TIMER"),
                (-3, "SI_MESGQ"),
                (-4, "SI_ASYNCIO"),
                (-5, "SI_SIGIO"),
                (-6, "SI_TKILL"),
                (-7, "SI_DETHREAD"),
                (-60, "SI_ASYNCNL"),
            ] {
                assert_eq!(si_code_name(sig, code), Some(name), "{sig} {code}");
            }
        }
    }

    #[test]
    fn codes_of_the_kernel_depend_on_the_signal() {
        let first = [4, 5, 7, 8, 11, 17, 29, 31].map(|sig| si_code_name(sig, 1));
        let expected = [
            "ILL_ILLOPC",
            "TRAP_BRKPT",
            "BUS_ADRALN",
            "FPE_INTDIV",
            "SEGV_MAPERR",
            "CLD_EXITED",
            "POLL_IN",
            "SYS_SECCOMP",
        ];
        assert_eq!(first, expected.map(Some));
        for (sig, code, name) in [
            (11, 2, "SEGV_ACCERR"),
            (11, 4, "SEGV_PKUERR"),
            (11, 9, "SEGV_MTESERR"),
            (11, 10, "SEGV_CPERR"),
            (7, 5, "BUS_MCEERR_AO"),
            (8, 14, "FPE_FLTUNK"),
            (5, 6, "TRAP_PERF"),
            (17, 3, "CLD_DUMPED"),
            (31, 2, "SYS_USER_DISPATCH"),
        ] {
            assert_eq!(si_code_name(sig, code), Some(name));
        }
    }

    #[test]
    fn a_code_the_signal_does_not_have_is_none() {
        for (sig, code) in [
            (9, 1),
            (34, 1),
            (11, 11),
            (8, 9), // ia64's decimal overflow
            (4, 10),
            (5, 5 | (4 << 8)),
            (11, -8),
            (11, 127),
            (11, 65537),
            (11, i32::MIN),
            (11, i32::MAX),
        ] {
            assert_eq!(si_code_name(sig, code), None, "{sig} {code}");
        }
    }
}
