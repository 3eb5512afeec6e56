// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whom to trace: the first process and all threads that exist when tracing begins.
//!
//! `set_event_pid` takes threads, not processes, and adds only children born later: at createRuntime runc's init has
//! five threads already, and a container that runs may have hundreds.

use std::os::fd::RawFd;

use crate::arch::Abi;
use crate::ids::Pid;
use crate::proc;
use crate::recording::{ContainerMeta, InitialTask, OpenFile};
use crate::sys;
use crate::words::{behind_last, next_part, split_once};

/// How a recording was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An OCI hook.
    Hook,
    /// `run`.
    Run,
    /// `attach`.
    Attach,
}

impl Origin {
    /// As it stands in meta.json.
    pub fn name(self) -> &'static str {
        match self {
            Origin::Hook => "hook",
            Origin::Run => "run",
            Origin::Attach => "attach",
        }
    }
}

/// The user who asked for a recording that he could not make himself.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// User.
    pub user: u32,
    /// Group.
    pub group: u32,
    /// His process, such as a runtime's hook; 0 where we do not see it.
    pub by: Pid,
    /// When the first process of what is to be traced started, in clock ticks after boot.
    pub start_time: u64,
    /// A pidfd of it; -1 where the kernel has none.
    pub pidfd: RawFd,
}

impl Asked {
    /// Whether the number still is that process's.
    pub fn is_still(&self, pid: Pid) -> bool {
        let same = self.pidfd < 0 || sys::pid_of(&self.pidfd) == Some(pid);
        same && proc::stat(pid).is_some_and(|stat| stat.start_time == self.start_time)
    }
}

/// Whom to trace.
#[derive(Clone, Debug)]
pub struct Target {
    /// How it was started.
    pub origin: Origin,
    /// The recording's label: container id, command name or `pid-N`; letters, digits and `_+.-` only.
    pub label: String,
    /// The container, as far as it is known.
    pub container: ContainerMeta,
    /// The command line of `run`.
    pub command: Vec<String>,
    /// The first process: the recording ends when it and all that came of it are gone.
    pub init_pid: Pid,
    /// Processes traced from the start besides the first: those of a container that runs already.
    pub others: Vec<Pid>,
    /// Whether the first process still is the runtime (or our launcher) and becomes the program by execve.
    pub starts_in_runtime: bool,
    /// Who asked for it, if it is not the machine's root.
    pub asked: Option<Asked>,
}

impl Target {
    /// The threads that are there now.
    pub fn threads(&self) -> Vec<Pid> {
        let mut threads = proc::threads(self.init_pid);
        for pid in &self.others {
            threads.extend(proc::threads(*pid));
        }
        if self.origin == Origin::Attach && !self.container.id.is_empty() {
            // A process of the container may have started another since it was listed.
            for (_, pid) in members(&mut |id| id == self.container.id) {
                threads.extend(proc::threads(pid));
            }
        }
        threads.sort_unstable();
        threads.dedup();
        threads
    }

    /// The tasks for meta.json.
    pub fn initial_tasks(&self, threads: &[Pid]) -> Vec<InitialTask> {
        let mut tasks: Vec<InitialTask> = Vec::with_capacity(threads.len());
        for tid in threads {
            let tgid = proc::thread_group(*tid).unwrap_or(*tid);
            let abi = match tasks.last() {
                Some(last) if last.tgid == tgid => last.abi.clone(),
                _ => proc::abi(tgid).map_or("", Abi::name).to_owned(),
            };
            let mut task = InitialTask { tid: *tid, tgid, comm: proc::comm(*tid), abi, ..InitialTask::default() };
            if *tid == tgid {
                task.cwd = proc::link(tgid, "cwd");
                let left = FDS_MAX.saturating_sub(tasks.iter().map(|task| task.fds.len()).sum());
                for fd in proc::descriptors(tgid).into_iter().take(left) {
                    let path = proc::link(tgid, &format!("fd/{fd}"));
                    task.fds.push(OpenFile { fd, path });
                }
            }
            tasks.push(task);
        }
        tasks
    }
}

/// Most descriptors that are written down of all tasks together: they have room in meta.json beside the tasks.
const FDS_MAX: usize = 256;

/// Whether the last parts of a cgroup path name the container: as runc and crun (`ID`, `runc-ID.scope`), Docker
/// (`docker-ID.scope`), CRI-O (`crio-ID.scope`), containerd (`cri-containerd-ID.scope`, `…:cri-containerd:ID`), Podman
/// (`libpod-ID.scope`, with `/container` below) write it.
fn wanted_in_cgroup<'a>(path: &'a str, is_wanted: &mut dyn FnMut(&str) -> bool) -> Option<&'a str> {
    let mut left = path;
    loop {
        let last = behind_last(left, b'/').unwrap_or(left);
        let part = last.strip_suffix(".scope").unwrap_or(last);
        let part = behind_last(part, b':').unwrap_or(part);
        let known = ["runc-", "crun-", "docker-", "crio-", "cri-containerd-", "libpod-", "nerdctl-"];
        let id = known.iter().find_map(|prefix| part.strip_prefix(prefix)).unwrap_or(part);
        // conmon's own group is beside the container's, not the container.
        if split_once(part, "conmon").is_none() && is_wanted(id) {
            return Some(id);
        }
        left = left.get(..left.len().checked_sub(last.len() + 1)?)?;
    }
}

/// The lines of /proc/PID/cgroup whose path names the container `id`.
pub fn cgroups_of(pid: Pid, id: &str) -> Vec<String> {
    let text = proc::cgroups(pid);
    let (mut rest, mut lines) = (text.as_str(), Vec::new());
    while let Some(line) = next_part(&mut rest, "\n") {
        let path = split_once(line, ":").and_then(|(_, line)| split_once(line, ":"));
        if path.is_some_and(|(_, path)| wanted_in_cgroup(path, &mut |part| part == id).is_some()) {
            lines.push(line.to_owned());
        }
    }
    lines
}

/// The processes of those containers that are wanted, by their ids, each with the id.
pub(super) fn members(is_wanted: &mut dyn FnMut(&str) -> bool) -> Vec<(String, Pid)> {
    let mut members: Vec<(String, Pid)> = Vec::new();
    for pid in proc::processes() {
        let paths = proc::cgroup_paths(pid);
        if let Some(id) = paths.iter().find_map(|path| wanted_in_cgroup(path, is_wanted)) {
            members.push((id.to_owned(), pid));
        }
    }
    members
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_are_found_in_the_cgroups_of_each_engine() {
        let id = "0123456789abcdef";
        for path in [
            "/demo-0123456789abcdef".replace("demo-", ""),
            format!("/system.slice/runc-{id}.scope"),
            format!("/docker/{id}"),
            format!("/system.slice/docker-{id}.scope"),
            format!("/kubepods.slice/kubepods-pod1.slice/cri-containerd-{id}.scope"),
            format!("/kubepods-besteffort-pod1.slice:cri-containerd:{id}"),
            format!("/kubepods/besteffort/pod1/crio-{id}"),
            format!("/machine.slice/libpod-{id}.scope/container"),
            format!("/x/{id}/init.scope"),
        ] {
            for (beginning, is) in [(id, Some(id)), ("0123", Some(id)), ("123", None)] {
                assert_eq!(wanted_in_cgroup(&path, &mut |id| id.starts_with(beginning)), is, "{path}");
            }
        }
        let conmon = format!("/machine.slice/crio-conmon-{id}.scope");
        assert_eq!(wanted_in_cgroup(&conmon, &mut |_| true), Some("machine.slice"));
    }
}
