//! Logical shards that come and go.
//!
//! ```text
//!   open_shard, stop_shard, fenced ──> Tenures (the truth) ──> Owned ──> reconcile
//!                                                                          │
//!          ended: actors killed, timers, queue and buffers dropped <───────┤
//!          begun: hot runs queued, the others read in the background <─────┘
//! ```
//!
//! The shard compares what it holds with what the node owns, whenever it is told to and whenever it
//! meets a tenure that is over. So no message about ownership can come too late or in the wrong
//! order, and a shard actor that is started again needs no other way.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crane_core::retry::RetryPolicy;
use crane_core::{Epoch, RunId, ShardId, limits};
use crane_store::{Error, Unfinished};
use futures_util::StreamExt;

use super::queue::Rank;
use super::{Hold, ShardMsg, ShardState, Slot};
use crate::kernel::Kernel;
use crate::lease::is_loss;
use crate::mailbox::Mailbox;
use crate::tenure::Tenure;

impl ShardState {
    /// The tenure of a logical shard of this actor; `None` when the node does not own it.
    pub(super) fn tenure(&mut self, shard: ShardId) -> Option<Arc<Tenure>> {
        if let Some(tenure) = self.held_now(shard) {
            return Some(tenure.clone());
        }
        self.reconcile();
        self.held_now(shard).cloned()
    }

    pub(super) fn held_now(&self, shard: ShardId) -> Option<&Arc<Tenure>> {
        let place = usize::from(shard.0) / self.kernel.shards.len();
        let tenure = self.held.get(place)?.as_ref()?;
        (!tenure.is_over()).then_some(tenure)
    }

    /// Whether a message of this epoch is of the present.
    pub(super) fn is_of_now(&self, shard: ShardId, epoch: Epoch) -> bool {
        self.held_now(shard)
            .is_some_and(|tenure| tenure.epoch() == epoch)
    }

    /// Holds what the node owns, all of whose runs are known already.
    pub(super) fn hold_all(&mut self) {
        self.compare();
    }

    /// Takes over from the table what was begun and what has ended.
    pub(super) fn reconcile(&mut self) {
        let (ended, begun) = self.compare();
        if !ended.is_empty() {
            self.end(&ended);
        }
        if !begun.is_empty() {
            self.restore(begun);
        }
        if !ended.is_empty() {
            self.fill_slots();
            self.report_closed();
        }
    }

    /// Brings `held` up to date; the shards whose tenure has ended, the tenures that have begun.
    fn compare(&mut self) -> (HashSet<ShardId>, Vec<Arc<Tenure>>) {
        let count = self.kernel.shards.len();
        let places = usize::from(crane_core::ids::SHARD_COUNT).div_ceil(count);
        self.held.resize(places, None);
        let (mut ended, mut begun) = (HashSet::new(), Vec::new());
        for (place, held) in self.held.iter_mut().enumerate() {
            let Ok(number) = u16::try_from(place * count + self.index) else {
                continue;
            };
            let shard = ShardId(number);
            let owned = self.kernel.tenures.get(shard);
            match (&*held, &owned) {
                (None, None) => continue,
                (Some(held), Some(owned)) if Arc::ptr_eq(held, owned) => continue,
                (Some(_), Some(_) | None) => {
                    ended.insert(shard);
                }
                (None, Some(_)) => {}
            }
            begun.extend(owned.clone());
            *held = owned;
        }
        (ended, begun)
    }

    /// Drops all that belongs to shards whose tenure has ended. What runs is killed, nothing is
    /// written; whoever waits is told.
    fn end(&mut self, shards: &HashSet<ShardId>) {
        let has_ended = |run: RunId| shards.contains(&run.shard());
        for (_, slot) in self.runs.extract_if(|run, _| has_ended(*run)) {
            let hold = match slot {
                Slot::Active(actor, hold) | Slot::Passivating(actor, hold) => {
                    self.actors.remove(&actor.actor().get_id());
                    // Its steps are its children and go with it.
                    actor.actor().kill();
                    hold
                }
                Slot::Loading(hold) | Slot::Backoff(hold) => hold,
            };
            hold.turn_away();
        }
        self.timers.clear_all(has_ended);
        self.pending.remove_all(has_ended);
        self.budgets.retain(|run, _| !has_ended(*run));
    }

