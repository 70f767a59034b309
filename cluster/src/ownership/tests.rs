//! The ownership machine, alone, in a world of virtual time, and under a model checker.

mod disturbances;
mod driven;
mod fake_store;
mod model;
mod moves;
mod rules;
mod simulation;
mod takeovers;
mod world;

use std::time::Duration;

use super::words::Elapsed;

/// The default lease.
const TTL: Duration = Duration::from_secs(3);

fn at(millis: u64) -> Elapsed {
    Elapsed(Duration::from_millis(millis))
}
