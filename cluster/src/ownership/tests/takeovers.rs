//! Shards of nodes that die, sleep, or lose the store.

use std::time::Duration;

use crane_core::ShardId;

use super::TTL;
use super::world::World;

fn three(shards: u16) -> World {
    let mut world = World::new(shards, 1);
    for name in ["a", "b", "c"] {
        world.start(name);
    }
    world.run_until(Duration::from_secs(60), World::settled);
    world.measure_from_now();
    world
}

#[test]
fn the_shards_of_a_killed_node_go_on_elsewhere_when_its_lease_is_over() {
    let mut world = three(64);
    world.kill("a");
    world.run_until(Duration::from_secs(30), World::settled);
    let bound = TTL + TTL / 4 + Duration::from_millis(500);
    assert!(world.longest_idle <= bound, "{:?}", world.longest_idle);
    assert!(
        world.longest_idle >= TTL * 3 / 4,
        "{:?}",
        world.longest_idle
    );
}

#[test]
fn with_evidence_that_it_is_gone_they_go_on_before_that() {
    let mut world = three(64);
    world.evidence = true;
    world.kill("a");
    world.run_until(Duration::from_secs(30), World::settled);
    let bound = Duration::from_millis(1_700);
    assert!(world.longest_idle <= bound, "{:?}", world.longest_idle);
}

#[test]
fn a_silence_shorter_than_the_lease_moves_nothing() {
    let mut world = three(64);
    let before: Vec<_> = world.store.rows().to_vec();
    world.node("b").paused = true;
    world.run(TTL / 2);
    world.node("b").paused = false;
    world.run(Duration::from_secs(5));
    assert_eq!(world.store.rows(), before);
}

#[test]
fn a_node_that_slept_through_its_lease_acts_for_nothing_and_joins_again() {
    let mut world = three(64);
    world.node("b").paused = true;
    world.run(TTL * 3);
    assert!(world.all_served());
    // What acts for a shard is checked at every step of the world.
    world.node("b").paused = false;
    world.run_until(Duration::from_secs(60), World::settled);
}

#[test]
fn a_node_that_is_cut_from_the_store_loses_its_shards_however_well_it_gossips() {
    let mut world = three(64);
    world.node("b").cut = true;
    world.run(TTL + TTL + TTL / 2);
    assert!(world.all_served());
    assert!(world.node("b").open.is_empty());
}

#[test]
fn an_outage_of_the_store_shorter_than_the_lease_is_not_felt() {
    let mut world = three(64);
    let before: Vec<_> = world.store.rows().to_vec();
    world.store_down = true;
    world.run(TTL / 2);
    world.store_down = false;
    world.run(Duration::from_secs(5));
    assert_eq!(world.store.rows(), before);
    assert_eq!(world.longest_idle, Duration::ZERO);
}

#[test]
fn after_an_outage_longer_than_the_lease_each_node_goes_on_with_its_own() {
    let mut world = three(64);
    let owners = |world: &World| -> Vec<_> {
        let rows = world.store.rows().iter();
        rows.map(|row| row.owner.as_ref().map(|o| o.node.clone()))
            .collect()
    };
    let before = owners(&world);
    world.store_down = true;
    world.run(TTL * 3);
    assert!((0..64).all(|shard| world.actors(ShardId(shard)).is_empty()));
    world.store_down = false;
    let took = world.run_until(Duration::from_secs(30), World::all_served);
    assert!(took <= Duration::from_secs(2), "{took:?}");
    assert_eq!(owners(&world), before);
}

#[test]
fn a_node_that_starts_in_an_outage_takes_nothing_of_the_others_when_it_ends() {
    let mut world = three(64);
    world.store_down = true;
    world.run(TTL * 2);
    world.start("d");
    world.run(TTL * 2);
    world.store_down = false;
    world.run(TTL * 2 / 3);
    assert!(world.node("d").open.is_empty());
    world.run_until(Duration::from_secs(60), World::settled);
}

#[test]
fn a_node_whose_journal_does_not_write_gives_its_shards_up_and_comes_back_when_it_does() {
    let mut world = three(64);
    world.node("c").ill = true;
    world.run(TTL / 2 + Duration::from_secs(2));
    assert!(world.all_served());
    assert!(world.node("c").open.is_empty());
    world.node("c").ill = false;
    world.run_until(Duration::from_secs(60), World::settled);
}

#[test]
fn a_node_restarted_under_its_name_waits_for_its_earlier_lease() {
    let mut world = three(64);
    world.kill("a");
    world.start("a");
    world.run_until(Duration::from_secs(60), World::settled);
    assert!(
        world.longest_idle <= TTL + TTL / 2,
        "{:?}",
        world.longest_idle
    );
}
