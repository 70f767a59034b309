//! Plans from JSON: what is accepted and what it becomes. What is refused is in `refused`.
#![allow(clippy::unwrap_used, clippy::needless_pass_by_value)]

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::tool::ToolSpec;

mod graphs;
mod loads;
mod refused;
mod shapes;

/// A catalog with a few tools and a small validator of its own, in the manner of the real one.
pub(crate) struct Catalog {
    tools: Vec<ToolSpec>,
}

impl Catalog {
    pub(crate) fn new() -> Self {
        let calculator = json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["expression"],
            "properties": {"expression": {"type": "string"}, "digits": {"type": "integer"}}
        });
        let http = json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["url"],
            "properties": {
                "method": {"enum": ["GET", "POST"]},
                "url": {"type": "string"},
                "headers": {"type": "object", "additionalProperties": {"type": "string"}},
                "retries": {"type": "integer"},
                "tags": {"type": "array", "items": {"type": "string"}},
                "auth": {
                    "type": "object",
                    "required": ["user"],
                    "properties": {"user": {"type": "string"}, "age": {"type": "number"}}
                }
            }
        });
        let choosy = json!({
            "type": "object",
            "required": ["action"],
            "properties": {
                "action": {"enum": ["add", "list"]},
                "text": {"type": "string"},
                "count": {"type": "integer"}
            },
            "if": {"properties": {"action": {"const": "add"}}},
            "then": {"required": ["text"]}
        });
        Self {
            tools: vec![
                ToolSpec::pure("calculator", "", calculator),
                ToolSpec::pure("http", "", http),
                ToolSpec::pure("choosy", "", choosy),
                ToolSpec::pure("echo", "", json!({"type": "object"})),
            ],
        }
    }
}

impl ToolCatalog for Catalog {
    fn spec(&self, tool: &str) -> Option<&ToolSpec> {
        self.tools.iter().find(|spec| spec.name.as_str() == tool)
    }

    fn check_input(&self, tool: &str, input: &Value) -> Vec<(String, String)> {
        let spec = self.spec(tool).unwrap();
        let mut misses = Vec::new();
        validate(&spec.input_schema, input, "", &mut misses);
        misses
    }

    fn names(&self) -> Vec<&str> {
        self.tools.iter().map(|spec| spec.name.as_str()).collect()
    }
}

/// As much of JSON Schema as the tools above use.
fn validate(schema: &Value, value: &Value, at: &str, misses: &mut Vec<(String, String)>) {
    let mut miss = |message: String| misses.push((at.to_owned(), message));
    let fits = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        _ => true,
    };
    if !fits {
        miss(format!("{value} is not of type {}", schema["type"]));
    }
    if schema["enum"]
        .as_array()
        .is_some_and(|list| !list.contains(value))
    {
        miss(format!("{value} is not one of {}", schema["enum"]));
    }
    if schema.get("const").is_some_and(|wanted| wanted != value) {
        miss(format!("{value} is not {}", schema["const"]));
    }
    if let Value::Object(members) = value {
        for name in schema["required"].as_array().into_iter().flatten() {
            if !members.contains_key(name.as_str().unwrap()) {
                miss(format!("{name} is a required property"));
            }
        }
        for (key, member) in members {
            let below = format!("{at}/{key}");
            match (&schema["properties"][key], &schema["additionalProperties"]) {
                (Value::Null, Value::Bool(false)) => {
                    misses.push((at.to_owned(), format!("{key:?} was unexpected")));
                }
                (Value::Null, Value::Null) => {}
                (Value::Null, other) => validate(other, member, &below, misses),
                (known, _) => validate(known, member, &below, misses),
            }
        }
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        validate(&schema["items"], item, &format!("{at}/{index}"), misses);
    }
    if schema.get("if").is_some() {
        let mut condition = Vec::new();
        validate(&schema["if"], value, at, &mut condition);
        if condition.is_empty() {
            validate(&schema["then"], value, at, misses);
        }
    }
}

/// Checks a plan against the tools above and the default limits.
pub(crate) fn check(source: &Value) -> Result<Plan, Vec<Finding>> {
    Plan::check(source, &Catalog::new(), &Limits::default())
}

fn order_total() -> Value {
    json!({
        "name": "order-total",
        "final_goal": "Total of an order, rounded",
        "input": {"price": 41, "quantity": 7, "shipping_url": "https://example.com/quote"},
        "steps": [
            {
                "id": "gross",
                "tool": "calculator",
                "input": {"expression": "${input.price} * ${input.quantity}"}
            },
            {
                "id": "shipping",
                "tool": "http",
                "input": {"method": "GET", "url": "${input.shipping_url}"},
                "timeout": "5s",
                "retry": {"max_attempts": 4, "initial": "200ms", "factor": 2, "max": "10s", "jitter": true},
                "delivery": "at_least_once",
                "on_error": "continue"
            },
            {
                "id": "total",
                "tool": "calculator",
                "depends_on": ["gross"],
                "when": "steps.gross.output > 0",
                "input": {"expression": "${steps.gross.output} + 13"}
            }
        ],
        "output": "${steps.total.output}"
    })
}

#[test]
fn the_plan_of_the_contract_is_accepted_as_written() {
    let source = order_total();
    let plan = check(&source).unwrap();
    assert_eq!(plan.source.to_value(), source);
    assert_eq!(plan.name.as_deref(), Some("order-total"));
    assert_eq!(plan.input, source["input"]);
    let shipping = &plan.steps[1];
    assert_eq!(shipping.timeout, Some(Duration::from_secs(5)));
    assert_eq!(shipping.on_error, OnError::Continue);
    assert_eq!(
        shipping.retry,
        RetryPolicy {
            max_attempts: 4,
            initial: Duration::from_millis(200),
            factor: 2.0,
            max: Duration::from_secs(10),
            jitter: true
        }
    );
    assert_eq!(plan.steps[2].depends_on, [StepIndex(0)]);
    assert_eq!(plan.steps[0].dependents, [StepIndex(2)]);
    assert_eq!(plan.step_index("total"), Some(StepIndex(2)));
    assert_eq!(plan.step_index("nothing"), None);
    assert!(plan.output.is_some());
}
