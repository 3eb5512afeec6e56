// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Live: who has core_pattern: `core install`, `uninstall` and `status` on this machine's kernel.
#![allow(clippy::unwrap_used)]

#[path = "common/cores.rs"]
mod cores;
#[path = "common/live.rs"]
mod live;

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{chown, PermissionsExt};
use std::path::Path;

use cores::{stand_in, Cores, Sysctl, LIMIT, PATTERN};
use live::{run, Live, Out};
use serde_json::{json, Value};

fn now(name: &str) -> String {
    fs::read_to_string(Path::new("/proc/sys").join(name)).unwrap().trim_end_matches('\n').to_owned()
}

/// core_pattern and core_pipe_limit as they are.
fn both() -> [String; 2] {
    [now(PATTERN), now(LIMIT)]
}

/// `core install --binary PROGRAM OPTIONS`.
#[track_caller]
fn install(live: &Live, program: &Path, options: &[&str]) -> Out {
    live.bin(&[&["core", "install", "--binary", program.to_str().unwrap()], options].concat())
}

#[track_caller]
fn status(live: &Live, code: i32) -> Value {
    live.bin(&["core", "status", "--json"]).expect_code(code).json().remove(0)
}

/// Checks that `install` fails with this code, words in the error and a hint, and changes nothing.
#[track_caller]
fn refused(live: &Live, program: &Path, options: &[&str], code: i32, told: &str, hint: &str) {
    let before = both();
    let out = install(live, program, options).expect_code(code);
    assert!(out.stderr.contains(told), "{told}: {}", out.stderr);
    assert!(out.stderr.contains(&format!("hint: {hint}")), "{hint}: {}", out.stderr);
    assert_eq!(both(), before, "{options:?}");
    assert!(!live.path("run/core.json").exists(), "{options:?}");
}

#[test]
fn what_was_there_is_given_back_and_who_came_after_us_stays() {
    let Some(live) = Live::alone("what_was_there_is_given_back_and_who_came_after_us_stays", &[]) else { return };
    let _machine = Sysctl::set(&[(PATTERN, "/var/crash/core.%e.%p"), (LIMIT, "3")]);
    let before = both();
    let program = stand_in(&live);
    let quiet = status(&live, 0);
    assert_eq!((&quiet["schema"], &quiet["owner"], &quiet["installed"]), (&json!(1), &json!("nobody"), &json!(false)));
    let told = install(&live, &program, &[]).expect_code(0).stdout;
    assert!(told.contains("it was /var/crash/core.%e.%p\n"), "{told}");
    let ours = format!("|{} core handle %P %I %s %t %u %g %d %c %F %C", program.display());
    assert_eq!(both(), [&*ours, "128"]);
    // By a script in the background, which has SIGQUIT ignored; the trial dies by that.
    let mut command = live.command("sh");
    command
        .args(["-c", "trap '' HUP INT QUIT; exec \"$@\"", "sh", live::BIN, "core", "install", "--binary"])
        .arg(&program);
    live::run(command, b"").expect_code(0);
    // Again, with other options: what was before stays what is given back.
    install(&live, &program, &["--keep", "3", "--max-age", "2d", "--environment", "--copy-to", "var/crash"])
        .expect_code(0);
    let found = status(&live, 0);
    assert_eq!(
        (&found["owner"], &found["changed"], &found["persistent"]),
        (&json!("ours"), &json!(false), &json!(false))
    );
    let settings = &found["settings"];
    assert_eq!((&settings["previous"], &settings["previous_pipe_limit"]), (&json!(before[0]), &json!(3)));
    assert_eq!((&settings["keep"], &settings["max_age_s"]), (&json!(3), &json!(172_800)));
    assert_eq!((&settings["environment"], &settings["copy_to"]), (&json!(true), &json!("var/crash")));
    assert_eq!((&found["problems"], &found["dumps"]), (&json!([]), &json!(0)));
    // Kernels that tell their ways know pidfds, too: 6.16 and 6.17.
    if found["kernel_modes"].as_array().is_some_and(|modes| !modes.is_empty()) {
        assert_eq!(found["pidfd"], "yes");
    }
    let text = live.bin(&["core", "status"]).expect_code(0).stdout;
    for row in
        [&*format!("core_pattern      {ours} (ours)\n"), "before            /var/crash/core.%e.%p, core_pipe_limit 3\n"]
    {
        assert!(text.contains(row), "{row}: {text}");
    }
    let text = live.bin(&["doctor"]).stdout;
    assert!(text.contains("info     core dumps of containers are kept in "), "{text}");
    live.bin(&["core", "uninstall"]).expect_code(0);
    assert_eq!((both(), live.path("run/core.json").exists()), (before.clone(), false));
    assert!(live.path("recordings/cores").is_dir(), "dumps stay");
    live.bin(&["core", "uninstall"]).expect_code(0);
    assert_eq!(both(), before, "a second time there is nothing to do");

    // Somebody else takes it: that is told, and he keeps it.
    install(&live, &program, &[]).expect_code(0);
    let _other = Sysctl::set(&[(PATTERN, "|/tmp/evil core handle"), (LIMIT, "7")]);
    let found = status(&live, 1);
    assert_eq!((&found["changed"], &found["owner"]), (&json!(true), &json!("ours")));
    assert!(found["problems"][0].as_str().unwrap().contains("|/tmp/evil core handle and was installed as |"));
    assert!(found["problems"].to_string().contains("/tmp/evil not found"), "{found}");
    fs::write("/proc/sys/kernel/core_pattern", "|/bin/false").unwrap();
    assert_eq!(status(&live, 1)["owner"], "other");
    let text = live.bin(&["doctor"]).stdout;
    assert!(
        text.contains("less     core dumps: core_pattern was changed since core install, to |/bin/false\n"),
        "{text}"
    );
    let told = live.bin(&["core", "uninstall"]).expect_code(0).stdout;
    assert_eq!(told, "core_pattern is |/bin/false, which is not of ours and stays\n");
    assert_eq!((both(), live.path("run/core.json").exists()), (["|/bin/false".into(), "7".into()], false));
}

