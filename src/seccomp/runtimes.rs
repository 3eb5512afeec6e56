// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What each runtime needs between loading the filter and the container's execve, and what every program needs.
//!
//! Runtimes load the filter in the container's first process and go on for a while: without no-new-privileges before they
//! drop capabilities and change the user, with it just before execve (runc libcontainer/standard_init_linux.go, crun
//! src/libcrun/container.c). `runc exec` and `crun exec` load the same filter and go the same way. Measured on x86_64 with
//! runc 1.1.5, 1.1.14, 1.2.0, 1.3.0, 1.3.3, 1.4.2, 1.5.1 and crun 1.8.1: what any of them called there, whether or not it
//! bears a refusal, for which of its threads does what is the Go runtime's choice. 32-bit ARM has other spellings of the
//! same calls, see `syscalls::each_spelling`.

/// Version of the tables below, told with every profile. 1: 2026-11-27.
pub const TABLE_VERSION: u64 = 1;

/// Which runtime is to load the profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// runc or crun, whichever comes.
    Any,
    /// runc, and what is built on it.
    Runc,
    /// crun.
    Crun,
    /// None: something else starts the program, as systemd does.
    None,
}

/// Their names, in the order of [`Runtime`].
const NAMES: [&str; 4] = ["any", "runc", "crun", "none"];

impl Runtime {
    /// From its name.
    pub fn from_name(name: &str) -> Option<Runtime> {
        let at = NAMES.iter().position(|known| *known == name)?;
        [Runtime::Any, Runtime::Runc, Runtime::Crun, Runtime::None].get(at).copied()
    }

    /// Who that is, for people.
    pub fn told(self) -> &'static str {
        match self {
            Runtime::Any => "runc or crun",
            other => other.name(),
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        NAMES.get(self as usize).copied().unwrap_or_default()
    }
}

/// What a program needs without asking for it: to be started and to end, to come back from a signal's handler and from a
/// stop in the middle of a call (`restart_syscall` is the kernel's doing), and what the vDSO answers until the machine's
/// clock source is one that it can not read; then the C library makes the calls after all.
const PROGRAM: &str =
    "clock_getres clock_gettime execve exit exit_group getcpu gettimeofday restart_syscall rt_sigreturn sigreturn time";

/// runc: closes descriptors by way of /proc/self/fd (CVE-2024-21626; openat2, statx and fstat since 1.3.3), opens the exec
/// fifo and writes to it; the rest is its Go runtime.
const RUNC: &str =
    "close close_range epoll_ctl epoll_pwait execve exit_group fcntl fstat fstatfs futex getdents64 getpid \
                    mmap munmap nanosleep openat openat2 rt_sigreturn sched_yield sigaltstack statx tgkill write";

/// runc without no-new-privileges, besides: capabilities, the user, the working directory, looking for the program.
const RUNC_EARLY: &str =
    "capget capset chdir faccessat2 fchown getcwd getppid newfstatat prctl read setgid setgroups setuid";

/// crun: lseek only with startContainer hooks; close_range is let fail; umask in `crun exec` (seen with 1.21).
const CRUN: &str = "close close_range execve lseek umask";

/// crun without no-new-privileges, besides; pselect6 and read wait for `crun start`.
const CRUN_EARLY: &str =
    "capset chdir prctl pselect6 read rt_sigaction rt_sigprocmask setgroups setresgid setresuid write";

/// What each needs besides to run startContainer hooks, which are under the filter, too (runc 1.1.5 and 1.1.15, crun 1.8.1
/// and 1.21; clone3, pidfd_open, pidfd_send_signal and waitid are how newer Go starts processes).
const RUNC_HOOKS: &str =
    "clone clone3 dup3 epoll_create1 eventfd2 fcntl gettid ioctl kill pidfd_open pidfd_send_signal pipe2 \
                          prlimit64 read rt_sigaction rt_sigprocmask set_robust_list wait4 waitid";
const CRUN_HOOKS: &str =
    "chdir clone clone3 dup2 dup3 getcwd getpid ioctl kill mmap mprotect munmap openat pipe2 poll ppoll read \
                          rt_sigaction rt_sigprocmask set_robust_list set_tid_address wait4 write";

/// What a program needs whoever starts it.
pub fn of_programs() -> impl Iterator<Item = &'static str> {
    PROGRAM.split(' ')
}

/// What the runtime needs, `hooks` if there are startContainer hooks. Names may come more than once.
pub fn needed(runtime: Runtime, no_new_privileges: bool, hooks: bool) -> impl Iterator<Item = &'static str> {
    let early = !no_new_privileges;
    let lists = [
        (RUNC, Runtime::Runc, true),
        (RUNC_EARLY, Runtime::Runc, early),
        (RUNC_HOOKS, Runtime::Runc, hooks),
        (CRUN, Runtime::Crun, true),
        (CRUN_EARLY, Runtime::Crun, early),
        (CRUN_HOOKS, Runtime::Crun, hooks),
    ];
    let wanted = move |(_, of, wanted): &(&str, Runtime, bool)| *wanted && (runtime == Runtime::Any || runtime == *of);
    lists.into_iter().filter(wanted).flat_map(|(names, ..)| names.split(' '))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Abi;
    use crate::syscalls::number;

    #[test]
    fn every_name_of_the_tables_is_a_call_and_stands_in_order() {
        for list in [PROGRAM, RUNC, RUNC_EARLY, RUNC_HOOKS, CRUN, CRUN_EARLY, CRUN_HOOKS] {
            let names: Vec<&str> = list.split(' ').collect();
            assert!(names.windows(2).all(|pair| pair[0] < pair[1]), "{list}");
            for name in names {
                let known = [Abi::X86_64, Abi::Arm].iter().any(|abi| number(*abi, name).is_some());
                assert!(known, "{name}");
            }
        }
    }

    #[test]
    fn without_no_new_privileges_more_is_needed() {
        let count = |runtime, nnp| needed(runtime, nnp, false).count();
        assert_eq!((count(Runtime::Runc, true), count(Runtime::Runc, false)), (23, 36));
        assert_eq!((count(Runtime::Crun, true), count(Runtime::Crun, false)), (5, 16));
        assert_eq!(count(Runtime::Any, false), 52);
        assert_eq!(count(Runtime::None, false), 0);
        assert!(needed(Runtime::Crun, true, true).any(|name| name == "pipe2"));
        assert!(!needed(Runtime::Crun, true, true).any(|name| name == "gettid"), "runc's");
        for name in ["any", "runc", "crun", "none"] {
            assert_eq!(Runtime::from_name(name).map(Runtime::name), Some(name));
        }
        assert_eq!(Runtime::from_name("podman"), None);
    }
}
