// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The container's state as a runtime writes it to a hook's standard input.
//!
//! Required by the specification: ociVersion, id, status, bundle; pid while it runs. What runtimes really send: runc no
//! pid at poststop, crun pid 0 there and extra members, CRI-O twenty annotations with JSON of some kB in strings. So
//! only the id must be there; every other member may be missing or null, unknown ones are passed over.
//! serde-json-core refuses surrogate pairs (`\ud83d\ude00`) anywhere, even in members that nobody reads, and recurses
//! without limit into those: both are dealt with before it sees the text.
//! Source: runtime-spec runtime.md "State"; runc, crun, podman, CRI-O as measured.

use core::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::Deserialize;

use crate::error::{Error, Result};
use crate::ids::{ContainerId, Pid};

/// Largest state accepted, in bytes. The largest seen (CRI-O with pod specifications in annotations) has 30 KB.
pub const STATE_MAX: usize = 256 << 10;

/// Deepest nesting accepted; a state has two levels.
const DEPTH_MAX: usize = 64;

/// A container's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The container.
    pub id: ContainerId,
    /// Its first process as the runtime sees it; `None` where there is none (poststop).
    pub pid: Option<Pid>,
    /// `creating`, `created`, `running`, `stopped` or what a runtime makes up.
    pub status: String,
    /// Absolute path of the bundle.
    pub bundle: String,
    /// Annotations in the order they came.
    pub annotations: Vec<(String, String)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    id: Option<String>,
    pid: Option<i64>,
    status: Option<String>,
    bundle: Option<String>,
    annotations: Option<Annotations>,
}

struct Annotations(Vec<(String, String)>);

/// A member's name: serde's `String` asks for a type that serde-json-core has not for names.
struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> core::result::Result<Self, D::Error> {
        struct NameVisitor;
        impl Visitor<'_> for NameVisitor {
            type Value = Name;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_str<E>(self, text: &str) -> core::result::Result<Name, E> {
                Ok(Name(text.to_owned()))
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}

impl<'de> Deserialize<'de> for Annotations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> core::result::Result<Self, D::Error> {
        struct MapVisitor;
        impl<'de> Visitor<'de> for MapVisitor {
            type Value = Annotations;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> core::result::Result<Annotations, A::Error> {
                let mut all = Vec::new();
                while let Some(Name(key)) = map.next_key()? {
                    let value: Option<String> = map.next_value()?;
                    all.push((key, value.unwrap_or_default()));
                }
                Ok(Annotations(all))
            }
        }
        deserializer.deserialize_map(MapVisitor)
    }
}

impl State {
    /// The value of an annotation.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.iter().find(|(have, _)| have == key).map(|(_, value)| value.as_str())
    }

    /// The first of several annotations that is there and not empty: engines name the same thing differently.
    pub fn first_annotation(&self, keys: &[&str]) -> &str {
        keys.iter().find_map(|key| self.annotation(key).filter(|value| !value.is_empty())).unwrap_or_default()
    }
}

/// Reads a state. Any input gives a state or an error that says what is wrong with it.
pub fn parse_state(input: &[u8]) -> Result<State> {
    if input.len() > STATE_MAX {
        return Err(Error::limit(
            format!("the container state on standard input has {} bytes", input.len()),
            STATE_MAX as u64,
        ));
    }
    let hint = "a hook is called by a container runtime, with the container's state as JSON on standard input";
    if input.iter().all(u8::is_ascii_whitespace) {
        return Err(Error::malformed("the container state on standard input is empty", None).hint(hint));
    }
    let text = core::str::from_utf8(input).map_err(|why| {
        Error::malformed("the container state is not UTF-8", Some(why.valid_up_to() as u64)).hint(hint)
    })?;
    let text = prepare(text)?;
    let mut buffer = vec![0u8; text.len()];
    let (raw, _): (Raw, usize) = serde_json_core::from_slice_escaped(text.as_bytes(), &mut buffer).map_err(|why| {
        Error::malformed(format!("the container state is not the JSON expected: {why}"), None).hint(hint)
    })?;
    let id = raw.id.ok_or_else(|| Error::malformed("the container state has no id", None).hint(hint))?;
    let id = ContainerId::new(&id).map_err(|why| {
        let shown: String = id.chars().take(40).collect();
        Error::malformed(format!("the container id {shown:?} {why}"), None)
    })?;
    let pid = raw.pid.and_then(|pid| Pid::try_from(pid).ok()).filter(|pid| *pid > 0);
    Ok(State {
        id,
        pid,
        status: raw.status.unwrap_or_default(),
        bundle: raw.bundle.unwrap_or_default(),
        annotations: raw.annotations.map(|all| all.0).unwrap_or_default(),
    })
}

