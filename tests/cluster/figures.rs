//! Figures for docs/performance.md, one line of JSON each. To be measured on a machine that does
//! nothing else, with a program that was built for release:
//!
//! ```text
//!   cargo test --release --test cluster figures -- --ignored --nocapture --test-threads 1
//! ```
//!
//! * `CRANE_SAMPLES=N`: how often joining, killing and restarting are repeated (5).
//! * `CRANE_SECONDS=N`: how long throughput and idleness are measured (20).

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

#[test]
fn spreads_have_their_ends_where_they_belong() {
    let times = (1..=200).map(Duration::from_millis).rev().collect();
    let spread = spread(times);
    assert_eq!(
        spread,
        json!({ "samples": 200, "min_ms": 1.0, "p50_ms": 100.0, "p99_ms": 198.0, "max_ms": 200.0 })
    );
}
