//! The work of gateway and ownership, and what they tell each other.
//!
//! ```text
//!   members ──> wanted sessions        refused ──> gone (ownership)
//!   table, standing ──> routes, changes
//! ```

use std::sync::Arc;

use crane_cluster::Owner;
use crane_cluster::clock::boot_time;
use crane_cluster::gateway::{self, Dispatch, Gateway, Refused, Wanted};
use crane_cluster::gossip::members::Member;
use crane_cluster::leases::SharedStore;
use crane_cluster::ownership::Config;
use crane_cluster::ownership::driver::{self, Ownership, Parts};
use crane_cluster::ownership::words::{Event, Sight};
use crane_core::limits;
use crane_store::leases::Leases;
use crane_store::{Error, Fence};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use super::Cluster;
use super::start::Shared;
use super::talk::Messenger;

/// What a gateway is started with, each time.
#[derive(Clone)]
pub(super) struct GatewayParts {
    pub(super) cluster: Cluster,
    pub(super) dispatch: Arc<dyn Dispatch>,
}

/// A gateway at work; the future ends when the gateway has.
pub(super) async fn gateway(parts: GatewayParts) -> Result<BoxFuture<'static, ()>, gateway::Error> {
    let GatewayParts { cluster, dispatch } = parts;
    let (sender, refused) = mpsc::channel(limits::GONE_PROCESSES);
    let options = cluster.0.gateway.clone();
    let (gateway, driver) = Gateway::start(options, dispatch, sender).await?;
    let work = async move {
        tokio::select! {
            () = driver => {}
            () = follow_members(&cluster, &gateway) => {}
            () = note_refused(&cluster, refused) => {}
        }
    };
    Ok(work.boxed())
}

/// Wants sessions with all that gossip lists, for as long as there is gossip.
async fn follow_members(cluster: &Cluster, gateway: &Gateway) {
    let mut members = cluster.members();
    members.mark_changed();
    while members.changed().await.is_ok() {
        let known = members.borrow_and_update().clone();
        if cluster.is_leaving() {
            // Others let go of this node: it does not come back to them.
            gateway.want(Vec::new());
        } else {
            gateway.want(known.members.iter().map(wanted).collect());
        }
        cluster.note_change();
    }
}

fn wanted(member: &Member) -> Wanted {
    Wanted {
        node: member.node.clone(),
        boot: member.told.boot.clone(),
        address: member.told.rpc.clone(),
        down: member.sight == Sight::Down,
    }
}

/// A process that nobody listens for any more need not be waited for until its lease is over.
async fn note_refused(cluster: &Cluster, mut refused: mpsc::Receiver<Refused>) {
    while let Some(Refused { node, boot }) = refused.recv().await {
        let members = cluster.members().borrow().clone();
        let mut lives = members.members.iter();
        let life = lives.find(|member| member.node == node && member.told.boot == boot);
        if let Some(generation) = life.and_then(|member| member.told.lease) {
            tracing::info!(%node, %generation, "a node is gone");
            let owner = Owner { node, generation };
            cluster.0.link.tell(Event::Gone { owner });
        }
    }
}

/// Ownership at work; the future ends when this node has left, or ownership has failed.
pub(super) fn ownership(cluster: &Cluster, shared: &Shared) -> BoxFuture<'static, ()> {
    let inner = &cluster.0;
    let parts = Parts {
        config: Config::new(inner.options.lease),
        node: inner.me.clone(),
        host: shared.host.clone(),
        store: Arc::new(SharedStore::new(shared.store.clone())),
        talk: Arc::new(Messenger(inner.peers.clone())),
        gossip: inner.gossip.clone(),
        clock: boot_time,
    };
    let (ownership, driver) = driver::start(parts);
    inner.link.connect(ownership.clone());
    if inner.link.is_draining() {
        ownership.tell(Event::Drain);
    }
    let cluster = cluster.clone();
    let work = async move {
        tokio::select! {
            () = driver => {}
            () = follow_ownership(&cluster, &ownership) => {}
        }
    };
    work.boxed()
}

/// Ownership again, after it has failed. Whatever this life owns is stopped and given back first: a
/// machine that knows nothing of it must not open it again in the same epoch. What that is, the store
/// knows; the runtime does not count what it has closed already, and an earlier try may have stopped
/// it without giving it back.
pub(super) async fn ownership_again(
    cluster: Cluster,
    shared: Shared,
) -> Result<BoxFuture<'static, ()>, String> {
    for fence in (shared.owned)() {
        shared.host.stop_shard(fence.shard, fence.epoch);
    }
    let given_back = give_back(shared.store.as_ref()).await;
    given_back.map_err(|error| error.to_string())?;
    Ok(ownership(&cluster, &shared))
}

async fn give_back(store: &dyn Leases) -> Result<(), Error> {
    let Some(me) = store.owner() else {
        // Whatever it owned is lost already.
        return Ok(());
    };
    let rows = store.table().await?.shards.into_iter();
    let mine = rows.filter(|row| row.owner == Some(me.incarnation));
    let mine = mine.map(|row| Fence {
        shard: row.shard,
        epoch: row.epoch,
    });
    store.release(mine.collect()).await
}

/// Keeps the routes as ownership has read the table.
async fn follow_ownership(cluster: &Cluster, ownership: &Ownership) {
    let (mut table, mut standing) = (ownership.table(), ownership.standing());
    loop {
        tokio::select! {
            Ok(()) = table.changed() => {
                let rows = table.borrow_and_update().clone();
                cluster.0.routes.merge(&rows);
                cluster.note_change();
            }
            Ok(()) = standing.changed() => cluster.note_change(),
            // Both end with ownership, which is seen elsewhere.
            else => std::future::pending().await,
        }
    }
}
