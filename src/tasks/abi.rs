// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which ABI a program speaks, told from the arguments of its calls alone.
//!
//! The kernel writes no mark of the ABI into `raw_syscalls` events, and a recording may be read where the program no
//! longer is. One program image (one exec, inherited by the forks and threads that follow) speaks one ABI, so its calls
//! are evidence for each other:
//!
//! * An argument or a result of 2^32 or more proves 64 bits: compat entry zero-extends the registers
//!   (arch/x86/entry/entry_64_compat.S, arch/arm64/kernel/entry.S). A 64-bit program shows one within its first calls
//!   (its stack, its libraries and its heap lie above 2^32).
//! * 32 bits are believed only of an image without any such value that also shows a mark of its own: an argument in the
//!   top of the 32-bit address space, where a compat task has its stack; a number that only the compat ABI has; or an
//!   end inside the compat ABI's `exit` or `exit_group`.
//! * Too little of either is native.
//!
//! Where the recording itself tells (the initial tasks' ELF class; on x86_64 the number that execve returns with), nothing
//! is voted on.
//!
//! Limits: `int 0x80` from a 64-bit x86 program reads as the 64-bit call of that number; a 64-bit program that never
//! leaves the lower 4 GiB and shows a 32-bit mark is misread; x32 calls carry bit 30 and stay numbers.

use crate::arch::{Abi, Arch};
use crate::ids::SyscallNr;
use crate::syscalls;

/// Number of an image in the order in which a recording makes them known; the same in every pass over it.
pub type ImageId = u32;

/// Compat stacks lie below 4 GiB (x86) or below 0xffff0000 (arm64); 64-bit programs pass small negative ints (-1, AT_FDCWD)
/// zero-extended, hence the upper end.
const STACK32: core::ops::Range<u64> = 0xf000_0000..0xffff_f000;

/// Calls that must show an argument in [`STACK32`]: one could be a length, a flag or a hash.
const STACK_VOTES: u8 = 3;

/// Images whose evidence is kept: 2 bytes each. Those that a recording starts later count as native; see
/// [`Votes::ignored`].
pub const IMAGES_MAX: usize = 1 << 22;

/// The ABIs of a kernel and what is known of the images of one recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Abis {
    /// That of programs of the kernel's word size.
    pub native: Abi,
    /// The 32-bit one beside it.
    pub compat: Option<Abi>,
    /// Images found to speak the compat ABI, sorted.
    images: Vec<ImageId>,
}

impl Abis {
    /// For a kernel, with nothing known of any image.
    pub fn new(arch: Arch) -> Abis {
        Abis { native: arch.native_abi(), compat: arch.compat_abi(), images: Vec::new() }
    }

    /// The ABI of an image.
    pub fn of(&self, image: ImageId) -> Abi {
        match self.compat {
            Some(compat) if self.images.binary_search(&image).is_ok() => compat,
            _ => self.native,
        }
    }

    /// With the outcome of the votes of a pass over the whole recording.
    pub fn with(mut self, votes: &Votes) -> Abis {
        self.images = votes.compat_images();
        self
    }

    /// Whether any image speaks the compat ABI.
    pub fn any_compat(&self) -> bool {
        !self.images.is_empty()
    }
}

/// What one image has shown.
#[derive(Clone, Copy, Debug, Default)]
struct Vote {
    /// A value that needs 64 bits, or an end inside the native ABI's `exit`.
    native: bool,
    /// A number only the compat ABI has, or an end inside its `exit`.
    compat: bool,
    /// Calls with an argument in [`STACK32`].
    stack: u8,
}

/// The evidence of all images of a recording.
#[derive(Debug)]
pub struct Votes {
    native: Abi,
    compat: Option<Abi>,
    images: Vec<Vote>,
    /// Images beyond [`IMAGES_MAX`], which count as native.
    pub ignored: u64,
}

impl Votes {
    /// None yet.
    pub fn new(abis: &Abis) -> Votes {
        Votes { native: abis.native, compat: abis.compat, images: Vec::new(), ignored: 0 }
    }

    /// Makes room for the image `id`; they come in rising order.
    fn vote(&mut self, id: ImageId) -> Option<&mut Vote> {
        let at = id as usize;
        if at >= IMAGES_MAX {
            self.ignored += 1;
            return None;
        }
        if at >= self.images.len() {
            self.images.resize(at + 1, Vote::default());
        }
        self.images.get_mut(at)
    }

    /// A call was entered. True once nothing more need be told about this image.
    pub fn entered(&mut self, id: ImageId, nr: SyscallNr, args: &[u64; 6]) -> bool {
        let Some(compat) = self.compat else { return true };
        let Some(vote) = self.vote(id) else { return true };
        if args.iter().fold(0, |all, arg| all | arg) > u64::from(u32::MAX) {
            vote.native = true;
        } else {
            if args.iter().any(|arg| STACK32.contains(arg)) {
                vote.stack = vote.stack.saturating_add(1);
            }
            vote.compat |= compat == Abi::Arm && nr > 0xf_0000 && syscalls::name(compat, nr).is_some();
        }
        vote.native
    }

