// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The few system calls that nix lacks or leaves unsafe, each behind a safe function: the only unsafe code of the crate.
//! And what std does with more code than it takes.
//!
//! Source: the manual pages of section 2 named at each function.

mod files;
mod heap;
mod privileges;
mod process;
mod signal;
mod socket;
mod start;
mod time;
mod trap;

pub use files::{
    exists, free_bytes, give, is_absolute, is_dir, last_part, lock, lock_in_turn, make_dir, make_dirs, make_dirs_for,
    make_like, make_private, mount, names, names_up_to, numbers, open, open_for, parent, read_link, read_link_bytes,
    read_on, read_text, remove_dir, remove_dir_with_files, remove_file, rename, set_len, set_rights, status, status_of,
    status_of_link, unlock, value_of, Status,
};
pub use heap::Heap;
pub use privileges::{
    act_as, as_owner, confine, owner, set_owner, set_umask, AsOwner, CAP_CHECKPOINT_RESTORE, CAP_SETGID, CAP_SETUID,
    CAP_SYS_NICE, CAP_SYS_PTRACE,
};
pub use process::{
    close_on_execute, close_others, detach_stdio, die_with_dump, dump_mode, end_with_parent, enter_root, fork,
    host_name, interrupt, kill, lower_nice, output, owner_of_namespace, page_size, parent_of_namespace, pid_of,
    pidfd_open, pipe, run_first, set_name, set_pipe_size, spend_pid, wait, Forked,
};
pub use signal::{hold_signals, ignore_signal, read_signal, reset_signals, signal_file};
pub use socket::{accept, connect, connect_now, datagrams, end_writing, listen, peer, receive_with, send_with, Peer};
pub use start::{begin, execute, exit, variable, Stdio};
pub use time::{monotonic_ms, poll, realtime_ns, sleep_ms};
pub use trap::log_traps;
