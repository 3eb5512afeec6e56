// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `--base`: another profile's rules as the specification has them, and what of the container's calls they cover.
//!
//! Docker's and containers-common's own members (`includes`, `excludes`, `archMap`, `minKernel`, `defaultErrno`) are decided
//! here, for the recorded machines and capabilities: whoever loads the result may not know them.

use crate::arch::{kernel_version, Arch};
use crate::error::Result;
use crate::recording::Recording;
use crate::syscalls::{errno_number, number};

use super::effect::{Effects, Machine};
use super::generate::{Named, Source};
use super::profile::{Action, Profile, Rule, Selector};
use super::runtimes::Runtime;
use super::seen::limited_argument;
use super::{arch_of, Verdict};

/// The machine and container of a recording, as profiles ask about them.
pub(super) fn machine_of(recording: &Recording, runtime: Runtime) -> Result<Machine> {
    let meta = &recording.meta;
    let mut machine = Machine::usual(arch_of(recording)?, runtime);
    machine.kernel = kernel_version(&meta.host.release);
    if !meta.container.capabilities.is_empty() {
        machine.caps = Some(meta.container.capabilities.clone());
    }
    Ok(machine)
}

/// A base, and what it does on each machine.
pub(super) struct Base {
    /// Its rules that hold on one of the machines, with the specification's members alone.
    pub profile: Profile,
    effects: Vec<(Arch, Effects)>,
}

/// What a base does with the calls of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cover {
    /// All that were seen are allowed.
    Allowed,
    /// A rule without conditions refuses them.
    Refused,
    /// Neither.
    Open,
}

impl Base {
    /// For the machines of these recordings, and for those of `arches` that have none.
    pub fn new(base: &Profile, sources: &[Source], arches: &[Arch], runtime: Runtime) -> Result<Base> {
        let what = "the base";
        let mut machines: Vec<Machine> = Vec::new();
        for source in sources {
            machines.push(machine_of(&source.recording, runtime)?);
        }
        for arch in arches {
            if !machines.iter().any(|machine| machine.arch == *arch) {
                machines.push(Machine::usual(*arch, runtime));
            }
        }
        // Those that `archMap` gives are the machines' own, which the new profile lists anyway.
        let mut profile = Profile { archMap: Vec::new(), ..base.clone() };
        let mut effects = Vec::new();
        for machine in &machines {
            effects.push((machine.arch, Effects::new(base, machine, what)?));
        }
        let number = |name: &mut String, value: &mut i64| {
            *value = errno_number(name).map_or(*value, i64::from);
            name.clear();
        };
        number(&mut profile.defaultErrno, &mut profile.defaultErrnoRet);
        let default = profile.default_action(what)?;
        let mut rules = Vec::new();
        for mut rule in core::mem::take(&mut profile.syscalls) {
            let holds = machines.iter().any(|machine| machine.takes(&rule));
            let action = rule.what(what)?;
            // Rules that say what the default says are passed over when a profile is loaded.
            if !holds || action == default {
                continue;
            }
            if !rule.name.is_empty() {
                rule.names.push(core::mem::take(&mut rule.name));
            }
            number(&mut rule.errno, &mut rule.errnoRet);
            // crun takes no number where the action has none.
            if !matches!(action, Action::Errno(_) | Action::Trace(_)) {
                rule.errnoRet = -1;
            }
            (rule.includes, rule.excludes) = (Selector::default(), Selector::default());
            rules.push(rule);
        }
        profile.syscalls = rules;
        Ok(Base { profile, effects })
    }

    /// What it does with a name of the new profile: with the calls that were seen, else with any.
    pub fn covers(&self, sources: &[Source], named: &Named) -> Cover {
        let mut allowed = true;
        for source in sources {
            let arch = source.recording.meta.arch();
            let Some((_, effects)) = self.effects.iter().find(|(of, _)| Some(*of) == arch) else { continue };
            for call in source.seen.calls.iter().filter(|call| call.name() == Some(named.name)) {
                let mut ask = |args: Option<&[u64; 6]>| allowed &= allows(effects.verdict(call.abi, call.nr, args));
                match limited_argument(named.name) {
                    Some(index) if !call.open && !call.values.is_empty() => {
                        for (value, _) in &call.values {
                            let mut args = [0; 6];
                            if let Some(place) = args.get_mut(index as usize) {
                                *place = u64::from(*value);
                            }
                            ask(Some(&args));
                        }
                    }
                    _ => ask(None),
                }
            }
        }
        if named.why.runtime || named.why.program || named.why.spelling {
            for (arch, effects) in &self.effects {
                let abi = arch.native_abi();
                if let Some(nr) = number(abi, named.name) {
                    allowed &= allows(effects.verdict(abi, nr, None));
                }
            }
        }
        if allowed {
            return Cover::Allowed;
        }
        let refuses = |rule: &Rule| {
            rule.args.is_empty() && rule.is_about(named.name) && rule.what("").map_or(true, |action| !action.allows())
        };
        match self.profile.syscalls.iter().any(refuses) {
            true => Cover::Refused,
            false => Cover::Open,
        }
    }
}

fn allows(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Is(action) if action.allows())
}
