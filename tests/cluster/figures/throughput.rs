//! Runs a second: one node on its own store, one and three nodes on one PostgreSQL.

use std::net::SocketAddr;
use std::process::Stdio;

use serde_json::{Value, json};

use super::{figure, medians, samples, seconds};
use crate::fleet::{Fleet, Shape};
use crate::node::{API, Node};
use crate::system;
use crate::wire::TOKEN;

/// Runs that are open at a time, over all nodes.
const CONCURRENCY: usize = 192;
const SHAPE: &str = "chain:10";

/// Loads all nodes at once; what `crane bench` says of each.
fn bench(fleet: &Fleet, nodes: &[SocketAddr]) -> Vec<Value> {
    let started = nodes.iter().map(|node| {
        fleet
            .network
            .client(&system::crane())
            .args(["bench", "-o", "json", "--shape", SHAPE])
            .args(["--server", &format!("http://{node}")])
            .args(["--concurrency", &(CONCURRENCY / nodes.len()).to_string()])
            .args(["--duration", &format!("{}s", seconds().as_secs())])
            .env("CRANE_TOKEN", TOKEN)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    });
    let started: Vec<_> = started.collect();
    let told = started.into_iter().map(|bench| {
        let output = bench.wait_with_output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
    });
    told.collect()
}

/// All nodes together.
fn total(benches: &[Value]) -> Value {
    let sum = |name: &str| -> f64 { benches.iter().filter_map(|one| one[name].as_f64()).sum() };
    let most = |name: &str| {
        benches
            .iter()
            .filter_map(|one| one[name].as_f64())
            .fold(0.0, f64::max)
    };
    json!({
        "runs_per_second": sum("runs_per_second"), "steps_per_second": sum("steps_per_second"),
        "errors": sum("errors"), "p50_ms": most("p50_ms"), "p99_ms": most("p99_ms"),
    })
}

fn embedded() -> Value {
    let fleet = Fleet::prepare(Shape {
        nodes: 0,
        spare: 1,
        ..Shape::default()
    });
    let address = fleet.network.address(0);
    // On the disk that PostgreSQL is on.
    let directory = tempfile::TempDir::new().unwrap();
    let place = (fleet.network.space(0), address);
    let mut node = Node::new("alone", place, directory.path().to_owned());
    node.variable("CRANE__API__LISTEN", &format!("{address}:{API}"));
    node.variable("CRANE__API__TOKENS", TOKEN);
    node.variable("CRANE__LOG__FILTER", "warn");
    node.start();
    system::until("the node is ready", system::PATIENCE, || node.is_ready());
    total(&bench(&fleet, &[node.api()]))
}

fn shared(nodes: usize) -> Value {
    let fleet = Fleet::start(Shape {
        nodes,
        lease: std::time::Duration::from_secs(3),
        ..Shape::default()
    });
    fleet.balanced();
    let count = |sql: &str| -> f64 { fleet.database.sql(sql).parse().unwrap() };
    let commits =
        || count("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()");
    let events = || count("SELECT coalesce(sum(seq - after), 0) FROM journal");
    let (commits_before, events_before) = (commits(), events());
    let addresses: Vec<SocketAddr> = fleet.nodes.iter().map(Node::api).collect();
    let mut total = total(&bench(&fleet, &addresses));
    // The statistics of other connections are a second late.
    std::thread::sleep(std::time::Duration::from_secs(2));
    let commits = commits() - commits_before;
    let events = events() - events_before;
    total["transitions"] = json!(events);
    total["commits"] = json!(commits);
    total["transitions_per_commit"] = json!((events / commits * 100.0).round() / 100.0);
    total
}

/// Nodes on PostgreSQL; `None` is one on its own store.
const STORES: [Option<usize>; 3] = [None, Some(1), Some(3)];

/// Each has its turn in each round, so that a machine that changes is the same to all.
#[test]
#[ignore = "a figure"]
fn figures_of_throughput() {
    let Some(_turn) = system::turn() else { return };
    let mut measured = STORES.map(|_| Vec::new());
    for round in 1..=samples() {
        for (nodes, rounds) in STORES.into_iter().zip(&mut measured) {
            let one = nodes.map_or_else(embedded, shared);
            println!("round {round}, nodes on PostgreSQL: {nodes:?}, {one}");
            rounds.push(one);
        }
    }
    for (nodes, rounds) in STORES.into_iter().zip(&measured) {
        figure(
            "throughput",
            json!({
                "store": nodes.map_or("embedded", |_| "postgres"), "nodes": nodes.unwrap_or(1),
                "shape": SHAPE, "concurrency": CONCURRENCY, "rounds": rounds.len(),
                "each": medians(rounds),
            }),
        );
    }
}
