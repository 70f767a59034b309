//! Followers see every event once, in order, whenever they come.

use crane_core::Seq;

use super::{Node, chain, one, request};

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
