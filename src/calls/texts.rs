// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a call's arguments pointed at and what its descriptors stand for, as far as the recording knows.
//!
//! Registers hold addresses and numbers. Contents come in events of their own between enter and exit (strings, probes),
//! meanings of descriptors from the calls before; both are kept beside the [`Call`](super::Call), one list a call, in one
//! block of memory that is used again.

/// In place of an argument's index: the result.
pub const RESULT: u8 = 6;

/// Most bytes kept for one call. A record of the kernel is shorter than a sub-buffer, and a call has few of them.
const BYTES_MAX: usize = 64 << 10;

/// Something known about an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text<'a> {
    /// The string it points at, without the NUL; bytes of any kind.
    String {
        /// The bytes.
        bytes: &'a [u8],
        /// Whether there were more than are here.
        cut: bool,
    },
    /// One string of the array of strings that it points at; they come in order.
    Element {
        /// The bytes.
        bytes: &'a [u8],
        /// Whether there were more than are here.
        cut: bool,
    },
    /// One of them that could not be read: its address.
    Unread(u64),
    /// The array had more strings than are here.
    MoreElements,
    /// The beginning of the memory that it points at; how much of it the call is about stands in another argument or the
    /// result.
    Data(&'a [u8]),
    /// The struct sockaddr that it points at, as long as the call says.
    Address {
        /// The bytes.
        bytes: &'a [u8],
        /// Whether the call fills it in: without success there is none.
        filled: bool,
        /// Whether there was more than is here.
        cut: bool,
    },
    /// One struct iovec of the array that it points at; they come in order.
    Piece {
        /// `iov_base`.
        base: u64,
        /// `iov_len`.
        length: u64,
        /// The beginning of the memory there, or nothing where it is not known.
        bytes: &'a [u8],
        /// Whether the call fills it in, up to its result.
        filled: bool,
    },
    /// The path or socket that the descriptor stands for.
    Target(&'a [u8]),
}

/// All that is known about one call's arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    /// For each: argument, kind, length (two bytes), bytes.
    bytes: Vec<u8>,
}

/// Nothing known.
pub static NO_TEXTS: Texts = Texts { bytes: Vec::new() };

impl Texts {
    /// Adds what is known about argument `arg` (0 to 5, or [`RESULT`]). False if there is no room for it.
    pub fn push(&mut self, arg: u8, text: Text<'_>) -> bool {
        let address;
        let mut head = [0u64; 2];
        let mut head_len = 0;
        let (kind, bytes) = match text {
            Text::String { bytes, cut } => (u8::from(cut), bytes),
            Text::Element { bytes, cut } => (2 + u8::from(cut), bytes),
            Text::MoreElements => (4, &[][..]),
            Text::Data(bytes) => (5, bytes),
            Text::Target(bytes) => (6, bytes),
            Text::Unread(at) => {
                address = at.to_le_bytes();
                (7, &address[..])
            }
            Text::Address { bytes, filled, cut } => (8 + u8::from(filled) + 4 * u8::from(cut), bytes),
            Text::Piece { base, length, bytes, filled } => {
                head = [base, length];
                head_len = 16;
                (10 + u8::from(filled), bytes)
            }
        };
        let Ok(length) = u16::try_from(head_len + bytes.len()) else { return false };
        if self.bytes.len() + 4 + usize::from(length) > BYTES_MAX {
            return false;
        }
        let [low, high] = length.to_le_bytes();
        self.bytes.extend_from_slice(&[arg, kind, low, high]);
        if head_len != 0 {
            for word in head {
                self.bytes.extend_from_slice(&word.to_le_bytes());
            }
        }
        self.bytes.extend_from_slice(bytes);
        true
    }

    /// Whether nothing is known.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Forgets everything.
    #[inline]
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Everything, in the order in which it was added.
    pub fn iter(&self) -> impl Iterator<Item = (u8, Text<'_>)> {
        let mut rest = self.bytes.as_slice();
        core::iter::from_fn(move || {
            let [arg, kind, low, high] = rest.get(..4)?.try_into().ok()?;
            let end = 4 + usize::from(u16::from_le_bytes([low, high]));
            let bytes = rest.get(4..end)?;
            rest = rest.get(end..)?;
            let text = match kind {
                0 | 1 => Text::String { bytes, cut: kind == 1 },
                2 | 3 => Text::Element { bytes, cut: kind == 3 },
                4 => Text::MoreElements,
                5 => Text::Data(bytes),
                6 => Text::Target(bytes),
                8 | 9 | 12 | 13 => Text::Address { bytes, filled: kind & 1 != 0, cut: kind > 9 },
                10 | 11 => {
                    let word = |at| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
                    Text::Piece { base: word(0)?, length: word(8)?, bytes: bytes.get(16..)?, filled: kind == 11 }
                }
                _ => Text::Unread(u64::from_le_bytes(bytes.try_into().ok()?)),
            };
            Some((arg, text))
        })
    }

    /// What is known about argument `arg`, in the order in which it was added.
    pub fn of(&self, arg: u8) -> impl Iterator<Item = Text<'_>> {
        self.iter().filter_map(move |(of, text)| (of == arg).then_some(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_is_found_by_its_argument_in_order() {
        let mut texts = Texts::default();
        assert!(texts.is_empty());
        let string = Text::String { bytes: b"/etc/passwd", cut: false };
        let elements = [Text::Element { bytes: b"ls", cut: false }, Text::Element { bytes: b"", cut: true }];
        assert!(texts.push(1, string) && texts.push(2, elements[0]) && texts.push(2, elements[1]));
        assert!(texts.push(2, Text::MoreElements) && texts.push(RESULT, Text::Target(b"/x")));
        assert!(texts.push(3, Text::Data(&[0, 255])) && texts.push(4, Text::Unread(u64::MAX)));
        assert_eq!(texts.of(4).collect::<Vec<_>>(), [Text::Unread(u64::MAX)]);
        assert_eq!(texts.of(1).collect::<Vec<_>>(), [string]);
        assert_eq!(texts.of(2).collect::<Vec<_>>(), [elements[0], elements[1], Text::MoreElements]);
        assert_eq!(texts.of(3).collect::<Vec<_>>(), [Text::Data(&[0, 255])]);
        assert_eq!(texts.of(RESULT).collect::<Vec<_>>(), [Text::Target(b"/x")]);
        assert_eq!(texts.of(0).count(), 0);
        let address = Text::Address { bytes: &[2, 0, 0], filled: true, cut: true };
        let pieces = [
            Text::Piece { base: u64::MAX, length: 3, bytes: b"abc", filled: false },
            Text::Piece { base: 7, length: u64::MAX, bytes: b"", filled: true },
        ];
        assert!(texts.push(5, address) && texts.push(5, pieces[0]) && texts.push(5, pieces[1]));
        assert_eq!(texts.of(5).collect::<Vec<_>>(), [address, pieces[0], pieces[1]]);
        texts.clear();
        assert_eq!(texts.iter().count(), 0);
    }

    #[test]
    fn what_does_not_fit_is_left_out_whole() {
        let mut texts = Texts::default();
        let most = vec![b'x'; usize::from(u16::MAX)];
        assert!(!texts.push(0, Text::Data(&[b'x'; 1 << 16])));
        assert!(!texts.push(0, Text::Data(&most[..most.len() - 2])));
        assert!(texts.push(0, Text::Data(&most[..BYTES_MAX - 4])));
        assert!(!texts.push(0, Text::MoreElements));
        assert_eq!(texts.iter().count(), 1);
    }
}
