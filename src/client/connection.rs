//! One connection to a server: from a name to requests on the wire, one at a time.
//!
//! The task that drives a connection belongs to it and ends with it.

use std::io;
use std::time::Duration;

use axum::http::{Request, Response};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::CertificateError;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use super::error::Error;
use super::target::Target;

/// Longest time until a connection stands, names and TLS included.
const CONNECT: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug)]
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// Aborted when the connection is dropped.
    _driver: JoinSet<()>,
}

/// A request that got no answer.
#[derive(Debug)]
pub struct Unanswered {
    /// Why.
    pub error: hyper::Error,
    /// The request, when nothing of it was sent.
    pub unsent: Option<Box<Request<Full<Bytes>>>>,
}

impl Connection {
    /// Connects.
    pub(super) async fn open(target: &Target, tls: Option<&TlsConnector>) -> Result<Self, Error> {
        let opening = Self::dial(target, tls);
        tokio::time::timeout(CONNECT, opening)
            .await
            .unwrap_or_else(|_| {
                let late = io::Error::new(io::ErrorKind::TimedOut, "it does not answer in time");
                Err(Error::unreachable(target, &late))
            })
    }

    async fn dial(target: &Target, tls: Option<&TlsConnector>) -> Result<Self, Error> {
        let unreachable = |error: io::Error| Error::unreachable(target, &error);
        let stream = TcpStream::connect((target.host.as_str(), target.port))
            .await
            .map_err(unreachable)?;
        // A request is one write, and its answer is waited for.
        stream.set_nodelay(true).map_err(unreachable)?;
        let Some(tls) = tls else {
            return Self::start(target, stream).await;
        };
        let name = ServerName::try_from(target.host.clone())
            .map_err(|error| unreachable(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        let stream = tls
            .connect(name, stream)
            .await
            .map_err(|error| tls_failed(target, &error))?;
        Self::start(target, stream).await
    }

    async fn start<S>(target: &Target, stream: S) -> Result<Self, Error>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| Error::on_the_wire(target, &error))?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // Whoever waits for an answer on it hears the same.
            let _ = connection.await;
        });
        Ok(Self {
            sender,
            _driver: driver,
        })
    }

    /// Sends a request and waits for the head of its answer.
    ///
    /// # Errors
    /// When the connection ends before; with the request, if the server cannot have seen it.
    pub async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Unanswered> {
        if let Err(error) = self.sender.ready().await {
            let unsent = Some(Box::new(request));
            return Err(Unanswered { error, unsent });
        }
        self.sender
            .try_send_request(request)
            .await
            .map_err(|mut failed| Unanswered {
                unsent: failed.take_message().map(Box::new),
                error: failed.into_error(),
            })
    }

    /// Whether it has ended.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

/// A certificate that is not trusted is told apart from a server that does not speak TLS.
fn tls_failed(target: &Target, error: &io::Error) -> Error {
    let cause = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidCertificate(reason)) => Error::Untrusted {
            server: target.to_string(),
            reason: match reason {
                // The latter is a certificate that was signed by itself, as an authority.
                CertificateError::UnknownIssuer | CertificateError::Other(_) => {
                    "its certificate is of an authority that is not known here".to_owned()
                }
                reason => reason.to_string(),
            },
        },
        Some(rustls::Error::InvalidMessage(_)) => Error::Unreachable {
            server: target.to_string(),
            reason: "it does not speak TLS; is it http:// instead of https://?".to_owned(),
        },
        _ => Error::unreachable(target, error),
    }
}
