// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Tables for people: columns as wide as their widest cell.

/// Rows of cells below a head.
pub struct Table<'a> {
    /// Names of the columns.
    pub head: &'a [&'a str],
    /// From this column on cells are numbers and stand to the right.
    pub numbers: usize,
    /// Columns that are not shown.
    pub hidden: &'a [usize],
}

impl Table<'_> {
    /// The table of these cells, row by row.
    pub fn text(&self, cells: &[String]) -> String {
        let columns = self.head.len();
        let mut widths: Vec<usize> = self.head.iter().map(|name| name.len()).collect();
        for row in cells.chunks(columns) {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = String::new();
        let head: Vec<String> = self.head.iter().map(|name| (*name).to_owned()).collect();
        for row in core::iter::once(head.as_slice()).chain(cells.chunks(columns)) {
            for (index, (cell, width)) in row.iter().zip(&widths).enumerate() {
                if self.hidden.contains(&index) {
                    continue;
                }
                let padding = width.saturating_sub(cell.chars().count());
                let (before, after) = if index >= self.numbers { (padding, 0) } else { (0, padding) };
                push_blanks(&mut text, before);
                text.push_str(cell);
                // Nothing stands to the right of the last column.
                if index + 1 < columns {
                    push_blanks(&mut text, after + 2);
                }
            }
            text.push('\n');
        }
        text
    }
}

/// Appends blanks.
pub fn push_blanks(text: &mut String, count: usize) {
    for _ in 0..count {
        text.push(' ');
    }
}
