// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The names of what programs die by with a dump: signals, and the codes that say why.
//!
//! The tables of all names (`syscalls`) are packed, and unpacking them takes more memory than the handler may have.
//! Source: signal(7), sigaction(2); the numbers are the same on all machines that we know.

use crate::words::next_part;

/// Those that dump by default, and their codes from 1 on.
const SIGNALS: &str = "3 SIGQUIT
4 SIGILL ILL_ILLOPC ILL_ILLOPN ILL_ILLADR ILL_ILLTRP ILL_PRVOPC ILL_PRVREG ILL_COPROC ILL_BADSTK
5 SIGTRAP TRAP_BRKPT TRAP_TRACE TRAP_BRANCH TRAP_HWBKPT
6 SIGABRT
7 SIGBUS BUS_ADRALN BUS_ADRERR BUS_OBJERR BUS_MCEERR_AR BUS_MCEERR_AO
8 SIGFPE FPE_INTDIV FPE_INTOVF FPE_FLTDIV FPE_FLTOVF FPE_FLTUND FPE_FLTRES FPE_FLTINV FPE_FLTSUB
11 SIGSEGV SEGV_MAPERR SEGV_ACCERR SEGV_BNDERR SEGV_PKUERR SEGV_ACCADI SEGV_ADIDERR SEGV_ADIPERR SEGV_MTEAERR SEGV_MTESERR
24 SIGXCPU
25 SIGXFSZ
31 SIGSYS SYS_SECCOMP SYS_USER_DISPATCH
";
/// Codes of all signals, from 0 down, and that of the kernel.
const SENT: &str = "SI_USER SI_QUEUE SI_TIMER SI_MESGQ SI_ASYNCIO SI_SIGIO SI_TKILL";
const KERNEL: i32 = 0x80;

/// The word at a place of a line.
fn word(line: &str, nth: usize) -> &str {
    line.split(' ').nth(nth).unwrap_or_default()
}

fn line(signal: i32) -> &'static str {
    let mut rest = SIGNALS;
    let number = signal.to_string();
    while let Some(line) = next_part(&mut rest, "\n") {
        if word(line, 0) == number {
            return line;
        }
    }
    ""
}

/// A signal's name; empty if it is none of these.
pub fn signal(number: i32) -> &'static str {
    word(line(number), 1)
}

/// A code's name, likewise.
pub fn code(signal: i32, code: i32) -> &'static str {
    match code {
        KERNEL => "SI_KERNEL",
        1..=64 => word(line(signal), code as usize + 1),
        -64..=0 => word(SENT, code.unsigned_abs() as usize),
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use crate::syscalls::{si_code_name, signal_name};

    #[test]
    fn names_are_those_of_the_table_of_all() {
        let mut known = 0;
        for signal in 1..64 {
            let name = super::signal(signal);
            if name.is_empty() {
                continue;
            }
            assert_eq!(signal_name(signal), Some(name));
            for code in -70..140 {
                let named = super::code(signal, code);
                assert!(named.is_empty() || si_code_name(signal, code) == Some(named), "{signal} {code} {named}");
                // And all that there are, but a few that need more than a line.
                assert!(
                    !(0..=4).contains(&code) || si_code_name(signal, code).unwrap_or("") == named,
                    "{signal} {code}"
                );
                known += usize::from(!named.is_empty());
            }
        }
        assert!(known > 60, "{known}");
        assert_eq!((super::signal(9), super::code(9, 1), super::code(11, i32::MIN)), ("", "", ""));
    }
}
