//! How a node starts, stops and comes back.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::process::Command;

use rustix::fs::{Mode, OFlags, open};
use rustix::process::Signal;
use rustix::pty::{self, OpenptFlags};
use serde_json::{Value, json};

use super::{Answer, Serving, eventually};
use crate::program::{Home, Server};

/// Submits a run whose one step asks the test's own server, and gives its id.
fn submit_held(node: &Serving, server: &Server) -> String {
    let body = json!({"plan": {"steps": [
        {"id": "ask", "tool": "http", "input": {"method": "GET", "url": server.url}}]}});
    let run = node.post("/api/v1/runs", &body.to_string());
    assert_eq!(run.status, 201, "{run:?}");
    let run: Value = serde_json::from_str(&run.body).unwrap();
    run["run_id"].as_str().unwrap().to_owned()
}

fn status_of(home: &Home, id: &str) -> Value {
    home.json(&format!("runs show {id} -o json"))["status"].clone()
}

#[test]
fn sigterm_lets_a_running_step_end_admits_nothing_and_exits_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let (home, server) = (Home::new(), Server::start());
        let mut node = Serving::start(&home, "");
        let id = submit_held(&node, &server);
        let request = server.request();
        node.signal(signal);
        node.wait_for("stopping");
        let refused = node.post(
            "/api/v1/runs",
            &json!({"prompt": "calculate 1 + 1"}).to_string(),
        );
        assert_eq!(refused.status, 503, "{refused:?}");
        assert!(refused.head.contains("retry-after"), "{refused:?}");
        assert!(node.is_live(), "it answers what can be answered");
        request.answer_json(&json!({"word": "yes"}));
        assert_eq!(node.end(), Some(0), "{}", node.said());
        assert_eq!(status_of(&home, &id), json!("completed"));
        assert_eq!(home.json("check -o json")["sound"], json!(true));
    }
}

#[test]
fn who_has_connected_before_the_node_closes_is_answered() {
    let home = Home::new();
    let mut node = Serving::start(&home, "");
    // None has said what it wants.
    let mut early: Vec<_> = (0..100).map(|_| node.connect()).collect();
    node.signal(Signal::TERM);
    eventually("nobody connects any more", || !node.takes_connections());
    let request = b"GET /api/v1/health/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    for stream in &mut early {
        stream.write_all(request).unwrap();
    }
    for stream in early {
        let answer = Answer::read(stream);
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert_eq!(node.end(), Some(0), "{}", node.said());
}

#[test]
fn a_step_that_does_not_end_is_cut_off_after_the_drain_timeout_and_goes_on_later() {
    let (home, server) = (Home::new(), Server::start());
    home.file("crane.toml", "[node]\ndrain_timeout = \"300ms\"\n");
    let mut node = Serving::start(&home, "");
    let id = submit_held(&node, &server);
    let _never_answered = server.request();
    node.signal(Signal::TERM);
    assert_eq!(node.end(), Some(0), "{}", node.said());
    let node = Serving::start(&home, "");
    assert!(
        node.greeting[1].contains("1 unfinished run restored"),
        "{:?}",
        node.greeting
    );
    server.request().answer_json(&json!({}));
    eventually("the end of the run", || {
        let run = node.get(&format!("/api/v1/runs/{id}"), "");
        run.body.contains("\"status\":\"completed\"")
    });
}

/// A terminal that nobody looks at: its keyboard's side, and what a process gets as its input.
fn terminal() -> (OwnedFd, OwnedFd) {
    let keyboard = pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    pty::grantpt(&keyboard).unwrap();
    pty::unlockpt(&keyboard).unwrap();
    let name = pty::ptsname(&keyboard, Vec::new()).unwrap();
    // The test does not make it its own.
    let input = open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
    (keyboard, input)
}

#[test]
fn sighup_without_tls_changes_nothing_unless_the_node_is_in_a_terminal() {
    let home = Home::new();
    let node = Serving::start(&home, "");
    for _ in 0..2 {
        node.signal(Signal::HUP);
    }
    node.wait_for("nothing to read again");
    assert!(node.is_live());
    drop(node);
    let (_keyboard, input) = terminal();
    let mut command = hears_hangups(&home.command(["serve", "--listen", "127.0.0.1:0"]));
    command.stdin(input);
    let mut node = Serving::spawn(&home, command);
    node.signal(Signal::HUP);
    assert_eq!(node.end(), None, "{}", node.said());
}

