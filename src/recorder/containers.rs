// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is known of a container by its bundle, and which of those that run is meant by an id, a name or a pod.
//!
//! Control groups tell which containers run, by their ids; where engines keep the bundle of an id is known, and its
//! config.json has the annotations that a hook would get. No engine is asked: its socket is as good as root, and there are
//! five. Sources: containerd core/runtime/v2 `bundle.go`, containers/storage `overlay-containers`, Podman, CRI-O.

use std::path::{Path, PathBuf};

use super::run_state::{running, RunState};
use super::target::members;
use crate::error::{Error, Result};
use crate::ids::{is_pod, ContainerId, Pid};
use crate::oci::{parse_config, pod, CONFIG_MAX};
use crate::proc;
use crate::record::{self, record};
use crate::recording::{read_bounded, ContainerMeta};
use crate::sys;
use crate::words::{next, next_part, split_once};

/// Where bundles lie, in parts: containerd's for Kubernetes in its own place and in those of k3s, k0s and microk8s; for
/// Docker and nerdctl; those of CRI-O, and of Podman with its drivers.
const PLACES: [[&str; 3]; 3] = [
    ["/run /run/k3s /run/k0s /var/snap/microk8s/common/run", "/containerd/io.containerd.runtime.v2.task/k8s.io/", ""],
    ["/run/containerd/io.containerd.runtime.v2.task", "/moby/ /default/", ""],
    ["/run/containers/storage /var/lib/containers/storage", "/overlay-containers/ /vfs-containers/", "/userdata"],
];

/// Where runtimes that nobody told another place keep what they know of a container, in parts around its id, and their names.
const RUNTIMES: [[&str; 3]; 2] = [["/run/runc/", "/state.json", "runc"], ["/run/crun/", "/status", "crun"]];

/// Largest of these files that is read, in bytes; runc's have some 30 KB.
const RUNTIMES_MAX: usize = 1 << 20;

/// Largest list of Podman's containers that is read, in bytes: one has half a KB.
const STORAGE_MAX: usize = 4 << 20;

/// A container as its engine describes it.
#[derive(Debug, Default)]
pub struct Described {
    /// What recordings keep of it.
    pub meta: ContainerMeta,
    /// It holds the namespaces of its pod and runs nothing of the user's.
    pub is_sandbox: bool,
    /// Annotations that were to be names and are none, each with a comma behind it.
    pub dropped: String,
}

/// The name that Podman has for a container: it is in no annotation.
fn podman_name(bundle: &Path, id: &str) -> Option<String> {
    let list = read_bounded(&sys::parent(sys::parent(bundle)?)?.join("containers.json"), STORAGE_MAX).ok()?;
    name_in(&String::from_utf8(list).ok()?, id).map(str::to_owned)
}

/// The same in the list's text: the members have this order and no blanks (containers/storage `Container`, encoding/json).
fn name_in<'a>(list: &'a str, id: &str) -> Option<&'a str> {
    let (_, behind) = split_once(list, &["{\"id\":\"", id, "\",\"names\":[\""].concat())?;
    split_once(behind, "\"").map(|(name, _)| name).filter(|name| pod::is_name(name))
}

