//! Shards that are opened, stopped, and opened again.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crane_core::{Epoch, Limits, RunStatus};
use crane_store::Fence;
use serde_json::json;

use super::member::{Member, SHARD, asleep, id, two_steps};
use super::{Node, one};
use crate::shard::ShardMsg;

#[tokio::test]
async fn a_shard_that_is_opened_goes_on_where_another_node_was() {
    let first = Member::start().await;
    first.open(&[]).await;
    first.node.world.failing.store(true, Ordering::SeqCst);
    let running = first.submit(id(0), two_steps()).await;
    first.node.world.wait_begun().await;
    let asleep = first.submit(id(1), asleep()).await;
    first
        .node
        .wait_for(asleep, |event| event.name() == "step_attempt_failed")
        .await;
    first.node.world.failing.store(false, Ordering::SeqCst);

    let second = first.peer().await;
    let fence = second.open(&[]).await;
    second.node.world.wait_begun().await;
    // The first node has not noticed yet: its step may end, and is refused.
    second.node.world.open.add_permits(2);
    let run = second.node.ended(running).await;
    assert_eq!(run.status(), RunStatus::Completed);
    // An hour later.
    second.node.world.pass(Duration::from_secs(3_600));
    second.node.runtime.send(asleep, ShardMsg::TimersDue);
    let run = second.node.ended(asleep).await;
    assert_eq!(run.status(), RunStatus::Completed);
    assert_eq!(second.node.runtime.owned(), [fence]);
    let appended = second.store.appended.lock().unwrap();
    assert!(appended.iter().all(|(_, epoch)| *epoch == fence.epoch));
}

#[tokio::test]
async fn a_shard_that_is_stopped_writes_nothing_and_kills_its_steps() {
    let member = Member::start().await;
    let fence = member.open(&[]).await;
    let run = member.begin(id(0), two_steps()).await;
    let before = member.node.names(run).await;
    assert_eq!(member.node.runtime.loads().get(&SHARD), Some(&1));
    member.node.runtime.stop_shard(fence);
    member.node.world.wait_quiet().await;
    member.node.world.open.add_permits(1);
    assert!(member.node.runtime.probe().await.shards.is_fine());
    assert_eq!(member.node.names(run).await, before);
    assert_eq!(member.node.world.called(), ["first"]);
    assert!(member.node.runtime.loads().is_empty());
    assert!(member.node.runtime.owned().is_empty());
    assert_eq!(member.failures(), (0, 0));
}

/// The control of the test above: without the stop, the same goes on and writes.
#[tokio::test]
async fn a_shard_that_is_not_stopped_goes_on() {
    let member = Member::start().await;
    member.open(&[]).await;
    let run = member.submit(id(0), two_steps()).await;
    member.node.world.wait_begun().await;
    member.node.world.open.add_permits(1);
    member.node.world.wait_quiet().await;
    assert_eq!(member.node.ended(run).await.status(), RunStatus::Completed);
    assert_eq!(member.node.world.called(), ["first", "second"]);
}