    /// A call returned. True once nothing more need be told about this image.
    pub fn returned(&mut self, id: ImageId, ret: i64) -> bool {
        let Some(vote) = self.vote(id) else { return true };
        vote.native |= ret > i64::from(u32::MAX);
        vote.native
    }

    /// A task ended, by no signal, inside the call `nr`.
    pub fn ended_in(&mut self, id: ImageId, nr: SyscallNr) {
        let ends = |abi| matches!(syscalls::name(abi, nr), Some("exit" | "exit_group"));
        let (native, compat) = (ends(self.native), self.compat.is_some_and(ends));
        if let Some(vote) = self.vote(id) {
            vote.native |= native && !compat;
            vote.compat |= compat && !native;
        }
    }

    /// Images that speak the compat ABI, sorted.
    pub fn compat_images(&self) -> Vec<ImageId> {
        let is_compat = |vote: &Vote| !vote.native && (vote.compat || vote.stack >= STACK_VOTES);
        (0..).zip(&self.images).filter(|(_, vote)| is_compat(vote)).map(|(id, _)| id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn votes(arch: Arch) -> Votes {
        Votes::new(&Abis::new(arch))
    }

    const STACK: [u64; 6] = [3, 0xffd8_1234, 0, 0, 0, 0];

    #[test]
    fn one_high_argument_or_result_proves_64_bits() {
        let mut votes = votes(Arch::X86_64);
        for _ in 0..10 {
            assert!(!votes.entered(0, 3, &STACK));
            assert!(!votes.entered(1, 3, &STACK));
        }
        assert!(votes.entered(0, 3, &[0, 0, 0, 0, 0, 1 << 32]));
        assert!(votes.returned(1, 0x7f00_0000_0000));
        assert!(votes.compat_images().is_empty());
    }

    #[test]
    fn low_arguments_alone_are_too_little_for_32_bits() {
        let mut votes = votes(Arch::X86_64);
        for _ in 0..1000 {
            votes.entered(0, 4, &[1, 0x804_9000, 14, 0, 0, 0]);
            votes.entered(0, 4, &[0xffff_ff9c, 0xffff_ffff, 0, 0, 0, 0]);
            votes.returned(0, -2);
        }
        assert!(votes.compat_images().is_empty());
    }

    #[test]
    fn a_32_bit_stack_must_be_seen_three_times() {
        let mut votes = votes(Arch::Aarch64);
        for image in 0..2 {
            votes.entered(image, 3, &STACK);
            votes.entered(image, 3, &STACK);
        }
        votes.entered(1, 3, &STACK);
        assert_eq!(votes.compat_images(), [1]);
        let abis = Abis::new(Arch::Aarch64).with(&votes);
        assert_eq!((abis.of(0), abis.of(1), abis.of(2)), (Abi::Aarch64, Abi::Arm, Abi::Aarch64));
    }

    #[test]
    fn the_call_an_image_ends_in_tells_its_abi() {
        let mut votes = votes(Arch::X86_64);
        votes.ended_in(0, 252);
        votes.ended_in(1, 231);
        votes.ended_in(2, 1);
        votes.ended_in(3, 0);
        assert_eq!(votes.compat_images(), [0, 2]);
        // What proves 64 bits stays: a process killed inside write(2) is no i386 exit(2).
        votes.entered(2, 1, &[1, 0x7fff_0000_0000, 1, 0, 0, 0]);
        assert_eq!(votes.compat_images(), [0]);
    }

    #[test]
    fn arms_private_calls_are_made_by_arm_programs_only() {
        let mut votes = votes(Arch::Aarch64);
        votes.entered(0, 0xf0005, &[0; 6]);
        votes.entered(1, 0xf0099, &[0; 6]);
        assert_eq!(votes.compat_images(), [0]);
    }

    #[test]
    fn kernels_of_32_bits_have_nothing_to_vote_on() {
        let mut votes = votes(Arch::Arm);
        assert!(votes.entered(0, 3, &STACK));
        assert!(votes.compat_images().is_empty());
    }

    #[test]
    fn images_past_the_limit_are_native_and_counted() {
        let mut votes = votes(Arch::X86_64);
        let last = IMAGES_MAX as ImageId - 1;
        votes.ended_in(last, 252);
        assert_eq!((votes.compat_images(), votes.ignored), (vec![last], 0));
        votes.ended_in(last + 1, 252);
        assert_eq!((votes.compat_images(), votes.ignored), (vec![last], 1));
    }
}
