//! Reading and changing runs where nodes have a store in common.

use std::time::Duration;

use crane_core::{RunId, RunStatus};
use tokio::time::Instant;

use super::world::{Fault, World};
use super::*;
use crate::route::words::Ask;

fn run() -> RunId {
    RunId::from_key("", "asked")
}

/// Three nodes, and a run of `b`.
fn world() -> (World, [Far; 3]) {
    let world = World::new(true);
    let nodes = ["a", "b", "c"].map(|node| world.shared(node));
    world.give_all("b");
    world.store("b", run());
    (world, nodes)
}

#[tokio::test(start_paused = true)]
async fn every_node_tells_the_same_of_a_run() {
    let (world, nodes) = world();
    for node in &nodes {
        let text = text(node.ask(run(), &Ask::Load).await);
        assert_eq!(text, format!("{} 1 running at b", run()));
    }
    // Nobody was asked: it is in the common store.
    assert_eq!(world.calls("b"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_wrong_about_the_owner_learns_who_it_is() {
    let (world, [a, _, _]) = world();
    assert_eq!(
        text(a.ask(run(), &Ask::Load).await).split(' ').nth(4),
        Some("b")
    );
    world.give(run(), Some("c"));
    let start = Instant::now();
    let cancelled = text(a.ask(run(), &Ask::Cancel).await);
    assert!(cancelled.ends_with("cancelled at c"), "{cancelled}");
    assert_eq!((world.calls("b"), world.calls("c")), (1, 1));
    assert_eq!(start.elapsed(), Duration::ZERO);
    // From now on it is asked first.
    let _ = a.ask(run(), &Ask::Retry).await;
    assert_eq!((world.calls("b"), world.calls("c")), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn the_owner_itself_may_be_wrong_about_being_it() {
    let (world, [_, b, _]) = world();
    assert!(matches!(b.ask(run(), &Ask::Load).await, Ok(Answer::Run(_))));
    world.give(run(), Some("c"));
    let cancelled = text(b.ask(run(), &Ask::Cancel).await);
    assert!(cancelled.ends_with("cancelled at c"), "{cancelled}");
}

#[tokio::test(start_paused = true)]
async fn a_cancel_whose_answer_is_lost_is_not_told_as_a_conflict() {
    let (world, [a, _, _]) = world();
    world.fault("b", Fault::ReplyLost);
    let told = told(a.ask(run(), &Ask::Cancel).await);
    assert_eq!(told.status, RunStatus::Cancelled);
    // But one that comes too late is.
    let answer = a.ask(run(), &Ask::Cancel).await.unwrap();
    let Answer::Refused(error) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(error.error_type, ErrorType::Conflict);
}

#[tokio::test(start_paused = true)]
async fn a_retry_whose_answer_is_lost_is_not_repeated() {
    let (world, [a, _, _]) = world();
    world.happens(run(), 1, RunStatus::Failed);
    world.fault("b", Fault::ReplyLost);
    let detail = unavailable(a.ask(run(), &Ask::Retry).await);
    assert!(detail.contains("look at it"), "{detail}");
    assert_eq!(world.calls("b"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_for_a_shard_that_moves_and_goes_on_when_it_has_moved() {
    let (world, [a, _, _]) = world();
    world.give(run(), None);
    let moves = async {
        tokio::time::sleep(Duration::from_millis(7_003)).await;
        world.give(run(), Some("c"));
        Instant::now()
    };
    let cancel = async {
        let text = text(a.ask(run(), &Ask::Cancel).await);
        (text, Instant::now())
    };
    let ((text, answered), moved) = tokio::join!(cancel, moves);
    assert!(text.ends_with("at c"), "{text}");
    assert!(answered - moved <= Duration::from_millis(200));
}

#[tokio::test(start_paused = true)]
async fn what_is_nowhere_is_not_found() {
    let (_, nodes) = world();
    let other = RunId::from_key("", "other");
    for node in &nodes {
        for ask in [Ask::Load, Ask::Cancel, Ask::Retry] {
            let answer = node.ask(other, &ask).await;
            assert_eq!(answer, Ok(Answer::NotFound), "{ask:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn two_nodes_that_send_a_request_to_each_other_are_not_asked_for_ever() {
    let (world, [a, _, _]) = world();
    // Whoever is asked says that the next one owns it, in ever higher epochs.
    let moves = async {
        for round in 0_u64.. {
            tokio::task::yield_now().await;
            world.give(run(), Some(["b", "c"][usize::from(round % 2 == 0)]));
            if round % 50 == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    };
    let start = Instant::now();
    tokio::select! {
        // It gets there, or it is told that it does not; and it does not spin.
        _ = a.ask(run(), &Ask::Cancel) => {}
        () = moves => {}
    }
    assert!(start.elapsed() <= Duration::from_secs(11));
    assert!(world.calls("b") + world.calls("c") < 500);
}
