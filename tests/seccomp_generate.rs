// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Profiles made of small synthetic recordings: which names are in them and why, and what gives none.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use ftrace_analyzer::json::Json;
use ftrace_analyzer::recording::{EndState, Meta, Recording};
use ftrace_analyzer::seccomp::runtimes::{needed, of_programs, Runtime};
use ftrace_analyzer::seccomp::{check_fit, generate, write_profile, write_sources, Form, Made, Profile, Source, Wish};
use serde_json::Value;

#[path = "support/synthetic.rs"]
mod synthetic;
use synthetic::{fresh_dir, meta, Synthetic};

/// A recording of a container: the runtime's part, execve, and what `program` does.
fn container(name: &str, change: impl FnOnce(&mut Meta), program: impl FnOnce(&mut Synthetic)) -> Source {
    let base = fresh_dir(name);
    let mut meta = meta(2);
    meta.host.release = "6.18.44".into();
    meta.starts_in_runtime = true;
    meta.origin = "hook".into();
    meta.tasks[0].comm = "runc:[2:INIT]".into();
    change(&mut meta);
    let (execve, getpid) = if meta.host.machine == "aarch64" { (221, 172) } else { (59, 39) };
    let mut log = Synthetic::new(&base, meta);
    // getppid of the runtime is none of the container's.
    log.call(0, 100, getpid, &[], 1, 100).after(5);
    log.enter(0, 100, execve, [1, 1, 1, 0, 0, 0]).after(300).rename(0, 100, b"sh");
    log.exec(0, 100, 100, "/bin/sh").after(20).exit(0, 100, execve, 0).after(3);
    program(&mut log);
    let exit_group = if execve == 221 { 94 } else { 231 };
    log.after(5).enter(0, 100, exit_group, [0; 6]);
    let recording = log.finish(EndState::Complete, "the container ended");
    source(name, recording)
}

fn source(name: &str, recording: Recording) -> Source {
    let dir = recording.dir.clone();
    let source = Source::read(name.into(), recording, false).unwrap();
    let _ = std::fs::remove_dir_all(dir.parent().unwrap());
    source
}

const PLAIN: Wish<'_> =
    Wish { runtime: Runtime::None, no_new_privileges: None, portable: false, args: false, base: None };

fn names(made: &Made) -> Vec<&str> {
    made.names.iter().map(|named| named.name).collect()
}

fn profile(made: &Made) -> Value {
    serde_json::from_slice(&write_profile(made, Form::Oci, "x")).unwrap()
}

fn allowed(profile: &Value) -> Vec<&str> {
    let rules = profile["syscalls"].as_array().unwrap();
    let plain = |rule: &&Value| rule["action"] == "SCMP_ACT_ALLOW" && rule["args"].is_null();
    rules
        .iter()
        .filter(plain)
        .flat_map(|rule| rule["names"].as_array().unwrap())
        .map(|name| name.as_str().unwrap())
        .collect()
}

#[test]
fn a_profile_has_the_containers_calls_and_what_every_program_needs() {
    let source = container(
        "generate-plain",
        |_| {},
        |log| {
            log.call(0, 100, 83, &[1, 0o777], 1, 0).after(1).call(0, 100, 83, &[1, 0o777], 1, -17).after(1);
        },
    );
    let made = generate(&[source], &PLAIN).unwrap();
    let mut wanted: Vec<&str> = of_programs().filter(|name| *name != "sigreturn").chain(["mkdir"]).collect();
    // The 32-bit ABI beside has sigreturn; no program of it was seen.
    wanted.sort_unstable();
    assert_eq!(names(&made), wanted);
    let mkdir = made.names.iter().find(|named| named.name == "mkdir").unwrap();
    assert!(mkdir.why.container && !mkdir.why.program && mkdir.calls == 2);
    let (at, first) = mkdir.first.unwrap();
    assert_eq!((at, first.unwrap().pid, first.unwrap().comm.as_bytes()), (0, 100, &b"sh"[..]));
    let profile = profile(&made);
    assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
    assert_eq!(profile["defaultErrnoRet"], 38);
    assert_eq!(profile["architectures"], serde_json::json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]));
    assert_eq!(allowed(&profile), wanted);
    assert_eq!(profile["syscalls"].as_array().unwrap().len(), 1);
    let members: Vec<&String> = profile.as_object().unwrap().keys().collect();
    assert_eq!(members, ["architectures", "defaultAction", "defaultErrnoRet", "syscalls"]);
}

