//! Clients that close their side early, or leave.

use std::io::{Read, Write};
use std::net::Shutdown;

use serde_json::{Value, json};

use super::{Answer, PATIENCE, Serving, eventually};
use crate::program::{Home, Server};

/// Sends a request, says that nothing more comes, and reads what is answered.
fn send_and_close(node: &Serving, text: &str) -> Answer {
    let mut stream = node.connect();
    stream.write_all(text.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    Answer::read(stream)
}

fn post(path: &str, length: usize, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
}

#[test]
fn a_client_that_closes_its_side_after_the_request_gets_its_answer() {
    let home = Home::new();
    let node = Serving::start(&home, "");
    let body = json!({"plan": {"steps": [
        {"id": "a", "tool": "sleep", "input": {"milliseconds": 200}}]}})
    .to_string();
    let get = "GET /api/v1/runs HTTP/1.1\r\nhost: x\r\n\r\n";
    for _ in 0..20 {
        assert_eq!(send_and_close(&node, get).status, 200);
    }
    for path in ["/api/v1/runs", "/api/v1/runs?wait=20s"] {
        let answer = send_and_close(&node, &post(path, body.len(), &body));
        assert_eq!(answer.status, 201, "{path}: {answer:?}");
    }
    let cut = send_and_close(&node, &post("/api/v1/runs", body.len() + 1, &body));
    assert_eq!(cut.status, 400, "{cut:?}");
    assert!(cut.body.contains("bad_request"), "{cut:?}");
}

#[test]
fn who_leaves_a_stream_is_forgotten_at_once() {
    let (home, server) = (Home::new(), Server::start());
    let node = Serving::start(&home, "");
    let body = json!({"plan": {"steps": [
        {"id": "a", "tool": "http", "input": {"method": "GET", "url": server.url}}]}});
    let run = node.post("/api/v1/runs", &body.to_string());
    let run: Value = serde_json::from_str(&run.body).unwrap();
    let _never_answered = server.request();
    let mut stream = node.connect();
    let path = format!("/api/v1/runs/{}/events", run["run_id"].as_str().unwrap());
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    assert!(stream.read(&mut [0; 100]).unwrap() > 0);
    let subscribers = |count: u32| {
        let line = format!("crane_event_stream_subscribers {count}\n");
        node.get("/metrics", "").body.contains(&line)
    };
    eventually("a subscriber", || subscribers(1));
    let start = std::time::Instant::now();
    drop(stream);
    eventually("no subscriber", || subscribers(0));
    // Comments are sent every 15 s; it was not one of them that failed.
    assert!(start.elapsed() < PATIENCE / 12, "{:?}", start.elapsed());
}
