//! What is counted for each kind of actor.

use std::cell::Cell;
use std::sync::{Arc, Mutex, PoisonError};

use crane_core::{RunId, Timestamp, limits};
use metrics::{Gauge, Histogram, counter, gauge, histogram};
use tokio::time::Instant;

use super::count::{Count, Depth};
use super::{ActorKind, FailureKind};

/// Of so many messages to run actors the handling of one is measured. There are several for each
/// step, and measuring one costs about as much as sending it.
const SAMPLED: u64 = 16;

/// How an actor failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// When.
    pub at: Timestamp,
    /// Which actor, in words: `shard 3`, `tool http`, `step a`.
    pub actor: String,
    /// The run it worked for, if it did for a single one.
    pub run: Option<RunId>,
    /// With what.
    pub reason: String,
}

impl Failure {
    /// A failure whose reason is cut to what an error may take.
    pub(crate) fn new(at: Timestamp, actor: String, run: Option<RunId>, reason: &str) -> Self {
        let end = reason.floor_char_boundary(limits::ERROR_BYTES);
        Self {
            at,
            actor,
            run,
            reason: reason[..end].to_owned(),
        }
    }
}

/// Numbers of one kind of actor. Aligned, because kinds are counted on different cores.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct KindMetrics {
    kind: ActorKind,
    pub(crate) spawned: Count,
    ended: Count,
    pub(crate) failures: Count,
    pub(crate) exhausted: Count,
    restarts: [Count; 2],
    /// Messages to actors of this kind; those to shards are counted shard by shard.
    pub(crate) depth: Arc<Depth>,
    last_failure: Mutex<Option<Failure>>,
    alive: Gauge,
    mailbox: Gauge,
    handling: Histogram,
}

impl KindMetrics {
    pub(crate) fn new(kind: ActorKind) -> Self {
        let name = kind.as_str();
        let restarts = FailureKind::ALL.map(|reason| {
            let reason = reason.as_str();
            let labels = [("kind", name), ("reason", reason)];
            Count::new(counter!("crane_actor_restarts_total", &labels))
        });
        let count = |metric: &'static str| Count::new(counter!(metric, "kind" => name));
        Self {
            kind,
            spawned: count("crane_actor_spawns_total"),
            ended: Count::new(metrics::Counter::noop()),
            failures: count("crane_actor_failures_total"),
            exhausted: count("crane_restart_budget_exhausted_total"),
            restarts,
            depth: Arc::default(),
            last_failure: Mutex::default(),
            alive: gauge!("crane_actors", "kind" => name),
            mailbox: gauge!("crane_mailbox_depth", "kind" => name),
            handling: histogram!("crane_message_handle_seconds", "kind" => name),
        }
    }

    /// Measures until it is dropped how long a message is being handled; `None` for one that is
    /// not part of the sample.
    pub(crate) fn time(&self) -> Option<Handling> {
        if self.kind == ActorKind::Run && !is_sampled() {
            return None;
        }
        Some(Handling {
            histogram: self.handling.clone(),
            started: Instant::now(),
        })
    }

    /// An actor has ended, in whatever way; [`crate::kernel::Living`] says so.
    pub(crate) fn ended(&self) {
        self.ended.one();
    }

    /// An actor has failed.
    pub(crate) fn failed(&self, failure: Failure) {
        self.failures.one();
        *self.last() = Some(failure);
    }

    pub(crate) fn restarted(&self, reason: FailureKind) {
        self.restarts[reason as usize].one();
    }

    pub(crate) fn restarts(&self, reason: FailureKind) -> u64 {
        self.restarts[reason as usize].get()
    }

    pub(crate) fn alive(&self) -> u64 {
        // In this order: whoever ends between the two looks is not counted twice.
        let ended = self.ended.get();
        self.spawned.get().saturating_sub(ended)
    }

    pub(crate) fn last_failure(&self) -> Option<Failure> {
        self.last().clone()
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Option<Failure>> {
        self.last_failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings the recorder up to date; `depth` is that of all mailboxes of the kind.
    pub(crate) fn show(&self, depth: u64) {
        self.spawned.show();
        self.failures.show();
        self.exhausted.show();
        for restarts in &self.restarts {
            restarts.show();
        }
        self.alive.set(self.alive() as f64);
        self.mailbox.set(depth as f64);
    }
}

/// See [`KindMetrics::time`].
pub(crate) struct Handling {
    histogram: Histogram,
    started: Instant,
}

impl Drop for Handling {
    fn drop(&mut self) {
        self.histogram.record(self.started.elapsed());
    }
}

/// Picks one of [`SAMPLED`], at random: runs of one plan get the same messages in the same order,
/// and every n-th would always be the same one.
fn is_sampled() -> bool {
    thread_local! {
        static NOISE: Cell<u64> = const { Cell::new(0x9e37_79b9_7f4a_7c15) };
    }
    NOISE.with(|noise| {
        // Marsaglia's xorshift64, <https://doi.org/10.18637/jss.v008.i14>.
        let mut x = noise.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        noise.set(x);
        x % SAMPLED == 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_message_in_sixteen_is_measured_whatever_the_rhythm() {
        let picks: Vec<bool> = (0..160_000).map(|_| is_sampled()).collect();
        for place in 0..4 {
            let every_fourth = picks.iter().skip(place).step_by(4);
            let share = every_fourth.filter(|picked| **picked).count();
            assert!((2_200..2_800).contains(&share), "{share} of 40000");
        }
    }
}
