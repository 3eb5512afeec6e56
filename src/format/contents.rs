// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Events that carry what arguments of calls point at: which field of them is which argument's.
//!
//! Two kinds. From 6.19 on the kernel's own `syscalls:sys_enter_NAME` have, behind the arguments, a `__ARG_val` for each
//! string (kernel/trace/trace_syscalls.c `syscall_get_data`). Probes are ours, and their fields are named for what they
//! hold: `s1` is the string that argument 1 points at, `p1_0` and `e1_0` address and contents of the first element of the
//! array at argument 1, `nr` the call's number; `kernel_text` and `user_pointer` are the kernel's copy of a path and the
//! address that it was taken from (fs/namei.c `struct filename`).
//!
//! Memory: `d1` a buffer, `a1` a socket address, `v1` an array of struct iovec, all at argument 1, as capitals where the
//! call fills them in; `b1_0` the buffer of the first struct; `n1` the word that says how long the address is. Their
//! guards are strings made of the memory's first word (`h` before its name) and last word (`l`), see [`Guard`]; what does
//! not fit one field goes on in the next (`t`).

use super::events::{bytes_at, place_of, until_nul, Place};
use super::text::{EventFormat, Field, Kind};
use crate::ids::SyscallNr;
use crate::words::{number, split_once};

/// What a field of such an event holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The string at an argument.
    Text(u8),
    /// Address of the next element of the array at an argument; 0 behind the last.
    Pointer(u8),
    /// The string at that address.
    Element(u8),
    /// Memory at an argument.
    Data(u8),
    /// The next buffer of the vector at an argument.
    Piece(u8),
    /// A socket address at an argument, and whether the call fills it in.
    Address(u8, bool),
    /// An array of struct iovec at an argument, and whether the call fills its buffers.
    Vector(u8, bool),
    /// The length of the socket address at an argument.
    Length(u8),
    /// A path as the kernel copied it.
    KernelText,
    /// Where the path was copied from.
    UserPointer,
}

/// A field: what it holds and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    role: Role,
    place: Place,
    /// Of the first word and of the last one; of memory.
    guards: [Option<Guard>; 2],
}

/// What tells whether a probe found a word of memory: a string in the record that was made of it (`symstr`). Both are
/// places of the words that say where a string lies.
///
/// When a word was not found, the kernel leaves what it had put there before: where the next string may lie. Behind one
/// that was made lies the next one. The length says nothing: 6.12 leaves it at the room that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Guard {
    at: Place,
    next: Place,
}

impl Guard {
    /// The guard of `name` with this letter.
    fn of(format: &EventFormat<'_>, name: &str, letter: &str) -> Option<Guard> {
        let strings = format.fields().filter(|(_, field)| field.kind == Kind::DataLoc);
        let mut rest = strings.skip_while(|(other, _)| other.strip_prefix(letter) != Some(name));
        let mut place = || Some(place_of(Field { kind: Kind::Plain, ..rest.next()?.1 }));
        Some(Guard { at: place()?, next: place()? })
    }

    /// Bytes of the string; 0 if there is none.
    fn length(&self, data: &[u8]) -> Option<usize> {
        let (own, next) = (word_at(data, self.at)?, word_at(data, self.next)?);
        Some(usize::from((next as u16).wrapping_sub(own as u16)))
    }
}

fn word_at(data: &[u8], place: Place) -> Option<u32> {
    Some(u32::from_le_bytes(bytes_at(data, place)?.try_into().ok()?))
}

/// A field's contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// The bytes of a string without its NUL, or of memory.
    Bytes(&'a [u8]),
    /// The bytes of memory of which the last could not be read: what lies on the first one's page is there.
    Begun(&'a [u8]),
    /// An address.
    Address(u64),
    /// It could not be read.
    Unread,
}

/// One such record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contents<'a> {
    /// The call's number, where the event tells; such an event is written before the call is done, beside
    /// `raw_syscalls:sys_enter`. One without is written inside the call.
    pub nr: Option<SyscallNr>,
    parts: &'a [Part],
    data: &'a [u8],
}

