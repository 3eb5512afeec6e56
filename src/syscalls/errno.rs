// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a failed call's error number is called and means.
//!
//! All ABIs here use the numbers of asm-generic/errno.h. Texts are those of glibc's strerror, as strace prints them.
//! Beside them stand the numbers from 512 on that the kernel keeps for itself (include/linux/errno.h): a program never
//! sees them, but `sys_exit` fires before the signal code replaces `ERESTARTSYS` and its kin by a restart or `EINTR`.

use super::errno_table::{INTERNAL, LAST, STARTS, WORDS};

/// `ENOENT` for 2, in constant time; the sign is the caller's to remove. `None` for 0 and for what is no error number.
pub fn errno_name(errno: i32) -> Option<&'static str> {
    WORDS.word(STARTS, place(errno)?)
}

/// `No such file or directory` for 2, in constant time. Every number with a name has a text.
pub fn errno_text(errno: i32) -> Option<&'static str> {
    WORDS.word(STARTS, place(errno)?.checked_add(1)?)
}

/// 2 for `ENOENT`; the numbers that the kernel keeps for itself are not looked for.
pub fn errno_number(name: &str) -> Option<i32> {
    (1..=LAST as i32).find(|errno| errno_name(*errno) == Some(name))
}

/// Index of the name of `errno`; its text follows.
fn place(errno: i32) -> Option<usize> {
    let nr = usize::try_from(errno).ok()?;
    let row = if nr <= LAST { nr } else { nr.checked_sub(INTERNAL)?.checked_add(LAST + 1)? };
    row.checked_mul(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_the_name_and_text_strace_prints() {
        for (errno, name, text) in [
            (1, "EPERM", "Operation not permitted"),
            (2, "ENOENT", "No such file or directory"),
            (11, "EAGAIN", "Resource temporarily unavailable"),
            (13, "EACCES", "Permission denied"),
            (35, "EDEADLK", "Resource deadlock avoided"),
            (38, "ENOSYS", "Function not implemented"),
            (95, "EOPNOTSUPP", "Operation not supported"),
            (110, "ETIMEDOUT", "Connection timed out"),
            (133, "EHWPOISON", "Memory page has hardware error"),
            (512, "ERESTARTSYS", "To be restarted if SA_RESTART is set"),
            (513, "ERESTARTNOINTR", "To be restarted"),
            (514, "ERESTARTNOHAND", "To be restarted if no handler"),
            (516, "ERESTART_RESTARTBLOCK", "Interrupted by signal"),
            (531, "ENOGRACE", "NFS lock reclaim refused"),
        ] {
            assert_eq!((errno_name(errno), errno_text(errno)), (Some(name), Some(text)));
        }
        assert_eq!(errno_name(515), Some("ENOIOCTLCMD"));
        assert_eq!(errno_name(524), Some("ENOTSUPP"));
    }

    #[test]
    fn every_name_has_a_text_and_numbers_in_between_have_neither() {
        let named = (0..5000).filter(|errno| errno_name(*errno).is_some()).count();
        assert!(named >= 130 + 19, "{named}");
        for errno in 0..5000 {
            assert_eq!(errno_name(errno).is_some(), errno_text(errno).is_some(), "{errno}");
        }
        // 41 and 58 were EWOULDBLOCK and EDEADLOCK; 520 was never given.
        for errno in [0, 41, 58, 135, 511, 520, 532, 4095, -1, -2, -512, i32::MIN, i32::MAX] {
            assert_eq!(errno_name(errno), None, "{errno}");
        }
    }

    #[test]
    fn this_systems_libc_agrees_on_the_texts() {
        // An older or another libc (musl) words some differently; a handful that never changed anywhere suffices.
        for errno in [1, 2, 13] {
            let libc = std::io::Error::from_raw_os_error(errno).to_string();
            assert!(errno_text(errno).is_some_and(|ours| libc.starts_with(ours)), "{errno}: {libc}");
        }
    }
}
