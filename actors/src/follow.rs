//! Following a run: all its events from a given one on, without gap or repeat.
//!
//! ```text
//!   subscribe to the hub ──> read the store ──> stored events ──> events from the hub ──> end of round
//!                                 ^───────── fell behind ────────────────┘
//! ```

use std::collections::VecDeque;
use std::sync::Arc;

use crane_core::{Record, Run, RunId, Seq};
use crane_store::codec;
use tokio::sync::broadcast::error::RecvError;

use crate::hub::Subscription;
use crate::kernel::{Kernel, LoadError};
use crate::runtime::ReadError;

/// Reads the events of one run as they become durable.
#[derive(Debug)]
pub struct Follower {
    kernel: Arc<Kernel>,
    subscription: Subscription,
    /// The fold of everything handed out, and of what `after` skipped.
    run: Run,
    /// Stored events that were not handed out yet.
    ready: VecDeque<Record>,
}

impl Follower {
    /// Follows `id` from the event after `after`; `None` when there is no such run.
    pub(crate) async fn open(
        kernel: Arc<Kernel>,
        id: RunId,
        after: Seq,
    ) -> Result<Option<Self>, ReadError> {
        let subscription = kernel.hub.subscribe(id);
        let mut follower = Self {
            kernel,
            subscription,
            run: Run::empty(id),
            ready: VecDeque::new(),
        };
        if !follower.read_store().await? {
            return Ok(None);
        }
        while follower.run.seq < after && !follower.ready.is_empty() {
            follower.step()?;
        }
        Ok(Some(follower))
    }

    /// The run as it was after the last event handed out.
    pub fn run(&self) -> &Run {
        &self.run
    }

    /// Whether the store held nothing more when the follower was opened, and the run had ended.
    pub fn is_at_end(&self) -> bool {
        self.ready.is_empty() && self.run.status().is_ended()
    }

    /// The next event; `None` after the terminal event of the current round.
    ///
    /// # Errors
    /// When the store fails, or what it holds does not fold.
    pub async fn next(&mut self) -> Result<Option<Record>, ReadError> {
        loop {
            if !self.ready.is_empty() {
                return self.step();
            }
            if self.run.status().is_ended() {
                return Ok(None);
            }
            match self.subscription.receiver.recv().await {
                Ok(batch) => {
                    let seen = self.run.seq;
                    let fresh = batch.iter().filter(|record| record.seq > seen).cloned();
                    self.ready.extend(fresh);
                    let gap = self
                        .ready
                        .front()
                        .is_some_and(|record| record.seq != seen.next());
                    if gap {
                        self.ready.clear();
                        self.read_store().await?;
                    }
                }
                Err(RecvError::Lagged(_)) => {
                    self.read_store().await?;
                }
                Err(RecvError::Closed) => return Ok(None),
            }
        }
    }

    /// Hands out one stored event.
    fn step(&mut self) -> Result<Option<Record>, ReadError> {
        let Some(record) = self.ready.pop_front() else {
            return Ok(None);
        };
        self.run
            .apply_with(&record, |source| self.kernel.plans.load(source))
            .map_err(|source| LoadError::Fold {
                run: self.run.id,
                source,
            })?;
        Ok(Some(record))
    }

    /// Fills `ready` with what the store holds after the last event handed out.
    async fn read_store(&mut self) -> Result<bool, ReadError> {
        let Some(image) = self.kernel.store.load(self.run.id).await? else {
            return Ok(false);
        };
        let seen = self.run.seq;
        let records = codec::decode(&image.events)?;
        self.ready
            .extend(records.into_iter().filter(|record| record.seq > seen));
        Ok(true)
    }
}
