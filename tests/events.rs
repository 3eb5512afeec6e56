// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Records to events, by format texts of kernels of both word sizes and of several ages.
// clippy.toml allows them in test functions, and a helper of tests is none.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use ftrace_analyzer::format::{parse_event, Event, Schema, SchemaError};

const COMMON: &str = "\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
    \tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n\
    \tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n\
    \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n";

/// A format text as the kernel prints it; fields are declaration, offset, size, signed.
fn format(name: &str, id: u16, fields: &[(&str, usize, usize, u8)]) -> String {
    let mut text = format!("name: {name}\nID: {id}\nformat:\n{COMMON}");
    for (field, offset, size, signed) in fields {
        text += &format!("\tfield:{field};\toffset:{offset};\tsize:{size};\tsigned:{signed};\n");
    }
    text + "\nprint fmt: \"REC->x\", REC->x\n"
}

/// One event alone in a schema.
struct One(Schema, u16);

fn one(name: &str, fields: &[(&str, usize, usize, u8)]) -> One {
    One(try_one(name, fields).unwrap(), 77)
}

fn try_one(name: &str, fields: &[(&str, usize, usize, u8)]) -> Result<Schema, SchemaError> {
    let mut schema = Schema::default();
    let text = format(name, 77, fields);
    assert!(schema.add(&parse_event(&text).unwrap())?);
    Ok(schema)
}

impl One {
    fn decode<'a>(&self, record: &'a Record) -> Event<'a> {
        self.0.decode(self.1, &record.0)
    }

    /// Decodes the whole and, for every shorter record, checks that nothing is made up.
    fn decode_and_cut<'a>(&self, record: &'a Record) -> Event<'a> {
        for len in 0..record.0.len() {
            assert_eq!(self.0.decode(self.1, &record.0[..len]), Event::Other { id: self.1 }, "{len} bytes");
        }
        self.decode(record)
    }
}

/// A record's payload, written at offsets.
struct Record(Vec<u8>);

fn record(pid: i32) -> Record {
    Record([&77u16.to_le_bytes()[..], &[1, 2], &pid.to_le_bytes()].concat())
}

