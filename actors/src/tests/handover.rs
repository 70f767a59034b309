//! Shards that are closed in good order, so that another node goes on with them.

use std::time::Duration;

use crane_core::event::Event;
use crane_core::tool::ErrorKind;
use crane_core::{RunId, RunStatus};

use super::member::{Member, SHARD, id, two_steps, with_id};
use super::{chain, one};
use crate::runtime::{ChangeError, ReadError};
use crate::submit::SubmitError;

/// Closes the shard; the answer comes when it is closed.
fn closing(member: &Member, fence: crane_store::Fence, grace: Duration) -> Closing {
    let runtime = member.node.runtime.clone();
    tokio::spawn(async move { runtime.close_shard(fence, grace).await })
}

type Closing = tokio::task::JoinHandle<Vec<RunId>>;

/// Until the shard takes nothing in any more.
async fn begun(member: &Member) {
    while member.node.runtime.epoch_of(SHARD).is_some() {
        tokio::task::yield_now().await;
    }
    // And its actor has heard of it.
    assert!(member.node.runtime.probe().await.shards.is_fine());
}

#[tokio::test]
async fn what_runs_in_a_shard_that_closes_can_be_cancelled_and_what_sleeps_cannot() {
    let member = Member::start().await;
    let fence = member.open(&[]).await;
    let run = member.begin(id(0), one("block")).await;
    let closing = closing(&member, fence, Duration::from_secs(30));
    begun(&member).await;
    let runtime = &member.node.runtime;
    runtime.cancel(run).await.unwrap();
    assert_eq!(closing.await.unwrap(), [], "it has ended");
    let cancelled = runtime.load(run).await.unwrap().unwrap();
    assert_eq!(cancelled.status(), RunStatus::Cancelled);
    let refused = runtime.cancel(run).await;
    assert!(
        matches!(refused, Err(ChangeError::Elsewhere(SHARD))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_step_that_ends_in_time_is_journaled_and_the_next_starts_elsewhere() {
    let first = Member::start().await;
    let fence = first.open(&[]).await;
    let run = first.submit(id(0), two_steps()).await;
    let last = first.submit(id(1), one("block")).await;
    for _ in 0..2 {
        first.node.world.wait_begun().await;
    }
    let closing = closing(&first, fence, Duration::from_secs(30));
    begun(&first).await;
    let runtime = &first.node.runtime;
    assert_eq!(runtime.owned(), [fence], "it still writes");
    let refused = runtime.submit(with_id(id(2), chain(1)), false).await;
    assert!(
        matches!(refused, Err(SubmitError::NotOwner(SHARD))),
        "{refused:?}"
    );
    let waiting = {
        let runtime = runtime.clone();
        tokio::spawn(async move { runtime.ended(run).await })
    };
    first.node.world.open.add_permits(2);
    // The run of one step has ended.
    assert_eq!(closing.await.unwrap(), [run]);
    let ended = waiting.await.unwrap();
    assert!(
        matches!(ended, Err(ReadError::NotOwner(SHARD))),
        "{ended:?}"
    );
    assert!(runtime.owned().is_empty() && runtime.loads().is_empty());
    let names = first.node.names(run).await;
    assert_eq!(names.last(), Some(&"step_completed"), "{names:?}");

    let second = first.peer().await;
    second.open(&[run]).await;
    assert_eq!(second.node.ended(run).await.status(), RunStatus::Completed);
    assert_eq!(second.node.ended(last).await.status(), RunStatus::Completed);
    assert_eq!(second.node.world.calls_of("first"), 1);
    assert!(!second.node.names(run).await.contains(&"step_attempt_lost"));
}

#[tokio::test]
async fn a_step_that_outlasts_the_grace_is_cut_off_and_runs_elsewhere() {
    let first = Member::start().await;
    let fence = first.open(&[]).await;
    let run = first.submit(id(0), one("block")).await;
    first.node.world.wait_begun().await;
    let hot = first.node.runtime.close_shard(fence, Duration::ZERO).await;
    assert_eq!(hot, [run]);
    let events = first.node.events(run).await;
    let last = &events.last().unwrap().event;
    assert!(
        matches!(last, Event::StepAttemptFailed { error, .. }
            if error.kind == ErrorKind::Interrupted),
        "{last:?}"
    );
    let second = first.peer().await;
    second.open(&hot).await;
    second.node.world.wait_begun().await;
    second.node.world.open.add_permits(1);
    let run = second.node.ended(run).await;
    assert_eq!(run.status(), RunStatus::Completed);
    let step = &run.steps[0];
    assert_eq!((step.attempt.0, step.lost_attempts), (2, 0));
}

#[tokio::test]
async fn closing_one_shard_leaves_the_others_alone() {
    let member = Member::start().await;
    let fence = member.open(&[]).await;
    // Of the same actor.
    let other = crane_core::ShardId(SHARD.0 + 2);
    let acquired = crane_store::RunStore::acquire(member.store.as_ref(), vec![other]).await;
    let other_fence = acquired.unwrap()[0];
    member.node.runtime.open_shard(other_fence, Vec::new());
    let ids = (0u64..).map(|millis| RunId::from_time(millis, [9; 10]));
    let elsewhere = { ids }.find(|id| id.shard() == other).unwrap();
    let run = member.submit(id(0), one("block")).await;
    member.submit(elsewhere, one("block")).await;
    for _ in 0..2 {
        member.node.world.wait_begun().await;
    }
    let hot = member.node.runtime.close_shard(fence, Duration::ZERO).await;
    assert_eq!(hot, [run]);
    assert_eq!(member.node.runtime.owned(), [other_fence]);
    member.node.world.open.add_permits(1);
    let ended = member.node.ended(elsewhere).await;
    assert_eq!(
        (ended.status(), ended.steps[0].attempt.0),
        (RunStatus::Completed, 1)
    );
}

#[tokio::test]
async fn a_shard_that_is_stopped_while_it_closes_is_closed() {
    let member = Member::start().await;
    let fence = member.open(&[]).await;
    let run = member.submit(id(0), one("block")).await;
    member.node.world.wait_begun().await;
    let closing = closing(&member, fence, Duration::from_secs(3_600));
    begun(&member).await;
    member.node.runtime.stop_shard(fence);
    assert_eq!(closing.await.unwrap(), [run]);
    member.node.world.wait_quiet().await;
    // Not twice, and nothing that is not there.
    let again = member.node.runtime.close_shard(fence, Duration::ZERO).await;
    assert!(again.is_empty());
}

#[tokio::test]
async fn a_hurry_ends_the_grace_of_a_shard_that_closes() {
    let member = Member::start().await;
    let fence = member.open(&[]).await;
    let run = member.submit(id(0), one("block")).await;
    member.node.world.wait_begun().await;
    let closing = closing(&member, fence, Duration::from_secs(3_600));
    begun(&member).await;
    member.node.runtime.hurry();
    assert_eq!(closing.await.unwrap(), [run]);
    let names = member.node.names(run).await;
    assert_eq!(names.last(), Some(&"step_attempt_failed"));
}

#[tokio::test]
async fn a_node_that_goes_down_closes_what_it_still_has() {
    let first = Member::start().await;
    first.open(&[]).await;
    let run = first.submit(id(0), one("block")).await;
    first.node.world.wait_begun().await;
    first.node.runtime.shutdown(Duration::ZERO).await.unwrap();
    let names = first.node.names(run).await;
    assert_eq!(names.last(), Some(&"step_attempt_failed"));
    let second = first.peer().await;
    second.open(&[]).await;
    second.node.world.open.add_permits(1);
    assert_eq!(second.node.ended(run).await.status(), RunStatus::Completed);
}
