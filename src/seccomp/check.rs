// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Recordings replayed against a profile: what it would refuse, and what cannot be told.
//!
//! Calls of the container are judged one by one where their arguments matter, else by kind. What the runtime called is not
//! looked at: another version calls other things, so its table is held against the profile instead.

use crate::arch::Abi;
use crate::calls::{Call, End, Note, Steps};
use crate::error::Result;
use crate::ids::SyscallNr;
use crate::json::Json;
use crate::syscalls::{each_spelling, number};

use super::base::machine_of;
use super::effect::Effects;
use super::generate::{is_earlier, no_new_privileges, Source, UNDER_PROFILE};
use super::profile::{Action, Profile};
use super::runtimes::{needed, Runtime};
use super::seen::First;
use super::sources::{begin, name_with_abi, task, time, write_first, Table};
use super::verdict::{hexes, word, write_args, write_verdict, Verdict};
use super::{denials::name_of, walk};

/// Findings that are told apart; a program may try out all numbers.
pub const FINDINGS_MAX: usize = 1024;

/// What becomes of a kind of call.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Which recording has it first.
    pub recording: usize,
    /// The ABI of the number.
    pub abi: Abi,
    /// The number.
    pub nr: SyscallNr,
    /// What becomes of it.
    pub verdict: Verdict,
    /// How often it was made, over all recordings.
    pub count: u64,
    /// Who made it first; `None` where there are only counts.
    pub first: Option<First>,
    /// The first one's arguments up to the last that the profile asks for; none where it asks for none.
    pub args: Vec<u64>,
}

/// What recordings and a profile have to do with each other.
#[derive(Debug, Default)]
pub struct Check {
    /// Whatever is not plainly allowed.
    pub findings: Vec<Finding>,
    /// What the runtime needs and does not get: call, verdict.
    pub needs: Vec<(&'static str, Verdict)>,
    /// Calls of the container.
    pub calls: u64,
    /// Kinds of calls, by ABI and number.
    kinds: Vec<(Abi, SyscallNr)>,
    /// Calls of kinds beyond what is told apart, which were not looked at.
    pub others: u64,
    /// Whether all recordings are whole.
    pub is_whole: bool,
    /// Whether the runtime works under no-new-privileges.
    pub no_new_privileges: bool,
}

/// What to think of a verdict.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// The call is not made.
    Refused,
    /// That cannot be told.
    Unclear,
    /// It is made and logged, or somebody else decides.
    Watched,
    Allowed,
}

fn class(verdict: Verdict) -> Class {
    match verdict {
        Verdict::Depends => Class::Unclear,
        Verdict::Is(Action::Allow) => Class::Allowed,
        Verdict::Is(Action::Log | Action::Notify | Action::Trace(_)) => Class::Watched,
        Verdict::Is(_) => Class::Refused,
    }
}

impl Check {
    /// Replays all recordings. Errors call the profile `what`.
    pub fn run(
        profile: &Profile,
        what: &str,
        sources: &[Source],
        runtime: Runtime,
        under_no_new_privileges: Option<bool>,
    ) -> Result<Check> {
        let mut check = Check { is_whole: true, ..Check::default() };
        check.no_new_privileges = under_no_new_privileges.unwrap_or_else(|| no_new_privileges(sources));
        for (recording, source) in sources.iter().enumerate() {
            let meta = &source.recording.meta;
            let machine = machine_of(&source.recording, runtime)?;
            let effects = Effects::new(profile, &machine, what)?;
            check.need(&effects, machine.arch.native_abi(), runtime, meta.container.start_hooks > 0);
            check.is_whole &= incomplete(source).next().is_none();
            check.others += source.seen.others;
            check.calls += source.calls();
            let mut replay = Replay { check: &mut check, effects: &effects, sources, recording };
            let mut ask = false;
            for call in &source.seen.calls {
                let kind = (call.abi, call.nr);
                if let Err(at) = replay.check.kinds.binary_search(&kind) {
                    replay.check.kinds.insert(at, kind);
                }
                match effects.verdict(call.abi, call.nr, None) {
                    Verdict::Depends if !meta.counts_only() => ask = true,
                    verdict => replay.found(kind, verdict, call.calls, call.first, &[]),
                }
            }
            if ask {
                walk(&source.recording, &mut replay)?;
            }
        }
        Ok(check)
    }

