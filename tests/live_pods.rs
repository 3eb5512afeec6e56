// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Live: containers of pods under real runc, with bundles and annotations as containerd, CRI-O and Podman make them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "common/live.rs"]
mod live;
#[path = "common/pods.rs"]
mod pods;

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use live::{wait_for, Live, Runc};
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;
use pods::{bundle, containerd, hex_id, Places, CONTAINERD};
use serde_json::{json, Value};

/// The hooks of a container that is to be recorded if it asks.
fn hooks(live: &Live) -> Value {
    let start = live.hook(&["start", "--if-annotation", "ftrace-analyzer/trace=true"]);
    json!({ "createRuntime": [start], "poststop": [live.hook(&["stop"])] })
}

#[test]
fn a_pods_container_is_attached_to_by_its_pod_and_found_by_it_ever_after() {
    let test = "a_pods_container_is_attached_to_by_its_pod_and_found_by_it_ever_after";
    let Some(live) = Live::new(test, &[Runc]) else { return };
    let pod = format!("web-{}", std::process::id());
    let mut places = Places::default();
    let id = places.start(&live, &["sleep", "60"], &containerd(&pod, "app"), json!({}));
    let other = places.start(&live, &["sleep", "60"], &containerd(&pod, "log"), json!({}));
    let mut sandbox = containerd(&pod, "");
    sandbox["io.kubernetes.cri.container-type"] = json!("sandbox");
    places.start(&live, &["sleep", "60"], &sandbox, json!({}));

    let (whole, both) = (format!("pod:shop/{pod}/app"), format!("pod:shop/{pod}"));
    let said = live.bin(&["attach", &both]).expect_code(1).stderr;
    assert!(said.contains("2 containers begin with pod:shop/"), "{said}");
    for name in ["app", "log"] {
        assert!(said.contains(&format!(" shop/{pod}/{name}")), "{said}");
    }
    for wrong in [format!("pod:shop/{pod}/ap"), format!("pod:default/{pod}/app"), format!("pod:shop/{pod}x")] {
        let said = live.bin(&["attach", &wrong]).expect_code(1).stderr;
        assert!(said.contains("on this machine not found"), "{said}");
    }

    let mut attach = live.start(&["attach", &whole], "attach");
    wait_for("the recorder", || live.recorder(&id));
    // What is recorded is one of two no longer where running recordings are meant, and still is to attach.
    live.bin(&["attach", &both]).expect_code(1);
    let listed = live.bin(&["list", &both]).expect_code(0).stdout;
    assert!(listed.contains(&format!("shop/{pod}/app")) && listed.contains("running"), "{listed}");
    assert!(!listed.contains(&other), "{listed}");
    live.bin(&["stop", &both]).expect_code(0);
    assert_eq!(live::wait(&mut attach, "attach").code(), Some(0));

    let meta = live.meta(&live.recordings(&id)[0]);
    let container = &meta["container"];
    assert_eq!(
        (&container["namespace"], &container["pod"], &container["name"]),
        (&json!("shop"), &json!(pod), &json!("app"))
    );
    assert_eq!(container["pod_uid"], json!("0d4c1c6f-8f0a-4a75-9a55-0a3f6b1ed3a1"));
    assert_eq!(container["image"], json!("docker.io/library/busybox:1.36"));
    assert!(!container["capabilities"].as_array().unwrap().is_empty(), "as by a hook: {container}");
    assert!(container["bundle"].as_str().unwrap().starts_with(CONTAINERD), "{container}");
    for wanted in [&whole, &both, &format!("pod:{pod}")] {
        let report = live.bin(&["report", wanted]).expect_code(0).stdout;
        assert!(report.contains(&format!("# container of pod:shop/{pod}/app, image docker.io/")), "{report}");
        let first = &live.report_json(wanted, &[])[0];
        assert_eq!(first["container"]["pod"], json!(pod));
        live.bin(&["seccomp", "denials", wanted]).expect_code(0);
    }
    live.bin(&["report", &format!("pod:shop/{pod}/log")]).expect_code(1);
    live.bin(&["list", &format!("pod:shop/{pod}/log")]).expect_code(1);
    live.expect_nothing_left();

    // By its id, and by its engine's name where that is one container's.
    let mut attach = live.start(&["attach", &other[..12]], "other");
    wait_for("the recorder", || live.recorder(&other));
    live.bin(&["stop", &other]).expect_code(0);
    assert_eq!(live::wait(&mut attach, "attach").code(), Some(0));
    assert_eq!(live.meta(&live.recordings(&other)[0])["container"]["pod"], json!(pod));
    let said = live.bin(&["report", &both]).expect_code(1).stderr;
    assert!(said.contains(&format!("shop/{pod}/app, shop/{pod}/log")), "{said}");
    live.expect_nothing_left();
}

