//! Appends a second of the store alone, without actors and state machine: what a node could do at
//! the most. Each writer has one append of its run in flight, as a run actor has.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use crane_core::{Epoch, Round, RunId, RunStatus, Seq, ShardId, Timestamp};
use crane_store::embedded::EmbeddedStore;
use crane_store::{Append, Encoded, Fence, RunStore, Summary, Write, commit};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::machine::Stretch;
use crate::node;
use crate::rows::Value;

/// Appends of one run, the last of which ends it: those of a 10-step chain.
const APPENDS: u64 = 12;
/// Bytes of events of an append.
const EVENT_BYTES: usize = 238;
const WARM_UP: Duration = Duration::from_secs(1);
const WINDOW: Duration = Duration::from_secs(5);

/// `task` is the number of runs at a time.
pub(crate) fn run(task: &str, dir: &Path) -> anyhow::Result<Vec<Value>> {
    let writers: u64 = task.parse()?;
    node::block_on(async {
        let store = node::open_store(dir)?;
        let fences = store.acquire(vec![ShardId(0)]).await?;
        let epoch = fences.first().context("no shard was acquired")?.epoch;
        let begun = Instant::now();
        let until = begun + WARM_UP + WINDOW;
        let mut all = JoinSet::new();
        for writer in 0..writers {
            all.spawn(write(store.clone(), epoch, writer, begun + WARM_UP, until));
        }
        tokio::time::sleep_until(begun + WARM_UP).await;
        let stretch = Stretch::begin()?;
        tokio::time::sleep_until(until).await;
        let stretched = stretch.end()?;
        let mut waits = Vec::new();
        while let Some(writer) = all.join_next().await {
            waits.extend(writer??);
        }
        store.close().await?;
        waits.sort_unstable_by(f64::total_cmp);
        let at = |share: usize| waits.get(waits.len() * share / 1_000).copied();
        let quantile =
            |name: &str, share: usize| Value::new(name, at(share).unwrap_or_default(), "us");
        Ok(vec![
            Value::new(
                "appends a second",
                waits.len() as f64 / stretched.seconds,
                "",
            ),
            Value::new("cores used by the store", stretched.own_cores, ""),
            quantile("an append, p50", 500),
            quantile("an append, p99", 990),
            quantile("an append, p999", 999),
        ])
    })
}

/// Appends until the time is over; how long each took that began after `from`, in microseconds.
async fn write(
    store: Arc<EmbeddedStore>,
    epoch: Epoch,
    writer: u64,
    from: Instant,
    until: Instant,
) -> Result<Vec<f64>, crane_store::Error> {
    let mut waits = Vec::new();
    let mut runs = 0;
    loop {
        runs += 1;
        let run = id(writer, runs);
        for seq in 0..APPENDS {
            let begun = Instant::now();
            if begun >= until {
                return Ok(waits);
            }
            let write = Write::Append(append(epoch, run, seq));
            commit(store.as_ref(), write).await?;
            if begun >= from {
                waits.push(begun.elapsed().as_secs_f64() * 1e6);
            }
        }
    }
}

fn append(epoch: Epoch, run: RunId, seq: u64) -> Append {
    let ends = seq + 1 == APPENDS;
    let at = Timestamp(1_700_000_000_000_000);
    Append {
        fence: Fence {
            shard: run.shard(),
            epoch,
        },
        run,
        expected: Seq(seq),
        summary: Summary {
            seq: Seq(seq + 1),
            status: match ends {
                true => RunStatus::Completed,
                false => RunStatus::Running,
            },
            round: Round(1),
            created_at: at,
            completed_at: ends.then_some(at),
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

/// The id of a writer's run with this number, spread as those of a node.
fn id(writer: u64, number: u64) -> RunId {
    let mixed = (writer << 32 | number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut random = [0; 10];
    random[2..].copy_from_slice(&mixed.to_be_bytes());
    RunId::from_time(number, random)
}
