// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Panics in three ways, to see what a binary made by cross/build says: the product has no verb for it. Run by `cross/try`.
//! Source of truth: std's panic hook, which prints `thread 'main' panicked at FILE:LINE:COLUMN:` and the message.

use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    match words.get(1).map(String::as_str) {
        Some("message") => panic!("a message about {}", words.len()),
        Some("bounds") => println(&words[words.len()]),
        Some("text") => println(&words[1][words.len() + 7..]),
        _ => return ExitCode::from(2),
    }
    ExitCode::SUCCESS
}

fn println(text: &str) {
    let _ = std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes());
}