/// Checks the nesting and writes surrogate pairs as the characters they mean; lone halves become U+FFFD.
fn prepare(text: &str) -> Result<String> {
    let mut out = String::with_capacity(text.len());
    let mut depth = 0usize;
    let mut in_string = false;
    let mut rest = text;
    while let Some(at) = rest.find(['"', '\\', '{', '[', '}', ']']) {
        let (plain, tail) = rest.split_at(at);
        out.push_str(plain);
        let mut chars = tail.chars();
        let special = chars.next().unwrap_or_default();
        rest = chars.as_str();
        match special {
            '"' => in_string = !in_string,
            '\\' if in_string => {
                if let Some((character, len)) = surrogates(tail) {
                    out.push(character);
                    rest = tail.get(len..).unwrap_or_default();
                    continue;
                }
                // The escaped character goes with its backslash, so that an escaped quote does not end the string.
                out.push('\\');
                if let Some(escaped) = chars.next() {
                    out.push(escaped);
                }
                rest = chars.as_str();
                continue;
            }
            '{' | '[' if !in_string => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return Err(Error::limit("the container state is nested too deeply", DEPTH_MAX as u64));
                }
            }
            '}' | ']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        out.push(special);
    }
    out.push_str(rest);
    Ok(out)
}

/// The character that a `\uD8xx\uDCxx` at the start of `text` means, and its length; a lone half means U+FFFD.
fn surrogates(text: &str) -> Option<(char, usize)> {
    let unit = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let first = unit(0)?;
    if !(0xd800..0xe000).contains(&first) {
        return None;
    }
    match unit(6).and_then(|second| char::decode_utf16([first, second]).next()?.ok()) {
        Some(character) => Some((character, 12)),
        None => Some((char::REPLACEMENT_CHARACTER, 6)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNC: &str = r#"{"ociVersion":"1.0.2-dev","id":"demo","status":"creating","pid":28510,"bundle":"/abs","annotations":{"a/b":"x\"y","c":"é\u00e9"}}"#;
    const CRUN_STOP: &str = r#"{"ociVersion":"1.0","id":"demo","pid":0,"root":"rootfs","bundle":"/abs","status":"stopped","annotations":{}}"#;
    const RUNC_STOP: &str = r#"{"ociVersion":"1.0.2-dev","id":"demo","status":"stopped","bundle":"/abs"}"#;

    #[test]
    fn states_of_the_runtimes_are_read() {
        let state = parse_state(RUNC.as_bytes()).unwrap();
        assert_eq!((state.id.as_str(), state.pid, state.bundle.as_str()), ("demo", Some(28510), "/abs"));
        assert_eq!(state.annotation("a/b"), Some("x\"y"));
        assert_eq!(state.annotation("c"), Some("éé"));
        assert_eq!(parse_state(CRUN_STOP.as_bytes()).unwrap().pid, None);
        assert_eq!(parse_state(RUNC_STOP.as_bytes()).unwrap().pid, None);
    }

    #[test]
    fn unknown_null_and_nested_members_are_passed_over() {
        let text = r#"{"id":"x","new":{"a":[1,2.5,null,{"b":"\ud83d\ude00"}]},"annotations":null,"pid":null}"#;
        assert_eq!(parse_state(text.as_bytes()).unwrap().annotations, []);
        let text = r#"{"id":"x","annotations":{"k\u0041":"v","n":null}}"#;
        let state = parse_state(text.as_bytes()).unwrap();
        assert_eq!((state.annotation("kA"), state.annotation("n")), (Some("v"), Some("")));
    }

    #[test]
    fn surrogate_pairs_of_python_tooling_are_read() {
        let state =
            parse_state(br#"{"id":"x","annotations":{"a":"\ud83d\ude00!","b":"\ud83dz","c":"\\ud83d\\\""}}"#).unwrap();
        assert_eq!(state.annotation("a"), Some("\u{1f600}!"));
        assert_eq!(state.annotation("b"), Some("\u{fffd}z"));
        assert_eq!(state.annotation("c"), Some("\\ud83d\\\""));
    }

    #[test]
    fn hostile_input_is_an_error_that_names_what_is_wrong() {
        let text = |input: &[u8]| parse_state(input).unwrap_err().to_string();
        assert!(text(b"").contains("is empty"));
        assert!(text(b"garbage").contains("not the JSON"));
        assert!(text(b"\xff\xfe").contains("not UTF-8"));
        assert!(text(b"{\"pid\":1}").contains("no id"));
        assert!(text(b"{\"id\":\"../../etc\"}").contains("starts with a dot"));
        assert!(text(b"{\"id\":\"a b\"}").contains("position 1"));
        assert!(text(format!("{{\"id\":\"{}\"}}", "x".repeat(300)).as_bytes()).contains("300 bytes long"));
        assert!(text(format!("{{\"id\":\"x\",\"a\":{}", "[".repeat(100_000)).as_bytes()).contains("nested"));
        assert!(text(&vec![b' '; STATE_MAX + 1]).contains("the limit is 262144"));
        assert!(parse_state(&vec![b' '; STATE_MAX]).unwrap_err().to_string().contains("is empty"));
    }

    #[test]
    fn pids_that_are_none_are_none() {
        for pid in ["0", "-1", "99999999999"] {
            let state = parse_state(format!("{{\"id\":\"x\",\"pid\":{pid}}}").as_bytes()).unwrap();
            assert_eq!(state.pid, None);
        }
    }
}
