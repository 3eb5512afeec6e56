// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Live: how much room dumps take, which of them stay, and what happens when there are too many or the disk is full.
#![allow(clippy::unwrap_used)]

#[path = "common/cores.rs"]
mod cores;
#[path = "common/dying.rs"]
mod dying;
#[path = "common/live.rs"]
mod live;

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use cores::Cores;
use dying::{about, handlers, wait_for_handlers, Group};
use ftrace_analyzer::core_dump::elf::Core;
use live::{entries, pause, wait_for, Cc, Live, BOARD};
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;

const MIB: u64 = 1 << 20;
/// More than a small file system has.
const LIMITS: [&str; 6] = ["--max-size", "1G", "--max-container", "1G", "--max-total", "1G"];

/// Bytes on disk below a directory.
fn disk(dir: &Path) -> u64 {
    let sizes = entries(dir).into_iter().map(|path| match path.symlink_metadata() {
        Ok(file) if file.is_dir() => disk(&path),
        Ok(file) => file.blocks() * 512,
        Err(_) => 0,
    });
    sizes.sum()
}

/// Directories of dumps that are not whole.
fn begun(live: &Live) -> Vec<std::path::PathBuf> {
    let mut all = entries(&live.path("recordings/cores"));
    all.retain(|path| path.is_dir() && path.file_name().unwrap().to_str().unwrap().starts_with('.'));
    all
}

#[test]
fn a_crash_loop_leaves_its_first_and_its_newest_dump_and_counts_the_rest() {
    let test = "a_crash_loop_leaves_its_first_and_its_newest_dump_and_counts_the_rest";
    let Some(live) = Live::alone(test, &[Cc]) else { return };
    let cores = Cores::install(&live, "core", &[]);
    let group = Group::docker();
    for count in 0..12 {
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&group.hog(&[&count.to_string(), "0"])), Some(11));
    }
    wait_for_handlers(&live);
    let dumps = cores.dumps();
    assert_eq!(dumps.len(), 2);
    let mut known: Vec<_> = dumps.iter().map(|dump| about(dump)).collect();
    known.sort_by_key(|about| about["not_kept"].as_u64());
    let command = |at: usize| known[at]["command"][1].as_str().unwrap().to_owned();
    assert_eq!((command(0), command(1), &known[1]["not_kept"]), ("0".into(), "11".into(), &10.into()));
    assert_eq!(known[1]["container"]["id"], group.id.as_str());
}

#[test]
fn of_a_hundred_crashes_at_once_each_leaves_a_dump_or_is_counted() {
    let test = "of_a_hundred_crashes_at_once_each_leaves_a_dump_or_is_counted";
    let Some(live) = Live::alone(test, &[Cc]) else { return };
    let cores = Cores::install(&live, "core", &[]);
    let group = Group::docker();
    assert!(group.hog(&["0", "0", "100"]).success());
    wait_for_handlers(&live);
    let dumps = cores.dumps();
    let counted: u64 = dumps.iter().map(|dump| about(dump)["not_kept"].as_u64().unwrap()).sum();
    assert_eq!((dumps.len(), dumps.len() as u64 + counted), (2, 100));
    assert_eq!(begun(&live), Vec::<std::path::PathBuf>::new());
    for dump in &dumps {
        assert_eq!(about(dump)["cut"], "");
    }
}

#[test]
fn a_process_with_four_gigabytes_of_addresses_fits_into_64_megabytes() {
    let test = "a_process_with_four_gigabytes_of_addresses_fits_into_64_megabytes";
    let Some(live) = Live::alone(test, &[Cc]) else { return };
    let cores = Cores::install(&live, "core", &["--max-size", "64M", "--max-total", "64M", "--max-container", "64M"]);
    let group = Group::docker();
    group.hog(&["20", "4096"]);
    wait_for_handlers(&live);
    let dump = &cores.dumps()[0];
    let known = about(dump);
    assert_eq!(known["cut"], "");
    assert!(known["bytes"].as_u64().unwrap() > 4096 * MIB, "{known}");
    assert!((20 * MIB..24 * MIB).contains(&disk(dump)), "{}", disk(dump));
    assert!(!Core::open(File::open(dump.join("core")).unwrap()).unwrap().is_cut);
    // More than fits: cut, and said to be.
    pause(1100);
    group.hog(&["100", "0"]);
    wait_for_handlers(&live);
    let dumps = cores.dumps();
    let cut = dumps.iter().map(|dump| about(dump)).find(|about| about["cut"] != "").unwrap();
    assert!(cut["cut"].as_str().unwrap().contains("limit"), "{cut}");
    let written = cut["written"].as_u64().unwrap();
    assert!((60 * MIB..=64 * MIB).contains(&written), "{written}");
    assert!(disk(&live.path("recordings")) <= 64 * MIB);
    // What tells of the thread stands in front.
    assert_ne!(cut["pc"], "");
    let list = live.bin(&["core", "list"]).expect_code(0).stdout;
    assert!(list.contains("cut"), "{list}");
    // It is exported as far as it goes, which is said.
    let cut = dumps.iter().find(|dump| about(dump)["cut"] != "").unwrap();
    let words =
        ["core", "export", cut.to_str().unwrap(), "-o", live.path("exported").to_str().unwrap()].map(str::to_owned);
    let told = live.bin(&words.each_ref().map(String::as_str)).expect_code(4).stderr;
    assert!(told.contains("not all of the dump is there: the limit"), "{told}");
    assert!(Core::open(File::open(live.path("exported")).unwrap()).unwrap().is_cut);
}

