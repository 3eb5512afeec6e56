// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Container engines for a test: a machine within the machine (tests/engines/machine) with a release of Debian's engines,
//! an image for them, and what a recording of theirs has to show.
//!
//! Nothing of it stays: the machine's files are in memory, its processes are known by its control groups.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

#[path = "live.rs"]
mod live;

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

pub use live::*;
use serde_json::{json, Value};

/// What images are called in every engine; its command stays until it is killed.
pub const IMAGE: &str = "localhost/test/box:latest";
/// What runs first in the containers here, and what joins them: scripts, so that the kernel tells their names.
pub const FIRST: &str = "/opt/first";
pub const SECOND: &str = "/opt/second";
/// The user of the machine who is nobody in particular.
pub const USER: u32 = 12345;

/// Which control groups an engine has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Groups {
    /// Those of this machine, with its controllers.
    Own,
    /// Version 2, with the controllers that version 1 has not taken.
    V2,
}

pub struct Machine {
    pub live: Live,
    name: String,
    holder: Child,
    /// Daemons, in the order in which they were started.
    daemons: Vec<Child>,
}

impl Machine {
    /// A machine of this release, or `None` when it cannot be had. No other test of this program runs meanwhile.
    pub fn new(test: &str, release: &str, groups: Groups) -> Option<Machine> {
        let fetched = Path::new(env!("CARGO_TARGET_TMPDIR")).join("engines").join(release);
        if !fetched.join("made-of").is_file() {
            skip(test, &format!("the packages of {release} are not there (tests/run fetches them)"));
            return None;
        }
        let live = Live::alone(test, &[])?;
        let name = live.id();
        let log = File::create(live.path("boot.log")).unwrap();
        let mut boot = live.command(&script("machine"));
        boot.args(["boot", &name]).arg(&fetched).arg(live.path(""));
        boot.arg(if groups == Groups::V2 { "v2" } else { "full" }).arg(BIN);
        boot.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).process_group(0);
        let mut machine = Machine { holder: boot.spawn().unwrap(), live, name, daemons: Vec::new() };
        let booted = machine.live.path("booted");
        wait_for("the engine's machine", || {
            let ended = machine.holder.try_wait().unwrap().is_some();
            assert!(!ended, "{}", fs::read_to_string(machine.live.path("boot.log")).unwrap());
            booted.exists().then_some(())
        });
        let layout = machine.live.path("box.tar");
        image(&machine.live, &fetched, &layout);
        fs::copy(layout, machine.path("/images/box.tar")).unwrap();
        Some(machine)
    }

    /// Where a path of the machine is seen from here.
    pub fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.holder.id()))
    }

    /// Writes a file of the machine's.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn command(&self, user: u32, words: &[&str]) -> Command {
        let mut command = self.live.command(&script("machine"));
        command.args(["in", &self.name, &self.holder.id().to_string(), &user.to_string()]).args(words);
        command
    }

    /// A command in the machine, to its end.
    #[track_caller]
    pub fn run(&self, words: &[&str]) -> Out {
        run(self.command(0, words), b"")
    }

    /// The same as an ordinary user.
    #[track_caller]
    pub fn run_as_user(&self, words: &[&str]) -> Out {
        run(self.command(USER, words), b"")
    }

    /// Starts what stays until the machine goes; its output is in the file `NAME.log`.
    pub fn daemon(&mut self, name: &str, words: &[&str]) {
        let log = File::create(self.live.path(&format!("{name}.log"))).unwrap();
        let mut command = self.command(0, words);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).process_group(0);
        self.daemons.push(command.spawn().unwrap());
    }

    /// Our binary in the machine.
    #[track_caller]
    pub fn bin(&self, args: &[&str]) -> Out {
        self.run(&[&[BIN], args].concat())
    }

    /// Checks that the container with this id of the engine's is recorded as it should be: from the first
    /// program on, what joined from its program on and marked, and nothing lost.
    #[track_caller]
    pub fn is_recorded(&self, id: &str) {
        self.is_recorded_for(0, id);
    }

    /// The same of a recording that this user reads, and has in the usual directory.
    #[track_caller]
    pub fn is_recorded_for(&self, user: u32, id: &str) {
        self.nothing_of_ours_left();
        let bin = |args: &[&str]| run(self.command(user, &[&[BIN], args].concat()), b"").expect_code(0);
        let listed = bin(&["list"]).stdout;
        assert_eq!(listed.lines().filter(|line| line.starts_with(id)).count(), 1, "{id} in {listed}");
        let out = bin(&["report", id, "--format", "json"]);
        let lines = out.json();
        let end = lines.last().unwrap();
        assert_eq!((&end["events"]["lost"], &end["events"]["balanced"]), (&json!(0), &json!(true)), "{end}");
        assert_eq!(end["problems"], json!([]), "{end}");
        let joins: Vec<&Value> = lines.iter().filter(|line| line["type"] == "join").collect();
        assert!(!joins.is_empty(), "{}", out.stdout);
        let programs = |path: &str| -> Vec<Value> {
            let execs = lines.iter().filter(|line| line["type"] == "exec" && line["filename"] == path);
            execs.map(|line| line["pid"].clone()).collect()
        };
        // From its execve on, with the script's calls and what it opens.
        let whole = |pid: &Value| {
            let mut calls = lines.iter().filter(|line| line["type"] == "call" && line["pid"] == *pid);
            let begun = calls.next().is_some_and(|call| call["name"] == "execve" && call["ret"] == 0);
            let names: Vec<&str> = calls.filter_map(|call| call["name"].as_str()).collect();
            begun && names.contains(&"read") && names.iter().any(|name| matches!(*name, "open" | "openat"))
        };
        let [first] = &programs(FIRST)[..] else { panic!("{}", out.stdout) };
        assert!(whole(first) && joins.iter().all(|join| join["pid"] != *first), "{}", out.stdout);
        // One that is late is told so: crun leaves little time, a busy machine less.
        let on_time = |pid: &Value| {
            let join = joins.iter().find(|join| join["pid"] == *pid).unwrap_or_else(|| panic!("{pid}: {joins:?}"));
            join.get("late").is_none() && join.get("missed").is_none()
        };
        let seconds = programs(SECOND);
        assert!(seconds.iter().any(|pid| on_time(pid) && whole(pid)), "{seconds:?}: {joins:?}");
        let opened = |path: &str| out.stdout.contains(&format!("\"{path}\""));
        if lines.iter().any(|line| line["name"] == "openat" && line.to_string().contains("\"/")) {
            assert!(opened("/etc/first") && opened("/etc/second"), "{}", out.stdout);
        }
        let text = bin(&["report", id]).stdout;
        assert!(text.contains(" --- joined the container ---\n"), "{text}");
        assert!(text.contains("of the container runtime's own left out"), "{text}");
    }

    /// Checks that recorders, their instances and their states are gone, and that they had nothing to complain about.
    #[track_caller]
    pub fn nothing_of_ours_left(&self) {
        self.live.expect_nothing_left();
        wait_for("the end of the watch", || (!self.live.watch().exists()).then_some(()));
        let log = fs::read_to_string(self.live.path("run/hook.log")).unwrap_or_default();
        assert_eq!(log, "", "nobody had anything to complain about");
    }

    /// Ends the process that holds the user's namespaces for Podman between its commands.
    pub fn user_is_done(&self) {
        let uid = format!("Uid:\t{USER}\t");
        for pid in self.processes() {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            if status.contains(&uid) && status.starts_with("Name:\tcatatonit\n") {
                let _ = Command::new("kill").args(["-KILL", &pid]).status();
            }
        }
    }

    /// Ends the daemons and checks that nobody and nothing is left but the machine itself.
    #[track_caller]
    pub fn nothing_left(mut self) {
        self.nothing_of_ours_left();
        for daemon in self.daemons.iter_mut().rev() {
            let _ = Command::new("kill").arg(daemon.id().to_string()).status();
            live::wait(daemon, "the daemon's end");
        }
        let holder = self.holder.id().to_string();
        wait_for("the end of all in the machine", || {
            let left: Vec<String> = self.processes().into_iter().filter(|pid| *pid != holder).collect();
            left.is_empty().then_some(())
        });
        let mounts = fs::read_to_string(format!("/proc/{holder}/mounts")).unwrap();
        let kept = |mount: &&str| ["/containers/", "/containerd/", "/docker/"].iter().any(|part| mount.contains(part));
        let mounts: Vec<&str> = mounts.lines().filter(kept).collect();
        let ours: Vec<&&str> =
            mounts.iter().filter(|mount| mount.contains("merged") || mount.contains("rootfs")).collect();
        assert!(ours.is_empty(), "{mounts:?}");
    }

    /// Who is in the machine's control groups.
    fn processes(&self) -> Vec<String> {
        let mounts = fs::read_to_string("/proc/mounts").unwrap();
        let hierarchies = mounts.lines().filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            let (at, kind) = (words.next()?, words.next()?);
            matches!(kind, "cgroup" | "cgroup2").then(|| Path::new(at).join(&self.name))
        });
        let mut groups: Vec<PathBuf> = hierarchies.collect();
        let mut found = Vec::new();
        while let Some(group) = groups.pop() {
            let processes = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
            found.extend(processes.lines().map(str::to_owned));
            groups.extend(entries(&group).into_iter().filter(|path| path.is_dir()));
        }
        found.sort();
        found.dedup();
        found
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = Command::new(script("machine")).args(["remove", &self.name]).status();
        for child in self.daemons.iter_mut().chain([&mut self.holder]) {
            let _ = child.wait();
        }
    }
}

