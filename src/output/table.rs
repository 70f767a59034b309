//! Tables: aligned columns and nothing else where a program may read them, rules and wrapping on a
//! terminal.

use std::io::{self, IsTerminal};

use comfy_table::{ContentArrangement, presets};

/// Width of a table on a terminal that does not tell its own.
const WIDTH: u16 = 120;

/// Rows of text under a header.
#[derive(Debug)]
pub struct Table {
    inner: comfy_table::Table,
}

impl Table {
    /// A table with these columns.
    pub fn new<const N: usize>(columns: [&str; N]) -> Self {
        let mut inner = comfy_table::Table::new();
        if io::stdout().is_terminal() {
            inner.load_style(presets::UTF8_HORIZONTAL_ONLY);
            inner.set_content_arrangement(ContentArrangement::Dynamic);
            inner.set_width(width());
        } else {
            inner.load_style(presets::NOTHING);
            inner.set_content_arrangement(ContentArrangement::Disabled);
        }
        inner.set_header(columns.to_vec());
        for column in inner.column_iter_mut() {
            column.set_padding((0, 2));
        }
        Self { inner }
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.inner.add_row(Vec::from(cells));
    }

    /// The table as text, without spaces at the ends of lines.
    pub fn render(&self) -> String {
        let lines: Vec<String> = self
            .inner
            .lines()
            .map(|line| line.trim_end().to_owned())
            .collect();
        lines.join("\n")
    }
}

/// The terminal's columns.
fn width() -> u16 {
    match rustix::termios::tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 => size.ws_col,
        _ => WIDTH,
    }
}
