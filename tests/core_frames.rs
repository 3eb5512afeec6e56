// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Backtraces of dumps made by hand: of machines that this one does not run, and what compilers do not write at will.
#![allow(clippy::unwrap_used)]

#[path = "common/core_file.rs"]
mod core_file;

use std::fs::File;

use core_file::{core_file, elf, Bytes, Header};
use ftrace_analyzer::core_dump::backtrace::{frames, By};
use ftrace_analyzer::core_dump::elf::Core;

const ARM: u64 = 40;
const AARCH64: u64 = 183;
const X86_64: u64 = 62;
const CODE: u64 = 0x1_0000;
const STACK: u64 = 0x7000_0000;

fn frames_of(name: &str, core: &[u8]) -> Vec<(u64, By)> {
    let path = std::env::temp_dir().join(format!("ftrace-analyzer-frames-{name}-{}", std::process::id()));
    std::fs::write(&path, core).unwrap();
    let core = Core::open(File::open(&path).unwrap()).unwrap();
    let found = frames(&core, &|_| None);
    std::fs::remove_file(path).unwrap();
    found.iter().map(|frame| (frame.pc, frame.by)).collect()
}

fn words(words: &[u64], width: usize) -> Vec<u8> {
    let mut bytes = Bytes::default();
    for word in words {
        bytes.number(*word, width);
    }
    bytes.0
}

/// A program whose table for 32-bit ARM is at 0x800 and has these entries, of functions at these places.
fn arm_program(entries: &[(u64, u64)], more: &[(usize, Vec<u8>)]) -> Vec<u8> {
    let size = entries.len() as u64 * 8;
    let headers = [
        Header { kind: 1, flags: 5, offset: 0, address: CODE, bytes: 0x1000 },
        Header { kind: 0x7000_0001, flags: 4, offset: 0x800, address: CODE + 0x800, bytes: size },
    ];
    let mut program = elf(ARM, false, 2, &headers);
    program.at(0x1000, &[]);
    for (nth, (function, entry)) in entries.iter().enumerate() {
        let at = 0x800 + nth as u64 * 8;
        let offset = function.wrapping_sub(at) & 0x7fff_ffff;
        program.at(at as usize, &words(&[offset, *entry], 4));
    }
    for (at, bytes) in more {
        program.at(*at, bytes);
    }
    program.0
}

fn arm_registers(pc: u64, lr: u64) -> Vec<u64> {
    let mut registers = vec![0; 18];
    (registers[13], registers[14], registers[15]) = (STACK, lr, pc);
    registers
}

#[test]
fn thirty_two_bit_arm_is_unwound_by_its_table_and_by_calls_on_the_stack_where_that_has_nothing() {
    // sub sp, #8 and push {r4, lr}; one that tells nothing; one with more instructions than fit, pop {r4-r7, fp, lr}.
    let entries = [(0x200, 0x8001_a8b0), (0x300, 1), (0x400, 0x500), (0x500, 0x8000_0001)];
    let more = [
        // BL before 0x320, BLX r1 before 0x330, BL of ARM before 0x340.
        (0x31c, vec![0x00, 0xf0, 0x00, 0xf8]),
        (0x32e, vec![0x88, 0x47]),
        (0x33c, vec![0x00, 0x00, 0x00, 0xeb]),
        // The third one's entry is at 0x814 + 0x500: short form 1, one more word.
        (0xd14, words(&[0x8101_0181, 0x10ab_b0b0], 4)),
    ];
    let program = arm_program(&entries, &more);
    let code = |at: u64| CODE + at;
    // 8 bytes, r4, and where it goes on in the second one, in Thumb; nothing, what is behind no call, then two that are.
    let stack = [1, 2, 4, code(0x321), 5, code(0x211), code(0x331), 0, code(0x340), 9];
    let mut bytes = words(&stack, 4);
    bytes.resize(4096, 0);
    let core =
        core_file(ARM, false, &arm_registers(code(0x210), 0), &[(CODE, program.clone(), true), (STACK, bytes, false)]);
    let found = frames_of("arm", &core);
    let wanted =
        [(code(0x210), By::Register), (code(0x320), By::Table), (code(0x330), By::Guess), (code(0x340), By::Guess)];
    assert_eq!(found, wanted);

    // The third function: sp += 8, pop {r8, r12} (81 10), pop {r4-r7, lr} (ab), in two words behind the table.
    let stack = [1, 2, 8, 12, 4, 5, 6, 7, code(0x321), 0];
    let mut bytes = words(&stack, 4);
    bytes.resize(4096, 0);
    let core = core_file(ARM, false, &arm_registers(code(0x410), 0), &[(CODE, program, true), (STACK, bytes, false)]);
    assert_eq!(frames_of("arm-long", &core), [(code(0x410), By::Register), (code(0x320), By::Table)]);
}

#[test]
fn on_aarch64_the_link_register_and_frame_pointers_tell_what_tables_do_not() {
    let mut registers = vec![0; 34];
    // A function that calls none has no frame; signed addresses have more bits than addresses.
    (registers[29], registers[30], registers[31], registers[32]) = (STACK + 16, CODE + 0x100, STACK, CODE + 0x40);
    let signed = 0x002a_0000_0000_0000 | (CODE + 0x200);
    let stack = words(&[0, 0, STACK + 64, signed, 0, 0, 0, 0, 0, CODE + 0x300], 8);
    let core = core_file(AARCH64, true, &registers, &[(CODE, vec![0; 4096], true), (STACK, stack, false)]);
    let wanted = [
        (CODE + 0x40, By::Register),
        (CODE + 0x100, By::Guess),
        (CODE + 0x200, By::FramePointer),
        (CODE + 0x300, By::FramePointer),
    ];
    assert_eq!(frames_of("aarch64", &core), wanted);
}

#[test]
fn a_call_of_what_is_no_code_is_told_by_what_it_left_on_the_stack() {
    let mut registers = vec![0; 27];
    (registers[4], registers[16], registers[19]) = (STACK + 24, 0, STACK);
    let stack = words(&[CODE + 0x500, 7, 7, STACK + 48, CODE + 0x600, 0, 0, 0x1234], 8);
    let core = core_file(X86_64, true, &registers, &[(CODE, vec![0; 4096], true), (STACK, stack, false)]);
    // What is no code ends it.
    let wanted = [(0, By::Register), (CODE + 0x500, By::Guess), (CODE + 0x600, By::FramePointer)];
    assert_eq!(frames_of("null", &core), wanted);
}

#[test]
fn a_stack_that_points_at_itself_ends() {
    let mut registers = vec![0; 27];
    (registers[4], registers[16], registers[19]) = (STACK, CODE + 8, STACK);
    let stack = words(&[STACK, CODE + 0x500], 8);
    let core = core_file(X86_64, true, &registers, &[(CODE, vec![0; 4096], true), (STACK, stack, false)]);
    assert!(frames_of("loop", &core).len() <= 2);
}
