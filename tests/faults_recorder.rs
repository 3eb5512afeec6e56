// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A recorder that is killed, ended by a signal, or left without disk: what was written reads back, the report says how it
//! ended, the traced process goes on, and nothing is left in the kernel.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

#[path = "common/faults.rs"]
mod faults;
use faults::{balance, can_trace, finish, has, number_after, private_dir, until, Case, Process, Said, BIN};

const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes of sub-buffers on disk.
fn stored(case: &Case) -> u64 {
    let files = case.recordings().into_iter().flat_map(|dir| fs::read_dir(dir).unwrap().flatten());
    files
        .filter(|file| file.file_name().to_string_lossy().ends_with(".pages"))
        .map(|file| file.metadata().unwrap().len())
        .sum()
}

fn events(said: &Said) -> u64 {
    let text = said.text();
    number_after(text.lines().rev().find(|line| line.contains("decoded, ")).unwrap(), "# ")
}

#[test]
fn a_killed_recorder_leaves_a_recording_that_reads_back_and_gc_saves_the_rest() {
    if !can_trace("a_killed_recorder_leaves_a_recording_that_reads_back_and_gc_saves_the_rest") {
        return;
    }
    let case = Case::new("killed");
    let mut flood = Process::flood();
    case.start(flood.pid(), &[]);
    until("four megabytes are stored", PATIENCE, || stored(&case) > 4 << 20);
    case.signal_recorder("-9");
    sleep(Duration::from_millis(50));
    assert!(flood.is_running(), "the traced process goes on");
    drop(flood);

    let killed = case.report("text");
    assert_eq!(killed.code, Some(4), "{}", killed.err);
    assert!(killed.text().contains("recording not ended: it still runs, or its recorder was killed"));
    for format in ["summary", "json"] {
        assert_eq!(case.report(format).code, Some(4), "{format}");
    }
    let list = case.say(&["list"]);
    assert!(list.code == Some(0) && list.text().contains(" killed "), "{list:?}");
    assert_eq!((case.states().len(), case.instances().len()), (1, 1));
    assert_eq!(case.say(&["follow", &case.id]).code, Some(1), "nobody runs");

    let gc = case.say(&["gc"]);
    assert!(gc.code == Some(0) && gc.text().contains(&format!("completed the recording {}", case.id)), "{gc:?}");
    assert!(gc.text().contains(&format!("removed the tracing instance of {}", case.id)), "{gc:?}");
    assert!(case.states().is_empty() && case.instances().is_empty());
    let saved = case.report("text");
    assert_eq!(saved.code, Some(4));
    assert!(saved.text().contains("recording cut short: the recorder was killed"));
    assert!(events(&saved) > events(&killed), "gc saves what the kernel had");
    let (decoded, lost, not_stored, written) = balance(&saved.text());
    assert_eq!(decoded + lost + not_stored, written);
    assert!(case.say(&["list"]).text().contains(" cut "));
    let again = case.say(&["gc"]);
    assert!(again.code == Some(0) && !again.text().contains(&case.id), "{again:?}");
}

#[test]
fn what_a_killed_flight_recorder_had_is_in_the_kernel_and_gc_saves_it() {
    if !can_trace("what_a_killed_flight_recorder_had_is_in_the_kernel_and_gc_saves_it") {
        return;
    }
    let case = Case::new("flight");
    let mut process = Process::start("sh", &["-c", "while :; do sleep 0.01; done"]);
    case.start(process.pid(), &["--mode", "flight"]);
    sleep(Duration::from_millis(200));
    case.signal_recorder("-9");
    let killed = case.report("text");
    assert!(killed.code == Some(4) && killed.text().contains("no events"), "{killed:?}");
    assert_eq!(case.say(&["gc"]).code, Some(0));
    assert!(process.is_running());
    case.assert_clean();
    let saved = case.report("text");
    let (decoded, lost, not_stored, written) = balance(&saved.text());
    assert_eq!((saved.code, not_stored, decoded + lost), (Some(4), 0, written));
    assert!(decoded > 100, "{decoded}");
}

#[test]
fn the_next_poststop_hook_cleans_up_behind_a_killed_recorder() {
    if !can_trace("the_next_poststop_hook_cleans_up_behind_a_killed_recorder") {
        return;
    }
    let case = Case::new("poststop");
    let mut process = Process::idle();
    case.start(process.pid(), &[]);
    case.signal_recorder("-9");
    let said = finish(case.tool(&["hook", "stop", "--strict"]), &case.state("0"), PATIENCE);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{}", case.log());
    case.assert_clean();
    assert!(process.is_running());
    assert!(case.report("text").text().contains("the recorder was killed"));
}

