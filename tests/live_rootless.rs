// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Live: containers of a user without privileges, recorded by root's helper; and what a user might try with it.
//!
//! The users are numbers that nobody has. Each test has a helper of its own.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "common/cores.rs"]
mod cores;
#[path = "common/live.rs"]
mod live;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{symlink, MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use live::{entries, pause, run, wait_for, which, Live, Out, Runc, BIN, TRACING};
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;
use serde_json::{json, Value};

/// Of the system: others may be out of a user's reach.
const PYTHON: &str = "/usr/bin/python3";

/// Where users' numbers begin.
static NEXT_USER: AtomicU32 = AtomicU32::new(64_201);

/// A helper of the test's own, and users' places.
struct Corner {
    live: Live,
    /// The user, and another one.
    user: u32,
    other: u32,
    helper: Child,
}

impl Corner {
    /// A corner for `test`, with these options of the helper, or `None` when it cannot run here.
    fn new(test: &str, options: &[&str]) -> Option<Corner> {
        let live = Live::new(test, &[Runc])?;
        let user = NEXT_USER.fetch_add(2, Ordering::Relaxed);
        let other = user + 1;
        if !unshares(user) {
            live::skip(test, "users may not make user namespaces here");
            return None;
        }
        fs::set_permissions(live.path(""), fs::Permissions::from_mode(0o711)).unwrap();
        if !Path::new(PYTHON).exists() {
            live::skip(test, "no python3");
            return None;
        }
        // Users need not reach where this was built.
        fs::copy(BIN, live.path("ftrace-analyzer")).unwrap();
        for user in [user, other] {
            let home = live.path(&user.to_string());
            fs::create_dir(&home).unwrap();
            std::os::unix::fs::chown(&home, Some(user), Some(user)).unwrap();
        }
        let socket = live.path("socket");
        let words = [&["serve", "--listen", socket.to_str().unwrap()], options].concat();
        let helper = live.start(&words, "helper");
        wait_for("the helper's socket", || socket.exists().then_some(()));
        wait_for("its rights", || (socket.metadata().ok()?.mode() & 0o777 == 0o666).then_some(()));
        Some(Corner { live, user, other, helper })
    }

    /// A program as a user; with nothing of root's environment.
    fn command(&self, user: u32, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C");
        command.env("FTRACE_ANALYZER_SOCKET", self.live.path("socket"));
        command.env("FTRACE_ANALYZER_DIR", self.dir(user)).env("XDG_RUNTIME_DIR", self.home(user));
        command.uid(user).gid(user).current_dir(self.home(user));
        command
    }

    fn home(&self, user: u32) -> PathBuf {
        self.live.path(&user.to_string())
    }

    /// Where a user's recordings lie.
    fn dir(&self, user: u32) -> PathBuf {
        self.live.path("recordings/users").join(user.to_string())
    }

    #[track_caller]
    fn bin(&self, user: u32, args: &[&str]) -> Out {
        self.bin_with(user, args, b"")
    }

    #[track_caller]
    fn bin_with(&self, user: u32, args: &[&str], input: &[u8]) -> Out {
        let mut command = self.command(user, &self.live.path("ftrace-analyzer"));
        command.args(args);
        run(command, input)
    }

    #[track_caller]
    fn runc(&self, user: u32, args: &[&str]) -> Out {
        let mut command = self.command(user, &which("runc").unwrap());
        command.arg("--root").arg(self.home(user).join("runc")).args(args);
        run(command, b"")
    }

