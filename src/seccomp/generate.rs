// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Recordings put together to a profile: the application's calls, what the runtime and every program need, and why each
//! name is there.
//!
//! What is not named fails with ENOSYS: C libraries take that for an old kernel and fall back on older calls, so a profile
//! outlives a newer library (clone3 of glibc 2.34, faccessat2, openat2). With EPERM they give up.

use crate::arch::{Abi, Arch};
use crate::error::{exit, Error, Kind, Result};
use crate::recording::{Clock, EndState, Meta, Recording};
use crate::syscalls::{each_spelling, number, OF_ARM, OF_X86_64};

use super::base::{Base, Cover};
use super::effect::ENOSYS;
use super::limits::Limit;
use super::profile::{Action, Condition, Profile, Rule, MASKED};
use super::runtimes::{needed, of_programs, Runtime};
use super::seen::{First, Seen, SeenCall};
use super::{arch_of, limits, Walked};

/// What is wanted of a profile.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// Who loads it.
    pub runtime: Runtime,
    /// Under no-new-privileges; without, as the recordings' bundles say.
    pub no_new_privileges: Option<bool>,
    /// Spellings of other machines, too.
    pub portable: bool,
    /// Rules on arguments.
    pub args: bool,
    /// What it is put on top of.
    pub base: Option<&'a Profile>,
}

/// A recording, and what was found of it.
#[derive(Debug)]
pub struct Source {
    /// Its directory's name.
    pub name: String,
    /// Itself.
    pub recording: Recording,
    /// Its calls.
    pub seen: Seen,
    /// How whole it is.
    pub walked: Walked,
    /// Why no profile should be made of it.
    pub unfit: Vec<String>,
}

impl Source {
    /// Reads a recording; `killed` where its recorder is gone without having ended it.
    pub fn read(name: String, recording: Recording, killed: bool) -> Result<Source> {
        let (seen, walked) = Seen::of(&recording)?;
        let unfit = unfit(&recording, &seen, &walked, killed);
        Ok(Source { name, recording, seen, walked, unfit })
    }

    /// The application's calls.
    pub fn calls(&self) -> u64 {
        self.seen.calls.iter().fold(self.seen.others, |sum, call| sum + call.calls)
    }
}

/// How one of those begins, which by itself is nothing against replaying what there is.
pub(super) const UNDER_PROFILE: &str = "the container ran under a seccomp profile";

/// What speaks against a profile from this recording, as sentences.
fn unfit(recording: &Recording, seen: &Seen, walked: &Walked, killed: bool) -> Vec<String> {
    let meta = &recording.meta;
    let mut reasons = Vec::new();
    let mut told = |is: bool, parts: &[&str]| {
        if is {
            reasons.push(parts.concat());
        }
    };
    let sums = &walked.conservation;
    let missing = sums.lost.saturating_add(sums.not_stored);
    let damaged = walked.counts.damaged > 0 || walked.counts.unknown_gaps > 0 || sums.balanced() == Some(false);
    told(missing > 0, &[&missing.to_string(), " events were lost, among them perhaps a call's only ones"]);
    told(missing == 0 && damaged, &["parts of it can not be read"]);
    told(sums.trimmed > 0 || meta.trimmed.segments > 0, &["its beginning went by --max-size or --max-age"]);
    told(killed, &["its recorder was killed before the end"]);
    told(meta.end_state() == EndState::Cut, &["it was cut short: ", &meta.end_reason]);
    told(!meta.options.syscalls.is_empty(), &["only some calls were recorded: --syscalls ", &meta.options.syscalls]);
    let mixed = meta.profile.narrowed_past;
    told(mixed, &["programs of another ABI ran while its filter left out numbers of the first (mode profile)"]);
    told(meta.options.errors_only, &["only failed calls were recorded: --errors-only"]);
    let filter = meta.container.seccomp.as_str();
    let allows = matches!(filter, "" | "none" | "SCMP_ACT_ALLOW" | "SCMP_ACT_LOG");
    told(!allows, &[UNDER_PROFILE, " (", filter, "): what it does where that refuses is not known"]);
    let refused = seen.calls.iter().fold(0, |sum, call| sum + call.refused);
    told(
        allows && refused > 0,
        &["seccomp refused ", &refused.to_string(), " of its calls (seccomp denials tells which)"],
    );
    told(walked.never_started, &["the container's program was never executed"]);
    told(!walked.never_started && seen.calls.is_empty(), &["it has no calls of the container"]);
    let late = seen.late_joins.to_string();
    told(seen.late_joins > 0, &[&late, " processes that joined it (exec) were seen late: calls of theirs are missing"]);
    told(seen.others > 0, &["it has calls of too many numbers"]);
    reasons
}

/// Why a name is in the profile; more than one may hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Why {
    /// The container called it.
    pub container: bool,
    /// The runtime needs it.
    pub runtime: bool,
    /// Every program needs it.
    pub program: bool,
    /// Another machine's name for one of those.
    pub spelling: bool,
}

