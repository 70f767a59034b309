//! Figures for docs/performance.md, one line of JSON each. To be measured on a machine that does
//! nothing else, with a program that was built for release:
//!
//! ```text
//!   cargo build --release
//!   CRANE_BIN=target/release/crane cargo test --test cluster figures -- --ignored --nocapture \
//!       --test-threads 1
//! ```
//!
//! * `CRANE_SAMPLES=N`: how often all of it is repeated: nodes that join, are killed, cut off,
//!   restarted, windows of idleness, rounds of throughput (5).
//! * `CRANE_SECONDS=N`: how long a window or a round lasts (20).
//!
//! One of them: `figures_of_joining`, `figures_of_a_kill`, `figures_of_being_cut_off`,
//! `figures_of_a_rolling_restart`, `figures_of_idleness` or `figures_of_throughput` in place of
//! `figures`. To see that all work takes minutes with `CRANE_SAMPLES=1 CRANE_SECONDS=2`.

mod failover;
mod rest;
mod throughput;

use std::time::Duration;

use serde_json::{Value, json};

fn number(variable: &str, default: u32) -> u32 {
    let asked = std::env::var(variable).ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn samples() -> u32 {
    number("CRANE_SAMPLES", 5)
}

fn seconds() -> Duration {
    Duration::from_secs(number("CRANE_SECONDS", 20).into())
}

/// Prints a figure with what belongs to it.
fn figure(name: &str, values: Value) {
    let mut line = json!({ "figure": name, "build": build() });
    if let (Some(line), Value::Object(values)) = (line.as_object_mut(), values) {
        line.extend(values);
    }
    println!("{line}");
}

fn build() -> &'static str {
    match std::env::var_os("CRANE_BIN") {
        Some(_) => "CRANE_BIN",
        None if cfg!(debug_assertions) => "debug",
        None => "release",
    }
}

/// Median and the far end of some times, in milliseconds.
fn spread(mut times: Vec<Duration>) -> Value {
    times.sort();
    let at = |percent: usize| {
        let place = (times.len() * percent).div_ceil(100).max(1) - 1;
        let time = times.get(place).copied().unwrap_or_default();
        (time.as_secs_f64() * 1e4).round() / 10.0
    };
    json!({
        "samples": times.len(), "min_ms": at(0), "p50_ms": at(50), "p99_ms": at(99), "max_ms": at(100),
    })
}

/// The median of each value over several measurements, and its ends.
fn medians(measured: &[Value]) -> Value {
    let names = measured.first().and_then(Value::as_object);
    let names = names.into_iter().flat_map(|first| first.keys());
    let of = |name: &String| {
        let mut values: Vec<f64> = measured
            .iter()
            .filter_map(|one| one[name].as_f64())
            .collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (values.first().copied(), values.last().copied());
        let median = values.get(values.len().saturating_sub(1) / 2);
        json!({ "median": median, "min": min, "max": max })
    };
    names.map(|name| (name.clone(), of(name))).collect()
}

#[test]
fn medians_are_those_of_each_value() {
    let measured = [(3.0, 1), (1.0, 2), (200.0, 3)].map(|(a, b)| json!({ "a": a, "b": b }));
    let medians = medians(&measured);
    assert_eq!(
        medians,
        json!({
            "a": { "median": 3.0, "min": 1.0, "max": 200.0 },
            "b": { "median": 2.0, "min": 1.0, "max": 3.0 },
        })
    );
}

#[test]
fn spreads_have_their_ends_where_they_belong() {
    let times = (1..=200).map(Duration::from_millis).rev().collect();
    let spread = spread(times);
    assert_eq!(
        spread,
        json!({ "samples": 200, "min_ms": 1.0, "p50_ms": 100.0, "p99_ms": 198.0, "max_ms": 200.0 })
    );
}
