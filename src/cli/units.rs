// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Sizes and times as people write and read them.

use crate::recorder::{DATA_MAX, DATA_MIN};

/// A way to write numbers: digits and a unit.
pub struct Scale {
    /// Units and their factors.
    pub units: &'static [(&'static str, u64)],
    /// Whether capitals mean the same: `5M` is 5 MiB, but of minutes and months nobody could tell which.
    pub capitals: bool,
    /// Smallest and largest value.
    pub range: (u64, u64),
    /// What is said of a text that is none.
    pub wrong: &'static str,
}

/// `256M`, `64k`, `1G`, `4096`: binary units, upper or lower case.
pub const SIZE: Scale = Scale {
    units: &[
        ("", 1),
        ("b", 1),
        ("k", 1 << 10),
        ("kb", 1 << 10),
        ("kib", 1 << 10),
        ("m", 1 << 20),
        ("mb", 1 << 20),
        ("mib", 1 << 20),
        ("g", 1 << 30),
        ("gb", 1 << 30),
        ("gib", 1 << 30),
    ],
    capitals: true,
    range: (0, u64::MAX),
    wrong: "is not a size; write bytes, or a number with K, M or G behind it",
};

/// `90`, `90s`, `15m`, `2h`, `7d`: to seconds.
pub const TIME: Scale = Scale {
    units: &[("", 1), ("s", 1), ("m", 60), ("min", 60), ("h", 3600), ("d", 86_400)],
    capitals: false,
    range: (0, u64::MAX),
    wrong: "is not a time; write seconds, or a number with s, m, h or d behind it",
};

/// Bytes of each buffer.
pub const DATA: Scale = Scale {
    units: &[("", 1)],
    capitals: false,
    range: (DATA_MIN, DATA_MAX),
    wrong: "is no number of bytes from 8 to 512",
};

impl Scale {
    /// The number that `text` means.
    pub fn parse(&self, text: &str) -> Option<u64> {
        let (digits, unit) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
        let number = crate::words::number(digits)?;
        let (_, factor) =
            self.units.iter().find(|(name, _)| *name == unit || (self.capitals && name.eq_ignore_ascii_case(unit)))?;
        let value = number.checked_mul(*factor)?;
        (self.range.0 <= value && value <= self.range.1).then_some(value)
    }
}

/// `value` in units of `unit` with one digit behind the point, rounded to the nearest, halves to the even one.
fn tenths(value: u64, unit: u64) -> (u64, u64) {
    let (whole, rest) = (value / unit, value % unit * 10);
    let (mut tenths, rest) = (whole * 10 + rest / unit, rest % unit * 2);
    if rest > unit || (rest == unit && tenths % 2 == 1) {
        tenths += 1;
    }
    (tenths / 10, tenths % 10)
}

/// `812 B`, `4.2 KiB`, `1.3 GiB`.
pub fn show_size(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let (mut shift, mut unit) = (10, "KiB");
    for next in ["MiB", "GiB", "TiB"] {
        if bytes >> shift < 1024 {
            break;
        }
        shift += 10;
        unit = next;
    }
    let (whole, tenth) = tenths(bytes, 1 << shift);
    format!("{whole}.{tenth} {unit}")
}

/// `840 ms`, `3.2 s`, `4 min 10 s`, `2 h 5 min`, `3 d 4 h`.
pub fn show_duration(ns: u64) -> String {
    let seconds = ns / 1_000_000_000;
    let (large, large_unit, small, small_unit) = match seconds {
        0 => return format!("{} ms", ns / 1_000_000),
        1..=59 => {
            let (whole, tenth) = tenths(ns, 1_000_000_000);
            return format!("{whole}.{tenth} s");
        }
        60..=3599 => (seconds / 60, "min", seconds % 60, "s"),
        3600..=86_399 => (seconds / 3600, "h", seconds / 60 % 60, "min"),
        _ => (seconds / 86_400, "d", seconds / 3600 % 24, "h"),
    };
    format!("{large} {large_unit} {small} {small_unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_read() {
        assert_eq!(SIZE.parse("256M"), Some(256 << 20));
        assert_eq!(SIZE.parse("64k"), Some(64 << 10));
        assert_eq!(SIZE.parse("1GiB"), Some(1 << 30));
        assert_eq!(SIZE.parse("4096"), Some(4096));
        for wrong in ["", "M", "1T", "-1", "1.5G", "99999999999G", "99999999999999999999", "1 k", "1é"] {
            assert_eq!(SIZE.parse(wrong), None, "{wrong}");
        }
        assert_eq!(TIME.parse("90"), Some(90));
        assert_eq!(TIME.parse("2h"), Some(7200));
        assert_eq!(TIME.parse("2w"), None);
        assert_eq!(TIME.parse("5M"), None);
        let narrow = Scale { units: &[("", 1)], capitals: false, range: (128, 256), wrong: "" };
        assert_eq!(["127", "128", "256", "257"].map(|text| narrow.parse(text)), [None, Some(128), Some(256), None]);
    }

    #[test]
    fn sizes_and_times_are_shown_in_their_units() {
        assert_eq!(show_size(1023), "1023 B");
        assert_eq!(show_size(4300), "4.2 KiB");
        assert_eq!(show_size(256 << 20), "256.0 MiB");
        assert_eq!(show_duration(840_000_000), "840 ms");
        assert_eq!(show_duration(3_200_000_000), "3.2 s");
        assert_eq!(show_duration(250_000_000_000), "4 min 10 s");
        assert_eq!(show_duration(7_500_000_000_000), "2 h 5 min");
        assert_eq!(show_duration(273_600_000_000_000), "3 d 4 h");
    }

    #[test]
    fn the_digit_behind_the_point_is_rounded_as_the_standard_library_does() {
        // Exact in binary, so that halves are halves for both.
        for bytes in (1024..3 << 10).chain((1 << 20)..(1 << 20) + 3000).chain([(1 << 20) - 1, (1 << 40) - 1, 1 << 52]) {
            let (mut value, mut unit) = (bytes as f64 / 1024.0, "KiB");
            for next in ["MiB", "GiB", "TiB"] {
                if value >= 1024.0 {
                    (value, unit) = (value / 1024.0, next);
                }
            }
            assert_eq!(show_size(bytes), format!("{value:.1} {unit}"), "{bytes}");
        }
        assert_eq!(show_size((1 << 20) - 1), "1024.0 KiB");
        assert_eq!(show_size(u64::MAX), "16777216.0 TiB");
        for ns in
            [1_000_000_000, 1_049_999_999, 1_050_000_001, 1_250_000_000, 1_750_000_000, 59_949_999_999, 59_999_999_999]
        {
            assert_eq!(show_duration(ns), format!("{:.1} s", ns as f64 / 1e9), "{ns}");
        }
    }
}
