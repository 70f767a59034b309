//! Several nodes, as processes on this machine: whichever is asked, the answer is the same.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of a test may panic like the test"
)]

mod damaged;
mod home;
mod names;
mod operate;
#[allow(dead_code, reason = "another test binary uses the rest of it")]
#[path = "../../store/src/postgres/tests/server.rs"]
mod postgres;
mod shared;
mod tls;

use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::program::Home;
use crate::program::serving::{BASE, Serving};

/// What has not happened by then never will.
const PATIENCE: Duration = Duration::from_secs(90);

/// A node of a cluster, in a directory of its own.
struct Node {
    name: &'static str,
    home: Home,
    serving: Serving,
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}

impl Node {
    /// Starts a node that gossips at `port`, knows the one at `seed`, and has these settings of the
    /// store.
    fn start(name: &'static str, port: u16, seed: u16, store: &str) -> Self {
        let home = Home::new();
        let serving = Self::serve(&home, name, port, seed, store);
        Self {
            name,
            home,
            serving,
        }
    }

    fn serve(home: &Home, name: &str, port: u16, seed: u16, store: &str) -> Serving {
        Self::serve_with(home, name, port, seed, store, "")
    }

    /// The same with these settings of the cluster beside its addresses.
    fn serve_with(
        home: &Home,
        name: &str,
        port: u16,
        seed: u16,
        store: &str,
        cluster: &str,
    ) -> Serving {
        let file = Self::config(home, name, [port, seed], store, cluster);
        Serving::spawn(home, home.command(["serve", "--config", &file]))
    }

    /// Writes its configuration; gives the name of the file.
    fn config(
        home: &Home,
        name: &str,
        [port, seed]: [u16; 2],
        store: &str,
        cluster: &str,
    ) -> String {
        let config = format!(
            "[node]\nname = \"{name}\"\n[api]\nlisten = \"127.0.0.1:0\"\n{store}\n[cluster]\n\
             listen = \"127.0.0.1:{port}\"\nseeds = [\"127.0.0.1:{seed}\"]\n{cluster}"
        );
        home.file("crane.toml", config)
    }

    /// The cluster as it sees it.
    fn cluster(&self) -> Value {
        self.serving.get("/cluster").json()
    }

    /// How many other nodes are alive and connected, as it sees it.
    fn company(&self) -> usize {
        let cluster = self.cluster();
        let members = cluster["members"].as_array().unwrap().iter();
        members
            .filter(|m| m["this"] == false && m["state"] == "alive")
            .filter(|m| m["connected"] == true && m["phase"] == "up")
            .count()
    }

    /// Whether it finds another node down.
    fn finds_down(&self, name: &str) -> bool {
        let cluster = self.cluster();
        let mut members = cluster["members"].as_array().unwrap().iter();
        members.any(|member| member["node"] == name && member["state"] == "down")
    }
}

/// Looks again and again until it is so.
#[track_caller]
#[allow(clippy::disallowed_methods, reason = "time is real here")]
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "still waiting for: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Steps that sleep, one after the other.
fn chain(steps: usize, milliseconds: u64) -> Value {
    let steps: Vec<Value> = (0..steps)
        .map(|n| {
            let after = n.checked_sub(1).map(|before| format!("s{before}"));
            json!({ "id": format!("s{n}"), "tool": "sleep",
                "input": { "milliseconds": milliseconds },
                "depends_on": Vec::from_iter(after) })
        })
        .collect();
    json!({ "plan": { "steps": steps } })
}

/// Holds that all nodes answer a request alike; gives the body.
#[track_caller]
fn alike(
    nodes: &[Node],
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
    status: u16,
) -> String {
    let mut all = answers(nodes, method, path, headers, body, status).into_iter();
    let first = all.next().unwrap();
    for (node, other) in nodes[1..].iter().zip(all) {
        assert_eq!(other, first, "{method} {path} at {}", node.name);
    }
    first.1
}

/// Waits until all nodes read the same: a run that is under way may be moving.
#[track_caller]
fn alike_in_the_end(nodes: &[Node], path: &str) {
    eventually(path, || {
        let all = answers(nodes, "GET", path, "", "", 200);
        all.iter().all(|answer| *answer == all[0])
    });
}

/// What each node answers: headers and body.
#[track_caller]
fn answers(
    nodes: &[Node],
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
    status: u16,
) -> Vec<(Vec<(String, String)>, String)> {
    let path = format!("{BASE}{path}");
    let mut all = Vec::new();
    for node in nodes {
        let answer = node.serving.ask(method, &path, headers, body.as_bytes());
        let text = answer.text();
        let at = &node.name;
        assert_eq!(answer.status, status, "{method} {path} at {at}: {text}");
        let mut head = answer.head;
        head.retain(|(name, _)| !["x-request-id", "date"].contains(&name.as_str()));
        all.push((head, text));
    }
    all
}
