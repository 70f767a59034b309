//! How a run comes to its end: what is still under way is put away, and exactly one terminal event
//! closes the round.

use std::sync::Arc;

use super::evaluate;
use super::messages::{Decision, Effect};
use super::report::over_payload;
use super::{Phase, Run, StepStatus};
use crate::event::{Event, FailureReason};
use crate::ids::StepIndex;
use crate::json::Json;
use crate::limits::Limits;
use crate::tool::ErrorKind;

impl Run {
    /// What must follow from the run's state by itself: a failing or cancelled run gives its waiting
    /// steps up, and a run with nothing left to do ends.
    pub(super) fn ending(&self, limits: &Limits, decision: &mut Decision) {
        match self.phase {
            Phase::Running => {
                if self.ended == self.steps.len() {
                    decision.events.push(self.completion(limits));
                }
            }
            Phase::Failing => {
                self.cancel_waiting(decision);
                if self.running == 0 {
                    decision.events.push(self.step_failure());
                }
            }
            Phase::Cancelling => {
                self.cancel_waiting(decision);
                if self.running == 0 {
                    decision.events.push(Event::RunCancelled);
                }
            }
            Phase::Empty | Phase::Pending | Phase::Completed | Phase::Failed | Phase::Cancelled => {
            }
        }
    }

    /// Fails the run here and now. What is under way is aborted, but for the step `except`, whose
    /// end is decided already.
    pub(super) fn end_at_once(
        &self,
        reason: FailureReason,
        error: Arc<str>,
        except: Option<StepIndex>,
        decision: &mut Decision,
    ) {
        self.abort_running(except, decision);
        for (step, state) in self.steps_that_are(StepStatus::Running) {
            if Some(step) != except {
                decision.events.push(Event::StepCancelled {
                    step,
                    attempt: state.attempt,
                    late: None,
                });
            }
        }
        self.cancel_waiting_but(except, decision);
        decision.events.push(Event::RunFailed { reason, error });
    }

    /// Asks for every running attempt to be aborted, but for that of `except`.
    pub(super) fn abort_running(&self, except: Option<StepIndex>, decision: &mut Decision) {
        if self.running == 0 {
            return;
        }
        for (step, state) in self.steps_that_are(StepStatus::Running) {
            if Some(step) != except {
                decision.effects.push(Effect::AbortStep {
                    step,
                    attempt: state.attempt,
                });
            }
        }
    }

    /// Gives every waiting step up.
    pub(super) fn cancel_waiting(&self, decision: &mut Decision) {
        self.cancel_waiting_but(None, decision);
    }

    fn cancel_waiting_but(&self, except: Option<StepIndex>, decision: &mut Decision) {
        for (_, step) in &self.timers {
            if let Some(state) = self.step(*step)
                && Some(*step) != except
            {
                decision.events.push(Event::StepCancelled {
                    step: *step,
                    attempt: state.attempt,
                    late: None,
                });
            }
        }
    }

    fn completion(&self, limits: &Limits) -> Event {
        let result = evaluate::output(self).and_then(|output| {
            let result = output.unwrap_or_else(|| self.default_result());
            match over_payload("output", &result, limits) {
                None => Ok(result),
                Some(error) => Err(error),
            }
        });
        match result {
            Ok(result) => Event::RunCompleted { result },
            Err(error) => Event::RunFailed {
                reason: match error.kind {
                    ErrorKind::Limit => FailureReason::Limit,
                    ErrorKind::InvalidInput
                    | ErrorKind::Transient
                    | ErrorKind::Permanent
                    | ErrorKind::Timeout
                    | ErrorKind::Unavailable
                    | ErrorKind::Panic
                    | ErrorKind::OutcomeUnknown
                    | ErrorKind::Expression
                    | ErrorKind::Interrupted => FailureReason::Output,
                },
                error: error.message,
            },
        }
    }

    /// The output of the last step in the plan; null if it was skipped or failed.
    fn default_result(&self) -> Json {
        self.steps
            .last()
            .and_then(|state| state.output.clone())
            .unwrap_or_else(Json::null)
    }

    fn step_failure(&self) -> Event {
        let error = match self.first_failure {
            Some(step) => {
                let message = self
                    .step(step)
                    .and_then(|state| state.error.as_ref())
                    .map_or("failed", |error| &error.message);
                self.blame(step, message)
            }
            None => "a step failed".into(),
        };
        Event::RunFailed {
            reason: FailureReason::Step,
            error,
        }
    }
}
