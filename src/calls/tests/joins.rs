// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Tasks that come into the container from outside, as the recorder's marks tell of them.

use super::*;

fn mark(log: &mut Log<'_>, text: &str) {
    // The recorder writes it.
    log.event(4000, Event::Mark { text: &[b"ftrace-analyzer: join ", text.as_bytes(), b"\n"].concat() });
}

#[test]
fn what_joins_is_the_runtimes_until_its_execve_which_is_the_containers() {
    let mut log = Log::two();
    mark(&mut log, "7 7 setup runc:[2:INIT]");
    log.exit(7, READ, 1).enter(7, WRITE, 2).exit(7, WRITE, 1).enter(7, EXECVE, 9).exec(7, 7).exit(7, EXECVE, 0);
    log.enter(7, GETPID, 0).exit(7, GETPID, 5).exit(7, MKDIR, -1);
    log.ends(&[
        // It was in a call already: nobody refused it.
        "runtime 7 read(0)=?1",
        "runtime 7 write(2)=1 <10>",
        "7 execve(9)=0 <20>",
        "7 joined SetUp",
        "7 getpid(0)=5 <10>",
        "7 mkdir(0)=refused-1",
    ]);
}

#[test]
fn the_process_that_the_runtime_makes_in_the_container_is_the_one_that_joins() {
    let mut log = Log::two();
    mark(&mut log, "7 7 setup runc");
    log.event(7, Event::Rename { pid: 7, comm: b"runc" });
    log.event(7, Event::Exec { pid: 7, old_pid: 7, filename: b"/dev/fd/5" }).enter(7, WRITE, 2).exit(7, WRITE, 1);
    log.fork(7, 8, 0).enter(8, READ, 0).exit(8, READ, 0).event(7, Event::Exit { pid: 7, comm: b"runc" });
    log.exec(8, 8).enter(8, GETPID, 0).exit(8, GETPID, 5);
    log.ends(&[
        "runtime 7 write(2)=1 <10>",
        "runtime 8 read(0)=0 <10>",
        "runtime 7 Unknown",
        "8 joined SetUp",
        "8 getpid(0)=5 <10>",
    ]);
}

#[test]
fn what_was_born_while_its_parent_was_being_listed_is_the_runtimes_too() {
    let mut log = Log::two();
    mark(&mut log, "7 7 setup runc:[2:INIT]");
    log.enter(9, READ, 0).exit(9, READ, 0);
    mark(&mut log, "9 7 setup runc:[2:INIT]");
    log.enter(11, READ, 0).exit(11, READ, 0).dies(9).dies(11).exec(7, 7).enter(12, GETPID, 0).exit(12, GETPID, 5);
    log.ends(&[
        "runtime 9 read(0)=0 <10>",
        "runtime 11 read(0)=0 <10>",
        "runtime 9 Unknown",
        "runtime 11 Unknown",
        "7 joined SetUp",
        // Nobody joins now: one whose birth was lost.
        "12 getpid(0)=5 <10>",
    ]);
}

#[test]
fn an_exit_alone_of_what_is_being_listed_is_a_refusal_only_with_a_filters_answer() {
    let mut log = Log::two();
    mark(&mut log, "7 7 setup runc:[2:INIT]");
    log.enter(7, WRITE, 2).exit(7, WRITE, 1).exit(7, READ, 0).exit(7, READ, -11).exit(7, MKDIR, -1).exit(7, MKDIR, -38);
    log.ends(&[
        "runtime 7 write(2)=1 <10>",
        "runtime 7 read(0)=?0",
        "runtime 7 read(0)=?-11",
        "runtime 7 mkdir(0)=refused-1",
        "runtime 7 mkdir(0)=refused-38",
    ]);
}

#[test]
fn a_join_that_was_seen_late_or_not_at_all_is_told_so() {
    let mut log = Log::two();
    mark(&mut log, "7 7 late sh");
    mark(&mut log, "8 7 late sh");
    log.exit(7, READ, 1);
    // The exec came while it was being listed.
    mark(&mut log, "9 9 setup runc:[2:INIT]");
    mark(&mut log, "9 9 late cat");
    log.enter(9, GETPID, 0).exit(9, GETPID, 5);
    mark(&mut log, "10 10 setup crun");
    mark(&mut log, "10 10 missed crun");
    log.ends(&["7 joined Late", "7 read(0)=?1", "9 joined Late", "9 getpid(0)=5 <10>", "10 joined Missed"]);
}

#[test]
fn a_program_of_which_nothing_but_the_end_was_recorded_is_told_as_missed() {
    let mut log = Log::two();
    mark(&mut log, "7 7 setup crun");
    // Its execve failed.
    mark(&mut log, "8 8 setup x");
    log.dies(7).dies(8);
    log.ends(&["7 joined Missed", "7 Unknown", "runtime 8 Unknown"]);
}

#[test]
fn marks_about_tasks_that_are_known_change_nothing() {
    let mut log = Log::two();
    log.enter(1, READ, 3);
    mark(&mut log, "1 1 setup runc");
    log.exit(1, READ, 5).fork(1, 3, 0).enter(3, READ, 0);
    mark(&mut log, "3 3 late child");
    mark(&mut log, "3 3 missed child");
    mark(&mut log, "nonsense");
    log.exit(3, READ, 0);
    log.ends(&["1 read(3)=5 <20>", "3 read(0)=0 <40>"]);
}
