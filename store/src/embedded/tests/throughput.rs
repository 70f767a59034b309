//! How fast it is, printed; run by hand in a release build:
//! `cargo nextest run --release -p crane-store throughput --run-ignored all --no-capture`

use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use crane_core::{Epoch, Round, RunId, RunStatus, Seq, Timestamp};

use crate::embedded::frame::Builder;
use crate::embedded::journal::Journal;
use crate::embedded::segments::Segments;
use crate::embedded::{Clock, EmbeddedStore, Options, record};
use crate::faults::Faults;
use crate::{Append, Encoded, Fence, RunStore, Summary, Write};

/// Appends of one run, the last of which ends it.
const APPENDS: u64 = 12;
/// Bytes of events of an append.
const EVENT_BYTES: usize = 238;

fn clock() -> Clock {
    // The one place of the store's tests where real time is what is asked for.
    #[allow(clippy::disallowed_methods)]
    Arc::new(|| {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Timestamp(i64::try_from(since.unwrap().as_micros()).unwrap())
    })
}

fn append(fence_epoch: Epoch, run: RunId, seq: u64, now: Timestamp) -> Append {
    let ends = seq + 1 == APPENDS;
    Append {
        fence: Fence {
            shard: run.shard(),
            epoch: fence_epoch,
        },
        run,
        expected: Seq(seq),
        summary: Summary {
            seq: Seq(seq + 1),
            status: if ends {
                RunStatus::Completed
            } else {
                RunStatus::Running
            },
            round: Round(1),
            created_at: now,
            completed_at: ends.then_some(now),
            wake_at: None,
        },
        labels: None,
        events: Encoded {
            count: 1,
            bytes: vec![b'x'; EVENT_BYTES],
        },
        eager: true,
    }
}

/// Drives `writers` runs at once, each with one append in flight, until `total` are acknowledged.
fn drive(writers: usize, total: usize) {
    let dir = tempfile::tempdir().unwrap();
    let now = clock();
    let store = EmbeddedStore::open(Options::new(dir.path(), Arc::clone(&now))).unwrap();
    let epoch = store.shared.epoch;
    let (acked, acks) = mpsc::sync_channel::<usize>(writers);
    let mut runs: Vec<(RunId, u64, Timestamp)> = Vec::new();
    let mut number = 0_u64;
    let mut new_run = || {
        number += 1;
        let mut random = [0; 10];
        random[2..].copy_from_slice(&number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
        RunId::from_time(number, random)
    };
    for _ in 0..writers {
        runs.push((new_run(), 0, now()));
    }
    let mut waits = Vec::with_capacity(total);
    let begun = now();
    for done in 0..total + writers {
        let writer = if done < writers {
            done
        } else {
            acks.recv().unwrap()
        };
        let (run, seq, at) = &mut runs[writer];
        if done >= writers {
            waits.push(now().since(*at));
        }
        if done >= total {
            continue;
        }
        if *seq == APPENDS {
            (*run, *seq) = (new_run(), 0);
        }
        *at = now();
        let write = Write::Append(append(epoch, *run, *seq, *at));
        *seq += 1;
        let acked = acked.clone();
        store.submit(
            write,
            Box::new(move |result| {
                result.unwrap();
                acked.send(writer).unwrap();
            }),
        );
    }
    let took = now().since(begun).as_secs_f64();
    waits.sort_unstable();
    let at = |share: usize| waits[(waits.len() - 1) * share / 1000];
    let rate = total as f64 / took;
    eprintln!(
        "{writers:5} writers: {rate:9.0} appends/s, p50 {:?}, p99 {:?}, p999 {:?}, max {:?}",
        at(500),
        at(990),
        at(999),
        at(1000)
    );
}

#[test]
#[ignore = "a measurement, for a release build"]
fn throughput_by_concurrency() {
    for (writers, total) in [
        (1, 20_000_usize),
        (16, 400_000),
        (256, 1_500_000),
        (1000, 2_000_000),
    ] {
        drive(writers, total);
    }
}

/// The journal alone, by records in a frame: what the disk allows, without queue and callers.
#[test]
#[ignore = "a measurement, for a release build"]
fn throughput_of_the_journal_by_batch() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Faults::default();
    let segments = Arc::new(Segments::new(
        dir.path().to_owned(),
        16 << 20,
        faults.clone(),
        Default::default(),
        Default::default(),
    ));
    segments.prepare(8).unwrap();
    let active = segments.take(0, 1).unwrap();
    let mut journal = Journal::new(Arc::clone(&segments), active, 0, 1, faults);
    let now = clock();
    let one = append(Epoch(1), RunId::from_time(1, [7; 10]), 0, now());
    for (batch, frames) in [(1_u32, 4_000_u32), (16, 4_000), (256, 1_000)] {
        let mut frame = Builder::default();
        let begun = now();
        for _ in 0..frames {
            for _ in 0..batch {
                frame.record(|out| record::put_append(out, &one));
            }
            journal.commit(&mut frame).unwrap();
            frame.clear();
        }
        let took = now().since(begun);
        let rate = f64::from(batch * frames) / took.as_secs_f64();
        eprintln!(
            "batch {batch:4}: {rate:9.0} appends/s, {:?} a frame",
            took / frames
        );
    }
}

