// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Live: `--syscalls` and `--errors-only` while recording give what the same filter gives when reading an unfiltered
//! recording of the same program, from fewer events.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "common/live.rs"]
mod live;

use std::fs;
use std::path::Path;
use std::process::Command;

use ftrace_analyzer::arch::Arch;
use ftrace_analyzer::syscalls;
use live::{wait_for, Cc, Live, Runc, Work32};
use serde_json::{json, Value};

/// Opens, reads, fails, makes directories twice, and ends with 3.
const SCRIPT: &str = "cat /bin/sh >/dev/null; cat /nope /nope2; mkdir /tmp/x; mkdir /tmp/x; /nowhere; exit 3";

/// Runs the script in a container under a hook with these options; the recording's id.
fn record(live: &Live, args: &[&str], options: &[&str]) -> String {
    let id = live.id();
    let start: Vec<&str> = ["start", "--strict"].iter().chain(options).copied().collect();
    let hooks = json!({ "createRuntime": [live.hook(&start)], "poststop": [live.hook(&["stop"])] });
    live.run_container(Runc, &live.bundle_with(args, hooks), &id);
    live.expect_nothing_left();
    id
}

/// Task name, call and error of each call that a report shows, sorted: tasks run beside each other.
fn calls(live: &Live, id: &str, args: &[&str]) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let lines = live.report_json(id, args);
    assert_eq!(lines.last().unwrap()["events"]["balanced"], true);
    let calls = lines.iter().filter(|line| line["type"] == "call");
    let mut calls: Vec<_> =
        calls.map(|call| (text(&call["comm"]), text(&call["name"]), text(&call["errno"]))).collect();
    calls.sort();
    calls
}

fn decoded(live: &Live, id: &str) -> u64 {
    live.report_json(id, &[]).last().unwrap()["events"]["decoded"].as_u64().unwrap()
}

#[test]
fn a_container_recorded_with_a_filter_is_what_the_filter_shows_of_one_recorded_without() {
    let test = "a_container_recorded_with_a_filter_is_what_the_filter_shows_of_one_recorded_without";
    let Some(live) = Live::new(test, &[Runc]) else { return };
    let args = ["sh", "-c", SCRIPT];
    let whole = record(&live, &args, &[]);
    for options in [
        &["--syscalls", "open,openat,read"][..],
        &["--syscalls", "!read,write,%memory"],
        &["--syscalls", "%file,!execve"],
        &["--errors-only"],
        &["--errors-only", "--syscalls", "%file"],
    ] {
        let filtered = record(&live, &args, options);
        let (got, wanted) = (calls(&live, &filtered, &[]), calls(&live, &whole, options));
        assert!(!wanted.is_empty());
        assert_eq!(got, wanted, "{options:?}");
        // The runtime's own calls differ by some hundreds from start to start: what leaves out little proves nothing.
        let leaves_much = !options.iter().any(|option| option.starts_with('!'));
        assert!(!leaves_much || decoded(&live, &filtered) < decoded(&live, &whole), "{options:?}");
        let text = live.bin(&["report", &filtered]).expect_code(0).stdout;
        assert!(text.contains(&format!("# recorded with {}: ", options_text(options))), "{text}");
        assert!(text.contains("+++ exited with 3 +++"), "how tasks end is kept: {text}");
        assert!(!text.contains("kept back") && !text.contains("problem:"), "{text}");
        let summary = live.bin(&["report", &filtered, "--format", "summary"]).expect_code(0).stdout;
        assert!(
            summary.contains("# recorded with ") && summary.contains(&format!("; {} calls, ", got.len())),
            "{summary}"
        );
        let head = live.report_json(&filtered, &[]).remove(0);
        assert_eq!(head["errors_only"], options.contains(&"--errors-only"));
        assert_eq!(
            head["syscalls_recorded"],
            options.iter().find(|word| !word.starts_with("--")).map_or("", |list| list)
        );
    }
    let list = live.bin(&["list"]).expect_code(0).stdout;
    assert!(list.contains("  ONLY  ") && list.contains("  %file errors  "), "{list}");
}

