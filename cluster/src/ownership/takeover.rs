//! Taking shards that nobody acts for: those without an owner, and those of the dead.
//!
//! ```text
//!   row's owner             before it is taken
//!   nobody, or declared dead   nothing
//!   an earlier life of this process   declare it dead: it is
//!   not heard of, and gone by evidence   declare it dead before its lease is over
//!   not heard of, or lease seen over   declare it dead when the lease is over
//! ```
//! Never on a time-out of gossip alone: the epoch would keep the journal safe, but effects could be
//! doubled.

use crane_core::{Epoch, Generation, ShardId};

use super::Machine;
use super::words::{Action, Call, Death, Owner, Phase, Reason};

impl Machine {
    pub(super) fn take_over(&mut self, out: &mut Vec<Action>) {
        let (Some(me), true) = (self.owner(), self.has_lease()) else {
            return;
        };
        if self.phase != Phase::Up || self.busy.contains(&Call::Take) {
            return;
        }
        let mut rows: Vec<(ShardId, Epoch)> = Vec::new();
        let mut dying: Option<(Owner, Death)> = None;
        for (shard, row) in self.view.rows() {
            let wanted = self.wanted.owner(shard) == Some(&me.node);
            if !wanted || self.held.contains_key(&shard) || row.owner.as_ref() == Some(&me) {
                continue;
            }
            let patient = self.now < self.lease.patient_until;
            match &row.owner {
                None => rows.push((shard, row.epoch)),
                Some(owner) if patient && owner.node != self.me => {}
                Some(owner) if self.view.is_dead(owner) => rows.push((shard, row.epoch)),
                Some(owner) => {
                    if dying.is_none()
                        && let Some(ground) = self.ground(owner)
                    {
                        dying = Some((owner.clone(), ground));
                    }
                }
            }
        }
        if let Some((owner, ground)) = dying {
            self.call(Call::Declare, Action::DeclareDead { owner, ground }, out);
        }
        if !rows.is_empty() {
            let by = me.generation;
            self.call(Call::Take, Action::Take { by, rows }, out);
        }
    }

    /// On what ground `owner` may be declared dead by now.
    fn ground(&self, owner: &Owner) -> Option<Death> {
        if self.is_earlier_self(owner) || self.peers.is_gone(owner) {
            return Some(Death::Gone);
        }
        let missed = !self.peers.is_heard_of(owner) || self.view.lease_was_over(owner);
        (missed && self.view.lease_may_be_over(owner, self.now) && self.now >= self.declare_at)
            .then_some(Death::Expired)
    }

    fn is_earlier_self(&self, owner: &Owner) -> bool {
        owner.node == self.me && self.lease.earlier.contains(&owner.generation)
    }

    pub(super) fn declared_dead(&mut self, owner: &Owner, dead: bool) {
        self.busy.remove(&Call::Declare);
        if dead {
            self.view.learn_death(owner);
            self.peers.forget_gone(owner);
            if owner.node == self.me {
                self.lease.earlier.retain(|life| *life != owner.generation);
            }
        } else {
            // It lives, by the store's clock; see how long.
            self.peers.forget_gone(owner);
            self.declare_at = self.now.after(self.config.ttl / 16);
            self.view.read_at(self.now);
        }
    }

    pub(super) fn taken(
        &mut self,
        by: Generation,
        rows: &[(ShardId, Epoch)],
        out: &mut Vec<Action>,
    ) {
        self.busy.remove(&Call::Take);
        let Some(me) = self.owner().filter(|me| me.generation == by) else {
            return;
        };
        for (shard, epoch) in rows {
            let before = self.view.row(*shard).and_then(|row| row.owner.as_ref());
            let reason = match before {
                Some(_) => Reason::Takeover,
                None => Reason::Unowned,
            };
            self.view.learn(*shard, Some(me.clone()), *epoch);
            self.open_shard(*shard, *epoch, Vec::new(), reason, out);
        }
        // Whoever was faster shows in the table.
        self.view.read_at(self.now.after(self.config.ttl / 16));
    }
}