    /// A bundle of the user's whose container runs `args`, with these hooks as words of ours.
    fn bundle(&self, user: u32, args: &[&str], start: &[&str], stop: &[&str]) -> PathBuf {
        let bundle = self.live.bundle_with(args, json!({}));
        let own = self.home(user).join(bundle.file_name().unwrap());
        fs::rename(&bundle, &own).unwrap();
        fs::remove_file(own.join("config.json")).unwrap();
        run_quiet(Command::new("chown").args(["-R", &format!("{user}:{user}")]).arg(&own));
        let mut spec = self.command(user, &which("runc").unwrap());
        spec.args(["spec", "--rootless", "--bundle"]).arg(&own);
        run(spec, b"").expect_code(0);
        let path = own.join("config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(args);
        config["hooks"] = json!({
            "createRuntime": [self.hook(user, &[&["start", "--strict"], start].concat())],
            "poststop": [self.hook(user, &[&["stop"], stop].concat())],
        });
        fs::write(&path, config.to_string()).unwrap();
        own
    }

    fn hook(&self, user: u32, words: &[&str]) -> Value {
        let env = [
            format!("FTRACE_ANALYZER_SOCKET={}", self.live.path("socket").display()),
            format!("FTRACE_ANALYZER_DIR={}", self.dir(user).display()),
        ];
        let args = [&["ftrace-analyzer", "hook"], words].concat();
        json!({ "path": self.live.path("ftrace-analyzer"), "args": args, "env": env })
    }

    /// Starts a container of the user's that stays, and gives its id and first process.
    fn start(&self, user: u32, start: &[&str]) -> (String, i32) {
        self.start_with(user, &["sleep", "600"], start, &[])
    }

    fn start_with(&self, user: u32, args: &[&str], start: &[&str], stop: &[&str]) -> (String, i32) {
        let bundle = self.bundle(user, args, start, stop);
        let id = self.live.id();
        let mut command = self.command(user, &which("runc").unwrap());
        command.arg("--root").arg(self.home(user).join("runc")).args(["run", "--detach", "--bundle"]);
        let log = fs::File::create(self.live.path(&id)).unwrap();
        command.arg(&bundle).arg(&id).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let status = command.status().unwrap();
        assert!(status.success(), "{}", fs::read_to_string(self.live.path(&id)).unwrap());
        let state: Value = serde_json::from_str(&self.runc(user, &["state", &id]).expect_code(0).stdout).unwrap();
        (id, state["pid"].as_i64().unwrap() as i32)
    }

    fn delete(&self, user: u32, id: &str) {
        self.runc(user, &["delete", "--force", id]).expect_code(0);
    }

    /// `hook start --strict OPTIONS` by hand, of a container of this name and first process.
    fn ask(&self, user: u32, id: &str, pid: i32, options: &[&str]) -> Out {
        let state = json!({ "ociVersion": "1.0.2", "id": id, "status": "creating", "pid": pid, "bundle": "/none" });
        self.bin_with(user, &[&["hook", "start", "--strict"], options].concat(), state.to_string().as_bytes())
    }

    /// Checks that a request was refused with this sentence, and left nothing.
    #[track_caller]
    fn expect_refused(&self, out: Out, id: &str, told: &str) {
        assert!(out.code != 0 && out.stderr.contains(told), "{out:?}");
        self.expect_none(id);
    }

    #[track_caller]
    fn expect_none(&self, id: &str) {
        let left: Vec<_> = instances().into_iter().filter(|name| name.contains(id)).collect();
        assert!(left.is_empty(), "{left:?}");
        assert!(entries(&self.live.path("run")).iter().all(|path| !path.display().to_string().contains(id)));
    }

    fn recording(&self, user: u32, id: &str) -> PathBuf {
        let all = entries(&self.dir(user));
        all.into_iter().rfind(|path| path.file_name().unwrap().to_str().unwrap().starts_with(id)).expect(id)
    }

    /// What python says that was run as this user with these words, the socket's path first.
    fn python(&self, user: u32, script: &str, words: &[&str]) -> Out {
        fs::create_dir_all(self.home(user)).unwrap();
        let mut command = self.command(user, Path::new(PYTHON));
        command.arg("-c").arg(script).arg(self.live.path("socket")).args(words);
        run(command, b"")
    }
}

impl Drop for Corner {
    fn drop(&mut self) {
        for user in [self.user, self.other] {
            for container in entries(&self.home(user).join("runc")) {
                let id = container.file_name().unwrap().to_str().unwrap().to_owned();
                self.runc(user, &["delete", "--force", &id]);
            }
            for path in entries(Path::new("/proc")) {
                let pid = path.file_name().and_then(|name| name.to_str()?.parse().ok());
                if let Some(pid) = pid.filter(|_| path.metadata().is_ok_and(|file| file.uid() == user)) {
                    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
                }
            }
        }
        let _ = kill(Pid::from_raw(self.helper.id() as i32), Signal::SIGTERM);
        let _ = self.helper.wait();
    }
}

fn run_quiet(command: &mut Command) {
    assert!(command.status().unwrap().success(), "{command:?}");
}

fn instances() -> Vec<String> {
    let all = entries(&Path::new(TRACING).join("instances"));
    all.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
}

/// Whether users may make user namespaces.
fn unshares(user: u32) -> bool {
    let mut command = Command::new("unshare");
    command.args(["-U", "true"]).uid(user).gid(user).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// A process of the user's in a user namespace of his, which sleeps.
fn sleeper(corner: &Corner, user: u32, words: &[&str]) -> Child {
    fs::create_dir_all(corner.home(user)).unwrap();
    let mut command = corner.command(user, &which(words[0]).unwrap());
    command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().unwrap();
    pause(200);
    child
}

fn end(mut child: Child) {
    let _ = child.kill();
    let _ = child.wait();
}

#[test]
fn a_users_container_is_recorded_for_the_user_and_nobody_else() {
    let Some(corner) = Corner::new("a_users_container_is_recorded_for_the_user_and_nobody_else", &[]) else { return };
    let (report, profile) = (corner.home(corner.user).join("report"), corner.home(corner.user).join("profile"));
    let stop = ["--report", report.to_str().unwrap(), "--seccomp", profile.to_str().unwrap()];
    let (id, _) =
        corner.start_with(corner.user, &["sh", "-c", "while true; do ls / >/dev/null; sleep 0.1; done"], &[], &stop);
    let recording = corner.recording(corner.user, &id);
    // Files are the user's and his alone.
    for path in entries(&recording).iter().chain([&recording]) {
        let file = path.symlink_metadata().unwrap();
        let rights = if file.is_dir() { 0o700 } else { 0o600 };
        let rights = if path.ends_with("control") { file.mode() & 0o700 } else { rights };
        assert_eq!((file.uid(), file.mode() & 0o777), (corner.user, rights), "{}", path.display());
    }
    assert_eq!(corner.dir(corner.user).metadata().unwrap().mode() & 0o777, 0o700);
    for dir in [corner.live.path("recordings"), corner.live.path("recordings/users")] {
        assert_eq!((dir.metadata().unwrap().uid(), dir.metadata().unwrap().mode() & 0o777), (0, 0o711));
    }
    // He lists, reads and follows it while it runs.
    let list = corner.bin(corner.user, &["list", "--json"]).expect_code(0).json();
    assert_eq!((&list[0]["container"], &list[0]["state"]), (&json!(id), &json!("running")));
    assert!(corner.bin(corner.user, &["report", &id]).stdout.contains("getdents64("));
    let mut follow = corner.command(corner.user, &corner.live.path("ftrace-analyzer"));
    follow.args(["follow", &id]).stdout(Stdio::piped()).stdin(Stdio::null());
    let mut follow = follow.spawn().unwrap();
    // Another one sees nothing and ends nothing.
    let theirs = recording.to_str().unwrap();
    for args in [&["list", "--dir", theirs][..], &["report", theirs], &["stop", &id], &["follow", &id]] {
        let mut command = corner.command(corner.other, &corner.live.path("ftrace-analyzer"));
        command.args(args).env("FTRACE_ANALYZER_RUN_DIR", corner.dir(corner.user));
        let out = run(command, b"");
        assert!(out.code != 0 && !out.stdout.contains(&id), "{args:?} {out:?}");
    }
    let connect = "import socket,sys\nsocket.socket(socket.AF_UNIX).connect(sys.argv[2])";
    let control = recording.join("control");
    assert_eq!(corner.python(corner.user, connect, &[control.to_str().unwrap()]).code, 0);
    let refused = corner.python(corner.other, connect, &[control.to_str().unwrap()]);
    assert!(refused.stderr.contains("PermissionError"), "{refused:?}");
    // Root sees whose it is, reads it and may end it.
    let list = corner.live.bin(&["list"]).expect_code(0).stdout;
    assert!(list.contains("USER") && list.contains(&corner.user.to_string()) && list.contains("running"), "{list}");
    assert!(corner.live.bin(&["report", &id]).stdout.contains("getdents64("));
    // The runtime's poststop ends it and writes what was asked for, as the user.
    corner.delete(corner.user, &id);
    let (mut text, begun) = (String::new(), Instant::now());
    std::io::Read::read_to_string(&mut follow.stdout.take().unwrap(), &mut text).unwrap();
    assert!(follow.wait().unwrap().success() && text.contains("getdents64("), "{text}");
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert_eq!(report.metadata().unwrap().uid(), corner.user);
    assert!(fs::read_to_string(&report).unwrap().contains("recording complete"));
    assert!(fs::read_to_string(&profile).unwrap().contains("defaultAction"));
    corner.live.expect_nothing_left_but(&corner.helper);
    let names: Vec<_> = entries(&recording).iter().map(|path| path.file_name().unwrap().to_owned()).collect();
    assert!(!names.iter().any(|name| name == "control" || name == "state.json"), "{names:?}");
    assert!(corner.bin(corner.user, &["report", &id]).expect_code(0).stdout.contains("they add up"));
}

#[test]
fn a_user_ends_an_own_recording_and_what_joins_the_container_is_in_it() {
    let Some(corner) = Corner::new("a_user_ends_an_own_recording_and_what_joins_the_container_is_in_it", &[]) else {
        return;
    };
    let (id, _) = corner.start(corner.user, &[]);
    corner.live.wait_for_watch(None);
    // On a busy machine one may end before it is looked up.
    let has_joined = || {
        corner.runc(corner.user, &["exec", &id, "ls", "/proc/self"]).expect_code(0);
        pause(100);
        let report = corner.bin(corner.user, &["report", &id]).expect_code(0).stdout;
        report.contains("execve(\"/bin/ls\", ").then_some(())
    };
    wait_for("what joined", has_joined);
    let out = corner.bin(corner.user, &["stop", &id]).expect_code(0);
    assert!(out.stderr.contains("stopped on request"), "{out:?}");
    let report = corner.bin(corner.user, &["report", &id]).expect_code(0).stdout;
    assert!(report.contains("execve(\"/bin/ls\", "), "{report}");
    corner.live.expect_nothing_left_but(&corner.helper);
    corner.delete(corner.user, &id);
}

#[test]
fn a_process_that_is_not_in_a_user_namespace_of_the_users_is_refused() {
    let Some(corner) = Corner::new("a_process_that_is_not_in_a_user_namespace_of_the_users_is_refused", &[]) else {
        return;
    };
    // Another user's container, root's, the user's own outside of any, and the first of all.
    let theirs = sleeper(&corner, corner.other, &["unshare", "-U", "sleep", "600"]);
    let roots = sleeper(&corner, 0, &["unshare", "-U", "sleep", "600"]);
    let own = sleeper(&corner, corner.user, &["sleep", "600"]);
    for pid in [theirs.id(), roots.id(), own.id(), 1] {
        let id = corner.live.id();
        let out = corner.ask(corner.user, &id, pid as i32, &[]);
        corner.expect_refused(out, &id, &format!("no permission for process {pid}"));
    }
    // The same may be recorded for whom it belongs to, and one of a namespace below.
    let below = sleeper(&corner, corner.user, &["unshare", "-Ur", "unshare", "-U", "sleep", "600"]);
    for (user, pid) in [(corner.other, theirs.id()), (corner.user, below.id())] {
        let id = corner.live.id();
        corner.ask(user, &id, pid as i32, &[]).expect_code(0);
        corner.bin(user, &["stop", &id]).expect_code(0);
    }
    for child in [theirs, roots, own, below] {
        end(child);
    }
    let log = fs::read_to_string(corner.live.path("run/hook.log")).unwrap();
    let user = corner.user;
    assert!(log.contains(&format!("serve: user {user}: no permission for process 1")), "{log}");
}

#[test]
fn root_and_subordinate_ids_have_no_helper() {
    let Some(corner) = Corner::new("root_and_subordinate_ids_have_no_helper", &[]) else { return };
    // Who is refused by his number alone may be answered and left before he has said anything.
    let send = "import socket,sys\ns=socket.socket(socket.AF_UNIX);s.connect(sys.argv[1])\n\
                try: s.send(b'{}');s.shutdown(1)\n\
                except OSError: pass\n\
                print(s.recv(999).decode())";
    assert!(corner.python(0, send, &[]).stdout.contains("root records without the helper"));
    // User 0 of a user namespace is the user who made it.
    let mut command = corner.command(corner.user, &which("unshare").unwrap());
    command.args(["-Ur", "python3", "-c", send]).arg(corner.live.path("socket"));
    assert!(run(command, b"").stdout.contains("requests of version 0"));
    let subids = fs::read_to_string("/etc/subuid").unwrap_or_default();
    let first = subids.lines().find_map(|line| line.split(':').nth(1)?.parse::<u32>().ok());
    if let Some(first) = first {
        assert!(corner.python(first, send, &[]).stdout.contains("subordinate user ids"));
    }
}

/// Sends a request whose parts the words say: `pid start [descriptor: pidfd, dead, none, file]`, and prints the answer.
const RAW: &str = r#"
import array, json, os, socket, subprocess, sys, time
path, pid, start, kind = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
s = socket.socket(socket.AF_UNIX); s.connect(path)
request = {"version": 1, "pid": pid, "start_time": start, "container": {"id": sys.argv[5]},
           "options": {"mode": "continuous", "strings": "auto", "max_size": 1 << 20}}
fds = []
if kind == "pidfd": fds = [os.pidfd_open(pid)]
if kind == "dead":
    child = subprocess.Popen(["unshare", "-U", "sleep", "60"]); time.sleep(0.2)
    fds = [os.pidfd_open(child.pid)]; child.kill(); child.wait()
if kind == "file": fds = [os.open("/etc/passwd", os.O_RDONLY)]
if kind == "many": fds = [os.pidfd_open(pid)] + [os.open("/etc/passwd", os.O_RDONLY)] * 20
s.sendmsg([json.dumps(request).encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else [])
s.shutdown(1)
print(s.makefile().read())
"#;

fn start_time(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(')').next().unwrap().split_ascii_whitespace().nth(19).unwrap().parse().unwrap()
}

#[test]
fn a_number_that_became_another_process_is_refused() {
    let Some(corner) = Corner::new("a_number_that_became_another_process_is_refused", &[]) else { return };
    let child = sleeper(&corner, corner.user, &["unshare", "-U", "sleep", "600"]);
    let (pid, start) = (child.id().to_string(), start_time(child.id()));
    for (start, kind, told) in [
        (start, "none", "on "),
        (start, "pidfd", "on "),
        // A pidfd says more than a number and its time.
        (start + 1, "pidfd", "on "),
        (start, "many", "on "),
        (start + 1, "none", "not found"),
        (start - 1, "none", "not found"),
        (start, "dead", "not found"),
        (start, "file", "not found"),
    ] {
        let id = corner.live.id();
        let out = corner.python(corner.user, RAW, &[&pid, &start.to_string(), kind, &id]);
        assert!(out.stdout.contains(told), "{kind} {start}: {out:?}");
        match told {
            "on " => drop(corner.bin(corner.user, &["stop", &id]).expect_code(0)),
            _ => corner.expect_none(&id),
        }
    }
    end(child);
}

#[test]
fn what_is_no_request_is_refused_in_bounded_time_and_the_helper_goes_on() {
    let test = "what_is_no_request_is_refused_in_bounded_time_and_the_helper_goes_on";
    let Some(corner) = Corner::new(test, &[]) else { return };
    let child = sleeper(&corner, corner.user, &["unshare", "-U", "sleep", "600"]);
    let send = "import socket,sys\ns=socket.socket(socket.AF_UNIX);s.connect(sys.argv[1])\n\
                try: s.sendall(eval(sys.argv[2])); s.shutdown(1)\nexcept BrokenPipeError: pass\n\
                try: print(s.recv(999).decode())\nexcept ConnectionResetError: print('reset')";
    for (bytes, told) in [
        ("b''", "the request"),
        ("b'\\0'*100", "the request"),
        ("bytes(range(256))", "the request"),
        ("b'{\"version\":1}'", "the container id is empty"),
        ("b'{\"version\":1,\"container\":{\"id\":\"../../etc\"}}'", "starts with a dot"),
        ("b'{\"version\":1,\"container\":{\"id\":\"a/../b\"}}'", "has the byte '/'"),
        ("b'{\"version\":1,\"x\":'+b'['*60000", "nested"),
        ("b' '*(1<<26)", ""),
    ] {
        let out = corner.python(corner.user, send, &[bytes]);
        assert!(out.code == 0 && out.stdout.contains(told), "{bytes}: {out:?}");
    }
    // One that comes a byte at a time, and many that say nothing, hold nobody else up.
    let slow = "import socket,sys,time\ns=socket.socket(socket.AF_UNIX);s.connect(sys.argv[1])\nb=time.time()\n\
                print('connected',flush=True)\n\
                try:\n while time.time()-b<30: s.send(b' '); time.sleep(0.2)\n\
                except OSError: print(time.time()-b)";
    let mut slow_one = corner.command(corner.other, Path::new(PYTHON));
    let mut slow_one =
        slow_one.args(["-c", slow]).arg(corner.live.path("socket")).stdout(Stdio::piped()).spawn().unwrap();
    // Behind the many it would be one of those that are too many.
    let mut said = BufReader::new(slow_one.stdout.take().unwrap());
    said.read_line(&mut String::new()).unwrap();
    let many = "import socket,sys,time\nall=[]\nfor i in range(120):\n s=socket.socket(socket.AF_UNIX)\n \
                s.connect(sys.argv[1]); all.append(s)\nprint(1,flush=True); time.sleep(3)";
    let mut many_of_them = corner.command(corner.other, Path::new(PYTHON));
    let mut many_of_them =
        many_of_them.args(["-c", many]).arg(corner.live.path("socket")).stdout(Stdio::piped()).spawn().unwrap();
    pause(500);
    let begun = Instant::now();
    let id = corner.live.id();
    corner.ask(corner.user, &id, child.id() as i32, &[]).expect_code(0);
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    corner.bin(corner.user, &["stop", &id]).expect_code(0);
    let mut took = String::new();
    said.read_line(&mut took).unwrap();
    slow_one.wait().unwrap();
    let took: f64 = took.trim().parse().unwrap();
    assert!((4.0..8.0).contains(&took), "{took}");
    many_of_them.wait().unwrap();
    end(child);
}

#[test]
fn what_a_user_may_have_is_limited() {
    let options = ["--recordings", "2", "--max-size", "4M", "--buffer-size-kb", "512", "--max-total", "6M"];
    let Some(corner) = Corner::new("what_a_user_may_have_is_limited", &options) else { return };
    let child = sleeper(&corner, corner.user, &["unshare", "-U", "sleep", "600"]);
    let pid = child.id() as i32;
    for (options, told) in [
        (&["--max-size", "5M"][..], "is more than users may have, the limit is 4194304"),
        (&["--max-size", "0"], "the limit is 4194304"),
        (&["--max-size", "4M", "--buffer-size-kb", "513"], "the limit is 512"),
        (&["--max-size", "4M", "--dir", "/tmp/elsewhere"], "is not for users"),
        (&["--max-size", "4M", "--name", "\u{1b}[31m"], "--name can not be"),
    ] {
        let id = corner.live.id();
        corner.expect_refused(corner.ask(corner.user, &id, pid, options), &id, told);
    }
    let good = ["--max-size", "4M", "--buffer-size-kb", "512"];
    let ids = [corner.live.id(), corner.live.id(), corner.live.id()];
    for id in &ids[..2] {
        corner.ask(corner.user, id, pid, &good).expect_code(0);
    }
    corner.expect_refused(
        corner.ask(corner.user, &ids[2], pid, &good),
        &ids[2],
        "recordings of this user that run already, the limit is 2",
    );
    for id in &ids[..2] {
        corner.bin(corner.user, &["stop", id]).expect_code(0);
    }
    // The oldest finished one makes room: 4M each, 6M together.
    let oldest = corner.recording(corner.user, &ids[0]);
    let segment = entries(&oldest).into_iter().find(|path| path.extension().is_some_and(|name| name == "pages"));
    let segment = segment.unwrap_or(oldest.join("cpu0.000000.pages"));
    fs::File::options().create(true).append(true).open(segment).unwrap().set_len(3 << 20).unwrap();
    wait_for("the end of the recorders", || (corner.live.recorder(&ids[1])).is_none().then_some(()));
    corner.ask(corner.user, &ids[2], pid, &good).expect_code(0);
    assert!(!oldest.exists() && corner.recording(corner.user, &ids[1]).exists());
    corner.bin(corner.user, &["stop", &ids[2]]).expect_code(0);
    end(child);
}

#[test]
fn a_user_can_not_signal_nor_look_into_the_recorder() {
    let Some(corner) = Corner::new("a_user_can_not_signal_nor_look_into_the_recorder", &[]) else { return };
    let (id, _) = corner.start(corner.user, &[]);
    let recorder = corner.live.recorder(&id).unwrap()["recorder_pid"].as_i64().unwrap().to_string();
    let tries = "import os,sys\np=int(sys.argv[2])\n\
        for what in [lambda: os.kill(p, 0), lambda: os.kill(p, 9), lambda: open(f'/proc/{p}/mem','rb'),\n \
        lambda: os.listdir(f'/proc/{p}/fd'), lambda: os.readlink(f'/proc/{p}/root'),\n \
        lambda: open(f'/proc/{p}/oom_score_adj','w'), lambda: open(f'/proc/{p}/environ','rb').read()]:\n \
         try: what(); print('did it')\n except (PermissionError, ProcessLookupError): print('refused')";
    pause(300);
    for user in [corner.user, corner.other] {
        let out = corner.python(user, tries, &[&recorder]).expect_code(0);
        assert_eq!(out.stdout, "refused\n".repeat(7), "{out:?}");
    }
    let status = fs::read_to_string(format!("/proc/{recorder}/status")).unwrap();
    assert!(status.lines().any(|line| line == "NoNewPrivs:\t1"), "{status}");
    assert!(corner.live.recorder(&id).is_some());
    corner.delete(corner.user, &id);
}

#[test]
fn what_is_put_in_the_place_of_directories_and_files_hurts_nobody_but_who_did_it() {
    let test = "what_is_put_in_the_place_of_directories_and_files_hurts_nobody_but_who_did_it";
    let Some(corner) = Corner::new(test, &[]) else { return };
    // Another user's files, and root's, which are to stay as they are.
    let victims = [(corner.other, corner.home(corner.other).join("victim")), (0, corner.live.path("victim"))];
    for (owner, dir) in &victims {
        fs::create_dir(dir).unwrap();
        fs::write(dir.join("meta.json"), "precious").unwrap();
        std::os::unix::fs::chown(dir, Some(*owner), Some(*owner)).unwrap();
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let child = sleeper(&corner, corner.user, &["unshare", "-U", "sleep", "600"]);
    // In the user's directory only root could put something; where it is not the user's, nothing is recorded.
    let base = corner.live.path("recordings/users");
    fs::create_dir_all(&base).unwrap();
    symlink(&victims[0].1, corner.dir(corner.user)).unwrap();
    let id = corner.live.id();
    corner.expect_refused(corner.ask(corner.user, &id, child.id() as i32, &[]), &id, "is not the user's directory");
    fs::remove_file(corner.dir(corner.user)).unwrap();
    // Links in the place of the recording's directory while it is written, whose files' names are known.
    for (_, victim) in &victims {
        let id = corner.live.id();
        corner.ask(corner.user, &id, child.id() as i32, &[]).expect_code(0);
        let recording = corner.recording(corner.user, &id);
        fs::rename(&recording, recording.with_extension("moved")).unwrap();
        symlink(victim, &recording).unwrap();
        corner.live.bin(&["stop", &id]);
        wait_for("the recorder's end", || corner.live.recorder(&id).is_none().then_some(()));
        let names: Vec<_> = entries(victim).iter().map(|path| path.file_name().unwrap().to_owned()).collect();
        assert_eq!(names, ["meta.json"]);
        assert_eq!(fs::read_to_string(victim.join("meta.json")).unwrap(), "precious");
    }
    // A link and a pipe in the place of files that are to be written, and of those to be read again.
    for name in ["meta.next", "meta.json", "calls.next", "calls.json"] {
        let id = corner.live.id();
        corner.ask(corner.user, &id, child.id() as i32, &["--mode", "count-events"]).expect_code(0);
        let recording = corner.recording(corner.user, &id);
        let _ = fs::remove_file(recording.join(name));
        match name.starts_with("calls") {
            true => {
                nix::unistd::mkfifo(&recording.join(name), nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap()
            }
            false => symlink(victims[1].1.join("meta.json"), recording.join(name)).unwrap(),
        }
        let begun = Instant::now();
        corner.live.bin(&["stop", &id]);
        wait_for("the recorder's end", || corner.live.recorder(&id).is_none().then_some(()));
        assert!(begun.elapsed() < Duration::from_secs(10), "{name}");
        assert_eq!(fs::read_to_string(victims[1].1.join("meta.json")).unwrap(), "precious", "{name}");
    }
    end(child);
    corner.live.expect_nothing_left_but(&corner.helper);
}

#[test]
fn what_a_user_leaves_in_the_own_directory_neither_hangs_nor_fools_root() {
    let test = "what_a_user_leaves_in_the_own_directory_neither_hangs_nor_fools_root";
    let Some(corner) = Corner::new(test, &[]) else { return };
    let child = sleeper(&corner, corner.user, &["unshare", "-U", "sleep", "600"]);
    let id = corner.live.id();
    corner.ask(corner.user, &id, child.id() as i32, &[]).expect_code(0);
    pause(100);
    corner.bin(corner.user, &["stop", &id]).expect_code(0);
    corner.live.expect_nothing_left_but(&corner.helper);
    let good = corner.recording(corner.user, &id);
    let secret = corner.live.path("secret");
    fs::create_dir(&secret).unwrap();
    run_quiet(Command::new("cp").arg("-r").arg(&good).arg(secret.join("root's")));
    let script = format!(
        "cp -r '{good}' $'esc\\e[31m\\nnext'; mkdir pipe; mkfifo pipe/meta.json; cp -r '{good}' pipe2; \
         rm -f pipe2/counts; mkfifo pipe2/counts; cp -r '{good}' sparse; truncate -s 1T sparse/cpu0.000000.pages; \
         rm -f sparse/counts; mkdir big; truncate -s 1T big/meta.json; ln -s '{secret}/root'\"'\"'s' linked; \
         cp -r '{good}' dev; rm -f dev/counts; ln -sf /dev/zero dev/formats; mkdir deep; ln -s deep deep/meta.json",
        good = good.display(),
        secret = secret.display()
    );
    let mut command = corner.command(corner.user, &which("bash").unwrap());
    command.arg("-c").arg(script).current_dir(corner.dir(corner.user));
    run(command, b"").expect_code(0);
    for args in [&["list"][..], &["list", "--json"], &["gc"], &["gc", "--max-age", "100d", "--max-total", "9000G"]] {
        let begun = Instant::now();
        let out = corner.live.bin(args);
        assert!(begun.elapsed() < Duration::from_secs(20), "{args:?} took {:?}", begun.elapsed());
        assert!(matches!(out.code, 0 | 1), "{out:?}");
        assert!(!(out.stdout.clone() + &out.stderr).contains('\x1b'), "{out:?}");
        if args == ["list"] {
            assert!(out.stdout.contains("esc?[31m?next"), "{out:?}");
            assert!(out.stdout.contains(&id) && !out.stdout.contains("linked"), "{out:?}");
        }
    }
    // Nor does a user's own list.
    corner.bin(corner.user, &["list"]);
    // Limits are applied to users' recordings, too, and to nobody else's by their links.
    corner.live.bin(&["gc", "--max-total", "1"]);
    assert!(!good.exists() && secret.join("root's/meta.json").exists());
    end(child);
}

#[test]
fn a_process_that_is_put_into_the_containers_control_group_from_outside_is_not_recorded() {
    let test = "a_process_that_is_put_into_the_containers_control_group_from_outside_is_not_recorded";
    let Some(corner) = Corner::new(test, &[]) else { return };
    let base = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(Path::new).into_iter();
    let Some(base) = base.clone().find(|dir| dir.join("cgroup.procs").exists()) else {
        return live::skip(test, "no control groups of version 2");
    };
    // As systemd delegates a group to a user.
    let user = corner.user;
    let id = corner.live.id();
    let parent = base.join(format!("fa-delegated-{}", std::process::id()));
    for dir in [parent.clone(), parent.join("outer"), parent.join(&id)] {
        fs::create_dir(&dir).unwrap();
        for path in [dir.clone(), dir.join("cgroup.procs")] {
            std::os::unix::fs::chown(&path, Some(corner.user), Some(corner.user)).unwrap();
        }
    }
    // A program of root's that a user may run with root's rights, as sudo is.
    let sudo = corner.live.path("sleep");
    fs::copy(which("sleep").unwrap(), &sudo).unwrap();
    fs::set_permissions(&sudo, fs::Permissions::from_mode(0o4755)).unwrap();
    let script = format!(
        "unshare -U sleep 600 & sleep 0.2; echo $! > '{0}/{1}/cgroup.procs' && echo $!; \
         exec 9>&-; read go; sh -c \"echo \\$\\$ > '{0}/{1}/cgroup.procs' && exec '{2}' 600\"",
        parent.display(),
        id,
        sudo.display()
    );
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!(
        "echo $$ > '{}/outer/cgroup.procs' && exec setpriv --reuid {user} --regid {user} --clear-groups sh -c \"$0\"",
        parent.display()
    ));
    command.arg(&script).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut shell = command.spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(shell.stdout.as_mut().unwrap()), &mut line).unwrap();
    let pid: i32 = line.trim().parse().unwrap();
    corner.ask(corner.user, &id, pid, &[]).expect_code(0);
    let state = corner.live.recorder(&id).unwrap();
    assert!(state["cgroups"][0].as_str().is_some_and(|line| line.ends_with(&id)), "{state}");
    corner.live.wait_for_watch(None);
    std::io::Write::write_all(shell.stdin.as_mut().unwrap(), b"go\n").unwrap();
    let inside = wait_for("the program in the group", || {
        let pids = fs::read_to_string(parent.join(&id).join("cgroup.procs")).ok()?;
        let pids = pids.lines().map(str::to_owned);
        pids.into_iter()
            .find(|of| of.parse() != Ok(pid) && fs::read_link(format!("/proc/{of}/exe")).is_ok_and(|exe| exe == sudo))
    });
    pause(700);
    let instance = state["instance"].as_str().unwrap();
    let listed = fs::read_to_string(Path::new(TRACING).join("instances").join(instance).join("set_event_pid")).unwrap();
    assert!(listed.lines().any(|line| line == pid.to_string()), "{listed}");
    assert!(!listed.lines().any(|line| line == inside), "{listed} {inside}");
    let effective = fs::read_to_string(format!("/proc/{inside}/status")).unwrap();
    assert!(effective.contains(&format!("Uid:\t{user}\t0\t")), "it has root's rights: {effective}");
    corner.bin(corner.user, &["stop", &id]).expect_code(0);
    for pid in [pid.to_string(), inside, shell.id().to_string()] {
        let _ = Command::new("kill").arg("-KILL").arg(pid).status();
    }
    let _ = shell.wait();
    wait_for("the groups' end", || {
        let _ = fs::remove_dir(parent.join("outer"));
        let _ = fs::remove_dir(parent.join(&id));
        fs::remove_dir(&parent).ok()
    });
}

#[test]
fn a_users_container_is_not_taken_for_one_of_roots_of_the_same_name() {
    let test = "a_users_container_is_not_taken_for_one_of_roots_of_the_same_name";
    let Some(corner) = Corner::new(test, &[]) else { return };
    let (bundle, id) = (corner.live.bundle(&["sleep", "600"]), corner.live.id());
    let child = sleeper(&corner, corner.user, &["unshare", "-U", "sleep", "600"]);
    corner.live.start_container(&bundle, &id);
    corner.ask(corner.user, &id, child.id() as i32, &[]).expect_code(0);
    let path = |args: &[&str]| corner.live.bin(args).expect_code(0).json()[0]["recording"].clone();
    let of_root = path(&["list", "--json"]);
    // Root's hook ends root's recording, and root's words mean it.
    let running = || {
        let list = corner.live.bin(&["list", "--json"]).json();
        list.into_iter().filter(|line| line["state"] == "running").collect::<Vec<Value>>()
    };
    let report = corner.live.bin(&["report", &id, "--with-runtime"]).stdout;
    assert!(report.contains("execve(\"/bin/sleep\""), "{report}");
    assert_eq!(running().len(), 2);
    corner.live.oci(Runc, &["delete", "--force", &id]).expect_code(0);
    let left = running();
    assert!(left.len() == 1 && left[0]["user"] == json!(corner.user) && left[0]["recording"] != of_root, "{left:?}");
    // When there is none of root's, a user's is meant. Root's recorder is there until its instance is removed.
    wait_for("the end of root's recorder", || {
        let states = entries(&corner.live.path("run")).into_iter();
        (states.filter(|dir| dir.join("state.json").exists()).count() == 1).then_some(())
    });
    corner.live.bin(&["stop", &id]).expect_code(0);
    assert!(running().is_empty());
    end(child);
}

#[test]
fn a_killed_recorder_of_a_users_is_cleaned_up_behind_by_root() {
    let Some(corner) = Corner::new("a_killed_recorder_of_a_users_is_cleaned_up_behind_by_root", &[]) else { return };
    let (id, _) =
        corner.start_with(corner.user, &["sh", "-c", "while true; do ls >/dev/null; sleep 0.1; done"], &[], &[]);
    pause(500);
    let recorder = corner.live.recorder(&id).unwrap()["recorder_pid"].as_i64().unwrap();
    kill(Pid::from_raw(recorder as i32), Signal::SIGKILL).unwrap();
    pause(200);
    let list = corner.bin(corner.user, &["list"]).stdout;
    assert!(list.contains("killed"), "{list}");
    // The user's own leaves it to root.
    corner.bin(corner.user, &["gc"]).expect_code(0);
    assert!(instances().iter().any(|name| name.contains(&id)));
    let out = corner.live.bin(&["gc"]).expect_code(0);
    assert!(out.stdout.contains("completed the recording"), "{out:?}");
    corner.expect_none(&id);
    let recording = corner.recording(corner.user, &id);
    for path in entries(&recording) {
        assert_eq!(path.metadata().unwrap().uid(), corner.user, "{}", path.display());
    }
    assert!(!recording.join("control").exists());
    let report = corner.bin(corner.user, &["report", &id]);
    assert!(report.code == 4 && report.stdout.contains("the recorder was killed"), "{report:?}");
    corner.delete(corner.user, &id);
}

#[test]
fn the_helper_takes_a_connection_on_standard_input_as_systemd_hands_it_over() {
    let test = "the_helper_takes_a_connection_on_standard_input_as_systemd_hands_it_over";
    let Some(corner) = Corner::new(test, &[]) else { return };
    // In the place of `serve --listen`.
    kill(Pid::from_raw(corner.helper.id() as i32), Signal::SIGTERM).unwrap();
    let socket = corner.live.path("socket");
    wait_for("the helper's end", || {
        fs::read(format!("/proc/{}/cmdline", corner.helper.id())).ok()?.is_empty().then_some(())
    });
    fs::remove_file(&socket).unwrap();
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
    let mut serve = corner.live.command(BIN);
    serve.args(["serve", "--recordings", "1"]).stdout(Stdio::null()).stderr(Stdio::null());
    let accept = std::thread::spawn(move || {
        let (connection, _) = listener.accept().unwrap();
        serve.stdin(Stdio::from(std::os::fd::OwnedFd::from(connection))).spawn().unwrap()
    });
    let child = sleeper(&corner, corner.user, &["unshare", "-U", "sleep", "600"]);
    let id = corner.live.id();
    corner.ask(corner.user, &id, child.id() as i32, &[]).expect_code(0);
    let mut recorder = accept.join().unwrap();
    let state = corner.live.recorder(&id).unwrap();
    assert_eq!(state["recorder_pid"], json!(recorder.id()), "it is the recorder itself");
    corner.bin(corner.user, &["stop", &id]).expect_code(0);
    assert!(recorder.wait().unwrap().success());
    end(child);
    // Nobody listens any more: the container starts untraced, and the hook says why.
    let id = corner.live.id();
    let begun = Instant::now();
    let state = json!({ "id": id, "pid": 1, "bundle": "/none" }).to_string();
    let out = corner.bin_with(corner.user, &["hook", "start"], state.as_bytes()).expect_code(0);
    assert!(out.stderr.contains("the helper that records for users not found"), "{out:?}");
    assert!(begun.elapsed() < Duration::from_secs(2));
    let log = fs::read_to_string(corner.dir(corner.user).join("hook.log")).unwrap();
    assert!(log.contains("the helper that records for users"), "{log}");
}

#[test]
fn the_units_pass_systemd_analyze_and_name_options_that_there_are() {
    let test = "the_units_pass_systemd_analyze_and_name_options_that_there_are";
    if which("systemd-analyze").is_none() {
        return live::skip(test, "no systemd-analyze (Debian's package systemd)");
    }
    let Some(live) = Live::new(test, &[]) else { return };
    let units = Path::new(live::SOURCE).join("packaging/systemd");
    let names = ["ftrace-analyzer.socket", "ftrace-analyzer@.service"];
    let verify = |socket_mode: &str| {
        for name in names {
            let text = fs::read_to_string(units.join(name)).unwrap();
            let text = text.replace("/usr/bin/ftrace-analyzer", BIN).replace("SocketMode=0666", socket_mode);
            fs::write(live.path(name), text).unwrap();
        }
        let mut command = Command::new("systemd-analyze");
        command.args(["verify", "--man=no"]).args(names.map(|name| live.path(name))).env("SYSTEMD_LOG_COLOR", "0");
        let out = run(command, b"");
        let ours = out.stderr.lines().filter(|line| line.contains("ftrace-analyzer"));
        (out.code, ours.map(str::to_owned).collect::<Vec<String>>())
    };
    assert_eq!(verify("SocketMode=0666"), (0, Vec::new()));
    // It reads what is there.
    assert!(verify("SocketMod=0666").1.iter().any(|line| line.contains("SocketMod")));
    let text = fs::read_to_string(units.join(names[1])).unwrap();
    let words = text.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/bin/ftrace-analyzer ")).unwrap();
    let words: Vec<&str> = words.split(' ').chain(["--help"]).collect();
    live.bin(&words).expect_code(0);
}

#[test]
fn the_init_script_starts_and_stops_the_helper() {
    let test = "the_init_script_starts_and_stops_the_helper";
    let Some(live) = Live::new(test, &[]) else { return };
    let script = Path::new(live::SOURCE).join("packaging/sysv/ftrace-analyzer");
    let (socket, pid) = (live.path("socket"), live.path("pid"));
    let call = |what: &str| {
        let mut command = live.command("sh");
        command.arg(&script).arg(what).env("FTRACE_ANALYZER", BIN);
        command.env("FTRACE_ANALYZER_SOCKET", &socket).env("FTRACE_ANALYZER_PIDFILE", &pid);
        run(command, b"")
    };
    call("status").expect_code(3);
    call("start").expect_code(0);
    assert!(socket.exists());
    call("start").expect_code(0);
    assert!(call("status").expect_code(0).stdout.contains("running"));
    call("stop").expect_code(0);
    live.expect_nothing_left();
    call("status").expect_code(3);
    assert!(!socket.exists());
    call("frobnicate").expect_code(2);
}

#[test]
fn a_core_dump_of_a_users_container_is_the_users() {
    let Some(corner) = Corner::new("a_core_dump_of_a_users_container_is_the_users", &[]) else { return };
    let cores = cores::Cores::install(&corner.live, "core", &[]);
    let script = "sleep 0.3; sh -c 'cat /marked-here; kill -SEGV $$'; sleep 600";
    let (id, _) = corner.start_with(corner.user, &["sh", "-c", script], &["--mode", "flight"], &[]);
    let dir = corner.dir(corner.user).join("cores");
    let dumps = || {
        let mut all = entries(&dir);
        all.retain(|path| !path.file_name().unwrap().to_str().unwrap().starts_with('.'));
        all
    };
    let dump = wait_for("the dump", || dumps().pop());
    for path in entries(&dump).iter().chain([&dump]) {
        let file = path.symlink_metadata().unwrap();
        let rights = if file.is_dir() { 0o700 } else { 0o600 };
        assert_eq!((file.uid(), file.mode() & 0o7777), (corner.user, rights), "{}", path.display());
    }
    let about: Value = serde_json::from_slice(&fs::read(dump.join("core.json")).unwrap()).unwrap();
    assert_eq!(
        (&about["container"]["id"], &about["owner"], &about["problems"]),
        (&json!(id), &json!(corner.user), &json!([]))
    );
    // He sees it with its last calls; another one sees nothing, and root's own are none.
    let info = corner.bin(corner.user, &["core", "info"]).expect_code(0).stdout;
    assert!(info.contains("marked-here") && info.contains("SIGSEGV"), "{info}");
    assert!(!corner.bin(corner.other, &["core", "list"]).stdout.contains("SIGSEGV"));
    assert_eq!(cores.dumps(), Vec::<PathBuf>::new());
    drop(cores);
    corner.delete(corner.user, &id);
}