/// What a field holds, where it holds contents.
fn role(format: &EventFormat<'_>, name: &str, field: Field) -> Option<Role> {
    if let Some(of) = name.strip_prefix("__").and_then(|name| name.strip_suffix("_val")) {
        let place = |name: &str| format.fields().position(|(other, _)| other == name);
        // What listxattr and the like fill in; at the enter there is nothing in it.
        let arg = place(of).filter(|_| of != "list")?.checked_sub(place("__syscall_nr")? + 1)?;
        return (field.kind == Kind::DataLoc).then_some(Role::Text(arg as u8));
    }
    match name {
        "kernel_text" => return Some(Role::KernelText),
        "user_pointer" => return Some(Role::UserPointer),
        _ => {}
    }
    let [kind, ..] = *name.as_bytes() else { return None };
    let rest = name.get(1..)?;
    let arg = number(split_once(rest, "_").map_or(rest, |(arg, _)| arg))? as u8;
    match kind {
        b's' => Some(Role::Text(arg)),
        b'p' => Some(Role::Pointer(arg)),
        b'e' => Some(Role::Element(arg)),
        b'd' | b'D' => Some(Role::Data(arg)),
        b'b' => Some(Role::Piece(arg)),
        b'a' | b'A' => Some(Role::Address(arg, kind == b'A')),
        b'v' | b'V' => Some(Role::Vector(arg, kind == b'V')),
        b'n' => Some(Role::Length(arg)),
        _ => None,
    }
}

/// The parts of an event, in the order of its fields. None for an event that carries no contents.
pub fn parts<'a>(format: &'a EventFormat<'a>) -> impl Iterator<Item = Part> + 'a {
    format.fields().filter_map(|(name, field)| {
        let role = role(format, name, field)?;
        let mut whole = field;
        let guards = match role {
            Role::Length(_) => [Guard::of(format, name, ""), None],
            Role::Data(_) | Role::Piece(_) | Role::Address(..) | Role::Vector(..) => {
                let rest = format.fields().find(|(other, _)| other.strip_prefix('t') == Some(name));
                whole.size += rest.map_or(0, |(_, rest)| rest.size);
                [Guard::of(format, name, "h"), Guard::of(format, name, "l")]
            }
            _ => [None; 2],
        };
        Some(Part { role, place: place_of(whole), guards })
    })
}

/// Where the event has the call's number.
pub fn nr_place(format: &EventFormat<'_>) -> Option<Place> {
    format.field("__syscall_nr").or_else(|| format.field("nr")).filter(|field| field.size == 4).map(place_of)
}

impl<'a> Contents<'a> {
    /// Takes a record's payload apart.
    pub fn new(nr: Option<Place>, parts: &'a [Part], data: &'a [u8]) -> Contents<'a> {
        let nr = nr.and_then(|place| bytes_at(data, place)?.try_into().ok()).map(SyscallNr::from_le_bytes);
        Contents { nr, parts, data }
    }

    /// What it holds, in the order of its fields.
    pub fn iter(&self) -> impl Iterator<Item = (Role, Value<'a>)> + 'a {
        let data = self.data;
        self.parts.iter().map(move |part| (part.role, value(part, data).unwrap_or(Value::Unread)))
    }
}

