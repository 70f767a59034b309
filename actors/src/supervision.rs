//! The supervision tree as it is at the moment, for operators.
//!
//! The numbers are those that the metrics show ([`crate::metrics`]); nothing is asked of any actor,
//! so that looking works when actors are stuck.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crane_core::restart::RestartPolicy;

use crate::metrics::count::Depth;
use crate::metrics::{ActorKind, Failure, FailureKind, KindMetrics};

/// All actors of one kind.
#[derive(Clone, Debug)]
pub struct KindView {
    /// The kind.
    pub kind: ActorKind,
    /// Actors alive.
    pub alive: u64,
    /// Actors spawned since the node started.
    pub spawned: u64,
    /// Restarts after a panic or an error.
    pub restarts_failed: u64,
    /// Restarts because the store refused a write.
    pub restarts_store: u64,
    /// Actors that panicked or failed.
    pub failures: u64,
    /// How often one was given up because it failed too often.
    pub given_up: u64,
    /// Messages sent to actors of this kind and not yet handled.
    pub mailbox_depth: u64,
    /// The last failure.
    pub last_failure: Option<Failure>,
    /// How often one such actor may fail; `None` where none is restarted: the root, the journal
    /// (whose failure ends the process) and steps (which the run's retry policy repeats).
    pub restart_policy: Option<RestartPolicy>,
}

/// One shard.
#[derive(Clone, Debug)]
pub struct ShardView {
    /// Its number.
    pub shard: usize,
    /// Whether it has an actor; false while it is being restarted.
    pub alive: bool,
    /// Runs that have an actor, are being loaded or wait for a restart.
    pub runs: usize,
    /// Durable runs that wait for a slot.
    pub waiting: usize,
    /// Messages sent to it and not yet handled.
    pub mailbox_depth: u64,
    /// Restarts since the node started.
    pub restarts: u64,
    /// Its last failure.
    pub last_failure: Option<Failure>,
}

/// The tree.
#[derive(Clone, Debug)]
pub struct Tree {
    /// By kind, parents first.
    pub kinds: Vec<KindView>,
    /// The shards, by number.
    pub shards: Vec<ShardView>,
}

/// What is counted for each shard.
#[derive(Debug, Default)]
pub(crate) struct ShardCounts {
    pub(crate) depth: Arc<Depth>,
    runs: AtomicUsize,
    waiting: AtomicUsize,
    restarts: AtomicU64,
    last_failure: Mutex<Option<Failure>>,
}

impl ShardCounts {
    pub(crate) fn show_load(&self, runs: usize, waiting: usize) {
        self.runs.store(runs, Ordering::Relaxed);
        self.waiting.store(waiting, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self, failure: Failure) {
        self.show_load(0, 0);
        *self.last() = Some(failure);
    }

    pub(crate) fn restarted(&self) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn view(&self, shard: usize, alive: bool) -> ShardView {
        ShardView {
            shard,
            alive,
            runs: self.runs.load(Ordering::Relaxed),
            waiting: self.waiting.load(Ordering::Relaxed),
            mailbox_depth: self.depth.get(),
            restarts: self.restarts.load(Ordering::Relaxed),
            last_failure: self.last().clone(),
        }
    }

    fn last(&self) -> MutexGuard<'_, Option<Failure>> {
        self.last_failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl KindView {
    pub(crate) fn of(kind: ActorKind, metrics: &KindMetrics, mailbox_depth: u64) -> Self {
        Self {
            kind,
            alive: metrics.alive(),
            spawned: metrics.spawned.get(),
            restarts_failed: metrics.restarts(FailureKind::Failed),
            restarts_store: metrics.restarts(FailureKind::Store),
            failures: metrics.failures.get(),
            given_up: metrics.exhausted.get(),
            mailbox_depth,
            last_failure: metrics.last_failure(),
            restart_policy: match kind {
                ActorKind::Node | ActorKind::Journal | ActorKind::Step => None,
                ActorKind::ToolSupervisor | ActorKind::Tool | ActorKind::Shard | ActorKind::Run => {
                    Some(RestartPolicy::default())
                }
            },
        }
    }
}
