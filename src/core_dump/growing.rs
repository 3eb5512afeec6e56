// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A dump that is being stored: how much room it may take, what goes for it, and how it gets its name.
//!
//! Before a dump grows on, its handler writes down how far it may (the length of the file `room` beside it), and others count
//! that as taken: several at once never take more than the limits. What makes room is the second oldest dump of the container
//! that has the most, or its only one. A crash loop keeps its first dump, which is the one before anything went wrong by it,
//! and its newest.

use std::fs::File;
use std::path::PathBuf;

use super::about::About;
use super::keeper;
use super::settings::Settings;
use super::shelf::{create, label_of, Entry, Shelf, DUMPS_MAX, ROOM};
use crate::error::{Error, Result};
use crate::json::Json;
use crate::record;
use crate::sys;

/// How far a dump may grow at a time: a part of the limit of all, between these.
const STEP_PART: u64 = 64;
const STEP: (u64, u64) = (256 << 10, 32 << 20);
/// Dumps of more than this part of the limit of all grow one behind the other.
const LARGE_PART: u64 = 16;

/// One that is being stored.
#[derive(Debug)]
pub struct Place {
    /// Where it grows.
    pub dir: PathBuf,
    pub(super) shelf: Shelf,
    pub(super) name: String,
    pub(super) room: File,
    /// Bytes that what lies beside it may have.
    pub(super) beside: u64,
    /// Bytes that it may have.
    pub(super) allowed: u64,
    /// Why it may not grow on; empty while it may.
    pub full: &'static str,
    pub(super) _lock: File,
}

/// Which dump makes room: of the container that has the most the second oldest, where there is one between its oldest and
/// its newest, else the oldest. `of`: of this container.
fn victim<'a>(entries: &'a [Entry], of: Option<&str>) -> Option<&'a Entry> {
    let mut most = (0, None);
    for entry in entries.iter().filter(|entry| !entry.grows && of.map_or(true, |of| of == entry.label())) {
        let same = entries.iter().filter(|other| other.label() == entry.label());
        let (mut sum, mut count, mut second) = (0, 0, None);
        for other in same {
            count += 1;
            if !other.grows {
                sum += other.bytes;
                // The entry is the oldest of its kind if nothing came before.
                if other.stored > entry.stored && second.is_none() {
                    second = Some(other);
                }
            }
        }
        if sum > most.0 {
            most = (sum, if count > 2 { second } else { None }.or(Some(entry)));
        }
    }
    most.1
}

impl Place {
    /// A new file in it, for its owner alone.
    pub fn create(&self, name: &str) -> Result<File> {
        let _owner = self.shelf.enter();
        create(&self.dir, name)
    }

    /// How many bytes the dump may have, asked for when it has more than it may.
    pub fn grow(&mut self, settings: &Settings) -> u64 {
        let step = (settings.max_total / STEP_PART).clamp(STEP.0, STEP.1);
        let mut step = match settings.max_dump {
            0 => step,
            most => step.min(most.saturating_sub(self.allowed).max(1)),
        };
        // All that grow at once would be cut where each by itself has room.
        if self.allowed > settings.max_total / LARGE_PART && settings.max_total > 0 {
            let _ = sys::lock_in_turn(&self.shelf.large);
        }
        if sys::lock_in_turn(&self.shelf.counting).is_ok() {
            let _owner = self.shelf.enter();
            // Less may fit where so much does not.
            loop {
                self.full = self.make_room(step, settings).unwrap_or("its directory can not be read");
                if self.full.is_empty() || step <= STEP.0 {
                    break;
                }
                step /= 2;
            }
            if self.full.is_empty() {
                self.allowed = self.allowed.saturating_add(step);
            }
            let _ = sys::set_len(&self.room, self.allowed.saturating_add(self.beside));
        }
        sys::unlock(&self.shelf.counting);
        self.allowed
    }

