// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Containers of real runc as containerd's are: ids, bundles where it keeps them, and its annotations.
#![allow(dead_code, clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::{json, Value};

use super::live::Live;

/// Where containerd keeps the bundles of Kubernetes's containers.
pub const CONTAINERD: &str = "/run/containerd/io.containerd.runtime.v2.task/k8s.io";

/// Bundles in containerd's place, removed when the test ends.
#[derive(Default)]
pub struct Places(Vec<PathBuf>);
impl Drop for Places {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = fs::remove_file(path);
        }
        // Empty, unless it is a real one's.
        let mut dir = Path::new(CONTAINERD);
        while fs::remove_dir(dir).is_ok() {
            dir = dir.parent().unwrap();
        }
    }
}

impl Places {
    /// Starts a container whose bundle is found where containerd would have it; gives its id.
    pub fn start(&mut self, live: &Live, args: &[&str], annotations: &Value, hooks: Value) -> String {
        let id = hex_id(live);
        let bundle = bundle(live, args, annotations, hooks);
        fs::create_dir_all(CONTAINERD).unwrap();
        let place = Path::new(CONTAINERD).join(&id);
        symlink(&bundle, &place).unwrap();
        self.0.push(place);
        live.start_container(&bundle, &id);
        id
    }
}

/// An id as engines make them up.
pub fn hex_id(live: &Live) -> String {
    // What differs stands in front.
    let digits: String = live.id().bytes().rev().map(|byte| format!("{byte:02x}")).collect();
    format!("{digits:0<64}")[..64].to_owned()
}

/// What containerd says of a container.
pub fn containerd(pod: &str, name: &str) -> Value {
    json!({
        "io.kubernetes.cri.container-type": "container",
        "io.kubernetes.cri.container-name": name,
        "io.kubernetes.cri.image-name": "docker.io/library/busybox:1.36",
        "io.kubernetes.cri.sandbox-id": "1".repeat(64),
        "io.kubernetes.cri.sandbox-name": pod,
        "io.kubernetes.cri.sandbox-namespace": "shop",
        "io.kubernetes.cri.sandbox-uid": "0d4c1c6f-8f0a-4a75-9a55-0a3f6b1ed3a1",
    })
}

/// A bundle with annotations and hooks.
pub fn bundle(live: &Live, args: &[&str], annotations: &Value, hooks: Value) -> PathBuf {
    let bundle = live.bundle_with(args, hooks);
    let path = bundle.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config["annotations"] = annotations.clone();
    fs::write(&path, config.to_string()).unwrap();
    bundle
}
