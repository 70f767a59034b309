//! The store of a cluster: PostgreSQL.
//!
//! ```text
//!   submit ──> queue of the shard's writer ──> one statement: fence, expected seq, insert ──> acks
//!                                                      │ ended, long
//!                                                      v
//!                                                  historian ── history for SQL, merging, retention
//!   load, list, restore ──> a few connections that only read
//!   renew ──> a connection of its own
//! ```
//!
//! Every write is one statement in its own transaction and names the epoch of its shard and the
//! run's last event: both are looked at by the statement that inserts (`sql.rs`). So a node that
//! was paused, cut off or declared dead changes nothing when it returns, and no transaction is ever
//! open while a client thinks.
//!
//! **When the database is away** writes wait and nothing is lost: what was sent and not answered is
//! sent again, and the database tells a repeat from a conflict. Reads and acquisitions wait for as
//! long as a lease lives ([`Options::ttl`]), then they fail with
//! [`Error::Unavailable`]. When the lease has run out meanwhile, every waiting and
//! later write of the shards held is refused with [`Error::Fenced`], whether or not another node
//! has taken them: their actors stop, and whoever acquires them next finds in the journal what was
//! committed. New runs are refused while the database has been away for a moment
//! ([`RunStore::refusing`]).
//!
//! The store has threads of its own: a renewal is never behind the work of a node.
//!
//! Architecture Invariant: an acknowledgement waits for a commit that is durable on the server, and
//! only statements of `sql.rs` that name an epoch write to the journal (merging, which changes no
//! event, and retention are the exceptions).

mod batch;
mod clock;
mod connect;
mod describe;
mod historian;
mod keeper;
mod lease;
mod merge;
mod migrate;
mod pool;
mod problem;
mod queue;
mod reads;
mod server;
mod shards;
mod shared;
mod sql;
mod store;
mod tls;
mod tools;
mod types;
mod url;
mod verify;
mod writer;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crane_core::limits;

#[cfg(doc)]
use crate::RunStore;
pub use crate::embedded::Clock;
use crate::{Error, Retention};
pub use store::PostgresStore;
pub use verify::{Finding, Report, verify};

/// How long a lease lives when nothing else is said.
pub const LEASE_TTL: Duration = Duration::from_secs(3);

/// Shortest lease that is accepted: below it, a slow commit looks like a dead node.
pub const SHORTEST_LEASE: Duration = Duration::from_millis(200);

/// How a store in PostgreSQL is opened.
#[derive(Clone)]
pub struct Options {
    /// Where the database is: `postgres://user:password@host:port/database`, or libpq's
    /// `key=value` form. Beside what tokio-postgres knows, a URL may say `sslmode=verify-full` and
    /// `sslrootcert=FILE`. A certificate is always verified; `sslmode=disable` does without TLS,
    /// which is also the default on this machine itself.
    pub url: String,
    /// Schema that holds everything; created when missing.
    pub schema: String,
    /// This node's name.
    pub node: String,
    /// How long a lease lives without renewal. The store does not renew it by itself: whoever acts
    /// on what comes of it calls [`RunStore::renew`] every quarter of that time or so.
    pub ttl: Duration,
    /// Certificates (PEM) to trust in place of the system's.
    pub ca: Option<PathBuf>,
    /// Take a server that may lose what it has committed.
    pub allow_unsafe: bool,
    /// How long finished runs are kept. Only the age counts here.
    pub retention: Retention,
    /// Connections for reading at most.
    pub readers: usize,
    /// The clock that retention goes by.
    pub now: Clock,
    /// The negative control of tests, which no build for use has: writes are not fenced.
    #[cfg(any(test, debug_assertions))]
    #[doc(hidden)]
    pub unfenced: bool,
}

impl Options {
    /// The defaults, for a node of this name.
    pub fn new(url: impl Into<String>, node: impl Into<String>, now: Clock) -> Self {
        Self {
            url: url.into(),
            schema: "crane".to_owned(),
            node: node.into(),
            ttl: LEASE_TTL,
            ca: None,
            allow_unsafe: false,
            retention: Retention::default(),
            readers: limits::STORE_READERS,
            now,
            #[cfg(any(test, debug_assertions))]
            unfenced: false,
        }
    }

    fn is_fenced(&self) -> bool {
        #[cfg(any(test, debug_assertions))]
        if self.unfenced {
            return false;
        }
        true
    }
}

/// Where a URL leads, for messages: database, hosts and user, never the password.
///
/// # Errors
/// [`Error::Unsuitable`] with what is wrong, without repeating the URL.
pub fn place(url: &str) -> Result<String, Error> {
    url::parse(url).map(|target| url::describe(&target.config))
}

impl fmt::Debug for Options {
    /// Without the URL, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("schema", &self.schema)
            .field("node", &self.node)
            .field("ttl", &self.ttl)
            .field("ca", &self.ca)
            .field("allow_unsafe", &self.allow_unsafe)
            .field("retention", &self.retention)
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
