// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a collector of core dumps relies on, held against two dumps that are there; and the collector of kubernetes/ itself.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use serde_json::json;

use super::cores::Cores;
use super::live::{self, Live};

/// Whether a directory has the same files as another one, by their names and contents.
fn is_copy(copy: &Path, of: &Path) -> bool {
    let files = |dir: &Path| {
        let mut files: Vec<_> = live::entries(dir)
            .iter()
            .map(|file| (file.file_name().unwrap().to_owned(), fs::read(file).unwrap()))
            .collect();
        files.sort();
        files
    };
    files(copy) == files(of)
}

/// `core list` with dumps there, and the collector of kubernetes/, which relies on it.
pub fn lists_and_collects(live: &Live, cores: &Cores<'_>) {
    let list = |words: &[&str]| {
        let out = live.bin(&[&["core", "list", "--json"], words].concat()).expect_code(0);
        out.json().into_iter().map(|line| (line["number"].as_str().unwrap().to_owned(), line)).collect::<Vec<_>>()
    };
    let all = list(&[]);
    let [(first, one), (second, other)] = all.as_slice() else { panic!("{all:?}") };
    assert!(first < second, "in the order in which they were stored");
    for (line, pod) in [(one, "web-7d4b9"), (other, "db")] {
        assert_eq!((&line["schema"], &line["type"], &line["pod"]), (&json!(1), &json!("core"), &json!(pod)));
        let path = Path::new(line["path"].as_str().unwrap());
        assert_eq!(line["bytes"].as_u64(), Some(fs::metadata(path.join("core")).unwrap().len()));
        assert_eq!((&line["complete"], &line["signal_name"]), (&json!(true), &json!("SIGABRT")));
        assert_eq!(line["core"].as_str(), path.file_name().unwrap().to_str());
    }
    // By number, by time, by name.
    assert_eq!((list(&["--since", first]), list(&["--since", second]).len()), (vec![all[1].clone()], 0));
    assert_eq!((list(&["--since", "2h"]).len(), list(&["--since", "1ms"]).len()), (2, 0));
    assert_eq!(
        (list(&["--since", "2020-01-01T00:00:00Z"]).len(), list(&["--since", "2200-01-01T00:00:00Z"]).len()),
        (2, 0)
    );
    assert_eq!(list(&["pod:shop/db"]), [all[1].clone()]);
    assert_eq!(list(&[one["container"].as_str().unwrap()]), [all[0].clone()]);
    let table = live.bin(&["core", "list"]).expect_code(0).stdout;
    assert!(table.starts_with("CORE ") && table.contains("shop/db/main") && table.contains("SIGABRT"), "{table}");
    assert_eq!(live.bin(&["core", "list", "--since", "yesterday"]).code, 2);
    live.bin(&["core", "list", "nobody"]).expect_code(1);

    // The collector: to a volume, each once; by a command, and again where that failed.
    let bin = live.path("bin");
    fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(live::BIN, bin.join("ftrace-analyzer")).unwrap();
    let script = Path::new(live::SOURCE).join("kubernetes/core-collector/collect");
    let collect = |state: &str, ship: &str| {
        let state = live.path(state);
        fs::create_dir_all(&state).unwrap();
        let mut command = live.command("sh");
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", bin.display());
        command.arg(&script).envs([("NODE", "node-1"), ("ONCE", "1"), ("SHIP", ship), ("PATH", &path)]);
        command.env("STATE", &state).env("DUMPS", live.path("dumps")).status().unwrap().code()
    };
    assert_eq!(collect("state-1", ""), Some(0));
    let shipped = live::entries(&live.path("dumps/node-1"));
    assert_eq!(shipped.len(), 2);
    for dump in cores.dumps() {
        assert!(is_copy(&live.path("dumps/node-1").join(dump.file_name().unwrap()), &dump));
    }
    fs::remove_dir_all(live.path("dumps")).unwrap();
    assert_eq!((collect("state-1", ""), live.path("dumps").exists()), (Some(0), false), "not twice");
    let log = live.path("shipped");
    let (write, ready) = (format!("echo \"$1\" >>{}", log.display()), live.path("ready"));
    let first_only = format!("test -e {} || ! test -s {} || exit 1; {write}", ready.display(), log.display());
    assert_eq!(collect("state-2", &first_only), Some(1));
    fs::write(&ready, "").unwrap();
    assert_eq!(collect("state-2", &first_only), Some(0));
    let lines = fs::read_to_string(&log).unwrap();
    let wanted: Vec<&str> = all.iter().map(|(_, line)| line["path"].as_str().unwrap()).collect();
    assert_eq!(lines.lines().collect::<Vec<_>>(), wanted);

    // Where there are none, where they would be is said, and whether any would come.
    for dump in cores.dumps() {
        fs::remove_dir_all(dump).unwrap();
    }
    let none = live.bin(&["core", "list"]).expect_code(0).stdout;
    assert_eq!(none, format!("no core dumps in {}\n", live.path("recordings/cores").display()));
    live.bin(&["core", "info"]).expect_code(1);
    fs::write("/proc/sys/kernel/core_pattern", "core").unwrap();
    let none = live.bin(&["core", "list"]).expect_code(0).stdout;
    assert!(none.contains("none will come: core_pattern is not ours"), "{none}");
}
