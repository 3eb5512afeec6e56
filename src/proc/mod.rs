// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What /proc says of processes and of the machine, read without trusting it: a process may name itself anything and be
//! gone at any moment.
//!
//! Source: proc(5), proc_pid_stat(5); kernel fs/proc/array.c.

mod details;
mod settings;

use std::fs::File;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use crate::arch::{Abi, Arch};
use crate::ids::Pid;
use crate::sys::{self, exists, numbers, open, read_link, read_text, value_of};
use crate::words::{behind_last, next_part, number, split_once, trim};

pub use details::{limits, open_of, pid_of_pidfd, words};
pub use settings::{change_setting, setting, setting_path};

/// Fields of /proc/PID/stat that we use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// `R`, `S`, `D`, `Z`, `X` …
    pub state: char,
    /// Clock ticks after boot at which it started: with the pid and the boot id it names one process for good.
    pub start_time: u64,
}

/// Parses /proc/PID/stat. The name may hold blanks, newlines and brackets (CVE-2021-25683): it ends at the last `)`.
pub fn parse_stat(text: &str) -> Option<Stat> {
    let mut fields = behind_last(text, b')')?.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    // State is field 3, starttime field 22.
    let start_time = number(fields.nth(18)?)?;
    Some(Stat { state, start_time })
}

/// Where a process has this.
pub fn path(pid: Pid, name: &str) -> PathBuf {
    ["/proc/", &pid.to_string(), "/", name].concat().into()
}

/// A file of /proc/PID.
fn read(pid: Pid, file: &str) -> Option<String> {
    read_text(Path::new(&format!("/proc/{pid}/{file}"))).ok()
}

/// /proc/PID/stat; `None` if there is no such process (also for a thread id of another process: those have an entry).
pub fn stat(pid: Pid) -> Option<Stat> {
    parse_stat(&read(pid, "stat")?)
}

/// Whether the task is there and not a zombie.
pub fn is_alive(pid: Pid) -> bool {
    stat(pid).is_some_and(|stat| !matches!(stat.state, 'Z' | 'X'))
}

/// The threads of a process, by their global ids; empty if it is gone.
pub fn threads(pid: Pid) -> Vec<Pid> {
    numbers(Path::new(&format!("/proc/{pid}/task")), "").unwrap_or_default()
}

/// All processes.
pub fn processes() -> Vec<Pid> {
    numbers(Path::new("/proc"), "").unwrap_or_default()
}

/// A thread's name; empty if it is gone.
pub fn comm(tid: Pid) -> String {
    let mut name = read(tid, "comm").unwrap_or_default();
    if name.ends_with('\n') {
        name.pop();
    }
    name
}

/// What one of a process's links leads to (`cwd`, `fd/3`); empty where it cannot be read.
pub fn link(pid: Pid, name: &str) -> String {
    read_link(Path::new(&format!("/proc/{pid}/{name}"))).unwrap_or_default()
}

/// The numbers of a process's open descriptors.
pub fn descriptors(pid: Pid) -> Vec<i32> {
    numbers(Path::new(&format!("/proc/{pid}/fd")), "").unwrap_or_default()
}

/// The process (thread group) of a thread.
pub fn thread_group(tid: Pid) -> Option<Pid> {
    Some(number(&status(tid, "Tgid")?)? as Pid)
}

/// A line of /proc/PID/status.
pub fn status(pid: Pid, key: &str) -> Option<String> {
    // Name comes first and has newlines escaped, so the first line with another key is the kernel's.
    value_of(&read(pid, "status")?, key).map(str::to_owned)
}

/// The ABI of the program a process runs, by the ELF header of /proc/PID/exe.
pub fn abi(pid: Pid) -> Option<Abi> {
    let mut head = [0u8; 20];
    open(Path::new(&format!("/proc/{pid}/exe")), OFlag::O_RDONLY).ok()?.read_exact(&mut head).ok()?;
    elf_abi(&head)
}

