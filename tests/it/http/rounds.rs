//! The event stream over the rounds of a run: from any event on, to the end of the current one.

use serde_json::{Value, json};

use super::{assert_error, long_run, text};
use crate::operate::node::Node;
use crate::program::Home;

/// The ids and types of a stream's events.
fn events(body: &str) -> Vec<(u64, String)> {
    // Chunk sizes are lines of their own between the events.
    let field = |block: &str, name: &str| {
        let mut lines = block.lines();
        lines.find_map(|line| line.strip_prefix(name).map(str::to_owned))
    };
    body.split("\n\n")
        .filter_map(|block| {
            let id = field(block, "id: ")?.parse().ok()?;
            Some((id, field(block, "event: ")?))
        })
        .collect()
}

fn completed(node: &Node) -> String {
    let answer = node.send(
        "POST",
        "/api/v1/runs?wait=30s",
        &json!({ "prompt": "calculate 1+1" }),
    );
    text(&answer.json()["run_id"])
}

#[test]
fn a_stream_begins_anywhere_and_ends_with_the_round() {
    let home = Home::new();
    let node = Node::start(&home);
    let path = format!("/api/v1/runs/{}/events", completed(&node));
    let whole = node.get(&path);
    assert_eq!(whole.header("content-type"), Some("text/event-stream"));
    let all = events(&whole.body);
    let numbers: Vec<u64> = all.iter().map(|(id, _)| *id).collect();
    assert_eq!(numbers, (1..=all.len() as u64).collect::<Vec<_>>());
    assert_eq!(all[0].1, "run_accepted");
    assert_eq!(all.last().unwrap().1, "run_completed");
    for after in 0..all.len() {
        let header = format!("last-event-id: {after}");
        let rest = node.ask("GET", &path, &[&header], "");
        assert_eq!(events(&rest.body), all[after..], "after {after}");
    }
    let header = format!("last-event-id: {}", all.len());
    assert_eq!(node.ask("GET", &path, &[&header], "").code, 204);
    for wrong in ["x", "-1", "1.5", "99999999999999999999999"] {
        let answer = node.ask("GET", &path, &[&format!("last-event-id: {wrong}")], "");
        assert_error(&answer, 400, "bad_request");
    }
    let list = node
        .ask("GET", &path, &["accept: application/json"], "")
        .json();
    let types: Vec<&str> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    assert_eq!(
        types,
        all.iter()
            .map(|(_, kind)| kind.as_str())
            .collect::<Vec<_>>()
    );
    let is_complete = |event: &Value| event["seq"].is_u64() && event["round"] == 1;
    assert!(list.as_array().unwrap().iter().all(is_complete), "{list}");
}

#[test]
fn a_live_stream_shows_what_happens_and_a_new_round_goes_on() {
    let home = Home::new();
    let node = Node::start(&home);
    let id = long_run(&node);
    let run = format!("/api/v1/runs/{id}");
    let path = format!("{run}/events");
    let seen = std::thread::scope(|scope| {
        let streaming = scope.spawn(|| events(&node.get(&path).body));
        node.until("/metrics", |answer| {
            answer.body.contains("crane_event_stream_subscribers 1")
        });
        assert_eq!(node.ask("DELETE", &run, &[], "").code, 202);
        streaming.join().unwrap()
    });
    assert_eq!(seen.last().unwrap().1, "run_cancelled");
    let header = format!("last-event-id: {}", seen.len());
    assert_eq!(node.ask("GET", &path, &[&header], "").code, 204);
    assert_eq!(node.ask("POST", &format!("{run}/retry"), &[], "").code, 202);
    let next = std::thread::scope(|scope| {
        let streaming = scope.spawn(|| events(&node.ask("GET", &path, &[&header], "").body));
        node.until(&run, |answer| answer.json()["status"] == "running");
        assert_eq!(node.ask("DELETE", &run, &[], "").code, 202);
        streaming.join().unwrap()
    });
    assert_eq!(next[0], (seen.len() as u64 + 1, "run_reopened".to_owned()));
    assert_eq!(next.last().unwrap().1, "run_cancelled");
}
