//! Handing shards over: closed here, then given to the next owner in the store, then told to it.
//!
//! ```text
//!   Open ── CloseShard ──> Closing ── Closed ──> Closed ── Hand ──> Handing ── Handed ──> gone, Assign
//! ```
//! A shard is never without an owner on the way, unless there is nobody to give it to.

use std::time::Duration;

use crane_core::{Epoch, Generation, RunId, ShardId};

use super::words::{Action, Call, Elapsed, Event, Handover, How, Owner, Phase, Reason};
use super::{Held, Machine, Stage};

/// A shard that has been closing for so long has long steps.
const LONG: Duration = Duration::from_millis(250);

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct State {
    /// No hand-over is tried before, after one failed.
    pub(super) retry_at: Elapsed,
    /// Whether some shard went to another node, which may still be asked for here.
    handed_any: bool,
    /// When the last shard was gone.
    empty_since: Option<Elapsed>,
}

impl Machine {
    pub(super) fn start_drain(&mut self) {
        if self.phase != Phase::Left {
            self.phase = Phase::Draining;
        }
    }

    /// Shards that are on their way out.
    pub(super) fn in_motion(&self) -> usize {
        let moving = |held: &&Held| held.stage != Stage::Open;
        self.held.values().filter(moving).count()
    }

    /// The same without those that wait for long steps: when all are to go, others need not wait for
    /// these as well.
    fn in_motion_now(&self) -> usize {
        let moving = |held: &&Held| match &held.stage {
            Stage::Open => false,
            Stage::Closing { since, .. } => self.now.since(*since) < LONG,
            Stage::Closed { .. } | Stage::Handing { .. } => true,
        };
        self.held.values().filter(moving).count()
    }

    pub(super) fn start_closing(
        &mut self,
        shard: ShardId,
        to: Option<Owner>,
        out: &mut Vec<Action>,
    ) {
        if let Some(held) = self.held.get_mut(&shard) {
            let since = self.now;
            held.stage = Stage::Closing { to, since };
            let (epoch, how) = (held.epoch, How::HandOver);
            out.push(Action::CloseShard { shard, epoch, how });
        }
    }

    /// Closes a few shards at a time, the quietest first: they are gone at once, and all the others get
    /// the same time for their running steps, or nearly so. Leaves when none is left and late messages
    /// have been forwarded long enough.
    pub(super) fn drain(&mut self, out: &mut Vec<Action>) {
        if self.phase != Phase::Draining {
            return;
        }
        let Some(me) = self.owner() else {
            self.phase = Phase::Left;
            return;
        };
        let free = self.config.transfers.saturating_sub(self.in_motion_now());
        for shard in self.open_by_load().into_iter().take(free) {
            let to = self.next_owner(shard);
            self.start_closing(shard, to, out);
        }
        if !self.held.is_empty() {
            self.drain.empty_since = None;
            return;
        }
        let since = *self.drain.empty_since.get_or_insert(self.now);
        let forwards = self.drain.handed_any && self.peers.any_alive();
        let lingered = !forwards || self.now.since(since) >= self.config.linger;
        let idle = !self.busy.contains(&Call::Hand) && self.now >= self.drain.retry_at;
        if lingered && idle {
            let by = me.generation;
            self.call(Call::Leave, Action::Leave { by }, out);
        }
    }

    pub(super) fn left_store(&mut self) {
        self.busy.remove(&Call::Leave);
        self.phase = Phase::Left;
    }

    /// Who is to own `shard` when this node does not.
    fn next_owner(&self, shard: ShardId) -> Option<Owner> {
        self.peers.life_of(self.wanted.owner(shard)?)
    }

    pub(super) fn closed(&mut self, shard: ShardId, epoch: Epoch, hot: Vec<RunId>) {
        if let Some(held) = self.held.get_mut(&shard)
            && held.epoch == epoch
            && let Stage::Closing { to, .. } = &held.stage
        {
            let to = to.clone();
            held.stage = Stage::Closed { to, hot };
        }
    }