/// As reports name them: the list first.
fn options_text(options: &[&str]) -> String {
    let list = options.iter().find(|word| !word.starts_with("--")).map(|list| format!("--syscalls {list}"));
    let errors = options.contains(&"--errors-only").then(|| "--errors-only".to_owned());
    list.into_iter().chain(errors).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_filter_takes_the_numbers_of_both_abis_and_shows_those_of_the_calls_own() {
    let Some(live) =
        Live::new("a_filter_takes_the_numbers_of_both_abis_and_shows_those_of_the_calls_own", &[Runc, Work32])
    else {
        return;
    };
    let args = ["/bin/work", "chain", "500000", "/bin/work32", "chain", "510000", "/bin/work", "chain", "520000"];
    let id = record(&live, &args, &["--syscalls", "getpgid"]);
    let lines = live.report_json(&id, &[]);
    let calls: Vec<&Value> = lines.iter().filter(|line| line["type"] == "call").collect();
    assert_eq!(calls.len(), 9, "{calls:?}");
    for call in calls {
        let mark = u64::from_str_radix(call["args"][0].as_str().unwrap().trim_start_matches("0x"), 16).unwrap();
        let native = mark / 10_000 % 2 == 0;
        assert_eq!((call["name"].as_str(), call["errno"].as_str()), (Some("getpgid"), Some("ESRCH")), "{call}");
        assert_eq!(matches!(call["abi"].as_str(), Some("x86_64" | "aarch64")), native, "{call}");
    }
}

#[test]
fn what_seccomp_refused_is_told_where_only_errors_are_recorded() {
    let Some(live) = Live::new("what_seccomp_refused_is_told_where_only_errors_are_recorded", &[Runc]) else { return };
    let hooks = json!({
        "createRuntime": [live.hook(&["start", "--strict", "--errors-only"])], "poststop": [live.hook(&["stop"])]
    });
    let bundle = live.bundle_with(&["mkdir", "/tmp/y"], hooks);
    let path = bundle.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1 }]
    });
    fs::write(&path, config.to_string()).unwrap();
    let id = live.id();
    live.run_container(Runc, &bundle, &id).expect_code(1);
    live.expect_nothing_left();
    let text = live.bin(&["report", &id]).expect_code(0).stdout;
    let refused =
        text.lines().find(|line| line.contains("refused by seccomp: EPERM")).unwrap_or_else(|| panic!("{text}"));
    assert!(refused.contains(" mkdir(...) = ?") || refused.contains(" mkdirat(...) = ?"), "{refused}");
}

#[test]
fn run_takes_the_longest_lists() {
    let Some(live) = Live::new("run_takes_the_longest_lists", &[]) else { return };
    let abi = Arch::from_machine(std::env::consts::ARCH).unwrap().native_abi();
    let names: Vec<&str> = syscalls::all(abi).map(|(_, name)| name).step_by(2).collect();
    let whole = live.bin(&["run", "-q", "--name", "whole", "--", "sh", "-c", "cat /nope; exit 3"]).expect_code(3);
    assert_eq!(whole.stderr.lines().count(), 1, "{}", whole.stderr);
    for list in [names.join(","), format!("!{}", names.join(","))] {
        let command = ["run", "-q", "--name", "long", "--syscalls", &list, "--", "sh", "-c", "cat /nope; exit 3"];
        let out = live.bin(&command).expect_code(3);
        assert!(!out.stderr.contains("filter"), "this kernel takes it: {}", out.stderr);
        assert_eq!(calls(&live, "long", &[]), calls(&live, "whole", &["--syscalls", &list]));
        for recording in live.recordings("sh") {
            if live.meta(&recording)["name"] == "long" {
                fs::remove_dir_all(recording).unwrap();
            }
        }
    }
    live.expect_nothing_left();
}

