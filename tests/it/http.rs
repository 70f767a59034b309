//! The API from outside: a program that was started, and nothing but bytes to and from it.

#![allow(
    clippy::unwrap_used,
    reason = "a helper of a test may panic like the test"
)]

mod endpoints;
mod hostile;
mod streams;
mod submits;

use serde_json::{Value, json};

use crate::operate::node::{Answer, Node};

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
fn assert_error(answer: &Answer, code: u16, error_type: &str) {
    assert_eq!(answer.code, code, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let error = answer.json();
    assert_eq!(error["error_type"], error_type, "{answer:?}");
    assert!(
        error["detail"]
            .as_str()
            .is_some_and(|text| !text.is_empty()),
        "{answer:?}"
    );
    assert!(error["details"].is_object(), "{answer:?}");
}
