//! Locks, formats, failures and shutdown.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crane_core::Seq;
use tokio::sync::oneshot;

use super::kit::{ModelRun, assert_holds, epoch, open, tight_options, write};
use crate::embedded::EmbeddedStore;
use crate::faults::{Faults, Order};
use crate::{Error, RunStore, Write, commit};

#[test]
fn a_second_open_is_refused_and_names_the_holder() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let error = EmbeddedStore::open(tight_options(dir.path())).unwrap_err();
    let pid = std::process::id().to_string();
    assert!(
        matches!(&error, Error::InUse { holder, .. } if holder.contains(&pid)),
        "{error}"
    );
    drop(store);
    open(dir.path());
}

#[tokio::test]
async fn closing_gives_the_directory_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.close().await.unwrap();
    let again = open(dir.path());
    drop(store);
    again.close().await.unwrap();
}

#[test]
fn a_directory_of_another_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    std::fs::write(dir.path().join("FORMAT"), "crane store 99\n").unwrap();
    let error = EmbeddedStore::open(tight_options(dir.path())).unwrap_err();
    assert!(error.to_string().contains("crane store 99"), "{error}");
}

#[tokio::test]
async fn a_repeat_is_recognized_in_memory_in_sled_and_in_history() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let epoch = epoch(&store).await;
    let (mut live, mut ended) = (ModelRun::new(1), ModelRun::new(2));
    let appends = [
        live.next(epoch, 10, false),
        ended.next(epoch, 10, false),
        ended.next(epoch, 20, true),
    ];
    for round in 0..2 {
        for append in &appends {
            write(&store, append.clone()).await.unwrap();
            if round == 1 {
                let mut other = append.clone();
                *other.events.bytes.last_mut().unwrap() ^= 1;
                let error = write(&store, other).await.unwrap_err();
                assert!(matches!(error, Error::Conflict { .. }), "{error}");
            }
        }
        // The first run to sled, the second to history.
        store.checkpoint().await.unwrap();
    }
    assert_holds(store.load(live.run).await.unwrap(), &live);
    assert_holds(store.load(ended.run).await.unwrap(), &ended);
}

#[tokio::test]
async fn a_failed_sync_stops_the_store_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = tight_options(dir.path());
    let syncs = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&syncs);
    options.faults = Faults::new(move |point| match point {
        // The first is that of the epoch, the second that of the first run.
        "journal.sync" if seen.fetch_add(1, Ordering::SeqCst) == 2 => Order::Error,
        _ => Order::Continue,
    });
    let store = EmbeddedStore::open(options).unwrap();
    let epoch = epoch(&store).await;
    let (mut kept, mut lost, mut late) = (ModelRun::new(1), ModelRun::new(2), ModelRun::new(3));
    write(&store, kept.next(epoch, 10, false)).await.unwrap();
    let error = write(&store, lost.next(epoch, 10, false))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Fatal(_)), "{error}");
    let reason = store.failed().await;
    assert!(reason.contains("journal"), "{reason}");
    let error = write(&store, late.next(epoch, 10, false))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Fatal(_)), "{error}");
    assert!(matches!(store.close().await, Err(Error::Fatal(_))));
    assert_eq!(syncs.load(Ordering::SeqCst), 3, "it was tried again");
    drop(store);
    let again = open(dir.path());
    assert_holds(again.load(kept.run).await.unwrap(), &kept);
    assert_eq!(again.load(late.run).await.unwrap(), None);
}

#[tokio::test]
async fn a_panic_of_a_thread_stops_the_store_and_tells_who_waits() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let epoch = epoch(&store).await;
    let append = ModelRun::new(1).next(epoch, 10, false);
    store.submit(
        Write::Append(append),
        Box::new(|_| panic!("ordered by the test")),
    );
    assert!(store.failed().await.contains("panicked"));
    let append = ModelRun::new(2).next(epoch, 10, false);
    let error = write(&store, append).await.unwrap_err();
    assert!(matches!(error, Error::Fatal(_)), "{error}");
    let error = store.checkpoint().await.unwrap_err();
    assert!(matches!(error, Error::Fatal(_)), "{error}");
}

#[tokio::test]
async fn dropping_without_closing_writes_what_was_queued() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let epoch = epoch(&store).await;
    let mut run = ModelRun::new(1);
    let outcomes: Vec<_> = (0..20)
        .map(|_| {
            let mut append = run.next(epoch, 10, false);
            append.eager = false;
            let (sender, outcome) = oneshot::channel();
            store.submit(
                Write::Append(append),
                Box::new(move |result| sender.send(result).unwrap()),
            );
            outcome
        })
        .collect();
    drop(store);
    for outcome in outcomes {
        outcome.await.unwrap().unwrap();
    }
    let again = open(dir.path());
    assert_holds(again.load(run.run).await.unwrap(), &run);
}

#[tokio::test]
async fn the_last_reference_may_be_dropped_by_an_acknowledgement() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(dir.path()));
    let epoch = epoch(&store).await;
    let append = ModelRun::new(1).next(epoch, 10, false);
    let (sender, outcome) = oneshot::channel();
    let (held, released) = std::sync::mpsc::channel::<Arc<EmbeddedStore>>();
    store.submit(
        Write::Append(append),
        Box::new(move |result| {
            drop(released.recv().unwrap());
            sender.send(result).unwrap();
        }),
    );
    held.send(store).unwrap();
    outcome.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_lazy_write_leaves_without_an_eager_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let epoch = epoch(&store).await;
    let mut append = ModelRun::new(1).next(epoch, 10, false);
    append.eager = false;
    commit(&store, Write::Append(append)).await.unwrap();
}

#[tokio::test]
async fn a_passivated_run_leaves_memory_when_enough_of_them_have_come_together() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let epoch = epoch(&store).await;
    let mut runs: Vec<ModelRun> = (0..600).map(ModelRun::new).collect();
    for run in &mut runs {
        write(&store, run.next(epoch, 10, false)).await.unwrap();
        store.passivate(run.run);
    }
    store.checkpoint().await.unwrap();
    for run in &mut runs {
        let live = store.shared.live.get(run.run).unwrap();
        assert!(live.chunks.is_empty() && live.base == Seq(1), "{live:?}");
        assert_holds(store.load(run.run).await.unwrap(), run);
    }
    // It goes on from there without its earlier events having to be read.
    write(&store, runs[0].next(epoch, 10, false)).await.unwrap();
    assert_holds(store.load(runs[0].run).await.unwrap(), &runs[0]);
}
