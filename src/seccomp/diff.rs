// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Two profiles compared by what becomes of each call, not by their text.
//!
//! Where arguments matter, calls that stand on either side of each condition's border are tried. Both are taken as loaded
//! with Docker's usual capabilities, on a kernel newer than any `minKernel`, and without runc's ENOSYS.

use crate::arch::{Abi, Arch};
use crate::error::Result;
use crate::ids::SyscallNr;
use crate::json::Json;
use crate::syscalls;
use crate::words::quoted;

use super::abis_of;
use super::effect::{lists, scmp_name, Branch, Effects, Machine};
use super::profile::Profile;
use super::runtimes::Runtime;
use super::sources::{begin, Table};
use super::verdict::{hexes, word, write_args, write_verdict, Verdict};

/// Combinations of arguments that are tried for one call.
const TRIES_MAX: usize = 4096;

/// In what way a call differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The first profile lets it be made, whatever its arguments, the second does not.
    OnlyA,
    /// The other way round.
    OnlyB,
    /// Both refuse it or both let it pass, in other ways.
    Answer,
    /// It depends on arguments.
    Conditions,
}

/// Their names in JSON, and what they are called in the table; in the order of [`Kind`] and of the output.
const KINDS: [(&str, &str); 4] =
    [("only_a_allows", "only A"), ("only_b_allows", "only B"), ("answer", "otherwise"), ("conditions", "by arguments")];

/// Arguments with which a call ends differently.
type Example = (Vec<u64>, [Verdict; 2]);

/// A call that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// In what way.
    pub kind: Kind,
    /// The call; empty for all that neither has a rule for.
    pub name: &'static str,
    /// On these ABIs.
    pub abis: Vec<Abi>,
    /// What becomes of it.
    pub verdicts: [Verdict; 2],
    /// Where it depends on arguments: some with which it differs.
    pub example: Option<Example>,
}

/// How two profiles differ.
#[derive(Debug, Default)]
pub struct Diff {
    /// ABIs with calls that either profile lets be made, and which of them does.
    pub abis: Vec<(Abi, [bool; 2])>,
    /// Calls that differ, on ABIs that both have.
    pub differences: Vec<Difference>,
    /// Calls compared, over all ABIs.
    pub compared: usize,
}

impl Diff {
    /// Compares them. Errors call them as `names` do.
    pub fn of(profiles: [&Profile; 2], names: [&str; 2]) -> Result<Diff> {
        let [a, b] = profiles;
        let mut diff = Diff::default();
        let machines = [Arch::X86_64, Arch::Aarch64, Arch::X86, Arch::Arm];
        let is_listed = |arch: Arch| {
            let own = arch.native_abi();
            lists(a, own, scmp_name(own)) || lists(b, own, scmp_name(own))
        };
        // Profiles without architectures are for any machine.
        let any = !machines.into_iter().any(is_listed);
        for arch in machines {
            if !any && !is_listed(arch) {
                continue;
            }
            let machine = Machine::usual(arch, Runtime::None);
            let [name_a, name_b] = names;
            let both = [Effects::new(a, &machine, name_a)?, Effects::new(b, &machine, name_b)?];
            for abi in abis_of(arch) {
                let [of_a, of_b] = &both;
                let (in_a, in_b) = (of_a.abis().any(|known| known == abi), of_b.abis().any(|known| known == abi));
                if (in_a || in_b) && !diff.abis.iter().any(|(known, _)| *known == abi) {
                    diff.abis.push((abi, [in_a, in_b]));
                    if in_a && in_b {
                        diff.compare(&both, abi);
                    }
                }
            }
        }
        Ok(diff)
    }

    /// Whether they do the same.
    pub fn is_same(&self) -> bool {
        self.differences.is_empty() && self.abis.iter().all(|(_, [a, b])| a == b)
    }

