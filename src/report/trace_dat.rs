// SPDX-License-Identifier: Apache-2.0 OR MIT
//! trace-cmd's file, version 6: what stands around the kernel's own sub-buffers so that trace-cmd and KernelShark read
//! them.
//!
//! Source: trace-cmd.dat.v6(5), and trace-cmd's lib/trace-cmd/trace-input.c for what the page leaves open (the options,
//! and the text of the clock behind the table of CPUs). Sizes are counted before anything is written, so that the file
//! can go into a pipe. Words are little endian, as those of all machines that we have tables for.

use super::out::{push_hex, Out};
use crate::calls::{Call, Note, Steps, What};
use crate::error::{Error, Kind, Result};
use crate::ids::{CpuId, Pid};
use crate::json::{push_i64, push_u64};
use crate::recording::{CpuStats, Meta, Recording, HEADER_EVENT, HEADER_PAGE};
use crate::tasks::{Comm, PidTable};
use crate::words::split_once;

/// Options by their numbers (`TRACECMD_OPTION_*`).
const DATE: u16 = 1;
const CPUSTAT: u16 = 2;
const TRACECLOCK: u16 = 4;
const UNAME: u16 = 5;
const VERSION: u16 = 9;

/// `events/header_event` of every kernel so far (kernel/trace/ring_buffer.c `ring_buffer_print_entry_header`), for
/// recordings that do not have it.
const RECORD_HEADER: &str = "# compressed entry header\n\ttype_len    :    5 bits\n\ttime_delta  :   27 bits\n\
    \tarray       :   32 bits\n\n\tpadding     : type == 29\n\ttime_extend : type == 30\n\ttime_stamp : type == 31\n\
    \tdata max type_len  == 28\n";

/// The file has one name for each task number: the last it had. At most as many as the kernel has numbers.
pub(crate) struct Names {
    table: PidTable,
    list: Vec<(Pid, Comm)>,
}

impl Names {
    pub fn new(meta: &Meta) -> Names {
        let mut names = Names { table: PidTable::new(), list: Vec::new() };
        for task in &meta.tasks {
            names.set(task.tid, Comm::new(task.comm.as_bytes()));
        }
        names
    }

    #[inline]
    fn set(&mut self, pid: Pid, comm: Comm) {
        match self.table.get(pid).and_then(|at| self.list.get_mut(at as usize)) {
            Some((_, known)) if comm.as_bytes().is_empty() || *known == comm => {}
            Some((_, known)) => *known = comm,
            None => {
                self.table.insert(pid, self.list.len() as u32);
                self.list.push((pid, comm));
            }
        }
    }
}

impl Steps for Names {
    #[inline]
    fn opened(&mut self, call: &Call) -> u64 {
        self.set(call.pid, call.comm);
        0
    }

    fn closed(&mut self, _: u64, _: &Call) {}

    fn note(&mut self, note: Note) {
        if note.pid != 0 {
            self.set(note.pid, note.comm);
        }
        if let What::Fork { child, comm, .. } = note.what {
            self.set(child, comm);
        }
    }
}

fn push_u32(buf: &mut Vec<u8>, value: usize) {
    buf.extend_from_slice(&(value as u32).to_le_bytes());
}

fn push_long(buf: &mut Vec<u8>, value: u64) {
    buf.extend_from_slice(&value.to_le_bytes());
}

/// A text behind its size.
fn push_file(buf: &mut Vec<u8>, text: &[u8]) {
    push_long(buf, text.len() as u64);
    buf.extend_from_slice(text);
}

/// An option; its text ends with a NUL.
fn push_option(buf: &mut Vec<u8>, option: u16, text: &[u8]) {
    buf.extend_from_slice(&option.to_le_bytes());
    push_u32(buf, text.len() + 1);
    buf.extend_from_slice(text);
    buf.push(0);
}

/// The events' descriptions, system by system.
fn push_events(buf: &mut Vec<u8>, recording: &Recording) {
    let mut systems: Vec<(&str, Vec<&str>)> = Vec::new();
    for (path, text) in recording.formats().iter() {
        let below = path.strip_prefix("events/").and_then(|below| split_once(below, "/"));
        let Some((system, _)) = below.filter(|(_, event)| event.ends_with("/format")) else { continue };
        let at = systems.iter().position(|(known, _)| *known == system).unwrap_or_else(|| {
            systems.push((system, Vec::new()));
            systems.len() - 1
        });
        if let Some((_, texts)) = systems.get_mut(at) {
            texts.push(text);
        }
    }
    push_u32(buf, systems.len());
    for (system, texts) in systems {
        buf.extend_from_slice(system.as_bytes());
        buf.push(0);
        push_u32(buf, texts.len());
        for text in texts {
            push_file(buf, text.as_bytes());
        }
    }
}

