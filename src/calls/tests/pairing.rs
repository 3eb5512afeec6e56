// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Enter without exit, exit without enter, and the two together.

use super::*;

#[test]
fn enter_and_exit_of_a_task_pair_across_cpus_and_between_others() {
    let mut log = Log::two();
    log.on(0).enter(1, READ, 3).on(1).enter(2, WRITE, 4).on(1).exit(1, READ, 5).on(0).exit(2, WRITE, -32);
    log.ends(&["1 read(3)=5 <20>", "2 write(4)=-32 <20>"]);
}

#[test]
fn a_recycled_cpu_cache_does_not_mix_tasks_up() {
    let mut log = Log::two();
    log.on(0).enter(1, READ, 1).enter(2, READ, 2).exit(1, READ, 1).on(3).exit(2, READ, 2).on(0).enter(2, WRITE, 0);
    log.exit(2, WRITE, 0);
    log.ends(&["1 read(1)=1 <20>", "2 read(2)=2 <20>", "2 write(0)=0 <10>"]);
}

#[test]
fn a_gap_between_enter_and_exit_makes_the_pair_uncertain() {
    let mut log = Log::two();
    log.enter(1, READ, 3).lost(1, 5).exit(1, READ, 5).enter(1, READ, 3).exit(1, READ, 6);
    log.ends(&["1 read(3)=5~", "lost Some(7) on 1", "1 read(3)=6 <10>"]);
}

#[test]
fn a_gap_that_began_before_the_enter_and_ends_behind_it_counts_too() {
    let mut log = Log::two();
    log.lost(1, 15).enter(1, READ, 3).exit(1, READ, 5).enter(1, READ, 3).exit(1, READ, 6);
    log.ends(&["lost Some(7) on 1", "1 read(3)=5~", "1 read(3)=6 <10>"]);
}

#[test]
fn a_gap_that_ends_at_the_enter_does_not_matter() {
    let mut log = Log::two();
    log.lost(1, 10).enter(1, READ, 3).exit(1, READ, 5);
    log.ends(&["lost Some(7) on 1", "1 read(3)=5 <10>"]);
}

#[test]
fn an_enter_that_follows_an_enter_leaves_the_first_unfinished() {
    let mut log = Log::two();
    log.enter(1, READ, 3).lost(0, 5).enter(1, WRITE, 1).exit(1, WRITE, 1);
    log.ends(&["1 read(3)=unfinished", "lost Some(7) on 0", "1 write(1)=1 <10>"]);
}

#[test]
fn an_exit_of_another_call_leaves_the_open_one_unfinished() {
    let mut log = Log::two();
    log.enter(1, READ, 3).lost(0, 5).exit(1, WRITE, 1);
    log.ends(&["1 read(3)=unfinished", "lost Some(7) on 0", "1 write(0)=?1~"]);
}

#[test]
fn an_exit_without_enter_is_seccomps_answer() {
    let mut log = Log::two();
    log.exit(1, MKDIR, -1).exit(1, MKDIR, MKDIR.into()).exit(2, MKDIR, 0).enter(1, READ, 0).exit(1, READ, 0);
    log.ends(&["1 mkdir(0)=refused-1", "1 mkdir(0)=refused83", "2 mkdir(0)=refused0", "1 read(0)=0 <10>"]);
}

#[test]
fn the_first_exit_of_a_task_is_never_called_a_refusal() {
    let mut log = Log::new(&meta("x86_64", &[(1, 1)]));
    log.exit(1, READ, -4).exit(1, MKDIR, -1).exit(9, READ, -4);
    log.ends(&["1 read(0)=?-4", "1 mkdir(0)=refused-1", "9 read(0)=?-4"]);
}

#[test]
fn an_exit_behind_a_gap_is_never_called_a_refusal() {
    let mut log = Log::two();
    log.lost(1, 5).exit(1, MKDIR, -1).exit(1, MKDIR, -1).exit(2, MKDIR, -1);
    log.ends(&["lost Some(7) on 1", "1 mkdir(0)=?-1~", "1 mkdir(0)=refused-1", "2 mkdir(0)=?-1~"]);
}

#[test]
fn damage_is_a_gap_up_to_the_next_event_of_its_cpu() {
    let mut log = Log::two();
    let error = crate::recording::Damage::Missing;
    let item = Item::Damaged { cpu: 1, ts: log.ts, file: "x".into(), offset: 0, error };
    log.tracker.feed(item, &mut log.order);
    log.exit(1, MKDIR, -1).enter(2, READ, 3).exit(2, READ, 3).enter(2, READ, 4);
    // The first event of the damaged CPU ends the gap; what was open before stays uncertain.
    log.on(1).enter(1, READ, 5).on(0).exit(2, READ, 4).on(1).exit(1, READ, 5).exit(1, MKDIR, -1);
    log.ends(&[
        "damaged on 1",
        "1 mkdir(0)=?-1~",
        "2 read(3)=3~",
        "2 read(4)=4~",
        "1 read(5)=5 <20>",
        "1 mkdir(0)=refused-1",
    ]);
}

