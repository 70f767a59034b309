//! Who owns what: joining, takeovers, handing over, losing a lease.

use std::time::Duration;

use crane_core::Epoch;

use super::kit::{self, Database, Told, all_shards, outcome, submit, tell, until, waiting};
use crate::leases::{Death, Leases};
use crate::postgres::PostgresStore;
use crate::{Error, RunStore};

const LONG: Duration = Duration::from_secs(120);
const SHORT: Duration = Duration::from_millis(400);

async fn writes(store: &PostgresStore, told: &mut Told) -> bool {
    match outcome(submit(store, told.step("1").batch())).await {
        Ok(()) => true,
        Err(Error::Fenced { .. }) => {
            told.told -= 2;
            told.records.truncate(told.told);
            false
        }
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn shards_of_a_living_node_are_left_to_it() {
    let Some(database) = Database::shared() else {
        return;
    };
    let (a, b) = (
        database.open_for("a", LONG).await,
        database.open_for("b", LONG).await,
    );
    let shards = all_shards();
    let mine = a.acquire(shards[..300].to_vec()).await.unwrap();
    assert_eq!(mine.len(), 300);
    let theirs = b.acquire(shards.clone()).await.unwrap();
    assert_eq!(theirs.len(), shards.len() - 300);
    a.release(mine[..100].to_vec()).await.unwrap();
    let more = b.acquire(shards.clone()).await.unwrap();
    let kept: Vec<_> = mine[100..].iter().map(|fence| fence.shard).collect();
    assert!(more.iter().all(|fence| !kept.contains(&fence.shard)));
    assert_eq!(more.len(), shards.len() - 200);

    let table = a.table().await.unwrap();
    assert_eq!(table.shards.len(), shards.len());
    let of = |store: &PostgresStore| {
        let me = store.owner().unwrap().incarnation;
        assert!(table.node(me).unwrap().is_alive());
        table
            .shards
            .iter()
            .filter(|row| row.owner == Some(me))
            .count()
    };
    assert_eq!((of(&a), of(&b)), (200, shards.len() - 200));
    a.close().await.unwrap();
    let rest = b.acquire(shards.clone()).await.unwrap();
    assert_eq!(
        rest.len(),
        shards.len(),
        "a closed store gives everything back"
    );
    let later = b.table().await.unwrap();
    assert_eq!(later.nodes.len(), 1);
}

#[tokio::test]
async fn a_shard_is_handed_over_without_being_nobodys() {
    let Some(database) = Database::shared() else {
        return;
    };
    let (a, b) = (
        database.open_for("a", LONG).await,
        database.open_for("b", LONG).await,
    );
    let fences = a.acquire(all_shards()).await.unwrap();
    let heir = b.join().await.unwrap();
    let mut told = Told::new(1, &fences);
    tell(&a, &mut told).await;
    let held: Vec<_> = fences
        .iter()
        .copied()
        .filter(|f| f.shard == told.run.shard())
        .collect();
    let moved = a.transfer(held.clone(), heir.incarnation).await.unwrap();
    assert_eq!(moved.len(), 1);
    assert!(moved[0].epoch > held[0].epoch);
    assert!(!writes(&a, &mut told).await);
    told.adopt(&moved);
    assert!(writes(&b, &mut told).await);
    // It is not a's any more; and nobody hands anything to the dead.
    assert_eq!(a.transfer(held, heir.incarnation).await.unwrap(), []);
    let rest: Vec<_> = fences
        .into_iter()
        .filter(|f| f.shard != told.run.shard())
        .collect();
    assert!(b.declare_dead(heir.incarnation, Death::Gone).await.unwrap());
    assert_eq!(a.transfer(rest, heir.incarnation).await.unwrap(), []);
}

#[tokio::test]
async fn a_dead_nodes_shards_go_to_a_member_of_some_standing() {
    let Some(database) = Database::shared() else {
        return;
    };
    let old = database.open_for("old", SHORT).await;
    old.join().await.unwrap();
    let a = database.open_for("a", SHORT).await;
    let fences = a.acquire(all_shards()).await.unwrap();
    let mut told = Told::new(1, &fences);
    tell(&a, &mut told).await;
    assert_eq!(old.acquire(all_shards()).await.unwrap(), [], "it is alive");
    // As a crash leaves it: nothing is given back.
    drop(a);
    until("the lease has run out", async || {
        let table = old.table().await.unwrap();
        table
            .nodes
            .iter()
            .any(|node| &*node.owner.node == "a" && !node.is_alive())
    })
    .await;
    let new = database.open_for("new", LONG).await;
    assert_eq!(
        new.acquire(all_shards()).await.unwrap(),
        [],
        "it has just come"
    );
    let taken = old.acquire(all_shards()).await.unwrap();
    assert_eq!(taken.len(), fences.len());
    told.adopt(&taken);
    assert!(writes(&old, &mut told).await);
}

#[tokio::test]
async fn a_node_that_starts_again_takes_its_own_shards_when_its_lease_has_run_out() {
    let Some(database) = Database::shared() else {
        return;
    };
    let a = database.open_for("a", SHORT).await;
    let fences = a.acquire(all_shards()).await.unwrap();
    drop(a);
    let a = database.open_for("a", LONG).await;
    let count = std::sync::atomic::AtomicUsize::new(0);
    until("its own lease has run out", async || {
        let taken = a.acquire(all_shards()).await.unwrap().len();
        count.store(taken, std::sync::atomic::Ordering::Relaxed);
        taken > 0
    })
    .await;
    assert_eq!(count.into_inner(), fences.len());
}

#[tokio::test]
async fn a_lease_that_nobody_renews_runs_out_and_one_that_is_renewed_does_not() {
    let Some(database) = Database::shared() else {
        return;
    };
    let keeps = database.open_for("keeps", SHORT).await;
    let mut options = database.options("forgets");
    options.ttl = SHORT;
    let forgets = PostgresStore::open(options).await.unwrap();
    let owner = keeps.join().await.unwrap();
    let shards = all_shards();
    let fences = forgets.acquire(shards[..10].to_vec()).await.unwrap();
    assert_eq!(fences.len(), 10);
    forgets.renew().await.unwrap();
    until("no step may start", async || {
        forgets.lease_left() == Some(Duration::ZERO)
    })
    .await;
    let taken = std::sync::atomic::AtomicUsize::new(0);
    until("the other one takes over", async || {
        let fences = keeps.acquire(shards[..10].to_vec()).await.unwrap();
        taken.fetch_max(fences.len(), std::sync::atomic::Ordering::Relaxed) > 0
    })
    .await;
    let result = forgets.renew().await;
    assert!(matches!(result, Err(Error::LeaseLost { .. })), "{result:?}");
    assert_eq!(keeps.owner(), Some(owner), "it was renewed all the time");
}

#[tokio::test]
async fn a_node_that_is_declared_dead_learns_it_with_its_next_renewal() {
    let Some(database) = Database::shared() else {
        return;
    };
    let (a, b) = (
        database.open_for("a", LONG).await,
        database.open_for("b", LONG).await,
    );
    a.acquire(all_shards()).await.unwrap();
    let which = a.owner().unwrap().incarnation;
    assert!(b.declare_dead(which, Death::Gone).await.unwrap());
    let taken = b.acquire(all_shards()).await.unwrap();
    assert_eq!(
        taken.len(),
        all_shards().len(),
        "at once: it is known to be dead"
    );
    let renewed = a.renew().await;
    assert!(
        matches!(&renewed, Err(Error::LeaseLost { reason, .. }) if reason.contains("declared")),
        "{renewed:?}"
    );
    // It comes back as somebody else.
    assert!(a.join().await.unwrap().incarnation > which);
}

#[tokio::test]
async fn a_renewal_that_came_before_is_not_declared_over() {
    let Some(database) = Database::shared() else {
        return;
    };
    let mut options = database.options("a");
    options.ttl = SHORT;
    let a = PostgresStore::open(options).await.unwrap();
    let b = database.open_for("b", LONG).await;
    let which = a.join().await.unwrap().incarnation;
    until("its lease is over", async || {
        let table = b.table().await.unwrap();
        !table.node(which).unwrap().is_alive()
    })
    .await;
    // A renewal that was let in just before, and is not committed yet.
    let (renewal, watch) = (database.client().await, database.client().await);
    let renew = format!(
        "BEGIN; UPDATE nodes SET lease_until = clock_timestamp() + interval '1 hour' \
         WHERE incarnation = {which}"
    );
    renewal.batch_execute(&renew).await.unwrap();
    let declaring = b.declare_dead(which, Death::Expired);
    tokio::pin!(declaring);
    tokio::select! {
        dead = &mut declaring => panic!("it did not wait: {dead:?}"),
        () = until("the declaration waits", async || waiting(&watch).await == 1) => {}
    }
    renewal.batch_execute("COMMIT").await.unwrap();
    assert!(!declaring.await.unwrap());
    assert!(b.table().await.unwrap().node(which).unwrap().is_alive());
    // Nobody asks for the lease of one that is gone for certain.
    assert!(b.declare_dead(which, Death::Gone).await.unwrap());
}

#[tokio::test]
async fn a_takeover_ends_the_connections_of_a_dead_node_that_hold_locks() {
    let Some(database) = Database::shared() else {
        return;
    };
    let (a, b) = (
        database.open_for("a", SHORT).await,
        database.open_for("b", LONG).await,
    );
    a.acquire(all_shards()).await.unwrap();
    let mut other = database.options("c");
    other.ttl = SHORT;
    let c = kit::open(other).await.unwrap();
    c.join().await.unwrap();
    let stuck = database.client().await;
    let name = &a.shared.connector.application;
    stuck
        .batch_execute(&format!(
            "SET application_name = '{name}'; BEGIN; SELECT FROM shards FOR SHARE"
        ))
        .await
        .unwrap();
    b.declare_dead(a.owner().unwrap().incarnation, Death::Gone)
        .await
        .unwrap();
    // Its lease is short, so it does not wait long for a lock.
    let taken = c.acquire(all_shards()).await.unwrap();
    assert_eq!(taken.len(), all_shards().len());
}

#[tokio::test]
async fn after_a_failover_all_epochs_are_raised_beyond_what_was_given_out() {
    let Some(database) = Database::shared() else {
        return;
    };
    let a = database.open_for("a", LONG).await;
    let fences = a.acquire(all_shards()).await.unwrap();
    let mut told = Told::new(1, &fences);
    tell(&a, &mut told).await;
    // As if this server had been promoted.
    database.sql("UPDATE timeline SET id = 4000");
    let b = database.open_for("b", LONG).await;
    b.join().await.unwrap();
    assert!(!writes(&a, &mut told).await);
    assert!(matches!(a.renew().await, Err(Error::LeaseLost { .. })));
    let again = a.acquire(all_shards()).await.unwrap();
    let least = Epoch(1 << 32);
    assert!(again.iter().all(|fence| fence.epoch > least));
    told.adopt(&again);
    assert!(writes(&a, &mut told).await);
}
