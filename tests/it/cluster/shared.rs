//! Three nodes on one PostgreSQL.

use super::postgres::Server;
use super::*;

const JSON: &str = "content-type: application/json\r\n";

/// The settings of a store in a database of its own; `None` where PostgreSQL is not installed.
pub(super) fn store() -> Option<String> {
    let server = Server::shared()?;
    Some(store_in(server, &server.database()))
}

/// The settings of a store in this database.
pub(super) fn store_in(server: &Server, database: &str) -> String {
    let directory = server.dir().to_str().unwrap().replace('/', "%2F");
    let url = format!("postgres://crane@{directory}/{database}");
    format!("[store]\nurl = \"{url}\"\nallow_unsafe = true\n")
}

/// Waits until no shard moves any more and all nodes know it: a run names the node that has it.
#[allow(clippy::disallowed_methods, reason = "time is real here")]
fn rest(nodes: &[Node]) {
    let mut before = (Value::Null, Instant::now());
    eventually("shards rest", || {
        let mut views = nodes.iter().map(|node| node.cluster()["shards"].take());
        let first = views.next().unwrap();
        let agree = views.all(|view| view == first);
        if !agree || first != before.0 {
            before = (first, Instant::now());
        }
        // Longer than a node waits before it asks for more.
        before.1.elapsed() >= Duration::from_millis(1_500)
    });
}

/// Three nodes that each own something, where nothing moves; `None` where PostgreSQL is not installed.
pub(super) fn three() -> Option<Vec<Node>> {
    let store = store()?;
    let ports: Vec<u16> = (0..3).map(|_| free_port()).collect();
    let names = ["a", "b", "c"];
    let nodes: Vec<Node> = names
        .iter()
        .zip(&ports)
        .map(|(name, port)| Node::start(name, *port, ports[0], &store))
        .collect();
    for node in &nodes {
        eventually("all are connected, and each owns something", || {
            let cluster = node.cluster();
            let mut members = cluster["members"].as_array().unwrap().iter();
            node.company() == 2
                && cluster["unowned"] == 0
                && members.all(|member| member["shards"].as_u64() > Some(0))
        });
    }
    rest(&nodes);
    Some(nodes)
}

/// Submits runs of a kind at `nodes[0]` until one is owned by `owner`; its id.
pub(super) fn run_of(nodes: &[Node], owner: &str, body: &Value) -> String {
    loop {
        let answer = nodes[0].serving.post("/runs", body);
        assert_eq!(answer.status, 201, "{}", answer.text());
        let run = answer.json();
        let id = run["run_id"].as_str().unwrap().to_owned();
        if run["node"] == owner {
            return id;
        }
        nodes[0].serving.delete(&format!("/runs/{id}"));
    }
}

