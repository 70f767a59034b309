//! The store's side of ownership, on a store of `crane-store` that several nodes share.

use std::sync::Arc;

use crane_core::{Epoch, Generation, NodeName, ShardId};
use crane_store::leases::{Incarnation, Leases, NodeLease, ShardTable};
use crane_store::{Error, Fence};
use futures_util::future::BoxFuture;
use tracing::warn;

use crate::ownership::words::{Action, Call, Event, Handover, LeaseRow, Owner, Row, Table};
use crate::ports::OwnershipStore;

/// Ownership by the leases of a shared store.
#[derive(Clone, Debug)]
pub struct SharedStore(Arc<dyn Leases>);

impl SharedStore {
    /// On `store`.
    pub fn new(store: Arc<dyn Leases>) -> Self {
        Self(store)
    }
}

impl OwnershipStore for SharedStore {
    fn carry_out(&self, action: Action) -> BoxFuture<'static, Event> {
        let store = self.0.clone();
        Box::pin(async move {
            let call = Call::of(&action);
            ask(store.as_ref(), action).await.unwrap_or_else(|error| {
                warn!(%error, ?call, "the store did not answer ownership");
                let call = call.unwrap_or(Call::Read);
                Event::StoreFailed { call }
            })
        })
    }
}

async fn ask(store: &dyn Leases, action: Action) -> Result<Event, Error> {
    Ok(match action {
        Action::Register { sent } => {
            let before = store.owner();
            let owner = store.join().await?;
            if before.as_ref() == Some(&owner) {
                // A lease that was there already began before `sent`.
                store.renew().await?;
            }
            let generation = Generation(owner.incarnation.0);
            Event::Registered { generation, sent }
        }
        Action::Renew { by, sent } => {
            let holds = holds(store, by);
            // It tries again by itself, until the lease is over: an error means that it is.
            match store.renew().await {
                Ok(()) if holds => Event::Renewed { by, sent },
                Ok(()) | Err(_) => Event::LeaseLost { by },
            }
        }
        Action::ReadTable => Event::TableRead(Arc::new(table(&store.table().await?))),
        Action::DeclareDead { owner, ground } => {
            let incarnation = Incarnation(owner.generation.0);
            let dead = store.declare_dead(incarnation, ground).await?;
            Event::DeclaredDead { owner, dead }
        }
        Action::Take { by, rows } => {
            let shards = rows.iter().map(|(shard, _)| *shard).collect();
            // A store without a lease takes out another one by itself: what it has acquired then
            // is not this life's.
            let rows = pairs(store.acquire(shards).await?);
            match holds(store, by) {
                true => Event::Taken { by, rows },
                false => Event::StoreFailed { call: Call::Take },
            }
        }
        Action::Hand { by, rows } => {
            let rows = hand(store, rows).await?;
            Event::Handed { by, rows }
        }
        // Closing the store gives the lease back; what this node owned it has handed over.
        Action::Leave { .. } => Event::LeftStore,
        other => unreachable_call(&other),
    })
}

/// Whether the store acts for this life.
fn holds(store: &dyn Leases, by: Generation) -> bool {
    let owner = store.owner();
    owner.is_some_and(|owner| owner.incarnation.0 == by.0)
}

/// One statement for each next owner. If a later one fails, what went before it shows in the table.
async fn hand(store: &dyn Leases, rows: Vec<Handover>) -> Result<Vec<Handover>, Error> {
    let mut by_owner: Vec<(Option<Owner>, Vec<Fence>)> = Vec::new();
    for Handover { shard, epoch, to } in rows {
        let fence = Fence { shard, epoch };
        match by_owner.iter_mut().find(|(owner, _)| *owner == to) {
            Some((_, fences)) => fences.push(fence),
            None => by_owner.push((to, vec![fence])),
        }
    }
    let mut handed = Vec::new();
    for (to, fences) in by_owner {
        let given = match &to {
            Some(owner) => {
                let heir = Incarnation(owner.generation.0);
                store.transfer(fences, heir).await?
            }
            None => {
                store.release(fences.clone()).await?;
                let raised = |fence: Fence| Fence {
                    shard: fence.shard,
                    epoch: fence.epoch.next(),
                };
                fences.into_iter().map(raised).collect()
            }
        };
        handed.extend(given.into_iter().map(|fence| Handover {
            shard: fence.shard,
            epoch: fence.epoch,
            to: to.clone(),
        }));
    }
    Ok(handed)
}

fn pairs(fences: Vec<Fence>) -> Vec<(ShardId, Epoch)> {
    let pair = |fence: Fence| (fence.shard, fence.epoch);
    fences.into_iter().map(pair).collect()
}

/// Owners without a living row in `nodes` are dead, so that the dead are left out.
fn table(read: &ShardTable) -> Table {
    let owner = |lease: &NodeLease| Owner {
        node: NodeName::new(lease.owner.node.clone()),
        generation: Generation(lease.owner.incarnation.0),
    };
    let shards = read.shards.iter().map(|row| Row {
        owner: row.owner.map(|incarnation| {
            let lease = read.node(incarnation);
            lease.map(owner).unwrap_or_else(|| Owner {
                node: NodeName::new("removed"),
                generation: Generation(incarnation.0),
            })
        }),
        epoch: row.epoch,
    });
    let living = read.nodes.iter().filter(|lease| !lease.dead);
    Table {
        shards: shards.collect(),
        leases: living
            .map(|lease| LeaseRow {
                owner: owner(lease),
                remaining: lease.left,
            })
            .collect(),
    }
}

fn unreachable_call(action: &Action) -> Event {
    warn!(
        ?action,
        "ownership asked the store for something that is not its business"
    );
    Event::Tick
}
