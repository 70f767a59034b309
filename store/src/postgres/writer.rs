//! A writer: takes what has queued up, sends it as one statement, and finds out what became of it.
//!
//! ```text
//!   queue ──> group ──> append ──> inserted, or there already ─────────────> Ok
//!               ^          │ ├───> not owned ──────────────────────────────> Fenced
//!               │ again    │ ├───> other bytes, or another last event ─────> Conflict
//!               └──────────┘ └───> neither: several batches in one row are sent one by one;
//!                no answer         a repeat is compared with what is stored
//! ```
//!
//! An answer that is lost changes nothing: the same statement is sent again and says what is there.
//! Shards are divided between the writers, so what is written to a run is in order.

use std::collections::VecDeque;
use std::sync::Arc;

use crane_core::{Seq, limits};

use super::batch::{Columns, Group, Row, Verdict};
use super::connect::{Conn, Params, Purpose, within};
use super::problem::Problem;
use super::queue::{Job, Queue, Task};
use super::shared::{Delays, Shared};
use super::types::{Uuid, big, unsigned};
use super::{batch, sql, tools};
use crate::metrics::{self, Trouble};
use crate::{Append, Error, Write, codec};

/// Why a statement is not sent again.
pub(crate) enum Stop {
    /// The lease has run out while the database was away.
    LeaseOver,
    /// The database will never carry it out.
    Refused(Problem),
}

/// See the module.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    conn: Option<Conn>,
}

impl Writer {
    /// Works for `queue`; connects when there is something to write.
    pub(crate) fn new(shared: Arc<Shared>, queue: Arc<Queue>) -> Self {
        Self {
            shared,
            queue,
            conn: None,
        }
    }

    /// Works until the queue is closed and empty.
    pub(crate) async fn run(mut self) {
        let mut jobs = Vec::new();
        while self.queue.take(&mut jobs, limits::LAZY_DELAY).await {
            let mut queued: VecDeque<Job> = jobs.drain(..).collect();
            while !queued.is_empty() {
                let mut group = Group::fill(&mut queued);
                let begun = self.shared.now();
                self.carry_out(&mut group).await;
                let took = self.shared.now().since(begun);
                let metrics = &self.shared.metrics;
                metrics.append_seconds.record(took);
                metrics.batch_records.record(group.len() as f64);
                self.report(&group);
                group.tell();
            }
        }
    }

    async fn carry_out(&mut self, group: &mut Group) {
        if let Err(error) = self.shared.still_open() {
            group.settle_rest(|_| error.clone());
            return;
        }
        if let Err(stop) = self.appends(group).await {
            self.give_up(group, stop);
            return;
        }
        if let Err(stop) = self.tools(group).await {
            self.give_up(group, stop);
            return;
        }
        if let Err(stop) = self.probe(group).await {
            self.give_up(group, stop);
        }
    }

    /// Counts what was written, and tells the historian what there is to do.
    fn report(&self, group: &Group) {
        let mut bytes = 0;
        for (job, outcome) in group.outcomes.iter().enumerate() {
            match (group.append(job), outcome) {
                (Some(append), Some(Ok(()))) => {
                    bytes += append.events.bytes.len();
                    self.shared.errands.written(append);
                }
                (_, Some(Err(Error::Fenced { .. }))) => {
                    self.shared.metrics.fenced_writes.increment(1);
                }
                _ => {}
            }
        }
        self.shared.metrics.journal_bytes.increment(bytes as u64);
    }

    fn give_up(&self, group: &mut Group, stop: Stop) {
        match stop {
            Stop::LeaseOver => {
                let lost = self.shared.lease.none();
                group.settle_rest(|task| match task {
                    Task::Write(Write::Append(append)) => fenced(append, None),
                    Task::Write(Write::Tool(_)) | Task::Probe => lost.clone(),
                });
            }
            Stop::Refused(problem) => {
                metrics::error(Trouble::Append);
                let detail = problem.detail();
                // Not the values: the schema, the permissions. Nothing can be written any more.
                self.shared
                    .fail(&format!("the database refuses to write: {detail}"));
                let error = self.shared.stopped();
                group.settle_rest(|_| error.clone());
            }
        }
    }