    /// Tells the store about the shards that rest.
    pub(super) fn hand_over(&mut self, out: &mut Vec<Action>) {
        let (Some(me), true) = (self.owner(), self.has_lease()) else {
            return;
        };
        if self.busy.contains(&Call::Hand) || self.now < self.drain.retry_at {
            return;
        }
        self.find_fit_owners(&me);
        let mut rows = Vec::new();
        for (shard, held) in &mut self.held {
            if let Stage::Closed { to, hot } = &mut held.stage {
                let (to, hot) = (to.take(), std::mem::take(hot));
                let (shard, epoch) = (*shard, held.epoch);
                rows.push(Handover {
                    shard,
                    epoch,
                    to: to.clone(),
                });
                held.stage = Stage::Handing { to, hot };
            }
        }
        if !rows.is_empty() {
            let by = me.generation;
            self.call(Call::Hand, Action::Hand { by, rows }, out);
        }
    }

    /// A shard that rests may have been meant for a node that is not fit any more. A draining node
    /// then finds another one. A node that stays hands the shard to itself, in a new epoch: an
    /// earlier hand-over whose answer was lost may have been carried out, or may be yet.
    fn find_fit_owners(&mut self, me: &Owner) {
        let resting = |(shard, held): (&ShardId, &Held)| match &held.stage {
            Stage::Closed { to, .. } => Some((*shard, to.clone())),
            Stage::Open | Stage::Closing { .. } | Stage::Handing { .. } => None,
        };
        let resting: Vec<_> = self.held.iter().filter_map(resting).collect();
        let drains = self.phase == Phase::Draining;
        for (shard, to) in resting {
            let fit = to
                .as_ref()
                .is_some_and(|to| self.peers.life_of(&to.node).as_ref() == Some(to));
            if fit {
                continue;
            }
            let next = if drains {
                self.next_owner(shard)
            } else {
                Some(me.clone())
            };
            if let Some(held) = self.held.get_mut(&shard)
                && let Stage::Closed { to, .. } = &mut held.stage
            {
                *to = next;
            }
        }
    }

    /// Nobody knows what the store did; asking again is harmless, since it names the epoch.
    pub(super) fn hand_failed(&mut self) {
        for held in self.held.values_mut() {
            if let Stage::Handing { to, hot } = &mut held.stage {
                let (to, hot) = (to.take(), std::mem::take(hot));
                held.stage = Stage::Closed { to, hot };
            }
        }
        self.drain.retry_at = self.now.after(self.config.ttl / 8);
        self.view.read_at(self.now);
    }

    pub(super) fn handed(&mut self, by: Generation, rows: &[Handover], out: &mut Vec<Action>) {
        self.busy.remove(&Call::Hand);
        if self.lease.generation != Some(by) {
            return;
        }
        for Handover { shard, epoch, to } in rows {
            if let Some(to) = to {
                self.view.learn_life(to, self.config.ttl);
            }
            self.view.learn(*shard, to.clone(), *epoch);
        }
        let handing = |(shard, held): (&ShardId, &Held)| {
            matches!(held.stage, Stage::Handing { .. }).then_some(*shard)
        };
        let handing: Vec<ShardId> = self.held.iter().filter_map(handing).collect();
        for shard in handing {
            let Some(Held { epoch, stage }) = self.held.remove(&shard) else {
                continue;
            };
            self.over(shard, epoch);
            // A row that is missing had already gone to somebody else.
            let row = rows.iter().find(|row| row.shard == shard);
            if let (Some(row), Stage::Handing { hot, .. }) = (row, stage)
                && let Some(to) = row.to.clone()
            {
                let epoch = row.epoch;
                if self.owner().as_ref() == Some(&to) {
                    self.open_shard(shard, epoch, hot, Reason::Handover, out);
                    continue;
                }
                self.drain.handed_any = true;
                out.push(Action::Assign {
                    to,
                    shard,
                    epoch,
                    hot,
                });
            }
        }
    }

    /// Another node has handed a shard to this one.
    pub(super) fn assigned(&mut self, event: Event, out: &mut Vec<Action>) {
        let Event::Assigned {
            owner,
            shard,
            epoch,
            hot,
        } = event
        else {
            return;
        };
        if self.owner().as_ref() != Some(&owner) {
            return;
        }
        self.view.learn(shard, Some(owner), epoch);
        if self.phase == Phase::Up {
            self.open_shard(shard, epoch, hot, Reason::Handover, out);
        }
    }
}
