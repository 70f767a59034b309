//! The API from outside, by nothing but HTTP to a started program: every endpoint, every error,
//! every limit, and what nobody should send.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "helpers of a test may panic like the test, and its time is real"
)]

mod answers;
mod durable;
mod endpoints;
mod errors;
mod hostile;
mod limits;
mod rounds;
mod streams;
mod submits;

use serde_json::{Value, json};

use crate::operate::node::{self, Node};
use crate::program::serving::{Answer, BASE, Connection, Serving, request};
use crate::program::{Home, Server};

/// A run message with a plan of one step.
fn one(tool: &str, input: &Value) -> Value {
    json!({ "plan": { "steps": [{ "id": "a", "tool": tool, "input": input }] } })
}

/// A run that does not end by itself while a test looks at it.
fn sleeper() -> Value {
    one("sleep", &json!({ "milliseconds": 600_000 }))
}

/// A chain of echoes.
fn chain(length: usize) -> Value {
    let steps: Vec<Value> = (0..length)
        .map(|n| match n {
            0 => json!({ "id": "s0", "tool": "echo" }),
            n => json!({ "id": format!("s{n}"), "tool": "echo", "depends_on": [format!("s{}", n - 1)] }),
        })
        .collect();
    json!({ "plan": { "steps": steps } })
}

/// The frames of an event stream, up to its end.
fn frames(connection: &mut Connection) -> Vec<(Option<u64>, String)> {
    connection
        .frames()
        .iter()
        .map(|frame| {
            let field = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name));
            let event = field("event: ").unwrap().to_owned();
            (field("id: ").map(|id| id.parse().unwrap()), event)
        })
        .collect()
}

/// The ids of frames that must all have one.
fn ids(frames: &[(Option<u64>, String)]) -> Vec<u64> {
    frames.iter().map(|(id, _)| id.unwrap()).collect()
}

/// A plan of one step that sleeps so long.
fn sleeps(milliseconds: u64) -> Value {
    json!({ "steps": [
        { "id": "nap", "tool": "sleep", "input": { "milliseconds": milliseconds }, "timeout": "1h" },
    ] })
}

/// Submits a run that is under way for long, and gives its id.
#[track_caller]
fn long_run(node: &Node) -> String {
    let answer = node.send("POST", "/api/v1/runs", &json!({ "plan": sleeps(600_000) }));
    assert_eq!(answer.code, 201, "{answer:?}");
    text(&answer.json()["run_id"])
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// Requires the one form of an error, of this code and type.
#[track_caller]
fn assert_error(answer: &node::Answer, code: u16, error_type: &str) {
    assert_eq!(answer.code, code, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let error = answer.json();
    assert_eq!(error["error_type"], error_type, "{answer:?}");
    let detail = error["detail"].as_str();
    assert!(detail.is_some_and(|text| !text.is_empty()), "{answer:?}");
    assert!(error["details"].is_object(), "{answer:?}");
}
