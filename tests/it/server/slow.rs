//! Clients that are slow, many, or send too much.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::json;

use super::{Answer, PATIENCE, Serving, closes_within};
use crate::program::{Home, Server};

/// Long enough for a node that is not held up, on a machine that is busy.
const SOON: Duration = Duration::from_secs(5);

/// Room for the sockets of a test; gives how many there may be.
fn sockets(wanted: u64) -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX);
    limit.current = Some(most.min(limit.current.unwrap_or(most).max(wanted + 200)));
    setrlimit(Resource::Nofile, limit).unwrap();
    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(wanted.min(allowed.saturating_sub(200))).unwrap()
}

/// Connections that have sent a part of a head, and send nothing more.
fn slow_clients(node: &Serving, count: usize) -> Vec<TcpStream> {
    let connect = |number: usize| {
        let mut stream = node.connect();
        if number.is_multiple_of(2) {
            stream.write_all(b"GET /api/v1/health/live HT").unwrap();
        }
        stream
    };
    (0..count).map(connect).collect()
}

fn assert_served_soon(node: &Serving) {
    let start = Instant::now();
    assert!(node.is_live());
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
}

#[test]
fn two_thousand_slow_connections_do_not_stop_a_normal_client() {
    let home = Home::new();
    let node = Serving::start(&home, "");
    let slow = slow_clients(&node, sockets(2_000));
    for _ in 0..20 {
        assert_served_soon(&node);
    }
    let body = json!({"prompt": "calculate 1 + 1"}).to_string();
    let answer = node.post("/api/v1/runs?wait=10s", &body);
    assert_eq!(answer.status, 201, "{answer:?}");
    assert!(answer.body.contains("\"completed\""), "{answer:?}");
    assert!(
        slow.len() >= 500,
        "the system allows only {} sockets",
        slow.len()
    );
}

#[test]
fn where_all_places_are_taken_who_waits_longest_makes_room() {
    let home = Home::new();
    home.file(
        "crane.toml",
        "[api]\nmax_connections = 20\nheader_timeout = \"1h\"\n",
    );
    let node = Serving::start(&home, "");
    let slow = slow_clients(&node, 200);
    for _ in 0..10 {
        assert_served_soon(&node);
    }
    assert!(closes_within(&slow[0], PATIENCE), "the oldest one is gone");
    // The control: a connection that waits for the node keeps its place, and then there is none.
    let server = Server::start();
    let body = json!({"plan": {"steps": [
        {"id": "a", "tool": "http", "input": {"method": "GET", "url": server.url}}]}})
    .to_string();
    let length = body.len();
    let request = format!(
        "POST /api/v1/runs?wait=60s HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}"
    );
    let mut waiting = Vec::new();
    for _ in 0..20 {
        let mut stream = node.connect();
        stream.write_all(request.as_bytes()).unwrap();
        waiting.push((stream, server.request()));
    }
    let mut late = node.connect();
    late.write_all(b"GET /api/v1/health/live HTTP/1.1\r\nhost: x\r\n\r\n")
        .unwrap();
    late.set_read_timeout(Some(Duration::from_millis(700)))
        .unwrap();
    assert!(late.read(&mut [0; 100]).is_err(), "all places are taken");
    waiting.pop();
    late.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(
        late.read(&mut [0; 100]).unwrap() > 0,
        "a place was given back"
    );
}

