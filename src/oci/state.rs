// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The container's state as a runtime writes it to a hook's standard input.
//!
//! Required by the specification: ociVersion, id, status, bundle; pid while it runs. What runtimes really send: runc no
//! pid at poststop, crun pid 0 there and extra members, CRI-O twenty annotations with JSON of some kB in strings. So
//! only the id must be there; every other member may be missing or null, unknown ones are passed over.
//! Source: runtime-spec runtime.md "State"; runc, crun, podman, CRI-O as measured.

use crate::error::{Error, Quoted, Result};
use crate::ids::{ContainerId, Pid};
use crate::record::{self, record};
use crate::words::beginning;

/// Largest state accepted, in bytes. The largest seen (CRI-O with pod specifications in annotations) has 30 KB.
pub const STATE_MAX: usize = 256 << 10;

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

/// The members that are read, as they come.
#[derive(Default)]
struct Raw {
    id: Option<String>,
    pid: i64,
    status: String,
    bundle: String,
    annotations: Vec<(String, String)>,
}
record!(Raw { id: Option, pid: I64, status: Text, bundle: Text, annotations: Pairs });

impl State {
    /// The value of an annotation.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.iter().find(|(have, _)| have == key).map(|(_, value)| value.as_str())
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
    if let Err(why) = core::str::from_utf8(input) {
        return Err(Error::malformed("the container state is not UTF-8", Some(why.valid_up_to() as u64)).hint(hint));
    }
    let mut raw = Raw::default();
    record::read(input, "the container state", &mut raw).map_err(|why| why.hint(hint))?;
    let Some(id) = raw.id else {
        return Err(Error::malformed("the container state has no id", None).hint(hint));
    };
    let id = ContainerId::new(&id)
        .map_err(|why| Error::malformed(format!("the container id {} {why}", Quoted(beginning(&id, 40))), None))?;
    Ok(State {
        id,
        pid: Pid::try_from(raw.pid).ok().filter(|pid| *pid > 0),
        status: raw.status,
        bundle: raw.bundle,
        annotations: raw.annotations,
    })
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
