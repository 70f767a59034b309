//! Calling another node: cut into pieces, with a deadline, and never more at a time than a peer can
//! take; the queue of a session has no bound of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crane_core::NodeName;
use crane_core::limits::{self, MESSAGE_BYTES};
use ractor::ActorRef;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use super::actor::GatewayMsg;
use super::chunks::{CHUNK_BYTES, Frame, length, piece};
use super::envelope::{Malformed, Reply, Request};

/// How much longer than the deadline an answer is waited for, so that the peer's own "expired"
/// arrives.
const GRACE: Duration = Duration::from_millis(200);

/// Why a node was not reached, or gave no answer that means anything.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CallError {
    /// There is no session with it; nothing was sent.
    #[error("there is no connection with node {0}")]
    NotConnected(NodeName),
    /// Too many calls to it are under way; nothing was sent.
    #[error("too many calls to node {0} are under way")]
    Busy(NodeName),
    /// The time is over; it may have been done or not.
    #[error("node {0} did not answer in time")]
    Expired(NodeName),
    /// The session was lost; it may have been done or not.
    #[error("the connection with node {0} was lost before the answer")]
    Lost(NodeName),
    /// More than a gateway carries; nothing was sent.
    #[error("the request takes {0} bytes, the limit is {MESSAGE_BYTES}")]
    TooLarge(usize),
    /// The peer gave up a message in pieces; a request was not carried out if it had not all
    /// arrived.
    #[error("node {0} gave up a message that was on its way in pieces")]
    GivenUp(NodeName),
    /// The answer cannot be read.
    #[error("the answer of node {0} is not understood: {1}")]
    NotUnderstood(NodeName, Malformed),
}

#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) boot: String,
    pub(super) gateway: ActorRef<GatewayMsg>,
    permits: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Link {
    pub(super) fn new(boot: String, gateway: ActorRef<GatewayMsg>) -> Self {
        Self {
            boot,
            gateway,
            permits: Arc::new(Semaphore::new(limits::PEER_CALLS)),
            waiting: Arc::new(Semaphore::new(limits::PEER_WAITING_CALLS)),
        }
    }

    fn permits(&self, request: &Request) -> &Arc<Semaphore> {
        match request.waits() {
            true => &self.waiting,
            false => &self.permits,
        }
    }
}

/// The nodes that can be called. Clones share it.
#[derive(Clone, Debug)]
pub struct Peers {
    links: Arc<RwLock<BTreeMap<NodeName, Link>>>,
    changes: Arc<watch::Sender<u64>>,
}

impl Default for Peers {
    fn default() -> Self {
        Self {
            links: Arc::default(),
            changes: Arc::new(watch::Sender::new(0)),
        }
    }
}

impl Peers {
    /// The nodes that can be called now.
    pub fn connected(&self) -> Vec<NodeName> {
        self.read().keys().cloned().collect()
    }

    /// Whether a node can be called now.
    pub fn reaches(&self, node: &NodeName) -> bool {
        self.read().contains_key(node)
    }

