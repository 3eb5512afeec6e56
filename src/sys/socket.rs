// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Sockets of this machine (unix(7)). They are files here, which are read and written as any other: nobody sends SIGPIPE,
//! as `begin` has it ignored.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc::{self, c_int, c_long};

use crate::ids::Pid;

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

/// The same without waiting where too many wait already, and without waiting for what is read and written.
pub fn connect_now(path: &str) -> io::Result<File> {
    socket(libc::SOCK_STREAM | libc::SOCK_NONBLOCK, libc::SYS_connect, path)
}

/// For datagrams to the socket at the path: each write is one, and none waits.
pub fn datagrams(path: &str) -> io::Result<File> {
    socket(libc::SOCK_DGRAM | libc::SOCK_NONBLOCK, libc::SYS_connect, path)
}

/// Who is at the other end of a connection, as it was when it was made (SO_PEERCRED), in the numbers of our namespaces.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Process; 0 for one that our pid namespace does not show.
    pub pid: Pid,
    /// Effective user.
    pub user: u32,
    /// Effective group.
    pub group: u32,
}

/// Who is at the other end.
pub fn peer(stream: &impl AsFd) -> io::Result<Peer> {
    // struct ucred
    let mut cred = [0u32; 3];
    let mut size: libc::socklen_t = 12;
    let fd = stream.as_fd().as_raw_fd();
    // SAFETY: the kernel writes three numbers of 32 bits, and how many bytes they have.
    let done =
        unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_PEERCRED, cred.as_mut_ptr().cast(), &mut size) };
    Errno::result(done)?;
    let [pid, user, group] = cred;
    Ok(Peer { pid: pid as Pid, user, group })
}

/// The kernel's struct user_msghdr.
#[repr(C)]
struct Message {
    name: usize,
    name_length: u32,
    parts: *const Part,
    count: usize,
    control: *mut Control,
    control_length: usize,
    flags: u32,
}

/// struct iovec.
#[repr(C)]
struct Part {
    bytes: *mut u8,
    length: usize,
}

/// The kernel's struct cmsghdr with one descriptor behind it.
#[repr(C)]
struct Control {
    length: usize,
    level: c_int,
    kind: c_int,
    fd: RawFd,
}

/// Bytes of [`Control`] without what its end is filled up with: there is no room for a second descriptor.
const CONTROL: usize = std::mem::size_of::<usize>() + 12;

/// Does `call`, sendmsg(2) or recvmsg(2), with one part and one descriptor.
fn message(
    call: c_long,
    stream: &File,
    (bytes, length): (*mut u8, usize),
    control: &mut Control,
    with: bool,
) -> io::Result<usize> {
    let part = Part { bytes, length };
    let message = Message {
        name: 0,
        name_length: 0,
        parts: &part,
        count: 1,
        control,
        control_length: if with { CONTROL } else { 0 },
        flags: 0,
    };
    // SAFETY: the structures are the kernel's and live until it returns; the callers see to the bytes.
    let done = unsafe { libc::syscall(call, stream.as_raw_fd(), &message, libc::MSG_CMSG_CLOEXEC) };
    Ok(Errno::result(done)? as usize)
}

/// Writes, and hands a descriptor over with the first byte.
pub fn send_with(stream: &File, bytes: &[u8], fd: Option<BorrowedFd<'_>>) -> io::Result<usize> {
    let number = fd.map_or(-1, |fd| fd.as_raw_fd());
    let mut control = Control { length: CONTROL, level: libc::SOL_SOCKET, kind: libc::SCM_RIGHTS, fd: number };
    // Nothing is written to the bytes by this call.
    message(libc::SYS_sendmsg, stream, (bytes.as_ptr().cast_mut(), bytes.len()), &mut control, fd.is_some())
}

/// Reads, and takes a descriptor that comes with it; of several the first, the kernel closes the others.
pub fn receive_with(stream: &File, bytes: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut control = Control { length: 0, level: 0, kind: 0, fd: -1 };
    let count = message(libc::SYS_recvmsg, stream, (bytes.as_mut_ptr(), bytes.len()), &mut control, true)?;
    let is_fd = control.length == CONTROL && (control.level, control.kind) == (libc::SOL_SOCKET, libc::SCM_RIGHTS);
    // SAFETY: the kernel has just given us this descriptor, nobody else owns it.
    Ok((count, is_fd.then(|| unsafe { OwnedFd::from_raw_fd(control.fd) })))
}

/// Says that nothing more will be written (shutdown(2)).
pub fn end_writing(stream: &File) {
    // SAFETY: integers.
    unsafe { libc::syscall(libc::SYS_shutdown, stream.as_raw_fd(), libc::SHUT_WR) };
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_descriptor_goes_over_a_connection_and_the_peer_is_told() {
        let (one, other) = UnixStream::pair().unwrap();
        let [one, other] = [one, other].map(|stream| File::from(OwnedFd::from(stream)));
        let (read, write) = crate::sys::pipe(nix::fcntl::OFlag::empty()).unwrap();
        let mut write = File::from(write);
        assert_eq!(send_with(&one, b"abc", Some(read.as_fd())).unwrap(), 3);
        assert_eq!(send_with(&one, b"de", None).unwrap(), 2);
        let mut bytes = [0; 8];
        let (count, fd) = receive_with(&other, &mut bytes).unwrap();
        assert_eq!(&bytes[..count], b"abc");
        write.write_all(b"x").unwrap();
        drop((read, write));
        let mut text = String::new();
        File::from(fd.unwrap()).read_to_string(&mut text).unwrap();
        assert_eq!(text, "x");
        let (count, fd) = receive_with(&other, &mut bytes).unwrap();
        assert!(&bytes[..count] == b"de" && fd.is_none());
        end_writing(&one);
        assert_eq!(receive_with(&other, &mut bytes).unwrap().0, 0);
        let peer = peer(&other).unwrap();
        assert_eq!((peer.pid as u32, peer.user), (std::process::id(), nix::unistd::geteuid().as_raw()));
    }
}
