// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What becomes of a call, and how that is said to people and programs.

use super::profile::Action;
use crate::json::Json;
use crate::syscalls;

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This.
    Is(Action),
    /// It depends on the arguments, and they are not known; or rules contradict each other.
    Depends,
}

/// A verdict as a word for people.
pub(super) fn word(verdict: Verdict) -> String {
    let Verdict::Is(action) = verdict else { return "depends".to_owned() };
    match action {
        Action::Errno(errno) => match syscalls::errno_name(i32::from(errno)) {
            Some(name) => name.to_owned(),
            None => ["errno ", &errno.to_string()].concat(),
        },
        Action::Allow => "allowed".to_owned(),
        Action::Log => "logged".to_owned(),
        Action::Notify => "supervisor".to_owned(),
        Action::Trace(_) => "tracer".to_owned(),
        Action::Trap => "SIGSYS".to_owned(),
        Action::KillThread => "thread killed".to_owned(),
        Action::KillProcess => "killed".to_owned(),
    }
}

/// A verdict as members of an object: `action`, and `errno` where there is one.
pub(super) fn write_verdict(json: &mut Json, verdict: Verdict) {
    let Verdict::Is(action) = verdict else {
        json.field_str("action", "depends");
        return;
    };
    json.field_str("action", action.name());
    if matches!(action, Action::Errno(_)) {
        json.field_str("errno", &word(verdict));
    }
}

/// Registers in hexadecimal, in brackets.
pub(super) fn hexes(values: &[u64]) -> String {
    let mut text = String::new();
    for value in values {
        text.push_str(if text.is_empty() { "(" } else { ", " });
        text.push_str(&hex(*value));
    }
    text + ")"
}

/// Registers as a member of an object.
pub(super) fn write_args(json: &mut Json, values: &[u64]) {
    json.key("args").begin_array();
    for value in values {
        json.string(&hex(*value));
    }
    json.end_array();
}

/// A register in hexadecimal.
fn hex(value: u64) -> String {
    if value == 0 {
        return "0".to_owned();
    }
    let mut text = "0x".to_owned();
    for digit in (0..16 - value.leading_zeros() / 4).rev() {
        text.push(char::from_digit((value >> (4 * digit) & 15) as u32, 16).unwrap_or('0'));
    }
    text
}
