// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The binary: everything is in the library.

#![no_main]

ftrace_analyzer::c_main!(ftrace_analyzer::cli::main);
