//! Moving shards of the living to where they should be: the one that lacks them asks, so that it
//! sets the pace.

use std::collections::BTreeMap;
use std::time::Duration;

use crane_core::ShardId;

use super::Machine;
use super::words::{Action, Elapsed, Owner, Phase};

/// How often a node asks. Owners let go of a few shards at a time, so that it takes several times to
/// get what it may have in a second.
const EVERY: Duration = Duration::from_millis(250);
/// After that it may ask for more.
const SECOND: Duration = Duration::from_secs(1);
/// It asks for this part of what it lacks in a second, and for one at least.
const PART: usize = 5;

/// At what pace a node asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct State {
    /// When it asks next.
    due: Elapsed,
    /// Shards that it may still ask for in this second.
    left: usize,
    /// When the next second begins.
    refill: Elapsed,
}

impl Machine {
    /// Asks for a fifth of the shards that this node lacks in a second, bit by bit, while no node comes
    /// or goes.
    pub(super) fn balance(&mut self, out: &mut Vec<Action>) {
        let (Some(me), true) = (self.owner(), self.has_lease()) else {
            return;
        };
        if self.phase != Phase::Up || self.now < self.balance.due || self.peers.unsettled() {
            return;
        }
        self.balance.due = self.now.after(EVERY);
        let mut lacking: BTreeMap<Owner, Vec<ShardId>> = BTreeMap::new();
        let mut deficit = 0;
        for (shard, row) in self.view.rows() {
            let Some(owner) = row.owner.as_ref().filter(|owner| **owner != me) else {
                continue;
            };
            let wanted = self.wanted.owner(shard) == Some(&me.node);
            if wanted && self.peers.life_of(&owner.node).as_ref() == Some(owner) {
                lacking.entry(owner.clone()).or_default().push(shard);
                deficit += 1;
            }
        }
        if self.now >= self.balance.refill {
            self.balance.refill = self.now.after(SECOND);
            self.balance.left = (deficit / PART).max(1);
        }
        let mut left = lacking.len();
        let at_once = self.config.transfers * left;
        let mut budget = self.balance.left.min(deficit).min(at_once);
        self.balance.left -= budget;
        for (from, shards) in lacking {
            let share = budget.div_ceil(left).min(shards.len());
            left -= 1;
            budget -= share;
            if share > 0 {
                out.push(Action::Ask {
                    from,
                    by: me.clone(),
                    shards,
                    at_most: share,
                });
            }
        }
    }

    /// Lets go of the quietest of `shards`, if this node too finds that `by` should own them.
    pub(super) fn asked(
        &mut self,
        by: &Owner,
        shards: &[ShardId],
        at_most: usize,
        out: &mut Vec<Action>,
    ) {
        let calm = self.phase == Phase::Up && self.has_lease() && !self.peers.unsettled();
        if !calm || !self.peers.may_receive(by, self.now, self.config.settle) {
            return;
        }
        let free = self.config.transfers.saturating_sub(self.in_motion());
        let fit =
            |shard: &ShardId| shards.contains(shard) && self.wanted.owner(*shard) == Some(&by.node);
        let quietest: Vec<ShardId> = self
            .open_by_load()
            .into_iter()
            .filter(fit)
            .take(at_most.min(free))
            .collect();
        for shard in quietest {
            self.start_closing(shard, Some(by.clone()), out);
        }
    }
}
