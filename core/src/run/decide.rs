//! What should happen: one exhaustive match over where a run stands and what arrives.
//!
//! A decision covers the input alone. What follows from the run's new state (a step that may start,
//! a run that has come to its end) is decided in [`super::schedule`], after each input; what the rest
//! of a turn makes of no use (a question that is answered, a timer that is not the next any more) is
//! taken out of it by [`super::turn`].

use std::sync::Arc;

use super::messages::{Decision, Effect, Input, Rejected, Submission};
use super::{Phase, Run};
use crate::event::{Event, FailureReason};
use crate::limits::Limits;
use crate::plan::Plan;
use crate::time::Timestamp;

/// What `input` leads to; the run is not changed.
///
/// # Errors
/// When the run is not in a state in which the input is possible, or the input is stale.
pub fn decide(
    run: &Run,
    input: Input,
    now: Timestamp,
    limits: &Limits,
) -> Result<Decision, Rejected> {
    let mut decision = Decision::default();
    run.decide_into(input, now, limits, &mut decision)?;
    Ok(decision)
}

impl Run {
    /// As [`decide`], into a buffer that a turn uses again for each input. On refusal the buffer is
    /// as it was.
    pub(super) fn decide_into(
        &self,
        input: Input,
        now: Timestamp,
        limits: &Limits,
        decision: &mut Decision,
    ) -> Result<(), Rejected> {
        use Phase::{Cancelled, Cancelling, Completed, Empty, Failed, Failing, Pending, Running};
        match (self.phase, input) {
            (Empty, Input::Submit(submission)) => submit(*submission, decision),
            (
                Pending | Running | Failing | Cancelling | Completed | Failed | Cancelled,
                Input::Submit(_),
            ) => return self.refuse("submit"),

            (Pending, Input::Planned(result)) => self.planned(result, decision)?,
            (
                Empty | Running | Failing | Cancelling | Completed | Failed | Cancelled,
                Input::Planned(_),
            ) => return self.refuse("plan"),

            (Pending, Input::Start) => self.start(decision),
            (
                Empty | Running | Failing | Cancelling | Completed | Failed | Cancelled,
                Input::Start,
            ) => return self.refuse("start"),

            (
                Running | Failing | Cancelling,
                Input::StepReported {
                    step,
                    attempt,
                    outcome,
                    duration_us,
                },
            ) => {
                self.check_current(step, attempt)?;
                self.reported(step, outcome, duration_us, now, limits, decision);
            }
            (
                Empty | Pending | Completed | Failed | Cancelled,
                Input::StepReported { step, attempt, .. },
            ) => return Err(Rejected::Stale { step, attempt }),

            // A timer may fire after what it was set for is gone; that is nobody's mistake.
            (
                Pending | Running | Failing | Cancelling | Completed | Failed | Cancelled,
                Input::TimerFired,
            ) => decision.effects.extend(self.timer_owed()),
            (Empty, Input::TimerFired) => return self.refuse("timer"),

            (Pending | Running | Failing, Input::Cancel) => self.cancel(decision),
            (Cancelling, Input::Cancel) => {}
            (Empty | Completed | Failed | Cancelled, Input::Cancel) => {
                return self.refuse("cancel");
            }

            (Failed | Cancelled, Input::Retry) => self.retry(decision),
            (Empty | Pending | Running | Failing | Cancelling | Completed, Input::Retry) => {
                return self.refuse("retry");
            }

            (
                Pending | Running | Failing | Cancelling | Completed | Failed | Cancelled,
                Input::Recovered,
            ) => self.recovered(limits, decision),
            (Empty, Input::Recovered) => return self.refuse("recover"),

            (Pending | Running | Failing | Cancelling, Input::Poison(message)) => {
                self.end_at_once(FailureReason::Poisoned, message, None, decision);
            }
            (Empty | Completed | Failed | Cancelled, Input::Poison(_)) => {
                return self.refuse("poison");
            }
        }
        Ok(())
    }

    fn refuse(&self, input: &'static str) -> Result<(), Rejected> {
        Err(Rejected::WrongStatus {
            input,
            status: self.status(),
        })
    }

    fn planned(
        &self,
        result: Result<Arc<Plan>, Arc<str>>,
        decision: &mut Decision,
    ) -> Result<(), Rejected> {
        if self.plan.is_some() {
            return self.refuse("plan");
        }
        match result {
            Ok(plan) => {
                decision.events.push(Event::RunPlanned {
                    plan: plan.source.clone(),
                });
                if self.slot {
                    decision.events.push(Event::RunStarted);
                }
            }
            Err(error) => decision.events.push(Event::RunFailed {
                reason: FailureReason::Planning,
                error,
            }),
        }
        Ok(())
    }

    /// Without a plan the turn remembers that the run has a slot, and the plan starts it.
    fn start(&self, decision: &mut Decision) {
        if self.plan.is_some() {
            decision.events.push(Event::RunStarted);
        }
    }

    fn cancel(&self, decision: &mut Decision) {
        decision.events.push(Event::RunCancelRequested);
        self.abort_running(None, decision);
    }

    fn retry(&self, decision: &mut Decision) {
        decision.events.push(Event::RunReopened {
            round: self.round.next(),
        });
        if self.plan.is_none() {
            ask_for_plan(self.prompt(), decision);
        }
    }

    pub(super) fn prompt(&self) -> Option<Arc<str>> {
        self.accepted.as_ref()?.prompt.clone()
    }
}

fn submit(submission: Submission, decision: &mut Decision) {
    let accepted = submission.accepted;
    let prompt = accepted.prompt.clone();
    let written = accepted.plan.is_some();
    decision.events.push(Event::RunAccepted(Box::new(accepted)));
    if written {
        return;
    }
    match submission.plan {
        Some(plan) => decision.events.push(Event::RunPlanned {
            plan: plan.source.clone(),
        }),
        None => ask_for_plan(prompt, decision),
    }
}

/// Asks the planner; without a goal in words there is nothing to ask, and the run ends at once.
fn ask_for_plan(prompt: Option<Arc<str>>, decision: &mut Decision) {
    match prompt {
        Some(prompt) => decision.effects.push(Effect::MakePlan { prompt }),
        None => decision.events.push(Event::RunFailed {
            reason: FailureReason::Planning,
            error: "run has neither a prompt nor a plan".into(),
        }),
    }
}
