// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Recordings made of events that a test writes down, stored as a recorder stores them.
//!
//! Encodes sub-buffers by the kernel's rules (kernel/trace/ring_buffer.c) and payloads by the offsets of `formats.txt`
//! (x86_64, Linux 6.18), written out here once more so that nothing is shared with the decoder.
#![allow(dead_code, clippy::unwrap_used)] // each test uses a part of it

use std::path::{Path, PathBuf};

use ftrace_analyzer::recording::{
    Anchor, CpuStats, EndState, Formats, HostMeta, InitialTask, Meta, MetaFile, OptionsMeta, PageMeta, Recording,
    Store, FORMAT_VERSION,
};

/// Trace clock at the start.
pub const START: u64 = 1_000_000_000_000;
/// Wall clock at the start: 2025-11-23T09:24:53.5Z.
pub const WALL: u64 = 1_763_889_893_500_000_000;

const SUBBUF: usize = 4096;
const HEADER: usize = 16;

/// One CPU's buffer.
struct Cpu {
    page: Vec<u8>,
    first_ts: u64,
    ts: u64,
    missed: Option<u64>,
    written: u64,
    lost: u64,
}

/// A recording that is being made.
pub struct Synthetic {
    pub meta: Meta,
    store: Store,
    meta_file: MetaFile,
    cpus: Vec<Cpu>,
    payload: Vec<u8>,
    /// Time of the newest event.
    pub ts: u64,
    pub dir: PathBuf,
}

pub fn meta(cpus: u16) -> Meta {
    Meta {
        format_version: FORMAT_VERSION,
        tool: "ftrace-analyzer test".into(),
        name: "demo".into(),
        origin: "run".into(),
        init_pid: 100,
        host: HostMeta {
            node: "board".into(),
            release: "6.18.44".into(),
            machine: "x86_64".into(),
            cpus,
            ..HostMeta::default()
        },
        page: PageMeta { commit_offset: 8, commit_size: 8, data_offset: 16, data_size: (SUBBUF - HEADER) as u32 },
        clock: "local".into(),
        anchors: vec![Anchor { trace_ns: START, realtime_ns: WALL }],
        options: OptionsMeta { mode: "continuous".into(), buffer_size_kb: 1408, ..OptionsMeta::default() },
        tasks: vec![InitialTask { tid: 100, tgid: 100, comm: "sh".into(), ..InitialTask::default() }],
        ..Meta::default()
    }
}

impl Synthetic {
    /// In a directory of its own below `base`, which must be empty or not there.
    pub fn new(base: &Path, mut meta: Meta) -> Synthetic {
        let formats = Formats::from_bytes(include_bytes!("formats.txt")).unwrap();
        let ids: Vec<u16> = (0..meta.host.cpus).collect();
        let (store, meta_file) = Store::create(base, "synthetic", &formats, &mut meta, &ids).unwrap();
        let cpu = |_| Cpu { page: Vec::new(), first_ts: 0, ts: 0, missed: None, written: 0, lost: 0 };
        let dir = store.dir.clone();
        let cpus = ids.iter().map(cpu).collect();
        Synthetic { meta, store, meta_file, cpus, payload: Vec::new(), ts: START, dir }
    }

    fn flush(&mut self, cpu: usize) {
        let state = &mut self.cpus[cpu];
        if state.page.is_empty() {
            return;
        }
        let len = state.page.len() as u64;
        let mut commit = len;
        let mut page = state.first_ts.to_le_bytes().to_vec();
        let missed = state.missed.take();
        if missed.is_some() {
            commit |= 1 << 31 | 1 << 30;
        }
        page.extend_from_slice(&commit.to_le_bytes());
        page.append(&mut state.page);
        page.extend_from_slice(&missed.unwrap_or(0).to_le_bytes());
        page.truncate(SUBBUF);
        page.resize(SUBBUF, 0);
        self.store.append_page(cpu, &page).unwrap();
    }

    /// Writes the payload as a record of `cpu` at the time [`Synthetic::ts`].
    fn record(&mut self, cpu: usize, id: u16, pid: i32) {
        let len = self.payload.len().next_multiple_of(4);
        // Room for a time extension and for the count of missed events.
        if self.cpus[cpu].page.len() + len + 32 > SUBBUF - HEADER {
            self.flush(cpu);
        }
        let ts = self.ts;
        let state = &mut self.cpus[cpu];
        if state.page.is_empty() {
            state.first_ts = ts;
            state.ts = ts;
        }
        let mut delta = ts - state.ts;
        if delta >= 1 << 27 {
            state.page.extend_from_slice(&(((delta & 0x7ff_ffff) as u32) << 5 | 30).to_le_bytes());
            state.page.extend_from_slice(&((delta >> 27) as u32).to_le_bytes());
            delta = 0;
        }
        state.ts = ts;
        if len <= 112 {
            state.page.extend_from_slice(&((delta as u32) << 5 | (len / 4) as u32).to_le_bytes());
        } else {
            state.page.extend_from_slice(&((delta as u32) << 5).to_le_bytes());
            state.page.extend_from_slice(&(len as u32 + 4).to_le_bytes());
        }
        self.payload[..2].copy_from_slice(&id.to_le_bytes());
        self.payload[4..8].copy_from_slice(&pid.to_le_bytes());
        state.page.extend_from_slice(&self.payload);
        state.page.resize(state.page.len().next_multiple_of(4), 0);
        state.written += 1;
    }