impl Record {
    fn put(mut self, at: usize, bytes: &[u8]) -> Record {
        if self.0.len() < at + bytes.len() {
            self.0.resize(at + bytes.len(), 0);
        }
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    fn i32(self, at: usize, value: i32) -> Record {
        self.put(at, &value.to_le_bytes())
    }

    fn u64(self, at: usize, value: u64) -> Record {
        self.put(at, &value.to_le_bytes())
    }

    fn comm(self, at: usize, name: &[u8]) -> Record {
        self.put(at, &[0; 16]).put(at, name)
    }

    /// A `__data_loc` or `__rel_loc` word.
    fn loc(self, at: usize, offset: usize, len: usize) -> Record {
        self.put(at, &((len as u32) << 16 | offset as u32).to_le_bytes())
    }
}

// ---- raw_syscalls -----------------------------------------------------------------------------------------------

const ENTER_64: [(&str, usize, usize, u8); 2] = [("long id", 8, 8, 1), ("unsigned long args[6]", 16, 48, 0)];
const ENTER_32: [(&str, usize, usize, u8); 2] = [("long id", 8, 4, 1), ("unsigned long args[6]", 12, 24, 0)];
const EXIT_64: [(&str, usize, usize, u8); 2] = [("long id", 8, 8, 1), ("long ret", 16, 8, 1)];
const EXIT_32: [(&str, usize, usize, u8); 2] = [("long id", 8, 4, 1), ("long ret", 12, 4, 1)];

#[test]
fn a_64_bit_call_has_number_and_six_registers() {
    let args = [u64::MAX, 1, 0x7fff_ffff_ffff_ffff, 0xffff_ff9c, 5, 0x8000_0000_0000_0000];
    let record = args.iter().enumerate().fold(record(1).u64(8, 257), |r, (i, arg)| r.u64(16 + 8 * i, *arg));
    assert_eq!(one("sys_enter", &ENTER_64).decode_and_cut(&record), Event::SysEnter { nr: 257, args });
}

#[test]
fn a_32_bit_call_has_registers_without_sign() {
    let args = [-1, 1, i32::MIN, -100, 5, 6];
    let record = args.iter().enumerate().fold(record(1).i32(8, 322), |r, (i, arg)| r.i32(12 + 4 * i, *arg));
    assert_eq!(
        one("sys_enter", &ENTER_32).decode_and_cut(&record),
        Event::SysEnter { nr: 322, args: args.map(|arg| u64::from(arg as u32)) }
    );
}

#[test]
fn arms_private_calls_and_the_number_minus_1_keep_their_value() {
    for nr in [0xf0002, -1] {
        let record = record(1).i32(8, nr).put(12, &[0; 24]);
        assert_eq!(one("sys_enter", &ENTER_32).decode(&record), Event::SysEnter { nr, args: [0; 6] });
        let record = record_64(nr.into()).put(16, &[0; 48]);
        assert_eq!(one("sys_enter", &ENTER_64).decode(&record), Event::SysEnter { nr, args: [0; 6] });
    }
}

fn record_64(nr: i64) -> Record {
    record(1).u64(8, nr as u64)
}

#[test]
fn a_64_bit_result_is_the_whole_register() {
    for ret in [0, -1, -38, i64::MIN, 0x7f12_3456_7000] {
        let record = record_64(9).u64(16, ret as u64);
        assert_eq!(one("sys_exit", &EXIT_64).decode_and_cut(&record), Event::SysExit { nr: 9, ret });
    }
}

#[test]
fn a_32_bit_result_is_sign_extended() {
    for ret in [0, -1, -38, i32::MIN, 0x7612_3000] {
        let record = record(1).i32(8, 3).i32(12, ret);
        assert_eq!(one("sys_exit", &EXIT_32).decode_and_cut(&record), Event::SysExit { nr: 3, ret: ret.into() });
    }
}

#[test]
fn spare_bytes_behind_the_fields_mean_nothing() {
    let record = record_64(9).u64(16, 4).put(24, &[0xdd; 4]);
    assert_eq!(one("sys_exit", &EXIT_64).decode(&record), Event::SysExit { nr: 9, ret: 4 });
}

// ---- tasks ------------------------------------------------------------------------------------------------------

#[test]
fn forks_of_kernels_with_names_in_the_record() {
    // Before the strings were located; the same on both word sizes.
    let fork = one(
        "sched_process_fork",
        &[
            ("char parent_comm[16]", 8, 16, 0),
            ("pid_t parent_pid", 24, 4, 1),
            ("char child_comm[16]", 28, 16, 0),
            ("pid_t child_pid", 44, 4, 1),
        ],
    );
    let record = record(40).comm(8, b"sh").i32(24, 40).comm(28, b"a child").i32(44, 41);
    assert_eq!(fork.decode_and_cut(&record), Event::Fork { parent: 40, child: 41, comm: b"a child" });
}

fn located_fork() -> One {
    one(
        "sched_process_fork",
        &[
            ("__data_loc char[] parent_comm", 8, 4, 0),
            ("pid_t parent_pid", 12, 4, 1),
            ("__data_loc char[] child_comm", 16, 4, 0),
            ("pid_t child_pid", 20, 4, 1),
        ],
    )
}

#[test]
fn forks_of_kernels_with_located_names() {
    let record = record(40).loc(8, 24, 3).i32(12, 40).loc(16, 27, 5).i32(20, 41).put(24, b"sh\0init\0");
    assert_eq!(located_fork().decode_and_cut(&record), Event::Fork { parent: 40, child: 41, comm: b"init" });
}

#[test]
fn a_located_string_outside_the_record_is_no_event() {
    let whole =
        |offset, len| record(40).loc(8, 24, 3).i32(12, 40).i32(20, 41).put(24, b"sh\0init\0").loc(16, offset, len);
    for (offset, len) in [(28, 5), (27, 6), (32, 1), (33, 0), (24, 0xffff), (0xffff, 0xffff), (0xffff, 0)] {
        assert_eq!(located_fork().decode(&whole(offset, len)), Event::Other { id: 77 }, "{offset} {len}");
    }
    // Up to the last byte, and nothing at all, are legal.
    for (offset, len, comm) in [(27, 5, &b"init"[..]), (27, 2, b"in"), (27, 0, b""), (32, 0, b"")] {
        let record = whole(offset, len);
        assert_eq!(located_fork().decode(&record), Event::Fork { parent: 40, child: 41, comm });
    }
}

#[test]
fn a_relatively_located_string_counts_from_the_end_of_its_word() {
    let fields = [("__rel_loc char[] filename", 8, 4, 0), ("pid_t pid", 12, 4, 1), ("pid_t old_pid", 16, 4, 1)];
    let exec = one("sched_process_exec", &fields);
    let whole = |offset, len| record(7).loc(8, offset, len).i32(12, 7).i32(16, 9).put(20, b"/bin/ls\0");
    let expected = Event::Exec { pid: 7, old_pid: 9, filename: b"/bin/ls" };
    assert_eq!(exec.decode_and_cut(&whole(8, 8)), expected);
    for (offset, len) in [(9, 8), (8, 9), (16, 1), (17, 0), (0xffff, 0xffff)] {
        assert_eq!(exec.decode(&whole(offset, len)), Event::Other { id: 77 });
    }
}

#[test]
fn execs_have_the_path_and_both_ids() {
    let fields = [("__data_loc char[] filename", 8, 4, 0), ("pid_t pid", 12, 4, 1), ("pid_t old_pid", 16, 4, 1)];
    // Not UTF-8, with a line end, and longer than a short record.
    let path = [&b"/tmp/\xff\n"[..], &[b'x'; 200]].concat();
    let record = record(7).loc(8, 20, path.len() + 1).i32(12, 7).i32(16, 9).put(20, &path).put(20 + path.len(), &[0]);
    let expected = Event::Exec { pid: 7, old_pid: 9, filename: &path };
    assert_eq!(one("sched_process_exec", &fields).decode_and_cut(&record), expected);
}

#[test]
fn a_located_string_may_start_at_any_16_bit_offset() {
    let fields = [("__data_loc char[] filename", 8, 4, 0), ("pid_t pid", 12, 4, 1), ("pid_t old_pid", 16, 4, 1)];
    let record = record(7).loc(8, 0xfffa, 5).i32(12, 7).i32(16, 9).put(0xfffa, b"/far\0");
    let expected = Event::Exec { pid: 7, old_pid: 9, filename: b"/far" };
    assert_eq!(one("sched_process_exec", &fields).decode(&record), expected);
}

#[test]
fn a_name_that_fills_its_array_has_no_nul() {
    let exit =
        one("sched_process_exit", &[("char comm[16]", 8, 16, 0), ("pid_t pid", 24, 4, 1), ("int prio", 28, 4, 1)]);
    for name in [&b"0123456789abcdef"[..], b"0123456789abcde", b""] {
        let record = record(7).comm(8, name).i32(24, 7);
        assert_eq!(pid_and_comm(exit.decode_and_cut(&record)), (7, name.to_vec()));
    }
}

fn pid_and_comm(event: Event<'_>) -> (i32, Vec<u8>) {
    match event {
        Event::Exit { pid, comm } | Event::Rename { pid, comm } => (pid, comm.to_vec()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn new_tasks_have_flags_of_the_kernels_word_or_of_64_bits() {
    for (declaration, size, oom) in
        [("unsigned long clone_flags", 8, 40), ("u64 clone_flags", 8, 40), ("unsigned long clone_flags", 4, 36)]
    {
        let at = if size == 8 { 32 } else { 28 };
        let task = one(
            "task_newtask",
            &[
                ("pid_t pid", 8, 4, 1),
                ("char comm[16]", 12, 16, 0),
                (declaration, at, size, 0),
                ("short oom_score_adj", oom, 2, 1),
            ],
        );
        let flags = 0x9120_0000u64;
        let record = record(1).i32(8, 12).comm(12, b"sh").put(at, &flags.to_le_bytes()[..size]);
        assert_eq!(task.decode_and_cut(&record), Event::NewTask { pid: 12, flags, comm: b"sh" });
    }
}

#[test]
fn renames_have_the_task_or_else_the_writer() {
    let with = [("pid_t pid", 8, 4, 1), ("char oldcomm[16]", 12, 16, 0), ("char newcomm[16]", 28, 16, 0)];
    let record_with = record(5).i32(8, 6).comm(12, b"old").comm(28, b"new");
    assert_eq!(one("task_rename", &with).decode_and_cut(&record_with), Event::Rename { pid: 6, comm: b"new" });
    // 6.14 to 6.19 have no pid.
    let without = [("char oldcomm[16]", 8, 16, 0), ("char newcomm[16]", 24, 16, 0)];
    let record_without = record(5).comm(8, b"old").comm(24, b"new");
    assert_eq!(one("task_rename", &without).decode_and_cut(&record_without), Event::Rename { pid: 5, comm: b"new" });
}

#[test]
fn marks_are_texts_up_to_the_records_end() {
    let print = one("print", &[("unsigned long ip", 8, 8, 0), ("char buf[]", 16, 0, 0)]);
    for (put, text) in [(&b"hello\n\0\0"[..], &b"hello\n"[..]), (b"full", b"full"), (b"", b"")] {
        let record = record(5).put(16, put);
        assert_eq!(print.decode(&record), Event::Mark { text });
    }
    // An event of this name that is none: no recording fails for it.
    let text = format("print", 5, &[("int x", 8, 4, 0)]);
    assert_eq!(Schema::default().add(&parse_event(&text).unwrap()), Ok(false));
}

// ---- signals ----------------------------------------------------------------------------------------------------

#[test]
fn delivered_signals_have_a_handler_of_the_kernels_word() {
    for size in [8, 4] {
        let deliver = one(
            "signal_deliver",
            &[
                ("int sig", 8, 4, 1),
                ("int errno", 12, 4, 1),
                ("int code", 16, 4, 1),
                ("unsigned long sa_handler", if size == 8 { 24 } else { 20 }, size, 0),
            ],
        );
        let at = if size == 8 { 24 } else { 20 };
        let record = record(5).i32(8, 11).i32(16, -6).put(at, &0xffff_f123u64.to_le_bytes()[..size]);
        assert_eq!(deliver.decode_and_cut(&record), Event::SignalDeliver { sig: 11, code: -6, handler: 0xffff_f123 });
    }
}

#[test]
fn generated_signals_have_receiver_and_result() {
    let generate = one(
        "signal_generate",
        &[
            ("int sig", 8, 4, 1),
            ("int errno", 12, 4, 1),
            ("int code", 16, 4, 1),
            ("char comm[16]", 20, 16, 0),
            ("pid_t pid", 36, 4, 1),
            ("int group", 40, 4, 1),
            ("int result", 44, 4, 1),
        ],
    );
    for (word, group) in [(0, false), (1, true)] {
        let record = record(5).i32(8, 9).i32(16, 128).comm(20, b"sh").i32(36, 44).i32(40, word).i32(44, 2);
        let expected = Event::SignalGenerate { sig: 9, code: 128, pid: 44, group, result: 2 };
        assert_eq!(generate.decode_and_cut(&record), expected);
    }
}

// ---- the schema itself ------------------------------------------------------------------------------------------

#[test]
fn common_fields_are_the_first_eight_bytes() {
    let record = record(-1);
    let common = Schema::common(&record.0).unwrap();
    assert_eq!((common.id, common.pid), (77, -1));
    assert_eq!(Schema::common(&record.0[..7]), None);
}

#[test]
fn events_of_other_numbers_are_other() {
    let record = record_64(9).u64(16, 4);
    assert_eq!(one("sys_exit", &EXIT_64).0.decode(78, &record.0), Event::Other { id: 78 });
    assert_eq!(Schema::default().decode(0, &record.0), Event::Other { id: 0 });
}

#[test]
fn events_we_do_not_know_are_passed_over() {
    let mut schema = Schema::default();
    let text = format("sched_switch", 300, &[("int x", 8, 4, 1)]);
    assert_eq!(schema.add(&parse_event(&text).unwrap()), Ok(false));
    assert_eq!(schema.decode(300, &[0; 64]), Event::Other { id: 300 });
}

#[test]
fn a_schema_says_whether_both_syscall_events_are_there() {
    let mut schema = try_one("sys_enter", &ENTER_64).unwrap();
    assert_eq!((schema.has_syscalls(), schema.sys_enter_id(), schema.sys_exit_id()), (false, Some(77), None));
    let exit = format("sys_exit", 78, &EXIT_64);
    assert_eq!(schema.add(&parse_event(&exit).unwrap()), Ok(true));
    assert_eq!((schema.has_syscalls(), schema.sys_exit_id()), (true, Some(78)));
}

#[test]
fn every_event_of_the_list_is_known_by_its_name() {
    for &(_, name) in Schema::EVENTS {
        // Without fields each known name misses one; an unknown name would be passed over.
        let text = format(name, 5, &[]);
        assert!(
            matches!(Schema::default().add(&parse_event(&text).unwrap()), Err(SchemaError::MissingField(_))),
            "{name}"
        );
    }
}

#[test]
fn fields_that_are_missing_or_odd_are_named() {
    let error = |name, fields: &[(&str, usize, usize, u8)]| try_one(name, fields).map(|_| ()).unwrap_err();
    assert_eq!(error("sys_enter", &ENTER_64[..1]), SchemaError::MissingField("args"));
    for size in [0, 6, 12, 26, 47, 50, 54, 96] {
        assert_eq!(error("sys_enter", &[ENTER_64[0], ("long args[6]", 16, size, 0)]), SchemaError::FieldSize("args"));
    }
    assert_eq!(error("sys_exit", &[("int id", 8, 2, 1), EXIT_64[1]]), SchemaError::FieldSize("id"));
    assert_eq!(error("sys_exit", &[("__data_loc char[] id", 8, 4, 1), EXIT_64[1]]), SchemaError::FieldSize("id"));
    let exit = [("char comm[16]", 8, 16, 0), ("__data_loc int[] pid", 24, 4, 0)];
    assert_eq!(error("sched_process_exit", &exit), SchemaError::FieldSize("pid"));
}

#[test]
fn common_fields_in_another_place_are_refused() {
    for (from, to) in
        [("common_type;\toffset:0", "common_type;\toffset:2"), ("common_pid;\toffset:4", "common_pid;\toffset:8")]
    {
        let text = format("sys_exit", 77, &EXIT_64).replace(from, to);
        assert!(matches!(Schema::default().add(&parse_event(&text).unwrap()), Err(SchemaError::FieldSize(_))));
    }
    let text = format("sys_exit", 77, &EXIT_64).replace("common_pid", "common_tid");
    assert_eq!(Schema::default().add(&parse_event(&text).unwrap()), Err(SchemaError::MissingField("common_pid")));
}
