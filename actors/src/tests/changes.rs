//! Cancelling and retrying, also against each other.

use std::sync::atomic::Ordering;

use crane_core::{RunId, RunStatus};
use serde_json::json;

use super::{Node, chain, one};
use crate::runtime::ChangeError;

#[tokio::test]
async fn cancelling_aborts_running_steps_and_is_harmless_to_repeat() {
    let node = Node::start().await;
    let id = node.submit(one("block")).await;
    node.world.wait_begun().await;
    let run = node.runtime.cancel(id).await.unwrap();
    assert!(matches!(
        run.status(),
        RunStatus::Running | RunStatus::Cancelled
    ));
    let run = node.ended(id).await;
    assert_eq!(run.status(), RunStatus::Cancelled);
    assert_eq!(node.world.inflight.load(Ordering::SeqCst), 0);
    let names = node.names(id).await;
    let end: Vec<_> = names.iter().rev().take(3).rev().copied().collect();
    assert_eq!(
        end,
        ["run_cancel_requested", "step_cancelled", "run_cancelled"]
    );
    let again = node.runtime.cancel(id).await;
    assert!(matches!(again, Err(ChangeError::Rejected(_))), "{again:?}");
}

#[tokio::test]
async fn a_permit_comes_back_from_an_aborted_attempt() {
    let node = Node::start().await;
    let blocked = [
        node.submit(one("block")).await,
        node.submit(one("block")).await,
    ];
    node.world.wait_begun().await;
    node.world.wait_begun().await;
    // Both permits of the tool are out; this one waits for one.
    let third = node.submit(one("block")).await;
    for id in blocked {
        node.runtime.cancel(id).await.unwrap();
        assert_eq!(node.ended(id).await.status(), RunStatus::Cancelled);
    }
    node.world.wait_begun().await;
    node.world.open.add_permits(1);
    assert_eq!(node.ended(third).await.status(), RunStatus::Completed);
}

#[tokio::test]
async fn a_failed_run_goes_on_from_its_failed_step() {
    let node = Node::start().await;
    node.world.failing.store(true, Ordering::SeqCst);
    let plan = json!({ "steps": [
        { "id": "done", "tool": "echo", "input": {} },
        { "id": "bad", "tool": "flaky", "input": { "v": 2 }, "depends_on": ["done"],
          "retry": { "max_attempts": 1 } },
    ] });
    let id = node.submit(plan).await;
    let run = node.ended(id).await;
    assert_eq!(run.error.as_deref(), Some("bad: flaky as told"));
    node.world.failing.store(false, Ordering::SeqCst);
    let reopened = node.runtime.retry(id).await.unwrap();
    assert_eq!(reopened.round.0, 2);
    let run = node.ended(id).await;
    assert_eq!(run.status(), RunStatus::Completed);
    assert_eq!(node.world.calls_of("done"), 1);
    let terminal = node
        .names(id)
        .await
        .iter()
        .filter(|n| matches!(**n, "run_completed" | "run_failed"))
        .count();
    assert_eq!(terminal, 2, "one terminal event a round");
    let again = node.runtime.retry(id).await;
    assert!(matches!(again, Err(ChangeError::Rejected(_))), "{again:?}");
}

#[tokio::test]
async fn of_concurrent_retries_one_wins() {
    let node = Node::start().await;
    node.world.failing.store(true, Ordering::SeqCst);
    let plan = json!({ "steps": [
        { "id": "bad", "tool": "flaky", "input": {}, "retry": { "max_attempts": 1 } },
        { "id": "slow", "tool": "block", "input": {}, "depends_on": ["bad"] },
    ] });
    let id = node.submit(plan).await;
    node.ended(id).await;
    node.world.failing.store(false, Ordering::SeqCst);
    let all = futures_util::future::join_all((0..8).map(|_| node.runtime.retry(id))).await;
    assert_eq!(all.iter().filter(|r| r.is_ok()).count(), 1, "{all:?}");
    node.world.wait_begun().await;
    node.world.open.add_permits(1);
    let run = node.ended(id).await;
    assert_eq!((run.round.0, run.status()), (2, RunStatus::Completed));
}

#[tokio::test]
async fn a_cancelled_run_can_be_retried() {
    let node = Node::start().await;
    let id = node.submit(one("block")).await;
    node.world.wait_begun().await;
    node.runtime.cancel(id).await.unwrap();
    node.ended(id).await;
    node.runtime.retry(id).await.unwrap();
    node.world.wait_begun().await;
    node.world.open.add_permits(1);
    assert_eq!(node.ended(id).await.status(), RunStatus::Completed);
}

#[tokio::test]
async fn cancel_and_completion_race_to_one_terminal_event() {
    let node = Node::start().await;
    for _ in 0..200 {
        let id = node.submit(chain(3)).await;
        let (cancelled, run) = tokio::join!(node.runtime.cancel(id), node.runtime.ended(id));
        let run = run.unwrap().unwrap();
        let names = node.names(id).await;
        let terminal = names
            .iter()
            .filter(|n| matches!(**n, "run_completed" | "run_cancelled"));
        assert_eq!(terminal.count(), 1, "{names:?}");
        match run.status() {
            RunStatus::Cancelled => assert!(cancelled.is_ok()),
            status => assert_eq!(status, RunStatus::Completed),
        }
    }
}

#[tokio::test]
async fn a_run_that_does_not_exist_is_not_found() {
    let node = Node::start().await;
    let nobody = RunId::from_time(1, [1; 10]);
    assert!(matches!(
        node.runtime.cancel(nobody).await,
        Err(ChangeError::NotFound(_))
    ));
    assert!(node.runtime.load(nobody).await.unwrap().is_none());
}
