//! Nodes that have nothing to do, and nodes that come.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{figure, medians, samples, seconds, spread};
use crate::fleet::{Fleet, Shape};
use crate::node::Node;
use crate::system::{self, PATIENCE, until};

#[test]
#[ignore = "a figure"]
fn figures_of_joining() {
    let Some(_turn) = system::turn() else { return };
    let mut fleet = Fleet::start(Shape {
        nodes: 3,
        lease: Duration::from_secs(3),
        ..Shape::default()
    });
    let (mut serves, mut ready, mut owns) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..samples() {
        fleet.nodes[2].stop();
        thread::sleep(Duration::from_secs(1));
        let begun = Instant::now();
        fleet.nodes[2].start();
        let node = &fleet.nodes[2];
        until("it answers", PATIENCE, || {
            node.ask("/api/v1/runs?limit=1").is_ok()
        });
        serves.push(begun.elapsed());
        until("it is ready", PATIENCE, || node.is_ready());
        ready.push(begun.elapsed());
        until("it owns shards", PATIENCE, || {
            node.metric("crane_shards_owned", "") > 0.0
        });
        owns.push(begun.elapsed());
        fleet.calm();
    }
    figure(
        "join",
        json!({
            "nodes": 3, "to_answering": spread(serves), "to_ready": spread(ready),
            "to_first_shard": spread(owns),
        }),
    );
}

/// What a node of `fleet` takes while nobody asks for anything, on average over all of them.
fn idle(fleet: &Fleet) -> Value {
    let nodes = fleet.nodes.len();
    let measure = || {
        let bytes = (0..nodes).map(|node| fleet.network.bytes(node));
        let (received, sent) = bytes.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let processor: f64 = fleet.nodes.iter().map(Node::processor).sum();
        (received, sent, processor)
    };
    let begun = Instant::now();
    let before = measure();
    thread::sleep(seconds());
    let after = measure();
    let each = begun.elapsed().as_secs_f64() * f64::from(u32::try_from(nodes).unwrap());
    let rate = |bytes: u64| (f64::from(u32::try_from(bytes).unwrap()) / each).round();
    json!({
        "received_bytes_per_second": rate(after.0 - before.0),
        "sent_bytes_per_second": rate(after.1 - before.1),
        "processor_percent": ((after.2 - before.2) / each * 1e4).round() / 100.0,
    })
}

#[test]
#[ignore = "a figure"]
fn figures_of_idleness() {
    let Some(_turn) = system::turn() else { return };
    for nodes in [3, 5] {
        let fleet = Fleet::start(Shape {
            nodes,
            lease: Duration::from_secs(3),
            ..Shape::default()
        });
        fleet.balanced();
        thread::sleep(Duration::from_secs(5));
        let windows: Vec<Value> = (0..samples()).map(|_| idle(&fleet)).collect();
        let each = medians(&windows);
        figure(
            "idle_node",
            json!({ "nodes": nodes, "windows": windows.len(), "each": each }),
        );
    }
}
