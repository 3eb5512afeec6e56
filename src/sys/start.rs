// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The program's beginning and end, and the three descriptors it is given, without the standard library's runtime: that
//! brings a handler of stack overflows with a tree of threads, and a buffer with a lock for each of the three.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString, OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::Signal;

use super::signal::ignore_signal;

/// Makes a function that takes the arguments and gives the exit code the C library's `main`; in a static binary with a heap
/// of ours, for Rust and for the C library (opendir, realpath).
#[macro_export]
macro_rules! c_main {
    ($main:path) => {
        #[allow(unsafe_code)]
        #[no_mangle]
        extern "C" fn main(count: i32, words: *const *const core::ffi::c_char) -> i32 {
            // SAFETY: these are what the C library has given us.
            i32::from($main(unsafe { $crate::sys::begin(count, words) }))
        }

        #[cfg(target_env = "musl")]
        #[allow(unsafe_code)]
        mod heap {
            use core::ffi::c_void;

            #[global_allocator]
            static HEAP: $crate::sys::Heap = $crate::sys::Heap::new();

            #[no_mangle]
            extern "C" fn malloc(size: usize) -> *mut c_void {
                // SAFETY: any size is allowed.
                unsafe { HEAP.c_alloc(size) }.cast()
            }

            #[no_mangle]
            extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
                malloc(count.saturating_mul(size))
            }

            #[no_mangle]
            unsafe extern "C" fn free(block: *mut c_void) {
                // SAFETY: the C library frees what it was given.
                unsafe { HEAP.c_free(block.cast()) }
            }
        }
    };
}

/// What the standard library's runtime does for a program before `main`: descriptors that are closed get /dev/null, so that
/// no file of ours is taken for one of them, and writing into a closed pipe is an error instead of the end. And what a trap
/// says. Gives the arguments.
///
/// # Safety
///
/// `words` has `count` pointers to strings that end in NUL, as a C `main` gets them.
pub unsafe fn begin(count: i32, words: *const *const core::ffi::c_char) -> Vec<OsString> {
    for fd in 0..3 {
        // SAFETY: integers and a string of ours. The lowest free number is given, and those below are open by now.
        unsafe {
            if libc::syscall(libc::SYS_fcntl, fd, libc::F_GETFD) < 0 {
                libc::syscall(libc::SYS_openat, libc::AT_FDCWD, b"/dev/null\0".as_ptr(), libc::O_RDWR);
            }
        }
    }
    ignore_signal(Signal::SIGPIPE);
    super::trap::tell_traps();
    let mut arguments = Vec::new();
    for at in 0..usize::try_from(count).unwrap_or(0) {
        // SAFETY: by the contract of this function.
        let word = unsafe { CStr::from_ptr(*words.add(at)) };
        arguments.push(OsStr::from_bytes(word.to_bytes()).to_owned());
    }
    arguments
}

/// A variable of the environment that is not empty. Nothing of ours changes the environment.
pub fn variable(name: &str) -> Option<OsString> {
    // SAFETY: pointers to strings that end in NUL, the last one null; all stay where they are, as there is no thread and
    // no setenv.
    unsafe {
        let mut next = environ;
        while !(*next).is_null() {
            let entry = CStr::from_ptr(*next).to_bytes();
            if let Some([b'=', value @ ..]) = entry.strip_prefix(name.as_bytes()) {
                return (!value.is_empty()).then(|| OsStr::from_bytes(value).to_owned());
            }
            next = next.add(1);
        }
    }
    None
}

extern "C" {
    /// environ(7).
    static environ: *const *const core::ffi::c_char;
}

/// Executes a program in place of this one, with the environment that we were given; a name without a slash is looked for
/// in `PATH`. Comes back with what went wrong.
pub fn execute(words: &[CString]) -> Errno {
    let Some(name) = words.first().filter(|name| !name.as_bytes().is_empty()) else { return Errno::ENOENT };
    let mut arguments: Vec<*const core::ffi::c_char> = words.iter().map(|word| word.as_ptr()).collect();
    arguments.push(std::ptr::null());
    let name = name.as_bytes();
    let path = match name.contains(&b'/') {
        true => OsString::new(),
        // The C library's.
        false => variable("PATH").unwrap_or_else(|| "/usr/local/bin:/bin:/usr/bin".into()),
    };
    let mut failed = Errno::ENOENT;
    for dir in path.as_bytes().split(|byte| *byte == b':') {
        let slash: &[u8] = if dir.is_empty() { b"" } else { b"/" };
        let Ok(file) = CString::new([dir, slash, name].concat()) else { continue };
        // SAFETY: strings that end in NUL, and lists of them that end in null.
        let why = Errno::result(unsafe { libc::execve(file.as_ptr(), arguments.as_ptr(), environ) });
        match why {
            Err(Errno::ENOENT | Errno::ENOTDIR) => {}
            // Another directory may have one that may be executed.
            Err(Errno::EACCES) => failed = Errno::EACCES,
            Err(why) => return why,
            Ok(_) => {}
        }
    }
    failed
}

/// Ends the process at once, without destructors: nothing of ours is buffered anywhere.
pub fn exit(code: u8) -> ! {
    // SAFETY: does not come back.
    unsafe { libc::_exit(i32::from(code)) }
}

/// One of the three descriptors that every process is given.
#[derive(Clone, Copy, Debug)]
pub enum Stdio {
    /// Standard input.
    In,
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

impl Stdio {
    /// The same under a number that nothing else is put in the place of.
    pub fn again(self) -> io::Result<File> {
        // SAFETY: the kernel has just given us the descriptor, nobody else owns it.
        unsafe {
            let fd = Errno::result(libc::syscall(libc::SYS_fcntl, self as RawFd, libc::F_DUPFD_CLOEXEC, 3))?;
            Ok(File::from_raw_fd(fd as RawFd))
        }
    }
}

impl AsFd for Stdio {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: `begin` has seen to it that it is open, and nothing of ours closes it.
        unsafe { BorrowedFd::borrow_raw(*self as RawFd) }
    }
}

impl Read for Stdio {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        Ok(nix::unistd::read(*self, bytes)?)
    }
}

impl Write for Stdio {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(nix::unistd::write(*self, bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
