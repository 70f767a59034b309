//! What operators see and do: metrics, health, the supervision tree, the log filter, draining.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod health;
pub(crate) mod metrics;
pub(crate) mod node;
mod scrape;

use serde_json::{Value, json};

use crate::program::Home;
use node::Node;
use scrape::value;

fn echo(id: &str) -> Value {
    json!({ "id": id, "tool": "echo", "input": { "v": 1 } })
}

/// Some of everything: runs that complete, fail, are cancelled, refused and repeated; requests that
/// nobody should make.
fn mixed_load(node: &Node) {
    node.run(&json!([echo("a"), echo("b"), {
        "id": "c", "tool": "calculator", "input": { "expression": "1 + 2" }, "when": "false"
    }]));
    let fast = json!({ "max_attempts": 2, "initial": "1ms" });
    node.run(&json!([{ "id": "a", "tool": "fail", "input": { "times": 1 }, "retry": fast }]));
    node.run(&json!([{ "id": "a", "tool": "fail", "input": { "kind": "panic" }, "retry": fast }]));
    node.run(&json!([{
        "id": "a", "tool": "sleep", "input": { "milliseconds": 60_000 }, "timeout": "20ms",
        "retry": { "max_attempts": 1 }
    }]));
    let slow = json!({ "plan": { "steps": [
        { "id": "a", "tool": "sleep", "input": { "milliseconds": 600_000 }, "timeout": "1h" }
    ] } });
    let run = node.send("POST", "/api/v1/runs", &slow).json();
    let path = format!("/api/v1/runs/{}", run["run_id"].as_str().unwrap());
    assert_eq!(node.ask("DELETE", &path, &[], "").code, 202);
    node.until(&path, |answer| answer.json()["status"] == "cancelled");
    for prompt in ["calculate 3 + 4", "gibberish of the first order"] {
        node.send(
            "POST",
            "/api/v1/runs?wait=50s",
            &json!({ "prompt": prompt }),
        );
    }
    let keyed = ["content-type: application/json", "idempotency-key: one"];
    let body = json!({ "plan": { "steps": [echo("a")] } }).to_string();
    let codes = [201, 200].map(|_| {
        node.ask("POST", "/api/v1/runs?wait=50s", &keyed, &body)
            .code
    });
    assert_eq!(codes, [201, 200]);
    for body in [
        json!({}),
        json!({ "prompt": " " }),
        json!({ "plan": { "steps": [] } }),
    ] {
        assert_eq!(node.send("POST", "/api/v1/runs", &body).code, 422);
    }
    for path in [
        "/",
        "/metricz",
        "/api/v1/runs/017f22e2-79b0-7cc3-98c4-dc0c0c07398f",
        "/api/v2/x",
    ] {
        assert_eq!(node.get(path).code, 404);
    }
    assert_eq!(node.ask("PUT", "/api/v1/health", &[], "").code, 405);
    assert_eq!(node.get("/api/v1/supervision?depth=3").code, 400);
}

#[test]
fn the_log_filter_is_changed_while_the_node_runs() {
    let home = Home::new();
    let node = Node::start(&home);
    let filter = json!({ "filter": "warn,crane_actors=debug" });
    node.run(&json!([echo("a")]));
    let answer = node.send("PUT", "/api/v1/admin/log-level", &filter);
    assert_eq!((answer.code, answer.json()), (200, filter), "{answer:?}");
    node.run(&json!([echo("a")]));
    let answer = node.send(
        "PUT",
        "/api/v1/admin/log-level",
        &json!({ "filter": "error" }),
    );
    assert_eq!(answer.code, 200, "{answer:?}");
    node.run(&json!([echo("a")]));
    let (_, log) = node.stop();
    assert_eq!(log.matches("run ended").count(), 1, "{log}");
}

#[test]
fn a_log_filter_that_is_none_is_refused_and_changes_nothing() {
    let home = Home::new();
    let node = Node::start(&home);
    let path = "/api/v1/admin/log-level";
    for body in [
        json!({ "filter": "crane=loud" }),
        json!({ "filter": "" }),
        json!({ "filter": 5 }),
        json!({ "filter": null }),
        json!({}),
        json!([]),
        json!({ "filter": "info", "level": "debug" }),
    ] {
        let answer = node.send("PUT", path, &body);
        assert_eq!(answer.code, 422, "{body}: {answer:?}");
        let error = answer.json();
        assert_eq!(error["error_type"], "validation_error");
        assert!(
            error["details"]["errors"][0]["message"].is_string(),
            "{error}"
        );
    }
    let json = ["content-type: application/json"];
    assert_eq!(node.ask("PUT", path, &json, "{\"filter\":").code, 400);
    assert_eq!(
        node.ask("PUT", path, &[], "{\"filter\":\"info\"}").code,
        415
    );
    let large = format!("{{\"filter\":\"{}\"}}", "a".repeat(20_000));
    assert_eq!(node.ask("PUT", path, &json, &large).code, 413);
}

#[test]
fn the_supervision_tree_agrees_with_the_metrics_and_names_the_last_failure() {
    let home = Home::new();
    let node = Node::start(&home);
    let plan = json!([{
        "id": "bad", "tool": "fail", "input": { "kind": "panic", "message": "out of luck" },
        "retry": { "max_attempts": 1 }
    }]);
    let run = node.run(&plan);
    assert_eq!(run["status"], "failed");
    let tree = node.get("/api/v1/supervision").json();
    let kinds = tree["kinds"].as_array().unwrap();
    let text = node.scrape();
    for kind in kinds {
        let name = kind["kind"].as_str().unwrap();
        for (metric, field) in [
            ("crane_actor_spawns_total", "spawned"),
            ("crane_actor_failures_total", "failures"),
            ("crane_restart_budget_exhausted_total", "given_up"),
        ] {
            let shown = value(&text, metric, &[("kind", name)]);
            let told = kind[field].as_f64().unwrap();
            assert!(
                (shown - told).abs() < f64::EPSILON,
                "{metric} of {name}: {shown}, {told}"
            );
        }
    }
    let parents: Vec<_> = kinds
        .iter()
        .map(|kind| (&kind["kind"], &kind["parent"]))
        .collect();
    let expected = json!([
        ["node", null],
        ["journal", "node"],
        ["tool_supervisor", "node"],
        ["tool", "tool_supervisor"],
        ["shard", "node"],
        ["run", "shard"],
        ["step", "run"],
    ]);
    assert_eq!(json!(parents), expected);
    let step = kinds.iter().find(|kind| kind["kind"] == "step").unwrap();
    assert_eq!(step["failures"], 1);
    let failure = &step["last_failure"];
    assert_eq!(failure["actor"], "step bad");
    assert_eq!(failure["run_id"], run["run_id"]);
    assert!(
        failure["reason"].as_str().unwrap().contains("out of luck"),
        "{failure}"
    );
    let shards = tree["shards"].as_array().unwrap();
    assert!(!shards.is_empty());
    for shard in shards {
        assert_eq!(shard["alive"], true);
        assert_eq!(shard["restarts"], 0);
    }
}
