//! Measures single functions of the hot path, each by itself: `cargo bench --bench micro [FILTER]`.
//!
//! What never lives here: anything that waits for a disk or another thread (that is
//! `benches/scale`), and checks: a test holds what is right, this says what it costs.

mod domain;
mod fixtures;
mod recording;
#[path = "../common/runs.rs"]
mod runs;
mod storage;

use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    domain::measure(&mut criterion);
    storage::measure(&mut criterion);
    recording::measure(&mut criterion);
    criterion.final_summary();
}
