// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Pods of real engines, `podman kube play` and containerd asked as a kubelet asks it: their containers are named, the one
//! that an annotation names is recorded, and those that nobody recorded yet are attached to by their pod.
#![allow(clippy::unwrap_used)]

#[path = "common/cores.rs"]
mod cores;
#[path = "common/engine.rs"]
mod engine;

use std::path::Path;

use cores::Cores;
use engine as live;
use engine::{script, wait_for, Groups, Machine, BIN, FIRST, IMAGE};
use serde_json::{json, Value};

/// A pod of two containers, one of which asks to be recorded.
fn pod() -> String {
    let container =
        |name| format!("  - name: {name}\n    image: {IMAGE}\n    imagePullPolicy: Never\n    command: [{FIRST}]\n");
    let head = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: web\n  annotations:\n    \
        ftrace-analyzer/trace.front: \"true\"\nspec:\n  containers:\n";
    [head, &container("front"), &container("back")].concat()
}

/// Attaches to what a word means, and ends that by the container's pod.
#[track_caller]
fn attach(machine: &mut Machine, wanted: &str, pod: &str) {
    machine.daemon("attach", &[BIN, "attach", wanted]);
    wait_for("the recorder", || machine.bin(&["list", pod]).stdout.contains("running").then_some(()));
    machine.bin(&["stop", pod]).expect_code(0);
    let report = machine.bin(&["report", pod]).expect_code(0).stdout;
    assert!(report.contains("# container of pod:"), "{report}");
}

#[test]
fn a_pod_of_podman_is_named_and_attached_to() {
    for (release, groups) in [("bookworm", Groups::Own), ("trixie", Groups::V2)] {
        let test = format!("a_pod_of_podman_is_named_and_attached_to_of_{release}");
        let Some(mut machine) = Machine::new(&test, release, groups) else { continue };
        let containers = "[containers]\npids_limit = 0\ndefault_ulimits = [\"nofile=1024:1024\", \
            \"nproc=1024:1024\"]\nlog_driver = \"k8s-file\"\nnetns = \"none\"\n\
            [engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n";
        machine.write("/etc/containers/containers.conf", containers);
        machine.run(&["podman", "load", "-q", "-i", "/images/box.tar"]).expect_code(0);
        let dir = "/usr/share/containers/oci/hooks.d";
        machine.bin(&["hooks", "install", "--runtime", "podman", "--into", dir]).expect_code(0);
        machine.write("/root/web.yaml", &pod());
        machine.run(&["podman", "play", "kube", "--network", "none", "/root/web.yaml"]).expect_code(0);

        let rows = machine.bin(&["list", "--json"]).expect_code(0).json();
        let names: Vec<_> = rows.iter().map(|row| (&row["pod"], &row["container_name"])).collect();
        assert_eq!(names, [(&json!("web"), &json!("front"))], "the one that asks, and no infrastructure");
        let said = machine.bin(&["attach", "pod:default/web"]).expect_code(1).stderr;
        assert!(said.contains("-/web/front") && said.contains("-/web/back"), "{said}");
        for wanted in ["pod:default/web/back", "web-back"] {
            attach(&mut machine, wanted, "pod:default/web/back");
        }
        machine.run(&["podman", "pod", "rm", "--force", "--time", "0", "web"]).expect_code(0);
        machine.nothing_left();
    }
}

/// A call of the runtime interface; its response.
#[track_caller]
fn cri(machine: &Machine, method: &str, request: &Value) -> Value {
    let mut command = machine.live.command("python3");
    command.env("PYTHONPATH", Path::new(env!("CARGO_TARGET_TMPDIR")).join("perfetto"));
    command.args([&script("cri.py"), &socket(machine), method, &request.to_string()]);
    serde_json::from_str(&engine::run(command, b"").expect_code(0).stdout).unwrap()
}

fn socket(machine: &Machine) -> String {
    machine.live.path("containerd.sock").display().to_string()
}

