//! What it costs to record with the recorder of a node that serves, and to read it.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use criterion::{BatchSize, Criterion};
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::time::Instant;

/// Samples of a second at 100,000 steps a second.
const SAMPLES: u32 = 350_000;
/// What is recorded.
const TOOK: Duration = Duration::from_micros(300);
/// Bounds as those of the node: their number counts, not where they are.
const BOUNDS: [f64; 18] = [
    0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0, 60.0,
];

struct Handles {
    histogram: Histogram,
    counter: Counter,
    gauge: Gauge,
    exporter: PrometheusHandle,
}

fn handles() -> Handles {
    let suffix = Matcher::Suffix("_seconds".to_owned());
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(suffix, &BOUNDS)
        .expect("bounds")
        .build_recorder();
    metrics::with_local_recorder(&recorder, || Handles {
        histogram: histogram!("bench_seconds"),
        counter: counter!("bench_total"),
        gauge: gauge!("bench"),
        exporter: recorder.handle(),
    })
}

/// The time of so many samples, without that of the upkeep in between: what is undrained takes
/// memory, and a measurement makes millions.
fn record(handles: &Handles, samples: u64) -> Duration {
    let mut took = Duration::ZERO;
    let mut left = samples;
    while left > 0 {
        let now = left.min(SAMPLES.into());
        let begun = Instant::now();
        for _ in 0..now {
            handles.histogram.record(black_box(TOOK));
        }
        took += begun.elapsed();
        handles.exporter.run_upkeep();
        left -= now;
    }
    took
}

/// Measures all of it.
pub(crate) fn measure(criterion: &mut Criterion) {
    let handles = handles();
    let mut group = criterion.benchmark_group("recording");
    group.bench_function("a sample", |bencher| {
        bencher.iter_custom(|samples| record(&handles, samples));
    });
    group.bench_function("a count", |bencher| {
        bencher.iter(|| handles.counter.increment(black_box(1)));
    });
    group.bench_function("a gauge", |bencher| {
        bencher.iter(|| handles.gauge.increment(black_box(1.0)));
    });
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                handles.histogram.record(TOOK);
                // A step takes about so long, and keeps what is undrained small.
                thread::sleep(Duration::from_micros(10));
            }
        });
        group.bench_function("a sample, while another thread records", |bencher| {
            bencher.iter_custom(|samples| record(&handles, samples));
        });
        stop.store(true, Ordering::Relaxed);
    });
    group.bench_function("the upkeep of a second's samples", |bencher| {
        bencher.iter_batched(
            || (0..SAMPLES).for_each(|_| handles.histogram.record(TOOK)),
            |()| handles.exporter.run_upkeep(),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}
