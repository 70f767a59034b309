//! kill -9 of a node that clients talk to, again and again.
//!
//! ```text
//!   submitters ── POST, repeated until acknowledged ──> node <── kill -9, restart, at random
//!       │ ids                                            │
//!       └──> followers ── Last-Event-ID, until 204 ──────┘
//! ```

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::checker::{self, Observed};
use super::clients::{self, Submitted, Submitter};
use super::node::Node;
use super::{PATIENCE, PAUSE, wire};
use crate::crash::{Random, rounds};
use crate::program::Home;

/// Kills by default; CI asks for more.
const ROUNDS: u32 = 5;
const SUBMITTERS: u32 = 4;
const FOLLOWERS: u32 = 8;

/// Kills a node `rounds` times under its clients, lets it finish, and says what is wrong then.
fn soak(rounds: u32, with_keys: bool) -> Vec<String> {
    let home = Home::new();
    let mut random = Random::from_env();
    let mut node = Node::start(&home);
    let address = node.address;
    let stop = Arc::new(AtomicBool::new(false));
    let unexpected = Arc::new(Mutex::new(Vec::new()));
    let (to_follow, runs) = channel();
    let runs = Arc::new(Mutex::new(runs));
    let submitters: Vec<_> = (0..SUBMITTERS)
        .map(|number| {
            let submitter = Submitter {
                address,
                number,
                with_keys,
                stop: Arc::clone(&stop),
                to_follow: to_follow.clone(),
                unexpected: Arc::clone(&unexpected),
            };
            thread::spawn(move || submitter.work())
        })
        .collect();
    drop(to_follow);
    let followers: Vec<_> = (0..FOLLOWERS)
        .map(|_| {
            let runs = Arc::clone(&runs);
            thread::spawn(move || clients::follow_all(address, &runs))
        })
        .collect();
    for round in 0..rounds {
        // Every other time it serves first: the kill is to come in the midst of requests, and in
        // the midst of recovery as well.
        if round % 2 == 0 {
            node.wait_until_ready();
        }
        // Not a wait for anything: the instant of the kill.
        thread::sleep(Duration::from_millis(random.below(400)));
        node.restart();
    }
    node.wait_until_ready();
    stop.store(true, Ordering::Relaxed);
    let submitted: Vec<Submitted> = submitters
        .into_iter()
        .flat_map(|submitter| submitter.join().unwrap())
        .collect();
    let mut seen = Observed {
        histories: followers
            .into_iter()
            .flat_map(|follower| follower.join().unwrap())
            .collect(),
        ..Observed::default()
    };
    wait_until_all_have_ended(address);
    seen.unexpected.append(&mut unexpected.lock().unwrap());
    if with_keys {
        repeat(address, &submitted, &mut seen.unexpected);
    }
    seen.listed = list(address);
    let tell = |one: Submitted| (one.name, one.run_id);
    seen.told = submitted.into_iter().map(tell).collect();
    let wrong = checker::check(&seen);
    println!(
        "{rounds} kills, {} submissions, {} runs, {} streams, {} findings",
        seen.told.len(),
        seen.listed.len(),
        seen.histories.len(),
        wrong.len()
    );
    wrong
}

/// Asks for every run once more: each is known by its key.
fn repeat(address: SocketAddr, submitted: &[Submitted], wrong: &mut Vec<String>) {
    for one in submitted {
        let headers = [clients::key(&one.name)];
        let answer = wire::ask(address, "POST", "/api/v1/runs", &headers, &one.body).unwrap();
        if answer.status != 200 || answer.json()["run_id"] != *one.run_id {
            wrong.push(format!("{} repeated: {answer:?}", one.name));
        }
    }
}

fn wait_until_all_have_ended(address: SocketAddr) {
    let begun = Instant::now();
    for status in ["pending", "running", "waiting"] {
        let path = format!("/api/v1/runs?limit=1&status={status}");
        let is_left = || {
            let answer = wire::ask(address, "GET", &path, &[], "").unwrap();
            answer.header("x-total-count") != Some("0")
        };
        // Those that never end are the checker's to report.
        while is_left() && begun.elapsed() < PATIENCE {
            thread::sleep(PAUSE);
        }
    }
}

/// All runs of the node, page by page.
fn list(address: SocketAddr) -> Vec<Value> {
    let mut runs = Vec::new();
    loop {
        let path = format!("/api/v1/runs?limit=100&offset={}", runs.len());
        let answer = wire::ask(address, "GET", &path, &[], "").unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        let Value::Array(mut page) = answer.json() else {
            panic!("no array: {answer:?}");
        };
        let total = answer.header("x-total-count").unwrap().parse::<usize>();
        runs.append(&mut page);
        if runs.len() >= total.unwrap() {
            return runs;
        }
        assert!(!answer.body.starts_with("[]"), "a page is empty");
    }
}

#[test]
fn each_key_has_one_run_each_run_ends_and_each_stream_is_whole() {
    let wrong = soak(rounds(ROUNDS), true);
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn without_keys_the_same_clients_make_twins() {
    let wrong = soak(2, false);
    let twins = wrong.iter().filter(|what| what.ends_with(" has 2 runs"));
    assert!(twins.count() > 0, "twins were not noticed: {wrong:?}");
}
