// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The recorder's life: one thread, one poll(2), until the traced tasks are gone.
//!
//! What wakes it: a CPU's buffer that is a quarter full, a clock tick whose length follows the load, the end of the first
//! process, a request, a signal. Before 6.9 poll on trace_pipe_raw could miss a wake-up or report data that is not whole:
//! there the tick stays short, and a poll that lies is no longer asked.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use nix::poll::{PollFd, PollFlags};

use super::control::{Connection, Request, CLIENTS_MAX};
use super::ending::Ending;
use super::joins::Joins;
use super::options::Mode;
use super::session::{read_anchor, Session, WAKE_PERCENT};
use crate::arch::kernel_version;
use crate::error::Error;
use crate::ids::{CpuId, Timestamp};
use crate::proc;
use crate::sys;
use crate::tracefs::Instance;

// Times are in milliseconds of the monotonic clock.

/// How often what is in the kernel's buffers is stored while somebody follows.
const FOLLOW_EVERY: u64 = 100;
/// The same when nobody does. A power failure takes this much of a container that makes few calls, and what the system
/// has not written to the disk by then. When only the recorder dies the kernel keeps it, and `gc` saves it.
const FLUSH_EVERY: u64 = 10_000;
/// How often counts from events are laid by for `gc`.
const KEEP_EVERY: u64 = 1_000;
/// Longest tick where poll(2) cannot be relied on.
const TICK_BEFORE_6_9: u64 = 100;
/// How often meta.json is written anew.
const META_EVERY: u64 = 60_000;
/// How often the end of the last tasks is looked for once the first process is gone.
const END_EVERY: u64 = 20;
/// The same after [`END_SLOW_AFTER`]: somebody lives on without the first process.
const END_SLOW_EVERY: u64 = 500;
const END_SLOW_AFTER: u64 = 2_000;
/// How far the watermark stays behind the clock, in nanoseconds: an event takes its time before it is committed.
const WATERMARK_MARGIN: u64 = 1_000_000;
/// Nice value of a recorder: with a compiler running beside it, one at 0 lost a tenth of eight million events a second,
/// and one at -15 nothing.
const RECORDER_NICE: i32 = -15;
/// Problems kept in meta.json; more would only repeat themselves.
const PROBLEMS_MAX: usize = 16;

/// What the loop has to remember.
struct Loop {
    signals: Option<File>,
    init: Option<OwnedFd>,
    connections: Vec<Connection>,
    /// The watch for processes that join.
    joins: Option<Joins>,
    /// Whether the CPUs' pipes are polled.
    watch: bool,
    /// Longest tick.
    longest: u64,
    idle_wakes: u32,
    last_flush: u64,
    last_meta: u64,
    last_kept: u64,
    /// Something was counted since.
    uncounted: bool,
    init_gone: Option<u64>,
    tick: u64,
    /// In mode `profile`: the kernel wakes us at the first event, not only at many.
    alert: bool,
}

impl Session {
    /// Records until the end and leaves a finished recording. What went wrong on the way is in its meta.json.
    pub fn run(mut self) -> Ending {
        // The buffers must not fill while somebody else has the processor; but how much of it a user has is not his to say.
        if self.state.owner == 0 {
            sys::lower_nice(RECORDER_NICE);
        }
        let now = sys::monotonic_ms();
        let mut state = Loop {
            signals: sys::signal_file().ok(),
            // Before 5.3 the tick looks, which is short there.
            init: sys::pidfd_open(self.meta.init_pid).ok(),
            connections: Vec::new(),
            joins: Joins::new(&self.tracefs, &self.state),
            watch: self.mode != Mode::Flight,
            longest: if kernel_version(&self.meta.host.release) >= (6, 9) { FLUSH_EVERY } else { TICK_BEFORE_6_9 },
            idle_wakes: 0,
            last_flush: now,
            last_meta: now,
            last_kept: now,
            uncounted: false,
            init_gone: None,
            tick: 5,
            alert: false,
        };
        // Whoever reaches into a recorder by what it reads shall find little.
        let joins = state.joins.as_ref().map_or(0, |_| sys::CAP_CHECKPOINT_RESTORE | sys::CAP_SYS_NICE);
        sys::confine(sys::CAP_SYS_PTRACE | joins);
        let ending = loop {
            if let Some(ending) = self.turn(&mut state) {
                break ending;
            }
        };
        self.finish(state.connections, state.joins, ending)
    }

