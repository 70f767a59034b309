//! A new round of an ended run: what is done is kept, the rest starts over.

use super::{Phase, Run, StepState, StepStatus};
use crate::ids::{Round, StepIndex};
use crate::plan::Plan;
use crate::time::Timestamp;

impl Run {
    /// Opens the run for another round. Failed and cancelled steps start over, and so do skipped
    /// ones that depend on one of those, however far behind; attempts are numbered on and losses
    /// to crashes still count.
    pub(super) fn reopen(&mut self, round: Round, at: Timestamp) {
        self.round = round;
        self.result = None;
        self.error = None;
        self.failure = None;
        self.first_failure = None;
        self.completed_at = None;
        let Some(plan) = self.plan.clone() else {
            self.phase = Phase::Pending;
            return;
        };
        self.phase = Phase::Running;
        self.started_at = self.started_at.or(Some(at));
        for step in to_start_over(&plan, &self.steps) {
            if let Some(state) = self.steps.get_mut(step.position()) {
                *state = StepState {
                    attempt: state.attempt,
                    lost_attempts: state.lost_attempts,
                    ..StepState::default()
                };
            }
        }
        self.recount(&plan);
        self.collect_ready();
    }

    /// Counts anew what depends on the statuses of steps.
    fn recount(&mut self, plan: &Plan) {
        let ended: Vec<bool> = self
            .steps
            .iter()
            .map(|state| state.status.is_ended())
            .collect();
        self.ended = ended.iter().filter(|ended| **ended).count();
        for (state, step) in self.steps.iter_mut().zip(&plan.steps) {
            let open = step
                .depends_on
                .iter()
                .filter(|dependency| ended.get(dependency.position()) == Some(&false))
                .count();
            state.blocked_by = u32::try_from(open).unwrap_or(u32::MAX);
        }
    }
}

/// The steps that start over: one walk along the edges of the plan, from those that did not end
/// well.
fn to_start_over(plan: &Plan, steps: &[StepState]) -> Vec<StepIndex> {
    let mut seen = vec![false; steps.len()];
    let mut stack = Vec::new();
    for (position, state) in steps.iter().enumerate() {
        if matches!(state.status, StepStatus::Failed | StepStatus::Cancelled) {
            seen[position] = true;
            stack.push(StepIndex::from_position(position));
        }
    }
    let mut over = stack.clone();
    while let Some(step) = stack.pop() {
        let Some(definition) = plan.steps.get(step.position()) else {
            continue;
        };
        for dependent in &definition.dependents {
            let position = dependent.position();
            if seen.get(position) != Some(&false) {
                continue;
            }
            seen[position] = true;
            stack.push(*dependent);
            if steps[position].status == StepStatus::Skipped {
                over.push(*dependent);
            }
        }
    }
    over
}
