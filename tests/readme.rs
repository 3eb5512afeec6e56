// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The README's container session is run as it stands, with the binary under test in place of the release build.

#![allow(clippy::expect_used, clippy::print_stderr)] // a test that can not be set up has failed

use std::process::Command;

fn have(program: &str) -> bool {
    Command::new("sh").args(["-c", &format!("command -v {program}")]).output().is_ok_and(|done| done.status.success())
}

/// Names a test that can not run here, as `tests/run` collects them.
fn skip(test: &str, reason: &str) {
    use std::io::Write;
    let line = format!("SKIPPED readme::{test}: {reason}\n");
    eprint!("{line}");
    if let Some(path) = std::env::var_os("FTRACE_ANALYZER_SKIP_LOG") {
        let log = std::fs::OpenOptions::new().append(true).create(true).open(path);
        log.and_then(|mut log| log.write_all(line.as_bytes())).expect("the skip log can be written");
    }
}

#[test]
fn the_container_session_of_the_readme_works_as_written() {
    let test = "the_container_session_of_the_readme_works_as_written";
    if !nix::unistd::geteuid().is_root() {
        return skip(test, "not root");
    }
    if !have("runc") || !std::path::Path::new("/bin/busybox").exists() {
        return skip(test, "runc or busybox-static is not installed");
    }
    if !std::fs::read_to_string("/proc/mounts").is_ok_and(|mounts| mounts.contains(" tracefs ")) {
        return skip(test, "tracefs is not mounted");
    }
    let readme = include_str!("../README.md");
    let block = readme.split("<!-- tests/readme.rs runs this block -->\n```sh\n").nth(1).expect("the block is there");
    let block = block.split("```").next().expect("the block ends");
    let (install, session) = block.split_once('\n').expect("the first line installs");
    assert!(install.starts_with("apt-get install"), "{install}");
    let binary = env!("CARGO_BIN_EXE_ftrace-analyzer");
    let id = format!("readme-demo-{}", std::process::id());
    let session = session.replace("$PWD/target/release/ftrace-analyzer", binary).replace("readme-demo", &id);
    let dir = std::env::temp_dir().join(&id);
    std::fs::create_dir(&dir).expect("a directory for the session");
    let done = Command::new("timeout")
        .args(["60", "sh", "-euc", &session])
        .current_dir(&dir)
        .env("FTRACE_ANALYZER_DIR", dir.join("recordings"))
        .output()
        .expect("sh runs");
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let errors = String::from_utf8_lossy(&done.stderr).into_owned();
    std::fs::remove_dir_all(&dir).expect("the session's directory goes");
    assert!(done.status.success(), "{:?}\n{text}\n{errors}", done.status);
    assert!(text.starts_with("./config.json: written\nbin\ndev\nproc\nsys\n"), "{text}");
    assert!(text.lines().any(|line| line.contains("execve(") && line.contains(" = 0 <")), "{text}");
    assert!(text.contains("getdents64(") && text.contains("+++ exited with 0 +++"), "{text}");
    assert!(text.contains("they add up"), "{text}");
    assert!(
        text.contains("no refused calls in ") && text.ends_with("; the container had a seccomp profile\n"),
        "{text}"
    );
}
