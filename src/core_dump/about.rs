// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is written down beside a dump: what the kernel gave the handler, what /proc had of the process, what the dump says.
//!
//! /proc is read before the dump is taken: when that is over, the process goes. All of it is the process's word or may be
//! another process's by now, so each piece is bounded, and who is meant is checked before and after (CVE-2020-15702,
//! CVE-2025-4598: a process that was replaced between crash and handling).
//! Source: proc(5); kernel fs/proc/array.c.

use super::backtrace::Frame;
use super::deaths;
use super::elf::{places, Core};
use super::place::Place;
use crate::error::{Error, Kind, Result};
use crate::ids::Pid;
use crate::proc;
use crate::record::record;
use crate::recording::{ContainerMeta, OpenFile};
use crate::sys;

use crate::words::{number, trim};

/// Version of `core.json`.
pub const ABOUT_VERSION: u32 = 1;
/// Most bytes of a command line, and of an environment, and most words.
const TEXT_MAX: usize = 64 << 10;
const WORDS_MAX: usize = 1024;
/// Most threads, descriptors, and files that are told; more of them count.
const THREADS_MAX: usize = 1024;
const DESCRIPTORS_MAX: usize = 1024;
const FILES_MAX: usize = 1024;
/// Most bytes of their names, of each sort.
const NAMES_MAX: usize = 64 << 10;
const SECOND: u64 = 1_000_000_000;

/// A thread of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ThreadAbout {
    /// In the machine's numbers.
    pub tid: Pid,
    /// In the container's.
    pub inner_tid: Pid,
    /// Its name.
    pub comm: String,
}

/// A file that was mapped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileAbout {
    /// As the process saw it.
    pub path: String,
    /// Its first address, hexadecimal.
    pub start: String,
    /// In hexadecimal digits; empty where it has none or the dump lacks the page.
    pub build_id: String,
}

/// A function that the dying thread was in, innermost first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrameAbout {
    /// The program counter, hexadecimal; of all but the first, where it would have gone on.
    pub pc: String,
    /// The file it was in, as the process saw it.
    pub file: String,
    /// What addr2line takes with that file, hexadecimal: of a return address, the one before it, which is in the call.
    pub offset: String,
    /// The file's build id.
    pub build_id: String,
    /// How it was found: register, table, frame pointer, signal, guess.
    pub by: String,
}

/// All of it; `core.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// [`ABOUT_VERSION`]
    pub version: u32,
    /// Who wrote it.
    pub tool: String,
    /// When it died, nanoseconds since 1970: when the kernel called us.
    pub time_ns: u64,
    /// The number of the dump: about when it was stored, likewise, and greater than those of all dumps before.
    pub stored_ns: u64,
    /// The machine's name.
    pub node: String,
    /// The container, as far as it is known; its id is empty for none.
    pub container: ContainerMeta,
    /// The recorded container that this one is within; empty if none is known.
    pub within: String,
    /// Which engine, by the control group.
    pub engine: String,
    /// The pod's uid, by the control group.
    pub pod_uid: String,
    /// The container's recording; empty for none.
    pub recording: String,
    /// Whose dump it is: a user who may read it; 0 for root alone.
    pub owner: u32,
    /// The process, in the machine's numbers.
    pub pid: Pid,
    /// The thread, likewise.
    pub tid: Pid,
    /// The process in the container's numbers.
    pub inner_pid: Pid,
    /// The thread, likewise.
    pub inner_tid: Pid,
    /// Real user, in the machine's numbers.
    pub user: u32,
    /// Real group, likewise.
    pub group: u32,
    /// The signal's number.
    pub signal: i32,
    /// Its name.
    pub signal_name: String,
    /// si_code; 0 where the dump does not tell.
    pub code: i32,
    /// Its name; empty where it has none.
    pub code_name: String,
    /// Address of the fault, hexadecimal; empty where the signal tells none.
    pub address: String,
    /// Program counter, hexadecimal.
    pub pc: String,
    /// The file it was in.
    pub pc_file: String,
    /// What addr2line takes with that file, hexadecimal.
    pub pc_offset: String,
    /// The functions that it was in.
    pub backtrace: Vec<FrameAbout>,
    /// How it may be dumped: 1 by its user, 2 by root alone (set-uid programs).
    pub dumpable: u32,
    /// The program, as the process saw it.
    pub executable: String,
    /// Its build id in hexadecimal digits.
    pub build_id: String,
    /// The process's name.
    pub comm: String,
    /// Its command line.
    pub command: Vec<String>,
    /// Effective capabilities, hexadecimal.
    pub capabilities: String,
    /// Limits: name, then soft and hard.
    pub limits: Vec<(String, String)>,
    /// Threads, the dying one too.
    pub threads: Vec<ThreadAbout>,
    /// Files that were mapped.
    pub files: Vec<FileAbout>,
    /// Open descriptors.
    pub descriptors: Vec<OpenFile>,
    /// Only where it was asked for.
    pub environment: Vec<String>,
    /// Bytes of the dump.
    pub bytes: u64,
    /// Of those, the ones that are stored; the others are zeros.
    pub written: u64,
    /// Why not all of it is there; empty if it is.
    pub cut: String,
    /// Dumps of the container between this one and the one kept before it.
    pub not_kept: u32,
    /// Dumps of the container behind this one that were not stored; counted beside the file.
    pub more: u32,
    /// What could not be found out.
    pub problems: Vec<String>,
}

