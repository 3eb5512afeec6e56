// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Births, names, execs and ends of tasks, and how many of them are remembered.

use super::*;
use crate::arch::Arch;
use crate::recording::InitialTask;

fn meta(tasks: &[(Pid, Pid, &str, &str)]) -> Meta {
    let initial = |&(tid, tgid, comm, abi): &(Pid, Pid, &str, &str)| InitialTask {
        tid,
        tgid,
        comm: comm.into(),
        abi: abi.into(),
        ..InitialTask::default()
    };
    Meta { tasks: tasks.iter().map(initial).collect(), ..Meta::default() }
}

fn tasks(meta: &Meta) -> Tasks<()> {
    Tasks::new(meta, Abis::new(Arch::X86_64))
}

fn of(tasks: &Tasks<()>, pid: Pid) -> Task<()> {
    tasks.get(tasks.find(pid).unwrap()).unwrap().clone()
}

#[test]
fn tasks_of_the_start_have_names_groups_and_abis() {
    let tasks = tasks(&meta(&[(5, 5, "a name longer than fifteen", "i386"), (6, 5, "b", ""), (7, 7, "c", "arm")]));
    assert_eq!(of(&tasks, 5).comm.as_bytes(), b"a name longer t");
    assert_eq!((of(&tasks, 5).abi, of(&tasks, 5).settled), (Abi::I386, true));
    assert_eq!((of(&tasks, 6).tgid, of(&tasks, 6).image), (5, of(&tasks, 5).image));
    // An ABI that this kernel does not run says nothing.
    assert_eq!((of(&tasks, 7).abi, of(&tasks, 7).settled), (Abi::X86_64, false));
}

#[test]
fn threads_join_their_parents_group_and_processes_do_not() {
    let mut tasks = tasks(&meta(&[(5, 5, "sh", "")]));
    let parent = tasks.find(5).unwrap();
    tasks.born(1, parent, 6, b"sh", Some(CLONE_THREAD), |()| true).unwrap();
    tasks.born(2, parent, 7, b"sh", Some(0), |()| true).unwrap();
    assert!(tasks.born(2, parent, 7, b"sh", None, |()| true).is_none(), "the second event of one birth");
    let thread = tasks.find(6).unwrap();
    tasks.born(3, thread, 8, b"sh", Some(CLONE_THREAD), |()| true).unwrap();
    let groups = [6, 7, 8].map(|pid| (of(&tasks, pid).tgid, of(&tasks, pid).parent));
    assert_eq!(groups, [(5, 5), (7, 5), (5, 6)]);
    assert_eq!(of(&tasks, 8).image, of(&tasks, 5).image);
    assert_eq!(tasks.seen, 4);
}

#[test]
fn an_exec_by_a_thread_makes_it_the_leader() {
    let mut tasks = tasks(&meta(&[(5, 5, "sh", ""), (6, 5, "worker", "")]));
    let leader = tasks.slot(0, 5);
    assert_eq!(tasks.slot(1, 6), 1);
    tasks.exited(9, leader);
    tasks.renamed(1, 6, b"ls");
    let slot = tasks.execed(5, 6, b"/bin/ls");
    assert_eq!((tasks.find(5), tasks.find(6), tasks.slot(0, 5)), (Some(slot), None, slot));
    let task = of(&tasks, 5);
    assert_eq!((task.pid, task.tgid, task.comm.as_bytes(), task.ended), (5, 5, &b"ls"[..], None));
    // The number of the thread is free for another task.
    let other = tasks.slot(0, 6);
    assert_ne!(other, slot);
}

#[test]
fn without_rename_events_a_program_is_called_like_its_file() {
    let mut tasks = tasks(&meta(&[(5, 5, "sh", "")]));
    tasks.execed(5, 5, b"/usr/bin/a-very-long-program");
    assert_eq!(of(&tasks, 5).comm.as_bytes(), b"a-very-long-pro");
    tasks.renamed(0, 5, b"6");
    tasks.execed(5, 5, b"/dev/fd/7");
    assert_eq!(of(&tasks, 5).comm.as_bytes(), b"6");
}

#[test]
fn each_exec_is_an_image_and_a_fork_is_none() {
    let mut tasks = tasks(&meta(&[(5, 5, "sh", "")]));
    let parent = tasks.find(5).unwrap();
    tasks.born(1, parent, 6, b"sh", Some(0), |()| true);
    assert_eq!(of(&tasks, 6).image, 0);
    tasks.execed(6, 6, b"ls");
    assert_eq!((of(&tasks, 5).image, of(&tasks, 6).image), (0, 1));
}

