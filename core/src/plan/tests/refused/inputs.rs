//! Inputs that miss the schema of their tool.

use super::*;

/// A plan with an http step with this input.
fn http(input: Value) -> Value {
    json!({"steps": [{"id": "a", "tool": "http", "input": input}]})
}

#[test]
fn literal_inputs_are_held_against_the_schema_of_the_tool() {
    refused(
        http(json!({})),
        "steps[0].input",
        "\"url\" is a required property",
    );
    refused(
        http(json!({"url": 5})),
        "steps[0].input.url",
        "is not of type",
    );
    refused(
        http(json!({"url": "x", "tags": ["a", 1]})),
        "steps[0].input.tags[1]",
        "is not of type",
    );
    refused(
        http(json!({"url": "x", "headers": {"a b": 1}})),
        "steps[0].input.headers[\"a b\"]",
        "is not of type",
    );
    let alias = json!({"steps": [{"id": "a", "tool": "http", "tool_input": {}}]});
    refused(alias, "steps[0].tool_input", "is a required property");
}

#[test]
fn of_an_input_with_templates_what_they_cannot_change_is_held_against_it() {
    let http = |mut rest: Value| {
        rest["url"] = json!("${input.url}");
        http(rest)
    };
    refused(
        http(json!({"methd": "GET"})),
        "steps[0].input.methd",
        "did you mean \"method\"?",
    );
    refused(
        http(json!({"method": "PULL"})),
        "steps[0].input.method",
        "is not one of",
    );
    refused(
        http(json!({"retries": "x"})),
        "steps[0].input.retries",
        "is not of type",
    );
    refused(
        http(json!({"auth": {"age": "${input.age}"}})),
        "steps[0].input.auth",
        "\"user\" is a required property",
    );
    refused(
        http(json!({"auth": ["${input.age}"]})),
        "steps[0].input.auth",
        "must be of type object, and is an array",
    );
    refused(
        http(json!({"tags": ["${input.tag}", 5]})),
        "steps[0].input.tags[1]",
        "is not of type",
    );
    let missing = json!({"steps": [
        {"id": "a", "tool": "http", "input": {"method": "${input.method}"}}
    ]});
    refused(missing, "steps[0].input", "\"url\" is a required property");
    // Under a condition only the member itself is looked at.
    let choosy = json!({"steps": [
        {"id": "a", "tool": "choosy", "input": {"action": "${input.action}", "count": "many"}}
    ]});
    refused(
        choosy,
        "steps[0].input.count",
        "must be of type integer, and is a text",
    );
    let choosy = json!({"steps": [
        {"id": "a", "tool": "choosy", "input": {"action": "ad", "text": "${input.text}"}}
    ]});
    refused(
        choosy,
        "steps[0].input.action",
        "must be one of \"add\", \"list\"",
    );
}
