//! What the endpoints answer and how they refuse, each for itself.

use serde_json::json;

use super::{assert_error, long_run, sleeps, text};
use crate::operate::node::Node;
use crate::program::Home;

#[test]
fn a_run_is_submitted_shown_and_listed() {
    let home = Home::new();
    let node = Node::start(&home);
    let prompt = json!({ "prompt": "calculate (10 + 5) * 2", "labels": { "team": "a" } });
    let made = node.send("POST", "/api/v1/runs?wait=30s", &prompt);
    assert_eq!(made.code, 201, "{made:?}");
    let run = made.json();
    assert_eq!(run["status"], "completed");
    assert_eq!(run["result"].to_string(), "30.0");
    assert_eq!(run["execution_log"][0]["success"], true);
    assert_eq!(run["plan"]["steps"][0]["tool_name"], "calculator");
    let path = format!("/api/v1/runs/{}", text(&run["run_id"]));
    assert_eq!(made.header("location"), Some(path.as_str()));
    assert_eq!(node.get(&path).json(), run);

    let other = node.send(
        "POST",
        "/api/v1/runs?wait=30s",
        &json!({ "prompt": "dance" }),
    );
    assert_eq!(other.json()["status"], "failed");
    let error = text(&other.json()["error"]);
    assert!(error.starts_with("Could not parse prompt: "), "{error}");

    let all = node.get("/api/v1/runs");
    assert_eq!(all.header("x-total-count"), Some("2"));
    assert_eq!(all.json()[0]["run_id"], other.json()["run_id"]);
    assert_eq!(all.json()[1], run);
    let found = node.get("/api/v1/runs?label=team=a&status=completed&limit=1");
    assert_eq!(found.header("x-total-count"), Some("1"));
    assert_eq!(found.json(), json!([run]));
    let behind = node.get("/api/v1/runs?offset=2");
    assert_eq!(
        (behind.json(), behind.header("x-total-count")),
        (json!([]), Some("2"))
    );
    assert_eq!(
        node.get("/api/v1/runs?label=team=a&label=team=b").json(),
        json!([])
    );
}

#[test]
fn wrong_query_parameters_are_named() {
    let home = Home::new();
    let node = Node::start(&home);
    for (query, parameter) in [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=ten", "limit"),
        ("limit=1&limit=2", "limit"),
        ("offset=-1", "offset"),
        ("offset=99999999999999999999999", "offset"),
        ("status=done", "status"),
        ("label=x", "label"),
        ("order=asc", "order"),
    ] {
        let answer = node.get(&format!("/api/v1/runs?{query}"));
        assert_error(&answer, 400, "bad_request");
        assert_eq!(
            answer.json()["details"]["parameter"],
            parameter,
            "{query}: {answer:?}"
        );
    }
    for wait in ["0s", "61s", "x", "-1s", ""] {
        let answer = node.send(
            "POST",
            &format!("/api/v1/runs?wait={wait}"),
            &json!({ "prompt": "calculate 1" }),
        );
        assert_error(&answer, 400, "bad_request");
    }
    assert_eq!(
        node.get("/api/v1/runs").json(),
        json!([]),
        "a refused request made a run"
    );
}

#[test]
fn a_run_is_cancelled_once_and_taken_up_again() {
    let home = Home::new();
    let node = Node::start(&home);
    let id = long_run(&node);
    let path = format!("/api/v1/runs/{id}");
    assert_error(
        &node.ask("POST", &format!("{path}/retry"), &[], ""),
        409,
        "conflict",
    );
    assert_eq!(node.ask("DELETE", &path, &[], "").code, 202);
    let ended = node.until(&path, |answer| answer.json()["status"] == "cancelled");
    assert!(ended.json()["completed_at"].is_string());
    assert_error(&node.ask("DELETE", &path, &[], ""), 409, "conflict");
    assert_eq!(
        node.ask("POST", &format!("{path}/retry"), &[], "").code,
        202
    );
    node.until(&path, |answer| answer.json()["status"] == "running");
    assert_eq!(node.ask("DELETE", &path, &[], "").code, 202);
    node.until(&path, |answer| answer.json()["status"] == "cancelled");
}

