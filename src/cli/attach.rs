// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `attach`: records what already runs, in the foreground; prints its calls, too, if asked.

use std::os::fd::AsFd;
use std::path::Path;

use nix::poll::{PollFd, PollFlags};

use super::args::{record_options, Args, Opt};
use super::{follow, out, report, stop};
use crate::error::{Error, Kind, Quoted, Result};
use crate::ids::{ContainerId, Pid};
use crate::proc;
use crate::recorder::{self, find, Ending, Mode, Origin, RecordOptions, Session, Target};
use crate::recording::{ContainerMeta, Recording};
use crate::sys::{self, Stdio};
use crate::words;

/// Takes the target's words apart.
fn find_target(text: &str) -> Result<Target> {
    if let Some(number) = text.strip_prefix("pid:") {
        let pid = words::number(number)
            .and_then(|pid| Pid::try_from(pid).ok())
            .filter(|pid| *pid > 0)
            .ok_or_else(|| Error::usage(format!("{} is not pid:N with a number above 0", Quoted(text))))?;
        let leader = proc::thread_group(pid).ok_or_else(|| Error::not_found(format!("process {pid}")))?;
        return Ok(target(format!("pid-{leader}"), privileges(leader), vec![leader]));
    }
    match words::split_once(text, ":") {
        Some(("pod", _)) => {}
        Some((kind, _)) => {
            return Err(Error::usage(format!("there is no target {kind}:"))
                .hint("name a container id, pod:NAMESPACE/POD/CONTAINER or pid:N"));
        }
        None => check(text, Kind::Usage)?,
    }
    let (found, pids) = find(text)?;
    if !found.dropped.is_empty() {
        out::note(&["ftrace-analyzer: ", &found.dropped, "annotations that are no names, are left out\n"].concat());
    }
    let mut container = found.meta;
    check(&container.id, Kind::Malformed(None))?;
    if container.seccomp.is_empty() {
        let told = privileges(pids.first().copied().unwrap_or_default());
        (container.seccomp, container.no_new_privileges) = (told.seccomp, told.no_new_privileges);
    }
    Ok(target(container.id.clone(), container, pids))
}

/// What the kernel tells of a process that runs.
fn privileges(pid: Pid) -> ContainerMeta {
    let told = |key, values: &[&str]| {
        let at = proc::status(pid, key).and_then(|value| words::number(&value));
        at.and_then(|at| values.get(at as usize)).copied().unwrap_or_default().to_owned()
    };
    ContainerMeta {
        no_new_privileges: told("NoNewPrivs", &["no", "yes"]),
        seccomp: told("Seccomp", &["none", "filter", "filter"]),
        ..ContainerMeta::default()
    }
}

fn check(id: &str, kind: Kind) -> Result<()> {
    match ContainerId::new(id) {
        Ok(_) => Ok(()),
        Err(why) => Err(Error::new(kind, format!("the container id {} {why}", Quoted(id)))),
    }
}

fn target(label: String, container: ContainerMeta, mut pids: Vec<Pid>) -> Target {
    let init_pid = if pids.is_empty() { 0 } else { pids.remove(0) };
    Target {
        origin: Origin::Attach,
        label,
        container,
        command: Vec::new(),
        init_pid,
        others: pids,
        starts_in_runtime: false,
        asked: None,
    }
}

/// What the user is told when tracing is on.
fn tell(wanted: &str, target: &Target, dir: &Path) -> Result<()> {
    let threads = target.threads().len();
    let of = if threads == 1 { "1 thread".to_owned() } else { format!("{threads} threads") };
    out::note(&format!("recording {of} of {} to {}; Ctrl-C or ftrace-analyzer stop ends it\n", wanted, dir.display()));
    follow::tell_unfiltered(&*Recording::read_meta(dir)?);
    Ok(())
}

/// Whether whoever gave us standard input is gone: another end that was closed. A terminal or a file has none.
fn is_abandoned() -> bool {
    let mut input = [PollFd::new(Stdio::In.as_fd(), PollFlags::from_bits_retain(nix::libc::POLLRDHUP))];
    sys::poll(&mut input, 0)
}

/// Prints the calls as they happen. The recorder is a process of its own, so that what it stores does not depend on how
/// fast somebody reads. It ends with us, and we end when nobody is there any more: a connection that broke leaves nothing
/// behind on the machine (kubectl and ssh close standard input then, and signal nothing).
fn print_along(args: &Args<'_>, target: &Target, options: &RecordOptions) -> Result<u8> {
    let wanted = args.word.unwrap_or_default();
    sys::hold_signals();
    let signals = sys::signal_file().map_err(|why| Error::sys("wait for signals", why))?;
    let colour = out::colour(args, Stdio::Out)?;
    let recorder = recorder::spawn(target, options)?;
    let mut ended = false;
    let mut look = || {
        if !ended && (sys::read_signal(&signals).is_some() || is_abandoned()) {
            ended = true;
            sys::interrupt(recorder.pid);
        }
        false
    };
    tell(wanted, target, &recorder.dir)?;
    if options.mode == Mode::Continuous {
        follow::print(&recorder.dir, Box::new(Stdio::Out), (false, colour), &mut look)?;
        // Also when nobody reads any more.
        sys::interrupt(recorder.pid);
        sys::wait(recorder.pid, true);
    } else {
        // Whoever watches a flight recording empties it: what it kept is shown at its end, as counts are.
        while sys::wait(recorder.pid, false).is_none() {
            look();
            sys::sleep_ms(100);
        }
        report::print_text(&recorder.dir, &mut Stdio::Out, colour)?;
    }
    stop::closing_line(&recorder.dir)
}

pub fn main(args: &Args<'_>) -> Result<u8> {
    let options = record_options(args)?;
    let wanted = args.word.unwrap_or_default();
    let target = find_target(wanted)?;
    if args.has(Opt::Follow) {
        return print_along(args, &target, &options);
    }
    let session = Session::start(&target, &options)?;
    let dir = session.dir().to_owned();
    tell(wanted, &target, &dir)?;
    let ending = session.run();
    let code = stop::closing_line(&dir)?;
    match ending {
        Ending::Fault(why) => Err(why),
        _ => Ok(code),
    }
}
