// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A seccomp profile as it stands in a file, read and written.
//!
//! What is read: `linux.seccomp` of the OCI runtime specification, and what Docker's and containers-common's defaults have
//! besides (`archMap`, `includes`, `excludes`, `defaultErrno`, `name`). What is written is the specification's alone, because
//! containerd passes over the rest and crun refuses some of it. Sources: runtime-spec config-linux.md "Seccomp",
//! moby profiles/seccomp, containers/common pkg/seccomp, as in the notes of docs/seccomp.md.

use crate::error::{Error, Result};
use crate::json::Json;
use crate::record::{self, record};

/// Largest profile that is read, in bytes: Docker's default has 15 KB.
pub const PROFILE_MAX: usize = 1 << 20;

/// The error number that actions of `SCMP_ACT_ERRNO` have where none is given.
pub const EPERM: u16 = 1;

/// What the kernel does with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// `SCMP_ACT_ALLOW`
    Allow,
    /// `SCMP_ACT_LOG`: allowed, and written to the audit log.
    Log,
    /// `SCMP_ACT_NOTIFY`: a supervisor decides.
    Notify,
    /// `SCMP_ACT_TRACE`: a tracer decides; without one the call fails with ENOSYS.
    Trace(u16),
    /// `SCMP_ACT_ERRNO`: it fails with this error number.
    Errno(u16),
    /// `SCMP_ACT_TRAP`: the thread gets SIGSYS.
    Trap,
    /// `SCMP_ACT_KILL_THREAD`, `SCMP_ACT_KILL`
    KillThread,
    /// `SCMP_ACT_KILL_PROCESS`
    KillProcess,
}

/// The names of actions, in the order of [`Action`].
const ACTIONS: [&str; 8] = [
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_TRAP",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_KILL_PROCESS",
];

impl Action {
    /// From the name in a profile; `errno` where it has a number.
    pub fn from_name(name: &str, errno: Option<u16>) -> Option<Action> {
        let errno = errno.unwrap_or(EPERM);
        let known = ACTIONS.iter().position(|known| *known == name);
        Some(match known {
            Some(0) => Action::Allow,
            Some(1) => Action::Log,
            Some(2) => Action::Notify,
            Some(3) => Action::Trace(errno),
            Some(4) => Action::Errno(errno),
            Some(5) => Action::Trap,
            Some(7) => Action::KillProcess,
            None if name != "SCMP_ACT_KILL" => return None,
            _ => Action::KillThread,
        })
    }

    /// The name in a profile.
    pub fn name(self) -> &'static str {
        let at = match self {
            Action::Allow => 0,
            Action::Log => 1,
            Action::Notify => 2,
            Action::Trace(_) => 3,
            Action::Errno(_) => 4,
            Action::Trap => 5,
            Action::KillThread => 6,
            Action::KillProcess => 7,
        };
        ACTIONS.get(at).copied().unwrap_or_default()
    }

    /// Whether the call is made.
    pub fn allows(self) -> bool {
        matches!(self, Action::Allow | Action::Log)
    }
}

/// A condition on one argument.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(non_snake_case)] // the members' names in the file
pub struct Condition {
    /// Which argument, from 0.
    pub index: u32,
    /// What it is compared with; the mask of `SCMP_CMP_MASKED_EQ`.
    pub value: u64,
    /// The value of `SCMP_CMP_MASKED_EQ`.
    pub valueTwo: u64,
    /// `SCMP_CMP_NE`, `_LT`, `_LE`, `_EQ`, `_GE`, `_GT`, `_MASKED_EQ`.
    pub op: String,
}
record!(Condition { index: U32, value: U64, valueTwo: U64, op: Text });

/// When a rule of Docker's or containers-common's holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(non_snake_case)]
pub struct Selector {
    /// Capabilities: all of them (`includes`), or any (`excludes`).
    pub caps: Vec<String>,
    /// Architectures as Go names them: any of them.
    pub arches: Vec<String>,
    /// The kernel's version from which on it holds.
    pub minKernel: String,
}
record!(Selector { caps: Texts, arches: Texts, minKernel: Text });

/// One rule: calls, what becomes of them, and under which conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(non_snake_case)]
pub struct Rule {
    /// One call, where `names` is not used.
    pub name: String,
    /// The calls.
    pub names: Vec<String>,
    /// A name of [`Action`].
    pub action: String,
    /// The error number; below 0 where none is given.
    pub errnoRet: i64,
    /// The error's name (containers-common); it wins over the number.
    pub errno: String,
    /// All of them must be met.
    pub args: Vec<Condition>,
    /// It holds where these are met
    pub includes: Selector,
    /// and these are not.
    pub excludes: Selector,
}
record!(Rule {
    name: Text,
    names: Texts,
    action: Text,
    errnoRet: I64,
    errno: Text,
    args: List,
    includes: Record,
    excludes: Record,
});

impl Default for Rule {
    fn default() -> Rule {
        Rule {
            name: String::new(),
            names: Vec::new(),
            action: String::new(),
            errnoRet: -1,
            errno: String::new(),
            args: Vec::new(),
            includes: Selector::default(),
            excludes: Selector::default(),
        }
    }
}

impl Rule {
    /// Whether it is about this call.
    pub fn is_about(&self, call: &str) -> bool {
        self.name == call || self.names.iter().any(|name| name == call)
    }
}

/// An architecture with those that its programs may use besides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(non_snake_case)]
pub struct ArchMap {
    /// libseccomp's name.
    pub architecture: String,
    /// Likewise.
    pub subArchitectures: Vec<String>,
}
record!(ArchMap { architecture: Text, subArchitectures: Texts });

