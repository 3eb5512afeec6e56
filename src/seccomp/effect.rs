// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a profile does with a call: a runtime's reading of the profile, and the filter that libseccomp makes of it.
//!
//! Runtimes: runc libcontainer/seccomp (with patchbpf, its answer ENOSYS to new calls), crun src/libcrun/seccomp.c; before
//! them moby profiles/seccomp and containers/common pkg/seccomp decide which rules hold. libseccomp: src/db.c, src/arch.c,
//! src/syscalls.c of 2.5.4. Held against libseccomp's own filters by tests/seccomp_effect.rs. In words: docs/seccomp.md.

use super::profile::{Action, Condition, Profile, Rule, Selector, MASKED};
use super::runtimes::Runtime;
use super::verdict::Verdict;
use crate::arch::{kernel_version, Abi, Arch};
use crate::error::{Error, Result};
use crate::ids::SyscallNr;
use crate::{syscalls, words};

/// What the kernel answers to calls it does not have.
pub const ENOSYS: u16 = 38;

/// The capabilities that Docker gives a container that asks for none (moby oci/caps/defaults.go).
pub const DEFAULT_CAPS: &str = "CAP_CHOWN CAP_DAC_OVERRIDE CAP_FSETID CAP_FOWNER CAP_MKNOD CAP_NET_RAW CAP_SETGID \
    CAP_SETUID CAP_SETFCAP CAP_SETPCAP CAP_NET_BIND_SERVICE CAP_SYS_CHROOT CAP_KILL CAP_AUDIT_WRITE";

/// Where a profile is loaded: what its `includes`, `excludes` and `archMap` ask about, and who loads it.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The kernel's.
    pub arch: Arch,
    /// The container's bounding set, `CAP_…`; [`DEFAULT_CAPS`] where it is not known.
    pub caps: Option<Vec<String>>,
    /// The kernel's major and minor number.
    pub kernel: (u32, u32),
    /// With [`Runtime::Any`] what is worse for the caller counts.
    pub runtime: Runtime,
}

impl Machine {
    /// With [`DEFAULT_CAPS`] and a kernel newer than any.
    pub fn usual(arch: Arch, runtime: Runtime) -> Machine {
        Machine { arch, caps: None, kernel: (u32::MAX, 0), runtime }
    }

    /// Whether a rule holds here.
    pub(super) fn takes(&self, rule: &Rule) -> bool {
        let has = |cap: &String| match &self.caps {
            Some(caps) => caps.contains(cap),
            None => words::position(DEFAULT_CAPS, cap).is_some(),
        };
        let is_here = |of: &Selector| of.arches.iter().any(|arch| arch == go_name(self.arch));
        let is_new = |of: &Selector| self.kernel >= kernel_version(&of.minKernel);
        let (with, without) = (&rule.includes, &rule.excludes);
        with.caps.iter().all(has)
            && (with.arches.is_empty() || is_here(with))
            && (with.minKernel.is_empty() || is_new(with))
            && !without.caps.iter().any(has)
            && !is_here(without)
            && (without.minKernel.is_empty() || !is_new(without))
    }
}

/// As libseccomp's Go package has it.
fn go_name(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => "amd64",
        Arch::X86 => "x86",
        Arch::Aarch64 => "arm64",
        Arch::Arm => "arm",
    }
}

/// The name of an ABI among a profile's architectures.
pub fn scmp_name(abi: Abi) -> &'static str {
    match abi {
        Abi::X86_64 => "SCMP_ARCH_X86_64",
        Abi::I386 => "SCMP_ARCH_X86",
        Abi::Aarch64 => "SCMP_ARCH_AARCH64",
        Abi::Arm => "SCMP_ARCH_ARM",
    }
}

const ABIS: [Abi; 4] = [Abi::X86_64, Abi::I386, Abi::Aarch64, Abi::Arm];

/// Whether a profile lists an architecture for machines with this ABI.
pub fn lists(profile: &Profile, native: Abi, name: &str) -> bool {
    let is = |known: &String| known == name;
    if !profile.architectures.is_empty() {
        return profile.architectures.iter().any(is);
    }
    let entry = profile.archMap.iter().find(|entry| entry.architecture == scmp_name(native));
    entry.is_some_and(|entry| is(&entry.architecture) || entry.subArchitectures.iter().any(is))
}

/// How an argument is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// `==`, of the bits in the mask.
    Eq,
    /// `>=`
    Ge,
    /// `>`
    Gt,
}

/// The comparisons, each before its opposite, and in the order of [`Op`].
const OPS: &str = "SCMP_CMP_EQ SCMP_CMP_NE SCMP_CMP_GE SCMP_CMP_LT SCMP_CMP_GT SCMP_CMP_LE";

