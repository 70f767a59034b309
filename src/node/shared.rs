//! Opening the database that nodes share: waited for, for a while, and never without a lease under a
//! name of one's own.

use std::sync::Arc;
use std::time::Duration;

use crane_actors::clock::Clock;
use crane_core::{Generation, limits};
use crane_store::Error;
use crane_store::leases::{Leases, NodeLease};
use crane_store::postgres::{Options, PostgresStore};
use tokio::time::Instant;

use super::OpenError;
use crate::config::{Config, PostgresConfig};
use crate::output;

/// The store, joined.
pub(super) struct Opened {
    pub(super) store: Arc<PostgresStore>,
    /// Of this life of the node.
    pub(super) generation: Generation,
    /// What tells the store from all others.
    pub(super) identity: String,
}

/// Opens the store, which may come up in a while, and joins.
pub(super) async fn open(
    config: &Config,
    postgres: &PostgresConfig,
    clock: &Clock,
) -> Result<Opened, OpenError> {
    let begun = Instant::now();
    let mut told = false;
    loop {
        let error = match try_open(config, postgres, clock).await {
            Err(OpenError::Store(error @ Error::Unavailable(_))) => error,
            opened => return opened,
        };
        let patience = output::duration(limits::START_WAIT);
        if begun.elapsed() >= limits::START_WAIT {
            return Err(OpenError::Away { patience, error });
        }
        if !std::mem::replace(&mut told, true) {
            output::note(&format!("{error}; trying for {patience}"));
        }
        tokio::time::sleep(limits::START_PAUSE).await;
    }
}

async fn try_open(
    config: &Config,
    postgres: &PostgresConfig,
    clock: &Clock,
) -> Result<Opened, OpenError> {
    let now = clock.clone();
    let (url, name) = (postgres.url.reveal(), config.node.name.as_str());
    let options = Options {
        schema: postgres.schema.clone(),
        ttl: config.cluster.lease,
        ca: postgres.ca.clone(),
        allow_unsafe: postgres.allow_unsafe,
        retention: config.store.retention,
        ..Options::new(url, name, Arc::new(move || now.now()))
    };
    let options = super::unfenced::store(options);
    let store = Arc::new(PostgresStore::open(options).await?);
    check_name(store.as_ref(), name, config.cluster.lease).await?;
    let owner = store.join().await?;
    let identity = store.identity().await?;
    Ok(Opened {
        store,
        generation: Generation(owner.incarnation.0),
        identity,
    })
}

/// Refuses a name that another living node has. A node that was killed a moment ago has left its
/// lease; but nobody renews that.
async fn check_name(store: &dyn Leases, name: &str, ttl: Duration) -> Result<(), OpenError> {
    let before = namesakes(store, name).await?;
    if before.is_empty() {
        return Ok(());
    }
    // Longer than the time between two renewals.
    let pause = ttl / 3;
    tokio::time::sleep(pause).await;
    let after = namesakes(store, name).await?;
    let is_renewed = |now: &&NodeLease| {
        let mut earlier = before.iter();
        let was = earlier.find(|was| was.owner.incarnation == now.owner.incarnation);
        was.is_none_or(|was| now.left + pause / 2 > was.left)
    };
    match after.iter().find(is_renewed) {
        Some(_) => Err(OpenError::NameTaken(name.to_owned())),
        None => Ok(()),
    }
}

async fn namesakes(store: &dyn Leases, name: &str) -> Result<Vec<NodeLease>, Error> {
    let nodes = store.table().await?.nodes.into_iter();
    let living = nodes.filter(|node| node.is_alive() && &*node.owner.node == name);
    Ok(living.collect())
}
