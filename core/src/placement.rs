//! Which node should own which shard: rendezvous hashing with a cap on the load.
//!
//! ```text
//!   score(node, shard) = xxh3(node's name, seeded with the shard)
//!   all pairs, highest score first: the shard goes to the node, unless it has one already,
//!   or the node is full (a tenth above the mean)
//! ```
//!
//! A pure function of the set of names, so that nodes which see the same members agree without
//! talking. It is the stable matching of shards and nodes that both rank each other by score:
//! when a node comes or goes, only shards that it gains or loses move, and the few that the cap
//! pushes on (Mirrokni, Thorup, Zadimoghaddam: "Consistent Hashing with Bounded Loads", 2016,
//! <https://arxiv.org/abs/1608.01350>).

use std::cmp::Reverse;
use std::collections::BTreeSet;

use crate::ids::{NodeName, RunId, ShardId};

/// How far above the mean a node may be loaded, in percent of the mean.
const CAP_PERCENT: usize = 110;

/// Most shards that one of `nodes` nodes is given, of `shards` in all: a tenth above the mean, but
/// never so few that some shard finds no node.
pub fn cap(shards: u16, nodes: usize) -> usize {
    let shards = usize::from(shards);
    let nodes = nodes.max(1);
    (shards * CAP_PERCENT / (nodes * 100)).max(shards.div_ceil(nodes))
}

/// A wanted owner for each shard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Assignment {
    /// Sorted by name.
    nodes: Vec<NodeName>,
    /// Position in `nodes`, by shard; empty when there is no node.
    owners: Vec<usize>,
}

impl Assignment {
    /// Divides `shards` shards among `nodes`; their order does not matter.
    pub fn new(shards: u16, nodes: BTreeSet<NodeName>) -> Self {
        let cap = cap(shards, nodes.len());
        Self::with_cap(shards, nodes, cap)
    }

    fn with_cap(shards: u16, nodes: BTreeSet<NodeName>, cap: usize) -> Self {
        let nodes: Vec<NodeName> = nodes.into_iter().collect();
        if nodes.is_empty() {
            return Self::default();
        }
        let mut pairs: Vec<(u64, u16, usize)> = Vec::with_capacity(nodes.len() * shards as usize);
        for shard in 0..shards {
            for (position, node) in nodes.iter().enumerate() {
                pairs.push((score(node, ShardId(shard)), shard, position));
            }
        }
        pairs.sort_unstable_by_key(|pair| Reverse(*pair));
        let mut loads = vec![0; nodes.len()];
        let mut owners: Vec<Option<usize>> = vec![None; usize::from(shards)];
        for (_, shard, position) in pairs {
            let owner = &mut owners[usize::from(shard)];
            if owner.is_none() && loads[position] < cap {
                *owner = Some(position);
                loads[position] += 1;
            }
        }
        let owners = owners.into_iter().flatten().collect();
        Self { nodes, owners }
    }

    /// Who should own `shard`; `None` if there is no node.
    pub fn owner(&self, shard: ShardId) -> Option<&NodeName> {
        let position = self.owners.get(usize::from(shard.0))?;
        self.nodes.get(*position)
    }

    /// The nodes, sorted by name.
    pub fn nodes(&self) -> &[NodeName] {
        &self.nodes
    }
}

/// How much `node` wants `shard`. All nodes of a cluster must agree on it, so it never changes.
fn score(node: &NodeName, shard: ShardId) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(node.as_str().as_bytes(), u64::from(shard.0))
}

/// The nodes in the order in which they should be the home of `run`, where a run stays where it was
/// accepted (plain rendezvous hashing, without a cap). All nodes of a cluster must agree on it, so it
/// never changes.
pub fn homes(run: RunId, nodes: impl IntoIterator<Item = NodeName>) -> Vec<NodeName> {
    let seed = xxhash_rust::xxh3::xxh3_64(&run.to_bytes());
    let mut scored: Vec<(u64, NodeName)> = nodes
        .into_iter()
        .map(|node| {
            let score = xxhash_rust::xxh3::xxh3_64_with_seed(node.as_str().as_bytes(), seed);
            (score, node)
        })
        .collect();
    scored.sort_unstable_by(|a, b| b.cmp(a));
    scored.into_iter().map(|(_, node)| node).collect()
}

#[cfg(test)]
mod tests;