/// The same command, whether or not whoever runs the tests has SIGHUP ignored, as nohup does.
fn hears_hangups(command: &Command) -> Command {
    let mut heard = Command::new("env");
    heard.arg("--default-signal=HUP").arg(command.get_program());
    heard.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => heard.env(name, value),
            None => heard.env_remove(name),
        };
    }
    if let Some(directory) = command.get_current_dir() {
        heard.current_dir(directory);
    }
    heard
}

#[test]
fn a_second_signal_ends_it_at_once_and_loses_nothing() {
    let (home, server) = (Home::new(), Server::start());
    let mut node = Serving::start(&home, "");
    let id = submit_held(&node, &server);
    let _never_answered = server.request();
    node.signal(Signal::TERM);
    node.wait_for("stopping");
    node.signal(Signal::TERM);
    assert_eq!(node.end(), Some(130), "{}", node.said());
    assert_eq!(status_of(&home, &id), json!("running"));
}

#[test]
fn a_request_that_waits_is_answered_when_the_node_stops() {
    let (home, server) = (Home::new(), Server::start());
    let mut node = Serving::start(&home, "");
    let body = json!({"plan": {"steps": [
        {"id": "ask", "tool": "http", "input": {"method": "GET", "url": server.url}}]}});
    let stream = {
        use std::io::Write;
        let (mut stream, body) = (node.connect(), body.to_string());
        let head = "POST /api/v1/runs?wait=60s HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
                    content-type: application/json";
        let length = body.len();
        let text = format!("{head}\r\ncontent-length: {length}\r\n\r\n{body}");
        stream.write_all(text.as_bytes()).unwrap();
        stream
    };
    let request = server.request();
    node.signal(Signal::TERM);
    let answer = Answer::read(stream);
    assert_eq!(answer.status, 201, "{answer:?}");
    assert!(answer.body.contains("\"status\":\"running\""), "{answer:?}");
    request.answer_json(&json!({}));
    assert_eq!(node.end(), Some(0));
}

#[test]
fn after_kill_nine_a_node_starts_on_the_same_port_at_once() {
    let home = Home::new();
    let mut node = Serving::start(&home, "");
    let address = node.address;
    for _ in 0..5 {
        // Connections that are open when it dies are what would keep the port.
        let open: Vec<_> = (0..20).map(|_| node.connect()).collect();
        assert!(node.is_live());
        node.signal(Signal::KILL);
        assert_eq!(node.end(), None);
        let line = format!("serve --listen {address}");
        node = Serving::spawn(&home, home.command(line.split_whitespace()));
        assert_eq!(node.address, address);
        drop(open);
    }
    assert!(node.is_live());
}

#[test]
fn what_keeps_it_from_starting_is_said_in_one_line() {
    let home = Home::new();
    let node = Serving::start(&home, "");
    let taken = format!("serve --data other --listen {}", node.address);
    home.file("file", "no directory");
    let cases = [
        (taken.as_str(), 1, "cannot listen on 127.0.0.1:"),
        (
            "serve --listen 127.0.0.1:0",
            1,
            "is in use by another process",
        ),
        ("serve --listen 127.0.0.1:0 --data file", 1, "file"),
        ("serve --listen nowhere", 2, "flag --listen: api.listen"),
    ];
    for (line, code, message) in cases {
        let ended = home.crane(line);
        assert_eq!(ended.code, Some(code), "{line}: {ended:?}");
        assert!(ended.stdout.is_empty(), "{line}: {ended:?}");
        let lines: Vec<&str> = ended.stderr.lines().collect();
        assert_eq!(lines.len(), 1, "{line}: {ended:?}");
        assert!(
            lines[0].starts_with("error: ") && lines[0].contains(message),
            "{ended:?}"
        );
    }
    assert!(
        !home.path("other").exists(),
        "the address is looked at first"
    );
    assert!(node.is_live());
}

#[test]
fn an_idle_connection_does_not_hold_up_the_end() {
    use std::io::{Read, Write};
    let home = Home::new();
    let mut node = Serving::start(&home, "");
    let mut idle = node.connect();
    idle.write_all(b"GET /api/v1/health/live HTTP/1.1\r\nhost: x\r\n\r\n")
        .unwrap();
    assert!(idle.read(&mut [0; 1_000]).unwrap() > 0);
    let silent = node.connect();
    let start = std::time::Instant::now();
    node.signal(Signal::TERM);
    assert_eq!(node.end(), Some(0));
    assert!(
        start.elapsed() < std::time::Duration::from_secs(4),
        "{:?}",
        start.elapsed()
    );
    drop(silent);
}