record!(ThreadAbout { tid: I32, inner_tid: I32, comm: Text });
record!(FileAbout { path: Text, start: Text, build_id: Text });
record!(FrameAbout { pc: Text, file: Text, offset: Text, build_id: Text, by: Text });
record!(About {
    version: U32,
    tool: Text,
    time_ns: U64,
    stored_ns: U64,
    node: Text,
    container: Record,
    within: Text,
    engine: Text,
    pod_uid: Text,
    recording: Text,
    owner: U32,
    pid: I32,
    tid: I32,
    inner_pid: I32,
    inner_tid: I32,
    user: U32,
    group: U32,
    signal: I32,
    signal_name: Text,
    code: I32,
    code_name: Text,
    address: Text,
    pc: Text,
    pc_file: Text,
    pc_offset: Text,
    backtrace: List,
    dumpable: U32,
    executable: Text,
    build_id: Text,
    comm: Text,
    command: Texts,
    capabilities: Text,
    limits: Pairs,
    threads: List,
    files: List,
    descriptors: List,
    environment: Texts,
    bytes: U64,
    written: U64,
    cut: Text,
    not_kept: U32,
    more: U32,
    problems: Texts,
});

/// What the kernel gave the handler, by the letters of `pattern::ours`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// The process, in the machine's numbers.
    pub pid: Pid,
    /// The thread, likewise.
    pub tid: Pid,
    /// The signal.
    pub signal: i32,
    /// Seconds since 1970.
    pub time: u64,
    /// Real user, in the machine's numbers.
    pub user: u32,
    /// Real group, likewise.
    pub group: u32,
    /// 1: by its user; 2: by root alone.
    pub mode: u32,
    /// RLIMIT_CORE.
    pub limit: u64,
    /// The kernel's pidfd.
    pub pidfd: Option<i32>,
    /// The processor it died on, where the kernel tells.
    pub cpu: Option<u64>,
}

impl Given {
    /// Reads the words behind `core handle`; the last one is missing or empty where the kernel has no pidfd to give.
    pub fn parse(words: &[String]) -> Result<Given> {
        let number_at = |at: usize| words.get(at).and_then(|word| number(word));
        let wrong =
            || Error::usage("core handle is what the kernel calls").hint("ftrace-analyzer core install sets it up");
        let small = |at: usize| number_at(at).and_then(|value| u32::try_from(value).ok()).ok_or_else(wrong);
        let pid = |at: usize| small(at).and_then(|value| Pid::try_from(value).map_err(|_| wrong()));
        Ok(Given {
            pid: pid(0)?,
            tid: pid(1)?,
            signal: pid(2)?,
            time: number_at(3).ok_or_else(wrong)?,
            user: small(4)?,
            group: small(5)?,
            mode: small(6)?,
            limit: number_at(7).ok_or_else(wrong)?,
            pidfd: match words.get(8).map(String::as_str) {
                None | Some("") => None,
                Some(_) => Some(pid(8)?),
            },
            cpu: number_at(9),
        })
    }

    /// Asks the kernel by its pidfd what it has decided (6.16 and later): an error where it does not dump the process, and
    /// root's alone is what it calls so, whatever the words say.
    pub fn ask_kernel(&mut self) -> Result<()> {
        let Some(mode) = self.pidfd.and_then(sys::dump_mode) else { return Ok(()) };
        const DUMPED: u32 = 1;
        const ROOT: u32 = 8;
        if mode & DUMPED == 0 {
            return Err(Error::new(Kind::NotFound, ["a dump of process ", &self.pid.to_string()].concat()));
        }
        if mode & ROOT != 0 {
            self.mode = 2;
        }
        Ok(())
    }
}

