// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where engines write down which pod a container belongs to, and which of it is believed.
//!
//! Annotations are in part the pod's author's. An engine's own keys come first; what is no name (it may become part of a
//! line, never of a path) is dropped. Sources: containerd internal/cri/annotations, CRI-O pkg/annotations, Kubernetes
//! pkg/kubelet/types/labels.go, Podman pkg/specgen/generate/kube; names: Kubernetes apimachinery validation (DNS-1123),
//! Podman libpod/define `NameRegex`.

use crate::words::{next, next_part};

/// Longest name, in bytes: a DNS subdomain's.
const NAME_MAX: usize = 253;

/// Longest name of an image, in bytes.
const IMAGE_MAX: usize = 512;

/// The keys of each of [`Place`]'s texts, the first that has a value counts.
const KEYS: [&str; 5] = [
    "io.kubernetes.cri.sandbox-namespace io.kubernetes.cri-o.Namespace io.kubernetes.pod.namespace",
    "io.kubernetes.cri.sandbox-name io.kubernetes.cri-o.KubeName io.kubernetes.pod.name",
    "io.kubernetes.cri.container-name io.kubernetes.cri-o.ContainerName io.kubernetes.container.name",
    "io.kubernetes.cri.sandbox-uid io.kubernetes.pod.uid",
    "io.kubernetes.cri.image-name io.kubernetes.cri-o.ImageName",
];

/// All of it in one with CRI-O: `k8s_CONTAINER_POD_NAMESPACE_UID_ATTEMPT`, which no annotation of a pod replaces.
const CRIO_NAME: &str = "io.kubernetes.cri-o.Name";
/// The places in it, in the order of [`KEYS`].
const CRIO_PARTS: [usize; 4] = [3, 2, 1, 4];

/// Who made the container, where it is none of Kubernetes's engines: `libpod`.
const MANAGER: &str = "io.container.manager";
/// The pod's id with CRI-O, and with Podman, too.
const SANDBOX: &str = "io.kubernetes.cri-o.SandboxID";
/// Whether a container is the pod's own, which holds its namespaces and runs nothing of the user's.
const TYPE: &str = "io.kubernetes.cri.container-type io.kubernetes.cri-o.ContainerType";

/// What engines say of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Namespace, pod, container, the pod's uid, and image; empty where nothing says.
    pub texts: [String; 5],
    /// It is the pod's own container.
    pub is_sandbox: bool,
    /// Podman made it; it has a name, but no annotation tells it.
    pub by_podman: bool,
    /// It is in a pod of Podman's, likewise.
    pub in_podman_pod: bool,
    /// Keys of values that are no names and were dropped, each with a comma behind it.
    pub dropped: String,
}

/// The value of the first of several keys, separated by blanks, that has one: the key and it.
pub fn first<'a>(annotations: &'a [(String, String)], mut keys: &'a str) -> (&'a str, &'a str) {
    while let Some(key) = next(&mut keys) {
        if let Some((_, value)) = annotations.iter().find(|(have, value)| have == key && !value.is_empty()) {
            return (key, value);
        }
    }
    ("", "")
}

/// Whether a text is fit to be shown as a name: what Kubernetes and Podman let their names be.
pub fn is_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    text.len() <= NAME_MAX
        && text.bytes().all(fits)
        && text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
}

/// Takes what annotations say.
pub fn place(annotations: &[(String, String)]) -> Place {
    let is = |key, wanted| first(annotations, key).1 == wanted;
    let by_podman = is(MANAGER, "libpod");
    let mut place = Place {
        is_sandbox: is(TYPE, "sandbox"),
        by_podman,
        in_podman_pod: by_podman && !is(SANDBOX, ""),
        ..Place::default()
    };
    let whole = first(annotations, CRIO_NAME).1;
    let whole = if place.is_sandbox || !whole.starts_with("k8s_") { "" } else { whole };
    for (at, (keys, text)) in KEYS.iter().zip(&mut place.texts).enumerate() {
        let (mut key, mut value) = (CRIO_NAME, part(whole, CRIO_PARTS.get(at).copied()));
        if value.is_empty() {
            (key, value) = first(annotations, keys);
        }
        let is_image = at == CRIO_PARTS.len();
        let fits = if is_image {
            value.len() <= IMAGE_MAX && value.bytes().all(|b| b.is_ascii_graphic())
        } else {
            is_name(value)
        };
        if fits {
            text.push_str(value);
        } else if !value.is_empty() {
            for part in [key, ", "] {
                place.dropped.push_str(part);
            }
        }
    }
    place
}

