//! How users see a run and its events: the JSON of the API, made without a copy of any payload.
//!
//! Everything here borrows and serializes in one pass. Payloads are JSON text already and go out as
//! they are; times become RFC 3339 and durations milliseconds on the way.

use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use super::{Run, RunStatus, StepState, StepStatus};
use crate::event::{Event, Labels, Record};
use crate::ids::{Attempt, Round, RunId, Seq, StepId, StepIndex, ToolName};
use crate::json::Json;
use crate::plan::{Plan, Step};
use crate::time::Timestamp;
use crate::tool::ToolError;

/// A run as users see it.
#[derive(Debug, Serialize)]
pub struct RunView<'a> {
    run_id: RunId,
    prompt: Option<&'a str>,
    status: &'static str,
    labels: Option<&'a Labels>,
    plan: Option<PlanView<'a>>,
    execution_log: ExecutionLog<'a>,
    result: Option<&'a Json>,
    error: Option<&'a str>,
    seq: Seq,
    node: &'a str,
    created_at: Timestamp,
    started_at: Option<Timestamp>,
    completed_at: Option<Timestamp>,
}

/// The run as users see it; `node` is the name of the node that owns it.
pub fn run_view<'a>(run: &'a Run, node: &'a str) -> RunView<'a> {
    run_view_as(run, run.status(), node)
}

/// The same with a status that is known otherwise, where the run's events are not.
pub fn run_view_as<'a>(run: &'a Run, status: RunStatus, node: &'a str) -> RunView<'a> {
    let accepted = run.accepted.as_deref();
    RunView {
        run_id: run.id,
        prompt: accepted.and_then(|accepted| accepted.prompt.as_deref()),
        status: status.as_str(),
        labels: accepted.map(|accepted| &accepted.labels),
        plan: run.plan.as_deref().map(PlanView),
        execution_log: ExecutionLog(run),
        result: run.result.as_ref(),
        error: run.error.as_deref(),
        seq: run.seq,
        node,
        created_at: run.created_at,
        started_at: run.started_at,
        completed_at: run.completed_at,
    }
}

/// A plan as users see it inside a run: what the steps call, as written.
#[derive(Debug)]
struct PlanView<'a>(&'a Plan);

impl Serialize for PlanView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("name", &self.0.name)?;
        map.serialize_entry("final_goal", &self.0.final_goal)?;
        map.serialize_entry("steps", &PlannedSteps(self.0))?;
        map.end()
    }
}

struct PlannedSteps<'a>(&'a Plan);

impl Serialize for PlannedSteps<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let steps = self.0.steps.iter().enumerate();
        serializer.collect_seq(steps.map(|(position, step)| PlannedStep {
            step_number: position + 1,
            id: &step.id,
            tool_name: &step.tool,
            tool_input: &step.written_input,
            depends_on: Names(self.0, &step.depends_on),
            reasoning: step.reasoning.as_deref(),
        }))
    }
}

#[derive(Serialize)]
struct PlannedStep<'a> {
    step_number: usize,
    id: &'a StepId,
    tool_name: &'a ToolName,
    tool_input: &'a serde_json::Value,
    depends_on: Names<'a>,
    reasoning: Option<&'a str>,
}

/// The ids of some steps of a plan.
struct Names<'a>(&'a Plan, &'a [StepIndex]);

impl Serialize for Names<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(
            self.1
                .iter()
                .filter_map(|step| self.0.steps.get(step.position()))
                .map(|step| &step.id),
        )
    }
}

/// The steps that started in this round, in the order of the plan.
#[derive(Debug)]
struct ExecutionLog<'a>(&'a Run);

impl Serialize for ExecutionLog<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut log = serializer.serialize_seq(None)?;
        let steps = self.0.plan.as_deref().map_or(&[][..], |plan| &plan.steps);
        for (position, (step, state)) in steps.iter().zip(&self.0.steps).enumerate() {
            if state.started_at.is_some() {
                log.serialize_element(&ExecutedStep::of(position, step, state))?;
            }
        }
        log.end()
    }
}

#[derive(Serialize)]
struct ExecutedStep<'a> {
    step_number: usize,
    id: &'a StepId,
    tool_name: &'a ToolName,
    tool_input: Option<&'a Json>,
    status: &'static str,
    success: bool,
    output: Option<&'a Json>,
    error: Option<&'a str>,
    attempts: Attempt,
    duration_ms: Option<f64>,
    started_at: Option<Timestamp>,
    completed_at: Option<Timestamp>,
}

impl<'a> ExecutedStep<'a> {
    fn of(position: usize, step: &'a Step, state: &'a StepState) -> Self {
        let measured = match state.status {
            StepStatus::Completed | StepStatus::Failed | StepStatus::Waiting => true,
            StepStatus::Pending
            | StepStatus::Running
            | StepStatus::Skipped
            | StepStatus::Cancelled => false,
        };
        Self {
            step_number: position + 1,
            id: &step.id,
            tool_name: &step.tool,
            tool_input: state.input.as_ref(),
            status: state.status.as_str(),
            success: state.status == StepStatus::Completed,
            output: state.output.as_ref(),
            error: state.error.as_ref().map(|error| &*error.message),
            attempts: state.attempt,
            duration_ms: measured.then(|| milliseconds(state.duration_us)),
            started_at: state.started_at,
            completed_at: state.completed_at,
        }
    }
}

