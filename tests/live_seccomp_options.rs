// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Live: what `seccomp`'s options make of a profile, shown by containers that are started under it; which recordings
//! give none; and what `check`, `diff` and `denials` say, held against what happens under the profile.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "common/round_trip.rs"]
mod round_trip;

use std::fs;

use round_trip::*;
use serde_json::{json, Value};

/// A test's corner and a bundle in it, or the test is skipped.
macro_rules! bundle {
    ($live:ident, $bundle:ident, $test:literal $(, $need:expr)*) => {
        let Some($live) = Live::new($test, &[Runc, Cc $(, $need)*]) else { return };
        let $bundle = Bundle::new(&$live);
    };
}

const FILES: Workload<'static> = Workload {
    args: &["/bin/work", "files"],
    output: "9 bytes, 1 file, line\n",
    code: 3,
    beyond: &["/bin/work", "files", "beyond"],
    told: "beyond: Function not implemented\n",
    comm: "work",
};

const NET: Workload<'static> = Workload {
    args: &["/bin/work", "net"],
    output: "client: pong\nserver: ping\nclient ended with 3\n",
    code: 6,
    beyond: &["/bin/work", "net", "beyond"],
    told: "beyond: Function not implemented\n",
    comm: "work",
};

/// `sockets DOMAIN TIMES` of live-work.
fn sockets(domain: &'static str, args: &'static [&'static str]) -> Workload<'static> {
    Workload { args, output: domain, code: 0, beyond: &[], told: "", comm: "work" }
}

/// A profile without these calls.
fn without(profile: &Value, names: &[&str]) -> Value {
    let mut profile = profile.clone();
    let rules = profile["syscalls"].as_array_mut().unwrap();
    for rule in rules.iter_mut() {
        rule["names"].as_array_mut().unwrap().retain(|name| !names.contains(&name.as_str().unwrap()));
    }
    rules.retain(|rule| rule["names"] != json!([]));
    profile
}

/// Writes a profile to a file of the test's.
fn save(live: &Live, name: &str, profile: &Value) -> String {
    fs::write(live.path(name), profile.to_string()).unwrap();
    live.path(name).to_str().unwrap().to_owned()
}

#[test]
fn recordings_united_start_what_each_of_them_was_of() {
    bundle!(live, bundle, "recordings_united_start_what_each_of_them_was_of", Crun);
    let (files, net) = (bundle.record(&FILES), bundle.record(&NET));
    let alone = generate(&live, &[&files]);
    let (id, out) = bundle.run((Runc, false), NET.args, Some(&alone));
    assert!(out.code == 70 && out.stdout.contains("Function not implemented"), "{out:?}");
    assert_eq!(denials(&live, &id)[0]["call"], "socket");
    let both = generate(&live, &[&files, &net]);
    bundle.holds(&FILES, &both, &[(Runc, false), (Crun, true)]);
    bundle.holds(&NET, &both, &[(Crun, false), (Runc, true)]);
    // In any order, and once more.
    let text = |args: &[&str]| live.bin(&[&["seccomp", "generate"], args].concat()).expect_code(0).stdout;
    let first = text(&[&files, &net]);
    assert_eq!([text(&[&net, &files]), text(&[&files, &net])], [first.clone(), first]);
    let names = allowed(&both);
    let mut sorted = names.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!(names, sorted, "one rule of one name each, by name");
}

#[test]
fn a_profile_for_one_runtime_starts_under_that_one() {
    bundle!(live, bundle, "a_profile_for_one_runtime_starts_under_that_one", Crun);
    let id = bundle.record(&FILES);
    let any = allowed(&generate(&live, &[&id])).len();
    for (name, need) in [("runc", Runc), ("crun", Crun)] {
        let profile = generate(&live, &["--runtime", name, &id]);
        bundle.holds(&FILES, &profile, &[(need, false), (need, true)]);
        assert!(allowed(&profile).len() < any, "{name}");
        let profile = generate(&live, &["--runtime", name, "--no-new-privileges", "yes", &id]);
        bundle.holds(&FILES, &profile, &[(need, true)]);
    }
    let none = allowed(&generate(&live, &["--runtime", "none", &id]));
    assert!(!none.iter().any(|name| name == "setgroups") && none.iter().any(|name| name == "execve"), "{none:?}");
}

#[test]
fn what_a_bundle_asks_of_its_runtime_is_done_under_the_profile() {
    bundle!(live, bundle, "what_a_bundle_asks_of_its_runtime_is_done_under_the_profile", Crun);
    let shell = |output: &'static str| Workload {
        args: &["sh", "-c", "cd /tmp; /bin/busybox id; true"],
        output,
        code: 0,
        ..FILES
    };
    // A profile of the container as root is the same for another user: the runtime's part is a table.
    let root = shell("uid=0 gid=0\n");
    let profile = generate(&live, &[&bundle.record(&root)]);
    bundle.holds(&root, &profile, &EVERY_START);
    bundle.edit(|config| {
        config["process"]["user"] = json!({ "uid": 1000, "gid": 1001, "additionalGids": [5, 6], "umask": 18 });
        config["process"]["cwd"] = json!("/tmp");
        config["process"]["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "hard": 64, "soft": 64 }]);
        config["process"]["oomScoreAdj"] = json!(100);
        config["hostname"] = json!("other");
    });
    let user = shell("uid=1000 gid=1001 groups=5,6\n");
    bundle.holds(&user, &profile, &EVERY_START);
    // Created first, and started later.
    for how in EVERY_START {
        bundle.configure(user.args, how.1, Some(&profile));
        let id = live.id();
        let log = fs::File::create(live.path("log")).unwrap();
        let path = bundle.path.to_str().unwrap();
        let mut create = live.oci_command(how.0, &["create", "--bundle", path, &id].map(str::to_owned));
        create.stdin(std::process::Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        assert!(create.status().unwrap().success(), "{}", fs::read_to_string(live.path("log")).unwrap());
        live.oci(how.0, &["start", &id]).expect_code(0);
        live.expect_nothing_left();
        assert_eq!(fs::read_to_string(live.path("log")).unwrap(), user.output, "{how:?}");
        assert_eq!(denials(&live, &id), Vec::<Value>::new(), "{how:?}");
        live.oci(how.0, &["delete", "--force", &id]).expect_code(0);
    }
    // With a user namespace of its own.
    let all = json!([{ "containerID": 0, "hostID": 0, "size": 65536 }]);
    bundle.edit(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
        config["linux"]["uidMappings"] = all.clone();
        config["linux"]["gidMappings"] = all;
    });
    bundle.holds(&user, &profile, &EVERY_START);
}

#[test]
fn what_the_bundle_says_of_new_privileges_decides() {
    bundle!(live, bundle, "what_the_bundle_says_of_new_privileges_decides", Crun);
    let (id, _) = bundle.run((Runc, true), FILES.args, None);
    let profile = generate(&live, &[&id]);
    assert!(!allowed(&profile).iter().any(|name| name == "capset"), "{profile}");
    bundle.holds(&FILES, &profile, &[(Runc, true), (Crun, true)]);
    let profile = generate(&live, &["--no-new-privileges", "no", &id]);
    bundle.holds(&FILES, &profile, &EVERY_START);
}

#[test]
fn a_portable_profile_has_the_spellings_of_all_and_loads() {
    bundle!(live, bundle, "a_portable_profile_has_the_spellings_of_all_and_loads", Crun);
    let id = bundle.record(&FILES);
    let (own, portable) = (generate(&live, &[&id]), generate(&live, &["--portable", &id]));
    let names = allowed(&portable);
    assert!(allowed(&own).iter().all(|name| names.contains(name)), "{portable}");
    // What the same program calls where a word has 32 bits, and what only the oldest of the ABIs has.
    for name in
        ["openat", "open", "fstat64", "fstatat64", "newfstatat", "mmap2", "mmap", "fcntl64", "unlink", "unlinkat"]
    {
        assert!(names.iter().any(|known| known == name), "{name}: {portable}");
    }
    let wanted = ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"];
    let listed = portable["architectures"].as_array().unwrap();
    assert!(wanted.iter().all(|arch| listed.contains(&json!(arch))), "{portable}");
    bundle.holds(&FILES, &portable, &EVERY_START);
}

#[test]
fn a_base_profile_is_kept_and_added_to() {
    bundle!(live, bundle, "a_base_profile_is_kept_and_added_to");
    let id = bundle.record(&FILES);
    let base = json!({
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
        "syscalls": [
            { "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ALLOW" },
            { "names": ["unshare"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13 },
        ],
    });
    let base = save(&live, "base.json", &base);
    let profile = generate(&live, &["--base", &base, &id]);
    bundle.holds(&FILES, &profile, &[(Runc, false)]);
    let (id, out) = bundle.run((Runc, false), FILES.beyond, Some(&profile));
    assert_eq!(out.stdout, format!("{}beyond: File exists\n", FILES.output));
    assert_eq!(denials(&live, &id), Vec::<Value>::new());
    // And its own error number.
    let (other, _) = bundle.run((Runc, false), &["/bin/busybox", "true"], None);
    let profile = generate(&live, &["--base", &base, &other, &bundle.record(&FILES)]);
    let (id, out) = bundle.run((Runc, false), &["/bin/busybox", "unshare", "-m", "true"], Some(&profile));
    assert!(out.stderr.contains("Permission denied"), "{out:?}");
    let refused = denials(&live, &id);
    assert!(refused.iter().any(|denial| denial["call"] == "unshare" && denial["answer"] == "EACCES"), "{refused:?}");
}

#[test]
fn arguments_are_limited_to_a_small_set_that_was_seen_often() {
    bundle!(live, bundle, "arguments_are_limited_to_a_small_set_that_was_seen_often", Crun);
    let unix = sockets("domain 1: as asked for\n", &["/bin/work", "sockets", "1", "100"]);
    let once = sockets("domain 1: as asked for\n", &["/bin/work", "sockets", "1", "1"]);
    let id = bundle.record(&unix);
    // Without the option a call is allowed as it is.
    let profile = generate(&live, &[&id]);
    assert!(allowed(&profile).iter().any(|name| name == "socket"));
    let out = live.bin(&["seccomp", "generate", "--args", &id]).expect_code(0);
    assert!(out.stderr.contains("socket"), "what is limited is told: {}", out.stderr);
    let profile: Value = serde_json::from_str(&out.stdout).unwrap();
    assert!(!allowed(&profile).iter().any(|name| name == "socket"), "{profile}");
    bundle.holds(&unix, &profile, &EVERY_START);
    for need in [Runc, Crun] {
        let (id, out) = bundle.run((need, false), &["/bin/work", "sockets", "2", "1"], Some(&profile));
        assert_eq!((out.stdout.as_str(), out.code), ("domain 2: Function not implemented\n", 1), "{}", out.stderr);
        let refused = denials(&live, &id);
        assert!(refused.len() == 1 && refused[0]["call"] == "socket" && refused[0]["count"] == 1, "{refused:?}");
    }
    // Seen once is not often enough.
    let profile = generate(&live, &["--args", &bundle.record(&once)]);
    assert!(allowed(&profile).iter().any(|name| name == "socket"), "{profile}");
}

#[test]
fn who_made_a_call_first_is_told() {
    bundle!(live, bundle, "who_made_a_call_first_is_told");
    let (files, net) = (bundle.record(&FILES), bundle.record(&NET));
    let why = live.bin(&["seccomp", "generate", "--why", "socket", &files, &net]).expect_code(0).stdout;
    assert!(why.contains(&net) && why.contains("work") && !why.contains(&files), "{why}");
    let why = live.bin(&["seccomp", "generate", "--json", "--why", "socket", &files, &net]).expect_code(0).json();
    let text = why[0].to_string();
    assert!(why.len() == 1 && text.contains(&net) && text.contains("\"work\""), "{text}");
    // What the runtime needs was made by no task.
    let why = live.bin(&["seccomp", "generate", "--why", "capset", &files]).expect_code(0).stdout;
    assert!(why.contains("run"), "{why}");
    // And one that is not in the profile.
    let why = live.bin(&["seccomp", "generate", "--why", "mkdirat", &files]);
    assert!(format!("{}{}", why.stdout, why.stderr).contains("mkdirat"), "{why:?}");
}

/// `seccomp generate ID` gives no profile and says why; with `--force` it gives one.
#[track_caller]
fn unfit(live: &Live, id: &str, reason: &str) {
    let out = live.bin(&["seccomp", "generate", id]).expect_code(1);
    assert!(out.stdout.is_empty() && out.stderr.contains(reason), "{out:?}");
    let file = live.path(&format!("{id}.json"));
    live.bin(&["seccomp", "generate", "-o", file.to_str().unwrap(), id]).expect_code(1);
    assert!(!file.exists());
    let forced = generate(live, &["--force", id]);
    assert_eq!(forced["defaultAction"], "SCMP_ACT_ERRNO");
}

#[test]
fn a_recording_under_a_denying_profile_gives_none() {
    bundle!(live, bundle, "a_recording_under_a_denying_profile_gives_none");
    let profile = generate(&live, &[&bundle.record(&FILES)]);
    // Whether it denied something or not.
    let (id, _) = bundle.run((Runc, false), FILES.beyond, Some(&profile));
    unfit(&live, &id, "seccomp");
    let (id, _) = bundle.run((Runc, false), FILES.args, Some(&profile));
    unfit(&live, &id, "seccomp");
    // One that allows everything, and one that logs, deny nothing.
    for action in ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG"] {
        let (id, _) = bundle.run((Runc, false), FILES.args, Some(&json!({ "defaultAction": action })));
        let same = generate(&live, &[&id]);
        assert_eq!(same, profile, "{action}");
    }
}

#[test]
fn a_recording_of_some_calls_gives_none() {
    bundle!(live, bundle, "a_recording_of_some_calls_gives_none");
    for (options, reason) in
        [(&["start", "--syscalls", "openat,%file"][..], "--syscalls"), (&["start", "--errors-only"], "--errors-only")]
    {
        bundle.edit(|config| config["hooks"]["createRuntime"] = json!([live.hook(options)]));
        let (id, _) = bundle.run((Runc, false), FILES.args, None);
        unfit(&live, &id, reason);
    }
}

#[test]
fn a_recording_cut_short_gives_none() {
    bundle!(live, bundle, "a_recording_cut_short_gives_none");
    bundle.configure(&["sleep", "60"], false, None);
    let id = live.id();
    live.start_container(&bundle.path, &id);
    let recorder = live.recorder(&id).unwrap()["recorder_pid"].to_string();
    let mut kill = live.command("kill");
    kill.args(["-KILL", &recorder]);
    run(kill, b"").expect_code(0);
    let ended = || fs::read_to_string(format!("/proc/{recorder}/stat")).map_or(true, |stat| stat.contains(") Z "));
    wait_for("the recorder's end", || ended().then_some(()));
    unfit(&live, &id, "");
    live.bin(&["gc"]);
    unfit(&live, &id, "cut short");
    live.oci(Runc, &["delete", "--force", &id]).expect_code(0);
}

#[test]
fn a_recording_that_lost_events_gives_none() {
    let Some(live) = Live::alone("a_recording_that_lost_events_gives_none", &[Runc, Cc]) else { return };
    let bundle = Bundle::new(&live);
    bundle.edit(|config| config["hooks"]["createRuntime"] = json!([live.hook(&["start", "--buffer-size-kb", "128"])]));
    bundle.configure(&["sh", "-c", "until [ -e /tmp/go ]; do usleep 20000; done; exec work loop 300000"], false, None);
    let id = live.id();
    live.start_container(&bundle.path, &id);
    let (pid, recorder) = (live.init_pid(&id), live.recorder(&id).unwrap()["recorder_pid"].to_string());
    let signal = |name: &str| {
        let mut kill = live.command("kill");
        kill.args([name, &recorder]);
        run(kill, b"").expect_code(0);
    };
    // A recorder that is stopped for a while loses what it is given; the program's execve is stored before.
    live.bin(&["report", &id]);
    signal("-STOP");
    fs::write(bundle.path.join("rootfs/tmp/go"), "").unwrap();
    let stat = format!("/proc/{pid}/stat");
    wait_for("the program's end", || {
        fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z ")).then_some(())
    });
    signal("-CONT");
    live.expect_nothing_left();
    unfit(&live, &id, "lost");
    live.oci(Runc, &["delete", "--force", &id]).expect_code(0);
}

#[test]
fn a_container_that_never_started_gives_none() {
    bundle!(live, bundle, "a_container_that_never_started_gives_none");
    bundle.configure(&["sleep", "60"], false, None);
    let id = live.id();
    // The container's process keeps what runc got for its output.
    let (root, path) = (live.path("runc"), bundle.path.display());
    let script = format!("exec runc --root {} create --bundle {path} {id} </dev/null >/dev/null 2>&1", root.display());
    let mut create = live.command("sh");
    create.args(["-c", &script]);
    run(create, b"").expect_code(0);
    live.oci(Runc, &["delete", "--force", &id]).expect_code(0);
    live.expect_nothing_left();
    unfit(&live, &id, "never executed");
}

#[test]
fn a_profile_in_a_file_tells_its_sources_beside_it() {
    bundle!(live, bundle, "a_profile_in_a_file_tells_its_sources_beside_it");
    let hooks = json!([live.hook(&["stop", "--seccomp", live.path("stop.json").to_str().unwrap()])]);
    bundle.edit(|config| config["hooks"]["poststop"] = hooks);
    let id = bundle.record(&FILES);
    let file = live.path("made.json");
    live.bin(&["seccomp", "generate", "-o", file.to_str().unwrap(), &id]).expect_code(0);
    // By the hook, by hand, to a file or to standard output: the same bytes.
    let made = fs::read(&file).unwrap();
    assert_eq!(made, live.bin(&["seccomp", "generate", &id]).expect_code(0).stdout.as_bytes());
    assert_eq!(made, fs::read(live.path("stop.json")).unwrap());
    for name in ["made.json.sources.json", "stop.json.sources.json"] {
        let sources = fs::read_to_string(live.path(name)).unwrap();
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        for wanted in [id.as_str(), release.trim(), env!("CARGO_PKG_VERSION")] {
            assert!(sources.contains(wanted), "{wanted}: {sources}");
        }
        serde_json::from_str::<Value>(&sources).unwrap();
    }
    bundle.holds(&FILES, &serde_json::from_slice(&made).unwrap(), &[(Runc, false)]);
}

#[test]
fn check_says_before_what_denials_says_after() {
    bundle!(live, bundle, "check_says_before_what_denials_says_after", Crun);
    let plain = bundle.record(&FILES);
    let free = bundle.run((Runc, false), FILES.beyond, None).0;
    let profile = generate(&live, &[&plain]);
    let file = save(&live, "profile.json", &profile);
    let quiet = live.bin(&["seccomp", "check", &file, &plain]).expect_code(0);
    assert!(!quiet.stdout.contains("mkdirat"), "{}", quiet.stdout);
    let told = live.bin(&["seccomp", "check", &file, &plain, &free]).expect_code(1).stdout;
    assert!(told.contains("mkdirat") && told.contains("ENOSYS") && told.contains("work"), "{told}");
    let before = live.bin(&["seccomp", "check", "--json", &file, &free]).expect_code(1).stdout;
    let before: Value = serde_json::from_str(&before).unwrap();
    let before = before["denied"].as_array().unwrap();
    let (after, _) = bundle.run((Runc, false), FILES.beyond, Some(&profile));
    let after = denials(&live, &after);
    assert_eq!((before.len(), after.len()), (1, 1), "{before:?} {after:?}");
    assert!(before[0]["pid"].as_i64().is_some_and(|pid| pid > 0), "{before:?}");
    assert_eq!(
        (&before[0]["name"], &before[0]["abi"], &before[0]["errno"], &before[0]["count"], &before[0]["comm"]),
        (&after[0]["call"], &after[0]["abi"], &after[0]["answer"], &after[0]["count"], &after[0]["comm"])
    );
    // What the runtime itself could not do any more: a container that would not start.
    let file = save(&live, "narrow.json", &without(&profile, &["setgroups", "capset"]));
    let told = live.bin(&["seccomp", "check", &file, &plain]).expect_code(1).stdout;
    assert!(told.contains("capset"), "{told}");
    live.bin(&["seccomp", "check", "--no-new-privileges", "yes", &file, &plain]).expect_code(0);
    live.bin(&["seccomp", "check", "--runtime", "none", &file, &plain]).expect_code(0);
}

#[test]
fn profiles_are_compared_by_what_they_do() {
    bundle!(live, bundle, "profiles_are_compared_by_what_they_do");
    let profile = generate(&live, &[&bundle.record(&FILES)]);
    let one = save(&live, "one.json", &profile);
    // All names in one rule, in another order, and a rule that says what the default does.
    let mut other = profile.clone();
    let names: Vec<String> = allowed(&profile).into_iter().rev().collect();
    other["syscalls"] = json!([
        { "names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38 }, { "names": names, "action": "SCMP_ACT_ALLOW" },
    ]);
    let two = save(&live, "two.json", &other);
    live.bin(&["seccomp", "diff", &one, &two]).expect_code(0);
    let three = save(&live, "three.json", &without(&profile, &["openat"]));
    let told = live.bin(&["seccomp", "diff", &one, &three]).expect_code(1).stdout;
    assert!(told.contains("openat") && !told.contains("close_range"), "{told}");
    let told = live.bin(&["seccomp", "diff", "--json", &one, &three]).expect_code(1).stdout;
    serde_json::from_str::<Value>(&told).unwrap();
    other["defaultErrnoRet"] = json!(1);
    let four = save(&live, "four.json", &other);
    live.bin(&["seccomp", "diff", &two, &four]).expect_code(1);
}

#[test]
fn what_seccomp_kills_for_is_no_denial() {
    bundle!(live, bundle, "what_seccomp_kills_for_is_no_denial");
    let mut profile = generate(&live, &[&bundle.record(&FILES)]);
    profile["defaultAction"] = json!("SCMP_ACT_KILL_PROCESS");
    profile.as_object_mut().unwrap().remove("defaultErrnoRet");
    let (id, out) = bundle.run((Runc, false), FILES.beyond, Some(&profile));
    assert_eq!((out.stdout.as_str(), out.code), (FILES.output, 128 + 31), "{}", out.stderr);
    // Neither an enter nor an exit: the process's end tells, and that the call before it came back.
    let refused = denials(&live, &id);
    assert!(refused.len() == 1 && refused[0]["answer"] == "SIGSYS", "{refused:?}");
    let lines = live.report_json(&id, &[]);
    let end = lines.iter().find(|line| line["type"] == "exit").unwrap();
    assert_eq!((&end["killed"], &end["signal_name"]), (&json!(true), &json!("SIGSYS")), "{end}");
    // A trap has an exit, in which the call's number stands; and the signal.
    profile["defaultAction"] = json!("SCMP_ACT_TRAP");
    let (id, out) = bundle.run((Runc, false), FILES.beyond, Some(&profile));
    assert_eq!(out.code, 128 + 31, "{}", out.stderr);
    let lines = live.report_json(&id, &[]);
    assert!(lines.iter().any(|line| line["type"] == "signal" && line["signal_name"] == "SIGSYS"), "{lines:?}");
}

#[test]
fn a_recording_of_first_calls_alone_gives_the_same_profile() {
    bundle!(live, bundle, "a_recording_of_first_calls_alone_gives_the_same_profile", Crun);
    let profiles = [FILES, NET].map(|work| generate(&live, &[&bundle.record(&work)]));
    for options in [&["start", "--mode", "profile"][..], &["start", "--mode", "count"]] {
        bundle.edit(|config| config["hooks"]["createRuntime"] = json!([live.hook(options)]));
        for (work, profile) in [FILES, NET].iter().zip(&profiles) {
            let made = generate(&live, &[&bundle.record(work)]);
            assert_eq!(&made, profile, "{options:?}");
        }
    }
}

#[test]
fn the_operators_resource_starts_the_container_too() {
    let test = "the_operators_resource_starts_the_container_too";
    bundle!(live, bundle, "the_operators_resource_starts_the_container_too", Crun);
    // Where tests/run puts the Python packages.
    let packages = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("perfetto");
    if which("python3").is_none() || !packages.join("yaml").is_dir() {
        return skip(test, "no python3 with the package PyYAML; tests/run installs it");
    }
    let pool = Workload { args: &["/bin/work", "pool", "3"], output: "sum 18000\n", code: 4, ..FILES };
    let (files, threads) = (bundle.record(&FILES), bundle.record(&pool));
    let resource = live.path("crd.yaml");
    live.bin(&["seccomp", "generate", "--format", "crd", "-o", resource.to_str().unwrap(), &files, &threads])
        .expect_code(0);
    // As the operator writes it out for the kubelet: there is no defaultErrnoRet, what is not named gets EPERM.
    let script = "import json, sys, yaml\n\
                  spec = yaml.safe_load(open(sys.argv[1]))['spec']\n\
                  members = 'defaultAction', 'architectures', 'syscalls'\n\
                  json.dump({member: spec[member] for member in members}, sys.stdout)";
    let mut command = live.command("python3");
    command.args(["-c", script]).arg(&resource).env("PYTHONPATH", &packages).env("PYTHONDONTWRITEBYTECODE", "1");
    let profile: Value = serde_json::from_str(&run(command, b"").expect_code(0).stdout).unwrap();
    bundle.holds(&FILES, &profile, &EVERY_START);
    bundle.holds(&pool, &profile, &[(Runc, true), (Crun, false)]);
    let (id, out) = bundle.run((Runc, false), FILES.beyond, Some(&profile));
    assert_eq!(out.stdout, format!("{}beyond: Operation not permitted\n", FILES.output));
    assert_eq!(denials(&live, &id)[0]["answer"], "EPERM");
}

#[test]
fn denials_are_in_report_summary_and_follow_too() {
    bundle!(live, bundle, "denials_are_in_report_summary_and_follow_too");
    let profile = generate(&live, &[&bundle.record(&FILES)]);
    let (id, _) = bundle.run((Runc, false), FILES.beyond, Some(&profile));
    let text = live.bin(&["seccomp", "denials", &id]).expect_code(0).stdout;
    assert!(text.contains("mkdirat") && text.contains("ENOSYS") && text.contains("work"), "{text}");
    let report = live.bin(&["report", &id]).expect_code(0).stdout;
    let line = report.lines().find(|line| line.contains("mkdirat")).unwrap();
    assert!(line.contains("refused by seccomp: ENOSYS"), "{line}");
    let summary = live.bin(&["report", &id, "--format", "summary"]).expect_code(0).stdout;
    assert!(summary.contains("refused"), "{summary}");
    // While it runs.
    let script = "until [ -e /tmp/go ]; do usleep 20000; done; rm /tmp/go; mkdir /tmp; exit 7";
    let waits =
        Workload { args: &["sh", "-c", "touch /tmp/go; rm /tmp/go; [ -e /tmp/go ]; usleep 1; true & wait"], ..FILES };
    let profile = generate(&live, &[&bundle.run((Runc, false), waits.args, None).0]);
    bundle.configure(&["sh", "-c", script], false, Some(&profile));
    let id = live.id();
    live.start_container(&bundle.path, &id);
    let mut follow = live.start(&["follow", &id], "followed");
    fs::write(bundle.path.join("rootfs/tmp/go"), "").unwrap();
    assert_eq!(wait(&mut follow, "follow").code(), Some(0));
    let followed = fs::read_to_string(live.path("followed")).unwrap();
    assert!(followed.lines().any(|line| line.contains("mkdir") && line.contains("refused by seccomp")), "{followed}");
    live.oci(Runc, &["delete", "--force", &id]).expect_code(0);
}
