//! The contract of the store's side, as small as it can be written down: what the machine is tested
//! against, and what an implementation has to do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crane_core::{Epoch, Generation, NodeName, ShardId};

use crate::ownership::words::{
    Action, Death, Elapsed, Event, Handover, LeaseRow, Owner, Row, Table,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct FakeStore {
    ttl: Duration,
    generations: u64,
    leases: BTreeMap<Owner, Elapsed>,
    rows: Vec<Row>,
    /// Whether writes are held against the epoch; off for negative controls only.
    pub(super) fence: bool,
}

impl FakeStore {
    pub(super) fn new(shards: u16, ttl: Duration) -> Self {
        Self {
            ttl,
            generations: 0,
            leases: BTreeMap::new(),
            rows: vec![Row::default(); usize::from(shards)],
            fence: true,
        }
    }

    pub(super) fn row(&self, shard: ShardId) -> &Row {
        &self.rows[usize::from(shard.0)]
    }

    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Whether a write of `owner` in `epoch` is accepted.
    pub(super) fn accepts(&self, owner: &Owner, shard: ShardId, epoch: Epoch) -> bool {
        let row = self.row(shard);
        !self.fence || (row.owner.as_ref() == Some(owner) && row.epoch == epoch)
    }

    fn lives(&self, owner: &Owner, now: Elapsed) -> bool {
        self.leases.get(owner).is_some_and(|until| now < *until)
    }

    /// Carries out a call of `node` at `now` on the store's clock; `None` if it is no call.
    pub(super) fn execute(
        &mut self,
        now: Elapsed,
        node: &NodeName,
        action: &Action,
    ) -> Option<Event> {
        let life = |generation: &Generation| Owner {
            node: node.clone(),
            generation: *generation,
        };
        match action {
            Action::Register { sent } => {
                self.generations += 1;
                let generation = Generation(self.generations);
                self.leases.insert(life(&generation), now.after(self.ttl));
                let sent = *sent;
                Some(Event::Registered { generation, sent })
            }
            Action::Renew { by, sent } => {
                let (by, sent) = (*by, *sent);
                if !self.lives(&life(&by), now) {
                    return Some(Event::LeaseLost { by });
                }
                self.leases.insert(life(&by), now.after(self.ttl));
                Some(Event::Renewed { by, sent })
            }
            Action::ReadTable => Some(Event::TableRead(Arc::new(self.table(now)))),
            Action::DeclareDead { owner, ground } => {
                if *ground == Death::Gone || !self.lives(owner, now) {
                    self.leases.remove(owner);
                }
                let dead = !self.leases.contains_key(owner);
                let owner = owner.clone();
                Some(Event::DeclaredDead { owner, dead })
            }
            Action::Take { by, rows } => {
                let rows = self.take(now, &life(by), rows);
                Some(Event::Taken { by: *by, rows })
            }
            Action::Hand { by, rows } => {
                let rows = self.hand(&life(by), rows);
                Some(Event::Handed { by: *by, rows })
            }
            Action::Leave { by } => {
                self.leases.remove(&life(by));
                Some(Event::LeftStore)
            }
            _ => None,
        }
    }

    fn table(&self, now: Elapsed) -> Table {
        let lease = |(owner, until): (&Owner, &Elapsed)| LeaseRow {
            owner: owner.clone(),
            remaining: until.since(now),
        };
        Table {
            shards: self.rows.clone(),
            leases: self.leases.iter().map(lease).collect(),
        }
    }

    fn take(
        &mut self,
        now: Elapsed,
        by: &Owner,
        rows: &[(ShardId, Epoch)],
    ) -> Vec<(ShardId, Epoch)> {
        let mut taken = Vec::new();
        if !self.lives(by, now) {
            return taken;
        }
        for (shard, seen) in rows {
            let row = &mut self.rows[usize::from(shard.0)];
            let free = row
                .owner
                .as_ref()
                .is_none_or(|o| !self.leases.contains_key(o));
            if row.epoch == *seen && free {
                row.owner = Some(by.clone());
                row.epoch = row.epoch.next();
                taken.push((*shard, row.epoch));
            }
        }
        taken
    }

    fn hand(&mut self, by: &Owner, rows: &[Handover]) -> Vec<Handover> {
        let mut handed = Vec::new();
        for Handover { shard, epoch, to } in rows {
            let row = &mut self.rows[usize::from(shard.0)];
            if row.epoch == *epoch && row.owner.as_ref() == Some(by) {
                row.owner.clone_from(to);
                row.epoch = row.epoch.next();
                handed.push(Handover {
                    shard: *shard,
                    epoch: row.epoch,
                    to: to.clone(),
                });
            }
        }
        handed
    }
}