#[tokio::test]
async fn a_shard_may_be_opened_again_at_once_and_nothing_old_disturbs_it() {
    let member = Member::start().await;
    let old = member.open(&[]).await;
    let run = member.begin(id(0), two_steps()).await;
    let new = member.acquire().await;
    let runtime = &member.node.runtime;
    let late = runtime.load(run).await.unwrap();
    member.store.appended.lock().unwrap().clear();
    // What is taken up is taken up once, since the list of it cannot be read.
    let failing = &member.store.failing_restores;
    failing.store(usize::MAX, Ordering::SeqCst);
    runtime.stop_shard(old);
    runtime.open_shard(new, vec![run]);
    assert_eq!(runtime.epoch_of(SHARD), Some(new.epoch));
    // What may still be on its way from the old epoch.
    for message in [
        ShardMsg::Loaded(run, old.epoch, Box::new(Ok(None))),
        ShardMsg::Loaded(run, old.epoch, Box::new(Ok(late))),
        ShardMsg::Restart(run, old.epoch),
        ShardMsg::Poisoned(run, old.epoch),
    ] {
        runtime.send(run, message);
    }
    // And it is told again what is over.
    runtime.stop_shard(old);
    runtime.open_shard(old, Vec::new());
    let begun = tokio::time::timeout(Duration::from_secs(30), member.node.world.wait_begun());
    begun.await.expect("the run is taken up");
    member.node.world.open.add_permits(1);
    let ended = member.node.ended(run).await;
    assert_eq!(ended.status(), RunStatus::Completed);
    assert_eq!(
        (ended.steps[0].attempt.0, ended.steps[0].lost_attempts),
        (2, 1)
    );
    let appended = member.store.appended.lock().unwrap().clone();
    assert!(appended.iter().all(|(_, epoch)| *epoch == new.epoch));
    assert_eq!(member.failures(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_timer_of_an_old_epoch_does_not_replace_one_of_the_new() {
    let member = Member::start().await;
    let old = member.open(&[]).await;
    member.node.world.failing.store(true, Ordering::SeqCst);
    let run = member.submit(id(0), asleep()).await;
    member
        .node
        .wait_for(run, |event| event.name() == "step_attempt_failed")
        .await;
    member.node.world.failing.store(false, Ordering::SeqCst);
    member.open(&[]).await;
    // Until the shard is read.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let far = crane_core::Timestamp(i64::MAX);
    let late = ShardMsg::SetTimer(run, old.epoch, far);
    member.node.runtime.send(run, late);
    let ended = tokio::time::timeout(Duration::from_secs(7_200), member.node.ended(run));
    let ended = ended.await.expect("the timer of the new epoch rings");
    assert_eq!(ended.status(), RunStatus::Completed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shards_that_come_and_go_often_end_up_as_they_were_told_last() {
    let member = Member::start().await;
    let mut fence = member.open(&[]).await;
    let run = member.submit(id(0), one("block")).await;
    for _ in 0..50 {
        let next = member.acquire().await;
        member.node.runtime.stop_shard(fence);
        member.node.runtime.open_shard(next, Vec::new());
        fence = next;
    }
    // All attempts that began but the last were killed with their epoch.
    let ended = async {
        loop {
            member.node.world.open.add_permits(1);
            if let Some(run) = member.node.runtime.load(run).await.unwrap()
                && run.status().is_ended()
            {
                return run;
            }
            tokio::task::yield_now().await;
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(30), ended).await;
    let ended = ended.expect("the run goes on");
    assert_ne!(ended.status(), RunStatus::Cancelled);
    assert_eq!(member.node.runtime.owned(), [fence]);
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_cannot_be_read_is_tried_again() {
    let first = Member::start().await;
    first.open(&[]).await;
    let runs = [id(0), id(1), id(2)];
    for run in runs {
        first.submit(run, one("block")).await;
    }
    let second = first.peer().await;
    second.store.failing_restores.store(5, Ordering::SeqCst);
    second.store.failing_loads.store(2, Ordering::SeqCst);
    second.open(&[]).await;
    second.node.world.open.add_permits(100);
    // Those who wait below read as well.
    while second.store.failing_loads.load(Ordering::SeqCst) > 0 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    for run in runs {
        assert_eq!(second.node.ended(run).await.status(), RunStatus::Completed);
    }
    assert_eq!(second.failures(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_is_stopped_is_not_read_any_more() {
    let member = Member::start().await;
    member.store.failing_restores.store(1_000, Ordering::SeqCst);
    let fence = member.open(&[]).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    member.node.runtime.stop_shard(fence);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let left = member.store.failing_restores.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(member.store.failing_restores.load(Ordering::SeqCst), left);
    assert!((900..1_000).contains(&left), "{left}");
}

/// In which order a node with one slot takes up runs of which these are hot.
async fn order(hot: &[usize]) -> Vec<String> {
    let first = Member::with(Limits {
        active_runs: 1,
        ..Limits::default()
    })
    .await;
    let fence = first.open(&[]).await;
    first.submit(id(9), one("block")).await;
    first.node.world.wait_begun().await;
    for number in 0..4 {
        let plan =
            json!({ "steps": [{ "id": format!("s{number}"), "tool": "echo", "input": {} }] });
        first.submit(id(number), plan).await;
    }
    first.node.runtime.stop_shard(fence);
    first.node.world.wait_quiet().await;
    first.node.world.open.add_permits(1);
    let second = first.peer().await;
    let hot: Vec<_> = hot.iter().map(|number| id(*number)).collect();
    second.open(&hot).await;
    for number in 0..4 {
        second.node.ended(id(number)).await;
    }
    let called = second.node.world.called();
    called.into_iter().filter(|name| name != "a").collect()
}

#[tokio::test]
async fn hot_runs_come_first() {
    assert_eq!(order(&[3, 2]).await, ["s3", "s2", "s0", "s1"]);
    // The control: without them, that which had begun and then the oldest come first.
    assert_eq!(order(&[]).await, ["s0", "s1", "s2", "s3"]);
}

#[tokio::test]
async fn a_shard_actor_that_panics_takes_its_shards_up_again() {
    let member = Member::start().await;
    let fence = member.open(&[]).await;
    let run = member.submit(id(0), one("block")).await;
    member.node.world.wait_begun().await;
    member.node.runtime.send(run, ShardMsg::Panic(None));
    member.node.world.wait_begun().await;
    member.node.world.open.add_permits(1);
    assert_eq!(member.node.ended(run).await.status(), RunStatus::Completed);
    assert_eq!(member.node.runtime.owned(), [fence]);
}

#[tokio::test]
async fn a_node_that_owns_everything_for_good_loses_nothing() {
    let node = Node::start().await;
    assert_eq!(node.runtime.owned().len(), 512);
    let run = node.submit(one("block")).await;
    node.world.wait_begun().await;
    let fence = Fence {
        shard: run.shard(),
        epoch: Epoch(u64::MAX),
    };
    node.runtime.stop_shard(fence);
    node.runtime.open_shard(fence, Vec::new());
    assert!(
        node.runtime
            .close_shard(fence, Duration::ZERO)
            .await
            .is_empty()
    );
    assert_eq!(node.runtime.epoch_of(run.shard()), Some(Epoch(1)));
    node.world.open.add_permits(1);
    assert_eq!(node.ended(run).await.status(), RunStatus::Completed);
}
