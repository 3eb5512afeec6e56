// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A call's arguments as strace prints them: which are printed, in which order, with what is known of what they point at.
//!
//! What each one is, `syscalls` knows; what its bits look like, [`values`](super::values). strace 6.1 is the model:
//! `tests/strace_compare.rs` holds one against the other.

use super::out::push_hexes;
use super::values::{push_value, Context};
use crate::calls::{Call, Text, Texts};
use crate::syscalls::arguments;

/// The registers as wide as the ABI's are.
#[inline]
pub(crate) fn registers(call: &Call) -> [u64; 6] {
    let mask = if call.abi.is_32bit() { u64::from(u32::MAX) } else { u64::MAX };
    let mut args = call.args;
    for arg in &mut args {
        *arg &= mask;
    }
    args
}

/// Appends the arguments with commas between them; all registers of a call whose arguments are not known.
pub(crate) fn push_args(buf: &mut Vec<u8>, call: &Call, texts: &Texts) {
    let Some(found) = arguments(call.abi, call.nr, &call.args) else {
        push_hexes(buf, &registers(call), b", ");
        return;
    };
    let list = found.as_slice();
    for (at, argument) in list.iter().enumerate() {
        if at != 0 {
            buf.extend_from_slice(b", ");
        }
        if found.named {
            buf.extend_from_slice(argument.name().as_bytes());
            buf.push(b'=');
        }
        push_value(buf, argument, &Context { call, texts, next: list.get(at + 1) });
    }
}

/// What became known of memory behind the call's beginning; other arguments are left out.
pub(crate) fn push_late(buf: &mut Vec<u8>, call: &Call, texts: &Texts) {
    let Some(found) = arguments(call.abi, call.nr, &call.args) else { return };
    let list = found.as_slice();
    let begun = buf.len();
    let is_memory = |text| matches!(text, Text::Data(_) | Text::Address { .. } | Text::Piece { .. });
    for (at, argument) in list.iter().enumerate() {
        if !texts.of(argument.register).any(is_memory) {
            continue;
        }
        if buf.len() != begun {
            buf.extend_from_slice(b", ");
        }
        push_value(buf, argument, &Context { call, texts, next: list.get(at + 1) });
    }
}

