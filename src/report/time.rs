// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Times of the trace clock as wall-clock times, written and read.
//!
//! Times are UTC unless the caller gives an offset: the local zone is the C library's knowledge (or /etc/localtime's),
//! and a recording is often read in another zone than it was made in.

use crate::calendar::Utc;
use crate::error::{Error, Result};
use crate::ids::Timestamp;
use crate::json::push_u64;
use crate::recording::{Clock, Meta};
use crate::words::quoted;

use super::out::push_padded;

const SECOND: u64 = 1_000_000_000;
const DAY: u64 = 86_400;

/// Day number since 1970 of a date.
fn days(year: i64, month: u32, day: u32) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let yoe = year.rem_euclid(400);
    let mp = i64::from((month + 9) % 12);
    let doy = (153 * mp + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468
}

/// Writes times of day; what changes once a second is kept from one to the next.
#[derive(Clone, Debug)]
pub struct TimeOfDay {
    clock: Clock,
    utc_offset_s: i32,
    second: u64,
    text: [u8; 15],
}

impl TimeOfDay {
    /// Times of `clock` in the zone that is `utc_offset_s` seconds east of Greenwich.
    pub fn new(clock: Clock, utc_offset_s: i32) -> TimeOfDay {
        TimeOfDay { clock, utc_offset_s, second: u64::MAX, text: *b"00:00:00.000000" }
    }

    /// Appends `HH:MM:SS.micros`.
    #[inline]
    pub fn push(&mut self, out: &mut Vec<u8>, ts: Timestamp) {
        self.push_real(out, self.clock.realtime(ts));
    }

    /// The same for nanoseconds since 1970.
    #[inline]
    pub fn push_real(&mut self, out: &mut Vec<u8>, real: u64) {
        let second = real / SECOND;
        if second != self.second {
            self.second = second;
            self.set_prefix();
        }
        let mut micros = (real % SECOND / 1000) as u32;
        for place in self.text.iter_mut().rev().take(6) {
            *place = b'0' + (micros % 10) as u8;
            micros /= 10;
        }
        out.extend_from_slice(&self.text);
    }

    #[cold]
    fn set_prefix(&mut self) {
        let local = self.second.saturating_add_signed(i64::from(self.utc_offset_s));
        let of_day = local % DAY;
        let digit = |value: u64| b'0' + (value % 10) as u8;
        let (h, m, s) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        let d = digit;
        for (place, value) in self.text.iter_mut().zip([d(h / 10), d(h), b':', d(m / 10), d(m), b':', d(s / 10), d(s)])
        {
            *place = value;
        }
    }
}

/// Appends `2025-11-23 09:24:53 UTC` for nanoseconds since 1970.
pub fn push_date(out: &mut Vec<u8>, realtime: u64, utc_offset_s: i32) {
    let local = (realtime / SECOND).saturating_add_signed(i64::from(utc_offset_s));
    let date = Utc::from_unix(local);
    let (hour, minute, second) = date.clock();
    push_padded(out, date.year, 4);
    for (sign, value) in [(b'-', date.month), (b'-', date.day), (b' ', hour), (b':', minute), (b':', second)] {
        out.push(sign);
        push_padded(out, value, 2);
    }
    push_zone(out, utc_offset_s);
}

/// Appends ` UTC` or ` +05:30`.
fn push_zone(out: &mut Vec<u8>, utc_offset_s: i32) {
    if utc_offset_s == 0 {
        out.extend_from_slice(b" UTC");
        return;
    }
    out.extend_from_slice(if utc_offset_s < 0 { b" -" } else { b" +" });
    let minutes = u64::from(utc_offset_s.unsigned_abs() / 60);
    push_padded(out, minutes / 60, 2);
    out.push(b':');
    push_padded(out, minutes % 60, 2);
}

