// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a running recorder tells other invocations of the program: one directory each below /run/ftrace-analyzer, with
//! `state.json` and the `control` socket. It goes with the recorder; what stays was left by one that was killed.
//!
//! A recorder is named by pid, start time and boot id together: pids recycle.

use std::io::Write;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use super::options::DIR_DEFAULT;
use super::target::Target;
use crate::error::{Error, Result};
use crate::ids::{is_pod, Pid};
use crate::json::Json;
use crate::proc;
use crate::record::{self, record};
use crate::recording::{dir_of_user, CallCounts};
use crate::sys;
use crate::words::behind_last;

/// Where running state lies by default.
const RUN_DIR: &str = "/run/ftrace-analyzer";

/// Largest `state.json` read, in bytes; ours have some hundred.
const STATE_FILE_MAX: usize = 64 << 10;

/// Where running state lies: `FTRACE_ANALYZER_RUN_DIR` (for tests), else /run/ftrace-analyzer. That of a user's recordings
/// lies there for root; for the user there is a copy in the recording's directory, so that he needs none that he could fill
/// in /run, which is memory and everybody's.
pub fn run_dir() -> PathBuf {
    let otherwise = || match proc::is_root() {
        true => RUN_DIR.into(),
        false => sys::variable("FTRACE_ANALYZER_DIR").map_or_else(default_dir, PathBuf::from),
    };
    sys::variable("FTRACE_ANALYZER_RUN_DIR").map_or_else(otherwise, PathBuf::from)
}

/// Where recordings lie unless something else is said: those of users apart.
pub fn default_dir() -> PathBuf {
    match proc::is_root() {
        true => DIR_DEFAULT.into(),
        false => dir_of_user(Path::new(DIR_DEFAULT), proc::outer_user()),
    }
}

/// A recorder as its `state.json` tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunState {
    /// The recording's directory.
    pub recording: String,
    /// Label: container id or command name.
    pub name: String,
    /// Container id; empty for `run` and `attach pid:`.
    pub container: String,
    /// `NAMESPACE/POD/CONTAINER`; empty where it is in no pod.
    pub pod: String,
    /// tracefs instance.
    pub instance: String,
    /// The recorder.
    pub recorder_pid: Pid,
    /// Its start time in clock ticks after boot.
    pub recorder_start: u64,
    /// The boot it runs in.
    pub boot_id: String,
    /// First traced process.
    pub init_pid: Pid,
    /// The container's mount namespace, where it has one of its own and processes that join are followed.
    pub mnt_ns: String,
    /// The lines of /proc/PID/cgroup that name the container, likewise.
    pub cgroups: Vec<String>,
    /// The user namespace that a process must be in to be taken for one that joined; empty for any.
    pub user_ns: String,
    /// The user whose recording this is, if it is not root's.
    pub owner: u32,
    /// His group.
    pub group: u32,
    /// Where this was read from; not in the file.
    pub dir: PathBuf,
}

record!(RunState {
    recording: Text,
    name: Text,
    container: Text,
    pod: Text,
    instance: Text,
    recorder_pid: I32,
    recorder_start: U64,
    boot_id: Text,
    init_pid: I32,
    mnt_ns: Text,
    cgroups: Texts,
    user_ns: Text,
    owner: U32,
    group: U32,
});

impl RunState {
    /// State of the calling process as recorder of `recording`.
    pub fn for_this_process(recording: &Path, target: &Target, instance: &str) -> RunState {
        let pid = std::process::id() as Pid;
        let unit = sys::last_part(recording);
        RunState {
            recording: recording.display().to_string(),
            name: target.label.clone(),
            container: target.container.id.clone(),
            pod: target.container.pod_path(),
            instance: instance.to_owned(),
            recorder_pid: pid,
            recorder_start: proc::stat(pid).map_or(0, |stat| stat.start_time),
            boot_id: proc::boot_id(),
            init_pid: target.init_pid,
            mnt_ns: String::new(),
            cgroups: Vec::new(),
            user_ns: String::new(),
            owner: target.asked.map_or(0, |asked| asked.user),
            group: target.asked.map_or(0, |asked| asked.group),
            dir: run_dir().join(unit),
        }
    }

    /// Makes the directory and writes the file, and its copy for an owner.
    pub fn publish(&mut self) -> Result<()> {
        make_run_dir()?;
        sys::make_dir(&self.dir).map_err(|why| Error::io("create", &self.dir, why.into()))?;
        let mut json = Json::new();
        record::write(&mut json, self).newline();
        let write = |dir: &Path| {
            let path = dir.join("state.json");
            let written = sys::open(&path, OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL)
                .and_then(|mut file| file.write_all(json.as_bytes()));
            written.map_err(|why| Error::io("write", &path, why))
        };
        let mut written = write(&self.dir);
        if self.owner != 0 && written.is_ok() {
            let _owner = sys::as_owner();
            written = write(Path::new(&self.recording));
        }
        written.map_err(|why| {
            self.withdraw();
            why
        })
    }

