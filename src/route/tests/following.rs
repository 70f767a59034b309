//! Streams of runs that are elsewhere, and go elsewhere.

use std::time::Duration;

use crane_core::{RunId, RunStatus, Seq};

use super::world::{Fault, World};
use super::*;
use crate::route::words::{After, Ask, Form};
use crate::route::{Heard, Tail};

fn run() -> RunId {
    RunId::from_key("", "followed")
}

fn world() -> (World, Far) {
    let world = World::new(true);
    let a = world.shared("a");
    world.shared("b");
    world.shared("c");
    world.give_all("b");
    world.store("b", run());
    (world, a)
}

async fn follow(far: &Far, after: u64) -> Tail {
    let ask = Ask::Events(After {
        seq: Seq(after),
        wait: Duration::ZERO,
        form: Form::Frames,
    });
    match far.ask(run(), &ask).await {
        Ok(Answer::Events(events)) => Tail::far(far.clone(), run(), Form::Frames, events),
        other => panic!("{other:?}"),
    }
}

/// All events to the end, a number each.
async fn all(tail: &mut Tail) -> Vec<u64> {
    let mut seen = Vec::new();
    loop {
        match tail.next().await.unwrap() {
            Heard::Frames(bytes) => {
                let text = String::from_utf8(bytes.to_vec()).unwrap();
                seen.extend(text.split_whitespace().map(|n| n.parse::<u64>().unwrap()));
            }
            Heard::Lagged => panic!("it lags"),
            Heard::Ended => return seen,
        }
    }
}

fn numbers(from: u64, to: u64) -> Vec<u64> {
    (from..=to).collect()
}

#[tokio::test(start_paused = true)]
async fn a_stream_has_what_was_and_what_comes() {
    let (world, a) = world();
    world.happens(run(), 9, RunStatus::Running);
    let mut tail = follow(&a, 0).await;
    let happens = async {
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_secs(25)).await;
            world.happens(run(), 1, RunStatus::Running);
        }
        world.happens(run(), 1, RunStatus::Completed);
    };
    let (seen, ()) = tokio::join!(all(&mut tail), happens);
    assert_eq!(seen, numbers(1, 16));
    assert!(tail.is_at_end());
}

#[tokio::test(start_paused = true)]
async fn a_stream_begins_behind_an_event_and_knows_the_end() {
    let (world, a) = world();
    world.happens(run(), 9, RunStatus::Completed);
    let mut tail = follow(&a, 4).await;
    assert!(!tail.is_at_end());
    assert_eq!(all(&mut tail).await, numbers(5, 10));
    assert!(follow(&a, 10).await.is_at_end());
    let beyond = follow(&a, 99).await;
    assert_eq!((beyond.is_at_end(), beyond.seen()), (true, Seq(10)));
}

#[tokio::test(start_paused = true)]
async fn a_stream_goes_on_while_its_run_moves_and_its_owners_die() {
    let (world, a) = world();
    let mut tail = follow(&a, 0).await;
    let happens = async {
        for round in 0..10_u64 {
            world.happens(run(), 3, RunStatus::Running);
            tokio::time::sleep(Duration::from_millis(300 * round)).await;
            match round % 5 {
                0 => world.give(run(), Some("c")),
                1 => world.fault("c", Fault::ReplyLost),
                2 => {
                    world.down("c");
                    tokio::time::sleep(Duration::from_secs(15)).await;
                    world.give(run(), Some("b"));
                    world.up("c");
                }
                3 => world.give(run(), Some("a")),
                _ => {
                    world.give(run(), None);
                    tokio::time::sleep(Duration::from_secs(3)).await;
                    world.give(run(), Some("b"));
                }
            }
        }
        world.happens(run(), 1, RunStatus::Failed);
    };
    let (seen, ()) = tokio::join!(all(&mut tail), happens);
    assert_eq!(seen, numbers(1, 32));
}

#[tokio::test(start_paused = true)]
async fn what_is_stored_is_read_although_nobody_owns_the_run() {
    let (world, a) = world();
    let mut tail = follow(&a, 0).await;
    world.give(run(), None);
    world.happens(run(), 4, RunStatus::Cancelled);
    let seen = tokio::time::timeout(Duration::from_secs(10), all(&mut tail));
    assert_eq!(seen.await.unwrap(), numbers(1, 5));
}

#[tokio::test(start_paused = true)]
async fn looking_elsewhere_in_between_loses_nothing() {
    let (world, a) = world();
    let mut tail = follow(&a, 0).await;
    let mut seen = Vec::new();
    let happens = async {
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(70)).await;
            world.happens(run(), 2, RunStatus::Running);
        }
        world.happens(run(), 1, RunStatus::Completed);
    };
    let reads = async {
        loop {
            match tokio::time::timeout(Duration::from_millis(30), tail.next()).await {
                Err(_) => {}
                Ok(Ok(Heard::Frames(bytes))) => {
                    let text = String::from_utf8(bytes.to_vec()).unwrap();
                    seen.extend(text.split_whitespace().map(|n| n.parse::<u64>().unwrap()));
                }
                Ok(Ok(Heard::Ended)) => break,
                Ok(other) => panic!("{other:?}"),
            }
        }
    };
    tokio::join!(reads, happens);
    assert_eq!(seen, numbers(1, 42));
}