#[test]
fn of_several_recordings_the_one_that_has_a_call_first_by_the_wall_clock_is_told() {
    let at = |name: &str, later: u64| {
        let change = |meta: &mut Meta| meta.anchors[0].realtime_ns += later;
        let program = |log: &mut Synthetic| {
            log.call(0, 100, 83, &[1, 0o777], 1, 0);
        };
        container(name, change, program)
    };
    let sources =
        [at("generate-later", 1_000_000_000), at("generate-earlier", 0), at("generate-latest", 2_000_000_000)];
    let made = generate(&sources, &PLAIN).unwrap();
    let mkdir = made.names.iter().find(|named| named.name == "mkdir").unwrap();
    assert_eq!((mkdir.first.unwrap().0, mkdir.calls), (1, 3));
}

#[test]
fn the_runtimes_table_depends_on_no_new_privileges_of_all_bundles() {
    let told = |name: &str, nnp: &str| container(name, |meta| meta.container.no_new_privileges = nnp.into(), |_| {});
    let has =
        |sources: &[Source], wish: &Wish<'_>, name: &str| names(&generate(sources, wish).unwrap()).contains(&name);
    let runc = Wish { runtime: Runtime::Runc, ..PLAIN };
    let [yes, no, unknown] =
        [("generate-yes", "yes"), ("generate-no", "no"), ("generate-unknown", "")].map(|(name, nnp)| told(name, nnp));
    assert!(has(std::slice::from_ref(&yes), &runc, "fstatfs") && !has(std::slice::from_ref(&yes), &runc, "capset"));
    assert!(has(std::slice::from_ref(&no), &runc, "capset") && has(std::slice::from_ref(&unknown), &runc, "capset"));
    assert!(!has(std::slice::from_ref(&no), &Wish { no_new_privileges: Some(true), ..runc }, "capset"));
    assert!(!has(std::slice::from_ref(&no), &Wish { runtime: Runtime::Crun, ..runc }, "fstatfs"));
    assert!(has(&[yes, no], &runc, "capset"));
    for name in needed(Runtime::Any, false, false) {
        assert!(has(std::slice::from_ref(&unknown), &Wish { runtime: Runtime::Any, ..PLAIN }, name), "{name}");
    }
}

