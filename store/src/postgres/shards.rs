//! Joining, taking shards over, handing them on.
//!
//! A takeover has an order: first the old incarnation is declared dead, under the lock of its row
//! and only if its lease has run out, so that it cannot renew any more; then the epochs of its
//! shards are raised, which waits for appends that are under way; only then is the journal read.
//! Each is a statement of its own: a node that dies between them leaves nothing that the next one
//! could not do again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crane_core::{Epoch, ShardId};
use tokio_postgres::Row;

use super::clock::boot_time;
use super::connect::Conn;
use super::problem::Problem;
use super::shared::Shared;
use super::sql;
use super::types::{big, unsigned};
use crate::leases::{Death, Incarnation, NodeLease, Owner, ShardRow, ShardTable};
use crate::{Error, Fence};

/// A duration as the statements take it.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The lease that is held, or a new one.
pub(crate) async fn join(shared: &Shared) -> Result<Owner, Error> {
    shared.still_open()?;
    shared.lease.lose_if_over("no renewal was answered");
    let mut patience = shared.patience("join");
    loop {
        if let Some(owner) = shared.lease.owner() {
            return Ok(owner);
        }
        let sent = boot_time();
        let result = async {
            let loan = shared.pool.get(&shared.connector).await?;
            let conn = loan.conn()?;
            follow_timeline(conn).await?;
            conn.execute(sql::FORGET_NODES, &[]).await?;
            let ttl = millis(shared.lease.ttl());
            let (node, application) = (&**shared.lease.node(), &*shared.connector.application);
            let rows = conn.query(sql::JOIN, &[&node, &application, &ttl]).await?;
            let row = rows.first().ok_or_else(|| no_row("join"))?;
            Ok(Incarnation(unsigned(row.try_get(0)?)))
        };
        if let Some(incarnation) = patience.judge(result.await).await? {
            let owner = shared.lease.granted(incarnation, sent);
            // It has just written something.
            shared.outage.end();
            tracing::info!(node = %owner.node, %incarnation, place = %shared.connector.place, "joined");
            return Ok(owner);
        }
    }
}

fn no_row(what: &str) -> Problem {
    Problem::Lost(format!("the database answered nothing to {what}").into())
}

/// After a failover the epochs may be older than they were, and be given out twice: all are raised
/// far beyond, and every lease is ended.
pub(crate) async fn follow_timeline(conn: &Conn) -> Result<(), Problem> {
    match conn.execute(sql::FOLLOW_TIMELINE, &[]).await {
        Ok(0) => Ok(()),
        Ok(shards) => {
            tracing::warn!(
                shards,
                "the database has failed over; all epochs were raised"
            );
            Ok(())
        }
        // Some hosted databases do not tell their timeline.
        Err(Problem::Refused { detail, .. }) => {
            tracing::debug!(%detail, "the database does not tell its timeline");
            Ok(())
        }
        Err(problem) => Err(problem),
    }
}

/// Takes what nobody owns of `shards`; see the module.
pub(crate) async fn acquire(shared: &Shared, shards: &[ShardId]) -> Result<Vec<Fence>, Error> {
    let mut patience = shared.patience("acquire");
    loop {
        let owner = join(shared).await?;
        let result = async {
            let mut loan = shared.pool.get(&shared.connector).await?;
            let taken = take(shared, loan.conn()?, &owner, shards).await;
            if matches!(taken, Err(Problem::Lost(_))) {
                loan.give_up();
            }
            taken
        };
        if let Some(mut fences) = patience.judge(result.await).await? {
            fences.sort_unstable();
            shared
                .errands
                .describe_missing(fences.iter().map(|f| f.shard));
            return Ok(fences);
        }
    }
}

/// The shards that may be taken, with their epochs, and whose they were.
#[derive(Default)]
struct Candidates {
    shards: Vec<i16>,
    epochs: Vec<i64>,
    expired: BTreeSet<i64>,
    applications: BTreeSet<String>,
}

async fn take(
    shared: &Shared,
    conn: &Conn,
    owner: &Owner,
    shards: &[ShardId],
) -> Result<Vec<Fence>, Problem> {
    let me = big(owner.incarnation.0);
    let wanted: Vec<i16> = shards.iter().map(|shard| number(*shard)).collect();
    let ttl = millis(shared.lease.ttl());
    let rows = conn
        .query(sql::OWNERS, &[&wanted, &me, &&*owner.node, &ttl])
        .await?;
    let candidates = candidates(&rows)?;
    if candidates.shards.is_empty() {
        return Ok(Vec::new());
    }
    if !candidates.expired.is_empty() {
        let expired: Vec<i64> = candidates.expired.iter().copied().collect();
        conn.execute(sql::DECLARE_DEAD, &[&expired, &false]).await?;
    }
    let taken = conn
        .query(sql::TAKE, &[&candidates.shards, &candidates.epochs, &me])
        .await;
    if let Err(problem) = &taken
        && problem.is_lock_timeout()
    {
        // A statement of the dead node holds a lock: its connection is ended, and the caller
        // tries again.
        let applications: Vec<&str> = candidates.applications.iter().map(|a| &**a).collect();
        tracing::warn!(?applications, "ending the connections of dead nodes");
        conn.execute(sql::END_CONNECTIONS, &[&applications]).await?;
    }
    fences(&taken?)
}

fn candidates(rows: &[Row]) -> Result<Candidates, Problem> {
    let mut found = Candidates::default();
    for row in rows {
        let (free, expired): (bool, bool) = (row.try_get(2)?, row.try_get(3)?);
        if !free && !expired {
            continue;
        }
        found.shards.push(row.try_get(0)?);
        found.epochs.push(row.try_get(1)?);
        if expired {
            found.expired.extend(row.try_get::<_, Option<i64>>(4)?);
        }
        found
            .applications
            .extend(row.try_get::<_, Option<String>>(5)?);
    }
    Ok(found)
}

