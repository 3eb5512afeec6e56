// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `gc`: cleans up behind killed recorders and applies limits.

use super::args::{dir, number, Args, Opt};
use super::out;
use super::units::{SIZE, TIME};
use crate::error::{exit, Result};
use crate::recorder;

pub fn main(args: &Args<'_>) -> Result<u8> {
    let base = dir(args);
    let max_total = number(args, Opt::MaxTotal, 0, &SIZE)?;
    let max_age = number(args, Opt::MaxAge, 0, &TIME)?;
    let swept = recorder::sweep();
    let mut text = String::new();
    let mut tell = |before: &str, names: &[String], after: &str| {
        for name in names {
            for part in [before, &out::shown(name), after, "\n"] {
                text.push_str(part);
            }
        }
    };
    tell("completed the recording ", &swept.recordings, " of a killed recorder");
    let (mut closed, mut removed, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    // One user's directory keeps nobody from the next one's.
    recorder::for_each_dir(&base, &mut |dir| {
        let done = recorder::close_dead(dir).and_then(|names| {
            closed.extend(names);
            recorder::apply_limits(dir, max_total, max_age)
        });
        match done {
            Ok(names) => removed.extend(names),
            Err(why) => failed.push(why),
        }
    });
    tell("marked the recording ", &closed, " as cut: the machine went down");
    tell("removed the tracing instance of ", &swept.instances, "");
    for state in swept.states.iter().filter(|state| !swept.recordings.contains(state)) {
        tell("removed the running state ", core::slice::from_ref(state), "");
    }
    tell("removed the recording ", &removed, "");
    let problems = || swept.problems.iter().chain(&failed);
    if text.is_empty() && problems().next().is_none() {
        text.push_str("nothing to clean up\n");
    }
    out::print(text.as_bytes())?;
    for problem in problems() {
        out::complain("gc", problem);
    }
    Ok(if problems().next().is_none() { exit::OK } else { exit::FAILED })
}