    /// Puts the hot runs of new tenures into the queue and reads the others in the background.
    fn restore(&mut self, tenures: Vec<Arc<Tenure>>) {
        for tenure in &tenures {
            for run in tenure.hot() {
                if run.shard() == tenure.shard() {
                    self.enqueue(*run, Rank::Hot, None);
                }
            }
        }
        self.fill_slots();
        let (kernel, shard) = (self.kernel.clone(), self.me.clone());
        self.kernel.background(read_all(kernel, shard, tenures));
    }

    /// Runs that were read after their shard was opened.
    pub(super) fn restored(&mut self, runs: Vec<(Epoch, Unfinished)>) {
        for (epoch, unfinished) in runs {
            if self.is_of_now(unfinished.run.shard(), epoch) {
                self.take_up(&unfinished);
            }
        }
        self.fill_slots();
        self.timers.arm(&self.me, &self.kernel.clock);
    }
}

impl Hold {
    /// Tells those who wait for a run that its shard has closed.
    pub(super) fn turn_away(self) {
        let shard = self.tenure().shard();
        if self.tenure().is_leased() {
            for queued in self.buffer {
                queued.turn_away(shard);
            }
        }
    }
}

/// Reads the unfinished runs of `tenures`, again and again until it succeeds or they are over.
async fn read_all(kernel: Arc<Kernel>, shard: Mailbox<ShardMsg>, mut tenures: Vec<Arc<Tenure>>) {
    let mut tries = 0;
    loop {
        tenures.retain(|tenure| !tenure.is_over());
        if tenures.is_empty() {
            return;
        }
        let Err(error) = read(&kernel, &shard, &tenures).await else {
            return;
        };
        if is_loss(&error) && kernel.lease.is_some() {
            lose(&tenures, error);
            shard.send(ShardMsg::Owned);
            continue;
        }
        tries += 1;
        let pause = pause(tries, tenures[0].shard());
        let shards = tenures.len();
        tracing::error!(%error, shards, ?pause, "unfinished runs cannot be read, will be tried again");
        tokio::time::sleep(pause).await;
    }
}

/// Reads the unfinished runs of `tenures` once.
async fn read(
    kernel: &Kernel,
    shard: &Mailbox<ShardMsg>,
    tenures: &[Arc<Tenure>],
) -> Result<(), Error> {
    let _permit = match &kernel.lease {
        // Never closed.
        Some(lease) => lease.restores.acquire().await.ok(),
        None => None,
    };
    let epochs: HashMap<ShardId, Epoch> = tenures
        .iter()
        .map(|tenure| (tenure.shard(), tenure.epoch()))
        .collect();
    let fences = tenures.iter().map(|tenure| tenure.fence()).collect();
    let mut runs = kernel.store.restore(fences);
    let mut batch = Vec::new();
    while let Some(unfinished) = runs.next().await {
        let unfinished = unfinished?;
        if let Some(epoch) = epochs.get(&unfinished.run.shard()) {
            batch.push((*epoch, unfinished));
        }
        if batch.len() >= limits::RESTORE_BATCH {
            shard.send(ShardMsg::Restored(std::mem::take(&mut batch)));
        }
    }
    if !batch.is_empty() {
        shard.send(ShardMsg::Restored(batch));
    }
    Ok(())
}

/// The store does not let these be read: the one that it names, or all, are over.
fn lose(tenures: &[Arc<Tenure>], error: Error) {
    let named = match &error {
        Error::Fenced { shard, .. } => Some(*shard),
        _ => None,
    };
    let is_meant = |tenure: &&Arc<Tenure>| named.is_none_or(|shard| tenure.shard() == shard);
    // A name that is none of them would be asked for again for ever.
    let is_known = tenures.iter().any(|tenure| is_meant(&tenure));
    let refused = Err(error);
    for tenure in tenures
        .iter()
        .filter(|tenure| !is_known || is_meant(tenure))
    {
        tenure.note(&refused);
    }
}

/// The pause after so many failures; shards that failed together do not try together.
fn pause(tries: u32, shard: ShardId) -> Duration {
    let policy = RetryPolicy {
        initial: limits::RESTORE_PAUSE,
        max: limits::RESTORE_PAUSE_MAX,
        ..RetryPolicy::default()
    };
    policy.delay(tries, u64::from(shard.0) << 32 | u64::from(tries))
}