/// An event as users see it.
#[derive(Debug, Serialize)]
pub struct EventView<'a> {
    seq: Seq,
    at: Timestamp,
    r#type: &'static str,
    run_id: RunId,
    step: Option<&'a StepId>,
    attempt: Option<Attempt>,
    round: Round,
    data: Data<'a>,
}

/// The event as users see it. `run` gives the ids of the steps, and may be ahead of the record;
/// `round` is that of the record (see [`Rounds`]).
pub fn event_view<'a>(run: &'a Run, record: &'a Record, round: Round) -> EventView<'a> {
    event_view_with(run.id, run.plan.as_deref(), record, round)
}

/// As [`event_view`], for one who has the run's plan and no more of it.
pub fn event_view_with<'a>(
    run_id: RunId,
    plan: Option<&'a Plan>,
    record: &'a Record,
    round: Round,
) -> EventView<'a> {
    let step = record.event.step();
    EventView {
        seq: record.seq,
        at: record.at,
        r#type: record.event.name(),
        run_id,
        step: step
            .and_then(|(step, _)| plan?.steps.get(step.position()))
            .map(|definition| &definition.id),
        attempt: step.map(|(_, attempt)| attempt),
        round,
        data: Data(&record.event),
    }
}

/// All events of a run as users see them; `records` start at the run's first.
pub fn event_views<'a>(
    run: &'a Run,
    records: impl IntoIterator<Item = &'a Record>,
) -> impl Iterator<Item = EventView<'a>> {
    let mut rounds = Rounds::default();
    records
        .into_iter()
        .map(move |record| event_view(run, record, rounds.of(record)))
}

/// The round of each event, for one who reads them in order: an event does not carry its round, the
/// one that opens a round does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rounds(Round);

impl Default for Rounds {
    /// Before the first event of a run.
    fn default() -> Self {
        Self(Round(1))
    }
}

impl Rounds {
    /// After an event of `round`.
    pub fn from(round: Round) -> Self {
        Self(round)
    }

    /// The round of the next record.
    pub fn of(&mut self, record: &Record) -> Round {
        if let Event::RunReopened { round } = &record.event {
            self.0 = *round;
        }
        self.0
    }
}

/// What an event carries, by its type.
#[derive(Debug)]
struct Data<'a>(&'a Event);

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self.0 {
            Event::RunAccepted(accepted) => {
                map.serialize_entry("prompt", &accepted.prompt)?;
                map.serialize_entry("plan", &accepted.plan)?;
                map.serialize_entry("input", &accepted.input)?;
                map.serialize_entry("labels", &accepted.labels)?;
                map.serialize_entry("trace_id", &accepted.trace_id)?;
            }
            Event::RunPlanned { plan } => map.serialize_entry("plan", plan)?,
            Event::StepStarted { input, .. } => map.serialize_entry("input", input)?,
            Event::StepAttemptFailed {
                error,
                retry_at,
                duration_us,
                ..
            } => {
                map.serialize_entry("error", &ErrorView::of(error))?;
                map.serialize_entry("retry_at", retry_at)?;
                map.serialize_entry("duration_ms", &milliseconds(*duration_us))?;
            }
            Event::StepCompleted {
                output,
                duration_us,
                ..
            } => {
                map.serialize_entry("output", output)?;
                map.serialize_entry("duration_ms", &milliseconds(*duration_us))?;
            }
            Event::StepFailed {
                error, duration_us, ..
            } => {
                map.serialize_entry("error", &ErrorView::of(error))?;
                map.serialize_entry("duration_ms", &milliseconds(*duration_us))?;
            }
            Event::StepCancelled { late, .. } => map.serialize_entry("late", late)?,
            Event::RunReopened { round } => map.serialize_entry("round", round)?,
            Event::RunCompleted { result } => map.serialize_entry("result", result)?,
            Event::RunFailed { reason, error } => {
                map.serialize_entry("reason", reason.as_str())?;
                map.serialize_entry("error", error)?;
            }
            Event::RunStarted
            | Event::StepAttemptLost { .. }
            | Event::StepSkipped { .. }
            | Event::RunCancelRequested
            | Event::RunCancelled => {}
        }
        map.end()
    }
}

#[derive(Serialize)]
struct ErrorView<'a> {
    kind: &'static str,
    message: &'a str,
    retryable: bool,
}

impl<'a> ErrorView<'a> {
    fn of(error: &'a ToolError) -> Self {
        Self {
            kind: error.kind.as_str(),
            message: &error.message,
            retryable: error.kind.is_retryable(),
        }
    }
}

/// Durations are whole microseconds inside and fractions of milliseconds outside.
#[allow(clippy::cast_precision_loss)] // exact up to 2^53 us, which is 285 years
fn milliseconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1_000.0
}
