//! The command line, used the way its users do: exit codes, outputs, signals, bad input.

#![allow(
    clippy::unwrap_used,
    reason = "a helper of a test may panic like the test"
)]

mod broken;
mod hints;
mod interruptions;
mod outputs;
mod refusals;

use serde_json::{Value, json};

use crate::program::{Home, Request, Server};

/// A todo, then a request to a server of the test, then the answer of that server.
fn held_plan(home: &Home, server: &Server) -> String {
    let plan = json!({"steps": [
        {"id": "add", "tool": "todo_store", "input": {"action": "add", "text": "once"}},
        {"id": "ask", "tool": "http", "depends_on": ["add"],
         "input": {"method": "GET", "url": server.url}},
        {"id": "said", "tool": "echo", "input": {"value": "${steps.ask.output.json.word}"}},
    ], "output": "${steps.said.output.value}"});
    home.file("held.json", plan.to_string())
}

/// Answers what [`held_plan`] asks.
fn answer(request: Request) {
    request.answer_json(&json!({"word": "yes"}));
}

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    keys.sort_unstable();
    keys
}

fn sorted<const N: usize>(mut keys: [&str; N]) -> [&str; N] {
    keys.sort_unstable();
    keys
}

/// How often a step was started, over all processes and rounds.
fn starts(home: &Home, id: &str, step: &str) -> usize {
    let events = home.json(&format!("runs events {id} -o json"));
    let is_start = |event: &&Value| event["type"] == "step_started" && event["step"] == step;
    events.as_array().unwrap().iter().filter(is_start).count()
}
