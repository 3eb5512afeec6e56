// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What recorders write into `trace_marker`, so that it stands among the kernel's events in its place by time.
//!
//! A thread that came into the container from outside: `ftrace-analyzer: join TID TGID setup COMM`, or `late` in place of
//! `setup` where it runs a program of the container's already. Written before the kernel is told to record the thread. If
//! that was too late, `missed` follows.

use crate::ids::Pid;

/// What begins the mark of a thread that joined.
pub const JOIN: &str = "ftrace-analyzer: join ";

/// How far a thread was that joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It was the runtime still, and becomes the container's by execve.
    SetUp,
    /// It ran a program of the container's already.
    Late,
    /// It ended before it could be recorded.
    Missed,
}

/// A thread that joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joined<'a> {
    /// The thread.
    pub tid: Pid,
    /// Its process.
    pub tgid: Pid,
    /// How far it was.
    pub seen: Seen,
    /// Its name.
    pub comm: &'a [u8],
}

/// Takes what stands before the next blank; `None` where there is none.
fn word<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = rest.iter().position(|byte| *byte == b' ')?;
    let (word, behind) = (rest.get(..end)?, rest.get(end + 1..)?);
    *rest = behind;
    Some(word)
}

fn pid(rest: &mut &[u8]) -> Option<Pid> {
    let pid = core::str::from_utf8(word(rest)?).ok().and_then(crate::words::number)?;
    Pid::try_from(pid).ok().filter(|pid| *pid > 0)
}

impl<'a> Joined<'a> {
    /// Reads a mark; `None` for another text.
    pub fn parse(text: &'a [u8]) -> Option<Joined<'a>> {
        let mut rest = text.strip_prefix(JOIN.as_bytes())?;
        let (tid, tgid) = (pid(&mut rest)?, pid(&mut rest)?);
        let seen = match word(&mut rest)? {
            b"setup" => Seen::SetUp,
            b"late" => Seen::Late,
            b"missed" => Seen::Missed,
            _ => return None,
        };
        // The kernel ends every text with a newline.
        Some(Joined { tid, tgid, seen, comm: rest.strip_suffix(b"\n").unwrap_or(rest) })
    }
}

/// Whether this is the path by which a runtime executes itself, or a copy of itself, once more when its process is in the
/// container already (runc from 1.4 on, whose process is made in the control group).
pub fn is_again(filename: &[u8]) -> bool {
    let path = filename.strip_prefix(b"/").unwrap_or_default();
    path.starts_with(b"proc/") || path.starts_with(b"dev/fd/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_read_as_they_are_written() {
        let joined = Joined { tid: 12, tgid: 11, seen: Seen::SetUp, comm: b"runc:[2:INIT]" };
        assert_eq!(Joined::parse(b"ftrace-analyzer: join 12 11 setup runc:[2:INIT]\n"), Some(joined));
        let joined = Joined { seen: Seen::Late, comm: b"a b\n", ..joined };
        assert_eq!(Joined::parse(b"ftrace-analyzer: join 12 11 late a b\n\n"), Some(joined));
        assert_eq!(Joined::parse(b"ftrace-analyzer: join 12 11 late ").map(|joined| joined.comm), Some(&b""[..]));
    }

    #[test]
    fn other_texts_are_no_marks() {
        for text in [
            "",
            "hello",
            "ftrace-analyzer: join ",
            "ftrace-analyzer: join 12 11 setup",
            "ftrace-analyzer: join 12 11 never x",
            "ftrace-analyzer: join 0 11 late x",
            "ftrace-analyzer: join 12 99999999999 late x",
            "ftrace-analyzer: join -1 11 late x",
            "ftrace-analyzer: leave 12 11 late x",
        ] {
            assert_eq!(Joined::parse(text.as_bytes()), None, "{text}");
        }
    }
}
