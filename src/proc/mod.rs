// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What /proc says of processes and of the machine, read without trusting it: a process may name itself anything and be
//! gone at any moment.
//!
//! Source: proc(5), proc_pid_stat(5); kernel fs/proc/array.c.

use std::fs;
use std::io::Read;
use std::path::Path;

use crate::arch::{Abi, Arch};
use crate::ids::Pid;

/// Fields of /proc/PID/stat that we use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The process's name, between the outermost brackets.
    pub comm: String,
    /// `R`, `S`, `D`, `Z`, `X` …
    pub state: char,
    /// Clock ticks after boot at which it started: with the pid and the boot id it names one process for good.
    pub start_time: u64,
}

/// Parses /proc/PID/stat. The name may hold blanks, newlines and brackets (CVE-2021-25683): it ends at the last `)`.
pub fn parse_stat(text: &str) -> Option<Stat> {
    let open = text.find('(')?;
    let close = text.rfind(')')?;
    let comm = text.get(open + 1..close)?.to_owned();
    let mut fields = text.get(close + 1..)?.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    // State is field 3, starttime field 22.
    let start_time = fields.nth(18)?.parse().ok()?;
    Some(Stat { comm, state, start_time })
}

/// /proc/PID/stat; `None` if there is no such process (also for a thread id of another process: those have an entry).
pub fn stat(pid: Pid) -> Option<Stat> {
    let bytes = fs::read(format!("/proc/{pid}/stat")).ok()?;
    parse_stat(&String::from_utf8_lossy(&bytes))
}

/// Whether the task is there and not a zombie.
pub fn is_alive(pid: Pid) -> bool {
    stat(pid).is_some_and(|stat| !matches!(stat.state, 'Z' | 'X'))
}

/// The threads of a process, by their global ids; empty if it is gone.
pub fn threads(pid: Pid) -> Vec<Pid> {
    numbers_in(Path::new(&format!("/proc/{pid}/task")))
}

/// All processes.
pub fn processes() -> Vec<Pid> {
    numbers_in(Path::new("/proc"))
}

fn numbers_in(dir: &Path) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut found: Vec<Pid> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse().ok())).collect();
    found.sort_unstable();
    found
}

/// A thread's name; empty if it is gone.
pub fn comm(tid: Pid) -> String {
    let bytes = fs::read(format!("/proc/{tid}/comm")).unwrap_or_default();
    String::from_utf8_lossy(bytes.strip_suffix(b"\n").unwrap_or(&bytes)).into_owned()
}

/// The process (thread group) of a thread.
pub fn thread_group(tid: Pid) -> Option<Pid> {
    let text = fs::read(format!("/proc/{tid}/status")).ok()?;
    // Name comes first and has newlines escaped, so the first Tgid line is the kernel's.
    String::from_utf8_lossy(&text).lines().find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok())
}

/// The ABI of the program a process runs, by the ELF header of /proc/PID/exe.
pub fn abi(pid: Pid) -> Option<Abi> {
    let mut head = [0u8; 20];
    fs::File::open(format!("/proc/{pid}/exe")).ok()?.read_exact(&mut head).ok()?;
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
    let text = fs::read(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().filter_map(|line| line.splitn(3, ':').nth(2).map(str::to_owned)).collect()
}

/// Which version of control groups the machine has mounted, in words.
pub fn cgroup_version() -> &'static str {
    match (Path::new("/sys/fs/cgroup/cgroup.controllers").exists(), Path::new("/sys/fs/cgroup/unified").exists()) {
        (true, _) => "version 2",
        (false, true) => "version 1 and 2 (hybrid)",
        (false, false) => "version 1, or none mounted",
    }
}

/// Whether the kernel is locked down to keep its memory from root, too (kernel_lockdown(7)): tracefs is empty then.
pub fn is_confidential() -> bool {
    fs::read_to_string("/sys/kernel/security/lockdown").is_ok_and(|text| text.contains("[confidentiality]"))
}

/// Random id of this boot.
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// Free memory that can be had without swapping, in KiB (`MemAvailable`).
pub fn mem_available_kb() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    text.lines().find_map(|line| line.strip_prefix("MemAvailable:")?.trim().strip_suffix("kB")?.trim().parse().ok())
}

/// Whether this process sees the machine's own process numbers, as ftrace records them: the inode of the initial pid
/// namespace is fixed (include/linux/proc_ns.h PROC_PID_INIT_INO).
pub fn in_initial_pid_namespace() -> bool {
    fs::read_link("/proc/self/ns/pid").map_or(true, |link| link.as_os_str() == "pid:[4026531836]")
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
        assert_eq!((stat.comm.as_str(), stat.state, stat.start_time), ("a) R 1 (b\nc", 'S', 777));
        assert_eq!(parse_stat("12 (x"), None);
        assert_eq!(parse_stat("12 (x) S 1"), None);
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
