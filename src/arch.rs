// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which machines we know and which system call ABIs run on them.
//!
//! The number in a `raw_syscalls` event means nothing without the ABI of the task that made the call: 45 is `recvfrom`
//! on x86_64 and `brk` on i386, and the kernel writes no mark of the ABI into the event (arch/x86/entry/common.c,
//! arch/arm64/kernel/syscall.c; tested on 6.12 and 7.2).

use core::fmt;

/// Major and minor number of a kernel's release (`uname -r`): `6.12.107+deb13-arm64` is (6, 12); zeros where there is none.
pub fn kernel_version(release: &str) -> (u32, u32) {
    let (mut numbers, mut at) = ([0u32; 2], 0);
    for byte in release.bytes() {
        match numbers.get_mut(at) {
            Some(number) if byte.is_ascii_digit() => {
                *number = number.saturating_mul(10).saturating_add(u32::from(byte - b'0'));
            }
            Some(_) => at += 1,
            None => break,
        }
    }
    let [version, patchlevel] = numbers;
    (version, patchlevel)
}

/// A kernel architecture, as `uname -m` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arch {
    /// 64-bit x86.
    X86_64,
    /// 32-bit x86.
    X86,
    /// 64-bit ARM.
    Aarch64,
    /// 32-bit ARM, EABI.
    Arm,
}

/// A system call ABI: a numbering and an argument width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Abi {
    /// 64-bit x86 (`syscall`).
    X86_64,
    /// 32-bit x86 (`int 0x80`, `sysenter`), native or on a 64-bit kernel.
    I386,
    /// 64-bit ARM.
    Aarch64,
    /// 32-bit ARM EABI, native or on a 64-bit kernel.
    Arm,
}

impl Arch {
    /// From `uname -m`; `None` for machines without tables here.
    pub fn from_machine(machine: &str) -> Option<Arch> {
        Some(match machine {
            "x86_64" => Arch::X86_64,
            "i386" | "i486" | "i586" | "i686" => Arch::X86,
            "aarch64" | "arm64" => Arch::Aarch64,
            "arm" | "armv6l" | "armv7l" | "armv8l" | "armv7" => Arch::Arm,
            _ => return None,
        })
    }

    /// The ABI a program of the kernel's own word size uses.
    pub fn native_abi(self) -> Abi {
        match self {
            Arch::X86_64 => Abi::X86_64,
            Arch::X86 => Abi::I386,
            Arch::Aarch64 => Abi::Aarch64,
            Arch::Arm => Abi::Arm,
        }
    }

    /// The 32-bit ABI a 64-bit kernel runs beside its own, if any.
    pub fn compat_abi(self) -> Option<Abi> {
        match self {
            Arch::X86_64 => Some(Abi::I386),
            Arch::Aarch64 => Some(Abi::Arm),
            Arch::X86 | Arch::Arm => None,
        }
    }
}

impl Abi {
    /// The name used in JSON and read back from it; also the spelling of libseccomp's architectures without prefix.
    pub fn name(self) -> &'static str {
        match self {
            Abi::X86_64 => "x86_64",
            Abi::I386 => "i386",
            Abi::Aarch64 => "aarch64",
            Abi::Arm => "arm",
        }
    }

    /// The inverse of [`Abi::name`].
    pub fn from_name(name: &str) -> Option<Abi> {
        [Abi::X86_64, Abi::I386, Abi::Aarch64, Abi::Arm].into_iter().find(|abi| abi.name() == name)
    }

    /// Whether registers, and so arguments and results, are 32 bits wide.
    pub fn is_32bit(self) -> bool {
        matches!(self, Abi::I386 | Abi::Arm)
    }
}

impl fmt::Display for Abi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_of_uname_are_known_and_others_are_not_guessed() {
        assert_eq!(Arch::from_machine("armv7l"), Some(Arch::Arm));
        assert_eq!(Arch::from_machine("aarch64"), Some(Arch::Aarch64));
        assert_eq!(Arch::from_machine("riscv64"), None);
    }

    #[test]
    fn releases_are_compared_by_number() {
        for (release, version) in [
            ("6.18.44-fc", (6, 18)),
            ("6.9", (6, 9)),
            ("5.15.0", (5, 15)),
            ("7.0-rc1", (7, 0)),
            ("7.2.13+deb14-arm64", (7, 2)),
            ("odd", (0, 0)),
        ] {
            assert_eq!(kernel_version(release), version);
        }
    }

    #[test]
    fn abi_names_read_back() {
        for abi in [Abi::X86_64, Abi::I386, Abi::Aarch64, Abi::Arm] {
            assert_eq!(Abi::from_name(abi.name()), Some(abi));
        }
    }
}
