//! Health: a node that is well, one that is not, one that goes down.

use std::process::Stdio;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::node::{Answer, Node, program, signal};
use super::scrape::value;
use crate::program::{Home, Server};

#[test]
fn a_healthy_node_says_so_part_by_part() {
    let home = Home::new();
    let node = Node::start(&home);
    let live = node.get("/api/v1/health/live");
    assert_eq!((live.code, live.json()), (200, json!({ "alive": true })));
    let ready = node.get("/api/v1/health/ready");
    assert_eq!(ready.code, 200, "{ready:?}");
    let all = json!({ "application": true, "shards": true, "journal": true });
    assert_eq!(ready.json(), json!({ "ready": true, "checks": all }));
    let health = node.get("/api/v1/health");
    assert_eq!(health.code, 200, "{health:?}");
    let health = health.json();
    assert_eq!(health["status"], "healthy");
    assert_eq!(health["version"], env!("CARGO_PKG_VERSION"));
    for check in ["application", "shards", "journal", "storage", "tools"] {
        assert_eq!(health["checks"][check]["status"], "healthy", "{health}");
    }
    assert_eq!(health["system"]["pid"], node.pid());
    assert!(health["system"]["memory_bytes"].as_u64().unwrap() > 1 << 20);
}

#[test]
fn a_breaker_that_opens_degrades_the_node_and_shows_in_the_metrics() {
    let home = Home::new();
    let node = Node::start(&home);
    let never = json!({ "max_attempts": 1 });
    let failing: Vec<Value> = (0..40)
        .map(|number| {
            json!({ "id": format!("f{number}"), "tool": "fail", "input": {}, "retry": never,
                    "on_error": "continue" })
        })
        .collect();
    node.run(&json!(failing));
    let health = node.get("/api/v1/health");
    assert_eq!(health.code, 200, "{health:?}");
    let health = health.json();
    assert_eq!(health["status"], "degraded");
    assert_eq!(
        health["checks"]["tools"]["detail"],
        "the breaker is open of: fail"
    );
    assert_eq!(node.get("/api/v1/health/ready").code, 200);
    let open = [("tool", "fail"), ("to", "open")];
    let text = node
        .until("/metrics", |answer| {
            value(&answer.body, "crane_tool_breaker_transitions_total", &open) > 0.0
        })
        .body;
    let state = value(&text, "crane_tool_breaker_state", &[("tool", "fail")]);
    assert!((state - 2.0).abs() < f64::EPSILON, "{state}");
}

#[test]
fn a_node_that_drains_is_alive_and_not_ready_and_ends_by_itself() {
    let home = Home::new();
    let node = Node::start(&home);
    let sleep = json!({ "id": "a", "tool": "sleep", "input": { "milliseconds": 4_000 } });
    let message = json!({ "plan": { "steps": [sleep] } });
    let run = node.send("POST", "/api/v1/runs", &message).json();
    let path = format!("/api/v1/runs/{}", run["run_id"].as_str().unwrap());
    node.until(&path, |answer| {
        answer.json()["execution_log"][0]["status"] == "running"
    });
    let answer = node.ask("POST", "/api/v1/admin/drain", &[], "");
    assert_eq!(answer.code, 202, "{answer:?}");
    assert_eq!(answer.json(), json!({ "phase": "draining" }));
    let ready = node.get("/api/v1/health/ready");
    assert_eq!(ready.code, 503, "{ready:?}");
    assert!(ready.head.contains("retry-after:"), "{}", ready.head);
    assert_eq!(ready.json()["ready"], false);
    assert_eq!(ready.json()["checks"]["application"], false);
    assert_eq!(node.get("/api/v1/health/live").code, 200);
    assert_eq!(node.get("/api/v1/health").json()["status"], "degraded");
    let server = format!("--server {}", node.url());
    let asked = home.crane(&format!("health {server}"));
    assert_eq!(asked.code, Some(1), "{asked:?}");
    assert_eq!(asked.stderr, "error: not ready: application\n");
    let asked = home.crane(&format!("health --live {server}"));
    assert_eq!((asked.code, asked.stdout.as_str()), (Some(0), "alive\n"));
    let (status, log) = node.end();
    assert!(status.success(), "{status}: {log}");
}

/// What a container's health check runs: the program is all there is.
#[test]
fn the_program_asks_the_node_of_its_own_configuration_once() {
    let home = Home::new();
    let node = Node::start(&home);
    let url = node.url();
    let (_, port) = url.rsplit_once(':').unwrap();
    // As in a container; whether a node may listen there is not this command's business.
    let listen = format!("[api]\nlisten = \"0.0.0.0:{port}\"\n");
    home.file("crane.toml", listen);
    let asked = home.crane("health");
    assert_eq!((asked.code, asked.stdout.as_str()), (Some(0), "ready\n"));
    drop(node);
    for line in ["health", "health --live", &format!("health --server {url}")] {
        let asked = home.crane(line);
        assert_eq!(asked.code, Some(1), "{line}: {asked:?}");
        let said = &asked.stderr;
        assert!(
            said.starts_with("error: cannot reach http://127.0.0.1:"),
            "{said}"
        );
    }
}

#[test]
fn what_is_no_node_is_not_healthy() {
    let home = Home::new();
    let web = Server::start();
    let asking = home.start(&format!("health --server {}", web.url));
    web.request().answer_json(&json!({ "up": true }));
    let asked = asking.end();
    assert_eq!(asked.code, Some(1), "{asked:?}");
    assert!(asked.stderr.contains("is it a crane node"), "{asked:?}");
}

/// The disk is made slow from outside, so that nothing of the program is prepared for it.
#[test]
fn a_journal_whose_disk_hangs_turns_the_node_unready_until_it_goes_on() {
    let Some(mut strace) = program("strace") else {
        return;
    };
    let home = Home::new();
    let node = Node::start(&home);
    let is_ready = |answer: &Answer| answer.code == 200;
    node.until("/api/v1/health/ready", is_ready);
    let mut strace = strace
        .args(["-f", "-qq", "-e", "trace=fdatasync"])
        .args(["-e", "inject=fdatasync:delay_enter=30s", "-p"])
        .arg(node.pid().to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let ready = node.until("/api/v1/health/ready", |answer| !is_ready(answer));
    assert_eq!(ready.code, 503, "{ready:?}");
    let checks = json!({ "application": true, "shards": true, "journal": false });
    assert_eq!(ready.json()["checks"], checks);
    let health = node.get("/api/v1/health");
    assert_eq!(health.code, 503, "{health:?}");
    assert_eq!(health.json()["status"], "unhealthy");
    let detail = health.json()["checks"]["journal"]["detail"].to_string();
    assert!(detail.contains("did not answer within 1s"), "{detail}");
    // It is alive all the same: restarting it would not cure the disk.
    assert_eq!(node.get("/api/v1/health/live").code, 200);
    signal(strace.id(), Signal::INT);
    strace.wait().unwrap();
    node.until("/api/v1/health/ready", is_ready);
}
