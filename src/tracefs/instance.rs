// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One tracing instance: a ring buffer of its own with its own events, filters and pids.
//!
//! Costs measured on 6.18 (x86_64, 2 CPUs): mkdir 1.5 ms, sub-buffer size 5 ms, pids 2 ms, events 1.5 ms; but 25 ms for
//! another clock and 20 ms for another buffer size (RCU grace periods), which is why neither is touched unless it must
//! be; removal 110 ms, which is why it happens behind the container's back.
//! Source: kernel/trace/trace.c `instance_mkdir`, kernel/trace/trace_events.c.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::mount::{bracketed, Tracefs};
use super::stats::BufferStats;
use crate::error::{Error, Kind, Result};
use crate::ids::{CpuId, Pid};
use crate::sys::{self, read_text};
use crate::words::{behind_last, number, quoted, trim};

/// What the names of our instances begin with; `gc` removes such instances and no others.
pub const INSTANCE_PREFIX: &str = "ftrace-analyzer-";

/// An instance directory of ours.
#[derive(Debug)]
pub struct Instance {
    name: String,
    path: PathBuf,
}

impl Instance {
    /// Makes the instance. Nothing is recorded in it yet: all its events are off.
    pub fn create(tracefs: &Tracefs, name: &str) -> Result<Instance> {
        let instance = Instance::named(tracefs, name)?;
        sys::make_dir(&instance.path).map_err(|why| match why {
            Errno::EEXIST => Error::new(Kind::Busy, format!("the tracing instance {name} exists already"))
                .hint("ftrace-analyzer gc removes what a killed recorder left"),
            Errno::ENOMEM => Error::sys(format!("make the tracing instance {name}"), why)
                .hint("its ring buffers take about 1.4 MB a CPU; free memory, or trace fewer containers at once"),
            Errno::EACCES | Errno::EPERM => Error::io("create", &instance.path, why.into()).hint("run as root"),
            _ => Error::io("create", &instance.path, why.into()),
        })?;
        Ok(instance)
    }

