//! Balance and movement of placement, against what was measured before it was built.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::ids::SHARD_COUNT;

fn names(count: usize) -> BTreeSet<NodeName> {
    (0..count)
        .map(|number| NodeName::new(format!("node-{number}")))
        .collect()
}

fn loads(assignment: &Assignment) -> BTreeMap<NodeName, usize> {
    let mut loads: BTreeMap<_, _> = assignment.nodes().iter().map(|n| (n.clone(), 0)).collect();
    for shard in 0..SHARD_COUNT {
        if let Some(owner) = assignment.owner(ShardId(shard)) {
            *loads.entry(owner.clone()).or_insert(0) += 1;
        }
    }
    loads
}

/// The shards that `node` should own.
fn shards_of(assignment: &Assignment, node: &NodeName) -> usize {
    loads(assignment).get(node).copied().unwrap_or(0)
}

/// The shards whose wanted owner changes, with both owners.
fn moves(from: &Assignment, to: &Assignment) -> Vec<(Option<NodeName>, Option<NodeName>)> {
    (0..SHARD_COUNT)
        .map(|shard| [from, to].map(|assignment| assignment.owner(ShardId(shard)).cloned()))
        .filter(|[before, after]| before != after)
        .map(|[before, after]| (before, after))
        .collect()
}

/// Shards that moved when each node in turn died, as a multiple of those it had owned, with a cap
/// of `percent` of the mean.
fn moved_over_needed(count: usize, percent: usize) -> f64 {
    let assign = |nodes: BTreeSet<NodeName>| {
        let shards = usize::from(SHARD_COUNT);
        let cap = (shards * percent / (nodes.len() * 100)).max(shards.div_ceil(nodes.len()));
        Assignment::with_cap(SHARD_COUNT, nodes, cap)
    };
    let all = names(count);
    let before = assign(all.clone());
    let (mut moved, mut needed) = (0, 0);
    for dead in &all {
        let mut rest = all.clone();
        rest.remove(dead);
        moved += moves(&before, &assign(rest)).len();
        needed += shards_of(&before, dead);
    }
    moved as f64 / needed as f64
}

#[test]
fn without_nodes_nothing_has_an_owner() {
    let nobody = Assignment::new(SHARD_COUNT, BTreeSet::new());
    assert_eq!(nobody.owner(ShardId(0)), None);
    let somebody = Assignment::new(SHARD_COUNT, names(1));
    assert_eq!(moves(&nobody, &somebody).len(), usize::from(SHARD_COUNT));
}

#[test]
fn the_score_of_a_pair_never_changes() {
    let node = NodeName::new("node-1");
    assert_eq!(score(&node, ShardId(0)), 986_463_002_654_245_765);
    assert_eq!(score(&node, ShardId(511)), 14_573_538_984_284_109_863);
}

#[test]
fn no_node_is_loaded_more_than_fifteen_percent_above_the_mean_or_by_part_of_a_shard() {
    for count in 1..=120 {
        let mean = f64::from(SHARD_COUNT) / count as f64;
        let most = loads(&Assignment::new(SHARD_COUNT, names(count)))
            .into_values()
            .max()
            .unwrap_or(0);
        // Where a node owns less than seven shards, one shard is more than fifteen percent.
        let bound = (1.15 * mean).max(mean.ceil());
        assert!(most as f64 <= bound, "{count} nodes: {most}, mean {mean}");
    }
}

#[test]
fn the_death_of_a_node_moves_little_more_than_what_it_owned() {
    for (count, bound) in [(3, 1.02), (5, 1.05), (10, 1.10), (20, 1.30)] {
        let factor = moved_over_needed(count, CAP_PERCENT);
        assert!(factor <= bound, "{count} nodes: {factor}");
    }
}

#[test]
fn a_cap_without_slack_would_move_more_than_the_bound() {
    // The negative control of the bounds above.
    assert!(moved_over_needed(10, 100) > 1.10);
    assert!(moved_over_needed(20, 100) > 1.30);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn each_shard_has_one_owner_and_the_cap_holds(
        set in prop::collection::btree_set("[a-z]{1,12}", 1..30),
    ) {
        let nodes: BTreeSet<NodeName> = set.into_iter().map(NodeName::new).collect();
        let assignment = Assignment::new(SHARD_COUNT, nodes.clone());
        let loads = loads(&assignment);
        prop_assert_eq!(loads.values().sum::<usize>(), usize::from(SHARD_COUNT));
        prop_assert!(loads.values().all(|load| *load <= cap(SHARD_COUNT, nodes.len())));
    }

    #[test]
    fn a_shard_moves_only_from_a_full_node_or_from_or_to_the_one_that_changed(
        set in prop::collection::btree_set("[a-z]{1,12}", 2..16),
        pick in any::<prop::sample::Index>(),
    ) {
        let nodes: BTreeSet<NodeName> = set.into_iter().map(NodeName::new).collect();
        let all: Vec<NodeName> = nodes.iter().cloned().collect();
        let changed = pick.get(&all).clone();
        let mut rest = nodes.clone();
        rest.remove(&changed);
        let with = Assignment::new(SHARD_COUNT, nodes);
        let without = Assignment::new(SHARD_COUNT, rest);
        let full = |assignment: &Assignment, node: &NodeName| {
            shards_of(assignment, node) >= cap(SHARD_COUNT, assignment.nodes().len())
        };
        for (from, to) in moves(&with, &without) {
            let from = from.expect("there were nodes");
            let to = to.expect("there are nodes");
            prop_assert!(from == changed || full(&with, &to) || full(&without, &from));
        }
    }
}
