//! The node as one of several: who else is there, who owns what, and the way to them.
//!
//! ```text
//!   store ──> generation ──> gossip ──> gateway ──> ownership ──> API
//!                              │           │           │ opens, stops, closes shards
//!             members <────────┘           │           └──> RunHost (host.rs) ──> Runtime
//!                └──> wanted sessions ─────┘           ^
//!                     refused, fenced, journal writes ─┘ (link.rs)
//! ```
//!
//! Gossip, gateway and ownership are each a handle and a future. The futures are kept going here: one
//! that ends by itself, or panics, is started again, and whoever holds the handles does not notice
//! (`supervise`).
//!
//! There are two kinds of clusters ([`Mode`]). With a database in common, shards have owners and
//! move. Without one each node keeps the runs that were submitted to it, in its own store.
//!
//! What never lives here: who may own what (crane-cluster decides), and how a request finds its
//! owner.

mod address;
mod dispatch;
mod generation;
mod link;
mod look;
mod orders;
mod routes;
mod start;
mod status;
mod supervise;
mod talk;
mod work;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crane_cluster::Owner;
use crane_cluster::clock::boot_time;
use crane_cluster::gateway::{self, Peers};
use crane_cluster::gossip::{Gossip, Members};
use crane_cluster::ownership::driver::Standing;
use crane_cluster::ownership::words::{Event, Phase, Row, Sight};
use crane_core::{Epoch, NodeName, ShardId};
use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use routes::Routes;
use supervise::{Vitals, Ward};

pub use generation::next as next_generation;
pub use link::Link;
pub use orders::OrderError;
pub use start::{Options, Shared, StartError};
pub use status::{MemberStatus, ShardStatus, Status};

/// How often the shard table is read again at most because somebody asks for it.
const REFRESH: Duration = Duration::from_millis(50);
/// How long a node without a database in common stays to forward, once others know that it goes.
const LINGER: Duration = Duration::from_secs(1);
/// How much longer than the drain timeout and the lingering handing over may take.
const MARGIN: Duration = Duration::from_secs(5);
/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// What nodes have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A database: shards have owners, and move.
    Shared,
    /// Nothing: a run lives on the node that accepted it.
    Home,
}

impl Mode {
    /// The mode as the API names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Home => "home",
        }
    }
}

/// Where a shard is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// This node owns it, in this epoch.
    Here(Epoch),
    /// Another node owns it, as far as is known.
    There {
        /// Which.
        node: NodeName,
        /// In which epoch.
        epoch: Epoch,
    },
    /// Nobody that could be asked, as far as is known: it is moving, or its owner has died.
    Nobody,
}

/// The node as one of several; see the module. Clones share it.
#[derive(Clone, Debug)]
pub struct Cluster(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    me: NodeName,
    mode: Mode,
    /// Where others reach gossip and the gateway.
    address: String,
    options: Options,
    gateway: gateway::Options,
    gossip: Gossip,
    peers: Peers,
    link: Arc<Link>,
    routes: Routes,
    changes: watch::Sender<u64>,
    /// When the table was last asked for, in milliseconds since the machine was started.
    refreshed: AtomicU64,
    /// Whether what ends is not to be started again.
    leaving: AtomicBool,
    work: Mutex<JoinSet<()>>,
    vitals: Vitals,
    /// Ends when gossip has said goodbye.
    gossiping: watch::Receiver<()>,
}

impl Cluster {
    /// Name of this node.
    pub fn me(&self) -> &NodeName {
        &self.0.me
    }

    /// Where others reach this node.
    pub fn address(&self) -> &str {
        &self.0.address
    }

    /// What the nodes have in common.
    pub fn mode(&self) -> Mode {
        self.0.mode
    }

    /// Where a shard is, as far as this node knows. In [`Mode::Home`] every node has all shards, of
    /// its own runs, so that this says nothing about a run.
    pub fn place(&self, shard: ShardId) -> Place {
        if self.0.mode == Mode::Home {
            return Place::Here(Epoch::default());
        }
        let Some(row) = self.0.routes.row(shard) else {
            return Place::Nobody;
        };
        let epoch = row.epoch;
        match row.owner {
            Some(owner) if owner.node == self.0.me => match self.standing() {
                Some(standing) if standing.owner == Some(owner) => Place::Here(epoch),
                // An earlier life of this node.
                _ => Place::Nobody,
            },
            Some(owner) if !self.is_lost(&owner) => Place::There {
                node: owner.node,
                epoch,
            },
            Some(_) | None => Place::Nobody,
        }
    }

    /// Who owns a shard, and since which epoch, as far as this node knows.
    pub(crate) fn row(&self, shard: ShardId) -> Option<Row> {
        self.0.routes.row(shard)
    }

    /// Whether gossip has lost the node, or knows a later life of it.
    fn is_lost(&self, owner: &Owner) -> bool {
        let members = self.0.gossip.members();
        let members = members.borrow();
        let member = members.members.iter().find(|m| m.node == owner.node);
        member.is_some_and(|member| {
            member.sight == Sight::Down || member.told.lease > Some(owner.generation)
        })
    }

    /// Takes in what another node has said of a shard; only a higher epoch counts.
    pub fn learn(&self, shard: ShardId, owner: Option<Owner>, epoch: Epoch) {
        if self.0.routes.learn(shard, owner, epoch) {
            self.note_change();
            self.refresh();
        }
    }

