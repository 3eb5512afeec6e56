// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the live tests need of the machine, and commands with a time limit.
//!
//! A test that cannot run here prints `SKIPPED live::NAME: REASON` to standard error and appends it to the file that
//! FTRACE_ANALYZER_SKIP_LOG names; with FTRACE_ANALYZER_REQUIRE_LIVE=1 it fails instead.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{mpsc, OnceLock};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Whether this is built for a board under QEMU (cross/boards/programs), which has things elsewhere and is slow.
pub const BOARD: bool = option_env!("FTRACE_ANALYZER_BOARD").is_some();
/// How many times as long as elsewhere things may take: software emulation, with another board beside it.
pub const SLOW: u32 = if BOARD { 20 } else { 1 };
/// The binary under test.
pub const BIN: &str = if BOARD { "/board/bin/ftrace-analyzer" } else { env!("CARGO_BIN_EXE_ftrace-analyzer") };
/// Where the source is, or what the tests need of it.
pub const SOURCE: &str = if BOARD { "/board/source" } else { env!("CARGO_MANIFEST_DIR") };
/// Where tracefs is.
pub const TRACING: &str = "/sys/kernel/tracing";
/// How long a command may take.
pub const PATIENCE: Duration = Duration::from_secs(if BOARD { 120 } else { 60 });

/// What a test needs besides root and tracefs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    Runc,
    Crun,
    Cc,
    /// The C program for the kernel's 32-bit ABI.
    Work32,
}
pub use Need::{Cc, Crun, Runc, Work32};

/// What came of a command.
#[derive(Debug)]
pub struct Out {
    pub status: ExitStatus,
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Out {
    /// Checks the exit code; shows everything if it is another.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Out {
        assert_eq!(self.code, code, "{:?}\nstdout: {}\nstderr: {}", self.status, self.stdout, self.stderr);
        self
    }

    /// The lines of a text report that are no remarks.
    pub fn calls(&self) -> Vec<&str> {
        self.stdout.lines().filter(|line| !line.starts_with('#')).collect()
    }

    /// Standard output as JSON, one value a line.
    pub fn json(&self) -> Vec<Value> {
        self.stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}")))
            .collect()
    }
}

pub fn which(name: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/usr/bin:/sbin:/bin";
    path.split(':').map(|dir| Path::new(dir).join(name)).find(|path| path.is_file())
}

/// The loader and the shared libraries of a program, as its loader lists them: none of a static one, which Debian's
/// busybox-static is and Yocto's busybox is not.
pub fn libraries(program: &Path) -> Vec<PathBuf> {
    let loaders = ["/lib", "/lib64"].iter().flat_map(|dir| entries(Path::new(dir)));
    for loader in loaders.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ld-")))
    {
        let Ok(listed) = Command::new(&loader).arg("--list").arg(program).output() else { continue };
        if listed.status.success() {
            let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
            return listed.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect();
        }
    }
    Vec::new()
}

pub fn missing(needs: &[Need]) -> Option<String> {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return Some("not root".into());
    }
    if !Path::new(TRACING).join("instances").is_dir() {
        let _ = Command::new("mount").args(["-t", "tracefs", "tracefs", TRACING]).stderr(Stdio::null()).status();
    }
    if !Path::new(TRACING).join("events/raw_syscalls").is_dir() {
        return Some("no tracefs with raw_syscalls events".into());
    }
    needs.iter().find_map(|need| match need {
        Runc | Crun if which("busybox").is_none() => Some("no static busybox".into()),
        // runc makes config.json for crun, too.
        Runc | Crun if which("runc").is_none() => Some("no runc".into()),
        Crun if which("crun").is_none() => Some("no crun".into()),
        Cc => work().is_none().then(|| "no C compiler that links static programs".into()),
        Work32 => work32().is_none().then(|| {
            if BOARD {
                "no 32-bit ABI beside this one".into()
            } else {
                format!("no static programs by {CC32}")
            }
        }),
        _ => None,
    })
}

/// A compiler for the 32-bit ABI beside this machine's.
const CC32: &str = if cfg!(target_arch = "aarch64") { "arm-linux-gnueabihf-gcc" } else { "i686-linux-gnu-gcc" };

/// tests/common/many_calls.c, for the kernel's 32-bit ABI or its own, or why there is none.
pub fn many_calls(narrow: bool) -> Result<PathBuf, String> {
    if BOARD {
        return Ok(Path::new(if narrow { "/board/compat/many-calls" } else { "/board/many-calls" }).into());
    }
    let (compiler, name) = if narrow { (CC32, "many-calls32") } else { ("cc", "many-calls") };
    compiled(compiler, "many_calls", name).ok_or_else(|| format!("no static programs by {compiler}"))
}

/// The compiled tests/common/live_work.c.
pub fn work() -> Option<&'static Path> {
    if BOARD {
        return Some(Path::new("/board/live-work"));
    }
    static WORK: OnceLock<Option<PathBuf>> = OnceLock::new();
    WORK.get_or_init(|| compiled("cc", "live_work", "live-work")).as_deref()
}