    /// Removes the directory, and an owner's copy.
    pub fn withdraw(&self) {
        if self.owner != 0 {
            let _owner = sys::as_owner();
            for file in ["control", "state.json"] {
                let _ = sys::remove_file(&Path::new(&self.recording).join(file));
            }
        }
        for file in ["control", "state.json", CallCounts::FILE, CallCounts::NEXT] {
            let _ = sys::remove_file(&self.dir.join(file));
        }
        let _ = sys::remove_dir(&self.dir);
    }

    /// Reads the state in `dir`.
    pub fn read(dir: &Path) -> Result<RunState> {
        let path = dir.join("state.json");
        let bytes = sys::open(&path, OFlag::O_RDONLY)
            .and_then(|file| sys::read_on(&file, STATE_FILE_MAX))
            .map_err(|why| Error::io("read", &path, why))?;
        if bytes.len() > STATE_FILE_MAX {
            return Err(Error::limit(format!("{} is too large", path.display()), STATE_FILE_MAX as u64));
        }
        let mut state = RunState::default();
        record::read(&bytes, &path.display().to_string(), &mut state)?;
        state.dir = dir.to_owned();
        Ok(state)
    }

    /// Whether its recorder runs.
    pub fn is_alive(&self) -> bool {
        self.boot_id == proc::boot_id()
            && proc::stat(self.recorder_pid)
                .is_some_and(|stat| stat.start_time == self.recorder_start && !matches!(stat.state, 'Z' | 'X'))
    }

    /// The recording's directory name: container id or label, and start time.
    pub fn unit(&self) -> &str {
        behind_last(&self.recording, b'/').unwrap_or(&self.recording)
    }
}

/// Makes /run/ftrace-analyzer.
pub fn make_run_dir() -> Result<PathBuf> {
    let dir = run_dir();
    sys::make_dirs(&dir).map_err(|why| Error::io("create", &dir, why.into()))?;
    Ok(dir)
}

/// All states, of running and of killed recorders, and the directories whose state cannot be read.
pub fn all_states() -> (Vec<RunState>, Vec<PathBuf>) {
    let mut states = Vec::new();
    let mut unreadable = Vec::new();
    let base = run_dir();
    for name in sys::names(&base).unwrap_or_default() {
        let path = base.join(name);
        if !sys::is_dir(&path) {
            continue;
        }
        match RunState::read(&path) {
            Ok(state) => {
                let at = states.partition_point(|known: &RunState| known.recording < state.recording);
                states.insert(at, state);
            }
            Err(_) => unreadable.push(path),
        }
    }
    (states, unreadable)
}

/// The recorders that run.
pub fn running() -> Vec<RunState> {
    all_states().0.into_iter().filter(RunState::is_alive).collect()
}

/// The running recorder of exactly this container: what a hook means, where a beginning or a command of that name would
/// be somebody else's.
pub fn find_container_recorder(id: &str) -> Option<RunState> {
    // Users may name their containers as they like.
    let is_root = proc::is_root();
    running().into_iter().rfind(|state| state.container == id && (state.owner == 0 || !is_root))
}

/// The running recorder that `wanted` names: container id or label, recording name, path, a unique beginning of one, or
/// `pod:NAMESPACE/POD[/CONTAINER]`.
pub fn find_running(wanted: &str) -> Result<RunState> {
    let mut states = running();
    let pod = wanted.strip_prefix("pod:");
    // Root's own come first: users may name theirs alike.
    let own = |state: &RunState| {
        let is_named = match pod {
            Some(pod) => is_pod(pod, &state.pod),
            None => state.name == wanted || state.unit().starts_with(wanted),
        };
        state.owner == 0 && is_named
    };
    if states.iter().any(own) {
        states.retain(|state| state.owner == 0);
    }
    let exact = |state: &RunState| state.name == wanted || state.unit() == wanted || state.recording == wanted;
    if let Some(at) = states.iter().rposition(exact) {
        return Ok(states.swap_remove(at));
    }
    states.retain(|state| match pod {
        Some(pod) => is_pod(pod, &state.pod),
        None => state.unit().starts_with(wanted),
    });
    let Some(newest) = states.pop() else {
        return Err(
            Error::not_found(format!("a running recording {wanted}")).hint("ftrace-analyzer list shows what there is")
        );
    };
    // A container of a pod may have several recorders.
    states.retain(|state| pod.is_none() || state.pod != newest.pod);
    if states.is_empty() {
        return Ok(newest);
    }
    let mut units = vec![newest.unit()];
    for state in &states {
        units.push(state.unit());
    }
    Err(Error::several("running recordings", wanted, &units))
}
