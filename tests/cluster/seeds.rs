//! Nodes that are told one name to begin with, as behind a headless service: it has no address at
//! first, and then several.

use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use crate::fleet::{Fleet, Shape};
use crate::node::{GOSSIP, Node};
use crate::system::{self, PATIENCE, until};

/// What all nodes are told.
const SEED: &str = "crane";
/// Longest time until nodes have met whose seed has an address: it is looked up every two seconds,
/// which may take two.
const MEETING: Duration = Duration::from_secs(15);

/// The other nodes that one hears of, which is by gossip alone: names, and whether all is well.
#[track_caller]
fn company(node: &Node) -> Vec<(String, bool)> {
    let members = node.members().into_iter();
    let others = members.filter(|member| member["this"] == false);
    let others = others.map(|member| {
        let well = member["state"] == "alive" && member["connected"] == true;
        (member["node"].as_str().unwrap().to_owned(), well)
    });
    others.collect()
}

#[test]
fn nodes_whose_only_seed_is_a_name_meet_once_it_has_addresses() {
    let Some(_turn) = system::turn() else { return };
    let shape = Shape {
        nodes: 3,
        spare: 1,
        ..Shape::default()
    };
    let (nodes, spare) = (shape.nodes, shape.spare);
    let mut fleet = Fleet::prepare(shape);
    for node in &mut fleet.nodes {
        node.variable("CRANE__CLUSTER__SEEDS", &format!("{SEED}:{GOSSIP}"));
        node.start();
    }
    for node in &fleet.nodes {
        until("a node answers", PATIENCE, || node.cluster().is_some());
    }
    // They would have met by then, if only by the database that they have in common.
    thread::sleep(Duration::from_secs(4));
    for node in &fleet.nodes {
        assert!(company(node).is_empty(), "{:?}", node.members());
        println!("{} is alone, ready: {}", node.name, node.is_ready());
    }
    // At the last one nobody listens.
    let addresses = (0..nodes + spare).map(|space| fleet.network.address(space));
    fleet
        .network
        .name(SEED, &addresses.collect::<Vec<Ipv4Addr>>());
    let named = Instant::now();
    let all_have_met = || {
        let mut nodes_seen = fleet.nodes.iter().map(company);
        nodes_seen.all(|others| others.len() == nodes - 1 && others.iter().all(|(_, well)| *well))
    };
    until("all have met", MEETING, all_have_met);
    println!("all have met {:.1?} after that", named.elapsed());
    println!("calm after another {:.1?}", fleet.calm());
}
