//! Those who use a cluster: any node is as good as any other to them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::history::History;
use crate::system::Random;
use crate::wire::{self, Answer, Failure};

/// Pause before the next try.
const PAUSE: Duration = Duration::from_millis(100);
/// A stream that has not got through by then never will.
const PATIENCE: Duration = Duration::from_secs(120);

/// What all clients share.
pub(crate) struct Shared {
    /// Where the nodes are.
    pub(crate) nodes: Vec<SocketAddr>,
    pub(crate) stop: AtomicBool,
    /// The test has failed, and nobody asks for anything any more.
    gone: AtomicBool,
    /// When readers give up, once that is known.
    pub(crate) over: Mutex<Option<Instant>>,
    /// Answers that should not have been.
    pub(crate) unexpected: Mutex<Vec<String>>,
    /// By client's name of the run: the id that was acknowledged.
    pub(crate) told: Mutex<BTreeMap<String, String>>,
    /// Tries that had to be repeated.
    pub(crate) repeated: AtomicUsize,
}

impl Shared {
    /// What clients of these nodes share.
    pub(crate) fn of(nodes: Vec<SocketAddr>) -> Self {
        Self {
            nodes,
            stop: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            over: Mutex::default(),
            unexpected: Mutex::default(),
            told: Mutex::default(),
            repeated: AtomicUsize::new(0),
        }
    }

    pub(crate) fn wrong(&self, what: String) {
        println!("unexpected: {what}");
        self.unexpected.lock().unwrap().push(what);
    }

    fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    fn is_over(&self) -> bool {
        let over = *self.over.lock().unwrap();
        self.is_gone() || over.is_some_and(|over| Instant::now() > over)
    }

    fn any(&self, random: &mut Random) -> SocketAddr {
        self.nodes[random.below(self.nodes.len())]
    }
}

/// The body of the n-th message of a client, by the name of its run.
pub(crate) type Message = Box<dyn Fn(usize, &str) -> Value + Send>;

/// Ends all clients when a test does, in whatever way.
pub(crate) struct EndOfClients(pub(crate) Arc<Shared>);

impl Drop for EndOfClients {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
        self.0.gone.store(true, Ordering::Relaxed);
    }
}

/// Submits one run after the other, each until it is acknowledged.
pub(crate) struct Submitter {
    pub(crate) shared: Arc<Shared>,
    pub(crate) number: usize,
    pub(crate) random: Random,
    pub(crate) message: Message,
    /// Pause between two runs.
    pub(crate) every: Duration,
    /// `wait` of its requests.
    pub(crate) wait: Option<Duration>,
    pub(crate) to_follow: Sender<String>,
    /// A message that is not taken by then never will.
    pub(crate) patience: Duration,
}

impl Submitter {
    pub(crate) fn work(mut self) {
        for number in 0.. {
            if self.shared.stop.load(Ordering::Relaxed) {
                return;
            }
            let name = format!("c{}-{number}", self.number);
            let body = (self.message)(number, &name).to_string();
            if let Some(id) = self.submit(&name, &body) {
                self.shared.told.lock().unwrap().insert(name, id.clone());
                // Nobody follows any more.
                let _ = self.to_follow.send(id);
            }
            thread::sleep(self.every);
        }
    }

    /// The id of the run that was acknowledged.
    fn submit(&mut self, name: &str, body: &str) -> Option<String> {
        let begun = Instant::now();
        let headers = [format!("idempotency-key: {name}")];
        let path = match self.wait {
            Some(wait) => format!("/api/v1/runs?wait={}ms", wait.as_millis()),
            None => "/api/v1/runs".to_owned(),
        };
        while begun.elapsed() < self.patience && !self.shared.is_gone() {
            let node = self.shared.any(&mut self.random);
            match wire::ask(node, "POST", &path, &headers, body) {
                Ok(answer) if [200, 201].contains(&answer.status) => {
                    return self.acknowledged(name, &answer);
                }
                Ok(answer) if answer.status < 500 => {
                    self.shared.wrong(format!("{name} at {node}: {answer:?}"));
                    return None;
                }
                Ok(_) | Err(_) => {
                    self.shared.repeated.fetch_add(1, Ordering::Relaxed);
                    thread::sleep(PAUSE);
                }
            }
        }
        self.shared.wrong(format!("{name} was not taken in time"));
        None
    }

    fn acknowledged(&self, name: &str, answer: &Answer) -> Option<String> {
        let Ok(run) = serde_json::from_str::<Value>(&answer.body) else {
            self.shared.wrong(format!("{name}: {answer:?}"));
            return None;
        };
        let id = run["run_id"].as_str().unwrap_or_default().to_owned();
        if run["labels"]["name"] != *name || id.is_empty() {
            self.shared
                .wrong(format!("{name} is answered by another run: {run}"));
        }
        Some(id)
    }
}

/// Follows one run after the other, at any node, until nobody names more.
pub(crate) fn follow_all(
    shared: &Shared,
    runs: &Mutex<Receiver<String>>,
    mut random: Random,
) -> Vec<(String, History)> {
    let mut histories = Vec::new();
    loop {
        let next = runs.lock().unwrap().recv();
        let Ok(id) = next else { return histories };
        let mut history = History::new();
        let begun = Instant::now();
        // A stream that stands still has comments, so that this is looked at.
        let wanted = || begun.elapsed() < PATIENCE && !shared.is_over();
        while wanted() {
            let node = shared.any(&mut random);
            match wire::follow(node, &id, &mut history, wanted) {
                // Nothing is behind what it has.
                Ok(204) => break,
                Ok(200 | 500..) | Err(_) => thread::sleep(PAUSE),
                Ok(status) => {
                    shared.wrong(format!("the events of {id} at {node}: {status}"));
                    break;
                }
            }
        }
        histories.push((id, history));
    }
}

/// Asks any node, and another one only when it was not reached: what a client sees that looks up
/// several addresses and repeats nothing. How long it took.
pub(crate) fn once(
    shared: &Shared,
    random: &mut Random,
    (method, path): (&str, &str),
    headers: &[String],
    body: &str,
) -> Result<(Answer, Duration), String> {
    let begun = Instant::now();
    for number in random.shuffled(shared.nodes.len()) {
        let node = shared.nodes[number];
        match wire::ask(node, method, path, headers, body) {
            Ok(answer) if answer.status < 300 => return Ok((answer, begun.elapsed())),
            Ok(answer) => return Err(format!("{method} {path} at {node}: {answer:?}")),
            Err(Failure::Unreached) => {}
            Err(Failure::Broken(why)) => return Err(format!("{method} {path} at {node}: {why}")),
        }
    }
    Err(format!("{method} {path}: no node was reached"))
}