#[test]
fn a_full_disk_cuts_the_dump_and_leaves_nothing_half_done() {
    let test = "a_full_disk_cuts_the_dump_and_leaves_nothing_half_done";
    let Some(live) = Live::alone(test, &[Cc]) else { return };
    let dir = live.path("recordings");
    let mount =
        |words: &[&str]| assert!(Command::new(words[0]).args(&words[1..]).arg(&dir).status().unwrap().success());
    mount(&["mount", "-t", "tmpfs", "-o", "size=24m,mode=700", "none"]);
    let unmounted = Unmount(&dir);
    {
        let cores = Cores::install(&live, "core", &[&["--keep-free", "4M"][..], &LIMITS].concat());
        let group = Group::docker();
        group.hog(&["40", "0"]);
        wait_for_handlers(&live);
        let known = about(&cores.dumps()[0]);
        assert_eq!(known["cut"], "the file system has no more room for dumps");
        let written = known["written"].as_u64().unwrap();
        assert!((18 * MIB..=20 * MIB).contains(&written), "{written}");
        // An older one goes for the next.
        pause(1100);
        let other = Group::docker();
        other.hog(&["10", "0"]);
        wait_for_handlers(&live);
        let known: Vec<_> = cores.dumps().iter().map(|dump| about(dump)).collect();
        assert_eq!((known.len(), &known[0]["cut"]), (1, &"".into()));
        assert_eq!(known[0]["container"]["id"], other.id.as_str());
    }
    {
        // Nothing is to stay free, and somebody else has most of it.
        let cores = Cores::install(&live, "core", &[&["--keep-free", "0"][..], &LIMITS].concat());
        let group = Group::docker();
        fs::write(dir.join("filler"), vec![1; 10 << 20]).unwrap();
        group.hog(&["40", "0"]);
        wait_for_handlers(&live);
        assert_eq!(begun(&live), Vec::<std::path::PathBuf>::new());
        let dumps = cores.dumps();
        let known = dumps.iter().map(|dump| about(dump)).find(|about| about["command"][1] == "40").unwrap();
        assert_eq!(known["cut"], "the file system has no more room for dumps");
        fs::remove_file(dir.join("filler")).unwrap();
        group.hog(&["1", "0"]);
        wait_for_handlers(&live);
        let known: Vec<_> = cores.dumps().iter().map(|dump| about(dump)).collect();
        assert!(known.iter().any(|about| about["command"][1] == "1" && about["cut"] == ""));
    }
    drop(unmounted);
}

struct Unmount<'a>(&'a Path);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

#[test]
fn what_a_killed_handler_left_goes_with_the_next_dump() {
    let test = "what_a_killed_handler_left_goes_with_the_next_dump";
    let Some(live) = Live::alone(test, &[Cc]) else { return };
    let cores = Cores::install(&live, "core", &[]);
    let group = Group::docker();
    let mut hog =
        group.command(0, &[dying::hog().to_str().unwrap(), if BOARD { "100" } else { "400" }, "0"]).spawn().unwrap();
    let half = wait_for("half a dump", || begun(&live).into_iter().find(|dir| disk(dir) > 8 * MIB));
    let pids = handlers(&live);
    // What it may do by then: nothing that it does not need.
    let status = fs::read_to_string(format!("/proc/{}/status", pids[0])).unwrap();
    let value = |key: &str| {
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    let values = ["NoNewPrivs:", "Seccomp:", "CapEff:", "CapPrm:", "CapBnd:"].map(value);
    let none = "0000000000000000";
    assert_eq!(values, ["1", "2", none, none, none]);
    for pid in pids {
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }
    hog.wait().unwrap();
    wait_for_handlers(&live);
    assert!(cores.dumps().is_empty() && half.is_dir());
    Group::docker().hog(&["0", "0"]);
    wait_for_handlers(&live);
    assert_eq!((cores.dumps().len(), begun(&live).len(), half.exists()), (1, 0, false));
}

#[test]
fn large_dumps_at_once_never_take_more_than_the_limit_of_all() {
    let test = "large_dumps_at_once_never_take_more_than_the_limit_of_all";
    let Some(live) = Live::alone(test, &[Cc]) else { return };
    let cores =
        Cores::install(&live, "core", &["--max-size", "100M", "--max-total", "100M", "--max-container", "100M"]);
    let groups: Vec<Group> = (0..6).map(|_| Group::docker()).collect();
    let mut hogs: Vec<_> = groups
        .iter()
        .map(|group| group.command(0, &[dying::hog().to_str().unwrap(), "30", "0", "1"]).spawn().unwrap())
        .collect();
    let mut most = 0;
    while hogs.iter_mut().any(|hog| hog.try_wait().unwrap().is_none()) || !handlers(&live).is_empty() {
        // While nothing changes its name.
        if let Ok(counting) = File::open(live.path("recordings/cores/.counting0-0")) {
            let _lock = nix::fcntl::Flock::lock(counting, nix::fcntl::FlockArg::LockExclusive).unwrap();
            most = most.max(disk(&live.path("recordings")));
        }
        pause(5);
    }
    assert!((60 * MIB..=100 * MIB).contains(&most), "{most}");
    // Two and a third of 30 MiB each fit beside what is still to come.
    let whole = cores.dumps().iter().filter(|dump| about(dump)["cut"] == "").count();
    assert!(whole >= 2, "{:?}", cores.dumps());
}
