// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How the contents of string arguments get into the recording: the best means that this kernel has.
//!
//! Three means, best first (docs/kernel-support.md has the measurements):
//! - strings inside the events of `syscalls` (6.19 and later): of native calls, at most 165 bytes, what does not print
//!   replaced by dots;
//! - the kernel's own copy of each path, by a probe on the return of `getname_flags`: complete, of 32-bit programs too,
//!   never missed because a page is not there yet. From 7.0 on the copy does not tell where it came from;
//! - probes on the events of `syscalls` (5.15 and later): strings whose pages are there. On 6.1 they read none
//!   (`get_event_field` takes one byte of the address), which is why they come last.
//!
//! The arguments of execve come by a probe on its event, with their addresses.

use crate::arch::kernel_version;
use crate::error::Result;
use crate::format::{parse_event, EventFormat};
use crate::proc;
use crate::recording::Formats;
use crate::tracefs::{Instance, ProbeLock, Tracefs, PROBE_GROUP};
use crate::words::split_once;

use super::buffers;

/// `--strings`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strings {
    /// The best there is.
    #[default]
    Auto,
    /// None.
    Off,
    /// The kernel's copies, or none.
    Copies,
    /// Strings inside events, or none.
    Events,
    /// Probes on events, or none.
    Probes,
}

impl Strings {
    const NAMES: [(Strings, &'static str); 5] = [
        (Strings::Auto, "auto"),
        (Strings::Off, "off"),
        (Strings::Copies, "copies"),
        (Strings::Events, "events"),
        (Strings::Probes, "probes"),
    ];

    /// The option's value.
    pub fn name(self) -> &'static str {
        Strings::NAMES.into_iter().find(|(strings, _)| *strings == self).map_or("off", |(_, name)| name)
    }

    /// The inverse of [`Strings::name`].
    pub fn from_name(name: &str) -> Option<Strings> {
        Strings::NAMES.into_iter().find(|(_, known)| *known == name).map(|(strings, _)| strings)
    }
}

/// Most bytes of a string that the kernel takes into an event, and what we ask for (kernel/trace/trace.c).
const EVENT_STRING_MAX: &str = "165";

/// Calls with strings, by the names of their events. Not those whose strings are buffers, or filled in by the call.
const CALLS: &str =
    "access acct add_key chdir chmod chown chown16 chroot creat delete_module execve execveat faccessat \
    faccessat2 fanotify_mark fchmodat fchmodat2 fchownat fgetxattr finit_module fremovexattr fsconfig fsetxattr fsopen \
    fspick futimesat futimesat_time32 getxattr getxattrat init_module inotify_add_watch lchown lchown16 lgetxattr link \
    linkat listxattr listxattrat llistxattr lremovexattr lsetxattr memfd_create mkdir mkdirat mknod mknodat mount \
    mount_setattr move_mount mq_open mq_unlink name_to_handle_at newfstatat newlstat newstat open open_tree \
    open_tree_attr openat openat2 pivot_root quotactl readlink readlinkat removexattr removexattrat rename renameat \
    renameat2 request_key rmdir setdomainname sethostname setxattr setxattrat statfs statfs64 statx swapoff swapon \
    symlink symlinkat truncate truncate64 umount unlink unlinkat utime utimensat utimensat_time32 utimes utimes_time32";

fn calls() -> impl Iterator<Item = &'static str> {
    CALLS.split(' ').filter(|call| !call.is_empty())
}

/// Strings of execve's array that are recorded.
const ARGV_MAX: usize = 12;