#[test]
fn portable_profiles_have_each_machines_spellings() {
    let source = container(
        "generate-portable",
        |meta| meta.host.machine = "aarch64".into(),
        |log| {
            // openat, fstat, mmap, futex, renameat
            for nr in [56, 80, 222, 98, 38] {
                log.call(0, 100, nr, &[1 << 40], 1, 1 << 40).after(1);
            }
        },
    );
    let sources = [source];
    let made = generate(&sources, &PLAIN).unwrap();
    assert!(names(&made).contains(&"openat") && !names(&made).contains(&"open"));
    assert_eq!(profile(&made)["architectures"], serde_json::json!(["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]));
    let wish = Wish { portable: true, runtime: Runtime::Runc, ..PLAIN };
    let made = generate(&sources, &wish).unwrap();
    for name in [
        "openat",
        "open",
        "fstat",
        "fstat64",
        "mmap",
        "mmap2",
        "futex",
        "futex_time64",
        "rename",
        "set_tls",
        "arch_prctl",
        "fcntl64",
        "setgroups32",
        "fstatat64",
        "clock_gettime64",
    ] {
        assert!(names(&made).contains(&name), "{name}");
    }
    // What nobody called has no spelling there, either.
    for name in ["socketcall", "unlink", "poll", "fork"] {
        assert!(!names(&made).contains(&name), "{name}");
    }
    assert_eq!(profile(&made)["architectures"].as_array().unwrap().len(), 5);
}

#[test]
fn arguments_are_limited_where_a_small_set_was_seen_often() {
    let source = container(
        "generate-args",
        |_| {},
        |log| {
            for turn in 0..40u64 {
                // socket(AF_UNIX), with rubbish above the lower half; ioctl with two commands; prctl seldom; personality with many.
                log.call(0, 100, 41, &[(turn << 32) | 1, 1, 0], 1, 3).after(1);
                log.call(0, 100, 16, &[1, if turn % 2 == 0 { 0x5401 } else { 0xffff_ffff_8004_5430 }, 0], 1, 0)
                    .after(1);
                log.call(0, 100, 135, &[turn], 1, 0).after(1);
            }
            log.call(0, 100, 157, &[15], 1, 0).after(1);
        },
    );
    let sources = [source];
    let made = generate(&sources, &Wish { args: true, ..PLAIN }).unwrap();
    let profile = profile(&made);
    let limited: Vec<&Value> =
        profile["syscalls"].as_array().unwrap().iter().filter(|rule| !rule["args"].is_null()).collect();
    let rule = |name: &str, index: u64, value: u64| {
        serde_json::json!({ "names": [name], "action": "SCMP_ACT_ALLOW",
            "args": [{ "index": index, "value": 0xffff_ffffu32, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ" }] })
    };
    let wanted = [rule("ioctl", 1, 0x5401), rule("ioctl", 1, 0x8004_5430), rule("socket", 0, 1)];
    assert_eq!(limited, wanted.iter().collect::<Vec<_>>());
    let plain = allowed(&profile);
    assert!(plain.contains(&"prctl") && plain.contains(&"personality") && !plain.contains(&"socket"));
    let why = |name: &str| made.limits.iter().find(|limit| limit.name == name).unwrap().why;
    assert!(
        why("socket").is_empty() && why("prctl").contains("less than 4") && why("personality").contains("more than 8")
    );
    // The runtime calls prctl itself, and without the option nothing is limited.
    let made = generate(&sources, &Wish { args: true, runtime: Runtime::Any, ..PLAIN }).unwrap();
    assert!(made.limits.iter().find(|limit| limit.name == "prctl").unwrap().why.contains("runtime"));
    let made = generate(&sources, &PLAIN).unwrap();
    assert!(made.limits.is_empty() && allowed(&self::profile(&made)).contains(&"socket"));
}

/// The sentence that refuses a profile; empty if there is one.
fn refusal(sources: &[Source]) -> String {
    check_fit(sources).err().map(|why| why.to_string()).unwrap_or_default()
}

#[test]
fn recordings_that_can_not_give_a_whole_profile_are_refused_with_the_reason() {
    let fit = container("generate-fit", |_| {}, |_| {});
    assert_eq!(refusal(std::slice::from_ref(&fit)), "");
    type Change = fn(&mut Meta);
    let changes: [(&str, Change, &str); 8] = [
        ("mixed", |meta| meta.profile.narrowed_past = true, "another ABI"),
        ("filtered", |meta| meta.options.syscalls = "read".into(), "--syscalls read"),
        ("errors", |meta| meta.options.errors_only = true, "--errors-only"),
        (
            "under",
            |meta| meta.container.seccomp = "SCMP_ACT_ERRNO".into(),
            "ran under a seccomp profile (SCMP_ACT_ERRNO)",
        ),
        ("attached", |meta| meta.container.seccomp = "filter".into(), "ran under a seccomp profile"),
        ("trimmed", |meta| meta.trimmed.segments = 1, "--max-size"),
        ("elsewhere", |meta| meta.init_pid = 7, "never executed"),
        ("late", |meta| meta.origin = "attach".into(), "attach"),
    ];
    for (name, change, told) in changes {
        let source = container(&format!("generate-{name}"), change, |_| {});
        let refusal = refusal(&[source]);
        assert!(refusal.contains(told), "{name}: {refusal}");
    }
    // Allowed by its own profile, or without one.
    for filter in ["none", "SCMP_ACT_LOG", "SCMP_ACT_ALLOW"] {
        let source = container(&format!("generate-{filter}"), |meta| meta.container.seccomp = filter.into(), |_| {});
        assert_eq!(refusal(&[source]), "", "{filter}");
    }
    let refused = container(
        "generate-refused",
        |_| {},
        |log| {
            log.call(0, 100, 39, &[], 1, 1).after(1).exit(0, 100, 83, -1).after(1);
        },
    );
    assert!(refusal(&[refused]).contains("seccomp refused 1 of its calls"));
    let lost = container(
        "generate-lost",
        |_| {},
        |log| {
            log.call(0, 100, 39, &[], 1, 1).lose(0, 3).call(0, 100, 39, &[], 1, 1);
        },
    );
    assert!(refusal(&[lost]).contains("3 events were lost"));
    // All recordings' reasons are told, and one that is fit does not make up for the others.
    let [filtered, errors] = ["generate-two-a", "generate-two-b"]
        .map(|name| container(name, |meta| meta.options.errors_only = true, |_| {}));
    let text = refusal(&[fit, filtered, errors]);
    assert!(text.contains("generate-two-a: ") && text.contains("; generate-two-b: "), "{text}");
}

#[test]
fn killed_and_cut_recordings_are_refused() {
    let make = |name: &str, state: EndState| {
        let base = fresh_dir(name);
        let mut log = Synthetic::new(&base, meta(1));
        log.call(0, 100, 39, &[], 1, 1);
        log.finish(state, "the disk is full")
    };
    let cut = source("cut", make("generate-cut", EndState::Cut));
    assert!(refusal(&[cut]).contains("cut short: the disk is full"));
    let recording = make("generate-killed", EndState::Running);
    let dir = recording.dir.clone();
    let killed = Source::read("killed".into(), recording, true).unwrap();
    let _ = std::fs::remove_dir_all(dir.parent().unwrap());
    assert!(refusal(&[killed]).contains("recorder was killed"));
}

#[test]
fn a_base_keeps_what_it_allows_and_what_it_refuses() {
    let source = container(
        "generate-base",
        |_| {},
        |log| {
            for nr in [83, 165, 39] {
                log.call(0, 100, nr, &[1], 1, 0).after(1);
            }
        },
    );
    let base = r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":1,"architectures":["SCMP_ARCH_X86_64"],
        "syscalls":[{"names":["read","mkdir"],"action":"SCMP_ACT_ALLOW"},
        {"names":["mount","umount2"],"action":"SCMP_ACT_ERRNO","errnoRet":13}]}"#;
    let base = Profile::parse(base.as_bytes(), "the base").unwrap();
    let made = generate(&[source], &Wish { base: Some(&base), ..PLAIN }).unwrap();
    let profile = profile(&made);
    assert_eq!(profile["defaultErrnoRet"], 1);
    let allowed = allowed(&profile);
    assert!(["read", "mkdir", "getpid", "execve"].iter().all(|name| allowed.contains(name)), "{allowed:?}");
    assert!(!allowed.contains(&"mount"));
    assert_eq!(made.refused_by_base, ["mount"]);
    let mut seen = Vec::new();
    for rule in profile["syscalls"].as_array().unwrap() {
        seen.extend(rule["names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()));
    }
    let count = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), count, "each name has one rule");
}

#[test]
fn dockers_default_as_a_base_is_decided_for_the_machine_and_widened_only_where_it_refuses() {
    let source = container(
        "generate-docker",
        |_| {},
        |log| {
            // personality(0) is allowed under a condition, mount wants a capability, getpid is plain.
            for (nr, argument) in [(135, 0), (165, 0), (39, 0)] {
                log.call(0, 100, nr, &[argument], 1, 0).after(1);
            }
        },
    );
    let odd = |log: &mut Synthetic| {
        log.call(0, 100, 135, &[99], 1, 0);
    };
    let odd = container("generate-docker-odd", |_| {}, odd);
    let mount = |log: &mut Synthetic| {
        log.call(0, 100, 165, &[0], 1, 0);
    };
    let admin =
        container("generate-docker-admin", |meta| meta.container.capabilities = vec!["CAP_SYS_ADMIN".into()], mount);
    let base = Profile::parse(include_bytes!("seccomp/docker-20.10.24.json"), "Docker's").unwrap();
    let wish = Wish { base: Some(&base), runtime: Runtime::Runc, ..PLAIN };
    let made = |source: &Source| profile(&generate(std::slice::from_ref(source), &wish).unwrap());
    let rules_about = |profile: &Value, name: &str| -> Vec<bool> {
        let rules = profile["syscalls"].as_array().unwrap().iter();
        let about = rules.filter(|rule| rule["names"].as_array().unwrap().iter().any(|known| known == name));
        about.map(|rule| !rule["args"].is_null()).collect()
    };
    let with = made(&source);
    for rule in with["syscalls"].as_array().unwrap() {
        let members: Vec<&String> = rule.as_object().unwrap().keys().collect();
        assert!(
            members.iter().all(|member| ["action", "args", "errnoRet", "names"].contains(&member.as_str())),
            "{rule}"
        );
    }
    assert_eq!(with["architectures"], serde_json::json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]));
    assert!(with["archMap"].is_null());
    // The conditions stay where they let pass what was seen.
    assert!(rules_about(&with, "personality").len() > 1 && rules_about(&with, "personality").iter().all(|args| *args));
    assert_eq!(rules_about(&with, "mount"), [false]);
    assert_eq!(rules_about(&with, "getpid"), [false]);
    // What the machine or the capabilities rule out is gone.
    assert!(rules_about(&with, "bpf").is_empty() && rules_about(&with, "s390_pci_mmio_read").is_empty());
    assert_eq!(rules_about(&made(&admin), "bpf"), [false]);
    assert_eq!(rules_about(&made(&odd), "personality"), [false]);
}

#[test]
fn the_same_recordings_give_the_same_bytes_and_the_file_beside_tells_the_rest() {
    let make = |name: &str| {
        container(
            name,
            |meta| meta.host.node = name.into(),
            |log| {
                log.call(0, 100, 83, &[1, 0o777], 1, 0).after(1).call(1, 100, 9999, &[], 1, -38);
            },
        )
    };
    let [one, other] = ["generate-one", "generate-other"].map(make);
    let made = |source: &Source| {
        let made = generate(std::slice::from_ref(source), &Wish { runtime: Runtime::Any, ..PLAIN }).unwrap();
        [Form::Oci, Form::Crd, Form::Systemd].map(|form| write_profile(&made, form, "x"))
    };
    assert_eq!(made(&one), made(&other));
    let sources = [one, other];
    let made = generate(&sources, &PLAIN).unwrap();
    let mut json = Json::new();
    write_sources(&mut json, &sources, &PLAIN, &made);
    let value: Value = serde_json::from_slice(json.as_bytes()).unwrap();
    assert_eq!(value["recordings"][1]["node"], "generate-other");
    assert_eq!(value["recordings"][0]["kernel"], "6.18.44");
    assert_eq!(value["nameless_calls"], 2);
    let mkdir = value["calls"].as_array().unwrap().iter().find(|call| call["name"] == "mkdir").unwrap();
    assert_eq!(
        (&mkdir["calls"], &mkdir["recording"], &mkdir["comm"]),
        (&2.into(), &"generate-one".into(), &"sh".into())
    );
}

#[test]
fn other_forms_say_the_same() {
    let source = container(
        "generate-forms",
        |_| {},
        |log| {
            for _ in 0..8 {
                log.call(0, 100, 41, &[1, 1, 0], 1, 3).after(1);
            }
            log.call(0, 100, 83, &[1], 1, 0);
        },
    );
    let made = generate(&[source], &Wish { args: true, ..PLAIN }).unwrap();
    let text = |form| String::from_utf8(write_profile(&made, form, "My_App")).unwrap();
    let crd = text(Form::Crd);
    assert!(crd.contains("kind: SeccompProfile\nmetadata:\n  name: my-app\n"), "{crd}");
    assert!(crd.contains("    - mkdir\n") && crd.contains("errnoRet: 38\n    names:\n"), "{crd}");
    // Newer calls fall back, the ones that are allowed do not.
    assert!(
        crd.contains("    - clone3\n") && crd.contains("    - openat2\n") && crd.contains("    - statx\n"),
        "{crd}"
    );
    assert!(crd.contains("      op: SCMP_CMP_MASKED_EQ\n      value: 4294967295\n      valueTwo: 1\n"), "{crd}");
    let systemd = text(Form::Systemd);
    assert!(systemd.contains("\nSystemCallArchitectures=native x86\nSystemCallErrorNumber=ENOSYS\n"), "{systemd}");
    assert!(systemd.contains("\nSystemCallFilter=mkdir\n"), "{systemd}");
    // systemd has no conditions on arguments: what is limited elsewhere is allowed there.
    assert!(systemd.contains("\nSystemCallFilter=socket\n"), "{systemd}");
}
