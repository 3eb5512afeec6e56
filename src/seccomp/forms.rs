// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A profile as the files that load it: the runtime's JSON, the Security Profiles Operator's resource, systemd's drop-in.
//!
//! Sources: runtime-spec config-linux.md "Seccomp"; the operator's deploy/base-crds/crds/seccompprofile.yaml
//! (security-profiles-operator.x-k8s.io/v1beta1); systemd.exec(5) "System Call Filtering". The same profile gives the same
//! bytes: nothing of the day, the machine or the recording is in it.

use crate::json::{push_u64, Json};
use crate::syscalls::errno_name;

use super::effect::ENOSYS;
use super::generate::Made;
use super::profile::Profile;

/// The files there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `linux.seccomp` of the OCI runtime specification.
    Oci,
    /// The Security Profiles Operator's resource.
    Crd,
    /// A drop-in for a service of systemd's.
    Systemd,
}

impl Form {
    /// From its name.
    pub fn from_name(name: &str) -> Option<Form> {
        Some(match name {
            "oci" => Form::Oci,
            "crd" => Form::Crd,
            "systemd" => Form::Systemd,
            _ => return None,
        })
    }
}

/// Calls that C libraries and runtimes of the Go language try first and do without where the kernel says ENOSYS, besides all
/// that came with Linux 5.1 and later (number 424 on).
const TRIED: &str = "rseq statx";

/// The first number that all machines share.
const SHARED: i32 = 424;

/// Writes the profile; `name` is the resource's.
pub fn write(made: &Made, form: Form, name: &str) -> Vec<u8> {
    match form {
        Form::Oci => {
            let mut json = Json::new();
            made.profile.write(&mut json);
            json.into_bytes()
        }
        Form::Crd => crd(&made.profile, name),
        Form::Systemd => systemd(made),
    }
}

fn line(out: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
    out.push(b'\n');
}

/// Lines of a list in YAML. Names of calls and of libseccomp's constants need no quotes.
fn list(out: &mut Vec<u8>, indent: &str, texts: &[String]) {
    for text in texts {
        line(out, &[indent, "- ", text]);
    }
}

fn number(out: &mut Vec<u8>, key: &str, value: u64) {
    out.extend_from_slice(key.as_bytes());
    push_u64(out, value);
    out.push(b'\n');
}

/// A DNS label of what need not be one: what Kubernetes takes for a name.
fn label(name: &str) -> String {
    let mut label = String::new();
    for byte in name.bytes().take(63) {
        match byte.to_ascii_lowercase() {
            byte @ (b'a'..=b'z' | b'0'..=b'9') => label.push(char::from(byte)),
            _ if label.is_empty() || label.ends_with('-') => {}
            _ => label.push('-'),
        }
    }
    let end = label.bytes().rposition(|byte| byte != b'-').map_or(0, |at| at + 1);
    label.truncate(end);
    if label.is_empty() {
        label.push_str("profile");
    }
    label
}

fn crd(profile: &Profile, name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    line(&mut out, &["apiVersion: security-profiles-operator.x-k8s.io/v1beta1"]);
    line(&mut out, &["kind: SeccompProfile\nmetadata:\n  name: ", &label(name), "\nspec:\n  disabled: false"]);
    line(&mut out, &["  defaultAction: ", &profile.defaultAction, "\n  architectures:"]);
    list(&mut out, "  ", &profile.architectures);
    line(&mut out, &["  syscalls:"]);
    for rule in &profile.syscalls {
        line(&mut out, &["  - action: ", &rule.action]);
        if let Ok(errno) = u64::try_from(rule.errnoRet) {
            number(&mut out, "    errnoRet: ", errno);
        }
        line(&mut out, &["    names:"]);
        list(&mut out, "    ", &rule.names);
        if !rule.args.is_empty() {
            line(&mut out, &["    args:"]);
        }
        for condition in &rule.args {
            number(&mut out, "    - index: ", u64::from(condition.index));
            line(&mut out, &["      op: ", &condition.op]);
            number(&mut out, "      value: ", condition.value);
            number(&mut out, "      valueTwo: ", condition.valueTwo);
        }
    }
    // The resource has no defaultErrnoRet, so its default is EPERM, and what is newer must be named.
    if profile.defaultErrnoRet == i64::from(ENOSYS) {
        let mut newer: Vec<String> = Vec::new();
        for (nr, call) in crate::syscalls::all(crate::arch::Abi::Arm) {
            let tried = (SHARED..0xf0000).contains(&nr) || TRIED.split(' ').any(|name| name == call);
            if tried && !profile.syscalls.iter().any(|rule| rule.is_about(call)) {
                let at = newer.iter().position(|known| &**known > call).unwrap_or(newer.len());
                newer.insert(at, call.to_owned());
            }
        }
        line(
            &mut out,
            &["  # What is newer than the profile: ENOSYS lets C libraries fall back on what they called before."],
        );
        line(&mut out, &["  - action: SCMP_ACT_ERRNO"]);
        number(&mut out, "    errnoRet: ", u64::from(ENOSYS));
        line(&mut out, &["    names:"]);
        list(&mut out, "    ", &newer);
    }
    out
}

fn systemd(made: &Made) -> Vec<u8> {
    let profile = &made.profile;
    let mut out = Vec::new();
    line(
        &mut out,
        &["# Drop-in for a service; what starts the program and ends it systemd allows by itself (systemd.exec(5))."],
    );
    line(&mut out, &["[Service]"]);
    out.extend_from_slice(b"SystemCallArchitectures=native");
    for (arch, name) in [("SCMP_ARCH_X86", " x86"), ("SCMP_ARCH_ARM", " arm")] {
        let beside = profile.architectures.first().is_some_and(|first| first != arch);
        if beside && profile.architectures.iter().any(|known| known == arch) {
            out.extend_from_slice(name.as_bytes());
        }
    }
    let errno = u16::try_from(profile.defaultErrnoRet).unwrap_or(super::profile::EPERM);
    let errno = errno_name(i32::from(errno)).unwrap_or("EPERM");
    line(&mut out, &["\nSystemCallErrorNumber=", errno]);
    // It knows no conditions on arguments: what has some elsewhere is allowed here, once.
    let mut before = "";
    for rule in profile.syscalls.iter().filter(|rule| rule.action == "SCMP_ACT_ALLOW") {
        // Several assignments are put together, and short lines show what changed.
        for name in rule.names.iter().filter(|name| *name != before) {
            line(&mut out, &["SystemCallFilter=", name]);
        }
        before = rule.names.last().map_or("", String::as_str);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_resources_are_labels() {
        for (name, shown) in [
            ("demo", "demo"),
            ("Demo_1.2--x-", "demo-1-2-x"),
            ("...", "profile"),
            ("", "profile"),
            (&"a-".repeat(60), &("a-".repeat(31) + "a")),
        ] {
            assert_eq!(label(name), shown);
        }
    }
}
