// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `gc`: cleans up behind killed recorders and applies limits.

use std::time::Duration;

use super::args::Gc;
use super::out;
use crate::error::{exit, Result};
use crate::recorder;

pub fn main(args: &Gc) -> Result<u8> {
    let swept = recorder::sweep();
    let mut text = String::new();
    for recording in &swept.recordings {
        text.push_str(&format!("completed the recording {recording} of a killed recorder\n"));
    }
    for closed in recorder::close_dead(&args.dir)? {
        text.push_str(&format!("marked the recording {closed} as cut: the machine went down\n"));
    }
    for instance in &swept.instances {
        text.push_str(&format!("removed the tracing instance of {instance}\n"));
    }
    for state in swept.states.iter().filter(|state| !swept.recordings.contains(state)) {
        text.push_str(&format!("removed the running state {state}\n"));
    }
    for removed in recorder::apply_limits(&args.dir, args.max_total, Duration::from_secs(args.max_age))? {
        text.push_str(&format!("removed the recording {removed}\n"));
    }
    if text.is_empty() && swept.problems.is_empty() {
        text.push_str("nothing to clean up\n");
    }
    out::print(text.as_bytes())?;
    for problem in &swept.problems {
        out::complain("gc", problem);
    }
    Ok(if swept.problems.is_empty() { exit::OK } else { exit::FAILED })
}
