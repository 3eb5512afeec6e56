// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Live: core dumps of programs that die in containers, by the handler that the kernel calls, and what is known of them.
#![allow(clippy::unwrap_used)]

#[path = "common/cores.rs"]
mod cores;
#[path = "common/live.rs"]
mod live;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use cores::Cores;
use ftrace_analyzer::arch::Abi;
use ftrace_analyzer::core_dump::elf::{places, Core};
use live::{die, die32, skip, tell, wait_for, Cc, Live, Runc, BOARD, SOURCE};
use serde_json::Value;

/// Where tests/common/die.c writes, and what it calls before.
const NOWHERE: &str = "0x1234560";
const MARKS: [&str; 2] = ["getpgid(7770010)", "getpgid(7770011)"];

/// Whether a program was one for the 32-bit ABI of a 64-bit kernel.
fn is_narrow(abi: Abi) -> bool {
    abi.is_32bit() && cfg!(target_pointer_width = "64")
}

/// What is known of a dump.
fn about(dump: &Path) -> Value {
    serde_json::from_slice(&fs::read(dump.join("core.json")).unwrap()).unwrap()
}

/// A bundle whose container runs `die WORDS`.
fn bundle(live: &Live, words: &[&str]) -> PathBuf {
    let bundle = live.bundle(&[&["die"], words].concat());
    fs::copy(die().unwrap(), bundle.join("rootfs/bin/die")).unwrap();
    if let Some(die32) = die32() {
        fs::copy(die32, bundle.join("rootfs/bin/die32")).unwrap();
    }
    bundle
}

/// Exports a dump, and writes down what a debugger is to tell of it.
fn export(live: &Live, dump: &Path, how: &str, known: &Value, functions: &[&str]) {
    let dir = live.path("exported");
    fs::create_dir_all(&dir).unwrap();
    let to = dir.join(format!("{how}.core"));
    live.bin(&["core", "export", dump.to_str().unwrap(), "--output", to.to_str().unwrap()]).expect_code(0);
    assert!(fs::read(&to).unwrap() == fs::read(dump.join("core")).unwrap(), "the same bytes");
    let abi = Core::open(File::open(&to).unwrap()).unwrap().abi;
    let mut expect = vec![if is_narrow(abi) { "die32" } else { "die" }.to_owned()];
    expect.push(format!("LWP {}", known["inner_tid"]));
    expect.push(format!("Program terminated with signal {}", known["signal_name"].as_str().unwrap()));
    let address = known["address"].as_str().unwrap();
    expect.extend((!address.is_empty()).then(|| format!("$1 = {address}")));
    expect.push(format!("$2 = {}", known["pc"].as_str().unwrap()));
    // The same frames, of which gdb tells no address where it knows better: in the middle of a line.
    let frames = known["backtrace"].as_array().unwrap();
    let width = if abi.is_32bit() { 10 } else { 18 };
    // Where there is no table, gdb reads the code; we guess.
    let known_by = |frame: &&Value| frame["by"] != "guess";
    for (nth, frame) in frames.iter().take_while(known_by).enumerate().take(40) {
        if frames.get(nth + 1).is_some_and(|next| next["by"] == "signal") {
            expect.push("<signal handler called>".into());
            continue;
        }
        let pc = u64::from_str_radix(frame["pc"].as_str().unwrap().trim_start_matches("0x"), 16).unwrap();
        expect.push(format!("{pc:#0width$x} in "));
    }
    assert!(frames.len() >= functions.len(), "{frames:?}");
    expect.extend(functions.iter().map(|function| format!(" in {function} (")));
    expect_lines(dump, known, functions);
    fs::write(dir.join(format!("{how}.expect")), expect.join("\n") + "\n").unwrap();
    for (program, name) in [(die(), "die"), (die32(), "die32")] {
        if let Some(program) = program.filter(|_| !dir.join(name).exists()) {
            fs::copy(program, dir.join(name)).unwrap();
        }
    }
}

/// What addr2line makes of a backtrace, here where it knows the machine.
fn expect_lines(dump: &Path, known: &Value, functions: &[&str]) {
    if BOARD {
        return;
    }
    let mut command = Command::new("addr2line");
    let program = known["executable"].as_str().unwrap().trim_start_matches("/bin/");
    command.args(["-f", "-e"]).arg(if program == "die" { die() } else { die32() }.unwrap());
    for frame in known["backtrace"].as_array().unwrap() {
        command.arg(frame["offset"].as_str().unwrap());
    }
    let told = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let told: Vec<&str> = told.lines().step_by(2).collect();
    let mut rest = told.iter();
    let has = |name: &str, rest: &mut std::slice::Iter<'_, &str>| rest.any(|line| line.contains(name));
    assert!(functions.iter().all(|name| has(name, &mut rest)), "{}: {told:?}", dump.display());
}

