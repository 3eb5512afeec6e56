// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Dates of the proleptic Gregorian calendar in UTC; leap seconds are not counted, as in POSIX time.

use core::fmt;

/// A point in time, to the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Utc {
    /// Year, 1970 and later.
    pub year: u64,
    /// Month, 1 to 12.
    pub month: u64,
    /// Day of the month, 1 to 31.
    pub day: u64,
    /// Second of the day, 0 to 86,399.
    pub second: u64,
}

impl Utc {
    /// From seconds since 1970-01-01.
    pub fn from_unix(seconds: u64) -> Utc {
        // Days since 0000-03-01, so that the leap day ends a year; eras of 400 years have 146,097 days.
        let days = seconds / 86_400 + 719_468;
        let era = days / 146_097;
        let day_of_era = days % 146_097;
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        Utc {
            year: era * 400 + year_of_era + u64::from(month <= 2),
            month,
            day: day_of_year - (153 * month_from_march + 2) / 5 + 1,
            second: seconds % 86_400,
        }
    }

    /// Hour, minute and second.
    pub fn clock(&self) -> (u64, u64, u64) {
        (self.second / 3600, self.second / 60 % 60, self.second % 60)
    }

    /// `20261123T030617`, for file names.
    pub fn compact(&self) -> String {
        let (hour, minute, second) = self.clock();
        format!("{:04}{:02}{:02}T{hour:02}{minute:02}{second:02}", self.year, self.month, self.day)
    }
}

impl fmt::Display for Utc {
    /// `2026-11-23 03:06:17`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hour, minute, second) = self.clock();
        write!(f, "{:04}-{:02}-{:02} {hour:02}:{minute:02}:{second:02}", self.year, self.month, self.day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00"),
            (951_782_400, "2000-02-29 00:00:00"),
            (1_795_403_177, "2026-11-23 03:06:17"),
            (4_107_542_399, "2100-02-28 23:59:59"),
            (4_107_542_400, "2100-03-01 00:00:00"),
        ] {
            assert_eq!(Utc::from_unix(seconds).to_string(), text);
        }
        assert_eq!(Utc::from_unix(1_795_403_177).compact(), "20261123T030617");
    }
}
