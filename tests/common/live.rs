// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The user's machine for a test: our binary, runc and crun, bundles made on the spot, directories of the test's own.
//!
//! Whatever a test leaves is removed when its [`Live`] goes, also when it fails (FTRACE_ANALYZER_KEEP=1 keeps the files).
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

#[path = "machine.rs"]
mod machine;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{symlink, DirBuilderExt, MetadataExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

pub use machine::*;
use nix::sys::signal::{kill, killpg, Signal};
use nix::unistd::Pid;
use serde_json::{json, Value};

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
        self.start_program(&[&[BIN], args].concat(), stdout)
    }

    /// The same of another program.
    pub fn start_program(&self, words: &[&str], stdout: &str) -> Child {
        let mut command = self.command(words[0]);
        let stderr = File::create(self.path(&format!("{stdout}.err"))).unwrap();
        command.args(&words[1..]).stdin(Stdio::null()).stdout(File::create(self.path(stdout)).unwrap()).stderr(stderr);
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
        self.start_container_by(Runc, bundle, id);
    }

    /// The same by this runtime.
    #[track_caller]
    pub fn start_container_by(&self, need: Need, bundle: &Path, id: &str) {
        // The container keeps what the runtime got for its output.
        let log = File::create(self.path(&format!("{id}.log"))).unwrap();
        let mut command = self.runtime(need);
        command.args(["run", "--detach", "--bundle"]).arg(bundle).arg(id);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).process_group(0);
        let status = wait(&mut command.spawn().unwrap(), "run --detach");
        assert!(status.success(), "{}", fs::read_to_string(self.path(&format!("{id}.log"))).unwrap());
        // runc returns when its own process in the container is about to become the program.
        let comm = format!("/proc/{}/comm", self.pid_of(need, id));
        wait_for("the container's program", || {
            let name = fs::read_to_string(&comm).ok()?;
            (!name.starts_with("runc:") && !name.starts_with("crun")).then_some(())
        });
    }

    /// The instance that watches for what joins the containers of this test's recorders.
    pub fn watch(&self) -> PathBuf {
        let run = fs::metadata(self.path("run")).unwrap();
        Path::new(TRACING).join(format!("instances/ftrace-analyzer-joins-{}-{}", run.dev(), run.ino()))
    }

    /// Waits until joins are seen, by the recorder of this process number if one is given.
    pub fn wait_for_watch(&self, by: Option<&str>) {
        let enabled = self.watch().join("events/task/task_newtask/enable");
        wait_for("the watch for joins", || {
            let on = fs::read_to_string(&enabled).is_ok_and(|text| text.starts_with('1'));
            let reader = fs::read_to_string(self.path("run/joins")).ok().filter(|pid| !pid.is_empty());
            (on && reader.is_some_and(|reader| by.is_none() || Some(reader.as_str()) == by)).then_some(())
        });
        // Its reader has still to open it.
        pause(100);
    }

    /// The pid of a container's first process.
    pub fn init_pid(&self, id: &str) -> i32 {
        self.pid_of(Runc, id)
    }

    fn pid_of(&self, need: Need, id: &str) -> i32 {
        let state: Value = serde_json::from_str(&self.oci(need, &["state", id]).expect_code(0).stdout).unwrap();
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
        let busybox = which("busybox").unwrap();
        fs::copy(&busybox, bundle.join("rootfs/bin/busybox")).unwrap();
        for library in libraries(&busybox) {
            let place = bundle.join("rootfs").join(library.strip_prefix("/").unwrap());
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::copy(&library, place).unwrap();
        }
        for name in ["sh", "ls", "cat", "sleep", "true", "false", "kill", "echo", "mkdir"] {
            symlink("busybox", bundle.join("rootfs/bin").join(name)).unwrap();
        }
        for (work, name) in [(work(), "work"), (work32(), "work32")] {
            if let Some(work) = work {
                fs::copy(work, bundle.join("rootfs/bin").join(name)).unwrap();
            }
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
        found.retain(|path| is_named(path, name));
        found
    }

    /// The meta.json of a recording.
    pub fn meta(&self, recording: &Path) -> Value {
        serde_json::from_slice(&fs::read(recording.join("meta.json")).unwrap()).unwrap()
    }

    /// The state.json of the recorder of the recording that begins with `name`, if it runs.
    pub fn recorder(&self, name: &str) -> Option<Value> {
        let states = entries(&self.path("run")).into_iter();
        let mut states = states.filter(|dir| is_named(dir, name));
        states.find_map(|dir| serde_json::from_slice(&fs::read(dir.join("state.json")).ok()?).ok())
    }

    /// `report ARGS --format json` of a recording, as values; the last one is the end object.
    #[track_caller]
    pub fn report_json(&self, id: &str, args: &[&str]) -> Vec<Value> {
        let all: Vec<&str> = ["report", id, "--format", "json"].iter().chain(args).copied().collect();
        let out = self.bin(&all);
        assert!(matches!(out.code, 0 | 4), "{}", out.stderr);
        out.json()
    }

    /// The calls of `live-work` in the recording, each by the number of the mark before it, from `first` on.
    #[track_caller]
    pub fn marked_calls(&self, recording: &Path, first: u64) -> BTreeMap<u64, Value> {
        let path = recording.to_str().unwrap();
        let lines = self.report_json(path, &[]);
        let end = lines.last().unwrap();
        assert_eq!((&end["events"]["lost"], &end["events"]["balanced"]), (&json!(0), &json!(true)));
        let mut calls = lines.iter().filter(|line| line["type"] == "call");
        let mut found = BTreeMap::new();
        while let Some(call) = calls.next() {
            let number = || u64::from_str_radix(call["args"][0].as_str()?.trim_start_matches("0x"), 16).ok();
            let number = number().filter(|number| call["name"] == "getpgid" && *number >= first);
            if let Some((number, call)) = number.and_then(|number| Some((number, calls.next()?))) {
                found.insert(number - first, call.clone());
            }
        }
        if found.is_empty() {
            // Seen on busy boards, and not understood.
            let all = self.report_json(path, &["--with-runtime"]).into_iter();
            let all: Vec<String> = all.map(|line| line.to_string()).collect();
            panic!("no marks in {}\n{}", all.join("\n"), self.meta(recording));
        }
        found
    }

    /// Checks that the probes of `run` with these options stay while one with other options comes and goes, and when the
    /// recorder is killed; that `gc` removes them; and that those of others stay. Leaves the recording `sh` of `script`.
    #[track_caller]
    pub fn check_probes(&self, options: &[&str], second: &[&str], script: &str) {
        let defined = define_probe("p:fa_other/write vfs_write");
        let others = || probes("fa_other/").len();
        let before = others();
        let mut long = self.start(&[&["run", "-q"], options, &["--", "sh", "-c", script]].concat(), "long");
        let state = wait_for("the recorder", || self.recorder("sh"));
        let ours = our_probes();
        assert!(!ours.is_empty());
        self.bin(&[&["run", "-q"], second, &["--", "true"]].concat()).expect_code(0);
        wait_for("the end of the second one's probes", || (our_probes() == ours).then_some(()));
        let pid = state["recorder_pid"].as_i64().unwrap() as i32;
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        let ended = || fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "));
        wait_for("the recorder's end", || ended().then_some(()));
        assert_eq!(our_probes(), ours, "nobody is there to remove them");
        let _ = killpg(Pid::from_raw(long.id() as i32), Signal::SIGKILL);
        let _ = long.wait();
        self.bin(&["gc"]);
        assert_eq!((our_probes(), others()), (Vec::new(), before));
        if defined {
            define_probe("-:fa_other/write");
        }
        self.expect_nothing_left();
    }

    /// Checks that nothing of this test's recordings is left: no process, no instance, no state.
    #[track_caller]
    pub fn expect_nothing_left(&self) {
        wait_for("the end of all recorders and their instances and states", || {
            let quiet = self.left().is_empty();
            quiet.then_some(())
        });
    }

    /// The same but for one process.
    #[track_caller]
    pub fn expect_nothing_left_but(&self, process: &Child) {
        let known = format!("process {}", process.id());
        wait_for("the end of all recorders and their instances and states", || {
            self.left().iter().all(|left| *left == known).then_some(())
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

/// Defines a probe, or removes one; whether the kernel did.
pub fn define_probe(definition: &str) -> bool {
    let file = File::options().append(true).open(Path::new(TRACING).join("dynamic_events"));
    file.and_then(|mut file| file.write_all(definition.as_bytes())).is_ok()
}

/// The probes of a group.
pub fn probes(group: &str) -> Vec<String> {
    let defined = fs::read_to_string(Path::new(TRACING).join("dynamic_events")).unwrap_or_default();
    defined.lines().filter(|line| line.contains(group)).map(str::to_owned).collect()
}

/// Those of our recorders.
pub fn our_probes() -> Vec<String> {
    probes("ftrace_analyzer/")
}

/// Whether a path's last part is `NAME-START`; the start begins with the year.
fn is_named(path: &Path, name: &str) -> bool {
    path.file_name().unwrap().to_str().unwrap().starts_with(&format!("{name}-2"))
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
