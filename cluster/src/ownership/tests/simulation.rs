//! A hundred nodes in one process, in virtual time, by a seed.

use std::time::Duration;

use super::TTL;
use super::world::World;
use crate::ownership::words::{Event, Phase};
use crane_core::NodeName;
use crane_core::ids::SHARD_COUNT;

const NODES: usize = 100;
/// The lease, a renewal, and what it takes to notice and to ask.
const BOUND: Duration = Duration::from_millis(4_500);

fn name(number: usize) -> String {
    format!("node-{number}")
}

/// The most loaded node against the mean: 15 %, or part of a shard where that is more.
#[track_caller]
fn assert_balanced(world: &World) {
    let loads = world.loads();
    let mean = f64::from(SHARD_COUNT) / loads.len() as f64;
    let most = loads.into_iter().max().unwrap_or(0);
    let bound = (1.15 * mean).max(mean.ceil());
    assert!(most as f64 <= bound, "{most} shards, the mean is {mean}");
}

fn grown(seed: u64, nodes: usize) -> World {
    let mut world = World::new(SHARD_COUNT, seed);
    for number in 0..nodes {
        world.start(&name(number));
        if world.random.chance(20) {
            world.run(super::world::STEP);
        }
    }
    let took = world.run_until(Duration::from_secs(180), World::settled);
    eprintln!("seed {seed}: {nodes} nodes settled after {took:?}");
    world.measure_from_now();
    world
}

#[test]
fn a_hundred_nodes_settle_and_survive_that_ten_are_killed() {
    let mut world = grown(11, NODES);
    assert_balanced(&world);
    let mut killed = 0;
    while killed < 10 {
        let victim = name(usize::try_from(world.random.below(NODES as u64)).unwrap_or(0));
        if world.node(&victim).running {
            world.kill(&victim);
            killed += 1;
        }
    }
    let took = world.run_until(Duration::from_secs(60), World::settled);
    eprintln!(
        "ten killed: settled after {took:?}, longest idle {:?}",
        world.longest_idle
    );
    assert!(world.longest_idle <= BOUND, "{:?}", world.longest_idle);
    assert_balanced(&world);
}

#[test]
fn nodes_that_come_and_go_orderly_leave_no_shard_idle_for_a_second() {
    let mut world = grown(12, 40);
    for number in 0..5 {
        world.start(&name(40 + number));
    }
    world.run_until(Duration::from_secs(120), World::settled);
    assert_balanced(&world);
    for number in 0..5 {
        world.send(Duration::ZERO, NodeName::new(name(number)), Event::Drain);
    }
    let left = |world: &World| {
        (0..5).all(|number| {
            let node = &world.nodes[&NodeName::new(name(number))];
            node.machine.phase() == Phase::Left
        })
    };
    world.run_until(Duration::from_secs(60), left);
    for number in 0..5 {
        world.kill(&name(number));
    }
    world.run_until(Duration::from_secs(120), World::settled);
    assert_balanced(&world);
    assert!(
        world.longest_idle <= Duration::from_secs(1),
        "{:?}",
        world.longest_idle
    );
}

#[test]
fn with_lost_messages_and_answers_twenty_nodes_settle_too() {
    let mut world = World::new(SHARD_COUNT, 13);
    world.lost_answers = 5;
    world.lost_messages = 20;
    for number in 0..20 {
        world.start(&name(number));
    }
    world.run_until(TTL * 60, World::settled);
    assert_balanced(&world);
}
