//! A client of a node's HTTP API, for the command line.
//!
//! ```text
//!   runs, tools, health ──> call ──> connection (kept between calls; TCP, or TLS) ──> /api/v1/...
//!      │                      └── outage: pauses, tries again what may be repeated, says so
//!   follow ──> events ──> sse: the stream of a run, over restarts of the node ──> Run, as a local one
//! ```
//!
//! What never lives here: what the command line prints, and any rule of the domain. A run of a
//! server is folded from its events by the same code as on the node.

mod call;
mod cluster;
mod connection;
mod error;
mod events;
mod follow;
mod health;
mod lane;
mod outage;
mod query;
mod runs;
mod sse;
mod target;
#[cfg(test)]
mod tests;
mod tls;
mod tools;

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use tokio_rustls::TlsConnector;

pub use connection::{Connection, Unanswered};
pub use error::{Error, Refusal};
pub use events::{Events, Text};
pub use follow::Follower;
pub use health::Readiness;
pub use lane::Lane;
pub use runs::{Head, Listing, Message, RemoteRun, status};
pub use target::{Target, Token};

/// What a client is made with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server.
    pub target: Target,
    /// What it asks for.
    pub token: Option<Token>,
    /// A file with the certificate authorities to trust, in place of the system's.
    pub ca_cert: Option<PathBuf>,
    /// Hears about outages, a line each.
    pub say: fn(&str),
}

/// A client. Cheap to clone; clones share the kept connection.
#[derive(Clone, Debug)]
pub struct Client(Arc<Shared>);

struct Shared {
    target: Target,
    token: Option<Token>,
    tls: Option<TlsConnector>,
    say: fn(&str),
    /// Whether there has ever been a connection.
    reached: AtomicBool,
    /// The connection of the last call, for the next one.
    kept: Mutex<Option<Connection>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client that has not connected yet.
    ///
    /// # Errors
    /// When nobody can be trusted behind `https`.
    pub fn new(options: Options) -> Result<Self, Error> {
        let tls = match options.target.tls {
            true => Some(tls::connector(options.ca_cert.as_deref())?),
            false => None,
        };
        Ok(Self(Arc::new(Shared {
            target: options.target,
            token: options.token,
            tls,
            say: options.say,
            reached: AtomicBool::new(false),
            kept: Mutex::new(None),
        })))
    }

    /// The server.
    pub fn target(&self) -> &Target {
        &self.0.target
    }
}
