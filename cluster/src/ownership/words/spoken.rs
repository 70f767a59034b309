//! What happens to the machine, and what it wants done.

use std::collections::BTreeMap;
use std::sync::Arc;

use crane_core::{Epoch, Generation, RunId, ShardId};

use super::{Call, Death, Elapsed, Handover, How, Owner, Peer, Phase, Reason, Table};

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// Time has passed. At least every sixteenth of a TTL.
    Tick,
    /// The store began a new life of this node; the request left at `sent`.
    Registered {
        /// The new life.
        generation: Generation,
        /// As in the action.
        sent: Elapsed,
    },
    /// The store prolonged the lease; the request left at `sent`.
    Renewed {
        /// As in the action.
        by: Generation,
        /// As in the action.
        sent: Elapsed,
    },
    /// The store did not prolong the lease: it was over, or declared so.
    LeaseLost {
        /// As in the action.
        by: Generation,
    },
    /// A call did not succeed, or nobody knows whether it did.
    StoreFailed {
        /// Which.
        call: Call,
    },
    /// The store's table.
    TableRead(Arc<Table>),
    /// Whether the store declared `owner` dead (or found it to be so already).
    DeclaredDead {
        /// Who.
        owner: Owner,
        /// Whether it is dead.
        dead: bool,
    },
    /// These of the shards that were asked for are now this node's.
    Taken {
        /// As in the action.
        by: Generation,
        /// With their new epochs.
        rows: Vec<(ShardId, Epoch)>,
    },
    /// These of the shards were handed over; those that are missing had already gone.
    Handed {
        /// As in the action.
        by: Generation,
        /// With their new epochs.
        rows: Vec<Handover>,
    },
    /// The store has forgotten this node.
    LeftStore,
    /// A shard that was to be handed over rests now.
    Closed {
        /// Which.
        shard: ShardId,
        /// In which epoch it was open.
        epoch: Epoch,
        /// Runs that were under way, to be taken up first.
        hot: Vec<RunId>,
    },
    /// A write in this epoch was refused.
    Fenced {
        /// The shard.
        shard: ShardId,
        /// The epoch that is over.
        epoch: Epoch,
    },
    /// Whether this node can write to its store and carry out a step.
    SelfTested {
        /// Whether.
        ok: bool,
    },
    /// The journal wrote something, or failed to.
    JournalWrite {
        /// Whether it did.
        ok: bool,
    },
    /// Runs under way, by shard.
    Loads(BTreeMap<ShardId, u32>),
    /// All other nodes that gossip knows.
    Peers(Vec<Peer>),
    /// This life of a node is gone: its address refuses connections, or it said goodbye.
    Gone {
        /// Who.
        owner: Owner,
    },
    /// Some node has seen this version of the table.
    TableVersion(u64),
    /// Another node should own these shards by now, and asks for some of them.
    Asked {
        /// Who.
        by: Owner,
        /// Which.
        shards: Vec<ShardId>,
        /// How many at most, the quietest first.
        at_most: usize,
    },
    /// Another node has handed a shard to `owner`, a life of this node.
    Assigned {
        /// To whom.
        owner: Owner,
        /// Which.
        shard: ShardId,
        /// Its new epoch.
        epoch: Epoch,
        /// Runs to take up first.
        hot: Vec<RunId>,
    },
    /// This node is to go.
    Drain,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Ask the store for a new life of this node, with a lease.
    Register {
        /// When this was said; to be given back.
        sent: Elapsed,
    },
    /// Ask the store to prolong the lease, if it still lasts.
    Renew {
        /// Whose.
        by: Generation,
        /// When this was said; to be given back.
        sent: Elapsed,
    },
    /// Read the table.
    ReadTable,
    /// Have the store declare a node dead.
    DeclareDead {
        /// Who.
        owner: Owner,
        /// On what ground.
        ground: Death,
    },
    /// Take shards that are in this epoch, and whose owner is dead or nobody.
    Take {
        /// For this life.
        by: Generation,
        /// With the epochs seen.
        rows: Vec<(ShardId, Epoch)>,
    },
    /// Hand shards that this node owns in this epoch to another life, or to nobody.
    Hand {
        /// For this life.
        by: Generation,
        /// With their epochs.
        rows: Vec<Handover>,
    },
    /// Have the store forget this node.
    Leave {
        /// Which life.
        by: Generation,
    },
    /// Steps may start until then, and not later, whatever else happens.
    LeaseUntil(Elapsed),
    /// Restore the runs of a shard and go on with them.
    OpenShard {
        /// Which.
        shard: ShardId,
        /// In which epoch.
        epoch: Epoch,
        /// Runs to take up first.
        hot: Vec<RunId>,
        /// Why it comes here.
        reason: Reason,
    },
    /// Stop the runs of a shard.
    CloseShard {
        /// Which.
        shard: ShardId,
        /// In which epoch it was opened.
        epoch: Epoch,
        /// How.
        how: How,
    },
    /// Try the store and the executor, then tell.
    SelfTest,
    /// Ask another node for shards; no answer is expected.
    Ask {
        /// Whom.
        from: Owner,
        /// For this life.
        by: Owner,
        /// Which.
        shards: Vec<ShardId>,
        /// How many at most.
        at_most: usize,
    },
    /// Tell a node that a shard is its own now; no answer is expected.
    Assign {
        /// Whom.
        to: Owner,
        /// Which.
        shard: ShardId,
        /// Its new epoch.
        epoch: Epoch,
        /// Runs to take up first.
        hot: Vec<RunId>,
    },
    /// Tell all others.
    Publish {
        /// Where this node is in its life.
        phase: Phase,
        /// Its lease's generation.
        generation: Option<Generation>,
        /// The newest version of the table it has seen.
        table_version: u64,
    },
}
