// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The same call as other machines spell it: what a program that was recorded on one of them calls on another.
//!
//! Source: `tests/tables/spellings.txt`, which tells the reasons, packed by `tests/tables/generate`.

use super::call_name;
use super::spellings_table::MEMBERS;

/// Calls that every program of a machine makes and no program of another has; under `--portable` they always belong to it.
pub const OF_ARM: &str = "cacheflush set_tls";
/// Likewise.
pub const OF_X86_64: &str = "arch_prctl";

/// Tells the other spellings of a call.
pub fn each_of(name: &str, tell: &mut dyn FnMut(&'static str)) {
    let mut begin = 0;
    while let Some(first) = member(begin) {
        let mut end = begin;
        let mut is_one = false;
        let mut next = Some(first);
        while let Some(member) = next {
            is_one |= member == name;
            end += 1;
            next = self::member(end);
        }
        (begin..end).filter(|_| is_one).filter_map(member).filter(|member| *member != name).for_each(&mut *tell);
        begin = end + 1;
    }
}

/// A member by its place among those of all classes; `None` behind each class, and twice at the end.
fn member(at: usize) -> Option<&'static str> {
    call_name(usize::from(MEMBERS.number(at)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Abi;
    use crate::syscalls::{all, number};

    fn spelled(name: &str) -> Vec<&'static str> {
        let mut found = Vec::new();
        each_of(name, &mut |other| found.push(other));
        found
    }

    #[test]
    fn classes_have_two_members_or_more() {
        for name in OF_ARM.split(' ').chain(OF_X86_64.split(' ')) {
            assert!([Abi::X86_64, Abi::Arm].iter().any(|abi| number(*abi, name).is_some()), "{name}");
        }
        let mut classes = 0;
        let mut at = 0;
        while member(at).is_some() {
            let begin = at;
            while member(at).is_some() {
                at += 1;
            }
            assert!(at - begin >= 2, "a class of one: {:?}", member(begin));
            classes += 1;
            at += 1;
        }
        assert!(classes > 60, "{classes}");
    }

    #[test]
    fn every_call_of_one_machine_has_a_spelling_on_the_others() {
        // What programs of one machine alone need.
        let own = "memfd_secret map_shadow_stack uretprobe uprobe";
        for from in [Abi::Aarch64, Abi::X86_64, Abi::Arm] {
            for (nr, name) in all(from) {
                for to in [Abi::Aarch64, Abi::X86_64, Abi::Arm] {
                    let there =
                        number(to, name).is_some() || spelled(name).iter().any(|other| number(to, other).is_some());
                    let private = nr >= 0xf0000 || own.split(' ').any(|own| own == name);
                    if !there && !private {
                        println!("{from} {name} on {to}");
                    }
                    // Everything that 64-bit ARM has, the others have in some form.
                    assert!(there || private || from != Abi::Aarch64, "{name} on {to}");
                }
            }
        }
    }

    #[test]
    fn spellings_are_found_from_any_of_them() {
        assert_eq!(spelled("openat"), ["open", "creat"]);
        assert!(spelled("futex_time64").contains(&"futex"));
        assert_eq!(spelled("read"), [""; 0]);
        // Two classes.
        assert_eq!(spelled("prlimit64"), ["getrlimit", "ugetrlimit", "setrlimit"]);
    }
}
