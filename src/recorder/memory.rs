// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How much of a small board's memory recordings may take: the size of ring buffers, and when not to trace at all.
//!
//! Ring buffers belong to no process that the OOM killer could find, so what they take, somebody else dies for. Each
//! recording takes a share of what is available above a reserve, the next one a share of the rest: however many
//! containers start, they end with smaller buffers, and at last with none, but the reserve stays.
//! Source: kernel/trace/trace.c `trace_array_create_systems` (a new instance gets buffers of the default size on every
//! CPU at once), fs/tracefs/event_inode.c (since 6.6; before, every file of every event was an inode of its own).
//! Figures: docs/kernel-support.md.

use super::target::Origin;
use crate::arch::kernel_version;
use crate::error::{Error, Kind, Result};
use crate::proc;

/// Size of a new instance's buffer per CPU on all kernels so far, in KiB.
pub const KERNEL_BUFFER_KB: u64 = 1408;
/// Buffer per CPU for `run` and `attach`, in KiB, where memory allows.
const BUFFER_KB: u64 = 4096;
/// Smallest buffer per CPU that is chosen by itself, in KiB.
const BUFFER_MIN_KB: u64 = 128;

/// Memory in KiB of which recordings take no share: what runc takes for a moment to start the next container (20 to 25
/// MB on arm64) comes from it.
const RESERVE_KB: u64 = 24 << 10;
/// Memory in KiB below which no recording begins, beside what it takes itself.
const FLOOR_KB: u64 = 8 << 10;
/// What a recorder takes beside its buffers, in KiB: its own memory, and the instance's half a megabyte.
const RECORDER_KB: u64 = 1024;
/// What the event files of one instance take before 6.6, in KiB (8.45 MB of slab measured on Debian's 6.1 for arm64).
const EVENT_FILES_KB: u64 = 8650;

/// The kernel from which on event files are no inodes until they are used.
const EVENTFS: (u32, u32) = (6, 6);

/// Part of the memory above the reserve that the buffers of one hook's container may take: with 1/32, 20 containers that
/// start with 64 MB left fit. Commands are few, and somebody waits for them: 1/8.
const HOOK_SHARE: u64 = 32;
const COMMAND_SHARE: u64 = 8;
/// Part of the available memory that may be asked for with --buffer-size-kb: 1/2.
const ASKED_SHARE: u64 = 2;

/// Memory in KiB that recordings could have. Before 6.6 the inodes and directory entries of instances pass for
/// reclaimable, which they are not while the instance is there (OOM killer on Debian's 6.1 for arm64 with six of them).
pub fn available_kb() -> Option<u64> {
    let (_, _, release, ..) = proc::uname();
    proc::mem_available_kb(kernel_version(&release) >= EVENTFS)
}

/// Memory in KiB that the start of one recording takes on this kernel, before its buffers are cut.
pub fn needed_kb(release: &str, cpus: u64) -> u64 {
    let files = if kernel_version(release) < EVENTFS { EVENT_FILES_KB } else { 0 };
    files + RECORDER_KB + KERNEL_BUFFER_KB * cpus
}

/// Refuses to begin where the machine would be left without memory.
pub fn check_room(release: &str, cpus: u64, available_kb: Option<u64>) -> Result<()> {
    let needed = needed_kb(release, cpus);
    match available_kb {
        Some(available) if available < needed + FLOOR_KB => Err(Error::new(
            Kind::Io(nix::libc::ENOMEM),
            format!(
                "{available} KiB of memory are available; a recording takes {needed} KiB on kernel {release} with {cpus} \
                 CPUs, and {FLOOR_KB} KiB are left to others"
            ),
        )
        .hint("trace fewer containers at once, or free memory")),
        _ => Ok(()),
    }
}

/// Refuses buffers that would leave the machine without memory: the kernel would hand out the last page and then let the
/// OOM killer choose.
pub fn check_asked(kb: u64, cpus: u64, available_kb: Option<u64>) -> Result<()> {
    let wanted = kb.saturating_mul(cpus);
    let Some(most) = available_kb.map(|available| available / ASKED_SHARE) else { return Ok(()) };
    if wanted <= most {
        return Ok(());
    }
    Err(Error::limit(format!("{kb} KiB of buffer on each of {cpus} CPUs are {wanted} KiB of memory"), most)
        .hint(format!("half of what is free may go to buffers: --buffer-size-kb {} or less", most / cpus.max(1))))
}

/// The buffer per CPU in KiB that is chosen where the user does not: `have` is what the kernel made and `available_kb`
/// what is left with it.
pub fn buffer_kb(origin: Origin, have: u64, available_kb: u64, cpus: u64) -> u64 {
    let (wanted, share) = match origin {
        Origin::Hook => (have, HOOK_SHARE),
        _ => (have.max(BUFFER_KB), COMMAND_SHARE),
    };
    let room = available_kb.saturating_sub(RESERVE_KB) / share / cpus.max(1);
    wanted.min(room.max(BUFFER_MIN_KB))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_free_memory_may_be_asked_for_and_no_more() {
        assert!(check_asked(250, 2, Some(1000)).is_ok());
        let refused = check_asked(251, 2, Some(1000)).unwrap_err();
        assert_eq!(refused.to_string(), "251 KiB of buffer on each of 2 CPUs are 502 KiB of memory, the limit is 500");
        assert!(refused.remedy().is_some_and(|hint| hint.ends_with("--buffer-size-kb 250 or less")));
        assert!(check_asked(u64::MAX, 2, Some(1000)).is_err());
        assert!(check_asked(1, 1, None).is_ok());
    }

    #[test]
    fn buffers_are_the_kernels_or_larger_and_shrink_with_the_memory() {
        assert_eq!(buffer_kb(Origin::Hook, 1410, 1 << 20, 4), 1410);
        assert_eq!(buffer_kb(Origin::Run, 1410, 1 << 20, 4), BUFFER_KB);
        assert_eq!(buffer_kb(Origin::Run, 1410, 88 << 10, 4), 2048);
        assert_eq!(buffer_kb(Origin::Hook, 1410, 88 << 10, 2), 1024);
        assert_eq!(buffer_kb(Origin::Hook, 1410, 0, 4), BUFFER_MIN_KB);
    }

    #[test]
    fn twenty_containers_fit_into_64_mb() {
        let (mut available, cpus) = (64 << 10, 2);
        for _ in 0..20 {
            check_room("6.12.107", cpus, Some(available)).unwrap();
            let buffers = cpus * buffer_kb(Origin::Hook, KERNEL_BUFFER_KB, available, cpus);
            // A container whose only process sleeps takes about as much as its recorder.
            available -= RECORDER_KB + 1024 + buffers;
        }
        let refused = check_room("6.12.107", cpus, Some(needed_kb("6.12", cpus) + FLOOR_KB - 1)).unwrap_err();
        assert!(refused.to_string().contains("on kernel 6.12.107 with 2 CPUs"), "{refused}");
        assert_eq!(refused.exit_code(), 1);
    }

    #[test]
    fn event_files_count_before_eventfs() {
        assert_eq!(needed_kb("6.1.0-50-arm64", 2) - needed_kb("6.6.30-yocto-standard", 2), EVENT_FILES_KB);
        assert_eq!(needed_kb("5.15.0", 2), needed_kb("6.5.13", 2));
        assert!(check_room("odd", 1, None).is_ok());
    }
}