#[test]
fn every_node_answers_for_every_run() {
    let Some(nodes) = three() else {
        return;
    };
    let body = json!({ "prompt": "calculate (10 + 5) * 2", "labels": { "kind": "sum" } });
    let mut ended = Vec::new();
    for number in 0..6 {
        let at = &nodes[number % 3].serving;
        let answer = at.post("/runs?wait=30s", &body);
        assert_eq!(answer.status, 201, "{}", answer.text());
        let run = answer.json();
        assert_eq!(run["result"], 30.0, "{run}");
        ended.push(run["run_id"].as_str().unwrap().to_owned());
    }
    for id in &ended {
        alike(&nodes, "GET", &format!("/runs/{id}"), "", "", 200);
        let events = format!("/runs/{id}/events");
        alike(
            &nodes,
            "GET",
            &events,
            "accept: application/json\r\n",
            "",
            200,
        );
        let stream = alike(&nodes, "GET", &events, "", "", 200);
        assert!(stream.contains("event: run_completed"), "{stream}");
        alike(&nodes, "GET", &events, "last-event-id: 99\r\n", "", 204);
        alike(&nodes, "DELETE", &format!("/runs/{id}"), "", "", 409);
        alike(&nodes, "POST", &format!("/runs/{id}/retry"), "", "", 409);
    }
    let list = alike(&nodes, "GET", "/runs?label=kind%3Dsum", "", "", 200);
    assert_eq!(list.matches("\"run_id\"").count(), 6);
    let nowhere = "/runs/00000000-0000-7000-8000-000000000000";
    alike(&nodes, "GET", nowhere, "", "", 404);
    alike(&nodes, "GET", &format!("{nowhere}/events"), "", "", 404);
    alike(&nodes, "DELETE", nowhere, "", "", 404);
    alike(
        &nodes,
        "POST",
        "/runs",
        JSON,
        r#"{"plan":{"steps":[{"id":"a","tool":"x"}]}}"#,
        422,
    );
    alike(&nodes, "POST", "/runs", JSON, r#"{"prompt":"#, 400);
    a_run_under_way_is_seen_and_changed_everywhere(&nodes);
    a_key_is_one_run_wherever_it_arrives(&nodes);
}

fn a_run_under_way_is_seen_and_changed_everywhere(nodes: &[Node]) {
    for owner in ["a", "b", "c"] {
        let id = run_of(nodes, owner, &chain(1, 600_000));
        let path = format!("/runs/{id}");
        alike_in_the_end(nodes, &path);
        for node in nodes {
            let answer = node.serving.delete(&path);
            assert!([202, 409].contains(&answer.status), "{}", answer.text());
        }
        let stream = alike(nodes, "GET", &format!("{path}/events"), "", "", 200);
        assert!(stream.contains("event: run_cancelled"), "{stream}");
        let retried = nodes.iter().map(|node| {
            let path = format!("{BASE}{path}/retry");
            node.serving.ask("POST", &path, "", b"").status
        });
        assert_eq!(retried.filter(|status| *status == 202).count(), 1);
        nodes[0].serving.delete(&path);
    }
}

fn a_key_is_one_run_wherever_it_arrives(nodes: &[Node]) {
    for number in 0..5 {
        let key = format!("idempotency-key: k{number}\r\n");
        let body = json!({ "prompt": "calculate 1" });
        let all: Vec<(u16, String)> = thread::scope(|scope| {
            let asked: Vec<_> = nodes
                .iter()
                .map(|node| scope.spawn(|| node.serving.post_with("/runs", &key, &body)))
                .collect();
            let answers = asked.into_iter().map(|asked| asked.join().unwrap());
            answers
                .map(|answer| {
                    let id = answer.json()["run_id"].as_str().unwrap().to_owned();
                    (answer.status, id)
                })
                .collect()
        });
        assert!(all.iter().all(|(_, id)| *id == all[0].1), "{all:?}");
        assert_eq!(all.iter().filter(|(status, _)| *status == 201).count(), 1);
        let other = r#"{"prompt":"calculate 2"}"#;
        alike(nodes, "POST", "/runs", &format!("{JSON}{key}"), other, 409);
    }
}

/// The nodes without the one that `ends` ends.
pub(super) fn without(mut nodes: Vec<Node>, name: &str) -> (Vec<Node>, Node) {
    let position = nodes.iter().position(|node| node.name == name).unwrap();
    let gone = nodes.remove(position);
    (nodes, gone)
}

#[test]
fn streams_and_waits_follow_a_run_whose_node_goes_or_is_killed() {
    let Some(nodes) = three() else {
        return;
    };
    // A node that goes in good order.
    let plan = chain(8, 500);
    let id = run_of(&nodes, "b", &plan);
    let key = loop_key(&nodes, "b");
    let (nodes, b) = without(nodes, "b");
    let asked = &nodes[0].serving;
    let mut stream = asked.follow(&id, "");
    let (waited, streamed) = thread::scope(|scope| {
        let wait = scope.spawn(|| {
            let key = format!("idempotency-key: {key}\r\n");
            asked.post_with("/runs?wait=60s", &key, &plan)
        });
        let read = scope.spawn(|| stream.frames().concat());
        thread::sleep(Duration::from_millis(1_200));
        b.serving.terminate();
        (wait.join().unwrap(), read.join().unwrap())
    });
    assert_eq!(waited.status, 201, "{}", waited.text());
    assert_eq!(waited.json()["status"], "completed", "{}", waited.text());
    assert_ne!(waited.json()["node"], "b");
    gap_free(&nodes, &id, &streamed);
    drop(b);
    // One that is killed.
    let id = run_of(&nodes, "c", &plan);
    let (nodes, c) = without(nodes, "c");
    let mut stream = nodes[0].serving.follow(&id, "");
    let streamed = thread::scope(|scope| {
        let read = scope.spawn(|| stream.frames().concat());
        thread::sleep(Duration::from_millis(1_200));
        c.serving.kill();
        read.join().unwrap()
    });
    gap_free(&nodes, &id, &streamed);
}

/// A key whose run `owner` owns.
fn loop_key(nodes: &[Node], owner: &str) -> String {
    let cluster = nodes[0].cluster();
    let owns = |shard: u16| {
        let mut shards = cluster["shards"].as_array().unwrap().iter();
        shards.any(|row| row["shard"] == shard && row["owner"] == owner)
    };
    let mut keys = (0..).map(|number: u32| format!("key-{number}"));
    let key = keys.find(|key| owns(crane_core::RunId::from_key("", key).shard().0));
    key.unwrap()
}

/// Holds that a stream had every event once, up to the end of the run.
#[track_caller]
fn gap_free(nodes: &[Node], id: &str, streamed: &str) {
    let again = nodes[0].serving.follow(id, "").frames().concat();
    assert_eq!(streamed, again);
    let ids = streamed
        .lines()
        .filter_map(|line| line.strip_prefix("id: "));
    let ids: Vec<u64> = ids.map(|id| id.parse().unwrap()).collect();
    assert_eq!(ids, (1..=ids.len() as u64).collect::<Vec<_>>());
    assert!(streamed.contains("event: run_completed"), "{streamed}");
}
