//! What one node knows of the cluster, and calls that go wrong as told.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use crane_cluster::Owner;
use crane_cluster::gateway::envelope::{Reply, Request};
use crane_cluster::gateway::{CallError, Dispatch as _};
use crane_core::{Epoch, Generation, NodeName, ShardId};
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::{Fault, World};
use crate::route::field::{Field, Neighbor, Place};

/// What one node knows of the table; it is told what it is, or learns it.
#[derive(Debug)]
pub(crate) struct FakeField {
    world: World,
    me: NodeName,
    known: Mutex<HashMap<ShardId, (Option<NodeName>, Epoch)>>,
}

impl FakeField {
    pub(super) fn new(world: &World, me: &NodeName) -> Self {
        Self {
            world: world.clone(),
            me: me.clone(),
            known: Mutex::default(),
        }
    }

    /// Each reading is remembered, so that a node believes what it has read until it learns better.
    fn row(&self, shard: ShardId) -> (Option<NodeName>, Epoch) {
        let truth = || {
            let state = self.world.state();
            state.owners.get(&shard).cloned().unwrap_or_default()
        };
        let mut known = self.known.lock().unwrap();
        known.entry(shard).or_insert_with(truth).clone()
    }
}

impl Field for FakeField {
    fn me(&self) -> &NodeName {
        &self.me
    }

    fn place(&self, shard: ShardId) -> Place {
        let (owner, epoch) = self.row(shard);
        match owner {
            None => Place::Nobody,
            Some(node) if node == self.me => Place::Here(epoch),
            Some(node) => Place::There { node, epoch },
        }
    }

    fn owner(&self, shard: ShardId) -> (Option<Owner>, Epoch) {
        let (owner, epoch) = self.row(shard);
        let owner = owner.map(|node| Owner {
            node,
            generation: Generation(1),
        });
        (owner, epoch)
    }

    fn learn(&self, shard: ShardId, owner: Option<Owner>, epoch: Epoch) {
        let mut known = self.known.lock().unwrap();
        let row = known.entry(shard).or_default();
        if epoch > row.1 {
            *row = (owner.map(|owner| owner.node), epoch);
        }
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.world.0.changes.subscribe()
    }

    fn refresh(&self) {
        let mut known = self.known.lock().unwrap();
        let state = self.world.state();
        for (shard, row) in known.iter_mut() {
            if let Some(truth) = state.owners.get(shard) {
                row.clone_from(truth);
            }
        }
    }

    fn reaches(&self, node: &NodeName) -> bool {
        !self.world.state().down.contains(node)
    }

    fn neighbors(&self) -> Vec<Neighbor> {
        let state = self.world.state();
        let others = state.dispatchers.keys().filter(|node| **node != self.me);
        let hidden = |node: &&NodeName| {
            let mut hidden = state.hidden.iter();
            hidden.any(|(from, hidden)| *from == self.me && hidden == *node)
        };
        let living = others.filter(|node| !state.down.contains(node));
        living
            .filter(|node| !hidden(node))
            .map(|node| Neighbor {
                node: node.clone(),
                takes: !state.draining.contains(node),
                has_store: true,
            })
            .collect()
    }

    fn expects_others(&self) -> bool {
        self.world.state().dispatchers.len() > 1
    }

    fn call<'a>(
        &'a self,
        node: &'a NodeName,
        request: &'a Request,
    ) -> BoxFuture<'a, Result<Reply, CallError>> {
        Box::pin(async move {
            assert!(!request.deadline.is_zero(), "a call without a deadline");
            let (dispatcher, fault) = {
                let mut state = self.world.state();
                if state.down.contains(node) {
                    return Err(CallError::NotConnected(node.clone()));
                }
                *state.calls.entry(node.clone()).or_default() += 1;
                let faults = state.faults.entry(node.clone()).or_default();
                let fault = (!faults.is_empty()).then(|| faults.remove(0));
                let dispatcher = state.dispatchers.get(node).cloned();
                (dispatcher.expect("there is such a node"), fault)
            };
            match fault {
                Some(Fault::Busy) => {
                    let retry_after = Duration::from_millis(100);
                    return Ok(Reply::Busy { retry_after });
                }
                Some(Fault::Dies) => {
                    self.world.down(node.as_str());
                    return Err(CallError::Lost(node.clone()));
                }
                Some(Fault::Fine | Fault::ReplyLost | Fault::Silence) | None => {}
            }
            let dies = async {
                let mut changes = self.world.0.changes.subscribe();
                while !self.world.state().down.contains(node) {
                    let _ = changes.changed().await;
                }
            };
            let work = async {
                self.world.delay().await;
                let reply = dispatcher.dispatch(request.clone()).await;
                self.world.delay().await;
                reply
            };
            let work = tokio::time::timeout(request.deadline, work);
            let reply = tokio::select! {
                reply = work => reply.unwrap_or(Reply::Expired),
                () = dies => return Err(CallError::Lost(node.clone())),
            };
            match fault {
                Some(Fault::ReplyLost) => Err(CallError::Lost(node.clone())),
                Some(Fault::Silence) => {
                    tokio::time::sleep(request.deadline).await;
                    Err(CallError::Expired(node.clone()))
                }
                _ => Ok(reply),
            }
        })
    }
}
