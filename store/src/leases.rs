//! Who owns which shard, as a shared store knows it.
//!
//! ```text
//!   node row (incarnation, lease)        one a start of a node; renewed as a whole
//!      ^
//!   shard row (incarnation, epoch)       who owns it; the epoch grows with every change
//!      ^
//!   every append names (shard, epoch)    refused unless both still hold
//! ```
//!
//! A lease says until when its holder is thought alive, by the clock of the store alone; an epoch
//! says who may write. Losing a lease by mistake costs time, never data: the journal listens to
//! epochs only. The holder stops starting steps at nine tenths of its lease by its own clock, which
//! leaves the rest for differences in the rate of clocks.
//!
//! What never lives here: placement (who should own what is the cluster's business).

use std::sync::Arc;
use std::time::Duration;

use crane_core::{Epoch, ShardId};
use futures_core::future::BoxFuture;

use crate::{Error, Fence, RunStore};

/// Number of a start of a node; larger than that of every start before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Incarnation(pub u64);

impl std::fmt::Display for Incarnation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A node in one of its starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The node's name.
    pub node: Arc<str>,
    /// Which start of it.
    pub incarnation: Incarnation,
}

/// A node's lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeLease {
    /// The holder.
    pub owner: Owner,
    /// What is left of it by the store's clock; zero when it has run out.
    pub left: Duration,
    /// It was declared dead and can never renew.
    pub dead: bool,
}

impl NodeLease {
    /// Whether the holder must be taken for alive.
    pub fn is_alive(&self) -> bool {
        !self.dead && !self.left.is_zero()
    }
}

/// A shard and its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardRow {
    /// The shard.
    pub shard: ShardId,
    /// Its epoch.
    pub epoch: Epoch,
    /// Who owns it; `None` when nobody does. The owner may be dead: see [`ShardTable::nodes`].
    pub owner: Option<Incarnation>,
}

/// All shards and all nodes, as of one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardTable {
    /// By shard.
    pub shards: Vec<ShardRow>,
    /// By incarnation; those of ended nodes are removed after a while.
    pub nodes: Vec<NodeLease>,
}

impl ShardTable {
    /// The lease of an incarnation, if it is still listed.
    pub fn node(&self, incarnation: Incarnation) -> Option<&NodeLease> {
        self.nodes
            .iter()
            .find(|node| node.owner.incarnation == incarnation)
    }
}

/// On what ground a node is declared dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Death {
    /// Its lease is over by the store's clock. The store decides that, under the lock that a renewal
    /// takes: one that comes first counts.
    Expired,
    /// It is known to be gone, whatever is left of its lease: gossip has lost it and its address
    /// refuses connections, it said goodbye, or it was an earlier life of this very process.
    Gone,
}

/// A store that several nodes share. Acquiring, renewing and releasing are part of [`RunStore`].
pub trait Leases: RunStore {
    /// Takes out a lease unless this node holds one, and says as whom. [`RunStore::acquire`] does
    /// it too; a node that wants to be known before it owns anything calls this first.
    fn join(&self) -> BoxFuture<'_, Result<Owner, Error>>;

    /// What tells this store from all others, the same for every node that shares it.
    fn identity(&self) -> BoxFuture<'_, Result<String, Error>>;

    /// As whom this node holds a lease; `None` before it joined and once the lease is lost.
    fn owner(&self) -> Option<Owner>;

    /// The table of shards and nodes.
    fn table(&self) -> BoxFuture<'_, Result<ShardTable, Error>>;

    /// Hands shards over to a living node, so that they are never without an owner. The fences are
    /// the heir's, in new epochs; what is missing in the answer was not this node's any more, or
    /// the heir is not alive. Stop what runs in these shards first: from now on it cannot write.
    fn transfer(
        &self,
        held: Vec<Fence>,
        to: Incarnation,
    ) -> BoxFuture<'_, Result<Vec<Fence>, Error>>;

    /// Declares an incarnation dead on this ground, so that it cannot renew any more; returns whether
    /// it is dead now. Its journal is safe in any case, but one that lives would carry out steps beside
    /// its heirs.
    fn declare_dead(
        &self,
        incarnation: Incarnation,
        ground: Death,
    ) -> BoxFuture<'_, Result<bool, Error>>;
}
