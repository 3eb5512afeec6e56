// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The same call as other machines spell it: what a program that was recorded on one of them calls on another.
//!
//! 64-bit ARM has the newest form of each call alone, x86_64 its elders too, 32-bit ARM those for 16-bit users, 32-bit
//! offsets and 32-bit times besides; which of them a C library takes is its own choice. So the members of a class go
//! together. Source: the kernel's syscall tables (arch/x86/entry/syscalls, arch/arm/tools/syscall.tbl, scripts/syscall.tbl)
//! and what glibc and musl call on each.

/// Classes, separated by `;`. A name that all machines share stands for itself and is in none.
const CLASSES: &str = "\
    open openat creat;stat newfstatat fstatat64 stat64 lstat lstat64;fstat fstat64;statfs statfs64;fstatfs fstatfs64;\
    access faccessat faccessat2;readlink readlinkat;mkdir mkdirat;mknod mknodat;link linkat;symlink symlinkat;\
    unlink unlinkat rmdir;rename renameat renameat2;chmod fchmodat fchmodat2;chown fchownat lchown chown32 lchown32;\
    fchown fchown32;dup2 dup3;pipe pipe2;epoll_create epoll_create1;eventfd eventfd2;signalfd signalfd4;\
    inotify_init inotify_init1;epoll_wait epoll_pwait epoll_pwait2;poll ppoll ppoll_time64;\
    select pselect6 _newselect pselect6_time64;getdents getdents64;clone fork vfork clone3;mmap mmap2;lseek _llseek;\
    fcntl fcntl64;truncate truncate64;ftruncate ftruncate64;sendfile sendfile64;fadvise64 arm_fadvise64_64 fadvise64_64;\
    sync_file_range arm_sync_file_range sync_file_range2;getrlimit ugetrlimit prlimit64;setrlimit prlimit64;\
    getuid getuid32;getgid getgid32;geteuid geteuid32;getegid getegid32;setuid setuid32;setgid setgid32;\
    getresuid getresuid32;getresgid getresgid32;setresuid setresuid32;setresgid setresgid32;setreuid setreuid32;\
    setregid setregid32;getgroups getgroups32;setgroups setgroups32;setfsuid setfsuid32;setfsgid setfsgid32;\
    futex futex_time64;clock_gettime clock_gettime64;clock_settime clock_settime64;clock_adjtime clock_adjtime64;\
    clock_getres clock_getres_time64;clock_nanosleep clock_nanosleep_time64 nanosleep;timer_gettime timer_gettime64;\
    timer_settime timer_settime64;timerfd_gettime timerfd_gettime64;timerfd_settime timerfd_settime64;\
    utimensat utimensat_time64 utime utimes futimesat;recvmmsg recvmmsg_time64;mq_timedsend mq_timedsend_time64;\
    mq_timedreceive mq_timedreceive_time64;semtimedop semtimedop_time64 semop;\
    sched_rr_get_interval sched_rr_get_interval_time64;rt_sigtimedwait rt_sigtimedwait_time64;\
    io_pgetevents io_pgetevents_time64;rt_sigreturn sigreturn;rt_sigaction sigaction;rt_sigprocmask sigprocmask;\
    rt_sigpending sigpending;rt_sigsuspend sigsuspend pause;setitimer alarm;getpgid getpgrp;sendto send;recvfrom recv;\
    gettimeofday time;umount umount2;nice setpriority";

/// Calls that every program of a machine makes and no program of another has; under `--portable` they always belong to it.
pub const OF_ARM: &str = "cacheflush set_tls";
/// Likewise.
pub const OF_X86_64: &str = "arch_prctl";

/// Tells the other spellings of a call.
pub fn each_of(name: &str, tell: &mut dyn FnMut(&'static str)) {
    for class in CLASSES.split(';') {
        if class.split(' ').any(|member| member == name) {
            class.split(' ').filter(|member| *member != name).for_each(&mut *tell);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Abi;
    use crate::syscalls::{all, number};

    fn spelled(name: &str) -> Vec<&'static str> {
        let mut found = Vec::new();
        each_of(name, &mut |other| found.push(other));
        found
    }

    #[test]
    fn every_member_is_a_call_of_a_machine() {
        for name in CLASSES.split([';', ' ']).chain(OF_ARM.split(' ')).chain(OF_X86_64.split(' ')) {
            let known = [Abi::X86_64, Abi::Arm, Abi::Aarch64].iter().any(|abi| number(*abi, name).is_some());
            // umount is i386's and old ARM's; fadvise64_64 and the like are i386's.
            assert!(known || number(Abi::I386, name).is_some(), "{name}");
        }
    }

    #[test]
    fn every_call_of_one_machine_has_a_spelling_on_the_others() {
        // What programs of one machine alone need.
        let own = "memfd_secret map_shadow_stack uretprobe uprobe";
        for from in [Abi::Aarch64, Abi::X86_64, Abi::Arm] {
            for (nr, name) in all(from) {
                for to in [Abi::Aarch64, Abi::X86_64, Abi::Arm] {
                    let there =
                        number(to, name).is_some() || spelled(name).iter().any(|other| number(to, other).is_some());
                    let private = nr >= 0xf0000 || own.split(' ').any(|own| own == name);
                    if !there && !private {
                        println!("{from} {name} on {to}");
                    }
                    // Everything that 64-bit ARM has, the others have in some form.
                    assert!(there || private || from != Abi::Aarch64, "{name} on {to}");
                }
            }
        }
    }

    #[test]
    fn spellings_are_found_from_any_of_them() {
        assert_eq!(spelled("openat"), ["open", "creat"]);
        assert!(spelled("futex_time64").contains(&"futex"));
        assert_eq!(spelled("read"), [""; 0]);
        // Two classes.
        assert_eq!(spelled("prlimit64"), ["getrlimit", "ugetrlimit", "setrlimit"]);
    }
}
