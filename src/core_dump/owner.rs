// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Who has the kernel's core_pattern: taking it, giving it back, and telling who has it now.
//!
//! It is one for the whole machine. Nobody's is taken without being asked, what was there is written down before, and given
//! back only while ours still is there: whoever came after us keeps it. A container that gets at it (CVE-2025-31133 and its
//! like) runs programs as root through it, so a pattern that is not what was installed is told as that.
//! Source: core(5), sysctl.d(5), Documentation/admin-guide/sysctl/kernel.rst.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use super::keeper::{self, CORES};
use super::pattern::{is_ours, program, way, Way};
use super::settings::{self, Settings};
use super::{trial, trusted};
use crate::error::{Error, Kind, Result};
use crate::proc;
use crate::record::record;
use crate::sys;
use crate::words::{number, trim};

const PATTERN: &str = "kernel/core_pattern";
const PIPE_LIMIT: &str = "kernel/core_pipe_limit";
const SUID_DUMPABLE: &str = "fs/suid_dumpable";
/// 6.17 and later.
const WAYS: &str = "kernel/core_modes";
/// Read by systemd-sysctl and busybox's or procps' sysctl at the machine's start; systemd's own is 50-coredump.conf, and the
/// last one counts.
const SYSCTL_FILE: &str = "/etc/sysctl.d/60-ftrace-analyzer-core.conf";
/// The beginning of that file: who has it there.
const SYSCTL_HEAD: &str = "# Written by ftrace-analyzer core install; core uninstall removes it.\n";
/// The kernel's own, for want of anything better.
const PATTERN_DEFAULT: &str = "core";
/// Held while somebody installs or uninstalls.
const LOCK: &str = "core.lock";

/// Most dumps that are handled at a time; the kernel drops what comes beyond, and says so in its log, but no more than ten
/// times in five seconds. Its default of 0 would let the dying process go before all is read that /proc has of it. systemd
/// has 16; of ours, which come one behind the other for each container, those that wait have a quarter of a megabyte each.
pub const PIPE_LIMIT_WANTED: u32 = 128;

fn read(name: &str) -> Result<String> {
    proc::setting(name).map_err(|why| match why.kind() {
        ErrorKind::NotFound => Error::unsupported("core dumps").hint("build the kernel with CONFIG_COREDUMP=y"),
        _ => Error::io("read", &proc::setting_path(name), why),
    })
}

fn write(name: &str, text: &str) -> Result<()> {
    proc::change_setting(name, text).map_err(|why| Error::io("write", &proc::setting_path(name), why))
}

/// A number of the kernel's; 0 where it has none.
fn read_number(name: &str) -> u32 {
    read(name).ok().and_then(|text| number(trim(&text))).unwrap_or(0) as u32
}

/// What is, and what was written down.
#[derive(Debug, Default)]
pub struct Status {
    /// Version of the JSON: 1.
    pub schema: u32,
    /// `ours`, `other` for another program or socket, `nobody` for a file.
    pub owner: String,
    /// core_pattern now.
    pub pattern: String,
    /// core_pipe_limit now.
    pub pipe_limit: u32,
    /// Whether `core install` was done and not undone.
    pub installed: bool,
    /// Whether core_pattern is another than was installed.
    pub changed: bool,
    /// Whether it is to last beyond the machine's next start.
    pub persistent: bool,
    /// Whether the kernel gives a pidfd of the dying process: `yes`, `no`, or nothing where it was not tried.
    pub pidfd: String,
    /// Which ways the kernel knows, where it tells: `file`, `pipe`, `socket`.
    pub kernel_modes: Vec<String>,
    /// fs.suid_dumpable.
    pub suid_dumpable: u32,
    /// Dumps that are kept.
    pub dumps: u32,
    /// Their bytes.
    pub bytes: u64,
    /// What `core install` wrote down.
    pub settings: Settings,
    /// What is not as it should be, a sentence each.
    pub problems: Vec<String>,
}

record!(Status {
    schema: U32,
    owner: Text,
    pattern: Text,
    pipe_limit: U32,
    installed: Bool,
    changed: Bool,
    persistent: Bool,
    pidfd: Text,
    kernel_modes: Texts,
    suid_dumpable: U32,
    dumps: U32,
    bytes: U64,
    settings: Record,
    problems: Texts,
});

/// Whose a pattern is.
fn owner(pattern: &str) -> &'static str {
    match way(pattern) {
        _ if is_ours(pattern) => "ours",
        Way::File => "nobody",
        _ => "other",
    }
}

