//! Servers that are killed and started again while somebody looks on.

use serde_json::{Value, json};

use super::Node;
use crate::program::{Home, Server};

#[test]
fn a_run_is_seen_to_its_end_over_a_kill_and_a_restart_of_its_server() {
    let (home, web) = (Home::new(), Server::start());
    let node = Node::start(&home);
    let plan = json!({"steps": [
        {"id": "add", "tool": "todo_store", "input": {"action": "add", "text": "once"}},
        {"id": "ask", "tool": "http", "depends_on": ["add"],
         "input": {"method": "GET", "url": web.url}},
        {"id": "said", "tool": "echo", "input": {"v": "${steps.ask.output.json.word}"}},
    ]});
    let plan = home.file("p.json", plan.to_string());
    let server = format!("--server {}", node.url);
    let mut running = home.start(&format!("run {plan} -o json {server}"));
    let first = web.request();
    running.wait_for("ask: running");
    let node = node.restart(&home);
    running.wait_for("was lost");
    running.wait_for("answers again");
    let second = web.request();
    assert_eq!(
        first.header("idempotency-key"),
        second.header("idempotency-key")
    );
    second.answer_json(&json!({"word": "yes"}));
    let ended = running.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let run: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(run["result"], json!({"v": "yes"}));
    let id = run["run_id"].as_str().unwrap();
    assert_eq!(
        home.json(&format!("runs show {id} -o json {server}")),
        run,
        "the run folded here over the outage is the run of the server"
    );
    let all = home.crane(&format!("runs list -o ids {server}"));
    assert_eq!(all.stdout.trim(), id, "there is no twin");
    drop(node);
}

#[test]
fn a_follower_of_events_sees_each_once_over_a_restart() {
    let (home, web) = (Home::new(), Server::start());
    let node = Node::start(&home);
    let plan = json!({"steps": [
        {"id": "ask", "tool": "http", "input": {"method": "GET", "url": web.url}},
    ]});
    let plan = home.file("p.json", plan.to_string());
    let server = format!("--server {}", node.url);
    let id = home.crane(&format!("run {plan} --detach {server}")).stdout;
    let id = id.trim();
    let _lost = web.request();
    let mut following = home.start(&format!("runs events {id} --follow -o json {server}"));
    following.wait_for_output("step_started");
    let node = node.restart(&home);
    web.request().answer_json(&json!({"word": "yes"}));
    following.wait_for("was lost");
    let ended = following.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let events: Value = serde_json::from_str(&ended.stdout).unwrap();
    let seqs: Vec<u64> = events
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["seq"].as_u64().unwrap())
        .collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
    let stored = home.json(&format!("runs events {id} -o json {server}"));
    assert_eq!(events, stored);
    drop(node);
}

#[test]
fn a_bench_counts_the_runs_that_an_outage_cost() {
    let home = Home::new();
    let node = Node::start(&home);
    let server = format!("--server {}", node.url);
    let bench = home.start(&format!(
        "bench --shape chain:5 --concurrency 4 --runs 1000 -o json {server}"
    ));
    // The warm-up, which does not count, is 40 runs.
    let under_way = (0..10_000).any(|_| total(&home, &server) > 60);
    assert!(under_way, "the bench stands still");
    let node = node.restart(&home);
    let ended = bench.end();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let figures: Value = serde_json::from_str(&ended.stdout).unwrap();
    let number = |name: &str| figures[name].as_f64().unwrap();
    assert!(number("errors") > 0.0, "{figures}");
    assert!(number("runs") > number("errors"), "{figures}");
    assert!(number("p50_ms") > 0.0 && number("runs_per_second") > 0.0);
    drop(node);
}

/// How many runs a server has.
fn total(home: &Home, server: &str) -> usize {
    let listed = home.crane(&format!("runs list --limit 1 {server}"));
    let total = listed.stderr.split_whitespace().next();
    total.map_or(0, |total| total.parse().unwrap_or(0))
}
