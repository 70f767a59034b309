//! What the tests of all tools share, and what holds for each tool.
#![allow(clippy::unwrap_used)]

mod double;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crane_actors::tool::{CallContext, Origin};
use crane_core::tool::{ToolCatalog, ToolSpec};
use crane_core::{Attempt, Round, RunId, StepId, Timestamp};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;
pub(crate) use double::Double;

/// A call on nobody's behalf.
pub(crate) fn dry_run() -> CallContext {
    CallContext {
        origin: None,
        store: Arc::new(Double::default()),
        now: Timestamp(1_700_000_000_000_000),
        trace_id: None,
    }
}

/// A call of an attempt of the step `step` of one run.
pub(crate) fn attempt(attempt: u32) -> CallContext {
    CallContext {
        origin: Some(Origin {
            run: RunId::from_bytes([7; 16]),
            step: StepId::new("step"),
            round: Round(1),
            attempt: Attempt(attempt),
        }),
        ..dry_run()
    }
}

/// Whether the work can be done in that time: ten tries, since others use the machine as well.
pub(crate) fn takes_less_than(limit: Duration, mut work: impl FnMut()) -> bool {
    (0..10).any(|_| {
        let start = Instant::now();
        work();
        start.elapsed() < limit
    })
}

/// The standard tools as the check of a plan sees them.
pub(crate) struct Catalog(BTreeMap<String, (ToolSpec, jsonschema::Validator)>);

impl Catalog {
    pub(crate) fn new() -> Self {
        let tools = standard(ToolsConfig::default()).into_iter().map(|tool| {
            let spec = tool.spec();
            let validator = jsonschema::validator_for(&spec.input_schema).unwrap();
            (spec.name.to_string(), (spec, validator))
        });
        Self(tools.collect())
    }
}

impl ToolCatalog for Catalog {
    fn spec(&self, tool: &str) -> Option<&ToolSpec> {
        self.0.get(tool).map(|(spec, _)| spec)
    }

    fn names(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }

    fn check_input(&self, tool: &str, input: &Value) -> Vec<(String, String)> {
        let errors = self.0[tool].1.iter_errors(input);
        errors
            .map(|error| (error.instance_path().to_string(), error.to_string()))
            .collect()
    }
}

#[test]
fn every_tool_is_declared_once_with_a_valid_schema() {
    let tools = standard(ToolsConfig::default());
    let names: Vec<_> = tools.iter().map(|tool| tool.spec().name).collect();
    assert_eq!(
        names.iter().map(|name| name.as_str()).collect::<Vec<_>>(),
        ["calculator", "echo", "fail", "http", "sleep", "todo_store"]
    );
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    for tool in tools {
        let spec = tool.spec();
        assert!(
            jsonschema::draft202012::meta::is_valid(&spec.input_schema),
            "{}",
            spec.name
        );
        assert!(jsonschema::validator_for(&spec.input_schema).is_ok());
        assert!(!spec.description.is_empty() && spec.concurrency > 0);
        let Some(properties) = spec.input_schema["properties"].as_object() else {
            continue;
        };
        assert_eq!(
            spec.input_schema["additionalProperties"],
            json!(false),
            "{}",
            spec.name
        );
        for (name, property) in properties {
            assert!(
                property["description"].is_string(),
                "{} of {}",
                name,
                spec.name
            );
        }
    }
}

fn miss(tool: &str, input: &Value) -> Vec<String> {
    let misses = Catalog::new().check_input(tool, input);
    misses.into_iter().map(|(_, message)| message).collect()
}

#[test]
fn the_schemas_accept_what_the_tools_accept() {
    for (tool, input) in [
        ("calculator", json!({"expression": "1 + 1"})),
        ("echo", json!({"anything": [1, 2, {"x": null}]})),
        (
            "fail",
            json!({"kind": "panic", "times": 2, "key": "k", "message": "m"}),
        ),
        ("http", json!({"url": "https://example.com"})),
        (
            "http",
            json!({"method": "POST", "url": "https://example.com", "json": null,
            "headers": {"x": 1}, "query": {"a": [1, "b"], "c": null}, "expect_status": [200, 404]}),
        ),
        (
            "http",
            json!({"url": "https://example.com", "expect_status": 404}),
        ),
        ("sleep", json!({"milliseconds": 10})),
        ("todo_store", json!({"action": "add", "text": "x"})),
        ("todo_store", json!({"action": "list"})),
        ("todo_store", json!({"action": "get", "todo_id": "x"})),
        (
            "todo_store",
            json!({"action": "update", "todo_id": "x", "completed": true}),
        ),
    ] {
        assert_eq!(miss(tool, &input), [""; 0], "{tool} {input}");
    }
}

#[test]
fn the_schemas_say_in_words_what_is_wrong() {
    for (tool, input, said) in [
        (
            "calculator",
            json!({}),
            "\"expression\" is a required property",
        ),
        (
            "calculator",
            json!({"expression": "1".repeat(201)}),
            "longer than 200",
        ),
        ("echo", json!([]), "is not of type \"object\""),
        (
            "http",
            json!({"url": "https://a", "method": "TRACE"}),
            "is not one of",
        ),
        (
            "http",
            json!({"url": "https://a", "expect_status": 99}),
            "less than the minimum",
        ),
        (
            "http",
            json!({"url": "https://a", "expect_status": []}),
            "has less than 1 item",
        ),
        (
            "http",
            json!({"url": "https://a", "boddy": ""}),
            "'boddy' was unexpected",
        ),
        (
            "sleep",
            json!({"milliseconds": 86_400_001}),
            "greater than the maximum",
        ),
        ("todo_store", json!({}), "\"action\" is a required property"),
        (
            "todo_store",
            json!({"action": "add"}),
            "\"text\" is a required property",
        ),
        (
            "todo_store",
            json!({"action": "delete"}),
            "\"todo_id\" is a required property",
        ),
        ("todo_store", json!({"action": "burn"}), "is not one of"),
    ] {
        let errors = miss(tool, &input);
        assert_eq!(errors.len(), 1, "{tool} {input}: {errors:?}");
        assert!(errors[0].contains(said), "{tool} {input}: {errors:?}");
    }
}

#[tokio::test]
async fn echo_returns_its_input() {
    let input = json!({"value": [1, 2.5, "x"], "more": null});
    let output = echo::Echo.call(input.clone(), dry_run()).await;
    assert_eq!(output, Ok(input));
}

#[test]
fn the_configuration_refuses_what_it_does_not_know() {
    let read = |value: Value| serde_json::from_value::<ToolsConfig>(value);
    let config = read(json!({"http": {"allow": ["10.0.0.0/8", "*.corp"]}})).unwrap();
    assert_eq!(config.http.allow.len(), 2);
    assert_eq!(config.http.response_bytes, 1 << 20);
    assert_eq!(read(json!({})).unwrap(), ToolsConfig::default());
    assert!(read(json!({"htpp": {}})).is_err());
    assert!(read(json!({"http": {"alow": []}})).is_err());
    let error = read(json!({"http": {"allow": ["10.0.0.0/99"]}})).unwrap_err();
    assert!(error.to_string().contains("10.0.0.0/99"), "{error}");
}
