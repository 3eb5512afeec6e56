// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Live: what `--data N` tells of buffers and socket addresses, what it keeps to itself, and that nothing of any buffer is
//! recorded without it. On a kernel without probes of functions it tells nothing, and says so.
#![allow(clippy::unwrap_used)]

#[path = "common/live.rs"]
mod live;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use live::{our_probes, wait_for, Cc, Live, Runc, TRACING};
use serde_json::{json, Value};

/// The first mark of `live-work data`.
const MARKS: u64 = 5_000_000;

fn has_kprobes() -> bool {
    Path::new(TRACING).join("kprobe_events").exists()
}

/// Records `live-work data` with these options; gives the recording.
fn record(live: &Live, options: &[&str], program: &Path) -> PathBuf {
    let mut words = vec!["run", "-q"];
    words.extend(options);
    words.extend(["--", program.to_str().unwrap(), "data", "5000000"]);
    live.bin(&words).expect_code(0);
    live.recordings(program.file_name().unwrap().to_str().unwrap()).pop().unwrap()
}

/// The arguments of the call behind each mark, as text.
fn arguments(live: &Live, recording: &Path) -> BTreeMap<u64, Value> {
    let calls = live.marked_calls(recording, MARKS).into_iter();
    calls.map(|(mark, call)| (mark, call["arguments"].clone())).collect()
}

fn means(live: &Live, recording: &Path) -> String {
    live.meta(recording)["options"]["data_means"].as_str().unwrap().to_owned()
}

fn pages(recording: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in fs::read_dir(recording).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "pages") {
            all.extend(fs::read(path).unwrap());
        }
    }
    all
}

fn holds(pages: &[u8], bytes: &[u8]) -> bool {
    pages.windows(bytes.len()).any(|window| window == bytes)
}

/// Checks the arguments of `live-work data`, of which `most` bytes were asked for.
fn check(found: &BTreeMap<u64, Value>, means: &str, most: usize, is_native: bool) {
    // Behind the last mark comes the end.
    assert_eq!(found.len(), 26, "{found:?}");
    let argument = |mark: u64, name: &str| found[&mark][name].as_str().unwrap_or_default().to_owned();
    let is_pointer = |text: String| text.starts_with("0x");
    let filled = means == "returns";
    // What is filled in is known at the return only.
    let expect = |mark: u64, name: &str, known: bool, expected: &str| {
        let text = argument(mark, name);
        assert!(if known { text == expected } else { is_pointer(text.clone()) }, "{mark} {name}: {text}, {means}");
    };
    expect(0, "buf", true, "\"hello\\n\"");
    expect(1, "buf", true, "\"a\\0b\\\"\\\\\\377\\n\"");
    expect(2, "buf", true, &format!("\"{}\"...", "x".repeat(most)));
    // A page that nothing has touched: by its beginning a probe finds nothing there.
    let cold = argument(3, "buf");
    assert!(cold == "\"/cold\"" || (!filled && is_pointer(cold.clone())), "{cold}");
    assert_eq!((argument(4, "buf"), argument(5, "buf")), ("NULL".to_owned(), "0x8".to_owned()));
    // Nothing lies behind the 16 bytes up to the end of the page.
    expect(6, "buf", true, "\"up to the edge.\\n\"");
    expect(7, "buf", filled, "\"hello\\na\\0b\\\"\\\\\\377\\n\"");
    let vector = format!("[{{iov_base=\"xxxx\", iov_len=4}}, {{iov_base=\"{}\"..., iov_len=2048}}]", "x".repeat(most));
    expect(8, "vec", filled && is_native, &vector);
    assert!(is_pointer(argument(9, "buf")), "nothing was read: {}", argument(9, "buf"));
    let vector = "[{iov_base=\"one \", iov_len=4}, {iov_base=\"two\\n\", iov_len=4}, ...]";
    expect(10, "vec", is_native, vector);
    assert_eq!(argument(11, "vec"), "0x8");
    expect(12, "buf", true, "\"hello\\n\"");
    expect(13, "buf", filled, "\"hello\\n\"");
    let inet = "{sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr(\"127.0.0.1\")}";
    expect(14, "buff", true, "\"ping\"");
    expect(14, "addr", true, inet);
    expect(15, "buff", true, "\"pong\"");
    assert_eq!(argument(15, "addr"), "NULL");
    expect(16, "ubuf", filled, "\"pong\"");
    expect(17, "uservaddr", true, "{sa_family=AF_UNIX, sun_path=\"/nowhere/socket\"}");
    let inet6 = "{sa_family=AF_INET6, sin6_port=htons(80), sin6_flowinfo=htonl(0), \
                 inet_pton(AF_INET6, \"::1\", &sin6_addr), sin6_scope_id=0}";
    expect(18, "uservaddr", true, inet6);
    let hidden = "{sa_family=AF_UNIX, sun_path=@\"live-work\"}";
    expect(19, "umyaddr", true, hidden);
    expect(20, "uservaddr", true, hidden);
    expect(21, "upeer_sockaddr", filled, "{sa_family=AF_UNIX}");
    expect(22, "usockaddr", filled, hidden);
}

