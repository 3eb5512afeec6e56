// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Live: profiles start what they were recorded from, and keep it running. Each workload is recorded under runc, its
//! profile generated, and it is started again under the profile by runc and by crun, with and without
//! `noNewPrivileges`: it does the same work, ends with the same status, and nothing is refused. With one call more, that
//! one is refused and reported.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "common/round_trip.rs"]
mod round_trip;

use std::path::{Path, PathBuf};

use round_trip::*;
use serde_json::json;

/// The starts of a workload. On a board, where each takes seconds, one of each runtime; all four of the shell.
const STARTS: &[How] = if BOARD { &[(Runc, false), (Crun, false)] } else { &EVERY_START };

const NOT_THERE: &str = "beyond: Function not implemented\n";

/// A test's corner and a bundle in it, or the test is skipped.
macro_rules! bundle {
    ($live:ident, $bundle:ident, $test:literal $(, $need:expr)*) => {
        let Some($live) = Live::new($test, &[Runc, Crun $(, $need)*]) else { return };
        let $bundle = Bundle::new(&$live);
    };
}

#[test]
fn shell_pipelines_run_under_their_profile() {
    bundle!(live, bundle, "shell_pipelines_run_under_their_profile");
    let script = "(echo two; echo one; echo two) | sort | uniq -c | tr -d ' ' >/tmp/sorted; cat /tmp/sorted; \
                  for n in 1 2 3; do echo $n; done | while read n; do echo \"n$n\" & wait; done | grep -v n2 | wc -l; \
                  rm /tmp/sorted; x=$(ls /bin/busybox); test -e \"$x\" && echo $x";
    let beyond = format!("{script}; mkdir /tmp/new 2>&1; exit 0");
    round_trip(
        &bundle,
        &Workload {
            args: &["sh", "-c", script],
            output: "1one\n2two\n2\n/bin/busybox\n",
            code: 0,
            beyond: &["sh", "-c", &beyond],
            told: "mkdir: can't create directory '/tmp/new': Function not implemented\n",
            comm: "mkdir",
        },
        &EVERY_START,
    );
}

/// A mode of live-work, by a program of this name.
fn work(bundle: &Bundle<'_>, program: &str, mode: &[&str], output: &str, code: i32) {
    let args = [&[program], mode].concat();
    let beyond = [&args[..], &["beyond"]].concat();
    let comm = program.rsplit('/').next().unwrap();
    round_trip(bundle, &Workload { args: &args, output, code, beyond: &beyond, told: NOT_THERE, comm }, STARTS);
}

const FILES: (&[&str], &str, i32) = (&["files"], "9 bytes, 1 file, line\n", 3);
const TIMERS: (&[&str], &str, i32) = (&["timers"], "1 alarm, 10 queued, 1 by a descriptor\n", 5);

#[test]
fn a_static_c_program_runs_under_its_profile() {
    bundle!(live, bundle, "a_static_c_program_runs_under_its_profile", Cc);
    work(&bundle, "/bin/work", FILES.0, FILES.1, FILES.2);
}

#[test]
fn a_dynamic_c_program_runs_under_its_profile() {
    bundle!(live, bundle, "a_dynamic_c_program_runs_under_its_profile", Cc);
    let program = work_dynamic().expect("a C compiler that links programs");
    bundle.copy_program(program);
    std::fs::copy(program, bundle.path.join("rootfs/bin/dynamic")).unwrap();
    work(&bundle, "/bin/dynamic", FILES.0, FILES.1, FILES.2);
}

#[test]
fn a_threaded_c_program_runs_under_its_profile() {
    bundle!(live, bundle, "a_threaded_c_program_runs_under_its_profile", Cc);
    work(&bundle, "/bin/work", &["pool", "8"], "sum 108000\n", 4);
}

#[test]
fn signals_and_timers_work_under_their_profile() {
    bundle!(live, bundle, "signals_and_timers_work_under_their_profile", Cc);
    work(&bundle, "/bin/work", TIMERS.0, TIMERS.1, TIMERS.2);
}

#[test]
fn a_server_and_its_client_run_under_their_profile() {
    bundle!(live, bundle, "a_server_and_its_client_run_under_their_profile", Cc);
    work(&bundle, "/bin/work", &["net"], "client: pong\nserver: ping\nclient ended with 3\n", 6);
}

