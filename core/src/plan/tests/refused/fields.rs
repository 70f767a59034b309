//! Fields of steps that are malformed.

use super::*;

#[test]
fn ids_are_checked() {
    for (id, message) in [
        (json!(null), "must be a text, and is null"),
        (json!(""), "is no id"),
        (json!("1a"), "is no id"),
        (json!("-a"), "is no id"),
        (json!("a b"), "is no id"),
        (json!("é"), "is no id"),
        (json!("x".repeat(65)), "at most 64 characters"),
        (json!("a"), "duplicate id \"a\": steps[0] has it already"),
    ] {
        refused(second(json!({"id": id})), "steps[1].id", message);
    }
    refused(
        json!({"steps": [{"tool": "echo"}]}),
        "steps[0].id",
        "is missing",
    );
    assert!(check(&second(json!({"id": "x".repeat(64)}))).is_ok());
    assert!(check(&second(json!({"id": "_-9"}))).is_ok());
}

#[test]
fn fields_of_steps_are_checked() {
    for (fields, path, message) in [
        (
            json!({"timout": "1s"}),
            "timout",
            "did you mean \"timeout\"?",
        ),
        (
            json!({"tool": "ecko"}),
            "tool",
            "unknown tool \"ecko\"; did you mean \"echo\"?",
        ),
        (json!({"tool": "none"}), "tool", "unknown tool \"none\""),
        (
            json!({"tool": 5}),
            "tool",
            "must be the name of a tool, and is a number",
        ),
        (json!({"tool": ""}), "tool", "is missing"),
        (json!({"tool_name": "echo"}), "tool_name", "leave one out"),
        (
            json!({"input": {}, "tool_input": {}}),
            "tool_input",
            "leave one out",
        ),
        (
            json!({"input": "x"}),
            "input",
            "must be an object, and is a text",
        ),
        (
            json!({"tool_input": [1]}),
            "tool_input",
            "must be an object, and is an array",
        ),
        (json!({"step_number": 1}), "step_number", "must be 2"),
        (json!({"step_number": "2"}), "step_number", "must be 2"),
        (json!({"reasoning": 1}), "reasoning", "must be a text"),
        (
            json!({"reasoning": "x".repeat(4_001)}),
            "reasoning",
            "the limit is 4000",
        ),
    ] {
        refused(second(fields), &format!("steps[1].{path}"), message);
    }
    refused(
        json!({"steps": [{"id": "a"}]}),
        "steps[0].tool",
        "is missing",
    );
}

#[test]
fn choices_durations_and_conditions_are_checked() {
    for (fields, path, message) in [
        (
            json!({"delivery": "once"}),
            "delivery",
            "must be at_least_once or at_most_once, and is \"once\"",
        ),
        (json!({"delivery": 1}), "delivery", "and is a number"),
        (
            json!({"on_error": "ignore"}),
            "on_error",
            "must be fail or continue",
        ),
        (json!({"timeout": "0s"}), "timeout", "must be longer than 0"),
        (json!({"timeout": "5"}), "timeout", "is no duration"),
        (
            json!({"timeout": 5}),
            "timeout",
            "must be a duration such as \"5s\", and is a number",
        ),
        (
            json!({"timeout": "400d"}),
            "timeout",
            "the longest duration is 365d",
        ),
        (json!({"when": 1}), "when", "must be an expression"),
        (
            json!({"when": "price > 1"}),
            "when",
            "unknown name \"price\"",
        ),
        (json!({"when": "input.x >"}), "when", "is not an expression"),
    ] {
        refused(second(fields), &format!("steps[1].{path}"), message);
    }
}

#[test]
fn retry_policies_are_checked() {
    for (retry, path, message) in [
        (json!(3), "", "must be an object"),
        (
            json!({"attempts": 3}),
            ".attempts",
            "unknown field \"attempts\"",
        ),
        (
            json!({"max_attempts": 0}),
            ".max_attempts",
            "from 1 to 100, and is 0",
        ),
        (
            json!({"max_attempts": 101}),
            ".max_attempts",
            "from 1 to 100, and is 101",
        ),
        (json!({"max_attempts": 1.5}), ".max_attempts", "and is 1.5"),
        (json!({"max_attempts": -1}), ".max_attempts", "and is -1"),
        (
            json!({"max_attempts": "3"}),
            ".max_attempts",
            "and is a text",
        ),
        (
            json!({"factor": 0.5}),
            ".factor",
            "from 1 to 100, and is 0.5",
        ),
        (json!({"factor": 1e300}), ".factor", "from 1 to 100"),
        (json!({"factor": "2"}), ".factor", "and is a text"),
        (json!({"initial": "x"}), ".initial", "is no duration"),
        (
            json!({"initial": "2s", "max": "1s"}),
            ".initial",
            "must not be longer than max",
        ),
        (json!({"max": 10}), ".max", "must be a duration"),
        (json!({"jitter": "yes"}), ".jitter", "must be true or false"),
    ] {
        refused(
            second(json!({"retry": retry})),
            &format!("steps[1].retry{path}"),
            message,
        );
    }
    let once = json!({"delivery": "at_most_once", "retry": {"max_attempts": 2}});
    refused(
        second(once),
        "steps[1].retry.max_attempts",
        "must be 1 with delivery at_most_once",
    );
}