    /// Holds against the profile what the runtime needs.
    fn need(&mut self, effects: &Effects, abi: Abi, runtime: Runtime, hooks: bool) {
        let verdict = |name: &str| number(abi, name).map(|nr| effects.verdict(abi, nr, None));
        for name in needed(runtime, self.no_new_privileges, hooks) {
            let Some(is) = verdict(name) else { continue };
            let mut refused = matches!(class(is), Class::Refused | Class::Unclear);
            // Programs of 32 bits call the wider form, where the ABI has both.
            each_spelling(name, &mut |other| {
                let wider = abi.is_32bit() && (other.starts_with('_') || other.starts_with(name));
                refused &= !(wider && verdict(other) == Some(Verdict::Is(Action::Allow)));
            });
            if refused && !self.needs.iter().any(|(known, _)| *known == name) {
                self.needs.push((name, is));
            }
        }
    }

    fn has(&self, wanted: Class) -> bool {
        let mut needs = self.needs.iter().map(|(_, verdict)| class(*verdict));
        self.findings.iter().any(|finding| class(finding.verdict) == wanted) || needs.any(|of| of == wanted)
    }

    /// Whether something would be refused.
    pub fn refuses(&self) -> bool {
        self.has(Class::Refused)
    }

    /// Whether it is not certain that nothing would be refused.
    pub fn is_partial(&self) -> bool {
        !self.is_whole || self.others > 0 || self.has(Class::Unclear)
    }

    /// How many kinds of calls would be refused, and how many calls.
    fn refused(&self) -> (u64, u64) {
        let mut kinds: Vec<(Abi, SyscallNr)> = Vec::new();
        let mut calls = 0;
        for finding in self.findings.iter().filter(|finding| class(finding.verdict) == Class::Refused) {
            calls += finding.count;
            if !kinds.contains(&(finding.abi, finding.nr)) {
                kinds.push((finding.abi, finding.nr));
            }
        }
        (kinds.len() as u64, calls)
    }
}

/// Why a recording may not have all that its container calls.
fn incomplete(source: &Source) -> impl Iterator<Item = &String> {
    // A profile that refused nothing has left nothing out.
    let refused = source.seen.calls.iter().any(|call| call.refused > 0);
    source.unfit.iter().filter(move |reason| refused || !reason.starts_with(UNDER_PROFILE))
}

/// One recording on its way past the profile.
struct Replay<'a> {
    check: &'a mut Check,
    effects: &'a Effects,
    sources: &'a [Source],
    recording: usize,
}

impl Replay<'_> {
    fn found(&mut self, kind: (Abi, SyscallNr), verdict: Verdict, count: u64, first: Option<First>, args: &[u64]) {
        if class(verdict) == Class::Allowed {
            return;
        }
        let (abi, nr) = kind;
        let findings = &mut self.check.findings;
        let same = |known: &&mut Finding| (known.abi, known.nr, known.verdict) == (abi, nr, verdict);
        if let Some(known) = findings.iter_mut().find(same) {
            known.count += count;
            if is_earlier(self.sources, (self.recording, first), Some((known.recording, known.first))) {
                (known.recording, known.first, known.args) = (self.recording, first, args.to_vec());
            }
        } else if findings.len() < FINDINGS_MAX {
            let args = args.to_vec();
            findings.push(Finding { recording: self.recording, abi, nr, verdict, count, first, args });
        } else {
            self.check.others += count;
        }
    }

    fn take(&mut self, call: &Call) {
        let (abi, nr) = (call.abi, call.nr);
        if call.runtime || self.effects.verdict(abi, nr, None) != Verdict::Depends {
            return;
        }
        let known = !matches!(call.end, End::StartUnknown | End::Refused);
        let mut asked = 0;
        for test in self.effects.branches(abi, nr).iter().flat_map(|branch| &branch.tests) {
            asked = asked.max(test.index as usize + 1);
        }
        let verdict = self.effects.verdict(abi, nr, Some(&call.args).filter(|_| known));
        let Call { entered: ts, pid, tgid, comm, .. } = *call;
        let args = call.args.get(..asked).filter(|_| known).unwrap_or_default();
        self.found((abi, nr), verdict, 1, Some(First { ts, pid, tgid, comm }), args);
    }
}

impl Steps for Replay<'_> {
    fn opened(&mut self, _: &Call) -> u64 {
        0
    }

    fn closed(&mut self, _: u64, call: &Call) {
        self.take(call);
    }

    fn note(&mut self, _: Note) {}
}

/// The classes that are told, in the order in which they are.
const TOLD: [(Class, &str); 3] = [(Class::Refused, "denied"), (Class::Unclear, "unclear"), (Class::Watched, "watched")];

