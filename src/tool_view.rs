//! How users see a tool: the same JSON on the command line and, later, in the API.

use crane_actors::runtime::{ToolView, Tried};
use crane_core::breaker::{Mode, Transition};
use serde_json::{Value, json};

/// A tool with what it declares and where its breaker stands.
pub fn tool(view: &ToolView) -> Value {
    let spec = &view.spec;
    json!({
        "name": spec.name,
        "description": spec.description,
        "input_schema": spec.input_schema,
        "stateful": spec.stateful,
        "idempotent": spec.idempotent,
        "timeout_ms": milliseconds(spec.timeout),
        "concurrency": spec.concurrency,
        "rate_limit": spec.rate_limit,
        "breaker": {
            "state": view.breaker.state.as_str(),
            "mode": mode(view.breaker.mode),
            "open_until": view.breaker.open_until,
            "failures_in_a_row": view.breaker.failures_in_a_row,
            "transitions": view.breaker.transitions.iter().map(transition).collect::<Vec<_>>(),
        },
    })
}

fn transition(transition: &Transition) -> Value {
    json!({
        "at": transition.at,
        "from": transition.from.as_str(),
        "to": transition.to.as_str(),
        "reason": transition.reason.to_string(),
    })
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
pub fn tried(tried: &Tried) -> Value {
    let error = tried.result.as_ref().err();
    json!({
        "success": tried.result.is_ok(),
        "output": tried.result.as_ref().ok(),
        "error": error.map(|error| error.message.as_ref()),
        "duration_ms": milliseconds(tried.took),
    })
}

fn milliseconds(duration: std::time::Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}
