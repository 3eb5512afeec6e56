// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How the contents of buffers and socket addresses get into the recording (`--data N`): probes of kernel functions.
//!
//! Best at the function's return, where what a read filled in is there and what a write took has its page; that needs
//! the arguments of the call at its return (6.9 and later, not on 32-bit ARM). Else at its beginning: writes, and
//! addresses that programs give.
//!
//! A probe that finds no memory leaves in its record what the ring held before (kernel/trace/trace_probe_tmpl.h
//! `process_fetch_insn_bottom` looks at no error of FETCH_OP_ST_MEM). So each piece of memory has two guards, which are
//! strings (`symstr`, 6.3 and later, and in 6.1's stable releases) made of the word at its beginning and of the one at its
//! end: one that could not be made is seen as such, see `format::contents`. N bytes are on two pages at most.

use crate::arch::Arch;
use crate::error::Result;
use crate::proc;
use crate::tracefs::{ProbeLock, Tracefs, PROBE_GROUP};

use super::strings::NONE;

/// Fewest bytes of a buffer: guards look at words.
pub const DATA_MIN: u64 = 8;
/// Most bytes of a buffer: a probe takes arrays of 64 elements (MAX_ARRAY_LEN in kernel/trace/trace_probe.h).
pub const DATA_MAX: u64 = 512;

/// What a note begins with that tells that there are none.
pub const DATA_NOTE: &str = "buffers are not recorded";

/// Bytes of a socket address: all of the longest usual one, struct sockaddr_un, and two.
const ADDRESS: usize = 112;
/// How many parts of a vector of buffers are told: C libraries write what they buffered and what is new.
const VECTOR: usize = 2;

/// A probe at the return, and how many tasks may be in the function at once, most of them waiting. Those of one more are
/// not told.
const RETURN: &str = "r256:";

/// Name of the probe, function, and for what memory there is: a letter (see `format::contents`; capitals are filled in
/// by the call), the call's argument, the function's.
#[rustfmt::skip]
static SOURCES: [(&str, &str, &str); 11] = [
    ("write", "vfs_write", "d12"), ("writev", "vfs_writev", "v12"), ("sendto", "__sys_sendto", "d12 a45"),
    ("connect", "__sys_connect", "a12"), ("bind", "__sys_bind", "a12"),
    ("read", "vfs_read", "D12"), ("readv", "vfs_readv", "V12"), ("recvfrom", "__sys_recvfrom", "D12 A45 n46"),
    ("accept", "__sys_accept4", "A12 n13"), ("getsockname", "__sys_getsockname", "A12 n13"),
    ("getpeername", "__sys_getpeername", "A12 n13"),
];

/// A function's arguments where `$argN` is not there: AAPCS 32.
const ARM_ARGUMENTS: [&str; 6] = ["%r0", "%r1", "%r2", "%r3", "$stack0", "$stack1"];

/// A definition in the making.
struct Definition {
    text: String,
    on_arm: bool,
    long_size: usize,
}

impl Definition {
    fn push(&mut self, parts: &[&str]) {
        self.text.push_str(&parts.concat());
    }

    /// Memory of some bytes and its guards.
    fn memory(&mut self, name: &str, from: &str, bytes: usize) {
        let (words, rest) = (bytes / 8, bytes % 8);
        self.push(&[" ", name, "=+0(", from, "):x64[", &words.to_string(), "]"]);
        if rest != 0 {
            // Behind it in the record, too.
            self.push(&[" t", name, "=+", &(words * 8).to_string(), "(", from, "):x8[", &rest.to_string(), "]"]);
        }
        self.push(&[" h", name, "=+0(", from, "):symstr"]);
        if bytes > self.long_size {
            self.push(&[" l", name, "=+", &(bytes - self.long_size).to_string(), "(", from, "):symstr"]);
        }
    }

    fn memories(&mut self, parts: &str, bytes: usize) {
        for part in parts.split(' ') {
            let (Some(name), Some(number)) = (part.get(..2), part.get(2..)) else { continue };
            let register = number.parse().ok().and_then(|number: usize| ARM_ARGUMENTS.get(number.wrapping_sub(1)));
            let from = match register {
                Some(register) if self.on_arm => (*register).to_owned(),
                _ => ["$arg", number].concat(),
            };
            match part.as_bytes().first() {
                Some(b'd' | b'D') => self.memory(name, &from, bytes),
                Some(b'a' | b'A') => self.memory(name, &from, ADDRESS),
                Some(b'n') => self.push(&[" ", name, "=+0(", &from, "):symstr"]),
                _ => {
                    self.memory(name, &from, 2 * VECTOR * self.long_size);
                    for nth in 0..VECTOR {
                        let base = ["+", &(2 * nth * self.long_size).to_string(), "(", &from, ")"].concat();
                        self.memory(&["b1_", &nth.to_string()].concat(), &base, bytes);
                    }
                }
            }
        }
    }
}

/// Defines probes for `bytes` bytes of each buffer, and gives their names. `long_size` is that of the kernel's words,
/// in bytes. The means, as meta.json names it: `returns`, `entries`, or `none`.
pub(super) fn define(tracefs: &Tracefs, bytes: u64, long_size: u8) -> (&'static str, Vec<String>) {
    let mut names = Vec::new();
    let on_arm = proc::uname().0 == Some(Arch::Arm);
    let mut at_return = !on_arm;
    let sources = if tracefs.has_kprobes() { SOURCES.as_slice() } else { &[] };
    for (name, function, parts) in sources {
        // Another recorder may want more of each buffer, or less.
        let name = [name, "_", &bytes.to_string()].concat();
        loop {
            if !at_return && parts.starts_with(char::is_uppercase) {
                break;
            }
            let kind = if at_return { RETURN } else { "p:" };
            let text = [kind, PROBE_GROUP, "/", &name, " ", function].concat();
            let mut definition = Definition { text, on_arm, long_size: long_size.into() };
            definition.memories(parts, bytes as usize);
            // Every string has another one behind it.
            definition.push(&[" c=$comm:string"]);
            if tracefs.has_probe(&name) || tracefs.define(&definition.text).is_ok() {
                names.push(name);
                break;
            }
            // Once something could be defined at its return, it is the function that is not there.
            if !at_return || !names.is_empty() {
                break;
            }
            at_return = false;
        }
    }
    let means = match (names.is_empty(), at_return) {
        (true, _) => NONE,
        (_, true) => "returns",
        (_, false) => "entries",
    };
    (means, names)
}

/// What [`define`] would find here.
pub fn best_buffers(tracefs: &Tracefs, long_size: u8) -> Result<&'static str> {
    if !tracefs.has_kprobes() {
        return Ok(NONE);
    }
    let lock = ProbeLock::take(tracefs)?;
    let (means, _) = define(tracefs, DATA_MIN, long_size);
    tracefs.remove_probes();
    drop(lock);
    Ok(means)
}