    /// Changes whenever a node can or cannot be called any more.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Asks `node`, and waits for the answer until the request's deadline.
    ///
    /// # Errors
    /// As named; those that say so have changed nothing there.
    pub async fn call(&self, node: &NodeName, request: &Request) -> Result<Reply, CallError> {
        let bytes = request.encode();
        if bytes.len() > MESSAGE_BYTES {
            return Err(CallError::TooLarge(bytes.len()));
        }
        let link = self.read().get(node).cloned();
        let link = link.ok_or_else(|| CallError::NotConnected(node.clone()))?;
        let until = Instant::now() + request.deadline;
        let busy = || CallError::Busy(node.clone());
        let permits = link.permits(request).clone();
        let permit = tokio::time::timeout_at(until, permits.acquire_owned());
        let _permit = permit.await.map_err(|_| busy())?.map_err(|_| busy())?;
        let call = Call {
            node,
            gateway: &link.gateway,
            until: until + GRACE,
        };
        let answer = call.send(bytes).await?;
        let reply = call.receive(answer).await?;
        Reply::decode(&reply).map_err(|error| CallError::NotUnderstood(node.clone(), error))
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<NodeName, Link>> {
        self.links.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut BTreeMap<NodeName, Link>) -> T) -> T {
        let mut links = self.links.write().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&mut links);
        drop(links);
        self.changes.send_modify(|changes| *changes += 1);
        changed
    }

    pub(super) fn connect(&self, node: NodeName, link: Link) {
        self.change(|links| drop(links.insert(node, link)));
    }

    /// Whether there was a link with this life of the node.
    pub(super) fn disconnect(&self, node: &NodeName, boot: &str) -> bool {
        self.change(|links| {
            let is_it = links.get(node).is_some_and(|link| link.boot == boot);
            if is_it {
                links.remove(node);
            }
            is_it
        })
    }

    /// No node can be called any more.
    pub(super) fn clear(&self) {
        self.change(BTreeMap::clear);
    }

    pub(super) fn has(&self, node: &NodeName, boot: &str) -> bool {
        self.read().get(node).is_some_and(|link| link.boot == boot)
    }
}

struct Call<'a> {
    node: &'a NodeName,
    gateway: &'a ActorRef<GatewayMsg>,
    until: Instant,
}

impl Call<'_> {
    /// One round trip. Always with a time limit: a gateway that is gone, or does not understand
    /// what it gets, is not answered for by ractor.
    async fn frame(&self, frame: Frame) -> Result<Frame, CallError> {
        let left = self.until.saturating_duration_since(Instant::now());
        let millis = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        let answer = ractor::call_t!(self.gateway, GatewayMsg::Call, millis, frame.encode());
        let answer = answer.map_err(|error| match error {
            ractor::RactorErr::Timeout => CallError::Expired(self.node.clone()),
            _ => CallError::Lost(self.node.clone()),
        })?;
        Frame::decode(&answer).map_err(|error| self.not_understood(error))
    }

    fn not_understood(&self, error: Malformed) -> CallError {
        CallError::NotUnderstood(self.node.clone(), error)
    }

    async fn send(&self, bytes: Vec<u8>) -> Result<Frame, CallError> {
        if bytes.len() <= CHUNK_BYTES {
            return self.frame(Frame::Whole(bytes)).await;
        }
        let (transfer, total) = (super::random(), length(bytes.len()));
        let mut offset = 0;
        loop {
            let part = piece(&bytes, offset).to_vec();
            let next = offset + part.len();
            let offset_now = length(offset);
            let answer = self
                .frame(Frame::Part {
                    transfer,
                    total,
                    offset: offset_now,
                    bytes: part,
                })
                .await?;
            match answer {
                Frame::GoOn if next < bytes.len() => offset = next,
                answer => return Ok(answer),
            }
        }
    }

    async fn receive(&self, answer: Frame) -> Result<Vec<u8>, CallError> {
        let given_up = || CallError::GivenUp(self.node.clone());
        let (transfer, total, mut bytes) = match answer {
            Frame::Whole(bytes) => return Ok(bytes),
            Frame::Head {
                transfer,
                total,
                bytes,
            } => (transfer, total as usize, bytes),
            Frame::Lost | Frame::GoOn => return Err(given_up()),
            Frame::Part { .. } | Frame::Fetch { .. } => {
                return Err(self.not_understood(Malformed::Unknown(1, "answer")));
            }
        };
        if total > MESSAGE_BYTES {
            return Err(given_up());
        }
        while bytes.len() < total {
            let offset = length(bytes.len());
            match self.frame(Frame::Fetch { transfer, offset }).await? {
                Frame::Whole(more) if !more.is_empty() => bytes.extend(more),
                _ => return Err(given_up()),
            }
        }
        Ok(bytes)
    }
}