/// Looks who has it, but not at the dumps.
fn look(run_dir: &Path) -> Result<Status> {
    let pattern = read(PATTERN)?;
    let mut status = Status {
        schema: 1,
        owner: owner(&pattern).to_owned(),
        pipe_limit: read_number(PIPE_LIMIT),
        persistent: has_sysctl_file().unwrap_or(false),
        suid_dumpable: read_number(SUID_DUMPABLE),
        ..Status::default()
    };
    for word in proc::setting(WAYS).unwrap_or_default().split_ascii_whitespace() {
        status.kernel_modes.push(word.to_owned());
    }
    match settings::load(run_dir) {
        Ok(Some(settings)) => {
            status.installed = true;
            status.changed = settings.pattern != pattern;
            status.pidfd.clone_from(&settings.pidfd);
            status.settings = settings;
        }
        Ok(None) => {}
        // It is root's alone.
        Err(why) if why.kind() == Kind::Permission && !proc::is_root() => {}
        Err(why) => status.problems.push(why.to_string()),
    }
    status.pattern = pattern;
    Ok(status)
}

/// Adds a sentence.
#[inline(never)]
fn add(sentences: &mut Vec<String>, parts: &[&str]) {
    sentences.push(parts.concat());
}

/// Looks who has it, and what is wrong with that.
pub fn status(run_dir: &Path) -> Result<Status> {
    let mut status = look(run_dir)?;
    let is_our = is_ours(&status.pattern);
    if status.changed {
        add(
            &mut status.problems,
            &[
                "core_pattern was changed behind our back: it is ",
                &status.pattern,
                " and was installed as ",
                &status.settings.pattern,
                "; a container that can write there becomes root on this machine, so find out who did",
            ],
        );
    }
    if is_our {
        if !status.installed && proc::is_root() {
            add(&mut status.problems, &["nothing is written down of core install: dumps are handled by defaults"]);
        }
        if status.pipe_limit == 0 {
            add(
                &mut status.problems,
                &["core_pipe_limit is 0: what /proc has of a process may be gone before it is read"],
            );
        }
        let handler = program(&status.pattern).map(trusted::program);
        if let Some(Err(why)) = handler.filter(|_| proc::is_root()) {
            add(&mut status.problems, &["the handler: ", &why.to_string()]);
        }
        if status.suid_dumpable == 1 {
            add(
                &mut status.problems,
                &["fs.suid_dumpable is 1: users get dumps of set-uid programs; 0 and 2 are safe"],
            );
        }
        if let Some(file) = status.persistent.then(later_file).flatten() {
            add(&mut status.problems, &[&*file.to_string_lossy(), " comes after ours and sets core_pattern, too"]);
        }
        let base = Path::new(&status.settings.dir);
        if status.installed {
            if let Err(why) = trusted::directory(base) {
                add(&mut status.problems, &["the directory of dumps: ", &why.to_string()]);
            }
        }
    }
    if status.installed {
        match keeper::list(Path::new(&status.settings.dir)) {
            Ok((dumps, wrong)) => {
                status.dumps = dumps.len() as u32;
                status.bytes = dumps.iter().fold(0, |sum, dump| sum.saturating_add(dump.bytes));
                if let Some(first) = wrong.first() {
                    add(&mut status.problems, &["a dump that can not be read: ", &first.to_string()]);
                }
            }
            Err(why) => status.problems.push(why.to_string()),
        }
    }
    Ok(status)
}

/// Whether the file for sysctl is there; an error where it is not of ours.
fn has_sysctl_file() -> Result<bool> {
    let path = Path::new(SYSCTL_FILE);
    match sys::read_text(path) {
        Ok(text) if text.starts_with(SYSCTL_HEAD) => Ok(true),
        Ok(_) => Err(Error::new(Kind::Busy, [SYSCTL_FILE, " is there and not of ours"].concat())),
        Err(why) if why.kind() == ErrorKind::NotFound => Ok(false),
        Err(why) => Err(Error::io("read", path, why)),
    }
}

/// Another file that sysctl reads later, and which sets core_pattern: the last one counts. Files are taken in the order of
/// their names, whatever their directories (sysctl.d(5)).
fn later_file() -> Option<PathBuf> {
    let ours = sys::last_part(Path::new(SYSCTL_FILE));
    for dir in ["/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d"] {
        for name in sys::names(Path::new(dir)).unwrap_or_default() {
            let name = name.to_string_lossy();
            if !name.ends_with(".conf") || *name <= *ours {
                continue;
            }
            let path = Path::new(dir).join(&*name);
            let text = sys::read_text(&path).unwrap_or_default();
            if text.split('\n').any(|line| trim(line).trim_start_matches('-').starts_with("kernel.core_pattern")) {
                return Some(path);
            }
        }
    }
    None
}