#[test]
fn where_only_failed_calls_were_recorded_a_call_without_an_exit_did_not_fail() {
    let mut meta = meta("x86_64", &[(1, 1)]);
    meta.options.errors_only = true;
    let mut log = Log::new(&meta);
    log.exit(1, READ, -4).enter(1, READ, 3).enter(1, WRITE, 1).exit(1, WRITE, -9).exit(1, MKDIR, -1);
    // The exit of another call than the one that is open: that one did not fail, and this one has no enter.
    log.enter(1, READ, 5).exit(1, MKDIR, -1).dies(1);
    log.ends(&[
        "1 read(0)=?-4",
        "1 read(3)=unfinished",
        "1 write(1)=-9 <10>",
        "1 mkdir(0)=refused-1",
        "1 read(5)=unfinished",
        "1 mkdir(0)=refused-1",
        "1 Unknown",
    ]);
}

#[test]
fn where_known_calls_are_left_out_only_a_number_that_never_came_can_be_refused() {
    let mut meta = meta("x86_64", &[(1, 1)]);
    meta.options.mode = "profile".into();
    let mut log = Log::new(&meta);
    // The exit of the second was left out, then both.
    log.enter(1, READ, 3).exit(1, READ, 3).enter(1, READ, 4).enter(1, WRITE, 1).exit(1, MKDIR, -1);
    // The filter of enters was there before that of exits.
    log.exit(1, READ, -4).exit(1, WRITE, 5);
    // A task all of whose calls so far were left out.
    log.fork(1, 5, 0).exit(5, MKDIR, -1);
    log.ends(&[
        "1 read(3)=3 <10>",
        "1 read(4)=unfinished",
        "1 write(1)=unfinished",
        "1 mkdir(0)=refused-1",
        "1 read(0)=?-4",
        "1 write(0)=?5",
        "5 mkdir(0)=refused-1",
    ]);
    // Where too much was left out, nothing is called a refusal.
    meta.profile.narrowed_past = true;
    let mut log = Log::new(&meta);
    log.enter(1, READ, 3).exit(1, READ, 3).exit(1, MKDIR, -1);
    log.ends(&["1 read(3)=3 <10>", "1 mkdir(0)=?-1"]);
}

#[test]
fn the_childs_return_from_clone_is_no_call_of_its_own() {
    let mut log = Log::two();
    log.enter(1, CLONE, 17).fork(1, 5, 0).exit(5, CLONE, 0).exit(1, CLONE, 5).enter(5, READ, 3).exit(5, READ, 0);
    log.exit(5, MKDIR, -1);
    log.ends(&["1 clone(17)=5 <40>", "5 read(3)=0 <10>", "5 mkdir(0)=refused-1"]);
}

#[test]
fn a_child_whose_birth_was_lost_does_not_return_either() {
    let mut log = Log::two();
    log.exit(5, CLONE, 0).enter(5, READ, 3).exit(5, READ, 0);
    log.ends(&["5 read(3)=0 <10>"]);
}

#[test]
fn on_arm_the_child_returns_in_silence() {
    let mut log = Log::new(&meta("aarch64", &[(1, 1)]));
    log.enter(1, 220, 17).fork(1, 5, 0).enter(5, 63, 3).exit(5, 63, 0).exit(1, 220, 5).exit(5, 34, -1);
    log.ends(&["1 clone(17)=5 <50>", "5 read(3)=0 <10>", "5 mkdirat(0)=refused-1"]);
}

#[test]
fn a_task_that_takes_a_dead_ones_number_starts_anew() {
    let mut log = Log::two();
    log.enter(1, READ, 3).dies(1).fork(2, 1, 0).exit(1, CLONE, 0).enter(1, WRITE, 1).exit(1, WRITE, 1);
    log.ends(&["1 read(3)=unfinished", "1 Unknown", "1 write(1)=1 <10>"]);
    // The birth may have been lost, or the death.
    let mut log = Log::two();
    log.dies(1).exit(1, MKDIR, -1).dies(2).enter(2, READ, 3).exit(2, READ, 1);
    log.ends(&["1 Unknown", "1 mkdir(0)=?-1", "2 Unknown", "2 read(3)=1 <10>"]);
    let mut log = Log::two();
    log.enter(1, READ, 3).fork(2, 1, 0).exit(1, CLONE, 0).enter(1, WRITE, 1).exit(1, WRITE, 1);
    log.ends(&["1 read(3)=unfinished", "1 write(1)=1 <10>"]);
}

