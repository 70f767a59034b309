//! After a crash: what is owed to a run that was loaded from the store, and what becomes of the
//! attempts that were under way.
//!
//! ```text
//!   Recovered ──> events:  attempts that were under way are lost, at-most-once ones for good
//!             └─> effects: `resume`: the plan it waits for, its timer, or the end of its actor
//! ```

use super::messages::{Decision, Effect};
use super::report::{CRASHED, cancelled, is_poison, unknown};
use super::{Phase, Run, StepState, StepStatus};
use crate::event::{Event, FailureReason};
use crate::ids::StepIndex;
use crate::limits::Limits;
use crate::plan::{Delivery, OnError, Step};

/// The effects that are owed for a run that was loaded from the store: the plan it waits for, its
/// timer, or the end of its actor. [`Input::Recovered`](super::Input::Recovered) brings them into a
/// turn, which leaves out what its other inputs make of no use; what was running at the time is the
/// business of that input alone.
pub fn resume(run: &Run) -> Vec<Effect> {
    let owed = match run.phase {
        Phase::Empty => None,
        Phase::Pending => run.plan_owed(),
        Phase::Running | Phase::Failing | Phase::Cancelling => run.timer_owed(),
        Phase::Completed | Phase::Failed | Phase::Cancelled => Some(Effect::Close),
    };
    owed.into_iter().collect()
}

impl Run {
    /// The question to the planner that an open run without a plan is waiting for.
    fn plan_owed(&self) -> Option<Effect> {
        if self.plan.is_some() {
            return None;
        }
        self.prompt().map(|prompt| Effect::MakePlan { prompt })
    }

    /// The timer that wakes the run, when it waits for one.
    pub(super) fn timer_owed(&self) -> Option<Effect> {
        self.wake_at().map(|at| Effect::SetTimer { at })
    }

    /// The run was loaded from the store after its actor or process died.
    pub(super) fn recovered(&self, limits: &Limits, decision: &mut Decision) {
        match self.phase {
            Phase::Running | Phase::Failing => self.lose_running(limits, decision),
            Phase::Cancelling => self.cancel_running(decision),
            Phase::Empty | Phase::Pending | Phase::Completed | Phase::Failed | Phase::Cancelled => {
            }
        }
        decision.effects.extend(resume(self));
    }

    /// In the middle of a cancellation what was running is cancelled with it.
    fn cancel_running(&self, decision: &mut Decision) {
        for (step, state) in self.steps_that_are(StepStatus::Running) {
            decision.events.push(cancelled(step, state.attempt));
        }
    }

    /// Every attempt that was under way ended with the run's actor or process.
    fn lose_running(&self, limits: &Limits, decision: &mut Decision) {
        let lost: Vec<(StepIndex, &Step, &StepState)> = self
            .steps_that_are(StepStatus::Running)
            .filter_map(|(step, state)| Some((step, self.definition(step)?, state)))
            .collect();
        let once = |definition: &Step| definition.delivery == Delivery::AtMostOnce;
        for (step, _, state) in &lost {
            decision.events.push(Event::StepAttemptLost {
                step: *step,
                attempt: state.attempt,
            });
        }
        for (step, definition, state) in &lost {
            if once(definition) {
                decision.events.push(unknown(*step, state.attempt, CRASHED));
            }
        }
        let failing = self.phase == Phase::Failing
            || lost
                .iter()
                .any(|(_, definition, _)| once(definition) && definition.on_error == OnError::Fail);
        let repeatable = || lost.iter().filter(|(_, definition, _)| !once(definition));
        let poisonous = repeatable().find(|(_, _, state)| !failing && is_poison(state, limits));
        if !failing && poisonous.is_none() {
            return;
        }
        let error = poisonous.map(|(step, _, state)| self.poison(*step, state, decision));
        for (step, _, state) in repeatable() {
            if poisonous.is_none_or(|(poison, _, _)| poison != step) {
                decision.events.push(cancelled(*step, state.attempt));
            }
        }
        if let Some(error) = error {
            self.cancel_waiting(decision);
            decision.events.push(Event::RunFailed {
                reason: FailureReason::Poisoned,
                error,
            });
        }
    }
}
