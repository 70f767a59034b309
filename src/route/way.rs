//! The way of a request to the node that owns its run: the loop that carries out a [`Trip`].
//!
//! It knows neither HTTP nor actors: it is given places, a way to ask another node, and this node's own
//! answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crane_cluster::gateway::CallError;
use crane_cluster::gateway::envelope::Reply;
use crane_core::{Epoch, NodeName, RunId, ShardId, limits};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::field::{Answers, Field, Place};
use super::trip::{Next, Patience, Stuck, Trip, Turn};
use super::wire;
use super::words::{Answer, Ask, Trouble};

/// See the module.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) field: Arc<dyn Field>,
    pub(super) here: Arc<dyn Answers>,
    /// A permit for each request that may wait.
    waiting: Semaphore,
    /// Keeps the pauses of requests apart.
    salt: AtomicU64,
}

/// An answer, and how it came.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) answer: Answer,
    /// Whether an earlier try may have been carried out without an answer.
    pub(super) again: bool,
}

impl Way {
    pub(super) fn new(field: Arc<dyn Field>, here: Arc<dyn Answers>) -> Self {
        Self {
            field,
            here,
            waiting: Semaphore::new(limits::MOVING_REQUESTS),
            salt: AtomicU64::new(0),
        }
    }

    /// Gets `ask` to the owner of `run`, and its answer back.
    pub(super) async fn go(
        &self,
        run: RunId,
        ask: &Ask,
        patience: Patience,
    ) -> Result<Arrived, Stuck> {
        let shard = run.shard();
        let start = Instant::now();
        let salt = self.salt.fetch_add(1, Ordering::Relaxed);
        let mut trip = Trip::new(run, salt, patience, ask.may_be_repeated());
        let mut permit = None;
        loop {
            let place = self.field.place(shard);
            let tried = match &place {
                Place::Here(_) => self.answer_here(run, ask).await,
                Place::There { node, epoch } => {
                    let call = trip.call(start.elapsed(), ask.wait());
                    self.ask_there(run, ask, (node, *epoch), call, trip.hops())
                        .await
                }
                Place::Nobody => Err(Turn::NotHere),
            };
            let mut turn = match tried {
                Ok(answer) => {
                    let again = trip.was_unknown();
                    return Ok(Arrived { answer, again });
                }
                Err(turn) => turn,
            };
            if turn == Turn::NotHere && self.field.place(shard) != place {
                turn = Turn::Redirected;
            }
            match trip.after(turn, start.elapsed()) {
                Next::Again => {}
                Next::Pause(length) => {
                    if patience.counted && permit.is_none() {
                        permit = Some(self.wait_among_others()?);
                    }
                    trip.paused(self.pause(shard, &place, length).await);
                }
                Next::GiveUp(stuck) => return Err(stuck),
            }
        }
    }

    fn wait_among_others(&self) -> Result<SemaphorePermit<'_>, Stuck> {
        self.waiting.try_acquire().map_err(|_| Stuck::Crowded)
    }

    async fn answer_here(&self, run: RunId, ask: &Ask) -> Result<Answer, Turn> {
        let answered = self.here.answer(run, ask, self.field.me()).await;
        answered.map_err(Turn::from)
    }

    async fn ask_there(
        &self,
        run: RunId,
        ask: &Ask,
        (node, epoch): (&NodeName, Epoch),
        deadline: Duration,
        hops: u8,
    ) -> Result<Answer, Turn> {
        let mut request = wire::encode(run, ask);
        request.epoch = epoch;
        request.deadline = deadline;
        request.hops = hops;
        let reply = self.field.call(node, &request).await;
        if let Ok(Reply::NotOwner { owner, epoch }) = &reply {
            self.field.learn(run.shard(), owner.clone(), *epoch);
        }
        answer_of(node, brought(node, reply)?)
    }

    /// Waits until the run's place is another one, or `length` is over; gives how long that was.
    async fn pause(&self, shard: ShardId, place: &Place, length: Duration) -> Duration {
        let start = Instant::now();
        let mut changed = self.field.changed();
        self.field.refresh();
        let moves = async {
            while self.field.place(shard) == *place && changed.changed().await.is_ok() {}
            if self.field.place(shard) == *place {
                // The cluster is going down: only time passes now.
                std::future::pending::<()>().await;
            }
        };
        // Whether it moves or not: what is left then is decided by what is found.
        let _ = tokio::time::timeout(length, moves).await;
        start.elapsed()
    }
}

impl From<Trouble> for Turn {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::NotOwner => Self::NotHere,
            Trouble::Unknown => Self::Unknown,
        }
    }
}

/// The answer that a call to `node` has brought, as bytes.
pub(super) fn brought(node: &NodeName, reply: Result<Reply, CallError>) -> Result<Vec<u8>, Turn> {
    match reply.map_err(|error| turn_of(&error))? {
        Reply::Done(bytes) => Ok(bytes),
        Reply::NotOwner { .. } => Err(Turn::NotHere),
        Reply::Busy { retry_after } => Err(Turn::Busy(retry_after)),
        Reply::Expired => Err(Turn::Unknown),
        Reply::NotUnderstood(text) => Err(Turn::NotUnderstood(format!("node {node}: {text}"))),
        Reply::Failed(text) => {
            tracing::warn!(%node, text, "another node has failed to answer");
            Err(Turn::Unknown)
        }
    }
}

/// The answer of `node` about a run.
pub(super) fn answer_of(node: &NodeName, bytes: Vec<u8>) -> Result<Answer, Turn> {
    let answer = wire::decode_answer(bytes);
    answer.map_err(|error| Turn::NotUnderstood(format!("the answer of node {node}: {error}")))
}

/// What a call that brought no reply means.
fn turn_of(error: &CallError) -> Turn {
    match error {
        CallError::NotConnected(_) => Turn::Unreachable,
        CallError::Busy(_) => Turn::Busy(Duration::ZERO),
        CallError::Expired(_) | CallError::Lost(_) | CallError::GivenUp(_) => Turn::Unknown,
        CallError::TooLarge(_) | CallError::NotUnderstood(..) => {
            Turn::NotUnderstood(error.to_string())
        }
    }
}
