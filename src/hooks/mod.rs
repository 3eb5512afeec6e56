// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which files have each engine call our hooks, what is in them now, and what is to be in them.
//!
//! Nothing is written before all of it is known: [`install`] and [`remove`] give changes, which are applied one by one or
//! only shown. Files are known as ours by the mark in them ([`edit::MARK`]); others of the same name are left alone.

pub mod documents;
pub mod edit;
pub mod files;

use std::ffi::CString;

use crate::error::{Error, Result};
use crate::record::{self, record};
use crate::sys;
use crate::words;
use documents::Main;
use edit::{mark_of, Entry};

/// Who starts containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// runc or crun itself, by the config.json of one bundle.
    Bundle,
    /// Podman, by hooks.d.
    Podman,
    /// CRI-O, by hooks.d.
    Crio,
    /// Any engine that knows the Container Device Interface.
    Cdi,
    /// containerd's CRI plugin, by a runtime of its own.
    Containerd,
    /// Docker, by CDI.
    Docker,
}

/// The names of the runtimes, in the order of [`Runtime`].
pub const RUNTIMES: &str = "bundle podman crio cdi containerd docker";

impl Runtime {
    /// A runtime by its name.
    pub fn from_name(name: &str) -> Option<Runtime> {
        let all = [Runtime::Bundle, Runtime::Podman, Runtime::Crio, Runtime::Cdi, Runtime::Containerd, Runtime::Docker];
        all.get(words::position(RUNTIMES, name)?).copied()
    }

    /// Where its files lie, if nobody says otherwise.
    fn default_dir(self) -> &'static str {
        match self {
            Runtime::Bundle => "",
            Runtime::Podman => "/etc/containers/oci/hooks.d",
            // The only one that CRI-O reads unless its hooks_dir says otherwise.
            Runtime::Crio => "/usr/share/containers/oci/hooks.d",
            Runtime::Cdi | Runtime::Docker => "/etc/cdi",
            Runtime::Containerd => "/etc/containerd/conf.d",
        }
    }
}

/// What is wanted.
#[derive(Debug)]
pub struct Plan<'a> {
    /// For whom.
    pub runtime: Runtime,
    /// `prestart` or `createRuntime`.
    pub stage: &'a str,
    /// What begins a recording.
    pub start: Entry,
    /// What ends it.
    pub stop: Entry,
    /// hooks.d: every container.
    pub always: bool,
    /// hooks.d: those with this annotation (of this value), instead of ours.
    pub annotation: Option<(&'a str, Option<&'a str>)>,
    /// What stands before each path when files are written, for packagers; empty for this system.
    pub root: &'a str,
    /// The directory, if it is not the usual one.
    pub into: Option<&'a str>,
    /// The bundle, or its config.json.
    pub bundle: &'a str,
    /// containerd: a runtime specification instead of what `ctr oci spec` gives.
    pub base: Option<&'a str>,
    /// containerd: the version of its configuration; 0 for what config.toml has.
    pub version: u64,
    /// Whether foreign files of our names are overwritten.
    pub force: bool,
}

/// One file, as it is and as it is to be.
#[derive(Debug)]
pub struct Change {
    /// Where it is written.
    pub path: String,
    /// What it has; `None` where there is none.
    pub before: Option<Vec<u8>>,
    /// The mark of ours in it, from its version on; `None` where it has none.
    pub was: Option<String>,
    /// What it is to have; `None` where it is to go.
    pub after: Option<Vec<u8>>,
}

impl Change {
    fn read(path: String) -> Result<Change> {
        let before = files::read(&path)?;
        let was = before.as_deref().and_then(mark_of).map(str::to_owned);
        Ok(Change { path, before, was, after: None })
    }

    /// The version that is in the file, of ours.
    pub fn version(&self) -> &str {
        let mut words = self.was.as_deref().unwrap_or_default();
        words::next(&mut words).unwrap_or_default()
    }

    /// How many directories were made for the file, by its mark.
    fn dirs(&self) -> u64 {
        let mut words = self.was.as_deref().unwrap_or_default();
        while let Some(word) = words::next(&mut words) {
            if let Some(count) = word.strip_prefix("dirs=") {
                return words::number(count).unwrap_or(0);
            }
        }
        0
    }

