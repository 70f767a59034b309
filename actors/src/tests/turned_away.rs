//! What those hear who want something of a shard that is not here, or is lost under them.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crane_core::{RunId, RunStatus, Seq};

use super::member::{Member, SHARD, asleep, id, with_id};
use super::{chain, one};
use crate::runtime::{ChangeError, ReadError, Runtime};
use crate::shard::ShardMsg;
use crate::submit::{Request, SubmitError};

#[tokio::test]
async fn a_fenced_write_stops_the_shard_and_tells() {
    let member = Member::start().await;
    let fence = member.open(&[]).await;
    let runs = [
        member.submit(id(0), one("block")).await,
        member.submit(id(1), one("block")).await,
    ];
    for _ in runs {
        member.node.world.wait_begun().await;
    }
    let waiting = {
        let runtime = member.node.runtime.clone();
        tokio::spawn(async move { runtime.ended(runs[0]).await })
    };
    let rival = member.acquire().await;
    assert!(rival.epoch > fence.epoch);
    // One of the two ends its step; the other is killed with the shard.
    member.node.world.open.add_permits(1);
    member.keeper.told.acquire().await.unwrap().forget();
    assert_eq!(*member.keeper.fenced.lock().unwrap(), [fence]);
    let ended = waiting.await.unwrap();
    assert!(
        matches!(ended, Err(ReadError::NotOwner(SHARD))),
        "{ended:?}"
    );
    member.node.world.wait_quiet().await;
    assert_eq!(member.node.runtime.epoch_of(SHARD), None);
    assert_eq!(member.failures(), (0, 0), "neither a failure nor a restart");
    assert!(!member.keeper.wrote().contains(&false));
    // It may come back.
    let fence = member.open(&runs).await;
    for _ in runs {
        member.node.world.wait_begun().await;
    }
    member.node.world.open.add_permits(2);
    for run in runs {
        assert_eq!(member.node.ended(run).await.status(), RunStatus::Completed);
    }
    assert_eq!(member.node.runtime.owned(), [fence]);
}

#[tokio::test]
async fn what_is_submitted_to_a_shard_that_was_lost_is_sent_elsewhere() {
    let member = Member::start().await;
    let fence = member.open(&[]).await;
    member.acquire().await;
    let refused = member
        .node
        .runtime
        .submit(with_id(id(0), chain(1)), false)
        .await;
    assert!(
        matches!(refused, Err(SubmitError::NotOwner(SHARD))),
        "{refused:?}"
    );
    assert_eq!(*member.keeper.fenced.lock().unwrap(), [fence]);
    assert!(member.node.runtime.load(id(0)).await.unwrap().is_none());
}

#[tokio::test]
async fn everybody_who_waits_for_a_shard_that_closes_hears_it() {
    let member = Member::start().await;
    let fence = member.open(&[]).await;
    let run = member.submit(id(0), one("block")).await;
    member.node.world.wait_begun().await;
    let runtime = member.node.runtime.clone();
    let mut follower = runtime.follow(run, Seq(0)).await.unwrap().unwrap();
    let mut tail = runtime.tail(run, Seq(0)).await.unwrap().unwrap();
    while tail.next_stored().await.unwrap().is_some() {}
    let watched = runtime.submit(with_id(id(1), one("block")), true).await;
    let end = watched.unwrap().end.unwrap();
    member.node.world.wait_begun().await;
    // From here on nothing becomes durable.
    let hold = member.node.store.hold_writes();
    let asked = |id, keyed: bool| {
        let runtime = runtime.clone();
        let request = Request {
            key: keyed.then(|| format!("{id}")),
            ..with_id(id, chain(1))
        };
        tokio::spawn(async move { runtime.submit(request, false).await })
    };
    let submits = [asked(id(2), false), asked(id(3), true)];
    let cancelling = {
        let runtime = runtime.clone();
        tokio::spawn(async move { runtime.cancel(run).await })
    };
    // Until all three are in the journal's queue.
    let before = 3 + appended(&member, [id(0), id(1)]);
    while appended(&member, [id(0), id(1)]) + appended(&member, [id(2), id(3)]) < before {
        tokio::task::yield_now().await;
    }
    runtime.stop_shard(fence);
    for submit in submits {
        let refused = submit.await.unwrap();
        assert!(
            matches!(refused, Err(SubmitError::NotOwner(SHARD))),
            "{refused:?}"
        );
    }
    let refused = cancelling.await.unwrap();
    assert!(
        matches!(refused, Err(ChangeError::NotOwner(SHARD))),
        "{refused:?}"
    );
    let heard = loop {
        match follower.next().await {
            Ok(Some(_)) => {}
            other => break other,
        }
    };
    assert!(
        matches!(heard, Err(ReadError::NotOwner(SHARD))),
        "{heard:?}"
    );
    drop(hold);
    assert!(end.await.is_err());
    come_too_late(&runtime, run).await;
    // Reading needs no shard.
    assert!(runtime.load(run).await.unwrap().is_some());
    assert_eq!(runtime.figures().steps_executed, 0);
}

