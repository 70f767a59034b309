//! Malformed plans, each with the place where that is found.

use super::*;

/// The paths and messages that a plan is refused with.
#[track_caller]
fn findings(source: &Value) -> Vec<Finding> {
    match check(source) {
        Ok(_) => panic!("accepted: {source}"),
        Err(findings) => findings,
    }
}

/// The plan is refused for exactly one thing: at `path`, with a message that holds `message`.
#[track_caller]
fn refused(source: Value, path: &str, message: &str) {
    let found = findings(&source);
    assert_eq!(found.len(), 1, "{source}: {found:?}");
    assert_eq!(found[0].path, path, "{source}: {found:?}");
    assert!(found[0].message.contains(message), "{source}: {found:?}");
}

/// A plan of two good steps, of which the second has these fields as well.
fn second(fields: Value) -> Value {
    let mut step = json!({"id": "b", "tool": "echo"});
    for (key, value) in fields.as_object().unwrap() {
        step[key] = value.clone();
    }
    json!({"steps": [{"id": "a", "tool": "echo"}, step]})
}

/// A plan with an http step with this input.
fn http(input: Value) -> Value {
    json!({"steps": [{"id": "a", "tool": "http", "input": input}]})
}

#[test]
fn plans_of_a_wrong_shape_are_refused() {
    refused(json!(null), "plan", "must be an object");
    refused(json!([]), "plan", "is an array");
    refused(json!("x"), "plan", "is a text");
    refused(json!({}), "steps", "is missing");
    refused(json!({"steps": []}), "steps", "is empty");
    refused(json!({"steps": {}}), "steps", "must be an array of steps");
    refused(
        json!({"steps": [1]}),
        "steps[0]",
        "must be an object, and is a number",
    );
    let mut plan = second(json!({}));
    plan["nmae"] = json!("x");
    refused(
        plan,
        "nmae",
        "unknown field \"nmae\"; did you mean \"name\"?",
    );
    for (field, value, message) in [
        ("name", json!(1), "must be a text"),
        ("name", json!("x".repeat(201)), "the limit is 200"),
        ("final_goal", json!([]), "must be a text, and is an array"),
        ("final_goal", json!("x".repeat(4_001)), "the limit is 4000"),
        ("input", json!([1]), "must be an object, and is an array"),
        ("input", json!(null), "must be an object, and is null"),
        ("output", json!("${steps.c.output}"), "unknown step \"c\""),
        ("output", json!("${oops"), "without its \"}\""),
    ] {
        let mut plan = second(json!({}));
        plan[field] = value;
        refused(plan, field, message);
    }
}

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

#[test]
fn dependencies_are_checked() {
    for (wanted, path, message) in [
        (
            json!("a"),
            "",
            "must be an array of step ids, and is a text",
        ),
        (json!(["c"]), "[0]", "unknown step \"c\""),
        (
            json!(["a", 1]),
            "[1]",
            "must be the id of a step, and is a number",
        ),
        (json!(["a", "a"]), "[1]", "\"a\" is named twice"),
        (json!(["b"]), "[0]", "step \"b\" cannot wait for itself"),
    ] {
        let path = format!("steps[1].depends_on{path}");
        refused(second(json!({"depends_on": wanted})), &path, message);
    }
}

#[test]
fn references_are_checked_where_they_stand() {
    let refused = |input: Value, path: &str, message: &str| {
        refused(
            second(json!({"input": input})),
            &format!("steps[1].input.{path}"),
            message,
        );
    };
    refused(json!({"x": "${steps.c.output}"}), "x", "unknown step \"c\"");
    refused(
        json!({"x": [0, {"y": "${inptu.z}"}]}),
        "x[1].y",
        "did you mean \"input\"?",
    );
    refused(
        json!({"x": "${steps.b.output}"}),
        "x",
        "step \"b\" refers to itself",
    );
    refused(
        json!({"x": "${steps['b'].status}"}),
        "x",
        "step \"b\" refers to itself",
    );
    refused(
        json!({"x": "${steps['a'].output}"}),
        "x",
        "add \"a\" to depends_on",
    );
    refused(
        json!({"x": "${steps[input.which].output}"}),
        "x",
        "name in depends_on every step",
    );
    refused(
        json!({"x": "${steps | length}"}),
        "x",
        "known only at run time",
    );
    refused(json!({"x": "a ${b"}), "x", "without its \"}\"");
    refused(json!({"x": "${}"}), "x", "the expression is empty");
}

