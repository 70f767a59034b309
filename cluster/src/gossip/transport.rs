//! Sealed datagrams over UDP.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use chitchat::transport::{Socket, Transport};
use chitchat::{ChitchatMessage, Deserializable as _, Serializable as _};
use tokio::net::UdpSocket;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::seal::{DATAGRAM_BYTES, Dropped, OVERHEAD, Seal};
use crate::metrics::GossipMetrics;

/// How often it is said that somebody knocks who is not let in.
const SAID: Duration = Duration::from_secs(60);

/// Opens sockets whose datagrams only members of the cluster can write and read.
pub(crate) struct SealedTransport {
    pub(crate) cluster: String,
    pub(crate) keys: Vec<[u8; 32]>,
    pub(crate) metrics: Arc<GossipMetrics>,
}

#[async_trait]
impl Transport for SealedTransport {
    async fn open(&self, listen: SocketAddr) -> anyhow::Result<Box<dyn Socket>> {
        let mut sender = [0; 12];
        getrandom::fill(&mut sender).context("the system gives no random numbers")?;
        let socket = UdpSocket::bind(listen).await;
        let socket = socket.with_context(|| format!("cannot listen on {listen}/udp for gossip"))?;
        Ok(Box::new(SealedSocket {
            socket,
            seal: Seal::new(&self.cluster, &self.keys, sender),
            buffer: vec![0; DATAGRAM_BYTES],
            metrics: self.metrics.clone(),
            strangers: Strangers::default(),
        }))
    }
}

struct SealedSocket {
    socket: UdpSocket,
    seal: Seal,
    buffer: Vec<u8>,
    metrics: Arc<GossipMetrics>,
    strangers: Strangers,
}

/// Tells operators of nodes that knock and are not let in: a secret or an id that is not the same
/// everywhere shows in nothing else.
#[derive(Default)]
struct Strangers {
    /// By reason: when that may be said again.
    next: HashMap<Dropped, Instant>,
}

impl Strangers {
    fn met(&mut self, from: SocketAddr, dropped: Dropped) {
        let what = match dropped {
            Dropped::Foreign => {
                "a node of another cluster knocks here, or one of this cluster with another store \
                 (cluster.id, store.url)"
            }
            Dropped::Forged => "a node with another secret knocks here (cluster.secrets)",
            Dropped::Truncated | Dropped::Replayed | Dropped::Malformed | Dropped::Own => return,
        };
        let now = Instant::now();
        if self.next.get(&dropped).is_none_or(|next| now >= *next) {
            self.next.insert(dropped, now + SAID);
            warn!(%from, "{what}");
        }
    }
}

impl SealedSocket {
    fn take_in(&mut self, length: usize) -> Result<ChitchatMessage, Dropped> {
        let message = self.seal.open(&self.buffer[..length])?;
        let mut rest = message.as_slice();
        let decoded = ChitchatMessage::deserialize(&mut rest);
        decoded.map_err(|_| Dropped::Malformed)
    }
}

#[async_trait]
impl Socket for SealedSocket {
    async fn send(&mut self, to: SocketAddr, message: ChitchatMessage) -> anyhow::Result<()> {
        let message = message.serialize_to_vec();
        if message.len() + OVERHEAD > DATAGRAM_BYTES {
            warn!(bytes = message.len(), %to, "gossip does not fit into a datagram");
            return Ok(());
        }
        let datagram = self
            .seal
            .seal(&message)
            .context("there is no key for gossip")?;
        self.metrics.sent.increment(datagram.len() as u64);
        // A peer that is not reachable at the moment must not end gossip.
        if let Err(error) = self.socket.send_to(&datagram, to).await {
            debug!(%error, %to, "gossip was not sent");
        }
        Ok(())
    }

    async fn recv(&mut self) -> anyhow::Result<(SocketAddr, ChitchatMessage)> {
        loop {
            let (length, from) = match self.socket.recv_from(&mut self.buffer).await {
                Ok(received) => received,
                Err(error) if is_passing(&error) => continue,
                Err(error) => return Err(error).context("gossip cannot receive any more"),
            };
            self.metrics.received.increment(length as u64);
            match self.take_in(length) {
                Ok(message) => return Ok((from, message)),
                Err(dropped) => {
                    debug!(%from, reason = dropped.as_str(), "gossip was dropped");
                    self.metrics.dropped(dropped);
                    self.strangers.met(from, dropped);
                }
            }
        }
    }
}

/// What the system reports on a UDP socket about an earlier datagram, or while it lacks memory.
fn is_passing(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(
        error.kind(),
        ErrorKind::OutOfMemory
            | ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
    )
}
