//! Events as text for people, from the JSON in which they come from either place: all at once, or
//! one by one as they happen.

use serde_json::Value;
use serde_json::value::RawValue;

use super::CELL_CHARS;
use crate::cli::Format;
use crate::cli::failure::Failure;
use crate::output::{self, Table, indented, one_line};

const HEADERS: [&str; 6] = ["SEQ", "AT", "TYPE", "STEP", "ATTEMPT", "DATA"];
/// Widths of the columns while nobody knows how long the longest cell will be.
const WIDTHS: [usize; 5] = [4, 27, 20, 16, 7];

/// The cells of an event.
fn cells(event: &str) -> Result<[String; 6], Failure> {
    let view: Value = serde_json::from_str(event)
        .map_err(|error| Failure::failed(format!("an event is not understood: {error}")))?;
    let text = |name: &str| match &view[name] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let data = match text("data") {
        empty if empty == "{}" => String::new(),
        data => one_line(&data, CELL_CHARS),
    };
    Ok([
        text("seq"),
        text("at"),
        text("type"),
        text("step"),
        text("attempt"),
        data,
    ])
}

/// The place of an event in its run.
pub(in super::super) fn seq(event: &str) -> Result<String, Failure> {
    let [seq, ..] = cells(event)?;
    Ok(seq)
}

/// The events of a run, a line each.
pub(in super::super) fn events(events: &[Box<RawValue>]) -> Result<String, Failure> {
    let mut table = Table::new(HEADERS);
    for event in events {
        table.row(cells(event.get())?);
    }
    Ok(table.render())
}

/// Prints events one by one; as JSON the whole is an array when it is finished.
#[derive(Debug)]
pub(in super::super) struct EventPrinter {
    format: Format,
    printed: usize,
}

impl EventPrinter {
    /// Nothing printed yet.
    pub(in super::super) fn new(format: Format) -> Self {
        Self { format, printed: 0 }
    }

    /// Prints the next event.
    pub(in super::super) fn print(&mut self, event: &str) -> Result<(), Failure> {
        let is_first = self.printed == 0;
        self.printed += 1;
        match self.format {
            Format::Table => {
                if is_first {
                    output::print(&line(&HEADERS.map(str::to_owned)))?;
                }
                output::print(&line(&cells(event)?))?;
            }
            Format::Json => {
                let event = indented(event).replace('\n', "\n  ");
                let before = if is_first { "[" } else { "," };
                output::print_part(&format!("{before}\n  {event}"))?;
            }
            Format::Ids => output::print(&seq(event)?)?,
        }
        Ok(())
    }

    /// No event follows.
    pub(in super::super) fn finish(self) -> Result<(), Failure> {
        match (self.format, self.printed) {
            (Format::Json, 0) => output::print("[]")?,
            (Format::Json, _) => output::print("\n]")?,
            (Format::Table | Format::Ids, _) => {}
        }
        Ok(())
    }
}

fn line(cells: &[String; 6]) -> String {
    let mut line = String::new();
    for (cell, width) in cells.iter().zip(WIDTHS) {
        line.push_str(&format!("{cell:<width$}  "));
    }
    line.push_str(&cells[5]);
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_becomes_a_line_with_its_cells_in_columns() {
        let event = r#"{"seq":3,"at":"2026-01-02T03:04:05.000006Z","type":"step_started",
            "step":"a","attempt":1,"data":{"input":{"v":"x\ny"}}}"#;
        assert_eq!(
            line(&cells(event).unwrap()),
            "3     2026-01-02T03:04:05.000006Z  step_started          a                 1        \
             {\"input\":{\"v\":\"x\\ny\"}}"
        );
        assert_eq!(seq(event).unwrap(), "3");
        let bare = r#"{"seq":9,"type":"run_cancelled","step":null,"data":{}}"#;
        assert!(line(&cells(bare).unwrap()).ends_with("run_cancelled"));
        assert!(cells("{").is_err());
    }
}
