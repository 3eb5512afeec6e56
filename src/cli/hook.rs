// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `hook start` and `hook stop`: what a container runtime calls.
//!
//! A container is never kept from starting by us: whatever fails is logged and forgiven, in one function, unless
//! --strict is given. The environment may be empty and the working directory anything.

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use super::args::{Hook, HookStart, HookStop, HookVerb};
use super::{out, report, select};
use crate::error::{exit, Error, Result};
use crate::oci::{parse_state, State, STATE_MAX};
use crate::recorder::{self, end_recorder, find_container_recorder, log, Mode, Origin, Target};
use crate::recording::{ContainerMeta, EndState, Recording};

/// Annotations by which a container asks to be traced, or not; the second is the predecessor's.
const TRACE_ANNOTATIONS: [&str; 2] = ["ftrace-analyzer/trace", "oci-ftrace-syscall-analyzer/trace"];
/// Annotation that chooses the mode.
const MODE_ANNOTATION: &str = "ftrace-analyzer/mode";

/// How much of an oversized state is read and thrown away, in bytes, so that the runtime's write does not fail.
const DISCARD_MAX: u64 = 16 << 20;

/// How long `hook stop` waits for a recording to be completed.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// Runs a hook and decides what its failure means.
pub fn main(hook: Hook) -> u8 {
    let (strict, result) = match &hook.verb {
        HookVerb::Start(args) => (args.strict, start(args)),
        HookVerb::Stop(args) => (args.strict, stop(args)),
    };
    match result {
        Ok(()) => exit::OK,
        Err(error) if strict => {
            log(&format!("hook: {error}"));
            out::complain("hook", &error);
            error.exit_code()
        }
        Err(error) => forgive(&error),
    }
}

/// Writes the failure where it is found and lets the container go on.
pub fn forgive(error: &Error) -> u8 {
    let hint = error.hint.as_ref().map(|hint| format!(" (hint: {hint})")).unwrap_or_default();
    log(&format!("hook: {error}{hint}"));
    out::complain("hook", error);
    exit::OK
}

/// The state on standard input.
fn read_state() -> Result<State> {
    let mut input = Vec::new();
    let mut stdin = std::io::stdin().lock();
    let read = stdin.by_ref().take(STATE_MAX as u64 + 1).read_to_end(&mut input);
    read.map_err(|why| Error::sys("read the container state from standard input", why))?;
    let mut size = input.len() as u64;
    if input.len() > STATE_MAX {
        size += std::io::copy(&mut stdin.take(DISCARD_MAX), &mut std::io::sink()).unwrap_or(0);
        return Err(Error::limit(format!("the container state on standard input has {size} bytes"), STATE_MAX as u64));
    }
    parse_state(&input)
}

/// Whether the container wants to be traced, by its annotations and the hook's condition.
fn is_wanted(args: &HookStart, state: &State) -> bool {
    if let Some((key, value)) = &args.if_annotation {
        let carried = state.annotation(key);
        let met = match value {
            Some(value) => carried == Some(value.as_str()),
            None => carried.is_some(),
        };
        if !met {
            return false;
        }
    }
    !TRACE_ANNOTATIONS.iter().any(|key| state.annotation(key) == Some("false"))
}

/// The container as meta.json tells it; engines put the names of pods under different keys.
fn describe(state: &State) -> ContainerMeta {
    let first = |keys: &[&str]| state.first_annotation(keys).to_owned();
    ContainerMeta {
        id: state.id.to_string(),
        bundle: state.bundle.clone(),
        pod: first(&["io.kubernetes.pod.name", "io.kubernetes.cri.sandbox-name"]),
        namespace: first(&["io.kubernetes.pod.namespace", "io.kubernetes.cri.sandbox-namespace"]),
        name: first(&["io.kubernetes.container.name", "io.kubernetes.cri.container-name"]),
        image: first(&["io.kubernetes.cri-o.ImageName", "io.kubernetes.cri.image-name"]),
    }
}

fn start(args: &HookStart) -> Result<()> {
    let state = read_state()?;
    if !is_wanted(args, &state) {
        return Ok(());
    }
    let Some(init_pid) = state.pid else {
        return Err(Error::malformed(
            format!("the state of container {} has no pid (status {:?})", state.id, state.status),
            None,
        )
        .hint("hook start belongs to prestart or createRuntime, where the container's process exists"));
    };
    if let Some(running) = find_container_recorder(state.id.as_str()) {
        let meta = Recording::read_meta(Path::new(&running.recording));
        if running.init_pid == init_pid && meta.is_ok_and(|meta| meta.end_state() == EndState::Running) {
            // Both prestart and createRuntime are configured: one recorder is enough.
            log(&format!("hook: container {} is being recorded already by process {}", state.id, running.recorder_pid));
            return Ok(());
        }
    }
    let mut options = args.record_options();
    if let Some(mode) = state.annotation(MODE_ANNOTATION) {
        match Mode::from_name(mode) {
            Some(mode) => options.mode = mode,
            None => {
                let shown: String = mode.chars().take(20).collect();
                log(&format!("hook: container {}: annotation {MODE_ANNOTATION} has no mode {shown:?}", state.id));
            }
        }
    }
    let target = Target {
        origin: Origin::Hook,
        label: state.id.to_string(),
        container: describe(&state),
        command: Vec::new(),
        init_pid,
        others: Vec::new(),
        starts_in_runtime: true,
    };
    recorder::spawn(&target, &options).map(|_| ()).map_err(|why| named(why, &state))
}

/// Puts the container's name into the sentence.
fn named(why: Error, state: &State) -> Error {
    let hint = why.hint.clone();
    let text = format!("container {} is not traced: {why}", state.id);
    let mut error = Error::relayed(&why.exit_code().to_string(), &text);
    error.hint = hint;
    error
}

fn stop(args: &HookStop) -> Result<()> {
    let state = read_state()?;
    let id = state.id.as_str();
    match find_container_recorder(id) {
        Some(running) => {
            if !end_recorder(&running, STOP_PATIENCE)? {
                let late = std::io::Error::from(std::io::ErrorKind::TimedOut);
                return Err(Error::sys(format!("complete the recording of container {id}"), late));
            }
        }
        // Ended by itself, stopped before, never started, or killed: the last leaves something to clean up.
        None => {
            for problem in recorder::sweep().problems {
                log(&format!("hook: {problem}"));
            }
        }
    }
    if let Some(path) = &args.report {
        if !path.is_absolute() {
            return Err(Error::usage(format!("--report {} is not an absolute path", path.display()))
                .hint("a hook's working directory is the runtime's business"));
        }
        let dir = select::find_recording(&args.dir, Some(id))?;
        report::write_text(&dir, path)?;
    }
    Ok(())
}
