//! Joining, balance, and draining.

use std::time::Duration;

use super::TTL;
use super::world::World;
use crate::ownership::words::{Event, Phase};
use crane_core::NodeName;

fn settled(names: &[&str], shards: u16) -> World {
    let mut world = World::new(shards, 7);
    for name in names {
        world.start(name);
    }
    world.run_until(Duration::from_secs(120), World::settled);
    world.measure_from_now();
    world
}

fn drain(world: &mut World, name: &str) {
    world.send(Duration::ZERO, NodeName::new(name), Event::Drain);
}

#[test]
fn a_node_alone_owns_everything_after_it_has_looked_around() {
    let mut world = World::new(512, 3);
    world.start("a");
    let took = world.run_until(Duration::from_secs(10), World::all_served);
    assert!(took >= Duration::from_secs(2), "{took:?}");
    assert!(took <= Duration::from_secs(4), "{took:?}");
}

#[test]
fn a_node_that_joins_gets_its_shards_a_fifth_a_second_and_none_is_idle_for_long() {
    // With so many shards a fifth is more than may be in motion at a time.
    for shards in [128, 512] {
        let mut world = settled(&["a", "b"], shards);
        world.start("c");
        world.run_until(Duration::from_secs(60), World::settled);
        let gained = &world.node("c").gained;
        let (total, fifth) = (gained.len(), gained.len() / 5);
        let first = gained[0];
        let within = |seconds: u64| {
            let window = Duration::from_secs(seconds);
            gained.iter().filter(|at| at.since(first) < window).count()
        };
        assert!(total >= usize::from(shards) / 4, "{total}");
        assert!(within(1) <= fifth + 8, "{} of {total}", within(1));
        assert!(within(2) <= 2 * fifth + 8, "{} of {total}", within(2));
        assert!(within(1) >= fifth * 3 / 4, "{} of {total}", within(1));
        let pause = world.longest_idle;
        assert!(pause <= Duration::from_secs(1), "{pause:?}");
    }
}

#[test]
fn a_node_that_drains_hands_everything_over_a_few_at_a_time_and_leaves() {
    let mut world = settled(&["a", "b", "c"], 128);
    drain(&mut world, "b");
    world.run_until(Duration::from_secs(60), |world| {
        world.nodes["b"].machine.phase() == Phase::Left
    });
    assert_eq!(world.node("b").most_in_motion, 8);
    assert!(world.node("b").open.is_empty());
    assert!(world.all_served());
    assert!(
        world.longest_idle <= Duration::from_millis(500),
        "{:?}",
        world.longest_idle
    );
    assert!(world.store.rows().iter().all(|row| {
        row.owner
            .as_ref()
            .is_some_and(|owner| owner.node.as_str() != "b")
    }));
}

#[test]
fn a_drained_node_stays_to_forward_unless_it_is_alone() {
    let mut world = settled(&["a", "b"], 32);
    drain(&mut world, "a");
    let took = world.run_until(Duration::from_secs(60), |world| {
        world.nodes["a"].machine.phase() == Phase::Left
    });
    assert!(took >= 2 * TTL, "{took:?}");
    world.kill("a");
    world.run(Duration::from_secs(3));
    drain(&mut world, "b");
    let took = world.run_until(Duration::from_secs(60), |world| {
        world.nodes["b"].machine.phase() == Phase::Left
    });
    assert!(took <= Duration::from_secs(2), "{took:?}");
    assert!(world.store.rows().iter().all(|row| row.owner.is_none()));
}

#[test]
fn nothing_moves_for_balance_while_a_node_drains() {
    let mut world = settled(&["a", "b", "c"], 64);
    world.start("d");
    world.run(Duration::from_millis(2_500));
    drain(&mut world, "a");
    world.run(STEPS_OF_DRAIN);
    let from_others = world.node("d").gained.len();
    let drained = 64 - world.node("a").open.len();
    // What `d` has got so far came from the node that drains, or before it began to.
    assert!(from_others <= drained, "{from_others} of {drained}");
    world.run_until(Duration::from_secs(60), |world| {
        world.nodes["a"].machine.phase() == Phase::Left
    });
    world.kill("a");
    world.run_until(Duration::from_secs(60), World::settled);
}

const STEPS_OF_DRAIN: Duration = Duration::from_secs(2);

#[test]
fn a_rolling_restart_leaves_no_shard_idle_for_long() {
    let mut world = settled(&["a", "b", "c"], 64);
    for name in ["a", "b", "c"] {
        drain(&mut world, name);
        world.run_until(Duration::from_secs(60), |world| {
            world.nodes[name].machine.phase() == Phase::Left
        });
        world.kill(name);
        world.start(name);
        world.run_until(Duration::from_secs(90), World::settled);
    }
    assert!(
        world.longest_idle <= Duration::from_secs(1),
        "{:?}",
        world.longest_idle
    );
}