/// The ABI that an ELF file's first 20 bytes tell (elf(5): e_ident, e_machine).
pub fn elf_abi(head: &[u8]) -> Option<Abi> {
    if head.get(..4)? != b"\x7fELF" {
        return None;
    }
    match (head.get(4)?, u16::from_le_bytes([*head.get(18)?, *head.get(19)?])) {
        (2, 62) => Some(Abi::X86_64),
        (1, 3) => Some(Abi::I386),
        (2, 183) => Some(Abi::Aarch64),
        (1, 40) => Some(Abi::Arm),
        _ => None,
    }
}

/// The paths in /proc/PID/cgroup, one a hierarchy. The path is what stands behind the second colon: it may hold colons
/// itself (containerd with mismatched drivers).
pub fn cgroup_paths(pid: Pid) -> Vec<String> {
    let text = cgroups(pid);
    let (mut rest, mut paths) = (text.as_str(), Vec::new());
    while let Some(line) = next_part(&mut rest, "\n") {
        if let Some((_, path)) = split_once(line, ":").and_then(|(_, line)| split_once(line, ":")) {
            paths.push(path.to_owned());
        }
    }
    paths
}

/// The lines of /proc/PID/cgroup, `NUMBER:CONTROLLERS:PATH` each; empty if it is gone.
pub fn cgroups(pid: Pid) -> String {
    read(pid, "cgroup").unwrap_or_default()
}

/// Whether the program that `pid` runs lies on a mount that `of` sees: in a container it is one of the container's then,
/// and not its runtime's, whose own lies on the machine's mounts or in memory. Mounts have numbers of the whole machine
/// (proc_pid_fdinfo(5) `mnt_id`, 3.15 and later).
pub fn runs_program_of(pid: Pid, of: Pid) -> bool {
    let id = || {
        let exe = open(Path::new(&format!("/proc/{pid}/exe")), OFlag::O_PATH).ok()?;
        let info = read_text(Path::new(&format!("/proc/self/fdinfo/{}", exe.as_raw_fd()))).ok()?;
        Some(value_of(&info, "mnt_id")?.to_owned())
    };
    let Some(id) = id() else { return false };
    has_mount(&read(of, "mountinfo").unwrap_or_default(), &id)
}

/// Whether a mountinfo text has a mount of that number.
fn has_mount(mountinfo: &str, id: &str) -> bool {
    let mut rest = mountinfo;
    while let Some(line) = next_part(&mut rest, "\n") {
        if line.strip_prefix(id).is_some_and(|line| line.starts_with(' ')) {
            return true;
        }
    }
    false
}

/// Which version of control groups the machine has mounted, in words.
pub fn cgroup_version() -> &'static str {
    match (exists(Path::new("/sys/fs/cgroup/cgroup.controllers")), exists(Path::new("/sys/fs/cgroup/unified"))) {
        (true, _) => "version 2",
        (false, true) => "version 1 and 2 (hybrid)",
        (false, false) => "version 1, or none mounted",
    }
}

/// Whether the kernel is locked down to keep its memory from root, too (kernel_lockdown(7)): tracefs is empty then.
pub fn is_confidential() -> bool {
    read_text(Path::new("/sys/kernel/security/lockdown"))
        .is_ok_and(|text| split_once(&text, "[confidentiality]").is_some())
}

/// Random id of this boot.
pub fn boot_id() -> String {
    trim(&read_text(Path::new("/proc/sys/kernel/random/boot_id")).unwrap_or_default()).to_owned()
}

/// Memory that the kernel can have for itself without swapping, in KiB; `None` where /proc/meminfo does not tell.
/// Without `slab` what counts as reclaimable there is left out.
pub fn mem_available_kb(slab: bool) -> Option<u64> {
    kernel_available_kb(&read_text(Path::new("/proc/meminfo")).ok()?, slab)
}

/// `MemAvailable` without `CmaFree`: ring buffers and inodes cannot move and are never taken from the areas for contiguous
/// memory, which boards have for cameras and displays, though they count as free (mm/show_mem.c `si_mem_available`; on
/// Debian's 6.12 for arm64 the OOM killer came with 43 MB "available", 46 MB of them there).
fn kernel_available_kb(meminfo: &str, slab: bool) -> Option<u64> {
    let kb = |name| number(value_of(meminfo, name)?.strip_suffix(" kB")?);
    let pinned = if slab { 0 } else { kb("SReclaimable").unwrap_or(0) };
    Some(kb("MemAvailable")?.saturating_sub(kb("CmaFree").unwrap_or(0) + pinned))
}

