//! What goes into one statement: batches of events that have queued up, at most one row a run.
//!
//! Batches of a run that follow each other become one row. What cannot go in with the rest (a run
//! that is in it already and does not go on from there) waits for the next statement. Nothing here
//! talks to the database.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};

use crane_core::{Epoch, RunId, Seq, limits};
use serde_json::Value;

use super::queue::{Job, Task, Waiter};
use super::types::{Time, Uuid, big, status_number, to_text};
use super::{shards, types};
use crate::{Append, Error, Fence, Summary, ToolWrite, Write};

/// Events of one run, of one or several batches.
pub(crate) struct Row<'a> {
    pub(crate) fence: Fence,
    pub(crate) run: RunId,
    pub(crate) after: Seq,
    pub(crate) summary: Summary,
    labels: Option<String>,
    events: Cow<'a, [u8]>,
    /// Which jobs these are.
    pub(crate) members: Vec<usize>,
}

impl<'a> Row<'a> {
    /// The row of one batch.
    pub(crate) fn of(append: &'a Append, job: usize) -> Self {
        let labels = append
            .labels
            .as_deref()
            .filter(|_| append.expected == Seq(0));
        Self {
            fence: append.fence,
            run: append.run,
            after: append.expected,
            summary: append.summary.clone(),
            labels: labels.map(|labels| json_labels(labels.iter())),
            events: Cow::Borrowed(&append.events.bytes),
            members: vec![job],
        }
    }

    fn extend(&mut self, append: &Append, job: usize) {
        self.summary = append.summary.clone();
        self.events.to_mut().extend_from_slice(&append.events.bytes);
        self.members.push(job);
    }
}

/// Labels as the database's JSON; a key's text is never what it cannot hold.
pub(crate) fn json_labels<'l>(labels: impl Iterator<Item = (&'l String, &'l String)>) -> String {
    let object: serde_json::Map<String, Value> = labels
        .map(|(key, value)| (to_text(key).into_owned(), to_text(value).into()))
        .collect();
    Value::Object(object).to_string()
}

/// What one statement does, and what each of its jobs gets.
pub(crate) struct Group {
    tasks: Vec<Task>,
    waiters: Vec<Waiter>,
    /// By job; `None` until it is known.
    pub(crate) outcomes: Vec<Option<Result<(), Error>>>,
}

impl Group {
    /// Takes from the front of `queued` what goes together.
    pub(crate) fn fill(queued: &mut VecDeque<Job>) -> Self {
        let mut group = Self {
            tasks: Vec::new(),
            waiters: Vec::new(),
            outcomes: Vec::new(),
        };
        // Where each run of the group will be; `None` for one that says nothing sensible.
        let mut heads: HashMap<RunId, (Fence, Option<Seq>)> = HashMap::new();
        let mut bytes = 0;
        while let Some(job) = queued.front() {
            let size = size(&job.task);
            let full = group.tasks.len() >= limits::STATEMENT_ROWS
                || bytes + size > limits::STATEMENT_BYTES;
            if full && !group.tasks.is_empty() {
                break;
            }
            if let Task::Write(Write::Append(append)) = &job.task {
                let follows = heads.get(&append.run).is_none_or(|(fence, head)| {
                    *fence == append.fence && *head == Some(append.expected) && is_sane(append)
                });
                if !follows {
                    break;
                }
                let head = is_sane(append).then_some(append.summary.seq);
                heads.insert(append.run, (append.fence, head));
            }
            bytes += size;
            if let Some(job) = queued.pop_front() {
                group.tasks.push(job.task);
                group.waiters.push(job.waiter);
                group.outcomes.push(None);
            }
        }
        group
    }

    /// Number of tasks.
    pub(crate) fn len(&self) -> usize {
        self.tasks.len()
    }

    /// A batch of events.
    pub(crate) fn append(&self, job: usize) -> Option<&Append> {
        match self.tasks.get(job) {
            Some(Task::Write(Write::Append(append))) => Some(append),
            Some(Task::Write(Write::Tool(_)) | Task::Probe) | None => None,
        }
    }

    /// All batches of events that may be sent, and those that make no sense.
    pub(crate) fn rows(&self) -> (Vec<Row<'_>>, Vec<usize>) {
        let mut rows: Vec<Row<'_>> = Vec::new();
        let mut odd = Vec::new();
        let mut by_run: HashMap<RunId, usize> = HashMap::new();
        for (job, task) in self.tasks.iter().enumerate() {
            let Task::Write(Write::Append(append)) = task else {
                continue;
            };
            if !is_sane(append) {
                odd.push(job);
            } else if let Some(row) = by_run.get(&append.run).and_then(|at| rows.get_mut(*at)) {
                row.extend(append, job);
            } else {
                by_run.insert(append.run, rows.len());
                rows.push(Row::of(append, job));
            }
        }
        (rows, odd)
    }

