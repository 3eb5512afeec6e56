// SPDX-License-Identifier: Apache-2.0 OR MIT
//! core_pattern: what a pattern says, and the words or the path that the kernel makes of it for one dump.
//!
//! Only what ours or somebody else's handler is to get is made here as the kernel would have; ours gets numbers alone.
//! Source: core(5), kernel fs/coredump.c `format_corename` (words are divided before anything is put in; unknown letters and a
//! lone `%` at the end are left out), `cn_esc_printf` (`/` becomes `!`, and a name that would be `.` or `..` begins with it).

use crate::error::{Error, Result};

/// Longest pattern that the kernel keeps, in bytes; it cuts longer ones without a word (CORENAME_MAX_SIZE - 1).
pub const PATTERN_MAX: usize = 127;

/// What our handler is given, in this order: process and thread, signal, time, user and group, all in the numbers of the
/// machine, how the program may be dumped, its limit, and where the kernel knows them a pidfd and the processor.
const VALUES: &str = " %P %I %s %t %u %g %d %c %F %C";

/// What makes a pattern ours, behind the program's name.
const VERB: &str = "core handle";

/// Where dumps go by a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Into a file, of the dying process's root or working directory.
    File,
    /// To a program's standard input.
    Pipe,
    /// To a socket, 6.16 and later.
    Socket,
}

/// Where dumps go by this pattern.
pub fn way(pattern: &str) -> Way {
    match pattern.as_bytes().first() {
        Some(b'|') => Way::Pipe,
        Some(b'@') => Way::Socket,
        _ => Way::File,
    }
}

/// The pattern that has the kernel start this program of ours. The path may have no blank nor `%`, and it must fit.
pub fn ours(program: &str) -> Result<String> {
    if !program.starts_with('/') || program.bytes().any(|byte| byte <= b' ' || byte == b'%' || byte == 0x7f) {
        return Err(Error::usage(["the kernel can not start ", program, " by core_pattern"].concat())
            .hint("it takes an absolute path without blanks and percent signs"));
    }
    let pattern = ["|", program, " ", VERB, VALUES].concat();
    if pattern.len() > PATTERN_MAX {
        return Err(Error::limit(["core_pattern with the path ", program].concat(), PATTERN_MAX as u64)
            .hint("a shorter path, or a link to it, fits"));
    }
    Ok(pattern)
}

/// Whether a pattern is one of ours, of any version and path.
pub fn is_ours(pattern: &str) -> bool {
    let mut words = pattern.split(' ').filter(|word| !word.is_empty()).skip(1);
    way(pattern) == Way::Pipe && VERB.split(' ').all(|part| words.next() == Some(part))
}

/// The program of a pipe pattern.
pub fn program(pattern: &str) -> Option<&str> {
    pattern.strip_prefix('|')?.split(' ').find(|word| !word.is_empty())
}

/// Whether a pattern asks for `%` and this letter.
pub fn has_letter(pattern: &str, letter: u8) -> bool {
    let mut bytes = pattern.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' && bytes.next() == Some(letter) {
            return true;
        }
    }
    false
}

/// What a pattern's letters stand for in one dump.
#[derive(Clone, Debug, Default)]
pub struct Values {
    /// `%P`, and `%p` as the process itself knows it.
    pub pid: [u64; 2],
    /// `%I` and `%i`, the same of the thread.
    pub tid: [u64; 2],
    /// `%u`
    pub user: u64,
    /// `%g`
    pub group: u64,
    /// `%s`
    pub signal: u64,
    /// `%t`
    pub time: u64,
    /// `%d`
    pub mode: u64,
    /// `%c`
    pub limit: u64,
    /// `%C`; `None` where the kernel does not know the letter.
    pub cpu: Option<u64>,
    /// `%F`, of a pipe's words alone; likewise.
    pub pidfd: Option<u64>,
    /// `%h`
    pub host: Vec<u8>,
    /// `%e`
    pub comm: Vec<u8>,
    /// `%E`, with its slashes.
    pub exe: Vec<u8>,
}

/// Puts a name in so that it is no path.
fn put_name(out: &mut Vec<u8>, name: &[u8]) {
    let first = out.len();
    if name.is_empty() {
        out.push(b'!');
    }
    out.extend(name.iter().map(|byte| if *byte == b'/' { b'!' } else { *byte }));
    if matches!(name, b"." | b"..") {
        if let Some(byte) = out.get_mut(first) {
            *byte = b'!';
        }
    }
}

