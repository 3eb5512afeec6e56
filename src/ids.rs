// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The small vocabulary every layer shares: task and CPU numbers, times, the validated container id, and how pods are named.
//!
//! A container id comes from the runtime's state JSON and becomes part of paths and of a tracefs instance name, so it
//! is checked once, here, and nowhere else. Source of the rules: runc `validateID` (`[A-Za-z0-9_+-.]`, no `.`/`..`);
//! crun accepted anything up to 2026-05, so the runtime having accepted an id proves nothing.

use core::fmt;

use crate::words::split_once;

/// Global thread id (the kernel's `task->pid` in the initial pid namespace), as ftrace records it.
pub type Pid = i32;

/// Index of a CPU as in `per_cpu/cpuN`.
pub type CpuId = u16;

/// System call number of the ABI of the task that made it; ARM's private calls are above 0xf0000.
pub type SyscallNr = i32;

/// Nanoseconds of the trace clock of one recording (the epoch is the clock's own; see the recording's anchors).
pub type Timestamp = u64;

/// Longest container id accepted, in bytes. With our prefix an instance name stays below `NAME_MAX` (255), and with a
/// start time behind it a recording's directory name does too. Docker, Podman and containerd use 64.
pub const CONTAINER_ID_MAX: usize = 200;

/// A container id that is safe as one path component: 1 to [`CONTAINER_ID_MAX`] bytes of `[A-Za-z0-9_+.-]`, not
/// starting with a dot (hidden files, `.`, `..`) or a dash (options).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerId(String);

/// Why a string is not a container id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadId {
    /// Nothing between the quotes.
    Empty,
    /// Longer than [`CONTAINER_ID_MAX`]; the length in bytes.
    TooLong(usize),
    /// A byte outside the allowed set, or a dot or dash in front; its offset.
    BadByte(usize, u8),
}

impl ContainerId {
    /// Checks `text` against the rules of the type.
    pub fn new(text: &str) -> Result<Self, BadId> {
        if text.is_empty() {
            return Err(BadId::Empty);
        }
        if text.len() > CONTAINER_ID_MAX {
            return Err(BadId::TooLong(text.len()));
        }
        for (at, byte) in text.bytes().enumerate() {
            let ok = byte.is_ascii_alphanumeric() || byte == b'_' || (at > 0 && matches!(byte, b'.' | b'-' | b'+'));
            if !ok {
                return Err(BadId::BadByte(at, byte));
            }
        }
        Ok(ContainerId(text.to_owned()))
    }

    /// The id as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for BadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadId::Empty => f.write_str("is empty"),
            BadId::TooLong(len) => write!(f, "is {len} bytes long, the limit is {CONTAINER_ID_MAX}"),
            BadId::BadByte(0, b'.' | b'-' | b'+') => f.write_str("starts with a dot, a dash or a plus"),
            BadId::BadByte(at, byte) => {
                match byte {
                    b' '..=b'~' => write!(f, "has the byte '{}'", char::from(*byte))?,
                    _ => write!(f, "has the byte '\\x{byte:02x}'")?,
                }
                write!(f, " at position {at}; allowed are letters, digits and _ + . -")
            }
        }
    }
}

/// `NAMESPACE/POD/CONTAINER`, as a container is shown and asked for; `-` stands for what is not known. Empty without pod.
pub fn pod_path(namespace: &str, pod: &str, name: &str) -> String {
    if pod.is_empty() {
        return String::new();
    }
    let [namespace, name] = [namespace, name].map(|text| if text.is_empty() { "-" } else { text });
    [namespace, pod, name].join("/")
}

/// Whether `NAMESPACE/POD`, `NAMESPACE/POD/CONTAINER` or `POD` means the container that is shown as `path`. Podman's pods
/// have no namespace: they are in `default`, where Kubernetes puts what names none.
pub fn is_pod(wanted: &str, path: &str) -> bool {
    let Some((namespace, within)) = split_once(path, "/") else { return false };
    let wanted = match split_once(wanted, "/") {
        None => wanted,
        Some((of, rest)) if of == namespace || (of == "default" && namespace == "-") => rest,
        Some(_) => return false,
    };
    let rest = within.strip_prefix(wanted).filter(|_| !wanted.is_empty());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_the_engines_are_accepted() {
        for id in ["a", "demo", "my_container-1.2+x", &"0123456789abcdef".repeat(4)] {
            assert_eq!(ContainerId::new(id).map(|i| i.to_string()), Ok(id.to_owned()));
        }
    }

    #[test]
    fn ids_that_would_walk_or_hide_are_refused() {
        assert_eq!(ContainerId::new("../../etc"), Err(BadId::BadByte(0, b'.')));
        assert_eq!(ContainerId::new("a/b"), Err(BadId::BadByte(1, b'/')));
        assert_eq!(ContainerId::new("a b"), Err(BadId::BadByte(1, b' ')));
        assert_eq!(ContainerId::new("a\n"), Err(BadId::BadByte(1, b'\n')));
        assert_eq!(ContainerId::new("-rf"), Err(BadId::BadByte(0, b'-')));
        assert_eq!(ContainerId::new(""), Err(BadId::Empty));
        assert_eq!(ContainerId::new("é"), Err(BadId::BadByte(0, 0xc3)));
    }

    #[test]
    fn length_is_checked_at_the_limit() {
        assert!(ContainerId::new(&"x".repeat(CONTAINER_ID_MAX)).is_ok());
        assert_eq!(ContainerId::new(&"x".repeat(CONTAINER_ID_MAX + 1)), Err(BadId::TooLong(CONTAINER_ID_MAX + 1)));
    }

    #[test]
    fn pods_are_asked_for_whole() {
        let have = pod_path("shop", "web", "app");
        for (wanted, is) in [
            ("shop/web/app", true),
            ("shop/web", true),
            ("web", true),
            ("shop/we", false),
            ("shop/web/ap", false),
            ("shop/web/app/x", false),
            ("other/web", false),
            ("default/web", false),
            ("shop/", false),
            ("", false),
            ("we", false),
        ] {
            assert_eq!(is_pod(wanted, &have), is, "{wanted}");
        }
        let podmans = pod_path("", "web", "");
        assert_eq!(podmans, "-/web/-");
        assert!(is_pod("default/web", &podmans) && is_pod("-/web", &podmans) && is_pod("web", &podmans));
        assert!(!is_pod("shop/web", &podmans) && !is_pod("web", ""));
        assert_eq!(pod_path("shop", "", "app"), "");
    }
}
