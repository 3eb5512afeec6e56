// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `--mode count` in the kernel: histograms of `raw_syscalls`, or filters that let through only what has to be counted.
//!
//! A histogram sees what `set_event_pid` lets through, though its event is off: `trace_event_buffer_reserve` asks for the
//! task first, and a trigger that needs the record is called behind it (kernel/trace/trace_events.c,
//! trace_events_trigger.c). It is made paused. Where the runtime's own calls come first, the exec of the container's
//! program lets it go on in the kernel (`enable_hist`), so that not one call more or less is counted.

use super::event_filter::{push_compare, push_ranges, ranges};
use super::options::{Mode, RecordOptions};
use super::target::Target;
use crate::arch::{Abi, Arch};
use crate::error::Result;
use crate::ids::Pid;
use crate::recording::{ENTERS, TWICE};
use crate::syscalls::{number, SyscallList};
use crate::tracefs::Instance;

/// Condition of an exit with an error number, as the kernel's IS_ERR_VALUE.
pub(super) const FAILED: &str = "ret<0&&ret>=-4095";

/// Condition of what may be a new task's return from the call that made it.
pub(super) const ZERO: &str = "ret==0";

/// What a C library or Go's runtime calls first: the numbers of a machine's two ABIs have none in common, so the enter of
/// one tells which ABI the program is of.
pub(super) const STARTS: &str = "brk,set_tid_address,sched_getaffinity";

/// Beginning of a trigger. 1024 numbers are twice what any machine has calls; the kernel allocates them at once.
const HISTOGRAM: &str = "hist:keys=id:size=1024";

/// An event and the filter of what is counted of it.
type Counted = (&'static str, String);

/// How calls are counted.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// By histograms in the kernel; else from events.
    pub hist: bool,
    counted: Vec<Counted>,
    /// The process whose exec lets the histograms go on.
    starts_with: Option<Pid>,
}

/// A condition that the number is that of one of these calls in either ABI.
fn any_of(names: &str, arch: Arch) -> String {
    let mut text = String::new();
    for abi in [Some(arch.native_abi()), arch.compat_abi()].into_iter().flatten() {
        for name in names.split(',') {
            // i386's exit has the number of x86_64's write: ends of threads are not worth an event for each.
            if let (Some(nr), false) = (number(abi, name), arch == Arch::X86_64 && abi == Abi::I386 && name == "exit") {
                text.push_str(if text.is_empty() { "" } else { "||" });
                push_compare(&mut text, "==", nr);
            }
        }
    }
    text
}

/// The filters of enters, of exits, of failed ones and of second ones; an empty one lets everything through.
fn filters(list: Option<SyscallList>, arch: Arch) -> [String; 4] {
    let mut exits = String::new();
    if let Some(list) = list {
        push_ranges(&mut exits, &ranges(&[&list], arch));
    }
    let failed = if exits.is_empty() { FAILED.to_owned() } else { [FAILED, "&&(", &exits, ")"].concat() };
    // What lets through the enters of calls whose exits do not tell enough comes first.
    [any_of(ENTERS, arch), exits, failed, [ZERO, "&&(", &any_of(TWICE, arch), ")"].concat()]
}

/// A trigger's text, with a word that says what becomes of it.
fn trigger(counted: &Counted, word: &str) -> String {
    let (_, filter) = counted;
    [HISTOGRAM, word, if filter.is_empty() { "" } else { " if " }, filter].concat()
}

