//! Others on the same network: a cluster with another id, a node with the wrong secret. Both name
//! nodes of the cluster as their seeds, so that they knock at its doors.

use serde_json::Value;

use crate::deployment;
use crate::fleet::Fleet;
use crate::node::Node;
use crate::system::{PATIENCE, until};

/// See the module. They are killed when they are dropped.
pub(crate) struct Strangers {
    /// Each with the reason for which its datagrams are dropped, and how many were before it came.
    all: [(Node, &'static str, f64); 2],
}

impl Strangers {
    /// Starts them in the first two spare namespaces.
    pub(crate) fn start(fleet: &Fleet) -> Self {
        let spare = fleet.shape.nodes;
        let mut other = fleet.node(spare);
        other.variable("CRANE__CLUSTER__ID", "another");
        other.variable("CRANE__STORE__SCHEMA", "another");
        let intruder = intruder(fleet, spare + 1);
        let all = [(other, "foreign"), (intruder, "forged")];
        let all = all.map(|(mut node, reason)| {
            let before = dropped(fleet, reason);
            node.start();
            (node, reason, before)
        });
        Self { all }
    }

    /// Waits until they serve and the cluster has not taken in what they say.
    #[track_caller]
    pub(crate) fn knock(&self, fleet: &Fleet) {
        for (stranger, reason, before) in &self.all {
            until("a stranger serves", PATIENCE, || stranger.is_ready());
            until("a stranger is counted", PATIENCE, || {
                dropped(fleet, reason) > *before
            });
            println!(
                "         {}: {} datagrams of {} were dropped",
                reason,
                dropped(fleet, reason) - before,
                stranger.name
            );
        }
    }

    /// Panics unless the cluster lists its own nodes alone, and each of them itself.
    #[track_caller]
    pub(crate) fn are_alone(&self, fleet: &Fleet) {
        let own: Vec<&str> = fleet.nodes.iter().map(|node| &*node.name).collect();
        for node in &fleet.nodes {
            assert_eq!(members(node), own, "{}", node.name);
        }
        for (stranger, ..) in &self.all {
            assert_eq!(members(stranger), [&*stranger.name]);
        }
    }
}

/// A node with the wrong secret. By all else it is one of the cluster's: its schema is the twin of
/// theirs, as a copy of the database would be, or they would be strangers already by that.
fn intruder(fleet: &Fleet, space: usize) -> Node {
    let mut intruder = fleet.node(space);
    deployment::give(&mut intruder, &fleet.other_secrets());
    intruder.variable("CRANE__STORE__SCHEMA", "intruders");
    intruder.start();
    until("an intruder serves", PATIENCE, || intruder.is_ready());
    intruder.kill();
    let twin = "UPDATE intruders.migrations SET applied_at = theirs.applied_at \
                FROM crane.migrations theirs WHERE migrations.version = theirs.version";
    fleet.database.sql(twin);
    intruder
}

/// Names of the members that a node sees.
#[track_caller]
fn members(node: &Node) -> Vec<String> {
    let members = node.members().into_iter();
    let name = |member: Value| member["node"].as_str().unwrap().to_owned();
    members.map(name).collect()
}

/// Datagrams that the nodes have not taken in for this reason.
fn dropped(fleet: &Fleet, reason: &str) -> f64 {
    let nodes = fleet.nodes.iter();
    nodes
        .map(|node| node.metric("crane_gossip_dropped_total", reason))
        .sum()
}
