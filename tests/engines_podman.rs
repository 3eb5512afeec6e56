// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Podman of two releases of Debian, with hooks by annotation (hooks.d) and by device (CDI), under runc and crun.
#![allow(clippy::unwrap_used)]

#[path = "common/cores.rs"]
mod cores;
#[path = "common/engine.rs"]
mod engine;

use cores::Cores;
use engine as live;
use engine::{pause, wait_for, Groups, Machine, BIN, FIRST, IMAGE, SECOND};

const ANNOTATION: &str = "ftrace-analyzer/trace=true";
const DEVICE: &str = "ftrace-analyzer/trace=syscalls";

/// Podman 4.3 with version 1 of control groups where the machine has that, 5.4 with version 2.
const RELEASES: [(&str, Groups); 2] = [("bookworm", Groups::Own), ("trixie", Groups::V2)];

/// A machine whose Podman needs nothing that this machine's root may not do, with the image loaded.
fn machine(test: &str, release: &str, groups: Groups) -> Option<Machine> {
    let machine = Machine::new(test, release, groups)?;
    let containers = "[containers]\npids_limit = 0\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n\
        log_driver = \"k8s-file\"\nnetns = \"none\"\n\
        [engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n";
    machine.write("/etc/containers/containers.conf", containers);
    machine.run(&["podman", "load", "-q", "-i", "/images/box.tar"]).expect_code(0);
    Some(machine)
}

/// Runs a container with these options and something that joins it; gives its id once it is gone.
fn run_one(machine: &Machine, runtime: &str, options: &[&str]) -> String {
    let run = ["podman", "--runtime", runtime, "run", "--detach"];
    let id = machine.run(&[&run[..], options, &[IMAGE, FIRST]].concat()).expect_code(0).stdout;
    let id = id.trim();
    exec(machine, id, !options.is_empty());
    machine.run(&["podman", "rm", "--force", "--time", "0", id]).expect_code(0);
    id.to_owned()
}

/// Has something join a container, more often if that is to be recorded.
fn exec(machine: &Machine, container: &str, recorded: bool) {
    wait_for("the container's program", || {
        machine.run(&["podman", "logs", container]).stdout.contains("this is first").then_some(())
    });
    if recorded {
        machine.live.wait_for_watch(None);
    }
    // As in tests/live_joins.rs: of those by crun not all are on time.
    for _ in 0..if recorded { 4 } else { 1 } {
        let out = machine.run(&["podman", "exec", container, SECOND]).expect_code(7);
        assert_eq!(out.stdout, "this is second\n");
        pause(100);
    }
}

fn both_runtimes(test: &str, way: &str, option: &[&str]) {
    for (release, groups) in RELEASES {
        let Some(machine) = machine(&format!("{test}_of_{release}"), release, groups) else { continue };
        machine.bin(&["hooks", "install", "--runtime", way]).expect_code(0);
        for runtime in ["runc", "crun"] {
            let id = run_one(&machine, runtime, option);
            machine.is_recorded(&id);
        }
        let before = engine::entries(&machine.live.path("recordings"));
        run_one(&machine, "crun", &[]);
        assert_eq!(engine::entries(&machine.live.path("recordings")), before, "nobody asked for that one");
        machine.bin(&["hooks", "remove", "--runtime", way]).expect_code(0);
        machine.nothing_left();
    }
}

#[test]
fn podman_records_containers_by_annotation() {
    both_runtimes("podman_records_containers_by_annotation", "podman", &["--annotation", ANNOTATION]);
}

#[test]
fn podman_records_containers_by_device() {
    both_runtimes("podman_records_containers_by_device", "cdi", &["--device", DEVICE]);
}

#[test]
fn podman_records_the_containers_of_a_pod_that_carries_the_annotation() {
    let test = "podman_records_the_containers_of_a_pod_that_carries_the_annotation";
    let pod = |name: &str, annotation: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  annotations:\n    {annotation}\nspec:\n  \
            hostNetwork: true\n  restartPolicy: Never\n  containers:\n  - name: front\n    image: {IMAGE}\n    \
            imagePullPolicy: Never\n    command: [{FIRST}]\n  - name: back\n    image: {IMAGE}\n    \
            imagePullPolicy: Never\n    command: [{FIRST}]\n"
        )
    };
    for (release, groups) in RELEASES {
        let Some(machine) = machine(&format!("{test}_of_{release}"), release, groups) else { continue };
        machine.bin(&["hooks", "install", "--runtime", "podman"]).expect_code(0);
        machine.write("/root/web.yaml", &pod("web", "ftrace-analyzer/trace: \"true\""));
        machine.write("/root/other.yaml", &pod("other", "ftrace-analyzer/trace: \"false\""));
        for name in ["web", "other"] {
            machine.run(&["podman", "play", "kube", &format!("/root/{name}.yaml")]).expect_code(0);
        }
        let ids = ["web-front", "web-back"].map(|container| {
            exec(&machine, container, true);
            let id = machine.run(&["podman", "inspect", "--format", "{{.Id}}", container]).expect_code(0).stdout;
            id.trim().to_owned()
        });
        exec(&machine, "other-front", false);
        for name in ["web", "other"] {
            machine.run(&["podman", "pod", "rm", "--force", "--time", "0", name]).expect_code(0);
        }
        ids.iter().for_each(|id| machine.is_recorded(id));
        let all = engine::entries(&machine.live.path("recordings"));
        assert_eq!(all.len(), 2, "neither the pod's infrastructure nor the other pod: {all:?}");
        machine.nothing_left();
    }
}

