//! The database goes away and comes back.

use std::time::Duration;

use super::kit::{Database, Told, all_shards, expect, outcome, run_id, submit, tell, until};
use super::server::Server;
use crate::leases::Leases;
use crate::postgres::verify;
use crate::{Error, RunStore};

#[tokio::test]
async fn writes_wait_for_a_database_that_comes_back_in_time() {
    for at_once in [true, false] {
        let Some(server) = Server::start("") else {
            return;
        };
        let database = Database::on(&server);
        let ttl = Duration::from_secs(6);
        let store = database.open_for("a", ttl).await;
        let fences = store.acquire(all_shards()).await.unwrap();
        let mut runs: Vec<Told> = (0..20).map(|number| Told::new(number, &fences)).collect();
        for told in &mut runs {
            tell(&store, told).await;
        }
        server.stop(at_once);
        let mut pending = Vec::new();
        for told in &mut runs {
            pending.push(submit(&store, told.step("1").batch()));
        }
        let reading = store.load(runs[0].run);
        until("new runs are refused", async || store.refusing().is_some()).await;
        assert!(matches!(store.refusing(), Some(Error::Unavailable(_))));
        for pending in &mut pending {
            assert!(pending.try_recv().is_err(), "it does not wait");
        }
        server.run("");
        for pending in pending {
            outcome(pending).await.unwrap();
        }
        reading.await.unwrap().unwrap();
        assert!(store.refusing().is_none());
        for told in &runs {
            expect(&store, told).await;
        }
        // The lease went on.
        store.renew().await.unwrap();
        assert_eq!(store.acquire(Vec::new()).await.unwrap(), []);
        let report = verify(database.options("check")).await.unwrap();
        assert_eq!((report.runs, report.findings), (20, Vec::new()));
    }
}

#[tokio::test]
async fn an_outage_longer_than_the_lease_loses_every_shard_and_no_event() {
    let Some(server) = Server::start("") else {
        return;
    };
    let database = Database::on(&server);
    let store = database.open_for("a", Duration::from_secs(1)).await;
    let fences = store.acquire(all_shards()).await.unwrap();
    let first = store.owner().unwrap();
    let mut told = Told::new(1, &fences);
    tell(&store, &mut told).await;
    assert!(store.lease_left().unwrap() > Duration::ZERO);
    server.stop(true);

    let before = told.clone();
    let result = outcome(submit(&store, told.step("1").batch())).await;
    assert!(matches!(result, Err(Error::Fenced { .. })), "{result:?}");
    assert_eq!(store.lease_left(), Some(Duration::ZERO));
    let renewed = store.renew().await;
    assert!(
        matches!(&renewed, Err(Error::LeaseLost { reason, .. }) if reason.contains("was not renewed")),
        "{renewed:?}"
    );
    // At once, and reads and takeovers give up instead of hanging.
    let result = outcome(submit(&store, told.clone().batch())).await;
    assert!(matches!(result, Err(Error::Fenced { .. })), "{result:?}");
    let result = store.load(run_id(1)).await;
    assert!(matches!(result, Err(Error::Unavailable(_))), "{result:?}");
    let result = store.acquire(all_shards()).await;
    assert!(matches!(result, Err(Error::Unavailable(_))), "{result:?}");

    server.run("");
    let again = store.acquire(all_shards()).await.unwrap();
    assert_eq!(again.len(), fences.len());
    assert!(store.owner().unwrap().incarnation > first.incarnation);
    for (old, new) in fences.iter().zip(&again) {
        assert!(new.epoch > old.epoch);
    }
    expect(&store, &before).await;
    let mut told = before;
    told.adopt(&again);
    tell(&store, told.step("2").end()).await;
    expect(&store, &told).await;
    let report = verify(database.options("check")).await.unwrap();
    assert_eq!(report.findings, []);
}

#[tokio::test]
async fn a_store_that_closes_during_an_outage_does_not_hang() {
    let Some(server) = Server::start("") else {
        return;
    };
    let database = Database::on(&server);
    let store = database.open_for("a", Duration::from_millis(500)).await;
    let fences = store.acquire(all_shards()).await.unwrap();
    let mut told = Told::new(1, &fences);
    tell(&store, &mut told).await;
    server.stop(true);
    let pending = submit(&store, told.step("1").batch());
    let closed = tokio::time::timeout(super::kit::PATIENCE, store.close()).await;
    closed.unwrap().unwrap();
    outcome(pending).await.unwrap_err();
}
