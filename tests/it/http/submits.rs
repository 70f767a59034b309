//! What a submission promises: keys, waits, and everything that is wrong with it at once.

use serde_json::{Value, json};

use super::{assert_error, sleeps, text};
use crate::operate::node::{Answer, Node};
use crate::program::Home;

const RUNS: &str = "/api/v1/runs";
const JSON: &str = "content-type: application/json";

fn keyed(node: &Node, key: &str, body: &str) -> Answer {
    node.ask(
        "POST",
        RUNS,
        &[JSON, &format!("idempotency-key: {key}")],
        body,
    )
}

#[test]
fn a_key_makes_one_run_whatever_the_order_of_members() {
    let home = Home::new();
    let node = Node::start(&home);
    let first = keyed(
        &node,
        "k1",
        r#"{"prompt":"calculate 1","labels":{"a":"1","b":"2"}}"#,
    );
    assert_eq!(first.code, 201, "{first:?}");
    let again = keyed(
        &node,
        "k1",
        r#" {"labels":{"b":"2","a":"1"}, "prompt":"calculate 1"}"#,
    );
    assert_eq!(again.code, 200, "{again:?}");
    assert_eq!(again.json()["run_id"], first.json()["run_id"]);
    let waits = node.ask(
        "POST",
        "/api/v1/runs?wait=10s",
        &[JSON, "idempotency-key: k1"],
        r#"{"prompt":"calculate 1","labels":{"a":"1","b":"2"}}"#,
    );
    assert_eq!(
        (waits.code, &waits.json()["status"]),
        (200, &json!("completed"))
    );
    assert_error(
        &keyed(&node, "k1", r#"{"prompt":"calculate 2"}"#),
        409,
        "conflict",
    );
    assert_eq!(node.get(RUNS).header("x-total-count"), Some("1"));
}

#[test]
fn a_refused_request_uses_up_no_key() {
    let home = Home::new();
    let node = Node::start(&home);
    assert_error(
        &keyed(&node, "k", r#"{"prompt":" "}"#),
        422,
        "validation_error",
    );
    assert_eq!(keyed(&node, "k", r#"{"prompt":"calculate 1"}"#).code, 201);
    for key in ["", &"k".repeat(256), "a b", "käse"] {
        assert_error(
            &keyed(&node, key, r#"{"prompt":"calculate 1"}"#),
            400,
            "bad_request",
        );
    }
    assert_eq!(
        keyed(&node, &"k".repeat(255), r#"{"prompt":"calculate 1"}"#).code,
        201
    );
}

#[test]
fn requests_with_one_key_at_the_same_time_make_one_run() {
    let home = Home::new();
    let node = Node::start(&home);
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| keyed(&node, "same", r#"{"prompt":"calculate 1"}"#)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let created = answers.iter().filter(|answer| answer.code == 201).count();
    assert_eq!(created, 1, "{answers:?}");
    assert!(
        answers
            .iter()
            .all(|answer| matches!(answer.code, 200 | 201))
    );
    assert_eq!(node.get(RUNS).header("x-total-count"), Some("1"));
}

#[test]
fn a_wait_ends_with_the_run_or_with_the_time() {
    let home = Home::new();
    let node = Node::start(&home);
    let body = json!({ "plan": sleeps(600_000) });
    let answer = node.send("POST", "/api/v1/runs?wait=50ms", &body);
    assert_eq!(answer.code, 201);
    assert_eq!(answer.json()["status"], "running");
    let answer = node.send(
        "POST",
        "/api/v1/runs?wait=30s",
        &json!({ "plan": sleeps(20) }),
    );
    assert_eq!(answer.json()["status"], "completed");
}

#[test]
fn a_plan_is_taken_as_yaml_too() {
    let home = Home::new();
    let node = Node::start(&home);
    let plan = "steps:\n  - id: a\n    tool: calculator\n    input: { expression: \"${input.x} + 1\" }\ninput: { x: 41 }\n";
    for kind in ["application/yaml", "application/yaml; charset=utf-8"] {
        let kind = format!("content-type: {kind}");
        let answer = node.ask("POST", "/api/v1/runs?wait=30s", &[&kind], plan);
        assert_eq!(answer.code, 201, "{answer:?}");
        assert_eq!(answer.json()["result"].to_string(), "42.0");
    }
    let input = json!({ "plan": { "input": { "x": 1 }, "steps": [
        { "id": "a", "tool": "calculator", "input": { "expression": "${input.x} * 2" } },
    ] }, "input": { "x": 50 } });
    let answer = node.send("POST", "/api/v1/runs?wait=30s", &input);
    assert_eq!(answer.json()["result"].to_string(), "100.0");
}

#[test]
fn all_that_is_wrong_is_said_at_once_and_where() {
    let home = Home::new();
    let node = Node::start(&home);
    let answer = node.send(
        "POST",
        RUNS,
        &json!({ "plan": { "steps": [
            { "id": "a", "tool": "hammer", "input": {} },
            { "id": "a", "tool": "calculator", "input": {} },
            { "id": "b", "tool": "echo", "input": { "x": "${steps.c.output}" }, "timeout": "soon" },
        ] } }),
    );
    assert_error(&answer, 422, "validation_error");
    let errors = answer.json()["details"]["errors"].clone();
    let paths: Vec<String> = errors
        .as_array()
        .unwrap()
        .iter()
        .map(|error| text(&error["path"]))
        .collect();
    assert!(paths.len() >= 5, "{errors}");
    assert!(
        paths.iter().all(|path| path.starts_with("plan.steps")),
        "{errors}"
    );
    let every_error_has_words = |error: &Value| !error["message"].as_str().unwrap().is_empty();
    assert!(errors.as_array().unwrap().iter().all(every_error_has_words));
}

#[test]
fn a_plan_at_its_limits_is_taken_and_past_them_refused() {
    let home = Home::new();
    let node = Node::start(&home);
    let prompt = |chars: usize| json!({ "prompt": "x".repeat(chars) });
    assert_eq!(node.send("POST", RUNS, &prompt(2_000)).code, 201);
    assert_error(
        &node.send("POST", RUNS, &prompt(2_001)),
        422,
        "validation_error",
    );
    let plan = |steps: usize| {
        let step = |number| json!({ "id": format!("s{number}"), "tool": "echo", "input": {} });
        json!({ "plan": { "steps": (0..steps).map(step).collect::<Vec<_>>() } })
    };
    assert_eq!(node.send("POST", RUNS, &plan(10_000)).code, 201);
    assert_error(
        &node.send("POST", RUNS, &plan(10_001)),
        422,
        "validation_error",
    );
    let large = json!({ "prompt": "calculate 1", "input": { "x": "y".repeat(1 << 20) } });
    assert_error(&node.send("POST", RUNS, &large), 422, "validation_error");
    let huge = json!({ "prompt": "calculate 1", "input": { "x": "y".repeat(4 << 20) } });
    assert_error(&node.send("POST", RUNS, &huge), 413, "payload_too_large");
}
