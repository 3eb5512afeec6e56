// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Live: what `run`, `follow` and `report` print is timely, coloured on terminals alone, has programs' own logs in their
//! places, and nobody minds when its reader goes away.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "common/live.rs"]
mod live;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use live::{wait_for, which, Live, Out, BIN};
use serde_json::Value;

#[test]
fn a_call_is_printed_while_its_program_goes_on() {
    let Some(live) = Live::new("a_call_is_printed_while_its_program_goes_on", &[]) else { return };
    let mut command = live.command(BIN);
    // The program waits for what the test says after it has seen the call.
    command.args(["run", "--", "sh", "-c", "kill -0 $$; read line; exit 6"]);
    command.stdin(Stdio::piped()).stderr(Stdio::piped()).stdout(Stdio::null());
    let mut child = command.process_group(0).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let seen = lines.by_ref().map(|line| line.unwrap()).find(|line| line.contains(" kill("));
    assert!(seen.is_some_and(|line| line.contains(" = 0 <")));
    // On a busy machine other calls before it may be told as unfinished, too.
    let waits = lines.by_ref().map(|line| line.unwrap()).find(|line| line.contains(" read(0<"));
    assert!(waits.is_some_and(|line| line.ends_with(" <unfinished ...>")), "what it waits in");
    drop(child.stdin.take());
    let rest: Vec<String> = lines.map(|line| line.unwrap()).collect();
    assert!(rest.iter().any(|line| line.contains(" <... read resumed>) = 0 <")), "{rest:#?}");
    assert_eq!(live::wait(&mut child, "run").code(), Some(6));
    live.expect_nothing_left();
}

#[test]
fn follow_ends_when_its_reader_does_and_the_recording_goes_on() {
    let Some(live) = Live::new("follow_ends_when_its_reader_does_and_the_recording_goes_on", &[]) else { return };
    let script = "i=0; while [ $i -lt 1000 ]; do kill -0 $$; sleep 0.02; i=$((i+1)); done";
    let mut run = live.start(&["run", "-q", "--", "sh", "-c", script], "out");
    wait_for("the recorder", || live.recorder("sh"));
    let mut follow = live.command(BIN);
    follow.args(["follow", "sh"]).stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0);
    let mut follow = follow.spawn().unwrap();
    // The pipe closes with the last that holds it.
    let lines: Vec<String> =
        BufReader::new(follow.stdout.take().unwrap()).lines().take(3).map(|l| l.unwrap()).collect();
    assert!(lines.iter().all(|line| line.starts_with("[pid ")), "{lines:#?}");
    assert_eq!(live::wait(&mut follow, "follow").code(), Some(0));
    assert!(live.recorder("sh").is_some(), "the recording goes on");
    live.bin(&["stop", "sh"]).expect_code(0);
    let mut kill = live.command("kill");
    kill.args(["-KILL", "--", &format!("-{}", run.id())]);
    live::run(kill, b"");
    live::wait(&mut run, "run");
    live.expect_nothing_left();
}

/// Our binary on a terminal, with standard output and error both.
fn on_terminal(live: &Live, words: &str, env: &[(&str, &str)]) -> Out {
    let mut command = live.command("script");
    command.env("TERM", "xterm").env_remove("NO_COLOR").envs(env.iter().copied());
    command.args(["-qec", &format!("{BIN} {words}"), "/dev/null"]);
    live::run(command, b"")
}

#[test]
fn colours_are_on_a_terminal_and_nowhere_else() {
    let test = "colours_are_on_a_terminal_and_nowhere_else";
    let Some(live) = Live::new(test, &[]) else { return };
    if which("script").is_none() {
        live::skip(test, "no script(1)");
        return;
    }
    let coloured = |out: &Out| out.stdout.contains('\x1b') || out.stderr.contains('\x1b');
    let command = "run -- sh -c 'cat /nope; kill -SEGV $$'";
    let out = on_terminal(&live, command, &[]);
    let line =
        |part: &str| out.stdout.lines().find(|line| line.contains(part)).unwrap_or_else(|| panic!("{}", out.stdout));
    assert!(line("ENOENT").contains("\x1b[31m-1 ENOENT (No such file or directory)\x1b[0m <"), "{}", out.stdout);
    assert!(line("ENOENT").starts_with("\x1b[2m[pid ") && line("ENOENT").contains("] \x1b[0m"), "{}", out.stdout);
    assert!(line("execve").contains("\x1b[1mexecve\x1b[0m("), "{}", out.stdout);
    assert!(line("--- SIGSEGV").contains("\x1b[33m--- SIGSEGV {si_code=SI_USER} ---\x1b[0m"), "{}", out.stdout);
    assert!(line("killed by SIGSEGV").contains("\x1b[33m+++ killed by SIGSEGV +++\x1b[0m"), "{}", out.stdout);
    for env in [("NO_COLOR", "1"), ("TERM", "dumb"), ("TERM", "")] {
        assert!(!coloured(&on_terminal(&live, "run -- true", &[env])), "{env:?}");
    }
    assert!(!coloured(&on_terminal(&live, "run --color never -- true", &[])));
    assert!(!coloured(&on_terminal(&live, "run -o calls.txt -- true", &[])));
    assert!(!fs::read_to_string(live.path("calls.txt")).unwrap().contains('\x1b'));
    assert!(
        coloured(&on_terminal(&live, "report sh", &[]))
            && !coloured(&on_terminal(&live, "report sh", &[("NO_COLOR", "1")]))
    );
    assert!(!coloured(&on_terminal(&live, "report sh --json", &[])));
    // Through a pipe, unless asked for.
    assert!(!coloured(&live.bin(&["run", "--", "true"])) && !coloured(&live.bin(&["report", "sh"])));
    let plain = live.bin(&["report", "sh"]).stdout;
    let forced = live.bin(&["report", "sh", "--color", "always"]).stdout;
    assert!(forced.contains("\x1b[31m"));
    let mut stripped = forced;
    for code in ["\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[33m", "\x1b[35m"] {
        stripped = stripped.replace(code, "");
    }
    assert_eq!(stripped, plain, "colours add nothing else");
    live.bin(&["report", "sh", "--color", "perhaps"]).expect_code(2);
    live.bin(&["run", "--color", "perhaps", "--", "true"]).expect_code(2);
    live.expect_nothing_left();
}

