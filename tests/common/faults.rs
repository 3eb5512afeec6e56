// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the fault tests share: the real program with directories of its own, patience, and what must not be left behind.
//!
//! A test that needs what the machine lacks prints `SKIPPED faults::TEST: REASON` and adds the line to the file that
//! `FTRACE_ANALYZER_SKIP_LOG` names; it never passes silently.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // each test program uses a part of it

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The program under test.
pub const BIN: &str = if BOARD { "/board/bin/ftrace-analyzer" } else { env!("CARGO_BIN_EXE_ftrace-analyzer") };

/// Whether this is built for a board under QEMU (cross/boards/programs), which is slow.
const BOARD: bool = option_env!("FTRACE_ANALYZER_BOARD").is_some();

/// How many times as long as elsewhere things may take.
const SLOW: u32 = if BOARD { 10 } else { 1 };

/// Where the kernel shows the instances.
pub const INSTANCES: &str = "/sys/kernel/tracing/instances";

/// What a command said and how it ended.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub out: Vec<u8>,
    pub err: String,
}

impl Said {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }
}

/// Says that a test cannot run here.
pub fn skip(test: &str, reason: &str) {
    let line = format!("SKIPPED faults::{test}: {reason}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
    if let Some(path) = std::env::var_os("FTRACE_ANALYZER_SKIP_LOG") {
        if let Ok(mut file) = fs::OpenOptions::new().append(true).create(true).open(path) {
            let _ = file.write_all(line.as_bytes());
        }
    }
}

/// Whether tests that trace can run here; says so if not.
pub fn can_trace(test: &str) -> bool {
    let root = fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0);
    let reason = if !root {
        "needs root"
    } else if !Path::new(INSTANCES).is_dir() {
        "needs tracefs with instances"
    } else if !fs::read_link("/proc/self/ns/pid").is_ok_and(|ns| ns.as_os_str() == "pid:[4026531836]") {
        "needs the initial pid namespace"
    } else {
        return true;
    };
    skip(test, reason);
    false
}

/// Whether a program is there; says so if not.
pub fn has(test: &str, program: &str) -> bool {
    let found = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().any(|dir| Path::new(dir).join(program).exists());
    if !found {
        skip(test, &format!("needs {program}"));
    }
    found
}

/// Runs a command to its end; one that takes longer than `patience` fails the test.
pub fn finish(mut command: Command, input: &[u8], patience: Duration) -> Said {
    let (shown, patience) = (format!("{command:?}"), patience * SLOW);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = thread::spawn(move || stdin.write_all(&input).is_ok());
    fn reader(mut from: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = from.read_to_end(&mut bytes);
            bytes
        })
    }
    let (out, err) = (reader(child.stdout.take().unwrap()), reader(child.stderr.take().unwrap()));
    let code = wait(&mut child, patience, &shown);
    // Ends only when nobody holds the descriptors any more: a recorder that kept one would be seen here.
    let began = Instant::now();
    while !(out.is_finished() && err.is_finished()) {
        assert!(began.elapsed() < patience, "{shown} ended, but its output is held open");
        thread::sleep(Duration::from_millis(2));
    }
    assert!(writer.join().unwrap(), "{shown} did not take its input");
    Said { code, out: out.join().unwrap(), err: String::from_utf8_lossy(&err.join().unwrap()).into_owned() }
}

