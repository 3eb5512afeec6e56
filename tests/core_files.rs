// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Core dumps of real programs, of both word sizes, read as what they are.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "common/machine.rs"]
mod machine;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard};

use ftrace_analyzer::arch::Abi;
use ftrace_analyzer::core_dump::elf::{places, Core};
use machine::skip;

/// Twenty threads that wait, and one that writes where nothing is.
const PROGRAM: &str = r#"
#include <pthread.h>
#include <unistd.h>
static int ready[2];
static void *wait_for_ever(void *unused) { (void)unused; write(ready[1], "x", 1); for (;;) pause(); }
__attribute__((noinline)) void die_here(volatile char *where) { *where = 1; }
static void *die(void *unused) {
    char told[20];
    int have = 0;
    (void)unused;
    while (have < 20) have += read(ready[0], told + have, 20 - have);
    die_here((volatile char *)0x1234560);
    return 0;
}
int main(void) {
    pthread_t thread;
    pipe(ready);
    for (int i = 0; i < 20; i++) pthread_create(&thread, 0, wait_for_ever, 0);
    pthread_create(&thread, 0, die, 0);
    pause();
}
"#;

const PATTERN: &str = "/proc/sys/kernel/core_pattern";

/// core_pattern is `core` until this goes: a file where the program runs. It is one for the machine, and one test's at a time.
struct Files {
    before: Option<String>,
    _turn: MutexGuard<'static, ()>,
}

impl Files {
    fn take() -> Result<Files, String> {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(|poison| poison.into_inner());
        let pattern = fs::read_to_string(PATTERN).map_err(|why| format!("{PATTERN}: {why}"))?;
        let before = (pattern.trim_end() != "core").then_some(pattern);
        if before.is_some() {
            fs::write(PATTERN, "core").map_err(|why| format!("core_pattern cannot be set: {why}"))?;
        }
        Ok(Files { before, _turn: turn })
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = fs::write(PATTERN, before);
        }
    }
}

/// The program and its dump, or why there is none.
fn dump_of(compiler: &str, dir: &Path) -> Result<(PathBuf, PathBuf), String> {
    fs::create_dir_all(dir).unwrap();
    fs::write(dir.join("die.c"), PROGRAM).unwrap();
    let mut command = Command::new(compiler);
    command.args(["-static", "-O1", "-pthread", "-Wl,--build-id", "-o", "die", "die.c"]).current_dir(dir);
    if !command.output().is_ok_and(|out| out.status.success()) {
        return Err(format!("{compiler} makes no static program"));
    }
    let _files = Files::take()?;
    let run = Command::new("sh").args(["-c", "ulimit -c unlimited && exec ./die"]).current_dir(dir).output().unwrap();
    assert!(!run.status.success());
    let core = fs::read_dir(dir).unwrap().flatten().map(|entry| entry.path());
    let core = core.into_iter().find(|path| path.file_name().unwrap().to_str().unwrap().starts_with("core"));
    core.map(|core| (dir.join("die"), core)).ok_or("the kernel left no dump".into())
}

fn address_of(program: &Path, symbol: &str) -> u64 {
    let out = Command::new("nm").arg(program).output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let line = text.lines().find(|line| line.ends_with(&format!(" {symbol}"))).unwrap();
    u64::from_str_radix(line.split(' ').next().unwrap(), 16).unwrap()
}

fn check(test: &str, compiler: &str, abi: Abi) {
    let dir = std::env::temp_dir().join(format!("ftrace-analyzer-{test}-{}", std::process::id()));
    let (program, core) = match dump_of(compiler, &dir) {
        Ok(made) => made,
        Err(why) => {
            let _ = fs::remove_dir_all(dir);
            return skip(test, &why);
        }
    };
    let core = Core::open(File::open(core).unwrap()).unwrap();
    assert_eq!((core.abi, core.is_cut), (abi, false));
    // SIGSEGV, SEGV_MAPERR
    assert_eq!(core.signal, Some((11, 1, 0x123_4560)));
    assert_eq!(core.threads.len(), 22);
    let pc = core.threads[0].registers[places(abi)[0]];
    let start = address_of(&program, "die_here");
    assert!((start..start + 32).contains(&pc), "{pc:x}, die_here is at {start:x}");
    let (mapped, offset) = core.file_of(pc).unwrap();
    assert!(mapped.path.ends_with(b"/die") && offset > 0, "{mapped:?}");
    let first = core.mapped.iter().find(|file| file.path.ends_with(b"/die")).unwrap();
    let id: String = core.build_id(first.start).unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
    let told = Command::new("readelf").arg("-n").arg(&program).output().unwrap();
    assert!(String::from_utf8_lossy(&told.stdout).contains(&id), "{id}");
    let mut stack = [0; 16];
    assert_eq!(core.memory(core.threads[0].registers[places(abi)[1]], &mut stack), 16);
    // Code that nobody wrote to is not in dumps.
    assert_eq!(core.memory(pc, &mut stack), 0);
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_dump_tells_threads_registers_signal_and_files() {
    check("a_dump_tells_threads_registers_signal_and_files", "cc", Abi::X86_64);
}

#[test]
fn a_dump_of_a_32_bit_program_tells_the_same() {
    check("a_dump_of_a_32_bit_program_tells_the_same", "i686-linux-gnu-gcc", Abi::I386);
}

#[test]
fn a_damaged_dump_is_an_error_or_less_of_it_and_nothing_else() {
    let test = "a_damaged_dump_is_an_error_or_less_of_it_and_nothing_else";
    let dir = std::env::temp_dir().join(format!("ftrace-analyzer-{test}-{}", std::process::id()));
    let core = match dump_of("cc", &dir) {
        Ok((_, core)) => core,
        Err(why) => {
            let _ = fs::remove_dir_all(dir);
            return skip(test, &why);
        }
    };
    let whole = fs::read(&core).unwrap();
    let damaged = dir.join("damaged");
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as usize
    };
    for round in 0..2_000 {
        let mut bytes = whole[..whole.len().min(1 << 18)].to_vec();
        if round % 2 == 0 {
            bytes.truncate(next() % bytes.len());
        } else {
            for _ in 0..4 {
                // Mostly where headers and notes are.
                let at = next() % if next() % 2 == 0 { 4096 } else { bytes.len() };
                bytes[at] = next() as u8;
            }
        }
        fs::write(&damaged, &bytes).unwrap();
        let Ok(core) = Core::open(File::open(&damaged).unwrap()) else { continue };
        for mapped in core.mapped.iter().take(50) {
            core.build_id(mapped.start);
        }
        assert!(core.is_cut || round % 2 == 1 || bytes.len() == whole.len());
    }
    fs::remove_dir_all(dir).unwrap();
}
