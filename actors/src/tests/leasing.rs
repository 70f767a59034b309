//! A lease that runs out and comes back: what starts meanwhile, and what does not.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crane_core::{RunStatus, Timestamp};
use serde_json::json;

use super::member::{Member, SHARD, id, with_id};
use super::{chain, one};
use crate::submit::SubmitError;

#[tokio::test(start_paused = true)]
async fn without_a_lease_no_step_starts_and_with_it_they_go_on() {
    let member = Member::start().await;
    member.open(&[]).await;
    member.keeper.left.store(0, Ordering::SeqCst);
    let run = member.submit(id(0), chain(2)).await;
    member
        .node
        .wait_for(run, |event| event.name() == "run_started")
        .await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(member.node.world.called().is_empty());
    assert!(!member.node.names(run).await.contains(&"step_started"));
    member.keeper.left.store(1_000, Ordering::SeqCst);
    assert_eq!(member.node.ended(run).await.status(), RunStatus::Completed);
    assert_eq!(member.node.world.called(), ["s0", "s1"]);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waited_for_its_permit_looks_at_the_lease_again() {
    let member = Member::start().await;
    member.open(&[]).await;
    for number in 0..3 {
        member.submit(id(number), one("block")).await;
    }
    // The tool has two permits.
    for _ in 0..2 {
        member.node.world.wait_begun().await;
    }
    member
        .node
        .wait_for(id(2), |event| event.name() == "step_started")
        .await;
    member.keeper.left.store(0, Ordering::SeqCst);
    member.node.world.open.add_permits(2);
    // Steps that run are carried to their end and journaled.
    for number in 0..3 {
        if member.node.world.calls_of("a") == 2 && number < 2 {
            let run = member.node.ended(id(number)).await;
            assert_eq!(run.status(), RunStatus::Completed);
        }
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(member.node.world.calls_of("a"), 2);
    member.keeper.left.store(1_000, Ordering::SeqCst);
    member.node.world.open.add_permits(1);
    let run = member.node.ended(id(2)).await;
    assert_eq!(run.status(), RunStatus::Completed);
    assert_eq!(member.node.world.calls_of("a"), 3);
}

#[tokio::test(start_paused = true)]
async fn timers_and_cancels_go_on_without_a_lease() {
    let member = Member::start().await;
    member.open(&[]).await;
    member.node.world.failing.store(true, Ordering::SeqCst);
    let plan = json!({ "steps": [{
        "id": "a", "tool": "flaky", "input": {},
        "retry": { "max_attempts": 2, "initial": "1m", "max": "1m", "jitter": false },
    }] });
    let retried = member.submit(id(0), plan).await;
    member
        .node
        .wait_for(retried, |event| event.name() == "step_attempt_failed")
        .await;
    member.node.world.failing.store(false, Ordering::SeqCst);
    member.keeper.left.store(0, Ordering::SeqCst);
    let put_off = member.submit(id(1), one("echo")).await;
    // The timer rings in between; its step is put off.
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(member.node.world.calls_of("a"), 1);
    member.node.runtime.cancel(put_off).await.unwrap();
    let run = member.node.ended(put_off).await;
    assert_eq!(run.status(), RunStatus::Cancelled);
    member.keeper.left.store(1_000, Ordering::SeqCst);
    let run = member.node.ended(retried).await;
    assert_eq!(run.status(), RunStatus::Completed);
    assert_eq!(member.node.world.calls_of("a"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_start_that_is_put_off_is_dropped_with_its_shard() {
    let member = Member::start().await;
    let fence = member.open(&[]).await;
    member.keeper.left.store(0, Ordering::SeqCst);
    let run = member.submit(id(0), one("echo")).await;
    member
        .node
        .wait_for(run, |event| event.name() == "run_started")
        .await;
    member.node.runtime.stop_shard(fence);
    member.keeper.left.store(1_000, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(member.node.world.called().is_empty());
}

#[tokio::test]
async fn a_node_tests_itself_and_says_when_it_cannot_write() {
    let member = Member::start().await;
    assert!(member.node.runtime.self_test().await);
    member.open(&[]).await;
    member.node.store.fail_next_write("disk on fire");
    let request = with_id(id(0), chain(1));
    let refused = member.node.runtime.submit(request, false).await;
    assert!(matches!(refused, Err(SubmitError::Store(_))), "{refused:?}");
    // What was found out just now is good for a while.
    tokio::time::sleep(crate::probe::FRESH).await;
    assert!(!member.node.runtime.self_test().await);
    assert_eq!(member.keeper.wrote(), [false]);
}

#[tokio::test]
async fn the_open_breakers_of_peers_are_told_and_heard() {
    let member = Member::start().await;
    member.open(&[]).await;
    member.node.world.failing.store(true, Ordering::SeqCst);
    let plan = json!({ "steps": [{
        "id": "a", "tool": "flaky", "input": {}, "retry": { "max_attempts": 3, "initial": "1ms" },
    }] });
    let run = member.submit(id(0), plan).await;
    assert_eq!(member.node.ended(run).await.status(), RunStatus::Failed);
    let open = member.node.runtime.breakers_open();
    assert_eq!(open.len(), 1);
    let (tool, breaker) = &open[0];
    assert_eq!(tool, "flaky");
    let until = breaker.open_until.unwrap();

    let peer = member.peer().await;
    peer.node
        .runtime
        .force_breaker("flaky", crane_core::breaker::Mode::Auto);
    peer.node.runtime.advise_breaker(tool, until);
    peer.node.runtime.advise_breaker("no such tool", until);
    let state = || {
        let tools = peer.node.runtime.tools();
        let tool = tools.iter().find(|tool| tool.spec.name.as_str() == "flaky");
        tool.unwrap().breaker.state.as_str()
    };
    assert_eq!(state(), "half_open");
    peer.node.world.failing.store(false, Ordering::SeqCst);
    for _ in 0..3 {
        let tried = peer.node.runtime.try_tool("flaky", json!({})).await;
        tried.unwrap().result.unwrap();
    }
    assert_eq!(state(), "closed");
    peer.node.runtime.advise_breaker(tool, until);
    peer.node.runtime.advise_breaker(tool, Timestamp(0));
    assert_eq!(state(), "closed");
    assert_eq!(peer.node.runtime.epoch_of(SHARD), None);
}
