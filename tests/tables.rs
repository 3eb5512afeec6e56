// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Holds that the committed tables are what `tests/tables/generate` makes of the committed snapshots: nobody edited
//! one and not the other. Needs Python 3, no network.

use std::process::Command;

#[test]
#[allow(clippy::print_stdout)] // the reason for skipping has no other way out
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
