// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the fuzz targets share: the schemas of a 64-bit and of a 32-bit kernel, and a recording's description.

use ftrace_analyzer::format::{parse_event, Schema};
use ftrace_analyzer::recording::{
    Anchor, CpuStats, EndState, Formats, HostMeta, InitialTask, Meta, PageMeta, FORMAT_VERSION, HEADER_PAGE,
};

macro_rules! capture {
    ($event:literal) => {
        include_str!(concat!("../../captures/x86_64_6.18_x86_64/events/", $event, "/format"))
    };
}

/// Formats of a kernel of today, of the capture that the seeds are from.
const LONG64: [&str; 9] = [
    capture!("raw_syscalls/sys_enter"),
    capture!("raw_syscalls/sys_exit"),
    capture!("sched/sched_process_fork"),
    capture!("sched/sched_process_exec"),
    capture!("sched/sched_process_exit"),
    capture!("task/task_newtask"),
    capture!("task/task_rename"),
    capture!("signal/signal_deliver"),
    capture!("signal/signal_generate"),
];

/// What an older 32-bit kernel has in their places: words of four bytes, names in arrays, and one relative string.
const FIELDS32: [&str; 9] = [
    "field:long id; offset:8; size:4; signed:1;\nfield:unsigned long args[6]; offset:12; size:24; signed:0;",
    "field:long id; offset:8; size:4; signed:1;\nfield:long ret; offset:12; size:4; signed:1;",
    "field:char parent_comm[16]; offset:8; size:16; signed:0;\nfield:pid_t parent_pid; offset:24; size:4; signed:1;\n\
     field:char child_comm[16]; offset:28; size:16; signed:0;\nfield:pid_t child_pid; offset:44; size:4; signed:1;",
    "field:__rel_loc char[] filename; offset:8; size:4; signed:0;\nfield:pid_t pid; offset:12; size:4; signed:1;\n\
     field:pid_t old_pid; offset:16; size:4; signed:1;",
    "field:char comm[16]; offset:8; size:16; signed:0;\nfield:pid_t pid; offset:24; size:4; signed:1;",
    "field:pid_t pid; offset:8; size:4; signed:1;\nfield:char comm[16]; offset:12; size:16; signed:0;\n\
     field:unsigned long clone_flags; offset:28; size:4; signed:0;",
    "field:char oldcomm[16]; offset:8; size:16; signed:0;\nfield:char newcomm[16]; offset:24; size:16; signed:0;",
    "field:int sig; offset:8; size:4; signed:1;\nfield:int code; offset:16; size:4; signed:1;\n\
     field:unsigned long sa_handler; offset:20; size:4; signed:0;",
    "field:int sig; offset:8; size:4; signed:1;\nfield:int code; offset:16; size:4; signed:1;\n\
     field:pid_t pid; offset:36; size:4; signed:1;\nfield:int group; offset:40; size:4; signed:1;\n\
     field:int result; offset:44; size:4; signed:1;",
];

/// What marks are.
const PRINT: &str = "field:unsigned long ip; offset:8; size:8; signed:0;\nfield:char buf[]; offset:16; size:0; signed:0;";

fn print() -> String {
    format!("name: print\nID: 5\n{COMMON}\n{PRINT}\n")
}

const COMMON: &str = "field:unsigned short common_type; offset:0; size:2; signed:0;\n\
                      field:int common_pid; offset:4; size:4; signed:1;";

/// The schema of a kernel whose `long` has `long` bytes, with the capture's event numbers in both cases.
pub fn schema(long: u32) -> Schema {
    let mut schema = Schema::default();
    for (text, fields) in LONG64.iter().zip(FIELDS32) {
        let format = parse_event(text).expect("the kernel's own format");
        let text = format!("name: {}\nID: {}\n{COMMON}\n{fields}\n", format.name, format.id);
        let added = match long {
            4 => schema.add(&parse_event(&text).expect("a format of this file")),
            _ => schema.add(&format),
        };
        assert_eq!(added, Ok(true));
    }
    assert_eq!(schema.add(&parse_event(&print()).expect("a format of this file")), Ok(true));
    schema
}

/// The `formats` file of a recording on the capture's machine.
pub fn formats() -> Vec<u8> {
    let mut formats = Formats::default();
    formats.push(HEADER_PAGE, include_str!("../../captures/x86_64_6.18_x86_64/plain/header_page"));
    for ((system, name), text) in Schema::EVENTS.iter().zip(LONG64) {
        formats.push(&format!("events/{system}/{name}/format"), text);
    }
    formats.push("events/ftrace/print/format", &print());
    formats.as_bytes().to_vec()
}

/// A `meta.json` of a recording of two CPUs with sub-buffers of 256 bytes.
pub fn meta(running: bool, starts_in_runtime: bool) -> String {
    let mut meta = Meta {
        format_version: FORMAT_VERSION,
        name: "demo".into(),
        init_pid: 42,
        starts_in_runtime,
        host: HostMeta { machine: "x86_64".into(), cpus: 2, ..HostMeta::default() },
        page: PageMeta { commit_offset: 8, commit_size: 8, data_offset: 16, data_size: 240 },
        anchors: vec![
            Anchor { trace_ns: 1_000_000, realtime_ns: 1_763_889_893_000_000_000 },
            Anchor { trace_ns: 2_000_000_000, realtime_ns: 1_763_889_895_000_000_000 },
        ],
        tasks: vec![InitialTask { tid: 42, tgid: 42, comm: "sh".into(), ..InitialTask::default() }],
        ..Meta::default()
    };
    if !running {
        meta.set_state(EndState::Complete);
        meta.stats = (0..2).map(|cpu| CpuStats { cpu, read: 3, overrun: 1, ..CpuStats::default() }).collect();
    }
    String::from_utf8(meta.to_json()).expect("JSON is UTF-8")
}
