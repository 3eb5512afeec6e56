// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Sizes and times as people write and read them.

/// `256M`, `64k`, `1G`, `4096`: binary units, upper or lower case.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a size; write bytes, or a number with K, M or G behind it");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let factor: u64 = match text.get(digits.len()..).unwrap_or_default().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        _ => return Err(wrong()),
    };
    number.checked_mul(factor).ok_or_else(wrong)
}

/// `90`, `90s`, `15m`, `2h`, `7d`: to seconds.
pub fn parse_time(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a time; write seconds, or a number with s, m, h or d behind it");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let factor: u64 = match text.get(digits.len()..).unwrap_or_default() {
        "" | "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    number.checked_mul(factor).ok_or_else(wrong)
}

/// `812 B`, `4.2 KiB`, `1.3 GiB`.
pub fn show_size(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    if unit == "B" {
        format!("{bytes} B")
    } else {
        format!("{value:.1} {unit}")
    }
}

/// `840 ms`, `3.2 s`, `4 min 10 s`, `2 h 5 min`, `3 d 4 h`.
pub fn show_duration(ns: u64) -> String {
    let seconds = ns / 1_000_000_000;
    match seconds {
        0 => format!("{} ms", ns / 1_000_000),
        1..=59 => format!("{:.1} s", ns as f64 / 1e9),
        60..=3599 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..=86_399 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_read() {
        assert_eq!(parse_size("256M"), Ok(256 << 20));
        assert_eq!(parse_size("64k"), Ok(64 << 10));
        assert_eq!(parse_size("4096"), Ok(4096));
        for wrong in ["", "M", "1T", "-1", "1.5G", "99999999999G"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_time("90"), Ok(90));
        assert_eq!(parse_time("2h"), Ok(7200));
        assert!(parse_time("2w").is_err());
    }

    #[test]
    fn sizes_and_times_are_shown_in_their_units() {
        assert_eq!(show_size(1023), "1023 B");
        assert_eq!(show_size(4300), "4.2 KiB");
        assert_eq!(show_size(256 << 20), "256.0 MiB");
        assert_eq!(show_duration(840_000_000), "840 ms");
        assert_eq!(show_duration(3_200_000_000), "3.2 s");
        assert_eq!(show_duration(7_500_000_000_000), "2 h 5 min");
    }
}
