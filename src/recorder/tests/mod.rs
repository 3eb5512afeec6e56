// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The kernel's reading of a filter, for the tests of those that write filters.

/// What the kernel makes of a filter: `||` binds less than `&&`.
pub fn passes(filter: &str, id: i64, ret: i64) -> bool {
    fn or(rest: &mut &str, id: i64, ret: i64) -> bool {
        let mut value = and(rest, id, ret);
        while let Some(behind) = rest.strip_prefix("||") {
            *rest = behind;
            value |= and(rest, id, ret);
        }
        value
    }
    fn and(rest: &mut &str, id: i64, ret: i64) -> bool {
        let mut value = one(rest, id, ret);
        while let Some(behind) = rest.strip_prefix("&&") {
            *rest = behind;
            value &= one(rest, id, ret);
        }
        value
    }
    fn one(rest: &mut &str, id: i64, ret: i64) -> bool {
        if let Some(behind) = rest.strip_prefix('(') {
            *rest = behind;
            let value = or(rest, id, ret);
            *rest = rest.strip_prefix(')').unwrap();
            return value;
        }
        let (field, behind) = match rest.strip_prefix("id") {
            Some(behind) => (id, behind),
            None => (ret, rest.strip_prefix("ret").unwrap()),
        };
        let sign = behind.find(|c: char| c.is_ascii_digit() || c == '-').unwrap();
        let end = behind[sign + 1..].find(|c: char| !c.is_ascii_digit()).map_or(behind.len(), |at| sign + 1 + at);
        let number: i64 = behind[sign..end].parse().unwrap();
        *rest = &behind[end..];
        match &behind[..sign] {
            "==" => field == number,
            "<" => field < number,
            "<=" => field <= number,
            ">=" => field >= number,
            other => panic!("{other}"),
        }
    }
    let mut rest = filter;
    let value = filter.is_empty() || or(&mut rest, id, ret);
    assert!(filter.is_empty() || rest.is_empty(), "{rest}");
    value
}
