//! `crane check --server`: what a node tells is sound; what a node without its right mind tells is not.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread;

use serde_json::{Value, json};

use super::Node;
use crate::program::Home;

#[test]
fn a_node_is_sound_while_it_works_and_after_retries() {
    let home = Home::new();
    let node = Node::start(&home);
    let server = format!("--server {}", node.url);
    let slow = home.file(
        "slow.yaml",
        "steps: [{id: a, tool: sleep, input: {milliseconds: 60000}}]",
    );
    let failing = home.file("f.yaml", "steps: [{id: a, tool: fail, input: {}}]");
    home.json(&format!("run {slow} --detach -o json {server}"));
    for _ in 0..60 {
        home.crane(&format!("run --prompt 3+4 {server}"));
    }
    let failed = home.crane(&format!("run {failing} -o json {server}"));
    let failed: Value = serde_json::from_str(&failed.stdout).unwrap();
    let id = failed["run_id"].as_str().unwrap();
    home.crane(&format!("runs retry {id} {server}"));
    let checked = home.json(&format!("check -o json {server}"));
    assert_eq!(checked["findings"], json!([]));
    assert_eq!(checked["sound"], json!(true));
    // More than a page.
    assert_eq!(checked["runs"], json!(62));
    let text = home.crane(&format!("check {server}")).stdout;
    assert!(
        text.contains("62 runs") && text.contains("nothing is wrong"),
        "{text}"
    );
}

const ID: &str = "01900000-0000-7000-8000-000000000001";

/// What a node tells of one run.
#[derive(Clone)]
struct Story {
    listed: Vec<Value>,
    run: (u16, Value),
    events: Value,
}

fn event(seq: u64, kind: &str, round: u64) -> Value {
    json!({ "seq": seq, "at": "2026-01-01T00:00:00Z", "type": kind, "run_id": ID,
            "step": null, "attempt": null, "round": round, "data": {} })
}

fn run(status: &str, seq: u64) -> Value {
    json!({ "run_id": ID, "status": status, "seq": seq, "node": "n",
            "created_at": "2026-01-01T00:00:00Z" })
}

fn sound() -> Story {
    let run = run("failed", 5);
    Story {
        listed: vec![run.clone()],
        run: (200, run),
        events: json!([
            event(1, "run_accepted", 1),
            event(2, "run_started", 1),
            event(3, "run_failed", 1),
            event(4, "run_reopened", 2),
            event(5, "run_failed", 2),
        ]),
    }
}

/// A server that tells this story; it ends with the test process.
fn tell(story: Story) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut head = String::new();
            while stream.read_line(&mut head).is_ok_and(|read| read > 2) {}
            let path = head.split(' ').nth(1).unwrap_or_default();
            let (status, body) = if path.ends_with("/events") {
                (200, story.events.clone())
            } else if path.ends_with(ID) {
                story.run.clone()
            } else {
                (200, Value::from(story.listed.clone()))
            };
            let body = body.to_string();
            let length = body.len();
            // The program may have had enough.
            let _ = write!(
                stream.get_mut(),
                "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nconnection: close\r\n\
                 content-length: {length}\r\n\r\n{body}"
            );
        }
    });
    url
}

/// What is found wrong with a story.
#[track_caller]
fn findings(story: Story) -> Vec<String> {
    let home = Home::new();
    let ended = home.crane(&format!("check -o json --server {}", tell(story)));
    let told: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}"));
    let found = told["findings"].as_array().unwrap();
    assert_eq!(told["sound"], json!(found.is_empty()));
    assert_eq!(ended.code, Some(i32::from(!found.is_empty())), "{ended:?}");
    let detail = |finding: &Value| finding["detail"].as_str().unwrap().to_owned();
    found.iter().map(detail).collect()
}

/// What makes a story untrue, and what the check says of it.
type Lie = (fn(&mut Story), &'static str);

#[test]
fn each_lie_of_a_server_is_found() {
    assert_eq!(findings(sound()), Vec::<String>::new());
    let lies: [Lie; 12] = [
        (
            |story| drop(story.events.as_array_mut().unwrap().remove(1)),
            "event 3 follows event 1",
        ),
        (
            |story| drop(story.events.as_array_mut().unwrap().remove(0)),
            "does not accept",
        ),
        (
            |story| drop(story.events.as_array_mut().unwrap().pop()),
            "its events end with 4",
        ),
        (
            |story| story.events[1]["type"] = json!("run_completed"),
            "ends twice",
        ),
        (
            |story| story.events[3]["type"] = json!("step_started"),
            "the end of round 1",
        ),
        (|story| story.events[4]["round"] = json!(1), "says round 1"),
        (
            |story| story.events[4]["run_id"] = json!(ID.replace('1', "2")),
            "is one of run",
        ),
        (|story| story.events[4]["seq"] = json!("five"), "no event"),
        (
            |story| story.events[4]["type"] = json!("run_completed"),
            "status failed is not",
        ),
        (
            |story| story.run = (404, json!({})),
            "it is listed, and not found",
        ),
        (|story| story.run = (500, json!({})), "it cannot be read"),
        (|story| story.listed.push(story.listed[0].clone()), "twice"),
    ];
    for (lie, part) in lies {
        let mut story = sound();
        lie(&mut story);
        let found = findings(story);
        assert!(
            found.iter().any(|detail| detail.contains(part)),
            "{part}: {found:?}"
        );
    }
}

#[test]
fn a_run_that_goes_on_between_two_answers_is_no_finding_unless_it_always_does() {
    let mut story = sound();
    story.run.1 = run("running", 2);
    story.listed[0] = run("running", 2);
    // Asked often enough, the run would have to be further.
    assert_eq!(findings(story), Vec::<String>::new());
}

#[test]
fn places_that_exclude_each_other_are_refused() {
    let home = Home::new();
    for line in [
        "check --store postgres://x/y --data d",
        "check --store postgres://x/y --server http://x",
        "check --server http://x --data d",
        "check --store nonsense",
    ] {
        let ended = home.crane(line);
        assert_eq!(ended.code, Some(2), "{line}: {ended:?}");
    }
    let ended = home.crane("check --store postgres://u:secret@127.0.0.1:1/x");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(!ended.stderr.contains("secret"), "{ended:?}");
}
