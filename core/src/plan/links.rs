//! The order of steps: who waits for whom, cycles, and the layers that a drawing has.

use std::collections::HashMap;

use petgraph::algo::kosaraju_scc;
use petgraph::graph::DiGraph;

use crate::ids::StepIndex;

/// For each step, the ascending list of the steps that wait for it.
pub(super) fn dependents(depends_on: &[Vec<StepIndex>]) -> Vec<Vec<StepIndex>> {
    let mut dependents = vec![Vec::new(); depends_on.len()];
    for (step, wanted) in depends_on.iter().enumerate() {
        for dependency in wanted {
            dependents[dependency.position()].push(StepIndex::from_position(step));
        }
    }
    dependents
}

/// The steps in layers: each step in the first layer after all its dependencies. Steps of a cycle
/// are in none. Kahn's algorithm: linear in steps and dependencies.
pub(super) fn layers(
    depends_on: &[&[StepIndex]],
    dependents: &[&[StepIndex]],
) -> Vec<Vec<StepIndex>> {
    let mut blocked: Vec<usize> = depends_on.iter().map(|wanted| wanted.len()).collect();
    let free = |blocked: &[usize]| {
        let steps = blocked.iter().enumerate();
        let free = steps.filter(|(_, blocked)| **blocked == 0);
        free.map(|(step, _)| StepIndex::from_position(step))
            .collect()
    };
    let mut layers = Vec::new();
    let mut layer: Vec<StepIndex> = free(&blocked);
    while !layer.is_empty() {
        let mut next = Vec::new();
        for dependent in layer.iter().flat_map(|step| dependents[step.position()]) {
            let blocked = &mut blocked[dependent.position()];
            *blocked -= 1;
            if *blocked == 0 {
                next.push(*dependent);
            }
        }
        next.sort_unstable();
        layers.push(std::mem::replace(&mut layer, next));
    }
    layers
}

/// The cycles, each from its first step along what that waits for: one of every group of steps that
/// wait for each other, in the order of their first steps.
pub(super) fn cycles(depends_on: &[Vec<StepIndex>]) -> Vec<Vec<StepIndex>> {
    let dependents = dependents(depends_on);
    let wanted: Vec<&[StepIndex]> = depends_on.iter().map(Vec::as_slice).collect();
    let waiting: Vec<&[StepIndex]> = dependents.iter().map(Vec::as_slice).collect();
    let free: usize = layers(&wanted, &waiting).iter().map(Vec::len).sum();
    if free == depends_on.len() {
        return Vec::new();
    }
    let edges = depends_on.iter().zip(0_u32..);
    let edges = edges.flat_map(|(wanted, step)| wanted.iter().map(move |to| (step, to.0)));
    let graph = DiGraph::<(), (), u32>::from_edges(edges);
    // Kosaraju's algorithm needs no recursion, so a cycle of 10,000 steps needs no stack.
    let groups = kosaraju_scc(&graph);
    let mut group_of = vec![usize::MAX; depends_on.len()];
    for (number, group) in groups.iter().enumerate() {
        for step in group {
            group_of[step.index()] = number;
        }
    }
    let groups = groups.iter().filter_map(|group| group.iter().min());
    let mut cycles: Vec<_> = groups
        .filter_map(|first| cycle_from(first.index(), &group_of, depends_on))
        .collect();
    cycles.sort_unstable();
    cycles
}

/// A cycle of the group of `first`: the walk along the first dependency inside of the group comes
/// back to where it has been, since every step of a group waits for one of it. `None` when the step
/// is a group of its own.
fn cycle_from(
    first: usize,
    group_of: &[usize],
    depends_on: &[Vec<StepIndex>],
) -> Option<Vec<StepIndex>> {
    let mut seen = HashMap::new();
    let mut walk = Vec::new();
    let mut at = first;
    while !seen.contains_key(&at) {
        seen.insert(at, walk.len());
        walk.push(StepIndex::from_position(at));
        let inside = |step: &&StepIndex| group_of[step.position()] == group_of[at];
        at = depends_on[at].iter().find(inside)?.position();
    }
    let mut cycle = walk.split_off(*seen.get(&at)?);
    let smallest = cycle.iter().enumerate().min_by_key(|(_, step)| **step);
    let smallest = smallest.map_or(0, |(position, _)| position);
    cycle.rotate_left(smallest);
    Some(cycle)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(lists: &[&[u32]]) -> Vec<Vec<StepIndex>> {
        let list = |list: &&[u32]| list.iter().copied().map(StepIndex).collect();
        lists.iter().map(list).collect()
    }

    #[test]
    fn cycles_are_named_from_their_first_step_along_the_dependencies() {
        assert_eq!(cycles(&steps(&[&[], &[0], &[0, 1]])), steps(&[]));
        assert_eq!(cycles(&steps(&[&[1], &[2], &[0]])), steps(&[&[0, 1, 2]]));
        assert_eq!(cycles(&steps(&[&[0]])), steps(&[&[0]]));
        // Step 0 is only behind the cycle of 1 and 2, step 5 between two of them.
        let tangle = steps(&[&[2], &[2], &[1], &[4], &[3], &[1, 3], &[]]);
        assert_eq!(cycles(&tangle), steps(&[&[1, 2], &[3, 4]]));
        // A group that waits for another group as well.
        let groups = steps(&[&[1], &[0], &[0, 3], &[2]]);
        assert_eq!(cycles(&groups), steps(&[&[0, 1], &[2, 3]]));
    }

    #[test]
    fn a_long_cycle_needs_no_stack() {
        let ring: Vec<Vec<StepIndex>> = (0..100_000_u32)
            .map(|step| vec![StepIndex((step + 1) % 100_000)])
            .collect();
        assert_eq!(cycles(&ring).len(), 1);
        assert_eq!(cycles(&ring)[0].len(), 100_000);
    }
}
