// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `events/*/hist`: the kernel's histograms of one event, as text.
//!
//! Each trigger of the event has a part that begins with its own text and ends with totals. Keys are printed without
//! their sign, whatever the field is. Source: kernel/trace/trace_events_hist.c `hist_trigger_show`,
//! `hist_trigger_print_key`; Documentation/trace/histogram.rst.

use crate::error::{Error, Result};
use crate::words::{number, split_once, trim};

/// Goes through the histograms of a file whose triggers have the one key `key`: gives `each` the trigger's text, the key's
/// value and how often it came; at the end of each part, without a value, what found no room in it. Gives the number of
/// parts. One without its end is no whole file.
pub fn parse_hist(text: &str, key: &str, each: &mut dyn FnMut(&str, Option<i64>, u64)) -> Result<usize> {
    let (mut begun, mut ended) = (0, 0);
    let mut trigger = "";
    let mut good = true;
    for line in text.split('\n') {
        if let Some(text) = line.strip_prefix("# trigger info: ") {
            trigger = text;
            begun += 1;
        } else if let Some(rest) = line.strip_prefix("{ ") {
            let entry = split_once(rest, "} hitcount:").and_then(|(name, hits)| {
                let value = name.strip_prefix(key)?.strip_prefix(':')?;
                Some((number(trim(value))? as i64, number(trim(hits))?))
            });
            match entry {
                Some((value, hits)) => each(trigger, Some(value), hits),
                None => good = false,
            }
        } else if let Some(dropped) = trim(line).strip_prefix("Dropped: ") {
            match number(dropped) {
                Some(dropped) => each(trigger, None, dropped),
                None => good = false,
            }
            ended += 1;
        }
    }
    if !good || begun != ended {
        return Err(Error::malformed("a histogram of the kernel is not whole", None));
    }
    Ok(begun)
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

    type Entries = Vec<(String, Option<i64>, u64)>;

    fn parse(text: &str) -> Result<(usize, Entries)> {
        let mut entries = Entries::new();
        let parts = parse_hist(text, "id", &mut |trigger, value, hits| entries.push((trigger.into(), value, hits)))?;
        Ok((parts, entries))
    }

    #[test]
    fn every_part_is_read_with_signs_and_drops() {
        let (parts, entries) = parse(TEXT).unwrap();
        let failed = |entry: &&(String, Option<i64>, u64)| entry.0.contains(" if ret<0");
        assert_eq!((parts, entries.len(), entries.iter().filter(failed).count()), (2, 4, 3));
        let figures: Vec<_> = entries.iter().map(|(_, value, hits)| (*value, *hits)).collect();
        assert_eq!(figures, [(Some(-1), 1), (Some(56), 12), (None, 0), (None, 7)]);
        assert!(entries[3].0.ends_with("[paused]"));
        assert_eq!(parse("").unwrap(), (0, Vec::new()));
        assert_eq!(parse("# event histogram\n#\n").unwrap(), (0, Vec::new()));
    }

    #[test]
    fn what_is_cut_or_changed_is_an_error_or_lacks_a_part() {
        for end in 0..TEXT.len() - 1 {
            if let Ok((parts, entries)) = parse(&TEXT[..end]) {
                assert!(parts < 2 && entries == parse(TEXT).unwrap().1[..entries.len()], "cut at {end}: {entries:?}");
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
            assert!(parse(&TEXT.replacen(from, to, 1)).is_err(), "{to}");
        }
    }
}