    /// All writes of tools.
    pub(crate) fn tools(&self) -> Vec<(usize, &ToolWrite)> {
        let tasks = self.tasks.iter().enumerate();
        tasks
            .filter_map(|(job, task)| match task {
                Task::Write(Write::Tool(write)) => Some((job, write)),
                Task::Write(Write::Append(_)) | Task::Probe => None,
            })
            .collect()
    }

    /// All probes.
    pub(crate) fn probes(&self) -> Vec<usize> {
        let tasks = self.tasks.iter().enumerate();
        tasks
            .filter_map(|(job, task)| matches!(task, Task::Probe).then_some(job))
            .collect()
    }

    /// Whether nothing is known of a job yet.
    pub(crate) fn is_open(&self, job: usize) -> bool {
        self.outcomes.get(job).is_some_and(Option::is_none)
    }

    /// Notes what a job gets; the first answer counts.
    pub(crate) fn settle(&mut self, job: usize, outcome: Result<(), Error>) {
        if let Some(slot) = self.outcomes.get_mut(job) {
            slot.get_or_insert(outcome);
        }
    }

    /// Notes what every job gets of which nothing is known yet.
    pub(crate) fn settle_rest(&mut self, outcome: impl Fn(&Task) -> Error) {
        for (slot, task) in self.outcomes.iter_mut().zip(&self.tasks) {
            slot.get_or_insert_with(|| Err(outcome(task)));
        }
    }

    /// Tells everybody, in order.
    pub(crate) fn tell(self) {
        for (waiter, outcome) in self.waiters.into_iter().zip(self.outcomes) {
            match outcome {
                Some(outcome) => waiter.tell(outcome),
                // Says that the outcome is unknown.
                None => drop(waiter),
            }
        }
    }
}

/// Whether a batch has events and says where it ends.
pub(crate) fn is_sane(append: &Append) -> bool {
    let upto = append.expected.0.checked_add(append.events.count.into());
    append.events.count > 0 && upto == Some(append.summary.seq.0)
}

fn size(task: &Task) -> usize {
    match task {
        Task::Probe => 0,
        Task::Write(Write::Append(append)) => append.events.bytes.len(),
        Task::Write(Write::Tool(write)) => {
            let rows = write.rows.iter();
            let rows: usize = rows
                .map(|(name, value)| name.len() + value.as_ref().map_or(0, crane_core::Json::size))
                .sum();
            rows + write.result.size()
        }
    }
}

/// The columns of [`APPEND`](super::sql::APPEND).
#[derive(Default)]
pub(crate) struct Columns<'a> {
    pub(crate) shards: Vec<i16>,
    pub(crate) epochs: Vec<i64>,
    pub(crate) runs: Vec<Uuid>,
    pub(crate) afters: Vec<i64>,
    pub(crate) seqs: Vec<i64>,
    pub(crate) events: Vec<&'a [u8]>,
    pub(crate) statuses: Vec<i16>,
    pub(crate) rounds: Vec<i32>,
    pub(crate) created: Vec<Time>,
    pub(crate) completed: Vec<Option<Time>>,
    pub(crate) wakes: Vec<Option<Time>>,
    pub(crate) labels: Vec<Option<&'a str>>,
}

impl<'a> Columns<'a> {
    /// The columns of these rows.
    pub(crate) fn of(rows: &'a [Row<'a>]) -> Self {
        let mut columns = Self::default();
        for row in rows {
            let summary = &row.summary;
            columns.shards.push(shards::number(row.fence.shard));
            columns.epochs.push(big(row.fence.epoch.0));
            columns.runs.push(Uuid(row.run));
            columns.afters.push(big(row.after.0));
            columns.seqs.push(big(summary.seq.0));
            columns.events.push(&row.events);
            columns.statuses.push(status_number(summary.status));
            columns
                .rounds
                .push(i32::try_from(summary.round.0).unwrap_or(i32::MAX));
            columns.created.push(Time(summary.created_at));
            columns.completed.push(summary.completed_at.map(Time));
            columns.wakes.push(summary.wake_at.map(Time));
            columns.labels.push(row.labels.as_deref());
        }
        columns
    }
}

/// What the database says of a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verdict {
    /// The shard is ours in that epoch.
    pub(crate) owned: bool,
    /// The run's last event before.
    pub(crate) stored: Seq,
    /// It was inserted.
    pub(crate) inserted: bool,
    /// It is there already, byte by byte.
    pub(crate) same: bool,
    /// The shard's epoch.
    pub(crate) current: Option<Epoch>,
}

impl Verdict {
    /// Reads an answer of [`APPEND`](super::sql::APPEND).
    pub(crate) fn read(row: &tokio_postgres::Row) -> Result<Self, tokio_postgres::Error> {
        let current: Option<i64> = row.try_get(4)?;
        Ok(Self {
            owned: row.try_get(0)?,
            stored: Seq(types::unsigned(row.try_get(1)?)),
            inserted: row.try_get(2)?,
            same: row.try_get(3)?,
            current: current.map(|epoch| Epoch(types::unsigned(epoch))),
        })
    }
}

#[cfg(test)]
mod tests;