#[test]
fn a_pod_of_containerd_is_attached_to_by_its_names() {
    let test = "a_pod_of_containerd_is_attached_to_by_its_names";
    if !Path::new(env!("CARGO_TARGET_TMPDIR")).join("perfetto/grpc").is_dir() {
        return engine::skip(test, "no grpc for Python beside the build (tests/run installs it)");
    }
    let Some(mut machine) = Machine::new(test, "trixie", Groups::Own) else { return };
    let socket = socket(&machine);
    let config = format!(
        "version = 2\n[grpc]\n  address = \"{socket}\"\n[plugins.\"io.containerd.grpc.v1.cri\"]\n  \
         sandbox_image = \"{IMAGE}\"\n  disable_tcp_service = true\n  restrict_oom_score_adj = true\n"
    );
    machine.write("/etc/containerd/config.toml", &config);
    machine.daemon("containerd", &["containerd"]);
    let ctr = ["ctr", "--address", &socket];
    wait_for("containerd", || (machine.run(&[&ctr[..], &["version"]].concat()).code == 0).then_some(()));
    let import = [&ctr[..], &["--namespace", "k8s.io", "images", "import", "/images/box.tar"]].concat();
    machine.run(&import).expect_code(0);

    let pod = json!({
        "metadata": { "name": "web", "uid": "3c1f", "namespace": "shop" },
        "log_directory": machine.live.path(""),
        "linux": { "security_context": { "namespace_options": { "network": 2 } } },
    });
    let sandbox = cri(&machine, "RunPodSandbox", &json!({ "config": pod }));
    let sandbox = json!({ "pod_sandbox_id": sandbox["pod_sandbox_id"] });
    let mut ids = Vec::new();
    for name in ["front", "back"] {
        let config = json!({
            "metadata": { "name": name },
            "image": { "image": IMAGE },
            "command": [FIRST],
            "log_path": format!("{name}.log"),
        });
        let request = json!({ "pod_sandbox_id": sandbox["pod_sandbox_id"], "config": config, "sandbox_config": pod });
        let created = cri(&machine, "CreateContainer", &request);
        cri(&machine, "StartContainer", &created);
        ids.push(created["container_id"].as_str().unwrap().to_owned());
    }
    let said = machine.bin(&["attach", "pod:shop/web"]).expect_code(1).stderr;
    assert!(said.contains("2 containers begin with pod:shop/web: "), "the pause container is none: {said}");
    for wanted in ["pod:shop/web/back", "back", "web-back"] {
        attach(&mut machine, wanted, "pod:shop/web/back");
    }
    let recordings = engine::entries(&machine.live.path("recordings"));
    let container = machine.live.meta(&recordings[0])["container"].clone();
    assert_eq!((&container["pod_uid"], &container["image"]), (&json!("3c1f"), &json!(IMAGE)), "{container}");
    // What dies in one of them is told by its control group, and its names by the recording that there was.
    let cores = Cores::install(&machine.live, "core", &[]);
    let exec = ["--namespace", "k8s.io", "tasks", "exec", "--exec-id", "dies", &ids[1], "sh", "-c"];
    machine.run(&[&ctr[..], &exec, &["sh -c 'kill -SEGV $$'; true"]].concat());
    let dumps = cores.wait_for(1);
    let about: Value = serde_json::from_slice(&std::fs::read(dumps[0].join("core.json")).unwrap()).unwrap();
    let container = &about["container"];
    assert_eq!((&container["id"], &container["name"]), (&json!(ids[1]), &json!("back")), "{about}");
    assert_eq!((&container["namespace"], &container["pod"]), (&json!("shop"), &json!("web")));
    drop(cores);
    std::fs::remove_file(machine.live.path("run/hook.log")).unwrap();
    cri(&machine, "StopPodSandbox", &sandbox);
    cri(&machine, "RemovePodSandbox", &sandbox);
    machine.nothing_left();
}
