// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How tasks end.

use super::*;

#[test]
fn exit_and_exit_group_never_return_and_give_their_status() {
    let mut log = Log::two();
    log.enter(1, EXIT_GROUP, 0x103).dies(1).enter(2, EXIT, 7).dies(2);
    log.shows(&["1 exit_group(259)=never", "1 Exited(3)", "2 exit(7)=never", "2 Exited(7)"]);
}

#[test]
fn threads_end_with_the_status_of_another_threads_exit_group() {
    let mut log = Log::new(&meta("x86_64", &[(1, 1), (2, 1), (3, 3)]));
    log.enter(2, READ, 3).enter(1, EXIT_GROUP, 4).deliver(2, 9, 0).dies(2).dies(1).enter(3, READ, 0).dies(3);
    log.ends(&[
        "2 read(3)=unfinished",
        "1 exit_group(4)=never",
        "2 Exited(4)",
        "1 Exited(4)",
        "3 read(0)=unfinished",
        "3 Unknown",
    ]);
}

#[test]
fn a_thread_that_called_exit_keeps_its_own_status() {
    let mut log = Log::new(&meta("x86_64", &[(1, 1), (2, 1)]));
    log.enter(2, EXIT, 0).dies(2).enter(1, EXIT_GROUP, 4).dies(1);
    log.shows(&["2 exit(0)=never", "2 Exited(0)", "1 exit_group(4)=never", "1 Exited(4)"]);
}

#[test]
fn a_fatal_signal_ends_all_threads() {
    let mut log = Log::new(&meta("x86_64", &[(1, 1), (2, 1)]));
    log.enter(1, READ, 3).deliver(2, 11, 0).deliver(1, 9, 0).dies(1).dies(2);
    log.shows(&["1 read(3)=unfinished", "2 signal 11 code 0", "1 Killed(11)", "2 Killed(11)"]);
}

#[test]
fn a_signal_with_a_handler_ends_nobody() {
    let mut log = Log::two();
    log.deliver(1, 11, 0x1234).enter(1, EXIT_GROUP, 1).dies(1);
    log.shows(&["1 signal 11 code 0", "1 exit_group(1)=never", "1 Exited(1)"]);
}

#[test]
fn ignored_kinds_of_signals_end_nobody() {
    let mut log = Log::two();
    log.deliver(1, 17, 0).deliver(1, 28, 0).dies(1);
    log.shows(&["1 signal 17 code 0", "1 signal 28 code 0", "1 Unknown"]);
}

#[test]
fn a_signal_that_its_receiver_survived_is_not_its_end() {
    // The first process of a pid namespace.
    let mut log = Log::new(&meta("x86_64", &[(1, 1), (2, 1)]));
    log.deliver(2, 15, 0).enter(2, READ, 0).exit(2, READ, 0).dies(1).dies(2);
    log.shows(&["2 signal 15 code 0", "2 read(0)=0 <10>", "1 Unknown", "2 Unknown"]);
}

#[test]
fn sigterm_arrives_as_sigkill_and_is_named_by_its_sender() {
    let mut log = Log::two();
    log.enter(1, READ, 3).send(2, 1, 15, 0).deliver(1, 9, 0).dies(1);
    log.shows(&["1 read(3)=unfinished", "1 Killed(15)"]);
    let mut log = Log::two();
    log.send(2, 1, 15, 0).send(2, 1, 9, 0).deliver(1, 9, 0).dies(1);
    log.shows(&["1 Killed(9)"]);
}

#[test]
fn signals_ignored_when_sent_or_handled_later_are_not_the_end() {
    let mut log = Log::two();
    log.send(2, 1, 15, 1).deliver(1, 9, 0).dies(1);
    log.shows(&["1 KilledFromOutside"]);
    let mut log = Log::two();
    log.send(2, 1, 15, 0).deliver(1, 15, 0x1234).deliver(1, 9, 0).dies(1);
    log.shows(&["1 signal 15 code 0", "1 KilledFromOutside"]);
}

#[test]
fn a_killer_outside_the_recording_is_not_made_up() {
    let mut log = Log::two();
    log.enter(1, READ, 3).deliver(1, 9, 0).dies(1);
    log.shows(&["1 read(3)=unfinished", "1 KilledFromOutside"]);
}

#[test]
fn a_failed_execve_supersedes_nobody() {
    let mut log = Log::new(&meta("x86_64", &[(1, 1), (2, 1)]));
    log.enter(2, EXECVE, 0).exit(2, EXECVE, -2).deliver(1, 9, 0).dies(1);
    log.shows(&["2 execve(0)=-2 <10>", "1 KilledFromOutside"]);
}

#[test]
fn threads_made_while_we_watched_belong_to_their_process() {
    let mut log = Log::two();
    log.enter(1, CLONE, 0).fork(1, 5, CLONE_THREAD).exit(1, CLONE, 5).exit(5, CLONE, 0);
    log.enter(5, EXIT_GROUP, 9).deliver(1, 9, 0).dies(1).dies(5);
    log.shows(&["1 clone(0)=5 <30>", "5 exit_group(9)=never", "1 Exited(9)", "5 Exited(9)"]);
}

#[test]
fn a_thread_killed_inside_execve_did_not_supersede_itself() {
    let mut log = Log::two();
    log.enter(1, EXECVE, 0).deliver(1, 9, 0).dies(1);
    log.shows(&["1 execve(0)=unfinished", "1 KilledFromOutside"]);
}

#[test]
fn nothing_outdoes_sigkill() {
    let mut log = Log::two();
    log.send(2, 1, 9, 0).send(2, 1, 15, 0).deliver(1, 9, 0).dies(1);
    log.shows(&["1 Killed(9)"]);
}
