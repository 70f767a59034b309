//! Verifying a store: reads everything, changes nothing, and says what is wrong as data.
//!
//! Checked:
//! * of a run: that its events are there, numbered without gaps, decode, and come in an order that a
//!   run can have had, with one terminal event a round; that its status agrees with them; that the
//!   epochs in which it was written never fall and never pass that of its shard;
//! * of an epoch of a shard: that one start of one node has written in it, the one that owns it;
//! * that nothing is there twice (a run, the remembered write of a tool), and no events are without a
//!   run.
//!
//! It may run while nodes work: everything is read as of one instant, and row by row. What is kept
//! meanwhile grows with the number of times that shards changed hands.

use std::collections::BTreeMap;

use crane_core::ids::SHARD_COUNT;
use crane_core::run::order::{Mark, Order};
use crane_core::{RunId, Seq};
use futures_util::TryStreamExt;
use tokio::runtime::Handle;
use tokio_postgres::Row;

use super::connect::{Conn, Connector, Purpose};
use super::problem::Problem;
use super::types::{Uuid, big, status_of, unsigned};
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
        let report = check(&conn).await?;
        // Whoever comes next must not have to wait for the end of the connection.
        conn.client.batch_execute("COMMIT").await?;
        Ok(report)
    };
    let report: Result<Report, Problem> = read.await;
    report.map_err(|problem| super::migrate::explain(problem, &connector))
}

async fn check(conn: &Conn) -> Result<Report, Problem> {
    let mut check = Check::default();
    check.owners(&conn.query(sql::SHARDS, &[]).await?)?;
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
    drop(rows);
    if let Some(done) = current {
        check.finish(&done);
    }
    for row in conn.query(sql::ORPHANS, &[]).await? {
        let Uuid(run) = row.try_get(0)?;
        check.find(run, "events", "there is no such run".to_owned());
    }
    conn.client.batch_execute(sql::WITHOUT_INDEXES).await?;
    for row in conn.query(sql::TWINS, &[]).await? {
        let Uuid(run) = row.try_get(0)?;
        check.find(run, "runs", "it is there more than once".to_owned());
    }
    for row in conn.query(sql::TOOL_TWINS, &[]).await? {
        let (tool, key): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let detail = format!("the write {key:?} of {tool} is there more than once");
        check.note("tool results", None, detail);
    }
    Ok(check.report)
}

#[derive(Default)]
struct Check {
    report: Report,
    /// Which incarnation writes in which epoch of which shard; `None` for one that nobody owns.
    writers: BTreeMap<(i16, i64), Option<i64>>,
}

/// A run that is being read.
struct RunCheck {
    run: RunId,
    shard: i16,
    status: i16,
    round: i32,
    /// As the run's own row says.
    seq: i64,
    /// `None` for a shard that does not exist.
    shard_epoch: Option<i64>,
    upto: i64,
    epoch: i64,
    order: Order,
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
            order: Order::default(),
        })
    }
}

impl Check {
    fn find(&mut self, run: RunId, place: &str, detail: String) {
        self.note(place, Some(run), detail);
    }

    fn note(&mut self, place: &str, run: Option<RunId>, detail: String) {
        self.report.findings.push(Finding {
            file: place.to_owned(),
            offset: None,
            run,
            detail,
        });
    }

    fn owners(&mut self, rows: &[Row]) -> Result<(), Problem> {
        for row in rows {
            let (shard, epoch): (i16, i64) = (row.try_get(0)?, row.try_get(1)?);
            self.writers.insert((shard, epoch), row.try_get(2)?);
        }
        if rows.len() != usize::from(SHARD_COUNT) {
            let detail = format!("there are {} of {SHARD_COUNT}", rows.len());
            self.note("shards", None, detail);
        }
        Ok(())
    }

    fn row(&mut self, run: &mut RunCheck, row: &Row) -> Result<(), Problem> {
        let Some(after) = row.try_get::<_, Option<i64>>(6)? else {
            return Ok(());
        };
        let seq: i64 = row.try_get(7)?;
        self.report.frames += 1;
        if seq <= run.upto {
            // A leftover: it lies within what was read.
            return Ok(());
        }
        if after > run.upto {
            let detail = format!("events {} to {after} are missing", run.upto + 1);
            self.find(run.run, "events", detail);
        }
        if after < run.upto {
            let detail = format!("events {} to {} are there twice", after + 1, run.upto);
            self.find(run.run, "events", detail);
        }
        self.epoch(run, row.try_get(8)?, row.try_get(9)?);
        self.events(run, after, seq, row.try_get(10)?);
        Ok(())
    }

    /// A row was written in `epoch`, by the start of a node that is called `by`.
    fn epoch(&mut self, run: &mut RunCheck, epoch: i64, by: i64) {
        if epoch < run.epoch {
            let detail = format!("epoch e{epoch} follows e{}", run.epoch);
            self.find(run.run, "epochs", detail);
        }
        if let Some(newest) = run.shard_epoch.filter(|newest| epoch > *newest) {
            let detail = format!("epoch e{epoch} is newer than its shard's e{newest}");
            self.find(run.run, "epochs", detail);
        }
        run.epoch = epoch;
        let shard = run.shard;
        let writer = *self.writers.entry((shard, epoch)).or_insert(Some(by));
        if writer != Some(by) {
            let detail = match writer {
                Some(writer) => format!(
                    "incarnation {by} of a node writes in epoch e{epoch} of shard {shard}, which \
                     is that of incarnation {writer}"
                ),
                None => format!(
                    "incarnation {by} of a node writes in epoch e{epoch} of shard {shard}, which \
                     nobody owns"
                ),
            };
            self.find(run.run, "epochs", detail);
        }
    }

    fn events(&mut self, run: &mut RunCheck, after: i64, seq: i64, bytes: &[u8]) {
        run.order.skip_to(Seq(unsigned(after)));
        for record in codec::records(bytes) {
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    self.find(run.run, "events", error.to_string());
                    continue;
                }
            };
            self.report.events += 1;
            self.report.records += 1;
            let mark = Mark::of(&record.event);
            run.order.take(record.seq, mark, |detail| {
                self.find(run.run, "events", detail)
            });
        }
        let last = big(run.order.seq().0);
        if last != seq {
            let detail = format!("a row up to {seq} ends with event {last}");
            self.find(run.run, "events", detail);
        }
        run.upto = seq;
    }

    fn finish(&mut self, run: &RunCheck) {
        self.report.runs += 1;
        if run.upto == 0 {
            self.find(run.run, "events", "it has none".to_owned());
        }
        if i32::from(run.shard) != i32::from(run.run.shard().0) || run.shard_epoch.is_none() {
            let detail = format!("it is on shard {}", run.shard);
            self.find(run.run, "runs", detail);
        }
        let status = status_of(run.status);
        let ended = status.filter(|status| status.is_ended());
        match status {
            None => self.find(run.run, "runs", format!("{} is no status", run.status)),
            Some(status) if ended != run.order.ended() => {
                let detail = format!("its status {} is not that of its events", status.as_str());
                self.find(run.run, "runs", detail);
            }
            Some(_) if ended.is_some() && run.seq != run.upto => {
                let detail = format!("it ended at {} and has events up to {}", run.seq, run.upto);
                self.find(run.run, "runs", detail);
            }
            Some(_) => {}
        }
        let round = run.order.round();
        if u32::try_from(run.round) != Ok(round.0) {
            let detail = format!("it is in round {}, its events say {round}", run.round);
            self.find(run.run, "runs", detail);
        }
    }
}
