//! What the parts of an open store share.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use crane_core::{Timestamp, limits};
use tokio::sync::watch;

use super::clock::boot_time;
use super::connect::Connector;
use super::historian::Errands;
use super::keeper::Keeper;
use super::lease::Lease;
use super::pool::Pool;
use super::problem::Problem;
use super::{Clock, lock};
use crate::metrics::{self, Metrics, Trouble};
use crate::{Error, Retention};

/// Where a store is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It takes writes.
    Open,
    /// It was closed.
    Closed,
    /// It has stopped by itself.
    Failed(Arc<str>),
}

/// See the module.
pub(crate) struct Shared {
    pub(crate) connector: Connector,
    pub(crate) lease: Lease,
    pub(crate) keeper: Keeper,
    pub(crate) pool: Pool,
    pub(crate) errands: Errands,
    pub(crate) metrics: Metrics,
    pub(crate) clock: Clock,
    pub(crate) retention: Retention,
    pub(crate) fenced: bool,
    pub(crate) phase: watch::Sender<Phase>,
    pub(crate) outage: Outage,
}

impl Shared {
    /// The clock that callers see.
    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// The store stops: what it has met will not pass, and going on might do harm.
    pub(crate) fn fail(&self, reason: &str) {
        self.phase.send_if_modified(|phase| {
            let is_open = *phase == Phase::Open;
            if is_open {
                tracing::error!(reason, "the store has stopped");
                metrics::error(Trouble::Fatal);
                *phase = Phase::Failed(reason.into());
            }
            is_open
        });
    }

    /// What callers get once the store has ended.
    pub(crate) fn stopped(&self) -> Error {
        match &*self.phase.borrow() {
            Phase::Failed(reason) => Error::Fatal(Arc::clone(reason)),
            Phase::Open | Phase::Closed => Error::Fatal("it was closed".into()),
        }
    }

    /// An error unless the store is open.
    pub(crate) fn still_open(&self) -> Result<(), Error> {
        if *self.phase.borrow() == Phase::Open {
            return Ok(());
        }
        Err(self.stopped())
    }

    /// How long an operation keeps trying while the database is away.
    pub(crate) fn patience(&self, op: &'static str) -> Patience {
        Patience {
            op,
            until: boot_time() + self.lease.ttl(),
            delays: Delays::new(self.lease.ttl()),
        }
    }
}

/// Growing, jittered delays between attempts.
pub(crate) struct Delays(backon::ExponentialBackoff);

impl Delays {
    /// From [`limits::STORE_PAUSE`] on, never longer than a fraction of a lease.
    pub(crate) fn new(ttl: Duration) -> Self {
        let longest = (ttl / 8).clamp(limits::STORE_PAUSE, limits::STORE_PAUSE_MAX);
        let builder = ExponentialBuilder::new()
            .with_min_delay(limits::STORE_PAUSE)
            .with_max_delay(longest)
            .with_jitter()
            .without_max_times();
        Self(builder.build())
    }

    /// The next delay.
    pub(crate) fn next(&mut self) -> Duration {
        self.0.next().unwrap_or(limits::STORE_PAUSE_MAX)
    }
}

/// Tries of one operation, until a lease would have run out.
pub(crate) struct Patience {
    op: &'static str,
    until: Duration,
    delays: Delays,
}

impl Patience {
    /// `Some` when there is a result; `None`, after a pause, when it is worth trying again.
    pub(crate) async fn judge<T>(
        &mut self,
        result: Result<T, Problem>,
    ) -> Result<Option<T>, Error> {
        let problem = match result {
            Ok(value) => return Ok(Some(value)),
            Err(problem) => problem,
        };
        let delay = self.delays.next();
        let passes = matches!(problem, Problem::Lost(_) | Problem::Busy { .. });
        if !passes || boot_time() + delay > self.until {
            metrics::error(Trouble::Read);
            return Err(problem.into_error(&format!("the database refused to {}", self.op)));
        }
        tracing::debug!(op = self.op, detail = %problem.detail(), ?delay, "trying again");
        tokio::time::sleep(delay).await;
        Ok(None)
    }
}

/// Since when writes do not get through, and why.
#[derive(Default)]
pub(crate) struct Outage(Mutex<Option<(Duration, Arc<str>)>>);

impl Outage {
    /// A write did not get through.
    pub(crate) fn begin(&self, detail: Arc<str>) {
        let mut outage = lock(&self.0);
        if outage.is_none() {
            tracing::warn!(%detail, "writes wait for the database");
            *outage = Some((boot_time(), detail));
        }
    }

    /// A write got through.
    pub(crate) fn end(&self) {
        let ended = lock(&self.0).take();
        if let Some((since, _)) = ended {
            let lasted = boot_time().saturating_sub(since);
            tracing::info!(?lasted, "the database takes writes again");
        }
    }

    /// Why there is one, if it has lasted for `least`.
    pub(crate) fn lasting(&self, least: Duration) -> Option<Arc<str>> {
        let outage = lock(&self.0);
        let (since, detail) = outage.as_ref()?;
        (boot_time().saturating_sub(*since) >= least).then(|| Arc::clone(detail))
    }
}
