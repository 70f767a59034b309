//! How long runs stand still: when their node is killed or cut off, and while nodes are restarted in
//! order.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crane_core::Timestamp;
use serde_json::{Value, json};

use super::{figure, samples, spread};
use crate::clients::{EndOfClients, Shared};
use crate::database::PORT;
use crate::fleet::{Fleet, Shape};
use crate::load::events_of;
use crate::nemesis::restart;
use crate::node::Node;
use crate::restarts::{Seen, users};
use crate::system::{self, Random};
use crate::wire;

/// Runs that are under way.
const RUNS: usize = 60;
/// How long a step takes.
const STEP: Duration = Duration::from_millis(50);

/// Submits runs that are under way for so long; their ids.
fn submit(fleet: &Fleet, lasting: Duration) -> Vec<String> {
    let steps = lasting.as_millis() / STEP.as_millis();
    let steps = (0..steps).map(|n| {
        let after: Vec<String> = n
            .checked_sub(1)
            .map(|n| format!("s{n}"))
            .into_iter()
            .collect();
        json!({ "id": format!("s{n}"), "tool": "sleep", "depends_on": after,
                "input": { "milliseconds": STEP.as_millis() } })
    });
    let body = json!({ "plan": { "steps": steps.collect::<Vec<_>>() } }).to_string();
    let ids = (0..RUNS).map(|number| {
        let node = fleet.nodes[number % fleet.nodes.len()].api();
        let answer = wire::ask(node, "POST", "/api/v1/runs", &[], &body).unwrap();
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()["run_id"].as_str().unwrap().to_owned()
    });
    ids.collect()
}

/// When each event of a run was, since 1970.
fn instants(fleet: &Fleet, run: &str) -> Vec<Duration> {
    let at = |event: &Value| {
        let at: Timestamp = serde_json::from_value(event["at"].clone()).unwrap();
        Duration::from_micros(at.0.unsigned_abs())
    };
    events_of(fleet, run).iter().map(at).collect()
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

/// The node of each run.
fn owners(fleet: &Fleet, runs: &[String]) -> BTreeMap<String, String> {
    let owner = |run: &String| {
        let answer = fleet
            .any_ready()
            .ask(&format!("/api/v1/runs/{run}"))
            .unwrap();
        let node = answer.json()["node"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        (run.clone(), node)
    };
    runs.iter().map(owner).collect()
}

/// How a node goes away.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// kill -9: its address refuses connections from then on.
    Kill,
    /// Nothing of it arrives anywhere, and nothing refuses: its lease must run out.
    Cut,
}

/// Takes a node away, waits until others have what it had, and brings it back; from its end to the
/// next event of each of its runs, `None` where there was none.
fn standstill(fleet: &mut Fleet, victim: usize, end: End) -> Vec<Option<Duration>> {
    let lease = fleet.shape.lease;
    let runs = submit(fleet, Duration::from_secs(15) + lease);
    thread::sleep(Duration::from_secs(1));
    let owners = owners(fleet, &runs);
    match end {
        End::Kill => fleet.nodes[victim].kill(),
        End::Cut => fleet.network.cut_off(victim, PORT),
    }
    // What it has committed is of an earlier moment.
    let gone = now();
    thread::sleep(Duration::from_secs(8) + lease);
    let name = &fleet.nodes[victim].name;
    let own = owners.iter().filter(|(_, owner)| *owner == name);
    let next = |(run, _): (&String, _)| {
        let mut later = instants(fleet, run).into_iter().filter(|at| *at > gone);
        later.next().map(|next| next - gone)
    };
    let times = own.map(next).collect();
    match end {
        End::Kill => fleet.nodes[victim].start(),
        End::Cut => fleet.network.heal(victim),
    }
    fleet.calm();
    fleet.balanced();
    times
}

/// Each node in turn goes away.
fn progress_after(end: End, lease: Duration) {
    let shape = Shape {
        nodes: 3,
        lease,
        ..Shape::default()
    };
    let mut fleet = Fleet::start(shape);
    fleet.balanced();
    let mut times = Vec::new();
    for sample in 0..samples() {
        let victim = usize::try_from(sample).unwrap() % fleet.nodes.len();
        times.extend(standstill(&mut fleet, victim, end));
    }
    let name = match end {
        End::Kill => "kill_to_progress",
        End::Cut => "cut_to_progress",
    };
    let never = times.iter().filter(|time| time.is_none()).count();
    let times = spread(times.into_iter().flatten().collect());
    figure(
        name,
        json!({ "lease_ms": lease.as_millis(), "never": never, "time": times }),
    );
}

#[test]
#[ignore = "a figure"]
fn figures_of_a_kill() {
    let Some(_turn) = system::turn() else { return };
    progress_after(End::Kill, Duration::from_secs(3));
    progress_after(End::Kill, Duration::from_secs(1));
}

#[test]
#[ignore = "a figure"]
fn figures_of_being_cut_off() {
    let Some(_turn) = system::turn() else { return };
    progress_after(End::Cut, Duration::from_secs(3));
    progress_after(End::Cut, Duration::from_secs(1));
}

#[test]
#[ignore = "a figure"]
fn figures_of_a_rolling_restart() {
    let Some(_turn) = system::turn() else { return };
    let shape = Shape {
        nodes: 3,
        lease: Duration::from_secs(3),
        ..Shape::default()
    };
    let mut fleet = Fleet::start(shape);
    fleet.balanced();
    let shared = std::sync::Arc::new(Shared::of(fleet.nodes.iter().map(Node::api).collect()));
    let _end = EndOfClients(shared.clone());
    let users = users(&shared, &mut Random::from_env(), 4);
    let mut gaps = Vec::new();
    for _ in 0..samples() {
        for node in 0..fleet.nodes.len() {
            let runs = submit(&fleet, Duration::from_secs(40));
            restart(&mut fleet, &[node]);
            for run in runs {
                let instants = instants(&fleet, &run);
                let gap = instants
                    .windows(2)
                    .map(|pair| pair[1].saturating_sub(pair[0]))
                    .max();
                // What is beyond the step that was running is the pause.
                gaps.push(gap.unwrap_or_default().saturating_sub(STEP));
            }
        }
    }
    shared.stop.store(true, Ordering::Relaxed);
    let seen: Vec<Seen> = users.into_iter().map(|user| user.join().unwrap()).collect();
    let requests: usize = seen.iter().map(|seen| seen.requests).sum();
    let failed: usize = seen.iter().map(|seen| seen.failed.len()).sum();
    let slowest = seen
        .iter()
        .map(|seen| seen.slowest)
        .max()
        .unwrap_or_default();
    figure(
        "rolling_restart",
        json!({
            "nodes": 3, "restarts": samples() * 3, "requests": requests, "failed": failed,
            "slowest_request_ms": slowest.as_millis(), "longest_pause_of_a_run": spread(gaps),
        }),
    );
}