#[test]
fn a_recording_that_was_removed_does_not_keep_gc_from_cleaning_up() {
    if !can_trace("a_recording_that_was_removed_does_not_keep_gc_from_cleaning_up") {
        return;
    }
    let case = Case::new("removed");
    let process = Process::idle();
    case.start(process.pid(), &[]);
    case.signal_recorder("-9");
    fs::remove_dir_all(case.recording()).unwrap();
    let gc = case.say(&["gc"]);
    assert!(gc.code == Some(1) && gc.err.contains("meta.json not found"), "{gc:?}");
    case.assert_clean();
}

#[test]
fn a_recorder_that_is_asked_to_end_by_a_signal_completes_its_recording() {
    if !can_trace("a_recorder_that_is_asked_to_end_by_a_signal_completes_its_recording") {
        return;
    }
    for signal in ["TERM", "INT", "HUP"] {
        let case = Case::new(&format!("signal{signal}"));
        let mut process = Process::start("sh", &["-c", "while :; do sleep 0.01; done"]);
        case.start(process.pid(), &[]);
        sleep(Duration::from_millis(100));
        case.signal_recorder(&format!("-{signal}"));
        assert!(process.is_running());
        case.assert_clean();
        let said = case.report("text");
        assert_eq!(said.code, Some(0), "{}", said.text().lines().rev().take(5).collect::<String>());
        assert!(said.text().contains(&format!("recording complete: the recorder was ended by SIG{signal}")));
        let (decoded, lost, _, written) = balance(&said.text());
        assert!(decoded > 10 && decoded + lost == written, "{decoded} {lost} {written}");
    }
}

#[test]
fn a_full_disk_ends_the_recording_and_nothing_else() {
    let test = "a_full_disk_ends_the_recording_and_nothing_else";
    if !can_trace(test) || !has(test, "unshare") {
        return;
    }
    let case = Case::new("full");
    let mut flood = Process::flood();
    // All of it in one mount namespace: the tmpfs is gone with the last process in it.
    let script = "set -e; mount -t tmpfs -o size=6m,mode=700 none \"$FTRACE_ANALYZER_DIR\"; \"$0\" hook start --strict\n\
                  for i in $(seq 300); do test -n \"$(ls $FTRACE_ANALYZER_RUN_DIR | grep -v hook.log)\" || break; sleep 0.1; done\n\
                  df -k --output=avail \"$FTRACE_ANALYZER_DIR\"; cp -a \"$FTRACE_ANALYZER_DIR\" \"$1\"\n\
                  set +e; \"$0\" report --with-runtime; echo \"text $?\"; \"$0\" report --format summary; echo \"summary $?\"; \"$0\" list";
    let mut command = Command::new("unshare");
    let copy = case.root.join("copy");
    command.args(["-m", "--propagation", "private", "sh", "-c", script, BIN]).arg(&copy);
    command.env("FTRACE_ANALYZER_DIR", &case.dir).env("FTRACE_ANALYZER_RUN_DIR", &case.run);
    let said = finish(command, &case.state(flood.pid()), Duration::from_secs(60));
    let text = said.text();
    let end: String = text.lines().rev().take(60).collect::<Vec<_>>().join("\n");
    assert!(said.err.is_empty(), "{}", said.err);
    assert!(flood.is_running(), "the traced process goes on");
    drop(flood);
    case.assert_clean();
    assert!(text.contains("text 4") && text.contains("summary 4") && text.contains(" cut "), "{end}");
    assert!(
        text.contains("recording cut short: write the recording") && text.contains("No space left on device"),
        "{end}"
    );
    assert!(case.log().contains("No space left on device") && case.log().contains(&case.id), "{}", case.log());
    let (decoded, lost, not_stored, written) = balance(text.split("text 4").next().unwrap());
    assert_eq!(decoded + lost + not_stored, written);
    assert!(decoded > 10_000 && not_stored > 0, "{decoded} decoded, {not_stored} not stored");
    let meta = fs::read_dir(&copy).unwrap().flatten().next().unwrap().path().join("meta.json");
    let meta = fs::read_to_string(meta).unwrap();
    assert!(meta.contains("\"state\":\"cut\"") && meta.contains("No space left on device"));
}