/// Keeps others from installing and uninstalling until it goes.
fn lock(run_dir: &Path) -> Result<std::fs::File> {
    if !proc::is_root() {
        return Err(Error::new(Kind::Permission, "core_pattern, which is root's".into()).hint("run it as root"));
    }
    sys::make_dirs(run_dir).map_err(|why| Error::io("create", run_dir, why.into()))?;
    let path = run_dir.join(LOCK);
    let file = sys::open(&path, OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW)
        .map_err(|why| Error::io("create", &path, why))?;
    sys::lock(&file).map_err(|_| Error::new(Kind::Busy, "somebody else installs or uninstalls right now".into()))?;
    Ok(file)
}

/// Makes the directory of dumps and writes into it, to see now what would fail with the first dump.
fn make_dir(base: &Path) -> Result<()> {
    if !sys::is_absolute(base) {
        return Err(Error::usage([&*base.to_string_lossy(), " is not an absolute path"].concat()));
    }
    let cores = base.join(CORES);
    sys::make_dirs(&cores).map_err(|why| {
        Error::io("create", &cores, why.into()).hint("--dir names a directory on a file system that can be written")
    })?;
    trusted::directory(&cores)?;
    let trial = cores.join(".trial");
    let made = sys::make_dir(&trial).map_err(Into::into).and_then(|()| sys::remove_dir(&trial));
    made.map_err(|why| {
        Error::io("write to", &cores, why).hint("--dir names a directory on a file system that can be written")
    })
}

/// What `install` did.
#[derive(Debug)]
pub struct Installed {
    /// core_pattern as it was before.
    pub before: String,
    /// What is to be known besides, a sentence each.
    pub notes: Vec<String>,
}

/// Files as they are, to be put back.
struct Kept(Vec<(PathBuf, Option<Vec<u8>>, u32)>);

impl Kept {
    fn keep(&mut self, path: PathBuf, rights: u32) {
        let text = sys::open(&path, OFlag::O_RDONLY).and_then(|file| sys::read_on(&file, usize::MAX)).ok();
        self.0.push((path, text, rights));
    }

    fn put_back(&self) {
        for (path, text, rights) in &self.0 {
            let _ = match text {
                Some(text) => settings::write_whole(path, text, *rights),
                None => sys::remove_file(path).map_err(|why| Error::io("remove", path, why)),
            };
        }
    }
}

/// Takes core_pattern. `wanted` has what is to be written down but for what was before. `force`: also from another handler.
pub fn install(run_dir: &Path, wanted: &mut Settings, force: bool, persistent: bool) -> Result<Installed> {
    let _lock = lock(run_dir)?;
    let now = look(run_dir)?;
    // Ours is replaced by ours: what was before that stays what is given back.
    (wanted.previous, wanted.previous_pipe_limit) = match is_ours(&now.pattern) {
        true if now.installed => (now.settings.previous.clone(), now.settings.previous_pipe_limit),
        true => (PATTERN_DEFAULT.into(), 0),
        false => (now.pattern.clone(), now.pipe_limit),
    };
    let mut notes = now.problems;
    let previous = way(&wanted.previous);
    if previous != Way::File && !is_ours(&now.pattern) && !force {
        let hint = match previous {
            Way::Socket => {
                "--force takes its place: who listens there can not be handed dumps that are not of containers, \
                            these are then stored beside the others"
            }
            _ => "--force takes its place: dumps that are not of containers are then handed on to it",
        };
        return Err(
            Error::new(Kind::Busy, ["core dumps are handled already, by ", &wanted.previous].concat()).hint(hint)
        );
    }
    if previous == Way::Socket {
        add(&mut notes, &["dumps that are not of containers are stored, too: ", &wanted.previous, " lost its place"]);
    }
    trusted::program(program(&wanted.pattern).unwrap_or_default())?;
    make_dir(Path::new(&wanted.dir))?;
    // What once was to last is not left behind as it was.
    let persistent = has_sysctl_file()? || persistent;
    let mut kept = Kept(Vec::new());
    for path in settings::places(run_dir) {
        kept.keep(path, 0o600);
    }
    kept.keep(SYSCTL_FILE.into(), 0o644);
    if let Err(why) = take(run_dir, wanted, persistent) {
        let _ = write(PATTERN, &now.pattern);
        let _ = write(PIPE_LIMIT, &now.pipe_limit.to_string());
        kept.put_back();
        return Err(why);
    }
    if persistent {
        if let Some(file) = later_file() {
            notes.push(
                [&*file.to_string_lossy(), " comes after ours at the next start and sets core_pattern, too"].concat(),
            );
        }
        if !sys::is_dir(Path::new("/run/systemd/system")) {
            notes.push("see that this machine's init reads /etc/sysctl.d, as systemd does and sysvinit may not".into());
        }
    }
    Ok(Installed { before: now.pattern, notes })
}

