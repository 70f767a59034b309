//! The JSON Schema of a plan, for editors and other people's tools. It says what JSON Schema can
//! say; [`Plan::check`](super::Plan::check) is what decides.

use serde_json::{Value, json};

use crate::limits::{self, Limits};

/// The JSON Schema (draft 2020-12) of a plan, under these limits.
pub fn schema(limits: &Limits) -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:crane:plan",
        "title": "Crane plan",
        "description": "A DAG of tool calls. Steps run in parallel unless one depends on another; a reference to steps.X implies it.",
        "type": "object",
        "additionalProperties": false,
        "required": ["steps"],
        "properties": {
            "name": {
                "description": "Name of the plan.",
                "type": ["string", "null"],
                "maxLength": limits::PLAN_NAME_CHARS
            },
            "final_goal": {
                "description": "The goal in words.",
                "type": ["string", "null"],
                "maxLength": limits::PLAN_TEXT_CHARS
            },
            "input": {
                "description": "Defaults of the run's input; the input of a request overrides them.",
                "type": "object"
            },
            "steps": {
                "description": "The steps, in any order.",
                "type": "array",
                "minItems": 1,
                "maxItems": limits.steps,
                "items": { "$ref": "#/$defs/step" }
            },
            "output": {
                "description": "The result of the run, with ${...}; by default the output of the last step."
            }
        },
        "$defs": {
            "id": {
                "type": "string",
                "pattern": "^[A-Za-z_][A-Za-z0-9_-]{0,63}$"
            },
            "duration": {
                "description": "Numbers with the units ms, s, m, h and d: 200ms, 1.5s, 1m30s.",
                "type": "string",
                "pattern": "^\\s*([0-9]+(\\.[0-9]+)?(ms|s|m|h|d))+\\s*$"
            },
            "step": step(),
            "retry": retry(limits)
        }
    })
}

fn step() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["id"],
        "allOf": [
            { "oneOf": [{ "required": ["tool"] }, { "required": ["tool_name"] }] },
            { "not": { "required": ["input", "tool_input"] } }
        ],
        "properties": {
            "id": { "description": "Name of the step, unique in the plan.", "$ref": "#/$defs/id" },
            "tool": { "description": "The tool to call.", "type": "string", "minLength": 1 },
            "tool_name": { "description": "The same as tool.", "type": "string", "minLength": 1 },
            "input": { "description": "Input of the tool, with ${...}.", "type": "object" },
            "tool_input": { "description": "The same as input.", "type": "object" },
            "depends_on": {
                "description": "Steps to wait for, beside those that the step refers to.",
                "type": "array",
                "uniqueItems": true,
                "items": { "$ref": "#/$defs/id" }
            },
            "when": {
                "description": "Expression that gives true or false; the step is skipped when it is false.",
                "type": ["string", "boolean"]
            },
            "timeout": {
                "description": "Longest time of one attempt; by default that of the tool.",
                "$ref": "#/$defs/duration"
            },
            "retry": { "$ref": "#/$defs/retry" },
            "delivery": {
                "description": "Whether an attempt of unknown outcome may be repeated.",
                "enum": ["at_least_once", "at_most_once"],
                "default": "at_least_once"
            },
            "on_error": {
                "description": "What a failure of the step means for the run.",
                "enum": ["fail", "continue"],
                "default": "fail"
            },
            "reasoning": {
                "description": "Why the step is there.",
                "type": ["string", "null"],
                "maxLength": limits::PLAN_TEXT_CHARS
            },
            "step_number": {
                "description": "Place of the step in the plan, from 1; may be left out.",
                "type": "integer",
                "minimum": 1
            }
        }
    })
}

fn retry(limits: &Limits) -> Value {
    json!({
        "description": "When and how often a failed attempt is repeated.",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "max_attempts": {
                "description": "Attempts in all; 1 with delivery at_most_once.",
                "type": "integer",
                "minimum": 1,
                "maximum": limits.attempts,
                "default": 3
            },
            "initial": {
                "description": "Delay before the second attempt; 1s by default.",
                "$ref": "#/$defs/duration"
            },
            "factor": {
                "description": "Each delay is this times the one before.",
                "type": "number",
                "minimum": 1,
                "maximum": limits::RETRY_FACTOR,
                "default": 2
            },
            "max": {
                "description": "No delay is longer; 60s by default.",
                "$ref": "#/$defs/duration"
            },
            "jitter": {
                "description": "Spread the delays, so that many failed steps do not come back at once.",
                "type": "boolean",
                "default": true
            }
        }
    })
}
