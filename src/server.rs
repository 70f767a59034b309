//! The listener: from a socket to the API.
//!
//! ```text
//!   Bound ── the store is open ──> Listener ──> accept ──> connection: TLS, HTTP/1.1 ──> Router
//!                                                 │  ^          │ notes what it waits for
//!                                                 v  │          v
//!                                      places (api.max_connections)   Activity
//!                                                    └── sweep: cuts clients that are too slow
//! ```
//!
//! The address is bound before the store is opened, so that an address that is taken is said at
//! once; it listens only afterwards, so that nobody waits in a queue for an answer that recovery
//! holds up: until then connections are refused, which clients and balancers understand.
//!
//! **Slow clients.** Every wait for a client has its time (see `activity`), and one sweep cuts
//! those that are over it. When all places are taken, the connection that has waited for its client
//! longest makes room for the next one; only when every single connection waits for the node do
//! new ones queue in the kernel. So a flood of clients that send nothing takes places from each
//! other and not from one that sends a request.
//!
//! What never lives here: routes, tokens, what a request means.

mod activity;
mod connection;
mod files;
mod requests;
mod stream;
pub mod systemd;
pub mod tls;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use crane_core::limits;
use hyper::server::conn::http1;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout};

use crate::config::ApiConfig;
use crate::life::{Life, Phase};
use activity::{Activity, Patience};
use connection::Shared;
use tls::Tls;

/// How long connections may take to end when the node closes.
const CLOSING: Duration = Duration::from_secs(5);
/// How long a client is left alone although others wait for a place.
const GRACE: Duration = Duration::from_millis(100);
/// How often it is looked whether a place can be made for one that waits.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Pause after the first failure to accept for want of something; it doubles up to a second.
const PAUSE: Duration = Duration::from_millis(20);

/// An address that belongs to this process and does not listen yet.
#[derive(Debug)]
pub struct Bound(TcpSocket);

/// An address that listens.
#[derive(Debug)]
pub struct Listener(TcpListener);

/// Takes `address`; port 0 takes any free one.
///
/// # Errors
/// As the system reports them, such as an address that is in use.
pub fn bind(address: SocketAddr) -> io::Result<Bound> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // Connections of a process that was killed linger; they must not keep its successor out.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(Bound(socket))
}

impl Bound {
    /// The address, with the port that was taken.
    ///
    /// # Errors
    /// As the system reports them.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Lets clients connect.
    ///
    /// # Errors
    /// As the system reports them, such as another process that was faster.
    pub fn listen(self) -> io::Result<Listener> {
        self.0.listen(limits::LISTEN_BACKLOG).map(Listener)
    }
}

/// What answers on a listener, and within which bounds.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    patience: Patience,
    places: usize,
}

impl Server {
    /// Answers with `router` until `life` is closing.
    pub fn new(router: Router, config: &ApiConfig, tls: Option<Tls>, life: Life) -> Self {
        let mut http = http1::Builder::new();
        http.header_read_timeout(None)
            .max_header_size(config.max_header_bytes);
        Self {
            shared: Arc::new(Shared {
                router,
                http,
                tls,
                life,
            }),
            patience: Patience {
                head: config.header_timeout,
                body: config.body_timeout,
                body_rate: config.body_rate,
                write: config.write_timeout,
                idle: config.idle_timeout,
            },
            places: files::room_for(config.max_connections),
        }
    }

    /// Accepts and answers until the life of the node is closing, and lets connections end then.
    pub async fn run(self, listener: Listener) {
        let life = self.shared.life.clone();
        let mut connections = Connections::new(self);
        tokio::select! {
            () = life.reached(Phase::Closing) => {}
            () = connections.accept(&listener.0) => {}
        }
        connections.take_rest(listener);
        connections.close().await;
    }
}

/// The connections that are open.
#[derive(Debug)]
struct Connections {
    server: Server,
    start: Instant,
    tasks: JoinSet<()>,
    open: HashMap<Id, Open>,
    /// How many may be open at present.
    places: usize,
    /// How many were ever opened.
    opened: u64,
    /// Accepted when every place was taken.
    waiting: Option<(TcpStream, SocketAddr)>,
    sweep: Interval,
}

/// A connection that has a place.
#[derive(Debug)]
struct Open {
    /// Its place in the order in which they were accepted.
    number: u64,
    activity: Arc<Activity>,
    task: AbortHandle,
}

