// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `events/*/hist`: the kernel's histograms of one event, as text.
//!
//! Each trigger of the event has a part that begins with its own text and ends with totals. Keys are printed without
//! their sign, whatever the field is. Source: kernel/trace/trace_events_hist.c `hist_trigger_show`,
//! `hist_trigger_print_key`; Documentation/trace/histogram.rst.

use crate::error::{Error, Result};
use crate::words::{number, split_once};

/// One part of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// The trigger's text and state: `hist:keys=id:… if ret<0 [active]`.
    pub trigger: String,
    /// Value of the only key, and how often it came.
    pub entries: Vec<(i64, u64)>,
    /// What came with a key for which the histogram had no room.
    pub dropped: u64,
}

/// The histograms of a file whose triggers have the one key `key`. A part without its totals is no whole file.
pub fn parse_hist(text: &str, key: &str) -> Result<Vec<Histogram>> {
    let bad = |line: &str| Error::malformed(["the kernel's histogram has the line ", line].concat(), None);
    let mut all: Vec<Histogram> = Vec::new();
    let mut ended = 0;
    for line in text.split('\n') {
        let Some(current) = all.last_mut() else {
            if let Some(trigger) = line.strip_prefix("# trigger info: ") {
                all.push(Histogram { trigger: trigger.to_owned(), ..Histogram::default() });
            }
            continue;
        };
        if let Some(trigger) = line.strip_prefix("# trigger info: ") {
            all.push(Histogram { trigger: trigger.to_owned(), ..Histogram::default() });
        } else if let Some(rest) = line.strip_prefix("{ ") {
            let entry = split_once(rest, "} hitcount:").and_then(|(name, hits)| {
                let value = name.strip_prefix(key)?.strip_prefix(':')?;
                // Newer kernels may print more values behind the first.
                let hits = hits.trim_matches(' ').split(' ').next()?;
                Some((number(value.trim_matches(' '))? as i64, number(hits)?))
            });
            current.entries.push(entry.ok_or_else(|| bad(line))?);
        } else if let Some(dropped) = line.trim_matches(' ').strip_prefix("Dropped: ") {
            current.dropped = number(dropped).ok_or_else(|| bad(line))?;
            ended += 1;
        }
    }
    if ended != all.len() {
        return Err(Error::malformed("the kernel's histogram ends before its totals", None));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As 6.12 prints it.
    const TEXT: &str = "\
# event histogram
#
# trigger info: hist:keys=id:vals=hitcount:sort=hitcount:size=1024 if ret<0&&ret>=-4095 [active]
#

{ id: 18446744073709551615 } hitcount:          1
{ id:         56 } hitcount:         12

Totals:
    Hits: 13
    Entries: 2
    Dropped: 0


# event histogram
#
# trigger info: hist:keys=id:vals=hitcount:sort=hitcount:size=1024 [paused]
#


Totals:
    Hits: 0
    Entries: 0
    Dropped: 7
";

    #[test]
    fn every_part_is_read_with_signs_and_drops() {
        let all = parse_hist(TEXT, "id").unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].entries.as_slice(), all[0].dropped), ([(-1, 1), (56, 12)].as_slice(), 0));
        assert!(all[0].trigger.contains(" if ret<0"));
        assert_eq!((all[1].entries.len(), all[1].dropped), (0, 7));
        assert!(all[1].trigger.ends_with("[paused]"));
        assert_eq!(parse_hist("", "id").unwrap(), []);
        assert_eq!(parse_hist("# event histogram\n#\n", "id").unwrap(), []);
    }

    #[test]
    fn what_is_cut_or_changed_is_an_error_and_never_a_smaller_count() {
        let whole = parse_hist(TEXT, "id").unwrap();
        for end in 0..TEXT.len() {
            match parse_hist(&TEXT[..end], "id") {
                Ok(all) => assert_eq!(all, whole[..all.len()], "cut at {end}"),
                Err(why) => assert!(why.to_string().contains("histogram"), "{why}"),
            }
        }
        for (from, to) in [
            ("hitcount:         12", "hitcount:         1x"),
            ("{ id:         56", "{ id:         5 6"),
            ("{ id:", "{ nr:"),
            ("Dropped: 0", "Dropped: -"),
            ("56 } hitcount", "56 hitcount"),
            ("hitcount:         12", "hitcount: 99999999999999999999"),
        ] {
            assert!(parse_hist(&TEXT.replacen(from, to, 1), "id").is_err(), "{to}");
        }
    }
}
