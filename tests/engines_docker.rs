// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Docker 26 of Debian 13 with hooks by device: its engine knows no other way to add hooks but a runtime in between.
#![allow(clippy::unwrap_used)]

#[path = "common/cores.rs"]
mod cores;
#[path = "common/engine.rs"]
mod engine;

use cores::Cores;
use engine as live;
use engine::{pause, wait_for, Groups, Machine, Out, FIRST, IMAGE, SECOND};
use serde_json::{json, Value};

const DEVICE: &str = "ftrace-analyzer/trace=syscalls";

#[track_caller]
fn docker(machine: &Machine, words: &[&str]) -> Out {
    machine.run(&[&["docker"], words].concat())
}

/// A machine with Docker running and the image loaded. Neither bridge nor packet filter: the containers have no network.
fn machine(test: &str) -> Option<Machine> {
    let mut machine = Machine::new(test, "trixie", Groups::Own)?;
    machine.bin(&["hooks", "install", "--runtime", "docker"]).expect_code(0);
    let settings = json!({
        "features": { "cdi": true },
        "bridge": "none",
        "iptables": false,
        "ip6tables": false,
    });
    machine.write("/etc/docker/daemon.json", &settings.to_string());
    machine.daemon("dockerd", &["dockerd"]);
    wait_for("Docker's engine", || (docker(&machine, &["info"]).code == 0).then_some(()));
    docker(&machine, &["load", "--quiet", "--input", "/images/box.tar"]).expect_code(0);
    Some(machine)
}

/// Runs a container with these options and something that joins it; gives its id once it is gone.
fn run_one(machine: &Machine, options: &[&str], recorded: bool) -> String {
    let run = [&["run", "--detach", "--network", "none"], options, &[IMAGE, FIRST]].concat();
    let id = docker(machine, &run).expect_code(0).stdout;
    let id = id.trim();
    wait_for("the container's program", || {
        docker(machine, &["logs", id]).stdout.contains("this is first").then_some(())
    });
    if recorded {
        machine.live.wait_for_watch(None);
    }
    for _ in 0..4 {
        assert_eq!(docker(machine, &["exec", id, SECOND]).expect_code(7).stdout, "this is second\n");
        pause(100);
    }
    docker(machine, &["rm", "--force", id]).expect_code(0);
    id.to_owned()
}

/// One that dies leaves a dump under its id, recorded or not.
fn dump_one(machine: &Machine, cores: &Cores<'_>, options: &[&str]) {
    let before = cores.dumps();
    // The first process of a container is not killed by its own signals.
    let words = [IMAGE, "sh", "-c", "sh -c 'kill -SEGV $$'; sleep 60"];
    let run = [&["run", "--detach", "--network", "none"], options, &words].concat();
    let id = docker(machine, &run).expect_code(0).stdout;
    let dump = wait_for("the dump", || cores.dumps().into_iter().find(|dump| !before.contains(dump)));
    let about: Value = serde_json::from_slice(&std::fs::read(dump.join("core.json")).unwrap()).unwrap();
    assert_eq!((&about["container"]["id"], &about["engine"]), (&id.trim().into(), &"docker".into()), "{about}");
    assert_eq!(about["recording"] != "", !options.is_empty(), "{about}");
    docker(machine, &["rm", "--force", id.trim()]).expect_code(0);
}

#[test]
fn docker_records_containers_by_device_and_their_dumps_are_sorted() {
    let Some(machine) = machine("docker_records_containers_by_device_and_their_dumps_are_sorted") else { return };
    let id = run_one(&machine, &["--device", DEVICE], true);
    machine.is_recorded(&id);
    run_one(&machine, &[], false);
    let all = engine::entries(&machine.live.path("recordings"));
    assert_eq!(all.len(), 1, "nobody asked for another: {all:?}");
    let cores = Cores::install(&machine.live, "core", &[]);
    dump_one(&machine, &cores, &[]);
    dump_one(&machine, &cores, &["--device", DEVICE]);
    // What it handled stands in the log, and nothing of it is a complaint.
    std::fs::remove_file(machine.live.path("run/hook.log")).unwrap();
    drop(cores);
    machine.nothing_left();
}
