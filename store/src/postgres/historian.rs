//! What is done behind the writers' backs: ended runs are made readable for SQL, the rows of long
//! runs are merged, and old runs are removed.
//!
//! None of it is needed for anything that Crane promises but retention, so all of it waits while the
//! database is away, and what a crash leaves undone is found when the shard is acquired.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crane_core::{RunId, ShardId, limits};
use futures_util::TryStreamExt;
use tokio::sync::{Notify, oneshot};

use super::connect::Conn;
use super::problem::Problem;
use super::shared::{Delays, Shared};
use super::types::{Time, Uuid};
use super::{describe, lock, merge, shards, sql};
use crate::metrics::{self, Trouble};
use crate::{Append, Encoded, Error, codec};

/// After so many ended runs, retention looks for old ones.
const RETIRE_EVERY: u64 = 1_000;
/// When nothing ends, retention looks this often.
const RETIRE_PERIOD: Duration = Duration::from_secs(3600);

#[derive(Default)]
struct Inner {
    describe: VecDeque<RunId>,
    merge: VecDeque<RunId>,
    sweep: BTreeSet<ShardId>,
    requests: Vec<oneshot::Sender<Result<(), Error>>>,
    ended: u64,
    retire: bool,
    closed: bool,
}

/// What there is to do.
#[derive(Default)]
pub(crate) struct Errands {
    inner: Mutex<Inner>,
    wake: Notify,
}

impl Errands {
    /// A batch of events was written.
    pub(crate) fn written(&self, append: &Append) {
        let ended = append.summary.status.is_ended();
        let long = merge::is_due(append.expected, append.summary.seq);
        if !ended && !long {
            return;
        }
        let mut inner = lock(&self.inner);
        if long && inner.merge.len() < limits::HISTORY_WAITING {
            inner.merge.push_back(append.run);
        }
        if ended {
            inner.ended += 1;
            inner.retire |= inner.ended.is_multiple_of(RETIRE_EVERY);
            if inner.describe.len() < limits::HISTORY_WAITING {
                inner.describe.push_back(append.run);
            } else {
                inner.sweep.insert(append.run.shard());
            }
        }
        drop(inner);
        self.wake.notify_one();
    }

    /// Looks for ended runs of these shards that nobody has described.
    pub(crate) fn describe_missing(&self, shards: impl Iterator<Item = ShardId>) {
        let mut inner = lock(&self.inner);
        inner.sweep.extend(shards);
        inner.retire = true;
        drop(inner);
        self.wake.notify_one();
    }

    /// Does everything now, and answers when it is done.
    pub(crate) fn request(&self) -> oneshot::Receiver<Result<(), Error>> {
        let (answer, done) = oneshot::channel();
        lock(&self.inner).requests.push(answer);
        self.wake.notify_one();
        done
    }

    /// What is waiting is still done, if the database is there.
    pub(crate) fn close(&self) {
        lock(&self.inner).closed = true;
        self.wake.notify_one();
    }

    fn is_closed(&self) -> bool {
        lock(&self.inner).closed
    }

    /// A part of the work; `None` when the store is closing and nothing is left.
    async fn next(&self) -> Option<Work> {
        loop {
            {
                let mut inner = lock(&self.inner);
                let work = inner.take();
                if work.is_some() || inner.closed {
                    return work;
                }
            }
            let woken = tokio::time::timeout(RETIRE_PERIOD, self.wake.notified()).await;
            if woken.is_err() {
                lock(&self.inner).retire = true;
            }
        }
    }

    fn put_back(&self, work: Work) {
        let mut inner = lock(&self.inner);
        match work {
            Work::Describe(runs) => inner.describe.extend(runs),
            Work::Merge(run) => inner.merge.push_back(run),
            Work::Sweep(shards) => inner.sweep.extend(shards),
            Work::Retire => inner.retire = true,
            Work::Answer(answer) => inner.requests.push(answer),
        }
    }
}

/// One thing to do.
enum Work {
    Describe(Vec<RunId>),
    Merge(RunId),
    Sweep(Vec<ShardId>),
    Retire,
    Answer(oneshot::Sender<Result<(), Error>>),
}

impl Inner {
    fn take(&mut self) -> Option<Work> {
        if !self.describe.is_empty() {
            let count = self.describe.len().min(limits::HISTORY_BATCH);
            return Some(Work::Describe(self.describe.drain(..count).collect()));
        }
        if let Some(run) = self.merge.pop_front() {
            return Some(Work::Merge(run));
        }
        if !self.sweep.is_empty() {
            let shards = std::mem::take(&mut self.sweep).into_iter().collect();
            return Some(Work::Sweep(shards));
        }
        if std::mem::take(&mut self.retire) {
            return Some(Work::Retire);
        }
        // Whoever asks wants retention, too, and is answered when all else is done.
        self.requests.pop().map(Work::Answer)
    }
}

