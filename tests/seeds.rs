// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The seeds that fuzzing starts from are what they are named for, and come from the builder and the captures.
//!
//! `UPDATE_SEEDS=1 cargo test --test seeds` writes them again. Seeds that somebody added (inputs of crashes) are let be.
// clippy.toml allows them in test functions, and a helper of tests is none.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::synth::{Lost, Synth, DELTA_END};
use ftrace_analyzer::format::{parse_event, Schema};

const T0: u64 = 1_000_000;

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn board() -> PathBuf {
    tests().join("captures/x86_64_6.18_x86_64")
}

fn format_text(system: &str, name: &str) -> String {
    fs::read_to_string(board().join("events").join(system).join(name).join("format")).unwrap()
}

/// The common fields of an event of the capture, and what follows them.
fn record(system: &str, name: &str, rest: &[u8]) -> Vec<u8> {
    let text = format_text(system, name);
    let mut bytes = parse_event(&text).unwrap().id.to_le_bytes().to_vec();
    bytes.extend_from_slice(&[0, 0, 42, 0, 0, 0]);
    bytes.extend_from_slice(rest);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// For the target `page`: a byte that chooses the layout (see its head), then a sub-buffer of 256 bytes.
fn pages() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for (long, choice, bits) in [(8, 2u8, "64"), (4, 3, "32")] {
        let mut add = |name: &str, make: &dyn Fn(&mut Synth)| {
            let mut synth = Synth::new(long, 256, T0);
            make(&mut synth);
            seeds.push((format!("{name}-{bits}"), [&[choice][..], &synth.build()].concat()));
        };
        add("empty", &|_| {});
        add("every-record-kind", &|s| {
            s.short(T0 + 1, b"12345678").long(T0 + 2, b"12345678").grown(T0 + 3, *b"12345678").discarded(T0 + 9, 8);
            s.extend(T0 + DELTA_END).absolute(T0 + 2 * DELTA_END).grown_to_extend(T0 + 4 * DELTA_END);
            s.short(T0 + 4 * DELTA_END, b"abcd").end(&[0xff; 8]);
        });
        add("absolute-stamp-with-top-bits", &|s| {
            *s = Synth::new(long, 256, 3 << 59);
            s.absolute((3 << 59) + 5).short((3 << 59) + 6, b"12345678");
        });
        add("missed-with-number", &|s| {
            s.short(T0, b"12345678").lost(Lost::Stored(421));
        });
        add("missed-without-number", &|s| {
            s.short(T0, b"12345678").lost(Lost::Flag);
        });
        add("zeroed-with-commit", &|s| {
            s.commit(200);
        });
        add("commit-past-the-end", &|s| {
            s.commit(4096);
        });
        add("length-word-3", &|s| {
            s.head(0, 1).word(3).bytes(&[1; 16]);
        });
        add("length-word-huge", &|s| {
            s.head(0, 1).word(u32::MAX).bytes(&[1; 16]);
        });
        add("record-past-the-end", &|s| {
            s.head(28, 1).bytes(&[1; 16]);
        });
        add("calls", &|s| {
            let mut words = [0xfeu8; 7 * 8];
            words[..long].copy_from_slice(&257u64.to_le_bytes()[..long]);
            s.short(T0, &record("raw_syscalls", "sys_enter", &words[..7 * long]));
            s.short(T0 + 1, &record("raw_syscalls", "sys_exit", &words[..2 * long]));
        });
        add("names", &|s| {
            let located = [&[24, 0, 3, 0, 42, 0, 0, 0, 27, 0, 5, 0, 43, 0, 0, 0][..], b"sh\0init\0"].concat();
            let arrays =
                [&b"sh\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x2a\0\0\0"[..], b"init\0\0\0\0\0\0\0\0\0\0\0\0\x2b\0\0\0"].concat();
            s.short(T0, &record("sched", "sched_process_fork", if long == 8 { &located } else { &arrays }));
            let (at, len) = (if long == 8 { 20 } else { 8 }, 8);
            let exec = [&[at, 0, len, 0, 42, 0, 0, 0, 42, 0, 0, 0][..], b"/bin/ls\0"].concat();
            s.short(T0 + 1, &record("sched", "sched_process_exec", &exec));
        });
    }
    for (name, cpu) in [("plain", 0), ("lossy", 0), ("lossy", 1)] {
        let raw = fs::read(board().join(name).join(format!("cpu{cpu}.raw"))).unwrap();
        seeds.push((format!("captured-{name}-cpu{cpu}-first"), [&[0][..], &raw[..4096]].concat()));
        seeds.push((format!("captured-{name}-cpu{cpu}-last"), [&[0][..], &raw[raw.len() - 4096..]].concat()));
    }
    seeds
}

