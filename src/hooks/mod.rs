// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which files have each engine call our hooks, what is in them now, and what is to be in them.
//!
//! Nothing is written before all of it is known: [`changes`] gives them, and they are applied one by one or
//! only shown. Files are known as ours by the mark in them ([`edit::MARK`]); others of the same name are left alone.

pub mod documents;
pub mod edit;
pub mod files;

use std::ffi::CString;

use crate::error::{Error, Result};
use crate::sys;
use crate::words;
use documents::Main;
use edit::{mark_of, Entry};

/// Who starts containers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Runtime {
    /// runc or crun itself, by the config.json of one bundle.
    #[default]
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
}

/// Where their files lie, if nobody says otherwise: what Podman and CRI-O read by default is one directory.
const DIRS: &str =
    " /usr/share/containers/oci/hooks.d /usr/share/containers/oci/hooks.d /etc/cdi /etc/containerd/conf.d \
                    /etc/cdi";

/// What is wanted.
#[derive(Debug, Default)]
pub struct Plan<'a> {
    /// For whom.
    pub runtime: Runtime,
    /// `prestart` or `createRuntime`.
    pub stage: &'a str,
    /// What begins a recording.
    pub start: Entry,
    /// What ends it.
    pub stop: Entry,
    /// hooks.d: the hooks are called for every container, not only for those with our annotation.
    pub always: bool,
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
    fn dirs(&self) -> usize {
        let mut words = self.was.as_deref().unwrap_or_default();
        while let Some(word) = words::next(&mut words) {
            if let Some(count) = word.strip_prefix("dirs=") {
                return words::number(count).unwrap_or(0) as usize;
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
        self.into.unwrap_or(words::nth(DIRS, self.runtime as usize))
    }

    /// The directory above, of the file that containerd reads first.
    fn dir_above(&self) -> &str {
        sys::parent(self.dir().as_ref()).and_then(|above| above.to_str()).unwrap_or_default()
    }

    /// Where containerd is configured.
    pub fn main_path(&self) -> String {
        [self.root, self.dir_above(), "/config.toml"].concat()
    }

    /// The files of ours as they are, in the order in which they are written.
    fn found(&self) -> Result<Vec<Change>> {
        const JSON: &str = "/ftrace-analyzer.json";
        let dir = self.dir();
        let files = match self.runtime {
            Runtime::Bundle if sys::is_dir(self.bundle.as_ref()) => {
                [[self.bundle, if self.bundle.ends_with('/') { "config.json" } else { "/config.json" }], [""; 2]]
            }
            Runtime::Bundle => [[self.bundle, ""], [""; 2]],
            Runtime::Podman | Runtime::Crio => {
                [[dir, "/ftrace-analyzer-start.json"], [dir, "/ftrace-analyzer-stop.json"]]
            }
            Runtime::Cdi | Runtime::Docker => [[dir, JSON], [""; 2]],
            // Not in the directory that is imported: a pattern may take all that is there for TOML.
            Runtime::Containerd => [[self.dir_above(), JSON], [dir, "/ftrace-analyzer.toml"]],
        };
        let mut changes = Vec::new();
        for [dir, name] in files.iter().filter(|[dir, _]| !dir.is_empty()) {
            let is_bundle = self.runtime == Runtime::Bundle;
            let change = Change::read([if is_bundle { "" } else { self.root }, dir, name].concat())?;
            if is_bundle && change.before.is_none() {
                return Err(Error::not_found(change.path));
            }
            changes.push(change);
        }
        Ok(changes)
    }

    /// containerd's own configuration.
    pub fn main(&self) -> Result<Option<Main>> {
        let text = files::read(&self.main_path())?;
        Ok(text.map(|text| documents::read_main(core::str::from_utf8(&text).unwrap_or_default())))
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
        Ok(documents::containerd(&main, version, &[self.dir_above(), "/ftrace-analyzer.json"].concat(), words)
            .into_bytes())
    }

    /// What is put into the place of a bundle's config.json, and the mark that was in it.
    fn config(&self, before: &[u8], installs: bool) -> Result<(Vec<u8>, Option<String>)> {
        let (mut text, was) = edit::remove(before)?;
        if installs {
            text = edit::insert(&text, self.stage, &self.start, &self.stop, "")?;
        }
        Ok((text, was))
    }

    /// What a file of ours is to have.
    fn document(&self, at: usize, change: &Change) -> Result<Vec<u8>> {
        if change.before.is_some() && change.was.is_none() && !self.force {
            return Err(
                Error::usage([&*change.path, " is there and not of ours"].concat()).hint("--force overwrites it")
            );
        }
        // With a root the directories are the package's.
        let dirs = match change.was {
            None if self.root.is_empty() => files::missing_dirs(&change.path),
            _ => change.dirs(),
        };
        let words = if dirs > 0 { [" dirs=", &dirs.to_string()].concat() } else { String::new() };
        Ok(match self.runtime {
            Runtime::Containerd => self.containerd(at == 0, &words)?,
            Runtime::Cdi | Runtime::Docker => documents::cdi(self, &words).into_bytes(),
            _ if at == 0 => documents::hooks_d(self, &self.start, self.stage, &words).into_bytes(),
            _ => documents::hooks_d(self, &self.stop, "poststop", &words).into_bytes(),
        })
    }
}

/// What is to be done to have the hooks called, or to have them called no more and leave nothing. Then files that are not of
/// ours stay.
pub fn changes(plan: &Plan<'_>, installs: bool) -> Result<Vec<Change>> {
    let mut changes = plan.found()?;
    for (at, change) in changes.iter_mut().enumerate() {
        match &change.before {
            Some(before) if plan.runtime == Runtime::Bundle => {
                let changed = plan.config(before, installs);
                let (after, was) = changed.map_err(|why| why.within(format_args!("{}", change.path)))?;
                (change.after, change.was) = (Some(after), was);
            }
            _ if installs => change.after = Some(plan.document(at, change)?),
            before if change.was.is_none() => change.after = before.clone(),
            _ => {}
        }
    }
    if !installs {
        // What names another file goes before it.
        changes.reverse();
    }
    Ok(changes)
}

/// What is installed in the usual places, as a sentence, and the first program that hooks call and that is not there:
/// containers do not start then.
pub fn installed() -> (String, Option<String>) {
    let (mut told, mut missing) = (String::from("hooks:"), None);
    for (name, runtime) in [("hooks.d", Runtime::Podman), ("cdi", Runtime::Cdi), ("containerd", Runtime::Containerd)] {
        let found = Plan { runtime, ..Plan::default() }.found().unwrap_or_default();
        let Some(change) = found.first().filter(|change| change.was.is_some()) else { continue };
        for part in
            [if told.ends_with(')') { ", " } else { " " }, name, " (", change.version(), ", ", &change.path, ")"]
        {
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
