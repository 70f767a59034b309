//! The API from outside, by nothing but HTTP to a started program: every endpoint, every error,
//! every limit, and what nobody should send.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "helpers of a test may panic like the test, and its time is real"
)]

mod durable;
mod endpoints;
mod errors;
mod hostile;
mod limits;
mod streams;

use serde_json::{Value, json};

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
    let head = connection.head().unwrap();
    assert_eq!(head.status, 200, "{head:?}");
    let mut text = Vec::new();
    while let Some(chunk) = connection.chunk() {
        text.extend_from_slice(&chunk);
    }
    let text = String::from_utf8(text).unwrap();
    text.split_terminator("\n\n")
        .filter(|frame| !frame.starts_with(':'))
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