/// One condition, as wide as the ABI's registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Test {
    /// Which argument, 0 to 5.
    pub index: u32,
    /// How it is compared.
    pub op: Op,
    /// It is met where that is not so.
    pub not: bool,
    /// The bits that count.
    pub mask: u64,
    /// With this.
    pub value: u64,
}

impl Test {
    /// `None` for one without a comparison that is known, or of an argument that calls do not have.
    fn new(condition: &Condition, width: u64) -> Option<Test> {
        let Condition { index, value, valueTwo, op } = condition;
        let mut value = *value;
        let (mut mask, mut at) = (width, 0);
        if op == MASKED {
            (mask, value) = (value & width, *valueTwo);
        } else {
            at = words::position(OPS, op)?;
        }
        let op = match at / 2 {
            0 => Op::Eq,
            1 => Op::Ge,
            _ => Op::Gt,
        };
        Some(Test { index: *index, op, not: at % 2 != 0, mask, value: value & mask }).filter(|test| test.index < 6)
    }

    /// Whether it is met.
    pub fn holds(&self, args: &[u64; 6]) -> bool {
        let left = args.get(self.index as usize).copied().unwrap_or(0) & self.mask;
        let is = match self.op {
            Op::Eq => left == self.value,
            Op::Ge => left >= self.value,
            Op::Gt => left > self.value,
        };
        is != self.not
    }

    /// Whether it is met by some bits alone.
    pub fn is_equality(&self) -> bool {
        self.op == Op::Eq && !self.not
    }
}

/// One branch of a call's filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch {
    /// What is done
    pub action: Action,
    /// where all of these are met, by rising index.
    pub tests: Vec<Test>,
}

/// The filter of one call.
#[derive(Clone, Debug)]
struct Filter {
    nr: SyscallNr,
    branches: Vec<Branch>,
}

/// The filter of one ABI.
#[derive(Clone, Debug)]
struct OneAbi {
    abi: Abi,
    /// Whether the profile lists it; the machine's own is there in any case.
    listed: bool,
    /// By rising number.
    filters: Vec<Filter>,
    /// The highest number that a rule names, whatever the rule does; 0 without any.
    last: SyscallNr,
}

/// What a profile does on one machine.
#[derive(Clone, Debug)]
pub struct Effects {
    default: Action,
    runtime: Runtime,
    /// Calls of x32 are let into the filter; which they are is not known here.
    x32: bool,
    abis: Vec<OneAbi>,
}

/// Calls that libseccomp filters inside i386's `socketcall`, from number 1.
const SOCKETCALLS: &str =
    "socket bind connect listen accept getsockname getpeername socketpair send recv sendto recvfrom \
    shutdown setsockopt getsockopt sendmsg recvmsg accept4 recvmmsg sendmmsg";

/// And inside `ipc`; `-` where there is none.
const IPCS: &str = "semop semget semctl semtimedop - - - - - - msgsnd msgrcv msgget msgctl - - - - - - shmat shmdt \
    shmget shmctl";

/// Set in the numbers of x32 calls.
const X32: u32 = 1 << 30;

impl Effects {
    /// Errors call the profile `what`. One that runtimes would not load is an error.
    pub fn new(profile: &Profile, machine: &Machine, what: &str) -> Result<Effects> {
        let native = machine.arch.native_abi();
        let default = profile.default_action(what)?;
        let x32 = lists(profile, native, "SCMP_ARCH_X32");
        let mut effects = Effects { default, runtime: machine.runtime, x32, abis: Vec::new() };
        for abi in ABIS {
            let listed = lists(profile, native, scmp_name(abi));
            if listed || abi == native {
                effects.abis.push(OneAbi { abi, listed, filters: Vec::new(), last: 0 });
            }
        }
        for rule in &profile.syscalls {
            let action = rule.what(what)?;
            if !machine.takes(rule) {
                continue;
            }
            for name in rule.names.iter().chain([&rule.name]) {
                for one in &mut effects.abis {
                    one.add(name, action, rule, action == default).map_err(|why| {
                        Error::malformed([what, ": the rules for ", &words::quoted(name), why].concat(), None)
                    })?;
                }
            }
        }
        Ok(effects)
    }

    /// What becomes of calls that no rule is about.
    pub fn default_action(&self) -> Action {
        self.default
    }

