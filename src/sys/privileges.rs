// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a recorder may do once it is set up: little. And files that are made for somebody else, with his rights.
//!
//! A recorder stays user 0 as long as the machine's tracefs is, but without capabilities: what it still needs it may do
//! as the owner of tracefs and of its directories. A filter lets it make only the calls that it makes.
//! Source: capabilities(7), credentials(7), setfsuid(2), seccomp(2), prctl(2); kernel/capability.c, security/commoncap.c
//! `cap_emulate_setxuid`.

#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU32, Ordering};

use nix::libc::{self, c_long, sock_filter, sock_fprog};

/// Of a user who is not the owner of tracefs and has this to use it.
pub const CAP_DAC_OVERRIDE: u64 = 1 << 1;
/// Files for another user, see [`as_owner`]: of who is confined, and may make no other call that it is for.
pub const CAP_SETGID: u64 = 1 << 6;
/// The same.
pub const CAP_SETUID: u64 = 1 << 7;
/// Reading links of other users' processes in /proc: the namespaces of what joins a container.
pub const CAP_SYS_PTRACE: u64 = 1 << 19;
/// Running before others, see [`super::run_first`].
pub const CAP_SYS_NICE: u64 = 1 << 23;
/// Making a process of a wanted number, see [`super::spend_pid`]; 5.9 and later, nothing before.
pub const CAP_CHECKPOINT_RESTORE: u64 = 1 << 40;

/// Who owns the recording, if not who records; 0 is nobody.
static OWNER: AtomicU32 = AtomicU32::new(0);
static GROUP: AtomicU32 = AtomicU32::new(0);

/// Calls whose names differ with the size of a word, by their names with wide ones.
#[cfg(not(target_arch = "arm"))]
mod ids {
    pub use nix::libc::{
        SYS_fstat, SYS_fstatfs, SYS_geteuid, SYS_mmap, SYS_newfstatat, SYS_setfsgid, SYS_setfsuid, SYS_setgroups,
        SYS_setresgid, SYS_setresuid, SYS_statfs,
    };
}
#[cfg(target_arch = "arm")]
mod ids {
    pub use nix::libc::{
        SYS_fstat64 as SYS_fstat, SYS_fstatat64 as SYS_newfstatat, SYS_fstatfs64 as SYS_fstatfs,
        SYS_geteuid32 as SYS_geteuid, SYS_mmap2 as SYS_mmap, SYS_setfsgid32 as SYS_setfsgid,
        SYS_setfsuid32 as SYS_setfsuid, SYS_setgroups32 as SYS_setgroups, SYS_setresgid32 as SYS_setresgid,
        SYS_setresuid32 as SYS_setresuid, SYS_statfs64 as SYS_statfs,
    };
}

/// A call whose arguments are numbers. One thread is all that we are: what the C library does for the others is left out.
fn call(number: c_long, args: [u32; 3]) -> bool {
    let [first, second, third] = args;
    // SAFETY: integers only.
    unsafe { libc::syscall(number, first, second, third) == 0 }
}

/// Makes another user the owner of what is written under [`as_owner`] from now on, for the life of the process. Gives up
/// the supplementary groups, which he need not have. Needs CAP_SETGID.
pub fn set_owner(user: u32, group: u32) -> bool {
    OWNER.store(user, Ordering::Relaxed);
    GROUP.store(group, Ordering::Relaxed);
    call(ids::SYS_setgroups, [0; 3])
}

/// The owner that was set: user and group; 0 is nobody.
pub fn owner() -> (u32, u32) {
    (OWNER.load(Ordering::Relaxed), GROUP.load(Ordering::Relaxed))
}

/// For good: files are made with the rights of this user and of these groups, and with no capability but these, as another
/// process would make them. Needs CAP_SETUID and CAP_SETGID, and gives them up.
pub fn act_as(user: u32, group: u32, groups: &[u32], caps: u64) -> bool {
    // SAFETY: the kernel reads as many numbers of 32 bits.
    let done = unsafe { libc::syscall(ids::SYS_setgroups, groups.len(), groups.as_ptr()) == 0 };
    call(ids::SYS_setfsgid, [group, 0, 0]);
    call(ids::SYS_setfsuid, [user, 0, 0]);
    set_capabilities(caps);
    // SAFETY: integers only; a refusal is told by what is asked for then.
    done && unsafe { libc::syscall(ids::SYS_setfsuid, u32::MAX) } as u32 == user
}

/// umask(2).
pub fn set_umask(mask: u32) {
    // SAFETY: an integer.
    unsafe { libc::syscall(libc::SYS_umask, mask) };
}

/// While it lives files are opened, made and removed with the owner's rights, and belong to him.
#[derive(Debug)]
pub struct AsOwner(bool);

