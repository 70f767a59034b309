//! The load generator: closed loop, in process, durable.
//!
//! ```text
//!   worker 1..concurrency:  submit ──> accepted, durable ──> ... ──> run ended ──> again
//!                             └────────── latency of the run ───────────┘
//! ```
//!
//! Each worker submits a run, waits until it has ended, and submits the next: so at most
//! `concurrency` runs are open, and a slow node is asked for less instead of being drowned. Warm-up
//! runs come first and are not counted. Percentiles come from an HDR histogram of every counted
//! run, not from samples.

pub mod probe;
mod shape;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crane_actors::Runtime;
use crane_actors::submit::Request;
use crane_core::RunStatus;
use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use shape::{Shape, ShapeError};

/// Steps that a shape is measured with unless the number of runs is given.
const STEPS: usize = 200_000;
/// Fewest runs that make percentiles worth printing.
const LEAST_RUNS: usize = 1_000;
/// Longest latency that is told apart, in microseconds: an hour.
const LONGEST_US: u64 = 3_600_000_000;

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
}

/// What all workers of a round share.
#[derive(Debug)]
struct Load {
    runtime: Runtime,
    plans: Vec<(Value, usize)>,
    /// Runs started so far.
    started: AtomicUsize,
    /// Runs to start.
    runs: usize,
}

/// What one worker saw.
#[derive(Debug)]
struct Tally {
    latencies: Histogram<u64>,
    steps: usize,
    completed: usize,
    errors: usize,
    first_error: Option<String>,
}

/// Measures one shape; `runs` is chosen by the number of its steps unless given.
///
/// # Errors
/// Only when the measuring itself fails; runs that fail are counted.
pub async fn measure(
    runtime: &Runtime,
    shape: &Shape,
    concurrency: usize,
    runs: Option<usize>,
) -> Result<Measured, Error> {
    let plans = shape.plans();
    let steps: usize = plans.iter().map(|(_, steps)| steps).sum();
    let runs = runs.unwrap_or_else(|| (STEPS * plans.len() / steps.max(1)).max(LEAST_RUNS));
    let warm_up = (runs / 10).clamp(1, 10 * concurrency);
    round(runtime, &plans, concurrency, warm_up).await?;
    let start = Instant::now();
    let tally = round(runtime, &plans, concurrency, runs).await?;
    let seconds = start.elapsed().as_secs_f64();
    let percentile = |quantile| tally.latencies.value_at_quantile(quantile) as f64 / 1_000.0;
    Ok(Measured {
        shape: shape.to_string(),
        concurrency,
        runs,
        errors: tally.errors,
        seconds,
        runs_per_second: tally.completed as f64 / seconds,
        steps_per_second: tally.steps as f64 / seconds,
        p50_ms: percentile(0.5),
        p99_ms: percentile(0.99),
        p999_ms: percentile(0.999),
        first_error: tally.first_error,
    })
}

/// Starts so many runs and waits for the last of them.
async fn round(
    runtime: &Runtime,
    plans: &[(Value, usize)],
    concurrency: usize,
    runs: usize,
) -> Result<Tally, Error> {
    let load = Arc::new(Load {
        runtime: runtime.clone(),
        plans: plans.to_vec(),
        started: AtomicUsize::new(0),
        runs,
    });
    let mut workers = JoinSet::new();
    for _ in 0..concurrency.min(runs) {
        let tally = Tally::new()?;
        workers.spawn(work(load.clone(), tally));
    }
    let mut all = Tally::new()?;
    while let Some(tally) = workers.join_next().await {
        all.add(tally?)?;
    }
    Ok(all)
}

async fn work(load: Arc<Load>, mut tally: Tally) -> Tally {
    loop {
        let number = load.started.fetch_add(1, Ordering::Relaxed);
        if number >= load.runs {
            return tally;
        }
        let (plan, steps) = &load.plans[number % load.plans.len()];
        let start = Instant::now();
        match one(&load.runtime, plan).await {
            Ok(()) => tally.completed(start.elapsed(), *steps),
            Err(error) => tally.failed(error),
        }
    }
}

/// One run from its submission to its end.
async fn one(runtime: &Runtime, plan: &Value) -> Result<(), String> {
    let request = Request {
        plan: Some(plan.clone()),
        ..Request::default()
    };
    let submitted = runtime.submit(request, true).await;
    let submitted = submitted.map_err(|error| error.to_string())?;
    let ended = match submitted.end {
        Some(end) => end.await.ok(),
        None => None,
    };
    let run = match ended {
        Some(run) => run,
        // Its actor restarted or slept on the way: the store knows the end.
        None => runtime
            .ended(submitted.run.id)
            .await
            .map_err(|error| error.to_string())?
            .ok_or("the run is gone")?,
    };
    match run.status() {
        RunStatus::Completed => Ok(()),
        status => {
            let error = run.error.as_deref().unwrap_or_default();
            Err(format!("run {} is {}: {error}", run.id, status.as_str()))
        }
    }
}

impl Tally {
    fn new() -> Result<Self, Error> {
        let latencies = Histogram::new_with_bounds(1, LONGEST_US, 3)
            .map_err(|error| Error::Histogram(error.to_string()))?;
        Ok(Self {
            latencies,
            steps: 0,
            completed: 0,
            errors: 0,
            first_error: None,
        })
    }

    fn completed(&mut self, took: Duration, steps: usize) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.latencies.saturating_record(micros.max(1));
        self.completed += 1;
        self.steps += steps;
    }

    fn failed(&mut self, error: String) {
        self.errors += 1;
        self.first_error.get_or_insert(error);
    }

    fn add(&mut self, other: Self) -> Result<(), Error> {
        self.latencies
            .add(&other.latencies)
            .map_err(|error| Error::Histogram(error.to_string()))?;
        self.steps += other.steps;
        self.completed += other.completed;
        self.errors += other.errors;
        if let Some(error) = other.first_error {
            self.first_error.get_or_insert(error);
        }
        Ok(())
    }
}
