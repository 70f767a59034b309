//! The other nodes, as gossip knows them; a hint.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crane_core::placement::Assignment;
use crane_core::{Generation, NodeName, limits};

use super::Machine;
use super::words::{Elapsed, Owner, Peer, Phase, Sight};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Known {
    generation: Option<Generation>,
    sight: Sight,
    phase: Phase,
    /// Since when it has been seen alive without a break.
    alive_since: Option<Elapsed>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Peers {
    known: BTreeMap<NodeName, Known>,
    gone: BTreeSet<Owner>,
}

impl Peers {
    pub(super) fn note_gone(&mut self, owner: Owner) {
        if self.gone.len() < limits::GONE_LIVES {
            self.gone.insert(owner);
        }
    }

    pub(super) fn forget_gone(&mut self, owner: &Owner) {
        self.gone.remove(owner);
    }

    fn update(&mut self, now: Elapsed, peers: Vec<Peer>) {
        let before = std::mem::take(&mut self.known);
        for peer in peers {
            let since = before.get(&peer.node).and_then(|known| known.alive_since);
            let alive_since = match peer.sight {
                Sight::Alive => Some(since.unwrap_or(now)),
                Sight::Suspect | Sight::Down => None,
            };
            let known = Known {
                generation: peer.generation,
                sight: peer.sight,
                phase: peer.phase,
                alive_since,
            };
            self.known.insert(peer.node, known);
        }
    }

    /// Whether this life is gone for certain: gossip has lost the node (or knows a later life of
    /// it), and there is evidence.
    pub(super) fn is_gone(&self, owner: &Owner) -> bool {
        let lost = self.known.get(&owner.node).is_none_or(|known| {
            known.sight == Sight::Down || known.generation > Some(owner.generation)
        });
        lost && self.gone.contains(owner)
    }

    /// Whether gossip hears of this life of the node, or cannot tell.
    pub(super) fn is_heard_of(&self, owner: &Owner) -> bool {
        self.known.get(&owner.node).is_some_and(|known| {
            known.sight != Sight::Down && known.generation <= Some(owner.generation)
        })
    }

    /// The nodes that gossip hears of.
    fn heard_of(&self) -> BTreeSet<NodeName> {
        let heard = self
            .known
            .iter()
            .filter(|(_, known)| known.sight != Sight::Down);
        heard.map(|(node, _)| node.clone()).collect()
    }

    /// Whether this very life of the node may own shards, and has been seen alive for `settle`.
    pub(super) fn may_receive(&self, owner: &Owner, now: Elapsed, settle: Duration) -> bool {
        self.known.get(&owner.node).is_some_and(|known| {
            known.generation == Some(owner.generation)
                && known.phase == Phase::Up
                && known
                    .alive_since
                    .is_some_and(|since| now.since(since) >= settle)
        })
    }

    /// Whether all that are alive have been so for `settle`.
    pub(super) fn all_settled(&self, now: Elapsed, settle: Duration) -> bool {
        let mut since = self.known.values().filter_map(|known| known.alive_since);
        since.all(|since| now.since(since) >= settle)
    }

    /// Whether some node joins, drains or is under suspicion: then nothing moves for balance.
    pub(super) fn unsettled(&self) -> bool {
        self.known.values().any(|known| match known.sight {
            Sight::Alive => matches!(known.phase, Phase::Joining | Phase::Draining),
            Sight::Suspect => true,
            Sight::Down => false,
        })
    }

    /// The present life of `node`, if it may own shards.
    pub(super) fn life_of(&self, node: &NodeName) -> Option<Owner> {
        let known = self.known.get(node)?;
        let up = known.sight == Sight::Alive && known.phase == Phase::Up;
        let generation = known.generation.filter(|_| up)?;
        Some(Owner {
            node: node.clone(),
            generation,
        })
    }

    fn lives(&self) -> impl Iterator<Item = Owner> + '_ {
        self.known.keys().filter_map(|node| self.life_of(node))
    }

    pub(super) fn any_alive(&self) -> bool {
        let mut known = self.known.values();
        known.any(|known| known.sight == Sight::Alive)
    }
}

impl Machine {
    pub(super) fn peers_changed(&mut self, peers: Vec<Peer>) {
        let before = self.peers.heard_of();
        self.peers.update(self.now, peers);
        if before != self.peers.heard_of() {
            self.view.read_at(self.now);
        }
    }

    /// Wanted owners are computed over the nodes that are up, alive and hold a lease.
    pub(super) fn reconsider_wanted(&mut self) {
        let lives = self.peers.lives();
        let mut nodes: BTreeSet<NodeName> = lives
            .filter(|owner| !self.view.lease_was_over(owner))
            .map(|owner| owner.node)
            .collect();
        if self.phase == Phase::Up && self.lease.generation.is_some() {
            nodes.insert(self.me.clone());
        }
        if !nodes.iter().eq(self.wanted.nodes()) {
            self.wanted = Assignment::new(self.config.shards, nodes);
        }
    }
}