    /// The ABIs that it lets make calls at all.
    pub fn abis(&self) -> impl Iterator<Item = Abi> + '_ {
        self.abis.iter().map(|one| one.abi)
    }

    /// What becomes of a call; `args` where they are known.
    pub fn verdict(&self, abi: Abi, nr: SyscallNr, args: Option<&[u64; 6]>) -> Verdict {
        let Some(one) = self.abis.iter().find(|one| one.abi == abi) else { return Verdict::Is(Action::KillThread) };
        if abi == Abi::X86_64 && nr as u32 >= X32 && nr != -1 {
            return if self.x32 { Verdict::Depends } else { Verdict::Is(Action::KillThread) };
        }
        let mut found = None;
        for branch in one.branches(nr) {
            let action = Some(branch.action);
            match args {
                Some(args) if !branch.tests.iter().all(|test| test.holds(args)) => continue,
                None if !branch.tests.is_empty() => return Verdict::Depends,
                _ if found.is_some() && found != action => return Verdict::Depends,
                _ => found = action,
            }
        }
        let action = found.unwrap_or(self.default);
        let instead = self.is_new_to_runc(one, nr) && (self.runtime == Runtime::Runc || action.allows());
        Verdict::Is(if instead { Action::Errno(ENOSYS) } else { action })
    }

    /// Whether runc answers ENOSYS before it comes to the filter: the number is above all that the profile names.
    fn is_new_to_runc(&self, one: &OneAbi, nr: SyscallNr) -> bool {
        matches!(self.runtime, Runtime::Runc | Runtime::Any)
            && !matches!(self.default, Action::Allow | Action::Log | Action::Trace(_))
            && one.listed
            && one.last > 0
            && nr as u32 > one.last as u32
            && (one.abi != Abi::X86_64 || nr != -1 || self.x32)
    }

    /// The branches of a call's filter; a single one without tests where arguments do not matter, none for the default.
    pub fn branches(&self, abi: Abi, nr: SyscallNr) -> &[Branch] {
        self.abis.iter().find(|one| one.abi == abi).map_or(&[], |one| one.branches(nr))
    }
}

impl OneAbi {
    fn branches(&self, nr: SyscallNr) -> &[Branch] {
        let at = self.filters.binary_search_by_key(&nr, |filter| filter.nr);
        at.ok().and_then(|at| self.filters.get(at)).map_or(&[], |filter| &filter.branches)
    }

