//! Keeps the metrics of a node, so that a task can read them: the sums alone.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use metrics::{
    Counter, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};

/// The metrics of this process.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    counters: Table<AtomicU64>,
    gauges: Table<AtomicU64>,
    histograms: Table<Sum>,
}

type Table<T> = Mutex<HashMap<String, Arc<T>>>;

/// What a histogram has been given.
#[derive(Debug, Default)]
struct Sum {
    count: AtomicU64,
    /// Bits of a float, as gauges are kept.
    sum: AtomicU64,
}

impl HistogramFn for Sum {
    fn record(&self, value: f64) {
        self.count.fetch_add(1, Ordering::AcqRel);
        GaugeFn::increment(&self.sum, value);
    }
}

impl Metrics {
    /// From now on everything in this process is counted; to be called before a node is opened.
    pub(crate) fn install() -> anyhow::Result<Arc<Self>> {
        let metrics = Arc::new(Self::default());
        metrics::set_global_recorder(metrics.clone())
            .map_err(|error| anyhow::anyhow!("{error}"))?;
        Ok(metrics)
    }

    /// A counter; names are written as `name{label=value}`.
    pub(crate) fn counter(&self, name: &str) -> anyhow::Result<u64> {
        Ok(found(&self.counters, name)?.load(Ordering::Acquire))
    }

    /// How many values a histogram has been given, and their sum.
    pub(crate) fn histogram(&self, name: &str) -> anyhow::Result<(u64, f64)> {
        let sum = found(&self.histograms, name)?;
        let count = sum.count.load(Ordering::Acquire);
        Ok((count, f64::from_bits(sum.sum.load(Ordering::Acquire))))
    }
}

/// A metric that was renamed must not read as zero.
fn found<T>(table: &Table<T>, name: &str) -> anyhow::Result<Arc<T>> {
    let table = table.lock().unwrap_or_else(PoisonError::into_inner);
    let found = table.get(name).cloned();
    found.ok_or_else(|| anyhow::anyhow!("there is no metric {name}"))
}

fn entry<T: Default>(table: &Table<T>, key: &Key) -> Arc<T> {
    let labels: Vec<_> = key
        .labels()
        .map(|label| format!("{}={}", label.key(), label.value()))
        .collect();
    let name = match labels.as_slice() {
        [] => key.name().to_owned(),
        labels => format!("{}{{{}}}", key.name(), labels.join(",")),
    };
    let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
    table.entry(name).or_default().clone()
}

impl Recorder for Metrics {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(entry(&self.counters, key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(entry(&self.gauges, key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(entry(&self.histograms, key))
    }
}
