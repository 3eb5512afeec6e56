// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Profiles in the forms of others are what those read: the Security Profiles Operator's resource by its schema,
//! systemd's settings by systemd-analyze. Made of recordings that other machines made; live_seccomp has the runtimes' own
//! parsers. And what no live test can have at will: where a recording begins, has a gap, or is damaged.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "common/machine.rs"]
mod machine;
#[path = "support/synthetic.rs"]
mod synthetic;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ftrace_analyzer::recording::EndState;
use machine::{entries, run, skip, which, Out, BIN, SOURCE};
use serde_json::{json, Value};
use synthetic::Synthetic;

/// The committed recordings, with the machine's name.
fn recordings() -> Vec<(String, PathBuf)> {
    let machines = entries(&Path::new(SOURCE).join("tests/recordings"));
    let found = machines.iter().flat_map(|machine| {
        let name = machine.file_name().unwrap().to_str().unwrap().to_owned();
        entries(machine).into_iter().filter(|path| path.is_dir()).map(move |path| (name.clone(), path))
    });
    found.collect()
}

/// `seccomp generate ARGS RECORDING`.
#[track_caller]
fn generate(recording: &Path, args: &[&str]) -> Out {
    let mut command = Command::new(BIN);
    command.args(["seccomp", "generate"]).args(args).arg(recording);
    run(command, b"")
}

/// A directory for a test's files, gone with it.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let dir = std::env::temp_dir().join(format!("ftrace-analyzer-forms-{}-{name}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        Place(dir)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_operators_resource_validates_against_its_schema() {
    let test = "the_operators_resource_validates_against_its_schema";
    // Where tests/run puts the Python packages.
    let packages = Path::new(env!("CARGO_TARGET_TMPDIR")).join("perfetto");
    if which("python3").is_none() || !packages.join("yaml").is_dir() || !packages.join("jsonschema").is_dir() {
        return skip(test, "no python3 with the packages PyYAML and jsonschema; tests/run installs them");
    }
    let place = Place::new("crd");
    for (machine, recording) in recordings() {
        for options in [&[][..], &["--portable"], &["--args"], &["--name", "Some Name_of.mine"]] {
            let (resource, profile) = (place.0.join("crd.yaml"), place.0.join("oci.json"));
            let crd = generate(&recording, &[&["--format", "crd", "-o", resource.to_str().unwrap()], options].concat());
            crd.expect_code(0);
            generate(&recording, &[&["--format", "oci", "-o", profile.to_str().unwrap()], options].concat())
                .expect_code(0);
            let mut command = Command::new("python3");
            command.arg(Path::new(SOURCE).join("tests/exports/crd.py")).arg(&resource).arg(&profile);
            command.env("PYTHONPATH", &packages).env("PYTHONDONTWRITEBYTECODE", "1");
            let out = run(command, b"");
            assert_eq!(out.code, 0, "{machine} {options:?}: {out:?}\n{}", fs::read_to_string(&resource).unwrap());
        }
    }
}

#[test]
fn systemds_settings_pass_systemd_analyze() {
    let test = "systemds_settings_pass_systemd_analyze";
    if which("systemd-analyze").is_none() {
        return skip(test, "no systemd-analyze (Debian's package systemd)");
    }
    let place = Place::new("systemd");
    let unit = place.0.join("traced.service");
    let settings = place.0.join("traced.service.d/seccomp.conf");
    fs::create_dir(place.0.join("traced.service.d")).unwrap();
    fs::write(&unit, "[Service]\nType=oneshot\nExecStart=/bin/true\n").unwrap();
    let verify = || {
        let mut command = Command::new("systemd-analyze");
        command.args(["verify", "--man=no"]).arg(&unit).env("SYSTEMD_LOG_COLOR", "0");
        run(command, b"")
    };
    let told = |out: &Out| {
        let ours = out.stderr.lines().filter(|line| line.contains("traced.service") || line.contains("seccomp"));
        ours.map(str::to_owned).collect::<Vec<String>>()
    };
    for (machine, recording) in recordings() {
        for options in [&[][..], &["--portable"]] {
            let made = generate(&recording, &[&["--format", "systemd"], options].concat()).expect_code(0).stdout;
            fs::write(&settings, &made).unwrap();
            let out = verify();
            assert_eq!((out.code, told(&out)), (0, Vec::new()), "{machine} {options:?}: {made}\n{out:?}");
            // It reads what is there: the last word of the list, spoilt, is not passed over.
            let at = made.rfind("execve").unwrap();
            fs::write(&settings, format!("{}xecve{}", &made[..at], &made[at + 6..])).unwrap();
            let out = verify();
            assert!(told(&out).iter().any(|line| line.contains("xecve")), "{machine}: {out:?}");
        }
    }
}

