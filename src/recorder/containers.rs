// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is known of a container by its bundle, and which of those that run is meant by an id, a name or a pod.
//!
//! Control groups tell which containers run, by their ids; where engines keep the bundle of an id is known, and its
//! config.json has the annotations that a hook would get. No engine is asked: its socket is as good as root, and there are
//! five. Sources: containerd core/runtime/v2 `bundle.go`, containers/storage `overlay-containers`, Podman, CRI-O.

use std::path::{Path, PathBuf};

use super::run_state::running;
use super::target::{container_id, find_container};
use crate::error::{Error, Kind, Result};
use crate::ids::{is_pod, Pid};
use crate::oci::{parse_config, pod, CONFIG_MAX};
use crate::proc;
use crate::record::{self, record};
use crate::recording::{read_bounded, ContainerMeta};
use crate::sys;
use crate::words::next;

/// Where bundles lie, in parts: containerd's for Kubernetes in its own place and in those of k3s, k0s and microk8s; for
/// Docker and nerdctl; those of CRI-O, and of Podman with its drivers.
const PLACES: [[&str; 3]; 3] = [
    ["/run /run/k3s /run/k0s /var/snap/microk8s/common/run", "/containerd/io.containerd.runtime.v2.task/k8s.io/", ""],
    ["/run/containerd/io.containerd.runtime.v2.task", "/moby/ /default/", ""],
    ["/run/containers/storage /var/lib/containers/storage", "/overlay-containers/ /vfs-containers/", "/userdata"],
];

/// Largest list of Podman's containers that is read, in bytes: one has half a KB.
const STORAGE_MAX: usize = 4 << 20;

/// Podman's containers.json, as far as it is read.
#[derive(Default)]
struct Storage {
    all: Vec<Stored>,
}

/// A container in it.
#[derive(Default)]
struct Stored {
    id: String,
    names: Vec<String>,
}
record!(Storage { all: List });
record!(Stored { id: Text, names: Texts });

/// A container as its engine describes it.
#[derive(Debug, Default)]
pub struct Described {
    /// What recordings keep of it.
    pub meta: ContainerMeta,
    /// It holds the namespaces of its pod and runs nothing of the user's.
    pub is_sandbox: bool,
    /// Annotations that were to be names and are none.
    pub dropped: Vec<String>,
}

/// The name that Podman has for a container: it is in no annotation.
fn podman_name(bundle: &Path, id: &str) -> Option<String> {
    let base = sys::parent(sys::parent(bundle)?)?;
    let list = read_bounded(&base.join("containers.json"), STORAGE_MAX).ok()?;
    let mut storage = Storage::default();
    record::read(&[b"{\"all\":", list.as_slice(), b"}"].concat(), "containers.json", &mut storage).ok()?;
    let stored = storage.all.into_iter().find(|stored| stored.id == id)?;
    stored.names.into_iter().next().filter(|name| pod::is_name(name))
}

/// Describes a container by its bundle, and by the annotations that its state has.
pub fn describe(id: &str, bundle: &str, mut annotations: Vec<(String, String)>) -> Described {
    let mut meta = ContainerMeta { id: id.to_owned(), bundle: bundle.to_owned(), ..ContainerMeta::default() };
    let bundle = Path::new(bundle);
    let text = read_bounded(&bundle.join("config.json"), CONFIG_MAX);
    let mut env = Vec::new();
    if let Some(config) = text.ok().and_then(|text| parse_config(&text)) {
        meta.no_new_privileges = if config.process.noNewPrivileges { "yes" } else { "no" }.to_owned();
        meta.seccomp = config.linux.seccomp.defaultAction;
        if meta.seccomp.is_empty() {
            meta.seccomp.push_str("none");
        }
        meta.start_hooks = u16::try_from(config.hooks.startContainer.len()).unwrap_or(u16::MAX);
        meta.capabilities = config.process.capabilities.bounding;
        annotations.extend(config.annotations);
        env = config.process.env;
    }
    let place = pod::place(&annotations);
    [meta.namespace, meta.pod, meta.name, meta.pod_uid, meta.image] = place.texts;
    if place.by_podman && meta.name.is_empty() {
        meta.name = podman_name(bundle, id).unwrap_or_default();
        // All containers of a pod have its hostname, which is its name unless somebody gave it another. One with the
        // machine's network has the machine's.
        let node = proc::uname().1;
        let host = env.iter().find_map(|line| line.strip_prefix("HOSTNAME="));
        let host = host.filter(|host| pod::is_name(host) && *host != node);
        if let (true, true, Some(host)) = (place.in_podman_pod, meta.pod.is_empty(), host) {
            meta.pod = host.to_owned();
            // `kube play` calls them POD-CONTAINER.
            if let Some(name) = meta.name.strip_prefix(host).and_then(|name| name.strip_prefix('-')) {
                meta.name = name.to_owned();
            }
        }
    }
    Described { meta, is_sandbox: place.is_sandbox, dropped: place.dropped }
}

