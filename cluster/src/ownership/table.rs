//! The store's table as this node knows it: old by nature, so that every use of it is checked by
//! the store again, with the epoch that was seen. What is known of a shard never goes back to an
//! earlier epoch, however late an answer comes.

use std::sync::Arc;
use std::time::Duration;

use crane_core::{Epoch, ShardId};

use super::words::{Action, Call, Elapsed, Handover, LeaseRow, Owner, Phase, Reason, Row, Table};
use super::{Held, Machine};

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct View {
    rows: Vec<Row>,
    leases: Vec<LeaseRow>,
    /// When the leases were asked for; `None` before the first answer.
    asked: Option<Elapsed>,
    asking: Elapsed,
    next: Elapsed,
}

impl View {
    pub(super) fn is_known(&self) -> bool {
        self.asked.is_some()
    }

    /// The sum of the epochs.
    pub(super) fn version(&self) -> u64 {
        self.rows.iter().map(|row| row.epoch.0).sum()
    }

    pub(super) fn all(&self) -> &[Row] {
        &self.rows
    }

    /// Rows by shard; empty before the table was read.
    pub(super) fn rows(&self) -> impl Iterator<Item = (ShardId, &Row)> {
        (0..).map(ShardId).zip(&self.rows)
    }

    pub(super) fn row(&self, shard: ShardId) -> Option<&Row> {
        self.rows.get(usize::from(shard.0))
    }

    /// What an answer says of one shard.
    pub(super) fn learn(&mut self, shard: ShardId, owner: Option<Owner>, epoch: Epoch) {
        if let Some(row) = self.rows.get_mut(usize::from(shard.0))
            && row.epoch < epoch
        {
            *row = Row { owner, epoch };
        }
    }

    fn merge(&mut self, table: &Table) {
        if self.rows.len() != table.shards.len() {
            self.rows.clone_from(&table.shards);
        }
        for (row, read) in self.rows.iter_mut().zip(&table.shards) {
            // In the same epoch the table knows best: an answer says what was asked for.
            if row.epoch <= read.epoch {
                row.clone_from(read);
            }
        }
        self.leases.clone_from(&table.leases);
        self.asked = Some(self.asking);
    }

    fn lease(&self, owner: &Owner) -> Option<&LeaseRow> {
        self.leases.iter().find(|lease| lease.owner == *owner)
    }

    /// Whether the store has no lease of this owner: it is dead.
    pub(super) fn is_dead(&self, owner: &Owner) -> bool {
        self.lease(owner).is_none()
    }

    pub(super) fn learn_death(&mut self, owner: &Owner) {
        self.leases.retain(|lease| lease.owner != *owner);
    }

    /// The owner has a lease, though it may be newer than the table.
    pub(super) fn learn_life(&mut self, owner: &Owner, remaining: Duration) {
        if self.is_dead(owner) {
            let owner = owner.clone();
            self.leases.push(LeaseRow { owner, remaining });
        }
    }

    /// Whether the owner's lease was over when the table was read.
    pub(super) fn lease_was_over(&self, owner: &Owner) -> bool {
        let lease = self.lease(owner);
        lease.is_some_and(|lease| lease.remaining.is_zero())
    }

    /// Whether the owner's lease is over by now, unless it was prolonged since.
    pub(super) fn lease_may_be_over(&self, owner: &Owner, now: Elapsed) -> bool {
        let lease = self.lease(owner);
        lease.is_none_or(|lease| {
            let asked = self.asked.unwrap_or_default();
            now.since(asked) >= lease.remaining
        })
    }

    /// Has the table read at `at`, or earlier if that is due already.
    pub(super) fn read_at(&mut self, at: Elapsed) {
        self.next = self.next.min(at);
    }
}

impl Machine {
    pub(super) fn table_read(&mut self, table: &Arc<Table>) {
        self.busy.remove(&Call::Read);
        self.view.merge(table);
    }

    /// Somebody has seen this version.
    pub(super) fn table_version(&mut self, version: u64) {
        if version > self.view.version() {
            // Not at once: a hand-over of many shards raises it many times.
            let soon = self.view.asking.after(self.config.ttl / 16);
            self.view.read_at(soon);
        }
    }

    pub(super) fn read_table(&mut self, out: &mut Vec<Action>) {
        let idle = self.lease.generation.is_none() || self.busy.contains(&Call::Read);
        if idle || self.now < self.view.next {
            return;
        }
        self.view.asking = self.now;
        self.view.next = self.now.after(self.config.ttl);
        self.call(Call::Read, Action::ReadTable, out);
    }

    /// What the store says is this node's is opened (the message of a hand-over, or the answer to a
    /// call, was lost), or given back if it is over for this node. What has moved on is dropped.
    pub(super) fn follow_table(&mut self, out: &mut Vec<Action>) {
        let Some(me) = self.owner() else {
            return;
        };
        let is_mine = |row: &Row| row.owner.as_ref() == Some(&me);
        let moved_on = |(shard, held): (&ShardId, &Held)| {
            let row = self.view.row(*shard)?;
            (row.epoch > held.epoch && !is_mine(row)).then_some(*shard)
        };
        let lost: Vec<ShardId> = self.held.iter().filter_map(moved_on).collect();
        for shard in lost {
            self.drop_shard(shard, out);
        }
        let mine = self.view.rows().filter(|(_, row)| is_mine(row));
        let mine: Vec<(ShardId, Epoch)> = mine.map(|(shard, row)| (shard, row.epoch)).collect();
        let mut back = Vec::new();
        for (shard, epoch) in mine {
            let floor = self.floor.get(&shard).copied().unwrap_or_default();
            if self.phase == Phase::Up && epoch > floor {
                self.open_shard(shard, epoch, Vec::new(), Reason::Handover, out);
            } else if !self.held.contains_key(&shard) {
                let to = None;
                back.push(Handover { shard, epoch, to });
            }
        }
        if !back.is_empty() && self.now >= self.drain.retry_at {
            let (by, rows) = (me.generation, back);
            self.call(Call::Hand, Action::Hand { by, rows }, out);
        }
    }

    /// Owned by this node and open, quietest first.
    pub(super) fn open_by_load(&self) -> Vec<ShardId> {
        let mut shards: Vec<ShardId> = self.open().map(|(shard, _)| shard).collect();
        // Stable: those that are equally busy stay in order.
        shards.sort_by_key(|shard| self.loads.get(shard).copied().unwrap_or(0));
        shards
    }
}
