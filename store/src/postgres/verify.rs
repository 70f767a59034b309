//! Verifying a store: reads everything, changes nothing, and says what is wrong as data.
//!
//! Checked: that every run's events are there, numbered without gaps, and decode; that epochs never
//! fall in a run, nor pass that of its shard; that a round has one terminal event and the run's
//! status agrees with it; that no events are without a run. It may run while nodes work: everything
//! is read as of one instant.

use std::collections::BTreeSet;

use crane_core::{Event, Round, RunId};
use futures_util::TryStreamExt;
use tokio::runtime::Handle;
use tokio_postgres::Row;

use super::connect::{Conn, Connector, Purpose};
use super::problem::Problem;
use super::types::{Uuid, status_of};
use super::{Options, sql};
pub use crate::embedded::{Finding, Report};
use crate::{Error, codec};

/// Verifies the store that `options` lead to.
///
/// # Errors
/// As [`PostgresStore::open`](super::PostgresStore::open); damage inside is a finding.
// By value, as the other ways to open a store.
#[allow(clippy::needless_pass_by_value)]
pub async fn verify(options: Options) -> Result<Report, Error> {
    let connector = Connector::new(&options, Handle::current())?;
    let read = async {
        let conn = connector.connect(Purpose::Read).await?;
        conn.client
            .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .await?;
        // Rows are taken as they come: reading may take long.
        conn.client
            .batch_execute(
                "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0",
            )
            .await?;
        check(&conn).await
    };
    let report: Result<Report, Problem> = read.await;
    report.map_err(|problem| super::migrate::explain(problem, &connector))
}

async fn check(conn: &Conn) -> Result<Report, Problem> {
    let mut check = Check::default();
    let mut rows = Box::pin(conn.stream(sql::EVERYTHING, &[]).await?);
    let mut current: Option<RunCheck> = None;
    while let Some(row) = rows.try_next().await? {
        let Uuid(run) = row.try_get(0)?;
        if current.as_ref().is_none_or(|current| current.run != run)
            && let Some(done) = current.replace(RunCheck::new(run, &row)?)
        {
            check.finish(&done);
        }
        if let Some(current) = &mut current {
            check.row(current, &row)?;
        }
    }
    if let Some(done) = current {
        check.finish(&done);
    }
    for row in conn.query(sql::ORPHANS, &[]).await? {
        let Uuid(run) = row.try_get(0)?;
        check.find(run, "events", "there is no such run".to_owned());
    }
    Ok(check.report)
}

#[derive(Default)]
struct Check {
    report: Report,
}

/// A run that is being read.
struct RunCheck {
    run: RunId,
    shard: i16,
    status: i16,
    round: i32,
    /// As the run's own row says.
    seq: i64,
    shard_epoch: i64,
    upto: i64,
    epoch: i64,
    rounds: Round,
    ended: BTreeSet<Round>,
    /// The last event that ended or reopened the run has ended it.
    has_ended: bool,
}

impl RunCheck {
    fn new(run: RunId, row: &Row) -> Result<Self, Problem> {
        Ok(Self {
            run,
            shard: row.try_get(1)?,
            status: row.try_get(2)?,
            round: row.try_get(3)?,
            seq: row.try_get(4)?,
            shard_epoch: row.try_get(5)?,
            upto: 0,
            epoch: 0,
            rounds: Round(1),
            ended: BTreeSet::new(),
            has_ended: false,
        })
    }
}

impl Check {
    fn find(&mut self, run: RunId, place: &str, detail: String) {
        self.report.findings.push(Finding {
            file: place.to_owned(),
            offset: None,
            run: Some(run),
            detail,
        });
    }

    fn row(&mut self, run: &mut RunCheck, row: &Row) -> Result<(), Problem> {
        let Some(after) = row.try_get::<_, Option<i64>>(6)? else {
            return Ok(());
        };
        let (seq, epoch): (i64, i64) = (row.try_get(7)?, row.try_get(8)?);
        self.report.frames += 1;
        if seq <= run.upto {
            // A leftover: it lies within what was read.
            return Ok(());
        }
        if after != run.upto {
            let detail = format!("events {} to {after} are missing", run.upto + 1);
            self.find(run.run, "events", detail);
        }
        if epoch < run.epoch {
            let detail = format!("epoch e{epoch} follows e{}", run.epoch);
            self.find(run.run, "epochs", detail);
        }
        if epoch > run.shard_epoch {
            let detail = format!(
                "epoch e{epoch} is newer than its shard's e{}",
                run.shard_epoch
            );
            self.find(run.run, "epochs", detail);
        }
        run.epoch = epoch;
        let bytes: &[u8] = row.try_get(9)?;
        let mut expected = after;
        for record in codec::records(bytes) {
            match record {
                Ok(record) => {
                    expected += 1;
                    if super::types::big(record.seq.0) != expected {
                        let detail = format!("event {} where {expected} should be", record.seq);
                        self.find(run.run, "events", detail);
                    }
                    self.event(run, &record.event);
                }
                Err(error) => self.find(run.run, "events", error.to_string()),
            }
        }
        if expected != seq {
            let detail = format!("a row up to {seq} ends with event {expected}");
            self.find(run.run, "events", detail);
        }
        run.upto = seq;
        Ok(())
    }

    fn event(&mut self, run: &mut RunCheck, event: &Event) {
        self.report.events += 1;
        self.report.records += 1;
        if let Event::RunReopened { round } = event {
            run.rounds = *round;
            run.has_ended = false;
        }
        if event.is_terminal() {
            run.has_ended = true;
            if !run.ended.insert(run.rounds) {
                let detail = format!("round {} ends twice", run.rounds);
                self.find(run.run, "events", detail);
            }
        }
    }

    fn finish(&mut self, run: &RunCheck) {
        self.report.runs += 1;
        if run.upto == 0 {
            self.find(run.run, "events", "it has none".to_owned());
        }
        if i32::from(run.shard) != i32::from(run.run.shard().0) {
            let detail = format!("it is on shard {}", run.shard);
            self.find(run.run, "runs", detail);
        }
        let status = status_of(run.status);
        match status {
            None => self.find(run.run, "runs", format!("{} is no status", run.status)),
            Some(status) if status.is_ended() != run.has_ended => {
                let detail = format!("its status {} is not that of its events", status.as_str());
                self.find(run.run, "runs", detail);
            }
            Some(status) if status.is_ended() && run.seq != run.upto => {
                let detail = format!("it ended at {} and has events up to {}", run.seq, run.upto);
                self.find(run.run, "runs", detail);
            }
            Some(_) => {}
        }
        if u32::try_from(run.round) != Ok(run.rounds.0) {
            let detail = format!(
                "it is in round {}, its events say {}",
                run.round, run.rounds
            );
            self.find(run.run, "runs", detail);
        }
    }
}
