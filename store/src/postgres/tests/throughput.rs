//! How fast it is, printed; run by hand in a release build:
//! `cargo nextest run --release -p crane-store postgres throughput --run-ignored all --no-capture`

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crane_core::{RunStatus, Timestamp};
use futures_util::future::join_all;

use super::kit::{Database, Told, all_shards};
use super::server::Server;
use crate::postgres::{Clock, Options, PostgresStore};
use crate::{RunStore, Write, commit};

/// Appends of one run, the last of which ends it.
const APPENDS: usize = 12;

fn clock() -> Clock {
    #[allow(clippy::disallowed_methods, reason = "real time is what is asked for")]
    Arc::new(|| {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Timestamp(i64::try_from(since.unwrap().as_micros()).unwrap())
    })
}

/// Commits of the database so far, those of reading included.
fn commits(database: &Database<'_>) -> u64 {
    let text = database.sql(
        "SELECT pg_stat_clear_snapshot(); \
         SELECT sum(calls) FROM (SELECT xact_commit AS calls FROM pg_stat_database \
                                 WHERE datname = current_database()) c",
    );
    text.trim().parse().unwrap()
}

async fn drive(database: &Database<'_>, writers: usize, total: usize) {
    let now = clock();
    let options = Options::new(&database.url, "bench", Arc::clone(&now));
    let store = Arc::new(PostgresStore::open(options).await.unwrap());
    let fences = store.acquire(all_shards()).await.unwrap();
    let before = commits(database);
    let begun = now();
    let turns = (0..writers).map(|writer| {
        let (store, fences, now) = (Arc::clone(&store), fences.clone(), Arc::clone(&now));
        async move {
            let mut waited = Vec::new();
            let output = format!("\"{}\"", "x".repeat(150));
            for round in 0..total / writers / APPENDS {
                let number = writers * 1_000_000 + round * writers + writer;
                let mut told = Told::new(number as u64, &fences);
                for turn in 0..APPENDS {
                    if turn + 1 == APPENDS {
                        told.end();
                    } else {
                        told.step(&output);
                    }
                    let sent = now();
                    let write = Write::Append(told.batch());
                    commit(&*store, write).await.unwrap();
                    waited.push(now().since(sent));
                }
                assert_eq!(told.status, RunStatus::Completed);
            }
            waited
        }
    });
    let mut waited: Vec<Duration> = join_all(turns).await.into_iter().flatten().collect();
    let took = now().since(begun);
    let count = waited.len();
    waited.sort_unstable();
    let at = |part: usize| waited[count * part / 1000];
    let rate = count as f64 / took.as_secs_f64();
    // The statistics come a little late.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let per_commit = count as f64 / (commits(database) - before) as f64;
    eprintln!(
        "{writers:5} writers: {rate:8.0} appends/s, {per_commit:6.1} appends a commit \
         (the historian's included), p50 {:?}, p99 {:?}, p99.9 {:?}",
        at(500),
        at(990),
        at(999)
    );
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, for a release build"]
async fn throughput_by_concurrency() {
    let Some(server) = Server::start("-c max_wal_size=4GB") else {
        return;
    };
    for (writers, total) in [(1, 4_000), (16, 40_000), (256, 200_000), (1_000, 300_000)] {
        drive(&Database::on(&server), writers, total).await;
    }
}
