//! Others on the same network: a cluster with another id, a node with the wrong secret.

use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::deployment;
use crate::fleet::{Fleet, Shape};
use crate::node::Node;
use crate::system::{self, PATIENCE, until};

/// Names of the members that a node sees.
fn members(node: &Node) -> Vec<String> {
    let cluster = node.cluster().unwrap();
    let members = cluster["members"].as_array().unwrap().iter();
    let name = |member: &Value| member["node"].as_str().unwrap().to_owned();
    members.map(name).collect()
}

/// Datagrams that the nodes have not taken in for this reason.
fn dropped(fleet: &Fleet, reason: &str) -> f64 {
    let nodes = fleet.nodes.iter();
    nodes
        .map(|node| node.metric("crane_gossip_dropped_total", reason))
        .sum()
}

#[test]
fn another_cluster_and_a_node_with_the_wrong_secret_join_nothing_and_are_counted() {
    let Some(_turn) = system::turn() else { return };
    let shape = Shape {
        nodes: 2,
        spare: 2,
        ..Shape::default()
    };
    let fleet = Fleet::start(shape);
    // Both name nodes of the cluster as their seeds, so they knock at its doors.
    let mut other = fleet.node(2);
    other.variable("CRANE__CLUSTER__ID", "another");
    other.variable("CRANE__STORE__SCHEMA", "another");
    let mut intruder = fleet.node(3);
    deployment::give(&mut intruder, &fleet.other_secrets());
    intruder.variable("CRANE__STORE__SCHEMA", "intruders");
    other.start();
    intruder.start();
    for (stranger, reason) in [(&other, "foreign"), (&intruder, "forged")] {
        let name = &stranger.name;
        until("a stranger serves", PATIENCE, || stranger.is_ready());
        until("a stranger is counted", PATIENCE, || {
            dropped(&fleet, reason) > 0.0
        });
        println!(
            "{} datagrams of {name} were dropped so far",
            dropped(&fleet, reason)
        );
    }
    // They would have joined by now.
    thread::sleep(Duration::from_secs(2));
    for node in &fleet.nodes {
        assert_eq!(members(node), ["crane-1", "crane-2"], "{}", node.name);
    }
    for stranger in [&other, &intruder] {
        assert_eq!(members(stranger), [&*stranger.name]);
    }
    fleet.calm();
}
