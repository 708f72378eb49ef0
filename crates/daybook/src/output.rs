//! What is printed: tables that fit a terminal of 80 columns, JSON for machines. All of it on standard output; progress and
//! errors go to standard error.

use std::io::{self, Write};

use anyhow::{Context, Result};
use serde::Serialize;

/// The width that tables are made for.
pub const WIDTH: usize = 80;

const GAP: &str = "  ";
const CUT: char = '…';

/// Prints one line. A reader that went away (`| head`) is an error of kind `BrokenPipe`, which ends the process quietly.
///
/// # Errors
/// When it cannot be written.
pub fn line(text: &str) -> Result<()> {
    writeln!(io::stdout(), "{text}").context("cannot print")
}

/// Prints a value as JSON on several lines.
///
/// # Errors
/// When it cannot be written.
pub fn json(value: &impl Serialize) -> Result<()> {
    line(&serde_json::to_string_pretty(value)?)
}

/// How a column's cells stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

/// Rows under a header. Every column is as wide as its widest cell; the last one is cut where a line would be too long.
#[derive(Debug)]
pub struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Columns that begin with `>` stand to the right: numbers.
    pub fn new(columns: &[&'static str]) -> Self {
        let column = |name: &&'static str| match name.strip_prefix('>') {
            Some(name) => (name, Align::Right),
            None => (*name, Align::Left),
        };
        Self { columns: columns.iter().map(column).collect(), rows: Vec::new() }
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = impl ToString>) {
        self.rows.push(cells.into_iter().map(|cell| cell.to_string()).collect());
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Prints it, or this line where it has no rows.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn print(&self, if_empty: &str) -> Result<()> {
        if self.is_empty() { line(if_empty) } else { line(&self.render(WIDTH)) }
    }

    fn render(&self, width: usize) -> String {
        let header: Vec<String> = self.columns.iter().map(|(name, _)| (*name).to_owned()).collect();
        let lines: Vec<&Vec<String>> = std::iter::once(&header).chain(&self.rows).collect();
        let widest = |column: usize| lines.iter().map(|line| length(&line[column])).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.columns.len()).map(widest).collect();
        let rendered: Vec<String> = lines.iter().map(|line| self.render_line(line, &widths, width)).collect();
        rendered.join("\n")
    }

    fn render_line(&self, cells: &[String], widths: &[usize], width: usize) -> String {
        let mut text = String::new();
        for ((cell, (_, align)), cell_width) in cells.iter().zip(&self.columns).zip(widths) {
            if !text.is_empty() {
                text.push_str(GAP);
            }
            let padding = " ".repeat(cell_width - length(cell));
            match align {
                Align::Left => text.extend([cell, padding.as_str()]),
                Align::Right => text.extend([padding.as_str(), cell]),
            }
        }
        cut(text.trim_end(), width)
    }
}

/// The text on one line of at most `width` characters.
pub fn cut(text: &str, width: usize) -> String {
    if length(text) <= width {
        return text.to_owned();
    }
    text.chars().take(width - 1).chain([CUT]).collect()
}

fn length(text: &str) -> usize {
    text.chars().count()
}

/// `1 course`, `2 courses`.
pub fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_needed_and_numbers_stand_to_the_right() {
        let mut table = Table::new(&["part", ">lag", "why"]);
        table.row(["courses", "7", ""]);
        table.row(["x", "1200", "slow"]);
        assert_eq!(table.render(80), "part      lag  why\ncourses     7\nx        1200  slow");
    }

    #[test]
    fn a_line_that_is_too_long_is_cut() {
        let mut table = Table::new(&["a", "b"]);
        table.row(["1", "abcdefghij"]);
        assert_eq!(table.render(8), "a  b\n1  abcd…");
        assert_eq!(cut("äöü", 3), "äöü");
    }
}
