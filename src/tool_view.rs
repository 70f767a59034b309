//! How users see a tool: the same JSON on the command line and in the API.

use crane_actors::runtime::{ToolView, Tried};
use crane_core::breaker::{self, Mode, Snapshot};
use crane_core::{Timestamp, ToolName};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// A tool with what it declares and where its breaker stands.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Tool {
    /// Name that plans use.
    #[schema(value_type = String)]
    name: ToolName,
    /// One sentence about it.
    description: String,
    /// JSON Schema (2020-12) of its input.
    #[schema(value_type = Object)]
    input_schema: Value,
    /// Whether calls read or change state that outlives them.
    stateful: bool,
    /// Whether repeating a call with the same key has no further effect.
    idempotent: bool,
    /// Longest time of one call, unless a step says otherwise.
    timeout_ms: f64,
    /// Calls that may run at once.
    concurrency: usize,
    /// Calls that may start in a second; null for no limit.
    rate_limit: Option<u32>,
    /// Its circuit breaker.
    breaker: Breaker,
}

/// Where the circuit breaker of a tool stands.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Breaker {
    /// Whether calls go through: `closed`, a few of them (`half_open`), or none (`open`).
    #[schema(value_type = BreakerState)]
    state: &'static str,
    /// What an operator has ordered.
    #[schema(value_type = BreakerMode)]
    mode: &'static str,
    /// When it will let calls through again, if it is open by itself.
    #[schema(value_type = Option<String>, format = DateTime)]
    open_until: Option<Timestamp>,
    /// Failures since the last success.
    failures_in_a_row: u32,
    /// Its last changes, oldest first.
    transitions: Vec<Transition>,
}

/// The states of a breaker.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[allow(dead_code, reason = "read by the derive alone")]
enum BreakerState {
    Closed,
    HalfOpen,
    Open,
}

/// Whether a breaker follows its own rules.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[allow(dead_code, reason = "read by the derive alone")]
enum BreakerMode {
    Auto,
    ForcedOpen,
    ForcedClosed,
}

/// A change of a breaker's state.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct Transition {
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    #[schema(value_type = BreakerState)]
    from: &'static str,
    #[schema(value_type = BreakerState)]
    to: &'static str,
    /// Why, in words.
    reason: String,
}

/// How a dry run of a tool ended.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Trial {
    /// Whether the tool did what it should.
    success: bool,
    /// What it returned.
    output: Option<Value>,
    /// Why it failed.
    error: Option<String>,
    /// Time inside the tool.
    duration_ms: f64,
}

/// A tool as users see it.
pub fn tool(view: &ToolView) -> Tool {
    let spec = &view.spec;
    Tool {
        name: spec.name.clone(),
        description: spec.description.clone(),
        input_schema: spec.input_schema.clone(),
        stateful: spec.stateful,
        idempotent: spec.idempotent,
        timeout_ms: milliseconds(spec.timeout),
        concurrency: spec.concurrency,
        rate_limit: spec.rate_limit,
        breaker: breaker(&view.breaker),
    }
}

/// A breaker as users see it.
pub fn breaker(snapshot: &Snapshot) -> Breaker {
    Breaker {
        state: snapshot.state.as_str(),
        mode: mode(snapshot.mode),
        open_until: snapshot.open_until,
        failures_in_a_row: snapshot.failures_in_a_row,
        transitions: snapshot.transitions.iter().map(transition).collect(),
    }
}

fn transition(transition: &breaker::Transition) -> Transition {
    Transition {
        at: transition.at,
        from: transition.from.as_str(),
        to: transition.to.as_str(),
        reason: transition.reason.to_string(),
    }
}

/// What an operator ordered, as users read it.
pub fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Auto => "auto",
        Mode::ForcedOpen => "forced_open",
        Mode::ForcedClosed => "forced_closed",
    }
}

/// A dry run of a tool.
pub fn tried(tried: Tried) -> Trial {
    let (output, error) = match tried.result {
        Ok(output) => (Some(output), None),
        Err(error) => (None, Some(error.message.to_string())),
    };
    Trial {
        success: error.is_none(),
        output,
        error,
        duration_ms: milliseconds(tried.took),
    }
}

/// To the microsecond, so that no digits show that nobody measured.
pub(crate) fn milliseconds(duration: std::time::Duration) -> f64 {
    duration.as_micros() as f64 / 1_000.0
}
