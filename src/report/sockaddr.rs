// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Structures that calls are given in memory: socket addresses and the parts of a vector, as strace prints them.
//!
//! Source: strace 6.1 `sockaddr.c` and `io.c`; unix(7), ip(7), ipv6(7), netlink(7), packet(7). The bytes are of a
//! little-endian machine, as all that have call tables are; ports and addresses are in the network's order.

use super::values::{push_escaped, push_named, push_pointer, push_quoted};
use crate::calls::Call;
use crate::json::push_u64;
use crate::syscalls::kind;

/// So many hexadecimal digits.
fn push_digits(buf: &mut Vec<u8>, value: u64, digits: u32) {
    for digit in (0..digits).rev() {
        buf.push(b"0123456789abcdef".get((value >> (4 * digit) & 15) as usize).copied().unwrap_or_default());
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// `, NAME=` and a number.
fn push_field(buf: &mut Vec<u8>, name: &str, value: u32) {
    buf.extend_from_slice(name.as_bytes());
    push_u64(buf, u64::from(value));
}

/// The four bytes of an IPv4 address.
fn push_inet(buf: &mut Vec<u8>, bytes: &[u8]) {
    for (nth, byte) in bytes.iter().enumerate() {
        if nth > 0 {
            buf.push(b'.');
        }
        push_u64(buf, u64::from(*byte));
    }
}

/// The 16 bytes of an IPv6 address (RFC 5952): the longest run of zeros, the first of such, is `::`.
fn push_inet6(buf: &mut Vec<u8>, bytes: &[u8]) {
    let group = |at: usize| {
        bytes.get(2 * at..2 * at + 2).map_or(0, |pair| pair.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    };
    let zeros = |from: usize| (from..8).take_while(|at| group(*at) == 0).count();
    let longest = (0..8).rev().map(|from| (zeros(from), from)).fold((1, 8), |best, run| {
        if run.0 >= best.0 && run.0 > 1 {
            run
        } else {
            best
        }
    });
    // IPv4 inside: ::ffff:1.2.3.4.
    let mapped = longest == (5, 0) && group(5) == 0xffff;
    let mut at = 0;
    while at < 8 {
        if at == longest.1 {
            buf.extend_from_slice(b"::");
            at += longest.0;
            continue;
        }
        if at > 0 && buf.last() != Some(&b':') {
            buf.push(b':');
        }
        if mapped && at == 6 {
            return push_inet(buf, bytes.get(12..).unwrap_or_default());
        }
        let group = group(at);
        push_digits(buf, group, ((67 - group.leading_zeros()) / 4).max(1));
        at += 1;
    }
}

/// `{sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("127.0.0.1")}`; of bytes that end early, what there is.
pub(super) fn push_address(buf: &mut Vec<u8>, bytes: &[u8], cut: bool, call: &Call) {
    let Some(family) = bytes.get(..2).and_then(|two| two.try_into().ok()).map(u16::from_le_bytes) else {
        return push_quoted(buf, bytes, false);
    };
    buf.extend_from_slice(b"{sa_family=");
    push_named(buf, kind::SET_DOMAIN, call, u64::from(family));
    let rest = bytes.get(2..).unwrap_or_default();
    let port = rest.get(..2).map_or(0, |two| two.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)));
    match (family, word(rest, 2)) {
        (1, _) if rest.is_empty() => {}
        (1, _) => {
            // A name without a path begins with a NUL and is as long as the address is.
            let (start, path): (&[u8], _) = match rest.strip_prefix(&[0]) {
                Some(name) => (b", sun_path=@\"", name),
                None => (b", sun_path=\"", rest.split(|byte| *byte == 0).next().unwrap_or_default()),
            };
            buf.extend_from_slice(start);
            push_escaped(buf, path, b'"');
            // Up to a NUL it is whole.
            let is_cut = cut && path.len() + 1 >= rest.len();
            buf.extend_from_slice(if is_cut { b"\"..." } else { b"\"" });
        }
        (2, Some(_)) => {
            push_field(buf, ", sin_port=htons(", port);
            buf.extend_from_slice(b"), sin_addr=inet_addr(\"");
            push_inet(buf, rest.get(2..6).unwrap_or_default());
            buf.extend_from_slice(b"\")");
        }
        (10, Some(flow)) if rest.len() >= 22 => {
            push_field(buf, ", sin6_port=htons(", port);
            push_field(buf, "), sin6_flowinfo=htonl(", flow.swap_bytes());
            buf.extend_from_slice(b"), inet_pton(AF_INET6, \"");
            push_inet6(buf, rest.get(6..22).unwrap_or_default());
            buf.extend_from_slice(b"\", &sin6_addr)");
            if let Some(scope) = word(rest, 22) {
                push_field(buf, ", sin6_scope_id=", scope);
            }
        }
        (16, Some(pid)) => {
            push_field(buf, ", nl_pid=", pid);
            buf.extend_from_slice(b", nl_groups=");
            // `%#08x`
            let groups = word(rest, 6).unwrap_or(0);
            buf.extend_from_slice(if groups == 0 { b"00" } else { b"0x" });
            push_digits(buf, u64::from(groups), ((35 - groups.leading_zeros()) / 4).max(6));
        }
        _ => {
            buf.extend_from_slice(b", sa_data=");
            push_quoted(buf, rest, false);
        }
    }
    buf.push(b'}');
}

/// `{iov_base="hello", iov_len=5}`, with as much of it as the call is about.
pub(super) fn push_piece(buf: &mut Vec<u8>, base: u64, length: u64, bytes: &[u8], told: u64) {
    buf.extend_from_slice(b"{iov_base=");
    let shown = bytes.get(..usize::try_from(told).unwrap_or(usize::MAX)).unwrap_or(bytes);
    if base == 0 || (shown.is_empty() && told != 0) {
        push_pointer(buf, base);
    } else {
        push_quoted(buf, shown, (shown.len() as u64) < told);
    }
    buf.extend_from_slice(b", iov_len=");
    push_u64(buf, length);
    buf.push(b'}');
}