fn value<'a>(part: &Part, data: &'a [u8]) -> Option<Value<'a>> {
    let bytes = bytes_at(data, part.place)?;
    match part.role {
        Role::Pointer(_) | Role::UserPointer => {
            let mut word = [0; 8];
            word.get_mut(..bytes.len())?.copy_from_slice(bytes);
            Some(Value::Address(u64::from_le_bytes(word)))
        }
        Role::Data(_) | Role::Piece(_) | Role::Address(..) | Role::Vector(..) => {
            let [first, last] = part.guards;
            let holds = |guard: Option<Guard>| guard.map_or(Some(true), |guard| Some(guard.length(data)? != 0));
            Some(match (holds(first)?, holds(last)?) {
                (true, true) => Value::Bytes(bytes),
                (true, false) => Value::Begun(bytes),
                (false, _) => Value::Unread,
            })
        }
        // `symstr`: a kernel's symbol, or the word in hexadecimal.
        Role::Length(_) => {
            let [guard, _] = part.guards;
            let digits = bytes.get(..guard?.length(data)?)?.strip_prefix(b"0x")?;
            let digit = |sum: u64, digit: &u8| Some(sum << 4 | u64::from(char::from(*digit).to_digit(16)?));
            digits.iter().try_fold(0, digit).map(Value::Address)
        }
        // The NUL belongs to what is stored: nothing at all is what a probe leaves that met an address without memory.
        Role::Text(_) | Role::Element(_) | Role::KernelText => {
            Some(if bytes.is_empty() { Value::Unread } else { Value::Bytes(until_nul(bytes)) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::text::parse_event;
    use super::*;

    const RENAMEAT: &str = "name: sys_enter_renameat\nID: 754\nformat:\n\
        \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
        \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n\
        \tfield:int __syscall_nr;\toffset:8;\tsize:4;\tsigned:1;\n\
        \tfield:int olddfd;\toffset:16;\tsize:8;\tsigned:0;\n\
        \tfield:const char * oldname;\toffset:24;\tsize:8;\tsigned:0;\n\
        \tfield:int newdfd;\toffset:32;\tsize:8;\tsigned:0;\n\
        \tfield:const char * newname;\toffset:40;\tsize:8;\tsigned:0;\n\
        \tfield:__data_loc char[] __oldname_val;\toffset:48;\tsize:4;\tsigned:0;\n\
        \tfield:__data_loc char[] __newname_val;\toffset:52;\tsize:4;\tsigned:0;\n";

    fn record(nr: i32, strings: &[&[u8]], heads: usize) -> Vec<u8> {
        let mut data = vec![0; heads + 4 * strings.len()];
        data[8..12].copy_from_slice(&nr.to_le_bytes());
        for (at, string) in strings.iter().enumerate() {
            let word = (data.len() | string.len() << 16) as u32;
            data[heads + 4 * at..][..4].copy_from_slice(&word.to_le_bytes());
            data.extend_from_slice(string);
        }
        data
    }

    #[test]
    fn strings_in_the_kernels_own_events_belong_to_the_argument_of_their_name() {
        let format = parse_event(RENAMEAT).unwrap();
        let parts: Vec<Part> = parts(&format).collect();
        let data = record(38, &[b"old\0", b"new name\0"], 48);
        let contents = Contents::new(nr_place(&format), &parts, &data);
        assert_eq!(contents.nr, Some(38));
        let expected = [(Role::Text(1), Value::Bytes(b"old")), (Role::Text(3), Value::Bytes(b"new name"))];
        assert_eq!(contents.iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn fields_of_probes_are_named_for_what_they_hold() {
        let text = "name: execve\nID: 9\nformat:\n\
            \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
            \tfield:s32 nr;\toffset:8;\tsize:4;\tsigned:1;\n\
            \tfield:u64 p1_0;\toffset:12;\tsize:8;\tsigned:0;\n\
            \tfield:__data_loc char[] e1_0;\toffset:20;\tsize:4;\tsigned:1;\n\
            \tfield:u32 user_pointer;\toffset:24;\tsize:4;\tsigned:0;\n\
            \tfield:u8 d2[4];\toffset:28;\tsize:4;\tsigned:0;\n";
        let format = parse_event(text).unwrap();
        let parts: Vec<Part> = parts(&format).collect();
        let mut data = record(59, &[b""], 20);
        data.extend_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
        data[12] = 7;
        let contents = Contents::new(nr_place(&format), &parts, &data);
        let expected = [
            (Role::Pointer(1), Value::Address(7)),
            (Role::Element(1), Value::Unread),
            (Role::UserPointer, Value::Address(0x0403_0201)),
            (Role::Data(2), Value::Bytes(&[5, 6, 7, 8])),
        ];
        assert_eq!((contents.nr, contents.iter().collect::<Vec<_>>()), (Some(59), expected.to_vec()));
    }

    #[test]
    fn a_record_that_ends_early_has_unread_parts() {
        let format = parse_event(RENAMEAT).unwrap();
        let parts: Vec<Part> = parts(&format).collect();
        let data = record(38, &[b"old\0", b"new\0"], 48);
        for end in 0..data.len() {
            let contents = Contents::new(nr_place(&format), &parts, &data[..end]);
            assert_eq!(contents.iter().last(), Some((Role::Text(3), Value::Unread)), "{end}");
        }
    }
}
