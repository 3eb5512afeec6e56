// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Calls told in the order in which they were entered, within the queue's capacity and beyond it.

use std::cell::Cell;

use super::super::pairing::State;
use super::super::prepass::Finder;
use super::*;
use crate::format::Event;

/// Task 1 enters a read, task 2 makes `others` calls, task 1's read returns, task 2 makes one more.
fn blocked(tracker: &mut Tracker, steps: &mut dyn Steps, others: usize) {
    let mut ts = 0;
    let mut feed = |pid, event| {
        ts += 10;
        tracker.feed(Item::Event { ts, cpu: 0, pid, event }, steps);
    };
    let args = |arg| [arg, 0, 0, 0, 0, 0];
    feed(1, Event::SysEnter { nr: READ, args: args(3) });
    for turn in 0..others as u64 {
        feed(2, Event::SysEnter { nr: WRITE, args: args(turn) });
        feed(2, Event::SysExit { nr: WRITE, ret: 0 });
    }
    feed(1, Event::SysExit { nr: READ, ret: 7 });
    feed(2, Event::SysEnter { nr: GETPID, args: args(0) });
    feed(2, Event::SysExit { nr: GETPID, ret: 2 });
    tracker.finish(steps);
}

fn long_calls(others: usize, max: usize) -> LongCalls {
    let mut tracker = Tracker::new(&meta("x86_64", &[]), None, false).unwrap();
    let mut finder = Finder::new(max);
    blocked(&mut tracker, &mut finder, others);
    finder.into_calls()
}

fn in_order(order: Order<'_, Shown>, others: usize) -> Vec<String> {
    let mut order = order;
    let mut tracker = Tracker::new(&meta("x86_64", &[]), None, false).unwrap();
    blocked(&mut tracker, &mut order, others);
    order.flush();
    order.lines.0
}

#[test]
fn a_call_that_spans_the_whole_queue_needs_no_look_ahead_and_one_more_does() {
    for (others, looks) in [(7, 0), (8, 1), (100, 1)] {
        let looked = Cell::new(0);
        let mut order = Order::with_max(Shown::default(), 8);
        order.look_ahead = Some(Box::new(|| {
            looked.set(looked.get() + 1);
            Ok(long_calls(others, 8))
        }));
        let lines = in_order(order, others);
        assert_eq!(looked.get(), looks, "{others} others");
        assert_eq!(long_calls(others, 8).len(), looks);
        let expected = format!("1 read(3)=7 <{}>", 10 * (1 + 2 * others));
        assert_eq!((lines.len(), &lines[0]), (others + 2, &expected));
        let writes = (0..others).map(|turn| format!("2 write({turn})=0 <10>"));
        assert_eq!(lines[1..=others], writes.collect::<Vec<_>>());
    }
}

#[test]
fn the_queue_never_grows_past_its_capacity() {
    let mut order = Order::with_max(Shown::default(), 8);
    let mut tracker = Tracker::new(&meta("x86_64", &[]), None, false).unwrap();
    for pid in 1..100 {
        let event = Event::SysEnter { nr: READ, args: [0; 6] };
        tracker.feed(Item::Event { ts: 10, cpu: 0, pid, event }, &mut order);
        assert!(order.len() <= 8);
    }
}

#[test]
fn calls_that_end_long_after_each_other_find_their_own_ends() {
    // All tasks block, and their calls end in the opposite order.
    let run = |steps: &mut dyn FnMut(Item<'_>)| {
        let mut ts = 0;
        let mut feed = |pid, event| {
            ts += 1;
            steps(Item::Event { ts, cpu: 0, pid, event });
        };
        for pid in 1..=50 {
            feed(pid, Event::SysEnter { nr: READ, args: [pid as u64, 0, 0, 0, 0, 0] });
        }
        for pid in (1..=50).rev() {
            feed(pid, Event::SysExit { nr: READ, ret: pid.into() });
        }
    };
    let mut tracker = Tracker::new(&meta("x86_64", &[]), None, false).unwrap();
    let mut finder = Finder::new(4);
    run(&mut |item| tracker.feed(item, &mut finder));
    let long = finder.into_calls();
    assert_eq!(long.len(), 46);
    let mut order = Order::with_max(Shown::default(), 4);
    order.long = Some(long);
    let mut tracker = Tracker::new(&meta("x86_64", &[]), None, false).unwrap();
    run(&mut |item| tracker.feed(item, &mut order));
    order.flush();
    let lines = order.lines.0;
    let expected = (1..=50).map(|pid| format!("{pid} read({pid})={pid} <{}>", 2 * (50 - pid) + 1));
    assert_eq!(lines, expected.collect::<Vec<_>>());
}

