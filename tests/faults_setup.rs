// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A system on which tracing cannot be set up never keeps a container from starting; what was made is undone.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::process::Command;
use std::time::Duration;

#[path = "common/faults.rs"]
mod faults;
use faults::{can_trace, finish, has, private_dir, Case, Process, BIN};

const PATIENCE: Duration = Duration::from_secs(30);

/// `hook start` behind a shell script that spoils the system in a mount namespace of its own; `$T` is /sys/kernel/tracing,
/// `$R` the test's directory.
fn spoilt(case: &Case, script: &str, options: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    let text = format!("set -e; T=/sys/kernel/tracing; R='{}'; {script}; exec \"$0\" \"$@\"", case.root.display());
    command.args(["-m", "--propagation", "private", "sh", "-c", &text, BIN, "hook", "start"]).args(options);
    command.env("FTRACE_ANALYZER_DIR", &case.dir).env("FTRACE_ANALYZER_RUN_DIR", &case.run);
    command
}

/// The hook fails, forgiving and strict, and says `words` each time.
fn fails(case: &Case, script: &str, options: &[&str], words: &[&str]) {
    let process = Process::idle();
    for strict in [false, true] {
        let before = case.log().lines().count();
        let options = [options, if strict { &["--strict"][..] } else { &[] }].concat();
        let said = finish(spoilt(case, script, &options), &case.state(process.pid()), PATIENCE);
        assert_eq!(said.code == Some(0), !strict, "{script}: {said:?}");
        let log = case.log();
        let new: Vec<&str> = log.lines().skip(before).collect();
        assert_eq!(new.len(), 1, "{script}: {new:?}, {said:?}");
        for word in [&[case.id.as_str(), "is not traced"], words].concat() {
            assert!(new[0].contains(word), "no {word:?} in {:?}", new[0]);
        }
    }
    assert!(case.states().is_empty() && case.instances().is_empty(), "{script}: something is left");
}

#[test]
fn without_tracefs_the_container_starts_and_the_log_says_why() {
    if !can_trace("without_tracefs_the_container_starts_and_the_log_says_why") {
        return;
    }
    let case = Case::new("notracefs");
    let words = ["this system lacks tracefs", "hint: build the kernel with CONFIG_FTRACE"];
    fails(&case, "mount -t tmpfs none /sys/kernel", &[], &words);
    // The directory is there, and mounting is forbidden.
    let script = "umount $T; exec setpriv --bounding-set -sys_admin --inh-caps -sys_admin -- \"$0\" \"$@\"";
    fails(&case, script, &[], &["no permission for /sys/kernel/tracing", "mount -t tracefs tracefs"]);
    assert!(case.recordings().is_empty());
}

#[test]
fn a_tracefs_that_is_not_mounted_is_mounted_and_used() {
    if !can_trace("a_tracefs_that_is_not_mounted_is_mounted_and_used") {
        return;
    }
    let case = Case::new("mounts");
    let process = Process::idle();
    let script = "umount $T; test ! -d $T/instances";
    let said = finish(spoilt(&case, script, &["--strict"]), &case.state(process.pid()), PATIENCE);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{}", case.log());
    drop(process);
    case.assert_clean();
    assert_eq!(case.report("text").code, Some(0));
}

#[test]
fn an_instance_that_cannot_be_made_is_named_and_forgiven() {
    if !can_trace("an_instance_that_cannot_be_made_is_named_and_forgiven") {
        return;
    }
    let case = Case::new("instance");
    let read_only = "mount --bind $T/instances $T/instances; mount -o remount,bind,ro $T/instances";
    fails(&case, read_only, &[], &["create /sys/kernel/tracing/instances/ftrace-analyzer-", "Read-only file system"]);
    // A directory that takes no more instances (ENOSPC) and one that others filled with that name cannot be had on demand.
    fails(&case, "mount -t tmpfs -o nr_inodes=1 none $T/instances", &[], &["No space left on device"]);
    assert!(case.recordings().is_empty());
}

#[test]
fn without_root_the_container_starts_and_the_log_says_why() {
    let test = "without_root_the_container_starts_and_the_log_says_why";
    if !can_trace(test) || !has(test, "setpriv") {
        return;
    }
    let case = Case::new("nobody");
    fs::set_permissions(&case.root, PermissionsExt::from_mode(0o755)).unwrap();
    for dir in [&case.dir, &case.run] {
        std::os::unix::fs::chown(dir, Some(65534), Some(65534)).unwrap();
    }
    // The build directory may be closed to others.
    let program = case.root.join("program");
    fs::copy(BIN, &program).unwrap();
    let script = "P=$R/program; exec setpriv --reuid 65534 --regid 65534 --clear-groups -- \"$P\" \"$@\"";
    fails(&case, script, &[], &["no permission for /sys/kernel/tracing", "hint: run as root"]);
    assert!(case.recordings().is_empty());
}

