//! The load of a soak: runs whose steps have effects, submitted and followed throughout.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::clients::{self, EndOfClients, Shared, Submitter};
use crate::effects::{Effect, Effects};
use crate::fleet::Fleet;
use crate::history::History;
use crate::node::Node;
use crate::system::Random;
use crate::wire;

const SUBMITTERS: usize = 4;
const FOLLOWERS: usize = 6;
/// What is submitted, and how often.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    /// Pause between two runs of a submitter.
    pub(crate) every: Duration,
    /// The plan of its n-th run, by name, with effects that take a moment, and longer, and a while.
    pub(crate) message: fn(usize, &str, &[String; 3]) -> Value,
    /// A run that has not ended so long after the last was submitted never will, nor will a stream of
    /// it.
    pub(crate) patience: Duration,
}

impl Kind {
    /// Runs of all shapes.
    pub(crate) const MIXED: Self = Self {
        every: Duration::from_millis(250),
        message: mixed,
        patience: Duration::from_secs(60),
    };
    /// Runs that are under way for some seconds.
    pub(crate) const LONG: Self = Self {
        every: Duration::from_millis(150),
        message: chain,
        patience: Duration::from_secs(15),
    };
}
/// Runs are taken by then, whatever has happened.
const PATIENCE: Duration = Duration::from_secs(90);

/// See the module.
pub(crate) struct Load {
    pub(crate) shared: Arc<Shared>,
    pub(crate) effects: Effects,
    submitters: Vec<JoinHandle<()>>,
    followers: Vec<JoinHandle<Vec<(String, History)>>>,
    to_follow: Sender<String>,
    patience: Duration,
    _end: EndOfClients,
}

/// What was seen of a cluster.
pub(crate) struct Observed {
    /// Client's names of runs, and the ids that were acknowledged.
    pub(crate) told: Vec<(String, String)>,
    /// What readers of streams have, by run.
    pub(crate) histories: Vec<(String, History)>,
    /// Every run as it is listed.
    pub(crate) listed: Vec<Value>,
    /// Events of every run.
    pub(crate) events: Vec<(String, Vec<Value>)>,
    pub(crate) effects: Vec<Effect>,
    pub(crate) unexpected: Vec<String>,
    pub(crate) repeated: usize,
}

impl Load {
    /// Begins.
    pub(crate) fn start(fleet: &Fleet, random: &mut Random, kind: Kind) -> Self {
        let effects = Effects::start(fleet.network.host());
        let shared = Arc::new(Shared::of(fleet.nodes.iter().map(Node::api).collect()));
        let end = EndOfClients(shared.clone());
        let (to_follow, runs) = channel();
        let submitters = (0..SUBMITTERS).map(|number| {
            let urls = [20, 60, 300].map(|milliseconds| effects.url(milliseconds));
            let submitter = Submitter {
                shared: shared.clone(),
                number,
                random: random.fork(),
                message: Box::new(move |number, name| (kind.message)(number, name, &urls)),
                every: kind.every,
                // One of them is told of the end.
                wait: (number == 0).then_some(Duration::from_secs(20)),
                to_follow: to_follow.clone(),
                patience: kind.patience,
            };
            thread::spawn(move || submitter.work())
        });
        let submitters = submitters.collect();
        let runs = Arc::new(Mutex::new(runs));
        let followers = (0..FOLLOWERS).map(|_| {
            let (shared, runs, random) = (shared.clone(), runs.clone(), random.fork());
            thread::spawn(move || clients::follow_all(&shared, &runs, random))
        });
        Self {
            followers: followers.collect(),
            submitters,
            shared: shared.clone(),
            effects,
            to_follow,
            patience: kind.patience,
            _end: end,
        }
    }

    /// Runs that were acknowledged so far.
    pub(crate) fn told(&self) -> usize {
        self.shared.told.lock().unwrap().len()
    }

