//! Following a run: all its events from a given one on, without gap or repeat.
//!
//! ```text
//!   subscribe to the hub ──> read the store ──> stored events ──> events from the hub ──> end of round
//!                                 ^───────── fell behind ────────────────┘
//! ```
//!
//! [`Tail`] hands on batches of events as they are, and shares them with everybody who follows the
//! same run; [`Follower`] folds them, so that its reader sees the run as it was after each.

mod tail;

use std::sync::Arc;

use crane_core::{Record, Run, RunId, Seq};

use crate::kernel::{Kernel, LoadError};
use crate::runtime::ReadError;

pub use crate::hub::EventBatch;
pub use tail::{Heard, Piece, Tail};

/// Reads the events of one run as they become durable. One that falls behind reads the store again
/// and misses nothing.
#[derive(Debug)]
pub struct Follower {
    tail: Tail,
    /// The fold of everything handed out, and of what `after` skipped.
    run: Run,
    /// What is being handed out, and the position of the next event in it.
    piece: Option<(Piece, usize)>,
}

impl Follower {
    /// Follows `id` from the event after `after`; `None` when there is no such run.
    pub(crate) async fn open(
        kernel: Arc<Kernel>,
        id: RunId,
        after: Seq,
    ) -> Result<Option<Self>, ReadError> {
        let Some(tail) = Tail::open(kernel, id, Seq(0)).await? else {
            return Ok(None);
        };
        let mut follower = Self {
            tail,
            run: Run::empty(id),
            piece: None,
        };
        while follower.run.seq < after && follower.has_stored().await? {
            follower.step()?;
        }
        Ok(Some(follower))
    }

    /// The run as it was after the last event handed out.
    pub fn run(&self) -> &Run {
        &self.run
    }

    /// Whether everything that was stored so far is handed out, and the run has ended.
    pub fn is_at_end(&self) -> bool {
        self.piece.is_none() && self.tail.is_at_end()
    }

    /// The next event; `None` after the terminal event of the current round.
    ///
    /// # Errors
    /// When the store fails, what it holds does not fold, or the run's shard is not this node's any
    /// more.
    pub async fn next(&mut self) -> Result<Option<Record>, ReadError> {
        loop {
            if self.piece.is_some() {
                return self.step();
            }
            match self.tail.next().await? {
                Heard::Events(piece) => self.piece = Some((piece, 0)),
                // The next look finds the gap and reads the store.
                Heard::Lagged => {}
                Heard::Ended => return Ok(None),
            }
        }
    }

    /// Whether the store has something more to hand out.
    async fn has_stored(&mut self) -> Result<bool, ReadError> {
        if self.piece.is_none() {
            self.piece = self.tail.next_stored().await?.map(|piece| (piece, 0));
        }
        Ok(self.piece.is_some())
    }

    /// Hands out one event of the piece at hand.
    fn step(&mut self) -> Result<Option<Record>, ReadError> {
        let Some((piece, position)) = self.piece.take() else {
            return Ok(None);
        };
        let Some(record) = piece.batch.records().get(position).cloned() else {
            return Ok(None);
        };
        if position + 1 < piece.batch.records().len() {
            self.piece = Some((piece.clone(), position + 1));
        }
        self.run
            .apply_with(&record, |_| piece.plan.clone())
            .map_err(|source| LoadError::Fold {
                run: self.run.id,
                source,
            })?;
        Ok(Some(record))
    }
}