#[test]
fn buffers_that_the_memory_cannot_hold_are_refused_before_they_are_made() {
    if !can_trace("buffers_that_the_memory_cannot_hold_are_refused_before_they_are_made") {
        return;
    }
    let case = Case::new("memory");
    // Refused by our own sum: nothing is asked of the kernel. A terabyte a CPU.
    let words = ["1073741824 KiB of buffer on each of", "the limit is", "hint: half of what is free", "or less"];
    fails(&case, ":", &["--buffer-size-kb", "1073741824"], &words);
    assert!(case.recordings().is_empty());
}

#[test]
fn a_directory_that_cannot_hold_recordings_is_named_and_forgiven() {
    if !can_trace("a_directory_that_cannot_hold_recordings_is_named_and_forgiven") {
        return;
    }
    let case = Case::new("dir");
    let dir = case.dir.display().to_string();
    fails(&case, "mount --bind $R/dir $R/dir; mount -o remount,bind,ro $R/dir", &[], &[&dir, "Read-only file system"]);
    fails(&case, "mount -t tmpfs -o size=4k,mode=700 none $R/dir", &[], &[&dir, "No space left on device"]);
    let other = |name: &str| case.root.join(name);
    fs::write(other("file"), "").unwrap();
    private_dir(&other("open"));
    fs::set_permissions(other("open"), PermissionsExt::from_mode(0o777)).unwrap();
    private_dir(&other("foreign"));
    std::os::unix::fs::chown(other("foreign"), Some(65534), None).unwrap();
    symlink(&case.dir, other("link")).unwrap();
    symlink("/nowhere/at/all", other("dangling")).unwrap();
    for (name, words) in [
        ("file", "File exists"),
        ("open", "can be written by others (hint: name a directory of your own, or chmod go-w it"),
        ("foreign", "belongs to user 65534"),
        ("link", "is not a directory"),
        ("dangling", "File exists"),
        ("file/below", "Not a directory"),
    ] {
        let path = other(name).display().to_string();
        fails(&case, ":", &["--dir", &path], &[&path, words]);
    }
    fails(&case, ":", &["--dir", "relative"], &["--dir relative is not an absolute path"]);
    assert!(case.recordings().is_empty());
    assert!(fs::read_dir(other("open")).unwrap().next().is_none());
}

#[test]
fn a_container_of_a_real_runtime_runs_though_its_hooks_fail() {
    let test = "a_container_of_a_real_runtime_runs_though_its_hooks_fail";
    if !can_trace(test) || !has(test, "runc") || !has(test, "busybox") {
        return;
    }
    let case = Case::new("runc");
    let bundle = case.root.join("bundle");
    fs::create_dir_all(bundle.join("rootfs/bin")).unwrap();
    fs::copy("/bin/busybox", bundle.join("rootfs/bin/sh")).unwrap();
    let spec = Command::new("runc").arg("spec").current_dir(&bundle).status().unwrap();
    assert!(spec.success());
    let config = fs::read_to_string(bundle.join("config.json")).unwrap();
    let run = |strict: &str, status: i32| {
        let hook = |verb: &str, strict: &str| {
            format!(
                "[{{\"path\":\"{BIN}\",\"args\":[\"ftrace-analyzer\",\"hook\",\"{verb}\",\"--dir\",\"/proc/no\"{strict}],\
                 \"env\":[\"FTRACE_ANALYZER_RUN_DIR={}\"]}}]",
                case.run.display()
            )
        };
        let hooks =
            format!("\"hooks\":{{\"createRuntime\":{},\"poststop\":{}}},", hook("start", strict), hook("stop", ""));
        let ours = config
            .replacen('{', &format!("{{{hooks}"), 1)
            .replace("\"terminal\": true", "\"terminal\": false")
            .replace("\"sh\"\n", &format!("\"sh\",\"-c\",\"exit {status}\"\n"));
        fs::write(bundle.join("config.json"), ours).unwrap();
        let mut command = Command::new("runc");
        let root = case.root.join("runc");
        command.args(["--root", root.to_str().unwrap(), "run", "-b", bundle.to_str().unwrap(), &case.id]);
        finish(command, b"", PATIENCE)
    };
    let said = run("", 37);
    assert_eq!(said.code, Some(37), "{said:?} {}", case.log());
    assert!(case.log().contains("is not traced") && case.log().contains("/proc/no"), "{}", case.log());
    let said = run(",\"--strict\"", 38);
    assert_ne!(said.code, Some(38), "strict hooks keep it from starting");
    assert_ne!(said.code, Some(0));
    assert!(said.err.contains("/proc/no"), "{said:?}");
    assert!(case.states().is_empty() && case.instances().is_empty());
}