fn take(run_dir: &Path, wanted: &mut Settings, persistent: bool) -> Result<()> {
    let lasts = |why: Error| why.hint("without --persistent it holds until the machine's next start");
    settings::save(wanted, run_dir, persistent).map_err(|why| if persistent { lasts(why) } else { why })?;
    if persistent {
        let text = [
            SYSCTL_HEAD,
            "kernel.core_pipe_limit = ",
            &wanted.pipe_limit.to_string(),
            "\nkernel.core_pattern = ",
            &wanted.pattern,
            "\n",
        ];
        settings::write_whole(Path::new(SYSCTL_FILE), text.concat().as_bytes(), 0o644).map_err(lasts)?;
    }
    write(PIPE_LIMIT, &wanted.pipe_limit.to_string())?;
    write(PATTERN, &wanted.pattern)?;
    // The kernel cuts what is too long and says nothing.
    let now = read(PATTERN)?;
    if now != wanted.pattern {
        return Err(Error::new(Kind::Busy, ["core_pattern is ", &now, " and not what was written"].concat()));
    }
    // Its numbers of processes are not ours in a pid namespace: there nothing can be tried.
    if proc::in_initial_pid_namespace() {
        wanted.pidfd = trial::try_out(run_dir, &wanted.pattern)?.to_owned();
        settings::save(wanted, run_dir, persistent)?;
    }
    Ok(())
}

/// What `uninstall` did.
#[derive(Debug)]
pub struct Uninstalled {
    /// core_pattern as it is now.
    pub pattern: String,
    /// Whether it was ours to change.
    pub was_ours: bool,
    /// What went wrong or stays, a sentence each.
    pub notes: Vec<String>,
}

/// Gives core_pattern back, and forgets; goes on after a failure.
pub fn uninstall(run_dir: &Path) -> Result<Uninstalled> {
    let _lock = lock(run_dir)?;
    let now = look(run_dir)?;
    let mut notes = now.problems;
    let was_ours = is_ours(&now.pattern);
    if was_ours {
        let (previous, limit) = match now.installed {
            true => (now.settings.previous.as_str(), now.settings.previous_pipe_limit),
            false => {
                notes.push("what was there before is not known: the kernel's default is there now".into());
                (PATTERN_DEFAULT, 0)
            }
        };
        write(PATTERN, previous)?;
        // Somebody else's limit stays.
        if !now.installed || now.pipe_limit == now.settings.pipe_limit {
            write(PIPE_LIMIT, &limit.to_string())?;
        }
    }
    match has_sysctl_file() {
        Ok(true) => {
            let path = Path::new(SYSCTL_FILE);
            if let Err(why) = sys::remove_file(path) {
                notes.push(Error::io("remove", path, why).to_string());
            }
        }
        Ok(false) => {}
        Err(why) => notes.push(why.to_string()),
    }
    if let Err(why) = settings::remove(run_dir) {
        notes.push(why.to_string());
    }
    Ok(Uninstalled { pattern: read(PATTERN)?, was_ours, notes })
}

/// One line for `doctor`: what becomes of dumps here, and whether something is wrong with that.
pub fn doctor(run_dir: &Path) -> (String, bool) {
    match look(run_dir) {
        Err(why) => (why.to_string(), true),
        Ok(status) if status.changed => {
            (["core dumps: core_pattern was changed since core install, to ", &status.pattern].concat(), true)
        }
        Ok(status) if is_ours(&status.pattern) => {
            let place =
                if status.installed { [" in ", &status.settings.dir, "/", CORES].concat() } else { String::new() };
            (["core dumps of containers are kept", &place].concat(), false)
        }
        Ok(status) => {
            (["core dumps go to ", &status.pattern, "; core install keeps those of containers"].concat(), false)
        }
    }
}