/// Whether this process sees the machine's own process numbers, as ftrace records them: the inode of the initial pid
/// namespace is fixed (include/linux/proc_ns.h PROC_PID_INIT_INO).
pub fn in_initial_pid_namespace() -> bool {
    read_link(Path::new("/proc/self/ns/pid")).map_or(true, |link| link == "pid:[4026531836]")
}

/// A process's user namespace, open.
fn user_namespace(pid: Pid) -> std::io::Result<File> {
    open(Path::new(&format!("/proc/{pid}/ns/user")), OFlag::O_RDONLY)
}

/// Whether a process is in a user namespace that this user made, or in one below: there he may do with it what he likes,
/// also trace it. Never of one in the machine's own namespace, whoever runs it: it may be a set-uid program. An error
/// where the kernel does not tell (before 4.11), or where the process is gone.
pub fn is_within_users(pid: Pid, user: u32) -> std::io::Result<bool> {
    let mut namespace = user_namespace(pid)?;
    // The machine's own was made by user 0.
    while sys::owner_of_namespace(&namespace)? != user || user == 0 {
        match sys::parent_of_namespace(&namespace) {
            Ok(parent) => namespace = parent,
            Err(_) => return Ok(false),
        }
    }
    Ok(true)
}

/// Whose a process's user namespaces are: the user who made the outermost one below the machine's own. 0 for a process in
/// that, for namespaces of root's, and where the kernel does not tell (before 4.11).
pub fn user_of_namespaces(pid: Pid) -> u32 {
    let mut user = 0;
    let Ok(mut namespace) = user_namespace(pid) else { return 0 };
    while let Ok(parent) = sys::parent_of_namespace(&namespace) {
        match sys::owner_of_namespace(&namespace) {
            Ok(owner) => user = owner,
            Err(_) => return 0,
        }
        namespace = parent;
    }
    user
}

/// What user and group 0 of a process's user namespace are outside.
pub fn root_outside(pid: Pid) -> (u32, u32) {
    let outside = |map| outer_id(&read(pid, map).unwrap_or_default(), 0) as u32;
    (outside("uid_map"), outside("gid_map"))
}

/// Whether this process may have the machine's tracefs and the directories of root: user 0 of the machine, or a recorder,
/// which only looks like its recording's owner. User 0 of another user namespace is an ordinary user: that of the machine
/// has a fixed inode (include/linux/proc_ns.h PROC_USER_INIT_INO).
pub fn is_root() -> bool {
    let is_machines = || read_link(Path::new("/proc/self/ns/user")).map_or(true, |link| link == "user:[4026531837]");
    sys::owner().0 != 0 || (nix::unistd::geteuid().is_root() && is_machines())
}

/// This process's user in the numbers of the namespace above its own: in a container engine's user namespace the one who
/// started the engine (user_namespaces(7), uid_map).
pub fn outer_user() -> u32 {
    let me = u64::from(nix::unistd::geteuid().as_raw());
    outer_id(&read_text(Path::new("/proc/self/uid_map")).unwrap_or_default(), me) as u32
}

/// What an id is outside by the text of a uid_map.
fn outer_id(map: &str, id: u64) -> u64 {
    let mut rest = map;
    while let Some(line) = next_part(&mut rest, "\n") {
        let mut numbers = line.split_ascii_whitespace().filter_map(number);
        let (Some(inside), Some(outside), Some(count)) = (numbers.next(), numbers.next(), numbers.next()) else {
            continue;
        };
        if let Some(at) = id.checked_sub(inside).filter(|at| *at < count) {
            return outside.saturating_add(at);
        }
    }
    id
}

