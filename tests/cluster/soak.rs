//! Everything that may happen to a cluster, while runs go on.

use std::time::{Duration, Instant};

use crate::checker;
use crate::fleet::{Fleet, Shape};
use crate::load::{Kind, Load, Observed};
use crate::nemesis::{Act, Nemesis};
use crate::system::{self, Random};

/// Runs that are acknowledged between two acts.
const RUNS_BETWEEN: usize = 8;

/// Acts upon a cluster under load, and says what is wrong in the end.
fn soak(fleet: &mut Fleet, acts: &[Act], kind: Kind) -> (Vec<String>, Observed) {
    let mut random = Random::from_env();
    let begun = Instant::now();
    let load = Load::start(fleet, &mut random, kind);
    load.progress(fleet, RUNS_BETWEEN);
    let mut nemesis = Nemesis::new(random);
    for act in acts {
        let at = begun.elapsed().as_secs_f64();
        nemesis.act(*act, fleet);
        let acted = begun.elapsed().as_secs_f64();
        fleet.calm();
        load.progress(fleet, RUNS_BETWEEN);
        println!(
            "{at:6.1} s {act:?}: {:.1} s, calm after {:.1} s, {} runs so far",
            acted - at,
            begun.elapsed().as_secs_f64() - acted,
            load.told()
        );
    }
    let seen = load.finish(fleet);
    let (wrong, tally) = checker::check(fleet, &seen, &nemesis.disturbances);
    println!(
        "{:6.1} s: {} runs, {} streams, {} repeated tries, {tally}; {} findings",
        begun.elapsed().as_secs_f64(),
        seen.told.len(),
        seen.histories.len(),
        seen.repeated,
        wrong.len()
    );
    (wrong, seen)
}

#[test]
fn five_nodes_lose_nothing_and_do_nothing_twice_but_where_they_were_cut_off() {
    let Some(_turn) = system::turn() else { return };
    // The strangers have the spare ones.
    let mut fleet = Fleet::start(Shape {
        spare: 2,
        ..Shape::default()
    });
    let mut acts = Vec::new();
    for _ in 0..system::rounds() {
        acts.extend(Act::ALL);
    }
    let (wrong, seen) = soak(&mut fleet, &acts, Kind::MIXED);
    assert!(wrong.is_empty(), "{wrong:#?}\n{}", fleet.tails());
    plant(&fleet, &seen.told[0].1);
}

/// Takes the first events of a run away: whoever verifies must find that, and nothing else.
fn plant(fleet: &Fleet, run: &str) {
    let sql = format!("DELETE FROM journal WHERE run_id = '{run}' AND after = 0");
    fleet.database.sql(&sql);
    let server = format!("http://{}", fleet.any_ready().api());
    for place in [["--store", &*fleet.database.url()], ["--server", &*server]] {
        let found = checker::findings(fleet, &place);
        assert!(!found.is_empty(), "{place:?}");
        assert!(found.iter().all(|what| what.contains(run)), "{found:?}");
    }
}

#[test]
fn without_fences_the_checker_turns_red() {
    let Some(_turn) = system::turn() else { return };
    if !cfg!(debug_assertions) {
        println!("skipped: a build for use is always fenced");
        return;
    }
    let shape = Shape {
        nodes: 3,
        lease: Duration::from_secs(1),
        unfenced: true,
        ..Shape::default()
    };
    let mut fleet = Fleet::start(shape);
    let (wrong, _) = soak(&mut fleet, &[Act::LongPause; 2], Kind::LONG);
    let has = |part: &str| wrong.iter().filter(|what| what.contains(part)).count();
    let doubled = has("nothing explains it");
    let two_writers = has("which is that of incarnation");
    println!("{doubled} effects done twice, {two_writers} epochs with two writers");
    assert!(doubled > 0, "{wrong:#?}");
    assert!(two_writers > 0, "{wrong:#?}");
}
