// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Speed of the reports on one core, on a synthetic recording:
//! `cargo run --profile profiling --example report_speed -- [MILLION EVENTS] [FORMAT] [ROUNDS]`
//!
//! The load: two CPUs, eight tasks each, calls of seven kinds with a failure in sixteen, one task blocked all the time.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::io::Write;
use std::time::Instant;

use ftrace_analyzer::recording::{EndState, Recording, Tail};
use ftrace_analyzer::report::{self, Options, Outcome};

#[path = "../support/synthetic.rs"]
mod synthetic;

/// Counts bytes and drops them.
struct Sink(u64);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn make(millions: u64) -> Recording {
    let base = synthetic::fresh_dir("bench");
    let mut log = synthetic::Synthetic::new(&base, synthetic::meta(2));
    let calls: [(i64, i64); 7] = [(0, 512), (1, 64), (257, 3), (3, 0), (202, 0), (9, 0x7f12_3456_7000), (39, 100)];
    log.enter(0, 199, 232, [4, 0x7ffd_1234_5678, 64, u64::MAX, 0, 8]);
    let mut seed = 1u64;
    for turn in 0..millions * 500_000 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let pick = seed >> 33;
        let cpu = (turn / 3 % 2) as usize;
        let pid = 100 + 10 * cpu as i32 + (turn / 6 % 8) as i32;
        let (nr, ret) = calls[(pick % 7) as usize];
        let ret = if pick % 16 == 0 { -2 } else { ret };
        let args = [pick % 64, 0x7ffd_1234_5000 + pick % 4096, pick % 70_000, 0, 0, 0];
        log.enter(cpu, pid, nr, args);
        log.ts += 150 + pick % 2000;
        log.exit(cpu, pid, nr, ret);
        log.ts += 100;
    }
    log.finish(EndState::Complete, "the bench is over")
}

fn main() {
    let mut args = std::env::args().skip(1);
    let millions: u64 = args.next().map_or(20, |arg| arg.parse().unwrap());
    let only = args.next().unwrap_or_else(|| "all".into());
    let rounds: u32 = args.next().map_or(3, |arg| arg.parse().unwrap());
    let recording = make(millions);
    println!("{millions} million events, {} MB", recording.bytes() / 1_000_000);
    type Report = fn(&Recording, &Options, &mut dyn Write) -> ftrace_analyzer::error::Result<Outcome>;
    let reports: [(&str, Report); 4] = [
        ("summary", report::summary),
        ("text", report::text),
        ("json", report::json),
        ("summary_json", report::summary_json),
    ];
    for round in 0..rounds {
        if only == "all" || only == "decode" {
            let begin = Instant::now();
            let mut stream = recording.stream(Tail::Use).unwrap();
            let mut sum = 0u64;
            let _ = stream
                .run(u64::MAX, |item| {
                    if let ftrace_analyzer::recording::Item::Event { ts, .. } = item {
                        sum = sum.wrapping_add(ts);
                    }
                    core::ops::ControlFlow::Continue(())
                })
                .unwrap();
            let seconds = begin.elapsed().as_secs_f64();
            println!("{round} decode: {:.2} M events/s ({})", millions as f64 / seconds, sum % 10);
        }
        for (name, report) in reports.iter().filter(|(name, _)| only == "all" || only == *name) {
            let mut sink = Sink(0);
            let begin = Instant::now();
            let outcome = report(&recording, &Options { footer: true, ..Options::default() }, &mut sink).unwrap();
            let seconds = begin.elapsed().as_secs_f64();
            assert_eq!(outcome.conservation.balanced(), Some(true));
            println!(
                "{round} {name}: {:.2} M events/s, {:.1} MB/s out",
                outcome.counts.records as f64 / seconds / 1e6,
                sink.0 as f64 / seconds / 1e6
            );
        }
    }
    let _ = std::fs::remove_dir_all(recording.dir.parent().unwrap());
}