/// Appends a span for people: `3.2 s`, `2 h 5 min`.
pub fn push_span(out: &mut Vec<u8>, ns: u64) {
    let seconds = ns / SECOND;
    let mut pair = |big: u64, big_unit: &[u8], small: u64, small_unit: &[u8]| {
        push_u64(out, big);
        out.extend_from_slice(big_unit);
        push_u64(out, small);
        out.extend_from_slice(small_unit);
    };
    match seconds {
        0..=59 => pair(seconds, b".", ns % SECOND / 100_000_000, b" s"),
        60..=3599 => pair(seconds / 60, b" min ", seconds % 60, b" s"),
        3600..=86_399 => pair(seconds / 3600, b" h ", seconds / 60 % 60, b" min"),
        _ => pair(seconds / DAY, b" d ", seconds / 3600 % 24, b" h"),
    }
}

/// A decimal number with up to nine digits behind the point: what stands before it, and a multiple of 10^-9.
fn decimal(text: &[u8]) -> Option<(u64, u64)> {
    let (mut whole, mut nanos, mut unit) = (0u64, 0, None);
    for byte in text {
        match (byte, unit) {
            (b'.', None) => unit = Some(SECOND),
            (b'0'..=b'9', None) => whole = whole.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?,
            // Ten times too small a unit for a tenth digit: nothing fits it any more.
            (b'0'..=b'9', Some(above)) if above > 1 => {
                nanos += above / 10 * u64::from(byte - b'0');
                unit = Some(above / 10);
            }
            _ => return None,
        }
    }
    text.first().filter(|first| first.is_ascii_digit()).map(|_| (whole, nanos))
}

/// Units of durations in nanoseconds, each before one that it ends with.
static UNITS: [(&str, u64); 7] = [
    ("ns", 1),
    ("us", 1000),
    ("ms", 1_000_000),
    ("min", 60 * SECOND),
    ("s", SECOND),
    ("m", 60 * SECOND),
    ("h", 3600 * SECOND),
];

/// Reads a duration, `1.5s`, `20ms`, `300us`, `5m`, `2h`; a bare number is seconds. Nanoseconds.
pub fn parse_duration(text: &str) -> Result<u64> {
    let (number, unit) = UNITS
        .iter()
        .find_map(|(name, ns)| text.strip_suffix(name).map(|number| (number, *ns)))
        .unwrap_or((text, SECOND));
    // Units are parts of a second or multiples of it.
    let part = |nanos: u64| if unit < SECOND { nanos * unit / SECOND } else { nanos * (unit / SECOND) };
    decimal(number.as_bytes())
        .and_then(|(whole, nanos)| whole.checked_mul(unit)?.checked_add(part(nanos)))
        .ok_or_else(|| Error::usage(quoted(text) + " is no duration").hint("write 1.5s, 20ms, 300us, 5m or 2h"))
}

/// Two digits and what follows.
fn two(text: &[u8]) -> Option<(u32, &[u8])> {
    match text {
        [tens @ b'0'..=b'9', ones @ b'0'..=b'9', rest @ ..] => {
            Some((u32::from(tens - b'0') * 10 + u32::from(ones - b'0'), rest))
        }
        _ => None,
    }
}

/// Two digits behind one of the bytes in `marks`, and what follows.
fn two_behind<'a>(marks: &[u8], text: &'a [u8]) -> Option<(u32, &'a [u8])> {
    let (mark, rest) = text.split_first()?;
    two(rest).filter(|_| marks.contains(mark))
}

/// Seconds of the day and nanoseconds of `HH:MM:SS[.frac]`, and what follows.
fn time_of_day(text: &[u8]) -> Option<(u64, &[u8])> {
    let (hours, rest) = two(text)?;
    let (minutes, rest) = two_behind(b":", rest)?;
    let (seconds, fraction) = two_behind(b":", rest)?;
    let end = fraction.iter().position(|byte| !byte.is_ascii_digit() && *byte != b'.').unwrap_or(fraction.len());
    let digits = rest.get(1..3 + end)?;
    let (_, nanos) = decimal(digits)?;
    if hours > 23 || minutes > 59 || seconds > 60 || fraction.first().is_some_and(u8::is_ascii_digit) {
        return None;
    }
    Some((u64::from(hours * 3600 + minutes * 60 + seconds) * SECOND + nanos, fraction.get(end..)?))
}

