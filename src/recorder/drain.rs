// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From the kernel's per-CPU pipes to the recording, by splice(2) as far as it goes and read(2) for the rest.
//!
//! splice moves whole sub-buffers and costs a quarter of read; it never gives the one being written, so what is in that
//! is taken by read when somebody wants to see it now, and at the end. The recorder touches no event.
//! Source: kernel/trace/trace.c `tracing_buffers_splice_read`, `tracing_buffers_read`.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{fcntl, splice, FcntlArg, OFlag, SpliceFFlags};
use nix::unistd::pipe2;

use crate::error::{Error, Kind, Result};
use crate::ids::CpuId;
use crate::recording::Store;
use crate::tracefs::Instance;

/// Size asked for the pipe between the two splices, in bytes: the more fits, the fewer calls.
const PIPE_SIZE: i32 = 1 << 20;

/// How much of a CPU's buffer is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Sub-buffers that the kernel has finished.
    Whole,
    /// Also the part of the one being written.
    Everything,
}

/// One CPU's source.
#[derive(Debug)]
pub struct CpuPipe {
    /// The CPU.
    pub cpu: CpuId,
    file: File,
}

/// All CPUs' sources and the pipe and buffer that they share.
#[derive(Debug)]
pub struct Drain {
    /// In the order of the recording's writers.
    pub pipes: Vec<CpuPipe>,
    out: OwnedFd,
    inlet: OwnedFd,
    /// Bytes the pipe takes, a multiple of the sub-buffer size.
    batch: usize,
    page: Vec<u8>,
}

fn make_pipe(subbuf: usize) -> Result<(OwnedFd, OwnedFd, usize)> {
    let (out, inlet) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).map_err(|errno| Error::sys("make a pipe", errno))?;
    // Over /proc/sys/fs/pipe-max-size, or for users, it stays at 64 KiB. A slot takes one sub-buffer whatever its size.
    let capacity = fcntl(&inlet, FcntlArg::F_SETPIPE_SZ(PIPE_SIZE))
        .or_else(|_| fcntl(&inlet, FcntlArg::F_GETPIPE_SZ))
        .map_or(1 << 16, |size| size.max(1) as usize);
    Ok((out, inlet, (capacity / subbuf).max(1) * subbuf))
}

impl Drain {
    /// Opens the pipes of all CPUs of `instance`.
    pub fn open(instance: &Instance, cpus: &[CpuId], subbuf: usize) -> Result<Drain> {
        let (out, inlet, batch) = make_pipe(subbuf)?;
        let mut pipes = Vec::with_capacity(cpus.len());
        for cpu in cpus {
            pipes.push(CpuPipe { cpu: *cpu, file: instance.open_pipe_raw(*cpu)? });
        }
        Ok(Drain { pipes, out, inlet, batch, page: vec![0; subbuf] })
    }

    /// For poll(2).
    pub fn fds(&self) -> impl Iterator<Item = std::os::fd::BorrowedFd<'_>> {
        self.pipes.iter().map(|pipe| pipe.file.as_fd())
    }

    /// Takes what one CPU has; gives the bytes stored.
    pub fn cpu(&mut self, slot: usize, depth: Depth, store: &mut Store) -> Result<u64> {
        let mut total = 0;
        loop {
            let moved = self.splice_once(slot, store)?;
            total += moved;
            if moved == 0 {
                break;
            }
        }
        if depth == Depth::Everything {
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

    fn splice_once(&mut self, slot: usize, store: &mut Store) -> Result<u64> {
        let Some(pipe) = self.pipes.get(slot) else { return Ok(0) };
        let flags = SpliceFFlags::SPLICE_F_NONBLOCK | SpliceFFlags::SPLICE_F_MOVE;
        let taken = match splice(&pipe.file, None, &self.inlet, None, self.batch, flags) {
            Ok(taken) => taken,
            // Nothing whole yet; interrupted; no memory for a spare page right now; CPU gone offline: all normal, all
            // come again at the next turn.
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ENOMEM | Errno::EBUSY | Errno::ENODEV) => 0,
            Err(errno) => return Err(Error::sys(format!("read the ring buffer of CPU {}", pipe.cpu), errno)),
        };
        let mut left = taken;
        while left > 0 {
            let (file, offset) = store.target(slot)?;
            let mut at = offset as i64 + (taken - left) as i64;
            match splice(&self.out, None, file, Some(&mut at), left, SpliceFFlags::SPLICE_F_MOVE) {
                Ok(0) => return Err(self.store_failed(slot, store, Errno::EIO)),
                Ok(moved) => left -= moved,
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(self.store_failed(slot, store, errno)),
            }
        }
        if taken > 0 {
            store.appended(slot, taken as u64);
        }
        Ok(taken as u64)
    }

    fn store_failed(&mut self, slot: usize, store: &mut Store, errno: Errno) -> Error {
        // What did reach the file stays where it is whole; a sub-buffer written by half would be damage.
        store.cut_tail(slot);
        // Whatever is left in the pipe would come before later data of another CPU.
        if let Ok((out, inlet, batch)) = make_pipe(self.page.len()) {
            (self.out, self.inlet, self.batch) = (out, inlet, batch);
        }
        Error::new(Kind::Io { what: format!("write the recording {}", store.dir.display()), source: errno.into() })
    }

    fn read_once(&mut self, slot: usize, store: &mut Store) -> Result<u64> {
        let Some(pipe) = self.pipes.get_mut(slot) else { return Ok(0) };
        match pipe.file.read(&mut self.page) {
            Ok(0) => Ok(0),
            Ok(count) => {
                let bytes = self.page.get(..count).unwrap_or(&self.page);
                store.append_page(slot, bytes)?;
                Ok(count as u64)
            }
            Err(why) => match why.raw_os_error().map(Errno::from_raw) {
                _ if matches!(why.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(0),
                Some(Errno::ENOMEM | Errno::EBUSY | Errno::ENODEV) => Ok(0),
                _ => Err(Error::sys(format!("read the ring buffer of CPU {}", pipe.cpu), why)),
            },
        }
    }
}
