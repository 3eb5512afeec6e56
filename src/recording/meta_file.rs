// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `meta.json` on disk: replaced so that it is whole at every moment, and can be written when the disk is full.
//!
//! The next text goes into blocks that were reserved when there was room, and takes the file's place by rename(2). Source
//! of the durability rules: fsync(2), rename(2); not every file system orders a rename behind the data.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use super::meta::Meta;
use super::writer::create_new;
use crate::error::{Error, Result};
use crate::sys;

/// Bytes reserved on disk for what the end of a recording adds to its `meta.json`: 100 bytes a CPU, and the problems.
const META_RESERVE: usize = 16 << 10;

/// `meta.json` with its reserve.
#[derive(Debug)]
pub struct MetaFile {
    dir: PathBuf,
    /// `meta.next`: blocks on disk that take the next text.
    reserve: Option<File>,
    /// The reserve holds a text that waits to become `meta.json`.
    staged: bool,
}

impl MetaFile {
    fn reserve_path(&self) -> PathBuf {
        self.dir.join("meta.next")
    }

    /// Writes the file for the first time and reserves the blocks of its successor.
    pub fn create(dir: &Path, meta: &mut Meta) -> Result<MetaFile> {
        let path = dir.join("meta.json");
        let text = meta.to_json();
        let mut file = create_new(&path)?;
        file.write_all(&text).map_err(|why| Error::io("write", &path, why))?;
        let mut meta_file = MetaFile::reopen(dir);
        meta_file.reserve(text.len())?;
        Ok(meta_file)
    }

    /// Takes over the file of a recorder that died.
    pub fn reopen(dir: &Path) -> MetaFile {
        MetaFile { dir: dir.to_owned(), reserve: None, staged: false }
    }

    /// Takes blocks for a text of `len` bytes and what the end of a recording adds to it.
    fn reserve(&mut self, len: usize) -> Result<()> {
        let path = self.reserve_path();
        let _ = sys::remove_file(&path);
        let mut file = create_new(&path)?;
        if let Err(why) = write_padded(&mut file, b"", len.next_multiple_of(4096) + META_RESERVE) {
            let _ = sys::remove_file(&path);
            return Err(Error::io("write", &path, why));
        }
        self.reserve = Some(file);
        Ok(())
    }

    /// Puts the text into the reserve.
    fn fill(&mut self, text: &[u8]) -> Result<()> {
        if self.reserve.is_none() {
            self.reserve(text.len())?;
        }
        let path = self.reserve_path();
        let Some(file) = &mut self.reserve else { return Ok(()) };
        // Spaces up to the end of what was reserved: shortening would give blocks back that may be gone when we need them.
        let size = sys::status_of(file).map_or(0, |status| status.size as usize);
        file.rewind().and_then(|()| write_padded(file, text, size)).map_err(|why| Error::io("write", &path, why))
    }

    /// Makes the reserve's text the file. The data is on disk before the name is: not every file system sees to that.
    fn commit(&mut self) -> Result<()> {
        let path = self.reserve_path();
        if let Some(file) = self.reserve.take() {
            file.sync_data().map_err(|why| Error::io("sync", &path, why))?;
        }
        self.staged = false;
        sys::rename(&path, &self.dir.join("meta.json")).map_err(|why| Error::io("rename", &path, why))
    }

    /// Renews the file while the recording goes on, without waiting for the disk: the text of this time becomes the file
    /// at the next, when the kernel has long written it.
    pub fn renew(&mut self, meta: &mut Meta) -> Result<()> {
        let _owner = sys::as_owner();
        let text = meta.to_json();
        if std::mem::take(&mut self.staged) {
            self.commit()?;
            self.reserve(text.len())?;
        }
        self.fill(&text)?;
        self.staged = true;
        Ok(())
    }

