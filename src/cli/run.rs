// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `run`: traces a command of this machine, prints its calls as they happen and passes its status on.
//!
//! The command's process is made first and waits; it executes the command when its recorder says that tracing is on. The
//! recorder is a process of its own, so that what it stores does not depend on how fast somebody reads our output.

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::Signal;

use super::args::{record_options, Args, Opt};
use super::{follow, out, report};
use crate::error::{exit, Error, Result};
use crate::ids::Pid;
use crate::recorder::{self, Mode, Origin, RecordOptions, Target};
use crate::recording::ContainerMeta;
use crate::sys::{self, Forked, Stdio};
use crate::words::{beginning, behind_last};

/// A process that waits to execute the command.
struct Held {
    pid: Pid,
    /// A byte here lets it go; closing without one ends it.
    go: File,
    /// Says the error number if the command cannot be executed; closes when it is.
    failed: File,
}

/// Makes the process.
fn hold(command: &[CString]) -> Result<Held> {
    let pipe = || sys::pipe(OFlag::empty()).map_err(|why| Error::sys("make a pipe", why));
    let (wait, go) = pipe()?;
    let (failed, say) = pipe()?;
    match sys::fork().map_err(|why| Error::sys("start the command's process", why))? {
        Forked::Parent(pid) => Ok(Held { pid, go: go.into(), failed: failed.into() }),
        Forked::Child => {
            drop((go, failed));
            let mut byte = [0u8; 1];
            if !matches!(File::from(wait).read(&mut byte), Ok(1)) {
                sys::exit(0);
            }
            sys::reset_signals();
            let errno = sys::execute(command);
            let _ = File::from(say).write_all(&(errno as i32).to_le_bytes());
            sys::exit(exit::RUN_NOT_FOUND);
        }
    }
}

fn to_c(word: &OsString) -> Result<CString> {
    CString::new(word.as_bytes()).map_err(|_| Error::usage("the command line has a NUL byte"))
}

/// The label: the command's name without its directory, made fit for a path.
fn label(command: &OsString) -> String {
    let text = command.to_string_lossy();
    let name = behind_last(&text, b'/').unwrap_or(&text);
    let fit = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '+' | '-') { c } else { '_' };
    let mut made = String::new();
    for c in beginning(name, 64).chars() {
        made.push(fit(c));
    }
    let name = made;
    match name.strip_prefix(|c: char| matches!(c, '.' | '-' | '+')) {
        Some(rest) => format!("_{rest}"),
        None if name.is_empty() => "run".to_owned(),
        None => name,
    }
}

/// Runs the verb; every failure of ours is exit code 125, so that it is not taken for the command's.
pub fn main(args: &Args<'_>, command: &[OsString]) -> u8 {
    let colour = || out::colour(args, Stdio::Err);
    let (options, colour) = match record_options(args).and_then(|options| Ok((options, colour()?))) {
        Ok(both) => both,
        Err(error) => {
            out::complain("run", &error);
            return error.exit_code();
        }
    };
    let command = match command {
        [dashes, command @ ..] if dashes == "--" => command,
        _ => command,
    };
    if command.is_empty() {
        let error = Error::usage("no command is given").hint("ftrace-analyzer run -- COMMAND [ARGUMENT…]");
        out::complain("run", &error);
        return exit::RUN_NO_TRACE;
    }
    match trace(args, &options, colour, command) {
        Ok(code) => code,
        Err(error) => {
            out::complain("run", &error);
            exit::RUN_NO_TRACE
        }
    }
}

fn trace(args: &Args<'_>, options: &RecordOptions, colour: bool, command: &[OsString]) -> Result<u8> {
    let words = command.iter().map(to_c).collect::<Result<Vec<CString>>>()?;
    let mut output = out::open(args.get(Opt::Output), Stdio::Err)?;
    let mut held = hold(&words)?;
    let target = Target {
        origin: Origin::Run,
        label: command.first().map(label).unwrap_or_default(),
        container: ContainerMeta::default(),
        command: command.iter().map(|word| word.to_string_lossy().into_owned()).collect(),
        init_pid: held.pid,
        others: Vec::new(),
        starts_in_runtime: true,
        asked: None,
    };
    let recorder = recorder::spawn(&target, options)?;
    // From here on Ctrl-C is for the command; we go on until it has ended.
    for signal in [Signal::SIGINT, Signal::SIGQUIT] {
        sys::ignore_signal(signal);
    }
    held.go.write_all(b"g").map_err(|why| Error::sys("let the command go", why))?;
    drop(held.go);
    let mut errno = [0u8; 4];
    if matches!(held.failed.read(&mut errno), Ok(4)) {
        let _ = sys::wait(held.pid, true);
        follow::wait_end(&recorder);
        return Ok(not_executed(command, Errno::from_raw(i32::from_le_bytes(errno))));
    }
    let mut code = None;
    if args.has(Opt::Quiet) || options.mode != Mode::Continuous {
        code = sys::wait(held.pid, true);
        follow::wait_end(&recorder);
        if !args.has(Opt::Quiet) {
            // Whoever watches a flight recording empties it: what it kept is shown at its end, as counts are.
            report::print_text(&recorder.dir, &mut *output, colour)?;
        }
    } else {
        follow::print(&recorder.dir, output, (false, colour), &mut || {
            code = code.or_else(|| sys::wait(held.pid, false));
            true
        })?;
    }
    follow::tell_losses(&recorder.dir)?;
    Ok(match code.or_else(|| sys::wait(held.pid, true)) {
        Some(code) => code,
        None => exit::FAILED,
    })
}

/// The shells' exit codes for a command that cannot be executed.
fn not_executed(command: &[OsString], errno: Errno) -> u8 {
    let name = command.first().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let error = match errno {
        Errno::ENOENT => Error::not_found(format!("the command {name}")),
        _ => Error::sys(format!("execute {name}"), errno),
    };
    out::complain("run", &error);
    if errno == Errno::ENOENT {
        exit::RUN_NOT_FOUND
    } else {
        exit::RUN_NOT_EXECUTABLE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_fit_for_a_path() {
        for (command, expected) in
            [("/bin/ls", "ls"), ("./a b", "a_b"), ("..", "_."), ("", "run"), ("/", "run"), ("-x", "_x"), ("é", "_")]
        {
            let made = label(&OsString::from(command));
            assert_eq!(made, expected);
            assert!(crate::ids::ContainerId::new(&made).is_ok());
        }
    }
}
