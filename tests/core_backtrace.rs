// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Backtraces without symbols beside gdb's, of one process: by the tables of programs and libraries, and by frame pointers.
//! gdb writes the dumps, with the tables: tests/live_core.rs has those that the kernel writes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "common/machine.rs"]
mod machine;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use ftrace_analyzer::core_dump::backtrace::{frames, By, FRAMES_MAX};
use ftrace_analyzer::core_dump::elf::Core;
use machine::{skip, wait_for, which};

/// Calls through the C library and from a signal's handler, and then waits.
const PROGRAM: &str = r#"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
static volatile int kept;
__attribute__((noinline)) static int wait_here(int number) { puts("x"); fflush(stdout); pause(); return kept + number; }
__attribute__((noinline)) static int many(int a, int b, int c) {
    volatile char room[300];
    room[a] = b;
    int found = wait_here(a + b + c) + room[c] * a;
    return found + kept;
}
static void handler(int sig) { kept = many(sig, 2, 3); }
static int compare(const void *one, const void *other) {
    (void)one; (void)other;
    raise(SIGUSR1);
    return kept;
}
int main(void) {
    int numbers[] = { 3, 2, 1 };
    signal(SIGUSR1, handler);
    qsort(numbers, 3, sizeof numbers[0], compare);
    return kept + numbers[0];
}
"#;

/// A process that waits in `wait_here`; it ends with this.
struct Waits {
    child: Child,
    dir: PathBuf,
}

