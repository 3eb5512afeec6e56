// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Holds that the committed tables are what `tests/tables/generate` makes of the committed snapshots: nobody edited
//! one and not the other. Needs Python 3, no network. And that arguments are those that this machine's kernel has.
#![allow(clippy::print_stdout, clippy::unwrap_used)] // the reason for skipping has no other way out

use std::fs;
use std::process::Command;

use ftrace_analyzer::arch::Abi;
use ftrace_analyzer::syscalls::{arguments, number};

#[test]
fn tables_are_what_the_generator_writes() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tables/generate");
    let output = match Command::new("python3").args([script, "--check"]).output() {
        Ok(output) => output,
        Err(error) => {
            println!("skipped: tables_are_what_the_generator_writes: python3 does not start here: {error}");
            return;
        }
    };
    assert!(
        output.status.success(),
        "run tests/tables/generate and commit what it changes:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Calls that show fewer or other arguments than they take: what a device file or a restart needs besides, clone in
/// strace's order, the position of preadv that is one argument in two registers, and bpf's of 7.1.
const SHOWN_OTHERWISE: [&str; 8] = ["bpf", "clone", "mknod", "mknodat", "preadv", "preadv2", "pwritev", "pwritev2"];

#[test]
#[cfg(target_arch = "x86_64")]
fn arguments_are_those_of_this_machines_kernel() {
    let name = "arguments_are_those_of_this_machines_kernel";
    let events = "/sys/kernel/tracing/events/syscalls";
    let Ok(entries) = fs::read_dir(events) else {
        println!("skipped: {name}: no {events}");
        return;
    };
    let (mut calls, mut names, mut same) = (0, 0, 0);
    let mut wrong = Vec::new();
    for entry in entries.flatten() {
        let event = entry.file_name().into_string().unwrap();
        let Some(call) = event.strip_prefix("sys_enter_") else { continue };
        let Some(nr) = number(Abi::X86_64, call) else { continue };
        if SHOWN_OTHERWISE.contains(&call) || call == "reboot" {
            continue;
        }
        let format = fs::read_to_string(entry.path().join("format")).unwrap();
        let fields = format.lines().filter_map(|line| line.trim().strip_prefix("field:")?.split(';').next());
        let fields: Vec<&str> = fields.map(|field| field.rsplit([' ', '*']).next().unwrap()).collect();
        let fields: Vec<&str> = fields.into_iter().skip_while(|field| *field != "__syscall_nr").skip(1).collect();
        // All bits set: no command that takes fewer, and every flag that asks for more.
        let found = arguments(Abi::X86_64, nr, &[u64::MAX; 6]).unwrap_or_default();
        let ours: Vec<&str> = found.as_slice().iter().map(|argument| argument.name()).collect();
        calls += 1;
        names += ours.len();
        same += ours.iter().zip(&fields).filter(|(ours, theirs)| ours == theirs).count();
        if ours.len() != fields.len() {
            wrong.push(format!("{call}: {ours:?}, and the kernel has {fields:?}"));
        }
    }
    println!("{calls} calls, {names} arguments, {same} of the same name");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // The prototypes in the header and the definitions do not always use the same words.
    assert!(calls > 250 && same * 10 > names * 7, "{same} of {names}");
}