/// Nothing where there is no owner, or within another one's life.
pub fn as_owner() -> AsOwner {
    let user = OWNER.load(Ordering::Relaxed);
    if user == 0 {
        return AsOwner(false);
    }
    // setfsuid(2) tells no failure, only what was: asked again it tells what is.
    // SAFETY: integers only.
    let now = unsafe { libc::syscall(ids::SYS_setfsuid, u32::MAX) };
    if now as u32 == user {
        return AsOwner(false);
    }
    call(ids::SYS_setfsgid, [GROUP.load(Ordering::Relaxed), 0, 0]);
    call(ids::SYS_setfsuid, [user, 0, 0]);
    AsOwner(true)
}

impl Drop for AsOwner {
    fn drop(&mut self) {
        if self.0 {
            call(ids::SYS_setfsuid, [0; 3]);
            call(ids::SYS_setfsgid, [0; 3]);
        }
    }
}

/// The calls that a recorder makes, and its children that add what joins: by the kernel's name, the most frequent first.
/// A call that is missing fails with EPERM; tests/live_privileges.rs looks at what a recorder does.
const ALLOWED: &[c_long] = &[
    libc::SYS_read,
    libc::SYS_splice,
    libc::SYS_write,
    libc::SYS_pwrite64,
    libc::SYS_pread64,
    libc::SYS_ppoll,
    libc::SYS_accept4,
    libc::SYS_openat,
    libc::SYS_close,
    libc::SYS_clock_gettime,
    libc::SYS_getdents64,
    libc::SYS_readlinkat,
    libc::SYS_statx,
    libc::SYS_lseek,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fdatasync,
    libc::SYS_fsync,
    libc::SYS_flock,
    libc::SYS_fcntl,
    libc::SYS_unlinkat,
    libc::SYS_mkdirat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_linkat,
    libc::SYS_fchmodat,
    libc::SYS_umask,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_pipe2,
    libc::SYS_dup3,
    libc::SYS_close_range,
    libc::SYS_pidfd_open,
    // The control socket's other end, and the system log.
    libc::SYS_connect,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_shutdown,
    // Children that add what joins.
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_wait4,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_sched_setscheduler,
    libc::SYS_setpriority,
    libc::SYS_prctl,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_restart_syscall,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    // Memory, and what the C libraries do by themselves.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_futex,
    libc::SYS_getrandom,
    libc::SYS_set_robust_list,
    libc::SYS_writev,
    ids::SYS_setfsuid,
    ids::SYS_setfsgid,
    ids::SYS_newfstatat,
    ids::SYS_fstat,
    ids::SYS_statfs,
    ids::SYS_fstatfs,
    ids::SYS_geteuid,
    ids::SYS_mmap,
];

/// Those that only this machine has.
#[cfg(target_arch = "x86_64")]
const ALLOWED_HERE: &[c_long] = &[libc::SYS_poll, libc::SYS_fork, libc::SYS_readlink, libc::SYS_rseq];
#[cfg(target_arch = "aarch64")]
const ALLOWED_HERE: &[c_long] = &[libc::SYS_rseq];
#[cfg(target_arch = "arm")]
const ALLOWED_HERE: &[c_long] = &[
    libc::SYS__llseek,
    libc::SYS_ftruncate64,
    libc::SYS_fcntl64,
    libc::SYS_poll,
    libc::SYS_fork,
    libc::SYS_readlink,
    // Since 5.1 with times of 64 bits.
    403, // clock_gettime64
    407, // clock_nanosleep_time64
    414, // ppoll_time64
    422, // futex_time64
];

/// AUDIT_ARCH of include/uapi/linux/audit.h.
#[cfg(target_arch = "x86_64")]
const AUDIT_ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const AUDIT_ARCH: u32 = 0xc000_00b7;
#[cfg(target_arch = "arm")]
const AUDIT_ARCH: u32 = 0x4000_0028;

// Elsewhere there is no filter.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "arm")))]
const AUDIT_ARCH: u32 = 0;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "arm")))]
const ALLOWED_HERE: &[c_long] = &[];

/// Where struct seccomp_data has the call's number, its machine, and the low word of its first argument.
const NUMBER: u32 = 0;
const MACHINE: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
const REFUSE: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;

/// The filter: the calls above, and socket(2) for sockets of this machine alone.
fn filter() -> Vec<sock_filter> {
    let step = |code, k| sock_filter { code, jt: 0, jf: 0, k };
    let mut program = Vec::with_capacity(128);
    program.push(step(LOAD, MACHINE));
    program.push(sock_filter { code: IF_EQUAL, jt: 1, jf: 0, k: AUDIT_ARCH });
    program.push(step(RETURN, REFUSE));
    program.push(step(LOAD, NUMBER));
    // To what comes last, which lets the call go. A jump reaches 255 steps.
    let mut left = (ALLOWED.len() + ALLOWED_HERE.len() + 4) as u8;
    for number in ALLOWED.iter().chain(ALLOWED_HERE) {
        left -= 1;
        program.push(sock_filter { code: IF_EQUAL, jt: left, jf: 0, k: *number as u32 });
    }
    program.push(sock_filter { code: IF_EQUAL, jt: 0, jf: 2, k: libc::SYS_socket as u32 });
    program.push(step(LOAD, FIRST_ARGUMENT));
    program.push(sock_filter { code: IF_EQUAL, jt: 1, jf: 0, k: libc::AF_UNIX as u32 });
    program.push(step(RETURN, REFUSE));
    program.push(step(RETURN, libc::SECCOMP_RET_ALLOW));
    program
}