/// Whoever comes after the shard was closed.
async fn come_too_late(runtime: &Runtime, run: RunId) {
    for refused in [
        runtime.follow(run, Seq(0)).await.map(drop),
        runtime.tail(run, Seq(0)).await.map(drop),
        runtime.ended(run).await.map(drop),
    ] {
        assert!(
            matches!(refused, Err(ReadError::NotOwner(SHARD))),
            "{refused:?}"
        );
    }
    let refused = runtime.retry(run).await;
    assert!(
        matches!(refused, Err(ChangeError::Elsewhere(SHARD))),
        "{refused:?}"
    );
    let refused = runtime.submit(with_id(id(4), chain(1)), false).await;
    assert!(
        matches!(refused, Err(SubmitError::NotOwner(SHARD))),
        "{refused:?}"
    );
}

fn appended(member: &Member, runs: [RunId; 2]) -> usize {
    let appended = member.store.appended.lock().unwrap();
    appended
        .iter()
        .filter(|(run, _)| runs.contains(run))
        .count()
}

#[tokio::test(start_paused = true)]
async fn a_command_that_waits_for_its_run_to_restart_is_turned_away() {
    let member = Member::start().await;
    let fence = member.open(&[]).await;
    let run = member.submit(id(0), one("block")).await;
    member.node.world.wait_begun().await;
    // Its restart would fail for a long time.
    member
        .store
        .failing_loads
        .store(usize::MAX, Ordering::SeqCst);
    member.node.runtime.send(run, ShardMsg::Panic(Some(run)));
    member.node.world.wait_quiet().await;
    let runtime = member.node.runtime.clone();
    let cancelling = tokio::spawn(async move { runtime.cancel(run).await });
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(!cancelling.is_finished());
    member.node.runtime.stop_shard(fence);
    let refused = cancelling.await.unwrap();
    assert!(
        matches!(refused, Err(ChangeError::NotOwner(SHARD))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_repeated_request_with_an_id_creates_one_run() {
    let member = Member::start().await;
    member.open(&[]).await;
    member.node.world.failing.store(true, Ordering::SeqCst);
    let plan = asleep();
    let run = member.submit(id(0), plan.clone()).await;
    member
        .node
        .wait_for(run, |event| event.name() == "step_attempt_failed")
        .await;
    let again = member.node.runtime.submit(with_id(run, plan), false).await;
    assert!(!again.unwrap().created);
    // It has not lost its timer by that.
    member.node.world.failing.store(false, Ordering::SeqCst);
    member.node.world.pass(Duration::from_secs(3_600));
    member.node.runtime.send(run, ShardMsg::TimersDue);
    assert_eq!(member.node.ended(run).await.status(), RunStatus::Completed);
}
