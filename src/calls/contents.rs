// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which call the contents belong to that come in events of their own.
//!
//! The kernel's events with strings and our probes on them are written beside `raw_syscalls:sys_enter`, before or behind
//! it as they were switched on, so what comes before its enter waits for it. Probes inside the kernel come between enter
//! and exit; there the address that a path was copied from tells which argument it was: the order in which a call copies
//! its paths is the compiler's (fs/namei.c `do_renameat2(olddfd, getname(oldname), …)`).

use crate::format::{Contents, Role, Value};
use crate::ids::{CpuId, Pid, SyscallNr};
use crate::syscalls;

use super::memory::Memory;
use super::pairing::{Phase, State, Tracker};
use super::special::is_exec;
use super::{Call, Steps, Text, Texts};

/// Strings that the kernel cuts off end so in its own events.
const CUT: &[u8] = b"...";

/// Length that the kernel cuts strings at: the most that can be asked for, which we do, and what a kernel may be built
/// with (CONFIG_TRACE_SYSCALL_BUF_SIZE_DEFAULT). Both count the NUL.
const CUT_AT: [usize; 4] = [165, 164, 63, 62];

/// Most tasks whose contents wait for an enter. It follows within a microsecond, unless it was lost.
const EARLY_MAX: usize = 64;

/// Contents that came before their calls.
#[derive(Debug, Default)]
pub(super) struct EarlyContents(Vec<(Pid, SyscallNr, Texts)>);

impl EarlyContents {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds what is known before the task's call of that number; more than one event may tell of it.
    fn add(&mut self, pid: Pid, nr: SyscallNr, contents: &Contents<'_>) {
        let known = self.0.iter().position(|(of, ..)| *of == pid).map(|at| self.0.swap_remove(at));
        let (_, _, mut texts) = known.filter(|(_, of, _)| *of == nr).unwrap_or((pid, nr, Texts::default()));
        each(contents, None, &mut |arg, text| {
            texts.push(arg, text);
        });
        if self.0.len() >= EARLY_MAX {
            self.0.remove(0);
        }
        self.0.push((pid, nr, texts));
    }

    /// The call is there: what waited for it goes with it; what waited for another one of its task is void.
    pub(super) fn entered(&mut self, pid: Pid, nr: SyscallNr, state: &mut State, steps: &mut dyn Steps) {
        let Some(at) = self.0.iter().position(|(of, ..)| *of == pid) else { return };
        let (_, of, texts) = self.0.swap_remove(at);
        if of == nr {
            for (arg, text) in texts.iter() {
                state.tell(arg, text, steps);
            }
        }
    }
}

impl State {
    /// Passes on what is known of an argument of the open call; the first string of an argument is the one that holds.
    fn tell(&mut self, arg: u8, text: Text<'_>, steps: &mut dyn Steps) {
        if matches!(text, Text::String { .. }) {
            let bit = 1u8.checked_shl(u32::from(arg)).unwrap_or(0);
            if self.told & bit != 0 {
                return;
            }
            self.told |= bit;
            if let (Text::String { bytes, cut: false }, true) = (text, self.files != 0 && self.path.is_none()) {
                self.path = Some(bytes.into());
            }
        }
        steps.text(self.ticket, arg, text);
    }
}

/// The kernel's own events leave an empty string where there was no memory, too.
fn string(bytes: &[u8]) -> Option<Text<'_>> {
    match bytes.strip_suffix(CUT) {
        Some(kept) if CUT_AT.contains(&kept.len()) => Some(Text::String { bytes: kept, cut: true }),
        _ if bytes.is_empty() => None,
        _ => Some(Text::String { bytes, cut: false }),
    }
}

/// Calls `take` for each argument that something is known of.
fn each<'a>(contents: &Contents<'a>, call: Option<&Call>, take: &mut dyn FnMut(u8, Text<'a>)) {
    let mut kernel_text = None;
    // Where the elements of an array stand: the argument, and the address of the next one.
    let mut array: Option<(u8, u64)> = None;
    let mut ended = false;
    let mut memory = Memory::default();
    for (role, value) in contents.iter() {
        match (role, value) {
            (Role::Text(arg), Value::Bytes(bytes)) => {
                if let Some(text) = string(bytes) {
                    take(arg, text);
                }
            }
            (Role::Data(_) | Role::Piece(_) | Role::Address(..) | Role::Vector(..) | Role::Length(_), value) => {
                memory.add(role, value, contents, call, take);
            }
            (Role::Pointer(arg), Value::Address(at)) => {
                ended |= at == 0;
                array = Some((arg, at));
            }
            (Role::Element(arg), value) if !ended => match (value, array) {
                (Value::Bytes(bytes), _) => take(arg, Text::Element { bytes, cut: false }),
                (_, Some((_, at))) => take(arg, Text::Unread(at)),
                _ => {}
            },
            (Role::KernelText, Value::Bytes(bytes)) => kernel_text = Some(bytes),
            (Role::UserPointer, Value::Address(from)) if from != 0 => {
                let (Some(bytes), Some(call)) = (kernel_text, call) else { continue };
                // Registers behind the last argument hold what they please, also this address.
                let Some(known) = syscalls::arguments(call.abi, call.nr, &call.args) else { continue };
                for argument in known.as_slice() {
                    if argument.kind == syscalls::kind::STR && argument.value == from {
                        take(argument.register, Text::String { bytes, cut: false });
                    }
                }
            }
            _ => {}
        }
    }
    if let (Some((arg, _)), false) = (array, ended) {
        take(arg, Text::MoreElements);
    }
}

impl Tracker {
    /// An event with contents of arguments.
    pub(super) fn contents(&mut self, cpu: CpuId, pid: Pid, contents: &Contents<'_>, steps: &mut dyn Steps) {
        let slot = self.tasks.slot(cpu, pid);
        let Some(task) = self.tasks.get_mut(slot) else { return };
        let state = &mut task.state;
        let inside = state.phase == Phase::Inside;
        match contents.nr {
            Some(nr) if !inside || nr != state.call.nr => self.early.add(pid, nr, contents),
            None if !inside => {}
            _ => {
                let call = state.call;
                each(contents, Some(&call), &mut |arg, text| state.tell(arg, text, steps));
            }
        }
    }
}

/// A program was executed: the event has the path that the open execve was given, whatever else the kernel can tell.
pub(super) fn path_of_exec(state: &mut State, filename: &[u8], steps: &mut dyn Steps) {
    let call = &state.call;
    if state.phase == Phase::Inside && is_exec(call.abi, call.nr) {
        let arg = u8::from(super::special::special(call.abi).execveat == call.nr);
        // execveat of a descriptor has an empty path, and the event a name that the kernel made of the descriptor.
        if arg == 0 {
            state.tell(arg, Text::String { bytes: filename, cut: false }, steps);
        }
    }
}