/// The bundle of a container, where engines keep it.
fn bundle(id: &str) -> Option<PathBuf> {
    for [bases, kinds, behind] in PLACES {
        let mut bases = bases;
        while let Some(base) = next(&mut bases) {
            let mut kinds = kinds;
            while let Some(kind) = next(&mut kinds) {
                let dir = PathBuf::from([base, kind, id, behind].concat());
                if sys::exists(&dir.join("config.json")) {
                    return Some(dir);
                }
            }
        }
    }
    None
}

/// Describes a container that runs by its id alone.
fn describe_running(id: &str) -> Described {
    match bundle(id) {
        Some(bundle) => describe(id, &bundle.to_string_lossy(), Vec::new()),
        None => {
            Described { meta: ContainerMeta { id: id.to_owned(), ..ContainerMeta::default() }, ..Described::default() }
        }
    }
}

/// The containers that run and are the pod's, or have the name: their ids, and how each is to be told.
fn named(pod: Option<&str>, name: &str) -> Vec<[String; 2]> {
    let mut found: Vec<[String; 2]> = Vec::new();
    // Those that are recorded are known wherever their bundles are.
    for state in running() {
        let is_new = !found.iter().any(|[id, _]| *id == state.container);
        if is_new && pod.is_some_and(|pod| is_pod(pod, &state.pod)) {
            found.push([state.container, state.pod]);
        }
    }
    let mut seen: Vec<String> = found.iter().map(|[id, _]| id.clone()).collect();
    for pid in proc::processes() {
        for path in proc::cgroup_paths(pid) {
            let Some(id) = container_id(&path).filter(|id| !seen.iter().any(|seen| seen == id)) else { continue };
            seen.push(id.to_owned());
            let Described { meta, is_sandbox, .. } = describe_running(id);
            let path = meta.pod_path();
            let is_it = match pod {
                Some(pod) => is_pod(pod, &path),
                // Podman's own name has its pod's in front.
                None => {
                    let own = name.strip_prefix(&*meta.pod).and_then(|name| name.strip_prefix('-')).unwrap_or(name);
                    meta.name == name || meta.name == own
                }
            };
            if is_it && !is_sandbox {
                found.push([meta.id, path]);
            }
        }
    }
    found
}

/// The container that runs and is meant by an id, a unique beginning of it, a name that its engine has for it, or
/// `pod:NAMESPACE/POD[/CONTAINER]`; and its processes, the first one first.
pub fn find(wanted: &str) -> Result<(Described, Vec<Pid>)> {
    let pod = wanted.strip_prefix("pod:");
    let mut found = find_container(if pod.is_some() { "" } else { wanted });
    if matches!(&found, Err(why) if why.kind() == Kind::NotFound) {
        let all = named(pod, wanted);
        if all.len() > 1 {
            let mut names = Vec::new();
            for [id, path] in &all {
                names.push(if pod.is_some() { path.as_str() } else { id });
            }
            return Err(Error::several("containers", wanted, &names));
        }
        match (all.first(), pod) {
            (Some([id, _]), _) => found = find_container(id),
            (None, Some(pod)) => {
                return Err(Error::not_found(["a running container of pod ", pod, " on this machine"].concat())
                    .hint("crictl ps or podman ps --pod list what runs; a container's id does as well"));
            }
            (None, None) => {}
        }
    }
    found.map(|(id, pids)| (describe_running(&id), pids))
}