    /// What the change does, in a word: `unchanged`, `written`, `replaced` (there was one of ours), `removed`.
    pub fn outcome(&self) -> &'static str {
        match (&self.before, &self.after) {
            (before, after) if before == after => "unchanged",
            (_, None) => "removed",
            (Some(_), Some(_)) if self.was.is_some() => "replaced",
            _ => "written",
        }
    }

    /// Does it.
    pub fn apply(&self) -> Result<()> {
        match &self.after {
            after if *after == self.before => Ok(()),
            Some(text) => files::replace(&self.path, text),
            None => files::remove(&self.path, self.dirs()),
        }
    }
}

impl Plan<'_> {
    /// Where the files are that engines look for.
    pub fn dir(&self) -> &str {
        self.into.unwrap_or(self.runtime.default_dir())
    }

    /// The directory above, of the file that containerd reads first.
    fn dir_above(&self) -> &str {
        self.dir().trim_end_matches('/').rsplit_once('/').map_or("", |(above, _)| above)
    }

    /// Where containerd is configured.
    pub fn main_path(&self) -> String {
        [self.root, self.dir_above(), "/config.toml"].concat()
    }

    /// The bundle's config.json.
    fn config(&self) -> String {
        match sys::is_dir(self.bundle.as_ref()) {
            true => [self.bundle.trim_end_matches('/'), "/config.json"].concat(),
            false => self.bundle.to_owned(),
        }
    }

    /// The paths of the files of ours, in the order in which they are written, without the root.
    fn paths(&self) -> Vec<String> {
        let names: &[&str] = match self.runtime {
            Runtime::Bundle => return vec![self.config()],
            Runtime::Podman | Runtime::Crio => &["/ftrace-analyzer-start.json", "/ftrace-analyzer-stop.json"],
            Runtime::Cdi | Runtime::Docker => &["/ftrace-analyzer.json"],
            // Not in the directory that is imported: a pattern may take all that is there for TOML.
            Runtime::Containerd => {
                return vec![
                    [self.dir_above(), "/ftrace-analyzer.json"].concat(),
                    [self.dir(), "/ftrace-analyzer.toml"].concat(),
                ]
            }
        };
        names.iter().map(|name| [self.dir(), name].concat()).collect()
    }

    /// The files as they are.
    fn found(&self) -> Result<Vec<Change>> {
        let root = if self.runtime == Runtime::Bundle { "" } else { self.root };
        self.paths().iter().map(|path| Change::read([root, path].concat())).collect()
    }

    /// containerd's own configuration.
    pub fn main(&self) -> Result<Option<Main>> {
        let text = files::read(&self.main_path())?;
        Ok(text.map(|text| documents::read_main(&String::from_utf8_lossy(&text))))
    }

    /// The specification that containerd's runtime begins with, without hooks of ours.
    fn base_spec(&self) -> Result<Vec<u8>> {
        if let Some(path) = self.base {
            return files::read(path)?.ok_or_else(|| Error::not_found(path));
        }
        let command = ["ctr", "oci", "spec"].map(|word| CString::new(word).unwrap_or_default());
        match sys::output(&command, 1 << 20) {
            Ok((text, 0)) => Ok(text),
            _ => Err(Error::unsupported("ctr, whose `ctr oci spec` gives the base of containers")
                .hint("--base FILE takes one that was made elsewhere")),
        }
    }

    /// containerd's files: the base specification, or what makes a runtime of it.
    fn containerd(&self, is_spec: bool, words: &str) -> Result<Vec<u8>> {
        if is_spec {
            let (spec, _) = edit::remove(&self.base_spec()?)?;
            return edit::insert(&spec, self.stage, &self.start, &self.stop, words);
        }
        let main = self.main()?;
        let version = match (self.version, &main) {
            (0, Some(main)) => main.version.clamp(2, 3),
            (0, None) => 3,
            (version, _) => version,
        };
        let main = main.unwrap_or_default();
        if main.has_ours {
            return Err(Error::usage([&self.main_path(), " has a runtime runc-trace of its own"].concat()));
        }
        Ok(documents::containerd(&main, version, &[self.dir_above(), "/ftrace-analyzer.json"].concat(), words))
    }
}

