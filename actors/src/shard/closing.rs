//! Closing logical shards in good order: for a hand-over of one, and for all of them when the node
//! goes down.
//!
//! ```text
//!   Close ──> run actors: start nothing, stop when no step runs ──> none is left ──> answer
//!                 ^                                                     ^
//!   Interrupt ────┴── cut off what runs, journal that ──────────────────┘
//! ```
//!
//! That the shards are closing is written in their tenures before anybody is told.

use std::collections::HashSet;
use std::sync::Arc;

use crane_core::{RunId, ShardId};
use tokio::sync::oneshot;

use super::{ShardState, Slot};
use crate::run::RunMsg;
use crate::tenure::Tenure;

/// Shards that are being closed, for somebody who waits for that.
#[derive(Debug)]
pub(super) struct Closing {
    tenures: Vec<Arc<Tenure>>,
    /// Runs that were under way and have not ended.
    hot: HashSet<RunId>,
    reply: oneshot::Sender<Vec<RunId>>,
}

impl ShardState {
    /// Running steps may end, no step starts.
    pub(super) fn close(&mut self, shards: &[ShardId], reply: oneshot::Sender<Vec<RunId>>) {
        let tenures: Vec<_> = shards.iter().filter_map(|id| self.tenure(*id)).collect();
        let closed: HashSet<_> = tenures.iter().map(|tenure| tenure.shard()).collect();
        let is_closed = |run: RunId| closed.contains(&run.shard());
        let mut hot = HashSet::new();
        let unspawned = |run: &RunId, slot: &mut Slot| {
            if !is_closed(*run) {
                return false;
            }
            match slot {
                Slot::Active(actor, _) => {
                    actor.send(RunMsg::Drain);
                    hot.insert(*run);
                    false
                }
                // It stops anyway, and sleeps.
                Slot::Passivating(..) => false,
                Slot::Loading(_) | Slot::Backoff(_) => {
                    hot.insert(*run);
                    true
                }
            }
        };
        for (_, slot) in self.runs.extract_if(unspawned) {
            if let Slot::Loading(hold) | Slot::Backoff(hold) = slot {
                hold.turn_away();
            }
        }
        hot.extend(self.pending.remove_all(is_closed));
        self.closings.push(Closing {
            tenures,
            hot,
            reply,
        });
        self.report_closed();
    }

    /// Cuts off what runs in shards whose time for that has come.
    pub(super) fn interrupt(&self) {
        for slot in self.runs.values() {
            if let Slot::Active(actor, hold) = slot
                && hold.tenure().is_cut_off()
            {
                actor.send(RunMsg::Interrupt);
            }
        }
    }

    /// A run of a shard that is being closed has ended by itself.
    pub(super) fn not_hot(&mut self, run: RunId) {
        for closing in &mut self.closings {
            closing.hot.remove(&run);
        }
    }

    /// Answers those whose shards have nothing under way any more.
    pub(super) fn report_closed(&mut self) {
        let is_done = |closing: &mut Closing| closing.tenures.iter().all(|held| held.load() == 0);
        for closing in self.closings.extract_if(.., is_done) {
            // Whoever asked may have run out of patience.
            let _ = closing.reply.send(closing.hot.into_iter().collect());
        }
    }
}
