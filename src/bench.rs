//! The load generator: closed loop, durable; against a server over HTTP, or in process.
//!
//! ```text
//!   worker 1..concurrency:  submit ──> accepted, durable ──> ... ──> run ended ──> again
//!                             └────────── latency of the run ───────────┘
//! ```
//!
//! Each worker submits a run, waits until it has ended, and submits the next: so at most
//! `concurrency` runs are open, and a slow node is asked for less instead of being drowned. Warm-up
//! runs come first and are not counted. Percentiles come from an HDR histogram of every counted
//! run, not from samples. A run that is refused, lost with its connection, or does not complete is
//! an error and is counted as one.

pub mod probe;
mod shape;
mod tally;
mod worker;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use shape::{Shape, ShapeError};
pub use worker::Source;

use tally::Tally;
use worker::{Prepared, Worker};

/// Steps that a shape is measured with unless the number of runs is given.
const STEPS: usize = 200_000;
/// Fewest runs that make percentiles worth printing.
const LEAST_RUNS: usize = 1_000;

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// So many runs.
    Runs(usize),
    /// As many runs as start within this time.
    Time(Duration),
}

/// What was measured of one shape.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// The shape as it was asked for.
    pub shape: String,
    /// Runs that were open at a time.
    pub concurrency: usize,
    /// Runs that were counted, errors included.
    pub runs: usize,
    /// Runs that were refused or did not complete.
    pub errors: usize,
    /// Time for all of them.
    pub seconds: f64,
    /// Completed runs a second.
    pub runs_per_second: f64,
    /// Steps of completed runs a second.
    pub steps_per_second: f64,
    /// Half of the runs took at most this, in milliseconds, from submission to end.
    pub p50_ms: f64,
    /// 99 of 100 runs took at most this, in milliseconds.
    pub p99_ms: f64,
    /// 999 of 1,000 runs took at most this, in milliseconds.
    pub p999_ms: f64,
    /// The median time of an fdatasync of 4 KiB, in microseconds, where it was measured.
    pub fdatasync_us: Option<f64>,
    /// Memory in use by the node after the runs, in bytes; in process that of this process.
    pub rss_bytes: Option<u64>,
    /// The first error, for people.
    #[serde(skip)]
    pub first_error: Option<String>,
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A worker ended before its time.
    #[error("a worker has failed: {0}")]
    Worker(#[from] tokio::task::JoinError),
    /// The histogram refused.
    #[error("latencies cannot be recorded: {0}")]
    Histogram(String),
    /// The server cannot be reached.
    #[error(transparent)]
    Server(#[from] crate::client::Error),
    /// Nothing works, so there is nothing to measure.
    #[error("no run of the warm-up completed: {0}")]
    WarmUp(String),
}

/// What all workers of a round share.
#[derive(Debug)]
struct Load {
    plans: Vec<Prepared>,
    /// Runs started so far.
    started: AtomicUsize,
    amount: Amount,
    begun: Instant,
}

impl Load {
    /// The number of the next run, unless there were enough.
    fn next(&self) -> Option<usize> {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let more = match self.amount {
            Amount::Runs(runs) => number < runs,
            Amount::Time(time) => self.begun.elapsed() < time,
        };
        more.then_some(number)
    }
}

/// Measures one shape; the amount is chosen by the number of its steps unless given.
///
/// # Errors
/// When the measuring itself fails, or nothing works; single runs that fail are counted.
pub async fn measure(
    source: &Source,
    shape: &Shape,
    concurrency: usize,
    amount: Option<Amount>,
) -> Result<Measured, Error> {
    let plans: Vec<Prepared> = shape.plans().into_iter().map(Prepared::new).collect();
    let steps: usize = plans.iter().map(|plan| plan.steps).sum();
    let enough = || Amount::Runs((STEPS * plans.len() / steps.max(1)).max(LEAST_RUNS));
    let amount = amount.unwrap_or_else(enough);
    let (warm_up, count) = match amount {
        Amount::Runs(runs) => {
            let warm_up = (runs / 10).clamp(1, 10 * concurrency);
            (Amount::Runs(warm_up), concurrency.min(runs))
        }
        Amount::Time(time) => (Amount::Time(time / 10), concurrency),
    };
    let mut workers = Vec::with_capacity(count);
    for _ in 0..count {
        workers.push(source.worker().await?);
    }
    let (warm, workers) = round(workers, &plans, warm_up).await?;
    if warm.completed == 0
        && let Some(error) = warm.first_error
    {
        return Err(Error::WarmUp(error));
    }
    let start = Instant::now();
    let (tally, _) = round(workers, &plans, amount).await?;
    let seconds = start.elapsed().as_secs_f64();
    Ok(Measured {
        shape: shape.to_string(),
        concurrency,
        runs: tally.completed + tally.errors,
        errors: tally.errors,
        seconds,
        runs_per_second: tally.completed as f64 / seconds,
        steps_per_second: tally.steps as f64 / seconds,
        p50_ms: tally.percentile_ms(0.5),
        p99_ms: tally.percentile_ms(0.99),
        p999_ms: tally.percentile_ms(0.999),
        fdatasync_us: None,
        rss_bytes: source.resident_bytes().await,
        first_error: tally.first_error,
    })
}

/// Starts runs until there were enough, and waits for the last of them. The workers come back, with
/// their connections.
async fn round(
    workers: Vec<Worker>,
    plans: &[Prepared],
    amount: Amount,
) -> Result<(Tally, Vec<Worker>), Error> {
    let load = Arc::new(Load {
        plans: plans.to_vec(),
        started: AtomicUsize::new(0),
        amount,
        begun: Instant::now(),
    });
    let mut running = JoinSet::new();
    for worker in workers {
        let tally = Tally::new()?;
        running.spawn(work(load.clone(), worker, tally));
    }
    let mut all = Tally::new()?;
    let mut workers = Vec::with_capacity(running.len());
    while let Some(ended) = running.join_next().await {
        let (tally, worker) = ended?;
        all.add(tally)?;
        workers.push(worker);
    }
    Ok((all, workers))
}

async fn work(load: Arc<Load>, mut worker: Worker, mut tally: Tally) -> (Tally, Worker) {
    while let Some(number) = load.next() {
        let plan = &load.plans[number % load.plans.len()];
        let start = Instant::now();
        match worker.one(plan).await {
            Ok(()) => tally.completed(start.elapsed(), plan.steps),
            Err(error) => tally.failed(error),
        }
    }
    (tally, worker)
}