/// What was set up. The lock is held until the events are on.
#[derive(Debug)]
pub(super) struct Prepared {
    /// The means, as meta.json names it; `none` where there is none.
    pub means: &'static str,
    /// The means for buffers; empty where they were not asked for.
    pub data_means: &'static str,
    /// System and name of the events to switch on.
    events: Vec<(&'static str, String)>,
    lock: Option<ProbeLock>,
}

/// In meta.json where the kernel has no means.
pub(super) const NONE: &str = "none";

impl Default for Prepared {
    fn default() -> Self {
        Prepared { means: NONE, data_means: "", events: Vec::new(), lock: None }
    }
}

impl Prepared {
    /// Sets up what `strings` asks for, as far as the kernel can. `long_size` is that of the kernel's words, in bytes.
    pub fn set_up(&mut self, tracefs: &Tracefs, instance: &Instance, strings: Strings, long_size: u8) -> Result<()> {
        if strings == Strings::Off {
            self.means = Strings::Off.name();
            return Ok(());
        }
        let wants = |means| strings == means || strings == Strings::Auto;
        let in_events = instance.has("syscall_user_buf_size");
        self.lock = Some(ProbeLock::take(tracefs)?);
        // Its own help names event probes where it has none, too (6.18 without CONFIG_EPROBE_EVENTS).
        let event_probes = define_argv_probe(tracefs, "execve", 1, long_size);
        if wants(Strings::Events) && in_events {
            self.means = Strings::Events.name();
            instance.set_string_size(EVENT_STRING_MAX)?;
            for call in calls() {
                let name = format!("sys_enter_{call}");
                if instance.has(&format!("events/syscalls/{name}")) {
                    self.events.push(("syscalls", name));
                }
            }
        } else if wants(Strings::Copies) && define_path_probe(tracefs, long_size) {
            self.means = Strings::Copies.name();
            self.events.push((PROBE_GROUP, "path".to_owned()));
        } else if wants(Strings::Probes) && event_probes {
            self.means = Strings::Probes.name();
            for call in calls() {
                if define_event_probe(tracefs, instance, call) {
                    self.events.push((PROBE_GROUP, call.to_owned()));
                }
            }
        } else {
            return Ok(());
        }
        if event_probes {
            define_argv_probe(tracefs, "execveat", 2, long_size);
            self.events.extend(["execve", "execveat"].map(|call| (PROBE_GROUP, argv_name(call))));
        }
        Ok(())
    }

    /// Sets up what `--data` asks for, as far as the kernel can: `bytes` of each buffer.
    pub fn set_up_data(&mut self, tracefs: &Tracefs, bytes: u64, long_size: u8) -> Result<()> {
        if self.lock.is_none() && tracefs.has_kprobes() {
            self.lock = Some(ProbeLock::take(tracefs)?);
        }
        let (means, names) = buffers::define(tracefs, bytes, long_size);
        self.data_means = means;
        self.events.extend(names.into_iter().map(|name| (PROBE_GROUP, name)));
        Ok(())
    }

    /// Adds the events' descriptions; an event without one is left out.
    pub fn describe(&mut self, instance: &Instance, formats: &mut Formats) {
        self.events.retain(|(system, name)| {
            let path = format!("events/{system}/{name}/format");
            let text = instance.read(&path);
            if let Ok(text) = &text {
                formats.push(&path, text);
            }
            text.is_ok()
        });
    }