impl Plan {
    /// Prepares the instance, in which nothing is counted yet; also gives what the user should know.
    #[inline(never)]
    pub fn make(
        instance: &Instance,
        options: &RecordOptions,
        target: &Target,
        arch: Arch,
    ) -> Result<(Plan, Option<String>)> {
        let list = options.syscalls.as_ref().and_then(|text| SyscallList::parse(text, arch).ok());
        let [enters, exits, failed, second] = filters(list, arch);
        let mut counted = vec![("sys_enter", enters), ("sys_exit", failed)];
        if !options.errors_only {
            counted.extend([("sys_exit", second), ("sys_exit", exits)]);
        }
        let mut plan = Plan { hist: false, counted, starts_with: None };
        let mut note = None;
        if options.mode == Mode::Count && instance.has("events/raw_syscalls/sys_exit/hist") {
            match plan.make_histograms(instance, target) {
                Ok(without_start) => {
                    plan.hist = true;
                    return Ok((plan, without_start));
                }
                // They stay, paused, until the instance goes.
                Err(why) => {
                    note =
                        Some(["counted from events, for the kernel takes no histograms: ", &why.to_string()].concat())
                }
            }
        }
        if let (Some((_, enters)), true) = (plan.counted.first_mut(), arch.compat_abi().is_some()) {
            enters.push_str("||");
            enters.push_str(&any_of(STARTS, arch));
        }
        // One filter an event: the last stays.
        for (event, filter) in &plan.counted {
            let text = if filter.is_empty() { "0" } else { filter };
            instance.set_filter("raw_syscalls", event, text)?;
        }
        Ok((plan, note))
    }

    /// Makes the histograms, paused.
    fn make_histograms(&mut self, instance: &Instance, target: &Target) -> Result<Option<String>> {
        for counted in &self.counted {
            instance.add_trigger("raw_syscalls", counted.0, &trigger(counted, ":pause"))?;
        }
        if target.starts_in_runtime {
            for event in ["sys_enter", "sys_exit"] {
                let text = ["enable_hist:raw_syscalls:", event, " if pid==", &target.init_pid.to_string()].concat();
                if let Err(why) = instance.add_trigger("sched", "sched_process_exec", &text) {
                    return Ok(Some(
                        ["calls of the container's runtime are counted, too: ", &why.to_string()].concat(),
                    ));
                }
            }
            self.starts_with = Some(target.init_pid);
        }
        Ok(None)
    }

    /// The means as meta.json tells it.
    pub fn means(&self) -> &'static str {
        if self.hist {
            "hist"
        } else {
            "events"
        }
    }

    /// Has the counting begin, once the tasks are known to the kernel.
    pub fn switch_on(&self, instance: &Instance) -> Result<()> {
        if !self.hist {
            return instance.enable_event("raw_syscalls", "", true);
        }
        if self.starts_with.is_none() {
            for counted in &self.counted {
                instance.add_trigger("raw_syscalls", counted.0, &trigger(counted, ":cont"))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_calls_tell_the_abis_apart_by_their_numbers() {
        for arch in [Arch::X86_64, Arch::Aarch64] {
            let numbers = |abi| STARTS.split(',').map(move |name| number(abi, name));
            let native: Vec<_> = numbers(arch.native_abi()).collect();
            assert!(native.iter().all(Option::is_some));
            assert!(numbers(arch.compat_abi().unwrap()).all(|nr| nr.is_some() && !native.contains(&nr)), "{arch:?}");
        }
    }

    #[test]
    fn enters_are_counted_where_exits_do_not_tell_and_never_those_of_write() {
        let enters = |arch| any_of(ENTERS, arch);
        assert_eq!(enters(Arch::X86_64), "id==60||id==231||id==15||id==252||id==119||id==173");
        assert_eq!(enters(Arch::Aarch64), "id==93||id==94||id==139||id==1||id==248||id==119||id==173");
        assert_eq!(enters(Arch::X86), "id==1||id==252||id==119||id==173");
    }

    #[test]
    fn a_list_is_a_condition_of_both_histograms_of_exits() {
        let list = SyscallList::parse("openat,close", Arch::Aarch64).unwrap();
        let [_, exits, failed, second] = filters(Some(list), Arch::Aarch64);
        assert!(exits.contains("id==56") || exits.contains("id>=56"), "{exits}");
        assert_eq!(failed, format!("ret<0&&ret>=-4095&&({exits})"));
        assert_eq!(filters(None, Arch::Aarch64)[1..3], ["", "ret<0&&ret>=-4095"]);
        assert_eq!(
            trigger(&("sys_exit", failed), ":pause"),
            format!("{HISTOGRAM}:pause if ret<0&&ret>=-4095&&({exits})")
        );
        assert_eq!(second, "ret==0&&(id==220||id==435||id==120||id==435||id==2||id==190)");
        assert_eq!(trigger(&("sys_exit", String::new()), ""), HISTOGRAM);
    }
}
