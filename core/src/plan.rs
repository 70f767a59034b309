//! A plan: a checked DAG of tool calls, compiled once and shared by every run that uses it.
//!
//! ```text
//!   JSON ──Plan::check(catalog, limits)──> Plan     a new plan, everything wrong with it at once
//!   text ──Plan::load──────────────────> Plan       a stored plan, whatever has changed since
//! ```
//!
//! Here are the types; how they come about is in `check` and its neighbors, drawings in
//! [`graph`], the published JSON Schema by [`schema()`]. Nothing here runs a step.

mod check;
mod duration;
mod fields;
pub(crate) mod findings;
pub mod graph;
mod ids;
mod inputs;
mod links;
mod retry;
mod schema;
mod step;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::expr::{Condition, Template};
use crate::ids::{StepId, StepIndex, ToolName};
use crate::json::Json;
use crate::limits::Limits;
use crate::retry::RetryPolicy;
use crate::tool::ToolCatalog;

pub use duration::parse_duration;
pub use schema::schema;

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
    /// Where each step is.
    pub(crate) index: HashMap<StepId, StepIndex>,
}

impl Plan {
    /// Checks a new plan and compiles it.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its place: its own rules, tools that are not in
    /// `catalog`, inputs that miss a tool's schema where they are literal, and every limit.
    pub fn check(
        source: &Value,
        catalog: &dyn ToolCatalog,
        limits: &Limits,
    ) -> Result<Self, Vec<Finding>> {
        let against = check::Against { catalog, limits };
        check::compile(source, Json::from_value(source), Some(against))
    }

    /// Compiles a plan that was checked before it was stored. Tools and limits may have changed
    /// since, so they are not looked at.
    ///
    /// # Errors
    /// What is wrong, when the text is no plan (it never was, or another version stored it).
    pub fn load(source: &Json) -> Result<Self, Vec<Finding>> {
        check::compile(&source.to_value(), source.clone(), None)
    }

    /// The place of a step.
    pub fn step_index(&self, id: &str) -> Option<StepIndex> {
        self.index.get(id).copied()
    }

    /// The steps in layers: each step in the first layer after all that it waits for; within a layer
    /// in the order of the plan.
    pub fn layers(&self) -> Vec<Vec<StepIndex>> {
        let depends_on: Vec<_> = self.steps.iter().map(|step| &*step.depends_on).collect();
        let dependents: Vec<_> = self.steps.iter().map(|step| &*step.dependents).collect();
        links::layers(&depends_on, &dependents)
    }
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