#[test]
fn a_wrong_list_is_a_usage_error_before_anything_happens() {
    let Some(live) = Live::new("a_wrong_list_is_a_usage_error_before_anything_happens", &[]) else { return };
    for (list, says, hint) in [
        ("openat,raed", "no system call \"raed\"", "did you mean read?"),
        ("%fiel", "no class of system calls \"%fiel\"", "did you mean %file?"),
        ("!%netwrok", "no class of system calls \"%netwrok\"", "did you mean %network?"),
    ] {
        let out = live.bin(&["run", "--syscalls", list, "--", "echo", "ran"]).expect_code(2);
        assert!(out.stderr.contains(says) && out.stderr.contains(hint), "{}", out.stderr);
        assert!(out.stdout.is_empty(), "the command did not run");
        let out = live.bin(&["attach", "--syscalls", list, "pid:1"]).expect_code(2);
        assert!(out.stderr.contains(hint), "{}", out.stderr);
    }
    assert!(live.recordings("echo").is_empty());
    live.expect_nothing_left();
}

#[test]
fn live_output_shows_a_failed_call_once_and_whole() {
    let Some(live) = Live::new("live_output_shows_a_failed_call_once_and_whole", &[Cc]) else { return };
    // wait4 blocks over many batches and is interrupted; sh's own children fail.
    let script = "sleep 0.7 & (sleep 0.4; kill -USR1 $$) & trap 'echo got' USR1; wait; cat /nope; exit 4";
    let out = live.bin(&["run", "--errors-only", "--", "sh", "-c", script]).expect_code(4);
    let lines: Vec<&str> = out.stderr.lines().filter(|line| line.starts_with("[pid ")).collect();
    assert!(!out.stderr.contains("unfinished") && !out.stderr.contains("resumed"), "{}", out.stderr);
    assert!(
        lines.iter().any(|line| line.contains(" = ? ERESTARTSYS") || line.contains(" = ? ERESTARTNOHAND")),
        "{lines:#?}"
    );
    let calls = lines.iter().filter(|line| line.contains("] ") && line.contains('(') && !line.contains(" --- "));
    for call in calls {
        assert!(call.contains(" = -1 E") || call.contains(" = ? E"), "{call}");
    }
    live.expect_nothing_left();
}

/// A library that makes every write of an event filter fail.
fn refusing_library(live: &Live) -> Option<String> {
    let source = live.path("refuse.c");
    let code = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
ssize_t write(int fd, const void *data, size_t size)
{
	char link[64], path[512] = "";
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	if (readlink(link, path, sizeof path - 1) > 0 && strstr(path, "/sys_exit/filter")) {
		errno = EINVAL;
		return -1;
	}
	return ((ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write"))(fd, data, size);
}
"#;
    fs::write(&source, code).unwrap();
    let library = live.path("refuse.so");
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).arg("-ldl");
    let made = cc.status().is_ok_and(|status| status.success());
    let dynamic = Path::new(live::BIN).exists() && option_env!("FTRACE_ANALYZER_BOARD").is_none();
    (made && dynamic).then(|| library.display().to_string())
}

#[test]
fn a_filter_that_the_kernel_refuses_is_applied_when_reading_and_said() {
    let test = "a_filter_that_the_kernel_refuses_is_applied_when_reading_and_said";
    let Some(live) = Live::new(test, &[Cc]) else { return };
    let Some(library) = refusing_library(&live) else {
        live::skip(test, "no library can be put before this program's");
        return;
    };
    let mut command = live.command(live::BIN);
    command.env("LD_PRELOAD", library);
    command.args(["run", "-q", "--syscalls", "openat", "--errors-only", "--", "cat", "/nope"]);
    let out = live::run(command, b"").expect_code(1);
    let said = "all calls are recorded and the filter is applied when reading";
    assert!(out.stderr.contains(&format!("ftrace-analyzer: {said}: ")), "{}", out.stderr);
    wait_for("the recording", || (live.recordings("cat").len() == 1).then_some(()));
    let report = live.bin(&["report", "cat"]).expect_code(0);
    assert!(report.stdout.contains(&format!("# problem: {said}: ")), "{}", report.stdout);
    let shown = calls(&live, "cat", &[]);
    assert!(!shown.is_empty());
    assert!(shown.iter().all(|(_, name, errno)| name == "openat" && errno == "ENOENT"), "{shown:?}");
    live.expect_nothing_left();
}