impl Connections {
    fn new(server: Server) -> Self {
        let mut sweep = interval(sweep_every(&server.patience));
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            places: server.places,
            server,
            start: Instant::now(),
            tasks: JoinSet::new(),
            open: HashMap::new(),
            opened: 0,
            waiting: None,
            sweep,
        }
    }

    /// Does not return.
    async fn accept(&mut self, listener: &TcpListener) {
        let mut pause = PAUSE;
        loop {
            self.seat();
            tokio::select! {
                accepted = listener.accept(), if self.waiting.is_none() => match accepted {
                    Ok(accepted) => {
                        pause = PAUSE;
                        self.waiting = Some(accepted);
                    }
                    Err(error) if concerns_one(&error) => {}
                    Err(error) => {
                        self.shrink(&error);
                        tokio::time::sleep(pause).await;
                        pause = (2 * pause).min(Duration::from_secs(1));
                    }
                },
                Some(ended) = self.tasks.join_next_with_id() => {
                    let id = ended.as_ref().map_or_else(|error| error.id(), |(id, ())| *id);
                    self.open.remove(&id);
                }
                // With the grace over, somebody may have to go.
                () = tokio::time::sleep(LOOK_AGAIN), if self.waiting.is_some() => {}
                // Without connections nothing ticks.
                _ = self.sweep.tick(), if !self.open.is_empty() => {
                    self.cut_overdue();
                    self.grow();
                }
            }
        }
    }

    /// Takes in who has connected by now, and closes the listener: the system resets the connections
    /// that it still holds then, although their clients may have sent a request.
    fn take_rest(&mut self, listener: Listener) {
        let Ok(listener) = listener.0.into_std() else {
            return;
        };
        loop {
            self.seat();
            if self.waiting.is_some() {
                return;
            }
            let accepted = match listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if concerns_one(&error) => continue,
                // There are no more, or no room for them.
                Err(_) => return,
            };
            let (stream, peer) = accepted;
            let stream = stream
                .set_nonblocking(true)
                .and_then(|()| TcpStream::from_std(stream));
            self.waiting = stream.ok().map(|stream| (stream, peer));
        }
    }

    /// Gives a place to the connection that waits for one, if one is free or can be made so.
    fn seat(&mut self) {
        if self.waiting.is_none() || (self.is_full() && !self.evict()) {
            return;
        }
        let Some((stream, peer)) = self.waiting.take() else {
            return;
        };
        let activity = Arc::new(Activity::new(self.start));
        let shared = Arc::clone(&self.server.shared);
        let driven = connection::drive(stream, peer, shared, Arc::clone(&activity));
        let task = self.tasks.spawn(driven);
        self.opened += 1;
        let open = Open {
            number: self.opened,
            activity,
            task,
        };
        self.open.insert(open.task.id(), open);
    }

    fn is_full(&self) -> bool {
        self.open.len() >= self.places
    }

    /// The system has no room for what is open already: from now on fewer connections make do.
    fn shrink(&mut self, error: &io::Error) {
        let open = self.open.len();
        tracing::warn!(%error, open, "cannot accept a connection");
        // A few less, so that the node's own files find room as well.
        self.places = (open - open / 8).saturating_sub(1).max(1);
        while self.open.len() > self.places && self.evict() {}
    }

    /// Want of room may pass.
    fn grow(&mut self) {
        self.places = (self.places + 1 + self.places / 16).min(self.server.places);
    }

    /// Cuts the connection that has waited for its client longest, if any does.
    fn evict(&mut self) -> bool {
        let waiting = self.open.iter().filter_map(|(id, open)| {
            // Of those that began in the same millisecond, the one that was accepted first.
            Some(((open.activity.waits_since(GRACE)?, open.number), *id))
        });
        let longest = waiting.min_by_key(|(since, _)| *since);
        let evicted = longest.and_then(|(_, id)| self.open.remove(&id));
        if let Some(open) = &evicted {
            open.task.abort();
        }
        evicted.is_some()
    }

    fn cut_overdue(&mut self) {
        let patience = self.server.patience;
        self.open.retain(|_, open| {
            let overdue = open.activity.is_overdue(&patience);
            if overdue {
                open.task.abort();
            }
            !overdue
        });
    }

    /// Waits for answers that are under way, within bounds; no connection begins another one.
    async fn close(mut self) {
        let all_ended = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(CLOSING, all_ended).await.is_err() {
            let open = self.tasks.len();
            tracing::warn!(open, "connections were cut after {CLOSING:?} of closing");
        }
        self.tasks.shutdown().await;
    }
}

/// Often enough for the shortest of the times.
fn sweep_every(patience: &Patience) -> Duration {
    let Patience {
        head,
        body,
        body_rate: _,
        write,
        idle,
    } = *patience;
    let shortest = head.min(body).min(write).min(idle);
    (shortest / 4).clamp(Duration::from_millis(20), Duration::from_secs(1))
}

/// Whether a failure to accept is about that one connection and the next one may be fine.
fn concerns_one(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::PermissionDenied
    )
}
