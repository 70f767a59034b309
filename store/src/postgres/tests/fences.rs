//! Who may write, and what becomes of a write whose answer is lost.

use std::time::Duration;

use crane_core::Seq;

use super::kit::{self, Database, Told, all_shards, expect, outcome, submit, tell, until, waiting};
use super::proxy::Proxy;
use crate::leases::{Death, Leases};
use crate::postgres::verify;
use crate::{Error, RunStore};

/// Longer than any test takes: nothing runs out by itself.
const LONG: Duration = Duration::from_secs(120);

async fn findings(database: &Database<'_>) -> Vec<crate::postgres::Finding> {
    verify(database.options("check")).await.unwrap().findings
}

#[tokio::test]
async fn an_append_that_waits_for_a_takeover_is_fenced() {
    let Some(database) = Database::shared() else {
        return;
    };
    let store = database.open_for("a", LONG).await;
    let fences = store.acquire(all_shards()).await.unwrap();
    let mut told = Told::new(1, &fences);
    tell(&store, &mut told).await;

    let takeover = database.client().await;
    let watch = database.client().await;
    let shard = i16::try_from(told.run.shard().0).unwrap();
    takeover.batch_execute("BEGIN").await.unwrap();
    takeover
        .execute(
            "UPDATE shards SET epoch = epoch + 1 WHERE shard = $1",
            &[&shard],
        )
        .await
        .unwrap();
    let before = told.clone();
    let pending = submit(&store, told.step("1").batch());
    until("the append waits for the takeover", async || {
        waiting(&watch).await > 0
    })
    .await;
    takeover.batch_execute("COMMIT").await.unwrap();

    let result = outcome(pending).await;
    assert!(matches!(result, Err(Error::Fenced { .. })), "{result:?}");
    expect(&store, &before).await;
    assert_eq!(findings(&database).await, []);
}

#[tokio::test]
async fn a_takeover_waits_for_an_append_that_is_under_way() {
    let Some(database) = Database::shared() else {
        return;
    };
    let old = database.open_for("a", LONG).await;
    let fences = old.acquire(all_shards()).await.unwrap();
    let mut told = Told::new(1, &fences);
    tell(&old, &mut told).await;
    let new = database.open_for("b", LONG).await;

    // Something in the append's way, behind its fence.
    let obstacle = database.client().await;
    let watch = database.client().await;
    obstacle.batch_execute("BEGIN").await.unwrap();
    let id = told.run.to_string();
    let row = format!(
        "INSERT INTO journal VALUES ('{id}', {}, 1000, 1, 1, '')",
        told.records.len()
    );
    obstacle.batch_execute(&row).await.unwrap();
    let pending = submit(&old, told.step("1").batch());
    until("the append waits", async || waiting(&watch).await == 1).await;

    let incarnation = old.owner().unwrap().incarnation;
    assert!(new.declare_dead(incarnation, Death::Gone).await.unwrap());
    let shard = told.run.shard();
    let taking = new.acquire(vec![shard]);
    tokio::pin!(taking);
    let both_wait = until("the takeover waits", async || waiting(&watch).await == 2);
    tokio::select! {
        taken = &mut taking => panic!("it did not wait: {taken:?}"),
        () = both_wait => {}
    }
    obstacle.batch_execute("ROLLBACK").await.unwrap();
    outcome(pending).await.unwrap();
    let fences = taking.await.unwrap();
    assert_eq!(fences.len(), 1);
    // The new owner sees it, and the old one writes no more.
    expect(&new, &told).await;
    let result = outcome(submit(&old, told.clone().step("2").batch())).await;
    assert!(matches!(result, Err(Error::Fenced { .. })), "{result:?}");
    told.adopt(&fences);
    tell(&new, told.step("3")).await;
    expect(&new, &told).await;
    assert_eq!(findings(&database).await, []);
}

/// A paused owner goes on where it was; what the checker says after that.
async fn a_former_owner_goes_on(database: &Database<'_>, fenced: bool) -> Vec<String> {
    let mut options = database.options("a");
    options.ttl = LONG;
    options.unfenced = !fenced;
    let old = kit::open(options).await.unwrap();
    let fences = old.acquire(all_shards()).await.unwrap();
    let mut told = Told::new(1, &fences);
    let stale = told.epoch;
    tell(&old, &mut told).await;
    let new = database.open_for("b", LONG).await;
    new.declare_dead(old.owner().unwrap().incarnation, Death::Gone)
        .await
        .unwrap();
    told.adopt(&new.acquire(vec![told.run.shard()]).await.unwrap());
    tell(&new, told.step("new")).await;
    told.epoch = stale;
    let result = outcome(submit(&old, told.step("old").batch())).await;
    assert_eq!(result.is_err(), fenced, "{result:?}");
    let found = findings(database).await;
    found.into_iter().map(|finding| finding.detail).collect()
}

