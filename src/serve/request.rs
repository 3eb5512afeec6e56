// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a user may ask the helper for: one JSON object, within bounds.
//!
//! The state that the runtime gave the hook, its annotations and the bundle are read by the hook, with the user's rights:
//! the helper sees the few values that come of them, and no path that it would open.

use super::helper::Limits;
use crate::error::{Error, Result};
use crate::ids::{ContainerId, Pid};
use crate::json::Json;
use crate::record::{self, record};
use crate::recorder::{Mode, RecordOptions, Strings, Target, DATA_MAX, DATA_MIN};
use crate::recording::{ContainerMeta, OptionsMeta};
use crate::words::{beginning, breaks, quoted};

/// Largest request, in bytes; ours have one or two thousand.
pub const REQUEST_MAX: usize = 64 << 10;

/// Version of the request; a helper refuses others.
const VERSION: u32 = 1;

/// Longest label, in bytes.
const NAME_MAX: usize = 200;

/// Longest list of calls, in bytes: that of all calls has 4 KB.
const LIST_MAX: usize = 8192;

/// A request as it is sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// That of the program that asks; a helper takes its own only.
    pub version: u32,
    /// The container's first process as the hook sees it. A pidfd that comes with the request counts for more.
    pub pid: Pid,
    /// When that started, in clock ticks after boot.
    pub start_time: u64,
    /// `--name`; empty for none.
    pub name: String,
    /// The other options.
    pub options: OptionsMeta,
    /// The container, as it goes into the recording.
    pub container: ContainerMeta,
}

record!(Request { version: U32, pid: I32, start_time: U64, name: Text, options: Record, container: Record });

/// Reads a request. Any input gives a request, of which nothing is checked yet, or an error.
pub fn parse(input: &[u8]) -> Result<Request> {
    if input.len() > REQUEST_MAX {
        return Err(Error::limit("the request is too large", REQUEST_MAX as u64));
    }
    let mut request = Request::default();
    record::read(input, "the request", &mut request)?;
    if request.version != VERSION {
        return Err(Error::unsupported(["requests of version ", &request.version.to_string()].concat())
            .hint("hook and helper are to be the same ftrace-analyzer"));
    }
    Ok(request)
}

impl Request {
    /// What to ask for to have this recorded.
    pub fn new(target: Target, options: &RecordOptions, start_time: u64) -> Request {
        let mut asked = options.to_meta(options.buffer_size_kb.unwrap_or(0));
        asked.mode = options.mode.name().to_owned();
        asked.strings = options.strings.name().to_owned();
        Request {
            version: VERSION,
            pid: target.init_pid,
            start_time,
            name: options.name.clone().unwrap_or_default(),
            options: asked,
            container: target.container,
        }
    }

    /// As it is sent.
    pub fn to_json(&mut self) -> Vec<u8> {
        let mut json = Json::new();
        record::write(&mut json, self).newline();
        json.as_bytes().to_vec()
    }

    /// The options, if the administrator allows them. Where a user has not chosen he gets what is allowed.
    pub fn options(&self, limits: &Limits) -> Result<RecordOptions> {
        let asked = &self.options;
        let wrong =
            |what: &str, value: &str| Error::usage([what, " can not be ", &quoted(beginning(value, 40))].concat());
        let within = |what: &str, value: u64, most: u64| match value <= most {
            true => Ok(value),
            false => Err(Error::limit([what, " ", &value.to_string(), " is more than users may have"].concat(), most)),
        };
        let is_long = self.name.len() > NAME_MAX;
        if is_long || self.name.chars().any(breaks) {
            return Err(wrong("--name", if is_long { "that long" } else { &self.name }));
        }
        within("the length of --syscalls", asked.syscalls.len() as u64, LIST_MAX as u64)?;
        if asked.data != 0 && !(DATA_MIN..=DATA_MAX).contains(&asked.data) {
            return Err(wrong("--data", &asked.data.to_string()));
        }
        let max_size = match asked.max_size {
            // No limit is more than any.
            0 => u64::MAX,
            size => size,
        };
        Ok(RecordOptions {
            mode: Mode::from_name(&asked.mode).ok_or_else(|| wrong("--mode", &asked.mode))?,
            buffer_size_kb: Some(within("--buffer-size-kb", asked.buffer_size_kb, limits.buffer_size_kb)?)
                .filter(|kb| *kb > 0),
            max_size: within("--max-size", max_size, limits.max_size)?,
            max_age_s: asked.max_age_s,
            syscalls: Some(asked.syscalls.clone()).filter(|list| !list.is_empty()),
            errors_only: asked.errors_only,
            name: Some(self.name.clone()).filter(|name| !name.is_empty()),
            strings: Strings::from_name(&asked.strings).ok_or_else(|| wrong("--strings", &asked.strings))?,
            data: asked.data,
            dir: limits.dir.clone(),
        })
    }