#[test]
fn another_handler_is_replaced_with_force_alone() {
    let Some(live) = Live::alone("another_handler_is_replaced_with_force_alone", &[]) else { return };
    let program = stand_in(&live);
    for (other, hint) in [
        (
            "|/usr/lib/systemd/systemd-coredump %P %u",
            "--force takes its place: dumps that are not of containers are then",
        ),
        ("|/bin/false", "--force takes its place"),
        ("@/run/some.socket", "--force takes its place: who listens there can not be handed"),
    ] {
        let _machine = Sysctl::set(&[(PATTERN, other), (LIMIT, "5")]);
        refused(&live, &program, &[], 1, &format!("core dumps are handled already, by {other}"), hint);
        install(&live, &program, &["--force"]).expect_code(0);
        // Ours needs no force.
        install(&live, &program, &[]).expect_code(0);
        live.bin(&["core", "uninstall"]).expect_code(0);
        assert_eq!(both(), [other, "5"]);
    }
    // Ours of which nothing is written down.
    let _machine = Sysctl::set(&[(PATTERN, &format!("|{} core handle %P", program.display()))]);
    let found = status(&live, 1);
    assert!(found["problems"][0].as_str().unwrap().starts_with("nothing is written down of core install"), "{found}");
    let out = live.bin(&["core", "uninstall"]).expect_code(0);
    assert_eq!(
        (both(), out.stderr.contains("what was there before is not known")),
        (["core".into(), "0".into()], true)
    );
}