/// Gives `take` the name and the text of each argument in turn; false where they are not known. `scratch` is used for
/// the text.
pub(crate) fn each(
    call: &Call,
    texts: &Texts,
    scratch: &mut Vec<u8>,
    take: &mut dyn FnMut(&'static str, &[u8]),
) -> bool {
    let Some(found) = arguments(call.abi, call.nr, &call.args) else { return false };
    let list = found.as_slice();
    for (at, argument) in list.iter().enumerate() {
        scratch.clear();
        push_value(scratch, argument, &Context { call, texts, next: list.get(at + 1) });
        take(argument.name(), scratch);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Abi;
    use crate::calls::End;
    use crate::syscalls::number;
    use crate::tasks::Comm;

    fn call(abi: Abi, name: &str, args: &[u64], ret: i64) -> Call {
        let mut all = [0; 6];
        all[..args.len()].copy_from_slice(args);
        Call {
            entered: 0,
            ended: 0,
            ret,
            args: all,
            nr: number(abi, name).unwrap(),
            pid: 1,
            tgid: 1,
            comm: Comm::default(),
            abi,
            end: End::Returned,
            uncertain: false,
            runtime: false,
        }
    }

    fn shown(abi: Abi, name: &str, args: &[u64]) -> String {
        shown_with(abi, name, args, 0, &Texts::default())
    }

    fn shown_with(abi: Abi, name: &str, args: &[u64], ret: i64, texts: &Texts) -> String {
        let mut buf = Vec::new();
        push_args(&mut buf, &call(abi, name, args, ret), texts);
        String::from_utf8(buf).unwrap()
    }

    const X86: Abi = Abi::X86_64;
    const MINUS: u64 = u64::MAX;

    #[test]
    fn arguments_look_as_strace_prints_them() {
        for (name, args, expected) in [
            ("openat", &[0xffff_ff9c, 0x1000, 0x80000][..], "AT_FDCWD, 0x1000, O_RDONLY|O_CLOEXEC"),
            ("openat", &[3, 0x1000, 0x241, 0o644], "3, 0x1000, O_WRONLY|O_CREAT|O_TRUNC, 0644"),
            (
                "mmap",
                &[0, 8192, 3, 0x22, 0xffff_ffff, 0],
                "NULL, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0",
            ),
            (
                "mmap",
                &[0x7000, 1, 0, 0x812, 3, 0x1000],
                "0x7000, 1, PROT_NONE, MAP_PRIVATE|MAP_FIXED|MAP_DENYWRITE, 3, 0x1000",
            ),
            (
                "mmap",
                &[0, 1, 1, 0x5404_0022, 0, 0],
                "NULL, 1, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_HUGETLB|21<<MAP_HUGE_SHIFT, 0, 0",
            ),
            (
                "clone",
                &[0x120_0011, 0, 0, 0x7f00, 0],
                "child_stack=NULL, flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD, child_tidptr=0x7f00",
            ),
            ("clone", &[17, 0], "child_stack=NULL, flags=SIGCHLD"),
            ("futex", &[16, 0x80, 2, 0], "0x10, FUTEX_WAIT_PRIVATE, 2, NULL"),
            (
                "futex",
                &[16, 0x189, 2, 0, 0, 0xffff_ffff],
                "0x10, FUTEX_WAIT_BITSET_PRIVATE|FUTEX_CLOCK_REALTIME, 2, NULL, FUTEX_BITSET_MATCH_ANY",
            ),
            ("kill", &[MINUS, 9], "-1, SIGKILL"),
            ("rt_sigaction", &[34, 0, 0, 8], "SIGRT_2, NULL, NULL, 8"),
            ("lseek", &[3, MINUS, 1], "3, -1, SEEK_CUR"),
            ("socket", &[2, 0x80801, 6], "AF_INET, SOCK_STREAM|SOCK_CLOEXEC|SOCK_NONBLOCK, IPPROTO_TCP"),
            ("socket", &[16, 3, 15], "AF_NETLINK, SOCK_RAW, NETLINK_KOBJECT_UEVENT"),
            ("socket", &[1, 1, 0], "AF_UNIX, SOCK_STREAM, 0"),
            ("setsockopt", &[3, 1, 2, 0x10, 4], "3, SOL_SOCKET, SO_REUSEADDR, 0x10, 4"),
            ("setsockopt", &[3, 6, 1, 0x10, 4], "3, SOL_TCP, TCP_NODELAY, 0x10, 4"),
            ("ioctl", &[0, 0x5413, 0x20], "0, TIOCGWINSZ, 0x20"),
            ("ioctl", &[0, 0xc004_7a05, 0], "0, _IOC(_IOC_READ|_IOC_WRITE, 0x7a, 0x5, 0x4), 0"),
            ("fcntl", &[3, 2, 1], "3, F_SETFD, FD_CLOEXEC"),
            ("fcntl", &[3, 4, 0x802], "3, F_SETFL, O_RDWR|O_NONBLOCK"),
            ("fcntl", &[3, 1], "3, F_GETFD"),
            ("fcntl", &[3, 99, 7], "3, 0x63, 0x7"),
            ("prctl", &[38, 1, 0, 0, 0], "PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0"),
            ("prctl", &[1, 9], "PR_SET_PDEATHSIG, SIGKILL"),
            ("clock_gettime", &[0xffff_ffd2, 0], "MAKE_PROCESS_CPUCLOCK(5, CPUCLOCK_SCHED), NULL"),
            ("mknod", &[16, 0o020_644, 0x501], "0x10, S_IFCHR|0644, makedev(0x5, 0x1)"),
            ("chmod", &[16, 0], "0x10, 000"),
            ("chown", &[16, 0xffff_ffff, 0], "0x10, -1, 0"),
            ("shmget", &[0, 4096, 0o1600], "IPC_PRIVATE, 4096, IPC_CREAT|0600"),
            ("personality", &[0xffff_ffff], "0xffffffff"),
            ("personality", &[0x40000], "PER_LINUX|ADDR_NO_RANDOMIZE"),
            ("wait4", &[MINUS, 0, 1, 0], "-1, NULL, WNOHANG, NULL"),
            ("brk", &[0], "NULL"),
            ("getpid", &[5, 5], ""),
            ("umask", &[0o22], "022"),
            (
                "statx",
                &[0xffff_ff9c, 16, 0x100, 0xfff, 32],
                "AT_FDCWD, 0x10, AT_STATX_SYNC_AS_STAT|AT_SYMLINK_NOFOLLOW, STATX_ALL, 0x20",
            ),
        ] {
            assert_eq!(shown(X86, name, args), expected, "{name}");
        }
        assert_eq!(shown(Abi::I386, "socketcall", &[1, 32]), "SYS_SOCKET, 0x20");
        assert_eq!(
            shown(Abi::I386, "mmap2", &[0, 1, 1, 2, 3, 0xf_ffff]),
            "NULL, 1, PROT_READ, MAP_PRIVATE, 3, 0xfffff000"
        );
        assert_eq!(
            shown(Abi::Arm, "openat", &[0xffff_ff9c, 16, 0x24000]),
            "AT_FDCWD, 0x10, O_RDONLY|O_LARGEFILE|O_DIRECTORY"
        );
        assert_eq!(shown(Abi::I386, "semctl", &[1, 0, 0x100, 0]), "1, 0, IPC_64|IPC_RMID, NULL");
    }

    #[test]
    fn what_memory_held_stands_in_place_of_its_address() {
        let mut texts = Texts::default();
        texts.push(0, Text::Target(b"/tmp"));
        texts.push(1, Text::String { bytes: b"a\"\\\n\x1b7\x1bx\xff", cut: false });
        assert_eq!(
            shown_with(X86, "openat", &[3, 16, 0], 5, &texts),
            "3</tmp>, \"a\\\"\\\\\\n\\0337\\33x\\377\", O_RDONLY"
        );
        texts.clear();
        texts.push(0, Text::String { bytes: b"/bin/ls", cut: true });
        texts.push(1, Text::Element { bytes: b"ls", cut: false });
        texts.push(1, Text::Element { bytes: b"", cut: false });
        assert_eq!(shown_with(X86, "execve", &[16, 32, 48], 0, &texts), "\"/bin/ls\"..., [\"ls\", \"\"], 0x30");
        texts.push(1, Text::MoreElements);
        assert_eq!(shown_with(X86, "execve", &[16, 32, 48], 0, &texts), "\"/bin/ls\"..., [\"ls\", \"\", ...], 0x30");
        texts.clear();
        texts.push(1, Text::Data(b"abcdef"));
        assert_eq!(shown_with(X86, "write", &[1, 16, 3], 3, &texts), "1, \"abc\", 3");
        assert_eq!(shown_with(X86, "write", &[1, 16, 9], 9, &texts), "1, \"abcdef\"..., 9");
        assert_eq!(shown_with(X86, "read", &[1, 16, 9], 2, &texts), "1, \"ab\", 9");
        assert_eq!(shown_with(X86, "read", &[1, 16, 9], -11, &texts), "1, 0x10, 9");
    }

    #[test]
    fn socket_addresses_look_as_strace_prints_them() {
        let mut inet6 = [0; 26];
        inet6[..2].copy_from_slice(&[0, 80]);
        inet6[2..6].copy_from_slice(&[0, 0, 0, 7]);
        inet6[6..10].copy_from_slice(&[0xfe, 0x80, 0, 0]);
        inet6[20..23].copy_from_slice(&[1, 0, 3]);
        for (family, rest, expected) in [
            (2, &[0, 80, 127, 0, 0, 1, 0, 0][..], "AF_INET, sin_port=htons(80), sin_addr=inet_addr(\"127.0.0.1\")"),
            (1, b"/run/x\0rest", "AF_UNIX, sun_path=\"/run/x\""),
            (1, b"\0a\0\"", "AF_UNIX, sun_path=@\"a\\0\\\"\""),
            (1, b"", "AF_UNIX"),
            (
                10,
                &inet6,
                "AF_INET6, sin6_port=htons(80), sin6_flowinfo=htonl(7), inet_pton(AF_INET6, \"fe80::100\", \
                 &sin6_addr), sin6_scope_id=3",
            ),
            (16, &[0, 0, 9, 0, 0, 0, 0, 0, 0, 0], "AF_NETLINK, nl_pid=9, nl_groups=00000000"),
            (16, &[0, 0, 0, 0, 0, 0, 0x11, 1, 0, 0], "AF_NETLINK, nl_pid=0, nl_groups=0x000111"),
            // Too short for what it says it is.
            (2, &[0, 80], "AF_INET, sa_data=\"\\0P\""),
            (0x7f7f, b"x", "0x7f7f, sa_data=\"x\""),
        ] {
            let bytes = [&u16::to_le_bytes(family)[..], rest].concat();
            let mut texts = Texts::default();
            texts.push(1, Text::Address { bytes: &bytes, filled: false, cut: false });
            let shown = shown_with(X86, "connect", &[3, 16, 110], -111, &texts);
            assert_eq!(shown, format!("3, {{sa_family={expected}}}, 110"));
        }
        let mut texts = Texts::default();
        texts.push(1, Text::Address { bytes: b"\x01\0/a/long/path", filled: false, cut: true });
        let shown = shown_with(X86, "connect", &[3, 16, 110], 0, &texts);
        assert_eq!(shown, "3, {sa_family=AF_UNIX, sun_path=\"/a/long/path\"...}, 110");
        texts.clear();
        texts.push(1, Text::Address { bytes: &[1, 0], filled: true, cut: false });
        assert_eq!(shown_with(X86, "accept", &[3, 16, 32], 4, &texts), "3, {sa_family=AF_UNIX}, 0x20");
        assert_eq!(shown_with(X86, "accept", &[3, 16, 32], -11, &texts), "3, 0x10, 0x20");
    }

    #[test]
    fn ipv6_addresses_are_as_short_as_they_can_be() {
        for (groups, expected) in [
            ([0, 0, 0, 0, 0, 0, 0, 0], "::"),
            ([0, 0, 0, 0, 0, 0, 0, 1], "::1"),
            ([1, 0, 0, 0, 0, 0, 0, 0], "1::"),
            ([0x2001, 0xdb8, 0, 0, 1, 0, 0, 1], "2001:db8::1:0:0:1"),
            ([1, 0, 3, 4, 5, 6, 7, 8], "1:0:3:4:5:6:7:8"),
            ([0, 0, 0, 0, 0, 0xffff, 0x0102, 0x0304], "::ffff:1.2.3.4"),
        ] {
            let mut bytes = vec![10, 0, 0, 0, 0, 0, 0, 0];
            bytes.extend(groups.iter().flat_map(|group: &u16| group.to_be_bytes()));
            let mut texts = Texts::default();
            texts.push(1, Text::Address { bytes: &bytes, filled: false, cut: false });
            let shown = shown_with(X86, "bind", &[3, 16, 28], 0, &texts);
            assert!(shown.contains(&format!("inet_pton(AF_INET6, \"{expected}\", &sin6_addr)")), "{shown}");
        }
    }

    #[test]
    fn the_parts_of_a_vector_are_as_long_as_the_call_made_them() {
        let pieces = |filled| {
            let mut texts = Texts::default();
            texts.push(1, Text::Piece { base: 0x100, length: 4, bytes: b"one ", filled });
            texts.push(1, Text::Piece { base: 0x200, length: 9, bytes: b"two", filled });
            texts
        };
        let known = "{iov_base=\"one \", iov_len=4}";
        for (name, ret, count, expected) in [
            ("writev", 13, 2, format!("3, [{known}, {{iov_base=\"two\"..., iov_len=9}}], 2")),
            ("writev", -9, 3, format!("3, [{known}, {{iov_base=\"two\"..., iov_len=9}}, ...], 3")),
            ("readv", 6, 2, format!("3, [{known}, {{iov_base=\"tw\", iov_len=9}}], 2")),
            ("readv", 2, 2, "3, [{iov_base=\"on\", iov_len=4}, {iov_base=\"\", iov_len=9}], 2".to_owned()),
            ("readv", -11, 2, "3, 0x10, 2".to_owned()),
        ] {
            let texts = pieces(name == "readv");
            assert_eq!(shown_with(X86, name, &[3, 16, count], ret, &texts), expected);
        }
        let mut texts = Texts::default();
        texts.push(1, Text::Piece { base: 0, length: 0, bytes: b"", filled: false });
        texts.push(1, Text::Piece { base: 8, length: 3, bytes: b"", filled: false });
        let shown = shown_with(X86, "writev", &[3, 16, 2], -14, &texts);
        assert_eq!(shown, "3, [{iov_base=NULL, iov_len=0}, {iov_base=0x8, iov_len=3}], 2");
    }

    #[test]
    fn programs_get_names_and_texts_in_pairs() {
        let mut pairs = Vec::new();
        let made = call(X86, "openat", &[0xffff_ff9c, 16, 0], 3);
        let mut take = |name, text: &[u8]| pairs.push((name, String::from_utf8(text.to_vec()).unwrap()));
        assert!(each(&made, &Texts::default(), &mut Vec::new(), &mut take));
        let expected = [("dfd", "AT_FDCWD"), ("filename", "0x10"), ("flags", "O_RDONLY")];
        assert_eq!(pairs, expected.map(|(name, text)| (name, text.to_owned())));
    }

    #[test]
    fn a_call_without_a_prototype_keeps_its_registers() {
        let mut made = call(X86, "openat", &[1, 2], 3);
        made.nr = 9999;
        let mut buf = Vec::new();
        push_args(&mut buf, &made, &Texts::default());
        assert_eq!(buf, b"0x1, 0x2, 0, 0, 0, 0");
        assert!(!each(&made, &Texts::default(), &mut buf, &mut |_, _| {}));
    }
}
