// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which container a process was in, by the paths of its control groups: what every engine writes there.
//!
//! Source: runc libcontainer/cgroups/systemd (`PREFIX-ID.scope`), crun src/libcrun/cgroup.c, Docker and containerd (`docker-`,
//! `cri-containerd-`, `nerdctl-`), CRI-O (`crio-`, conmon's own group beside it), Podman (`libpod-`, with `/container` below),
//! kubelet pkg/kubelet/cm (`kubepods…pod<uid>`, with the uid's dashes as underscores under systemd).

use crate::words::{behind_last, next_part, number, split_once};

/// A container as its control group tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Which engine writes it so; empty where several do, as runc and crun.
    pub engine: String,
    /// The container's id.
    pub id: String,
    /// The pod's uid, with dashes; empty outside Kubernetes.
    pub pod_uid: String,
    /// The user in whose slice it is, who can make groups there and call them anything; 0 for none.
    pub user: u32,
    /// The path that told it.
    pub path: String,
}

/// What engines write before the id, and what they call themselves.
const PREFIXES: [(&str, &str); 8] = [
    ("cri-containerd-", "containerd"),
    ("docker-", "docker"),
    ("libpod-", "podman"),
    ("crio-", "cri-o"),
    ("nerdctl-", "nerdctl"),
    ("runc-", "runc"),
    ("crun-", "crun"),
    ("youki-", "youki"),
];

/// Ids of engines have 64 of these digits.
fn is_engines_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// A path's part as a container: engine and id.
fn container_in(part: &str) -> Option<(&'static str, &str)> {
    if split_once(part, "conmon").is_some() {
        return None;
    }
    let scope = part.strip_suffix(".scope");
    let name = scope.unwrap_or(part);
    // containerd under a driver that is not runc's: SLICE:cri-containerd:ID.
    if let Some(id) = behind_last(name, b':') {
        return (!id.is_empty()).then_some(("containerd", id));
    }
    let known = PREFIXES.iter().find_map(|(prefix, engine)| Some((*engine, name.strip_prefix(prefix)?)));
    match known {
        // Without systemd only engines put a name before the id; "runc-1" may be anything.
        Some((_, id)) if scope.is_none() && !is_engines_id(id) => None,
        Some((engine, id)) if !id.is_empty() => Some((engine, id)),
        // A user's runc has its own prefix: anything before the id will do where the id is an engine's.
        _ => match name.rsplit('-').next().filter(|id| is_engines_id(id)) {
            Some(id) => Some(("", id)),
            None => None,
        },
    }
}

/// The pod's uid in one part: `…-podUID.slice` or `podUID`.
fn pod_in(part: &str) -> Option<String> {
    let name = part.split(':').next().unwrap_or(part);
    let name = name.strip_suffix(".slice").unwrap_or(name);
    let name = name.rsplit('-').next().filter(|last| last.starts_with("pod")).unwrap_or(name);
    let uid = name.strip_prefix("pod")?.replace('_', "-");
    let is_uid = uid.len() >= 32 && uid.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-'));
    is_uid.then_some(uid)
}

/// The user of `user-1000.slice`.
fn user_in(part: &str) -> Option<u32> {
    let user = part.strip_prefix("user-")?.strip_suffix(".slice")?;
    u32::try_from(number(user)?).ok()
}

/// What a path tells, from its end: the innermost container counts.
fn read_path(path: &str) -> Option<Place> {
    let mut parts = path.rsplit('/');
    let (engine, id) = parts.find_map(container_in)?;
    // /docker/ID and Podman's without systemd say by the directory who it is.
    let engine = match (engine, parts.next()) {
        ("", Some("docker")) => "docker",
        ("", Some("libpod_parent")) => "podman",
        _ => engine,
    };
    let pod_uid = path.rsplit('/').find_map(pod_in).unwrap_or_default();
    let user = path.split('/').find_map(user_in).unwrap_or_default();
    let place = Place { engine: engine.to_owned(), id: id.to_owned(), pod_uid, user, path: path.to_owned() };
    Some(place)
}