#[test]
fn a_signals_return_exits_without_its_number_and_its_register_is_no_error() {
    let mut log = Log::two();
    log.enter(1, RT_SIGRETURN, 0).exit(1, -1, -4).enter(1, READ, 0).exit(1, READ, -4);
    log.ends(&["1 rt_sigreturn(0)=-4 <10>", "1 read(0)=-4 <10>"]);
    let mut call = Call {
        entered: 0,
        ended: 0,
        ret: -4,
        args: [0; 6],
        nr: RT_SIGRETURN,
        pid: 1,
        tgid: 1,
        comm: Comm::default(),
        abi: Abi::X86_64,
        end: End::Returned,
        uncertain: false,
        runtime: false,
    };
    assert_eq!(call.errno(), None);
    call.nr = READ;
    assert_eq!(call.errno(), Some(4));
    call.ret = -4096;
    assert_eq!(call.errno(), None);
}

#[test]
fn a_call_skipped_by_a_tracer_is_no_refusal() {
    let mut log = Log::two();
    log.exit(1, -1, -38);
    log.ends(&["1 -1(0)=?-38"]);
}

#[test]
fn an_execve_that_succeeds_returns_behind_the_exec() {
    let mut log = Log::two();
    log.enter(1, EXECVE, 7).exec(1, 1).exit(1, EXECVE, 0).enter(1, READ, 0).exit(1, READ, 0);
    log.ends(&["1 execve(7)=0 <20>", "1 read(0)=0 <10>"]);
}

#[test]
fn an_execve_by_a_thread_returns_in_the_leader() {
    let mut log = Log::new(&meta("x86_64", &[(1, 1), (2, 1)]));
    log.enter(1, READ, 3).enter(2, EXECVE, 7).deliver(1, 9, 0).dies(1).exec(1, 2).exit(1, EXECVE, 0);
    log.enter(1, READ, 0).exit(1, READ, 0);
    log.ends(&["1 read(3)=unfinished", "2 execve(7)=0 <40>", "1 Superseded { by: 2 }", "1 read(0)=0 <10>"]);
}

#[test]
fn a_32_bit_program_keeps_the_number_it_called_execve_with() {
    let mut meta = meta("x86_64", &[(1, 1)]);
    meta.tasks[0].abi = "i386".into();
    let mut log = Log::new(&meta);
    log.enter(1, 11, 7).exec(1, 1).exit(1, 11, 0).enter(1, EXIT_GROUP, 3);
    // The new program is native: 231 is exit_group there, fgetxattr on i386.
    log.ends(&["1 execve(7)=0 <20>", "1 exit_group(3)=never"]);
}

#[test]
fn on_x86_execve_returns_with_the_new_programs_number() {
    let mut meta = meta("x86_64", &[(1, 1)]);
    meta.tasks[0].abi = "i386".into();
    let mut log = Log::new(&meta);
    log.enter(1, 11, 7).exec(1, 1).exit(1, EXECVE, 0).enter(1, READ, 0).exit(1, READ, 0).exit(1, MKDIR, -1);
    log.ends(&["1 execve(7)=0 <20>", "1 read(0)=0 <10>", "1 mkdir(0)=refused-1"]);
    // Its enter may be lost.
    let mut log = Log::new(&meta);
    log.enter(1, 20, 0).exit(1, 20, 1).exec(1, 1).exit(1, EXECVE, 0).exit(1, MKDIR, -1);
    log.ends(&["1 getpid(0)=1 <10>", "1 execve(0)=?0", "1 mkdir(0)=refused-1"]);
}

#[test]
fn on_x86_execves_number_tells_the_new_programs_abi_at_once() {
    let mut meta = meta("x86_64", &[(1, 1)]);
    meta.host.release = "6.18.44".into();
    let mut log = Log::new(&meta);
    log.enter(1, EXECVE, 7).exec(1, 1).exit(1, 11, 0).enter(1, 20, 0).exit(1, 20, 1);
    // What forks from it speaks the same; so does a task whose execve was entered unseen.
    log.fork(1, 2, 0).exit(2, 2, 0).enter(2, 20, 0).exit(2, 20, 2);
    log.exec(9, 9).exit(9, 11, 0).enter(9, 252, 0);
    log.enter(1, 11, 7).exec(1, 1).exit(1, EXECVE, 0).enter(1, GETPID, 0).exit(1, GETPID, 1);
    log.ends(&[
        "1 execve(7)=0 <20>",
        "1 getpid(0)=1 <10>",
        "2 getpid(0)=2 <10>",
        "9 execve(0)=?0",
        "9 exit_group(0)=never",
        "1 execve(7)=0 <20>",
        "1 getpid(0)=1 <10>",
    ]);
}