#[test]
fn a_32_bit_program_runs_under_its_profile() {
    bundle!(live, bundle, "a_32_bit_program_runs_under_its_profile", Work32);
    work(&bundle, "/bin/work32", TIMERS.0, TIMERS.1, TIMERS.2);
    // One beside the other: what both are allowed is one list, for both architectures.
    let script = "work32 files; work32 pool 3; work files; exit 9";
    let beyond = "work32 files; work32 pool 3; work files beyond";
    round_trip(
        &bundle,
        &Workload {
            args: &["sh", "-c", script],
            output: &format!("{0}sum 18000\n{0}", FILES.1),
            code: 9,
            beyond: &["sh", "-c", beyond],
            told: NOT_THERE,
            comm: "work",
        },
        &STARTS[..2],
    );
}

#[test]
fn python_runs_under_its_profile() {
    bundle!(live, bundle, "python_runs_under_its_profile");
    let Some((program, library)) = python() else {
        return skip("python_runs_under_its_profile", "no python3");
    };
    bundle.copy_program(&program);
    // Its modules are too many to copy; and none must be looked for in the mount that is not there.
    std::fs::create_dir_all(bundle.path.join("rootfs").join(library.strip_prefix("/").unwrap())).unwrap();
    let mount = json!({ "destination": library, "type": "bind", "source": library, "options": ["rbind", "ro"] });
    bundle.edit(|config| config["mounts"].as_array_mut().unwrap().push(mount));
    let script = "import json, os, tempfile, threading\n\
                  numbers = []\n\
                  threads = [threading.Thread(target=numbers.append, args=(n,)) for n in range(3)]\n\
                  [thread.start() for thread in threads], [thread.join() for thread in threads]\n\
                  with tempfile.TemporaryFile('w+') as file:\n\
                  \x20   json.dump({'sum': sum(numbers), 'files': sorted(os.listdir('/'))[:2]}, file)\n\
                  \x20   file.seek(0)\n\
                  \x20   print(file.read(), flush=True)\n";
    let beyond =
        format!("{script}try:\n    os.mkdir('/tmp/new')\nexcept OSError as error:\n    print(error.strerror)\n");
    let program = program.to_str().unwrap();
    round_trip(
        &bundle,
        &Workload {
            args: &[program, "-S", "-B", "-I", "-c", script],
            output: "{\"sum\": 3, \"files\": [\"bin\", \"dev\"]}\n",
            code: 0,
            beyond: &[program, "-S", "-B", "-I", "-c", &beyond],
            told: "Function not implemented\n",
            comm: Path::new(program).file_name().unwrap().to_str().unwrap(),
        },
        STARTS,
    );
}

/// The program behind `python3`, and where its modules are.
fn python() -> Option<(PathBuf, PathBuf)> {
    let script =
        "import os, sys, sysconfig; print(os.path.realpath(sys.executable)); print(sysconfig.get_path('stdlib'))";
    let mut command = std::process::Command::new(which("python3")?);
    command.args(["-c", script]);
    let out = run(command, b"").expect_code(0);
    let mut lines = out.stdout.lines().map(PathBuf::from);
    Some((lines.next()?, lines.next()?))
}

#[test]
fn a_go_program_runs_under_its_profile() {
    bundle!(live, bundle, "a_go_program_runs_under_its_profile");
    let runc = which("runc").unwrap();
    bundle.copy_program(&runc);
    let runc = runc.to_str().unwrap();
    let script = format!(
        "cd /tmp && {runc} --version | head -n 1 && {runc} spec && grep -c ociVersion config.json; rm config.json"
    );
    let beyond = format!("{script}; mkdir /tmp/new 2>&1; exit 0");
    // Which calls its scheduler and collector make is another matter at every run.
    let mut command = std::process::Command::new(runc);
    command.arg("--version");
    let version = run(command, b"").expect_code(0).stdout;
    let output = format!("{}\n1\n", version.lines().next().unwrap());
    let work = Workload {
        args: &["sh", "-c", &script],
        output: &output,
        code: 0,
        beyond: &["sh", "-c", &beyond],
        told: "mkdir: can't create directory '/tmp/new': Function not implemented\n",
        comm: "mkdir",
    };
    let ids: Vec<String> = (0..3).map(|_| bundle.record(&work)).collect();
    let profile = generate(&live, &ids.iter().map(String::as_str).collect::<Vec<_>>());
    bundle.holds(&work, &profile, if BOARD { &STARTS[..1] } else { STARTS });
    if !BOARD {
        bundle.refuses(&work, &profile, &STARTS[..1]);
    }
}

