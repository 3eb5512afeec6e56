// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The files of kubernetes/: they are what Kubernetes' published schemas allow, ask for no more than they say, and agree
//! with the program and the plugin; the plugin is a script without faults that shellcheck knows.
#![allow(clippy::unwrap_used)]

#[path = "common/machine.rs"]
mod machine;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use machine::{skip, which, BIN};
use serde_json::{json, Value};

/// The schemas that the files are held against: appArmorProfile is a member from 1.30 on.
const VERSIONS: &str = "1.30,1.33,1.37";

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Where tests/run puts the Python packages.
fn packages() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("perfetto")
}

/// All objects of the directories and the examples, validated, each with what it is from.
fn objects(test: &str) -> Option<Vec<(String, Value)>> {
    let names = ["base", "containerd", "containerd-hooks", "crio", "crio-hooks", "k3s"];
    objects_of(test, &[&names[..], &["examples/crio.yaml", "examples/containerd.yaml"]].concat())
}

/// Those of some files and directories.
fn objects_of(test: &str, names: &[&str]) -> Option<Vec<(String, Value)>> {
    if which("python3").is_none() || !packages().join("kubernetes_validate").is_dir() {
        skip(test, "no python3 with the package kubernetes-validate; tests/run installs it");
        return None;
    }
    let mut command = Command::new("python3");
    command.env("PYTHONPATH", packages()).env("PYTHONDONTWRITEBYTECODE", "1");
    command.arg(file("tests/kubernetes/manifests.py")).arg(VERSIONS);
    for name in names {
        command.arg(file("kubernetes").join(name));
    }
    let out = command.output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let lines = String::from_utf8(out.stdout).unwrap();
    let objects = lines.lines().map(|line| {
        let mut value: Value = serde_json::from_str(line).unwrap();
        (value["from"].as_str().unwrap().to_owned(), value["object"].take())
    });
    Some(objects.collect())
}

#[test]
fn manifests_are_valid_and_their_pods_ask_for_no_more_than_is_told() {
    let Some(objects) = objects("manifests_are_valid_and_their_pods_ask_for_no_more_than_is_told") else { return };
    let mut sets = 0;
    for (from, set) in objects.iter().filter(|(_, object)| object["kind"] == "DaemonSet") {
        let spec = &set["spec"]["template"]["spec"];
        let has_hooks = from.ends_with("-hooks");
        assert_eq!((&spec["hostNetwork"], &spec["hostIPC"]), (&Value::Null, &Value::Null));
        let containers = |list: &Value| list.as_array().cloned().unwrap_or_default();
        let (main, first) = (containers(&spec["containers"]), containers(&spec["initContainers"]));
        assert_eq!((main.len(), first.len()), (1, usize::from(has_hooks)), "{from}");
        for (container, capabilities) in
            main.iter().map(|c| (c, json!(["SYS_PTRACE"]))).chain(first.iter().map(|c| (c, Value::Null)))
        {
            let security = &container["securityContext"];
            assert_eq!(security["privileged"], Value::Null, "{from}");
            assert_eq!(security["capabilities"]["drop"], json!(["ALL"]), "{from}");
            assert_eq!(security["capabilities"]["add"], capabilities, "{from}");
            for (member, value) in [("allowPrivilegeEscalation", false), ("readOnlyRootFilesystem", true)] {
                assert_eq!(security[member], json!(value), "{from}");
            }
            // Each volume that is mounted is there.
            let volumes: BTreeSet<&str> =
                spec["volumes"].as_array().unwrap().iter().map(|v| v["name"].as_str().unwrap()).collect();
            for mount in container["volumeMounts"].as_array().unwrap() {
                assert!(volumes.contains(mount["name"].as_str().unwrap()), "{from}: {mount}");
            }
        }
        // No directory with an engine's socket in it, and none of the node's as a whole.
        for volume in spec["volumes"].as_array().unwrap() {
            let path = volume["hostPath"]["path"].as_str().unwrap_or_default();
            assert!(!["/", "/run", "/run/containerd", "/run/crio", "/etc"].contains(&path), "{from}: {volume}");
        }
        sets += 1;
    }
    assert_eq!(sets, 6);
}