#[test]
fn buffers_and_addresses_are_told_as_strace_prints_them() {
    let test = "buffers_and_addresses_are_told_as_strace_prints_them";
    let Some(live) = Live::alone(test, &[Cc]) else { return };
    if !has_kprobes() {
        return live::kernel_lacks(test, "this kernel has no probes of its functions");
    }
    // 20 is no number of words.
    for (option, most) in [("64", 64), ("20", 20), ("512", 512)] {
        let recording = record(&live, &["--data", option], live::work().unwrap());
        let means = means(&live, &recording);
        assert!(matches!(means.as_str(), "returns" | "entries"), "{means}");
        assert_eq!(live.meta(&recording)["options"]["data"], json!(most));
        check(&arguments(&live, &recording), &means, most, true);
    }
    wait_for("the end of the probes", || our_probes().is_empty().then_some(()));
    live.expect_nothing_left();
}

#[test]
fn buffers_of_32_bit_programs_are_told_too() {
    let test = "buffers_of_32_bit_programs_are_told_too";
    let Some(live) = Live::alone(test, &[live::Work32]) else { return };
    if !has_kprobes() {
        return live::kernel_lacks(test, "this kernel has no probes of its functions");
    }
    let recording = record(&live, &["--data", "64", "--strings", "off"], live::work32().unwrap());
    let means = means(&live, &recording);
    let found = arguments(&live, &recording);
    let is_native = cfg!(target_pointer_width = "32");
    // i386 has one call for all that sockets do.
    if found[&14].get("buff").is_some() {
        check(&found, &means, 64, is_native);
    } else {
        assert_eq!((&found[&0]["buf"], &found[&5]["buf"]), (&json!("\"hello\\n\""), &json!("0x8")));
    }
    live.expect_nothing_left();
}

#[test]
fn nothing_of_buffers_is_recorded_unless_asked_for_and_never_more_than_that() {
    let test = "nothing_of_buffers_is_recorded_unless_asked_for_and_never_more_than_that";
    let Some(live) = Live::alone(test, &[Cc]) else { return };
    let program = live::work().unwrap();
    for strings in ["auto", "off"] {
        let recording = record(&live, &["--strings", strings], program);
        assert_eq!((means(&live, &recording), &live.meta(&recording)["options"]["data"]), (String::new(), &json!(0)));
        let pages = pages(&recording);
        for secret in [&b"hello\n"[..], b"xxxxxxxx", b"ssssssss", b"ping", b"one ", b"/nowhere/socket"] {
            assert!(!holds(&pages, secret), "{strings}: {:?}", String::from_utf8_lossy(secret));
        }
    }
    // 32 bytes behind the beginning of the first buffer stand others.
    let recording = record(&live, &["--data", "32"], program);
    let pages = pages(&recording);
    assert_eq!(holds(&pages, b"hello\n"), has_kprobes());
    assert!(!holds(&pages, b"ssssssss") && !holds(&pages, &[b'x'; 33]));
    live.expect_nothing_left();
}

