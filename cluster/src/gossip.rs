//! Who is there and how are they: chitchat over sealed datagrams. A hint, never a decision.
//!
//! ```text
//!   tell(Told) ──> Driver ──> chitchat ──> Paced ──> sealed UDP ──> peers
//!   members() <── Tracker <── look each round ┘
//! ```
//! The driver is a future that whoever supervises it runs. It starts chitchat again, as a later
//! incarnation of the same generation, when its task ends by itself; while the node sees nobody it
//! looks its seeds up again every two seconds, names with all their addresses.

mod driver;
pub mod members;
pub mod namesake;
pub(crate) mod pace;
pub(crate) mod seal;
mod seeds;
pub mod told;
mod transport;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crane_core::{Generation, NodeName};
use tokio::sync::watch;

use crate::metrics::GossipMetrics;
use crate::secret::Secrets;
use driver::{Driver, Shared};
use members::Member;
use namesake::Namesake;
use pace::{Pace, Paced};
use told::Told;
use transport::SealedTransport;

/// What gossip is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Id of the cluster; nodes of others are not heard.
    pub cluster: String,
    /// Name of this node.
    pub node: NodeName,
    /// Which life of it; must be higher at each start.
    pub generation: Generation,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where others reach it.
    pub advertise: SocketAddr,
    /// Some nodes to begin with: addresses, or names with ports.
    pub seeds: Vec<String>,
    /// The secrets of the cluster.
    pub secrets: Secrets,
    /// What it says of itself at first.
    pub told: Told,
}

/// All that gossip knows of the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// By name.
    pub members: Vec<Member>,
    /// Other processes with this node's name.
    pub namesakes: Vec<Namesake>,
    /// Whether any other process was heard of, alive or not: it has told all that it knew.
    pub heard: bool,
}

/// Why gossip did not start.
#[derive(Debug, thiserror::Error)]
#[error("gossip does not start: {0}")]
pub struct Error(String);

/// Gossip, to tell and to ask. Clones share it.
#[derive(Clone, Debug)]
pub struct Gossip {
    told: Arc<watch::Sender<Told>>,
    members: Arc<watch::Sender<Arc<Members>>>,
    leaving: Arc<watch::Sender<bool>>,
    /// Starts of chitchat in this life of the node.
    incarnations: Arc<AtomicU64>,
    /// Whether some seed is another node, or may be.
    strangers: Arc<AtomicBool>,
}

impl Gossip {
    /// Opens the socket; gossip goes on while the future that is returned is polled, and ends after
    /// [`Gossip::leave`].
    ///
    /// # Errors
    /// An address that cannot be listened on.
    pub async fn start(
        options: Options,
    ) -> Result<(Self, impl Future<Output = ()> + Send + use<>), Error> {
        let (transport, pace, metrics) = sealed(&options);
        Self::start_on(options, transport, pace, metrics).await
    }

    /// Starts the work again after its future has ended by itself, such as by a panic; everybody
    /// who holds the gossip goes on with it.
    ///
    /// # Errors
    /// As [`Gossip::start`].
    pub async fn start_again(
        &self,
        options: Options,
    ) -> Result<impl Future<Output = ()> + Send + use<>, Error> {
        let (transport, pace, metrics) = sealed(&options);
        self.drive(options, transport, pace, metrics).await
    }

    pub(crate) async fn start_on(
        options: Options,
        transport: Box<dyn chitchat::transport::Transport>,
        pace: Pace,
        metrics: Arc<GossipMetrics>,
    ) -> Result<(Self, impl Future<Output = ()> + Send + use<>), Error> {
        let gossip = Self {
            told: Arc::new(watch::Sender::new(options.told.clone())),
            members: Arc::default(),
            leaving: Arc::default(),
            incarnations: Arc::default(),
            strangers: Arc::new(AtomicBool::new(!options.seeds.is_empty())),
        };
        let driving = gossip.drive(options, transport, pace, metrics).await?;
        Ok((gossip, driving))
    }

    async fn drive(
        &self,
        options: Options,
        transport: Box<dyn chitchat::transport::Transport>,
        pace: Pace,
        metrics: Arc<GossipMetrics>,
    ) -> Result<impl Future<Output = ()> + Send + use<>, Error> {
        // From here on what is told counts, also while it starts.
        let mut told = self.told.subscribe();
        let options = Options {
            told: told.borrow_and_update().clone(),
            ..options
        };
        let shared = Shared {
            members: self.members.clone(),
            incarnations: self.incarnations.clone(),
            strangers: self.strangers.clone(),
        };
        let mut driver = Driver::new(options, transport, pace, metrics, shared);
        driver.begin().await?;
        Ok(driver.run(told, self.leaving.subscribe()))
    }

    /// Changes what this node says of itself.
    pub fn tell(&self, change: impl FnOnce(&mut Told)) {
        self.told.send_if_modified(|told| {
            let before = told.clone();
            change(told);
            *told != before
        });
    }

    /// The others, to read and to wait for changes.
    pub fn members(&self) -> watch::Receiver<Arc<Members>> {
        self.members.subscribe()
    }

    /// Whether others are expected: some seed is another node, or is not known not to be. Whether
    /// one of them was met yet, [`Gossip::members`] says.
    pub fn expects_others(&self) -> bool {
        self.strangers.load(Ordering::Acquire)
    }

    /// What this node says of itself now.
    pub fn told(&self) -> Told {
        self.told.borrow().clone()
    }

    /// Says goodbye; then gossip ends.
    pub fn leave(&self) {
        self.leaving.send_replace(true);
    }
}

/// The way to others, over the network.
fn sealed(options: &Options) -> (Box<Paced<SealedTransport>>, Pace, Arc<GossipMetrics>) {
    let metrics = Arc::new(GossipMetrics::new());
    let pace = Pace::default();
    let inner = SealedTransport {
        cluster: options.cluster.clone(),
        keys: options.secrets.gossip_keys(&options.cluster),
        metrics: metrics.clone(),
    };
    let transport = Paced {
        inner,
        pace: pace.clone(),
    };
    (Box::new(transport), pace, metrics)
}

#[cfg(test)]
mod tests;
