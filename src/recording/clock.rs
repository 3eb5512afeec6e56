// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The trace clock's times as the wall clock's, by a recording's anchors, and back.
//!
//! Both are read together when the recording begins and whenever its description is written. What lies between follows the
//! line through the first and the last, for the clocks drift against each other by up to some 100 ppm.

use super::Meta;
use crate::ids::Timestamp;

const SECOND: u64 = 1_000_000_000;

/// Trace clock to wall clock: [`Meta::realtime`] with the division done once, and without the compiler's own of 128 bits.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    trace: u64,
    real: u64,
    /// Drift of the wall clock against the trace clock, in units of 2^-64.
    drift: u64,
    /// Whether the wall clock is the slower one.
    slow: bool,
}

impl Clock {
    /// From the recording's anchors.
    pub fn new(meta: &Meta) -> Clock {
        let first = meta.anchors.first().copied().unwrap_or_default();
        let last = meta.anchors.last().copied().unwrap_or_default();
        let clock = Clock { trace: first.trace_ns, real: first.realtime_ns, drift: 0, slow: false };
        let elapsed = last.trace_ns.saturating_sub(first.trace_ns);
        let off = i128::from(last.realtime_ns) - i128::from(first.realtime_ns) - i128::from(elapsed);
        // As in `Meta::realtime`: more than 1 in 1000 is a step of the wall clock, not drift.
        if elapsed < SECOND || off.unsigned_abs() * 1000 > u128::from(elapsed) {
            return clock;
        }
        // Long division, bit by bit, by a divisor above a thousand times the rest: the compiler's division of 128 bits
        // would be a kilobyte for this one place.
        let mut rest = off.unsigned_abs() as u64;
        let mut drift = 0;
        for _ in 0..u64::BITS {
            let over = rest >> 63 != 0;
            rest <<= 1;
            drift <<= 1;
            if over || rest >= elapsed {
                rest = rest.wrapping_sub(elapsed);
                drift |= 1;
            }
        }
        Clock { drift, slow: off < 0, ..clock }
    }

    /// How far the wall clock runs ahead of the trace clock in a time of the latter, rounded down.
    #[inline]
    fn ahead(&self, since: i128) -> i128 {
        let time = u64::try_from(since.unsigned_abs()).unwrap_or(u64::MAX);
        let product = u128::from(time) * u128::from(self.drift);
        let whole = i128::from((product >> 64) as u64);
        if (since < 0) == self.slow {
            whole
        } else {
            -whole - i128::from(product as u64 != 0)
        }
    }

    /// Nanoseconds since 1970.
    #[inline]
    pub fn realtime(&self, ts: Timestamp) -> u64 {
        let since = i128::from(ts) - i128::from(self.trace);
        u64::try_from(i128::from(self.real) + since + self.ahead(since)).unwrap_or(0)
    }

    /// The trace clock's time at which the wall clock showed `real`; 0 for times before the clock's start.
    pub fn trace_time(&self, real: u64) -> Timestamp {
        let since = i128::from(real) - i128::from(self.real);
        // The drift is below 1 in 1000, so each turn divides the error by 1000.
        let mut trace = since;
        for _ in 0..6 {
            trace = since - self.ahead(trace);
        }
        u64::try_from((i128::from(self.trace) + trace).max(0)).unwrap_or(u64::MAX)
    }
}