#[tokio::test]
async fn a_former_owner_changes_nothing_and_the_checker_agrees() {
    let Some(database) = Database::shared() else {
        return;
    };
    let found = a_former_owner_goes_on(&database, true).await;
    assert_eq!(found, Vec::<String>::new());
}

#[tokio::test]
async fn without_fences_the_checker_turns_red() {
    let Some(database) = Database::shared() else {
        return;
    };
    let found = a_former_owner_goes_on(&database, false).await;
    assert!(
        found.iter().any(|detail| detail.contains("follows")),
        "{found:?}"
    );
}

#[tokio::test]
async fn a_lost_answer_is_found_out_and_nothing_is_written_twice() {
    let Some(database) = Database::shared() else {
        return;
    };
    let proxy = Proxy::before(&database);
    let mut options = database.options("a");
    options.url = proxy.url(&database);
    options.ttl = LONG;
    let store = kit::open(options).await.unwrap();
    let fences = store.acquire(all_shards()).await.unwrap();
    // Created, continued, ended: each time the answer is lost.
    let mut told = Told::new(1, &fences);
    for (marker, end) in [("first", false), ("second", false), ("third", true)] {
        told.step(&format!("\"{marker}\""));
        if end {
            told.end();
        }
        proxy.lose_answer_to(marker.as_bytes());
        let result = outcome(submit(&store, told.batch())).await;
        result.unwrap();
        assert!(!proxy.is_waiting(), "the answer was not lost");
        expect(&store, &told).await;
    }
    let rows = database.sql("SELECT count(*) FROM journal");
    assert_eq!(rows, "3");
    assert_eq!(findings(&database).await, []);
}

#[tokio::test]
async fn a_statement_that_died_with_its_connection_is_sent_again() {
    let Some(database) = Database::shared() else {
        return;
    };
    let store = database.open_for("a", LONG).await;
    let fences = store.acquire(all_shards()).await.unwrap();
    let mut told = Told::new(1, &fences);
    tell(&store, &mut told).await;

    let (locker, watch) = (database.client().await, database.client().await);
    locker
        .batch_execute("BEGIN; LOCK TABLE shards")
        .await
        .unwrap();
    let pending = submit(&store, told.step("1").batch());
    until("the append waits", async || waiting(&watch).await > 0).await;
    watch
        .query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE wait_event_type = 'Lock' AND datname = current_database()",
            &[],
        )
        .await
        .unwrap();
    locker.batch_execute("ROLLBACK").await.unwrap();
    outcome(pending).await.unwrap();
    expect(&store, &told).await;
    assert!(store.refusing().is_none());
}

#[tokio::test]
async fn batches_that_queue_up_are_told_apart_when_one_is_a_repeat() {
    let Some(database) = Database::shared() else {
        return;
    };
    let store = database.open_for("a", LONG).await;
    let fences = store.acquire(all_shards()).await.unwrap();
    let mut told = Told::new(1, &fences);
    told.step("1").step("2").step("3");
    outcome(submit(&store, told.part(0, 4))).await.unwrap();
    // A repeat, what follows it, something else in its place, and a gap: all at once.
    let mut other = told.clone();
    other.records[4] = other.records[3].clone();
    let mut gap = told.part(6, 8);
    gap.expected = Seq(9);
    gap.summary.seq = Seq(11);
    let parts = [
        told.part(2, 4),
        told.part(4, 6),
        other.part(4, 5),
        told.part(6, 8),
        gap,
    ];
    let pending: Vec<_> = parts.into_iter().map(|part| submit(&store, part)).collect();
    let mut results = Vec::new();
    for pending in pending {
        results.push(outcome(pending).await);
    }
    let is_conflict = |result: &Result<(), Error>| matches!(result, Err(Error::Conflict { .. }));
    let verdicts: Vec<bool> = results.iter().map(is_conflict).collect();
    assert_eq!(verdicts, [false, false, true, false, true], "{results:?}");
    told.told = 8;
    expect(&store, &told).await;
    assert_eq!(findings(&database).await, []);
}