#[test]
fn who_could_make_himself_root_by_it_is_not_installed() {
    let Some(live) = Live::alone("who_could_make_himself_root_by_it_is_not_installed", &[]) else { return };
    let _machine = Sysctl::set(&[(PATTERN, "core"), (LIMIT, "0")]);
    let program = stand_in(&live);
    let hint = "a program that others can change makes them root";
    let (told, options) = (program.display(), ["--force"]);
    fs::set_permissions(&program, Permissions::from_mode(0o777)).unwrap();
    refused(&live, &program, &options, 1, &format!("{told} can be written by everybody"), hint);
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    chown(&program, Some(1234), None).unwrap();
    refused(&live, &program, &options, 1, &format!("{told} belongs to user 1234"), hint);
    chown(&program, Some(0), None).unwrap();
    fs::set_permissions(live.path(""), Permissions::from_mode(0o777)).unwrap();
    let base = live.path("x").parent().unwrap().to_owned();
    refused(&live, &program, &options, 1, &format!("{} can be written by everybody", base.display()), hint);
    fs::set_permissions(live.path(""), Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o644)).unwrap();
    let out = install(&live, &program, &options).expect_code(1);
    assert!(out.stderr.contains("is no program that can be executed"), "{}", out.stderr);
    refused(&live, &live.path("none"), &options, 1, "none not found", "--binary names the program");
    refused(&live, Path::new("fa"), &options, 2, "the kernel can not start fa", "it takes an absolute path");
    refused(&live, Path::new("/bin/with blank"), &options, 2, "the kernel can not start", "it takes an absolute path");
    let long = format!("/{}", "x".repeat(90));
    refused(&live, Path::new(&long), &options, 1, "the limit is 127", "a shorter path, or a link to it, fits");
    // One that the kernel starts, but which is not this program.
    fs::copy("/bin/true", &program).unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    refused(&live, &program, &options, 1, &format!("the kernel did not start {told}"), "dmesg may tell why");
    // One that becomes unsafe later is told.
    let program = stand_in(&live);
    install(&live, &program, &[]).expect_code(0);
    fs::set_permissions(&program, Permissions::from_mode(0o775)).unwrap();
    chown(&program, None, Some(1234)).unwrap();
    let found = status(&live, 1);
    let told = format!("the handler: {} can be written by group 1234", program.display());
    assert_eq!(found["problems"], json!([told]));
    let _uses = Sysctl::set(&[("fs/suid_dumpable", "1"), (LIMIT, "0")]);
    let found = status(&live, 1)["problems"].to_string();
    for problem in ["core_pipe_limit is 0", "fs.suid_dumpable is 1"] {
        assert!(found.contains(problem), "{found}");
    }
    live.bin(&["core", "uninstall"]).expect_code(0);
}

