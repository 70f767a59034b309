//! The cluster of this node, as the router sees it.

use crane_cluster::Owner;
use crane_cluster::gateway::CallError;
use crane_cluster::gateway::envelope::{Reply, Request};
use crane_cluster::ownership::words::{Phase, Sight};
use crane_core::{Epoch, NodeName, ShardId};
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::field::{Field, Neighbor, Place};
use crate::cluster::Cluster;

impl Field for Cluster {
    fn me(&self) -> &NodeName {
        Cluster::me(self)
    }

    fn place(&self, shard: ShardId) -> Place {
        Cluster::place(self, shard)
    }

    fn owner(&self, shard: ShardId) -> (Option<Owner>, Epoch) {
        match self.row(shard) {
            Some(row) => (row.owner, row.epoch),
            None => (None, Epoch::default()),
        }
    }

    fn learn(&self, shard: ShardId, owner: Option<Owner>, epoch: Epoch) {
        Cluster::learn(self, shard, owner, epoch);
    }

    fn changed(&self) -> watch::Receiver<u64> {
        Cluster::changed(self)
    }

    fn refresh(&self) {
        Cluster::refresh(self);
    }

    fn reaches(&self, node: &NodeName) -> bool {
        self.peers().reaches(node)
    }

    fn neighbors(&self) -> Vec<Neighbor> {
        let members = self.members();
        let members = members.borrow();
        let present = members.members.iter();
        let present = present.filter(|m| m.sight != Sight::Down && m.told.phase != Phase::Left);
        present
            .map(|member| Neighbor {
                node: member.node.clone(),
                takes: member.sight == Sight::Alive && member.told.phase == Phase::Up,
                has_store: member.told.store_ok,
            })
            .collect()
    }

    fn expects_others(&self) -> bool {
        self.gossip().expects_others()
    }

    fn call<'a>(
        &'a self,
        node: &'a NodeName,
        request: &'a Request,
    ) -> BoxFuture<'a, Result<Reply, CallError>> {
        Box::pin(self.peers().call(node, request))
    }
}