    /// Changes whenever the table, the members, or the standing of this node change.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    fn is_leaving(&self) -> bool {
        self.0.leaving.load(Ordering::Acquire)
    }

    /// Whether ownership has come to its end.
    fn has_left(&self) -> bool {
        self.standing().is_some_and(|s| s.phase == Phase::Left)
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.0.work.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.spawn(work);
    }

    /// Keeps `work` going, which should never end, until this node leaves.
    pub(crate) fn keep<F>(&self, name: &'static str, work: impl Fn() -> F + Send + Sync + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let cluster = self.clone();
        let first = work().boxed();
        self.spawn(async move {
            let again = || std::future::ready(Ok(work().boxed()));
            let wanted = || !cluster.is_leaving();
            let ward = Ward {
                name,
                patience: None,
            };
            ward.keep_going(&cluster.0.vitals, first, again, wanted)
                .await;
        });
    }

    fn note_change(&self) {
        self.0.changes.send_modify(|changes| *changes += 1);
    }

    /// Asks for a new reading of the shard table, soon; asking more often changes nothing.
    pub fn refresh(&self) {
        let now = u64::try_from(boot_time().0.as_millis()).unwrap_or(u64::MAX);
        let due = |last: u64| {
            let every = u64::try_from(REFRESH.as_millis()).unwrap_or(u64::MAX);
            (now >= last.saturating_add(every)).then_some(now)
        };
        let refreshed = &self.0.refreshed;
        if refreshed
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, due)
            .is_ok()
        {
            // Higher than whatever this node has seen.
            self.0.link.tell(Event::TableVersion(u64::MAX));
        }
    }

    /// The nodes that can be called.
    pub fn peers(&self) -> &Peers {
        &self.0.peers
    }

    /// All other nodes, as gossip knows them.
    pub fn members(&self) -> watch::Receiver<Arc<Members>> {
        self.0.gossip.members()
    }

    /// What this node says of itself.
    pub fn gossip(&self) -> &Gossip {
        &self.0.gossip
    }

    /// Where this node is in its life; `None` without a database, or before it has begun.
    pub fn standing(&self) -> Option<Standing> {
        self.0.link.standing()
    }

    /// Whether the node has joined: it may own shards, and those that want it can find it.
    pub fn has_joined(&self) -> bool {
        match self.0.mode {
            Mode::Shared => self.standing().is_some_and(|s| s.phase == Phase::Up),
            Mode::Home => self.0.gossip.told().phase == Phase::Up,
        }
    }

    /// Whether it stands by: no other node can reach it, and another one owns what is in the database.
    pub fn is_standby(&self) -> bool {
        let owns = self.standing().is_some_and(|s| s.owned > 0);
        self.0.mode == Mode::Shared && self.0.options.config.listen.is_none() && !owns
    }

    /// Whether gossip, gateway and ownership do their work at the moment.
    pub fn is_working(&self) -> bool {
        self.0.vitals.are_fine()
    }

    /// Waits until one of them has failed for good; in words. The node should leave then: others do not
    /// reach what it has.
    pub async fn failed(&self) -> String {
        self.0.vitals.failed().await
    }

    /// Begins to go: others are told, and shards are handed over.
    fn drain(&self) {
        let grace = self.0.options.drain_timeout;
        self.0.link.drain_by(Instant::now() + grace);
        match self.0.mode {
            Mode::Shared => self.0.link.tell(Event::Drain),
            Mode::Home => self.0.gossip.tell(|told| told.phase = Phase::Draining),
        }
        self.note_change();
    }

    /// Drains, and returns when this node owns nothing any more and others have had time to hear of it,
    /// or when that takes too long. It can still be asked, and ask.
    pub async fn hand_over(&self) {
        self.drain();
        match self.0.mode {
            Mode::Shared => self.until_left().await,
            Mode::Home if self.has_company() => tokio::time::sleep(LINGER).await,
            Mode::Home => {}
        }
    }

    /// Tells the others goodbye; from then on nobody is asked, and nobody asks.
    pub async fn leave(&self) {
        self.0.leaving.store(true, Ordering::Release);
        self.0.gossip.leave();
        let mut gossiping = self.0.gossiping.clone();
        // It is an error when the other end is gone, which is what is waited for.
        let gone = async { while gossiping.changed().await.is_ok() {} };
        let _ = tokio::time::timeout(GOODBYE, gone).await;
        let mut work = self.0.work.lock().unwrap_or_else(PoisonError::into_inner);
        work.abort_all();
    }

    fn has_company(&self) -> bool {
        let members = self.0.gossip.members();
        let members = members.borrow();
        members.members.iter().any(|m| m.sight != Sight::Down)
    }

    async fn until_left(&self) {
        let Options {
            lease,
            drain_timeout,
            ..
        } = self.0.options;
        let limit = drain_timeout + 2 * lease + MARGIN;
        let gone = self.0.link.reached(Phase::Left);
        if tokio::time::timeout(limit, gone).await.is_err() {
            tracing::warn!("handing over takes too long; what is left is given to nobody");
        }
    }

    /// The cluster as this node sees it.
    pub fn status(&self) -> Status {
        status::of(self)
    }
}
