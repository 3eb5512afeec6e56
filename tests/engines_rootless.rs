// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Podman of an ordinary user: root's helper records its containers for the user, who reads the recordings.
#![allow(clippy::unwrap_used)]

#[path = "common/engine.rs"]
mod engine;

use engine::{pause, wait_for, Groups, Machine, BIN, FIRST, IMAGE, SECOND, USER};

const RELEASES: [(&str, Groups); 2] = [("bookworm", Groups::Own), ("trixie", Groups::V2)];

/// A machine with the helper running, hooks of both ways and the user's image.
fn machine(test: &str, release: &str, groups: Groups) -> Option<Machine> {
    let mut machine = Machine::new(test, release, groups)?;
    let containers = "[containers]\nlog_driver = \"k8s-file\"\nnetns = \"none\"\n\
        [engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n";
    machine.write("/etc/containers/containers.conf", containers);
    for way in ["podman", "cdi"] {
        machine.bin(&["hooks", "install", "--runtime", way]).expect_code(0);
    }
    let socket = "/run/ftrace-analyzer.socket";
    machine.daemon("helper", &[BIN, "serve", "--listen", socket]);
    wait_for("the helper", || machine.path(socket).exists().then_some(()));
    machine.run_as_user(&["podman", "load", "-q", "-i", "/images/box.tar"]).expect_code(0);
    Some(machine)
}

fn is_recorded(test: &str, options: &[&str]) {
    for (release, groups) in RELEASES {
        let Some(machine) = machine(&format!("{test}_of_{release}"), release, groups) else { continue };
        for runtime in ["runc", "crun"] {
            let run = ["podman", "--runtime", runtime, "run", "--detach"];
            let out = machine.run_as_user(&[&run[..], options, &[IMAGE, FIRST]].concat()).expect_code(0);
            let id = out.stdout.trim();
            wait_for("the container's program", || {
                machine.run_as_user(&["podman", "logs", id]).stdout.contains("this is first").then_some(())
            });
            machine.live.wait_for_watch(None);
            for _ in 0..4 {
                let out = machine.run_as_user(&["podman", "exec", id, SECOND]).expect_code(7);
                assert_eq!(out.stdout, "this is second\n");
                pause(100);
            }
            machine.run_as_user(&["podman", "rm", "--force", "--time", "0", id]).expect_code(0);
            machine.is_recorded_for(USER, id);
        }
        machine.run_as_user(&["podman", "run", "--rm", IMAGE, SECOND]).expect_code(7);
        let recordings = machine.live.path(&format!("recordings/users/{USER}"));
        let all = engine::entries(&recordings).into_iter().filter(|path| path.is_dir());
        assert_eq!(all.count(), 2, "nobody asked for another");
        machine.user_is_done();
        machine.nothing_left();
    }
}

#[test]
fn podman_of_an_ordinary_user_records_by_annotation() {
    let annotation = ["--annotation", "ftrace-analyzer/trace=true"];
    is_recorded("podman_of_an_ordinary_user_records_by_annotation", &annotation);
}

#[test]
fn podman_of_an_ordinary_user_records_by_device() {
    let device = ["--device", "ftrace-analyzer/trace=syscalls"];
    is_recorded("podman_of_an_ordinary_user_records_by_device", &device);
}
