// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How the contents of buffers and socket addresses get into the recording (`--data N`): probes of kernel functions.
//!
//! Best at the function's return, where what a read filled in is there and what a write took has its page; that needs
//! the arguments of the call at its return (6.9 and later, not on 32-bit ARM). Else at its beginning: writes, and
//! addresses that programs give.
//!
//! A probe that finds no memory leaves in its record what the ring held before (kernel/trace/trace_probe_tmpl.h
//! `process_fetch_insn_bottom` looks at no error of FETCH_OP_ST_MEM). So each piece of memory has two guards, which are
//! strings of the word at its beginning and of the one at its end: a string that could not be fetched is seen as such.
//! What `format::Contents` makes of them is told there. N bytes are on two pages at most.

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

/// How many tasks may be in a function at once, most of them waiting. Those of one more are not told.
const ACTIVE: &str = "256";

/// Name of the probe, function, and for what memory there is: a letter (see `format::contents`; capitals are filled in
/// by the call), the call's argument, the function's.
#[rustfmt::skip]
static SOURCES: [(&str, &str, &[u8]); 11] = [
    ("write", "vfs_write", b"d12"), ("writev", "vfs_writev", b"v12"), ("sendto", "__sys_sendto", b"d12a45"),
    ("connect", "__sys_connect", b"a12"), ("bind", "__sys_bind", b"a12"),
    ("read", "vfs_read", b"D12"), ("readv", "vfs_readv", b"V12"), ("recvfrom", "__sys_recvfrom", b"D12A45n46"),
    ("accept", "__sys_accept4", b"A12n13"), ("getsockname", "__sys_getsockname", b"A12n13"),
    ("getpeername", "__sys_getpeername", b"A12n13"),
];

/// A function's arguments where `$argN` is not there: AAPCS 32.
const ARM_ARGUMENTS: [&str; 6] = ["%r0", "%r1", "%r2", "%r3", "$stack0", "$stack1"];

/// How a probe is made on this kernel.
#[derive(Clone, Copy)]
struct Way {
    /// At the function's return.
    at_return: bool,
    /// Guards are `symstr` (6.3 and later).
    has_words: bool,
}

/// Best first.
const WAYS: [Way; 3] = [
    Way { at_return: true, has_words: true },
    Way { at_return: false, has_words: true },
    Way { at_return: false, has_words: false },
];

/// A definition in the making.
struct Definition {
    text: String,
    way: Way,
    on_arm: bool,
    long_size: usize,
}

impl Definition {
    /// A word as the guard `name`. Without `symstr` the string that it is the address of, and a number that leads away
    /// from what there is: a guard that found its word fails a step later than one that did not.
    fn guard(&mut self, letters: [char; 2], name: &str, at: usize, from: &str) {
        let [word, string] = letters;
        self.text.push_str(&match self.way.has_words {
            true => format!(" {word}{name}=+{at}({from}):symstr"),
            false => format!(" {string}{name}=+0x25555555(+{at}({from})):ustring"),
        });
    }

    /// Memory of some bytes and its guards.
    fn memory(&mut self, name: &str, from: &str, bytes: usize) {
        let (words, rest) = (bytes / 8, bytes % 8);
        self.text.push_str(&format!(" {name}=+0({from}):x64[{words}]"));
        if rest != 0 {
            // Behind it in the record, too.
            self.text.push_str(&format!(" t{name}=+{}({from}):x8[{rest}]", words * 8));
        }
        self.guard(['h', 'g'], name, 0, from);
        if bytes > self.long_size {
            self.guard(['l', 'm'], name, bytes - self.long_size, from);
        }
    }

    fn argument(&self, number: u8) -> String {
        match ARM_ARGUMENTS.get(usize::from(number.wrapping_sub(b'1'))) {
            Some(register) if self.on_arm => (*register).to_owned(),
            _ => format!("$arg{}", char::from(number)),
        }
    }

    fn memories(&mut self, parts: &[u8], bytes: usize) {
        for part in parts.chunks_exact(3) {
            let &[letter, of, number] = part else { continue };
            let (letter, of, from) = (char::from(letter), char::from(of), self.argument(number));
            let name = format!("{letter}{of}");
            match letter {
                'd' | 'D' => self.memory(&name, &from, bytes),
                'a' | 'A' => self.memory(&name, &from, ADDRESS),
                'n' => self.text.push_str(&format!(" {name}=+0({from}):symstr")),
                _ => {
                    self.memory(&name, &from, 2 * VECTOR * self.long_size);
                    for nth in 0..VECTOR {
                        self.memory(&format!("b{of}_{nth}"), &format!("+{}({from})", 2 * nth * self.long_size), bytes);
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
    let mut ways = WAYS.get(usize::from(on_arm)..).unwrap_or_default();
    if !tracefs.has_kprobes() {
        return (NONE, names);
    }
    for (name, function, parts) in SOURCES {
        // Another recorder may want more of each buffer, or less.
        let name = format!("{name}_{bytes}");
        let filled = parts.first().is_some_and(u8::is_ascii_uppercase);
        loop {
            let Some(&way) = ways.first().filter(|way| way.at_return || !filled) else { break };
            let kind = if way.at_return { format!("r{ACTIVE}") } else { "p".to_owned() };
            let text = format!("{kind}:{PROBE_GROUP}/{name} {function}");
            let mut definition = Definition { text, way, on_arm, long_size: long_size.into() };
            if !way.has_words {
                // What a guard leaves that did not find its word: this one never does.
                definition.text.push_str(" w=+0(+0(\\8)):ustring");
            }
            definition.memories(parts, bytes as usize);
            // Every string has another one behind it.
            definition.text.push_str(" c=$comm:string");
            if tracefs.has_probe(&name) || tracefs.define(&definition.text).is_ok() {
                names.push(name);
                break;
            }
            // Once something could be defined that way, it is the function that is not there.
            match ways.get(1..) {
                Some(others) if names.is_empty() => ways = others,
                _ => break,
            }
        }
    }
    let means = match ways.first() {
        Some(way) if !names.is_empty() => {
            if way.at_return {
                "returns"
            } else {
                "entries"
            }
        }
        _ => NONE,
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