    /// One turn of the loop.
    fn turn(&mut self, state: &mut Loop) -> Option<Ending> {
        let ready = self.wait(state);
        if let Some(signal) = state.signals.as_ref().and_then(sys::read_signal) {
            return Some(Ending::Signal(signal));
        }
        let mut stop = false;
        self.accept(state);
        state.connections.retain_mut(|connection| {
            let Ok(requests) = connection.requests() else { return false };
            for request in requests {
                match request {
                    Request::Flush => connection.wants_flush = true,
                    Request::Follow => connection.follows = true,
                    Request::Stop => {
                        connection.wants_end = true;
                        stop = true;
                    }
                }
            }
            true
        });
        if stop {
            return Some(Ending::Stopped);
        }
        if let Some(Err(why)) = state.joins.as_mut().map(|joins| joins.turn(ready.joins)) {
            self.note(["processes that join the container are not recorded: ", &why.to_string()].concat());
        }
        if let Err(why) = self.move_data(state, ready.pipes) {
            return Some(Ending::Fault(why));
        }
        let now = sys::monotonic_ms();
        if now - state.last_meta >= META_EVERY {
            state.last_meta = now;
            self.renew_meta();
        }
        self.look_for_end(state, ready.init)
    }

    /// Sleeps until something is to be done.
    fn wait(&self, state: &Loop) -> Ready {
        let mut timeout = state.tick;
        if state.connections.iter().any(|connection| connection.follows) {
            timeout = timeout.min(FOLLOW_EVERY.saturating_sub(sys::monotonic_ms() - state.last_flush));
        }
        if let Some(gone) = state.init_gone {
            timeout = timeout.min(end_every(gone));
        }
        let mut fds: Vec<PollFd<'_>> = Vec::new();
        let mut add = |fd| fds.push(PollFd::new(fd, PollFlags::POLLIN));
        let init = state.init.as_ref().filter(|_| state.init_gone.is_none());
        let mut watched = 0;
        if let Some(init) = init {
            add(init.as_fd());
            watched += 1;
        }
        // Tasks that come and go by the thousand must not wake us each.
        let rests = self.counter.as_deref().is_some_and(|counter| counter.hist) && state.tick == 50;
        if state.watch && !rests {
            for fd in self.drain.fds() {
                add(fd);
                watched += 1;
            }
        }
        for listener in &self.listeners {
            add(listener.as_fd());
        }
        if let Some(signals) = &state.signals {
            add(signals.as_fd());
        }
        for connection in &state.connections {
            add(connection.as_fd());
        }
        let joins = state.joins.as_ref().and_then(|joins| {
            timeout = timeout.min(joins.patience());
            joins.fd()
        });
        if let Some(joins) = joins {
            add(joins);
        }
        let woken = sys::poll(&mut fds, timeout);
        let is_ready = |fd: &PollFd<'_>| fd.any().unwrap_or(false);
        let joins = woken && joins.is_some() && fds.last().is_some_and(is_ready);
        let (init_fd, pipe_fds) = fds.get(..watched).unwrap_or_default().split_at(usize::from(init.is_some()));
        Ready { init: woken && init_fd.iter().any(is_ready), pipes: woken && pipe_fds.iter().any(is_ready), joins }
    }

