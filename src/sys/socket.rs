// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Sockets of this machine (unix(7)). They are files here, which are read and written as any other: nobody sends SIGPIPE,
//! as `begin` has it ignored.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, RawFd};

use nix::errno::Errno;
use nix::libc::{self, c_int, c_long};

/// struct sockaddr_un.
#[repr(C)]
struct Address {
    family: u16,
    path: [u8; 108],
}

/// Makes a socket and does `call`, bind(2) or connect(2), with the path.
fn socket(kind: c_int, call: c_long, path: &str) -> io::Result<File> {
    let mut address = Address { family: libc::AF_UNIX as u16, path: [0; 108] };
    // It ends in NUL.
    let (Some(place), false) = (address.path.get_mut(..path.len()), path.len() > 107) else {
        return Err(Errno::ENAMETOOLONG.into());
    };
    place.copy_from_slice(path.as_bytes());
    let length = std::mem::size_of::<Address>() - 107 + path.len();
    // SAFETY: the kernel has just given us the descriptor, nobody else owns it; the address is as long as is said.
    unsafe {
        let fd = Errno::result(libc::syscall(libc::SYS_socket, libc::AF_UNIX, kind | libc::SOCK_CLOEXEC, 0))?;
        let file = File::from_raw_fd(fd as RawFd);
        Errno::result(libc::syscall(call, file.as_raw_fd(), &address, length))?;
        Ok(file)
    }
}

/// A socket at the path that takes connections, which [`accept`] gives.
pub fn listen(path: &str) -> io::Result<File> {
    let file = socket(libc::SOCK_STREAM | libc::SOCK_NONBLOCK, libc::SYS_bind, path)?;
    // SAFETY: integers.
    Errno::result(unsafe { libc::syscall(libc::SYS_listen, file.as_raw_fd(), 128) })?;
    Ok(file)
}

/// The next connection, which does not block; an error where there is none now.
pub fn accept(listener: &impl AsFd) -> io::Result<File> {
    let (none, flags) = (0usize, libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK);
    // SAFETY: no address is asked for; the kernel has just given us the descriptor, nobody else owns it.
    unsafe {
        let fd = libc::syscall(libc::SYS_accept4, listener.as_fd().as_raw_fd(), none, none, flags);
        Ok(File::from_raw_fd(Errno::result(fd)? as RawFd))
    }
}

/// A connection to the socket at the path.
pub fn connect(path: &str) -> io::Result<File> {
    socket(libc::SOCK_STREAM, libc::SYS_connect, path)
}

/// For datagrams to the socket at the path: each write is one, and none waits.
pub fn datagrams(path: &str) -> io::Result<File> {
    socket(libc::SOCK_DGRAM | libc::SOCK_NONBLOCK, libc::SYS_connect, path)
}
