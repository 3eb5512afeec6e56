// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The user's machine for a test: our binary, runc and crun, bundles made on the spot, directories of the test's own.
//!
//! A test that cannot run here prints `SKIPPED live::NAME: REASON` to standard error and appends it to the file that
//! FTRACE_ANALYZER_SKIP_LOG names; with FTRACE_ANALYZER_REQUIRE_LIVE=1 it fails instead. Every command has a time limit,
//! and whatever a test leaves is removed when its [`Live`] goes, also when it fails.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{symlink, DirBuilderExt, MetadataExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{mpsc, OnceLock, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use serde_json::{json, Value};

/// The binary under test.
pub const BIN: &str = env!("CARGO_BIN_EXE_ftrace-analyzer");
const TRACING: &str = "/sys/kernel/tracing";
/// How long a command may take.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What a test needs besides root and tracefs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    Runc,
    Crun,
    Cc,
}
pub use Need::{Cc, Crun, Runc};

/// Tests that flood the machine have it for themselves.
static MACHINE: RwLock<()> = RwLock::new(());
enum Turn {
    Shared(#[allow(unused)] RwLockReadGuard<'static, ()>),
    Alone(#[allow(unused)] RwLockWriteGuard<'static, ()>),
}

/// A test's own corner of the machine.
pub struct Live {
    base: PathBuf,
    tag: String,
    count: Cell<u32>,
    _turn: Turn,
}

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

fn which(name: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/usr/bin:/sbin:/bin";
    path.split(':').map(|dir| Path::new(dir).join(name)).find(|path| path.is_file())
}

fn missing(needs: &[Need]) -> Option<String> {
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
        _ => None,
    })
}

/// The compiled tests/common/live_work.c.
fn work() -> Option<&'static Path> {
    static WORK: OnceLock<Option<PathBuf>> = OnceLock::new();
    let made = WORK.get_or_init(|| {
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("live-work-{}", std::process::id()));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/live_work.c");
        let mut cc = Command::new("cc");
        let done = cc.args(["-O1", "-static", "-pthread", "-o"]).arg(&program).arg(source).status();
        done.is_ok_and(|status| status.success()).then_some(program)
    });
    made.as_deref()
}

fn skip(test: &str, why: &str) {
    if std::env::var_os("FTRACE_ANALYZER_REQUIRE_LIVE").is_some_and(|value| value == "1") {
        panic!("live::{test} cannot run: {why}");
    }
    let line = format!("SKIPPED live::{test}: {why}\n");
    // Not eprint!, which libtest keeps to itself while a test passes.
    let _ = std::io::stderr().write_all(line.as_bytes());
    if let Some(path) = std::env::var_os("FTRACE_ANALYZER_SKIP_LOG") {
        let log = File::options().create(true).append(true).open(path);
        log.and_then(|mut log| log.write_all(line.as_bytes())).expect("write FTRACE_ANALYZER_SKIP_LOG");
    }
}