/// Has gdb read what was exported: here, or on the machine that started the board.
fn read_by_gdb(live: &Live, test: &str) {
    let dir = live.path("exported");
    if BOARD {
        let out = Path::new("/board/out/cores").join(test);
        fs::create_dir_all(&out).unwrap();
        for file in live::entries(&dir) {
            fs::copy(&file, out.join(file.file_name().unwrap())).unwrap();
        }
        return;
    }
    let out = Command::new(Path::new(SOURCE).join("tests/support/gdb-opens")).arg(&dir).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    match out.status.code() {
        Some(77) => skip(test, "no gdb"),
        code => assert_eq!(code, Some(0), "{text}"),
    }
}

/// Has tests/common/die.c tell what memory each handler had at the most.
fn measure_handlers(live: &Live) {
    let script = fs::read_to_string(live.path("fa")).unwrap();
    let measured = format!("exec {} measure {} /", die().unwrap().display(), live.path("handlers").display());
    fs::write(live.path("fa"), script.replace("exec /", &measured)).unwrap();
}

/// No handler had more than 2 MB resident: on a board, where it is the release artefact.
fn check_handlers(live: &Live) {
    let text = fs::read_to_string(live.path("handlers")).unwrap();
    let most = text.lines().map(|kb| kb.parse::<u64>().unwrap()).max().unwrap();
    if BOARD {
        tell(&format!("core handler resident: {most} KiB at the most\n"), "FTRACE_ANALYZER_SCORE_LOG");
        assert!(most <= 2048, "{text}");
    }
}

/// Who dies how: the signal, its code's name, whether it tells an address, and which functions a debugger sees.
const DEATHS: [(&str, &str, &str, &[&str]); 7] = [
    ("segv", "SIGSEGV", "SEGV_MAPERR", &["die_here", "middle", "outer", "main"]),
    ("abort", "SIGABRT", "SI_TKILL", &["abort", "main"]),
    ("bus", "SIGBUS", "BUS_ADRERR", &["die_here", "middle", "outer", "main"]),
    ("overflow", "SIGSEGV", "SEGV_MAPERR", &["deeper"]),
    ("threads", "SIGSEGV", "SEGV_MAPERR", &["die_here", "middle", "outer", "worker"]),
    ("handler", "SIGSEGV", "SEGV_MAPERR", &["die_here", "middle", "outer", "handler"]),
    ("segv32", "SIGSEGV", "SEGV_MAPERR", &["die_here", "middle", "outer", "main"]),
];

/// What core.json tells of one, and the last calls, beside the dump itself.
fn check(live: &Live, dump: &Path, how: &str, signal: &str, code: &str) -> Value {
    let known = about(dump);
    let core = Core::open(File::open(dump.join("core")).unwrap()).unwrap();
    let registers = &core.threads[0].registers;
    let [pc, sp, ..] = places(core.abi).map(|at| registers.get(at).copied().unwrap_or_default());
    assert_eq!((known["signal_name"].as_str(), known["code_name"].as_str()), (Some(signal), Some(code)), "{known}");
    assert_eq!(known["pc"], format!("{pc:#x}"));
    let address = known["address"].as_str().unwrap();
    let number = || u64::from_str_radix(address.trim_start_matches("0x"), 16).unwrap();
    match how {
        "abort" => assert_eq!(address, ""),
        "bus" => assert_eq!(number() % 4096, 16),
        "overflow" => assert!(number() <= sp + 8 && sp - number() < 65536, "{address} is not below {sp:#x}"),
        _ => assert_eq!(address, NOWHERE),
    }
    let program = if how == "segv32" { "/bin/die32" } else { "/bin/die" };
    assert_eq!(known["executable"], program);
    assert_eq!(known["abi"].as_str().unwrap_or(core.abi.name()), core.abi.name());
    assert_eq!(is_narrow(core.abi), how == "segv32");
    let threads = known["threads"].as_array().unwrap();
    let comm = |tid: &Value| threads.iter().find(|thread| thread["tid"] == *tid).unwrap()["comm"].as_str().unwrap();
    assert_eq!(core.threads.len(), threads.len());
    assert_eq!(known["inner_tid"].as_u64(), Some(u64::from(core.threads[0].tid)), "the thread in its own numbers");
    assert_ne!(known["pid"], known["inner_pid"]);
    if how == "threads" {
        assert_eq!((threads.len(), comm(&known["tid"])), (21, "worker-13"));
        assert_ne!(known["tid"], known["pid"]);
        for number in 1..=20 {
            let name = format!("worker-{number}");
            assert!(threads.iter().any(|thread| thread["comm"] == name.as_str()), "{name}");
        }
    } else {
        assert_eq!((threads.len(), &known["tid"]), (1, &known["pid"]));
        // A program that executes another is called after that one.
        assert_eq!(comm(&known["tid"]), known["comm"].as_str().unwrap());
    }
    let calls = live.bin(&["core", "info", dump.to_str().unwrap(), "--calls", "400"]).expect_code(0).stdout;
    let mut marks = MARKS.iter().filter(|mark| **mark != MARKS[1] || !matches!(how, "abort" | "overflow"));
    assert!(marks.all(|mark| calls.contains(*mark)), "{calls}");
    assert!(how != "threads" || calls.contains("getpgid(7770105)"), "siblings' calls, too: {calls}");
    assert_eq!(known["problems"].as_array().map(Vec::len), Some(0), "{known}");
    known
}