#[test]
fn an_execve_whose_enter_was_lost_keeps_the_old_programs_number_and_is_no_refusal() {
    let mut meta = meta("x86_64", &[(1, 1)]);
    meta.tasks[0].abi = "i386".into();
    let mut log = Log::new(&meta);
    log.enter(1, 20, 0).exit(1, 20, 1).exec(1, 1).exit(1, 11, 0).exit(1, MKDIR, -1);
    log.ends(&["1 getpid(0)=1 <10>", "1 execve(0)=?0", "1 mkdir(0)=refused-1"]);
}

#[test]
fn the_runtimes_part_ends_with_the_containers_own_execve() {
    let mut meta = meta("x86_64", &[(5, 5), (6, 5)]);
    meta.starts_in_runtime = true;
    meta.init_pid = 5;
    let mut log = Log::new(&meta);
    log.enter(6, READ, 1).enter(5, WRITE, 1).exit(5, WRITE, 1).enter(5, EXECVE, 7);
    log.deliver(6, 9, 0).dies(6).exec(5, 5).exit(5, EXECVE, 0).enter(5, READ, 0).exit(5, READ, 0);
    log.ends(&[
        "runtime 6 read(1)=unfinished",
        "runtime 5 write(1)=1 <10>",
        "5 execve(7)=0 <40>",
        "runtime 6 Superseded { by: 5 }",
        "5 read(0)=0 <10>",
    ]);
}

#[test]
fn an_execve_of_the_runtime_that_fails_stays_the_runtimes() {
    let mut meta = meta("x86_64", &[(5, 5)]);
    meta.starts_in_runtime = true;
    meta.init_pid = 5;
    let mut log = Log::new(&meta);
    log.enter(5, EXECVE, 7).exit(5, EXECVE, -2);
    log.ends(&["runtime 5 execve(7)=-2 <10>"]);
}

#[test]
fn calls_open_at_the_recordings_end_are_unfinished() {
    let mut log = Log::two();
    log.enter(1, READ, 3).enter(2, WRITE, 4).exit(2, WRITE, 4);
    log.shows(&[]);
    log.ends(&["1 read(3)=unfinished", "2 write(4)=4 <10>"]);
}

#[test]
fn numbers_of_no_task_are_passed_over() {
    let mut log = Log::two();
    log.enter(-5, READ, 3).exit(-5, READ, 3).fork(1, -7, 0).exec(-1, 1).fork(1, 0, 0);
    log.ends(&[]);
}

#[test]
fn a_machine_without_tables_is_named() {
    let error = Tracker::new(&meta("riscv64", &[]), None, false).err().unwrap();
    assert_eq!(error.exit_code(), 3);
    assert!(error.to_string().contains("riscv64"));
}

#[test]
fn only_execves_own_exit_may_have_another_number() {
    let mut log = Log::two();
    log.enter(1, EXECVE, 7).exec(1, 1).lost(0, 5).enter(1, READ, 3).exit(1, WRITE, 0);
    log.ends(&["1 execve(7)=unfinished", "lost Some(7) on 0", "1 read(3)=unfinished", "1 write(0)=?0"]);
}

/// Whether task 1 is found to be a 32-bit program by what `write` feeds.
fn is_compat(write: impl Fn(&mut Log<'_>)) -> bool {
    let mut log = Log::new(&meta("x86_64", &[(1, 1)]));
    log.tracker = Tracker::new(&meta("x86_64", &[(1, 1)]), None, true).unwrap();
    write(&mut log);
    log.tracker.abis().any_compat()
}

#[test]
fn evidence_for_the_abi_comes_from_arguments_results_and_the_last_call() {
    let stack = |log: &mut Log<'_>| {
        for _ in 0..3 {
            log.enter(1, 5, 0xffd8_1234).exit(1, 5, 3);
        }
    };
    assert!(is_compat(stack));
    assert!(!is_compat(|log| {
        stack(log);
        log.enter(1, 9, 0).exit(1, 9, 0x7f00_0000_0000);
    }));
    assert!(!is_compat(|log| {
        stack(log);
        log.enter(1, 9, 0x7f00_0000_0000);
    }));
    assert!(!is_compat(|log| {
        stack(log);
        log.enter(1, EXIT_GROUP, 0).dies(1);
    }));
    // i386's exit is 1: write(2) of a 64-bit program, in which a signal may end it.
    assert!(is_compat(|log| {
        log.enter(1, 1, 0).dies(1);
    }));
    assert!(!is_compat(|log| {
        log.enter(1, 1, 0).deliver(1, 9, 0).dies(1);
    }));
}