/// Nanoseconds since 1970 of an RFC 3339 time; `None` if it is not one. Without a zone it is in that of `utc_offset_s`.
pub fn parse_rfc3339(text: &str, utc_offset_s: i32) -> Option<u64> {
    rfc3339_prefix(text.as_bytes(), Some(utc_offset_s)).filter(|(_, rest)| rest.is_empty()).map(|(real, _)| real)
}

/// Nanoseconds since 1970 of the RFC 3339 time that a text begins with, and what follows. Without a zone it is in that of
/// `utc_offset_s`, and none where that is not given.
#[inline(never)]
pub fn rfc3339_prefix(text: &[u8], utc_offset_s: Option<i32>) -> Option<(u64, &[u8])> {
    let (century, rest) = two(text)?;
    let (year, rest) = two(rest)?;
    let year = i64::from(century * 100 + year);
    let (month, rest) = two_behind(b"-", rest)?;
    let (day, rest) = two_behind(b"-", rest)?;
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || year < 1970 {
        return None;
    }
    let (_, rest) = rest.split_first().filter(|(mark, _)| b"Tt ".contains(mark))?;
    let (nanos, zone) = time_of_day(rest)?;
    let (offset, rest) = match zone {
        [b'Z' | b'z', rest @ ..] => (0, rest),
        [sign @ (b'+' | b'-'), rest @ ..] => {
            let (hours, rest) = two(rest)?;
            let (minutes, rest) = two_behind(b":", rest).or_else(|| two(rest))?;
            let seconds = i64::from(hours * 3600 + minutes * 60);
            (if *sign == b'-' { -seconds } else { seconds }, rest)
        }
        rest => (i64::from(utc_offset_s?), rest),
    };
    let midnight = days(year, month, day).checked_mul(DAY as i64)?.checked_sub(offset)?;
    let real = u64::try_from(i128::from(midnight) * i128::from(SECOND) + i128::from(nanos)).ok()?;
    Some((real, rest))
}