    async fn appends(&mut self, group: &mut Group) -> Result<(), Stop> {
        let (rows, odd) = group.rows();
        let mut settled = Vec::new();
        let mut again = Vec::new();
        if !rows.is_empty() {
            match self.append(&rows).await {
                Ok(verdicts) => {
                    for (row, verdict) in rows.iter().zip(verdicts) {
                        let done = verdict.inserted || verdict.same;
                        if verdict.owned && done {
                            settled.extend(row.members.iter().copied());
                        } else {
                            again.push(row.members.clone());
                        }
                    }
                }
                Err(Stop::Refused(problem)) if problem.is_of_values() => {
                    again.extend(rows.iter().map(|row| row.members.clone()));
                }
                Err(stop) => return Err(stop),
            }
        }
        drop(rows);
        for job in settled {
            group.settle(job, Ok(()));
        }
        for job in again.into_iter().flatten().chain(odd) {
            let Some(append) = group.append(job) else {
                continue;
            };
            let outcome = self.alone(append).await?;
            group.settle(job, outcome);
        }
        Ok(())
    }

    /// Writes one batch by itself and finds out what became of it.
    async fn alone(&mut self, append: &Append) -> Result<Result<(), Error>, Stop> {
        let conflict = |stored| {
            Ok(Err(Error::Conflict {
                run: append.run,
                stored,
                expected: append.expected,
            }))
        };
        if append.fence.shard != append.run.shard() {
            return Ok(Err(fenced(append, None)));
        }
        if !batch::is_sane(append) {
            return conflict(self.head(append).await?);
        }
        let row = [Row::of(append, 0)];
        for _ in 0..limits::UNCLEAR_TRIES {
            let verdict = match self.append(&row).await {
                Ok(verdicts) => verdicts.into_iter().next(),
                Err(Stop::Refused(problem)) if problem.is_of_values() => {
                    metrics::error(Trouble::Append);
                    return Ok(Err(problem.into_error("the database refuses these events")));
                }
                Err(stop) => return Err(stop),
            };
            let Some(verdict) = verdict else { continue };
            if !verdict.owned {
                return Ok(Err(fenced(append, verdict.current)));
            }
            if verdict.inserted || verdict.same {
                return Ok(Ok(()));
            }
            if verdict.stored == append.expected {
                tokio::time::sleep(limits::LAZY_DELAY).await;
                continue;
            }
            if append.summary.seq > verdict.stored {
                return conflict(verdict.stored);
            }
            return match self.holds(append).await? {
                Ok(true) => Ok(Ok(())),
                Ok(false) => conflict(verdict.stored),
                Err(error) => Ok(Err(error)),
            };
        }
        conflict(self.head(append).await?)
    }

    /// Sends rows until there is an answer.
    async fn append(&mut self, rows: &[Row<'_>]) -> Result<Vec<Verdict>, Stop> {
        let columns = Columns::of(rows);
        let statement = append_statement(self.shared.fenced);
        let mut delays = Delays::new(self.shared.lease.ttl());
        loop {
            let me = match self.shared.lease.incarnation() {
                Some(me) => me,
                // The negative control goes on as nobody.
                None if !self.shared.fenced => 0,
                None => return Err(Stop::LeaseOver),
            };
            let params: Params<'_> = &[
                &columns.shards,
                &columns.epochs,
                &columns.runs,
                &columns.afters,
                &columns.seqs,
                &columns.events,
                &columns.statuses,
                &columns.rounds,
                &columns.created,
                &columns.completed,
                &columns.wakes,
                &columns.labels,
                &me,
            ];
            let answer = self.query(statement, params).await.and_then(|answer| {
                let verdicts = answer.iter().map(Verdict::read);
                Ok(verdicts.collect::<Result<Vec<_>, _>>()?)
            });
            if let Some(verdicts) = self.endure(answer, &mut delays).await? {
                return Ok(verdicts);
            }
        }
    }

    async fn tools(&mut self, group: &mut Group) -> Result<(), Stop> {
        let Some(calls) = tools::Calls::of(&group.tools()) else {
            return Ok(());
        };
        for (job, refusal) in calls.refused {
            group.settle(job, Err(refusal));
        }
        let mut delays = Delays::new(self.shared.lease.ttl());
        for call in calls.statements {
            let outcomes = loop {
                let answer = self.query(sql::TOOL_WRITES, &call.params()).await;
                let answer = answer.and_then(|rows| call.outcomes(&rows));
                match self.endure(answer, &mut delays).await {
                    Ok(Some(outcomes)) => break outcomes,
                    Ok(None) => {}
                    Err(Stop::Refused(problem)) if problem.is_of_values() => {
                        metrics::error(Trouble::ToolWrite);
                        let error = problem.into_error("the database refuses a write of a tool");
                        break call.all(&error);
                    }
                    Err(stop) => return Err(stop),
                }
            };
            for (job, outcome) in outcomes {
                if group.is_open(job) {
                    group.settle(job, outcome);
                }
            }
        }
        Ok(())
    }

