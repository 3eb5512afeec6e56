// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Panics in three ways, to see what a binary made by cross/build says: the product has no verb for it. Run by `cross/try`,
//! which has `cross/where` name the line of the address that is told (`src/sys/trap.rs`).

#![no_main]

use std::ffi::OsString;

ftrace_analyzer::c_main!(begin);

// One function for each: traps of one function share an instruction, and then its line is nobody's.
fn begin(words: Vec<OsString>) -> u8 {
    match words.get(1).and_then(|word| word.to_str()) {
        Some("message") => message(&words),
        Some("bounds") => bounds(&words),
        Some("text") => text(words[1].to_str().unwrap_or_default()),
        _ => 2,
    }
}

#[inline(never)]
fn message(words: &[OsString]) -> u8 {
    if words.len() > 1 {
        panic!("a message about {}", words.len()) // line of "message"
    }
    3
}

#[inline(never)]
fn bounds(words: &[OsString]) -> u8 {
    words[words.iter().filter(|word| !word.is_empty()).count()].len() as u8 // line of "bounds"
}

#[inline(never)]
fn text(word: &str) -> u8 {
    word[word.len() + 7..].len() as u8 // line of "text"
}
