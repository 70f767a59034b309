//! Snapshot-style rows in sled by the size of its leaves: what `LEAF_FANOUT` was chosen by, and
//! would have to be chosen by again for another version of sled.
//!
//! `cargo bench -p crane-store`; figures per second, printed. It lives here because only this crate
//! names sled.

#![allow(clippy::print_stdout, reason = "printing is what it is for")]

use std::time::Instant;

use crane_core::RunId;

/// Rows by their size in bytes: a run of ten steps, and one with large payloads.
const ROWS: [(usize, u64); 2] = [(1_200, 50_000), (60_000, 2_000)];
/// Rows of a batch, as a checkpoint writes them.
const BATCH: u64 = 512;
/// Batches after which is flushed.
const FLUSH_AFTER: u64 = 8;

fn main() {
    // Twice, in turn: on a busy machine the second round shows how much of it is noise.
    for _ in 0..2 {
        measure::<16>();
        measure::<32>();
        measure::<64>();
        measure::<128>();
        measure::<1024>();
    }
}

fn measure<const FANOUT: usize>() {
    for (bytes, rows) in ROWS {
        let dir = tempfile::tempdir().expect("a directory");
        let config = sled::Config::new()
            .path(dir.path())
            .cache_capacity_bytes(64 << 20)
            .flush_every_ms(None)
            .zstd_compression_level(1);
        let db = config.open::<FANOUT>().expect("sled opens");
        let fill = write(&db, bytes, rows, rows, 1);
        // A fifth of them again, all over the place.
        let over = write(&db, bytes, rows, rows / 5, 7_919);
        let begun = now();
        let read = db.iter().count();
        let scan = begun.elapsed();
        let disk = db.size_on_disk().expect("its size") >> 20;
        println!(
            "fanout {FANOUT:5}, {bytes:6} bytes: fill {fill:7.0} rows/s, overwrite {over:7.0} \
             rows/s, {read} rows read in {scan:?}, {disk} MiB on disk"
        );
    }
}

/// Writes `count` of `rows` rows, every one `stride` behind the one before; rows a second.
fn write<const FANOUT: usize>(
    db: &sled::Db<FANOUT>,
    bytes: usize,
    rows: u64,
    count: u64,
    stride: u64,
) -> f64 {
    let begun = now();
    for first in (0..count).step_by(BATCH as usize) {
        let mut batch = sled::Batch::default();
        for number in first..(first + BATCH).min(count) {
            // Keys by time, as run ids are.
            let key = RunId::from_time(number * stride % rows, [7; 10]);
            batch.insert(&key.to_bytes()[..], value(number, bytes));
        }
        db.apply_batch(batch).expect("the batch is applied");
        if (first / BATCH) % FLUSH_AFTER == FLUSH_AFTER - 1 {
            db.flush().expect("sled flushes");
        }
    }
    db.flush().expect("sled flushes");
    count as f64 / begun.elapsed().as_secs_f64()
}

/// Half of it compresses, as text does.
fn value(number: u64, bytes: usize) -> Vec<u8> {
    let byte = |at: u64| match at % 2 {
        0 => b'x',
        _ => (at ^ number)
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .to_be_bytes()[0],
    };
    (0..bytes as u64).map(byte).collect()
}

#[allow(clippy::disallowed_methods, reason = "real time is what is measured")]
fn now() -> Instant {
    Instant::now()
}
