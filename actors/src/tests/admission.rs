//! Slots, the durable queue behind them, idempotency keys, sleep and waking.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crane_core::{Limits, RunStatus};
use serde_json::json;

use super::member::{Member, id, with_id};
use super::{Node, chain, one, request};
use crate::metrics::ActorKind;
use crate::runtime::ChangeError;
use crate::shard::ShardMsg;
use crate::submit::{Request, SubmitError};

fn small(active_runs: usize, pending_runs: usize) -> Limits {
    Limits {
        active_runs,
        pending_runs,
        ..Limits::default()
    }
}

#[tokio::test]
async fn runs_beyond_the_slots_wait_durably_and_start_when_one_is_free() {
    let node = Node::with(small(1, 10)).await;
    let first = node.submit(one("block")).await;
    node.world.wait_begun().await;
    let second = node.runtime.submit(request(chain(2)), false).await.unwrap();
    assert_eq!(second.run.status(), RunStatus::Pending);
    let stored = node.runtime.load(second.run.id).await.unwrap().unwrap();
    assert_eq!(stored.status(), RunStatus::Pending);
    node.world.open.add_permits(1);
    assert_eq!(node.ended(first).await.status(), RunStatus::Completed);
    assert_eq!(
        node.ended(second.run.id).await.status(),
        RunStatus::Completed
    );
}

#[tokio::test]
async fn waiting_runs_survive_a_crash() {
    let node = Node::with(small(1, 10)).await;
    let first = node.submit(one("block")).await;
    node.world.wait_begun().await;
    let second = node.submit(chain(2)).await;
    let node = node.crash().await;
    node.world.open.add_permits(2);
    assert_eq!(node.ended(first).await.status(), RunStatus::Completed);
    assert_eq!(node.ended(second).await.status(), RunStatus::Completed);
}