    /// Waits until further runs were acknowledged.
    #[track_caller]
    pub(crate) fn progress(&self, fleet: &Fleet, runs: usize) {
        let (begun, before) = (Instant::now(), self.told());
        while self.told() < before + runs {
            assert!(
                begun.elapsed() < PATIENCE,
                "no runs are taken\n{}",
                fleet.tails()
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends: no more runs, all that there are come to their end, and everything is asked for.
    pub(crate) fn finish(self, fleet: &Fleet) -> Observed {
        self.shared.stop.store(true, Ordering::Relaxed);
        for submitter in self.submitters {
            submitter.join().unwrap();
        }
        wait_for_ends(fleet, self.patience);
        *self.shared.over.lock().unwrap() = Some(Instant::now() + self.patience);
        drop(self.to_follow);
        let histories = self
            .followers
            .into_iter()
            .flat_map(|one| one.join().unwrap());
        let histories = histories.collect();
        let listed = list(fleet);
        let ids = listed.iter().filter_map(|run| run["run_id"].as_str());
        let events = ids.map(|id| (id.to_owned(), events_of(fleet, id)));
        let told = self.shared.told.lock().unwrap().clone();
        let unexpected = self.shared.unexpected.lock().unwrap().clone();
        Observed {
            told: told.into_iter().collect(),
            histories,
            events: events.collect(),
            listed: listed.clone(),
            effects: self.effects.made(),
            unexpected,
            repeated: self.shared.repeated.load(Ordering::Relaxed),
        }
    }
}

/// A step with an effect.
pub(crate) fn effect(id: &str, url: &str, after: &[String]) -> Value {
    json!({
        "id": id, "tool": "http", "depends_on": after, "timeout": "20s",
        "input": { "method": "POST", "url": url, "json": { "step": id } },
        "retry": { "max_attempts": 50, "initial": "100ms", "factor": 1.5, "max": "1s" },
    })
}

/// Chains, diamonds and fans of effects, and runs that take their time.
fn mixed(number: usize, name: &str, urls: &[String; 3]) -> Value {
    let [short, longer, _] = urls;
    let after = |id: &str| vec![id.to_owned()];
    let mut steps = vec![effect("s0", short, &[])];
    match number % 4 {
        0 => {
            for n in 1..6 {
                steps.push(effect(
                    &format!("s{n}"),
                    longer,
                    &after(&format!("s{}", n - 1)),
                ));
            }
        }
        1 => {
            steps.extend(["left", "right"].map(|id| effect(id, short, &after("s0"))));
            let both = ["left", "right"].map(str::to_owned);
            steps.push(effect("bottom", short, &both));
        }
        2 => {
            steps.extend((1..6).map(|n| effect(&format!("f{n}"), longer, &after("s0"))));
            let all: Vec<String> = (1..6).map(|n| format!("f{n}")).collect();
            steps.push(effect("join", short, &all));
        }
        _ => return slow(5, name, urls),
    }
    message(name, &steps)
}

/// Effects one after the other, each of which takes a while.
fn chain(_: usize, name: &str, [.., long]: &[String; 3]) -> Value {
    let mut steps = vec![effect("s0", long, &[])];
    for n in 1..20 {
        steps.push(effect(&format!("s{n}"), long, &[format!("s{}", n - 1)]));
    }
    message(name, &steps)
}

/// A chain of so many effects with pauses in between.
fn slow(effects: usize, name: &str, [short, ..]: &[String; 3]) -> Value {
    let mut steps = vec![effect("s0", short, &[])];
    for n in 1..effects {
        let pause = format!("p{n}");
        steps.push(json!({
            "id": pause, "tool": "sleep", "depends_on": [format!("s{}", n - 1)],
            "input": { "milliseconds": 500 },
        }));
        steps.push(effect(&format!("s{n}"), short, &[pause]));
    }
    message(name, &steps)
}

fn message(name: &str, steps: &[Value]) -> Value {
    json!({ "plan": { "steps": steps }, "labels": { "name": name } })
}

/// Those that never end are the checker's to report.
fn wait_for_ends(fleet: &Fleet, patience: Duration) {
    let begun = Instant::now();
    for status in ["pending", "running", "waiting"] {
        let path = format!("/api/v1/runs?limit=1&status={status}");
        let is_left = || {
            let answer = fleet.any_ready().ask(&path);
            answer.map_or(true, |answer| answer.header("x-total-count") != Some("0"))
        };
        while is_left() && begun.elapsed() < patience {
            thread::sleep(Duration::from_millis(100));
        }
    }
}

/// All runs, page by page.
fn list(fleet: &Fleet) -> Vec<Value> {
    let mut runs = Vec::new();
    loop {
        let path = format!("/api/v1/runs?limit=100&offset={}", runs.len());
        let answer = fleet.any_ready().ask(&path).unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        let Value::Array(mut page) = answer.json() else {
            panic!("no array: {answer:?}");
        };
        let is_last = page.len() < 100;
        runs.append(&mut page);
        if is_last {
            return runs;
        }
    }
}

/// The events of a run.
pub(crate) fn events_of(fleet: &Fleet, id: &str) -> Vec<Value> {
    let path = format!("/api/v1/runs/{id}/events");
    let headers = ["accept: application/json".to_owned()];
    let answer = wire::ask(fleet.any_ready().api(), "GET", &path, &headers, "").unwrap();
    match answer.status {
        200 => answer.json().as_array().cloned().unwrap_or_default(),
        _ => Vec::new(),
    }
}