    /// Takes a rule for one of its calls; gives what is wrong with it.
    fn add(
        &mut self,
        name: &str,
        action: Action,
        rule: &Rule,
        is_default: bool,
    ) -> core::result::Result<(), &'static str> {
        // Not by second names: libseccomp does not know ARM's sync_file_range2.
        let number = syscalls::number(self.abi, name).filter(|nr| syscalls::name(self.abi, *nr) == Some(name));
        let mut inside = None;
        if self.abi == Abi::I386 {
            for (calls, outer) in [(SOCKETCALLS, "socketcall"), (IPCS, "ipc")] {
                if let Some(at) = words::position(calls, name).filter(|_| name != "-") {
                    inside = syscalls::number(Abi::I386, outer).map(|nr| (nr, at as u64 + 1));
                }
            }
        }
        if inside.is_none() {
            self.last = self.last.max(number.unwrap_or(0));
        }
        if is_default || inside.is_none() && number.is_none() {
            return Ok(());
        }
        let width = if self.abi.is_32bit() { u64::from(u32::MAX) } else { u64::MAX };
        let mut tests: Vec<Test> = Vec::new();
        let mut apart = false;
        for condition in &rule.args {
            let test = Test::new(condition, width).ok_or(" have a condition that is none")?;
            let at = tests.iter().position(|known| known.index >= test.index).unwrap_or(tests.len());
            apart |= tests.get(at).is_some_and(|known| known.index == test.index);
            tests.insert(at, test);
        }
        // Both runtimes: conditions on one argument become rules of their own, any of which is enough.
        let step = if apart { 1 } else { tests.len().max(1) };
        let mut rest = &tests[..];
        loop {
            let these = rest.get(..step).unwrap_or_default();
            if let Some((outer, value)) = inside {
                let mut tests = vec![Test { index: 0, op: Op::Eq, not: false, mask: width, value }];
                tests.extend(these.iter().filter(|test| test.index != 0));
                self.branch(outer, action, tests)?;
            }
            if let Some(nr) = number {
                self.branch(nr, action, these.to_vec())?;
            }
            rest = rest.get(step..).unwrap_or_default();
            if rest.is_empty() {
                return Ok(());
            }
        }
    }

    /// Adds a branch to a call's filter as libseccomp does: one without tests ends it.
    fn branch(
        &mut self,
        nr: SyscallNr,
        action: Action,
        mut tests: Vec<Test>,
    ) -> core::result::Result<(), &'static str> {
        // A mask without bits is no test.
        tests.retain(|test| test.mask != 0);
        let at = match self.filters.binary_search_by_key(&nr, |filter| filter.nr) {
            Ok(at) => at,
            Err(at) => {
                self.filters.insert(at, Filter { nr, branches: Vec::new() });
                at
            }
        };
        let Some(Filter { branches, .. }) = self.filters.get_mut(at) else { return Ok(()) };
        if branches.first().is_some_and(|first| first.tests.is_empty()) {
            return Ok(());
        }
        if tests.is_empty() {
            branches.clear();
        }
        for known in branches.iter() {
            // Of comparisons of order libseccomp finds out less.
            let clear = |tests: &[Test]| known.action == action || tests.iter().all(Test::is_equality);
            if known.tests.starts_with(&tests) && known.action != action && clear(&tests) {
                return Err(" contradict each other: libseccomp does not take them");
            }
            // What asks for more has been answered before.
            if tests.starts_with(&known.tests) && clear(&known.tests) {
                return Ok(());
            }
        }
        branches.push(Branch { action, tests });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seccomp::verdict::word;

    fn effects(profile: &str, arch: Arch, runtime: Runtime) -> Effects {
        let profile = Profile::parse(profile.as_bytes(), "the test").unwrap();
        Effects::new(&profile, &Machine { kernel: (5, 10), ..Machine::usual(arch, runtime) }, "the test").unwrap()
    }

    fn word_of(effects: &Effects, abi: Abi, name: &str) -> String {
        word(effects.verdict(abi, syscalls::number(abi, name).unwrap(), None))
    }

    #[test]
    fn rules_hold_where_capabilities_machine_and_kernel_say() {
        let profile = r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[
            {"names":["read"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_CHOWN","CAP_KILL"]}},
            {"names":["write"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_CHOWN","CAP_BPF"]}},
            {"name":"dup","action":"SCMP_ACT_ALLOW","excludes":{"caps":["CAP_BPF","CAP_KILL"]}},
            {"names":["close"],"action":"SCMP_ACT_ALLOW","includes":{"arches":["arm64","x86"]}},
            {"names":["fsync"],"action":"SCMP_ACT_ERRNO","errno":"EIO","excludes":{"arches":["arm64"]}},
            {"names":["pause"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"5.10"}},
            {"names":["fork"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"5.11"}},
            {"names":["vfork"],"action":"SCMP_ACT_ALLOW","excludes":{"minKernel":"5.9"}}]}"#;
        let here = effects(profile, Arch::X86_64, Runtime::Any);
        let words = ["read", "write", "dup", "close", "fsync", "pause", "fork", "vfork"]
            .map(|name| word_of(&here, Abi::X86_64, name));
        assert_eq!(words, ["allowed", "EPERM", "EPERM", "EPERM", "EIO", "allowed", "EPERM", "EPERM"]);
        let arm = effects(profile, Arch::Aarch64, Runtime::Any);
        assert_eq!(["close", "fsync"].map(|name| word_of(&arm, Abi::Aarch64, name)), ["allowed", "EPERM"]);
        assert_eq!(word_of(&arm, Abi::Arm, "close"), "thread killed");
    }

    #[test]
    fn runc_answers_for_calls_above_all_that_are_named() {
        let text = |architectures: &str, default: &str| {
            format!(
                r#"{{"defaultAction":"{default}","architectures":[{architectures}],"syscalls":[
                {{"names":["read","openat"],"action":"SCMP_ACT_ALLOW"}}]}}"#
            )
        };
        let new = |profile: &str, runtime| word_of(&effects(profile, Arch::X86_64, runtime), Abi::X86_64, "statx");
        let killing = text("\"SCMP_ARCH_X86_64\"", "SCMP_ACT_KILL_PROCESS");
        let words = [Runtime::Any, Runtime::Runc, Runtime::Crun, Runtime::None].map(|runtime| new(&killing, runtime));
        assert_eq!(words, ["killed", "ENOSYS", "killed", "killed"]);
        // Not where the default lets pass, nor without architectures.
        assert_eq!(new(&text("\"SCMP_ARCH_X86_64\"", "SCMP_ACT_LOG"), Runtime::Runc), "logged");
        assert_eq!(new(&text("", "SCMP_ACT_KILL"), Runtime::Runc), "thread killed");
    }

    #[test]
    fn what_runtimes_do_not_load_is_an_error() {
        for rules in [
            r#"{"names":["dup"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":1,"op":"SCMP_CMP_XX"}]}"#,
            r#"{"names":["dup"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":1,"op":"EQ"}]}"#,
            r#"{"names":["dup"],"action":"SCMP_ACT_LOG","args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"}]},
               {"names":["dup"],"action":"SCMP_ACT_TRAP","args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"}]}"#,
        ] {
            let text = ["{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"syscalls\":[", rules, "]}"].concat();
            let profile = Profile::parse(text.as_bytes(), "p.json").unwrap();
            let why = Effects::new(&profile, &Machine::usual(Arch::Arm, Runtime::Any), "p.json").unwrap_err();
            assert!(why.to_string().starts_with("p.json: the rules for \"dup\" "), "{why}");
        }
    }
}