/// As `saved_cmdlines`: number and name, a line each.
fn push_names(buf: &mut Vec<u8>, names: &Names) {
    let mut text = Vec::new();
    for (pid, comm) in names.list.iter().filter(|(_, comm)| !comm.as_bytes().is_empty()) {
        push_i64(&mut text, i64::from(*pid));
        text.push(b' ');
        // A name may hold whatever would end its line.
        text.extend(comm.as_bytes().iter().map(|byte| if *byte < b' ' { b'?' } else { *byte }));
        text.push(b'\n');
    }
    push_file(buf, &text);
}

/// As `per_cpu/cpuN/stats`, with the words that trace-cmd puts before it.
fn push_stats(text: &mut Vec<u8>, stats: &CpuStats) {
    for (name, value) in [
        ("CPU: ", u64::from(stats.cpu)),
        ("\nentries: ", stats.entries),
        ("\noverrun: ", stats.overrun),
        ("\ncommit overrun: ", stats.commit_overrun),
        ("\ndropped events: ", stats.dropped),
        ("\nread events: ", stats.read),
    ] {
        text.extend_from_slice(name.as_bytes());
        push_u64(text, value);
    }
    text.push(b'\n');
}

fn push_options(buf: &mut Vec<u8>, meta: &Meta) {
    buf.extend_from_slice(b"options  \0");
    let mut text = Vec::new();
    // What turns the trace clock into the wall clock, microseconds. `trace-cmd report --nodate` shows the trace clock.
    let offset = meta.anchors.first().and_then(|anchor| anchor.realtime_ns.checked_sub(anchor.trace_ns));
    if let Some(offset) = offset.filter(|offset| *offset >= 1000) {
        push_hex(&mut text, offset / 1000);
        push_option(buf, DATE, &text);
    }
    for stats in &meta.stats {
        text.clear();
        push_stats(&mut text, stats);
        push_option(buf, CPUSTAT, &text);
    }
    text.clear();
    for part in ["Linux ", &meta.host.node, " ", &meta.host.release, " ", &meta.host.machine] {
        text.extend_from_slice(part.as_bytes());
    }
    push_option(buf, UNAME, &text);
    push_option(buf, VERSION, meta.tool.as_bytes());
    push_option(buf, TRACECLOCK, b"");
    buf.extend_from_slice(&[0, 0]);
}

/// Everything before the table of CPUs.
fn push_head(buf: &mut Vec<u8>, recording: &Recording, names: &Names, cpus: usize) -> Result<()> {
    let layout = recording.meta.layout()?;
    let formats = recording.formats();
    buf.extend_from_slice(b"\x17\x08\x44tracing6\0\0");
    buf.push(layout.long_size());
    push_u32(buf, layout.subbuf_size());
    buf.extend_from_slice(b"header_page\0");
    push_file(buf, formats.get(HEADER_PAGE).unwrap_or_default().as_bytes());
    buf.extend_from_slice(b"header_event\0");
    push_file(buf, formats.get(HEADER_EVENT).unwrap_or(RECORD_HEADER).as_bytes());
    // Formats of the function tracers' records.
    push_u32(buf, 0);
    push_events(buf, recording);
    // Neither the kernel's symbols nor formats of trace_printk.
    push_u32(buf, 0);
    push_u32(buf, 0);
    push_names(buf, names);
    push_u32(buf, cpus);
    push_options(buf, &recording.meta);
    buf.extend_from_slice(b"flyrecord\0");
    Ok(())
}

/// Writes the whole file.
pub(crate) fn write(recording: &Recording, names: &Names, out: &mut Out<'_>) -> Result<()> {
    let subbuf = recording.meta.layout()?.subbuf_size() as u64;
    let last = recording.segments().iter().map(|segment| segment.cpu.saturating_add(1)).max().unwrap_or(0);
    let cpus: CpuId = last.max(recording.meta.host.cpus);
    let mut sizes = Vec::new();
    for cpu in 0..cpus {
        let mut pages = 0u64;
        recording.each_page(cpu, &mut |_| {
            pages += 1;
            true
        })?;
        sizes.push(pages * subbuf);
    }
    let buf = &mut out.buf;
    push_head(buf, recording, names, sizes.len())?;
    let mut clock = vec![b'['];
    clock.extend_from_slice(recording.meta.clock.as_bytes());
    clock.push(b']');
    let table = buf.len() + 16 * sizes.len() + 8 + clock.len();
    let mut offset = (table as u64).div_ceil(subbuf) * subbuf;
    let padding = (offset - table as u64) as usize;
    for size in &sizes {
        push_long(buf, offset);
        push_long(buf, *size);
        offset += size;
    }
    push_file(buf, &clock);
    buf.resize(buf.len() + padding, 0);
    for (cpu, mut left) in (0..cpus).zip(sizes) {
        recording.each_page(cpu, &mut |page| {
            // A recording that grows may have more by now.
            if left == 0 {
                return false;
            }
            left -= subbuf;
            out.buf.extend_from_slice(page);
            out.line_done();
            !out.failed()
        })?;
        if left > 0 && !out.failed() {
            return Err(Error::new(Kind::Busy, "the recorder removed a part that was being written".to_owned())
                .hint("try again, or end the recording first (ftrace-analyzer stop)"));
        }
    }
    Ok(())
}