/// The machine's architecture, node name, release and version (uname(2)).
pub fn uname() -> (Option<Arch>, String, String, String, String) {
    match nix::sys::utsname::uname() {
        Ok(name) => {
            let text = |part: &std::ffi::OsStr| part.to_string_lossy().into_owned();
            let machine = text(name.machine());
            (Arch::from_machine(&machine), text(name.nodename()), text(name.release()), text(name.version()), machine)
        }
        Err(_) => (None, String::new(), String::new(), String::new(), String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_survives_names_with_brackets_and_newlines() {
        let tail = " S 1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 777 1 2";
        let stat = parse_stat(&format!("12 (a) R 1 (b\nc){tail}")).unwrap();
        assert_eq!((stat.state, stat.start_time), ('S', 777));
        assert_eq!(parse_stat("12 (x"), None);
        assert_eq!(parse_stat("12 (x) S 1"), None);
    }

    #[test]
    fn mounts_are_found_by_their_whole_number() {
        let text = "22 1 0:5 / / rw - ext4 x rw\n301 22 0:7 / /proc rw - proc proc rw\n";
        assert_eq!(["22", "301", "2", "30", "1"].map(|id| has_mount(text, id)), [true, true, false, false, false]);
        // Ours, if /proc is there: this program lies on a mount that we see.
        let me = std::process::id() as Pid;
        assert!(runs_program_of(me, me));
        assert!(!runs_program_of(4_194_305, me));
    }

    #[test]
    fn users_of_a_user_namespace_are_others_outside() {
        let map = "         0       1000          1\n         1     100000      65536\n";
        assert_eq!([0, 1, 65_536, 65_537].map(|id| outer_id(map, id)), [1000, 100_000, 165_535, 65_537]);
        assert_eq!((outer_id("0 0 4294967295", 7), outer_id("", 7), outer_id("x\n1 2\n7 9 1", 7)), (7, 7, 9));
    }

    #[test]
    fn a_process_of_the_machines_own_user_namespace_is_no_users() {
        let me = std::process::id() as Pid;
        for user in [0, 1000, nix::unistd::geteuid().as_raw()] {
            assert!(!is_within_users(me, user).unwrap());
        }
        assert_eq!((user_of_namespaces(me), root_outside(me)), (0, (0, 0)));
        assert!(is_within_users(4_194_305, 1000).is_err());
    }

    #[test]
    fn memory_for_contiguous_areas_is_not_the_kernels() {
        let text = "MemTotal:      997180 kB\nMemFree:        74788 kB\nMemAvailable:   43800 kB\n";
        assert_eq!(kernel_available_kb(text, true), Some(43_800));
        assert_eq!(
            kernel_available_kb(&format!("{text}CmaTotal: 65536 kB\nCmaFree:        40000 kB\n"), true),
            Some(3_800)
        );
        assert_eq!(kernel_available_kb(&format!("{text}CmaFree:        46772 kB\n"), true), Some(0));
        assert_eq!(kernel_available_kb("MemFree: 1 kB\n", true), None);
        let slab = format!("{text}SReclaimable:    9800 kB\n");
        assert_eq!([true, false].map(|counts| kernel_available_kb(&slab, counts)), [Some(43_800), Some(34_000)]);
    }

    #[test]
    fn elf_headers_tell_the_abi() {
        let head = |class: u8, machine: u16| {
            let mut head = [0u8; 20];
            head[..4].copy_from_slice(b"\x7fELF");
            head[4] = class;
            head[18..].copy_from_slice(&machine.to_le_bytes());
            head
        };
        assert_eq!(elf_abi(&head(1, 40)), Some(Abi::Arm));
        assert_eq!(elf_abi(&head(2, 183)), Some(Abi::Aarch64));
        // x32: 32-bit ELF class on x86_64.
        assert_eq!(elf_abi(&head(1, 62)), None);
        assert_eq!(elf_abi(b"#!/bin/sh"), None);
    }

    #[test]
    fn this_process_is_described() {
        let me = std::process::id() as Pid;
        assert!(is_alive(me));
        assert!(threads(me).contains(&me));
        assert_eq!(thread_group(me), Some(me));
        assert!(!cgroup_paths(me).is_empty());
        assert!(!is_alive(4_194_305));
    }
}
