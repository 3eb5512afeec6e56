// SPDX-License-Identifier: Apache-2.0 OR MIT
//! An ELF core as the kernel writes it: threads and their registers, the signal, what was mapped, and the memory that is there.
//!
//! Nothing in a dump is trusted: its process wrote most of it. Offsets and counts are checked against what there is, and what
//! is read is bounded. Both word sizes, little endian: all machines that we know.
//! Source: elf(5), core(5); kernel fs/binfmt_elf.c (`fill_note_info`, `fill_files_note`), include/linux/elfcore.h (struct
//! elf_prstatus), arch/*/include/asm/elf.h (`ELF_CORE_COPY_REGS`).

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::arch::Abi;
use crate::error::{Error, Result};
use crate::proc::elf_abi;

/// Most program headers that are looked at: one a mapping, of which a process may have 65530 (vm.max_map_count).
const HEADERS_MAX: u64 = 70_000;
/// Most bytes of one note that are read: where some thousand files were mapped, and their names.
const NOTE_MAX: u64 = 512 << 10;
/// Most threads whose registers are read, and most mapped files.
pub const THREADS_MAX: usize = 64;
const FILES_MAX: usize = 4096;
/// Most program headers of a mapped file that are looked at; linkers make some 15.
const MODULE_HEADERS: u64 = 64;
/// Longest build id in bytes; GNU ld's have 20.
const BUILD_ID_MAX: u64 = 64;

/// A piece of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Where it was.
    pub address: u64,
    /// How much of it the dump has; it may have had more.
    pub bytes: u64,
    /// Where the dump has it.
    pub offset: u64,
    /// How much there was.
    pub size: u64,
    /// Whether the process could execute what is there.
    pub is_code: bool,
}

/// A thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Thread {
    /// In its own pid namespace.
    pub tid: u32,
    /// General registers, in the kernel's order.
    pub registers: Vec<u64>,
}

/// A file that was mapped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapped {
    /// Its first address.
    pub start: u64,
    /// Behind its last one.
    pub end: u64,
    /// Offset in the file, in bytes.
    pub offset: u64,
    /// As the process saw it.
    pub path: Vec<u8>,
}

/// A program header of an ELF file that was mapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// PT_…
    pub kind: u64,
    /// Where in the file.
    pub offset: u64,
    /// Where in memory, as the file has it.
    pub address: u64,
    /// Bytes in the file.
    pub bytes: u64,
}

/// An ELF file in the memory of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Module {
    /// Where its first page was.
    pub start: u64,
    /// What is to be added to its own addresses.
    pub bias: u64,
    /// Its program headers, no more than `MODULE_HEADERS`.
    pub headers: Vec<Header>,
}

/// A dump that was opened.
#[derive(Debug)]
pub struct Core {
    file: File,
    /// Memory of the process itself, as long as it is there: what dumps leave out.
    live: Option<File>,
    /// Of the program that died.
    pub abi: Abi,
    /// The signal, its code (si_code), and where the fault was, for signals that tell.
    pub signal: Option<(i32, i32, u64)>,
    /// The one that died comes first.
    pub threads: Vec<Thread>,
    /// Files that were mapped.
    pub mapped: Vec<Mapped>,
    /// Memory that is there.
    pub loads: Vec<Load>,
    /// Whether bytes are missing at the end.
    pub is_cut: bool,
}

/// Numbers of little endian in bytes, with the width of a word.
#[derive(Clone, Copy)]
struct View<'a> {
    bytes: &'a [u8],
    wide: bool,
}