#[test]
fn what_a_container_writes_to_its_output_stands_among_its_calls_as_lines_of_a_log() {
    let test = "what_a_container_writes_to_its_output_stands_among_its_calls_as_lines_of_a_log";
    let Some(live) = Live::alone(test, &[Runc]) else { return };
    if !has_kprobes() {
        return live::kernel_lacks(test, "this kernel has no probes of its functions");
    }
    let hooks = json!({ "createRuntime": [live.hook(&["start", "--data", "48"])], "poststop": [live.hook(&["stop"])] });
    let script =
        "echo first; echo two >&2; echo inner | cat >/dev/null; echo 'a long line that is longer than what was \
                  asked for'; exec 7>&1; echo copied >&7; ls /nowhere; echo done";
    let bundle = live.bundle_with(&["sh", "-c", script], hooks);
    let id = live.id();
    let out = live.run_container(Runc, &bundle, &id).expect_code(0);
    assert!(out.stdout.contains("first\n"), "{}", out.stdout);
    let lines = live.report_json(&id, &[]);
    let logs: Vec<&Value> = lines.iter().filter(|line| line["type"] == "log").collect();
    let said: Vec<(&str, &str)> =
        logs.iter().map(|log| (log["stream"].as_str().unwrap(), log["text"].as_str().unwrap())).collect();
    let expected = [
        ("stdout", "first"),
        ("stderr", "two"),
        ("stdout", "a long line that is longer than what was asked f..."),
        ("stdout", "copied"),
        ("stderr", "ls: /nowhere: No such file or directory"),
        ("stdout", "done"),
    ];
    assert_eq!(said, expected);
    // Each behind the call that wrote it, at its time.
    for log in logs {
        let at = lines.iter().position(|line| std::ptr::eq(line, log)).unwrap();
        assert_eq!((&lines[at - 1]["name"], &lines[at - 1]["ts"]), (&json!("write"), &log["ts"]));
        assert!(log.get("file").is_none(), "{log}");
    }
    let text = live.bin(&["report", &id]).expect_code(0).stdout;
    assert!(text.lines().any(|line| line.starts_with("== ") && line.ends_with(" stdout: first")), "{text}");
    // Other calls may be left out, lines stay.
    let only = live.report_json(&id, &["--syscalls", "execve"]);
    assert_eq!(only.iter().filter(|line| line["type"] == "log").count(), expected.len());
    live.expect_nothing_left();
}

#[test]
fn lines_come_while_the_program_runs() {
    let test = "lines_come_while_the_program_runs";
    let Some(live) = Live::alone(test, &[]) else { return };
    if !has_kprobes() {
        return live::kernel_lacks(test, "this kernel has no probes of its functions");
    }
    let out = live.path("calls");
    let script = "echo one; printf 'in two '; printf 'parts\\n'; echo end";
    let words = ["run", "--data", "32", "-o", out.to_str().unwrap(), "--", "sh", "-c", script];
    live.bin(&words).expect_code(0);
    let text = fs::read_to_string(out).unwrap();
    let logs: Vec<&str> = text.lines().filter(|line| line.starts_with("== ")).collect();
    let said: Vec<&str> = logs.iter().filter_map(|line| line.split_once(" stdout: ").map(|(_, text)| text)).collect();
    assert_eq!(said, ["one", "in two parts", "end"], "{text}");
    live.expect_nothing_left();
}

#[test]
fn probes_of_others_stay_and_ours_go_also_after_a_kill() {
    let test = "probes_of_others_stay_and_ours_go_also_after_a_kill";
    let Some(live) = Live::alone(test, &[]) else { return };
    if !has_kprobes() {
        return live::kernel_lacks(test, "this kernel has no probes of its functions");
    }
    live.bin(&["run", "-q", "--data", "16", "--", "true"]).expect_code(0);
    wait_for("the end of the probes", || our_probes().is_empty().then_some(()));
    // One that wants more has its own, and leaves those that are in use.
    live.check_probes(&["--data", "16"], &["--data", "24"], "while sleep 0.1; do echo x; done");
}

#[test]
fn a_kernel_without_means_records_the_rest_and_says_so_once() {
    let test = "a_kernel_without_means_records_the_rest_and_says_so_once";
    let Some(live) = Live::alone(test, &[]) else { return };
    let words = ["run", "-q", "--data", "64", "--", "sh", "-c", "echo x"];
    let out = live.bin(&words).expect_code(0);
    let told = out.stderr.matches("buffers are not recorded").count();
    assert_eq!(told, usize::from(!has_kprobes()), "{}", out.stderr);
    let recording = live.recordings("sh").pop().unwrap();
    assert_eq!(means(&live, &recording) == "none", !has_kprobes());
    for wrong in ["0", "7", "513", "some"] {
        let out = live.bin(&["run", "--data", wrong, "--", "true"]).expect_code(2);
        assert!(out.stderr.contains("--data") && out.stderr.contains("8 to 512"), "{}", out.stderr);
    }
    live.expect_nothing_left();
}
