// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Processes that die in what looks like a container: a control group of an engine's name, which is all that the handler has
//! of one that nobody records. And tests/common/hog.c, which dies.
#![allow(dead_code, clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

use super::live::{entries, wait_for, Live, BOARD, SOURCE};

/// The compiled tests/common/hog.c.
pub fn hog() -> &'static Path {
    static HOG: OnceLock<PathBuf> = OnceLock::new();
    HOG.get_or_init(|| {
        if BOARD {
            return "/board/hog".into();
        }
        // Where users reach it; made anew, so that it is ours.
        let program = std::env::temp_dir().join("ftrace-analyzer-hog");
        let fresh = program.with_extension(std::process::id().to_string());
        let source = Path::new(SOURCE).join("tests/common/hog.c");
        let status = Command::new("cc").args(["-static", "-O1", "-o"]).arg(&fresh).arg(source).status().unwrap();
        assert!(status.success());
        fs::rename(fresh, &program).unwrap();
        program
    })
}

/// A control group.
pub struct Group {
    dir: PathBuf,
    /// As engines call containers.
    pub id: String,
}

impl Group {
    /// That of a container of Docker's.
    pub fn docker() -> Group {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(1);
        let next = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let id = format!("{:032x}{next:032x}", std::process::id());
        Group::named(&format!("docker-{id}.scope"), &id)
    }

    /// One with any name.
    pub fn named(name: &str, id: &str) -> Group {
        let bases = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"];
        let base = bases.iter().find(|base| Path::new(base).join("cgroup.procs").exists()).unwrap();
        let dir = Path::new(base).join(name);
        fs::create_dir(&dir).unwrap();
        Group { dir, id: id.to_owned() }
    }

    /// A program in it, as a user, with the words of a program before it where it needs one.
    pub fn command(&self, user: u32, words: &[&str]) -> Command {
        let mut command = Command::new("sh");
        let script = "echo $$ >\"$1/cgroup.procs\"; user=$2; shift 2; ulimit -c unlimited\n\
                      [ \"$user\" -ne 0 ] || exec \"$@\"\n\
                      exec setpriv --reuid \"$user\" --regid \"$user\" --clear-groups \"$@\"";
        command.args(["-c", script, "sh"]).arg(&self.dir).arg(user.to_string()).args(words).current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// The same to its end.
    pub fn run(&self, user: u32, words: &[&str]) -> ExitStatus {
        self.command(user, words).status().unwrap()
    }

    /// tests/common/hog.c as root.
    pub fn hog(&self, words: &[&str]) -> ExitStatus {
        self.run(0, &[&[hog().to_str().unwrap()], words].concat())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for _ in 0..200 {
            for pid in fs::read_to_string(self.dir.join("cgroup.procs")).unwrap_or_default().lines() {
                let _ = Command::new("kill").args(["-9", pid]).stderr(Stdio::null()).status();
            }
            if fs::remove_dir(&self.dir).is_ok() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

/// What is known of a dump.
pub fn about(dump: &Path) -> Value {
    serde_json::from_slice(&fs::read(dump.join("core.json")).unwrap()).unwrap()
}

/// The handlers that run.
pub fn handlers(live: &Live) -> Vec<i32> {
    let run = live.path("run").display().to_string();
    let pids = entries(Path::new("/proc")).into_iter().filter_map(|path| path.file_name()?.to_str()?.parse().ok());
    pids.filter(|pid: &i32| {
        let has = |file, text: &str| {
            fs::read(format!("/proc/{pid}/{file}"))
                .is_ok_and(|bytes| String::from_utf8_lossy(&bytes).replace('\0', " ").contains(text))
        };
        has("cmdline", " core handle ") && has("environ", &run)
    })
    .collect()
}

/// Waits until no handler runs any more.
pub fn wait_for_handlers(live: &Live) {
    wait_for("the end of all handlers", || handlers(live).is_empty().then_some(()));
}

/// A script that the kernel may start.
pub fn script(live: &Live, name: &str, text: &str) -> PathBuf {
    let path = live.path(name);
    fs::write(&path, format!("#!/bin/sh\nexport PATH=/usr/sbin:/usr/bin:/sbin:/bin\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}