/// Opens a store with 50,000 unfinished runs in sled and as many again in the journal alone.
#[test]
#[ignore = "a measurement, for a release build"]
fn throughput_of_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let now = clock();
    let open = || EmbeddedStore::open(Options::new(dir.path(), Arc::clone(&now))).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    for round in 0..2_u64 {
        let store = open();
        let (acked, acks) = mpsc::channel();
        for number in 0..50_000_u64 {
            let mut random = [0; 10];
            random[2..].copy_from_slice(&(number * 77_777).to_le_bytes());
            let run = RunId::from_time(round * 50_000 + number, random);
            let mut first = append(store.shared.epoch, run, 0, now());
            first.events.bytes = vec![b'x'; 1_200];
            let acked = acked.clone();
            store.submit(
                Write::Append(first),
                Box::new(move |_| acked.send(()).unwrap()),
            );
        }
        assert_eq!(acks.iter().take(50_000).count(), 50_000);
        if round == 0 {
            runtime.block_on(store.close()).unwrap();
        }
    }
    let begun = now();
    let store = open();
    let took: Duration = now().since(begun);
    let all = runtime.block_on(store.counts()).unwrap()[&RunStatus::Running];
    eprintln!("{all} unfinished runs, half of them in sled: opened in {took:?}");
}

/// Snapshot-style overwrites in sled by size of leaf: what `LEAF_FANOUT` was chosen by.
#[test]
#[ignore = "a measurement, for a release build"]
fn throughput_by_leaf_fanout() {
    // Twice, in turn: on a busy machine the second round shows how much of it is noise.
    for _ in 0..2 {
        measure_fanout::<16>();
        measure_fanout::<32>();
        measure_fanout::<64>();
        measure_fanout::<128>();
        measure_fanout::<1024>();
    }
}

fn measure_fanout<const FANOUT: usize>() {
    let now = clock();
    for (bytes, rows) in [(1_200_usize, 50_000_u64), (60_000, 2_000)] {
        let dir = tempfile::tempdir().unwrap();
        let config = sled::Config::new()
            .path(dir.path())
            .cache_capacity_bytes(64 << 20)
            .flush_every_ms(None)
            .zstd_compression_level(1);
        let db = config.open::<FANOUT>().unwrap();
        // As a checkpoint does it: batches of 512 rows, one flush; keys by time, as run ids are.
        let write = |from: u64, count: u64, stride: u64| {
            let begun = now();
            for first in (from..from + count).step_by(512) {
                let mut batch = sled::Batch::default();
                for number in first..(first + 512).min(from + count) {
                    let key = RunId::from_time(number * stride % rows, [7; 10]);
                    // Half of it compresses, as text does.
                    let value: Vec<u8> = (0..bytes as u64)
                        .map(|at| {
                            let mixed = (at ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
                            if at % 2 == 0 {
                                b'x'
                            } else {
                                mixed.to_be_bytes()[0]
                            }
                        })
                        .collect();
                    batch.insert(&key.to_bytes()[..], value);
                }
                db.apply_batch(batch).unwrap();
                if (first / 512) % 8 == 7 {
                    db.flush().unwrap();
                }
            }
            db.flush().unwrap();
            count as f64 / now().since(begun).as_secs_f64()
        };
        let fill = write(0, rows, 1);
        let over = write(0, rows / 5, 7_919);
        let begun = now();
        let read = db.iter().count();
        let scan = now().since(begun);
        eprintln!(
            "fanout {FANOUT:5}, {bytes:6} bytes: fill {fill:7.0} rows/s, overwrite {over:7.0} rows/s, {read} rows read in {scan:?}, {} MB on disk",
            db.size_on_disk().unwrap() >> 20
        );
    }
}