    /// The container's id, which becomes part of paths.
    pub fn id(&self) -> Result<ContainerId> {
        let id = &self.container.id;
        ContainerId::new(id).map_err(|why| Error::malformed(["the container id ", &why.to_string()].concat(), None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits { buffer_size_kb: 4096, max_size: 256 << 20, ..Limits::default() }
    }

    fn asked(options: &str) -> Result<RecordOptions> {
        let text = r#"{"version":1,"options":{"mode":"continuous","strings":"auto","max_size":1,"#.to_owned() + options;
        parse(text.as_bytes())?.options(&limits())
    }

    #[test]
    fn what_the_hook_asks_for_is_what_the_helper_reads() {
        let options = RecordOptions {
            mode: Mode::CountEvents,
            buffer_size_kb: Some(200),
            max_size: 5 << 20,
            max_age_s: 7,
            syscalls: Some("%file,!read".into()),
            errors_only: true,
            name: Some("a name".into()),
            strings: Strings::Off,
            data: 64,
            dir: "/of/the/helper".into(),
        };
        let target = Target {
            origin: crate::recorder::Origin::Hook,
            label: "demo".into(),
            container: ContainerMeta { id: "demo".into(), bundle: "/b\"\n".into(), ..ContainerMeta::default() },
            command: Vec::new(),
            init_pid: 12,
            others: Vec::new(),
            starts_in_runtime: true,
            asked: None,
        };
        let request = parse(&Request::new(target.clone(), &options, 99).to_json()).unwrap();
        assert_eq!((request.pid, request.start_time, &request.container), (12, 99, &target.container));
        let read = request.options(&Limits { dir: options.dir.clone(), ..limits() }).unwrap();
        assert_eq!(format!("{read:?}"), format!("{options:?}"));
    }

    #[test]
    fn limits_are_the_administrators() {
        assert!(asked(r#""buffer_size_kb":4096,"max_size":268435456}}"#).is_ok());
        for (options, told) in [
            (r#""buffer_size_kb":4097}}"#, "--buffer-size-kb 4097 is more than users may have, the limit is 4096"),
            (r#""max_size":268435457}}"#, "the limit is 268435456"),
            (r#""max_size":0}}"#, "the limit is 268435456"),
            (r#""data":7}}"#, "--data can not be \"7\""),
            (r#""data":513}}"#, "--data can not be"),
            (r#""mode":"all"}}"#, "--mode can not be \"all\""),
            (r#""strings":"none"}}"#, "--strings can not be"),
            (r#""data":8},"name":"a\u001bb"}"#, "--name can not be \"a\\u{1b}b\""),
        ] {
            let why = asked(options).unwrap_err().to_string();
            assert!(why.contains(told), "{options}: {why}");
        }
        assert!(asked(&format!(r#""syscalls":"{}"}}}}"#, "x".repeat(LIST_MAX + 1))).is_err());
        assert!(asked(&format!(r#""data":8}},"name":"{}"}}"#, "x".repeat(NAME_MAX))).is_ok());
        assert!(asked(&format!(r#""data":8}},"name":"{}"}}"#, "x".repeat(NAME_MAX + 1))).is_err());
    }

    #[test]
    fn garbage_is_refused_with_its_reason() {
        let text = |input: &[u8]| parse(input).unwrap_err().to_string();
        assert!(text(b"").contains("the request"));
        assert!(text(b"\xff\xfe{}").contains("the request"));
        assert!(text(b"{}").contains("requests of version 0"));
        assert!(text(b"{\"version\":2}").contains("requests of version 2"));
        assert!(text(&vec![b' '; REQUEST_MAX + 1]).contains("too large"));
        assert!(text(["{\"version\":1,\"x\":", &"[".repeat(60_000)].concat().as_bytes()).contains("nested"));
        for id in ["", "../x", "a/b", ".a", "-a", "a\n", &"x".repeat(201)] {
            let container = ContainerMeta { id: id.to_owned(), ..ContainerMeta::default() };
            assert!(Request { container, ..Request::default() }.id().is_err(), "{id:?}");
        }
    }
}
