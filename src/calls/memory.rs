// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What probes found of buffers and socket addresses, as what is known of a call's arguments.
//!
//! A probe reads a number of bytes whatever the call is about: how many of them count stands in other arguments, in the
//! array of a vector, or is filled in beside an address. Source: `struct iovec` and the calls' manual pages.

use crate::format::{Contents, Role, Value};

use super::{Call, Text};

/// No page is smaller, and all have a multiple of it.
const PAGE: u64 = 4096;

/// Structs of a vector that are told.
const VECTOR: usize = 2;

/// What one record says of the array whose buffers follow.
#[derive(Default)]
pub(super) struct Memory<'a> {
    /// Its bytes and whether the call fills the buffers.
    vector: Option<(&'a [u8], bool)>,
    /// Buffers so far.
    pieces: usize,
}

/// What there is of memory at `address`: where the last word could not be read, whole words on the first page.
fn there<'a>(value: Value<'a>, address: u64) -> Option<&'a [u8]> {
    match value {
        Value::Bytes(bytes) => Some(bytes),
        Value::Begun(bytes) => bytes.get(..bytes.len().min((PAGE - address % PAGE) as usize & !7)),
        _ => None,
    }
}

fn word(bytes: &[u8], nth: usize, size: usize) -> Option<u64> {
    let mut word = [0; 8];
    word.get_mut(..size)?.copy_from_slice(bytes.get(nth * size..(nth + 1) * size)?);
    Some(u64::from_le_bytes(word))
}

impl<'a> Memory<'a> {
    /// Takes the next field; `take` gets what is known with it.
    pub fn add(
        &mut self,
        role: Role,
        value: Value<'a>,
        contents: &Contents<'a>,
        call: Option<&Call>,
        take: &mut dyn FnMut(u8, Text<'a>),
    ) -> Option<()> {
        let register = |arg: u8| call?.args.get(usize::from(arg)).copied();
        match role {
            Role::Data(arg) => take(arg, Text::Data(there(value, register(arg).unwrap_or_default())?)),
            Role::Address(arg, filled) => {
                let known = contents.iter().find(|(other, _)| *other == Role::Length(arg));
                let length = match known {
                    Some((_, Value::Address(length))) => length,
                    Some(_) => return None,
                    None => register(arg + 1)?,
                };
                let bytes = there(value, register(arg)?)?;
                let whole = bytes.get(..length as u32 as usize);
                take(arg, Text::Address { bytes: whole.unwrap_or(bytes), filled, cut: whole.is_none() });
            }
            Role::Vector(arg, filled) => self.vector = there(value, register(arg)?).map(|bytes| (bytes, filled)),
            Role::Piece(arg) => {
                let nth = self.pieces;
                self.pieces += 1;
                let (vector, filled) = self.vector?;
                let size = if call?.abi.is_32bit() { 4 } else { 8 };
                // A program of 32 bits on a kernel of 64: the array is another one.
                if vector.len() % (2 * VECTOR * size) != 0
                    || vector.len() > 2 * VECTOR * size
                    || nth as u64 >= register(arg + 1)?
                {
                    return None;
                }
                let (base, length) = (word(vector, 2 * nth, size)?, word(vector, 2 * nth + 1, size)?);
                let bytes = there(value, base).unwrap_or_default();
                let bytes = bytes.get(..usize::try_from(length).unwrap_or(usize::MAX)).unwrap_or(bytes);
                take(arg, Text::Piece { base, length, bytes, filled });
            }
            _ => {}
        }
        Some(())
    }
}
