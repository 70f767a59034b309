//! Panics and failures at every level, and how far they reach.

use std::time::Duration;

use crane_core::RunStatus;
use crane_core::event::FailureReason;
use crane_core::tool::ErrorKind;
use serde_json::json;

use super::{Node, chain, one};
use crate::shard::ShardMsg;
use crate::submit::SubmitError;

#[tokio::test]
async fn a_panicking_tool_fails_its_attempt_and_nothing_else() {
    let node = Node::start().await;
    let plan = json!({ "steps": [
        { "id": "bad", "tool": "panic", "input": {}, "on_error": "continue",
          "retry": { "max_attempts": 2, "initial": "1ms" } },
        { "id": "good", "tool": "echo", "input": { "v": 7 } },
    ] });
    let other = node.submit(chain(5)).await;
    let id = node.submit(plan).await;
    let run = node.ended(id).await;
    assert_eq!(run.status(), RunStatus::Completed);
    assert_eq!(node.world.calls_of("bad"), 2);
    let error = run.steps[0].error.clone().unwrap();
    assert_eq!(error.kind, ErrorKind::Panic);
    assert!(error.message.contains("boom"), "{error}");
    assert_eq!(node.ended(other).await.status(), RunStatus::Completed);
}

#[tokio::test]
async fn a_run_actor_that_panics_is_restarted_and_its_run_goes_on() {
    let node = Node::start().await;
    let id = node.submit(one("block")).await;
    node.world.wait_begun().await;
    node.runtime.send(id, ShardMsg::Panic(Some(id)));
    node.world.wait_begun().await;
    node.world.open.add_permits(1);
    let run = node.ended(id).await;
    assert_eq!(run.status(), RunStatus::Completed);
    let names = node.names(id).await;
    assert_eq!(
        names.iter().filter(|n| **n == "step_attempt_lost").count(),
        1,
        "{names:?}"
    );
}

#[tokio::test]
async fn a_run_actor_that_fails_too_often_poisons_its_run_and_spares_the_shard() {
    let limits = crane_core::Limits {
        lost_attempts: 100,
        ..crane_core::Limits::default()
    };
    let node = Node::with(limits).await;
    let id = node.submit(one("block")).await;
    for _ in 0..4 {
        node.world.wait_begun().await;
        node.runtime.send(id, ShardMsg::Panic(Some(id)));
    }
    let run = node.ended(id).await;
    assert_eq!(run.status(), RunStatus::Failed);
    assert_eq!(run.failure, Some(FailureReason::Poisoned));
    let next = node.submit(chain(3)).await;
    assert_eq!(node.ended(next).await.status(), RunStatus::Completed);
}

#[tokio::test]
async fn an_input_that_kills_its_run_three_times_is_poisoned_by_its_lost_attempts() {
    let node = Node::start().await;
    let id = node.submit(one("block")).await;
    for _ in 0..3 {
        node.world.wait_begun().await;
        node.runtime.send(id, ShardMsg::Panic(Some(id)));
    }
    let run = node.ended(id).await;
    assert_eq!(run.failure, Some(FailureReason::Poisoned));
}

#[tokio::test]
async fn a_shard_that_panics_is_restarted_with_its_runs() {
    let node = Node::start().await;
    let id = node.submit(one("block")).await;
    node.world.wait_begun().await;
    node.runtime.send(id, ShardMsg::Panic(None));
    node.world.wait_begun().await;
    node.world.open.add_permits(1);
    assert_eq!(node.ended(id).await.status(), RunStatus::Completed);
}

#[tokio::test]
async fn a_failing_store_ends_the_node_and_a_restart_recovers() {
    let node = Node::start().await;
    let done = node.submit(chain(2)).await;
    node.ended(done).await;
    node.store.fail_next_write("disk on fire");
    let refused = node.runtime.submit(super::request(chain(2)), false).await;
    assert!(matches!(refused, Err(SubmitError::Store(_))), "{refused:?}");
    let reason = node.runtime.failed().await;
    assert!(reason.contains("disk on fire"), "{reason}");
    let node = node.crash().await;
    let again = node.submit(chain(2)).await;
    assert_eq!(node.ended(again).await.status(), RunStatus::Completed);
    assert_eq!(node.ended(done).await.status(), RunStatus::Completed);
}