#[test]
fn a_node_that_may_open_few_files_serves_as_many_as_it_can() {
    let home = Home::new();
    let mut command = std::process::Command::new("sh");
    let serve = home.command(["serve", "--listen", "127.0.0.1:0"]);
    command
        .args(["-c", "ulimit -n 120 && exec \"$@\"", "sh"])
        .arg(serve.get_program())
        .args(serve.get_args())
        .current_dir(home.path(""));
    let node = Serving::spawn(&home, command);
    node.wait_for("fewer connections than api.max_connections");
    let slow = slow_clients(&node, 300);
    for _ in 0..10 {
        assert_served_soon(&node);
    }
    let answer = node.post("/api/v1/runs?wait=10s", r#"{"prompt":"calculate 1 + 1"}"#);
    assert!(answer.body.contains("\"completed\""), "{answer:?}");
    drop(slow);
}

#[test]
fn a_client_that_takes_too_long_is_cut_and_one_that_does_not_is_kept() {
    let home = Home::new();
    let long = "[api]\nheader_timeout = \"1h\"\nbody_timeout = \"1h\"\nidle_timeout = \"1h\"\n";
    home.file("long.toml", long);
    home.file("short.toml", long.replace("1h", "300ms"));
    let head = b"POST /api/v1/runs HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                 content-length: 100\r\n\r\n{";
    let clients: [(&str, &[u8]); 4] = [
        ("nothing sent", b""),
        ("a part of a head", b"GET / HTTP/1.1\r\nhost"),
        ("a part of a body", head),
        (
            "idle after a request",
            b"GET /api/v1/health/live HTTP/1.1\r\nhost: x\r\n\r\n",
        ),
    ];
    for (config, is_cut) in [("short.toml", true), ("long.toml", false)] {
        let node = Serving::start(&home, &format!("--config {config}"));
        for (what, bytes) in clients {
            let mut stream = node.connect();
            stream.write_all(bytes).unwrap();
            let time = if is_cut {
                PATIENCE
            } else {
                Duration::from_secs(1)
            };
            assert_eq!(closes_within(&stream, time), is_cut, "{config}: {what}");
        }
    }
}

#[test]
fn a_body_that_keeps_up_its_rate_may_take_longer_than_the_timeout() {
    let home = Home::new();
    home.file(
        "crane.toml",
        "[api]\nbody_timeout = \"400ms\"\nbody_rate = 1000\n",
    );
    let node = Serving::start(&home, "");
    let body = json!({"prompt": "calculate 1 + 1", "labels": {"a": "x".repeat(200)}}).to_string();
    let padded = format!("{body}{}", " ".repeat(4_000));
    let mut stream = node.connect();
    let head = format!(
        "POST /api/v1/runs HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        padded.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let start = Instant::now();
    for piece in padded.as_bytes().chunks(400) {
        stream.write_all(piece).unwrap();
        // What the test is about: a pace of about 4,000 bytes a second.
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(start.elapsed() > Duration::from_millis(800));
    assert_eq!(Answer::read(stream).status, 201);
}

#[test]
fn a_head_that_is_too_large_is_refused_and_the_client_hears_of_it() {
    let home = Home::new();
    let node = Serving::start(&home, "");
    let request = |headers: &str| {
        format!("GET /api/v1/health/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n")
    };
    let many = |count: usize| -> String { (0..count).map(|n| format!("x-{n}: y\r\n")).collect() };
    let fits = format!("x: {}\r\n", "y".repeat(20_000));
    assert_eq!(node.send(&request(&fits)).status, 200);
    assert_eq!(node.send(&request(&many(80))).status, 200);
    let bombs = [
        format!("x: {}\r\n", "y".repeat(40_000)),
        format!("x: {}\r\n", "y".repeat(2_000_000)),
        many(5_000),
        many(150),
    ];
    for bomb in bombs {
        let mut stream = node.connect();
        // It may stop reading before everything is sent.
        let _ = stream.write_all(request(&bomb).as_bytes());
        let answer = Answer::read(stream);
        assert_eq!(answer.status, 431, "{answer:?}");
    }
    let path = format!("/{}", "y".repeat(70_000));
    let answer = node.get(&path, "");
    assert!([414, 431].contains(&answer.status), "{answer:?}");
    assert_served_soon(&node);
}

#[test]
fn a_body_that_is_too_large_is_refused_also_to_who_does_not_finish_it() {
    let home = Home::new();
    let node = Serving::start(&home, "");
    for (announced, sent) in [
        (99_999_999, 0),
        (99_999_999, 6_000_000),
        (6_000_000, 6_000_000),
    ] {
        let mut stream = node.connect();
        let head = format!(
            "POST /api/v1/runs HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
             content-length: {announced}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&vec![b' '; sent]).unwrap();
        let start = Instant::now();
        let mut begin = [0; 12];
        stream.read_exact(&mut begin).unwrap();
        assert_eq!(
            &begin, b"HTTP/1.1 413",
            "{announced} announced, {sent} sent"
        );
        assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    }
}

/// Asks for a large answer many times, reads none of it, and says whether the node has had enough
/// within so long.
fn is_cut_for_not_reading(node: &Serving, path: &str, time: Duration) -> bool {
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    let mut stream = node.connect();
    stream
        .set_write_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    let start = Instant::now();
    while start.elapsed() < time {
        // What fills its buffers on the way is the answers; then the requests pile up here.
        match stream.write_all(request.as_bytes()) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return true,
        }
    }
    false
}

#[test]
fn an_answer_that_nobody_reads_does_not_keep_its_connection() {
    let home = Home::new();
    home.file("short.toml", "[api]\nwrite_timeout = \"500ms\"\n");
    home.file("long.toml", "[api]\nwrite_timeout = \"1h\"\n");
    let text = "y".repeat(900_000);
    let plan = json!({"steps": [{"id": "a", "tool": "echo", "input": {"text": text}}]});
    let plan = home.file("plan.json", plan.to_string());
    let run = home.json(&format!("run {plan} -o json"));
    let path = format!("/api/v1/runs/{}", run["run_id"].as_str().unwrap());
    for (config, time, is_cut) in [
        ("short.toml", PATIENCE, true),
        ("long.toml", Duration::from_secs(2), false),
    ] {
        let node = Serving::start(&home, &format!("--config {config}"));
        let was_cut = is_cut_for_not_reading(&node, &path, time);
        assert_eq!(was_cut, is_cut, "{config}");
    }
}