impl<'a> View<'a> {
    fn number(&self, at: usize, width: usize) -> Option<u64> {
        let bytes = self.bytes.get(at..at.checked_add(width)?)?;
        Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn word(&self, at: usize) -> Option<u64> {
        self.number(at, self.width())
    }

    fn width(&self) -> usize {
        if self.wide {
            8
        } else {
            4
        }
    }

    /// The place of what lies at one offset with wide words and at another with narrow ones.
    fn either(&self, wide: usize, narrow: usize) -> usize {
        if self.wide {
            wide
        } else {
            narrow
        }
    }
}

/// Where registers are among those of an ABI: pc, sp, frame pointer, and the link register where there is one.
pub fn places(abi: Abi) -> [usize; 4] {
    match abi {
        Abi::X86_64 => [16, 19, 4, usize::MAX],
        Abi::I386 => [12, 15, 5, usize::MAX],
        Abi::Aarch64 => [32, 31, 29, 30],
        Abi::Arm => [15, 13, 11, 14],
    }
}

/// How many general registers an ABI has.
fn register_count(abi: Abi) -> usize {
    match abi {
        Abi::X86_64 => 27,
        Abi::I386 => 17,
        Abi::Aarch64 => 34,
        Abi::Arm => 18,
    }
}

fn not_a_core(why: &str) -> Error {
    Error::malformed(["this is not a core dump: ", why].concat(), None)
}

impl Core {
    /// Reads what a dump says of itself.
    pub fn open(file: File) -> Result<Core> {
        let mut head = [0; 64];
        let have = read(&file, 0, &mut head);
        let head = head.get(..have).unwrap_or_default();
        let abi = elf_abi(head).ok_or_else(|| not_a_core("no ELF header of a machine that is known"))?;
        let view = View { bytes: head, wide: head.get(4) == Some(&2) };
        let short = || not_a_core("its header is too short");
        if view.number(16, 2) != Some(4) {
            return Err(not_a_core("another ELF file"));
        }
        let table = view.word(view.either(32, 28)).ok_or_else(short)?;
        let mut count = view.number(view.either(56, 44), 2).ok_or_else(short)?;
        let size = view.either(56, 32) as u64;
        if view.number(view.either(54, 42), 2) != Some(size) {
            return Err(not_a_core("its program headers have an unknown size"));
        }
        if count == 0xffff {
            // PN_XNUM: the number stands in the first section header.
            let sections = view.word(view.either(40, 32)).ok_or_else(short)?;
            let mut number = [0; 4];
            let at = sections.saturating_add(view.either(44, 28) as u64);
            if read(&file, at, &mut number) == 4 {
                count = u64::from(u32::from_le_bytes(number));
            }
        }
        let total = crate::sys::status_of(&file).map_or(0, |status| status.size);
        let mut core = Core {
            file,
            live: None,
            abi,
            signal: None,
            threads: Vec::new(),
            mapped: Vec::new(),
            loads: Vec::new(),
            is_cut: false,
        };
        core.read_headers(table, count.min(HEADERS_MAX), size as usize, view.wide, total);
        Ok(core)
    }

    fn read_headers(&mut self, table: u64, count: u64, size: usize, wide: bool, total: u64) {
        let mut header = [0; 56];
        let Some(header) = header.get_mut(..size) else { return };
        let mut has_notes = false;
        for index in 0..count {
            if read(&self.file, table.saturating_add(index * size as u64), header) < size {
                self.is_cut = true;
                break;
            }
            let view = View { bytes: header, wide };
            let places = if wide { [8, 16, 32, 40] } else { [4, 8, 16, 20] };
            let [Some(offset), Some(address), Some(bytes), Some(size)] = places.map(|at| view.word(at)) else {
                continue;
            };
            let flags = view.number(view.either(4, 24), 4).unwrap_or_default();
            let end = offset.saturating_add(bytes);
            self.is_cut |= end > total;
            match view.number(0, 4) {
                Some(1) => {
                    let there = bytes.min(total.saturating_sub(offset));
                    self.loads.push(Load { address, bytes: there, offset, size, is_code: flags & 1 != 0 });
                }
                Some(4) if !has_notes => {
                    has_notes = true;
                    self.read_notes(offset, end.min(total), wide);
                }
                _ => {}
            }
        }
    }