/// A name of the profile.
#[derive(Clone, Debug)]
pub struct Named {
    /// The call.
    pub name: &'static str,
    /// Why it is there.
    pub why: Why,
    /// How often the container called it, over all recordings.
    pub calls: u64,
    /// Which recording has it first, and who made it there.
    pub first: Option<Origin>,
}

/// A profile and how it came about.
#[derive(Debug)]
pub struct Made {
    /// What goes into the file.
    pub profile: Profile,
    /// All names, sorted, those that the base has already included.
    pub names: Vec<Named>,
    /// What became of the arguments.
    pub limits: Vec<Limit>,
    /// What was assumed.
    pub no_new_privileges: bool,
    /// Calls whose numbers have no name here, of all recordings.
    pub nameless: u64,
    /// Names that the container called and the base refuses by a rule: they stay refused.
    pub refused_by_base: Vec<&'static str>,
}

/// libseccomp's names of a machine's ABIs: its own, and those of programs that it runs besides.
fn architectures(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => "SCMP_ARCH_X86_64 SCMP_ARCH_X86 SCMP_ARCH_X32",
        Arch::X86 => "SCMP_ARCH_X86",
        Arch::Aarch64 => "SCMP_ARCH_AARCH64 SCMP_ARCH_ARM",
        Arch::Arm => "SCMP_ARCH_ARM",
    }
}

/// The name's place among the names.
fn named<'n>(names: &'n mut Vec<Named>, name: &'static str) -> Option<&'n mut Named> {
    let at = match names.binary_search_by(|known| known.name.cmp(name)) {
        Ok(at) => at,
        Err(at) => {
            names.insert(at, Named { name, why: Why::default(), calls: 0, first: None });
            at
        }
    };
    names.get_mut(at)
}

/// Whether one of the ABIs has a call of this name.
fn has(abis: &[Abi], name: &str) -> bool {
    abis.iter().any(|abi| number(*abi, name).is_some())
}

/// Adds the names that a table has, as far as one of the ABIs has them, and how 32-bit programs spell them.
fn add_table(names: &mut Vec<Named>, abis: &[Abi], table: &mut dyn Iterator<Item = &'static str>, mark: fn(&mut Why)) {
    for name in table {
        if has(abis, name) {
            if let Some(known) = named(names, name) {
                mark(&mut known.why);
            }
        }
        for abi in abis.iter().filter(|abi| abi.is_32bit()) {
            // Its own form of the call: a wider one beside the old, or another in its place.
            let missing = number(*abi, name).is_none();
            each_spelling(name, &mut |other| {
                let wider = missing || other.starts_with('_') || other.starts_with(name);
                if wider && number(*abi, other).is_some() {
                    if let Some(known) = named(names, other) {
                        mark(&mut known.why);
                    }
                }
            });
        }
    }
}

/// Whether the container runs under no-new-privileges, by what the recordings say: with none that does not, it does.
pub(super) fn no_new_privileges(sources: &[Source]) -> bool {
    let told = |meta: &Meta| meta.container.no_new_privileges == "yes";
    !sources.is_empty() && sources.iter().all(|source| told(&source.recording.meta))
}

/// Which recording, and who made the call there first.
pub(super) type Origin = (usize, Option<First>);

/// Whether one was before the other by the wall clock; what has no time comes last.
pub(super) fn is_earlier(sources: &[Source], (at, first): Origin, known: Option<Origin>) -> bool {
    let time =
        |at: usize, first: First| sources.get(at).map(|source| Clock::new(&source.recording.meta).realtime(first.ts));
    match (first, known) {
        (_, None) => true,
        (Some(first), Some((before, Some(known)))) => time(at, first) < time(before, known),
        (first, Some((_, known))) => first.is_some() && known.is_none(),
    }
}

