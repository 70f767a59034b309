//! Writes of stateful tools.
//!
//! What must be exact among all nodes (a key counts once, the bounds of a tool) is decided by the
//! function `tool_writes` in the database; what a write alone tells is decided here.

use crane_core::limits;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::problem::Problem;
use super::types::{Uuid, from_text, to_text, unsigned};
use crate::tool_data::ToolData;
use crate::{Error, ToolWrite};

/// A write and what it gets.
pub(crate) type Outcome = (usize, Result<(), Error>);

/// Writes of a group.
pub(crate) struct Calls {
    /// Writes that pass a bound by themselves; a repeat of one was refused before, too.
    pub(crate) refused: Vec<(usize, Error)>,
    /// The others.
    pub(crate) statements: Vec<Call>,
}

impl Calls {
    /// The statements for these writes; `None` when there are none.
    pub(crate) fn of(writes: &[(usize, &ToolWrite)]) -> Option<Self> {
        if writes.is_empty() {
            return None;
        }
        let mut calls = Self {
            refused: Vec::new(),
            statements: Vec::new(),
        };
        let nothing = ToolData::default();
        // By tool, so that two nodes lock tools in the same order; writes of a tool stay in order.
        let mut writes = writes.to_vec();
        writes.sort_by(|(_, a), (_, b)| a.tool.cmp(&b.tool));
        let mut call = Call::default();
        for (job, write) in writes {
            if let Err(refusal) = nothing.check(write) {
                calls.refused.push((job, refusal));
                continue;
            }
            if call.names.len() + write.rows.len() > limits::STATEMENT_TOOL_ROWS {
                calls.statements.push(std::mem::take(&mut call));
            }
            call.push(job, write);
        }
        if !call.jobs.is_empty() {
            calls.statements.push(call);
        }
        Some(calls)
    }
}

/// One statement.
#[derive(Default)]
pub(crate) struct Call {
    jobs: Vec<usize>,
    tools: Vec<String>,
    keys: Vec<String>,
    runs: Vec<Option<Uuid>>,
    results: Vec<String>,
    ends: Vec<i32>,
    names: Vec<String>,
    values: Vec<Option<String>>,
}

/// The bounds of a tool, as the function takes them.
const BOUNDS: [i64; 3] = [
    limits::TOOL_ROWS as i64,
    limits::TOOL_BYTES as i64,
    limits::TOOL_LOOSE_RESULTS as i64,
];

impl Call {
    fn push(&mut self, job: usize, write: &ToolWrite) {
        self.jobs.push(job);
        self.tools.push(to_text(&write.tool).into_owned());
        self.keys.push(to_text(&write.key).into_owned());
        self.runs.push(write.run.map(Uuid));
        self.results
            .push(to_text(write.result.as_str()).into_owned());
        for (name, value) in &write.rows {
            self.names.push(to_text(name).into_owned());
            let value = value.as_ref().map(|value| to_text(value.as_str()));
            self.values.push(value.map(|value| value.into_owned()));
        }
        self.ends
            .push(i32::try_from(self.names.len()).unwrap_or(i32::MAX));
    }

    /// The parameters of the statement.
    pub(crate) fn params(&self) -> [&(dyn ToSql + Sync); 10] {
        [
            &self.tools,
            &self.keys,
            &self.runs,
            &self.results,
            &self.ends,
            &self.names,
            &self.values,
            &BOUNDS[0],
            &BOUNDS[1],
            &BOUNDS[2],
        ]
    }

    /// What each write gets.
    pub(crate) fn outcomes(&self, rows: &[Row]) -> Result<Vec<Outcome>, Problem> {
        let mut outcomes = Vec::with_capacity(self.jobs.len());
        for ((job, tool), row) in self.jobs.iter().zip(&self.tools).zip(rows) {
            let size = usize::try_from(unsigned(row.try_get(1)?)).unwrap_or(usize::MAX);
            let past = |what: &str, limit: usize| {
                Err(Error::Limit {
                    what: format!("{what} of tool {}", from_text(tool)),
                    size,
                    limit,
                })
            };
            let outcome = match row.try_get::<_, i16>(0)? {
                2 => past("the number of rows", limits::TOOL_ROWS),
                3 => past("all rows", limits::TOOL_BYTES),
                _ => Ok(()),
            };
            outcomes.push((*job, outcome));
        }
        Ok(outcomes)
    }

    /// The same for each write.
    pub(crate) fn all(&self, error: &Error) -> Vec<Outcome> {
        let each = |job: &usize| (*job, Err(error.clone()));
        self.jobs.iter().map(each).collect()
    }
}