    /// Reads of the notes what is wanted: those of a thousand threads are megabytes, vector registers for the most part.
    fn read_notes(&mut self, mut at: u64, end: u64, wide: bool) {
        let mut head = [0; 20];
        while at < end && self.threads.len() < THREADS_MAX && read(&self.file, at, &mut head) == head.len() {
            let view = View { bytes: &head, wide: false };
            let [Some(name), Some(size), Some(kind)] = [0, 4, 8].map(|at| view.number(at, 4)) else { return };
            let begin = at.saturating_add(12 + name.div_ceil(4) * 4);
            at = begin.saturating_add(size.div_ceil(4) * 4);
            // All that is wanted has one name, and that and its padding are in the head.
            if name != 5 || head.get(12..17) != Some(b"CORE\0") || !matches!(kind, 1 | 0x5349_4749 | 0x4649_4c45) {
                continue;
            }
            let mut data = vec![0; size.min(NOTE_MAX).min(end.saturating_sub(begin)) as usize];
            let have = read(&self.file, begin, &mut data);
            let view = View { bytes: data.get(..have).unwrap_or_default(), wide };
            match kind {
                // NT_PRSTATUS; the dying thread's is the first.
                1 => self.threads.extend(self.thread(view)),
                // NT_SIGINFO
                0x5349_4749 => {
                    let [Some(signal), Some(code)] = [0, 8].map(|at| view.number(at, 4)) else { continue };
                    let address = view.word(view.either(16, 12)).unwrap_or_default();
                    self.signal = Some((signal as i32, code as u32 as i32, address));
                }
                // NT_FILE
                _ => self.mapped = files(view).unwrap_or_default(),
            }
        }
    }

    fn thread(&self, view: View<'_>) -> Option<Thread> {
        let tid = view.number(view.either(32, 24), 4)? as u32;
        let first = view.either(112, 72);
        let registers = (0..register_count(self.abi)).map(|index| view.word(first + index * view.width()));
        Some(Thread { tid, registers: registers.collect::<Option<Vec<u64>>>()? })
    }

    /// Has the file on the disk.
    pub fn sync(&self) -> std::io::Result<()> {
        self.file.sync_data()
    }

    /// Adds the memory of the process, /proc/PID/mem, for what the dump does not have.
    pub fn attach(&mut self, memory: File) {
        self.live = Some(memory);
    }

    /// The piece of memory that an address was in.
    pub fn load_of(&self, address: u64) -> Option<&Load> {
        self.loads.iter().find(|load| address.wrapping_sub(load.address) < load.size)
    }

    /// Memory of the process, as far as it is there: how many bytes.
    pub fn memory(&self, address: u64, to: &mut [u8]) -> usize {
        let Some(load) = self.load_of(address) else { return 0 };
        let inside = address - load.address;
        let room = (load.size - inside).min(to.len() as u64) as usize;
        let there = (load.bytes.saturating_sub(inside)).min(room as u64) as usize;
        match &self.live {
            Some(live) if there == 0 => read(live, address, to.get_mut(..room).unwrap_or_default()),
            _ => read(&self.file, load.offset.saturating_add(inside), to.get_mut(..there).unwrap_or_default()),
        }
    }

    /// The file that an address was in, and the address's offset in the file.
    pub fn file_of(&self, address: u64) -> Option<(&Mapped, u64)> {
        let mapped = self.mapped.iter().find(|mapped| (mapped.start..mapped.end).contains(&address))?;
        Some((mapped, (address - mapped.start).saturating_add(mapped.offset)))
    }

    /// The ELF file that an address was in; what the kernel puts into every process (vDSO) has no name.
    pub fn module(&self, address: u64) -> Option<Module> {
        let start = match self.file_of(address) {
            Some((found, _)) => {
                let of_file = self.mapped.iter().filter(|mapped| mapped.offset == 0 && mapped.path == found.path);
                of_file.map(|mapped| mapped.start).filter(|start| *start <= address).max()?
            }
            None => self.load_of(address)?.address,
        };
        let headers = self.headers(start)?;
        let first = headers.iter().find(|header| (header.kind, header.offset) == (1, 0))?;
        let bias = start.wrapping_sub(first.address);
        Some(Module { start, bias, headers })
    }