/// A recording that holds what `write` writes down.
fn synthetic(place: &Place, write: impl FnOnce(&mut Synthetic)) -> PathBuf {
    let mut synthetic = Synthetic::new(&place.0, synthetic::meta(1));
    write(&mut synthetic);
    synthetic.finish(EndState::Complete, "the command ended").dir
}

/// `seccomp denials --json RECORDING`.
#[track_caller]
fn denials(recording: &Path) -> Value {
    let mut command = Command::new(BIN);
    command.args(["seccomp", "denials", "--json"]).arg(recording);
    serde_json::from_str(&run(command, b"").expect_code(0).stdout).unwrap()
}

const MKDIR: i64 = 83;
const GETPPID: i64 = 110;
const ENOSYS: i64 = -38;

#[test]
fn a_tasks_first_exit_is_no_denial_and_its_second_is_one() {
    // When tracing began, the task may have been within the call.
    let place = Place::new("first");
    let one = synthetic(&place, |events| {
        events.after(5).exit(0, 100, MKDIR, ENOSYS).after(5).call(0, 100, GETPPID, &[], 1, 7);
    });
    assert_eq!(denials(&one)["denials"], json!([]));
    let place = Place::new("second");
    let two = synthetic(&place, |events| {
        events.after(5).exit(0, 100, MKDIR, ENOSYS).after(5).exit(0, 100, MKDIR, ENOSYS).after(5);
        events.exit(0, 100, MKDIR, ENOSYS).call(0, 100, GETPPID, &[], 1, 7);
    });
    let told = &denials(&two)["denials"];
    assert_eq!((&told[0]["call"], &told[0]["count"], &told[1]), (&json!("mkdir"), &json!(2), &Value::Null));
}

#[test]
fn an_exit_behind_a_gap_is_no_denial() {
    let place = Place::new("gap");
    let dir = synthetic(&place, |events| {
        events.after(5).call(0, 100, GETPPID, &[], 1, 7).lose(0, 3).after(5).exit(0, 100, MKDIR, ENOSYS);
        events.after(5).call(0, 100, GETPPID, &[], 1, 7);
    });
    let mut command = Command::new(BIN);
    command.args(["seccomp", "denials", "--json"]).arg(&dir);
    let out = run(command, b"").expect_code(4);
    assert_eq!(serde_json::from_str::<Value>(&out.stdout).unwrap()["denials"], json!([]));
    // Nor does it make a profile; damage does not either.
    assert!(generate(&dir, &[]).expect_code(1).stderr.contains("lost"));
    generate(&dir, &["--force"]).expect_code(0);
}

#[test]
fn a_damaged_recording_makes_no_profile() {
    let place = Place::new("damaged");
    let dir = synthetic(&place, |events| {
        for _ in 0..300 {
            events.after(5).call(0, 100, GETPPID, &[], 1, 7);
        }
    });
    generate(&dir, &[]).expect_code(0);
    let pages = entries(&dir).into_iter().find(|path| path.extension().is_some_and(|name| name == "pages")).unwrap();
    let mut bytes = fs::read(&pages).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 64].fill(0xff);
    fs::write(&pages, bytes).unwrap();
    let out = generate(&dir, &[]).expect_code(1);
    assert!(out.stdout.is_empty() && out.stderr.contains("no profile is made"), "{out:?}");
    generate(&dir, &["--force"]).expect_code(0);
}