    /// Takes new connections; one too many is told so.
    fn accept(&self, state: &mut Loop) {
        for listener in &self.listeners {
            while let Ok(stream) = sys::accept(listener) {
                let mut connection = Connection::new(stream);
                if state.connections.len() < CLIENTS_MAX {
                    state.connections.push(connection);
                } else {
                    connection.send("busy\n");
                }
            }
        }
    }

    /// Drains what is due.
    fn move_data(&mut self, state: &mut Loop, woken: bool) -> Result<(), Error> {
        let asked = state.connections.iter().any(|connection| connection.wants_flush);
        let followed = state.connections.iter().any(|connection| connection.follows);
        let every = if followed { FOLLOW_EVERY } else { FLUSH_EVERY };
        let due = sys::monotonic_ms() - state.last_flush >= every && (followed || self.mode != Mode::Flight);
        if asked || due {
            return self.flush(state, asked);
        }
        if self.mode == Mode::Flight {
            state.tick = state.longest;
            return Ok(());
        }
        let (most, complete) = match self.counter.is_some() || self.quiet.is_some() {
            true => (self.everything(watermark(&self.instance, &self.cpus), !followed)?, true),
            false => self.drain.whole(&mut self.store)?,
        };
        self.keep_counts(state, most);
        if woken && most == 0 {
            // The kernel says readable and has nothing whole: a poll that lies would make us spin.
            state.idle_wakes += 1;
            if state.idle_wakes > 100 {
                state.watch = false;
                state.longest = TICK_BEFORE_6_9;
            }
        } else {
            state.idle_wakes = 0;
        }
        state.tick = if complete { self.next_tick(most, state.longest) } else { 0 };
        self.narrow(state, most);
        Ok(())
    }

    /// How long may pass until the next look, by what the busiest CPU wrote since the last one.
    fn next_tick(&self, most: u64, longest: u64) -> u64 {
        let buffer = self.meta.options.buffer_size_kb.max(1) << 10;
        match most {
            most if most > buffer / 8 => 3,
            most if most > buffer / 64 => 10,
            most if most > 0 => 50,
            _ => longest,
        }
    }

    /// Stores everything the kernel has and tells those who wait how far that is.
    fn flush(&mut self, state: &mut Loop, asked: bool) -> Result<(), Error> {
        let watermark = watermark(&self.instance, &self.cpus);
        let followed = state.connections.iter().any(|connection| connection.follows);
        let moved = self.everything(watermark, !followed)?;
        if asked {
            self.save_or_note();
            if self.quiet.as_deref_mut().is_some_and(|quiet| std::mem::take(&mut quiet.changed)) {
                self.renew_meta_now();
            }
        }
        self.keep_counts(state, moved);
        state.last_flush = sys::monotonic_ms();
        let line = format!("at {watermark}\n");
        for connection in &mut state.connections {
            if std::mem::take(&mut connection.wants_flush) || connection.follows {
                connection.send(&line);
            }
        }
        Ok(())
    }

    /// Stores what the kernel has, or counts it up to the time `until`. Gives the bytes taken.
    pub(super) fn everything(&mut self, until: Timestamp, joined: bool) -> Result<u64, Error> {
        if let Some(counter) = self.counter.as_deref_mut() {
            return counter.take(&mut self.drain, until);
        }
        let Some(quiet) = self.quiet.as_deref_mut() else { return self.drain.everything(&mut self.store) };
        let taken = quiet.take(&mut self.drain, &mut self.store, &self.instance, until, joined)?;
        if until != Timestamp::MAX {
            quiet.narrow(&self.instance);
        }
        if let Some(problem) = quiet.problem.take() {
            self.tell_profile();
            self.note(problem);
            self.renew_meta_now();
        }
        Ok(taken)
    }