/// Finds the container in the text of /proc/PID/cgroup: of all hierarchies the one that tells most.
pub fn find(cgroups: &str) -> Option<Place> {
    let (mut rest, mut best) = (cgroups, None::<Place>);
    while let Some(line) = next_part(&mut rest, "\n") {
        let Some((_, path)) = split_once(line, ":").and_then(|(_, line)| split_once(line, ":")) else { continue };
        let Some(found) = read_path(path) else { continue };
        // The longest path has the most names in it.
        if best.as_ref().map_or(0, |best| best.path.len()) < found.path.len() {
            best = Some(found);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const UID: &str = "12345678-1234-1234-1234-123456789abc";

    fn found(text: &str) -> Option<(String, String, String)> {
        let text = text.replace("UUU", &UID.replace('-', "_")).replace("UID", UID).replace("ID", ID);
        find(&text).map(|place| (place.engine, place.id.replace(ID, "ID"), place.pod_uid))
    }

    #[test]
    fn containers_are_found_as_each_engine_writes_them() {
        let pods = "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podUUU.slice";
        let of = |engine: &str, id: &str, uid: &str| Some((engine.to_owned(), id.to_owned(), uid.to_owned()));
        for (text, wanted) in [
            ("0::/system.slice/runc-demo.scope", of("runc", "demo", "")),
            ("0::/system.slice/docker-ID.scope", of("docker", "ID", "")),
            ("5:memory:/docker/ID\n0::/\n", of("docker", "ID", "")),
            (&*format!("0::/{pods}/cri-containerd-ID.scope"), of("containerd", "ID", UID)),
            (
                &*format!("0::/system.slice/{}:cri-containerd:ID", "kubepods-burstable-podUUU.slice"),
                of("containerd", "ID", UID),
            ),
            ("7:cpu,cpuacct:/kubepods/burstable/podUID/ID", of("", "ID", UID)),
            (&*format!("0::/{pods}/crio-ID.scope/container"), of("cri-o", "ID", UID)),
            ("0::/machine.slice/libpod-ID.scope/container", of("podman", "ID", "")),
            ("3:pids:/libpod_parent/libpod-ID", of("podman", "ID", "")),
            ("0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope", of("podman", "ID", "")),
            ("0::/machine.slice/libpod-ID.scope/init.scope", of("podman", "ID", "")),
            ("0::/system.slice/machine-ID.scope", of("", "ID", "")),
            // Of several hierarchies the one that tells more.
            ("1:name=systemd:/\n4:devices:/docker/ID/below\n0::/init.scope", of("docker", "ID", "")),
        ] {
            assert_eq!(found(text), wanted, "{text}");
        }
    }

    #[test]
    fn what_lies_in_a_users_slice_is_known_to() {
        let user = |text: &str| find(&text.replace("ID", ID)).map(|place| place.user);
        let below = "0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope/container";
        assert_eq!((user(below), user("0::/machine.slice/libpod-ID.scope")), (Some(1000), Some(0)));
        assert_eq!(user("0::/user-x.slice/docker-ID.scope"), Some(0));
    }

    #[test]
    fn of_containers_within_containers_the_innermost_counts() {
        let (outer, inner) = (ID.replace('0', "f"), ID);
        let text = format!(
            "0::/docker/{outer}/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/\
             kubelet-kubepods-burstable-podUUU.slice/cri-containerd-{inner}.scope"
        );
        assert_eq!(found(&text), Some(("containerd".into(), "ID".into(), UID.into())));
        assert_eq!(find(&format!("0::/docker/{outer}/init.scope")).map(|place| place.id), Some(outer));
    }

    #[test]
    fn what_is_no_container_is_none() {
        for text in [
            "",
            "0::/",
            "0::/system.slice/ssh.service",
            "0::/machine.slice/libpod-conmon-ID.scope",
            "0::/x/crio-conmon-ID.scope",
            "0::/user.slice/user-1000.slice/session-2.scope",
            "0::/runc-1",
            "garbage\n::\n:",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
    }
}
