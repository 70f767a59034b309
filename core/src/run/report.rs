//! What becomes of an attempt: it reported an outcome, or ended without one.

use std::sync::Arc;
use std::time::Duration;

use super::messages::{Decision, Outcome, Rejected};
use super::{Phase, Run, StepState, StepStatus};
use crate::event::{Event, FailureReason};
use crate::ids::{Attempt, StepIndex};
use crate::json::Json;
use crate::limits::{ERROR_BYTES, LONGEST_DURATION, Limits};
use crate::plan::{Delivery, Step};
use crate::time::Timestamp;
use crate::tool::{ErrorKind, ToolError};

impl Run {
    /// Whether this very attempt is under way.
    pub(super) fn check_current(&self, step: StepIndex, attempt: Attempt) -> Result<(), Rejected> {
        match self.step(step) {
            Some(state) if state.status == StepStatus::Running && state.attempt == attempt => {
                Ok(())
            }
            Some(_) | None => Err(Rejected::Stale { step, attempt }),
        }
    }

    /// The current attempt of `step` ended.
    pub(super) fn reported(
        &self,
        step: StepIndex,
        outcome: Outcome,
        duration_us: u64,
        now: Timestamp,
        limits: &Limits,
        decision: &mut Decision,
    ) {
        let Some((definition, state)) = self.definition(step).zip(self.step(step)) else {
            return;
        };
        let attempt = state.attempt;
        if self.phase == Phase::Cancelling {
            decision.events.push(Event::StepCancelled {
                step,
                attempt,
                late: self.late(outcome, limits),
            });
            return;
        }
        match outcome {
            Outcome::Completed(output) => {
                self.completed(step, output, duration_us, limits, decision);
            }
            Outcome::Failed(error) => {
                let error = bounded(of_tool(error));
                let event = match self.retry_delay(definition, state, &error) {
                    Some(delay) => Event::StepAttemptFailed {
                        step,
                        attempt,
                        error,
                        retry_at: now.after(delay),
                        duration_us,
                    },
                    None => Event::StepFailed {
                        step,
                        attempt,
                        error: for_good(definition, error),
                        duration_us,
                    },
                };
                decision.events.push(event);
            }
            Outcome::Aborted => self.lost(step, definition, state, limits, decision),
            Outcome::Interrupted => {
                decision
                    .events
                    .push(self.interrupted(step, definition, attempt, now, duration_us))
            }
        }
    }

    fn completed(
        &self,
        step: StepIndex,
        output: Json,
        duration_us: u64,
        limits: &Limits,
        decision: &mut Decision,
    ) {
        let attempt = self.step(step).map_or(Attempt(0), |state| state.attempt);
        let too_long = over_payload("output", &output, limits);
        let too_much = self.over_run(output.size(), limits);
        let whole_run = self.phase == Phase::Running && too_long.is_none() && too_much.is_some();
        match too_long.or(too_much) {
            None => decision.events.push(Event::StepCompleted {
                step,
                attempt,
                output,
                duration_us,
            }),
            Some(error) => {
                let text = self.blame(step, &error.message);
                decision.events.push(Event::StepFailed {
                    step,
                    attempt,
                    error,
                    duration_us,
                });
                if whole_run {
                    self.end_at_once(FailureReason::Limit, text, Some(step), decision);
                }
            }
        }
    }

    /// How long to wait for the next attempt; `None` when there is none.
    fn retry_delay(
        &self,
        definition: &Step,
        state: &StepState,
        error: &ToolError,
    ) -> Option<Duration> {
        let failed = state.failed_attempts + 1;
        let again = self.phase == Phase::Running
            && definition.delivery == Delivery::AtLeastOnce
            && error.kind.is_retryable()
            && failed < definition.retry.max_attempts;
        if !again {
            return None;
        }
        let seed = self.seed(definition.id.as_str(), state.attempt);
        let delay = definition.retry.delay(failed, seed);
        let asked = error.retry_after.unwrap_or_default().min(LONGEST_DURATION);
        Some(delay.max(asked))
    }

    /// A number that differs between runs, steps and attempts, and is the same on every node.
    fn seed(&self, step: &str, attempt: Attempt) -> u64 {
        let run = xxhash_rust::xxh3::xxh3_64(&self.id.to_bytes());
        xxhash_rust::xxh3::xxh3_64_with_seed(step.as_bytes(), run ^ u64::from(attempt.0))
    }

    /// The attempt of one step ended with its actor; the rest of the run lives.
    fn lost(
        &self,
        step: StepIndex,
        definition: &Step,
        state: &StepState,
        limits: &Limits,
        decision: &mut Decision,
    ) {
        let attempt = state.attempt;
        decision
            .events
            .push(Event::StepAttemptLost { step, attempt });
        if definition.delivery == Delivery::AtMostOnce {
            decision.events.push(unknown(step, attempt, CRASHED));
        } else if self.phase == Phase::Failing {
            decision.events.push(cancelled(step, attempt));
        } else if is_poison(state, limits) {
            let error = self.poison(step, state, decision);
            self.end_at_once(FailureReason::Poisoned, error, Some(step), decision);
        }
    }

    /// The attempt was cut off because its node is stopped: nobody's failure, so that neither the
    /// step's tries nor its losses count it, and the next attempt is due at once.
    fn interrupted(
        &self,
        step: StepIndex,
        definition: &Step,
        attempt: Attempt,
        now: Timestamp,
        duration_us: u64,
    ) -> Event {
        match definition.delivery {
            Delivery::AtMostOnce => unknown(step, attempt, "cut off by the stop of its node"),
            Delivery::AtLeastOnce if self.phase == Phase::Failing => cancelled(step, attempt),
            Delivery::AtLeastOnce => Event::StepAttemptFailed {
                step,
                attempt,
                error: ToolError::new(
                    ErrorKind::Interrupted,
                    "the node was stopped before the attempt had ended",
                ),
                retry_at: now,
                duration_us,
            },
        }
    }