/// A recording that looks as if its recorder ran, and state that names its recorder.
fn plant(case: &Case, name: &str, boot: &str, pid: u32, start: u64) {
    let source = case
        .recordings()
        .into_iter()
        .find(|dir| dir.file_name().unwrap().to_string_lossy().starts_with(&case.id))
        .unwrap();
    let dir = case.dir.join(name);
    assert!(Command::new("cp").arg("-a").args([&source, &dir]).status().unwrap().success());
    let meta = fs::read_to_string(dir.join("meta.json")).unwrap();
    let old = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let meta = meta.replace("\"state\":\"complete\"", "\"state\":\"running\"").replace(old.trim(), boot);
    let meta = meta.replace(&format!("\"name\":\"{}\"", case.id), &format!("\"name\":\"{name}\""));
    fs::write(dir.join("meta.json"), meta).unwrap();
    private_dir(&case.run.join(name));
    let state = format!(
        "{{\"recording\":\"{}\",\"name\":\"{name}\",\"container\":\"{name}\",\"instance\":\"ftrace-analyzer-{name}\",\
         \"recorder_pid\":{pid},\"recorder_start\":{start},\"boot_id\":\"{boot}\",\"init_pid\":1}}\n",
        dir.display()
    );
    fs::write(case.run.join(name).join("state.json"), state).unwrap();
}

#[test]
fn state_of_another_boot_or_of_a_recycled_pid_is_nobodys_recorder() {
    if !can_trace("state_of_another_boot_or_of_a_recycled_pid_is_nobodys_recorder") {
        return;
    }
    let case = Case::new("stale");
    let process = Process::idle();
    case.start(process.pid(), &[]);
    case.signal_recorder("-TERM");
    case.assert_clean();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let me = std::process::id();
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let start: u64 = stat.rsplit(')').next().unwrap().split_ascii_whitespace().nth(19).unwrap().parse().unwrap();
    let names = ["earlier-boot", "recycled-pid"];
    plant(&case, names[0], "00000000-1111-2222-3333-444444444444", me, start);
    plant(&case, names[1], boot.trim(), me, start + 1);
    // Two that cannot be read: one just being made, one left long ago; and one with more than a state has.
    for (name, text) in
        [("young", ""), ("garbage", "{\"recording\":"), ("deep", &"[".repeat(60_000)), ("large", &" ".repeat(70_000))]
    {
        private_dir(&case.run.join(name));
        fs::write(case.run.join(name).join("state.json"), text).unwrap();
        if name != "young" {
            let old = Command::new("touch").args(["-d", "1 minute ago"]).arg(case.run.join(name)).status().unwrap();
            assert!(old.success());
        }
    }
    let list = case.say(&["list"]);
    assert_eq!((list.code, list.text().matches(" killed ").count()), (Some(0), 2), "{list:?}");
    for name in names {
        assert_eq!(case.say(&["stop", name]).code, Some(1), "{name} does not run");
        let report = finish(case.tool(&["report", name]), b"", PATIENCE);
        assert_eq!(report.code, Some(4), "{report:?}");
    }
    let gc = case.say(&["gc"]);
    assert_eq!(gc.code, Some(0), "{gc:?}");
    let left: Vec<_> = case.states().iter().map(|path| path.file_name().unwrap().to_owned()).collect();
    assert_eq!(left, ["young"], "what is young may be a start in progress");
    assert!(case.say(&["report", names[0]]).text().contains("recording cut short: the machine went down"));
    assert!(case.say(&["report", names[1]]).text().contains("recording cut short: the recorder was killed"));
    // With the same id a container starts and is recorded as if nothing had been.
    plant(&case, &format!("{}-old", case.id), boot.trim(), me, start + 1);
    case.start(process.pid(), &[]);
    assert_eq!(case.say(&["stop", &case.id]).code, Some(0));
    drop(process);
    until("its instance is gone", PATIENCE, || case.instances().is_empty());
}

#[test]
fn gc_does_not_touch_a_recorder_whose_state_is_elsewhere() {
    if !can_trace("gc_does_not_touch_a_recorder_whose_state_is_elsewhere") {
        return;
    }
    let case = Case::new("elsewhere");
    let process = Process::start("sh", &["-c", "while :; do sleep 0.01; done"]);
    case.start(process.pid(), &[]);
    let instance = format!("{}/{}", faults::INSTANCES, case.instances()[0]);
    // Old enough not to be taken for one that is being made.
    let old = Command::new("touch").args(["-d", "1 minute ago", &instance]).status().unwrap();
    assert!(old.success());
    let other = case.root.join("other");
    private_dir(&other);
    let mut command = case.tool(&["gc"]);
    command.env("FTRACE_ANALYZER_RUN_DIR", &other);
    let gc = finish(command, b"", PATIENCE);
    assert!(gc.code == Some(0) && !gc.text().contains(&case.id), "{gc:?}");
    assert_eq!(fs::read_to_string(format!("{instance}/tracing_on")).unwrap(), "1\n");
    assert_eq!(case.say(&["stop", &case.id]).code, Some(0));
    case.assert_clean();
}
