// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From the kernel's per-CPU pipes to the recording, by splice(2) as far as it goes and read(2) for the rest.
//!
//! splice moves whole sub-buffers and costs a quarter of read; it never gives the one being written, so what is in that
//! is taken by read when somebody wants to see it now, and at the end. The recorder touches no event.
//! Source: kernel/trace/trace.c `tracing_buffers_splice_read`, `tracing_buffers_read`.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{splice, OFlag, SpliceFFlags};

use crate::error::{Error, Result};
use crate::ids::CpuId;
use crate::recording::Store;
use crate::sys;
use crate::tracefs::Instance;

/// Sub-buffers that may wait in each CPU's pipe, in bytes, while the disk holds us up and the kernel's own buffer has room
/// again. A slot of a pipe takes a sub-buffer whatever its size. Nothing is allocated before it is used.
const WAITING_MAX: usize = 4 << 20;

/// Bytes written to disk before the kernel's buffers are looked at again: well below a millisecond of work, where a
/// buffer of 1.4 MB fills in four at eight million events a second.
const WRITE_MAX: usize = 256 << 10;

/// Bytes asked for at a time: a multiple of every sub-buffer size, more than a pipe takes.
const PULL_MAX: usize = 64 << 20;

/// How long one call of [`Drain::whole`] goes on when data comes faster than it can be written: requests wait as long.
const TURN_MAX_MS: u64 = 50;

/// One CPU's source, and the pipe in which its sub-buffers wait to be written.
#[derive(Debug)]
struct CpuPipe {
    cpu: CpuId,
    file: File,
    outlet: OwnedFd,
    inlet: OwnedFd,
    /// Bytes in the pipe.
    waiting: usize,
}

/// The sources of all CPUs.
#[derive(Debug)]
pub struct Drain {
    /// In the order of the recording's writers.
    pipes: Vec<CpuPipe>,
    page: Vec<u8>,
}

fn make_pipe(subbuf: usize) -> Result<(OwnedFd, OwnedFd)> {
    let (outlet, inlet) = sys::pipe(OFlag::O_NONBLOCK).map_err(|why| Error::sys("make a pipe", why))?;
    let page = sys::page_size();
    // splice(2) reckons a slot as a page, so a sub-buffer is taken only while as many slots are free as it has pages.
    let slots = (WAITING_MAX / subbuf.max(1)).max(2 * subbuf / page).max(16);
    // Over the users' limits (pipe-max-size, pipe-user-pages-soft) it stays smaller, which costs calls and nothing else.
    for size in [slots * page, 1 << 20] {
        if sys::set_pipe_size(&inlet, size) {
            break;
        }
    }
    Ok((outlet, inlet))
}

impl Drain {
    /// Opens the pipes of all CPUs of `instance`.
    pub fn open(instance: &Instance, cpus: &[CpuId], subbuf: usize) -> Result<Drain> {
        let mut pipes = Vec::with_capacity(cpus.len());
        for cpu in cpus {
            let (outlet, inlet) = make_pipe(subbuf)?;
            pipes.push(CpuPipe { cpu: *cpu, file: instance.open_pipe_raw(*cpu)?, outlet, inlet, waiting: 0 });
        }
        Ok(Drain { pipes, page: vec![0; subbuf] })
    }

