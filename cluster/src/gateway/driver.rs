//! Sessions with all other nodes, kept.

use std::collections::HashMap;
use std::future::Future;
use std::io::ErrorKind;
use std::time::Duration;

use crane_core::{NodeName, limits};
use ractor::{ActorId, ActorRef};
use ractor_cluster::node::NodeServerSessionInformation as Session;
use ractor_cluster::{NetworkStream, NodeEventSubscription, NodeServerMessage, NodeSessionMessage};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tracing::{debug, info, warn};

use super::actor::GatewayMsg;
use super::dial::Dialer;
use super::peers::{Link, Peers};
use super::socket::Papers;
use super::{Error, GROUP, Options, Refused, SCOPE, Wanted, socket};
use crate::ownership::words::Elapsed;

/// How often it is looked at what is due.
const TICK: Duration = Duration::from_millis(100);
/// How long a node that has greeted may take to say which one it is.
const INTRODUCTION: Duration = Duration::from_secs(5);
/// How long the listener rests when the system gives no more sockets.
const REST: Duration = Duration::from_millis(200);

/// After so many tries it is said that a node is not reached.
const PATIENT: u32 = 4;

enum Told {
    Opened(Session),
    Authenticated(Session),
    Ready(Session),
    Gone(Session),
}

enum Made {
    Dialed(Wanted, std::io::Result<NetworkStream>),
    /// One that is down: whether somebody listens there.
    Knocked(Wanted, std::io::Result<()>),
    Welcomed(std::io::Result<NetworkStream>),
}

/// Called inside of ractor's own actor: it must not wait.
struct Ear(mpsc::Sender<Told>);

impl Ear {
    fn tell(&self, told: Told) {
        if self.0.try_send(told).is_err() {
            warn!("more happens to sessions than the gateway takes in");
        }
    }
}

impl NodeEventSubscription for Ear {
    fn node_session_opened(&self, session: Session) {
        self.tell(Told::Opened(session));
    }

    fn node_session_disconnected(&self, session: Session) {
        self.tell(Told::Gone(session));
    }

    fn node_session_authenticated(&self, session: Session) {
        self.tell(Told::Authenticated(session));
    }

    fn node_session_ready(&self, session: Session) {
        self.tell(Told::Ready(session));
    }
}

struct Open {
    actor: ActorRef<NodeSessionMessage>,
    opened: Instant,
    /// Who it is with, once it has said so.
    peer: Option<(NodeName, String)>,
}

pub(super) struct Driver {
    papers: Papers,
    peers: Peers,
    server: ActorRef<NodeServerMessage>,
    actor: ActorRef<GatewayMsg>,
    refused: mpsc::Sender<Refused>,
    dialer: Dialer,
    sessions: HashMap<ActorId, Open>,
    events: mpsc::Receiver<Told>,
    made: JoinSet<Made>,
    started: Instant,
}

impl Driver {
    pub(super) fn new(
        options: Options,
        server: ActorRef<NodeServerMessage>,
        actor: ActorRef<GatewayMsg>,
        refused: mpsc::Sender<Refused>,
    ) -> Result<Self, Error> {
        let (sender, events) = mpsc::channel(limits::GATEWAY_EVENTS);
        let subscribe = NodeServerMessage::SubscribeToEvents {
            id: "gateway".into(),
            subscription: Box::new(Ear(sender)),
        };
        let subscribed = server.cast(subscribe);
        subscribed.map_err(|error| Error::Spawn(error.to_string()))?;
        Ok(Self {
            dialer: Dialer::new(options.node.clone()),
            papers: Papers {
                keys: options.secrets.session_keys(&options.cluster),
                tls: options.tls,
            },
            peers: options.peers,
            server,
            actor,
            refused,
            sessions: HashMap::new(),
            events,
            made: JoinSet::new(),
            started: Instant::now(),
        })
    }

