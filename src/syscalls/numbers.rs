// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A set of system call numbers, of one ABI or of whatever: small, for it is asked at every event.

use crate::ids::SyscallNr;

use super::ARM_PRIVATE;

/// Numbers up to this one have a place: twice as many as any machine has calls.
const ORDINARY_LAST: SyscallNr = 1022;

/// The first of the 64 numbers among which ARM's private calls are.
const PRIVATE_FIRST: SyscallNr = ARM_PRIVATE - 1;

/// Places: -1 to 1022, and 64 more.
const PLACES: usize = 1088;

/// The set. -1 is in it where somebody puts it there (a sigreturn leaves with it); other numbers that no machine has calls
/// for never are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbers([u64; PLACES / 64]);

impl Default for Numbers {
    fn default() -> Numbers {
        Numbers([0; PLACES / 64])
    }
}

/// Word and bit of a number.
#[inline]
fn place(nr: SyscallNr) -> Option<(usize, u64)> {
    let at = match nr {
        -1..=ORDINARY_LAST => nr + 1,
        _ if (PRIVATE_FIRST..PRIVATE_FIRST + 64).contains(&nr) => nr - PRIVATE_FIRST + 1024,
        _ => return None,
    };
    Some((at as usize / 64, 1 << (at % 64)))
}

impl Numbers {
    /// Whether it is in the set.
    #[inline]
    pub fn has(&self, nr: SyscallNr) -> bool {
        place(nr).is_some_and(|(word, bit)| self.0.get(word).is_some_and(|word| word & bit != 0))
    }

    /// Puts it there. Whether it was not before, and now is.
    #[inline]
    pub fn add(&mut self, nr: SyscallNr) -> bool {
        let Some((word, bit)) = place(nr) else { return false };
        let Some(word) = self.0.get_mut(word) else { return false };
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    /// The next number in it from `nr` on.
    pub fn next(&self, nr: SyscallNr) -> Option<SyscallNr> {
        (nr.max(-1)..PRIVATE_FIRST + 64).find(|nr| self.has(*nr))
    }

    /// How many are in it.
    pub fn len(&self) -> u32 {
        self.0.iter().fold(0, |sum, word| sum + word.count_ones())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Abi;
    use crate::syscalls::{all, PRIVATE_CALLS};

    #[test]
    fn every_call_of_every_abi_has_a_place_of_its_own() {
        for abi in [Abi::X86_64, Abi::I386, Abi::Aarch64, Abi::Arm] {
            let mut numbers = Numbers::default();
            for (nr, _) in all(abi) {
                assert!(!numbers.has(nr) && numbers.add(nr) && numbers.has(nr) && !numbers.add(nr), "{abi} {nr}");
            }
            assert_eq!(numbers.len() as usize, all(abi).count());
        }
    }

    #[test]
    fn numbers_beyond_have_none() {
        let mut numbers = Numbers::default();
        for nr in [SyscallNr::MIN, -2, 1023, PRIVATE_CALLS.0 - 2, PRIVATE_CALLS.0 + 63, 0x4000_0000, SyscallNr::MAX] {
            assert!(!numbers.add(nr) && !numbers.has(nr), "{nr}");
        }
        assert!(numbers.is_empty());
    }

    #[test]
    fn they_come_in_order() {
        let mut numbers = Numbers::default();
        for nr in [5, -1, 4, 0, 1022, PRIVATE_CALLS.0, 7] {
            numbers.add(nr);
        }
        let mut found = vec![numbers.next(SyscallNr::MIN)];
        while let Some(Some(last)) = found.last() {
            found.push(numbers.next(last + 1));
        }
        found.pop();
        let found: Vec<SyscallNr> = found.into_iter().flatten().collect();
        assert_eq!(found, [-1, 0, 4, 5, 7, 1022, PRIVATE_CALLS.0]);
    }
}
