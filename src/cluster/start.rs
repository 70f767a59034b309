//! From an address to a working node of a cluster, in order.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crane_cluster::gateway::tls::Tls;
use crane_cluster::gateway::{self, Dispatch, Peers};
use crane_cluster::gossip::told::Told;
use crane_cluster::gossip::{self, Gossip};
use crane_cluster::ports::RunHost;
use crane_cluster::secret::{self, Secrets};
use crane_core::{Generation, NodeName};
use crane_store::Fence;
use crane_store::leases::Leases;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::address::{self, Addresses};
use super::dispatch::Switch;
use super::link::Link;
use super::supervise::{Vitals, Ward};
use super::work::{self, GatewayParts};
use super::{Cluster, Inner, Mode};
use crate::config::{ClusterConfig, ClusterTls};
use crate::life::Life;

/// The DNS name in the certificate of each node, by which nodes know their own.
const CERTIFICATE_NAME: &str = "crane";

/// How long a node without gossip or gateway stays: others do not reach its shards.
const PATIENCE: Duration = Duration::from_secs(30);

const GOSSIP: Ward = Ward {
    name: "gossip",
    patience: Some(PATIENCE),
};
const GATEWAY: Ward = Ward {
    name: "the gateway",
    patience: Some(PATIENCE),
};
/// As long as there is no database it does not start, which is no reason to go.
const OWNERSHIP: Ward = Ward {
    name: "ownership",
    patience: None,
};

/// What a node joins with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its name.
    pub node: NodeName,
    /// Which life of it; higher at each start.
    pub generation: Generation,
    /// What it has in common with others.
    pub mode: Mode,
    /// What tells the store that they have in common from all others, where they have one.
    pub store: Option<String>,
    /// `[cluster]`
    pub config: ClusterConfig,
    /// Where its API is, as a URL.
    pub api: String,
    /// How long a lease lives.
    pub lease: Duration,
    /// How long running steps may go on in a shard that is closed.
    pub drain_timeout: Duration,
}

/// What ownership works with, where there is a database.
#[derive(Clone)]
pub struct Shared {
    /// The store.
    pub store: Arc<dyn Leases>,
    /// The runtime.
    pub host: Arc<dyn RunHost>,
    /// What the runtime has open.
    pub owned: Arc<dyn Fn() -> Vec<Fence> + Send + Sync>,
}