#[test]
fn manifests_agree_with_the_plugin_and_the_program() {
    let Some(objects) = objects("manifests_agree_with_the_plugin_and_the_program") else { return };
    let plugin = fs::read_to_string(file("kubernetes/kubectl-ftrace")).unwrap();
    for (from, set) in objects.iter().filter(|(_, object)| object["kind"] == "DaemonSet") {
        let name = set["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"].as_str().unwrap();
        assert!(plugin.contains(&format!("--selector app.kubernetes.io/name={name} ")), "{from}");
        assert!(plugin.contains(&format!("-{}}}", set["metadata"]["namespace"].as_str().unwrap())), "{from}");
        let container = set["spec"]["template"]["spec"]["containers"][0]["name"].as_str().unwrap();
        assert!(plugin.contains(&format!("--container {container} ")), "{from}");
        let tag = set["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap();
        assert_eq!(tag, concat!("ftrace-analyzer:", env!("CARGO_PKG_VERSION")));
        // The verbs that its scripts call are there.
        let text = set.to_string();
        for verb in ["gc", "hooks install", "hooks remove"] {
            if text.contains(&format!("ftrace-analyzer {verb}")) {
                let out = Command::new(BIN).args(verb.split(' ')).arg("--help").output().unwrap();
                assert!(out.status.success(), "{from}: {verb}");
            }
        }
    }
    let class = objects.iter().find(|(_, object)| object["kind"] == "RuntimeClass").unwrap();
    let pods: Vec<&(String, Value)> = objects.iter().filter(|(_, object)| object["kind"] == "Pod").collect();
    let named = |from: &str| pods.iter().find(|(name, _)| name == from).unwrap().1["spec"]["runtimeClassName"].clone();
    assert_eq!((named("containerd.yaml"), named("crio.yaml")), (class.1["metadata"]["name"].clone(), Value::Null));
    for (from, pod) in pods {
        for (key, _) in pod["metadata"]["annotations"].as_object().unwrap() {
            let container = key.rsplit('.').next().unwrap();
            let all = pod["spec"]["containers"].as_array().unwrap();
            assert!(all.iter().any(|one| one["name"] == container), "{from}: {key}");
        }
    }
}

#[test]
fn the_collector_reads_dumps_and_may_do_nothing_else_on_a_node() {
    let test = "the_collector_reads_dumps_and_may_do_nothing_else_on_a_node";
    let Some(objects) = objects_of(test, &["core-collector"]) else { return };
    let of_kind = |kind: &str| objects.iter().find(|(_, object)| object["kind"] == kind).unwrap().1.clone();
    let spec = &of_kind("DaemonSet")["spec"]["template"]["spec"];
    for member in ["hostPID", "hostNetwork", "hostIPC", "initContainers"] {
        assert_eq!(spec[member], Value::Null, "{member}");
    }
    assert_eq!(spec["automountServiceAccountToken"], false);
    let container = &spec["containers"][0];
    let security = &container["securityContext"];
    assert_eq!(security["capabilities"], json!({ "drop": ["ALL"] }));
    assert_eq!((&security["privileged"], &security["allowPrivilegeEscalation"]), (&Value::Null, &json!(false)));
    assert_eq!(security["readOnlyRootFilesystem"], true);
    assert_eq!(container["image"], concat!("ftrace-analyzer:", env!("CARGO_PKG_VERSION")));
    // Of the node: the dumps, to be read, and a directory of its own.
    let of_node = |volume: &Value| Some((volume["name"].clone(), volume["hostPath"]["path"].as_str()?.to_owned()));
    let volumes: Vec<_> = spec["volumes"].as_array().unwrap().iter().filter_map(of_node).collect();
    let wanted = [("cores", "/var/lib/ftrace-analyzer/cores"), ("state", "/var/lib/ftrace-analyzer-collector")];
    assert_eq!(volumes, wanted.map(|(name, path)| (json!(name), path.to_owned())));
    let mounts = container["volumeMounts"].as_array().unwrap();
    let mount = |name: &str| mounts.iter().find(|mount| mount["name"] == name).unwrap();
    assert_eq!(mount("cores")["readOnly"], true);
    // What the others name is there.
    assert_eq!(
        spec["volumes"][2]["persistentVolumeClaim"]["claimName"],
        of_kind("PersistentVolumeClaim")["metadata"]["name"]
    );
    let map = of_kind("ConfigMap");
    assert_eq!(spec["volumes"][3]["configMap"]["name"], map["metadata"]["name"]);
    assert_eq!(
        container["command"],
        json!(["sh", format!("{}/collect", mount("script")["mountPath"].as_str().unwrap())])
    );
    assert!(map["data"]["collect"].as_str().unwrap().contains("ftrace-analyzer core list --json"));
}

#[test]
fn shellcheck_finds_nothing_in_the_scripts() {
    let shellcheck = packages().join("bin/shellcheck");
    if !shellcheck.is_file() {
        return skip("shellcheck_finds_nothing_in_the_scripts", "no shellcheck; tests/run installs it");
    }
    let scripts =
        ["kubernetes/kubectl-ftrace", "kubernetes/core-collector/collect", "tests/kubernetes/kubectl"].map(file);
    let out = Command::new(shellcheck).args(scripts).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
}
