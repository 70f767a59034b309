//! The store's parts that need no thread: encoding, the catalog, history.

use std::hint::black_box;
use std::num::NonZeroU32;
use std::time::Duration;

use crane_core::event::Labels;
use crane_core::{Round, RunStatus, Seq, Timestamp};
use crane_store::catalog::Catalog;
use crane_store::history::{Finished, History, HistoryOptions, Place};
use crane_store::{Encoded, Filter, Page, Summary, codec};
use criterion::{BatchSize, Criterion};
use tokio::time::Instant;

use crate::fixtures::{self, NOW, id};
use crate::runs::chain;

/// Runs of the catalog that is listed.
const RUNS: u32 = 1_000_000;
/// Runs of the history that is opened.
const RECORDS: u64 = 100_000;

/// Measures all of it.
pub(crate) fn measure(criterion: &mut Criterion) {
    encoding(criterion);
    history(criterion);
    catalog(criterion);
}

fn encoding(criterion: &mut Criterion) {
    let pair = fixtures::step_pair();
    let encoded = codec::encode(&pair);
    let mut group = criterion.benchmark_group("codec, a step done and the next started");
    group.bench_function("encode", |bencher| {
        bencher.iter(|| codec::encode(black_box(&pair)));
    });
    group.bench_function("decode", |bencher| {
        bencher.iter(|| codec::decode(black_box(&encoded)).expect("what was encoded"));
    });
    group.finish();
}

fn summary(number: u32, status: RunStatus) -> Summary {
    let created_at = Timestamp(NOW.0 + i64::from(number));
    Summary {
        seq: Seq(22),
        status,
        round: Round(1),
        created_at,
        completed_at: status.is_ended().then_some(Timestamp(created_at.0 + 5)),
        wake_at: None,
    }
}

/// Appends so many runs of 10 steps to a history in a new directory; how long that took.
fn append(count: u64, events: &Encoded) -> (Duration, tempfile::TempDir) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let mut history = History::open(dir.path(), HistoryOptions::default(), |_| {}).expect("open");
    let (summary, labels) = (summary(0, RunStatus::Completed), Labels::new());
    let begun = Instant::now();
    for number in 0..count {
        let finished = Finished {
            run: id(number),
            summary: &summary,
            labels: &labels,
            events,
        };
        history.append(&finished).expect("appended");
    }
    let took = begun.elapsed();
    history.sync().expect("synced");
    (took, dir)
}

fn history(criterion: &mut Criterion) {
    let plan = fixtures::load(&chain(10));
    let (_, records, _) = fixtures::advance(&plan, 10);
    let events = codec::encode(&records);
    let mut group = criterion.benchmark_group("history");
    // Each sample is a history of its own, or the disk would be full of them.
    group.sample_size(20);
    group.warm_up_time(Duration::from_millis(500));
    group.measurement_time(Duration::from_secs(2));
    group.bench_function("append a 10-chain", |bencher| {
        bencher.iter_custom(|count| append(count, &events).0);
    });
    let (_, dir) = append(RECORDS, &events);
    group.bench_function("open with 100,000 runs", |bencher| {
        bencher.iter(|| {
            let mut count = 0;
            let options = HistoryOptions::default();
            let history = History::open(dir.path(), options, |_| count += 1).expect("opened");
            assert_eq!(count, RECORDS);
            history
        });
    });
    group.finish();
}

/// Runs that have ended, one in a thousand of them badly.
fn ended_runs(count: u32) -> Catalog {
    let mut catalog = Catalog::default();
    for number in 0..count {
        let status = match number % 1_000 {
            0 => RunStatus::Failed,
            _ => RunStatus::Completed,
        };
        let place = Place {
            segment: NonZeroU32::MIN,
            offset: number,
        };
        let run = id(u64::from(number));
        catalog.live(run, &summary(number, RunStatus::Running), None);
        catalog.ended(run, &summary(number, status), place);
    }
    catalog
}

fn catalog(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("catalog");
    group.sample_size(20);
    group.bench_function("insert and end 10,000 runs", |bencher| {
        bencher.iter(|| ended_runs(10_000));
    });
    let mut catalog = ended_runs(RUNS);
    let deep = Page {
        offset: 990_000,
        limit: 100,
    };
    let first = Page { offset: 0, ..deep };
    let statuses = |status| Filter {
        statuses: vec![status],
        labels: Vec::new(),
    };
    for (name, filter, page) in [
        ("first page of a million", Filter::default(), first),
        ("page at 990,000 of a million", Filter::default(), deep),
        ("page of a rare status", statuses(RunStatus::Failed), first),
        ("nothing unfinished", statuses(RunStatus::Running), first),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| catalog.list(black_box(&filter), page));
        });
    }
    let mut number = 0;
    group.bench_function("change of a status", |bencher| {
        bencher.iter_batched(
            || {
                number = (number + 7_919) % RUNS;
                (id(u64::from(number)), summary(number, RunStatus::Cancelled))
            },
            |(run, summary)| catalog.live(run, &summary, None),
            BatchSize::SmallInput,
        );
    });
    let labels: Labels = [("a", "1"), ("b", "1")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    for number in RUNS..2 * RUNS {
        let run = id(u64::from(number));
        catalog.live(run, &summary(number, RunStatus::Running), Some(&labels));
    }
    for (name, count) in [
        ("deep page by one label of a million runs", 1),
        ("deep page by two labels of a million runs", 2),
    ] {
        let labels = labels.clone().into_iter().take(count).collect();
        let filter = Filter {
            labels,
            ..Filter::default()
        };
        group.bench_function(name, |bencher| {
            bencher.iter(|| catalog.list(black_box(&filter), deep));
        });
    }
    group.finish();
}