/// A part of CRI-O's name.
fn part(mut whole: &str, at: Option<usize>) -> &str {
    let Some(at) = at else { return "" };
    for _ in 0..at {
        next_part(&mut whole, "_");
    }
    next_part(&mut whole, "_").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::pod_path;

    fn of(annotations: &[(&str, &str)]) -> Place {
        let all: Vec<_> = annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        place(&all)
    }

    fn named(place: &Place) -> String {
        let [namespace, pod, name, ..] = &place.texts;
        pod_path(namespace, pod, name)
    }

    const UID: &str = "0d4c1c6f-8f0a-4a75-9a55-0a3f6b1ed3a1";

    #[test]
    fn containerd_says_it_in_keys_of_its_own() {
        let place = of(&[
            ("io.kubernetes.cri.container-name", "app"),
            ("io.kubernetes.cri.container-type", "container"),
            ("io.kubernetes.cri.image-name", "docker.io/library/busybox:1.36"),
            ("io.kubernetes.cri.sandbox-name", "web-7d4b9"),
            ("io.kubernetes.cri.sandbox-namespace", "shop"),
            ("io.kubernetes.cri.sandbox-uid", UID),
            // Of a pod's author.
            ("io.kubernetes.pod.name", "other"),
        ]);
        assert_eq!(named(&place), "shop/web-7d4b9/app");
        assert_eq!((place.texts[3].as_str(), place.texts[4].as_str()), (UID, "docker.io/library/busybox:1.36"));
        assert!(!place.is_sandbox && !place.by_podman && place.dropped.is_empty());
    }

    #[test]
    fn crio_says_it_in_one_name_and_older_ones_in_several() {
        let whole = format!("k8s_app_web.1_shop_{UID}_0");
        let place = of(&[
            ("io.container.manager", "cri-o"),
            ("io.kubernetes.cri-o.ContainerType", "container"),
            ("io.kubernetes.cri-o.Name", &whole),
            ("io.kubernetes.cri-o.SandboxID", "abc"),
            ("io.kubernetes.container.name", "forged"),
            ("io.kubernetes.cri-o.ImageName", "quay.io/x@sha256:1"),
        ]);
        assert_eq!((named(&place).as_str(), place.texts[3].as_str()), ("shop/web.1/app", UID));
        assert!(!place.in_podman_pod);
        let place = of(&[
            ("io.kubernetes.container.name", "app"),
            ("io.kubernetes.pod.name", "web"),
            ("io.kubernetes.pod.namespace", "shop"),
            ("io.kubernetes.pod.uid", UID),
        ]);
        assert_eq!((named(&place).as_str(), place.texts[3].as_str()), ("shop/web/app", UID));
    }

    #[test]
    fn a_pods_own_container_is_told_and_podmans_ones_are() {
        assert!(of(&[("io.kubernetes.cri.container-type", "sandbox")]).is_sandbox);
        assert!(of(&[("io.kubernetes.cri-o.ContainerType", "sandbox")]).is_sandbox);
        let place = of(&[("io.container.manager", "libpod"), ("io.kubernetes.cri-o.SandboxID", "abc")]);
        assert!(place.by_podman && place.in_podman_pod);
        assert!(!of(&[("io.container.manager", "libpod")]).in_podman_pod);
    }

    #[test]
    fn what_is_no_name_is_dropped_and_told() {
        for bad in ["../../etc", "a/b", "a b", "a\nb", "\u{1b}[31m", "-a", ".", "é", &"x".repeat(NAME_MAX + 1)] {
            let place = of(&[("io.kubernetes.pod.name", bad), ("io.kubernetes.pod.namespace", "shop")]);
            assert_eq!((named(&place).as_str(), place.dropped.as_str()), ("", "io.kubernetes.pod.name, "));
        }
        assert!(is_name(&"x".repeat(NAME_MAX)) && !is_name(""));
        let image = of(&[("io.kubernetes.cri.image-name", "a\u{202e}b")]);
        assert_eq!((image.texts[4].as_str(), image.dropped.as_str()), ("", "io.kubernetes.cri.image-name, "));
    }
}
