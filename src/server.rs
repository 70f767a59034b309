//! The listener: from a socket to the API, and from a signal to the last answer.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::api::{self, Api};
use crate::life::Phase;

/// Binds `address`; port 0 takes any free one.
///
/// # Errors
/// As the system reports them.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Answers requests until the node's life is closing.
///
/// # Errors
/// When the socket fails.
pub async fn serve(listener: TcpListener, api: Api) -> std::io::Result<()> {
    let life = api.life.clone();
    axum::serve(listener, api::router(api))
        .with_graceful_shutdown(async move { life.reached(Phase::Closing).await })
        .await
}
