// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A dump from the kernel's pipe into a file, in bounded memory: pages of zeros become holes, and limits cut it off.
//!
//! The kernel makes the dump while we read, from pages that the process still has; what was never touched comes as zeros
//! (fs/coredump.c `dump_emit_page`, `dump_skip`). A file system without holes stores them as they are.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::error::{Error, Result};
use crate::sys;

/// Bytes taken at a time: a pipe's whole contents where nobody asked for more.
const CHUNK: usize = 64 << 10;
/// What the pipe is to hold: the most that everybody may have (pipe-max-size).
const PIPE: usize = 1 << 20;
/// Smallest hole in bytes: the smallest page of any machine.
const PAGE: usize = 4096;

/// What became of a dump.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Bytes of the dump, holes included.
    pub bytes: u64,
    /// Bytes that were written.
    pub written: u64,
    /// Why not all of it is there.
    pub cut: Option<Cut>,
}

/// Why a dump was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Its own limit.
    Limit,
    /// There is no more room for it.
    Room,
    /// A disk that is full.
    Space,
    /// Writing failed.
    Failed(i32),
}

/// Takes a dump until its end, or `limit` bytes of data; 0 is no limit. `room` is asked whenever there is more data than it
/// allowed, and gives how much there may be. `path` is for errors.
pub fn store(mut dump: &File, file: &File, path: &Path, limit: u64, room: &mut dyn FnMut() -> u64) -> Result<Stored> {
    // The kernel fills it while we write; where that is not granted, it stays as it is.
    sys::set_pipe_size(dump, PIPE);
    let mut buffer = vec![0u8; CHUNK];
    let mut stored = Stored::default();
    let mut allowed = 0;
    loop {
        let mut have = 0;
        // Whole chunks, so that pages are where they are in the file.
        while have < CHUNK {
            match dump.read(buffer.get_mut(have..).unwrap_or_default()) {
                Ok(0) => break,
                Ok(count) => have += count,
                Err(why) if why.kind() == ErrorKind::Interrupted => {}
                Err(why) => return Err(Error::sys("read the dump", why)),
            }
        }
        let data = buffer.get(..have).unwrap_or_default();
        if data.is_empty() {
            break;
        }
        while stored.written.saturating_add(have as u64) > allowed {
            let more = room();
            if more <= allowed {
                break;
            }
            allowed = more;
        }
        let most = if limit > 0 && limit <= allowed { (limit, Cut::Limit) } else { (allowed, Cut::Room) };
        if let Err(why) = write_pages(file, data, &mut stored, most) {
            stored.cut = Some(why);
            break;
        }
    }
    // The last pages may be a hole.
    sys::set_len(file, stored.bytes).map_err(|why| Error::io("write", path, why))?;
    Ok(stored)
}

/// Writes what is not zeros, up to so many bytes, and what it is if there are more.
fn write_pages(file: &File, data: &[u8], stored: &mut Stored, most: (u64, Cut)) -> core::result::Result<(), Cut> {
    let mut rest = data;
    while !rest.is_empty() {
        let hole = rest.chunks(PAGE).take_while(|page| is_zero(page)).map(<[u8]>::len).sum::<usize>();
        stored.bytes += hole as u64;
        rest = rest.get(hole..).unwrap_or_default();
        let mut length = rest.chunks(PAGE).take_while(|page| !is_zero(page)).map(<[u8]>::len).sum::<usize>();
        let room = most.0.saturating_sub(stored.written);
        let is_cut = length as u64 > room;
        if is_cut {
            length = room as usize;
        }
        if let Err(why) = file.write_all_at(rest.get(..length).unwrap_or_default(), stored.bytes) {
            let full = [nix::libc::ENOSPC, nix::libc::EDQUOT, nix::libc::EFBIG];
            let errno = why.raw_os_error().unwrap_or_default();
            return Err(if full.contains(&errno) { Cut::Space } else { Cut::Failed(errno) });
        }
        stored.bytes += length as u64;
        stored.written += length as u64;
        if is_cut {
            return Err(most.1);
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    Ok(())
}

/// By words, as C libraries compare bytes one by one; what is in use is seen at once.
fn is_zero(page: &[u8]) -> bool {
    // A compiler that does not optimise makes it a minute for 4 GB; the C library of such builds is fast.
    if cfg!(debug_assertions) {
        static ZEROS: [u8; PAGE] = [0; PAGE];
        return ZEROS.get(..page.len()) == Some(page);
    }
    let mut words = page.chunks_exact(8);
    words.all(|word| word == [0; 8]) && words.remainder().iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{Seek, SeekFrom, Write};
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn stored(dump: &[u8], limit: u64, room: u64) -> (Stored, Vec<u8>, u64) {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let next = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("ftrace-analyzer-stream-{}-{next}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        let mut input =
            File::options().create(true).truncate(true).read(true).write(true).open(dir.join("in")).unwrap();
        input.write_all(dump).unwrap();
        input.seek(SeekFrom::Start(0)).unwrap();
        let out = File::options().create(true).truncate(true).write(true).open(dir.join("out")).unwrap();
        let stored = store(&input, &out, &dir, limit, &mut || room).unwrap();
        let text = fs::read(dir.join("out")).unwrap();
        let blocks = fs::metadata(dir.join("out")).unwrap().blocks() * 512;
        fs::remove_dir_all(dir).unwrap();
        (stored, text, blocks)
    }

    #[test]
    fn pages_of_zeros_become_holes_and_the_bytes_stay_the_same() {
        let mut dump = vec![0u8; 1 << 20];
        for at in [0, 5000, 300_000, (1 << 20) - 1] {
            dump[at] = 7;
        }
        dump.extend_from_slice(&[0; 100]);
        let (stored, text, blocks) = stored(&dump, 0, u64::MAX);
        assert!(text == dump);
        assert_eq!(stored, Stored { bytes: dump.len() as u64, written: 4 * 4096, cut: None });
        assert!(blocks <= 64 << 10, "{blocks}");
        assert_eq!(self::stored(&[], 0, u64::MAX).0, Stored::default());
    }

    #[test]
    fn a_dump_is_cut_at_its_limit_of_data_and_at_the_room_there_is() {
        let dump: Vec<u8> = (0..200_000u32).map(|at| (at % 251) as u8 + 1).collect();
        let (stored, text, _) = stored(&dump, 70_000, u64::MAX);
        assert_eq!(stored, Stored { bytes: 70_000, written: 70_000, cut: Some(Cut::Limit) });
        assert!(text == dump[..70_000]);
        // Exactly the limit is all of it.
        assert_eq!(self::stored(&dump, 200_000, u64::MAX).0.cut, None);
        assert_eq!(self::stored(&dump, 0, 0).0, Stored { bytes: 0, written: 0, cut: Some(Cut::Room) });
        assert_eq!(self::stored(&dump, 0, 200_000).0.cut, None);
        let cut = Stored { bytes: 199_999, written: 199_999, cut: Some(Cut::Room) };
        assert_eq!(self::stored(&dump, 200_000, 199_999).0, cut);
    }
}
