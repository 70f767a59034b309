//! Shapes that are written by hand: what a derive cannot say.

use crane_core::{Limits, RunStatus, limits, plan};
use serde_json::{Value, json};

/// Replaces the placeholders among the schemas of a document.
pub(super) fn replace(schemas: &mut Value, limits: &Limits) {
    add_plan(schemas, limits);
    schemas["NewRun"] = new_run();
    schemas["StatusFilter"] = status_filter();
    schemas["Order"]["additionalProperties"] = json!(false);
    schemas["ApiError"]["properties"]["details"] = json!({
        "description": "The same for programs, by type; with validation_error all that is wrong.",
        "type": "object",
        "properties": {
            "errors": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["path", "message"],
                    "properties": { "path": { "type": "string" }, "message": { "type": "string" } },
                },
            },
        },
    });
}

/// Takes `null` out of the types of a schema.
pub(super) fn not_null(schema: &mut Value) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            schema["type"] = only.clone();
        }
    }
}

/// A run message: a goal or a plan, never both. `null` counts as absent.
fn new_run() -> Value {
    let message = |title: &str, given: &str, other: &str, schema: Value| {
        let mut shape = json!({
            "title": title,
            "type": "object",
            "additionalProperties": false,
            "required": [given],
            "properties": {
                "input": {
                    "description": "Values for the run's input, over the plan's own.",
                    "type": ["object", "null"],
                },
                "labels": labels(),
            },
        });
        shape["properties"][given] = schema;
        shape["properties"][other] = json!({ "type": "null" });
        shape
    };
    let prompt = json!({
        "description": "The goal in words; the planner makes the plan.",
        "type": "string",
        "minLength": 1,
        "maxLength": limits::PROMPT_CHARS,
        "pattern": "\\S",
        "examples": ["calculate (10 + 5) * 2"],
    });
    let plan = json!({ "$ref": "#/components/schemas/PlanDocument" });
    json!({
        "description": "A run message: exactly one of prompt and plan.",
        "oneOf": [
            message("A goal in words", "prompt", "plan", prompt),
            message("A plan", "plan", "prompt", plan),
        ],
    })
}

fn labels() -> Value {
    json!({
        "description": "Labels to find the run by.",
        "type": ["object", "null"],
        "maxProperties": limits::LABELS,
        "propertyNames": {
            "minLength": 1,
            "maxLength": limits::LABEL_BYTES,
            "pattern": "^[^=]+$",
        },
        "additionalProperties": { "type": "string", "maxLength": limits::LABEL_BYTES },
    })
}

fn status_filter() -> Value {
    let mut words = vec![""];
    words.extend(RunStatus::ALL.map(RunStatus::as_str));
    json!({ "type": "string", "enum": words })
}

/// The published schema of a plan, its definitions as schemas of the document.
fn add_plan(schemas: &mut Value, limits: &Limits) {
    let mut plan = plan::schema(limits);
    point_into_document(&mut plan);
    let Value::Object(fields) = &mut plan else {
        return;
    };
    fields.remove("$id");
    fields.remove("$schema");
    if let Some(Value::Object(definitions)) = fields.remove("$defs") {
        for (name, definition) in definitions {
            schemas[place(&name)] = definition;
        }
    }
    schemas["PlanDocument"] = plan;
}

/// Where a definition of the plan's schema is in the document.
fn place(definition: &str) -> String {
    let mut letters = definition.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    format!(
        "Plan{}{}",
        first.map(String::from).unwrap_or_default(),
        letters.as_str()
    )
}

fn point_into_document(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            for (name, member) in members {
                let definition = member
                    .as_str()
                    .and_then(|text| text.strip_prefix("#/$defs/"));
                match definition {
                    Some(definition) if name == "$ref" => {
                        *member = json!(format!("#/components/schemas/{}", place(definition)));
                    }
                    _ => point_into_document(member),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(point_into_document),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
