//! Reading runs and rows of tools.
//!
//! Nothing is kept in memory: every answer is what the database holds. Unfinished runs are restored
//! a page at a time, each page from where the last one ended, so that neither their number nor an
//! outage in between matters.

use std::collections::BTreeMap;
use std::sync::Arc;

use crane_core::{Json, Round, RunId, RunStatus, Seq, Timestamp, limits};
use tokio_postgres::Row;

use super::batch::json_labels;
use super::connect::{Params, Purpose, within};
use super::problem::Problem;
use super::shared::Shared;
use super::types::{Time, Uuid, from_text, status_number, status_of, to_text, unsigned};
use super::{shards, sql};
use crate::{Encoded, Error, Fence, Filter, Listing, Page, RunImage, Summary, Unfinished};

/// The rows of a statement; tried again while the database is away.
pub(crate) async fn query(
    shared: &Shared,
    op: &'static str,
    statement: &'static str,
    params: Params<'_>,
) -> Result<Vec<Row>, Error> {
    shared.still_open()?;
    let mut patience = shared.patience(op);
    let longest = shared.connector.longest(Purpose::Read);
    loop {
        let result = async {
            let mut loan = shared.pool.get(&shared.connector).await?;
            let result = within(longest, loan.conn()?.query(statement, params)).await;
            if matches!(result, Err(Problem::Lost(_))) {
                loan.give_up();
            }
            result
        };
        if let Some(rows) = patience.judge(result.await).await? {
            return Ok(rows);
        }
    }
}

/// A run with all its events.
pub(crate) async fn load(shared: &Shared, run: RunId) -> Result<Option<RunImage>, Error> {
    let rows = query(shared, "load", sql::LOAD, &[&Uuid(run)]).await?;
    let Some(first) = rows.first() else {
        return Ok(None);
    };
    let events = chain(run, &rows, 5)?;
    if first.try_get::<_, i64>(5).ok() != Some(0) {
        return Err(strange(run, &"its first events are missing"));
    }
    let summary = summary_of(first, 0, Seq(u64::from(events.count)))
        .map_err(|problem| strange(run, &problem.detail()))?;
    Ok(Some(RunImage {
        run,
        summary,
        events,
    }))
}

/// Joins rows `(.., after, seq, events)`, whose columns begin at `first`, to what they hold
/// together. Leftovers, which lie within an earlier row, are passed over.
pub(crate) fn chain(run: RunId, rows: &[Row], first: usize) -> Result<Encoded, Error> {
    let mut events = Encoded::default();
    let mut upto: Option<i64> = None;
    for row in rows {
        let read = || {
            Ok::<_, tokio_postgres::Error>((
                row.try_get::<_, i64>(first)?,
                row.try_get::<_, i64>(first + 1)?,
                row.try_get::<_, &[u8]>(first + 2)?,
            ))
        };
        let (after, seq, bytes) = read().map_err(|error| strange(run, &error))?;
        match upto {
            Some(upto) if seq <= upto => continue,
            Some(upto) if after != upto => {
                return Err(Error::Corrupt {
                    file: format!("the journal of run {run}"),
                    offset: unsigned(upto),
                    detail: format!("events {} to {after} are missing", upto + 1),
                });
            }
            _ => {}
        }
        upto = Some(seq);
        events.count += u32::try_from(seq - after).unwrap_or(0);
        events.bytes.extend_from_slice(bytes);
    }
    Ok(events)
}

fn strange(run: RunId, error: &dyn std::fmt::Display) -> Error {
    Error::Corrupt {
        file: format!("the rows of run {run}"),
        offset: 0,
        detail: error.to_string(),
    }
}

/// The summary in columns `status, round, created_at, completed_at, wake_at` from `first` on.
fn summary_of(row: &Row, first: usize, seq: Seq) -> Result<Summary, Problem> {
    let number: i16 = row.try_get(first)?;
    let status = status_of(number).ok_or_else(|| Error::Corrupt {
        file: "the rows of runs".to_owned(),
        offset: 0,
        detail: format!("{number} is no status"),
    })?;
    let time = |index| -> Result<Option<Timestamp>, Problem> {
        let time: Option<Time> = row.try_get(first + index)?;
        Ok(time.map(|time| time.0))
    };
    let round: i32 = row.try_get(first + 1)?;
    Ok(Summary {
        seq,
        status,
        round: Round(u32::try_from(round).unwrap_or(0)),
        created_at: time(2)?.unwrap_or_default(),
        completed_at: time(3)?,
        wake_at: time(4)?,
    })
}

/// A run and its summary in columns `run_id, status, .., wake_at, seq` from `first` on.
fn run_of(row: &Row, first: usize) -> Result<(RunId, Summary), Error> {
    let read = || {
        let Uuid(run) = row.try_get(first)?;
        let seq = Seq(unsigned(row.try_get(first + 6)?));
        Ok::<_, Problem>((run, summary_of(row, first + 1, seq)?))
    };
    read().map_err(|problem| problem.into_error("the rows of runs cannot be read"))
}

/// A run's summary.
pub(crate) async fn summary(shared: &Shared, run: RunId) -> Result<Option<Summary>, Error> {
    let rows = query(shared, "summary", sql::SUMMARY, &[&Uuid(run)]).await?;
    let found = rows.first().map(|row| run_of(row, 0)).transpose()?;
    Ok(found.map(|(_, summary)| summary))
}