impl Waits {
    fn start(name: &str, compiler: &str, options: &[&str]) -> Result<Waits, String> {
        let dir = std::env::temp_dir().join(format!("ftrace-analyzer-backtrace-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("waits.c"), PROGRAM).unwrap();
        let mut compile = Command::new(compiler);
        compile.args(["-w", "-o", "waits", "waits.c"]).args(options).current_dir(&dir);
        if !compile.output().is_ok_and(|out| out.status.success()) {
            return Err(format!("{compiler} does not make it with {options:?}"));
        }
        let out = File::create(dir.join("out")).unwrap();
        let child = Command::new(dir.join("waits")).stdout(out).stdin(Stdio::null()).spawn().unwrap();
        wait_for("the program", || (fs::read(dir.join("out")).unwrap() == b"x\n").then_some(()));
        Ok(Waits { child, dir })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// What gdb says, and a dump by it with all of memory, tables too (core(5), coredump_filter).
    fn read_by_gdb(&self, gdb: &Path) -> Vec<String> {
        fs::write(format!("/proc/{}/coredump_filter", self.child.id()), "0x7f").unwrap();
        let mut command = Command::new(gdb);
        command.args([
            "-nx",
            "-batch",
            "-iex",
            "set auto-load off",
            "-iex",
            "set debug-file-directory /",
            "-ex",
            "set backtrace past-main on",
        ]);
        command.args(["-ex", "set backtrace past-entry on", "-p", &self.child.id().to_string(), "-ex", "backtrace"]);
        let core = format!("generate-core-file {}", self.path("core").display());
        let out = command.args(["-ex", &core, "-ex", "detach"]).current_dir(&self.dir).output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let lines = text.lines().filter(|line| line.starts_with('#'));
        // Attaching shows the first frame by itself, and again.
        let mut lines: Vec<String> = lines.map(str::to_owned).collect();
        let begins = lines.iter().rposition(|line| line.starts_with("#0 ")).unwrap_or(0);
        lines.drain(..begins);
        assert!(self.path("core").exists() && lines.len() > 5, "{text}\n{}", String::from_utf8_lossy(&out.stderr));
        lines
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn needs(test: &str) -> Option<PathBuf> {
    let gdb = which("gdb").or_else(|| which("gdb-multiarch"));
    if gdb.is_none() {
        skip(test, "no gdb");
    }
    gdb
}

/// Compares frames with gdb's; `by`: how those of the program are found.
fn check(test: &str, compiler: &str, options: &[&str], by: By) {
    let Some(gdb) = needs(test) else { return };
    let waits = match Waits::start(test, compiler, options) {
        Ok(waits) => waits,
        Err(why) => return skip(test, &why),
    };
    let lines = waits.read_by_gdb(&gdb);
    let core = Core::open(File::open(waits.path("core")).unwrap()).unwrap();
    let program = waits.path("waits");
    let found = frames(&core, &|address| {
        let (mapped, _) = core.file_of(address)?;
        mapped.path.ends_with(b"/waits").then(|| File::open(&program).ok())?
    });
    let told: Vec<String> = found.iter().map(|frame| format!("{:x}", frame.pc)).collect();
    assert_eq!(found.len(), lines.len(), "{found:x?}\n{lines:#?}");
    for (nth, line) in lines.iter().enumerate() {
        let is_signal = line.contains("<signal handler called>");
        assert!(is_signal || line.contains(&format!("{} in ", told[nth])), "{nth}: {found:x?}\n{lines:#?}");
        assert_eq!(found.get(nth + 1).is_some_and(|next| next.by == By::Signal), is_signal, "{found:x?}\n{lines:#?}");
    }
    let functions = ["wait_here", "many", "handler", "compare", "main"];
    assert!(functions.iter().all(|name| lines.iter().any(|line| line.contains(&format!(" in {name}")))), "{lines:#?}");
    let own = found.iter().skip(2).take(2);
    assert!(own.clone().all(|frame| frame.by == by), "{found:x?}");
}

#[test]
fn a_program_with_shared_libraries_is_unwound_by_their_tables_as_gdb_does() {
    let test = "a_program_with_shared_libraries_is_unwound_by_their_tables_as_gdb_does";
    check(test, "cc", &["-O2", "-fomit-frame-pointer"], By::Table);
}

#[test]
fn a_static_program_is_unwound_by_the_tables_that_its_sections_tell() {
    let test = "a_static_program_is_unwound_by_the_tables_that_its_sections_tell";
    check(test, "cc", &["-O2", "-static", "-fomit-frame-pointer"], By::Table);
}

#[test]
fn a_32_bit_program_is_unwound_like_others() {
    let test = "a_32_bit_program_is_unwound_like_others";
    check(test, "i686-linux-gnu-gcc", &["-O2", "-static", "-fomit-frame-pointer"], By::Table);
}

#[test]
fn functions_without_tables_are_followed_by_frame_pointers() {
    let test = "functions_without_tables_are_followed_by_frame_pointers";
    let options = ["-O1", "-fno-omit-frame-pointer", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables"];
    check(test, "cc", &options, By::FramePointer);
}

/// All of it is the dying process's to make up.
#[test]
fn damaged_tables_and_stacks_end_a_backtrace_and_nothing_else() {
    let test = "damaged_tables_and_stacks_end_a_backtrace_and_nothing_else";
    let Some(gdb) = needs(test) else { return };
    let waits = match Waits::start(test, "cc", &["-O2"]) {
        Ok(waits) => waits,
        Err(why) => return skip(test, &why),
    };
    let lines = waits.read_by_gdb(&gdb);
    let path = waits.path("core");
    let core = Core::open(File::open(&path).unwrap()).unwrap();
    let whole = frames(&core, &|_| None);
    assert_eq!(whole.len(), lines.len(), "{whole:x?}\n{lines:#?}");
    // Where damage meets most: stack and tables of those that are on the way.
    let [_, sp, ..] = ftrace_analyzer::core_dump::elf::places(core.abi)
        .map(|at| core.threads[0].registers.get(at).copied().unwrap_or(0));
    let mut places = vec![(core.load_of(sp).unwrap().offset + (sp - core.load_of(sp).unwrap().address), 1500)];
    for frame in &whole {
        let Some(module) = core.module(frame.lookup()) else { continue };
        let Some(table) = module.headers.iter().find(|header| header.kind == 0x6474_e550) else { continue };
        let address = module.bias.wrapping_add(table.address);
        let load = core.load_of(address).unwrap();
        // The table, and .eh_frame behind it.
        places.push((load.offset + (address - load.address), table.bytes + 8192));
    }
    drop(core);
    let mut state = 7u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state >> 33
    };
    let file = File::options().read(true).write(true).open(&path).unwrap();
    let mut other = 0;
    for _ in 0..1_500 {
        use std::os::unix::fs::FileExt;
        let mut before = Vec::new();
        for _ in 0..1 + next() % 40 {
            let (start, bytes) = places[next() as usize % places.len()];
            let at = start + next() % bytes;
            let mut old = [0];
            if file.read_at(&mut old, at).unwrap() == 1 {
                before.push((at, old));
                file.write_all_at(&[next() as u8], at).unwrap();
            }
        }
        let core = Core::open(File::open(&path).unwrap()).unwrap();
        let found = frames(&core, &|_| None);
        assert!(!found.is_empty() && found.len() <= FRAMES_MAX && found[0] == whole[0]);
        other += usize::from(found != whole);
        for (at, old) in before.iter().rev() {
            file.write_all_at(old, *at).unwrap();
        }
    }
    assert!(other > 50, "damage was seen {other} times");
    let core = Core::open(File::open(&path).unwrap()).unwrap();
    assert_eq!(frames(&core, &|_| None), whole);
}
