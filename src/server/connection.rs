//! One connection, from its handshake to its last byte.

use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::activity::Activity;
use super::requests::Requests;
use super::stream::{Stream, Transport};
use super::tls::Tls;
use crate::life::{Life, Phase};

/// How long a client that is still sending is listened to after its answer.
const LINGER: Duration = Duration::from_secs(5);
/// How long it may pause in that time.
const LINGER_PAUSE: Duration = Duration::from_secs(1);
/// How long a client that has just connected may take for its request when the node closes.
const LAST_REQUEST: Duration = Duration::from_secs(1);

/// What all connections share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) router: Router,
    pub(super) http: http1::Builder,
    pub(super) tls: Option<Tls>,
    pub(super) life: Life,
}

/// Answers what comes on `stream` until the client or the node has had enough. The sweep cuts a
/// client that is too slow by ending this.
pub(super) async fn drive(
    stream: TcpStream,
    peer: SocketAddr,
    shared: Arc<Shared>,
    activity: Arc<Activity>,
) {
    // An answer is one write; waiting for more to come would only delay it.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "the connection is gone");
        return;
    }
    let transport = match &shared.tls {
        None => Transport::Plain(stream),
        Some(tls) => match tls.acceptor().accept(stream).await {
            Ok(stream) => Transport::Tls(Box::new(stream)),
            Err(error) => {
                tracing::debug!(%peer, %error, "no TLS handshake");
                return;
            }
        },
    };
    let stream = Stream::new(transport, Arc::clone(&activity));
    let requests = Requests {
        router: shared.router.clone(),
        activity: Arc::clone(&activity),
    };
    let mut connection = shared.http.serve_connection(TokioIo::new(stream), requests);
    let mut closing = pin!(shared.life.reached(Phase::Closing));
    let served = tokio::select! {
        biased;
        served = &mut connection => Some(served),
        () = &mut closing => None,
    };
    let served = match served {
        None if activity.is_in_head() => timeout(LAST_REQUEST, &mut connection).await.ok(),
        served => served,
    };
    let served = match served {
        Some(served) => served,
        None => {
            Pin::new(&mut connection).graceful_shutdown();
            (&mut connection).await
        }
    };
    if let Err(error) = &served {
        tracing::debug!(%peer, %error, "a connection has failed");
    }
    if !activity.has_ended() {
        linger(connection.into_parts().io.into_inner()).await;
    }
}

/// Listens to the client for a moment after the answer. A socket that is closed with bytes unread
/// resets the connection, and the client would lose the answer that says why: a body or a head
/// that is too large is refused before it has been read.
async fn linger(mut stream: Stream) {
    let listen = async {
        // The client may be gone, which is as good.
        let _ = stream.shutdown().await;
        let mut waste = vec![0; 16 << 10];
        while let Ok(Ok(1..)) = timeout(LINGER_PAUSE, stream.read(&mut waste)).await {}
    };
    let _ = timeout(LINGER, listen).await;
}
