//! What the router needs of the cluster and of its own node: small traits, so that its logic is tested
//! without sockets, actors and time.

use std::fmt;

use crane_cluster::Owner;
use crane_cluster::gateway::CallError;
use crane_cluster::gateway::envelope::{Reply, Request};
use crane_core::{Epoch, NodeName, RunId, ShardId};
use futures_util::future::BoxFuture;
use tokio::sync::watch;

pub(super) use crate::cluster::Place;

use super::words::{Answer, Ask, ListAsk, Listed, Trouble};

/// Another node that gossip lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbor {
    /// Its name.
    pub node: NodeName,
    /// Whether new runs may be sent there: it is alive, has joined and does not drain.
    pub takes: bool,
    /// Whether it says that it reaches its store.
    pub has_store: bool,
}

/// The cluster as the router sees it.
pub trait Field: fmt::Debug + Send + Sync + 'static {
    /// This node.
    fn me(&self) -> &NodeName;

    /// Who owns a shard, as far as this node knows. Cheap.
    fn place(&self, shard: ShardId) -> Place;

    /// The same as it is told to other nodes.
    fn owner(&self, shard: ShardId) -> (Option<Owner>, Epoch);

    /// Who owns a shard, as another node says; only what is newer counts.
    fn learn(&self, shard: ShardId, owner: Option<Owner>, epoch: Epoch);

    /// Moves with each change of the places or of the members.
    fn changed(&self) -> watch::Receiver<u64>;

    /// Asks for a new reading of the places; often is as good as once.
    fn refresh(&self);

    /// Whether `node` can be called now.
    fn reaches(&self, node: &NodeName) -> bool;

    /// The others that are not down.
    fn neighbors(&self) -> Vec<Neighbor>;

    /// Whether there should be others, whether or not one was met yet: some seed is another node.
    fn expects_others(&self) -> bool;

    /// Asks another node.
    fn call<'a>(
        &'a self,
        node: &'a NodeName,
        request: &'a Request,
    ) -> BoxFuture<'a, Result<Reply, CallError>>;
}

/// This node's own answers.
pub(crate) trait Answers: fmt::Debug + Send + Sync + 'static {
    /// An id for a new run without a key.
    fn new_id(&self) -> RunId;

    /// Answers about a run; `node` is who is named as its owner.
    fn answer<'a>(
        &'a self,
        run: RunId,
        ask: &'a Ask,
        node: &'a NodeName,
    ) -> BoxFuture<'a, Result<Answer, Trouble>>;

    /// Lists runs of this node's store.
    fn list<'a>(&'a self, ask: &'a ListAsk) -> BoxFuture<'a, Result<Listed, crate::api::ApiError>>;
}
