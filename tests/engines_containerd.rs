// SPDX-License-Identifier: Apache-2.0 OR MIT
//! containerd 1.7 of Debian 13, asked through Kubernetes' runtime interface as a kubelet asks it: hooks by runtime handler
//! (base runtime spec, with the pod's annotations) and by device (CDI).
#![allow(clippy::unwrap_used)]

#[path = "common/engine.rs"]
mod engine;

use std::path::Path;

use engine::{pause, script, wait_for, Groups, Machine, FIRST, IMAGE, SECOND};
use serde_json::{json, Value};

const DEVICE: &str = "ftrace-analyzer/trace=syscalls";

/// A machine with containerd running, the image loaded where Kubernetes' images are.
fn machine(test: &str) -> Option<Machine> {
    let packages = Path::new(env!("CARGO_TARGET_TMPDIR")).join("perfetto");
    if !packages.join("grpc").is_dir() {
        engine::skip(test, "no grpc for Python beside the build (tests/run installs it)");
        return None;
    }
    let mut machine = Machine::new(test, "trixie", Groups::Own)?;
    let socket = socket(&machine);
    let config = format!(
        r#"version = 2
imports = ["/etc/containerd/conf.d/*.toml"]
[grpc]
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{IMAGE}"
  enable_cdi = true
  disable_tcp_service = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
"#
    );
    machine.write("/etc/containerd/config.toml", &config);
    let opt_in = ["--if-annotation", "ftrace-analyzer/trace=true"];
    for options in [&["containerd", opt_in[0], opt_in[1]][..], &["cdi"]] {
        machine.bin(&[&["hooks", "install", "--runtime"], options].concat()).expect_code(0);
    }
    machine.daemon("containerd", &["containerd"]);
    let ctr = ["ctr", "--address", &socket];
    wait_for("containerd", || (machine.run(&[&ctr[..], &["version"]].concat()).code == 0).then_some(()));
    let import = [&ctr[..], &["--namespace", "k8s.io", "images", "import", "/images/box.tar"]].concat();
    machine.run(&import).expect_code(0);
    Some(machine)
}

fn socket(machine: &Machine) -> String {
    machine.live.path("containerd.sock").display().to_string()
}

/// A call of the runtime interface; its response.
#[track_caller]
fn cri(machine: &Machine, method: &str, request: &Value) -> Value {
    let mut command = machine.live.command("python3");
    command.env("PYTHONPATH", Path::new(env!("CARGO_TARGET_TMPDIR")).join("perfetto"));
    command.args([&script("cri.py"), &socket(machine), method, &request.to_string()]);
    serde_json::from_str(&engine::run(command, b"").expect_code(0).stdout).unwrap()
}

/// Runs a pod of one container, and something that joins it; gives the container's id once all is gone.
fn run_pod(machine: &Machine, handler: &str, annotations: &Value, devices: &Value, recorded: bool) -> String {
    let pod = json!({
        "metadata": { "name": "web", "uid": "3c1f", "namespace": "shop" },
        "log_directory": machine.live.path(""),
        "annotations": annotations,
        "linux": { "security_context": { "namespace_options": { "network": 2 } } },
    });
    let sandbox = cri(machine, "RunPodSandbox", &json!({ "config": pod, "runtime_handler": handler }));
    let sandbox = json!({ "pod_sandbox_id": sandbox["pod_sandbox_id"] });
    let container = json!({
        "metadata": { "name": "front" },
        "image": { "image": IMAGE },
        "command": [FIRST],
        "log_path": "front.log",
        "CDI_devices": devices,
    });
    let request = json!({ "pod_sandbox_id": sandbox["pod_sandbox_id"], "config": container, "sandbox_config": pod });
    let created = cri(machine, "CreateContainer", &request);
    cri(machine, "StartContainer", &created);
    wait_for("the container's program", || {
        let log = std::fs::read_to_string(machine.live.path("front.log")).ok()?;
        log.contains("this is first").then_some(())
    });
    if recorded {
        machine.live.wait_for_watch(None);
    }
    for _ in 0..4 {
        let exec = json!({ "container_id": created["container_id"], "cmd": [SECOND], "timeout": 20 });
        let out = cri(machine, "ExecSync", &exec);
        assert_eq!((&out["stdout"], &out["exit_code"]), (&json!("this is second\n"), &json!(7)));
        pause(100);
    }
    cri(machine, "StopContainer", &created);
    cri(machine, "RemoveContainer", &created);
    cri(machine, "StopPodSandbox", &sandbox);
    cri(machine, "RemovePodSandbox", &sandbox);
    std::fs::remove_file(machine.live.path("front.log")).unwrap();
    created["container_id"].as_str().unwrap().to_owned()
}

/// Checks that one pod is recorded and another is not, and that the recording knows its pod.
fn is_recorded(machine: Machine, recorded: (&str, Value, Value), not: (&str, Value)) {
    let id = run_pod(&machine, recorded.0, &recorded.1, &recorded.2, true);
    machine.is_recorded(&id);
    let listed = machine.bin(&["list"]).expect_code(0).stdout;
    assert!(listed.contains("shop/web/front"), "{listed}");
    run_pod(&machine, not.0, &not.1, &json!([]), false);
    let all = engine::entries(&machine.live.path("recordings"));
    assert_eq!(all.len(), 1, "no pause container and nobody who did not ask: {all:?}");
    machine.nothing_left();
}

#[test]
fn containerd_records_containers_of_a_runtime_handler_by_annotation() {
    let Some(machine) = machine("containerd_records_containers_of_a_runtime_handler_by_annotation") else { return };
    let annotated = ("runc-trace", json!({ "ftrace-analyzer/trace": "true" }), json!([]));
    is_recorded(machine, annotated, ("runc-trace", json!({})));
}

#[test]
fn containerd_records_containers_by_device() {
    let Some(machine) = machine("containerd_records_containers_by_device") else { return };
    is_recorded(machine, ("", json!({}), json!([{ "name": DEVICE }])), ("", json!({})));
}
