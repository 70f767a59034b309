//! The order of steps: who waits for whom, cycles, and the layers that a drawing has.

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

/// The cycles, each from its first step along what that waits for; no step is in two of them. Not
/// every cycle of a tangle is listed, but at least one of each tangle is.
pub(super) fn cycles(depends_on: &[Vec<StepIndex>]) -> Vec<Vec<StepIndex>> {
    let dependents = dependents(depends_on);
    let wanted: Vec<&[StepIndex]> = depends_on.iter().map(Vec::as_slice).collect();
    let waiting: Vec<&[StepIndex]> = dependents.iter().map(Vec::as_slice).collect();
    let mut state = vec![State::Blocked; depends_on.len()];
    for step in layers(&wanted, &waiting).into_iter().flatten() {
        state[step.position()] = State::Done;
    }
    let mut cycles = Vec::new();
    for start in 0..depends_on.len() {
        // Every blocked step waits for at least one blocked step, so the walk along the first such
        // ends where it has been: in this walk (a cycle) or in an earlier one.
        let mut walk = Vec::new();
        let mut at = start;
        while matches!(state[at], State::Blocked) {
            state[at] = State::Walked(start);
            walk.push(StepIndex::from_position(at));
            let blocked = |step: &&StepIndex| !matches!(state[step.position()], State::Done);
            match depends_on[at].iter().find(blocked) {
                Some(next) => at = next.position(),
                None => break,
            }
        }
        if matches!(state[at], State::Walked(walked) if walked == start) {
            let entry = walk.iter().position(|step| step.position() == at);
            let mut cycle = walk.split_off(entry.unwrap_or(walk.len()));
            let first = cycle.iter().enumerate().min_by_key(|(_, step)| **step);
            let first = first.map_or(0, |(position, _)| position);
            cycle.rotate_left(first);
            if !cycle.is_empty() {
                cycles.push(cycle);
            }
        }
        for step in walk {
            state[step.position()] = State::Walked(usize::MAX);
        }
    }
    cycles
}

/// What is known of a step while cycles are looked for.
#[derive(Clone, Copy)]
enum State {
    /// In a cycle, or behind one.
    Blocked,
    /// Seen in the walk that began at this step.
    Walked(usize),
    /// In no cycle.
    Done,
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