    fn compare(&mut self, both: &[Effects; 2], abi: Abi) {
        // A number that no ABI has stands for those without a rule.
        for (nr, name) in syscalls::all(abi).chain([(0xfffff, "")]) {
            self.compared += 1;
            // What neither has a rule for stands together.
            let [a, b] = both;
            if !name.is_empty() && a.branches(abi, nr).is_empty() && b.branches(abi, nr).is_empty() {
                continue;
            }
            let Some(mut found) = difference(both, abi, nr) else { continue };
            found.name = name;
            let same = |known: &&mut Difference| {
                (known.name, known.verdicts) == (found.name, found.verdicts) && known.example == found.example
            };
            match self.differences.iter_mut().find(same) {
                Some(known) => known.abis.push(abi),
                None => self.differences.push(found),
            }
        }
    }
}

/// Whether a call is made for certain, whatever its arguments; `None` where they matter.
fn is_made(verdict: Verdict) -> Option<bool> {
    match verdict {
        Verdict::Is(action) => Some(action.allows()),
        Verdict::Depends => None,
    }
}

/// How a call differs, if it does.
fn difference(both: &[Effects; 2], abi: Abi, nr: SyscallNr) -> Option<Difference> {
    let [a, b] = both;
    let verdicts = [a.verdict(abi, nr, None), b.verdict(abi, nr, None)];
    let [of_a, of_b] = verdicts;
    let mut example = None;
    let kind = match (is_made(of_a), is_made(of_b)) {
        (Some(_), Some(_)) if of_a == of_b => return None,
        (Some(true), Some(false)) => Kind::OnlyA,
        (Some(false), Some(true)) => Kind::OnlyB,
        (Some(_), Some(_)) => Kind::Answer,
        _ => {
            let branches = [a.branches(abi, nr), b.branches(abi, nr)];
            if a.branches(abi, nr) == b.branches(abi, nr) && a.default_action() == b.default_action() {
                return None;
            }
            let (found, is_all) = try_out(both, abi, nr, branches);
            if found.is_none() && is_all {
                return None;
            }
            example = found;
            Kind::Conditions
        }
    };
    Some(Difference { kind, name: "", abis: vec![abi], verdicts, example })
}

/// Looks for arguments with which a call ends differently; also tells whether there can be no others.
fn try_out(both: &[Effects; 2], abi: Abi, nr: SyscallNr, branches: [&[Branch]; 2]) -> (Option<Example>, bool) {
    let width = if abi.is_32bit() { u64::from(u32::MAX) } else { u64::MAX };
    let mut values: [Vec<u64>; 6] = Default::default();
    let mut is_all = true;
    for test in branches.iter().flat_map(|branches| branches.iter()).flat_map(|branch| &branch.tests) {
        let Some(values) = values.get_mut(test.index as usize) else { continue };
        let mut add = |value: u64| {
            if !values.contains(&(value & width)) {
                values.push(value & width);
            }
        };
        // Between the borders nothing changes.
        add(test.value);
        add(test.value.wrapping_add(1));
        if test.mask != width {
            is_all = false;
            for bit in (0..64).map(|bit| 1 << bit).filter(|bit| test.mask & bit != 0) {
                add(test.value ^ bit);
            }
        }
        add(0);
        add(test.value.wrapping_sub(1));
        add(width);
    }
    let asked = values.iter().rposition(|values| !values.is_empty()).map_or(0, |last| last + 1);
    let [a, b] = both;
    let mut places = [0usize; 6];
    for _ in 0..TRIES_MAX {
        let mut args = [0u64; 6];
        for ((arg, values), place) in args.iter_mut().zip(&values).zip(&places) {
            *arg = values.get(*place).copied().unwrap_or(0);
        }
        let verdicts = [a.verdict(abi, nr, Some(&args)), b.verdict(abi, nr, Some(&args))];
        if verdicts.first() != verdicts.last() {
            return (Some((args.get(..asked).unwrap_or_default().to_vec(), verdicts)), false);
        }
        // The next combination; all have been when every place is back at its beginning.
        let mut is_over = true;
        for (place, values) in places.iter_mut().zip(&values) {
            *place += 1;
            if *place < values.len() {
                is_over = false;
                break;
            }
            *place = 0;
        }
        if is_over {
            return (None, is_all);
        }
    }
    (None, false)
}

