//! A disk that is nearly full, full, and has space again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crane_core::Seq;
use tokio::sync::oneshot;

use super::kit::{ModelRun, TestClock, assert_holds, epoch, open, tight, tight_options, write};
use crate::embedded::{EmbeddedStore, Options};
use crate::faults::{Faults, Order};
use crate::{Error, RunStore, Write};

const RESERVE: u64 = 1 << 20;

#[tokio::test]
async fn below_the_reserve_new_runs_are_refused_and_accepted_ones_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::default();
    let free = Arc::new(AtomicU64::new(u64::MAX));
    let seen = Arc::clone(&free);
    let mut options = Options::new(dir.path(), clock.as_clock());
    tight(&mut options);
    options.disk_reserve = RESERVE;
    options.faults =
        Faults::new(|_| Order::Continue).with_free_bytes(move || seen.load(Ordering::SeqCst));
    let store = EmbeddedStore::open(options).unwrap();
    let epoch = epoch(&store).await;
    let mut accepted = ModelRun::new(1);
    write(&store, accepted.next(epoch, 10, false))
        .await
        .unwrap();
    assert!(store.refusing().is_none());

    free.store(RESERVE - 1, Ordering::SeqCst);
    clock.advance(Duration::from_secs(2));
    let error = write(&store, ModelRun::new(2).next(epoch, 10, false))
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::DiskReserve { free, reserve } if free == RESERVE - 1 && reserve == RESERVE),
        "{error}"
    );
    assert!(matches!(store.refusing(), Some(Error::DiskReserve { .. })));
    for _ in 0..30 {
        // Past the end of several segments: accepted runs may use the reserve.
        write(&store, accepted.next(epoch, 400, false))
            .await
            .unwrap();
    }
    assert!(matches!(
        store.checkpoint().await,
        Err(Error::DiskReserve { .. })
    ));
    assert_holds(store.load(accepted.run).await.unwrap(), &accepted);

    free.store(RESERVE, Ordering::SeqCst);
    clock.advance(Duration::from_secs(2));
    assert!(store.refusing().is_none());
    let mut late = ModelRun::new(3);
    write(&store, late.next(epoch, 10, true)).await.unwrap();
    store.checkpoint().await.unwrap();
    store.close().await.unwrap();
    drop(store);
    let again = open(dir.path());
    assert_holds(again.load(accepted.run).await.unwrap(), &accepted);
    assert_holds(again.load(late.run).await.unwrap(), &late);
}

/// A store that cannot make segments while the flag is set; with one write that waits for one.
async fn waiting_for_a_segment(
    dir: &std::path::Path,
) -> (
    EmbeddedStore,
    Arc<AtomicBool>,
    ModelRun,
    oneshot::Receiver<Result<(), Error>>,
) {
    let is_full = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&is_full);
    let (told, mut tries) = tokio::sync::mpsc::channel(64);
    let mut options = tight_options(dir);
    options.spare_segments = 0;
    options.faults = Faults::new(move |point| {
        if point == "segment.zero" && seen.load(Ordering::SeqCst) {
            // Nobody listens after the first.
            let _ = told.try_send(());
            return Order::NoSpace;
        }
        Order::Continue
    });
    let store = EmbeddedStore::open(options).unwrap();
    let mut run = ModelRun::new(1);
    let epoch = epoch(&store).await;
    write(&store, run.next(epoch, 10, false)).await.unwrap();
    is_full.store(true, Ordering::SeqCst);
    let append = run.next(epoch, 6_000, false);
    let (sender, outcome) = oneshot::channel();
    store.submit(
        Write::Append(append),
        Box::new(move |result| sender.send(result).unwrap()),
    );
    tries.recv().await.unwrap();
    // It has tried once and now waits; a second try shows that it was refusing in between.
    tries.recv().await.unwrap();
    assert!(matches!(store.refusing(), Some(Error::DiskReserve { .. })));
    (store, is_full, run, outcome)
}

#[tokio::test]
async fn a_write_waits_for_space_and_is_acknowledged_when_there_is_some() {
    let dir = tempfile::tempdir().unwrap();
    let (store, is_full, run, outcome) = waiting_for_a_segment(dir.path()).await;
    is_full.store(false, Ordering::SeqCst);
    outcome.await.unwrap().unwrap();
    assert!(store.refusing().is_none());
    assert_holds(store.load(run.run).await.unwrap(), &run);
    drop(store);
    assert_holds(open(dir.path()).load(run.run).await.unwrap(), &run);
}

#[tokio::test]
async fn a_run_that_a_full_disk_has_no_space_for_is_refused_and_not_left_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = tight_options(dir.path());
    options.spare_segments = 0;
    options.faults = Faults::new(|point| match point {
        "segment.roll" => Order::NoSpace,
        _ => Order::Continue,
    });
    let store = EmbeddedStore::open(options).unwrap();
    let epoch = epoch(&store).await;
    // More than the first segment holds: some of these find no segment.
    let mut refused = 0;
    for number in 0..200 {
        match write(&store, ModelRun::new(number).next(epoch, 4_000, false)).await {
            Ok(()) => assert_eq!(refused, 0, "run {number} was accepted on a full disk"),
            Err(Error::DiskReserve { .. }) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(refused > 0);
}

/// The only write that met the full disk was a new run's, so nobody is left who tries again.
#[tokio::test]
async fn new_runs_are_accepted_when_space_returns_although_nobody_was_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let is_full = Arc::new(AtomicBool::new(true));
    let seen = Arc::clone(&is_full);
    let mut options = tight_options(dir.path());
    options.spare_segments = 0;
    options.faults = Faults::new(move |point| {
        if point == "segment.roll" && seen.load(Ordering::SeqCst) {
            return Order::NoSpace;
        }
        Order::Continue
    });
    let store = EmbeddedStore::open(options).unwrap();
    let epoch = epoch(&store).await;
    let too_large = ModelRun::new(1).next(epoch, 6_000, false);
    let error = write(&store, too_large).await.unwrap_err();
    assert!(matches!(error, Error::DiskReserve { .. }), "{error}");
    is_full.store(false, Ordering::SeqCst);
    let mut run = ModelRun::new(2);
    write(&store, run.next(epoch, 6_000, false)).await.unwrap();
    assert!(store.refusing().is_none());
    assert_holds(store.load(run.run).await.unwrap(), &run);
}

#[tokio::test]
async fn closing_does_not_wait_for_space() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _is_full, run, outcome) = waiting_for_a_segment(dir.path()).await;
    assert!(matches!(store.close().await, Err(Error::Fatal(_))));
    assert!(matches!(outcome.await.unwrap(), Err(Error::Fatal(_))));
    drop(store);
    let stored = open(dir.path()).load(run.run).await.unwrap().unwrap();
    assert_eq!(stored.summary.seq, Seq(1), "only what was acknowledged");
}