/// The same for the 32-bit ABI, where this kernel runs such programs.
pub fn work32() -> Option<&'static Path> {
    static WORK: OnceLock<Option<PathBuf>> = OnceLock::new();
    let made = WORK.get_or_init(|| {
        let program =
            if BOARD { "/board/compat/live-work".into() } else { compiled(CC32, "live_work", "live-work32")? };
        // 64 is what it says to no mode at all.
        Command::new(&program).status().is_ok_and(|status| status.code() == Some(64)).then_some(program)
    });
    made.as_deref()
}

/// tests/common/live_work.c with the C library beside it.
pub fn work_dynamic() -> Option<&'static Path> {
    if BOARD {
        return Some(Path::new("/board/live-work-dynamic"));
    }
    static WORK: OnceLock<Option<PathBuf>> = OnceLock::new();
    WORK.get_or_init(|| linked("cc", "live_work", "live-work-dynamic", "-O1")).as_deref()
}

/// The compiled tests/common/die.c.
pub fn die() -> Option<PathBuf> {
    if BOARD {
        return Some("/board/die".into());
    }
    compiled("cc", "die", "die")
}

/// The same for the 32-bit ABI, where this kernel runs such programs.
pub fn die32() -> Option<PathBuf> {
    work32()?;
    if BOARD {
        return Some("/board/compat/die".into());
    }
    compiled(CC32, "die", "die32")
}

/// The compiled tests/common/crash.c.
pub fn crash() -> Option<PathBuf> {
    compiled("cc", "crash", "crash")
}

fn compiled(compiler: &str, source: &str, name: &str) -> Option<PathBuf> {
    linked(compiler, source, name, "-static")
}

fn linked(compiler: &str, source: &str, name: &str, how: &str) -> Option<PathBuf> {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let source = Path::new(SOURCE).join(format!("tests/common/{source}.c"));
    let modified = |path: &Path| fs::metadata(path).and_then(|data| data.modified()).ok();
    if modified(&program) > modified(&source) {
        return Some(program);
    }
    let fresh = program.with_extension(std::process::id().to_string());
    let done = Command::new(compiler).args(["-O1", "-w", how, "-pthread", "-o"]).arg(&fresh).arg(source).status();
    let linked = done.is_ok_and(|status| status.success());
    (linked && fs::rename(fresh, &program).is_ok()).then_some(program)
}

pub fn skip(test: &str, why: &str) {
    if std::env::var_os("FTRACE_ANALYZER_REQUIRE_LIVE").is_some_and(|value| value == "1") {
        panic!("live::{test} cannot run: {why}");
    }
    kernel_lacks(test, why);
}

/// Skips a test for what this kernel was built without: nothing that CI could install. The boards have kernels with it.
pub fn kernel_lacks(test: &str, why: &str) {
    tell(&format!("SKIPPED live::{test}: {why}\n"), "FTRACE_ANALYZER_SKIP_LOG");
}

/// Writes a line to standard error and appends it to the file that `variable` names.
pub fn tell(line: &str, variable: &str) {
    // Not eprint!, which libtest keeps to itself while a test passes.
    let _ = std::io::stderr().write_all(line.as_bytes());
    if let Some(path) = std::env::var_os(variable) {
        let log = File::options().create(true).append(true).open(path);
        log.and_then(|mut log| log.write_all(line.as_bytes())).unwrap_or_else(|why| panic!("write {variable}: {why}"));
    }
}

/// Lets something go on for a while, which is longer on a slow machine.
pub fn pause(milliseconds: u32) {
    std::thread::sleep(Duration::from_millis(milliseconds.into()) * if BOARD { 5 } else { 1 });
}

/// Waits until `done` gives something; panics with `what` if it does not in time.
#[track_caller]
pub fn wait_for<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = done() {
            return value;
        }
        assert!(begun.elapsed() < Duration::from_secs(if BOARD { 150 } else { 60 }), "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Runs a command to its end with `input`. Its output must be closed soon after: a process that stays behind with
/// it would hold up whoever waits for it, as runc does for its hooks.
#[track_caller]
pub fn run(mut command: Command, input: &[u8]) -> Out {
    let begun = Instant::now();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().unwrap_or_else(|why| panic!("{command:?}: {why}"));
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_vec());
    std::thread::spawn(move || stdin.write_all(&input));
    let stdout = collect(child.stdout.take().unwrap());
    let stderr = collect(child.stderr.take().unwrap());
    let status = wait(&mut child, &format!("{command:?}"));
    let text = |from: mpsc::Receiver<Vec<u8>>| match from.recv_timeout(Duration::from_secs(5) * SLOW) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => panic!("{command:?} left somebody behind who holds its output"),
    };
    let (stdout, stderr) = (text(stdout), text(stderr));
    Out { status, code: status.code().unwrap_or(-1), stdout, stderr, took: begun.elapsed() }
}

fn collect(mut from: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (to, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        let _ = to.send(bytes);
    });
    receiver
}

/// Waits for a process that was made the leader of a group; kills the group when it takes too long.
#[track_caller]
pub fn wait(child: &mut Child, what: &str) -> ExitStatus {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if begun.elapsed() > PATIENCE {
            let _ = Command::new("kill").arg("-KILL").arg("--").arg(format!("-{}", child.id())).status();
            let _ = child.wait();
            panic!("{what} did not end within {PATIENCE:?}");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The entries of a directory, sorted.
pub fn entries(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// Nanoseconds since 1970.
pub fn now_ns() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64
}
