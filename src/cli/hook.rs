// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `hook start` and `hook stop`: what a container runtime calls.
//!
//! A container is never kept from starting by us: whatever fails is logged and forgiven, in one function, unless
//! --strict is given. The environment may be empty and the working directory anything.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;

use nix::poll::{PollFd, PollFlags};

use super::args::{self, bad_value, record_options, Args, Opt};
use super::{out, report, seccomp, select};
use crate::error::{exit, Error, Quoted, Result};
use crate::oci::{parse_state, State, STATE_MAX};
use crate::proc;
use crate::recorder::{self, end_recorder, find_container_recorder, log, Mode, Origin, RecordOptions, Target};
use crate::recording::{EndState, Recording};
use crate::serve;
use crate::sys::{self, Stdio};
use crate::words::beginning;

/// Annotations by which a container asks to be traced, or not; the second is the predecessor's.
const TRACE_ANNOTATIONS: [&str; 2] = ["ftrace-analyzer/trace", "oci-ftrace-syscall-analyzer/trace"];
/// Annotations that choose what is recorded, over the hook's own options. Whoever writes a pod's annotations is none to
/// trust with paths and sizes: there are no others.
const MODE_ANNOTATION: &str = "ftrace-analyzer/mode";
const SYSCALLS_ANNOTATION: &str = "ftrace-analyzer/syscalls";
const ERRORS_ANNOTATION: &str = "ftrace-analyzer/errors-only";

/// Longest list of calls that an annotation may have, in bytes: that of all calls has 4 KB.
const LIST_MAX: usize = 8192;

/// How much of an oversized state is read and thrown away, in bytes, so that the runtime's write does not fail.
const DISCARD_MAX: usize = 16 << 20;

/// How long `hook stop` waits for a recording to be completed.
const STOP_PATIENCE: u64 = 10_000;
/// How long it waits for the container's first process, in milliseconds. `crun delete --force` calls it while the kernel
/// still works off the SIGKILL: what the recording would lack is the container's end.
const DEATH_PATIENCE: u64 = 500;

/// Runs a hook and decides what its failure means.
pub fn main(args: &Args<'_>, hook: fn(&Args<'_>) -> Result<()>) -> u8 {
    match hook(args) {
        Ok(()) => exit::OK,
        Err(error) => fail(&error, args.has(Opt::Strict)),
    }
}

/// Writes the failure where it is found; the container goes on, unless the user wants it kept from starting.
pub fn fail(error: &Error, strict: bool) -> u8 {
    let hint = error.remedy().map(|hint| format!(" (hint: {hint})")).unwrap_or_default();
    log(&format!("hook: {error}{hint}"));
    out::complain("hook", error);
    if strict {
        error.exit_code()
    } else {
        exit::OK
    }
}

/// The state on standard input.
fn read_state() -> Result<State> {
    let mut input = vec![0; STATE_MAX + 1];
    let (mut len, mut discarded) = (0, 0);
    while discarded < DISCARD_MAX {
        // What is too much goes over the last byte, again and again.
        let free = if len < input.len() { input.get_mut(len..) } else { input.get_mut(STATE_MAX / 2..) };
        match Stdio::In.read(free.unwrap_or_default()) {
            Ok(0) => break,
            Ok(count) if len < input.len() => len += count,
            Ok(count) => discarded += count,
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            Err(why) => return Err(Error::sys("read the container state from standard input", why)),
        }
    }
    if len > STATE_MAX {
        let size = len + discarded;
        return Err(Error::limit(format!("the container state on standard input has {size} bytes"), STATE_MAX as u64));
    }
    parse_state(input.get(..len).unwrap_or_default())
}

/// An annotation that a container must carry to be recorded: `KEY` or `KEY=VALUE`.
pub fn condition<'a>(args: &Args<'a>) -> Result<Option<(&'a str, Option<&'a str>)>> {
    let Some(text) = args.get(Opt::IfAnnotation) else { return Ok(None) };
    let (key, value) = match text.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (text, None),
    };
    if key.is_empty() {
        return Err(bad_value(Opt::IfAnnotation, text, "has no key; write KEY or KEY=VALUE"));
    }
    Ok(Some((key, value)))
}

/// The value of an annotation for this container: `KEY.NAME`, for the pod's container of this name alone, else `KEY`.
fn wish<'a>(state: &'a State, name: &str, key: &str) -> Option<&'a str> {
    let own = state.annotation(&[key, ".", name].concat());
    own.filter(|_| !name.is_empty()).or_else(|| state.annotation(key))
}