    /// The program headers of an ELF file that is mapped at an address: the kernel dumps the first page of each.
    fn headers(&self, start: u64) -> Option<Vec<Header>> {
        let page = self.first_page(start);
        let view = View { bytes: &page, wide: page.get(4) == Some(&2) };
        let table = usize::try_from(view.word(view.either(32, 28))?).ok()?;
        let size = view.either(56, 32);
        let mut found = Vec::new();
        for index in 0..view.number(view.either(56, 44), 2)?.min(MODULE_HEADERS) as usize {
            let header = View { bytes: page.get(table.checked_add(index * size)?..)?, wide: view.wide };
            let places = if view.wide { [8, 16, 32] } else { [4, 8, 16] };
            let [offset, address, bytes] = places.map(|at| header.word(at));
            found.push(Header { kind: header.number(0, 4)?, offset: offset?, address: address?, bytes: bytes? });
        }
        Some(found)
    }

    fn first_page(&self, start: u64) -> Vec<u8> {
        let mut page = vec![0; 4096];
        let have = self.memory(start, &mut page);
        page.truncate(have);
        match elf_abi(&page) {
            Some(_) => page,
            None => Vec::new(),
        }
    }

    /// The build id of the ELF file that is mapped at an address.
    pub fn build_id(&self, start: u64) -> Option<Vec<u8>> {
        let page = self.first_page(start);
        for header in self.headers(start)?.iter().filter(|header| header.kind == 4) {
            let (offset, length) = (header.offset as usize, header.bytes as usize);
            let Some(notes) = page.get(offset..offset.saturating_add(length).min(page.len())) else { continue };
            let mut at = 0;
            while let Some((kind, name, data, next)) = note(notes, at) {
                at = next;
                if (name, kind) == (b"GNU", 3) && data.len() as u64 <= BUILD_ID_MAX {
                    return Some(data.to_vec());
                }
            }
        }
        None
    }
}

/// Reads as much as there is.
fn read(file: &File, mut at: u64, to: &mut [u8]) -> usize {
    let mut have = 0;
    while let Some(room) = to.get_mut(have..).filter(|room| !room.is_empty()) {
        match file.read_at(room, at) {
            Ok(0) | Err(_) => break,
            Ok(count) => (have, at) = (have + count, at.saturating_add(count as u64)),
        }
    }
    have
}

/// The note at an offset: its kind, its name without the NUL, its contents, and where the next one is.
fn note(notes: &[u8], at: usize) -> Option<(u64, &[u8], &[u8], usize)> {
    let view = View { bytes: notes.get(at..)?, wide: false };
    let [name_size, size] = [view.number(0, 4)? as usize, view.number(4, 4)? as usize];
    let kind = view.number(8, 4)?;
    let name = view.bytes.get(12..12usize.checked_add(name_size)?)?;
    let begin = 12 + name_size.checked_add(3)? / 4 * 4;
    let data = view.bytes.get(begin..begin.checked_add(size)?)?;
    let next = at.checked_add(begin)?.checked_add(size.checked_add(3)? / 4 * 4)?;
    Some((kind, name.strip_suffix(b"\0").unwrap_or(name), data, next))
}

/// NT_FILE: count, page size, then where each was, then their names.
fn files(view: View<'_>) -> Option<Vec<Mapped>> {
    let width = view.width();
    let (count, page) = (view.word(0)?, view.word(width)?);
    let names_at = usize::try_from(count).ok()?.checked_mul(3 * width)?.checked_add(2 * width)?;
    let mut names = view.bytes.get(names_at..)?.split(|byte| *byte == 0);
    let mut found = Vec::new();
    for index in 0..(count as usize).min(FILES_MAX) {
        let at = (2 + 3 * index) * width;
        let [start, end, offset] = [0, 1, 2].map(|part| view.word(at + part * width));
        let Some(path) = names.next() else { break };
        found.push(Mapped { start: start?, end: end?, offset: offset?.saturating_mul(page), path: path.to_vec() });
    }
    Some(found)
}
