// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The end of a recording: why it came, what is stored last, and what goes, in the order in which nobody waits longest.

use super::control::Connection;
use super::joins::Joins;
use super::log::log;
use super::session::Session;
use super::strings::release;
use crate::error::{Error, Kind};
use crate::ids::{CpuId, Timestamp};
use crate::recording::{CpuStats, EndState};
use crate::sys;
use crate::tracefs::{BufferStats, Instance};

/// Why a recording ended.
#[derive(Debug)]
pub enum Ending {
    /// The traced tasks are gone.
    TasksGone,
    /// `stop`, or the runtime's poststop hook.
    Stopped,
    /// A signal to the recorder.
    Signal(i32),
    /// The recording could not be written or the buffers not be read.
    Fault(Error),
}

impl Session {
    /// Ends the recording: stops writing, takes the rest, compares notes with the kernel, tells who waits, cleans up.
    pub(super) fn finish(
        mut self,
        mut connections: Vec<Connection>,
        mut joins: Option<Joins>,
        ending: Ending,
    ) -> Ending {
        if let Some(joins) = &mut joins {
            joins.release();
        }
        let _ = self.instance.set_tracing(false);
        let mut end_state = EndState::Complete;
        let mut end_reason = match &ending {
            Ending::TasksGone => "the traced tasks ended".to_owned(),
            Ending::Stopped => "stopped on request".to_owned(),
            Ending::Signal(number) => {
                let name = crate::syscalls::signal_name(*number).unwrap_or("a signal");
                format!("the recorder was ended by {name}")
            }
            Ending::Fault(why) => {
                end_state = EndState::Cut;
                why.to_string()
            }
        };
        while end_state == EndState::Complete {
            match self.everything(Timestamp::MAX, true) {
                // Nobody writes any more, so a turn that finds nothing is the last.
                Ok(0) => break,
                Ok(_) => {}
                Err(why) => (end_state, end_reason) = (EndState::Cut, why.to_string()),
            }
        }
        if let Err(why) = self.save_counts() {
            (end_state, end_reason) = (EndState::Cut, why.to_string());
        }
        self.set_end_anchor();
        self.tell_profile();
        self.meta.stats = final_stats(&self.instance, &self.cpus);
        self.meta.trimmed = self.store.trimmed;
        self.meta.set_state(end_state);
        self.meta.end_reason = end_reason;
        if let Err(why) = self.meta_file.write_last(&mut self.meta) {
            // Nothing is left to say it to but the log.
            log(&format!("{}: {why}", self.store.dir.display()));
        }
        for connection in connections.iter_mut().filter(|connection| connection.wants_end || connection.follows) {
            connection.send("done\n");
        }
        // Whoever connects from here on is told at once that there is nobody: removing the instance takes 100 ms, and
        // the container's poststop hook need not wait for it.
        drop(connections);
        drop(self.listeners);
        drop(self.drain);
        // Off before anything slow: while these events are on, every call of every task on the machine pays for it.
        let _ = self.instance.enable_event("raw_syscalls", "", false);
        remove_instance(&self.instance);
        release(&self.tracefs);
        self.store.sync();
        self.state.withdraw();
        if let Some(joins) = &mut joins {
            joins.tidy();
        }
        ending
    }
}

/// The CPUs' statistics for meta.json.
pub(super) fn final_stats(instance: &Instance, cpus: &[CpuId]) -> Vec<CpuStats> {
    let mut all = Vec::with_capacity(cpus.len());
    for cpu in cpus {
        let BufferStats { entries, overrun, commit_overrun, dropped, read, now: _ } =
            instance.stats(*cpu).unwrap_or_default();
        all.push(CpuStats { cpu: *cpu, entries, overrun, commit_overrun, dropped, read });
    }
    all
}

/// Removes the instance; somebody who reads one of its files just now keeps it for a moment.
fn remove_instance(instance: &Instance) {
    let mut why = String::from("it stays in use; gc removes it later");
    for _ in 0..50 {
        match instance.remove() {
            Err(busy) if busy.kind() == Kind::Busy => sys::sleep_ms(100),
            Err(other) if other.kind() != Kind::NotFound => {
                why = other.to_string();
                break;
            }
            _ => return,
        }
    }
    log(&format!("remove the tracing instance {}: {why}", instance.name()));
}
