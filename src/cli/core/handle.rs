// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `core handle`: what the kernel calls.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use super::calls::OfRecorders;
use super::install::defaults;
use crate::cli::args::Args;
use crate::core_dump::about::{About, Given};
use crate::core_dump::forward;
use crate::core_dump::handler::{handle as handle_one, Handled};
use crate::core_dump::settings::{self, Settings};
use crate::core_dump::trial;
use crate::error::{exit, Error, Kind, Result};
use crate::proc;
use crate::recorder::{log, run_dir, DIR_DEFAULT};
use crate::sys::Stdio;
use crate::words::quoted;

/// `core handle`: what the kernel calls. There is nobody to tell of an error but the log, and nothing may hold us up.
pub fn handle(args: &Args<'_>) -> Result<u8> {
    if !proc::is_root() {
        return Err(Error::new(Kind::Permission, "core dumps of others".into()).hint("the kernel calls it as root"));
    }
    let words: Vec<String> = args.word.into_iter().chain(args.more.iter().copied()).map(str::to_owned).collect();
    let mut given = Given::parse(&words)?;
    if trial::is_trial(&run_dir(), given.pid, given.pidfd.is_some()) {
        return Ok(exit::OK);
    }
    given.ask_kernel()?;
    let settings = settings::load(&run_dir());
    let settings = match settings {
        Ok(Some(settings)) => settings,
        found => {
            if let Err(why) = found {
                log(&["core: ", &why.to_string()].concat());
            }
            Settings { dir: DIR_DEFAULT.to_owned(), ..defaults(Path::new(DIR_DEFAULT)) }
        }
    };
    let dump = Stdio::In.as_fd().try_clone_to_owned().map_err(|why| Error::sys("take the dump", why))?;
    let dump = File::from(dump);
    let mut recorders = OfRecorders::new(&settings.dir);
    match handle_one(&given, &dump, &settings, &mut recorders) {
        Ok(Handled::Stored(dir, about)) => {
            let where_to = dir.to_string_lossy();
            tell(&about, &[&where_to, if about.cut.is_empty() { "" } else { ", cut: " }, &about.cut]);
            for problem in &about.problems {
                tell(&about, &[problem]);
            }
            Ok(exit::OK)
        }
        Ok(Handled::Counted(about)) => {
            tell(&about, &["one of a crash loop, counted and not stored"]);
            Ok(exit::OK)
        }
        Ok(Handled::Other(about)) => {
            let handed = forward::hand_on(&given, &about, &dump, &settings).map(|()| exit::OK);
            if let Err(why) = &handed {
                log(&["core: process ", &given.pid.to_string(), " of no container: ", &why.to_string()].concat());
            }
            handed
        }
        Err(why) => {
            log(&["core: process ", &given.pid.to_string(), ": ", &why.to_string()].concat());
            Err(why)
        }
    }
}

/// A line of the log; names are the dying process's to choose.
fn tell(about: &About, parts: &[&str]) {
    let [comm, id] = [&about.comm, &about.container.id].map(|name| quoted(name));
    let what = ["core: ", &comm, " of ", &id, " died by ", &about.signal_name, ": ", &parts.concat()];
    log(&what.concat());
}