/// Works until the store closes.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut delays = Delays::new(shared.lease.ttl());
    while let Some(work) = shared.errands.next().await {
        let result = match &work {
            Work::Describe(runs) => describe_runs(&shared, runs).await,
            Work::Merge(run) => merge::merge(&shared, *run).await,
            Work::Sweep(shards) => sweep(&shared, shards).await,
            Work::Retire | Work::Answer(_) => retire(&shared).await,
        };
        match (result, work) {
            (Ok(()), Work::Answer(answer)) => {
                // Whoever asked may have gone.
                let _ = answer.send(Ok(()));
                delays = Delays::new(shared.lease.ttl());
            }
            (Ok(()), _) => delays = Delays::new(shared.lease.ttl()),
            (Err(problem), work) => {
                metrics::error(Trouble::History);
                let detail = problem.detail();
                let passes = matches!(problem, Problem::Lost(_) | Problem::Busy { .. });
                if shared.errands.is_closed() || shared.still_open().is_err() {
                    tracing::debug!(%detail, "the historian stops with work left");
                    return;
                }
                match work {
                    Work::Answer(answer) => {
                        let _ = answer.send(Err(problem.into_error("a checkpoint failed")));
                    }
                    work if passes => shared.errands.put_back(work),
                    _ => tracing::warn!(%detail, "the historian leaves something out"),
                }
                tokio::time::sleep(delays.next()).await;
            }
        }
    }
}

async fn retire(shared: &Shared) -> Result<(), Problem> {
    let age = i64::try_from(shared.retention.age.as_micros()).unwrap_or(i64::MAX);
    let before = Time(crane_core::Timestamp(shared.now().0.saturating_sub(age)));
    loop {
        let loan = shared.pool.get(&shared.connector).await?;
        let removed = loan
            .conn()?
            .execute(sql::RETIRE, &[&before, &limits::RETIRE_BATCH])
            .await?;
        if removed == 0 {
            return Ok(());
        }
        tracing::debug!(removed, "removed old runs");
    }
}

async fn sweep(shared: &Shared, which: &[ShardId]) -> Result<(), Problem> {
    let which: Vec<i16> = which.iter().copied().map(shards::number).collect();
    let mut before = Vec::new();
    loop {
        let loan = shared.pool.get(&shared.connector).await?;
        let limit = i64::try_from(limits::HISTORY_BATCH).unwrap_or(i64::MAX);
        let rows = loan
            .conn()?
            .query(sql::UNDESCRIBED, &[&which, &limit])
            .await?;
        drop(loan);
        let mut runs = Vec::with_capacity(rows.len());
        for row in &rows {
            runs.push(row.try_get::<_, Uuid>(0)?.0);
        }
        // The same ones again are being changed by somebody; their end is told.
        if runs.is_empty() || runs == before {
            return Ok(());
        }
        describe_runs(shared, &runs).await?;
        before = runs;
    }
}

/// What SQL can read of some runs.
#[derive(Default)]
struct Descriptions {
    runs: Vec<Uuid>,
    seqs: Vec<i64>,
    texts: Vec<String>,
}

impl Descriptions {
    fn add(&mut self, run: RunId, events: &Encoded, upto: i64) {
        let text = match codec::decode(events) {
            Ok(records) => describe::describe(&records).to_string(),
            Err(error) => {
                tracing::warn!(%run, %error, "the events of an ended run cannot be read");
                describe::NOTHING.to_owned()
            }
        };
        self.runs.push(Uuid(run));
        self.seqs.push(upto);
        self.texts.push(text);
    }

    async fn write(&self, conn: &Conn) -> Result<(), Problem> {
        let written = conn
            .execute(sql::DESCRIBE, &[&self.runs, &self.seqs, &self.texts])
            .await;
        match written {
            Err(problem) if problem.is_of_values() => {}
            other => return other.map(drop),
        }
        // One of them does not please the database: it is left without what it cannot hold.
        for ((run, seq), text) in self.runs.iter().zip(&self.seqs).zip(&self.texts) {
            let one = |text: &str| (vec![*run], vec![*seq], vec![text.to_owned()]);
            let (runs, seqs, texts) = one(text);
            match conn.execute(sql::DESCRIBE, &[&runs, &seqs, &texts]).await {
                Err(problem) if problem.is_of_values() => {
                    let detail = problem.detail();
                    tracing::warn!(run = %run.0, %detail, "a run cannot be described");
                    let texts = vec![describe::NOTHING.to_owned()];
                    conn.execute(sql::DESCRIBE, &[&runs, &seqs, &texts]).await?;
                }
                other => drop(other?),
            }
        }
        Ok(())
    }
}

async fn describe_runs(shared: &Shared, runs: &[RunId]) -> Result<(), Problem> {
    let loan = shared.pool.get(&shared.connector).await?;
    let conn = loan.conn()?;
    let ids: Vec<Uuid> = runs.iter().copied().map(Uuid).collect();
    let mut found = Descriptions::default();
    // One run at a time is in memory, as it is stored.
    let mut current: Option<(RunId, Encoded, i64)> = None;
    let rows = conn.stream(sql::EVENTS, &[&ids]).await?;
    let mut rows = Box::pin(rows);
    while let Some(row) = rows.try_next().await? {
        let Uuid(run) = row.try_get(0)?;
        let (after, seq): (i64, i64) = (row.try_get(1)?, row.try_get(2)?);
        let bytes: &[u8] = row.try_get(3)?;
        match &mut current {
            Some((same, events, upto)) if *same == run => {
                if after == *upto {
                    events.count += u32::try_from(seq - after).unwrap_or(0);
                    events.bytes.extend_from_slice(bytes);
                    *upto = seq;
                }
            }
            other => {
                let events = Encoded {
                    count: u32::try_from(seq - after).unwrap_or(0),
                    bytes: bytes.to_vec(),
                };
                if let Some((run, events, upto)) = other.replace((run, events, seq)) {
                    found.add(run, &events, upto);
                }
            }
        }
    }
    if let Some((run, events, upto)) = current {
        found.add(run, &events, upto);
    }
    if found.runs.is_empty() {
        return Ok(());
    }
    found.write(conn).await
}