    /// An instance that is there already (or not: every use then fails).
    pub fn named(tracefs: &Tracefs, name: &str) -> Result<Instance> {
        if !name.starts_with(INSTANCE_PREFIX) || name.contains('/') {
            return Err(Error::new(Kind::Bug, format!("{name} is not an instance of ours")));
        }
        Ok(Instance { name: name.to_owned(), path: tracefs.root().join("instances").join(name) })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes `value` in one write(2), without truncating and without creating.
    fn write(&self, file: &str, value: &str) -> Result<()> {
        let path = self.path.join(file);
        let mut handle =
            sys::open(&path, OFlag::O_WRONLY | OFlag::O_APPEND).map_err(|why| Error::io("open", &path, why))?;
        handle
            .write_all(value.as_bytes())
            .map_err(|why| Error::io(&["write ", &quoted(value), " to"].concat(), &path, why))
    }

    /// Writes a number into a file that not all kernels have; false where it is not there.
    fn write_if_there(&self, file: &str, number: u64) -> Result<bool> {
        let there = self.has(file);
        if there {
            self.write(file, &number.to_string())?;
        }
        Ok(there)
    }

    /// Text of one of its files.
    pub fn read(&self, file: &str) -> Result<String> {
        let path = self.path.join(file);
        read_text(&path).map_err(|why| Error::io("read", &path, why))
    }

    /// Whether it has the file.
    pub fn has(&self, file: &str) -> bool {
        sys::exists(&self.path.join(file))
    }

    /// Sets the size of sub-buffers in KiB where the kernel can (6.8 and later); false where it cannot.
    pub fn set_subbuf_size_kb(&self, kb: u32) -> Result<bool> {
        self.write_if_there("buffer_subbuf_size_kb", u64::from(kb))
    }

    /// Size of each CPU's buffer in KiB.
    pub fn buffer_size_kb(&self) -> Option<u64> {
        // `1408`, or `7 (expanded: 1408)` before the first use.
        let text = self.read("buffer_size_kb").ok()?;
        let text = trim(&text);
        let text = text.strip_suffix(')').unwrap_or(text);
        number(behind_last(text, b' ').unwrap_or(text))
    }

    /// Sets the size of each CPU's buffer. Must be done before events are on: the kernel stops recording meanwhile.
    pub fn set_buffer_size_kb(&self, kb: u64) -> Result<()> {
        self.write("buffer_size_kb", &kb.to_string()).map_err(|why| match why.errno() {
            Some(nix::libc::ENOMEM) => why.hint(format!("there is no memory for {kb} KiB a CPU; use --buffer-size-kb")),
            _ => why,
        })
    }

    /// Fill level, in percent, at which poll(2) on a CPU's pipe wakes us.
    pub fn set_buffer_percent(&self, percent: u8) -> Result<()> {
        self.write_if_there("buffer_percent", u64::from(percent)).map(|_| ())
    }

    /// The trace clock in use.
    pub fn clock(&self) -> String {
        self.read("trace_clock").ok().as_deref().and_then(bracketed).unwrap_or("local").to_owned()
    }

    /// Sets the trace clock; clears the buffer and costs 25 ms.
    pub fn set_clock(&self, clock: &str) -> Result<()> {
        self.write("trace_clock", clock)
    }

    /// Whether children of filtered tasks are filtered too. Before the pids: without it a pid stays listed after its
    /// task's end and would match whoever gets the number next.
    pub fn set_event_fork(&self, on: bool) -> Result<()> {
        self.write("options/event-fork", if on { "1" } else { "0" })
    }

    /// Adds threads, by their global ids, to those whose events are recorded.
    pub fn add_pids(&self, pids: &[Pid]) -> Result<()> {
        // One write(2) takes a page at most, and a number cut in two becomes two numbers.
        for some in pids.chunks(256) {
            let mut list = String::new();
            for pid in some {
                list.push_str(&pid.to_string());
                list.push(' ');
            }
            self.write("set_event_pid", &list)?;
        }
        Ok(())
    }

    /// The threads whose events are recorded.
    pub fn pids(&self) -> Result<Vec<Pid>> {
        let mut pids = Vec::new();
        for pid in self.read("set_event_pid")?.split('\n') {
            pids.extend(number(pid).map(|pid| pid as Pid));
        }
        Ok(pids)
    }

    /// Puts a text into the buffer, at this time: an event that no filter keeps out.
    pub fn mark(&self, text: &str) -> Result<()> {
        self.write("trace_marker", text)
    }

    /// Switches one event, or with `name` empty all of a system, on or off.
    pub fn enable_event(&self, system: &str, name: &str, on: bool) -> Result<()> {
        let file =
            if name.is_empty() { format!("events/{system}/enable") } else { format!("events/{system}/{name}/enable") };
        self.write(&file, if on { "1" } else { "0" })
    }

    /// Most bytes of a string that go into an event (6.19 and later).
    pub fn set_string_size(&self, bytes: &str) -> Result<()> {
        self.write("syscall_user_buf_size", bytes)
    }

    /// Sets an event's filter; `0` removes it. Before the event is on: a change waits for RCU.
    pub fn set_filter(&self, system: &str, name: &str, filter: &str) -> Result<()> {
        let file = format!("events/{system}/{name}/filter");
        self.write(&file, filter).map_err(|why| why.told_as(file + " does not take it"))
    }

    /// Adds a trigger to an event; one that begins with `!` removes it.
    pub fn add_trigger(&self, system: &str, name: &str, trigger: &str) -> Result<()> {
        self.write(&["events/", system, "/", name, "/trigger"].concat(), trigger)
    }

    /// Switches writing into the buffer on or off.
    pub fn set_tracing(&self, on: bool) -> Result<()> {
        self.write("tracing_on", if on { "1" } else { "0" })
    }

    /// The per-CPU buffers. Directories are counted, not CPUs that are up: those come and go on boards.
    pub fn cpus(&self) -> Result<Vec<CpuId>> {
        let path = self.path.join("per_cpu");
        let cpus = sys::numbers(&path, "cpu").map_err(|why| Error::io("list", &path, why))?;
        Ok(cpus.into_iter().map(|cpu| cpu as CpuId).collect())
    }

    /// Opens a CPU's raw pipe, not blocking.
    pub fn open_pipe_raw(&self, cpu: CpuId) -> Result<File> {
        let path = self.path.join(format!("per_cpu/cpu{cpu}/trace_pipe_raw"));
        sys::open(&path, OFlag::O_RDONLY | OFlag::O_NONBLOCK).map_err(|why| Error::io("open", &path, why))
    }

    /// Opens what the kernel makes of all CPUs' events, a line each, not blocking.
    pub fn open_lines(&self) -> Result<File> {
        let path = self.path.join("trace_pipe");
        sys::open(&path, OFlag::O_RDONLY | OFlag::O_NONBLOCK).map_err(|why| Error::io("open", &path, why))
    }

    /// A CPU's statistics.
    pub fn stats(&self, cpu: CpuId) -> Result<BufferStats> {
        Ok(BufferStats::parse(&self.read(&format!("per_cpu/cpu{cpu}/stats"))?))
    }

    /// Removes the instance, which switches its events off. EBUSY while any of its files is open; nothing has changed
    /// then, for it may be a recorder whose running state we do not see.
    pub fn remove(&self) -> Result<()> {
        sys::remove_dir(&self.path).map_err(|why| match why.raw_os_error() {
            Some(nix::libc::EBUSY) => {
                Error::new(Kind::Busy, format!("the tracing instance {} is in use by a reader", self.name))
            }
            // Somebody else is removing it just now: the directory is there, its instance is not (trace_array_find).
            Some(nix::libc::ENODEV) => Error::not_found(self.path.display().to_string()),
            _ => Error::io("remove", &self.path, why),
        })
    }
}