/// The last number of a line as `NSpid`: that of the innermost namespace.
fn inner(pid: Pid, key: &str) -> Option<Pid> {
    let line = proc::status(pid, key)?;
    number(line.split_ascii_whitespace().next_back()?).map(|pid| pid as Pid)
}

/// Whether the numbers still mean the process that dies: it is being dumped (5.x `CoreDumping`, 4.15 and later), and the
/// kernel's pidfd says so where there is one.
pub fn is_the_one(given: &Given, start_time: u64) -> bool {
    let stat = proc::stat(given.pid);
    let same = stat.is_some_and(|stat| stat.start_time == start_time && stat.state != 'Z');
    let dumps = proc::status(given.pid, "CoreDumping").map_or(true, |value| trim(&value) == "1");
    let by_fd = given.pidfd.map_or(true, |fd| proc::pid_of_pidfd(fd) == Some(given.pid));
    same && dumps && by_fd
}

/// The time of death by the kernel's whole seconds and by the clock just now, which is closer where nothing held us up.
fn precise(seconds: u64, now: u64) -> u64 {
    let given = seconds.saturating_mul(SECOND);
    if (given..given.saturating_add(2 * SECOND)).contains(&now) {
        now
    } else {
        given
    }
}

/// Reads what /proc has. An error where the process is not the one that dies.
pub fn read_proc(given: &Given, environment: bool) -> Result<(About, String)> {
    let gone = || {
        Error::new(Kind::NotFound, ["process ", &given.pid.to_string(), ", which is not the one that dies"].concat())
    };
    let start_time = proc::stat(given.pid).ok_or_else(gone)?.start_time;
    if !is_the_one(given, start_time) {
        return Err(gone());
    }
    let (_, node, ..) = proc::uname();
    let mut about = About {
        version: ABOUT_VERSION,
        tool: concat!("ftrace-analyzer ", env!("CARGO_PKG_VERSION")).to_owned(),
        time_ns: precise(given.time, sys::realtime_ns()),
        node,
        pid: given.pid,
        tid: given.tid,
        inner_pid: inner(given.pid, "NSpid").unwrap_or(given.pid),
        inner_tid: inner(given.tid, "NSpid").unwrap_or(given.tid),
        user: given.user,
        group: given.group,
        signal: given.signal,
        signal_name: deaths::signal(given.signal).to_owned(),
        dumpable: given.mode,
        executable: proc::link(given.pid, "exe"),
        comm: proc::comm(given.pid),
        command: proc::words(given.pid, "cmdline", TEXT_MAX, WORDS_MAX),
        capabilities: proc::status(given.pid, "CapEff").map(|caps| trim(&caps).to_owned()).unwrap_or_default(),
        limits: proc::limits(given.pid),
        ..About::default()
    };
    let threads = proc::threads(given.pid);
    if threads.len() > THREADS_MAX {
        about.not_told(THREADS_MAX, threads.len(), "threads");
    }
    for tid in threads.into_iter().take(THREADS_MAX) {
        let inner_tid = inner(tid, "NSpid").unwrap_or(tid);
        about.threads.push(ThreadAbout { tid, inner_tid, comm: proc::comm(tid) });
    }
    let (descriptors, mut bytes) = (proc::descriptors(given.pid), 0);
    for fd in descriptors.iter().copied().take(DESCRIPTORS_MAX) {
        let path = proc::link(given.pid, &["fd/", &fd.to_string()].concat());
        bytes += path.len();
        if bytes > NAMES_MAX {
            break;
        }
        about.descriptors.push(OpenFile { fd, path });
    }
    about.not_told(about.descriptors.len(), descriptors.len(), "open descriptors");
    if environment {
        about.environment = proc::words(given.pid, "environ", TEXT_MAX, WORDS_MAX);
    }
    let cgroups = proc::cgroups(given.pid);
    if !is_the_one(given, start_time) {
        return Err(gone());
    }
    Ok((about, cgroups))
}

fn hex(number: u64) -> String {
    format!("{number:#x}")
}

