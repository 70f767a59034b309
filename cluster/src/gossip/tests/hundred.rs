//! A hundred nodes in one process, in virtual time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chitchat::transport::ChannelTransport;
use crane_core::{Generation, NodeName};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use crate::gossip::pace::interval;
use crate::gossip::pace::{Pace, Paced};
use crate::gossip::told::Told;
use crate::gossip::{Gossip, Options};
use crate::metrics::GossipMetrics;
use crate::ownership::words::Sight;
use crate::secret::Secrets;

const NODES: u16 = 100;

fn address(number: u16) -> SocketAddr {
    ([127, 0, 0, 1], 10_000 + number).into()
}

async fn start(
    number: u16,
    transport: &ChannelTransport,
    tasks: &mut JoinSet<()>,
) -> (Gossip, AbortHandle) {
    let options = Options {
        cluster: "test".into(),
        node: NodeName::new(format!("node-{number}")),
        generation: Generation(1),
        listen: address(number),
        advertise: address(number),
        seeds: vec![address(0).to_string()],
        secrets: Secrets::none(&[]).expect("nobody listens"),
        told: Told::default(),
    };
    let metrics = Arc::new(GossipMetrics::new());
    let pace = Pace::default();
    let transport = Box::new(Paced {
        inner: transport.clone(),
        pace: pace.clone(),
    });
    let started = Gossip::start_on(options, transport, pace, metrics).await;
    let (gossip, driver) = started.expect("the address is free");
    (gossip, tasks.spawn(driver))
}

fn alive(gossip: &Gossip) -> usize {
    let members = gossip.members();
    let members = members.borrow();
    let alive = members.members.iter().filter(|m| m.sight == Sight::Alive);
    alive.count()
}

async fn until(what: &str, limit: Duration, done: impl Fn() -> bool) -> Duration {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < limit, "{what}: not within {limit:?}");
        // Virtual time: nothing waits here, the clock is moved on.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_hundred_nodes_see_each_other_and_who_falls_silent() {
    let transport = ChannelTransport::with_mtu(65_507);
    let mut tasks = JoinSet::new();
    let mut nodes = Vec::new();
    for number in 0..NODES {
        nodes.push(start(number, &transport, &mut tasks).await);
    }
    let all = usize::from(NODES) - 1;
    let joined = until("join", Duration::from_secs(30), || {
        nodes.iter().all(|(gossip, _)| alive(gossip) == all)
    })
    .await;
    assert_eq!(interval(usize::from(NODES)), Duration::from_millis(666));

    // Let the intervals that are measured become those of a cluster of this size.
    tokio::time::sleep(Duration::from_secs(15)).await;
    let before = transport.statistics();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let after = transport.statistics();
    let bytes = (after.num_bytes_total - before.num_bytes_total) / u64::from(NODES) / 5;
    eprintln!("joined in {joined:?}; {bytes} bytes a second and node");
    assert!(bytes < 80_000, "{bytes}");
    let seen: usize = nodes.iter().map(|(gossip, _)| alive(gossip)).sum();
    assert!(seen >= usize::from(NODES) * all - 5, "{seen}");

    let (_, victim) = nodes.swap_remove(50);
    victim.abort();
    transport_forget(&transport, address(50)).await;
    let detected = until("detection", Duration::from_secs(30), || {
        nodes.iter().all(|(gossip, _)| alive(gossip) < all)
    })
    .await;
    eprintln!("a silent node was found down by all after {detected:?}");
    assert!(detected >= Duration::from_secs(1), "{detected:?}");
}

/// Aborting the driver leaves chitchat's own task; cut it off instead.
async fn transport_forget(transport: &ChannelTransport, victim: SocketAddr) {
    for number in 0..NODES {
        if address(number) != victim {
            transport.remove_link(victim, address(number)).await;
        }
    }
}
