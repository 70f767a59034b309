//! Asking whether a write would become durable.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use futures_util::FutureExt as _;

use super::kit::{ModelRun, assert_holds, epoch, open, tight_options, write};
use crate::embedded::EmbeddedStore;
use crate::faults::{Faults, Order};
use crate::{Error, RunStore};

#[tokio::test]
async fn a_probe_waits_for_a_journal_that_is_stuck_and_is_answered_when_it_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (stuck, is_stuck) = channel();
    let (go_on, may_go_on) = channel();
    let may_go_on = Mutex::new(may_go_on);
    let is_armed = Arc::new(Mutex::new(false));
    let armed = Arc::clone(&is_armed);
    let mut options = tight_options(dir.path());
    options.faults = Faults::new(move |point| {
        if point == "journal.sync" && *armed.lock().unwrap() {
            stuck.send(()).unwrap();
            may_go_on.lock().unwrap().recv().unwrap();
        }
        Order::Continue
    });
    let store = EmbeddedStore::open(options).unwrap();
    store.probe().await.unwrap();

    *is_armed.lock().unwrap() = true;
    let mut probe = store.probe();
    is_stuck.recv().unwrap();
    assert!((&mut probe).now_or_never().is_none(), "nothing was synced");
    *is_armed.lock().unwrap() = false;
    go_on.send(()).unwrap();
    probe.await.unwrap();
}

#[tokio::test]
async fn a_probe_that_meets_a_broken_disk_stops_the_store_as_a_write_would() {
    let dir = tempfile::tempdir().unwrap();
    let is_broken = Arc::new(Mutex::new(false));
    let broken = Arc::clone(&is_broken);
    let mut options = tight_options(dir.path());
    options.faults = Faults::new(move |point| match *broken.lock().unwrap() {
        true if point == "journal.sync" => Order::Error,
        _ => Order::Continue,
    });
    let store = EmbeddedStore::open(options).unwrap();
    *is_broken.lock().unwrap() = true;
    let answer = store.probe().await;
    assert!(matches!(answer, Err(Error::Fatal(_))), "{answer:?}");
    assert!(store.failed().await.contains("journal.sync"));
}

#[tokio::test]
async fn probes_between_writes_over_many_segments_leave_a_journal_that_reads_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let at = epoch(&store).await;
    let mut run = ModelRun::new(1);
    for _ in 0..60 {
        // Recycled segments hold old frames where the probe writes.
        write(&store, run.next(at, 400, false)).await.unwrap();
        store.probe().await.unwrap();
    }
    store.close().await.unwrap();
    drop(store);
    let again = open(dir.path());
    assert_holds(again.load(run.run).await.unwrap(), &run);
}