#[test]
fn what_would_fail_with_the_first_dump_fails_at_once() {
    let Some(live) = Live::alone("what_would_fail_with_the_first_dump_fails_at_once", &[]) else { return };
    let _machine = Sysctl::set(&[(PATTERN, "core"), (LIMIT, "0")]);
    let program = stand_in(&live);
    let open = live.path("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
    let dir = |path: &str| ["--dir".to_owned(), path.to_owned()];
    for (path, code, told, hint) in [
        ("/proc/sys/none", 1, "/proc/sys/none", "--dir names a directory on a file system that can be written"),
        (open.to_str().unwrap(), 1, "open can be written by everybody", "who can change it could lead dumps astray"),
        (program.to_str().unwrap(), 1, "fa", "--dir names a directory"),
    ] {
        let words = dir(path);
        refused(&live, &program, &[&words[0], &words[1]], code, told, hint);
    }
    let words = dir("relative");
    let out = install(&live, &program, &[&words[0], &words[1]]).expect_code(2);
    assert!(out.stderr.contains("relative is not an absolute path"), "{}", out.stderr);
    for (options, told) in [
        (&["--max-size", "10X"][..], "--max-size: \"10X\" is not a size"),
        (
            &["--max-container", "10M", "--max-size", "11M"],
            "--max-size: \"11M\" is more than what --max-container leaves",
        ),
        (
            &["--max-total", "10M", "--max-container", "0"],
            "--max-container: \"0\" is more than what --max-total leaves",
        ),
        (&["--keep", "-1"], "--keep: \"-1\" is not a number of dumps"),
        (&["--keep", "4294967296"], "--keep: \"4294967296\" is not a number of dumps"),
        (&["--keep-free", "1/2"], "--keep-free: \"1/2\" is not a size"),
        (&["--max-age", "1y"], "--max-age: \"1y\" is not a time"),
        (&["--copy-to", "/abs"], "--copy-to: \"/abs\" is not a path below the bundle"),
        (&["--copy-to", "a/../b"], "--copy-to: \"a/../b\" is not a path below the bundle"),
        (&["--copy-to", ""], "--copy-to: \"\" is not a path below the bundle"),
        (&["--copy-to", "a/"], "--copy-to: \"a/\" is not a path below the bundle"),
    ] {
        refused(&live, &program, options, 2, told, "--help tells what there is");
    }
    // Smaller limits of all make the others fit, and no limit is one.
    install(&live, &program, &["--max-total", "10M"]).expect_code(0);
    let settings = status(&live, 0)["settings"].clone();
    assert_eq!((&settings["max_dump"], &settings["max_container"]), (&json!(10 << 20), &json!(10 << 20)));
    let none = ["--max-total", "0", "--max-container", "0", "--max-size", "0", "--keep", "0", "--keep-free", "0"];
    install(&live, &program, &none).expect_code(0);
    let text = live.bin(&["core", "status"]).expect_code(0).stdout;
    assert!(text.contains("all               no limit, stay free: 0 B\n"), "{text}");
    // Two at once: the second is told.
    let lock = File::open(live.path("run/core.lock")).unwrap();
    let lock = nix::fcntl::Flock::lock(lock, nix::fcntl::FlockArg::LockExclusive).unwrap();
    for words in [&["core", "uninstall"][..], &["core", "install"]] {
        let out = live.bin(words).expect_code(1);
        assert!(out.stderr.contains("somebody else installs or uninstalls right now"), "{}", out.stderr);
    }
    drop(lock);
    live.bin(&["core", "uninstall"]).expect_code(0);
}

#[test]
fn what_is_to_last_is_written_where_the_next_start_finds_it() {
    let Some(live) = Live::alone("what_is_to_last_is_written_where_the_next_start_finds_it", &[]) else { return };
    let _machine = Sysctl::set(&[(PATTERN, "core.%p"), (LIMIT, "2")]);
    let program = stand_in(&live);
    // A directory /etc of the test's own.
    let inside = |script: &str| {
        let mut command = live.command("unshare");
        let script = format!("mount -t tmpfs none /etc; fa={}; {script}", live::BIN);
        command.args(["-m", "sh", "-ec", &script, "sh", program.to_str().unwrap()]);
        run(command, b"")
    };
    let install = "$fa core install --binary $1";
    let file = "/etc/sysctl.d/60-ftrace-analyzer-core.conf";
    let out = inside(&format!(
        "{install} --persistent; cat {file}; cat {file} >/proc/self/fd/1; stat -c %a {file} /etc/ftrace-analyzer/core.json; \
         rm $FTRACE_ANALYZER_RUN_DIR/core.json; $fa core status --json; $fa core uninstall; \
         find /etc -type f"
    ))
    .expect_code(0);
    let ours = format!("|{} core handle %P %I %s %t %u %g %d %c %F %C", program.display());
    let lines = format!("\nkernel.core_pipe_limit = 128\nkernel.core_pattern = {ours}\n");
    assert!(out.stdout.contains(&lines) && out.stdout.contains("\n644\n600\n"), "{}", out.stdout);
    // At the next start there is no run directory: what lies in /etc counts.
    let found = out.stdout.lines().find_map(|line| serde_json::from_str::<Value>(line).ok().filter(Value::is_object));
    let found = found.unwrap();
    assert_eq!((&found["persistent"], &found["settings"]["previous"]), (&json!(true), &json!("core.%p")));
    assert_eq!((both(), out.stdout.ends_with("core_pattern is core.%p\n")), (["core.%p".into(), "2".into()], true));
    // Once it is to last, other options do, too; another file of that name is somebody's.
    let out = inside(&format!(
        "{install} --persistent; {install} --keep 5; grep -c '\"keep\":5,' /etc/ftrace-analyzer/core.json; \
         mkdir -p /run/sysctl.d; echo kernel.core_pattern=core >/etc/sysctl.d/99-x.conf; $fa core status || echo $?; \
         rm /etc/sysctl.d/99-x.conf; echo mine >{file}; $fa core uninstall; cat {file}; \
         {install} --persistent || echo $?; $fa core status"
    ));
    let out = out.expect_code(0);
    for told in [
        "\n1\n",
        "problem           /etc/sysctl.d/99-x.conf comes after ours and sets core_pattern, too\n1\n",
        "core_pattern is core.%p\nmine\n1\ncore_pattern      core.%p (files)\n",
    ] {
        assert!(out.stdout.contains(told), "{told}: {}", out.stdout);
    }
    assert!(out.stderr.contains(&format!("{file} is there and not of ours")), "{}", out.stderr);
    // What can not be written is told before anything is taken.
    let out = inside(&format!("mount -o remount,ro /etc; {install} --persistent || echo $?; $fa core status"));
    let out = out.expect_code(0);
    assert!(out.stdout.starts_with("1\ncore_pattern      core.%p (files)\n"), "{}", out.stdout);
    assert!(out.stderr.contains("Read-only file system\n"), "{}", out.stderr);
    assert!(out.stderr.contains("hint: without --persistent it holds until"), "{}", out.stderr);
    assert_eq!((both(), live.path("run/core.json").exists()), (["core.%p".into(), "2".into()], false));
}

#[test]
fn a_kernel_without_core_dumps_and_a_user_are_told_what_they_lack() {
    let test = "a_kernel_without_core_dumps_and_a_user_are_told_what_they_lack";
    let Some(live) = Live::alone(test, &[]) else { return };
    let _machine = Sysctl::set(&[(PATTERN, "core")]);
    let cores = Cores::install(&live, "core", &[]);
    // As a kernel without CONFIG_COREDUMP: its files are not there.
    let script = format!(
        "mount -t tmpfs none /proc/sys/kernel; for v in install uninstall status; do {} core $v; echo $?; done",
        live::BIN
    );
    let mut command = live.command("unshare");
    command.args(["-m", "sh", "-c", &script]);
    let out = run(command, b"");
    assert_eq!(out.stdout, "3\n3\n3\n", "{}", out.stderr);
    assert_eq!(out.stderr.matches("this system lacks core dumps\n").count(), 3, "{}", out.stderr);
    assert_eq!(out.stderr.matches("hint: build the kernel with CONFIG_COREDUMP=y\n").count(), 3, "{}", out.stderr);
    fs::set_permissions(live.path(""), Permissions::from_mode(0o711)).unwrap();
    let binary = live.path("copy");
    fs::copy(live::BIN, &binary).unwrap();
    let before = both();
    for (verb, code) in [("install", 1), ("uninstall", 1), ("status", 0)] {
        let mut command = live.command("setpriv");
        command.args(["--reuid", "1234", "--regid", "1234", "--clear-groups"]).arg(&binary).args(["core", verb]);
        command.current_dir("/");
        let out = run(command, b"").expect_code(code);
        let told = out.stderr.contains("no permission for core_pattern, which is root's\n");
        assert_eq!((told, out.stderr.contains("hint: run it as root\n")), (code == 1, code == 1), "{}", out.stderr);
    }
    assert_eq!(both(), before);
    // What is written down is root's: he is told who has core_pattern.
    let mut command = live.command("setpriv");
    command.args(["--reuid", "1234", "--clear-groups"]).arg(&binary).args(["core", "status"]).current_dir("/");
    let out = run(command, b"").expect_code(0);
    assert!(out.stdout.contains(" (ours)\n") && !out.stdout.contains("installed as"), "{}", out.stdout);
    drop(cores);
}