/// Gives shards back to nobody.
pub(crate) async fn release(shared: &Shared, held: &[Fence]) -> Result<(), Error> {
    let moved = hand_over(shared, "release", held, None).await?;
    tracing::debug!(shards = moved.len(), "released");
    Ok(())
}

/// Hands shards over to `heir`, or to nobody.
pub(crate) async fn hand_over(
    shared: &Shared,
    op: &'static str,
    held: &[Fence],
    heir: Option<Incarnation>,
) -> Result<Vec<Fence>, Error> {
    let Some(me) = shared.lease.incarnation() else {
        // Whatever it held is lost already.
        return Ok(Vec::new());
    };
    let (shards, epochs): (Vec<i16>, Vec<i64>) = held
        .iter()
        .map(|fence| (number(fence.shard), big(fence.epoch.0)))
        .unzip();
    let heir = heir.map(|incarnation| big(incarnation.0));
    let mut patience = shared.patience(op);
    loop {
        let result = async {
            let loan = shared.pool.get(&shared.connector).await?;
            let rows = loan
                .conn()?
                .query(sql::HAND_OVER, &[&shards, &epochs, &me, &heir])
                .await?;
            fences(&rows)
        };
        if let Some(mut fences) = patience.judge(result.await).await? {
            fences.sort_unstable();
            return Ok(fences);
        }
    }
}

/// Gives everything back, the lease with it. Tried once: what is not given back runs out.
pub(crate) async fn leave(shared: &Shared) {
    let Some(owner) = shared.lease.give_back() else {
        return;
    };
    let me = big(owner.incarnation.0);
    let result: Result<(), Problem> = async {
        let loan = shared.pool.get(&shared.connector).await?;
        let conn = loan.conn()?;
        conn.execute(sql::RELEASE_ALL, &[&me]).await?;
        conn.execute(sql::LEAVE, &[&me]).await?;
        Ok(())
    }
    .await;
    if let Err(problem) = result {
        let detail = problem.detail();
        tracing::warn!(%detail, "the lease could not be given back; it will run out");
    }
}

/// Declares an incarnation dead; on the ground that its lease has run out only if it has, which is
/// looked at when its row is locked.
pub(crate) async fn declare_dead(
    shared: &Shared,
    which: Incarnation,
    ground: Death,
) -> Result<bool, Error> {
    let which = vec![big(which.0)];
    let anyway = ground == Death::Gone;
    let mut patience = shared.patience("declare_dead");
    loop {
        let result = async {
            let loan = shared.pool.get(&shared.connector).await?;
            let conn = loan.conn()?;
            conn.execute(sql::DECLARE_DEAD, &[&which, &anyway]).await?;
            let rows = conn.query(sql::IS_DEAD, &[&which[0]]).await?;
            let row = rows.first().ok_or_else(|| no_row("declare_dead"))?;
            Ok(row.try_get::<_, bool>(0)?)
        };
        if let Some(dead) = patience.judge(result.await).await? {
            return Ok(dead);
        }
    }
}

/// What tells this schema from all others.
pub(crate) async fn identity(shared: &Shared) -> Result<String, Error> {
    let rows = super::reads::query(shared, "identity", sql::IDENTITY, &[]).await?;
    let made: Option<i64> = rows.first().and_then(|row| row.try_get(0).ok());
    let made = made.ok_or_else(|| Error::Corrupt {
        file: "the table of migrations".to_owned(),
        offset: 0,
        detail: "its first row is missing".to_owned(),
    })?;
    Ok(format!("{made:x}"))
}

/// The whole table.
pub(crate) async fn table(shared: &Shared) -> Result<ShardTable, Error> {
    let mut patience = shared.patience("table");
    loop {
        let result = async {
            let loan = shared.pool.get(&shared.connector).await?;
            let conn = loan.conn()?;
            // Shards first: whoever owns one then has a row in what is read next.
            let shards = conn.query(sql::SHARDS, &[]).await?;
            let nodes = conn.query(sql::NODES, &[]).await?;
            read_table(&shards, &nodes)
        };
        if let Some(table) = patience.judge(result.await).await? {
            return Ok(table);
        }
    }
}

fn read_table(shards: &[Row], nodes: &[Row]) -> Result<ShardTable, Problem> {
    let mut table = ShardTable::default();
    for row in shards {
        let owner: Option<i64> = row.try_get(2)?;
        table.shards.push(ShardRow {
            shard: shard(row.try_get(0)?),
            epoch: Epoch(unsigned(row.try_get(1)?)),
            owner: owner.map(|number| Incarnation(unsigned(number))),
        });
    }
    for row in nodes {
        table.nodes.push(NodeLease {
            owner: Owner {
                incarnation: Incarnation(unsigned(row.try_get(0)?)),
                node: Arc::from(row.try_get::<_, &str>(1)?),
            },
            left: Duration::from_millis(unsigned(row.try_get(2)?)),
            dead: row.try_get(3)?,
        });
    }
    Ok(table)
}

fn fences(rows: &[Row]) -> Result<Vec<Fence>, Problem> {
    rows.iter()
        .map(|row| {
            Ok(Fence {
                shard: shard(row.try_get(0)?),
                epoch: Epoch(unsigned(row.try_get(1)?)),
            })
        })
        .collect()
}

fn shard(number: i16) -> ShardId {
    ShardId(u16::try_from(number).unwrap_or(u16::MAX))
}

/// A shard as `smallint`.
pub(crate) fn number(shard: ShardId) -> i16 {
    i16::try_from(shard.0).unwrap_or(i16::MAX)
}
