//! The cluster as one of its nodes sees it, for the API and the command line.

use std::collections::BTreeMap;
use std::sync::Arc;

use crane_cluster::Owner;
use crane_cluster::gossip::told::Told;
use crane_cluster::ownership::words::{Phase, Sight};
use crane_core::{Epoch, Generation, NodeName, ShardId};

use super::{Cluster, Mode};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Id of the cluster.
    pub id: String,
    /// What its nodes have in common.
    pub mode: Mode,
    /// The node that says so.
    pub me: NodeName,
    /// All nodes, by name, this one among them.
    pub members: Vec<MemberStatus>,
    /// All shards; none where nodes have no database in common.
    pub shards: Vec<ShardStatus>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    /// Its name.
    pub node: NodeName,
    /// How it looks.
    pub sight: Sight,
    /// Where it is in its life, as it says.
    pub phase: Phase,
    /// Which life: of its lease, or, without a database, of its gossip.
    pub generation: Option<Generation>,
    /// Shards that it owns in this life, as far as is known.
    pub shards: usize,
    /// Whether this node has a session with it.
    pub connected: bool,
    /// Where it gossips.
    pub gossip: String,
    /// What it says of itself.
    pub told: Arc<Told>,
}

/// A shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardStatus {
    /// Which.
    pub shard: ShardId,
    /// Who owns it.
    pub owner: Option<Owner>,
    /// In which epoch.
    pub epoch: Epoch,
}

/// The cluster as the node of `cluster` sees it.
pub(super) fn of(cluster: &Cluster) -> Status {
    let inner = &cluster.0;
    let rows = inner.routes.rows();
    let mut owned: BTreeMap<Owner, usize> = BTreeMap::new();
    for owner in rows.iter().filter_map(|row| row.owner.clone()) {
        *owned.entry(owner).or_default() += 1;
    }
    let count = |node: &NodeName, generation: Option<Generation>| {
        let node = node.clone();
        let owner = generation.map(|generation| Owner { node, generation });
        owner
            .and_then(|owner| owned.get(&owner).copied())
            .unwrap_or(0)
    };
    let connected = inner.peers.connected();
    let known = inner.gossip.members().borrow().clone();
    let mut members: Vec<MemberStatus> = known
        .members
        .iter()
        .map(|member| MemberStatus {
            node: member.node.clone(),
            sight: member.sight,
            phase: member.told.phase,
            generation: generation(inner.mode, &member.told, member.generation),
            shards: count(&member.node, member.told.lease),
            connected: connected.contains(&member.node),
            gossip: member.address.to_string(),
            told: member.told.clone(),
        })
        .collect();
    let told = inner.gossip.told();
    members.push(MemberStatus {
        node: inner.me.clone(),
        sight: Sight::Alive,
        phase: told.phase,
        generation: generation(inner.mode, &told, inner.options.generation),
        shards: count(&inner.me, told.lease),
        connected: true,
        gossip: inner.address.clone(),
        told: Arc::new(told),
    });
    members.sort_by(|a, b| a.node.cmp(&b.node));
    let shards = (0..).map(ShardId).zip(rows);
    Status {
        id: inner.options.config.id.clone(),
        mode: inner.mode,
        me: inner.me.clone(),
        members,
        shards: shards
            .map(|(shard, row)| ShardStatus {
                shard,
                owner: row.owner,
                epoch: row.epoch,
            })
            .collect(),
    }
}

fn generation(mode: Mode, told: &Told, gossiped: Generation) -> Option<Generation> {
    match mode {
        Mode::Shared => told.lease,
        Mode::Home => Some(gossiped),
    }
}