/// The file that an address was in, and its address there: that of the file's own addresses if its headers are known, else
/// the offset.
fn in_file(core: &Core, address: u64) -> (String, String) {
    let Some((mapped, offset)) = core.file_of(address) else { return (String::new(), String::new()) };
    let own = core.module(address).map_or(offset, |module| address.wrapping_sub(module.bias));
    (String::from_utf8_lossy(&mapped.path).into_owned(), hex(own))
}

impl About {
    /// Tells that some were left out.
    fn not_told(&mut self, told: usize, all: usize, what: &str) {
        if told < all {
            self.problems.push(["of ", &all.to_string(), " ", what, " ", &told.to_string(), " are told"].concat());
        }
    }

    /// Puts in the functions that the dying thread was in; after [`About::set_core`].
    pub fn set_backtrace(&mut self, core: &Core, frames: &[Frame]) {
        for frame in frames {
            let (file, offset) = in_file(core, frame.lookup());
            let known = self.files.iter().find(|known| known.path == file);
            let build_id = known.map(|known| known.build_id.clone()).unwrap_or_default();
            self.backtrace.push(FrameAbout {
                pc: hex(frame.pc),
                file,
                offset,
                build_id,
                by: frame.by.name().to_owned(),
            });
        }
    }

    /// Puts in what the control group tells.
    pub fn set_place(&mut self, place: &Place) {
        self.container = ContainerMeta { id: place.id.clone(), ..ContainerMeta::default() };
        self.engine.clone_from(&place.engine);
        self.pod_uid.clone_from(&place.pod_uid);
    }

    /// Puts in what the dump tells.
    pub fn set_core(&mut self, core: &Core) {
        if let Some((signal, code, address)) = core.signal.filter(|(signal, ..)| *signal == self.signal) {
            self.code = code;
            self.code_name = deaths::code(signal, code).to_owned();
            // SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV, and of the kernel: others have the sender there.
            if matches!(signal, 4 | 5 | 7 | 8 | 11) && code > 0 {
                self.address = hex(address);
            }
        }
        let pc = core.threads.first().and_then(|thread| thread.registers.get(places(core.abi)[0]).copied());
        if let Some(pc) = pc {
            self.pc = hex(pc);
            (self.pc_file, self.pc_offset) = in_file(core, pc);
        }
        let (mut last, mut all, mut bytes): (&[u8], _, _) = (b"", 0, 0);
        for mapped in core.mapped.iter().filter(|mapped| mapped.offset == 0) {
            // One file has a mapping for each of its segments.
            if mapped.path == last {
                continue;
            }
            last = &mapped.path;
            all += 1;
            bytes += last.len();
            if all > FILES_MAX || bytes > NAMES_MAX {
                continue;
            }
            let path = String::from_utf8_lossy(&mapped.path).into_owned();
            let mut build_id = String::new();
            for byte in core.build_id(mapped.start).unwrap_or_default() {
                build_id.push_str(&format!("{byte:02x}"));
            }
            if path == self.executable {
                self.build_id.clone_from(&build_id);
            }
            self.files.push(FileAbout { path, start: hex(mapped.start), build_id });
        }
        self.not_told(self.files.len(), all, "mapped files");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Given> {
        Given::parse(&text.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn what_the_kernel_gives_is_read_and_nothing_else() {
        let given = parse("4711 4712 11 1700000000 1000 100 1 18446744073709551615 3").unwrap();
        assert_eq!((given.pid, given.tid, given.signal, given.limit), (4711, 4712, 11, u64::MAX));
        assert_eq!((given.user, given.group, given.mode, given.pidfd), (1000, 100, 1, Some(3)));
        // Kernels without %F leave an empty word, or none.
        assert_eq!(parse("1 1 6 1 0 0 2 0 ").unwrap().pidfd, None);
        assert_eq!(parse("1 1 6 1 0 0 2 0").unwrap().pidfd, None);
        for bad in [
            "",
            "1",
            "1 1 6 1 0 0 2",
            "a 1 6 1 0 0 2 0",
            "1 1 6 1 0 0 2 0 x",
            "-1 1 6 1 0 0 2 0",
            "4294967295 1 6 1 0 0 2 0",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_process_that_does_not_die_is_not_told() {
        let given = Given { pid: std::process::id() as Pid, tid: std::process::id() as Pid, ..Given::default() };
        assert!(read_proc(&given, false).unwrap_err().to_string().contains("not the one that dies"));
        let limits = proc::limits(given.pid);
        assert!(limits.iter().any(|(name, _)| name == "Max core file size"), "{limits:?}");
    }
}