    /// Goes on until one of the gateway's actors has ended, or nobody holds the gateway any more.
    pub(super) async fn run(
        mut self,
        listener: TcpListener,
        mut wants: watch::Receiver<Vec<Wanted>>,
        ends: impl Future<Output = ()> + Send,
    ) {
        tokio::pin!(ends);
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = &mut ends => {
                    warn!("the gateway has stopped");
                    break;
                }
                changed = wants.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    let wanted = wants.borrow_and_update().clone();
                    self.want(&wanted);
                }
                Some(told) = self.events.recv() => self.heard(told),
                Some(made) = self.made.join_next() => {
                    if let Ok(made) = made {
                        self.made(made).await;
                    }
                }
                accepted = listener.accept(), if self.made.len() < limits::HANDSHAKES => {
                    self.accepted(accepted.map(|(stream, _)| stream)).await;
                }
                _ = ticks.tick() => self.tick(),
            }
        }
    }

    fn now(&self) -> Elapsed {
        Elapsed(self.started.elapsed())
    }

    fn want(&mut self, wanted: &[Wanted]) {
        let now = self.now();
        self.dialer.want(now, wanted);
        for open in self.sessions.values() {
            if let Some((node, boot)) = &open.peer
                && self.dialer.knows(node, boot)
                && !self.dialer.wants(node, boot)
            {
                info!(%node, "gossip has lost a node, its session is stopped");
                open.actor.stop(Some("gossip has lost the node".into()));
                self.peers.disconnect(node, boot);
            }
        }
        self.tick();
    }

    fn tick(&mut self) {
        let now = self.now();
        for open in self.sessions.values() {
            if open.peer.is_none() && open.opened.elapsed() >= INTRODUCTION {
                debug!("a node has not said in time which one it is");
                open.actor.stop(Some("no introduction in time".into()));
            }
        }
        let peers = self.peers.clone();
        for dial in self.dialer.due(now, |node, boot| peers.has(node, boot)) {
            let papers = self.papers.clone();
            self.made.spawn(async move {
                let address = &dial.wanted.address;
                if dial.probe {
                    let knocked = socket::knock(address).await;
                    return Made::Knocked(dial.wanted, knocked);
                }
                let dialed = socket::dial(address, &papers).await;
                Made::Dialed(dial.wanted, dialed)
            });
        }
    }

    async fn accepted(&mut self, accepted: std::io::Result<TcpStream>) {
        match accepted {
            Ok(stream) => {
                let papers = self.papers.clone();
                self.made
                    .spawn(async move { Made::Welcomed(socket::welcome(stream, &papers).await) });
            }
            Err(error) => {
                warn!(%error, "the gateway cannot accept connections at the moment");
                tokio::time::sleep(REST).await;
            }
        }
    }

    async fn made(&mut self, made: Made) {
        let now = self.now();
        match made {
            Made::Welcomed(Ok(stream)) => self.open(stream, true),
            Made::Welcomed(Err(error)) => debug!(%error, "a connection was not welcome"),
            Made::Dialed(wanted, dialed) => {
                self.dialer.dialed(now, &wanted, super::random());
                match dialed {
                    Ok(stream) => self.open(stream, false),
                    Err(error) => self.not_reached(&wanted, &error),
                }
            }
            Made::Knocked(wanted, knocked) => {
                self.dialer.dialed(now, &wanted, super::random());
                let Wanted { node, boot, .. } = wanted;
                if knocked.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused) {
                    self.dialer.learned(&node);
                    let _ = self.refused.send(Refused { node, boot }).await;
                }
            }
        }
    }

    /// Says so once it does not look like a node that is just starting.
    fn not_reached(&self, wanted: &Wanted, error: &std::io::Error) {
        let Wanted { node, address, .. } = wanted;
        if self.dialer.tries(node) == PATIENT {
            warn!(%node, address, %error, "a node is heard of and not reached; it is tried again and again");
        } else {
            debug!(%node, address, %error, "a node was not reached");
        }
    }

    fn open(&self, stream: NetworkStream, is_server: bool) {
        let stream = Box::new(stream);
        let opened = NodeServerMessage::ConnectionOpened { stream, is_server };
        if self.server.cast(opened).is_err() {
            debug!("a connection came while the gateway stops");
        }
    }

    fn heard(&mut self, told: Told) {
        match told {
            Told::Opened(session) => {
                let open = Open {
                    actor: session.actor.clone(),
                    opened: Instant::now(),
                    peer: None,
                };
                self.sessions.insert(session.actor.get_id(), open);
            }
            Told::Authenticated(session) => {
                if let Some(open) = self.sessions.get_mut(&session.actor.get_id()) {
                    open.peer = peer_of(&session);
                }
            }
            Told::Ready(session) => self.ready(&session),
            Told::Gone(session) => self.gone(&session),
        }
    }

    fn ready(&mut self, session: &Session) {
        let Some((node, boot)) = peer_of(session) else {
            warn!("a session is with a node that does not say who it is");
            session.actor.stop(None);
            return;
        };
        if self.dialer.knows(&node, &boot) && !self.dialer.wants(&node, &boot) {
            session.actor.stop(Some("gossip has lost the node".into()));
            return;
        }
        // A session's actors are known by the number that this node has given to it.
        let members = ractor::pg::get_scoped_members(&SCOPE.into(), &GROUP.into());
        let gateway = members.into_iter().find(|member| {
            matches!(member.get_id(), ActorId::Remote { node_id, .. } if node_id == session.node_id)
        });
        let Some(gateway) = gateway else {
            warn!(%node, "a node has no gateway");
            session.actor.stop(None);
            return;
        };
        info!(%node, "connected with a node");
        let now = self.now();
        self.dialer.met(now, &node);
        self.peers.connect(node, Link::new(boot, gateway.into()));
    }

    fn gone(&mut self, session: &Session) {
        self.sessions.remove(&session.actor.get_id());
        let Some((node, boot)) = peer_of(session) else {
            return;
        };
        // Of two sessions with the same node one is given up; the other one goes on.
        let other = self.sessions.values().any(|open| {
            let peer = open.peer.as_ref();
            peer.is_some_and(|(name, id)| *name == node && *id == boot)
        });
        if !other && self.peers.disconnect(&node, &boot) {
            info!(%node, "the connection with a node is lost");
        }
    }
}

/// However it ends: actors without a driver would answer for a gateway that nobody can reach.
impl Drop for Driver {
    fn drop(&mut self) {
        self.server.stop(None);
        self.actor.stop(None);
        self.peers.clear();
    }
}

/// Name and process of the node at the other end: `name#boot@host`.
fn peer_of(session: &Session) -> Option<(NodeName, String)> {
    let name = &session.peer_name.as_ref()?.name;
    let (node, _) = name.rsplit_once('@')?;
    let (node, boot) = node.rsplit_once('#')?;
    Some((NodeName::new(node), boot.to_owned()))
}