#[tokio::test]
async fn a_crash_loses_the_attempt_and_not_the_run() {
    let node = Node::start().await;
    let plan = json!({ "steps": [
        { "id": "first", "tool": "echo", "input": {} },
        { "id": "second", "tool": "block", "input": {}, "depends_on": ["first"] },
    ] });
    let id = node.submit(plan).await;
    node.world.wait_begun().await;
    // The start of an at-least-once step is lazy: wait until it is on disk, or nothing is lost.
    node.wait_for(
        id,
        |event| matches!(event, crane_core::Event::StepStarted { step, .. } if step.0 == 1),
    )
    .await;
    let node = node.crash().await;
    node.world.wait_begun().await;
    node.world.open.add_permits(2);
    assert_eq!(node.ended(id).await.status(), RunStatus::Completed);
    assert_eq!(node.world.calls_of("first"), 1, "a finished step ran again");
    assert!(node.names(id).await.contains(&"step_attempt_lost"));
}

#[tokio::test]
async fn an_at_most_once_step_of_unknown_outcome_is_not_repeated() {
    let node = Node::start().await;
    let plan = json!({ "steps": [
        { "id": "once", "tool": "block", "input": {}, "delivery": "at_most_once" },
    ] });
    let id = node.submit(plan).await;
    node.world.wait_begun().await;
    let node = node.crash().await;
    let run = node.ended(id).await;
    assert_eq!(run.status(), RunStatus::Failed);
    assert_eq!(
        run.steps[0].error.clone().unwrap().kind,
        ErrorKind::OutcomeUnknown
    );
    assert_eq!(node.world.calls_of("once"), 1);
}

#[tokio::test]
async fn going_down_lets_running_steps_finish_and_starts_none() {
    let node = Node::start().await;
    let plan = json!({ "steps": [
        { "id": "first", "tool": "block", "input": {} },
        { "id": "second", "tool": "echo", "input": {}, "depends_on": ["first"] },
    ] });
    let id = node.submit(plan).await;
    node.world.wait_begun().await;
    let runtime = node.runtime.clone();
    let down = tokio::spawn(async move { runtime.shutdown(Duration::from_secs(30)).await });
    // The shards have begun to drain once they refuse new runs.
    while !matches!(
        node.runtime.submit(super::request(chain(1)), false).await,
        Err(SubmitError::Stopping | SubmitError::Lost)
    ) {
        tokio::task::yield_now().await;
    }
    node.world.open.add_permits(1);
    down.await.unwrap().unwrap();
    assert_eq!(node.world.calls_of("second"), 0);
    let node = node.crash().await;
    assert_eq!(node.ended(id).await.status(), RunStatus::Completed);
    assert_eq!(node.world.calls_of("first"), 1);
    assert!(!node.names(id).await.contains(&"step_attempt_lost"));
}

#[tokio::test]
async fn steps_that_outlast_the_grace_are_cut_off_and_that_poisons_nothing() {
    let mut node = Node::start().await;
    let id = node.submit(one("block")).await;
    for _ in 0..5 {
        node.world.wait_begun().await;
        node.runtime.shutdown(Duration::ZERO).await.unwrap();
        node = node.crash().await;
    }
    node.world.wait_begun().await;
    node.world.open.add_permits(1);
    let run = node.ended(id).await;
    assert_eq!(run.status(), RunStatus::Completed);
    let state = &run.steps[0];
    assert_eq!((state.attempt.0, state.lost_attempts), (6, 0));
    let names = node.names(id).await;
    assert!(!names.contains(&"step_attempt_lost"), "{names:?}");
}

#[tokio::test]
async fn an_at_most_once_step_that_is_cut_off_is_of_unknown_outcome() {
    let node = Node::start().await;
    let plan = json!({ "steps": [
        { "id": "once", "tool": "block", "input": {}, "delivery": "at_most_once" },
    ] });
    let id = node.submit(plan).await;
    node.world.wait_begun().await;
    node.runtime.shutdown(Duration::ZERO).await.unwrap();
    let names = node.names(id).await;
    assert_eq!(names[names.len() - 2..], ["step_failed", "run_failed"]);
    let node = node.crash().await;
    let run = node.ended(id).await;
    let error = run.steps[0].error.clone().unwrap();
    assert_eq!(error.kind, ErrorKind::OutcomeUnknown);
    assert_eq!(node.world.calls_of("once"), 1);
}

#[tokio::test]
async fn a_hurried_stop_waits_for_no_step() {
    let node = Node::start().await;
    let id = node.submit(one("block")).await;
    node.world.wait_begun().await;
    node.runtime.hurry();
    let hour = Duration::from_secs(3600);
    node.runtime.shutdown(hour).await.unwrap();
    let events = node.events(id).await;
    let last = &events.last().unwrap().event;
    assert!(
        matches!(last, crane_core::Event::StepAttemptFailed { error, .. }
            if error.kind == ErrorKind::Interrupted),
        "{last:?}"
    );
}
