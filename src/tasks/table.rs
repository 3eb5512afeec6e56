// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From a thread id to its place in a list, as fast as an event needs it.
//!
//! Every event asks once. std's hash map with its keyed hash would cost more than decoding the event; thread ids come
//! from the kernel one after the other, so a multiplication spreads them well, and nobody gains from colliding with
//! himself. Linear probing with deletion by shifting back (Knuth, vol. 3, 6.4 algorithm R): no tombstones to clean up.

use crate::ids::Pid;

/// Places the table starts with; a power of two, as every later size.
const START: usize = 64;

/// A map from thread ids to 32-bit values. Any `Pid` but `PidTable::FREE` can be a key.
#[derive(Debug)]
pub struct PidTable {
    cells: Vec<(Pid, u32)>,
    used: usize,
}

impl PidTable {
    /// Marks an empty cell; no thread has this id.
    const FREE: Pid = Pid::MIN;

    /// An empty table.
    pub fn new() -> PidTable {
        PidTable { cells: vec![(PidTable::FREE, 0); START], used: 0 }
    }

    fn mask(&self) -> usize {
        self.cells.len().wrapping_sub(1)
    }

    #[inline]
    fn home(&self, pid: Pid) -> usize {
        // Fibonacci hashing: the upper bits of the product are the well mixed ones.
        let mixed = (pid as u32).wrapping_mul(0x9e37_79b9);
        (mixed >> 8) as usize & self.mask()
    }

    /// The value stored for `pid`.
    #[inline]
    pub fn get(&self, pid: Pid) -> Option<u32> {
        if pid == PidTable::FREE {
            return None;
        }
        let mut at = self.home(pid);
        // The table is never full, so an empty cell ends every search.
        while let Some((key, value)) = self.cells.get(at) {
            if *key == pid {
                return Some(*value);
            }
            if *key == PidTable::FREE {
                return None;
            }
            at = (at + 1) & self.mask();
        }
        None
    }

    /// Stores `value` for `pid`, in place of an older one.
    pub fn insert(&mut self, pid: Pid, value: u32) {
        if pid == PidTable::FREE {
            return;
        }
        if (self.used + 1) * 2 > self.cells.len() {
            self.grow();
        }
        let mask = self.mask();
        let mut at = self.home(pid);
        while let Some(cell) = self.cells.get_mut(at) {
            if cell.0 == pid {
                cell.1 = value;
                return;
            }
            if cell.0 == PidTable::FREE {
                *cell = (pid, value);
                self.used += 1;
                return;
            }
            at = (at + 1) & mask;
        }
    }

    /// Forgets `pid`.
    pub fn remove(&mut self, pid: Pid) {
        if pid == PidTable::FREE {
            return;
        }
        let mask = self.mask();
        let mut hole = self.home(pid);
        loop {
            match self.cells.get(hole) {
                Some((key, _)) if *key == pid => break,
                Some((key, _)) if *key != PidTable::FREE => hole = (hole + 1) & mask,
                _ => return,
            }
        }
        self.used -= 1;
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let Some(cell) = self.cells.get(at).copied().filter(|(key, _)| *key != PidTable::FREE) else { break };
            // A key may move into the hole unless its home lies cyclically behind the hole.
            let from_home = at.wrapping_sub(self.home(cell.0)) & mask;
            let from_hole = at.wrapping_sub(hole) & mask;
            if from_home >= from_hole {
                if let Some(place) = self.cells.get_mut(hole) {
                    *place = cell;
                }
                hole = at;
            }
        }
        if let Some(place) = self.cells.get_mut(hole) {
            *place = (PidTable::FREE, 0);
        }
    }

    #[cold]
    fn grow(&mut self) {
        let double = vec![(PidTable::FREE, 0); self.cells.len() * 2];
        let old = core::mem::replace(&mut self.cells, double);
        self.used = 0;
        for (pid, value) in old {
            self.insert(pid, value);
        }
    }
}

impl Default for PidTable {
    fn default() -> Self {
        PidTable::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn behaves_as_a_map_does_under_many_insertions_and_removals() {
        let mut table = PidTable::new();
        let mut model = HashMap::new();
        let mut seed = 1u32;
        for round in 0..200_000u32 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let pid = (seed >> 16) as Pid % 700 - 1;
            if seed & 0x300 == 0 {
                table.remove(pid);
                model.remove(&pid);
            } else {
                table.insert(pid, round);
                model.insert(pid, round);
            }
            if round % 64 == 0 {
                for pid in -2..702 {
                    assert_eq!(table.get(pid), model.get(&pid).copied());
                }
            }
        }
        assert_eq!(table.used, model.len());
    }

    #[test]
    fn the_mark_of_an_empty_cell_is_no_key() {
        let mut table = PidTable::new();
        table.insert(Pid::MIN, 1);
        table.remove(Pid::MIN);
        assert_eq!((table.get(Pid::MIN), table.used), (None, 0));
    }
}