fn wait(child: &mut Child, patience: Duration, shown: &str) -> Option<i32> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if began.elapsed() > patience {
            let _ = child.kill();
            let _ = child.wait();
            panic!("{shown} did not end in {patience:?}");
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until `done` says so; `what` is told when it does not in time.
pub fn until(what: &str, patience: Duration, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < patience * SLOW, "{what}: not within {patience:?} times {SLOW}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A process of the test's own that ends with it.
pub struct Process(pub Child);

impl Process {
    pub fn start(program: &str, args: &[&str]) -> Process {
        let child = Command::new(program).args(args).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        Process(child)
    }

    /// One that does nothing.
    pub fn idle() -> Process {
        Process::start("sleep", &["300"])
    }

    /// One that makes system calls as fast as it can.
    pub fn flood() -> Process {
        Process::start("dd", &["if=/dev/zero", "of=/dev/null", "bs=1", "status=none"])
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Directories of one test, and the id it gives its container.
pub struct Case {
    pub root: PathBuf,
    pub dir: PathBuf,
    pub run: PathBuf,
    pub id: String,
}

pub fn private_dir(path: &Path) {
    fs::DirBuilder::new().mode(0o700).create(path).unwrap();
}

impl Case {
    pub fn new(test: &str) -> Case {
        let id = format!("fault{}-{test}", std::process::id());
        let root = std::env::temp_dir().join(&id);
        let _ = fs::remove_dir_all(&root);
        private_dir(&root);
        let (dir, run) = (root.join("dir"), root.join("run"));
        private_dir(&dir);
        private_dir(&run);
        Case { root, dir, run, id }
    }

    /// The program with this test's directories.
    pub fn tool(&self, args: &[&str]) -> Command {
        let mut command = Command::new(BIN);
        command.args(args).env("FTRACE_ANALYZER_DIR", &self.dir).env("FTRACE_ANALYZER_RUN_DIR", &self.run);
        command
    }

    /// Runs it.
    pub fn say(&self, args: &[&str]) -> Said {
        finish(self.tool(args), b"", Duration::from_secs(60))
    }

    /// The state that a runtime passes to a hook.
    pub fn state(&self, pid: impl std::fmt::Display) -> Vec<u8> {
        let id = &self.id;
        format!("{{\"ociVersion\":\"1.0.2\",\"id\":\"{id}\",\"status\":\"creating\",\"pid\":{pid},\"bundle\":\"/b\"}}")
            .into_bytes()
    }

    /// Starts a recorder by the hook; it must work.
    pub fn start(&self, pid: u32, options: &[&str]) {
        let args = [&["hook", "start", "--strict"], options].concat();
        let said = finish(self.tool(&args), &self.state(pid), Duration::from_secs(30));
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{}", self.log());
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.run.join("hook.log")).unwrap_or_default()
    }

    /// Names in the directory of recordings.
    pub fn recordings(&self) -> Vec<PathBuf> {
        let mut found: Vec<PathBuf> = fs::read_dir(&self.dir).unwrap().flatten().map(|entry| entry.path()).collect();
        found.sort();
        found
    }

    /// The only recording.
    pub fn recording(&self) -> PathBuf {
        let found = self.recordings();
        assert_eq!(found.len(), 1, "{found:?}");
        found[0].clone()
    }

    /// Directories of running state.
    pub fn states(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(&self.run) else { return Vec::new() };
        entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
    }

    /// This test's tracing instances.
    pub fn instances(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(INSTANCES) else { return Vec::new() };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        names.filter(|name| name.starts_with(&format!("ftrace-analyzer-{}", self.id))).collect()
    }

    /// The only recorder's process.
    pub fn recorder(&self) -> i32 {
        let states = self.states();
        assert_eq!(states.len(), 1, "{states:?}");
        let text = fs::read_to_string(states[0].join("state.json")).unwrap();
        number_after(&text, "\"recorder_pid\":") as i32
    }

    pub fn signal_recorder(&self, signal: &str) {
        let pid = self.recorder();
        assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
        until("the recorder is gone", Duration::from_secs(20), || !is_alive(pid));
    }

    /// Neither instance nor state; the recorder removes its instance behind the container's back.
    pub fn assert_clean(&self) {
        until("instance and state are gone", Duration::from_secs(10), || {
            self.instances().is_empty() && self.states().is_empty()
        });
    }

    /// `report` in a format: its output and exit code.
    pub fn report(&self, format: &str) -> Said {
        self.say(&["report", "--format", format, "--with-runtime"])
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        for state in self.states() {
            let text = fs::read_to_string(state.join("state.json")).unwrap_or_default();
            let pid = if text.contains("recorder_pid") { number_after(&text, "\"recorder_pid\":") } else { 0 };
            let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            if comm == "ftrace-recorder\n" {
                let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
            }
        }
        for name in self.instances() {
            for _ in 0..50 {
                if fs::remove_dir(Path::new(INSTANCES).join(&name)).is_ok() {
                    break;
                }
                thread::sleep(Duration::from_millis(20));
            }
        }
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// Whether a process runs (a zombie does not).
pub fn is_alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z") && !rest.starts_with(" X"))
}

/// The number behind the first `key` in `text`.
pub fn number_after(text: &str, key: &str) -> u64 {
    let at = text.find(key).unwrap_or_else(|| panic!("no {key} in {text}")) + key.len();
    let digits: String = text[at..].trim_start().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

/// What the text report's footer says of the balance: decoded, lost, not stored, written.
pub fn balance(report: &str) -> (u64, u64, u64, u64) {
    let line = report
        .lines()
        .rev()
        .find(|line| line.contains("decoded") && line.starts_with("# "))
        .unwrap_or_else(|| panic!("{report}"));
    let before = |word: &str| {
        let Some(at) = line.find(word) else { return 0 };
        line[..at].trim_end().rsplit(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
    };
    (before("event"), before(" lost"), before(" not stored"), number_after(line, "the kernel wrote"))
}
