//! Sockets to and from other nodes, made so that a peer that falls silent is noticed.

use std::io;
use std::time::Duration;

use ractor_cluster::NetworkStream;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::greeting::{Key, Side, greet};
use super::tls::Tls;

/// How long bytes may stay unacknowledged before the connection is given up (RFC 5482). Without it
/// a peer that is cut off is not noticed for many minutes.
const UNACKNOWLEDGED: Duration = Duration::from_secs(8);
/// How long connecting and a TLS handshake may take, each.
const HANDSHAKE: Duration = Duration::from_secs(5);

fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let millis = u32::try_from(UNACKNOWLEDGED.as_millis()).unwrap_or(u32::MAX);
    rustix::net::sockopt::set_tcp_user_timeout(stream, millis)?;
    rustix::net::sockopt::set_socket_keepalive(stream, true)?;
    Ok(())
}

/// How long a greeting may take. Whoever says nothing holds a place for so long.
const GREETING: Duration = Duration::from_secs(2);

/// What a node shows to others.
#[derive(Clone, Debug)]
pub(super) struct Papers {
    pub(super) keys: Vec<Key>,
    pub(super) tls: Option<Tls>,
}

/// Finds out whether somebody listens at `address`.
pub(super) async fn knock(address: &str) -> io::Result<()> {
    timeout(HANDSHAKE, TcpStream::connect(address)).await??;
    Ok(())
}

/// Connects to `address`, a host and a port, where a node of the cluster is.
pub(super) async fn dial(address: &str, papers: &Papers) -> io::Result<NetworkStream> {
    let stream = timeout(HANDSHAKE, TcpStream::connect(address)).await??;
    tune(&stream)?;
    let Some(tls) = &papers.tls else {
        return plain(stream, Side::Dials, papers).await;
    };
    let (peer_addr, local_addr) = (stream.peer_addr()?, stream.local_addr()?);
    let stream = tls.connector.connect(tls.name.clone(), stream);
    let mut stream = timeout(HANDSHAKE, stream).await??;
    timeout(GREETING, greet(&mut stream, Side::Dials, &papers.keys)).await??;
    Ok(NetworkStream::TlsClient {
        peer_addr,
        local_addr,
        stream,
    })
}

/// Makes a session's stream of a connection that came in.
pub(super) async fn welcome(stream: TcpStream, papers: &Papers) -> io::Result<NetworkStream> {
    tune(&stream)?;
    let Some(tls) = &papers.tls else {
        return plain(stream, Side::IsDialed, papers).await;
    };
    let (peer_addr, local_addr) = (stream.peer_addr()?, stream.local_addr()?);
    let mut stream = timeout(HANDSHAKE, tls.acceptor.accept(stream)).await??;
    timeout(GREETING, greet(&mut stream, Side::IsDialed, &papers.keys)).await??;
    Ok(NetworkStream::TlsServer {
        peer_addr,
        local_addr,
        stream,
    })
}

/// A session's stream without TLS.
async fn plain(mut stream: TcpStream, side: Side, papers: &Papers) -> io::Result<NetworkStream> {
    timeout(GREETING, greet(&mut stream, side, &papers.keys)).await??;
    Ok(NetworkStream::Raw {
        peer_addr: stream.peer_addr()?,
        local_addr: stream.local_addr()?,
        stream,
    })
}