#[test]
fn a_container_of_podman_is_attached_to_by_the_beginning_of_its_id() {
    let test = "a_container_of_podman_is_attached_to_by_the_beginning_of_its_id";
    let Some(mut machine) = machine(test, "trixie", Groups::V2) else { return };
    // Not the scripts that a hook's recording begins with: it runs already.
    let run = ["podman", "run", "--detach", IMAGE, "/bin/sleep", "1000000"];
    let id = machine.run(&run).expect_code(0).stdout.trim().to_owned();
    let other = machine.run(&run).expect_code(0).stdout.trim().to_owned();
    machine.daemon("attach", &[BIN, "attach", &id[..12]]);
    machine.live.wait_for_watch(None);
    for _ in 0..4 {
        machine.run(&["podman", "exec", &id, SECOND]).expect_code(7);
        pause(100);
    }
    machine.run(&["podman", "exec", &other, "/bin/cat", "/etc/second"]).expect_code(0);
    machine.run(&["podman", "rm", "--force", "--time", "0", &id, &other]).expect_code(0);
    machine.nothing_of_ours_left();
    let text = machine.bin(&["report", &id]).expect_code(0).stdout;
    let joins = text.matches(" second] ").count();
    assert!(joins > 0 && text.contains(" --- joined the container ---\n") && !text.contains(" cat] "), "{text}");
    assert!(text.contains(" = -1 ERESTARTSYS") || text.contains("nanosleep("), "what ran before is in it: {text}");
    machine.nothing_left();
}

#[test]
fn podman_of_an_ordinary_user_starts_containers_whose_hooks_may_not_record() {
    let test = "podman_of_an_ordinary_user_starts_containers_whose_hooks_may_not_record";
    for (release, groups) in RELEASES {
        let Some(machine) = machine(&format!("{test}_of_{release}"), release, groups) else { continue };
        machine.bin(&["hooks", "install", "--runtime", "podman"]).expect_code(0);
        machine.run_as_user(&["podman", "load", "-q", "-i", "/images/box.tar"]).expect_code(0);
        for runtime in ["runc", "crun"] {
            let run = ["podman", "--runtime", runtime, "run", "--rm", "--annotation", ANNOTATION, IMAGE, SECOND];
            assert_eq!(machine.run_as_user(&run).expect_code(7).stdout, "this is second\n");
        }
        assert_eq!(engine::entries(&machine.live.path("recordings")).len(), 0);
        machine.user_is_done();
        machine.nothing_left();
    }
}

#[test]
fn a_container_of_podmans_that_dies_leaves_a_dump_under_its_id() {
    let test = "a_container_of_podmans_that_dies_leaves_a_dump_under_its_id";
    for (release, groups) in RELEASES {
        let Some(machine) = machine(&format!("{test}_of_{release}"), release, groups) else { continue };
        let cores = Cores::install(&machine.live, "core", &[]);
        machine.bin(&["hooks", "install", "--runtime", "podman"]).expect_code(0);
        for (runtime, is_recorded) in [("runc", false), ("crun", true)] {
            let before = cores.dumps();
            let options: &[&str] = if is_recorded { &["--annotation", ANNOTATION] } else { &[] };
            let run = ["podman", "--runtime", runtime, "run", "--detach"];
            // The first process of a container is not killed by its own signals.
            let words = [IMAGE, "sh", "-c", "sh -c 'kill -SEGV $$'; sleep 60"];
            let id = machine.run(&[&run[..], options, &words].concat()).expect_code(0).stdout;
            let dump = wait_for("the dump", || cores.dumps().into_iter().find(|dump| !before.contains(dump)));
            let about: serde_json::Value =
                serde_json::from_slice(&std::fs::read(dump.join("core.json")).unwrap()).unwrap();
            assert_eq!((&about["container"]["id"], &about["engine"]), (&id.trim().into(), &"podman".into()), "{about}");
            // Its recorder is known; the path that this has for the recording is one of the machine within.
            assert_eq!(about["recording"] != "", is_recorded, "{about}");
            machine.run(&["podman", "rm", "--force", "--time", "0", id.trim()]).expect_code(0);
        }
        machine.bin(&["hooks", "remove", "--runtime", "podman"]).expect_code(0);
        // What it handled stands in the log, and nothing of it is a complaint.
        std::fs::remove_file(machine.live.path("run/hook.log")).unwrap();
        drop(cores);
        machine.nothing_left();
    }
}
