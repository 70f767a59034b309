//! Three nodes on real sockets: joining, telling, leaving; and one with another secret.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use crane_core::{Generation, NodeName};
use tokio::task::JoinSet;

use crate::gossip::told::Told;
use crate::gossip::{Gossip, Members, Options};
use crate::ownership::words::{Phase, Sight};
use crate::secret::Secrets;

const LIMIT: Duration = Duration::from_secs(20);

fn free_address() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    socket.local_addr().expect("it is bound")
}

fn options(node: &str, seeds: Vec<String>, secret: &str) -> Options {
    let listen = free_address();
    Options {
        cluster: "test".into(),
        node: NodeName::new(node),
        generation: Generation(1),
        listen,
        advertise: listen,
        seeds,
        secrets: Secrets::new(vec![secret.into()]).expect("it is long enough"),
        told: Told {
            rpc: format!("{node}:1"),
            ..Told::default()
        },
    }
}

async fn start(options: Options, tasks: &mut JoinSet<()>) -> Gossip {
    let (gossip, driver) = Gossip::start(options).await.expect("the port is free");
    tasks.spawn(driver);
    gossip
}

async fn wait_for(gossip: &Gossip, wanted: impl Fn(&Members) -> bool) {
    let mut members = gossip.members();
    let met = members.wait_for(|members| wanted(members));
    let met = tokio::time::timeout(LIMIT, met).await;
    met.expect("it happens in time").expect("gossip goes on");
}

fn alive(members: &Members) -> usize {
    let members = members.members.iter();
    members
        .filter(|member| member.sight == Sight::Alive)
        .count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_find_each_other_by_one_seed_hear_what_changes_and_see_who_leaves() {
    let mut tasks = JoinSet::new();
    let first = options("a", vec![], "correct horse battery");
    // By name, so that all addresses of it are tried.
    let seed = vec![format!("localhost:{}", first.listen.port())];
    let a = start(first, &mut tasks).await;
    let b = start(
        options("b", seed.clone(), "correct horse battery"),
        &mut tasks,
    )
    .await;
    let c = start(options("c", seed, "correct horse battery"), &mut tasks).await;
    for gossip in [&a, &b, &c] {
        wait_for(gossip, |members| alive(members) == 2).await;
    }
    b.tell(|told| told.phase = Phase::Draining);
    wait_for(&c, |members| {
        let drains = |m: &crate::gossip::members::Member| m.told.phase == Phase::Draining;
        members
            .members
            .iter()
            .any(|m| m.told.rpc == "b:1" && drains(m))
    })
    .await;
    b.leave();
    for gossip in [&a, &c] {
        wait_for(gossip, |members| alive(members) == 1).await;
        wait_for(gossip, |m| m.members.iter().any(|m| m.said_goodbye())).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_another_secret_joins_nothing() {
    let mut tasks = JoinSet::new();
    let first = options("a", vec![], "correct horse battery");
    let seed = vec![first.listen.to_string()];
    let a = start(first, &mut tasks).await;
    let stranger = start(
        options("x", seed.clone(), "incorrect horse battery"),
        &mut tasks,
    )
    .await;
    let b = start(options("b", seed, "correct horse battery"), &mut tasks).await;
    wait_for(&a, |members| alive(members) == 1).await;
    wait_for(&b, |members| alive(members) == 1).await;
    let known = stranger.members().borrow().clone();
    assert_eq!(known.members, []);
    let known = a.members().borrow().clone();
    assert!(
        known
            .members
            .iter()
            .all(|member| member.node.as_str() == "b")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gossip_that_was_cut_off_is_started_again_and_whoever_holds_it_goes_on() {
    let mut tasks = JoinSet::new();
    let first = options("a", vec![], "correct horse battery");
    let seed = vec![first.listen.to_string()];
    let a = start(first.clone(), &mut tasks).await;
    // Before b, so that it is all that is aborted.
    tasks.abort_all();
    while tasks.join_next().await.is_some() {}
    a.tell(|told| told.zone = "north".into());
    let b = start(options("b", seed, "correct horse battery"), &mut tasks).await;
    let again = a.start_again(first).await.expect("the port is free again");
    tasks.spawn(again);
    assert!(!a.expects_others() && b.expects_others());
    wait_for(&a, |members| alive(members) == 1).await;
    wait_for(&b, |members| {
        let mut members = members.members.iter();
        members.any(|member| member.sight == Sight::Alive && member.told.zone == "north")
    })
    .await;
}

#[tokio::test]
async fn an_address_that_is_taken_is_an_error_that_names_it() {
    let taken = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    let mut options = options("a", vec![], "correct horse battery");
    options.listen = taken.local_addr().expect("it is bound");
    let error = Gossip::start(options).await.err().expect("it is taken");
    let address = taken.local_addr().expect("it is bound").to_string();
    assert!(error.to_string().contains(&address), "{error}");
}
