//! What the checkpointer is told, and when it is woken: only when enough has come together, when a
//! segment was filled, or when somebody asks. Small leftovers stay in memory; the journal has them.

use std::sync::{Condvar, PoisonError};
use std::time::Duration;

use crane_core::RunId;
use tokio::sync::oneshot;

use super::{Mutex, lock};
use crate::Error;

/// Ended runs that are worth waking up for.
const ENDED_RUNS: usize = 64;
/// Passivated runs that make up one batch of snapshots.
pub(crate) const PASSIVE_RUNS: usize = 512;
/// How long the checkpointer waits before it tries again while the disk is too full.
const PAUSE: Duration = Duration::from_secs(1);

/// Work that has come together.
#[derive(Debug, Default)]
pub(crate) struct Pile {
    /// Runs whose events are all durable and the last of which ended them.
    pub(crate) ended: Vec<RunId>,
    /// Runs that began to need a journal segment, with its id.
    pub(crate) dirtied: Vec<(u32, RunId)>,
    /// Runs without an actor.
    pub(crate) passive: Vec<RunId>,
    /// Who waits for a checkpoint of everything.
    pub(crate) requests: Vec<oneshot::Sender<Result<(), Error>>>,
    /// The next journal segment should be prepared.
    pub(crate) prepare: bool,
    /// The store was just opened.
    pub(crate) opened: bool,
    /// Checkpoint everything, sync and stop.
    pub(crate) close: bool,
    /// Stop at once.
    pub(crate) abandon: bool,
}

impl Pile {
    fn is_due(&self) -> bool {
        self.ended.len() >= ENDED_RUNS || self.passive.len() >= PASSIVE_RUNS || self.is_urgent()
    }

    fn is_urgent(&self) -> bool {
        self.prepare || self.opened || self.close || self.abandon || !self.requests.is_empty()
    }

    /// Moves everything from `self` behind what is in `other`.
    fn move_to(&mut self, other: &mut Self) {
        other.ended.append(&mut self.ended);
        other.dirtied.append(&mut self.dirtied);
        other.passive.append(&mut self.passive);
        other.requests.append(&mut self.requests);
        other.prepare |= std::mem::take(&mut self.prepare);
        other.opened |= std::mem::take(&mut self.opened);
        other.close |= self.close;
        other.abandon |= self.abandon;
    }
}

/// What wakes the checkpointer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Sleep {
    #[default]
    Awake,
    /// Enough work.
    UntilDue,
    /// Only what cannot wait: the disk is full.
    UntilUrgent,
}

#[derive(Debug, Default)]
struct Inner {
    pile: Pile,
    sleep: Sleep,
    /// Nobody takes the pile any more.
    ended: bool,
}

/// The pile between the other threads and the checkpointer.
#[derive(Debug, Default)]
pub(crate) struct Work {
    inner: Mutex<Inner>,
    wake: Condvar,
}

impl Work {
    /// Adds to the pile.
    pub(crate) fn add(&self, add: impl FnOnce(&mut Pile)) {
        let mut inner = lock(&self.inner);
        add(&mut inner.pile);
        if inner.ended {
            // Dropping a request tells whoever waits for it.
            inner.pile = Pile::default();
        }
        let wake = match inner.sleep {
            Sleep::Awake => false,
            Sleep::UntilDue => inner.pile.is_due(),
            Sleep::UntilUrgent => inner.pile.is_urgent(),
        };
        if wake {
            inner.sleep = Sleep::Awake;
        }
        drop(inner);
        if wake {
            self.wake.notify_one();
        }
    }

    /// Waits until there is enough to do. While `paused` (the disk is full), looks again after a
    /// second or when somebody asks.
    pub(crate) fn wait(&self, paused: bool) {
        let mut inner = lock(&self.inner);
        if paused {
            inner.sleep = Sleep::UntilUrgent;
            (inner, _) = self
                .wake
                .wait_timeout_while(inner, PAUSE, |inner| !inner.pile.is_urgent())
                .unwrap_or_else(PoisonError::into_inner);
        } else {
            while !inner.pile.is_due() {
                inner.sleep = Sleep::UntilDue;
                inner = self
                    .wake
                    .wait(inner)
                    .unwrap_or_else(PoisonError::into_inner);
            }
        }
        inner.sleep = Sleep::Awake;
    }

    /// The checkpointer is gone.
    pub(crate) fn end(&self) {
        let mut inner = lock(&self.inner);
        inner.ended = true;
        inner.pile = Pile::default();
    }

    /// Moves the pile to `pile`.
    pub(crate) fn take(&self, pile: &mut Pile) {
        lock(&self.inner).pile.move_to(pile);
    }
}