/// For the target `format`: a text.
fn formats() -> Vec<(String, Vec<u8>)> {
    let mut seeds: Vec<(String, Vec<u8>)> = Schema::EVENTS
        .iter()
        .map(|(system, name)| ((*name).to_owned(), format_text(system, name).into_bytes()))
        .collect();
    for ring in ["plain", "subbuf64k"] {
        seeds.push((format!("header_page-{ring}"), fs::read(board().join(ring).join("header_page")).unwrap()));
    }
    seeds.push(("header_page-32".into(), Synth::new(4, 4096, 0).header_page().into_bytes()));
    let enter = format_text("raw_syscalls", "sys_enter");
    let narrow =
        enter.replace("offset:8;\tsize:8", "offset:8;\tsize:4").replace("offset:16;\tsize:48", "offset:12;\tsize:24");
    assert_ne!(narrow, enter);
    seeds.push(("sys_enter-32".into(), narrow.into_bytes()));
    let exec = format_text("sched", "sched_process_exec").replace("__data_loc", "__rel_loc");
    seeds.push(("sched_process_exec-rel_loc".into(), exec.into_bytes()));
    seeds.push(("offset-past-65535".into(), enter.replace("offset:16", "offset:65536").into_bytes()));
    seeds
}

/// For the target `state`: what runtimes write, and what nobody should.
fn states() -> Vec<(String, Vec<u8>)> {
    let deep = format!("{{\"id\":\"x\",\"new\":{}", "[".repeat(70));
    let long = format!("{{\"id\":\"{}\",\"pid\":1}}", "x".repeat(201));
    [
        ("runc", r#"{"ociVersion":"1.0.2-dev","id":"demo","status":"creating","pid":28510,"bundle":"/abs","annotations":{"a/b":"x\"y","c":"\u00e9"}}"#),
        ("runc-poststop", r#"{"ociVersion":"1.0.2-dev","id":"demo","status":"stopped","bundle":"/abs"}"#),
        ("crun-poststop", r#"{"ociVersion":"1.0","id":"demo","pid":0,"root":"rootfs","bundle":"/abs","status":"stopped","annotations":{}}"#),
        ("crio", r#"{"ociVersion":"1.0.2","id":"0123456789abcdef","pid":7,"annotations":{"io.kubernetes.pod.name":"p","io.kubernetes.cri-o.Labels":"{\"a\":\"b\\\"c\"}","io.kubernetes.pod.namespace":"n"}}"#),
        ("surrogates", r#"{"id":"x","annotations":{"a":"\ud83d\ude00","b":"\ud83dz","c":"\\ud83d\\\""}}"#),
        ("unknown-members", r#"{"id":"x","new":{"a":[1,-2.5e3,null,true,{"b":[]}]},"annotations":null,"pid":null}"#),
        ("walking-id", r#"{"id":"../../etc","pid":1}"#),
        ("large-pid", r#"{"id":"x","pid":99999999999999999999}"#),
        ("too-deep", &deep),
        ("too-long-id", &long),
        ("truncated", r#"{"id":"x","pid":12"#),
    ]
    .map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()))
    .into()
}

/// For the target `profile`: what each loader has of its own, and what none takes.
fn profiles() -> Vec<(String, Vec<u8>)> {
    let rule = |rest: &str| format!(r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{rest}]}}"#);
    let args =
        |rest: &str| rule(&format!(r#"{{"names":["socket","clone"],"action":"SCMP_ACT_ALLOW","args":[{rest}]}}"#));
    let all = [
        (
            "oci",
            r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,"architectures":["SCMP_ARCH_AARCH64",
            "SCMP_ARCH_ARM"],"flags":["SECCOMP_FILTER_FLAG_LOG"],"listenerPath":"/x","listenerMetadata":"y","syscalls":[
            {"names":["read","set_tls"],"action":"SCMP_ACT_ALLOW"},{"names":["dup"],"action":"SCMP_ACT_TRACE",
            "errnoRet":5}]}"#
                .to_owned(),
        ),
        (
            "docker",
            r#"{"defaultAction":"SCMP_ACT_KILL","defaultErrno":"ENOSYS","archMap":[{"architecture":"SCMP_ARCH_X86_64",
            "subArchitectures":["SCMP_ARCH_X86","SCMP_ARCH_X32"]}],"syscalls":[{"name":"socket","action":"SCMP_ACT_ERRNO",
            "errno":"EINVAL","includes":{"caps":["CAP_KILL"],"arches":["amd64"],"minKernel":"4.8"},"excludes":{"caps":
            ["CAP_SYS_ADMIN"]}}]}"#
                .to_owned(),
        ),
        ("bundle", r#"{"linux":{"seccomp":{"defaultAction":"SCMP_ACT_LOG","syscalls":null}}}"#.to_owned()),
        ("masked", args(r#"{"index":0,"value":2114060288,"valueTwo":0,"op":"SCMP_CMP_MASKED_EQ"}"#)),
        ("alternatives", args(r#"{"index":0,"value":1,"op":"SCMP_CMP_NE"},{"index":0,"value":3,"op":"SCMP_CMP_GE"}"#)),
        ("joined", args(r#"{"index":1,"value":4294967296,"op":"SCMP_CMP_LT"},{"index":5,"value":3,"op":"SCMP_CMP_GT"}"#)),
        ("no-such-argument", args(r#"{"index":6,"value":1,"op":"SCMP_CMP_EQ"}"#)),
        ("no-such-action", rule(r#"{"names":["read"],"action":"SCMP_ACT_NONE"}"#)),
        (
            "contradiction",
            rule(
                r#"{"names":["dup"],"action":"SCMP_ACT_LOG","args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"}]},
                {"names":["dup"],"action":"SCMP_ACT_TRAP","args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"}]}"#,
            ),
        ),
        ("no-default", r#"{"syscalls":[]}"#.to_owned()),
    ];
    all.into_iter().map(|(name, text)| (name.to_owned(), text.into_bytes())).collect()
}

/// For the target `recording`: its head tells the form.
fn recordings() -> Vec<(String, Vec<u8>)> {
    let page = |make: &dyn Fn(&mut Synth)| {
        let mut synth = Synth::new(8, 256, T0);
        make(&mut synth);
        synth.build()
    };
    let words = |nr: u64, others: &[u64]| -> Vec<u8> {
        [&[nr], others].concat().iter().flat_map(|word| word.to_le_bytes()).collect()
    };
    let call = |s: &mut Synth, at: u64, nr: u64, ret: i64| {
        s.short(at, &record("raw_syscalls", "sys_enter", &words(nr, &[3, 0, 0, 0, 0, 0])));
        s.short(at + 500, &record("raw_syscalls", "sys_exit", &words(nr, &[ret as u64])));
    };
    let reads = page(&|s| call(s, T0, 0, 5));
    let fails = page(&|s| call(s, T0 + 200, 257, -2));
    let lossy = page(&|s| {
        call(s, T0 + 300, 1, 1);
        s.lost(Lost::Stored(421));
    });
    let births = page(&|s| {
        let fork = [&[24, 0, 3, 0, 42, 0, 0, 0, 27, 0, 5, 0, 43, 0, 0, 0][..], b"sh\0init\0"].concat();
        s.short(T0 + 400, &record("sched", "sched_process_fork", &fork));
        s.short(T0 + 401, &record("sched", "sched_process_exec", b"\x14\0\x08\0\x2a\0\0\0\x2a\0\0\0/bin/ls\0"));
        s.short(T0 + 402, &record("signal", "signal_deliver", &[11; 24]));
        s.short(T0 + 403, &record("sched", "sched_process_exit", &[0; 32]));
    });
    let join = |flags: u8, zero: &[&[u8]], one: &[&[u8]]| {
        let (zero, one) = (zero.concat(), one.concat());
        [&[flags][..], &(zero.len() as u16).to_le_bytes(), &zero, &one].concat()
    };
    let meta = br#"{"format_version":1,"name":"x","host":{"machine":"aarch64","cpus":2},"page":{"commit_offset":8,"commit_size":8,"data_offset":16,"data_size":240},"anchors":[{"trace_ns":1,"realtime_ns":2}],"state":"cut","end_reason":"y"}"#;
    let own = [&[1][..], &(meta.len() as u16).to_le_bytes(), meta, &[0, 1], &reads, &fails].concat();
    vec![
        ("two-cpus".into(), join(0, &[&reads, &births], &[&fails, &lossy])),
        ("not-ended".into(), join(4, &[&reads, &lossy], &[&births[..100]])),
        ("in-the-runtime".into(), join(8, &[&fails, &births, &reads], &[])),
        ("filtered".into(), join(0x30, &[&reads, &fails], &[&births])),
        ("zeroes".into(), join(0, &[&reads, &[0; 512], &fails], &[&[0; 300]])),
        ("noise".into(), join(0, &[&[0xff; 256], &reads], &[&[0xaa; 256]])),
        ("own-description".into(), own),
    ]
}

#[test]
fn seeds_are_what_the_builder_and_the_captures_give() {
    let update = std::env::var_os("UPDATE_SEEDS").is_some();
    for (target, seeds) in [
        ("page", pages()),
        ("format", formats()),
        ("state", states()),
        ("profile", profiles()),
        ("recording", recordings()),
    ] {
        let dir = tests().join("fuzz/seeds").join(target);
        for (name, bytes) in seeds {
            let path = dir.join(name);
            if update {
                fs::create_dir_all(&dir).unwrap();
                fs::write(&path, &bytes).unwrap();
            }
            let have = fs::read(&path).unwrap_or_default();
            assert!(have == bytes, "{} is out of date: UPDATE_SEEDS=1 cargo test --test seeds", path.display());
        }
    }
}
