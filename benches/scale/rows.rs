//! What was measured: one value a row, as JSON lines and as a table.

use comfy_table::{CellAlignment, Table, presets};
use serde::{Deserialize, Serialize};

/// The measure that tells how many cores everybody else used while a task ran, on average.
pub(crate) const OTHERS: &str = "cores used by others";
/// So much is the kernel's own work for the task: writing back, interrupts.
const QUIET: f64 = 0.15;

/// What a value should be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    /// Not more than this.
    AtMost(f64),
    /// Not less than this.
    AtLeast(f64),
}

impl Target {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
        }
    }
}

/// A value that a task has measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Value {
    measure: String,
    value: f64,
    unit: String,
    /// Least and greatest of the samples of which the value is the median.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    range: Option<[f64; 2]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target: Option<Target>,
}

impl Value {
    /// One measured value.
    pub(crate) fn new(measure: &str, value: f64, unit: &str) -> Self {
        Self {
            measure: measure.to_owned(),
            value,
            unit: unit.to_owned(),
            range: None,
            target: None,
        }
    }

    /// The median of several, which are not empty.
    pub(crate) fn median(measure: &str, mut samples: Vec<f64>, unit: &str) -> Self {
        samples.sort_by(f64::total_cmp);
        let range = [samples[0], samples[samples.len() - 1]];
        Self {
            range: Some(range),
            ..Self::new(measure, samples[samples.len() / 2], unit)
        }
    }

    /// A size, in millions of bytes.
    pub(crate) fn megabytes(measure: &str, bytes: u64) -> Self {
        Self::new(measure, bytes as f64 / 1e6, "MB")
    }

    pub(crate) fn at_most(mut self, most: f64) -> Self {
        self.target = Some(Target::AtMost(most));
        self
    }

    pub(crate) fn at_least(mut self, least: f64) -> Self {
        self.target = Some(Target::AtLeast(least));
        self
    }

    /// As the value of a task.
    pub(crate) fn of(self, figure: &str, task: &str) -> Row {
        Row {
            figure: figure.to_owned(),
            task: task.to_owned(),
            value: self,
        }
    }
}

/// A value with where it comes from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    figure: String,
    task: String,
    #[serde(flatten)]
    value: Value,
}

impl Row {
    /// As a line of JSON.
    pub(crate) fn to_line(&self) -> String {
        serde_json::json!(self).to_string()
    }

    /// What [`Row::to_line`] has written.
    pub(crate) fn from_line(line: &str) -> serde_json::Result<Self> {
        serde_json::from_str(line)
    }

    /// Whether this row says that too much else ran while `row` was measured. What was derived from
    /// several tasks is named after the beginning of their names.
    fn was_busy_for(&self, row: &Self) -> bool {
        let rest = self.task.strip_prefix(row.task.as_str());
        let same_task = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '));
        self.figure == row.figure && same_task && self.is(&self.task, OTHERS) > Some(QUIET)
    }

    /// The value of this task and measure, if the row is it.
    pub(crate) fn is(&self, task: &str, measure: &str) -> Option<f64> {
        (self.task == task && self.value.measure == measure).then_some(self.value.value)
    }
}

/// All rows for people.
pub(crate) fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["figure", "task", "measure", "value", "range", "target", ""]);
    for row in rows {
        let Value {
            measure,
            value,
            unit,
            range,
            target,
        } = &row.value;
        let range = range.map(|[least, most]| format!("{} .. {}", short(least), short(most)));
        let wanted = target.map(|target| match target {
            Target::AtMost(most) => format!("<= {}", short(most)),
            Target::AtLeast(least) => format!(">= {}", short(least)),
        });
        let busy = rows.iter().any(|other| other.was_busy_for(row));
        let verdict = target.map(|target| match (target.is_met(*value), busy) {
            (true, false) => "met",
            (false, false) => "MISSED",
            (true, true) => "met, but the machine was busy",
            (false, true) => "MISSED, but the machine was busy",
        });
        table.add_row([
            row.figure.clone(),
            row.task.clone(),
            measure.clone(),
            format!("{} {unit}", short(*value)),
            range.unwrap_or_default(),
            wanted.unwrap_or_default(),
            verdict.unwrap_or_default().to_owned(),
        ]);
    }
    for numbers in 3..=5 {
        if let Some(column) = table.column_mut(numbers) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// A number with as many digits as mean something.
fn short(number: f64) -> String {
    let digits = match number.abs() {
        size if size >= 100.0 || number.fract() == 0.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 4,
    };
    let plain = format!("{number:.digits$}");
    let (whole, fraction) = plain.split_at(plain.find('.').unwrap_or(plain.len()));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 && digit.is_ascii_digit() {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + fraction
}
