// SPDX-License-Identifier: Apache-2.0 OR MIT
//! All tests that run on a board (cross/board), in one program: compiled for another machine, copied and started once.
//! `cargo test` leaves it out, as it runs the same tests from their own programs.
//!
//! Left out: `faults_damage` and `faults_files` are about files, wherever they were made; `faults_recorder` needs GNU
//! tools, and `live_many` is too long for an emulated machine. `live_seccomp_options` is about the commands' options,
//! which are the same everywhere, `live_installed` about texts of configuration, `live_pods` and `live_kubectl` about
//! names and how they are asked for.

#[path = "faults_hook.rs"]
mod faults_hook;
#[path = "faults_setup.rs"]
mod faults_setup;
#[path = "live_abi.rs"]
mod live_abi;
#[path = "live_attach.rs"]
mod live_attach;
#[path = "live_balance.rs"]
mod live_balance;
#[path = "live_board.rs"]
mod live_board;
#[path = "live_container.rs"]
mod live_container;
#[path = "live_core.rs"]
mod live_core;
#[path = "live_core_limits.rs"]
mod live_core_limits;
#[path = "live_count.rs"]
mod live_count;
#[path = "live_data.rs"]
mod live_data;
#[path = "live_decode.rs"]
mod live_decode;
#[path = "live_hooks.rs"]
mod live_hooks;
#[path = "live_joins.rs"]
mod live_joins;
#[path = "live_privileges.rs"]
mod live_privileges;
#[path = "live_quiet.rs"]
mod live_quiet;
#[path = "live_reports.rs"]
mod live_reports;
#[path = "live_run.rs"]
mod live_run;
#[path = "live_seccomp.rs"]
mod live_seccomp;
#[path = "live_strings.rs"]
mod live_strings;
#[path = "board/memory.rs"]
mod memory;
#[path = "strace_compare.rs"]
mod strace_compare;