/// All of them get a slot in one go, which must not take stack for each: hence the small stack.
#[test]
fn a_node_starts_with_as_many_waiting_runs_as_it_has_slots() {
    let body = async {
        let mut node = Node::with(small(1, 5_000)).await;
        node.submit(one("block")).await;
        node.world.wait_begun().await;
        let mut last = node.submit(chain(1)).await;
        for _ in 1..5_000 {
            last = node.submit(chain(1)).await;
        }
        node.limits = small(5_001, 5_001);
        let node = node.crash().await;
        assert_eq!(node.ended(last).await.status(), RunStatus::Completed);
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let thread = std::thread::Builder::new().stack_size(512 << 10);
    let thread = thread.spawn(move || runtime.block_on(body)).unwrap();
    thread.join().unwrap();
}

#[tokio::test]
async fn past_the_bound_of_waiting_runs_the_caller_hears_it() {
    let node = Node::with(small(1, 2)).await;
    let first = node.submit(one("block")).await;
    node.world.wait_begun().await;
    let waiting = [node.submit(chain(1)).await, node.submit(chain(1)).await];
    let refused = node.runtime.submit(request(chain(1)), false).await;
    assert!(
        matches!(refused, Err(SubmitError::TooMany { limit: 2 })),
        "{refused:?}"
    );
    node.world.open.add_permits(1);
    for id in [first].into_iter().chain(waiting) {
        node.ended(id).await;
    }
    node.submit(chain(1)).await;
}

#[tokio::test]
async fn a_waiting_run_can_be_cancelled_on_a_full_node() {
    let node = Node::with(small(1, 10)).await;
    let first = node.submit(one("block")).await;
    node.world.wait_begun().await;
    let second = node.submit(chain(2)).await;
    let run = node.runtime.cancel(second).await.unwrap();
    assert_eq!(run.status(), RunStatus::Cancelled);
    node.world.open.add_permits(1);
    node.ended(first).await;
    let third = node.submit(chain(2)).await;
    assert_eq!(node.ended(third).await.status(), RunStatus::Completed);
    assert_eq!(node.names(second).await.last(), Some(&"run_cancelled"));
}

#[tokio::test]
async fn a_retry_gets_past_nobody_who_waits_for_a_slot() {
    let node = Node::with(small(1, 10)).await;
    node.world.failing.store(true, Ordering::SeqCst);
    let plan = json!({ "steps": [
        { "id": "a", "tool": "flaky", "input": {}, "retry": { "max_attempts": 1 } },
    ] });
    let failed = node.submit(plan).await;
    assert_eq!(node.ended(failed).await.status(), RunStatus::Failed);
    node.world.failing.store(false, Ordering::SeqCst);
    let first = node.submit(one("block")).await;
    node.world.wait_begun().await;
    let waiting = node.submit(chain(1)).await;
    let refused = node.runtime.retry(waiting).await;
    assert!(
        matches!(refused, Err(ChangeError::Rejected(_))),
        "{refused:?}"
    );
    let refused = node.runtime.retry(failed).await;
    assert!(
        matches!(refused, Err(ChangeError::TooMany { limit: 1 })),
        "{refused:?}"
    );
    assert!(!node.names(waiting).await.contains(&"run_started"));
    node.world.open.add_permits(1);
    for id in [first, waiting] {
        assert_eq!(node.ended(id).await.status(), RunStatus::Completed);
    }
    // The slot of a run is free a moment after its end is told.
    while let Err(error) = node.runtime.retry(failed).await {
        assert!(matches!(error, ChangeError::TooMany { .. }), "{error}");
        tokio::task::yield_now().await;
    }
    assert_eq!(node.ended(failed).await.status(), RunStatus::Completed);
}

/// A run whose first events become durable after the shard actor that has taken it in was restarted, and
/// has read the store.
async fn accepted_around_a_restart(slots: usize) {
    let member = Member::with(small(slots, 10)).await;
    member.open(&[]).await;
    let first = member.begin(id(0), one("block")).await;
    let runtime = &member.node.runtime;
    let hold = member.node.store.hold_writes();
    member.store.appended.lock().unwrap().clear();
    let second = {
        let (runtime, request) = (runtime.clone(), with_id(id(1), chain(1)));
        tokio::spawn(async move { runtime.submit(request, false).await })
    };
    while member.store.appended.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    runtime.send(first, ShardMsg::Panic(None));
    let restarted = || {
        let kinds = runtime.supervision().kinds;
        let shards = kinds.iter().find(|kind| kind.kind == ActorKind::Shard);
        shards.is_some_and(|shards| shards.restarts_failed > 0)
    };
    while !restarted() || runtime.loads().is_empty() {
        tokio::task::yield_now().await;
    }
    drop(hold);
    let answer = second.await.unwrap();
    assert_eq!(answer.is_ok(), slots == 1, "{answer:?}");
    member.node.world.open.add_permits(2);
    for run in [first, id(1)] {
        assert_eq!(member.node.ended(run).await.status(), RunStatus::Completed);
    }
}

#[tokio::test]
async fn a_waiting_run_that_becomes_durable_after_a_restart_is_taken_up() {
    accepted_around_a_restart(1).await;
}

#[tokio::test]
async fn a_run_whose_actor_dies_before_it_is_durable_is_taken_up_all_the_same() {
    accepted_around_a_restart(2).await;
}

#[tokio::test]
async fn a_waiting_run_that_is_cancelled_makes_room_for_another_at_once() {
    let node = Node::with(small(1, 2)).await;
    let first = node.submit(one("block")).await;
    node.world.wait_begun().await;
    let waiting = [node.submit(chain(1)).await, node.submit(chain(1)).await];
    let refused = node.runtime.submit(request(chain(1)), false).await;
    assert!(matches!(refused, Err(SubmitError::TooMany { .. })));
    node.runtime.cancel(waiting[0]).await.unwrap();
    // The only slot is still taken.
    let third = node.submit(chain(1)).await;
    let refused = node.runtime.submit(request(chain(1)), false).await;
    assert!(matches!(refused, Err(SubmitError::TooMany { .. })));
    node.world.open.add_permits(1);
    for id in [first, waiting[1], third] {
        assert_eq!(node.ended(id).await.status(), RunStatus::Completed);
    }
}

#[tokio::test]
async fn a_key_creates_one_run_however_often_and_at_once_it_is_sent() {
    let node = Node::start().await;
    let keyed = || Request {
        key: Some("k1".to_owned()),
        ..request(chain(3))
    };
    let together = (0..16).map(|_| node.runtime.submit(keyed(), false));
    let answers = futures_util::future::join_all(together).await;
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert!(answers.iter().all(|a| a.run.id == answers[0].run.id));
    assert_eq!(answers.iter().filter(|a| a.created).count(), 1);
    node.ended(answers[0].run.id).await;
    let again = node.runtime.submit(keyed(), false).await.unwrap();
    assert!(!again.created);
    assert_eq!(again.run.status(), RunStatus::Completed);
    let other = Request {
        key: Some("k1".to_owned()),
        ..request(chain(4))
    };
    let refused = node.runtime.submit(other, false).await;
    assert!(
        matches!(refused, Err(SubmitError::KeyReused(_))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_refused_request_uses_up_no_key() {
    let node = Node::start().await;
    let keyed = |plan| Request {
        key: Some("k2".to_owned()),
        ..request(plan)
    };
    let bad = node
        .runtime
        .submit(keyed(json!({ "steps": [] })), false)
        .await;
    assert!(matches!(bad, Err(SubmitError::Invalid(_))), "{bad:?}");
    let good = node.runtime.submit(keyed(chain(1)), false).await.unwrap();
    assert!(good.created);
    node.ended(good.run.id).await;
}

#[tokio::test]
async fn new_runs_are_refused_below_the_disk_reserve_and_running_ones_finish() {
    let node = Node::start().await;
    let running = node.submit(one("block")).await;
    node.world.wait_begun().await;
    node.store.set_disk_reserve(Some((10, 100)));
    let refused = node.runtime.submit(request(chain(1)), false).await;
    assert!(
        matches!(
            refused,
            Err(SubmitError::Store(crane_store::Error::DiskReserve { .. }))
        ),
        "{refused:?}"
    );
    node.world.open.add_permits(1);
    assert_eq!(node.ended(running).await.status(), RunStatus::Completed);
    node.store.set_disk_reserve(None);
    let id = node.submit(chain(1)).await;
    assert_eq!(node.ended(id).await.status(), RunStatus::Completed);
}

#[tokio::test]
async fn a_run_that_waits_long_has_no_actor_and_wakes_by_its_timer() {
    let node = Node::with(small(1, 10)).await;
    node.world.failing.store(true, Ordering::SeqCst);
    let plan = json!({ "steps": [{
        "id": "a", "tool": "flaky", "input": { "v": 5 },
        "retry": { "max_attempts": 2, "initial": "1h", "max": "1h", "jitter": false },
    }] });
    let id = node.submit(plan).await;
    node.wait_for(id, |e| e.name() == "step_attempt_failed")
        .await;
    node.world.failing.store(false, Ordering::SeqCst);
    // The only slot is free: another run can have it while the first one sleeps.
    let other = node.submit(chain(3)).await;
    assert_eq!(node.ended(other).await.status(), RunStatus::Completed);
    let asleep = node.runtime.load(id).await.unwrap().unwrap();
    assert_eq!(asleep.status(), RunStatus::Waiting);
    // An hour passes; the alarm rings.
    node.world.pass(Duration::from_secs(3_600));
    node.runtime.send(id, ShardMsg::TimersDue);
    assert_eq!(node.ended(id).await.status(), RunStatus::Completed);
    assert_eq!(node.world.calls_of("a"), 2);
}

#[tokio::test]
async fn a_submission_that_comes_again_takes_up_a_run_that_nobody_has_taken_up_yet() {
    let node = Node::start().await;
    let mut request = request(one("block"));
    request.id = Some(node.runtime.random_id());
    let submitted = node.runtime.submit(request.clone(), false).await.unwrap();
    assert!(submitted.created);
    node.world.wait_begun().await;
    let node = node.crash_unread().await;
    let again = node.runtime.submit(request.clone(), false).await.unwrap();
    assert!(!again.created);
    assert_eq!(again.run.id, submitted.run.id);
    node.world.wait_begun().await;
    node.world.open.add_permits(2);
    let run = node.ended(again.run.id).await;
    assert_eq!(run.status(), RunStatus::Completed);
    // Nor does it begin again after its end.
    let calls = node.world.calls_of("a");
    let last = node.runtime.submit(request, false).await.unwrap();
    assert_eq!(last.run.seq, run.seq);
    node.submit(chain(1)).await;
    assert_eq!(node.world.calls_of("a"), calls);
}