fn names_of(abis: &[Abi]) -> String {
    let names: Vec<&str> = abis.iter().map(|abi| abi.name()).collect();
    names.join(" ")
}

/// The differences for people.
pub fn push_diff(out: &mut Vec<u8>, names: [&str; 2], diff: &Diff) {
    let mut add = |parts: &[&str]| parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
    let compared = [&diff.compared.to_string(), " calls compared (", &names_of(&both_have(diff)), ")\n"].concat();
    if diff.is_same() {
        return add(&["the profiles do the same: ", &compared]);
    }
    let [a, b] = names.map(quoted);
    add(&["A: ", &a, "\nB: ", &b, "\n"]);
    for (abi, [in_a, _]) in diff.abis.iter().filter(|(_, [a, b])| a != b) {
        let who = if *in_a { "only A has " } else { "only B has " };
        add(&[who, abi.name(), ": the other kills a thread for any of its calls\n"]);
    }
    let mut rows = Table::new("ALLOWS CALL A B ON");
    for (kind, (_, title)) in KINDS.iter().enumerate() {
        for found in diff.differences.iter().filter(|found| found.kind as usize == kind) {
            let mut call = if found.name.is_empty() { "(all others)" } else { found.name }.to_owned();
            let mut verdicts = found.verdicts;
            if let Some((args, with)) = &found.example {
                verdicts = *with;
                call.push_str(&hexes(args));
            }
            let [a, b] = verdicts.map(word);
            rows.row([(*title).to_owned(), call, a, b, names_of(&found.abis)]);
        }
    }
    if !diff.differences.is_empty() {
        rows.push(out);
    }
    out.extend_from_slice(
        ["differences: ", diff.differences.len().to_string().as_str(), "; ", &compared].concat().as_bytes(),
    );
}

/// The ABIs whose calls were compared.
fn both_have(diff: &Diff) -> Vec<Abi> {
    diff.abis.iter().filter(|(_, [a, b])| *a && *b).map(|(abi, _)| *abi).collect()
}

/// What becomes of a call by each profile.
fn write_both(json: &mut Json, verdicts: [Verdict; 2]) {
    let [a, b] = verdicts;
    for (side, verdict) in [("a", a), ("b", b)] {
        json.key(side).begin_object();
        write_verdict(json, verdict);
        json.end_object();
    }
}

/// The differences as one JSON object; docs/json.md describes it.
pub fn write_diff(json: &mut Json, names: [&str; 2], diff: &Diff) {
    let [a, b] = names;
    begin(json, "diff");
    json.field_str("a", a).field_str("b", b);
    json.field_bool("same", diff.is_same()).field_u64("compared", diff.compared as u64).key("abis").begin_array();
    for (abi, [in_a, in_b]) in &diff.abis {
        json.line_break().begin_object().field_str("abi", abi.name()).field_bool("a", *in_a).field_bool("b", *in_b);
        json.end_object();
    }
    json.end_array().key("differences").begin_array();
    for found in &diff.differences {
        let (kind, _) = KINDS.get(found.kind as usize).copied().unwrap_or_default();
        json.line_break().begin_object().field_str("kind", kind).key("name");
        match found.name {
            "" => json.null(),
            name => json.string(name),
        };
        json.key("abis").begin_array();
        for abi in &found.abis {
            json.string(abi.name());
        }
        json.end_array();
        write_both(json, found.verdicts);
        if let Some((args, verdicts)) = &found.example {
            json.key("example").begin_object();
            write_args(json, args);
            write_both(json, *verdicts);
            json.end_object();
        }
        json.end_object();
    }
    json.end_array().end_object();
    json.newline();
}
