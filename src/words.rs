// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Small texts taken apart by their bytes, without the tables of Unicode and the generic parsers of core.
//!
//! What the kernel prints is ASCII; a blank that is none of ASCII's is part of a word here.

/// Without blanks, tabs and line ends at both ends.
pub fn trim(text: &str) -> &str {
    let bytes = text.as_bytes();
    let is_blank = |byte: &u8| byte.is_ascii_whitespace();
    let start = bytes.iter().position(|byte| !is_blank(byte)).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(|byte| !is_blank(byte)).map_or(start, |last| last + 1);
    text.get(start..end).unwrap_or(text)
}

/// A decimal number of digits alone; `None` also if it does not fit.
pub fn number(text: &str) -> Option<u64> {
    let mut value = 0u64;
    for byte in text.bytes() {
        if !byte.is_ascii_digit() {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?;
    }
    Some(value).filter(|_| !text.is_empty())
}

/// Somebody's word in quotes for an error's sentence: what could break the line or the terminal is escaped.
pub fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for char in text.chars() {
        let letter = match char {
            '"' | '\\' => char,
            '\n' => 'n',
            '\t' => 't',
            '\r' => 'r',
            char if breaks(char) => 'u',
            _ => '\0',
        };
        if letter == 'u' {
            out.push_str("\\u{");
            let code = char as u32;
            for digit in (0..((35 - code.leading_zeros()) / 4).max(1)).rev() {
                let digit = (code >> (4 * digit) & 15) as u8;
                out.push(char::from(digit + if digit < 10 { b'0' } else { b'a' - 10 }));
            }
            out.push('}');
            continue;
        }
        if letter != '\0' {
            out.push('\\');
        }
        out.push(if letter != '\0' { letter } else { char });
    }
    out.push('"');
    out
}

/// Whether a character could break a line or a terminal, or hide: control characters; spaces without width, marks and
/// overrides of the direction; private use.
pub fn breaks(char: char) -> bool {
    matches!(char,
        '\0'..='\x1f'
        | '\x7f'..='\u{9f}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{e000}'..='\u{f8ff}'
        | '\u{feff}'
        | '\u{e0000}'..)
}

/// What stands before and behind the first `mark`. The texts are short: std's searcher for long ones is 2 KB of code.
pub fn split_once<'a>(text: &'a str, mark: &str) -> Option<(&'a str, &'a str)> {
    let mut at = 0;
    loop {
        // No character begins in the middle of another: where the mark does not fit is no place of it.
        match text.get(at..) {
            Some(rest) if rest.starts_with(mark) => return Some((text.get(..at)?, rest.get(mark.len()..)?)),
            _ if at >= text.len() => return None,
            _ => at += 1,
        }
    }
}

/// Takes the first word off a list of words with a blank between them, or behind each.
pub fn next<'a>(words: &mut &'a str) -> Option<&'a str> {
    next_part(words, " ")
}

/// As [`next`], of parts with another mark.
pub fn next_part<'a>(parts: &mut &'a str, mark: &str) -> Option<&'a str> {
    if parts.is_empty() {
        return None;
    }
    let (part, rest) = split_once(parts, mark).unwrap_or((parts, ""));
    *parts = rest;
    Some(part)
}

/// What stands behind the last `mark`; `None` without one.
pub fn behind_last(text: &str, mark: u8) -> Option<&str> {
    let at = text.bytes().rposition(|byte| byte == mark)?;
    text.get(at + 1..)
}

/// The word at a place in such a list; empty beyond its end.
pub fn nth(mut words: &str, at: usize) -> &str {
    for _ in 0..at {
        next(&mut words);
    }
    next(&mut words).unwrap_or_default()
}

/// Where such a list has a word.
pub fn position(mut words: &str, wanted: &str) -> Option<usize> {
    let mut at = 0;
    while next(&mut words)? != wanted {
        at += 1;
    }
    Some(at)
}

/// The first `count` characters, for showing a text of unknown length.
pub fn beginning(text: &str, count: usize) -> &str {
    let end = text.char_indices().nth(count).map_or(text.len(), |(at, _)| at);
    text.get(..end).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_go_at_both_ends_only() {
        for (given, left) in [("", ""), (" \t\n", ""), ("a", "a"), ("\t a b \r\n", "a b"), ("\u{a0}x", "\u{a0}x")] {
            assert_eq!(trim(given), left);
        }
    }

    #[test]
    fn numbers_are_digits_that_fit() {
        for (given, value) in [("0", Some(0)), ("007", Some(7)), ("18446744073709551615", Some(u64::MAX))] {
            assert_eq!(number(given), value);
        }
        for wrong in ["", "+1", "-1", " 1", "1x", "18446744073709551616", "\u{661}"] {
            assert_eq!(number(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn quotes_are_as_debugs_are() {
        for text in ["", "ls", "a \"b\" \\", "x\n\t\r\u{1b}[0m\u{7f}", "é\u{202e}\u{85}"] {
            assert_eq!(quoted(text), format!("{text:?}"));
        }
    }

    #[test]
    fn the_last_mark_counts_behind() {
        assert_eq!(["a/b/c", "c", "a/", ""].map(|text| behind_last(text, b'/')), [Some("c"), None, Some(""), None]);
    }

    #[test]
    fn beginnings_end_between_characters() {
        assert_eq!(["", "ab", "abc", "aéb€"].map(|text| beginning(text, 2)), ["", "ab", "ab", "aé"]);
    }

    #[test]
    fn the_last_mark_counts() {
        assert_eq!(["a/b/é", "a/", "a"].map(|text| behind_last(text, b'/')), [Some("é"), Some(""), None]);
    }

    #[test]
    fn words_have_places() {
        let words = "a bc  d ";
        assert_eq!([0, 1, 2, 3, 4].map(|at| nth(words, at)), ["a", "bc", "", "d", ""]);
        assert_eq!(["bc", "d", "c"].map(|word| position(words, word)), [Some(1), Some(3), None]);
    }

    #[test]
    fn the_first_mark_counts() {
        assert_eq!(split_once("a - b - c", " - "), Some(("a", "b - c")));
        assert_eq!(split_once("é€ - ", " - "), Some(("é€", "")));
        assert_eq!(split_once("aabc", "ab"), Some(("a", "c")));
        for text in ["", " -", "a", "é"] {
            assert_eq!(split_once(text, " - "), None);
        }
    }
}
