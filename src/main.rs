// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The binary: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(ftrace_analyzer::cli::main(std::env::args_os().collect()))
}