/// Waits until `done` gives something; panics with `what` if it does not in time.
#[track_caller]
pub fn wait_for<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = done() {
            return value;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "waited in vain for {what}");
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
    let text = |from: mpsc::Receiver<Vec<u8>>| match from.recv_timeout(Duration::from_secs(5)) {
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

impl Live {
    /// A corner for `test`, or `None` when it cannot run here.
    pub fn new(test: &str, needs: &[Need]) -> Option<Live> {
        let turn = || Turn::Shared(MACHINE.read().unwrap_or_else(|poison| poison.into_inner()));
        Live::make(test, needs, turn)
    }

    /// The same while no other test of this program runs.
    pub fn alone(test: &str, needs: &[Need]) -> Option<Live> {
        let turn = || Turn::Alone(MACHINE.write().unwrap_or_else(|poison| poison.into_inner()));
        Live::make(test, needs, turn)
    }

    fn make(test: &str, needs: &[Need], turn: impl FnOnce() -> Turn) -> Option<Live> {
        if let Some(why) = missing(needs) {
            skip(test, &why);
            return None;
        }
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let next = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let tag = format!("live-{}-{next}", std::process::id());
        let base = std::env::temp_dir().join(format!("ftrace-analyzer-{tag}"));
        for dir in ["", "recordings", "run", "runc", "crun", "hooks"] {
            fs::DirBuilder::new().mode(0o700).create(base.join(dir)).unwrap();
        }
        Some(Live { base, tag, count: Cell::new(0), _turn: turn() })
    }

    /// A path in the test's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.base.join(name)
    }

    /// A container id nobody else has.
    pub fn id(&self) -> String {
        self.count.set(self.count.get() + 1);
        format!("{}-{}", self.tag, self.count.get())
    }

    /// A program with the test's environment.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("FTRACE_ANALYZER_DIR", self.path("recordings")).env("FTRACE_ANALYZER_RUN_DIR", self.path("run"));
        command.env("LC_ALL", "C").current_dir(&self.base);
        command
    }

    /// Our binary, to its end.
    #[track_caller]
    pub fn bin(&self, args: &[&str]) -> Out {
        self.bin_with(args, b"")
    }

    #[track_caller]
    pub fn bin_with(&self, args: &[&str], input: &[u8]) -> Out {
        let mut command = self.command(BIN);
        command.args(args);
        run(command, input)
    }

    /// Our binary in the background, its output to files in the test's directory.
    pub fn start(&self, args: &[&str], stdout: &str) -> Child {
        let mut command = self.command(BIN);
        let stderr = File::create(self.path(&format!("{stdout}.err"))).unwrap();
        command.args(args).stdin(Stdio::null()).stdout(File::create(self.path(stdout)).unwrap()).stderr(stderr);
        command.process_group(0).spawn().unwrap()
    }

    /// Words that start the container runtime, quoted for nobody: they go to exec.
    fn runtime(&self, need: Need) -> Command {
        if need == Crun {
            // crun refuses hybrid cgroups; in a mount namespace of its own it gets version 2.
            let mut command = self.command("unshare");
            let script = "mount --make-rprivate /; mount -t cgroup2 none /sys/fs/cgroup; exec crun \"$@\"";
            command.args(["-m", "sh", "-c", script, "crun", "--cgroup-manager=disabled", "--root"]);
            command.arg(self.path("crun"));
            return command;
        }
        let mut command = self.command("runc");
        command.arg("--root").arg(self.path("runc"));
        command
    }

    /// `runc ARGS` or `crun ARGS` to its end.
    #[track_caller]
    pub fn oci(&self, need: Need, args: &[&str]) -> Out {
        let mut command = self.runtime(need);
        command.args(args);
        run(command, b"")
    }

    /// The same, not started.
    pub fn oci_command(&self, need: Need, args: &[String]) -> Command {
        let mut command = self.runtime(need);
        command.args(args);
        command
    }

    /// Runs a container to its end.
    #[track_caller]
    pub fn run_container(&self, need: Need, bundle: &Path, id: &str) -> Out {
        self.oci(need, &["run", "--bundle", bundle.to_str().unwrap(), id])
    }

    /// Starts a container that stays, and waits until its program runs.
    #[track_caller]
    pub fn start_container(&self, bundle: &Path, id: &str) {
        // The container keeps what runc got for its output.
        let log = File::create(self.path(&format!("{id}.log"))).unwrap();
        let mut command = self.runtime(Runc);
        command.args(["run", "--detach", "--bundle"]).arg(bundle).arg(id);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).process_group(0);
        let status = wait(&mut command.spawn().unwrap(), "runc run --detach");
        assert!(status.success(), "{}", fs::read_to_string(self.path(&format!("{id}.log"))).unwrap());
    }

    /// The pid of a container's first process.
    pub fn init_pid(&self, id: &str) -> i32 {
        let state: Value = serde_json::from_str(&self.oci(Runc, &["state", id]).expect_code(0).stdout).unwrap();
        state["pid"].as_i64().unwrap() as i32
    }

    /// An entry of config.json's hooks that calls us.
    pub fn hook(&self, words: &[&str]) -> Value {
        let args: Vec<&str> = ["ftrace-analyzer", "hook"].iter().chain(words).copied().collect();
        let env = [
            format!("FTRACE_ANALYZER_DIR={}", self.path("recordings").display()),
            format!("FTRACE_ANALYZER_RUN_DIR={}", self.path("run").display()),
        ];
        json!({ "path": BIN, "args": args, "env": env })
    }

    /// A bundle whose container runs `args`, recorded by createRuntime and poststop.
    pub fn bundle(&self, args: &[&str]) -> PathBuf {
        let hooks = json!({ "createRuntime": [self.hook(&["start"])], "poststop": [self.hook(&["stop"])] });
        self.bundle_with(args, hooks)
    }

    /// A bundle with these hooks. `work` in it is the C program.
    pub fn bundle_with(&self, args: &[&str], hooks: Value) -> PathBuf {
        self.count.set(self.count.get() + 1);
        let bundle = self.path(&format!("bundle{}", self.count.get()));
        for dir in ["", "rootfs", "rootfs/bin", "rootfs/proc", "rootfs/dev", "rootfs/sys", "rootfs/tmp"] {
            fs::create_dir(bundle.join(dir)).unwrap();
        }
        fs::copy(which("busybox").unwrap(), bundle.join("rootfs/bin/busybox")).unwrap();
        for name in ["sh", "ls", "cat", "sleep", "true", "false", "kill", "echo", "mkdir"] {
            symlink("busybox", bundle.join("rootfs/bin").join(name)).unwrap();
        }
        if let Some(work) = work() {
            fs::copy(work, bundle.join("rootfs/bin/work")).unwrap();
        }
        let mut spec = self.command("runc");
        spec.args(["spec", "--bundle"]).arg(&bundle);
        run(spec, b"").expect_code(0);
        let path = bundle.join("config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(args);
        config["hooks"] = hooks;
        fs::write(&path, config.to_string()).unwrap();
        bundle
    }

    /// The recordings whose names begin with `name`, oldest first.
    pub fn recordings(&self, name: &str) -> Vec<PathBuf> {
        let mut found: Vec<PathBuf> = entries(&self.path("recordings"));
        found.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with(&format!("{name}-2")));
        found
    }

    /// The meta.json of a recording.
    pub fn meta(&self, recording: &Path) -> Value {
        serde_json::from_slice(&fs::read(recording.join("meta.json")).unwrap()).unwrap()
    }

    /// The state.json of the recorder of `name`, if it runs.
    pub fn recorder(&self, name: &str) -> Option<Value> {
        let states = entries(&self.path("run")).into_iter();
        let mut states = states.filter_map(|dir| serde_json::from_slice(&fs::read(dir.join("state.json")).ok()?).ok());
        states.find(|state: &Value| state["name"] == name)
    }

    /// `report ARGS --format json` of a recording, as values; the last one is the end object.
    #[track_caller]
    pub fn report_json(&self, id: &str, args: &[&str]) -> Vec<Value> {
        let all: Vec<&str> = ["report", id, "--format", "json"].iter().chain(args).copied().collect();
        let out = self.bin(&all);
        assert!(matches!(out.code, 0 | 4), "{}", out.stderr);
        out.json()
    }

    /// Checks that nothing of this test's recordings is left: no process, no instance, no state.
    #[track_caller]
    pub fn expect_nothing_left(&self) {
        wait_for("the end of all recorders and their instances and states", || {
            let quiet = self.left().is_empty();
            quiet.then_some(())
        });
    }

    fn left(&self) -> Vec<String> {
        let mut left: Vec<String> = self.recorders().iter().map(|pid| format!("process {pid}")).collect();
        left.extend(entries(&self.path("run")).iter().filter(|path| path.is_dir()).map(|p| p.display().to_string()));
        for recording in entries(&self.path("recordings")) {
            let instance = format!("ftrace-analyzer-{}", recording.file_name().unwrap().to_str().unwrap());
            left.extend(Path::new(TRACING).join("instances").join(&instance).exists().then_some(instance));
        }
        left
    }

    /// Processes of our binary that carry this test's directory in their environment.
    fn recorders(&self) -> Vec<i32> {
        let wanted = self.path("run").display().to_string();
        let pids = entries(Path::new("/proc")).into_iter();
        let pids = pids.filter_map(|path| path.file_name()?.to_str()?.parse::<i32>().ok());
        let ours = pids.filter(|pid| {
            fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == Path::new(BIN))
                && fs::read(format!("/proc/{pid}/environ"))
                    .is_ok_and(|environ| String::from_utf8_lossy(&environ).contains(&wanted))
        });
        ours.collect()
    }
}

/// The entries of a directory, sorted.
pub fn entries(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

impl Drop for Live {
    fn drop(&mut self) {
        for (need, root) in [(Runc, "runc"), (Crun, "crun")] {
            for container in entries(&self.path(root)) {
                let mut command = self.runtime(need);
                command.args(["delete", "--force"]).arg(container.file_name().unwrap());
                let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
            }
        }
        for pid in self.recorders() {
            let _ = Command::new("kill").arg(pid.to_string()).status();
        }
        let begun = Instant::now();
        while !self.left().is_empty() && begun.elapsed() < Duration::from_secs(3) {
            std::thread::sleep(Duration::from_millis(20));
        }
        if std::thread::panicking() && std::env::var_os("FTRACE_ANALYZER_KEEP").is_some() {
            let _ = writeln!(std::io::stderr(), "kept: {}", self.base.display());
            return;
        }
        let _ = fs::remove_dir_all(&self.base);
    }
}