/// Describes a container by its bundle; by the annotations of its state where the bundle has none.
pub fn describe(id: &str, bundle: &str, annotations: &[(String, String)]) -> Described {
    let mut meta = ContainerMeta { id: id.to_owned(), bundle: bundle.to_owned(), ..ContainerMeta::default() };
    let bundle = Path::new(bundle);
    let text = read_bounded(&bundle.join("config.json"), CONFIG_MAX);
    let config = text.ok().and_then(|text| parse_config(&text));
    if let Some(config) = &config {
        meta.no_new_privileges.push_str(if config.process.noNewPrivileges { "yes" } else { "no" });
        let action = config.linux.seccomp.defaultAction.as_str();
        meta.seccomp.push_str(if action.is_empty() { "none" } else { action });
        meta.start_hooks = u16::try_from(config.hooks.startContainer.len()).unwrap_or(u16::MAX);
    }
    let mut config = config.unwrap_or_default();
    meta.capabilities = std::mem::take(&mut config.process.capabilities.bounding);
    let known = config.annotations.as_slice();
    let place = pod::place(if known.is_empty() { annotations } else { known });
    [meta.namespace, meta.pod, meta.name, meta.pod_uid, meta.image] = place.texts;
    if place.by_podman && meta.name.is_empty() {
        meta.name = podman_name(bundle, id).unwrap_or_default();
        // All containers of a pod have its hostname, which is its name unless somebody gave it another. One with the
        // machine's network has the machine's.
        let node = proc::uname().1;
        let host = config.process.env.iter().find_map(|line| line.strip_prefix("HOSTNAME="));
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

/// What runtimes keep: crun the bundle, runc among labels.
#[derive(Default)]
struct Kept {
    bundle: String,
    config: KeptConfig,
}

#[derive(Default)]
struct KeptConfig {
    labels: Vec<String>,
}

record!(Kept { bundle: Text, config: Record });
record!(KeptConfig { labels: Texts });

/// What a runtime keeps of a container, and its name.
fn kept(id: &str) -> Option<(PathBuf, &'static str)> {
    ContainerId::new(id).ok()?;
    let place = |[before, behind, name]: [&'static str; 3]| (PathBuf::from([before, id, behind].concat()), name);
    RUNTIMES.map(place).into_iter().find(|(path, _)| sys::exists(path))
}

/// The container of a process that was started by runc or crun alone, whose control groups may be called anything: its id,
/// and which of them. `cgroups` is /proc/PID/cgroup.
pub fn of_runtime(cgroups: &str) -> Option<(String, &'static str)> {
    let mut rest = cgroups;
    while let Some(line) = next_part(&mut rest, "\n") {
        let found = line.rsplit('/').find_map(|part| Some((part, kept(part)?)));
        if let Some((id, (_, name))) = found {
            return Some((id.to_owned(), name));
        }
    }
    None
}

/// The bundle of a container as its runtime keeps it.
fn kept_bundle(id: &str) -> Option<PathBuf> {
    let (path, _) = kept(id)?;
    let mut kept = Kept::default();
    record::read(&read_bounded(&path, RUNTIMES_MAX).ok()?, "", &mut kept).ok()?;
    let labelled = kept.config.labels.iter().find_map(|label| label.strip_prefix("bundle="));
    let bundle = labelled.unwrap_or(&kept.bundle);
    Some(PathBuf::from(bundle)).filter(|_| !bundle.is_empty())
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
    kept_bundle(id)
}

/// Describes a container that runs by its id alone.
pub fn describe_running(id: &str) -> Described {
    match bundle(id) {
        Some(bundle) => describe(id, &bundle.to_string_lossy(), &[]),
        None => {
            Described { meta: ContainerMeta { id: id.to_owned(), ..ContainerMeta::default() }, ..Described::default() }
        }
    }
}

/// Whether it is an id as engines make them up.
fn is_made_up(id: &str) -> bool {
    id.len() == 64 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether a container is the pod's, or has the name.
fn is_named(id: &str, pod: Option<&str>, name: &str) -> bool {
    let Described { meta, is_sandbox, .. } = describe_running(id);
    if is_sandbox {
        return false;
    }
    match pod {
        Some(pod) => is_pod(pod, &meta.pod_path()),
        // Podman's own name has its pod's in front.
        None => {
            let own = name.strip_prefix(&*meta.pod).and_then(|name| name.strip_prefix('-')).unwrap_or(name);
            meta.name == name || meta.name == own
        }
    }
}

/// The container that runs and is meant by an id, a unique beginning of it, a name that its engine has for it, or
/// `pod:NAMESPACE/POD[/CONTAINER]`; and its processes, the first one first.
pub fn find(wanted: &str) -> Result<(Described, Vec<Pid>)> {
    let pod = wanted.strip_prefix("pod:");
    let mut found = members(&mut |id| pod.is_none() && id.starts_with(wanted));
    if found.iter().any(|(id, _)| id == wanted) {
        found.retain(|(id, _)| id == wanted);
    }
    if found.is_empty() {
        // What is recorded is known wherever its bundle is.
        let recorded = running();
        let mut seen: Vec<(String, bool)> = Vec::new();
        found = members(&mut |id| {
            if let Some((_, is_it)) = seen.iter().find(|(seen, _)| seen == id) {
                return *is_it;
            }
            let is_recorded = |state: &RunState| state.container == id && is_pod(pod.unwrap_or_default(), &state.pod);
            let is_it = recorded.iter().any(is_recorded) || (is_made_up(id) && is_named(id, pod, wanted));
            seen.push((id.to_owned(), is_it));
            is_it
        });
    }
    let mut pids = Vec::new();
    let mut ids: Vec<String> = Vec::new();
    for (id, pid) in found {
        if !ids.contains(&id) {
            ids.push(id);
        }
        pids.push(pid);
    }
    let described = match ids.as_slice() {
        [id] => return Ok((describe_running(id), pids)),
        [] => {
            return Err(match pod {
                Some(pod) => Error::not_found(["a running container of pod ", pod, " on this machine"].concat())
                    .hint("crictl ps or podman ps --pod list what runs; a container's id does as well"),
                None => Error::not_found(["a running container ", wanted].concat())
                    .hint("name the id that the runtime lists (runc list, podman ps --no-trunc), or pid:N"),
            });
        }
        _ => ids.iter().map(|id| describe_running(id).meta),
    };
    let shown: Vec<String> = described.map(|meta| if pod.is_some() { meta.pod_path() } else { meta.id }).collect();
    let shown: Vec<&str> = shown.iter().map(String::as_str).collect();
    Err(Error::several("containers", wanted, &shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_engines_make_up_are_told_from_other_groups() {
        let id = "0123456789abcdef".repeat(4);
        assert!(is_made_up(&id));
        for other in [&id[1..], &id.to_uppercase(), "user.slice", ""] {
            assert!(!is_made_up(other), "{other}");
        }
    }

    #[test]
    fn podmans_name_is_read_as_podman_writes_it() {
        let list = r#"[{"id":"ab","image":"x"},{"id":"abc","names":["web-app","x"],"metadata":"{\"id\":\"d\"}"}]"#;
        for (id, name) in [("abc", Some("web-app")), ("ab", None), ("d", None)] {
            assert_eq!(name_in(list, id), name);
        }
        assert_eq!(name_in(r#"[{"id":"abc","names":["a b"]}]"#, "abc"), None);
    }
}