/// Makes the profile.
pub fn generate(sources: &[Source], wish: &Wish<'_>) -> Result<Made> {
    let mut arches: Vec<Arch> = Vec::new();
    for source in sources {
        let arch = arch_of(&source.recording)?;
        if !arches.contains(&arch) {
            arches.push(arch);
        }
    }
    if wish.portable {
        for arch in [Arch::X86_64, Arch::Aarch64, Arch::Arm] {
            if !arches.contains(&arch) {
                arches.push(arch);
            }
        }
    }
    let mut made = Made {
        profile: Profile::default(),
        names: Vec::new(),
        limits: Vec::new(),
        no_new_privileges: wish.no_new_privileges.unwrap_or_else(|| no_new_privileges(sources)),
        nameless: 0,
        refused_by_base: Vec::new(),
    };
    // The runtime speaks the machine's own ABI, programs those that were seen besides.
    let own: Vec<Abi> = arches.iter().map(|arch| arch.native_abi()).collect();
    let mut spoken = own.clone();
    for (at, source) in sources.iter().enumerate() {
        for call in &source.seen.calls {
            let Some(name) = call.name() else {
                made.nameless += call.calls;
                continue;
            };
            if !spoken.contains(&call.abi) {
                spoken.push(call.abi);
            }
            if let Some(known) = named(&mut made.names, name) {
                known.why.container = true;
                known.calls += call.calls;
                if is_earlier(sources, (at, call.first), known.first) {
                    known.first = Some((at, call.first));
                }
            }
        }
    }
    let names = &mut made.names;
    if wish.portable {
        let seen: Vec<&'static str> = names.iter().map(|named| named.name).collect();
        let mut spell = |name: &'static str| {
            if let Some(known) = named(names, name).filter(|_| has(&own, name)) {
                known.why.spelling |= !known.why.container;
            }
        };
        seen.iter().for_each(|name| each_spelling(name, &mut spell));
        OF_ARM.split(' ').for_each(&mut spell);
        OF_X86_64.split(' ').for_each(&mut spell);
        names.retain(|named| named.why != Why::default());
    }
    add_table(names, &spoken, &mut of_programs(), |why| why.program = true);
    let hooks = sources.iter().any(|source| source.recording.meta.container.start_hooks > 0);
    add_table(names, &own, &mut needed(wish.runtime, made.no_new_privileges, hooks), |why| why.runtime = true);
    if wish.args {
        made.limits = limits::find(sources, names);
    }
    made.profile = put_together(&mut made, &arches, sources, wish)?;
    Ok(made)
}

/// The rules, on top of the base's.
fn put_together(made: &mut Made, arches: &[Arch], sources: &[Source], wish: &Wish<'_>) -> Result<Profile> {
    let base = wish.base.map(|base| Base::new(base, sources, arches, wish.runtime)).transpose()?;
    let mut profile = match &base {
        Some(base) => base.profile.clone(),
        None => Profile {
            defaultAction: Action::Errno(0).name().to_owned(),
            defaultErrnoRet: i64::from(ENOSYS),
            ..Profile::default()
        },
    };
    for name in arches.iter().flat_map(|arch| architectures(*arch).split(' ')) {
        if !profile.architectures.iter().any(|known| known == name) {
            profile.architectures.push(name.to_owned());
        }
    }
    let mut allowed = allowed_rule();
    let mut limited = Vec::new();
    for named in &made.names {
        match base.as_ref().map_or(Cover::Open, |base| base.covers(sources, named)) {
            Cover::Allowed => continue,
            // That is somebody's decision.
            Cover::Refused => {
                made.refused_by_base.push(named.name);
                continue;
            }
            Cover::Open => {}
        }
        let limit = made.limits.iter().find(|limit| limit.name == named.name && limit.why.is_empty());
        let Some(limit) = limit else {
            allowed.names.push(named.name.to_owned());
            continue;
        };
        for (value, _) in &limit.values {
            let args = vec![Condition {
                index: limit.index,
                value: u64::from(u32::MAX),
                valueTwo: u64::from(*value),
                op: MASKED.to_owned(),
            }];
            limited.push(Rule { names: vec![named.name.to_owned()], args, ..allowed_rule() });
        }
    }
    // One rule for each name: conditions beside a rule without would contradict it.
    for rule in &mut profile.syscalls {
        rule.names.retain(|name| !allowed.names.contains(name));
    }
    profile.syscalls.retain(|rule| !rule.names.is_empty());
    if !allowed.names.is_empty() {
        profile.syscalls.insert(0, allowed);
    }
    profile.syscalls.append(&mut limited);
    Ok(profile)
}

fn allowed_rule() -> Rule {
    Rule { action: Action::Allow.name().to_owned(), ..Rule::default() }
}

/// What keeps these recordings from giving a profile: an error that names the reasons.
pub fn check_fit(sources: &[Source]) -> Result<()> {
    let mut text = String::new();
    for source in sources {
        for reason in &source.unfit {
            for part in [if text.is_empty() { "" } else { "; " }, &source.name, ": ", reason] {
                text.push_str(part);
            }
        }
    }
    // Some recording must have the beginning of the program.
    if text.is_empty() && sources.iter().all(|source| source.recording.meta.origin == "attach") {
        text.push_str("none of the recordings has the beginning of its program: all were made by attach");
    }
    if text.is_empty() {
        return Ok(());
    }
    let text = ["no profile is made: ", &text].concat();
    Err(Error::new(Kind::Relayed(exit::FAILED), text).hint("--force makes one nevertheless"))
}

/// Of all recordings, the calls of one name; nothing if none has it.
pub(super) fn calls_named<'a>(sources: &'a [Source], name: &'a str) -> impl Iterator<Item = &'a SeenCall> {
    sources.iter().flat_map(|source| &source.seen.calls).filter(move |call| call.name() == Some(name))
}
