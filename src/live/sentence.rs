//! What happened, as one line for people.

use crane_core::event::Event;
use crane_core::tool::{ErrorKind, ToolError};
use crane_core::{Attempt, Record, Run, StepIndex, StepStatus};

use crate::output::{Paint, counted, duration, micros, one_line};

/// Longest error in a line, in characters; `crane runs show` has the whole.
const ERROR_CHARS: usize = 300;

/// The line for an event; `None` for events that say nothing a reader of lines needs.
pub(super) fn of(run: &Run, record: &Record, paint: Paint) -> Option<String> {
    let id = run.id;
    let text = match &record.event {
        Event::RunAccepted(_) => match run.plan.as_deref() {
            Some(plan) => format!("run {id} accepted: {}", counted(plan.steps.len(), "step")),
            None => format!("run {id} accepted"),
        },
        Event::RunPlanned { .. } => {
            format!("run {id} planned: {}", counted(run.steps.len(), "step"))
        }
        Event::RunCancelRequested => format!("run {id} is being cancelled"),
        Event::RunReopened { round } => format!("run {id} goes on in round {round}"),
        Event::RunCompleted { .. } | Event::RunCancelled => ended(run, paint),
        Event::RunFailed { error, .. } => {
            format!("{}: {}", ended(run, paint), one_line(error, ERROR_CHARS))
        }
        Event::RunStarted => return None,
        Event::StepStarted { step, .. }
        | Event::StepAttemptFailed { step, .. }
        | Event::StepAttemptLost { step, .. }
        | Event::StepCompleted { step, .. }
        | Event::StepFailed { step, .. }
        | Event::StepSkipped { step }
        | Event::StepCancelled { step, .. } => {
            let what = of_step(record, paint)?;
            format!("{}: {what}", paint.bold(id_of(run, *step)))
        }
    };
    Some(text)
}

/// What happened to a step; `None` for events of the run.
fn of_step(record: &Record, paint: Paint) -> Option<String> {
    let text = match &record.event {
        Event::StepStarted { attempt, .. } => {
            format!("{}{}", paint.step(StepStatus::Running), again(*attempt))
        }
        Event::StepAttemptFailed {
            attempt,
            error,
            duration_us,
            ..
        } if error.kind == ErrorKind::Interrupted => {
            let (status, took) = (paint.step(StepStatus::Waiting), micros(*duration_us));
            format!("{status}; attempt {attempt} was cut off after {took}")
        }
        Event::StepAttemptFailed {
            attempt,
            error,
            retry_at,
            duration_us,
            ..
        } => {
            let (next, pause) = (attempt.next(), duration(retry_at.since(record.at)));
            let (took, error) = (micros(*duration_us), message(error));
            let status = paint.step(StepStatus::Waiting);
            format!(
                "{status} {pause} for attempt {next}; attempt {attempt} failed after {took}: {error}"
            )
        }
        Event::StepAttemptLost { attempt, .. } => {
            format!(
                "attempt {attempt} was {} with its process",
                paint.warn("lost")
            )
        }
        Event::StepCompleted {
            attempt,
            duration_us,
            ..
        } => {
            let status = paint.step(StepStatus::Completed);
            format!("{status} in {}{}", micros(*duration_us), again(*attempt))
        }
        Event::StepFailed { attempt, error, .. } => {
            let status = paint.step(StepStatus::Failed);
            format!("{status}{}: {}", again(*attempt), message(error))
        }
        Event::StepSkipped { .. } => paint.step(StepStatus::Skipped),
        Event::StepCancelled { .. } => paint.step(StepStatus::Cancelled),
        Event::RunAccepted(_)
        | Event::RunPlanned { .. }
        | Event::RunStarted
        | Event::RunCancelRequested
        | Event::RunReopened { .. }
        | Event::RunCompleted { .. }
        | Event::RunFailed { .. }
        | Event::RunCancelled => return None,
    };
    Some(text)
}

fn ended(run: &Run, paint: Paint) -> String {
    let took = run
        .completed_at
        .unwrap_or(run.created_at)
        .since(run.created_at);
    let status = paint.run(run.status());
    format!("run {} {status} after {}", run.id, duration(took))
}

fn id_of(run: &Run, index: StepIndex) -> &str {
    run.plan
        .as_deref()
        .and_then(|plan| plan.steps.get(index.position()))
        .map_or("?", |step| step.id.as_str())
}

/// The first attempt goes without saying.
fn again(attempt: Attempt) -> String {
    match attempt {
        Attempt(0 | 1) => String::new(),
        _ => format!(", attempt {attempt}"),
    }
}

fn message(error: &ToolError) -> String {
    one_line(&error.message, ERROR_CHARS)
}
