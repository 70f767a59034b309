//! Gateways in processes of their own: ractor keeps its registries once a process, so that two nodes
//! in one would know each other's actors.
//!
//! Each test starts this binary again as a node (`child`), tells it what to do on its standard
//! input, and reads what came of it.

#![allow(
    clippy::disallowed_methods,
    reason = "children are told by the environment that they are; tests measure real time"
)]

#[path = "gateway/child.rs"]
mod child;
#[path = "gateway/parent.rs"]
mod parent;

use std::time::Duration;

use crane_core::limits;
use parent::{Certificates, Node, SECRET, connect, until};

#[test]
fn what_is_asked_is_answered_in_one_piece_or_many() {
    let (a, b) = (
        Node::start("a", SECRET, None),
        Node::start("b", SECRET, None),
    );
    connect(&[&a, &b]);
    for size in [0, 1, 65_000, 65_536, 200_000, 8 << 20] {
        assert_eq!(a.call("b", "echo", size, 10_000), format!("done {size}"));
    }
    // What is in between is cut; what is too long is said to be.
    let too_long = limits::MESSAGE_BYTES + 1;
    let answer = a.call("b", "echo", too_long, 30_000);
    assert!(answer.contains("the limit is"), "{answer}");
    assert_eq!(b.call("a", "large", 20_000_000, 30_000), "done 20000000");
    let answer = b.call("a", "large", too_long, 30_000);
    assert!(answer.contains("the reply takes"), "{answer}");
}

#[test]
fn refusals_and_failures_are_answers() {
    let (a, b) = (
        Node::start("a", SECRET, None),
        Node::start("b", SECRET, None),
    );
    connect(&[&a, &b]);
    assert_eq!(a.call("b", "not-owner", 0, 5_000), "not-owner c#9 e4");
    let answer = a.call("b", "panic", 0, 5_000);
    assert!(answer.contains("panicked"), "{answer}");
    assert_eq!(a.call("b", "hang", 0, 300), "expired");
    let answer = a.call("nobody", "echo", 0, 5_000);
    assert!(
        answer.contains("no connection with node nobody"),
        "{answer}"
    );
}

#[test]
fn a_gateway_that_was_cut_off_is_started_again_and_is_one_gateway() {
    let (a, b) = (
        Node::start("a", SECRET, None),
        Node::start("b", SECRET, None),
    );
    connect(&[&a, &b]);
    assert_eq!(a.ask("restart"), "ok");
    connect(&[&a, &b]);
    until("both answer again", || {
        a.call("b", "echo", 1, 5_000) == "done 1" && b.call("a", "echo", 1, 5_000) == "done 1"
    });
    until("there is one", || a.ask("remotable") == "1");
}

#[test]
fn the_gateway_is_the_only_remotable_actor() {
    let (a, b) = (
        Node::start("a", SECRET, None),
        Node::start("b", SECRET, None),
    );
    connect(&[&a, &b]);
    // Of its own; those that stand for a peer's are not local.
    assert_eq!(a.ask("remotable"), "1");
    assert_eq!(b.ask("remotable"), "1");
}

#[test]
fn a_node_with_another_secret_or_of_another_cluster_is_not_connected() {
    let a = Node::start("a", SECRET, None);
    let x = Node::start("x", "another secret, long enough", None);
    let b = Node::start("b", SECRET, None);
    for node in [&a, &x, &b] {
        node.want(&[&a, &x, &b]);
    }
    until("a and b are connected", || {
        a.connected() == "b" && b.connected() == "a"
    });
    assert_eq!(x.connected(), "");
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!((a.connected().as_str(), x.connected().as_str()), ("b", ""));
}

#[test]
fn while_secrets_are_changed_all_nodes_are_connected() {
    let new = "the next secret, long enough";
    // As it goes: the new one is known to all, then the first of all, and then the only one.
    let known = format!("{SECRET};{new}");
    let first = format!("{new};{SECRET}");
    for (one, other) in [(SECRET, &*known), (&*known, &*first), (&*first, new)] {
        connect(&[&Node::start("a", one, None), &Node::start("b", other, None)]);
        connect(&[&Node::start("a", other, None), &Node::start("b", one, None)]);
    }
}

#[test]
fn a_killed_node_is_noticed_at_once_found_gone_and_its_next_life_is_connected() {
    let a = Node::start("a", SECRET, None);
    let b = Node::start("b", SECRET, None);
    connect(&[&a, &b]);
    let pending = a.begin_call("b", "hang", 0, 60_000);
    until("the call has arrived", || b.ask("hanging") == "1");
    b.kill();
    let answer = a.answer(&pending);
    assert!(answer.contains("was lost"), "{answer}");
    until("the loss is known", || a.connected().is_empty());
    a.want_down(&b);
    until("it is found gone", || a.ask("refused") == "b");
    let again = Node::start("b", SECRET, None);
    connect(&[&a, &again]);
    assert_eq!(a.call("b", "echo", 10, 5_000), "done 10");
}

#[test]
fn the_session_of_a_node_that_gossip_has_lost_is_stopped_and_made_again_when_it_returns() {
    let (a, b) = (
        Node::start("a", SECRET, None),
        Node::start("b", SECRET, None),
    );
    connect(&[&a, &b]);
    let pending = a.begin_call("b", "hang", 0, 60_000);
    until("the call has arrived", || b.ask("hanging") == "1");
    a.want_down(&b);
    let answer = a.answer(&pending);
    assert!(answer.contains("was lost"), "{answer}");
    assert_eq!(a.connected(), "");
    // It listens, so that nobody may say that it is gone.
    std::thread::sleep(Duration::from_millis(1_000));
    assert_eq!(a.ask("refused"), "");
    a.want(&[&b]);
    until("they are connected again", || a.connected() == "b");
    assert_eq!(a.call("b", "echo", 10, 5_000), "done 10");
}

#[test]
fn a_connection_that_proves_nothing_is_closed() {
    use std::io::Read as _;
    let a = Node::start("a", SECRET, None);
    let mut silent = std::net::TcpStream::connect(a.address()).expect("it listens");
    let limit = Duration::from_secs(20);
    silent
        .set_read_timeout(Some(limit))
        .expect("it is a socket");
    assert_eq!(silent.read(&mut [0]).expect("it is closed in time"), 0);
}

#[test]
fn with_certificates_only_those_who_hold_one_of_the_authority_get_in() {
    let (ours, theirs) = (Certificates::make(), Certificates::make());
    let a = Node::start("a", SECRET, Some(&ours));
    // Somebody who says nothing holds nobody up.
    let _silent = std::net::TcpStream::connect(a.address()).expect("it listens");
    let b = Node::start("b", SECRET, Some(&ours));
    connect(&[&a, &b]);
    assert_eq!(a.call("b", "echo", 200_000, 5_000), "done 200000");
    let plain = Node::start("c", SECRET, None);
    let stranger = Node::start("d", SECRET, Some(&theirs));
    for node in [&plain, &stranger] {
        node.want(&[&a, &b]);
        a.want(&[&b, node]);
        std::thread::sleep(Duration::from_millis(2_500));
        assert_eq!(node.connected(), "");
        assert_eq!(a.connected(), "b");
    }
}