#[test]
fn the_dead_are_remembered_up_to_the_limit() {
    let mut tasks = tasks(&meta(&[]));
    for pid in 1..=DEAD_MAX as Pid {
        let slot = tasks.slot(0, pid);
        tasks.exited(1, slot);
    }
    assert!(tasks.find(1).is_some());
    assert_eq!(tasks.slots(), DEAD_MAX);
    // A number that came round again is not taken for its dead namesake.
    let parent = tasks.slot(0, 1);
    tasks.born(2, parent, 2, b"new", Some(0), |()| true);
    for pid in [100_001, 100_002] {
        let slot = tasks.slot(0, pid);
        tasks.exited(3, slot);
    }
    assert_eq!((tasks.find(1), of(&tasks, 2).comm.as_bytes()), (None, &b"new"[..]));
    for pid in 200_000..210_000 {
        let slot = tasks.slot(0, pid);
        tasks.exited(3, slot);
    }
    assert_eq!(tasks.slots(), DEAD_MAX + 1);
}

#[test]
fn what_runs_before_the_containers_execve_is_the_runtimes() {
    let mut meta = meta(&[(5, 5, "runc:[2:INIT]", ""), (6, 5, "runc:[2:INIT]", "")]);
    meta.starts_in_runtime = true;
    meta.init_pid = 5;
    let mut tasks = tasks(&meta);
    let other = tasks.find(6).unwrap();
    tasks.born(1, other, 7, b"runc", Some(0), |()| true);
    tasks.execed(7, 7, b"/usr/bin/newuidmap");
    assert!(tasks.in_runtime());
    tasks.execed(5, 5, b"/bin/sh");
    assert!(!tasks.in_runtime());
    assert_eq!([5, 6, 7].map(|pid| of(&tasks, pid).runtime), [false, true, true]);
    tasks.born(2, tasks.find(5).unwrap(), 8, b"sh", Some(0), |()| true);
    assert!(!of(&tasks, 8).runtime);
}

#[test]
fn what_joins_is_the_runtimes_until_its_own_execve_and_so_are_its_children() {
    let mut tasks = tasks(&meta(&[(5, 5, "sh", "")]));
    let slot = tasks.joined(20, 20, false, b"runc").unwrap();
    assert_eq!(tasks.joined(20, 20, false, b"runc"), None, "told twice");
    // Itself, once more.
    tasks.execed(20, 20, b"/dev/fd/5");
    let state = |tasks: &Tasks<()>, pid| (of(tasks, pid).join, of(tasks, pid).runtime);
    assert_eq!(state(&tasks, 20), (Join::SetUp, true));
    tasks.born(1, slot, 21, b"runc:[1:CHILD]", Some(0), |()| true);
    tasks.execed(21, 21, b"/bin/ls");
    assert_eq!([20, 21].map(|pid| state(&tasks, pid)), [(Join::SetUp, true), (Join::Done, false)]);
    assert_eq!(tasks.joined(21, 21, true, b"ls"), None, "its exec was seen");
    tasks.born(2, tasks.find(21).unwrap(), 22, b"ls", Some(0), |()| true);
    assert_eq!(state(&tasks, 22), (Join::No, false));
    assert!(tasks.joined(20, 20, true, b"sh").is_some(), "its exec was not seen");
    assert_eq!(state(&tasks, 20), (Join::Done, false));
}

#[test]
fn a_task_that_joined_late_is_the_containers_at_once_and_takes_the_place_of_a_dead_one() {
    let mut tasks = tasks(&meta(&[(5, 5, "sh", "")]));
    tasks.joined(20, 20, true, b"cat").unwrap();
    tasks.joined(21, 20, true, b"cat").unwrap();
    assert_eq!([20, 21].map(|pid| (of(&tasks, pid).tgid, of(&tasks, pid).runtime)), [(20, false), (20, false)]);
    let dead = tasks.find(20).unwrap();
    tasks.exited(3, dead);
    tasks.joined(20, 20, false, b"runc").unwrap();
    let task = of(&tasks, 20);
    assert_eq!((task.join, task.runtime, task.ended, task.comm.as_bytes()), (Join::SetUp, true, None, &b"runc"[..]));
}