#[test]
fn a_container_that_dies_by_a_signal_leaves_a_dump_with_its_last_calls() {
    let test = "a_container_that_dies_by_a_signal_leaves_a_dump_with_its_last_calls";
    let Some(live) = Live::alone(test, &[Runc, Cc]) else { return };
    let cores = Cores::install(&live, "core", &[]);
    measure_handlers(&live);
    let id = live.id();
    // The container's first process, which signals from outside its namespace alone would end.
    live.run_container(Runc, &bundle(&live, &["segv"]), &id);
    let dump = &cores.wait_for(1)[0];
    let known = check(&live, dump, "segv", "SIGSEGV", "SEGV_MAPERR");
    assert_eq!((known["container"]["id"].as_str(), known["inner_pid"].as_u64()), (Some(id.as_str()), Some(1)));
    wait_for("the recorder's end", || live.recorder(&id).is_none().then_some(()));
    live.expect_nothing_left();
    check_handlers(&live);
    export(&live, dump, "segv", &known, &["die_here", "middle", "outer", "main"]);
    // By the container's id, to a pipe; what is there is not replaced.
    let to = live.path("exported/segv.core");
    let words = ["core", "export", &id, "--output", to.to_str().unwrap()];
    let refused = live.bin(&words).expect_code(1);
    assert!(refused.stderr.contains("File exists") && refused.stderr.contains("not replaced"), "{}", refused.stderr);
    let piped = live.path("piped");
    let status = live.command(live::BIN).args(["core", "export", &id]).stdout(File::create(&piped).unwrap()).status();
    assert!(status.unwrap().success() && fs::read(&piped).unwrap() == fs::read(&to).unwrap());
    read_by_gdb(&live, test);
}

#[test]
fn programs_that_die_each_in_another_way_leave_what_a_debugger_reads() {
    let test = "programs_that_die_each_in_another_way_leave_what_a_debugger_reads";
    let Some(live) = Live::alone(test, &[Runc, Cc]) else { return };
    let cores = Cores::install(&live, "core", &[]);
    measure_handlers(&live);
    let deaths: Vec<_> = DEATHS.iter().filter(|(how, ..)| *how != "segv32" || die32().is_some()).collect();
    let words: Vec<&str> = deaths.iter().map(|(how, ..)| *how).collect();
    let id = live.id();
    let bundle = bundle(&live, &[&["/tmp"], &words[..]].concat());
    live.start_container(&bundle, &id);
    for (how, signal, code, functions) in deaths {
        let dump = &cores.wait_for(1)[0];
        // Elsewhere: of many in a row only the first and the last would stay.
        let kept = live.path(&format!("kept-{how}"));
        fs::rename(dump, &kept).unwrap();
        File::create(bundle.join("rootfs/tmp").join(how)).unwrap();
        let known = check(&live, &kept, how, signal, code);
        assert_eq!(known["container"]["id"].as_str(), Some(id.as_str()));
        export(&live, &kept, how, &known, functions);
    }
    live.expect_nothing_left();
    check_handlers(&live);
    read_by_gdb(&live, test);
}
