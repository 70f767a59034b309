//! Malformed plans, each with the place where that is found.

mod fields;
mod inputs;
mod links;

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