    /// Replaces the file for the last time; on a full disk the reserved blocks take the text.
    pub fn write_last(&mut self, meta: &mut Meta) -> Result<()> {
        let _owner = sys::as_owner();
        let text = meta.to_json();
        if let Err(why) = self.fill(&text) {
            return self.overwrite(&text).map_err(|_| why);
        }
        if let Some(file) = &self.reserve {
            let _ = sys::set_len(file, text.len() as u64);
        }
        self.commit()
    }

    /// Writes into the blocks of the file itself, which has the reserve's size from the second time on: a machine that dies
    /// meanwhile may leave garbage, but otherwise a disk that was full at the last renewal would hide why the recording
    /// ended.
    fn overwrite(&self, text: &[u8]) -> io::Result<()> {
        let mut file = sys::open(&self.dir.join("meta.json"), OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK)?;
        let room = usize::try_from(sys::status_of(&file)?.size).unwrap_or(usize::MAX);
        if text.len() > room {
            return Err(nix::errno::Errno::ENOSPC.into());
        }
        write_padded(&mut file, text, room)
    }
}

/// Writes the text, and spaces behind it up to `size`: in pieces, for the recorder keeps the memory it once had.
fn write_padded(file: &mut File, text: &[u8], size: usize) -> io::Result<()> {
    file.write_all(text)?;
    let mut left = size.saturating_sub(text.len());
    let blank = [b' '; 1024];
    while left > 0 {
        let piece = blank.get(..left).unwrap_or(&blank);
        file.write_all(piece)?;
        left -= piece.len();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::DirBuilderExt;

    use super::*;

    #[test]
    fn meta_json_is_whole_at_every_moment_and_keeps_its_reserve() {
        let dir = std::env::temp_dir().join(format!("ftrace-analyzer-meta-{}", std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&dir).unwrap();
        let read = || Meta::from_json(&fs::read(dir.join("meta.json")).unwrap()).unwrap();
        let mut meta = Meta { format_version: 1, ..Meta::default() };
        let mut file = MetaFile::create(&dir, &mut meta).unwrap();
        meta.end_reason = "one".into();
        file.renew(&mut meta).unwrap();
        assert_eq!(read().end_reason, "");
        meta.end_reason = "two".into();
        file.renew(&mut meta).unwrap();
        assert_eq!(read().end_reason, "one");
        let reserved = fs::metadata(dir.join("meta.next")).unwrap().len();
        assert!(reserved as usize >= META_RESERVE + meta.to_json().len());
        meta.problems = vec!["a problem that is longer than what was there before".into(); 400];
        file.write_last(&mut meta).unwrap();
        assert_eq!(*read(), meta);
        assert!(!dir.join("meta.next").exists());
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn without_a_reserve_the_description_is_written_in_its_place_if_it_fits() {
        let dir = std::env::temp_dir().join(format!("ftrace-analyzer-reserve-{}", std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&dir).unwrap();
        let mut meta = Meta { format_version: 1, ..Meta::default() };
        let mut file = MetaFile::create(&dir, &mut meta).unwrap();
        file.renew(&mut meta).unwrap();
        file.renew(&mut meta).unwrap();
        // In the place of the reserve stands what cannot be removed nor written, as on a full disk.
        let block = |file: &mut MetaFile| {
            file.reserve = None;
            let _ = fs::remove_file(dir.join("meta.next"));
            let _ = fs::create_dir(dir.join("meta.next"));
        };
        let read = || Meta::from_json(&fs::read(dir.join("meta.json")).unwrap()).unwrap();
        block(&mut file);
        meta.end_reason = "No space left on device".into();
        file.write_last(&mut meta).unwrap();
        assert_eq!(read().end_reason, meta.end_reason);
        meta.end_reason = "x".repeat(2 * META_RESERVE);
        block(&mut file);
        assert!(file.write_last(&mut meta).is_err());
        assert_eq!(read().end_reason, "No space left on device", "what was there stays");
        fs::remove_dir_all(&dir).unwrap();
    }
}