#[test]
fn an_end_found_for_another_call_is_not_used() {
    // Both begin with the ticket 0; the second pass saw another task there.
    let mut order = Order::with_max(Shown::default(), 8);
    order.long = Some(long_calls(100, 8));
    let mut tracker = Tracker::new(&meta("x86_64", &[]), None, false).unwrap();
    let mut feed = |pid, event| tracker.feed(Item::Event { ts: 10, cpu: 0, pid, event }, &mut order);
    feed(5, Event::SysEnter { nr: READ, args: [3, 0, 0, 0, 0, 0] });
    for _ in 0..9 {
        feed(2, Event::SysEnter { nr: GETPID, args: [0; 6] });
        feed(2, Event::SysExit { nr: GETPID, ret: 2 });
    }
    feed(5, Event::SysExit { nr: READ, ret: 1 });
    order.flush();
    assert_eq!(order.lines.0[0], "5 read(3)open...");
    assert_eq!(order.lines.0[10], "...5 read(3)=1 <0>");
}

#[test]
fn a_look_ahead_that_fails_is_told() {
    let mut order = Order::with_max(Shown::default(), 2);
    order.look_ahead = Some(Box::new(|| Err(crate::error::Error::not_found("x"))));
    let mut tracker = Tracker::new(&meta("x86_64", &[]), None, false).unwrap();
    blocked(&mut tracker, &mut order, 5);
    assert!(order.failed.is_some());
}

#[test]
fn live_output_shows_open_calls_at_a_batchs_end_and_their_ends_later() {
    let mut log = Log::two();
    log.enter(1, READ, 3).enter(2, WRITE, 4).exit(2, WRITE, 4);
    log.order.flush();
    log.shows(&["1 read(3)open...", "2 write(4)=4 <10>"]);
    log.enter(2, GETPID, 0).exit(2, GETPID, 2).exit(1, READ, 5);
    log.shows(&["1 read(3)open...", "2 write(4)=4 <10>", "2 getpid(0)=2 <10>", "...1 read(3)=5 <50>"]);
    log.enter(1, READ, 8);
    log.order.flush();
    log.order.lines.0.clear();
    log.dies(1);
    log.ends(&["...1 read(8)=unfinished", "1 Unknown"]);
}

#[test]
fn in_live_output_the_containers_execve_sheds_the_runtimes_mark_when_it_ends() {
    let mut meta = meta("x86_64", &[(5, 5)]);
    meta.starts_in_runtime = true;
    meta.init_pid = 5;
    let mut log = Log::new(&meta);
    log.enter(5, EXECVE, 7);
    log.order.flush();
    log.exec(5, 5).exit(5, EXECVE, 0);
    log.shows(&["runtime 5 execve(7)open...", "...5 execve(7)=0 <20>"]);
}

/// Checks that each call that was opened is closed once and with its own name.
#[derive(Default)]
struct Ledger {
    open: std::collections::HashMap<u64, (Pid, i32)>,
    next: u64,
    told: u64,
}

impl Steps for Ledger {
    fn opened(&mut self, call: &Call) -> u64 {
        assert_eq!(call.end, End::Open);
        self.next += 1;
        self.open.insert(self.next, (call.pid, call.nr));
        self.next
    }

    fn closed(&mut self, ticket: u64, call: &Call) {
        assert_eq!(self.open.remove(&ticket), Some((call.pid, call.nr)));
        assert_ne!(call.end, End::Open);
        self.told += 1;
    }

    fn whole(&mut self, call: &Call) {
        assert!(matches!(call.end, End::Never | End::Refused | End::StartUnknown));
        self.told += 1;
    }

    fn note(&mut self, _: Note) {}
}

/// Events in an order that no kernel would write, tasks and numbers few enough to meet again.
fn nonsense(seed: u64, mut feed: impl FnMut(Item<'_>)) {
    let mut state = seed;
    for ts in 0..20_000u64 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let pick = |shift: u32, max: u64| (state >> shift) % max;
        let pid = pick(33, 12) as Pid - 1;
        let other = pick(40, 12) as Pid - 1;
        let nr = [READ, WRITE, CLONE, EXECVE, EXIT, EXIT_GROUP, RT_SIGRETURN, -1, 9999][pick(45, 9) as usize];
        let sig = pick(48, 34) as i32;
        let event = match pick(52, 12) {
            0..=3 => Event::SysEnter { nr, args: [pick(20, 5), 0, 0, 0, 0, 0] },
            4..=6 => Event::SysExit { nr, ret: pick(20, 3) as i64 - 1 },
            7 => Event::NewTask { pid: other, flags: pick(20, 2) << 16, comm: b"x" },
            8 => Event::Exec { pid: other, old_pid: pid, filename: b"/x" },
            9 => Event::Exit { pid, comm: b"x" },
            10 => Event::SignalDeliver { sig, code: 0, handler: pick(20, 2) },
            _ => Event::SignalGenerate { sig, code: 0, pid: other, group: true, result: 0 },
        };
        if pick(30, 100) == 0 {
            feed(Item::Lost { cpu: 0, from: ts, to: ts + 30, count: None });
        }
        feed(Item::Event { ts, cpu: pick(25, 4) as u16, pid, event });
    }
}