/// Writes lines of a log with the present time between marks (kill of the shell itself, signals 0).
const LOGGER: &str = r#"
now() { date -u +%Y-%m-%dT%H:%M:%S.%NZ; }
kill -0 $$; t=$(now); kill -0 $$
echo "$t stdout F first" > cri.log; echo "$t first" > plain.log
printf '{"log":"first\\n","stream":"stdout","time":"%s"}\n' $t > docker.log
t=$(now); kill -0 $$
echo "$t stderr P one " >> cri.log; echo "$t stderr F line" >> cri.log
echo "${t%Z}+00:00 one line" >> plain.log; echo "    at main()" >> plain.log
printf '{"log":"one ","stream":"stderr","time":"%s"}\n' $t >> docker.log
printf '{"log":"li\\u006ee\\n","stream":"stderr","time":"%s"}\n' $t >> docker.log
for log in cri plain docker; do sed 's/202[0-9]-/2001-/' $log.log | head -n 1 | cat - $log.log > new; mv new $log.log; done
"#;

#[test]
fn lines_of_logs_stand_among_the_calls_by_their_time() {
    let test = "lines_of_logs_stand_among_the_calls_by_their_time";
    let Some(live) = Live::new(test, &[]) else { return };
    let Some(true) = which("date").map(|_| cfg!(not(target_env = "musl"))) else {
        live::skip(test, "no date(1) with nanoseconds");
        return;
    };
    live.bin(&["run", "-q", "--", "sh", "-c", LOGGER]).expect_code(0);
    for (log, first, second, more) in [
        ("cri.log", "stdout: first", "stderr: one line", 0),
        ("plain.log", "plain.log: first", "plain.log: one line", 1),
        ("docker.log", "stdout: first", "stderr: one line", 0),
    ] {
        let out = live.bin(&["report", "sh", "--syscalls", "kill", "--merge-log", log]).expect_code(0);
        let lines: Vec<&str> =
            out.stdout.lines().filter(|line| line.contains(" kill(") || line.starts_with("== ")).collect();
        let is_log = |at: usize, text: &str| lines[at].starts_with("== ") && lines[at].ends_with(&format!(" {text}"));
        assert_eq!(lines.len(), 5 + more, "{lines:#?}");
        assert!(lines[0].contains(" kill(") && is_log(1, first) && lines[2].contains(" kill("), "{lines:#?}");
        assert!(is_log(3, second) && lines.last().unwrap().contains(" kill("), "{lines:#?}");
        if more > 0 {
            assert!(is_log(4, "plain.log:     at main()"), "{lines:#?}");
            assert!(out.stdout.contains(", 1 without a time of their own"), "{}", out.stdout);
        }
        assert!(
            out.stdout.contains(&format!("# {log}: {} lines shown, 1 outside of the time shown", 2 + more)),
            "{}",
            out.stdout
        );
        let json = live.report_json("sh", &["--syscalls", "kill", "--merge-log", log]);
        let logs: Vec<&Value> = json.iter().filter(|line| line["type"] == "log").collect();
        assert_eq!((logs[0]["text"].as_str(), logs[0]["file"].as_str()), (Some("first"), Some(log)));
        assert_eq!(logs[1]["text"], "one line");
        assert_eq!(logs[1]["stream"], if more > 0 { Value::Null } else { "stderr".into() });
        assert_eq!(json.last().unwrap()["logs"][0]["outside"], 1);
    }
    // All at once, and those that --until leaves.
    let all = ["--merge-log", "cri.log", "--merge-log", "plain.log", "--merge-log", "docker.log"];
    let count = |more: &[&str]| {
        let words: Vec<&str> = ["report", "sh", "--pid", "1"].iter().chain(&all).chain(more).copied().collect();
        live.bin(&words).expect_code(0).stdout.lines().filter(|line| line.starts_with("== ")).count()
    };
    assert_eq!(
        (count(&[]), count(&["--until", "0s"])),
        (7, 0),
        "filters by task leave logs alone, those by time do not"
    );
    live.expect_nothing_left();
}

#[test]
fn what_is_no_log_is_said() {
    let Some(live) = Live::new("what_is_no_log_is_said", &[]) else { return };
    live.bin(&["run", "-q", "--", "true"]).expect_code(0);
    fs::write(live.path("words"), "some\nwords\n").unwrap();
    fs::write(live.path("empty"), "").unwrap();
    let out = live.bin(&["report", "true", "--merge-log", "words"]).expect_code(1);
    assert!(
        out.stderr.contains("words: none of its first lines has a time") && out.stderr.contains("hint: "),
        "{}",
        out.stderr
    );
    assert!(live
        .bin(&["report", "true", "--merge-log", "nowhere"])
        .expect_code(1)
        .stderr
        .contains("nowhere not found"));
    live.bin(&["report", "true", "--merge-log", "empty"]).expect_code(0);
    live.bin(&["report", "true", "--format", "summary", "--merge-log", "empty"]).expect_code(2);
}