    /// Switches the events on. One that cannot be leaves its calls with addresses.
    pub fn switch_on(&self, instance: &Instance) {
        for (system, name) in &self.events {
            let _ = instance.enable_event(system, name, true);
        }
    }
}

/// The function that copies a path: GCC splits most of it off, and what calls it goes there by itself.
const COPIERS: [&str; 2] = ["getname_flags.part.0", "getname_flags"];

/// First kernel whose copies do not say where they came from (struct filename lost its `uptr`).
const COPIES_WITHOUT_ADDRESS: (u32, u32) = (7, 0);

/// How many tasks may be in it at once; it waits for pages and memory. One more is not told.
const COPIERS_ACTIVE: u32 = 256;

fn define_path_probe(tracefs: &Tracefs, long_size: u8) -> bool {
    if tracefs.has_probe("path") {
        return true;
    }
    let (_, _, release, ..) = proc::uname();
    kernel_version(&release) < COPIES_WITHOUT_ADDRESS
        && tracefs.has_kprobes()
        && COPIERS.into_iter().any(|function| {
            // struct filename begins with the copy's address and that of the original.
            let definition = format!(
                "r{COPIERS_ACTIVE}:{PROBE_GROUP}/path {function} \
                 kernel_text=+0(+0($retval)):string user_pointer=+{long_size}($retval):u{}",
                u32::from(long_size) * 8
            );
            tracefs.define(&definition).is_ok()
        })
}

/// A probe on the event of a call, with a field for each string argument. False where there is nothing to probe.
fn define_event_probe(tracefs: &Tracefs, instance: &Instance, call: &str) -> bool {
    if tracefs.has_probe(call) {
        return true;
    }
    let Ok(text) = instance.read(&format!("events/syscalls/sys_enter_{call}/format")) else { return false };
    let Ok(format) = parse_event(&text) else { return false };
    let fields = string_fields(&format, &text);
    !fields.is_empty()
        && tracefs
            .define(&format!("e:{PROBE_GROUP}/{call} syscalls.sys_enter_{call} nr=$__syscall_nr:s32{fields}"))
            .is_ok()
}

/// ` s1=+0($filename):ustring` for each argument that is a `const char *`, but for lists that the call fills in.
fn string_fields(format: &EventFormat<'_>, text: &str) -> String {
    let mut fields = String::new();
    let arguments = format.fields().skip_while(|(name, _)| *name != "__syscall_nr").skip(1);
    for (arg, (name, _)) in arguments.enumerate() {
        if split_once(text, &format!("field:const char * {name};")).is_some() && name != "list" {
            fields.push_str(&format!(" s{arg}=+0(${name}):ustring"));
        }
    }
    fields
}

fn argv_name(call: &str) -> String {
    format!("argv_{call}")
}

/// A probe on the event of execve, or of its like, for the strings of its array, each with its address. False where the
/// kernel has no probes on events.
fn define_argv_probe(tracefs: &Tracefs, call: &str, arg: u8, long_size: u8) -> bool {
    let name = argv_name(call);
    if tracefs.has_probe(&name) {
        return true;
    }
    let bits = u32::from(long_size) * 8;
    let mut definition = format!("e:{PROBE_GROUP}/{name} syscalls.sys_enter_{call} nr=$__syscall_nr:s32");
    for element in 0..ARGV_MAX {
        let at = element * usize::from(long_size);
        definition
            .push_str(&format!(" p{arg}_{element}=+u{at}($argv):u{bits} e{arg}_{element}=+u0(+u{at}($argv)):ustring"));
    }
    tracefs.define(&definition).is_ok()
}

/// What [`Strings::Auto`] would take here, and whether the arguments of execve would come. Probes are defined to see
/// whether they can be, and taken away at once. `long_size` is that of the kernel's words, in bytes.
pub fn best_strings(tracefs: &Tracefs, long_size: u8) -> Result<(&'static str, bool)> {
    if !tracefs.has_probe_definitions() {
        return Ok((if tracefs.has_event_strings() { Strings::Events.name() } else { NONE }, false));
    }
    let lock = ProbeLock::take(tracefs)?;
    let event_probes = define_argv_probe(tracefs, "execve", 1, long_size);
    let best = if tracefs.has_event_strings() {
        Strings::Events.name()
    } else if define_path_probe(tracefs, long_size) {
        Strings::Copies.name()
    } else if event_probes {
        Strings::Probes.name()
    } else {
        NONE
    };
    tracefs.remove_probes();
    drop(lock);
    Ok((best, event_probes))
}

/// Removes the probes that no recorder uses any more. Where somebody starts or ends just now, it is for them to do.
pub(super) fn release(tracefs: &Tracefs) {
    if tracefs.has_event_system(PROBE_GROUP) {
        if let Ok(_lock) = ProbeLock::take(tracefs) {
            tracefs.remove_probes();
        }
    }
}
