//! The same submission twice: sent again since its answer was lost, or two at once of which the
//! store takes none.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crane_core::RunStatus;
use crane_store::{Error, RunStore as _, Unfinished};
use tokio::sync::oneshot;

use super::member::{Member, id, with_id};
use super::one;
use crate::shard::ShardMsg;
use crate::submit::{Request, SubmitError};

#[tokio::test]
async fn a_run_that_is_submitted_again_while_it_is_being_taken_up_is_taken_up() {
    let member = Member::start().await;
    let old = member.open(&[]).await;
    let run = member.begin(id(0), one("block")).await;
    let new = member.acquire().await;
    let runtime = member.node.runtime.clone();
    runtime.stop_shard(old);
    member.node.world.wait_quiet().await;
    // The test says itself when the list of unfinished runs has been read.
    let failing = &member.store.failing_restores;
    failing.store(usize::MAX, Ordering::SeqCst);
    member.store.appended.lock().unwrap().clear();
    let hold = member.node.store.hold_writes();
    runtime.open_shard(new, Vec::new());
    let again = {
        let runtime = runtime.clone();
        tokio::spawn(async move { runtime.submit(with_id(run, one("block")), false).await })
    };
    while member.store.appended.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let summary = member.node.store.summary(run).await.unwrap().unwrap();
    let unfinished = Unfinished { run, summary };
    runtime.send(run, ShardMsg::Restored(vec![(new.epoch, unfinished)]));
    let (sender, handled) = oneshot::channel();
    runtime.send(run, ShardMsg::Probe(sender));
    handled.await.unwrap();
    drop(hold);
    assert!(!again.await.unwrap().unwrap().created);
    let begun = tokio::time::timeout(Duration::from_secs(30), member.node.world.wait_begun());
    begun.await.expect("the run goes on");
    member.node.world.open.add_permits(1);
    let ended = member.node.ended(run).await;
    assert_eq!(ended.status(), RunStatus::Completed);
    assert_eq!(ended.steps[0].lost_attempts, 1);
}

#[tokio::test]
async fn what_the_store_refused_is_no_answer_to_the_same_submission() {
    let member = Member::start().await;
    member.open(&[]).await;
    let (first, second) = two_at_once(&member, 0, async {
        member.node.store.set_disk_reserve(Some((1, 2)));
    })
    .await;
    assert!(
        matches!(first, SubmitError::Store(Error::DiskReserve { .. })),
        "{first:?}"
    );
    assert!(matches!(second, SubmitError::Lost), "{second:?}");
    member.node.store.set_disk_reserve(None);

    let (first, second) = two_at_once(&member, 1, async {
        member.acquire().await;
    })
    .await;
    for error in [first, second] {
        assert!(matches!(error, SubmitError::NotOwner(_)), "{error:?}");
    }
}

/// Submits with one key twice, and lets `happen` what makes the store refuse both.
async fn two_at_once(
    member: &Member,
    number: usize,
    happen: impl Future<Output = ()>,
) -> (SubmitError, SubmitError) {
    let run = id(number);
    let hold = member.node.store.hold_writes();
    member.store.appended.lock().unwrap().clear();
    let submit = || {
        let runtime = member.node.runtime.clone();
        let request = Request {
            key: Some(format!("{run}")),
            ..with_id(run, one("block"))
        };
        tokio::spawn(async move { runtime.submit(request, false).await })
    };
    let first = submit();
    while member.store.appended.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let second = submit();
    // Nothing else goes on here: until it waits for what comes of the first one.
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert!(!second.is_finished());
    happen.await;
    drop(hold);
    let refused = (
        first.await.unwrap().unwrap_err(),
        second.await.unwrap().unwrap_err(),
    );
    let stored = member.node.runtime.load(run).await.unwrap();
    assert!(stored.is_none());
    refused
}
