// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `core list` and `core info` of dumps that are made by hand: which one a name means, what programs read, and what hostile
//! text in them does.
#![allow(clippy::unwrap_used)]

#[path = "common/machine.rs"]
mod machine;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use machine::{run, skip, which, Out, BIN, SOURCE};
use serde_json::{json, Value};

/// A directory with dumps, removed at the end.
struct Base(PathBuf);

impl Base {
    fn new(name: &str) -> Base {
        let dir = std::env::temp_dir().join(format!("ftrace-analyzer-core-list-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(dir.join("cores")).unwrap();
        Base(dir)
    }

    /// Adds a dump with what is known of it; its number and time are that of `second`.
    fn add(&self, name: &str, second: u64, known: &Value) -> PathBuf {
        let dir = self.0.join("cores").join(name);
        fs::create_dir(&dir).unwrap();
        let mut about = json!({
            "version": 1, "time_ns": second * 1_000_000_000, "stored_ns": second * 1_000_000_000 + 5, "pid": 7, "tid": 7,
            "inner_pid": 7, "inner_tid": 7, "comm": "app", "signal": 11, "signal_name": "SIGSEGV", "bytes": 4096,
        });
        for (key, value) in known.as_object().unwrap() {
            about[key] = value.clone();
        }
        fs::write(dir.join("core.json"), about.to_string()).unwrap();
        fs::write(dir.join("core"), [1; 4096]).unwrap();
        dir
    }

    fn core(&self, words: &[&str]) -> Out {
        let mut command = Command::new(BIN);
        command.arg("core").args(words).arg("--dir").arg(&self.0);
        // Not where somebody's dumps are.
        command.env("FTRACE_ANALYZER_RUN_DIR", self.0.join("run"));
        run(command, b"")
    }

    /// The dump that is meant by words.
    fn meant(&self, words: &[&str]) -> String {
        let out = self.core(&[&["info", "--json"], words].concat()).expect_code(0);
        let value: Value = serde_json::from_str(&out.stdout).unwrap();
        value["path"].as_str().unwrap().rsplit('/').next().unwrap().to_owned()
    }

    fn listed(&self, words: &[&str]) -> Vec<String> {
        let out = self.core(&[&["list", "--json"], words].concat()).expect_code(0);
        out.json().iter().map(|line| line["core"].as_str().unwrap().to_owned()).collect()
    }
}

impl Drop for Base {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn of(id: &str, pod: &str) -> Value {
    json!({ "container": { "id": id, "pod": pod, "namespace": if pod.is_empty() { "" } else { "shop" }, "name": "main" } })
}

#[test]
fn a_dump_is_named_by_its_name_its_beginning_its_path_its_container_or_its_pod() {
    let base = Base::new("names");
    base.add("web-20261127T100000-7", 1_000_000_000, &of("web", "front"));
    base.add("web-20261127T110000-7", 1_000_003_600, &of("web", "front"));
    base.add("web2-20261127T120000-7", 1_000_007_200, &of("web2", "back"));
    let path = base.add("host-20261127T130000-7", 1_000_010_800, &json!({}));
    for (words, wanted) in [
        (&[][..], "host-20261127T130000-7"),
        (&["web-20261127T100000-7"], "web-20261127T100000-7"),
        (&["web-20261127T10"], "web-20261127T100000-7"),
        // The newest of the container, though another one's name begins so.
        (&["web"], "web-20261127T110000-7"),
        (&["web2"], "web2-20261127T120000-7"),
        (&["pod:shop/front"], "web-20261127T110000-7"),
        (&["pod:shop/back/main"], "web2-20261127T120000-7"),
        (&[path.to_str().unwrap()], "host-20261127T130000-7"),
        (&[path.join("core").to_str().unwrap()], "host-20261127T130000-7"),
    ] {
        assert_eq!(base.meant(words), wanted, "{words:?}");
    }
    let several = base.core(&["info", "we"]);
    assert_eq!(several.code, 1);
    assert!(several.stderr.contains("web2") && several.stderr.contains("web"), "{}", several.stderr);
    let none = base.core(&["info", "wob"]).expect_code(1).stderr;
    assert!(none.contains("a core dump wob in") && none.contains("core list shows"), "{none}");
    assert_eq!(base.listed(&["web"]).len(), 3, "all whose names begin so");
    assert_eq!(base.listed(&["pod:shop/front"]).len(), 2);
}

#[test]
fn lists_come_in_the_order_of_numbers_and_go_on_where_one_ended() {
    let base = Base::new("numbers");
    // One died earlier and took longer to store.
    base.add("slow-20261127T100000-1", 1_000_000_000, &json!({ "stored_ns": 1_000_000_900_000_000_000u64 }));
    base.add("fast-20261127T100001-2", 1_000_000_100, &json!({}));
    let all = base.listed(&[]);
    assert_eq!(all, ["fast-20261127T100001-2", "slow-20261127T100000-1"]);
    let numbers: Vec<String> =
        base.core(&["list", "--json"]).json().iter().map(|line| line["number"].as_str().unwrap().to_owned()).collect();
    assert_eq!(numbers, ["1000000100000000005", "1000000900000000000"]);
    assert_eq!(base.listed(&["--since", &numbers[0]]), all[1..]);
    assert!(base.listed(&["--since", &numbers[1]]).is_empty());
    // By the time of death.
    assert_eq!(base.listed(&["--since", "2001-09-09T01:48:20Z"]), all[..1]);
    assert_eq!(base.core(&["list", "--since", "soon"]).code, 2);
    // What can not be read is told, and keeps nobody from the others.
    fs::create_dir(base.0.join("cores/bad-20261127T100002-3")).unwrap();
    fs::write(base.0.join("cores/bad-20261127T100002-3/core.json"), "{").unwrap();
    let out = base.core(&["list", "--json"]).expect_code(1);
    assert!(out.stdout.lines().count() == 2 && out.stderr.contains("bad-2026"), "{}", out.stderr);
    // What is being stored is none yet.
    fs::create_dir(base.0.join("cores/.new-20261127T100002-3")).unwrap();
    fs::remove_dir_all(base.0.join("cores/bad-20261127T100002-3")).unwrap();
    assert_eq!(base.listed(&[]), all);
}

#[test]
fn hostile_text_does_not_reach_the_terminal_and_json_stays_json() {
    let base = Base::new("hostile");
    let evil = "\u{1b}]0;x\u{7}\n\u{202e}\"},{\"path\":\"/etc\"\u{9b}2J";
    let file = json!([{ "fd": 3, "path": evil, "start": "0x1", "build_id": evil }]);
    let known = json!({
        "comm": evil, "executable": evil, "command": [evil, "a b", ""], "signal_name": evil, "cut": evil,
        "container": { "id": evil, "pod": evil, "namespace": evil, "image": evil }, "engine": evil, "node": evil,
        "threads": [{ "tid": 7, "inner_tid": 7, "comm": evil }], "files": file, "descriptors": file,
        "limits": { evil: evil }, "environment": [evil], "problems": [evil], "pc": evil, "pc_file": evil,
        "recording": evil, "within": evil, "capabilities": evil, "address": evil, "code_name": evil,
    });
    let dir = base.add("unknown-20261127T100000-7", 1_000_000_000, &known);
    for words in [&["list"][..], &["info"]] {
        let out = base.core(words).expect_code(0);
        let is_fit = |char: char| char == '\n' || !(char.is_control() || char == '\u{202e}');
        assert!(out.stdout.chars().all(is_fit), "{:?}", out.stdout);
        assert!(out.stdout.contains("{\"path\":\"/etc\"") && !out.stdout.contains("\n\""), "{}", out.stdout);
    }
    let lines = base.core(&["list", "--json"]).expect_code(0).stdout;
    assert_eq!(lines.lines().count(), 1);
    let line: Value = serde_json::from_str(&lines).unwrap();
    assert_eq!((line["comm"].as_str(), line["path"].as_str()), (Some(evil), dir.to_str()));
    // What a script looks for by its text stands there once.
    assert_eq!((lines.matches("\"path\":\"").count(), lines.matches("\"number\":\"").count()), (1, 1));
    let info: Value = serde_json::from_str(&base.core(&["info", "--json"]).expect_code(0).stdout).unwrap();
    assert_eq!((&info["core"]["command"][0], &info["core"]["container"]["id"]), (&json!(evil), &json!(evil)));
    // A description that leads elsewhere, or is a pipe, is none.
    fs::remove_file(dir.join("core.json")).unwrap();
    nix::unistd::mkfifo(&dir.join("core.json"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    base.core(&["list"]).expect_code(1);
}

#[test]
fn lists_are_as_their_schema_says() {
    let packages = Path::new(env!("CARGO_TARGET_TMPDIR")).join("perfetto");
    if which("python3").is_none() || !packages.join("jsonschema").is_dir() {
        return skip("lists_are_as_their_schema_says", "no python3 with the package jsonschema; tests/run installs it");
    }
    let base = Base::new("schema");
    base.add("web-20261127T100000-7", 1_000_000_000, &of("web", "front"));
    base.add("web-20261127T110000-7", 1_000_003_600, &json!({ "owner": 1000, "cut": "the limit", "not_kept": 3 }));
    let lines = base.0.join("lines.json");
    fs::write(&lines, base.core(&["list", "--json"]).expect_code(0).stdout).unwrap();
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", packages).env("PYTHONDONTWRITEBYTECODE", "1");
    python.arg(Path::new(SOURCE).join("tests/exports/schema.py"));
    python.arg(Path::new(SOURCE).join("docs/json.schema.json")).arg(lines);
    run(python, b"").expect_code(0);
}