#[test]
fn a_container_is_found_by_the_name_that_its_engine_has_for_it() {
    let Some(live) = Live::new("a_container_is_found_by_the_name_that_its_engine_has_for_it", &[Runc]) else { return };
    let mut places = Places::default();
    let name = format!("app-{}", live.id());
    let id = places.start(&live, &["sleep", "60"], &containerd("web", &name), json!({}));
    let mut attach = live.start(&["attach", &name], "attach");
    wait_for("the recorder", || live.recorder(&id));
    live.bin(&["stop", &id]).expect_code(0);
    assert_eq!(live::wait(&mut attach, "attach").code(), Some(0));
    live.expect_nothing_left();
}

#[test]
fn a_pods_annotations_trace_the_container_that_they_name_and_no_sandbox() {
    let test = "a_pods_annotations_trace_the_container_that_they_name_and_no_sandbox";
    let Some(live) = Live::new(test, &[Runc]) else { return };
    let traced = |name: &str, more: Value| {
        let mut annotations = containerd("web", name);
        for (key, value) in more.as_object().unwrap() {
            annotations[key] = value.clone();
        }
        let id = live.id();
        live.run_container(Runc, &bundle(&live, &["true"], &annotations, hooks(&live)), &id).expect_code(0);
        let recordings = live.recordings(&id);
        recordings.first().map(|recording| live.meta(recording))
    };
    let one = json!({ "ftrace-analyzer/trace.app": "true", "ftrace-analyzer/mode.app": "count" });
    let meta = traced("app", one.clone()).expect("a recording");
    assert_eq!((&meta["options"]["mode"], &meta["container"]["name"]), (&json!("count"), &json!("app")));
    assert!(traced("log", one).is_none());
    let but = json!({ "ftrace-analyzer/trace": "true", "ftrace-analyzer/trace.log": "false" });
    assert!(traced("app", but.clone()).is_some());
    assert!(traced("log", but).is_none());
    let sandbox = json!({ "ftrace-analyzer/trace": "true", "io.kubernetes.cri.container-type": "sandbox" });
    assert!(traced("", sandbox).is_none());
    live.expect_nothing_left();
}

#[test]
fn names_that_are_none_are_left_out_and_told_and_the_container_is_recorded() {
    let test = "names_that_are_none_are_left_out_and_told_and_the_container_is_recorded";
    let Some(live) = Live::new(test, &[Runc]) else { return };
    let mut annotations = containerd("../../../etc", "a\u{1b}[2Jb");
    annotations["ftrace-analyzer/trace"] = json!("true");
    let id = live.id();
    live.run_container(Runc, &bundle(&live, &["true"], &annotations, hooks(&live)), &id).expect_code(0);
    let meta = live.meta(&live.recordings(&id)[0]);
    for member in ["pod", "name"] {
        assert_eq!(meta["container"][member], json!(""), "{meta}");
    }
    assert_eq!(meta["container"]["namespace"], json!("shop"));
    let log = fs::read_to_string(live.path("run/hook.log")).unwrap();
    assert!(
        log.contains("io.kubernetes.cri.sandbox-name, io.kubernetes.cri.container-name, annotations that are no names"),
        "{log}"
    );
    live.expect_nothing_left();
}