    /// Fails the step that was lost too often; the run's error in words.
    pub(super) fn poison(
        &self,
        step: StepIndex,
        state: &StepState,
        decision: &mut Decision,
    ) -> Arc<str> {
        let message = format!("lost {} attempts to crashes", state.lost_attempts + 1);
        let text = self.blame(step, &message);
        decision.events.push(Event::StepFailed {
            step,
            attempt: state.attempt,
            error: ToolError::new(ErrorKind::OutcomeUnknown, message),
            duration_us: 0,
        });
        text
    }

    /// What is kept of an outcome that came after the cancellation: of an output that does not fit
    /// any more only its size.
    fn late(&self, outcome: Outcome, limits: &Limits) -> Option<Json> {
        match outcome {
            Outcome::Completed(output)
                if over_payload("output", &output, limits).is_some()
                    || self.over_run(output.size(), limits).is_some() =>
            {
                Some(Json::from_trusted(format!(
                    r#"{{"status":"completed","output_bytes":{}}}"#,
                    output.size()
                )))
            }
            Outcome::Completed(output) => Some(Json::from_trusted(format!(
                r#"{{"status":"completed","output":{}}}"#,
                output.as_str()
            ))),
            Outcome::Failed(error) => {
                let error = bounded(error);
                Some(Json::from_value(&serde_json::json!({
                    "status": "failed",
                    "error": {
                        "kind": error.kind.as_str(),
                        "message": &*error.message,
                        "retryable": error.kind.is_retryable(),
                    },
                })))
            }
            Outcome::Aborted | Outcome::Interrupted => None,
        }
    }

    /// The step as the plan has it; `None` before there is a plan.
    pub fn definition(&self, step: StepIndex) -> Option<&Step> {
        self.plan.as_ref()?.steps.get(step.position())
    }

    /// The run's error when it fails with this step: `STEP: message`.
    pub(super) fn blame(&self, step: StepIndex, message: &str) -> Arc<str> {
        match self.definition(step) {
            Some(definition) => format!("{}: {message}", definition.id).into(),
            None => message.into(),
        }
    }

    /// The error of a step whose payload of `size` bytes would take the run over its limit.
    pub(super) fn over_run(&self, size: usize, limits: &Limits) -> Option<ToolError> {
        let total = self.bytes + super::fold::EVENT_BYTES + size;
        (total > limits.run_bytes).then(|| {
            ToolError::new(
                ErrorKind::Limit,
                format!(
                    "run would take {total} bytes, more than the limit of {} bytes a run",
                    limits.run_bytes
                ),
            )
        })
    }
}

/// The error of a step whose input or output is too long.
pub(super) fn over_payload(what: &str, payload: &Json, limits: &Limits) -> Option<ToolError> {
    let size = payload.size();
    (size > limits.payload_bytes).then(|| {
        ToolError::new(
            ErrorKind::Limit,
            format!(
                "{what} has {size} bytes, more than the limit of {} bytes",
                limits.payload_bytes
            ),
        )
    })
}

pub(super) fn is_poison(state: &StepState, limits: &Limits) -> bool {
    state.lost_attempts + 1 >= limits.lost_attempts
}

/// How an attempt ended that nobody could stop.
pub(super) const CRASHED: &str = "lost to a crash";

/// The failure of a step that must not be repeated, by an attempt that ended without an outcome.
pub(super) fn unknown(step: StepIndex, attempt: Attempt, how: &str) -> Event {
    Event::StepFailed {
        step,
        attempt,
        error: ToolError::new(
            ErrorKind::OutcomeUnknown,
            format!(
                "attempt was {how} and may have had its effect; it is not repeated because the \
                 step is at_most_once"
            ),
        ),
        duration_us: 0,
    }
}

pub(super) fn cancelled(step: StepIndex, attempt: Attempt) -> Event {
    Event::StepCancelled {
        step,
        attempt,
        late: None,
    }
}

/// The error of a tool as it counts. A tool that says it was interrupted would be tried for ever.
fn of_tool(error: ToolError) -> ToolError {
    let kind = match error.kind {
        ErrorKind::Interrupted => ErrorKind::Transient,
        kind => kind,
    };
    ToolError { kind, ..error }
}

/// The error as it is kept when no attempt follows. Of a call that must not be repeated, and that
/// may have had its effect, that is what users must know first.
fn for_good(definition: &Step, error: ToolError) -> ToolError {
    let kind = match (definition.delivery, error.kind) {
        (Delivery::AtMostOnce, ErrorKind::Timeout | ErrorKind::Panic | ErrorKind::Transient) => {
            ErrorKind::OutcomeUnknown
        }
        (Delivery::AtMostOnce | Delivery::AtLeastOnce, kind) => kind,
    };
    ToolError { kind, ..error }
}

/// The error with a message that is no longer than a message may be.
fn bounded(error: ToolError) -> ToolError {
    let length = error.message.len();
    if length <= ERROR_BYTES {
        return error;
    }
    let mut end = ERROR_BYTES;
    while !error.message.is_char_boundary(end) {
        end -= 1;
    }
    let message = format!("{}... ({length} bytes in all)", &error.message[..end]);
    ToolError {
        message: message.into(),
        ..error
    }
}