/// A program of tests/engines.
pub fn script(name: &str) -> String {
    format!("{SOURCE}/tests/engines/{name}")
}

/// An image of busybox in the form that every engine loads.
fn image(live: &Live, fetched: &Path, into: &Path) {
    let dir = live.path("image");
    for sub in ["rootfs/bin", "rootfs/opt", "rootfs/etc", "rootfs/tmp", "rootfs/proc", "rootfs/dev", "rootfs/sys"] {
        fs::create_dir_all(dir.join(sub)).unwrap();
    }
    let rootfs = dir.join("rootfs");
    fs::copy(fetched.join("usr/bin/busybox"), rootfs.join("bin/busybox")).unwrap();
    for name in ["sh", "cat", "sleep", "chmod"] {
        symlink("busybox", rootfs.join("bin").join(name)).unwrap();
    }
    for (path, then) in [(FIRST, "exec sleep 1000000"), (SECOND, "exit 7")] {
        let name = path.trim_start_matches("/opt/");
        fs::write(rootfs.join(format!("etc/{name}")), format!("this is {name}\n")).unwrap();
        let program = rootfs.join(&path[1..]);
        fs::write(&program, format!("#!/bin/sh\nread line </etc/{name}\necho $line\n{then}\n")).unwrap();
        run(words("chmod", &["755", program.to_str().unwrap()]), b"").expect_code(0);
    }
    let tar = |from: &Path, to: &Path, what: &[&str]| {
        let mut command = words("tar", &["--owner=0", "--group=0", "-cf"]);
        command.arg(to).arg("-C").arg(from).args(what);
        run(command, b"").expect_code(0);
    };
    let layer = dir.join("layer.tar");
    tar(&rootfs, &layer, &["."]);
    let sum = run(words("sha256sum", &[layer.to_str().unwrap()]), b"").expect_code(0).stdout;
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": { "Env": ["PATH=/bin"], "Cmd": ["/bin/sleep", "1000000"] },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", &sum[..64])] },
    });
    fs::write(dir.join("config.json"), config.to_string()).unwrap();
    let manifest = json!([{ "Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"] }]);
    fs::write(dir.join("manifest.json"), manifest.to_string()).unwrap();
    tar(&dir, into, &["manifest.json", "config.json", "layer.tar"]);
    fs::remove_dir_all(dir).unwrap();
}

fn words(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args);
    command
}