#[test]
fn a_container_of_a_podman_pod_is_named_by_podmans_list_and_the_pods_hostname() {
    let test = "a_container_of_a_podman_pod_is_named_by_podmans_list_and_the_pods_hostname";
    let Some(live) = Live::new(test, &[Runc]) else { return };
    let base = live.path("overlay-containers");
    let id = hex_id(&live);
    let made = bundle(
        &live,
        &["true"],
        &json!({
            "io.container.manager": "libpod",
            "io.kubernetes.cri-o.SandboxID": "2".repeat(64),
            "ftrace-analyzer/trace": "true",
        }),
        hooks(&live),
    );
    let path = made.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config["process"]["env"] = json!(["PATH=/bin", "HOSTNAME=web"]);
    fs::write(&path, config.to_string()).unwrap();
    fs::create_dir_all(base.join(&id)).unwrap();
    fs::rename(&made, base.join(&id).join("userdata")).unwrap();
    let list = json!([{ "id": "3".repeat(64), "names": [], "created": "2026" }, { "id": id, "names": ["web-app"] }]);
    fs::write(base.join("containers.json"), list.to_string()).unwrap();
    live.run_container(Runc, &base.join(&id).join("userdata"), &id).expect_code(0);
    let container = live.meta(&live.recordings(&id)[0])["container"].clone();
    assert_eq!((&container["pod"], &container["name"]), (&json!("web"), &json!("app")), "{container}");
    for wanted in ["pod:default/web/app", "pod:-/web", "pod:web"] {
        live.bin(&["report", wanted]).expect_code(0);
    }
    live.bin(&["report", "pod:shop/web"]).expect_code(1);
    let listed = live.bin(&["list"]).expect_code(0).stdout;
    assert!(listed.contains(" -/web/app "), "{listed}");
    live.expect_nothing_left();
}

#[test]
fn attach_prints_as_it_goes_and_ends_with_whoever_listens() {
    let Some(live) = Live::new("attach_prints_as_it_goes_and_ends_with_whoever_listens", &[Runc]) else { return };
    let mut places = Places::default();
    let pod = format!("busy-{}", std::process::id());
    let id =
        places.start(&live, &["sh", "-c", "while :; do ls /; sleep 0.1; done"], &containerd(&pod, "app"), json!({}));
    let begin = |name: &str| {
        let mut command = live.command(live::BIN);
        command.args(["attach", "--follow", &format!("pod:shop/{pod}/app")]).process_group(0);
        command.stdin(Stdio::piped()).stdout(File::create(live.path(name)).unwrap());
        let child = command.stderr(File::create(live.path(&format!("{name}.err"))).unwrap()).spawn().unwrap();
        wait_for("calls", || {
            fs::read_to_string(live.path(name)).is_ok_and(|text| text.matches("openat(").count() > 2).then_some(())
        });
        child
    };
    // A pipe of standard input that closes.
    let mut child = begin("closed");
    drop(child.stdin.take());
    assert_eq!(live::wait(&mut child, "attach").code(), Some(0));
    let said = fs::read_to_string(live.path("closed.err")).unwrap();
    assert!(said.contains(" of pod:shop/") && said.contains(" 0 lost"), "{said}");
    live.expect_nothing_left();
    // Ctrl-C.
    let mut child = begin("interrupted");
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    assert_eq!(live::wait(&mut child, "attach").code(), Some(0));
    live.expect_nothing_left();
    // Killed: the recorder ends by itself.
    let mut child = begin("killed");
    kill(Pid::from_raw(child.id() as i32), Signal::SIGKILL).unwrap();
    child.wait().unwrap();
    live.expect_nothing_left();
    // Whoever read went away.
    let mut command = live.command("sh");
    command.args(["-c", &format!("{} attach --follow {id} </dev/null | head -n 3", live::BIN)]);
    let out = live::run(command, b"").expect_code(0);
    assert_eq!(out.stdout.lines().count(), 3, "{}", out.stdout);
    live.expect_nothing_left();
    for recording in live.recordings(&id) {
        assert_eq!(live.meta(&recording)["state"], json!("complete"));
    }
    // And with the container itself; in another mode the report comes then.
    let mut child = live.start(&["attach", "--follow", "--mode", "count", &id], "count");
    wait_for("the recorder", || live.recorder(&id));
    live::pause(300);
    live.oci(Runc, &["delete", "--force", &id]).expect_code(0);
    assert_eq!(live::wait(&mut child, "attach").code(), Some(0));
    assert!(fs::read_to_string(live.path("count")).unwrap().contains("openat"));
    live.expect_nothing_left();
}
