// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What cross/check lets through and what it refuses: it is the last to see a binary before a board does. The binaries are
//! ELF headers made here, by the System V ABI ("Object Files"; `GNU_STACK` and `GNU_RELRO` by the Linux Standard Base).
#![allow(clippy::expect_used)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

const LOAD: u32 = 1;
const DYNAMIC: u32 = 2;
const INTERP: u32 = 3;
const GNU_STACK: u32 = 0x6474_e551;
const GNU_RELRO: u32 = 0x6474_e552;
const READ: u32 = 4;
const WRITE: u32 = 2;
const EXECUTE: u32 = 1;

/// The headers of a proper binary.
const PROPER: [(u32, u32); 3] = [(LOAD, READ | EXECUTE), (GNU_RELRO, READ), (GNU_STACK, READ | WRITE)];

/// A 64-bit little-endian executable for aarch64 with these program headers (type, flags), each over the same bytes at the
/// end: the text of an interpreter, or of a dynamic section that needs one library.
fn elf(segments: &[(u32, u32)]) -> Vec<u8> {
    let end = 64 + 56 * segments.len() as u64;
    let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    bytes.extend([2, 0, 183, 0, 1, 0, 0, 0]); // ET_EXEC, EM_AARCH64, version
    bytes.extend([0x40_0000u64, 64, 0].iter().flat_map(|value| value.to_le_bytes())); // entry, program and section headers
    bytes.extend(0u32.to_le_bytes());
    bytes.extend([64u16, 56, segments.len() as u16, 64, 0, 0].iter().flat_map(|value| value.to_le_bytes()));
    for (kind, flags) in segments {
        bytes.extend(kind.to_le_bytes());
        bytes.extend(flags.to_le_bytes());
        bytes.extend([end, 0x40_0000 + end, 0x40_0000 + end, 64, 64, 8].iter().flat_map(|value| value.to_le_bytes()));
    }
    if segments.iter().any(|(kind, _)| *kind == DYNAMIC) {
        // DT_NEEDED, DT_NULL
        bytes.extend([1u64, 1, 0, 0, 0, 0, 0, 0].iter().flat_map(|value| value.to_le_bytes()));
    } else {
        bytes.extend(b"/lib/ld.so\0");
        bytes.resize(bytes.len() + 53, 0);
    }
    bytes
}

fn with(more: &[(u32, u32)]) -> Vec<u8> {
    elf(&[&PROPER, more].concat())
}

fn without(kind: u32) -> Vec<u8> {
    elf(&PROPER.into_iter().filter(|segment| segment.0 != kind).collect::<Vec<_>>())
}

fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cross-{name}"));
    std::fs::write(&path, bytes).expect("write a binary");
    path
}

/// The exit status and all that was said.
fn check(arguments: &[&str]) -> (i32, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("cross/check");
    let output = Command::new(script).args(arguments).output().expect("cross/check runs");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().expect("an exit status"), String::from_utf8_lossy(&said).into_owned())
}

/// False where readelf is missing, after saying so.
fn has_readelf(test: &str) -> bool {
    if Command::new("readelf").arg("--version").output().is_ok_and(|output| output.status.success()) {
        return true;
    }
    let line = format!("SKIPPED cross::{test}: readelf is missing (package binutils)\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
    if let Some(path) = std::env::var_os("FTRACE_ANALYZER_SKIP_LOG") {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(path);
        log.and_then(|mut log| log.write_all(line.as_bytes())).expect("write FTRACE_ANALYZER_SKIP_LOG");
    }
    false
}

#[test]
fn a_proper_binary_passes_up_to_the_limit() {
    if !has_readelf("a_proper_binary_passes_up_to_the_limit") {
        return;
    }
    let bytes = elf(&PROPER);
    let path = file("proper", &bytes);
    let path = path.to_str().expect("a path of ours");
    assert_eq!(check(&[path]).0, 0, "{}", check(&[path]).1);
    assert_eq!(check(&[path, &bytes.len().to_string()]).0, 0);
    let (status, said) = check(&[path, &(bytes.len() - 1).to_string()]);
    assert_eq!(status, 1, "{said}");
    assert!(said.contains("1 more than the"), "{said}");
}

#[test]
fn what_a_board_can_not_take_is_refused_by_name() {
    if !has_readelf("what_a_board_can_not_take_is_refused_by_name") {
        return;
    }
    let cases = [
        ("interpreter", with(&[(INTERP, READ)]), "asks for an interpreter"),
        ("libraries", with(&[(DYNAMIC, READ)]), "asks for shared libraries"),
        ("no-stack-header", without(GNU_STACK), "has no GNU_STACK header"),
        (
            "executable-stack",
            elf(&[(LOAD, READ | EXECUTE), (GNU_RELRO, READ), (GNU_STACK, READ | WRITE | EXECUTE)]),
            "has an executable stack",
        ),
        ("no-relro", without(GNU_RELRO), "has no GNU_RELRO header"),
        ("text", b"#!/bin/sh\n".to_vec(), "not an ELF file"),
        ("empty", Vec::new(), "not an ELF file"),
        ("cut-off", elf(&PROPER)[..10].to_vec(), "not an ELF file"),
    ];
    for (name, bytes, reason) in cases {
        let path = file(name, &bytes);
        let (status, said) = check(&[path.to_str().expect("a path of ours")]);
        assert_eq!(status, 1, "{name}: {said}");
        assert!(said.contains(reason), "{name}: {said}");
    }
}

#[test]
fn all_that_is_wrong_is_named_at_once() {
    if !has_readelf("all_that_is_wrong_is_named_at_once") {
        return;
    }
    let path = file("all", &elf(&[(LOAD, READ | EXECUTE), (INTERP, READ)]));
    let (status, said) = check(&[path.to_str().expect("a path of ours"), "1"]);
    assert_eq!(status, 1);
    for reason in ["an interpreter", "GNU_STACK", "GNU_RELRO", "more than the 1 allowed"] {
        assert!(said.contains(reason), "{reason}: {said}");
    }
}

/// A real one, as a linker makes it: with glibc tests are dynamic.
#[test]
fn a_program_of_this_machine_is_refused() {
    if !has_readelf("a_program_of_this_machine_is_refused") {
        return;
    }
    let own = std::env::current_exe().expect("the test's own program");
    let (status, said) = check(&[own.to_str().expect("a path"), "1000000000"]);
    if cfg!(target_env = "gnu") {
        assert_eq!(status, 1, "{said}");
        assert!(said.contains("asks for an interpreter") && said.contains("asks for shared libraries"), "{said}");
    }
}

#[test]
fn what_could_not_be_looked_at_is_another_status() {
    let path = file("looked", &elf(&PROPER));
    let path = path.to_str().expect("a path of ours");
    let limits = ["many", "", "-5", "99999999999999999999"].map(|limit| vec![path, limit]);
    let others = [vec![], vec![path, "1", "2"], vec!["/nonexistent/binary"], vec!["/dev"]];
    for arguments in limits.iter().chain(&others) {
        let (status, said) = check(arguments);
        assert_eq!(status, 2, "{arguments:?}: {said}");
        assert!(!said.is_empty());
    }
}