#[test]
fn what_is_not_there_is_said_to_be_missing() {
    let home = Home::new();
    let node = Node::start(&home);
    let unknown = "0199d3a0-1f2e-7c3b-9a4d-5e6f708192a3";
    for id in [unknown, "abc"] {
        let path = format!("/api/v1/runs/{id}");
        let answer = node.get(&path);
        assert_error(&answer, 404, "run_not_found");
        assert_eq!(answer.json()["details"]["run_id"], id);
        assert_error(&node.ask("DELETE", &path, &[], ""), 404, "run_not_found");
        assert_error(
            &node.ask("POST", &format!("{path}/retry"), &[], ""),
            404,
            "run_not_found",
        );
        assert_error(&node.get(&format!("{path}/events")), 404, "run_not_found");
    }
    assert_error(&node.get("/api/v1/tools/hammer"), 404, "tool_not_found");
    let tried = node.send("POST", "/api/v1/tools/hammer/test", &json!({}));
    assert_error(&tried, 404, "tool_not_found");
    let forced = node.send(
        "POST",
        "/api/v1/tools/hammer/breaker",
        &json!({ "state": "open" }),
    );
    assert_error(&forced, 404, "tool_not_found");
    assert_error(&node.get("/api/v1/nothing"), 404, "not_found");
    assert_error(&node.get("/"), 404, "not_found");
    for (method, path) in [
        ("PUT", "/api/v1/runs"),
        ("PATCH", "/api/v1/runs/abc"),
        ("POST", "/api/v1/tools"),
        ("DELETE", "/api/v1/health"),
    ] {
        let answer = node.ask(method, path, &[], "");
        assert_error(&answer, 405, "method_not_allowed");
        assert!(answer.header("allow").is_some(), "{answer:?}");
    }
}

#[test]
fn tools_are_listed_tried_and_forced() {
    let home = Home::new();
    let node = Node::start(&home);
    let tools = node.get("/api/v1/tools").json();
    let names: Vec<&str> = tools
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        ["calculator", "echo", "fail", "http", "sleep", "todo_store"]
    );
    assert!(tools[0]["input_schema"]["properties"].is_object());
    let tried = node.send(
        "POST",
        "/api/v1/tools/calculator/test",
        &json!({ "expression": "7*6" }),
    );
    assert_eq!(tried.code, 200, "{tried:?}");
    let tried = tried.json();
    assert_eq!(
        (&tried["success"], &tried["error"]),
        (&json!(true), &json!(null))
    );
    assert_eq!(tried["output"].to_string(), "42.0");
    let failed = node.send(
        "POST",
        "/api/v1/tools/calculator/test",
        &json!({ "expression": "1/0" }),
    );
    assert_eq!(failed.json()["error"], "division by zero");
    let forced = node.send(
        "POST",
        "/api/v1/tools/echo/breaker",
        &json!({ "state": "open" }),
    );
    assert_eq!(forced.json()["state"], "open", "{forced:?}");
    let refused = node.send("POST", "/api/v1/tools/echo/test", &json!({}));
    let error = text(&refused.json()["error"]);
    assert!(error.contains("tool_unavailable"), "{error}");
    assert_eq!(
        node.get("/api/v1/tools/echo").json()["breaker"]["state"],
        "open"
    );
    let freed = node.send(
        "POST",
        "/api/v1/tools/echo/breaker",
        &json!({ "state": "auto" }),
    );
    assert_eq!(freed.json()["state"], "closed");
    let unknown = node.send(
        "POST",
        "/api/v1/tools/echo/breaker",
        &json!({ "state": "ajar" }),
    );
    assert_error(&unknown, 422, "validation_error");
}

#[test]
fn documents_describe_what_there_is() {
    let home = Home::new();
    let node = Node::start(&home);
    let document = node.get("/api/v1/openapi.json").json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    for path in [
        "/runs",
        "/runs/{id}",
        "/runs/{id}/events",
        "/runs/{id}/retry",
        "/tools",
    ] {
        assert!(
            document["paths"][format!("/api/v1{path}")].is_object(),
            "{path}"
        );
    }
    let schema = node.get("/api/v1/schemas/plan").json();
    assert!(schema["properties"]["steps"].is_object(), "{schema}");
    let page = node.get("/docs");
    assert_eq!(page.code, 200);
    assert!(
        page.header("content-type")
            .unwrap()
            .starts_with("text/html")
    );
}

#[test]
fn a_draining_node_takes_nothing_and_answers_who_waits() {
    let home = Home::new();
    let node = Node::start(&home);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            node.send(
                "POST",
                "/api/v1/runs?wait=60s",
                &json!({ "plan": sleeps(3_000) }),
            )
        });
        node.until("/api/v1/runs?status=running", |answer| {
            answer.json() != json!([])
        });
        assert_eq!(node.ask("POST", "/api/v1/admin/drain", &[], "").code, 202);
        let answered = waiting.join().unwrap();
        assert_eq!(answered.code, 201);
        assert_eq!(answered.json()["status"], "running");
        let refused = node.send("POST", "/api/v1/runs", &json!({ "prompt": "calculate 1" }));
        assert_error(&refused, 503, "unavailable");
        assert!(refused.header("retry-after").is_some());
    });
    let (status, log) = node.end();
    assert_eq!(status.code(), Some(0), "{log}");
}
