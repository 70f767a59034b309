//! Gates: permits, breakers, schemas, dry runs.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crane_core::RunStatus;
use crane_core::breaker::{Mode, State};
use crane_core::tool::ErrorKind;
use serde_json::json;

use super::{Node, one};
use crate::shard::ShardMsg;

fn fan(tool: &str, width: usize) -> serde_json::Value {
    let steps: Vec<_> = (0..width)
        .map(|i| json!({ "id": format!("f{i}"), "tool": tool, "input": {} }))
        .collect();
    json!({ "steps": steps })
}

fn breaker(node: &Node, tool: &str) -> State {
    let tools = node.runtime.tools();
    let found = tools.into_iter().find(|t| t.spec.name.as_str() == tool);
    found.unwrap().breaker.state
}

#[tokio::test]
async fn no_more_calls_run_at_once_than_the_tool_has_permits() {
    let node = Node::start().await;
    let id = node.submit(fan("block", 10)).await;
    node.world.open.add_permits(10);
    assert_eq!(node.ended(id).await.status(), RunStatus::Completed);
    assert_eq!(node.world.most_inflight.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_breaker_opens_denies_probes_and_closes() {
    let node = Node::start().await;
    node.world.failing.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        let tried = node.runtime.try_tool("flaky", json!({})).await.unwrap();
        assert_eq!(tried.result.unwrap_err().kind, ErrorKind::Transient);
    }
    assert_eq!(breaker(&node, "flaky"), State::Open);
    let denied = node.runtime.try_tool("flaky", json!({})).await.unwrap();
    let error = denied.result.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.message.starts_with("tool_unavailable"), "{error}");
    node.world.failing.store(false, Ordering::SeqCst);
    node.world
        .pass(error.retry_after.unwrap() + Duration::from_millis(1));
    for _ in 0..3 {
        let tried = node.runtime.try_tool("flaky", json!({})).await.unwrap();
        assert!(tried.result.is_ok(), "{tried:?}");
    }
    assert_eq!(breaker(&node, "flaky"), State::Closed);
}

#[tokio::test]
async fn a_step_behind_an_open_breaker_waits_for_it_and_succeeds() {
    let node = Node::start().await;
    node.world.failing.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        node.runtime.try_tool("flaky", json!({})).await.unwrap();
    }
    node.world.failing.store(false, Ordering::SeqCst);
    let id = node.submit(one("flaky")).await;
    node.wait_for(id, |e| e.name() == "step_attempt_failed")
        .await;
    node.world.pass(Duration::from_secs(60));
    node.runtime.send(id, ShardMsg::TimersDue);
    let run = node.ended(id).await;
    assert_eq!(run.status(), RunStatus::Completed, "{:?}", run.error);
    assert_eq!(run.steps[0].attempt.0, 2);
}

#[tokio::test]
async fn an_open_breaker_survives_a_restart_and_can_be_reset() {
    let node = Node::start().await;
    node.world.failing.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        node.runtime.try_tool("flaky", json!({})).await.unwrap();
    }
    node.runtime.shutdown(Duration::from_secs(5)).await.unwrap();
    let node = node.crash().await;
    assert_eq!(breaker(&node, "flaky"), State::Open);
    assert_eq!(
        node.runtime.force_breaker("flaky", Mode::Auto),
        Some(State::Closed)
    );
    node.world.failing.store(false, Ordering::SeqCst);
    let tried = node.runtime.try_tool("flaky", json!({})).await.unwrap();
    assert!(tried.result.is_ok());
    assert_eq!(node.runtime.force_breaker("nothing", Mode::Auto), None);
}

#[tokio::test]
async fn a_forced_breaker_denies_until_it_is_given_back() {
    let node = Node::start().await;
    node.runtime.force_breaker("echo", Mode::ForcedOpen);
    let denied = node.runtime.try_tool("echo", json!({})).await.unwrap();
    let error = denied.result.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.message.contains("crane tools reset echo"), "{error}");
    assert!(!error.message.contains("try again in"), "{error}");
    node.runtime.force_breaker("echo", Mode::Auto);
    let tried = node
        .runtime
        .try_tool("echo", json!({ "v": 1 }))
        .await
        .unwrap();
    assert_eq!(tried.result.unwrap(), json!({ "v": 1 }));
}

#[tokio::test]
async fn an_input_that_misses_the_schema_does_not_reach_the_tool() {
    let node = Node::start().await;
    let tried = node.runtime.try_tool("echo", json!([1])).await.unwrap();
    let error = tried.result.unwrap_err();
    assert_eq!(error.kind, ErrorKind::InvalidInput);
    assert!(error.message.contains("object"), "{error}");
    assert!(node.runtime.try_tool("nothing", json!({})).await.is_none());
}

#[tokio::test]
async fn a_dry_run_that_panics_is_an_answer() {
    let node = Node::start().await;
    let tried = node.runtime.try_tool("panic", json!({})).await.unwrap();
    assert_eq!(tried.result.unwrap_err().kind, ErrorKind::Panic);
}

#[tokio::test(start_paused = true)]
async fn a_step_that_takes_too_long_is_stopped() {
    let node = Node::start().await;
    let plan = json!({ "steps": [
        { "id": "a", "tool": "block", "input": {}, "timeout": "5s", "retry": { "max_attempts": 1 } },
    ] });
    let id = node.submit(plan).await;
    let run = node.ended(id).await;
    assert_eq!(run.steps[0].error.clone().unwrap().kind, ErrorKind::Timeout);
    assert_eq!(node.world.inflight.load(Ordering::SeqCst), 0);
}