/// The result for people.
pub fn push_check(out: &mut Vec<u8>, sources: &[Source], runtime: Runtime, check: &Check) {
    let add = |out: &mut Vec<u8>, parts: &[&str]| parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
    let mut rows = Table::new("CALL ACTION COUNT FIRST TASK");
    for (class_told, _) in TOLD {
        for finding in check.findings.iter().filter(|finding| class(finding.verdict) == class_told) {
            let Some(source) = sources.get(finding.recording) else { continue };
            let meta = &source.recording.meta;
            let mut name = name_with_abi(meta, finding.abi, finding.nr);
            if !finding.args.is_empty() {
                name.push_str(&hexes(&finding.args));
            }
            let [when, who] = match &finding.first {
                Some(first) => [time(meta, first.ts), task(first)],
                None => ["?", "?"].map(str::to_owned),
            };
            rows.row([name, word(finding.verdict), finding.count.to_string(), when, who]);
        }
    }
    let who = if runtime == Runtime::Any { "runc or crun" } else { runtime.name() };
    for (name, verdict) in &check.needs {
        let [count, when] = ["-", "-"].map(str::to_owned);
        rows.row([(*name).to_owned(), word(*verdict), count, when, [who, ", before it executes the program"].concat()]);
    }
    if !check.findings.is_empty() || !check.needs.is_empty() {
        rows.push(out);
    }
    for source in sources {
        for reason in incomplete(source) {
            add(out, &["# ", &source.name, ": ", reason, "\n"]);
        }
    }
    if check.others > 0 {
        add(out, &["# ", &check.others.to_string(), " calls of further kinds were not looked at\n"]);
    }
    if check.has(Class::Unclear) {
        add(out, &["# depends: the profile looks at arguments, and they are not known, or its rules contradict each other\n"]);
    }
    let some =
        |number: u64, what: &str| [number.to_string().as_str(), " ", what, if number == 1 { "" } else { "s" }].concat();
    let (kinds, calls) = check.refused();
    let (all_kinds, all_calls) = (some(check.kinds.len() as u64, "kind"), some(check.calls, "call"));
    match (kinds, check.refuses()) {
        (0, true) => {
            add(out, &["of the container's own calls nothing would be refused: ", &all_calls, " of ", &all_kinds])
        }
        (0, false) => add(out, &["nothing would be refused: ", &all_calls, " of ", &all_kinds]),
        _ => {
            let (kinds, calls) = (kinds.to_string(), calls.to_string());
            add(out, &[&kinds, " of ", &all_kinds, " of calls would be refused, ", &calls, " of ", &all_calls]);
        }
    }
    add(out, &[" in ", &some(sources.len() as u64, "recording"), "\n"]);
}

/// The result as one JSON object; docs/json.md describes it.
pub fn write_check(json: &mut Json, profile: &str, sources: &[Source], runtime: Runtime, check: &Check) {
    begin(json, "check");
    json.field_str("profile", profile);
    json.field_str("runtime", runtime.name()).field_bool("no_new_privileges", check.no_new_privileges);
    json.field_u64("calls", check.calls).field_u64("kinds", check.kinds.len() as u64);
    json.field_u64("not_looked_at", check.others).field_bool("partial", check.is_partial());
    for (class_told, name) in TOLD {
        json.key(name).begin_array();
        for finding in check.findings.iter().filter(|finding| class(finding.verdict) == class_told) {
            let Some(source) = sources.get(finding.recording) else { continue };
            json.line_break().begin_object().field_str("name", &name_of(finding.abi, finding.nr));
            json.field_str("abi", finding.abi.name()).field_i64("nr", i64::from(finding.nr));
            write_verdict(json, finding.verdict);
            json.field_u64("count", finding.count).field_str("recording", &source.name);
            if let Some(first) = &finding.first {
                write_first(json, &source.recording.meta, first);
            }
            if !finding.args.is_empty() {
                write_args(json, &finding.args);
            }
            json.end_object();
        }
        json.end_array();
    }
    json.key("runtime_needs").begin_array();
    for (name, verdict) in &check.needs {
        json.line_break().begin_object().field_str("name", name);
        write_verdict(json, *verdict);
        json.end_object();
    }
    json.end_array().key("recordings").begin_array();
    for source in sources {
        json.line_break().begin_object().field_str("recording", &source.name).key("incomplete").begin_array();
        for reason in incomplete(source) {
            json.string(reason);
        }
        json.end_array().end_object();
    }
    json.end_array().end_object();
    json.newline();
}
