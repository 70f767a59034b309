//! A closed loop: each worker submits a run, waits for its end, and submits the next.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, bail};
use crane_actors::Runtime;
use crane_actors::submit::Request;
use crane_core::RunStatus;
use serde_json::Value;
use tokio::task::JoinSet;

/// Runs under way.
#[derive(Debug)]
pub(crate) struct Load {
    shared: Arc<Shared>,
    workers: JoinSet<anyhow::Result<()>>,
}

#[derive(Debug)]
struct Shared {
    runtime: Runtime,
    plan: Value,
    /// Runs that may still be started.
    left: AtomicU64,
    completed: AtomicU64,
}

impl Load {
    /// Keeps `concurrency` runs of `plan` under way, `runs` in all.
    pub(crate) fn start(runtime: &Runtime, plan: Value, concurrency: usize, runs: u64) -> Self {
        let shared = Arc::new(Shared {
            runtime: runtime.clone(),
            plan,
            left: AtomicU64::new(runs),
            completed: AtomicU64::new(0),
        });
        let mut workers = JoinSet::new();
        for _ in 0..concurrency {
            workers.spawn(work(shared.clone()));
        }
        Self { shared, workers }
    }

    /// Runs that have completed so far.
    pub(crate) fn completed(&self) -> u64 {
        self.shared.completed.load(Ordering::Acquire)
    }

    /// Starts no more runs and waits for those under way.
    ///
    /// # Errors
    /// The first run that did not complete.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.shared.left.store(0, Ordering::Release);
        self.join().await
    }

    /// Waits until all runs have completed.
    ///
    /// # Errors
    /// The first run that did not.
    pub(crate) async fn join(mut self) -> anyhow::Result<()> {
        while let Some(worker) = self.workers.join_next().await {
            worker??;
        }
        Ok(())
    }
}

async fn work(shared: Arc<Shared>) -> anyhow::Result<()> {
    let one_less = |left: u64| left.checked_sub(1);
    let next = || {
        let left = &shared.left;
        left.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_less)
    };
    while next().is_ok() {
        one(&shared.runtime, &shared.plan).await?;
        shared.completed.fetch_add(1, Ordering::AcqRel);
    }
    Ok(())
}

/// One run, from its submission to its end.
///
/// # Errors
/// When it does not complete.
pub(crate) async fn one(runtime: &Runtime, plan: &Value) -> anyhow::Result<()> {
    let request = Request {
        plan: Some(plan.clone()),
        ..Request::default()
    };
    let submitted = runtime.submit(request, true).await?;
    let end = submitted.end.context("the end was not watched")?;
    let run = match end.await {
        Ok(run) => run,
        // Its actor slept or restarted on the way.
        Err(_) => {
            let ended = runtime.ended(submitted.run.id).await?;
            ended.context("the run is gone")?
        }
    };
    match run.status() {
        RunStatus::Completed => Ok(()),
        status => {
            let error = run.error.as_deref().unwrap_or_default();
            bail!("run {} is {}: {error}", run.id, status.as_str())
        }
    }
}
