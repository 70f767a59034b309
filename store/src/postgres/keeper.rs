//! Renewing the lease when the node asks for it, on a connection that does nothing else.

use std::sync::Arc;

use tokio::sync::Mutex;

use super::clock::boot_time;
use super::connect::{Conn, Purpose, within};
use super::problem::Problem;
use super::shared::{Delays, Shared};
use super::{shards, sql};
use crate::Error;
use crate::leases::Incarnation;
use crate::metrics::{self, Trouble};

/// The connection for renewals.
#[derive(Default)]
pub(crate) struct Keeper(Mutex<Option<Conn>>);

/// Renews the lease. While the database does not answer it tries again, until the lease is over.
pub(crate) async fn renew(shared: &Shared) -> Result<(), Error> {
    let mut slot = shared.keeper.0.lock().await;
    let lease = &shared.lease;
    let Some(owner) = lease.owner() else {
        return Err(lease.none());
    };
    let mut delays = Delays::new(lease.ttl());
    let mut detail: Arc<str> = "nobody asked for it in time".into();
    loop {
        if lease.is_over() {
            let ttl = lease.ttl();
            let reason = format!("it was not renewed within {ttl:?}: {detail}");
            return Err(lease.lose(owner.incarnation, &reason));
        }
        let sent = boot_time();
        match ask(shared, &mut slot, owner.incarnation).await {
            Ok(true) => {
                lease.renewed(owner.incarnation, sent);
                return Ok(());
            }
            Ok(false) => {
                let reason = "it had run out, or another node has declared this one dead";
                return Err(lease.lose(owner.incarnation, reason));
            }
            Err(problem) => {
                metrics::error(Trouble::Renew);
                detail = problem.detail();
                tracing::warn!(%detail, "the lease cannot be renewed, trying again");
                if !matches!(problem, Problem::Busy { .. }) {
                    *slot = None;
                }
                tokio::time::sleep(delays.next()).await;
            }
        }
    }
}

async fn ask(
    shared: &Shared,
    slot: &mut Option<Conn>,
    incarnation: Incarnation,
) -> Result<bool, Problem> {
    within(shared.connector.longest(Purpose::Renew), async {
        let conn = match slot {
            Some(conn) if !conn.is_closed() => conn,
            other => {
                let conn = shared.connector.connect(Purpose::Renew).await?;
                // It may be another server than before.
                shards::follow_timeline(&conn).await?;
                other.insert(conn)
            }
        };
        let incarnation = super::types::big(incarnation.0);
        let changed = conn
            .execute(
                sql::RENEW,
                &[&incarnation, &shards::millis(shared.lease.ttl())],
            )
            .await?;
        Ok(changed > 0)
    })
    .await
}

/// Closes the connection.
pub(crate) async fn close(shared: &Shared) {
    *shared.keeper.0.lock().await = None;
}