#[test]
fn whatever_comes_each_call_is_told_once() {
    for seed in 0..20 {
        let mut meta = meta("x86_64", &[(1, 1), (2, 1)]);
        meta.starts_in_runtime = seed % 2 == 0;
        meta.init_pid = 3;
        let mut ledger = Ledger::default();
        let mut tracker = Tracker::new(&meta, None, true).unwrap();
        nonsense(seed, |item| tracker.feed(item, &mut ledger));
        tracker.finish(&mut ledger);
        assert!(ledger.open.is_empty());
        // The queue, with ends looked up, tells the same number, in the order of entering.
        let mut finder = Finder::new(8);
        let mut tracker = Tracker::new(&meta, None, false).unwrap();
        nonsense(seed, |item| tracker.feed(item, &mut finder));
        tracker.finish(&mut finder);
        let mut order = Order::with_max(Times::default(), 8);
        order.long = Some(finder.into_calls());
        let mut tracker = Tracker::new(&meta, None, false).unwrap();
        nonsense(seed, |item| tracker.feed(item, &mut order));
        tracker.finish(&mut order);
        order.flush();
        assert_eq!(order.lines.calls, ledger.told);
    }
}

/// Checks that times do not go back, and that nothing is told in two parts.
#[derive(Default)]
struct Times {
    last: u64,
    calls: u64,
}

impl Lines for Times {
    fn call(&mut self, call: &Call, _: &Texts) {
        assert!(call.entered >= self.last);
        self.last = call.entered;
        self.calls += 1;
    }
    fn unfinished(&mut self, _: &Call, _: &Texts) {
        panic!("the end could have been looked up");
    }
    fn resumed(&mut self, _: &Call, _: &Texts) {}
    fn note(&mut self, note: &Note) {
        assert!(note.ts >= self.last);
        self.last = note.ts;
    }
}

/// Keeps the time of each call told, with the strings known about its first argument.
#[derive(Default)]
struct Strings(Vec<(u64, Vec<Vec<u8>>)>);

impl Lines for Strings {
    fn call(&mut self, call: &Call, texts: &Texts) {
        let known = texts.iter().filter_map(|(_, text)| match text {
            Text::String { bytes, .. } => Some(bytes.to_vec()),
            _ => None,
        });
        self.0.push((call.entered, known.collect()));
    }
    fn unfinished(&mut self, call: &Call, texts: &Texts) {
        self.call(call, texts);
    }
    fn resumed(&mut self, call: &Call, texts: &Texts) {
        self.call(call, texts);
    }
    fn note(&mut self, _: &Note) {}
}

#[test]
fn what_is_known_about_arguments_goes_with_its_call() {
    let mut order = Order::with_max(Strings::default(), 4);
    let call = |entered, end| Call { entered, end, ..State::default().call };
    let string = |bytes| Text::String { bytes, cut: false };
    // Three open at once; they end out of order, and their places are used again.
    for turn in 0..5 {
        let at = turn * 10;
        let tickets: Vec<u64> = (0..3).map(|nth| order.opened(&call(at + nth, End::Open))).collect();
        order.text(tickets[1], 0, string(b"one"));
        order.text(tickets[0], 0, string(b"zero"));
        order.text(tickets[1], 1, string(b"another"));
        for nth in [2, 1, 0] {
            order.closed(tickets[nth], &call(at + nth as u64, End::Returned));
        }
    }
    let told: Vec<_> = order.lines.0.iter().map(|(at, known)| (*at, known.len())).collect();
    let expected: Vec<_> =
        (0..5u64).flat_map(|turn| [(turn * 10, 1), (turn * 10 + 1, 2), (turn * 10 + 2, 0)]).collect();
    assert_eq!(told, expected);
}

#[test]
fn what_becomes_known_after_a_call_was_told_as_unfinished_goes_with_its_end() {
    let mut order = Order::with_max(Strings::default(), 4);
    let call = |entered, end| Call { entered, end, ..State::default().call };
    let open = order.opened(&call(1, End::Open));
    order.text(open, 0, Text::String { bytes: b"early", cut: false });
    order.flush();
    order.text(open, 1, Text::String { bytes: b"late", cut: false });
    order.closed(open, &call(1, End::Returned));
    assert_eq!(order.lines.0, [(1, vec![b"early".to_vec()]), (1, vec![b"late".to_vec()])]);
}