/// What is to be done to have the hooks called.
pub fn install(plan: &Plan<'_>) -> Result<Vec<Change>> {
    let mut changes = plan.found()?;
    if plan.runtime == Runtime::Bundle {
        for change in &mut changes {
            let within = |why: Error| why.within(format_args!("{}", change.path));
            let before = change.before.as_deref().ok_or_else(|| Error::not_found(change.path.as_str()))?;
            let (clean, was) = edit::remove(before).map_err(within)?;
            if !plan.force && edit::is_called_by_hand(&clean).map_err(within)? {
                return Err(Error::usage([&change.path, " calls hooks of ours already, without our mark"].concat())
                    .hint("take them out, or have these put beside them with --force"));
            }
            change.after = Some(edit::insert(&clean, plan.stage, &plan.start, &plan.stop, "").map_err(within)?);
            change.was = was;
        }
        return Ok(changes);
    }
    let foreign = changes.iter().find(|change| change.before.is_some() && change.was.is_none());
    if let Some(foreign) = foreign.filter(|_| !plan.force) {
        return Err(Error::usage([&foreign.path, " is there and not of ours"].concat()).hint("--force overwrites it"));
    }
    for at in 0..changes.len() {
        let Some(change) = changes.get(at) else { continue };
        // With a root the directories are the package's.
        let dirs = match (&change.was, plan.root) {
            (Some(_), _) => change.dirs(),
            (None, "") => files::missing_dirs(&change.path) as u64,
            _ => 0,
        };
        let words = if dirs > 0 { [" dirs=", &dirs.to_string()].concat() } else { String::new() };
        let after = match plan.runtime {
            Runtime::Containerd => plan.containerd(at == 0, &words)?,
            Runtime::Cdi | Runtime::Docker => documents::cdi(plan, &words),
            _ if at == 0 => documents::hooks_d(plan, &plan.start, plan.stage, &words),
            _ => documents::hooks_d(plan, &plan.stop, "poststop", &words),
        };
        if let Some(change) = changes.get_mut(at) {
            change.after = Some(after);
        }
    }
    Ok(changes)
}

/// What is to be done to have them called no more, and leave nothing. Files that are not of ours stay.
pub fn remove(plan: &Plan<'_>) -> Result<Vec<Change>> {
    let mut changes = plan.found()?;
    for change in &mut changes {
        let Some(before) = &change.before else { continue };
        if plan.runtime == Runtime::Bundle {
            let (clean, was) = edit::remove(before).map_err(|why| why.within(format_args!("{}", change.path)))?;
            (change.after, change.was) = (Some(clean), was);
        } else if change.was.is_none() {
            change.after = change.before.clone();
        }
    }
    // What names another file goes before it.
    changes.reverse();
    Ok(changes)
}

/// The members of daemon.json that we look for.
#[derive(Default)]
struct Daemon {
    features: Features,
}
#[derive(Default)]
struct Features {
    cdi: bool,
}
record!(Daemon { features: Record });
record!(Features { cdi: Bool });

/// Whether Docker's daemon.json switches CDI on.
pub fn docker_has_cdi(root: &str) -> bool {
    let text = files::read(&[root, "/etc/docker/daemon.json"].concat()).ok().flatten().unwrap_or_default();
    let mut daemon = Daemon::default();
    record::read(&text, "", &mut daemon).is_ok() && daemon.features.cdi
}

/// What is installed in the usual places, as a sentence, and the first program that hooks call and that is not there:
/// containers do not start then.
pub fn installed() -> (String, Option<String>) {
    let (mut told, mut missing) = (String::from("hooks:"), None);
    for (name, path) in [
        (" podman (", "/etc/containers/oci/hooks.d/ftrace-analyzer-start.json"),
        (" crio (", "/usr/share/containers/oci/hooks.d/ftrace-analyzer-start.json"),
        (" cdi (", "/etc/cdi/ftrace-analyzer.json"),
        (" containerd (", "/etc/containerd/ftrace-analyzer.json"),
    ] {
        let Ok(change) = Change::read(path.to_owned()) else { continue };
        if change.was.is_none() {
            continue;
        }
        for part in [if told.ends_with(')') { "," } else { "" }, name, change.version(), ", ", path, ")"] {
            told.push_str(part);
        }
        let text = String::from_utf8_lossy(change.before.as_deref().unwrap_or_default());
        // Our own writing: the program stands before the arguments.
        let program = words::split_once(&text, "\",\"args\":[\"ftrace-analyzer\",\"hook\"")
            .and_then(|(before, _)| words::behind_last(before, b'"'));
        missing = missing.or(program.filter(|program| !sys::exists(program.as_ref())).map(str::to_owned));
    }
    if !told.ends_with(')') {
        told.push_str(" none in the usual places");
    }
    (told, missing)
}
