// SPDX-License-Identifier: Apache-2.0 OR MIT
//! An ELF core made by hand, of any machine: registers of one thread and pieces of memory.
#![allow(dead_code, clippy::unwrap_used)]

/// Bytes that grow.
#[derive(Default)]
pub struct Bytes(pub Vec<u8>);

impl Bytes {
    pub fn number(&mut self, value: u64, width: usize) -> &mut Bytes {
        self.0.extend_from_slice(&value.to_le_bytes()[..width]);
        self
    }

    pub fn at(&mut self, at: usize, bytes: &[u8]) -> &mut Bytes {
        let end = at + bytes.len();
        if self.0.len() < end {
            self.0.resize(end, 0);
        }
        self.0[at..end].copy_from_slice(bytes);
        self
    }
}

/// A header of a program, as far as it matters.
pub struct Header {
    pub kind: u64,
    pub flags: u64,
    pub offset: u64,
    pub address: u64,
    pub bytes: u64,
}

/// The begin of an ELF file of this type (2 a program, 4 a core): its header and those of its program.
pub fn elf(machine: u64, wide: bool, kind: u64, headers: &[Header]) -> Bytes {
    let word = if wide { 8 } else { 4 };
    let (own, size) = if wide { (64, 56) } else { (52, 32) };
    let mut bytes = Bytes::default();
    bytes.at(0, b"\x7fELF").number(if wide { 2 } else { 1 }, 1).number(1, 1).at(16, &[]);
    bytes.0.resize(16, 0);
    bytes.number(kind, 2).number(machine, 2).number(1, 4).number(0, word).number(own, word).number(0, word);
    bytes.number(0, 4).number(own, 2).number(size, 2).number(headers.len() as u64, 2).number(0, 6);
    for header in headers {
        bytes.number(header.kind, 4);
        if wide {
            bytes.number(header.flags, 4);
        }
        bytes.number(header.offset, word).number(header.address, word).number(0, word);
        bytes.number(header.bytes, word).number(header.bytes, word);
        if !wide {
            bytes.number(header.flags, 4);
        }
        bytes.number(4, word);
    }
    bytes
}

/// A core: registers in the kernel's order, and memory, of which code may be executed: address, bytes, whether it is code.
pub fn core_file(machine: u64, wide: bool, registers: &[u64], memory: &[(u64, Vec<u8>, bool)]) -> Vec<u8> {
    let word = if wide { 8 } else { 4 };
    let mut status = Bytes::default();
    status.at(if wide { 112 } else { 72 }, &[]);
    for register in registers {
        status.number(*register, word);
    }
    status.number(0, 8);
    let mut notes = Bytes::default();
    notes.number(5, 4).number(status.0.len() as u64, 4).number(1, 4).at(12, b"CORE\0\0\0\0").at(20, &status.0);
    let mut headers = vec![Header { kind: 4, flags: 0, offset: 4096, address: 0, bytes: notes.0.len() as u64 }];
    let mut offset = 8192;
    for (address, bytes, is_code) in memory {
        headers.push(Header {
            kind: 1,
            flags: if *is_code { 5 } else { 6 },
            offset,
            address: *address,
            bytes: bytes.len() as u64,
        });
        offset += bytes.len() as u64;
    }
    let mut core = elf(machine, wide, 4, &headers);
    core.at(4096, &notes.0).at(8192, &[]);
    for (_, bytes, _) in memory {
        core.0.extend_from_slice(bytes);
    }
    core.0
}