#[test]
fn cycles_are_named_in_order() {
    let step = |id: &str, wanted: &[&str]| json!({"id": id, "tool": "echo", "depends_on": wanted});
    refused(
        json!({"steps": [step("x", &[]), step("a", &["b"]), step("b", &["c"]), step("c", &["x", "a"])]}),
        "steps[1].depends_on",
        "in a cycle: a -> b -> c -> a",
    );
    let found = findings(&json!({"steps": [
        step("a", &["b"]),
        {"id": "b", "tool": "echo", "input": {"x": "${steps.a.output}"}},
        step("c", &["d", "a"]),
        step("d", &["c"])
    ]}));
    assert_eq!(found.len(), 2);
    assert!(found[0].message.contains("a -> b -> a"), "{found:?}");
    assert_eq!(found[1].path, "steps[2].depends_on");
    assert!(found[1].message.contains("c -> d -> c"), "{found:?}");
    let ring: Vec<Value> = (0..100)
        .map(|number| {
            step(
                &format!("s{number}"),
                &[&format!("s{}", (number + 1) % 100)],
            )
        })
        .collect();
    let found = findings(&json!({"steps": ring}));
    assert!(found[0].message.contains("s31 -> ... -> s0;"), "{found:?}");
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

#[test]
fn limits_are_held() {
    let check = |source: &Value, limits: &Limits| {
        let mut found = Plan::check(source, &Catalog::new(), limits).unwrap_err();
        assert_eq!(found.len(), 1, "{found:?}");
        let found = found.remove(0);
        (found.path, found.message)
    };
    let small = Limits {
        steps: 1,
        ..Limits::default()
    };
    let (path, message) = check(&second(json!({})), &small);
    assert_eq!(path, "steps");
    assert!(message.contains("has 2 steps: the limit is 1"), "{message}");

    let small = Limits {
        request_bytes: 50,
        ..Limits::default()
    };
    let (path, message) = check(&second(json!({})), &small);
    assert_eq!(path, "plan");
    assert!(message.contains("the limit is 50 bytes"), "{message}");

    let small = Limits {
        payload_bytes: 20,
        ..Limits::default()
    };
    let (path, message) = check(&second(json!({"input": {"x": "0123456789abcdef"}})), &small);
    assert_eq!(path, "steps[1].input");
    assert!(
        message.contains("is 24 bytes of JSON: the limit is 20"),
        "{message}"
    );

    let deep = (0..64).fold(json!(1), |inner, _| json!({"x": inner}));
    let (path, message) = check(&second(json!({"input": deep})), &Limits::default());
    assert!(path.starts_with("steps[1].input.x.x"), "{path}");
    assert!(message.contains("nests deeper than 64 levels"), "{message}");

    let many: Vec<String> = (0..=crate::limits::PLAN_EXPRESSIONS)
        .map(|_| "${input.x}".to_owned())
        .collect();
    let (path, message) = check(&second(json!({"input": {"x": many}})), &Limits::default());
    assert_eq!(
        path,
        format!("steps[1].input.x[{}]", crate::limits::PLAN_EXPRESSIONS)
    );
    assert!(message.contains("more than 50000 expressions"), "{message}");
}

#[test]
fn everything_that_is_wrong_is_found_at_once() {
    let found = findings(&json!({
        "nonsense": 1,
        "steps": [
            {"id": "a", "tool": "calculater", "timeout": "x", "retry": {"factor": 0}},
            {"id": "a", "tool": "http", "input": {}, "depends_on": ["zz"]},
            {"id": "c", "tool": "http", "input": {"url": "${nothing}"}, "on_error": "x", "when": 5}
        ],
        "output": "${steps.q.output}"
    }));
    let mut paths: Vec<&str> = found.iter().map(|finding| finding.path.as_str()).collect();
    paths.sort_unstable();
    assert_eq!(
        paths,
        [
            "nonsense",
            "output",
            "steps[0].retry.factor",
            "steps[0].timeout",
            "steps[0].tool",
            "steps[1].depends_on[0]",
            "steps[1].id",
            "steps[1].input",
            "steps[2].input.url",
            "steps[2].on_error",
            "steps[2].when"
        ]
    );
}
