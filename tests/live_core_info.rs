// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Live: what is written down of a process that dies in a container, whose it was, and what it did last.
#![allow(clippy::unwrap_used)]

#[path = "common/collector.rs"]
mod collector;
#[path = "common/cores.rs"]
mod cores;
#[path = "common/live.rs"]
mod live;
#[path = "common/pods.rs"]
mod pods;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cores::Cores;
use live::{crash, wait_for, which, Cc, Live, Runc};
use pods::{containerd, Places};
use serde_json::{json, Value};

/// A bundle whose container has tests/common/crash.c.
fn bundle(live: &Live, words: &[&str], hooks: Option<Value>) -> PathBuf {
    let bundle = match hooks {
        None => live.bundle(words),
        Some(hooks) => live.bundle_with(words, hooks),
    };
    fs::copy(crash().unwrap(), bundle.join("rootfs/bin/crash")).unwrap();
    bundle
}

/// `core info DUMP --json` with all calls: what is known, and the calls.
#[track_caller]
fn info(live: &Live, dump: &Path) -> (Value, Vec<String>) {
    let out = live.bin(&["core", "info", dump.to_str().unwrap(), "--json", "--calls", "100000"]).expect_code(0);
    let mut value: Value = serde_json::from_str(&out.stdout).unwrap();
    assert_eq!((&value["schema"], &value["type"]), (&json!(1), &json!("core_info")));
    let calls = texts(&value["calls"]).into_iter().map(str::to_owned).collect();
    (value["core"].take(), calls)
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

/// The build id that binutils tells.
fn build_id(program: &Path) -> Option<String> {
    let out = Command::new("readelf").arg("-n").arg(program).output().ok()?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    text.lines().find_map(|line| Some(line.trim().strip_prefix("Build ID: ")?.to_owned()))
}

#[test]
fn what_is_written_down_of_a_process_that_dies_is_what_it_was() {
    let test = "what_is_written_down_of_a_process_that_dies_is_what_it_was";
    let Some(live) = Live::alone(test, &[Runc, Cc]) else { return };
    let cores = Cores::install(&live, "core", &[]);
    let id = live.id();
    // Words that would mislead a reader, or a terminal.
    let words = ["/bin/crash", "a b", "", "\u{1b}[31m", "x\ny"];
    let bundle = bundle(&live, &words, None);
    let out = live.run_container(Runc, &bundle, &id);
    let dumps = cores.wait_for(1);
    wait_for("the recorder's end", || live.recorder(&id).is_none().then_some(()));
    let (about, calls) = info(&live, &dumps[0]);
    // The process's own words of itself, without the first column.
    let own = |key: &str| {
        let line = out.stdout.lines().find_map(|line| line.strip_prefix(key));
        line.unwrap_or_else(|| panic!("{key}: {}", out.stdout)).trim().to_owned()
    };

    assert_eq!((&about["container"]["id"], &about["recording"]), (&json!(id), &json!(live.recordings(&id)[0])));
    assert_eq!((&about["signal"], &about["signal_name"]), (&json!(11), &json!("SIGSEGV")));
    assert_eq!(
        (&about["code"], &about["code_name"], &about["address"]),
        (&1.into(), &"SEGV_MAPERR".into(), &"0x1230".into())
    );
    assert_eq!(about["command"], json!(words));
    assert_eq!(about["executable"], "/bin/crash");
    assert_eq!(about["build_id"].as_str().map(str::to_owned), build_id(&crash().unwrap()));
    assert_eq!(about["capabilities"].as_str().unwrap(), own("CapEff:"));
    assert_eq!((about["user"].as_u64(), about["group"].as_u64()), (Some(0), Some(0)));
    assert_eq!(about["inner_pid"].to_string(), own("Tgid:"));
    let global = |value: &Value| value.as_i64().unwrap();
    assert!(global(&about["pid"]) > global(&about["inner_pid"]) && about["pid"] != about["tid"]);

    // Limits are those that it saw, all of them.
    let limits = about["limits"].as_object().unwrap();
    for (name, values) in limits {
        let seen: Vec<String> = own(name).split_whitespace().map(str::to_owned).collect();
        assert_eq!(values.as_str().unwrap(), seen[..2].join(" "), "{name}");
    }
    assert_eq!((limits["Max open files"].as_str(), limits.len() >= 16), (Some("321 654"), true), "{limits:?}");

    // Twenty threads, by their names, each with the number that the recording has too.
    let threads = about["threads"].as_array().unwrap();
    let mut names: Vec<String> = threads.iter().map(|thread| thread["comm"].as_str().unwrap().to_owned()).collect();
    names.sort_unstable();
    let mut wanted: Vec<String> = (0..20).filter(|at| *at != 7).map(|at| format!("thread-{at}")).collect();
    wanted.push("\u{fffd}\u{1b}[31m-7".to_owned());
    wanted.sort_unstable();
    assert_eq!(names, wanted);
    let dying = threads.iter().find(|thread| thread["tid"] == about["tid"]).unwrap();
    assert_eq!((&dying["comm"], &dying["inner_tid"]), (&json!("thread-13"), &about["inner_tid"]));

    // Open descriptors and mapped files, also of what has been closed since.
    let open = |fd: i64| about["descriptors"].as_array().unwrap().iter().find(|file| file["fd"] == fd).cloned();
    assert_eq!(open(77).unwrap()["path"], "/bin/busybox");
    assert!(open(78).is_none());
    let mapped = |path: &str| about["files"].as_array().unwrap().iter().find(|file| file["path"] == path).cloned();
    let busybox = which("busybox").unwrap();
    assert_eq!(mapped("/bin/busybox").unwrap()["build_id"].as_str(), build_id(Path::new(&busybox)).as_deref());
    assert_eq!(mapped("/bin/crash").unwrap()["build_id"], about["build_id"]);
    assert_eq!(about["environment"], json!([]), "only where it is asked for");
    assert_eq!((&about["cut"], &about["problems"]), (&json!(""), &json!([])));
    // The kernel's whole seconds are not all that is known, and it was not long ago.
    let age = |member: &str| about[member].as_u64().unwrap().abs_diff(live::now_ns());
    assert!(age("time_ns") < 60_000_000_000 && about["stored_ns"].as_u64() >= about["time_ns"].as_u64());
    assert_ne!(about["time_ns"].as_u64().unwrap() % 1_000_000_000, 0);

    // What it did last, and what its siblings were doing, in the words of `report`, and nothing of the runtime's.
    // But for the microsecond: the whole recording knows more of how the kernel's clock went.
    let all = live.bin(&["report", &id]).stdout;
    let untimed = |line: &str| {
        let (task, rest) = line.split_once("] ").unwrap_or(("", line));
        format!("{task} {}", rest.split_once(' ').map_or("", |(_, call)| call))
    };
    let known: Vec<String> = all.lines().map(untimed).collect();
    for line in calls.iter().filter(|line| !line.contains("exited") && !line.contains("killed")) {
        assert!(known.contains(&untimed(line)), "{line}\n{all}");
    }
    for number in 0..20 {
        assert!(calls.iter().any(|line| line.contains(&format!("getpgid({})", 7_770_000 + number))), "{number}");
    }
    let tid = about["tid"].to_string();
    let own: Vec<&String> = calls.iter().filter(|line| line.starts_with(&format!("[pid {tid} thread-13] "))).collect();
    let [.., last, signal] = own.as_slice() else { panic!("{calls:#?}") };
    assert!(last.contains("getpgid(7779999) = -1 ESRCH"), "{last}");
    assert!(signal.ends_with("--- SIGSEGV {si_code=SEGV_MAPERR} ---"), "{signal}");
    assert_eq!(calls.iter().filter(|line| line.contains("read(") && line.contains("ERESTARTSYS")).count(), 19);
    let of_runtime = calls.iter().filter(|line| line.contains("runc")).count();
    assert!(calls[0].contains("execve(\"/bin/crash\"") && of_runtime == 1, "{calls:#?}");

    // The same for people, with nothing that turns the terminal red.
    let page = live.bin(&["core", "info", &id]).expect_code(0).stdout;
    assert!(!page.contains('\u{1b}') && !page.contains('\u{fffd}'.to_string().repeat(2).as_str()), "{page}");
    for wanted in [
        "signal      SIGSEGV 11 (SEGV_MAPERR), at address 0x1230\n",
        "command     /bin/crash \"a b\" \"\" \"\\u{1b}[31m\" \"x\\ny\"\n",
        "thread-13 *\n",
        "77 /bin/busybox\n",
        "Max open files: 321 654\n",
        "threads (20):\n",
        "--- SIGSEGV {si_code=SEGV_MAPERR} ---\n",
    ] {
        assert!(page.contains(wanted), "{wanted}\n{page}");
    }
    let list = live.bin(&["core", "list"]).expect_code(0).stdout;
    assert!(list.lines().nth(1).unwrap().contains(&id) && list.lines().count() == 2, "{list}");
    live.expect_nothing_left();
}

/// The hooks of a recording with options.
fn hooks(live: &Live, options: &[&str]) -> Value {
    let start = live.hook(&[&["start"], options].concat());
    json!({ "createRuntime": [start], "poststop": [live.hook(&["stop"])] })
}

/// Starts a container that stays, and has `crash WORDS` die in it; gives its dump.
#[track_caller]
fn die_in(live: &Live, cores: &Cores<'_>, id: &str, words: &[&str]) -> PathBuf {
    let before = cores.dumps();
    live.oci(Runc, &[&["exec", id, "/bin/crash"], words].concat());
    wait_for("the dump", || cores.dumps().into_iter().find(|dump| !before.contains(dump)))
}

#[test]
fn the_last_calls_come_from_whatever_recording_there_is_and_what_there_is_not_is_told() {
    let test = "the_last_calls_come_from_whatever_recording_there_is_and_what_there_is_not_is_told";
    let Some(live) = Live::alone(test, &[Runc, Cc]) else { return };
    let cores = Cores::install(&live, "core", &[]);
    let wait = ["/bin/crash", "wait", "/tmp/never"];
    let started = |options: &[&str]| {
        let id = live.id();
        live.start_container(&bundle(&live, &wait, Some(hooks(&live, options))), &id);
        id
    };
    let has = |calls: &[String], wanted: &str| calls.iter().any(|line| line.contains(wanted));
    let problems = |about: &Value| texts(&about["problems"]).join("\n");

    // Of a flight recording what the ring has at that moment; and of a process that joined.
    let flight = started(&["--mode", "flight"]);
    live.wait_for_watch(None);
    let dump = die_in(&live, &cores, &flight, &["die"]);
    let (about, calls) = info(&live, &dump);
    assert_eq!((&about["container"]["id"], about["problems"].to_string()), (&json!(flight), "[]".into()));
    assert!(has(&calls, "getpgid(7778888)") && has(&calls, "--- SIGSEGV"), "{calls:#?}");
    assert!(calls.iter().all(|line| !line.contains("runc") || line.contains("execve(\"/bin/crash\"")), "{calls:#?}");

    // More than is copied: the newest, and who is who is known without the beginning.
    let long = started(&[]);
    let dump = die_in(&live, &cores, &long, &["die", "60000"]);
    let (_, calls) = info(&live, &dump);
    let many = calls.iter().filter(|line| line.contains("crash] ") && line.contains("getpgid(7775555)")).count();
    assert!((5_000..60_000).contains(&many) && has(&calls, "getpgid(7778888)"), "{many}");
    let copied: u64 = fs::read_dir(&dump).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
    let core = fs::metadata(dump.join("core")).unwrap().len();
    assert!(copied - core < 3 << 20, "{copied} with {core} of the dump");
    let all = live.bin(&["report", dump.to_str().unwrap()]).expect_code(0).stdout;
    let init = format!("[pid {} crash] ", live.init_pid(&long));
    assert!(all.lines().any(|line| line.starts_with(&init)), "{init}: {}", &all[..all.len().min(3000)]);
    // Where the copy begins there may be the ends of threads that the runtime had.
    let is_call = |line: &&str| line.contains(" runc") && !line.contains("+++");
    let of_runtime: Vec<&str> = all.lines().filter(is_call).collect();
    assert!(of_runtime.is_empty(), "{of_runtime:#?}");

    // What is in a container within the recorded one is told by both.
    let inner = pods::hex_id(&live);
    let cgroups = fs::read_to_string(format!("/proc/{}/cgroup", live.init_pid(&long))).unwrap();
    let below = cgroups.lines().find_map(|line| {
        let [_, kind, path] = line.splitn(3, ':').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let dir = Path::new("/sys/fs/cgroup").join(kind.trim_start_matches("name=")).join(&path[1..]);
        (path.contains(&long) && kind != "cpuset" && dir.is_dir()).then(|| dir.join(format!("docker-{inner}.scope")))
    });
    let below = below.unwrap_or_else(|| panic!("{cgroups}"));
    fs::create_dir(&below).unwrap();
    let before = cores.dumps();
    let script = format!("echo $$ >{}/cgroup.procs && exec {} die", below.display(), crash().unwrap().display());
    Command::new("unshare").args(["--mount", "sh", "-c", &script]).status().unwrap();
    let dump = wait_for("the dump", || cores.dumps().into_iter().find(|dump| !before.contains(dump)));
    let (about, _) = info(&live, &dump);
    assert_eq!((&about["container"]["id"], &about["within"]), (&json!(inner), &json!(long)));
    assert_eq!((&about["engine"], about["recording"].as_str() != Some("")), (&json!("docker"), true));
    wait_for("the end of the group", || fs::remove_dir(&below).ok());

    // Recordings without events say so.
    for mode in ["count", "profile"] {
        let id = started(&["--mode", mode]);
        let (about, calls) = info(&live, &die_in(&live, &cores, &id, &["die"]));
        assert_eq!((&about["container"]["id"], calls.len()), (&json!(id), 0));
        let told = problems(&about);
        assert!(told.contains(&format!("no last calls: the recording is of mode {mode}")), "{told}");
        let page = live.bin(&["core", "info", &id]).expect_code(0).stdout;
        assert!(page.contains("problem     no last calls: ") && !page.contains("last system calls"), "{page}");
    }

    // The container is known by a recording that has ended, too.
    let ended = started(&[]);
    live.bin(&["stop", &ended]).expect_code(0);
    wait_for("the recorder's end", || live.recorder(&ended).is_none().then_some(()));
    let (about, _) = info(&live, &die_in(&live, &cores, &ended, &["die"]));
    let told = problems(&about);
    assert!(told.contains("the container's recording had ended, "), "{told}");
}

#[test]
fn a_container_that_no_recording_knows_is_told_by_its_control_group_and_its_engines_files() {
    let test = "a_container_that_no_recording_knows_is_told_by_its_control_group_and_its_engines_files";
    let Some(live) = Live::alone(test, &[Runc, Cc]) else { return };
    let cores = Cores::install(&live, "core", &[]);
    // The first process of a container is not killed by its own signals.
    let script = "sh -c 'kill -ABRT $$'; false";
    // containerd's id and place; the pod by its annotations.
    let mut places = Places::default();
    let stays = [script, "sleep 60"].join("; ");
    let id = places.start(&live, &["sh", "-c", &stays], &containerd("web-7d4b9", "app"), json!({}));
    let dumps = cores.wait_for(1);
    let (about, calls) = info(&live, &dumps[0]);
    let container = &about["container"];
    assert_eq!(
        (&container["id"], &container["pod"], &container["namespace"]),
        (&json!(id), &json!("web-7d4b9"), &json!("shop"))
    );
    assert_eq!((&container["name"], &container["image"]), (&json!("app"), &json!("docker.io/library/busybox:1.36")));
    assert_eq!((&about["recording"], calls.len()), (&json!(""), 0));
    assert_eq!(
        (&about["signal_name"], about["inner_pid"].as_i64() < Some(100), &about["comm"]),
        (&json!("SIGABRT"), true, &json!("sh"))
    );
    let by_pod = live.bin(&["core", "info", "pod:shop/web-7d4b9"]).expect_code(0).stdout;
    assert!(by_pod.contains("pod         shop/web-7d4b9/app\n"), "{by_pod}");

    // runc's own, whose name could be anybody's.
    let id = live.id();
    let bundle = pods::bundle(&live, &["sh", "-c", script], &containerd("db", "main"), json!({}));
    let mut runc = Command::new("runc");
    let status = runc.args(["run", "--bundle"]).arg(&bundle).arg(&id).stdin(std::process::Stdio::null()).status();
    assert!(!status.unwrap().success());
    cores.wait_for(2);
    let (about, _) = info(&live, &cores.dumps().into_iter().find(|dump| !dumps.contains(dump)).unwrap());
    assert_eq!((&about["container"]["id"], &about["engine"]), (&json!(id), &json!("runc")));
    assert_eq!(about["container"]["pod"], "db");

    // Namespaces alone make no container: it goes where it went before.
    let elsewhere = live.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let words = [
        "--fork",
        "--pid",
        "--mount",
        "--ipc",
        "--net",
        "sh",
        "-c",
        "ulimit -c unlimited; sh -c 'kill -ABRT $$'; false",
    ];
    let status = Command::new("unshare").args(words).current_dir(&elsewhere).status().unwrap();
    assert!(!status.success());
    wait_for("the file that the kernel would have written", || elsewhere.join("core").exists().then_some(()));
    assert_eq!(cores.dumps().len(), 2);
    collector::lists_and_collects(&live, &cores);
}
