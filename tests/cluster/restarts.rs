//! One node after the other is stopped in order and started again; no client notices.
//!
//! A client looks up several addresses: where a connection is refused it takes the next one, and that
//! is all. It repeats nothing, so whatever else goes wrong is a request that failed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};

use crate::clients::{EndOfClients, Shared, once};
use crate::fleet::{Fleet, Shape};
use crate::nemesis::restart;
use crate::node::Node;
use crate::system::{self, Random};

/// What clients have done.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) requests: usize,
    pub(crate) failed: Vec<String>,
    pub(crate) slowest: Duration,
}

/// Somebody who uses a cluster.
struct User {
    shared: Arc<Shared>,
    number: usize,
    random: Random,
    seen: Seen,
}

impl User {
    fn ask(&mut self, method: &str, path: &str, key: &[String], body: &str) -> Option<Value> {
        self.seen.requests += 1;
        match once(&self.shared, &mut self.random, (method, path), key, body) {
            Ok((answer, took)) => {
                self.seen.slowest = self.seen.slowest.max(took);
                Some(answer.json())
            }
            Err(why) => {
                println!("failed: {why}");
                self.seen.failed.push(why);
                None
            }
        }
    }

    /// Submits, waits, reads and lists, one request after the other.
    fn work(mut self) -> Seen {
        let steps = json!([
            { "id": "a", "tool": "sleep", "input": { "milliseconds": 50 } },
            { "id": "b", "tool": "echo", "input": { "value": 1 }, "depends_on": ["a"] },
        ]);
        for message in 0.. {
            if self.shared.stop.load(Ordering::Relaxed) {
                break;
            }
            let name = format!("c{}-{message}", self.number);
            let key = [format!("idempotency-key: {name}")];
            let body = json!({ "plan": { "steps": steps }, "labels": { "name": name } });
            let waits = message % 2 == 0;
            let path = match waits {
                true => "/api/v1/runs?wait=20s",
                false => "/api/v1/runs",
            };
            thread::sleep(Duration::from_millis(50));
            let Some(run) = self.ask("POST", path, &key, &body.to_string()) else {
                continue;
            };
            if waits && run["status"] != "completed" {
                self.seen
                    .failed
                    .push(format!("{name} was waited for: {run}"));
            }
            let id = run["run_id"].as_str().unwrap_or_default();
            self.ask("GET", &format!("/api/v1/runs/{id}"), &[], "");
            self.ask("GET", "/api/v1/runs?limit=5", &[], "");
        }
        self.seen
    }
}

/// Begins to use a cluster.
pub(crate) fn users(
    shared: &Arc<Shared>,
    random: &mut Random,
    count: usize,
) -> Vec<JoinHandle<Seen>> {
    let user = |number| User {
        shared: shared.clone(),
        number,
        random: random.fork(),
        seen: Seen::default(),
    };
    let users: Vec<User> = (0..count).map(user).collect();
    let begin = |user: User| thread::spawn(move || user.work());
    users.into_iter().map(begin).collect()
}

#[test]
fn a_rolling_restart_fails_no_request() {
    let Some(_turn) = system::turn() else { return };
    let mut fleet = Fleet::start(Shape {
        nodes: 3,
        ..Shape::default()
    });
    let shared = Arc::new(Shared::of(fleet.nodes.iter().map(Node::api).collect()));
    let _end = EndOfClients(shared.clone());
    let users = users(&shared, &mut Random::from_env(), 4);
    for _ in 0..system::rounds() {
        restart(&mut fleet, &[0, 1, 2]);
    }
    shared.stop.store(true, Ordering::Relaxed);
    let seen: Vec<Seen> = users.into_iter().map(|user| user.join().unwrap()).collect();
    let requests: usize = seen.iter().map(|seen| seen.requests).sum();
    let slowest = seen.iter().map(|seen| seen.slowest).max();
    let failed: Vec<&String> = seen.iter().flat_map(|seen| &seen.failed).collect();
    println!(
        "{requests} requests, {} failed, the slowest took {slowest:?}",
        failed.len()
    );
    assert!(failed.is_empty(), "{failed:#?}\n{}", fleet.tails());
}