/// The words of a pipe pattern, or the one path of a file pattern, for one dump. `appends_pid`: core_uses_pid.
pub fn expand(pattern: &str, values: &Values, appends_pid: bool) -> Vec<Vec<u8>> {
    let is_pipe = way(pattern) == Way::Pipe;
    let mut bytes = pattern.bytes().skip(usize::from(is_pipe));
    let (mut words, mut word) = (Vec::new(), Vec::new());
    let (mut has_pid, mut begun) = (false, false);
    while let Some(byte) = bytes.next() {
        // What the kernel's isspace takes for one.
        if is_pipe && matches!(byte, b' ' | b'\t'..=b'\r' | 0xa0) {
            // The first word is one as soon as something is in it.
            if begun && !(words.is_empty() && word.is_empty()) {
                words.push(std::mem::take(&mut word));
                begun = false;
            }
            continue;
        }
        begun = true;
        if byte != b'%' {
            word.push(byte);
            continue;
        }
        let Some(letter) = bytes.next() else { break };
        let number = match letter {
            b'p' => values.pid[1],
            b'P' => values.pid[0],
            b'i' => values.tid[1],
            b'I' => values.tid[0],
            b'u' => values.user,
            b'g' => values.group,
            b's' => values.signal,
            b't' => values.time,
            b'd' => values.mode,
            b'c' => values.limit,
            b'C' if values.cpu.is_some() => values.cpu.unwrap_or_default(),
            b'F' if is_pipe && values.pidfd.is_some() => values.pidfd.unwrap_or_default(),
            other => {
                match other {
                    b'%' => word.push(b'%'),
                    b'h' => put_name(&mut word, &values.host),
                    b'e' => put_name(&mut word, &values.comm),
                    b'E' => put_name(&mut word, &values.exe),
                    b'f' => {
                        let last = values.exe.rsplit(|byte| *byte == b'/').next();
                        put_name(&mut word, last.unwrap_or_default());
                    }
                    _ => {}
                }
                continue;
            }
        };
        has_pid |= matches!(letter, b'p');
        word.extend_from_slice(number.to_string().as_bytes());
    }
    if !is_pipe && !has_pid && appends_pid {
        word.push(b'.');
        word.extend_from_slice(values.pid[1].to_string().as_bytes());
        begun = true;
    }
    if begun {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> Values {
        Values {
            pid: [4711, 7],
            tid: [4712, 8],
            user: 1000,
            group: 100,
            signal: 11,
            time: 1_700_000_000,
            mode: 1,
            limit: u64::MAX,
            cpu: Some(3),
            pidfd: Some(3),
            host: b"a host/..".to_vec(),
            comm: b"..".to_vec(),
            exe: b"/usr/bin/a b".to_vec(),
        }
    }

    fn texts(pattern: &str, appends_pid: bool) -> Vec<String> {
        expand(pattern, &values(), appends_pid).into_iter().map(|word| String::from_utf8(word).unwrap()).collect()
    }

    #[test]
    fn a_pattern_becomes_what_the_kernel_makes_of_it() {
        assert_eq!(texts("core", false), ["core"]);
        assert_eq!(texts("core", true), ["core.7"]);
        assert_eq!(texts("core.%p", true), ["core.7"]);
        assert_eq!(texts("core.%P", true), ["core.4711.7"], "only the small letter counts");
        assert_eq!(texts("/c/%e.%E.%f.%h.%%.%z.%", false), ["/c/!..!usr!bin!a b.a b.a host!...%.."]);
        // Systemd's, and one whose names have blanks.
        let systemd = "|/lib/systemd/systemd-coredump %P %u %g %s %t 9223372036854775808 %h %d %F";
        let words = texts(systemd, true);
        assert_eq!(words[1..6], ["4711", "1000", "100", "11", "1700000000"]);
        assert_eq!(words[7..], ["a host!..", "1", "3"]);
        assert_eq!(texts("|/x  %f\t%q\u{b}%c ", false), ["/x", "a b", "", "18446744073709551615"]);
        assert_eq!(texts("|/x %C %F%", false), ["/x", "3", "3"]);
        assert_eq!(texts("|%z /x %", false), ["/x", ""], "the first word is not empty, the last one may be");
        assert_eq!(
            (texts("", true), texts("", false), texts("c%F.%C", false)),
            (vec![".7".into()], vec![], vec!["c.3".into()])
        );
        // Of a kernel that knows neither a processor nor a pidfd.
        let old = Values { cpu: None, pidfd: None, ..values() };
        let words = expand("|/x %C %F %s", &old, false);
        assert_eq!(words, [&b"/x"[..], b"", b"", b"11"]);
        for (pattern, has) in [("|/x %F", true), ("%%F", false), ("F%", false), ("%%%F", true), ("%P%", false)] {
            assert_eq!(has_letter(pattern, b'F'), has, "{pattern}");
        }
    }

    #[test]
    fn ours_is_known_whatever_its_path_and_fits() {
        let pattern = ours("/usr/bin/ftrace-analyzer").unwrap();
        assert!(is_ours(&pattern) && pattern.len() <= PATTERN_MAX && way(&pattern) == Way::Pipe);
        assert_eq!(program(&pattern), Some("/usr/bin/ftrace-analyzer"));
        assert_eq!(expand(&pattern, &values(), true).len(), 13);
        for other in ["core", "|/bin/core handle", "|/x handle core", "@/run/core handle", "|", ""] {
            assert!(!is_ours(other), "{other}");
        }
        for bad in ["relative", "/with blank", "/per%cent", "/line\nbreak"] {
            assert!(ours(bad).is_err(), "{bad}");
        }
        assert!(ours(&["/", &"x".repeat(90)].concat()).unwrap_err().to_string().contains("127"));
    }
}