#[test]
fn a_program_may_be_executed_in_a_container_under_its_profile() {
    let test = "a_program_may_be_executed_in_a_container_under_its_profile";
    // Alone: making and removing other instances keeps the kernel from listing what joins in time.
    let Some(live) = Live::alone(test, &[Runc, Crun]) else { return };
    let bundle = Bundle::new(&live);
    // The first process waits for the end of the one that joins it.
    let stay = "ls /bin/busybox; until [ -e /tmp/stop ]; do usleep 20000; done; rm /tmp/stop; exit 8";
    let args = ["sh", "-c", stay];
    let session = |how: How, profile: Option<&serde_json::Value>, beyond: bool| {
        bundle.configure(&args, how.1, profile);
        let id = live.id();
        live.start_container_by(how.0, &bundle.path, &id);
        live.wait_for_watch(None);
        let listed = live.oci(how.0, &["exec", &id, "/bin/sh", "-c", "ls /bin/busybox; exit 5"]);
        let context = format!("{how:?} {}", listed.stderr);
        assert_eq!((listed.stdout.as_str(), listed.code), ("/bin/busybox\n", 5), "{context}");
        if beyond {
            // The kernel takes one list of tasks in some 10 ms.
            live.wait_for_watch(None);
            let made = live.oci(how.0, &["exec", &id, "/bin/mkdir", "/tmp/new"]);
            assert_eq!(made.code, 1, "{context}");
            assert!(made.stderr.contains("Function not implemented"), "{}", made.stderr);
        }
        std::fs::write(bundle.path.join("rootfs/tmp/stop"), "").unwrap();
        live.expect_nothing_left();
        live.oci(how.0, &["delete", "--force", &id]).expect_code(0);
        id
    };
    // On a machine that does other things a join may be missed.
    let joined = |id: &str, comm: &str, times: usize| {
        let lines = live.report_json(id, &[]);
        lines.iter().filter(|line| line["type"] == "exit" && line["comm"] == comm).count() == times
    };
    let mut turns = (0..12).map(|_| session((Runc, false), None, false));
    let id = turns.find(|id| joined(id, "ls", 2)).expect("what joined is recorded, too");
    let profile = generate(&live, &[&id]);
    for how in STARTS {
        let id = session(*how, Some(&profile), false);
        assert_eq!(denials(&live, &id), Vec::<serde_json::Value>::new(), "{how:?}");
    }
    let mut turns = (0..12).map(|_| session(STARTS[0], Some(&profile), true));
    let id = turns.find(|id| joined(id, "mkdir", 1)).expect("what joined is recorded, too");
    let refused = denials(&live, &id);
    assert!(refused.len() == 1 && is_mkdir(&refused[0], "mkdir"), "{refused:?}");
}

#[test]
fn start_container_hooks_run_under_the_profile_too() {
    bundle!(live, bundle, "start_container_hooks_run_under_the_profile_too");
    let args = ["ls", "/bin/busybox"];
    bundle.edit(|config| {
        let script = "cat >/dev/null; mkdir -p /tmp/made; exit 0";
        config["hooks"]["startContainer"] = serde_json::json!([{ "path": "/bin/sh", "args": ["sh", "-c", script] }]);
    });
    let (id, out) = bundle.run((Runc, false), &args, None);
    assert_eq!((out.stdout.as_str(), out.code), ("/bin/busybox\n", 0), "{}", out.stderr);
    let profile = generate(&live, &[&id]);
    assert!(allowed(&profile).iter().any(|name| name.starts_with("mkdir")), "what the hook called");
    for how in STARTS {
        let (id, out) = bundle.run(*how, &args, Some(&profile));
        let context = format!("{how:?} {} {:?}", out.stderr, denials(&live, &id));
        assert_eq!((out.stdout.as_str(), out.code), ("/bin/busybox\n", 0), "{context}");
        assert_eq!(denials(&live, &id), Vec::<serde_json::Value>::new(), "{context}");
    }
}

#[test]
fn a_portable_profile_of_another_machine_starts_the_same_work_here() {
    bundle!(live, bundle, "a_portable_profile_of_another_machine_starts_the_same_work_here");
    // What was recorded there (cross/boards/check).
    let args = ["sh", "-c", "(exit 3); ls / >/dev/null; kill -SEGV $$"];
    // The first process of a container has no default action.
    let work = Workload { args: &args, output: "", code: 0, beyond: &[], told: "", comm: "" };
    for machine in entries(&Path::new(SOURCE).join("tests/recordings")) {
        let recording = entries(&machine).into_iter().find(|path| path.is_dir()).expect("a recording");
        let profile = generate(&live, &["--portable", recording.to_str().unwrap()]);
        bundle.holds(&work, &profile, STARTS);
    }
}
