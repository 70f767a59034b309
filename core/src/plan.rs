//! A plan: a checked DAG of tool calls, compiled once and shared by every run that uses it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::expr::{Condition, Template};
use crate::ids::{StepId, StepIndex, ToolName};
use crate::json::Json;
use crate::retry::RetryPolicy;

/// One thing that is wrong with a plan or a request.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// Where, such as `steps[2].input.url`.
    pub path: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// A plan that passed every check.
#[derive(Debug)]
pub struct Plan {
    /// The plan as written, as JSON text; what is stored.
    pub source: Json,
    /// Name of the plan, if it has one.
    pub name: Option<Arc<str>>,
    /// The goal in words, if it was given.
    pub final_goal: Option<Arc<str>>,
    /// Defaults of the run's input, a JSON object.
    pub input: Value,
    /// The steps, in the order in which they were written.
    pub steps: Vec<Step>,
    /// The result of the run; `None` means the output of the last step.
    pub output: Option<Template>,
}

/// One node of the DAG.
#[derive(Debug)]
pub struct Step {
    /// Its name inside the plan.
    pub id: StepId,
    /// The tool it calls.
    pub tool: ToolName,
    /// The input as written.
    pub written_input: Value,
    /// The input, ready to be resolved.
    pub input: Template,
    /// The step is skipped when this is false.
    pub when: Option<Condition>,
    /// The steps it waits for: those it names and those it refers to, ascending, each once.
    pub depends_on: Vec<StepIndex>,
    /// The steps that wait for it, ascending.
    pub dependents: Vec<StepIndex>,
    /// Longest time of one attempt; `None` means what the tool declares.
    pub timeout: Option<Duration>,
    /// When and how often a failed attempt is repeated.
    pub retry: RetryPolicy,
    /// Whether an attempt of unknown outcome may be repeated.
    pub delivery: Delivery,
    /// What a failure of the step means for the run.
    pub on_error: OnError,
    /// Why the planner chose this step.
    pub reasoning: Option<Arc<str>>,
}

/// Whether an attempt of unknown outcome may be repeated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// It may: the tool is idempotent or honors the idempotency key.
    #[default]
    AtLeastOnce,
    /// It may not: the step fails with `outcome_unknown` instead.
    AtMostOnce,
}

/// What a failure of a step means for its run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// Nothing new starts, and the run fails.
    #[default]
    Fail,
    /// The run goes on; dependents may look at the status.
    Continue,
}
