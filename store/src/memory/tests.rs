//! The memory store against the suite, and its own promises: injected failures, acks from its
//! thread.

#![allow(clippy::unwrap_used)]

use crane_core::{Seq, Timestamp};

use super::*;
use crate::conformance::{Open, Retire};
use crate::{Append, ToolWrite, codec, commit};

/// Opens the same data each time.
fn open() -> Open {
    open_and_retire().0
}

fn open_and_retire() -> (Open, Retire) {
    let store = Arc::new(MemoryStore::new());
    let data = Arc::clone(&store);
    let open: Open = Box::new(move || {
        let store: Arc<dyn RunStore> = Arc::new(store.reopen());
        future::ready(store).boxed()
    });
    let retire: Retire = Box::new(move |_| {
        data.retire_ended();
        future::ready(()).boxed()
    });
    (open, retire)
}

crate::conformance_suite!(open(), retire: open_and_retire());

/// The first batch of a run; what is in it does not matter here.
fn first(run: RunId, epoch: Epoch) -> Write {
    let events = codec::encode(&[crane_core::Record {
        seq: Seq(1),
        at: Timestamp(1),
        event: crane_core::Event::RunStarted,
    }]);
    Write::Append(Append {
        fence: Fence {
            shard: run.shard(),
            epoch,
        },
        run,
        expected: Seq(0),
        summary: Summary {
            seq: Seq(1),
            status: RunStatus::Running,
            round: crane_core::Round(1),
            created_at: Timestamp(1),
            completed_at: None,
            wake_at: None,
        },
        labels: None,
        events,
        eager: true,
    })
}

async fn acquire(store: &MemoryStore, run: RunId) -> Epoch {
    store.acquire(vec![run.shard()]).await.unwrap()[0].epoch
}

fn run(number: u8) -> RunId {
    RunId::from_bytes([number; 16])
}

#[tokio::test]
async fn a_failed_write_stops_the_store_for_good_and_reports_why() {
    let store = MemoryStore::new();
    let epoch = acquire(&store, run(1)).await;
    let mut failed = store.failed();
    assert!((&mut failed).now_or_never().is_none());
    store.fail_next_write("the disk is on fire");
    for _ in 0..2 {
        let error = commit(&store, first(run(1), epoch)).await.unwrap_err();
        assert!(matches!(&error, Error::Fatal(why) if &**why == "the disk is on fire"));
    }
    assert_eq!(&*failed.await, "the disk is on fire");
    let again = store.reopen();
    assert_eq!(again.load(run(1)).await.unwrap(), None);
    commit(&again, first(run(1), epoch)).await.unwrap();
    assert!(again.load(run(1)).await.unwrap().is_some());
}

#[tokio::test]
async fn below_the_disk_reserve_only_new_runs_are_refused() {
    let store = MemoryStore::new();
    let epoch = acquire(&store, run(1)).await;
    let other = acquire(&store, run(2)).await;
    commit(&store, first(run(1), epoch)).await.unwrap();
    store.set_disk_reserve(Some((10, 20)));
    assert!(matches!(
        store.refusing(),
        Some(Error::DiskReserve {
            free: 10,
            reserve: 20
        })
    ));
    let error = commit(&store, first(run(2), other)).await.unwrap_err();
    assert!(matches!(error, Error::DiskReserve { .. }));
    commit(&store, first(run(1), epoch)).await.unwrap();
    store.set_disk_reserve(None);
    assert!(store.refusing().is_none());
    commit(&store, first(run(2), other)).await.unwrap();
}

#[tokio::test]
async fn an_ack_comes_from_another_thread_and_may_call_the_store() {
    let store = Arc::new(MemoryStore::new());
    let (sender, receiver) = oneshot::channel();
    let inner = Arc::clone(&store);
    store.submit(
        Write::Tool(ToolWrite {
            tool: "t".into(),
            run: None,
            key: "k".into(),
            rows: [("a".to_owned(), Some(Json::null()))].into(),
            result: Json::null(),
        }),
        Box::new(move |result| {
            result.unwrap();
            let row = inner.tool_row("t", "a").now_or_never().unwrap();
            sender.send((thread::current().id(), row)).unwrap();
        }),
    );
    let (id, row) = receiver.await.unwrap();
    assert_ne!(id, thread::current().id());
    assert_eq!(row.unwrap(), Some(Json::null()));
}

#[tokio::test]
async fn a_released_or_foreign_shard_cannot_be_written_to() {
    let store = MemoryStore::new();
    let epoch = acquire(&store, run(1)).await;
    let fence = Fence {
        shard: run(1).shard(),
        epoch,
    };
    let Write::Append(mut foreign) = first(run(1), epoch) else {
        panic!("it is an append")
    };
    foreign.fence.shard = ShardId((fence.shard.0 + 1) % SHARD_COUNT);
    let result = commit(&store, Write::Append(foreign)).await;
    assert!(matches!(result, Err(Error::Fenced { .. })));
    store.release(vec![fence]).await.unwrap();
    let result = commit(&store, first(run(1), epoch)).await;
    assert!(matches!(result, Err(Error::Fenced { .. })));
}
