//! Sockets to and from other nodes, made so that a peer that falls silent is noticed.

use std::io;
use std::time::Duration;

use ractor_cluster::NetworkStream;
use tokio::net::TcpStream;
use tokio::time::timeout;

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

/// Connects to `address`, a host and a port.
pub(super) async fn dial(address: &str, tls: Option<&Tls>) -> io::Result<NetworkStream> {
    let stream = timeout(HANDSHAKE, TcpStream::connect(address)).await??;
    tune(&stream)?;
    let (peer_addr, local_addr) = (stream.peer_addr()?, stream.local_addr()?);
    Ok(match tls {
        None => NetworkStream::Raw {
            peer_addr,
            local_addr,
            stream,
        },
        Some(tls) => {
            let stream = tls.connector.connect(tls.name.clone(), stream);
            let stream = timeout(HANDSHAKE, stream).await??;
            NetworkStream::TlsClient {
                peer_addr,
                local_addr,
                stream,
            }
        }
    })
}

/// Makes a session's stream of a connection that came in.
pub(super) async fn welcome(stream: TcpStream, tls: Option<&Tls>) -> io::Result<NetworkStream> {
    tune(&stream)?;
    let (peer_addr, local_addr) = (stream.peer_addr()?, stream.local_addr()?);
    Ok(match tls {
        None => NetworkStream::Raw {
            peer_addr,
            local_addr,
            stream,
        },
        Some(tls) => {
            let stream = timeout(HANDSHAKE, tls.acceptor.accept(stream)).await??;
            NetworkStream::TlsServer {
                peer_addr,
                local_addr,
                stream,
            }
        }
    })
}