    /// A commit that leaves nothing behind, if somebody wants to know.
    async fn probe(&mut self, group: &mut Group) -> Result<(), Stop> {
        let probes = group.probes();
        if probes.is_empty() {
            return Ok(());
        }
        let mut delays = Delays::new(self.shared.lease.ttl());
        loop {
            let answer = self.query(sql::PROBE, &[]).await;
            if self.endure(answer, &mut delays).await?.is_some() {
                break;
            }
        }
        for job in probes {
            group.settle(job, Ok(()));
        }
        Ok(())
    }

    /// The run's last stored event.
    async fn head(&mut self, append: &Append) -> Result<Seq, Stop> {
        let mut delays = Delays::new(self.shared.lease.ttl());
        loop {
            let answer = self.query(sql::HEAD, &[&Uuid(append.run)]).await;
            let answer = answer.and_then(|rows| match rows.first() {
                Some(row) => Ok(Seq(unsigned(row.try_get(0)?))),
                None => Ok(Seq(0)),
            });
            if let Some(seq) = self.endure(answer, &mut delays).await? {
                return Ok(seq);
            }
        }
    }

    /// Whether the events of `append` are stored, byte by byte.
    async fn holds(&mut self, append: &Append) -> Result<Result<bool, Error>, Stop> {
        let mut delays = Delays::new(self.shared.lease.ttl());
        let (after, seq) = (big(append.expected.0), big(append.summary.seq.0));
        let rows = loop {
            let answer = self
                .query(sql::RANGE, &[&Uuid(append.run), &after, &seq])
                .await;
            if let Some(rows) = self.endure(answer, &mut delays).await? {
                break rows;
            }
        };
        let same = || {
            let chain = super::reads::chain(append.run, &rows, 0)?;
            let stored = codec::slice(&chain.bytes, append.expected, append.events.count)?;
            Ok(stored.is_some_and(|stored| stored == append.events.bytes))
        };
        Ok(same())
    }

    async fn query(
        &mut self,
        statement: &'static str,
        params: Params<'_>,
    ) -> Result<Vec<tokio_postgres::Row>, Problem> {
        let longest = self.shared.connector.longest(Purpose::Write);
        let conn = match &mut self.conn {
            Some(conn) if !conn.is_closed() => conn,
            other => other.insert(self.shared.connector.connect(Purpose::Write).await?),
        };
        within(longest, conn.query(statement, params)).await
    }

    /// `Some` when there is an answer; `None`, after a pause, when the statement is to be sent again.
    async fn endure<T>(
        &mut self,
        answer: Result<T, Problem>,
        delays: &mut Delays,
    ) -> Result<Option<T>, Stop> {
        let problem = match answer {
            Ok(answer) => {
                self.shared.outage.end();
                return Ok(Some(answer));
            }
            Err(problem) => problem,
        };
        match problem {
            Problem::Refused { .. } => return Err(Stop::Refused(problem)),
            Problem::Busy { .. } => {}
            // An unsuitable server, after a failover, is as good as none.
            Problem::Lost(_) | Problem::Other(_) => self.conn = None,
        }
        metrics::error(Trouble::Append);
        let detail = problem.detail();
        self.shared.outage.begin(Arc::clone(&detail));
        if self.shared.lease.lose_if_over(&detail) {
            return Err(Stop::LeaseOver);
        }
        tokio::time::sleep(delays.next()).await;
        Ok(None)
    }
}

fn fenced(append: &Append, current: Option<crane_core::Epoch>) -> Error {
    Error::Fenced {
        shard: append.run.shard(),
        current,
    }
}

fn append_statement(fenced: bool) -> &'static str {
    #[cfg(any(test, debug_assertions))]
    if !fenced {
        return sql::APPEND_UNFENCED;
    }
    let _ = fenced;
    sql::APPEND
}