/// The whole profile.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(non_snake_case)]
pub struct Profile {
    /// A name of [`Action`]: what becomes of calls that no rule is about.
    pub defaultAction: String,
    /// Its error number; below 0 where none is given.
    pub defaultErrnoRet: i64,
    /// The error's name (containers-common); it wins over the number.
    pub defaultErrno: String,
    /// libseccomp's names.
    pub architectures: Vec<String>,
    /// Docker's and containers-common's way to tell them.
    pub archMap: Vec<ArchMap>,
    /// `SECCOMP_FILTER_FLAG_…`
    pub flags: Vec<String>,
    /// Socket of the supervisor that notifications go to.
    pub listenerPath: String,
    /// What it is told.
    pub listenerMetadata: String,
    /// The rules.
    pub syscalls: Vec<Rule>,
}
record!(Profile {
    defaultAction: Text,
    defaultErrnoRet: I64,
    defaultErrno: Text,
    architectures: Texts,
    archMap: List,
    flags: Texts,
    listenerPath: Text,
    listenerMetadata: Text,
    syscalls: List,
});

impl Default for Profile {
    fn default() -> Profile {
        Profile {
            defaultAction: String::new(),
            defaultErrnoRet: -1,
            defaultErrno: String::new(),
            architectures: Vec::new(),
            archMap: Vec::new(),
            flags: Vec::new(),
            listenerPath: String::new(),
            listenerMetadata: String::new(),
            syscalls: Vec::new(),
        }
    }
}

/// A bundle's config.json, in which a profile stands deeper.
#[derive(Default)]
struct Config {
    linux: Linux,
}
#[derive(Default)]
struct Linux {
    seccomp: Profile,
}
record!(Config { linux: Record });
record!(Linux { seccomp: Record });

/// An action by its name and error number as a file has them.
pub fn action(name: &str, number: i64, errno_name: &str) -> Option<Action> {
    let by_name = crate::syscalls::errno_number(errno_name);
    let errno = by_name.or_else(|| i32::try_from(number).ok()).and_then(|errno| u16::try_from(errno).ok());
    Action::from_name(name, errno)
}

impl Profile {
    /// Reads a profile, or the one in a bundle's config.json; errors call the text `what`.
    pub fn parse(text: &[u8], what: &str) -> Result<Profile> {
        let mut profile = Profile::default();
        record::read(text, what, &mut profile)?;
        if profile.defaultAction.is_empty() {
            let mut config = Config::default();
            record::read(text, what, &mut config)?;
            profile = config.linux.seccomp;
        }
        if profile.defaultAction.is_empty() {
            return Err(Error::malformed([what, " has no defaultAction"].concat(), None).hint(
                "a seccomp profile is JSON as the OCI runtime specification has it; so is a bundle's config.json",
            ));
        }
        profile.default_action(what)?;
        for rule in &profile.syscalls {
            rule.what(what)?;
        }
        Ok(profile)
    }

    /// What becomes of calls that no rule is about.
    pub fn default_action(&self, what: &str) -> Result<Action> {
        action(&self.defaultAction, self.defaultErrnoRet, &self.defaultErrno)
            .ok_or_else(|| unknown(what, &self.defaultAction))
    }

    /// Writes the specification's members; those that say nothing are left out.
    pub fn write(&self, json: &mut Json) {
        json.begin_object().field_str("defaultAction", &self.defaultAction);
        if self.defaultErrnoRet >= 0 {
            json.field_i64("defaultErrnoRet", self.defaultErrnoRet);
        }
        for (name, list) in [("architectures", &self.architectures), ("flags", &self.flags)] {
            if !list.is_empty() {
                json.key(name);
                write_texts(json, list);
            }
        }
        for (name, text) in [("listenerPath", &self.listenerPath), ("listenerMetadata", &self.listenerMetadata)] {
            if !text.is_empty() {
                json.field_str(name, text);
            }
        }
        json.key("syscalls").begin_array();
        for rule in &self.syscalls {
            json.line_break().begin_object().key("names").begin_array();
            // A name a line: what changed shows in a diff.
            for name in &rule.names {
                json.line_break().string(name);
            }
            json.end_array();
            json.field_str("action", &rule.action);
            if rule.errnoRet >= 0 {
                json.field_i64("errnoRet", rule.errnoRet);
            }
            if !rule.args.is_empty() {
                json.key("args").begin_array();
                for condition in &rule.args {
                    json.begin_object().field_u64("index", u64::from(condition.index));
                    json.field_u64("value", condition.value);
                    if condition.valueTwo != 0 || condition.op == MASKED {
                        json.field_u64("valueTwo", condition.valueTwo);
                    }
                    json.field_str("op", &condition.op).end_object();
                }
                json.end_array();
            }
            json.end_object();
        }
        json.end_array().end_object().newline();
    }
}

impl Rule {
    /// What becomes of its calls.
    pub fn what(&self, what: &str) -> Result<Action> {
        action(&self.action, self.errnoRet, &self.errno).ok_or_else(|| unknown(what, &self.action))
    }
}

/// The comparison that has two values.
pub const MASKED: &str = "SCMP_CMP_MASKED_EQ";

fn write_texts(json: &mut Json, texts: &[String]) {
    json.begin_array();
    for text in texts {
        json.string(text);
    }
    json.end_array();
}

fn unknown(what: &str, action: &str) -> Error {
    Error::malformed([what, ": there is no action ", &crate::words::quoted(action)].concat(), None)
}