    /// For poll(2).
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.pipes.iter().map(|pipe| pipe.file.as_fd())
    }

    /// Stores the sub-buffers that the kernel has finished, of all CPUs; gives the bytes of the busiest CPU, and whether
    /// all there was is stored.
    pub fn whole(&mut self, store: &mut Store) -> Result<(u64, bool)> {
        let begun = sys::monotonic_ms();
        let mut moved = vec![0u64; self.pipes.len()];
        let complete = loop {
            for pipe in &mut self.pipes {
                pipe.pull()?;
            }
            let (mut slot, mut fullest) = (0, 0);
            for (at, pipe) in self.pipes.iter().enumerate() {
                if pipe.waiting > fullest {
                    (slot, fullest) = (at, pipe.waiting);
                }
            }
            if fullest == 0 {
                break true;
            }
            let written = self.push(slot, store)?;
            if let Some(sum) = moved.get_mut(slot) {
                *sum += written;
            }
            if sys::monotonic_ms() - begun > TURN_MAX_MS {
                break false;
            }
        };
        store.trim()?;
        Ok((moved.into_iter().max().unwrap_or(0), complete))
    }

    /// Stores everything, also the part of the sub-buffers being written. Gives the bytes stored.
    pub fn everything(&mut self, store: &mut Store) -> Result<u64> {
        let mut total = 0;
        loop {
            let (moved, complete) = self.whole(store)?;
            total += moved;
            if complete {
                break;
            }
        }
        for slot in 0..self.pipes.len() {
            loop {
                let moved = self.read_once(slot, store)?;
                total += moved;
                if moved == 0 {
                    break;
                }
            }
        }
        store.trim()?;
        Ok(total)
    }

    /// Writes some of what waits for one CPU.
    fn push(&mut self, slot: usize, store: &mut Store) -> Result<u64> {
        let subbuf = self.page.len();
        let Some(pipe) = self.pipes.get_mut(slot) else { return Ok(0) };
        let (file, offset) = store.target(slot)?;
        let batch = pipe.waiting.min((WRITE_MAX / subbuf).max(1) * subbuf);
        let mut left = batch;
        let failed = loop {
            let mut at = (offset + (batch - left) as u64) as i64;
            match splice(&pipe.outlet, None, file, Some(&mut at), left, SpliceFFlags::SPLICE_F_MOVE) {
                Ok(0) => break Some(Errno::EIO),
                Ok(moved) => left = left.saturating_sub(moved),
                Err(Errno::EINTR) => {}
                Err(errno) => break Some(errno),
            }
            if left == 0 {
                break None;
            }
        };
        pipe.waiting -= batch - left;
        // A sub-buffer written by half would be damage; those before it are good.
        let good = batch - left - (batch - left) % subbuf;
        store.appended(slot, good as u64);
        match failed {
            None => Ok(good as u64),
            Some(errno) => {
                store.cut_tail(slot);
                let what = format!("write the recording {}", store.dir.display());
                Err(Error::sys(what, errno))
            }
        }
    }

    /// Stores one part-filled sub-buffer of a CPU whose pipe is empty.
    fn read_once(&mut self, slot: usize, store: &mut Store) -> Result<u64> {
        let mut page = std::mem::take(&mut self.page);
        let stored = self.read(slot, &mut page).and_then(|count| {
            if count > 0 {
                store.append_page(slot, page.get(..count).unwrap_or(&page))?;
            }
            Ok(count as u64)
        });
        self.page = page;
        stored
    }

    /// Takes one sub-buffer, whole or not, of a CPU. Gives its bytes; 0 where there is nothing now.
    pub fn read(&mut self, slot: usize, page: &mut [u8]) -> Result<usize> {
        if self.pipes.get(slot).is_some_and(|pipe| pipe.waiting == 0) {
            // What whoever counts is too slow for waits in the pipes, of all CPUs: the kernel's own buffer has room again.
            for pipe in &mut self.pipes {
                pipe.pull()?;
            }
        }
        let Some(pipe) = self.pipes.get_mut(slot) else { return Ok(0) };
        if pipe.waiting > 0 {
            let count = nix::unistd::read(&pipe.outlet, page)
                .map_err(|errno| Error::sys(format!("read the pipe of CPU {}", pipe.cpu), errno))?;
            pipe.waiting = pipe.waiting.saturating_sub(count);
            return Ok(count);
        }
        match pipe.file.read(page) {
            Ok(count) => Ok(count),
            Err(why) if matches!(why.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(0),
            Err(why) => match why.raw_os_error().map(Errno::from_raw) {
                Some(Errno::ENOMEM | Errno::EBUSY | Errno::ENODEV) => Ok(0),
                _ => Err(Error::sys(format!("read the ring buffer of CPU {}", pipe.cpu), why)),
            },
        }
    }
}

impl CpuPipe {
    /// Takes finished sub-buffers out of the kernel's ring until there is none, or the pipe is full.
    fn pull(&mut self) -> Result<()> {
        let flags = SpliceFFlags::SPLICE_F_NONBLOCK | SpliceFFlags::SPLICE_F_MOVE;
        loop {
            match splice(&self.file, None, &self.inlet, None, PULL_MAX, flags) {
                Ok(0) => return Ok(()),
                Ok(taken) => self.waiting += taken,
                // splice cuts what is asked for down to the free slots, a page each; less than a sub-buffer is refused.
                Err(Errno::EINVAL) if self.waiting > 0 => return Ok(()),
                // Nothing whole, or no slot free; interrupted; no memory for a spare page right now; CPU gone offline:
                // all normal, all come again at the next turn.
                Err(Errno::EAGAIN | Errno::EINTR | Errno::ENOMEM | Errno::EBUSY | Errno::ENODEV) => return Ok(()),
                Err(errno) => return Err(Error::sys(format!("read the ring buffer of CPU {}", self.cpu), errno)),
            }
        }
    }
}