    /// In mode `profile`: when to look next, and whether single events wake us. Where there are many, a buffer that fills
    /// must, and nothing else.
    fn narrow(&self, state: &mut Loop, most: u64) {
        let Some(quiet) = self.quiet.as_deref() else { return };
        state.tick = state.tick.min(quiet.due(sys::monotonic_ms()));
        if state.alert != (most == 0) {
            state.alert = most == 0;
            // Where it fails, a tick looks.
            let _ = self.instance.set_buffer_percent(if state.alert { 0 } else { WAKE_PERCENT });
        }
    }

    pub(super) fn tell_profile(&mut self) {
        if let Some(quiet) = self.quiet.as_deref() {
            self.meta.profile = quiet.profile.clone();
        }
    }

    /// Writes the counts into the recording, if it is one that counts.
    pub(super) fn save_counts(&mut self) -> Result<(), Error> {
        self.counter.as_deref_mut().map_or(Ok(()), |counter| counter.save(&self.instance, &self.store.dir, true))
    }

    /// The same while it runs: memory or disk may be short just now.
    fn save_or_note(&mut self) {
        if let Err(why) = self.save_counts() {
            self.note(why.to_string());
        }
    }

    /// Lays the counts where `gc` finds them should we be killed: what was taken from the kernel is nowhere else.
    fn keep_counts(&mut self, state: &mut Loop, moved: u64) {
        let now = sys::monotonic_ms();
        if let Some(counter) = self.counter.as_deref_mut().filter(|counter| !counter.hist) {
            state.uncounted |= moved > 0;
            if state.uncounted && now - state.last_kept >= KEEP_EVERY {
                (state.uncounted, state.last_kept) = (false, now);
                // /run is in memory: nothing to wait for, and a failure costs no more than a kill would.
                let _ = counter.save(&self.instance, &self.state.dir, false);
            }
        }
    }

    pub(super) fn set_end_anchor(&mut self) {
        let anchor = self.cpus.first().and_then(|cpu| read_anchor(&self.instance, *cpu));
        if let Some(anchor) = anchor {
            self.meta.anchors.truncate(1);
            self.meta.anchors.push(anchor);
        }
    }

    fn note(&mut self, problem: String) {
        if self.meta.problems.len() < PROBLEMS_MAX {
            self.meta.problems.push(problem);
        }
    }

    /// Brings meta.json up to date for whoever reads it next: what is renewed once waits for the next time.
    fn renew_meta_now(&mut self) {
        self.renew_meta();
        self.renew_meta();
    }

    fn renew_meta(&mut self) {
        self.set_end_anchor();
        self.tell_profile();
        self.meta.trimmed = self.store.trimmed;
        self.save_or_note();
        if let Err(why) = self.meta_file.renew(&mut self.meta) {
            self.note(why.to_string());
        }
    }

    /// Whether the first process is gone, and all that came of it.
    fn look_for_end(&self, state: &mut Loop, init_ready: bool) -> Option<Ending> {
        if state.init_gone.is_none() && (init_ready || (state.init.is_none() && !proc::is_alive(self.meta.init_pid))) {
            state.init_gone = Some(sys::monotonic_ms());
        }
        state.init_gone?;
        // A zombie stays listed until its parent has waited for it, which may be never.
        let left = self.instance.pids().unwrap_or_default();
        if left.iter().any(|tid| proc::is_alive(*tid)) {
            return None;
        }
        Some(Ending::TasksGone)
    }
}

/// A time up to which all events are committed now.
fn watermark(instance: &Instance, cpus: &[CpuId]) -> Timestamp {
    let now = cpus.first().and_then(|cpu| instance.stats(*cpu).ok()).and_then(|stats| stats.now);
    now.unwrap_or(Timestamp::MAX).saturating_sub(WATERMARK_MARGIN)
}

/// What poll(2) found.
struct Ready {
    init: bool,
    pipes: bool,
    joins: bool,
}

fn end_every(gone: u64) -> u64 {
    if sys::monotonic_ms() - gone < END_SLOW_AFTER {
        END_EVERY
    } else {
        END_SLOW_EVERY
    }
}
