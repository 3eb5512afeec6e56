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
use crate::proc;
use crate::tracefs::{ProbeLock, Tracefs, PROBE_GROUP};
use crate::words;

use super::strings::NONE;

/// Fewest bytes of a buffer: guards look at words.
pub const DATA_MIN: u64 = 8;
/// Most bytes of a buffer: a probe takes arrays of 64 elements (MAX_ARRAY_LEN in kernel/trace/trace_probe.h).
pub const DATA_MAX: u64 = 512;

/// What a note begins with that tells that there are none.
pub const DATA_NOTE: &str = "buffers are not recorded";

/// Bytes of a socket address: as of a buffer, but for struct sockaddr_in6 (28), and no more than struct sockaddr_un (110).
const ADDRESS: (usize, usize) = (32, 112);
/// How many parts of a vector of buffers are told (`b1_0`, `b1_1`): C libraries write what they buffered and what is new.
const VECTOR: usize = 2;

/// The kernel makes a `symstr` in the record itself and writes a NUL 511 bytes behind its beginning, whatever room there
/// is (kernel/kallsyms.c `kallsyms_lookup_buildid`, KSYM_NAME_LEN; mended at the end of 2025): at the end of a sub-buffer
/// that is somebody else's memory, and on armv7 it was seen to bring the kernel down. So strings follow that take as much.
const PAD: &str = "..........................................................";
const PADS: usize = 9;
const _: () = assert!(PADS * (PAD.len() + 1) >= 512 && PAD.len() <= 60);

/// A probe at the return, and how many tasks may be in the function at once, most of them waiting. Those of one more are
/// not told.
const RETURN: &str = "r256:";

/// Probes: name, function, and for what memory each: a letter (see `format::contents`; capitals are filled in by the
/// call), the call's argument, the function's.
const SOURCES: &str = "write vfs_write d12;writev vfs_writev v12;sendto __sys_sendto d12 a45;\
    connect __sys_connect a12;bind __sys_bind a12;read vfs_read D12;readv vfs_readv V12;\
    recvfrom __sys_recvfrom D12 A45 n46;accept __sys_accept4 A12 n13;getsockname __sys_getsockname A12 n13;\
    getpeername __sys_getpeername A12 n13";

/// A function's arguments where `$argN` is not there: AAPCS 32.
const ARM_ARGUMENTS: [&str; 6] = ["%r0", "%r1", "%r2", "%r3", "$stack0", "$stack1"];

/// A definition in the making.
struct Definition {
    text: String,
    on_arm: bool,
    long_size: usize,
}

impl Definition {
    /// Appends a text with the name for `N`, the address for `F`, and a number for `#`.
    fn push(&mut self, template: &str, [name, from]: [&str; 2], number: usize) {
        for letter in template.chars() {
            match letter {
                'N' => self.text.push_str(name),
                'F' => self.text.push_str(from),
                '#' => self.text.push_str(&number.to_string()),
                other => self.text.push(other),
            }
        }
    }

    /// Memory of some bytes and its guards.
    fn memory(&mut self, of: [&str; 2], bytes: usize) {
        self.push(" N=+0(F):x64[#]", of, bytes / 8);
        if bytes % 8 != 0 {
            // Behind it in the record, too.
            self.push(" tN=+#", of, bytes & !7);
            self.push("(F):x8[#]", of, bytes % 8);
        }
        self.push(" hN=+0(F):symstr", of, 0);
        if bytes > self.long_size {
            self.push(" lN=+#(F):symstr", of, bytes - self.long_size);
        }
    }

    fn part(&mut self, part: &str, bytes: usize) {
        let (Some(name), Some(number)) = (part.get(..2), part.get(2..)) else { return };
        let place = words::number(number).and_then(|number| ARM_ARGUMENTS.get((number as usize).wrapping_sub(1)));
        let from = match place {
            Some(register) if self.on_arm => (*register).to_owned(),
            _ => "$arg".to_owned() + number,
        };
        let of = [name, &from];
        match part.as_bytes().first() {
            Some(b'd' | b'D') => self.memory(of, bytes),
            Some(b'a' | b'A') => self.memory(of, bytes.clamp(ADDRESS.0, ADDRESS.1)),
            Some(b'n') => self.push(" N=+0(F):symstr", of, 0),
            _ => {
                self.memory(of, 2 * VECTOR * self.long_size);
                for (nth, name) in ["b1_0", "b1_1"].into_iter().enumerate() {
                    let mut base = Definition { text: String::new(), ..*self };
                    base.push("+#(F)", of, 2 * nth * self.long_size);
                    self.memory([name, &base.text], bytes);
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
    let sources = if tracefs.has_kprobes() { SOURCES } else { "" };
    for source in sources.split(';') {
        let mut words = source.split(' ');
        let (Some(name), Some(function)) = (words.next(), words.next()) else { continue };
        // Another recorder may want more of each buffer, or less.
        let name = [name, "_", &bytes.to_string()].concat();
        // Once something could be defined at its return, it is the function that is not there.
        while at_return || !words.clone().any(|part| matches!(part.as_bytes().first(), Some(b'A' | b'D' | b'V'))) {
            let kind = if at_return { RETURN } else { "p:" };
            let text = [kind, PROBE_GROUP, "/", &name, " ", function].concat();
            let mut definition = Definition { text, on_arm, long_size: long_size.into() };
            words.clone().for_each(|part| definition.part(part, bytes as usize));
            for nth in 0..PADS {
                definition.push(" q#=\\\"F\"", ["", PAD], nth);
            }
            if tracefs.has_probe(&name) || tracefs.define(&definition.text).is_ok() {
                names.push(name);
                break;
            }
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

/// What `define` would find here; nothing where somebody else keeps the lock.
pub fn best_buffers(tracefs: &Tracefs, long_size: u8) -> &'static str {
    match ProbeLock::take(tracefs) {
        Ok(_lock) => {
            let (means, _) = define(tracefs, DATA_MIN, long_size);
            tracefs.remove_probes();
            means
        }
        Err(_) => NONE,
    }
}