impl Options {
    /// By what nodes of this cluster know each other: nodes with another store, or without one, are
    /// strangers, though their id be the same. Together they would accept a run twice.
    fn domain(&self) -> String {
        let (id, mode) = (&self.config.id, self.mode.as_str());
        format!("{id} {mode} {}", self.store.as_deref().unwrap_or_default())
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// Why a node did not join.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The system has no port.
    #[error("there is no free port for the cluster: {0}")]
    Port(std::io::Error),
    /// Nobody knows where the node is.
    #[error("cluster.advertise is {name}, which is not found: {error}")]
    Advertise {
        /// The name.
        name: String,
        /// The resolver's words.
        error: String,
    },
    /// The secrets do not do.
    #[error(transparent)]
    Secret(#[from] secret::Error),
    /// The certificates do not do.
    #[error(transparent)]
    Tls(#[from] gateway::tls::Error),
    /// Gossip.
    #[error(transparent)]
    Gossip(#[from] gossip::Error),
    /// The gateway.
    #[error(transparent)]
    Gateway(#[from] gateway::Error),
}

/// Certificates that can be used, if there are any.
///
/// # Errors
/// Files that cannot be read, or do not fit together.
fn certificates(files: Option<&ClusterTls>) -> Result<Option<Tls>, StartError> {
    let read = |files: &ClusterTls| Tls::read(&files.cert, &files.key, &files.ca, CERTIFICATE_NAME);
    Ok(files.map(read).transpose()?)
}

fn secrets(config: &ClusterConfig, addresses: &Addresses) -> Result<Secrets, secret::Error> {
    if config.secrets.is_empty() {
        return Secrets::none(&[addresses.listen.ip().to_canonical()]);
    }
    let texts = config
        .secrets
        .iter()
        .map(|secret| secret.reveal().to_owned());
    Secrets::new(texts.collect())
}

/// An id that no other process has.
fn boot_id() -> String {
    let mut bytes = [0; 8];
    if getrandom::fill(&mut bytes).is_err() {
        // Without the system's random numbers, two lives on this machine differ in this.
        bytes = u64::from(std::process::id()).to_be_bytes();
    }
    format!("{:016x}", u64::from_be_bytes(bytes))
}

impl Cluster {
    /// Begins to gossip, as a node that is not up yet.
    ///
    /// # Errors
    /// Addresses that cannot be listened on or are not found, secrets and certificates that cannot
    /// be used.
    pub async fn form(options: Options, link: Arc<Link>) -> Result<Self, StartError> {
        let config = &options.config;
        let addresses = address::find(config).await?;
        let secrets = secrets(config, &addresses)?;
        let tls = certificates(config.tls.as_ref())?;
        let boot = boot_id();
        let told = Told {
            rpc: addresses.told.clone(),
            http: options.api.clone(),
            zone: config.zone.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            boot: boot.clone(),
            // Elsewhere the database knows who is there.
            looks: options.mode == Mode::Home,
            ..Told::default()
        };
        let gossip_options = gossip::Options {
            cluster: options.domain(),
            node: options.node.clone(),
            generation: options.generation,
            listen: addresses.listen,
            advertise: addresses.advertise,
            seeds: config.seeds.clone(),
            secrets: secrets.clone(),
            told,
        };
        let (gossip, gossiping) = Gossip::start(gossip_options.clone()).await?;
        let (alive, ended) = watch::channel(());
        let peers = Peers::default();
        let gateway = gateway::Options {
            cluster: options.domain(),
            node: options.node.clone(),
            boot,
            listen: addresses.listen,
            secrets,
            peers: peers.clone(),
            tls,
        };
        let cluster = Self(Arc::new(Inner {
            me: options.node.clone(),
            mode: options.mode,
            address: addresses.told,
            gateway,
            options,
            gossip,
            peers,
            link,
            routes: Default::default(),
            changes: watch::Sender::new(0),
            refreshed: Default::default(),
            leaving: Default::default(),
            work: Default::default(),
            vitals: Vitals::default(),
            gossiping: ended,
        }));
        cluster.keep_gossiping(gossip_options, gossiping.boxed(), alive);
        Ok(cluster)
    }

    /// Does `work`, which is gossip's; `alive` goes with the last of it.
    fn keep_gossiping(
        &self,
        options: gossip::Options,
        work: BoxFuture<'static, ()>,
        alive: watch::Sender<()>,
    ) {
        let of = self.clone();
        self.spawn(async move {
            let again = || {
                let (gossip, options) = (of.0.gossip.clone(), options.clone());
                async move {
                    let work = gossip.start_again(options).await;
                    work.map(FutureExt::boxed)
                        .map_err(|error| error.to_string())
                }
            };
            let wanted = || !of.is_leaving();
            GOSSIP.keep_going(&of.0.vitals, work, again, wanted).await;
            drop(alive);
        });
    }

    /// Opens the gateway, whose requests go to `dispatch` unless they are the cluster's own, and
    /// begins to own shards where there is a database. From now on the node joins.
    ///
    /// # Errors
    /// An address that cannot be listened on.
    pub async fn open(
        &self,
        life: Life,
        dispatch: Arc<dyn Dispatch>,
        shared: Option<Shared>,
    ) -> Result<(), StartError> {
        let parts = GatewayParts {
            cluster: self.clone(),
            dispatch: Arc::new(Switch {
                link: self.0.link.clone(),
                life,
                rest: dispatch,
            }),
        };
        let work = work::gateway(parts.clone()).await?;
        let of = self.clone();
        self.spawn(async move {
            let again = || {
                let starting = work::gateway(parts.clone());
                async move { starting.await.map_err(|error| error.to_string()) }
            };
            let wanted = || !of.is_leaving();
            GATEWAY.keep_going(&of.0.vitals, work, again, wanted).await;
        });
        match shared {
            Some(shared) => self.begin_to_own(shared),
            None => self.0.gossip.tell(|told| {
                told.phase = crane_cluster::ownership::words::Phase::Up;
                told.looks = false;
            }),
        }
        Ok(())
    }

    fn begin_to_own(&self, shared: Shared) {
        let work = work::ownership(self, &shared);
        let cluster = self.clone();
        self.spawn(async move {
            let wanted = || !cluster.is_leaving() && !cluster.has_left();
            let again = || work::ownership_again(cluster.clone(), shared.clone());
            OWNERSHIP
                .keep_going(&cluster.0.vitals, work, again, wanted)
                .await;
        });
    }
}
