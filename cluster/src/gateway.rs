//! How a node asks another: one remotable actor a node, over ractor_cluster, which is only a pipe.
//!
//! ```text
//!   Peers::call ──> frames <= 64 KiB ──> session ──> GatewayActor ──> Dispatch (the node)
//!                                           ^
//!   wanted (gossip) ──> Driver: dials, welcomes, redials, stops sessions
//! ```
//! ractor_cluster detects no failure and never connects again. So the driver dials by itself, with
//! `TCP_USER_TIMEOUT` on each socket; has the other side prove that it knows a secret of the cluster
//! before ractor hears of the connection (`greeting`); redials with a jittered back-off; and stops the
//! session of a node that gossip has lost. A node is called `name#boot`: under a bare name a node that
//! starts again is refused while the other side still holds its old session.
//!
//! Architecture Invariant: the gateway is the only remotable actor of a node. Each one is announced
//! to, and mirrored on, every peer.

mod actor;
mod chunks;
mod dial;
mod driver;
pub mod envelope;
mod greeting;
mod peers;
mod socket;
pub mod tls;

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crane_core::NodeName;
use ractor::Actor as _;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

pub use actor::Dispatch;
pub use peers::{CallError, Peers};

use crate::secret::Secrets;
use actor::GatewayActor;
use driver::Driver;
use tls::Tls;

/// Where gateways meet, in ractor's terms.
const SCOPE: &str = "crane";
const GROUP: &str = "gateway";

/// Another node to be connected with, as gossip knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub node: NodeName,
    /// The id of its process.
    pub boot: String,
    /// Host and port of its gateway.
    pub address: String,
    /// Whether gossip finds it down: its session is stopped, and its address is tried, to learn
    /// whether the process is gone.
    pub down: bool,
}

/// A process is gone: nobody listens at the address of its gateway any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The node.
    pub node: NodeName,
    /// The id of the process.
    pub boot: String,
}

/// What the gateway is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Id of the cluster.
    pub cluster: String,
    /// Name of this node.
    pub node: NodeName,
    /// Id of this process, new at each start, without `#` or `@`.
    pub boot: String,
    /// Where to listen.
    pub listen: SocketAddr,
    /// The secrets of the cluster.
    pub secrets: Secrets,
    /// The nodes that can be called, filled and emptied here: a gateway that is started again takes
    /// those of the one before, so that everybody who calls goes on.
    pub peers: Peers,
    /// Certificates, if nodes are to prove who they are and to keep what they say to themselves.
    pub tls: Option<Tls>,
}

/// Why the gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be listened on.
    #[error("the gateway cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        source: std::io::Error,
    },
    /// ractor refused.
    #[error("the gateway does not start: {0}")]
    Spawn(String),
}

/// A gateway, to call others with.
#[derive(Clone, Debug)]
pub struct Gateway {
    peers: Peers,
    wanted: Arc<watch::Sender<Vec<Wanted>>>,
    address: SocketAddr,
}

impl Gateway {
    /// Listens, and gives requests of others to `dispatch`. It works while the future that is
    /// returned is polled; when that ends, the gateway has stopped and must be started again.
    /// Processes that are found gone are sent to `refused`.
    ///
    /// # Errors
    /// An address that cannot be listened on.
    pub async fn start(
        options: Options,
        dispatch: Arc<dyn Dispatch>,
        refused: mpsc::Sender<Refused>,
    ) -> Result<(Self, impl Future<Output = ()> + Send + use<>), Error> {
        let address = options.listen;
        let listen = |source| Error::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let spawn = |error: ractor::SpawnErr| Error::Spawn(error.to_string());
        let (actor, actor_ends) = GatewayActor::spawn(None, GatewayActor, dispatch)
            .await
            .map_err(spawn)?;
        ractor::pg::join_scoped(SCOPE.into(), GROUP.into(), vec![actor.get_cell()]);
        // No secret: whoever comes this far has greeted. Nodes may have their secrets in another order.
        let cookie = options.cluster.clone();
        let server = ractor_cluster::NodeServer::new(
            0,
            cookie,
            format!("{}#{}", options.node, options.boot),
            address.ip().to_string(),
            None,
            Some(ractor_cluster::node::NodeConnectionMode::Isolated),
        )
        // It insists on listening itself; connections come in through our own listener.
        .with_listen_addr(IpAddr::from([127, 0, 0, 1]))
        .with_max_inbound_frame_size(FRAME_BYTES);
        let (server, server_ends) = ractor::Actor::spawn(None, server, ())
            .await
            .map_err(spawn)?;
        let (wanted, wants) = watch::channel(Vec::new());
        let peers = options.peers.clone();
        let driver = Driver::new(options, server, actor, refused)?;
        let gateway = Self {
            peers,
            wanted: Arc::new(wanted),
            address,
        };
        let ends = async move {
            tokio::select! {
                _ = actor_ends => {}
                _ = server_ends => {}
            }
        };
        Ok((gateway, driver.run(listener, wants, ends)))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The nodes that can be called.
    pub fn peers(&self) -> &Peers {
        &self.peers
    }

    /// Says which nodes to be connected with: all that gossip lists, this one not among them.
    pub fn want(&self, wanted: Vec<Wanted>) {
        crate::tell_change(&self.wanted, wanted);
    }
}

/// Largest frame of a session, in bytes: a piece of a message and what ractor adds, generously.
const FRAME_BYTES: u64 = 1 << 20;

/// Eight bytes that nobody can guess; zero if the system gives none.
fn random() -> u64 {
    let mut bytes = [0; 8];
    let _ = getrandom::fill(&mut bytes);
    u64::from_be_bytes(bytes)
}