/// A page of the runs that match.
pub(crate) async fn list(shared: &Shared, filter: &Filter, page: Page) -> Result<Listing, Error> {
    let statuses: Vec<i16> = filter.statuses.iter().copied().map(status_number).collect();
    let wanted: BTreeMap<&String, &String> = filter.labels.iter().map(|(k, v)| (k, v)).collect();
    let contradicts = |(key, value): &(String, String)| wanted.get(key) != Some(&value);
    if filter.labels.iter().any(contradicts) {
        // Two values for one label: no run has both.
        return Ok(Listing::default());
    }
    let labels = json_labels(wanted.into_iter());
    let offset = i64::try_from(page.offset).unwrap_or(i64::MAX);
    let limit = i64::try_from(page.limit).unwrap_or(i64::MAX);
    let rows = match (filter.statuses.is_empty(), filter.labels.is_empty()) {
        (true, true) => query(shared, "list", sql::LIST, &[&offset, &limit]).await?,
        (false, true) => {
            let params: Params<'_> = &[&offset, &limit, &statuses];
            query(shared, "list", sql::LIST_STATUS, params).await?
        }
        (true, false) => {
            let params: Params<'_> = &[&offset, &limit, &labels];
            query(shared, "list", sql::LIST_LABELS, params).await?
        }
        (false, false) => {
            let params: Params<'_> = &[&offset, &limit, &statuses, &labels];
            query(shared, "list", sql::LIST_BOTH, params).await?
        }
    };
    let mut listing = Listing::default();
    for row in &rows {
        let read = || {
            let total: i64 = row.try_get(0)?;
            let run: Option<Uuid> = row.try_get(1)?;
            Ok::<_, tokio_postgres::Error>((total, run))
        };
        let (total, run) = read()
            .map_err(|error| Problem::from(error).into_error("the list of runs cannot be read"))?;
        listing.total = usize::try_from(unsigned(total)).unwrap_or(usize::MAX);
        // A page behind the end has a total and no run.
        if run.is_some() {
            listing.runs.push(run_of(row, 1)?);
        }
    }
    Ok(listing)
}

/// Number of runs by status; every status is present.
pub(crate) async fn counts(shared: &Shared) -> Result<BTreeMap<RunStatus, usize>, Error> {
    let mut counts: BTreeMap<RunStatus, usize> = RunStatus::ALL
        .into_iter()
        .map(|status| (status, 0))
        .collect();
    for row in query(shared, "counts", sql::COUNTS, &[]).await? {
        let read = || Ok::<_, tokio_postgres::Error>((row.try_get(0)?, row.try_get(1)?));
        let (status, count): (i16, i64) =
            read().map_err(|error| Problem::from(error).into_error("counts cannot be read"))?;
        if let Some(status) = status_of(status) {
            counts.insert(
                status,
                usize::try_from(unsigned(count)).unwrap_or(usize::MAX),
            );
        }
    }
    Ok(counts)
}

/// Where a restore has got to.
pub(crate) struct Restore {
    pub(crate) shared: Arc<Shared>,
    shards: Vec<i16>,
    after: (Timestamp, RunId),
    is_done: bool,
}

impl Restore {
    /// Of the unfinished runs of these shards.
    pub(crate) fn new(shared: Arc<Shared>, fences: &[Fence]) -> Self {
        Self {
            shared,
            shards: fences.iter().map(|f| shards::number(f.shard)).collect(),
            after: (Timestamp(i64::MIN), RunId::from_bytes([0; 16])),
            is_done: false,
        }
    }

    /// The next page; `None` when there is none.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Unfinished>>, Error> {
        if self.is_done {
            return Ok(None);
        }
        let limit = i64::try_from(limits::RESTORE_PAGE).unwrap_or(i64::MAX);
        let (at, run) = (Time(self.after.0), Uuid(self.after.1));
        let params: Params<'_> = &[&self.shards, &at, &run, &limit];
        let rows = query(&self.shared, "restore", sql::UNFINISHED, params).await?;
        self.is_done = rows.len() < limits::RESTORE_PAGE;
        let mut page = Vec::with_capacity(rows.len());
        for row in &rows {
            let (run, summary) = run_of(row, 0)?;
            self.after = (summary.created_at, run);
            page.push(Unfinished { run, summary });
        }
        Ok(Some(page))
    }
}

/// The remembered result of a tool's write.
pub(crate) async fn tool_result(
    shared: &Shared,
    tool: &str,
    key: &str,
) -> Result<Option<Json>, Error> {
    let (tool, key) = (to_text(tool), to_text(key));
    one_json(shared, sql::TOOL_RESULT, &[&&*tool, &&*key]).await
}

/// One row of a tool.
pub(crate) async fn tool_row(
    shared: &Shared,
    tool: &str,
    row: &str,
) -> Result<Option<Json>, Error> {
    let (tool, row) = (to_text(tool), to_text(row));
    one_json(shared, sql::TOOL_ROW, &[&&*tool, &&*row]).await
}

async fn one_json(
    shared: &Shared,
    statement: &'static str,
    params: Params<'_>,
) -> Result<Option<Json>, Error> {
    let rows = query(shared, "tool_data", statement, params).await?;
    rows.first().map(|row| json_of(row, 0)).transpose()
}

/// All rows of a tool, by key.
pub(crate) async fn tool_rows(shared: &Shared, tool: &str) -> Result<Vec<(String, Json)>, Error> {
    let tool = to_text(tool);
    let rows = query(shared, "tool_data", sql::TOOL_ROWS, &[&&*tool]).await?;
    rows.iter()
        .map(|row| {
            let name: &str = row.try_get(0).map_err(unreadable)?;
            Ok((from_text(name), json_of(row, 1)?))
        })
        .collect()
}

fn json_of(row: &Row, index: usize) -> Result<Json, Error> {
    let text: &str = row.try_get(index).map_err(unreadable)?;
    Ok(Json::from_trusted(from_text(text)))
}

fn unreadable(error: tokio_postgres::Error) -> Error {
    Problem::from(error).into_error("data of a tool cannot be read")
}
