// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the user may choose about a recording, with units and defaults.

use std::path::PathBuf;

use super::strings::Strings;
use crate::recording::OptionsMeta;

/// How the ring buffer is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Drain all the time.
    #[default]
    Continuous,
    /// Keep the newest in kernel memory; save it at the end or on demand.
    Flight,
    /// As continuous, but of each call only the first ones: the kernel's filter leaves out what is known.
    Profile,
    /// Only count calls, by the kernel's histograms where it has them.
    Count,
    /// Only count calls, by their events also where the kernel has histograms.
    CountEvents,
}

impl Mode {
    /// All of them.
    const ALL: [Mode; 5] = [Mode::Continuous, Mode::Flight, Mode::Profile, Mode::Count, Mode::CountEvents];

    /// The option's value.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Continuous => "continuous",
            Mode::Flight => "flight",
            Mode::Profile => "profile",
            Mode::Count => "count",
            Mode::CountEvents => "count-events",
        }
    }

    /// The inverse of [`Mode::name`].
    pub fn from_name(name: &str) -> Option<Mode> {
        Mode::ALL.into_iter().find(|mode| mode.name() == name)
    }

    /// Whether calls are counted and not stored.
    pub fn counts(self) -> bool {
        matches!(self, Mode::Count | Mode::CountEvents)
    }
}

/// Default of `--max-size`, in bytes.
pub const MAX_SIZE_DEFAULT: u64 = 256 << 20;

/// Where recordings lie by default.
pub const DIR_DEFAULT: &str = "/var/lib/ftrace-analyzer";

/// Options of one recording.
#[derive(Clone, Debug)]
pub struct RecordOptions {
    /// How the ring buffer is used.
    pub mode: Mode,
    /// Ring buffer per CPU in KiB; `None` is the kernel's own size (1408 on all kernels so far), less on small machines.
    pub buffer_size_kb: Option<u64>,
    /// Limit of the recording in bytes; 0 is none.
    pub max_size: u64,
    /// Limit of its age in seconds; 0 is none.
    pub max_age_s: u64,
    /// Which calls, as [`crate::syscalls::SyscallList`] reads it; `None` is all.
    pub syscalls: Option<String>,
    /// Only calls that fail.
    pub errors_only: bool,
    /// Label; `None` is the container's id or the command's name.
    pub name: Option<String>,
    /// How contents of string arguments are got.
    pub strings: Strings,
    /// Bytes of each buffer that are recorded; 0 is none.
    pub data: u64,
    /// Where recordings lie.
    pub dir: PathBuf,
}

impl Default for RecordOptions {
    fn default() -> Self {
        RecordOptions {
            mode: Mode::Continuous,
            buffer_size_kb: None,
            max_size: MAX_SIZE_DEFAULT,
            max_age_s: 0,
            syscalls: None,
            errors_only: false,
            name: None,
            strings: Strings::Auto,
            data: 0,
            dir: PathBuf::from(DIR_DEFAULT),
        }
    }
}

impl RecordOptions {
    /// As they stand in meta.json; the buffer's size is what the kernel reports.
    pub fn to_meta(&self, buffer_size_kb: u64) -> OptionsMeta {
        OptionsMeta {
            mode: if self.mode.counts() { Mode::Count } else { self.mode }.name().to_owned(),
            buffer_size_kb,
            max_size: self.max_size,
            max_age_s: self.max_age_s,
            syscalls: self.syscalls.clone().unwrap_or_default(),
            errors_only: self.errors_only,
            strings: String::new(),
            data: self.data,
            data_means: String::new(),
            counted_by: String::new(),
        }
    }
}