/// Whether the container wants to be traced, by its annotations and the hook's condition.
fn is_wanted(condition: Option<(&str, Option<&str>)>, state: &State, name: &str) -> bool {
    if let Some((key, value)) = condition {
        let carried = wish(state, name, key);
        if carried.is_none() || (value.is_some() && carried != value) {
            return false;
        }
    }
    // A pod that names some of its containers means no others.
    let named = [TRACE_ANNOTATIONS[0], "."].concat();
    let is_chosen = wish(state, name, TRACE_ANNOTATIONS[0]).is_some()
        || !state.annotations.iter().any(|(key, value)| key.starts_with(&named) && value == "true");
    is_chosen && !TRACE_ANNOTATIONS.iter().any(|key| wish(state, name, key) == Some("false"))
}

/// Takes what the container's annotations ask for; what they have no value for is logged and left as the hook has it.
fn follow_annotations(state: &State, name: &str, options: &mut RecordOptions) {
    let of = |key: &'static str| wish(state, name, key).map(|value| (key, value));
    let mut wrong = None;
    if let Some((key, value)) = of(MODE_ANNOTATION) {
        match Mode::from_name(value) {
            Some(mode) => options.mode = mode,
            None => wrong = Some((key, value)),
        }
    }
    if let Some((key, value)) = of(SYSCALLS_ANNOTATION) {
        let known = |arch| value.len() <= LIST_MAX && args::syscall_list(value, arch).is_ok();
        match proc::uname().0 {
            Some(arch) if known(arch) => options.syscalls = Some(value.to_owned()),
            _ => wrong = Some((key, value)),
        }
    }
    if let Some((key, value)) = of(ERRORS_ANNOTATION) {
        match value {
            "true" | "false" => options.errors_only = value == "true",
            _ => wrong = Some((key, value)),
        }
    }
    for key in TRACE_ANNOTATIONS {
        wrong = of(key).filter(|(_, value)| !matches!(*value, "true" | "false")).or(wrong);
    }
    if let Some((key, value)) = wrong {
        let shown = Quoted(beginning(value, 20));
        log(&format!("hook: container {}: annotation {key} can not be {shown}", state.id));
    }
}

/// `hook start`.
pub fn start(args: &Args<'_>) -> Result<()> {
    let mut options = record_options(args)?;
    let condition = condition(args)?;
    let state = read_state()?;
    let described = recorder::describe(state.id.as_str(), &state.bundle, &state.annotations);
    let name = described.meta.name.as_str();
    // A pod's annotations are its own container's, too, which has nothing to tell.
    if described.is_sandbox || !is_wanted(condition, &state, name) {
        return Ok(());
    }
    if !described.dropped.is_empty() {
        let words = ["hook: container ", state.id.as_str(), ": ", &described.dropped];
        log(&(words.concat() + "annotations that are no names, are left out"));
    }
    let Some(init_pid) = state.pid else {
        return Err(Error::malformed(
            format!("the state of container {} has no pid (status {})", state.id, Quoted(&state.status)),
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
    follow_annotations(&state, name, &mut options);
    let target = Target {
        origin: Origin::Hook,
        label: state.id.to_string(),
        container: described.meta,
        command: Vec::new(),
        init_pid,
        others: Vec::new(),
        starts_in_runtime: true,
        asked: None,
    };
    if !proc::is_root() && serve::is_there() {
        return match args.get(Opt::Dir) {
            Some(dir) => Err(bad_value(Opt::Dir, dir, "is not for users: the helper has a directory for each")),
            None => serve::ask(target, &options).map(|_| ()).map_err(|why| named(why, &state)),
        };
    }
    recorder::spawn(&target, &options).map(|_| ()).map_err(|why| named(why, &state))
}

/// Puts the container's name into the sentence.
fn named(why: Error, state: &State) -> Error {
    let text = format!("container {} is not traced: {why}", state.id);
    why.told_as(text)
}

/// Writes a file from the recording in a directory.
type Writer = fn(&Path, &Path) -> Result<()>;

/// `hook stop`.
pub fn stop(args: &Args<'_>) -> Result<()> {
    let state = read_state()?;
    let id = state.id.as_str();
    match find_container_recorder(id) {
        Some(running) => {
            if let Ok(init) = sys::pidfd_open(running.init_pid) {
                sys::poll(&mut [PollFd::new(init.as_fd(), PollFlags::POLLIN)], DEATH_PATIENCE);
            }
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
    let files: [(Opt, Writer); 2] = [(Opt::Report, report::write_text), (Opt::Seccomp, seccomp::write_for_hook)];
    // One that fails keeps the other from nothing.
    let mut result = Ok(());
    for (option, write) in files {
        let Some(path) = args.get(option).map(Path::new) else { continue };
        let written = match sys::is_absolute(path) {
            true => select::find_container(&args::dir(args), id).and_then(|dir| write(&dir, path)),
            false => Err(Error::usage(format!("{} {} is not an absolute path", args::name(option), path.display()))
                .hint("a hook's working directory is the runtime's business")),
        };
        result = result.and(written);
    }
    result
}
