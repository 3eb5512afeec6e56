// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A core dump: what it says of itself, and a backtrace of it.
//!
//! The first byte: 0 to 3, a machine, and what follows are the tables of a program in its memory (64 KB from 0x10000; its
//! headers are made here) and, from its last 512 bytes, the stack; else the rest is the file.
// max_len: 8192
#![no_main]

#[path = "../../../common/core_file.rs"]
mod core_file;

use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::OnceLock;

use core_file::{core_file, elf, Header};
use ftrace_analyzer::core_dump::backtrace::{frames, FRAMES_MAX};
use ftrace_analyzer::core_dump::elf::Core;
use libfuzzer_sys::fuzz_target;

static PATH: OnceLock<PathBuf> = OnceLock::new();

/// A file in memory where there is such a place; it has no name while it is used.
fn file(bytes: &[u8]) -> File {
    let path = PATH.get_or_init(|| {
        let shared = PathBuf::from("/dev/shm");
        let base = if shared.is_dir() { shared } else { std::env::temp_dir() };
        base.join(format!("ftrace-analyzer-fuzz-core-{}", std::process::id()))
    });
    fs::write(path, bytes).expect("a file");
    let file = File::open(path).expect("the file");
    fs::remove_file(path).expect("its name");
    file
}

const CODE: u64 = 0x1_0000;
const STACK: u64 = 0x7000_0000;

/// The process of a machine whose program has these tables, and this stack.
fn process(machine: usize, tables: &[u8], stack: &[u8]) -> Vec<u8> {
    // Machine, word, where pc, sp and the frame pointer are, how many registers, and the kind of table.
    let (number, wide, places, count, kind) = [
        (62, true, [16, 19, 4], 27, 0x6474_e550),
        (3, false, [12, 15, 5], 17, 0x6474_e550),
        (183, true, [32, 31, 29], 34, 0x6474_e550),
        (40, false, [15, 13, 11], 18, 0x7000_0001),
    ][machine];
    let mut registers = vec![CODE + 0x40; count];
    for (place, value) in places.into_iter().zip([CODE + 0x210, STACK, STACK + 64]) {
        registers[place] = value;
    }
    let headers = [
        Header { kind: 1, flags: 5, offset: 0, address: CODE, bytes: 0x1_0000 },
        Header { kind, flags: 4, offset: 0x800, address: CODE + 0x800, bytes: tables.len() as u64 },
    ];
    let mut program = elf(number, wide, 2, &headers);
    program.at(0x800, tables).at(0x4000, &[]);
    core_file(number, wide, &registers, &[(CODE, program.0, true), (STACK, stack.to_vec(), false)])
}

fuzz_target!(|input: &[u8]| {
    let Some((first, rest)) = input.split_first() else { return };
    let bytes = match usize::from(*first) {
        machine @ 0..=3 => {
            let (tables, stack) = rest.split_at(rest.len().saturating_sub(512));
            process(machine, tables, stack)
        }
        _ => rest.to_vec(),
    };
    let Ok(core) = Core::open(file(&bytes)) else { return };
    for mapped in core.mapped.iter().take(20) {
        core.build_id(mapped.start);
    }
    let program = file(&bytes);
    let found = frames(&core, &|_| program.try_clone().ok());
    assert!(found.len() <= FRAMES_MAX);
});