/// struct __user_cap_header_struct and two of __user_cap_data_struct (capget(2), version 3).
#[repr(C)]
struct CapHeader {
    version: u32,
    pid: i32,
}
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}
const CAP_VERSION: u32 = 0x2008_0522;

/// Gives up for good what a recorder does not need: all capabilities but those in `keep` (a set of the constants here), new ones by set-uid programs, and
/// all calls but those above. Where there is an owner, this becomes a process that only looks like his to the kernel's
/// checks of what others own: he can not signal or trace it. A kernel that knows one of these means not goes without.
pub fn confine(keep: u64) {
    // For `run_first`, where we may grant it.
    let limit: [u64; 2] = [1, 1];
    // SAFETY: the kernel reads two numbers of 64 bits.
    let granted = unsafe { libc::syscall(libc::SYS_prlimit64, 0, libc::RLIMIT_RTPRIO, limit.as_ptr(), 0) } == 0;
    let mut keep = keep;
    if granted {
        keep &= !CAP_SYS_NICE;
    }
    if nix::unistd::geteuid().as_raw() != 0 {
        keep |= CAP_DAC_OVERRIDE;
    }
    // The number of capabilities is the kernel's: the first that is unknown ends it.
    let mut cap = 0;
    while cap < 64 && (keep >> cap & 1 == 1 || prctl(libc::PR_CAPBSET_DROP, cap)) {
        cap += 1;
    }
    let user = OWNER.load(Ordering::Relaxed);
    if user != 0 {
        call(ids::SYS_setresgid, [0, GROUP.load(Ordering::Relaxed), 0]);
        call(ids::SYS_setresuid, [0, user, 0]);
        call(ids::SYS_setfsgid, [0; 3]);
        call(ids::SYS_setfsuid, [0; 3]);
    }
    set_capabilities(keep);
    if prctl(libc::PR_SET_NO_NEW_PRIVS, 1) && AUDIT_ARCH != 0 {
        let mut steps = filter();
        let program = sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
        // SAFETY: the kernel copies the steps.
        unsafe { libc::syscall(libc::SYS_prctl, libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program, 0, 0) };
    }
}

/// Gives up all capabilities that we have but those in `keep`.
fn set_capabilities(keep: u64) {
    let header = CapHeader { version: CAP_VERSION, pid: 0 };
    let mut have = [CapData::default(); 2];
    // SAFETY: the kernel reads the header and writes, or reads, two structures.
    unsafe {
        if libc::syscall(libc::SYS_capget, &header, have.as_mut_ptr()) == 0 {
            let [low, high] = &mut have;
            for (word, keep) in [(low, keep), (high, keep >> 32)] {
                word.permitted &= keep as u32;
                *word = CapData { effective: word.permitted, permitted: word.permitted, inheritable: 0 };
            }
            libc::syscall(libc::SYS_capset, &header, have.as_ptr());
        }
    }
}

fn prctl(what: i32, value: u32) -> bool {
    // SAFETY: integers only.
    unsafe { libc::syscall(libc::SYS_prctl, what, value as c_long, 0 as c_long, 0 as c_long, 0 as c_long) == 0 }
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::super::{exit, fork, wait, Forked};
    use super::*;

    /// What a child gives back that has done this.
    fn in_child(job: impl FnOnce() -> u8) -> Option<u8> {
        match fork().unwrap() {
            Forked::Child => exit(job()),
            Forked::Parent(pid) => wait(pid, true),
        }
    }

    fn fails_with_eperm(number: c_long, args: [u32; 3]) -> bool {
        !call(number, args) && Errno::last() == Errno::EPERM
    }

    #[test]
    fn who_is_confined_can_not_do_what_a_recorder_does_not_do() {
        let refused = in_child(|| {
            confine(0);
            let refused = [
                fails_with_eperm(libc::SYS_execve, [0; 3]),
                fails_with_eperm(libc::SYS_ptrace, [0; 3]),
                fails_with_eperm(libc::SYS_kill, [1, 0, 0]),
                fails_with_eperm(libc::SYS_unshare, [libc::CLONE_NEWUSER as u32, 0, 0]),
                fails_with_eperm(libc::SYS_socket, [libc::AF_INET as u32, libc::SOCK_STREAM as u32, 0]),
                fails_with_eperm(libc::SYS_mount, [0; 3]),
            ];
            refused.iter().filter(|is| **is).count() as u8
        });
        assert_eq!(refused, Some(6));
        let allowed = in_child(|| {
            confine(0);
            // SAFETY: integers only.
            let socket = unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_DGRAM, 0) };
            let child = in_child(|| 7);
            u8::from(socket >= 0 && std::fs::read("/proc/self/stat").is_ok() && child == Some(7))
        });
        assert_eq!(allowed, Some(1));
    }
}
