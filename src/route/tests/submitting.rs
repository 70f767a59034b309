//! Submitting where nodes have a store in common.

use std::time::Duration;

use crane_core::{RunId, RunStatus, ShardId, limits};
use tokio::time::Instant;

use super::world::{Fault, World};
use super::*;

#[tokio::test(start_paused = true)]
async fn a_run_is_created_by_the_owner_of_its_shard_wherever_it_is_submitted() {
    let world = World::new(true);
    let (a, _b) = (world.shared("a"), world.shared("b"));
    for shard in 0..crane_core::ids::SHARD_COUNT {
        world.give_shard(ShardId(shard), Some(["a", "b"][usize::from(shard % 2)]));
    }
    for _ in 0..20 {
        let (run, told) = submit(&a, request()).await;
        assert!(told.created);
        let owner = ["a", "b"][usize::from(run.shard().0 % 2)];
        let (node, id) = world.created().pop().unwrap();
        assert_eq!((node.as_str(), id), (owner, run));
    }
}

#[tokio::test(start_paused = true)]
async fn a_submission_whose_answer_is_lost_makes_no_twin() {
    let world = World::new(true);
    let (a, _b) = (world.shared("a"), world.shared("b"));
    world.give_all("b");
    for fault in [Fault::ReplyLost, Fault::Silence] {
        for key in [None, Some(format!("{fault:?}"))] {
            let before = world.created().len();
            world.fault("b", fault);
            let request = Request { key, ..request() };
            let (run, told) = submit(&a, request).await;
            assert!(told.created);
            assert_eq!(world.created().len(), before + 1, "{fault:?}");
            assert_eq!(world.created()[before].1, run);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_owner_dies_in_mid_call_and_the_next_one_has_the_run() {
    let world = World::new(true);
    let (a, _b, _c) = (world.shared("a"), world.shared("b"), world.shared("c"));
    world.give_all("b");
    world.fault("b", Fault::Dies);
    let run = RunId::from_key("", "k");
    let takeover = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        world.give(run, Some("c"));
    };
    let ((id, told), ()) = tokio::join!(submit(&a, keyed("k")), takeover);
    assert_eq!((id, told.created), (run, true));
    assert_eq!(world.created().len(), 1);
    assert_eq!(world.created()[0].0.as_str(), "c");
}

#[tokio::test(start_paused = true)]
async fn a_key_is_one_run_wherever_it_arrives_at_once() {
    let world = World::new(true);
    let nodes = [world.shared("a"), world.shared("b"), world.shared("c")];
    world.give_all("b");
    let all = nodes.iter().map(|node| submit(node, keyed("k")));
    let all = futures_util::future::join_all(all).await;
    assert_eq!(world.created().len(), 1);
    assert!(all.iter().all(|(run, _)| *run == all[0].0));
    assert_eq!(all.iter().filter(|(_, told)| told.created).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn new_runs_without_a_key_do_not_wait_for_a_shard_that_moves() {
    let world = World::new(true);
    let a = world.shared("a");
    // Half of the shards are nobody's.
    for shard in 0..crane_core::ids::SHARD_COUNT {
        world.give_shard(ShardId(shard), (shard % 2 == 0).then_some("a"));
    }
    let start = Instant::now();
    for _ in 0..20 {
        submit(&a, request()).await;
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_run_without_a_key_takes_another_shard_when_its_own_takes_nothing_in() {
    let world = World::new(true);
    let (a, _b, _c) = (world.shared("a"), world.shared("b"), world.shared("c"));
    // What b has is closing: everybody is sent there, and it takes nothing in.
    for shard in 0..crane_core::ids::SHARD_COUNT {
        world.give_shard(ShardId(shard), Some(["b", "c"][usize::from(shard % 2)]));
    }
    world.drains("b");
    let start = Instant::now();
    for _ in 0..20 {
        let (run, told) = submit(&a, request()).await;
        assert!(told.created);
        assert_eq!(run.shard().0 % 2, 1);
    }
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn what_nobody_owns_for_too_long_is_unavailable_and_nothing_was_done() {
    let world = World::new(true);
    let a = world.shared("a");
    let start = Instant::now();
    let detail = unavailable(a.submit(keyed("k"), Duration::ZERO).await);
    assert!(detail.contains("nothing was done"), "{detail}");
    let waited = start.elapsed();
    assert!(waited <= limits::MOVING_WAIT, "{waited:?}");
    assert!(waited > limits::MOVING_WAIT - Duration::from_millis(300));
    assert!(world.created().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_is_not_told_as_nothing_done() {
    let world = World::new(true);
    let (a, _b) = (world.shared("a"), world.shared("b"));
    world.give_all("b");
    world.fault("b", Fault::ReplyLost);
    let dies = async {
        // After the first try, before the second.
        tokio::time::sleep(Duration::from_millis(1)).await;
        world.down("b");
    };
    let (answer, ()) = tokio::join!(a.submit(keyed("k"), Duration::ZERO), dies);
    let detail = unavailable(answer);
    assert!(detail.contains("may or may not"), "{detail}");
}

#[tokio::test(start_paused = true)]
async fn no_more_than_so_many_requests_wait_at_a_time() {
    let world = World::new(true);
    let a = world.shared("a");
    let more = limits::MOVING_REQUESTS + 5;
    let all = (0..more).map(|n| {
        let a = a.clone();
        async move { a.submit(keyed(&n.to_string()), Duration::ZERO).await }
    });
    let all = futures_util::future::join_all(all).await;
    let details = all.into_iter().map(unavailable);
    let crowded = details.filter(|detail| detail.contains("too many requests wait"));
    assert_eq!(crowded.count(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_busy_owner_is_asked_again() {
    let world = World::new(true);
    let (a, _b) = (world.shared("a"), world.shared("b"));
    world.give_all("b");
    world.fault("b", Fault::Busy);
    let start = Instant::now();
    assert!(submit(&a, keyed("k")).await.1.created);
    assert!(start.elapsed() >= Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn a_wait_goes_on_over_a_hand_over() {
    let world = World::new(true);
    let (a, _b, _c) = (world.shared("a"), world.shared("b"), world.shared("c"));
    world.give_all("b");
    let (run, _) = submit(&a, keyed("k")).await;
    let moves = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        world.give(run, None);
        tokio::time::sleep(Duration::from_secs(15)).await;
        world.give(run, Some("c"));
        world.down("b");
        tokio::time::sleep(Duration::from_secs(2)).await;
        world.happens(run, 1, RunStatus::Completed);
        Instant::now()
    };
    let until = Instant::now() + Duration::from_secs(60);
    let wait = async {
        let told = crate::route::ended_far(&a, run, until).await;
        (told.unwrap(), Instant::now())
    };
    let ((told, heard), ended) = tokio::join!(wait, moves);
    assert_eq!(told.status, RunStatus::Completed);
    assert!(heard - ended < Duration::from_millis(500));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_ended_before_its_owner_was_lost_is_found_in_the_store() {
    let world = World::new(true);
    let (a, _b) = (world.shared("a"), world.shared("b"));
    world.give_all("b");
    let (run, _) = submit(&a, keyed("k")).await;
    world.happens(run, 1, RunStatus::Completed);
    world.down("b");
    let until = Instant::now() + Duration::from_secs(60);
    let told = crate::route::ended_far(&a, run, until).await.unwrap();
    assert_eq!(told.status, RunStatus::Completed);
    assert!(until - Instant::now() > Duration::from_secs(50));
}