    fn payload(&mut self, size: usize) -> &mut Self {
        self.payload.clear();
        self.payload.resize(size, 0);
        self
    }

    fn put(&mut self, at: usize, bytes: &[u8]) -> &mut Self {
        self.payload[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// Moves the clock on, microseconds.
    pub fn after(&mut self, micros: u64) -> &mut Self {
        self.ts += micros * 1000;
        self
    }

    pub fn enter(&mut self, cpu: usize, pid: i32, nr: i64, args: [u64; 6]) -> &mut Self {
        self.payload(64).put(8, &nr.to_le_bytes());
        for (index, arg) in args.iter().enumerate() {
            self.put(16 + 8 * index, &arg.to_le_bytes());
        }
        self.record(cpu, 443, pid);
        self
    }

    pub fn exit(&mut self, cpu: usize, pid: i32, nr: i64, ret: i64) -> &mut Self {
        self.payload(24).put(8, &nr.to_le_bytes()).put(16, &ret.to_le_bytes());
        self.record(cpu, 442, pid);
        self
    }

    /// Enter and exit, `micros` apart.
    pub fn call(&mut self, cpu: usize, pid: i32, nr: i64, args: &[u64], micros: u64, ret: i64) -> &mut Self {
        let mut all = [0; 6];
        all[..args.len()].copy_from_slice(args);
        self.enter(cpu, pid, nr, all).after(micros).exit(cpu, pid, nr, ret)
    }

    /// Both events of a birth.
    pub fn fork(&mut self, cpu: usize, parent: i32, child: i32, flags: u64, comm: &str) -> &mut Self {
        self.payload(42).put(8, &child.to_le_bytes()).put(12, comm.as_bytes()).put(32, &flags.to_le_bytes());
        self.record(cpu, 205, parent);
        let place = |at: usize, len: usize| ((len as u32) << 16 | at as u32).to_le_bytes();
        self.payload(32 + comm.len()).put(8, &place(24, 3)).put(12, &parent.to_le_bytes());
        self.put(16, &place(28, comm.len() + 1)).put(20, &child.to_le_bytes()).put(24, b"sh").put(28, comm.as_bytes());
        self.record(cpu, 366, parent);
        self
    }

    pub fn rename(&mut self, cpu: usize, pid: i32, comm: &[u8]) -> &mut Self {
        self.payload(46).put(8, &pid.to_le_bytes()).put(28, comm);
        self.record(cpu, 204, pid);
        self
    }

    pub fn exec(&mut self, cpu: usize, pid: i32, old_pid: i32, filename: &str) -> &mut Self {
        let place = (filename.len() as u32 + 1) << 16 | 20;
        self.payload(21 + filename.len()).put(8, &place.to_le_bytes()).put(12, &pid.to_le_bytes());
        self.put(16, &old_pid.to_le_bytes()).put(20, filename.as_bytes());
        self.record(cpu, 365, pid);
        self
    }

    pub fn dies(&mut self, cpu: usize, pid: i32, comm: &[u8]) -> &mut Self {
        self.payload(33).put(8, comm).put(24, &pid.to_le_bytes());
        self.record(cpu, 369, pid);
        self
    }

    pub fn deliver(&mut self, cpu: usize, pid: i32, sig: i32, code: i32, handler: u64) -> &mut Self {
        self.payload(40).put(8, &sig.to_le_bytes()).put(16, &code.to_le_bytes()).put(24, &handler.to_le_bytes());
        self.record(cpu, 260, pid);
        self
    }

    pub fn send(&mut self, cpu: usize, pid: i32, sig: i32, to: i32) -> &mut Self {
        self.payload(48).put(8, &sig.to_le_bytes()).put(36, &to.to_le_bytes()).put(40, &1i32.to_le_bytes());
        self.record(cpu, 261, pid);
        self
    }

    /// The kernel loses `count` events of this CPU before the next one.
    pub fn lose(&mut self, cpu: usize, count: u64) -> &mut Self {
        self.flush(cpu);
        self.cpus[cpu].missed = Some(count);
        self.cpus[cpu].lost += count;
        self
    }

    /// Ends the recording at the present time.
    pub fn finish(mut self, state: EndState, reason: &str) -> Recording {
        for cpu in 0..self.cpus.len() {
            self.flush(cpu);
        }
        let elapsed = self.ts - START;
        self.meta.anchors.push(Anchor { trace_ns: self.ts, realtime_ns: WALL + elapsed });
        self.meta.set_state(state);
        self.meta.end_reason = reason.into();
        let stats = |(cpu, state): (u16, &Cpu)| CpuStats {
            cpu,
            overrun: state.lost,
            read: state.written,
            ..CpuStats::default()
        };
        if state == EndState::Complete {
            self.meta.stats = (0..).zip(&self.cpus).map(stats).collect();
        }
        self.meta_file.write_last(&mut self.meta).unwrap();
        Recording::open(&self.dir).unwrap()
    }
}

/// A directory for one test, emptied first.
pub fn fresh_dir(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("ftrace-analyzer-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    dir
}
