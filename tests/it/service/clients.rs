//! Clients that do not give up: one repeats a submission until it is acknowledged, the other goes
//! on reading until it has the event that ends the run.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::{Value, json};

use super::history::History;
use super::wire;
use super::{PATIENCE, PAUSE};

/// What each client submits at least, however early the kills come.
const LEAST: usize = 8;

/// A submission and the run that the client was told of.
pub(super) struct Submitted {
    pub(super) name: String,
    pub(super) body: String,
    pub(super) run_id: String,
}

/// What a submitter needs.
pub(super) struct Submitter {
    pub(super) address: SocketAddr,
    /// The number of the client.
    pub(super) number: u32,
    /// Whether it says by a key what is a repetition.
    pub(super) with_keys: bool,
    pub(super) stop: Arc<AtomicBool>,
    /// Where those go that somebody is to follow.
    pub(super) to_follow: Sender<String>,
    pub(super) unexpected: Arc<Mutex<Vec<String>>>,
}

impl Submitter {
    /// Submits one run after the other until it is told to stop.
    pub(super) fn work(self) -> Vec<Submitted> {
        let mut done = Vec::new();
        while done.len() < LEAST || !self.stop.load(Ordering::Relaxed) {
            let count = done.len();
            let name = format!("{}-{count}", self.number);
            let body = json!({ "plan": plan(count), "labels": { "name": name } }).to_string();
            let Some(run_id) = self.submit(&name, &body, count % 3 == 0) else {
                return done;
            };
            if count % 4 == 0 {
                // Those who follow end after those who submit.
                self.to_follow.send(run_id.clone()).unwrap();
            }
            done.push(Submitted { name, body, run_id });
        }
        done
    }

    /// Repeats a request until it is acknowledged; `forgetful` throws the first acknowledgement
    /// away, as if the connection had broken just before it came.
    fn submit(&self, name: &str, body: &str, mut forgetful: bool) -> Option<String> {
        let key = self.with_keys.then(|| key(name));
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let headers: Vec<String> = key.iter().cloned().collect();
            match wire::ask(self.address, "POST", "/api/v1/runs", &headers, body) {
                Ok(answer) if answer.status == 200 || answer.status == 201 => {
                    if !std::mem::take(&mut forgetful) {
                        return answer.json()["run_id"].as_str().map(str::to_owned);
                    }
                }
                Ok(answer) if answer.status < 500 => {
                    self.report(format!("{name}: {answer:?}"));
                    return None;
                }
                Ok(_) | Err(_) => std::thread::sleep(PAUSE),
            }
        }
        self.report(format!("{name} was never acknowledged"));
        None
    }

    fn report(&self, what: String) {
        self.unexpected.lock().unwrap().push(what);
    }
}

/// The header that makes a repetition known.
pub(super) fn key(name: &str) -> String {
    format!("idempotency-key: {name}")
}

/// One of a few shapes of plans.
fn plan(count: usize) -> Value {
    match count % 4 {
        0 => json!({ "steps": [
            { "id": "a", "tool": "sleep", "input": { "milliseconds": 20 } },
            { "id": "b", "tool": "sleep", "depends_on": ["a"], "input": { "milliseconds": 150 } },
            { "id": "c", "tool": "echo", "depends_on": ["b"], "input": { "value": 1 } },
        ]}),
        1 => json!({ "steps": [
            { "id": "a", "tool": "calculator", "input": { "expression": "1 + 1" } },
            { "id": "b", "tool": "echo", "input": { "value": "${steps.a.output}" } },
            { "id": "c", "tool": "echo", "input": { "value": "${steps.b.output}" } },
        ]}),
        2 => {
            let leaves = (0..8).map(|n| {
                json!({ "id": format!("leaf{n}"), "tool": "echo", "depends_on": ["root"],
                        "input": { "value": n } })
            });
            let mut steps = vec![json!({ "id": "root", "tool": "echo", "input": { "value": 0 } })];
            steps.extend(leaves);
            json!({ "steps": steps })
        }
        _ => json!({ "steps": [
            { "id": "a", "tool": "fail", "input": { "times": 2 },
              "retry": { "max_attempts": 3, "initial": "5ms" } },
        ]}),
    }
}

/// Follows one run after the other, through every restart of the node, until nobody names more.
pub(super) fn follow_all(
    address: SocketAddr,
    runs: &Mutex<Receiver<String>>,
) -> Vec<(String, History)> {
    let mut histories = Vec::new();
    loop {
        let next = runs.lock().unwrap().recv();
        let Ok(id) = next else { return histories };
        let mut history = History::new();
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            // 204: nothing is behind what it has.
            match wire::follow(address, &id, &mut history) {
                Ok(204) => break,
                Ok(_) | Err(_) => std::thread::sleep(PAUSE),
            }
        }
        histories.push((id, history));
    }
}