    /// Removes older dumps until there is room for so many bytes; else tells what there is too much of.
    fn make_room(&self, bytes: u64, settings: &Settings) -> Result<&'static str> {
        let mut entries = self.shelf.entries()?;
        let label = self.label();
        loop {
            let (mut all, mut own, mut pending) = (bytes, bytes, bytes);
            for entry in &entries {
                all += entry.bytes;
                pending += entry.pending;
                if entry.label() == label {
                    own += entry.bytes;
                }
            }
            let is_over = |value: u64, most: u64| most > 0 && value > most;
            let free = sys::free_bytes(&self.shelf.at).unwrap_or(u64::MAX);
            let full = if is_over(own, settings.max_container) {
                "the limit of the container's dumps"
            } else if is_over(all, settings.max_total) {
                "the limit of all dumps"
            } else if free < settings.keep_free.saturating_add(pending) {
                "the file system has no more room for dumps"
            } else {
                return Ok("");
            };
            let of = is_over(own, settings.max_container).then_some(label);
            let Some(name) = victim(&entries, of).filter(|entry| self.shelf.remove(entry)).map(|it| it.name.clone())
            else {
                return Ok(full);
            };
            entries.retain(|entry| entry.name != name);
        }
    }

    fn label(&self) -> &str {
        label_of(&self.name)
    }

    /// Writes down what is known and gives it its name: from here on it is there, whatever happens to us. Removes what is
    /// over the limits, and the last dump of a crash loop, which is counted.
    pub fn finish(self, about: &mut About, settings: &Settings) -> Result<PathBuf> {
        let shelf = &self.shelf;
        let failed = |doing, why| Error::io(doing, &shelf.path.join(&self.name), why);
        sys::lock_in_turn(&shelf.counting).map_err(|why| failed("lock", why.into()))?;
        let _owner = shelf.enter();
        let mut entries = shelf.entries()?;
        entries.retain(|entry| !entry.grows);
        let label = self.label();
        let (newest, in_loop) = shelf.newest(&entries, label);
        if let Some(newest) = newest {
            let (before, behind) = shelf.not_kept(newest);
            about.not_kept = if in_loop { before.saturating_add(1) } else { 0 }.saturating_add(behind);
        }
        keeper::take_number(&shelf.number, about);
        let mut json = Json::new();
        record::write(&mut json, about).newline();
        let written = create(&self.dir, keeper::ABOUT).and_then(|mut file| {
            let written = std::io::Write::write_all(&mut file, json.as_bytes()).and_then(|()| file.sync_data());
            written.map_err(|why| failed("write", why))
        });
        let _ = sys::remove_file(&self.dir.join(ROOM));
        let to = shelf.at.join(&self.name);
        let named = written.and_then(|()| {
            sys::rename(&shelf.at.join([".", &self.name].concat()), &to).map_err(|why| failed("rename", why))
        });
        if named.is_err() {
            self.remove();
            return named.map(|()| PathBuf::new());
        }
        let _ = shelf.dir.sync_all();
        let now = sys::realtime_ns();
        let is_old = |entry: &Entry| now.saturating_sub(entry.stored) / 1_000_000_000 > settings.max_age_s;
        let too_many = entries.len().saturating_sub(DUMPS_MAX);
        // With the new one, and without that in whose place it comes.
        let mut left = 1 - i64::from(in_loop);
        for entry in &entries {
            left += i64::from(entry.label() == label);
        }
        let keep = i64::from(settings.keep);
        let mut is_first = true;
        for (at, entry) in entries.iter().enumerate() {
            let is_own = entry.label() == label;
            let is_replaced = in_loop && newest.is_some_and(|newest| newest.name == entry.name);
            // The first one of a container tells most.
            let is_over = is_own && keep > 0 && left > keep && (keep == 1 || !is_first);
            is_first &= !is_own;
            if is_replaced || is_over || at < too_many || (settings.max_age_s > 0 && is_old(entry)) {
                shelf.remove(entry);
                left -= i64::from(is_own && !is_replaced);
            }
        }
        Ok(shelf.path.join(&self.name))
    }

    fn remove(&self) {
        let _ = sys::remove_dir_with_files(&self.shelf.at.join([".", &self.name].concat()));
    }

    /// Leaves nothing of it.
    pub fn give_up(self) {
        let _owner = self.shelf.enter();
        self.remove();
    }
}