/// Reads `--since` and `--until`: a duration from the recording's start (`1.5s`), a time of day (`HH:MM:SS[.frac]`, the
/// first one at or after the start's second), or RFC 3339. Gives the trace clock's time.
pub fn parse_time(text: &str, meta: &Meta, utc_offset_s: i32) -> Result<Timestamp> {
    let clock = Clock::new(meta);
    let start = meta.anchors.first().copied().unwrap_or_default();
    if let Some(real) = parse_rfc3339(text, utc_offset_s) {
        return Ok(clock.trace_time(real));
    }
    if let Some((nanos, [])) = time_of_day(text.as_bytes()) {
        let offset = i64::from(utc_offset_s);
        let start_second = (start.realtime_ns / SECOND).saturating_add_signed(offset);
        let mut real = (start_second - start_second % DAY) * SECOND + nanos;
        if real / SECOND < start_second {
            real += DAY * SECOND;
        }
        return Ok(clock.trace_time(real.saturating_add_signed(-offset * SECOND as i64)));
    }
    match parse_duration(text) {
        Ok(since) => Ok(start.trace_ns.saturating_add(since)),
        Err(_) => Err(Error::usage(quoted(text) + " is no time")
            .hint("write 1.5s (from the start), 09:24:53.5 or 2025-11-23T09:24:53Z")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::Anchor;

    /// 2025-11-23T09:24:53.5Z
    const START: u64 = 1_763_889_893_500_000_000;

    fn meta() -> Meta {
        Meta { anchors: vec![Anchor { trace_ns: 1000 * SECOND, realtime_ns: START }], ..Meta::default() }
    }

    fn text(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_clock_agrees_with_the_recordings_own_within_a_nanosecond() {
        let mut meta = meta();
        for last_real in
            [START + 3600 * SECOND, START + 3600 * SECOND + 360_000_123, START + 3600 * SECOND - 77_000_777, START]
        {
            meta.anchors.truncate(1);
            meta.anchors.push(Anchor { trace_ns: 4600 * SECOND, realtime_ns: last_real });
            let clock = Clock::new(&meta);
            for ts in [0, 999 * SECOND, 1000 * SECOND, 1_234_567_890_123, 4600 * SECOND, 900_000 * SECOND] {
                assert!(clock.realtime(ts).abs_diff(meta.realtime(ts)) <= 1, "{ts}");
                assert!(clock.trace_time(clock.realtime(ts)).abs_diff(ts) <= 2, "{ts}");
            }
        }
    }

    #[test]
    fn times_of_day_follow_second_zone_and_midnight() {
        let clock = Clock::new(&meta());
        let mut utc = TimeOfDay::new(clock, 0);
        let mut west = TimeOfDay::new(clock, -(9 * 3600 + 1800));
        let mut line = Vec::new();
        for after in [0, 499_999_999, 500_000_000, (14 * 3600 + 35 * 60 + 6) * SECOND + 500_000_000] {
            utc.push(&mut line, 1000 * SECOND + after);
            line.push(b' ');
        }
        west.push(&mut line, 1000 * SECOND);
        let expected = "09:24:53.500000 09:24:53.999999 09:24:54.000000 00:00:00.000000 23:54:53.500000";
        assert_eq!(String::from_utf8(line).unwrap(), expected);
    }

    #[test]
    fn dates_are_the_calendars() {
        assert_eq!(text(|out| push_date(out, START, 0)), "2025-11-23 09:24:53 UTC");
        assert_eq!(text(|out| push_date(out, START, -34_200)), "2025-11-22 23:54:53 -09:30");
        assert_eq!(text(|out| push_date(out, 951_782_400 * SECOND, 0)), "2000-02-29 00:00:00 UTC");
        for day in [0, 1, 58, 59, 60, 11_015, 11_016, 20_415, 47_540, 1_000_000] {
            let date = Utc::from_unix(day * DAY);
            assert_eq!(days(date.year as i64, date.month as u32, date.day as u32), day as i64);
        }
    }

    #[test]
    fn spans_have_two_units() {
        let spans =
            [3_250_000_000, 61 * SECOND, 7500 * SECOND, 90_000 * SECOND].map(|ns| text(|out| push_span(out, ns)));
        assert_eq!(spans, ["3.2 s", "1 min 1 s", "2 h 5 min", "1 d 1 h"]);
    }

    #[test]
    fn bounds_are_read_as_offset_time_of_day_or_date() {
        let meta = meta();
        for (given, after) in [
            ("0", 0),
            ("1.5s", 1_500_000_000),
            ("20ms", 20_000_000),
            ("2h", 7200 * SECOND),
            ("09:24:53.5", 0),
            ("09:24:53.75", 250_000_000),
            ("00:00:00", (14 * 3600 + 35 * 60 + 6) * SECOND + 500_000_000),
            ("2025-11-23T09:24:54Z", 500_000_000),
            ("2025-11-23 10:24:54+01:00", 500_000_000),
            ("2025-11-23T09:24:54.250", 750_000_000),
        ] {
            assert_eq!(parse_time(given, &meta, 0).unwrap(), 1000 * SECOND + after, "{given}");
        }
        assert_eq!(parse_time("10:24:54", &meta, 3600).unwrap(), 1000 * SECOND + 500_000_000);
        // A time of the start's own second lies at most that second before the start.
        assert_eq!(parse_time("09:24:53", &meta, 0).unwrap(), 1000 * SECOND - 500_000_000);
        for wrong in
            ["", "x", "-1s", "1.2.3s", "25:00:00", "1:2:3", "09:24:5", "2025-13-01T00:00:00Z", "1e3", "2025-11-23"]
        {
            assert_eq!(parse_time(wrong, &meta, 0).unwrap_err().exit_code(), 2, "{wrong}");
        }
    }
}
