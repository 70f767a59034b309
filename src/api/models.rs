//! The shapes of requests and answers, for the OpenAPI document alone.
//!
//! Runs and events are written by [`crane_core::run::view`], straight from the domain; these types
//! say what comes out there, and tests hold every answer against them.

#![allow(dead_code, reason = "read by the derive alone")]

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::ToSchema;

/// A run.
#[derive(ToSchema)]
pub(super) struct Run {
    /// UUIDv7, or UUIDv5 where an Idempotency-Key was given.
    #[schema(format = "uuid")]
    run_id: String,
    /// The goal in words; null for a plan.
    prompt: Option<String>,
    status: Status,
    labels: BTreeMap<String, String>,
    /// Null until the planner has made one.
    plan: Option<RunPlan>,
    /// The steps that started, in the order of the plan.
    execution_log: Vec<ExecutedStep>,
    /// Any JSON, once completed.
    result: Value,
    /// Why it failed.
    error: Option<String>,
    /// Its last event.
    #[schema(minimum = 1)]
    seq: u64,
    /// The node that owns it.
    node: String,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    started_at: Option<String>,
    #[schema(format = DateTime)]
    completed_at: Option<String>,
}

/// Where a run stands.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(super) enum Status {
    Pending,
    Running,
    Waiting,
    Completed,
    Failed,
    Cancelled,
}

/// Where a step stands.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(super) enum StepStatus {
    Pending,
    Running,
    Waiting,
    Completed,
    Failed,
    Skipped,
    Cancelled,
}

/// The plan of a run.
#[derive(ToSchema)]
pub(super) struct RunPlan {
    /// As the plan calls itself.
    name: Option<String>,
    final_goal: Option<String>,
    steps: Vec<PlannedStep>,
}

/// A step as the plan has it.
#[derive(ToSchema)]
pub(super) struct PlannedStep {
    #[schema(minimum = 1)]
    step_number: u32,
    id: String,
    tool_name: String,
    /// As written, with `${...}`.
    tool_input: Value,
    depends_on: Vec<String>,
    reasoning: Option<String>,
}

/// A step that started.
#[derive(ToSchema)]
pub(super) struct ExecutedStep {
    #[schema(minimum = 1)]
    step_number: u32,
    id: String,
    tool_name: String,
    /// As resolved.
    tool_input: Value,
    status: StepStatus,
    success: bool,
    output: Value,
    error: Option<String>,
    attempts: u32,
    duration_ms: Option<f64>,
    #[schema(format = DateTime)]
    started_at: Option<String>,
    #[schema(format = DateTime)]
    completed_at: Option<String>,
}

/// A durable fact about a run.
#[derive(ToSchema)]
pub(super) struct Event {
    /// From 1, without gaps.
    #[schema(minimum = 1)]
    seq: u64,
    #[schema(format = DateTime)]
    at: String,
    r#type: EventType,
    #[schema(format = "uuid")]
    run_id: String,
    /// The step it is about.
    step: Option<String>,
    attempt: Option<u32>,
    #[schema(minimum = 1)]
    round: u32,
    /// What else is known, by type.
    data: BTreeMap<String, Value>,
}

/// The types of events.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(super) enum EventType {
    RunAccepted,
    RunPlanned,
    RunStarted,
    StepStarted,
    StepAttemptFailed,
    StepAttemptLost,
    StepCompleted,
    StepFailed,
    StepSkipped,
    StepCancelled,
    RunCancelRequested,
    RunReopened,
    RunCompleted,
    RunFailed,
    RunCancelled,
}

/// A frame of the event stream.
#[derive(ToSchema)]
pub(super) struct Frame {
    /// The `seq` of the event, for `Last-Event-ID`; `lagged` has none.
    #[schema(pattern = "^[0-9]+$")]
    id: Option<String>,
    /// The type of the event; or `lagged`: the reader was too slow, and the stream ends.
    event: String,
    /// The event as JSON text.
    data: String,
}

/// A run message; its shape is in [`super::openapi`].
#[derive(ToSchema)]
pub(super) struct NewRun(BTreeMap<String, Value>);

/// A plan; its shape is the published schema.
#[derive(ToSchema)]
pub(super) struct PlanDocument(BTreeMap<String, Value>);

/// A status to look for; empty means any. Its shape is in [`super::openapi`].
#[derive(ToSchema)]
pub(super) struct StatusFilter(String);

/// A label to look for.
#[derive(ToSchema)]
#[schema(pattern = "^[^=]+=")]
pub(super) struct LabelFilter(String);
