// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The calls whose events do not come as others' do, by number: those that do not return, return twice, or return
//! with other registers than they were made with.
//!
//! The names stand in `syscalls`; here are the numbers, because every event is compared with them.

use crate::arch::{kernel_version, Abi, Arch};
use crate::ids::SyscallNr;

/// Numbers of one ABI's calls that pairing treats on their own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Special {
    pub exit: SyscallNr,
    pub exit_group: SyscallNr,
    pub sigreturn: SyscallNr,
    pub rt_sigreturn: SyscallNr,
    pub execve: SyscallNr,
    pub execveat: SyscallNr,
    pub clone: SyscallNr,
    pub clone3: SyscallNr,
    pub fork: SyscallNr,
    pub vfork: SyscallNr,
}

const NO_SUCH_CALL: SyscallNr = SyscallNr::MIN;

static X86_64: Special = Special {
    exit: 60,
    exit_group: 231,
    sigreturn: NO_SUCH_CALL,
    rt_sigreturn: 15,
    execve: 59,
    execveat: 322,
    clone: 56,
    clone3: 435,
    fork: 57,
    vfork: 58,
};

static I386: Special = Special {
    exit: 1,
    exit_group: 252,
    sigreturn: 119,
    rt_sigreturn: 173,
    execve: 11,
    execveat: 358,
    clone: 120,
    clone3: 435,
    fork: 2,
    vfork: 190,
};

static AARCH64: Special = Special {
    exit: 93,
    exit_group: 94,
    sigreturn: NO_SUCH_CALL,
    rt_sigreturn: 139,
    execve: 221,
    execveat: 281,
    clone: 220,
    clone3: 435,
    fork: NO_SUCH_CALL,
    vfork: NO_SUCH_CALL,
};

static ARM: Special = Special {
    exit: 1,
    exit_group: 248,
    sigreturn: 119,
    rt_sigreturn: 173,
    execve: 11,
    execveat: 387,
    clone: 120,
    clone3: 435,
    fork: 2,
    vfork: 190,
};

/// The calls of one ABI.
#[inline]
pub(super) fn special(abi: Abi) -> &'static Special {
    match abi {
        Abi::X86_64 => &X86_64,
        Abi::I386 => &I386,
        Abi::Aarch64 => &AARCH64,
        Abi::Arm => &ARM,
    }
}

/// Whether the call leaves a restored register where a result would be.
#[inline]
pub(super) fn is_sigreturn(abi: Abi, nr: SyscallNr) -> bool {
    let special = special(abi);
    nr == special.rt_sigreturn || nr == special.sigreturn
}

/// Whether the call runs another program.
#[inline]
pub(super) fn is_exec(abi: Abi, nr: SyscallNr) -> bool {
    let special = special(abi);
    nr == special.execve || nr == special.execveat
}

/// Whether the number that a successful execve returns with tells the new program's ABI.
///
/// On x86_64 the kernel puts `__NR_execve` of the new program's ABI in place of the caller's number, also for execveat
/// (arch/x86/kernel/process_64.c `set_personality_64bit`, `set_personality_ia32`; seen on 6.18 in all four combinations). It
/// began some time before 5.4; an older kernel keeps the number, as arm64 does, which tells nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct ExecMark(bool);

impl ExecMark {
    /// For the traced kernel, by its `uname -r`.
    pub fn new(arch: Arch, release: &str) -> ExecMark {
        ExecMark(arch == Arch::X86_64 && kernel_version(release) >= (5, 4))
    }

    /// The ABI, where the number tells it.
    pub fn abi(self, nr: SyscallNr) -> Option<Abi> {
        [Abi::X86_64, Abi::I386].into_iter().find(|abi| self.0 && special(*abi).execve == nr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syscalls;

    #[test]
    fn the_numbers_are_those_of_the_tables() {
        for abi in [Abi::X86_64, Abi::I386, Abi::Aarch64, Abi::Arm] {
            let special = special(abi);
            for (name, nr) in [
                ("exit", special.exit),
                ("exit_group", special.exit_group),
                ("sigreturn", special.sigreturn),
                ("rt_sigreturn", special.rt_sigreturn),
                ("execve", special.execve),
                ("execveat", special.execveat),
                ("clone", special.clone),
                ("clone3", special.clone3),
                ("fork", special.fork),
                ("vfork", special.vfork),
            ] {
                assert_eq!(syscalls::number(abi, name).unwrap_or(NO_SUCH_CALL), nr, "{abi} {name}");
            }
        }
    }

    #[test]
    fn execve_marks_the_new_program_on_x86_64_since_5_4() {
        let mark = |arch, release| ExecMark::new(arch, release).abi(11);
        assert_eq!(mark(Arch::X86_64, "6.18.44-fc-v769"), Some(Abi::I386));
        assert_eq!(mark(Arch::X86_64, "5.4.0"), Some(Abi::I386));
        assert_eq!(ExecMark::new(Arch::X86_64, "10.0-rc1").abi(59), Some(Abi::X86_64));
        assert_eq!(ExecMark::new(Arch::X86_64, "6.1").abi(322), None);
        for (arch, release) in
            [(Arch::X86_64, "5.3.9"), (Arch::X86_64, ""), (Arch::Aarch64, "6.18"), (Arch::X86, "6.1")]
        {
            assert_eq!(mark(arch, release), None);
        }
    }
}
