//! Followers see every event once, in order, whenever they come.

use std::time::Duration;

use crane_core::{RunId, Seq};

use super::member::{Member, id};
use super::{Node, chain, one, request};
use crate::follow::{Heard, Tail};
use crate::shard::ShardMsg;

#[tokio::test]
async fn followers_see_the_same_gap_free_sequence_whenever_they_come() {
    let node = Node::start().await;
    let mut followers = Vec::new();
    let id = node.submit(one("block")).await;
    for after in 0..3 {
        let runtime = node.runtime.clone();
        followers.push(tokio::spawn(async move {
            let mut follower = runtime.follow(id, Seq(after)).await.unwrap().unwrap();
            let mut seen = Vec::new();
            while let Some(record) = follower.next().await.unwrap() {
                seen.push(record.seq.0);
            }
            (after, seen)
        }));
    }
    node.world.wait_begun().await;
    node.world.open.add_permits(1);
    let run = node.ended(id).await;
    for follower in followers {
        let (after, seen) = follower.await.unwrap();
        assert_eq!(seen, (after + 1..=run.seq.0).collect::<Vec<_>>());
    }
    let late = node.runtime.follow(id, run.seq).await.unwrap().unwrap();
    assert!(late.is_at_end());
}

#[tokio::test]
async fn a_follower_that_falls_behind_reads_the_store_and_misses_nothing() {
    let node = Node::start().await;
    let submitted = node
        .runtime
        .submit(request(chain(1_000)), true)
        .await
        .unwrap();
    let id = submitted.run.id;
    let mut follower = node.runtime.follow(id, Seq(0)).await.unwrap().unwrap();
    // Nothing is read until the run is over: far more batches than the hub keeps.
    let run = submitted.end.unwrap().await.unwrap();
    let mut next = 1;
    while let Some(record) = follower.next().await.unwrap() {
        assert_eq!(record.seq.0, next);
        next += 1;
    }
    assert_eq!(next - 1, run.seq.0);
}

#[tokio::test]
async fn whoever_submits_can_wait_for_the_end() {
    let node = Node::start().await;
    let submitted = node.runtime.submit(request(chain(4)), true).await.unwrap();
    let run = submitted.end.unwrap().await.unwrap();
    assert_eq!(run.status().as_str(), "completed");
    assert_eq!(run.id, submitted.run.id);
}

/// Every event that a tail hands on until it says something else.
async fn drain(tail: &mut Tail, seen: &mut Vec<u64>) -> Heard {
    loop {
        match tail.next().await.unwrap() {
            Heard::Events(piece) => {
                seen.extend(piece.batch.records().iter().map(|record| record.seq.0));
            }
            other => return other,
        }
    }
}

#[tokio::test]
async fn a_tail_that_lags_is_told_so_and_a_new_one_goes_on_from_there() {
    let node = Node::start().await;
    let submitted = node
        .runtime
        .submit(request(chain(1_000)), true)
        .await
        .unwrap();
    let id = submitted.run.id;
    let mut tail = node.runtime.tail(id, Seq(0)).await.unwrap().unwrap();
    let run = submitted.end.unwrap().await.unwrap();
    let mut seen = Vec::new();
    assert!(matches!(drain(&mut tail, &mut seen).await, Heard::Lagged));
    assert!(!tail.is_at_end());
    let mut tail = node.runtime.tail(id, tail.seen()).await.unwrap().unwrap();
    assert!(matches!(drain(&mut tail, &mut seen).await, Heard::Ended));
    assert_eq!(seen, (1..=run.seq.0).collect::<Vec<_>>());
    assert!(tail.is_at_end());
}

#[tokio::test]
async fn those_who_listen_to_the_same_run_share_its_batches() {
    let node = Node::start().await;
    let id = node.submit(one("block")).await;
    node.world.wait_begun().await;
    let mut tails = Vec::new();
    for _ in 0..2 {
        let mut tail = node.runtime.tail(id, Seq(0)).await.unwrap().unwrap();
        while tail.next_stored().await.unwrap().is_some() {}
        tails.push(tail);
    }
    node.world.open.add_permits(1);
    let mut batches = Vec::new();
    for tail in &mut tails {
        let Heard::Events(piece) = tail.next().await.unwrap() else {
            panic!("the run has ended too early");
        };
        batches.push(piece.batch);
    }
    assert!(std::sync::Arc::ptr_eq(&batches[0], &batches[1]));
}

#[tokio::test]
async fn a_long_history_is_read_in_pieces_without_a_gap() {
    let node = Node::start().await;
    let text = "x".repeat(40 << 10);
    let mut plan = chain(12);
    for step in plan["steps"].as_array_mut().unwrap() {
        step["input"] = serde_json::json!({"text": text});
    }
    let id = node.submit(plan).await;
    let run = node.ended(id).await;
    let mut tail = node.runtime.tail(id, Seq(2)).await.unwrap().unwrap();
    let (mut pieces, mut seen) = (0, Vec::new());
    while let Some(piece) = tail.next_stored().await.unwrap() {
        pieces += 1;
        seen.extend(piece.batch.records().iter().map(|record| record.seq.0));
    }
    assert!(pieces > 1, "everything came at once");
    assert_eq!(seen, (3..=run.seq.0).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_place_behind_the_last_event_is_the_end_of_what_there_is() {
    let node = Node::start().await;
    let id = node.submit(one("echo")).await;
    let run = node.ended(id).await;
    let tail = node.runtime.tail(id, Seq(99)).await.unwrap().unwrap();
    assert_eq!(tail.seen(), run.seq);
    assert!(tail.is_at_end());
    let unknown = RunId::from_time(1, [0; 10]);
    assert!(node.runtime.tail(unknown, Seq(0)).await.unwrap().is_none());
}

/// A follower hears the end of a run whose last events become durable after this has killed its actor.
async fn end_is_heard_after(kill: impl FnOnce(RunId) -> ShardMsg) {
    let member = Member::start().await;
    member.open(&[]).await;
    let run = member.begin(id(0), one("block")).await;
    let runtime = &member.node.runtime;
    let mut tail = runtime.tail(run, Seq(0)).await.unwrap().unwrap();
    while tail.next_stored().await.unwrap().is_some() {}
    let hold = member.node.store.hold_writes();
    member.store.appended.lock().unwrap().clear();
    member.node.world.open.add_permits(1);
    while member.store.appended.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let failures = || -> u64 {
        let kinds = runtime.supervision().kinds;
        kinds.iter().map(|kind| kind.failures).sum()
    };
    runtime.send(run, kill(run));
    while failures() == 0 {
        tokio::task::yield_now().await;
    }
    drop(hold);
    let heard = async { while !matches!(tail.next().await.unwrap(), Heard::Ended) {} };
    let heard = tokio::time::timeout(Duration::from_secs(30), heard).await;
    heard.expect("the end is heard");
}

#[tokio::test]
async fn the_end_of_a_run_is_heard_although_its_actor_dies_before_it_has_told() {
    end_is_heard_after(|run| ShardMsg::Panic(Some(run))).await;
}

#[tokio::test]
async fn the_end_of_a_run_is_heard_although_its_shard_dies_before_it_has_told() {
    end_is_heard_after(|_| ShardMsg::Panic(None)).await;
}
