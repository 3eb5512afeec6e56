// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Containers that are recorded, and started again under the profile that the recording gave.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

#[path = "live.rs"]
mod live;

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

pub use live::*;
use serde_json::{json, Value};

/// What a container does, and what comes of it.
pub struct Workload<'a> {
    /// Its program.
    pub args: &'a [&'a str],
    /// What it writes to standard output.
    pub output: &'a str,
    /// What it ends with.
    pub code: i32,
    /// The same with one mkdir more, which writes what it says when that is refused: `beyond_output` after the rest.
    pub beyond: &'a [&'a str],
    /// What is then written besides, and by whom.
    pub told: &'a str,
    pub comm: &'a str,
}

/// A start: under which runtime, with which `noNewPrivileges`.
pub type How = (Need, bool);

/// All four, the one that needs most of its profile first.
pub const EVERY_START: [How; 4] = [(Runc, false), (Crun, false), (Runc, true), (Crun, true)];

/// A bundle whose config.json is written anew for every start.
pub struct Bundle<'a> {
    pub live: &'a Live,
    pub path: PathBuf,
    /// As `runc spec` made it, with hooks, capabilities and mounts that are asked for.
    config: RefCell<Value>,
}

impl<'a> Bundle<'a> {
    pub fn new(live: &'a Live) -> Bundle<'a> {
        let path = live.bundle(&["true"]);
        for name in ["sort", "uniq", "tr", "head", "wc", "grep", "rm", "touch", "usleep"] {
            symlink("busybox", path.join("rootfs/bin").join(name)).unwrap();
        }
        let config: Value = serde_json::from_slice(&fs::read(path.join("config.json")).unwrap()).unwrap();
        let bundle = Bundle { live, path, config: config.into() };
        bundle.edit(|config| config["root"]["readonly"] = json!(false));
        bundle
    }

    /// Changes what all later starts have.
    pub fn edit(&self, change: impl FnOnce(&mut Value)) {
        change(&mut self.config.borrow_mut());
    }

    /// Copies a program with the libraries and the loader that it needs to where it is on this machine.
    pub fn copy_program(&self, program: &Path) {
        for file in closure(program).into_iter().chain([program.to_owned()]) {
            let into = self.path.join("rootfs").join(file.strip_prefix("/").unwrap());
            fs::create_dir_all(into.parent().unwrap()).unwrap();
            fs::copy(&file, &into).unwrap();
            fs::set_permissions(&into, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    /// Writes config.json for a start.
    pub fn configure(&self, args: &[&str], no_new_privileges: bool, profile: Option<&Value>) {
        let mut config = self.config.borrow().clone();
        config["process"]["args"] = json!(args);
        config["process"]["noNewPrivileges"] = json!(no_new_privileges);
        if let Some(profile) = profile {
            config["linux"]["seccomp"] = profile.clone();
        }
        fs::write(self.path.join("config.json"), config.to_string()).unwrap();
    }

    /// Runs a container to its end and its recording's; gives the recording's name and what came of it.
    #[track_caller]
    pub fn run(&self, how: How, args: &[&str], profile: Option<&Value>) -> (String, Out) {
        self.configure(args, how.1, profile);
        let id = self.live.id();
        let out = self.live.run_container(how.0, &self.path, &id);
        self.live.expect_nothing_left();
        (id, out)
    }

    /// Records a container as it is without a profile, with everything it may need: runc, privileges by execve.
    #[track_caller]
    pub fn record(&self, work: &Workload<'_>) -> String {
        let (id, out) = self.run((Runc, false), work.args, None);
        assert_eq!((out.stdout.as_str(), out.code), (work.output, work.code), "not recorded: {}", out.stderr);
        id
    }

    /// Starts it under the profile in each of these ways: it does its work, and nothing is refused.
    #[track_caller]
    pub fn holds(&self, work: &Workload<'_>, profile: &Value, starts: &[How]) {
        for how in starts {
            let (id, out) = self.run(*how, work.args, Some(profile));
            let refused = denials(self.live, &id);
            let right = (out.stdout.as_str(), out.code) == (work.output, work.code) && refused.is_empty();
            assert!(right, "{}", self.told(*how, work.args, profile, &id, &out));
        }
    }

    /// Starts it with a call more than was recorded: that is refused, and told.
    #[track_caller]
    pub fn refuses(&self, work: &Workload<'_>, profile: &Value, starts: &[How]) {
        for how in starts {
            let (id, out) = self.run(*how, work.beyond, Some(profile));
            let told = || self.told(*how, work.beyond, profile, &id, &out);
            assert_eq!(out.stdout, format!("{}{}", work.output, work.told), "{}", told());
            let refused = denials(self.live, &id);
            assert!(refused.len() == 1 && is_mkdir(&refused[0], work.comm), "{refused:?}\n{}", told());
        }
    }

    /// Everything that may tell why a start went wrong.
    fn told(&self, how: How, args: &[&str], profile: &Value, id: &str, out: &Out) -> String {
        let recorded = if self.live.recordings(id).is_empty() {
            "no recording".to_owned()
        } else {
            let refused = self.live.bin(&["seccomp", "denials", id]);
            let report = self.live.bin(&["report", id, "--with-runtime", "--format", "text"]);
            let tail: Vec<&str> = report.stdout.lines().collect();
            let tail = tail[tail.len().saturating_sub(60)..].join("\n");
            format!("denials: {}{}\nreport:\n{tail}", refused.stdout, refused.stderr)
        };
        format!(
            "{args:?} by {how:?} ended with {:?}\nstdout: {}\nstderr: {}\nprofile: {profile}\n{recorded}",
            out.status, out.stdout, out.stderr
        )
    }
}

/// Records, generates, and starts again in every way; see [`Workload`].
#[track_caller]
pub fn round_trip(bundle: &Bundle<'_>, work: &Workload<'_>, starts: &[How]) {
    let id = bundle.record(work);
    let profile = generate(bundle.live, &[&id]);
    bundle.holds(work, &profile, starts);
    bundle.refuses(work, &profile, &starts[..1]);
}

/// `seccomp generate ARGS`, which must succeed: the profile.
#[track_caller]
pub fn generate(live: &Live, args: &[&str]) -> Value {
    let out = live.bin(&[&["seccomp", "generate"], args].concat()).expect_code(0);
    serde_json::from_str(&out.stdout).unwrap_or_else(|why| panic!("{why}: {}", out.stdout))
}

/// `seccomp denials --json ID`: the entries.
#[track_caller]
pub fn denials(live: &Live, id: &str) -> Vec<Value> {
    let out = live.bin(&["seccomp", "denials", "--json", id]);
    let told: Value = serde_json::from_str(&out.stdout).unwrap_or_else(|why| panic!("{why}: {out:?}"));
    told["denials"].as_array().expect("denials").clone()
}

/// Whether an entry is of one mkdir by `comm` that got what profiles give by default.
pub fn is_mkdir(denial: &Value, comm: &str) -> bool {
    matches!(denial["call"].as_str(), Some("mkdir" | "mkdirat"))
        && (&denial["answer"], &denial["count"], &denial["comm"]) == (&json!("ENOSYS"), &json!(1), &json!(comm))
        && denial["pid"].as_i64().is_some_and(|pid| pid > 0)
        && denial["first"].as_str().is_some()
}

/// The names that a profile allows whatever the arguments.
pub fn allowed(profile: &Value) -> Vec<String> {
    let rules = profile["syscalls"].as_array().unwrap().iter();
    let rules = rules.filter(|rule| rule["action"] == "SCMP_ACT_ALLOW" && rule.get("args").is_none());
    let names = rules.flat_map(|rule| rule["names"].as_array().unwrap());
    names.map(|name| name.as_str().unwrap().to_owned()).collect()
}

/// The shared libraries and the loader of a program, by that loader; none if it is static.
pub fn closure(program: &Path) -> Vec<PathBuf> {
    let Some(loader) = interpreter(program) else { return Vec::new() };
    let listed = Command::new(&loader).arg("--list").arg(program).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let words = listed.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    words.map(PathBuf::from).chain([loader.clone()]).collect()
}

/// What an ELF file's PT_INTERP says.
fn interpreter(program: &Path) -> Option<PathBuf> {
    let bytes = fs::read(program).unwrap();
    let number = |at: usize, len: usize| {
        let bytes = bytes[at..at + len].iter().rev();
        bytes.fold(0usize, |sum, byte| sum << 8 | usize::from(*byte))
    };
    // Where word sizes differ: e_phoff, e_phentsize, e_phnum, and p_offset and p_filesz of a program header.
    let (phoff, entsize, num, offset, filesz, word) =
        if bytes[4] == 2 { (0x20, 0x36, 0x38, 8, 0x20, 8) } else { (0x1c, 0x2a, 0x2c, 4, 0x10, 4) };
    let headers = (0..number(num, 2)).map(|nth| number(phoff, word) + nth * number(entsize, 2));
    let header = headers.into_iter().find(|header| number(*header, 4) == 3)?;
    let from = number(header + offset, word);
    let text = &bytes[from..from + number(header + filesz, word) - 1];
    Some(PathBuf::from(String::from_utf8(text.to_vec()).unwrap()))
}
