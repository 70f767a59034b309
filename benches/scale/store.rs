//! Appends a second of the store alone, without actors and state machine: what a node could do at
//! the most. Each writer has one append of its run in flight, as a run actor has.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use crane_core::ids::SHARD_COUNT;
use crane_core::{
    Attempt, Event, Json, Record, Round, RunId, RunStatus, Seq, ShardId, StepIndex, Timestamp,
};
use crane_store::{Append, Fence, RunStore, Summary, Write, codec, commit};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::machine::Stretch;
use crate::node;
use crate::rows::Value;

/// Appends of one run, the last of which ends it: those of a 10-step chain.
const APPENDS: u64 = 12;
/// Bytes of the input in an append; its events take about 238.
const INPUT_BYTES: usize = 214;
const WARM_UP: Duration = Duration::from_secs(1);
const WINDOW: Duration = Duration::from_secs(5);

/// `task` is the number of runs at a time.
pub(crate) fn run(task: &str, dir: &Path) -> anyhow::Result<Vec<Value>> {
    let writers: u64 = task.parse()?;
    node::block_on(async {
        let store = node::open_store(dir)?;
        drive(store, writers).await
    })
}

/// Lets so many write to a store at a time, and closes it.
pub(crate) async fn drive(store: Arc<dyn RunStore>, writers: u64) -> anyhow::Result<Vec<Value>> {
    let shards = (0..SHARD_COUNT).map(ShardId).collect();
    let fences: Arc<[Fence]> = store.acquire(shards).await?.into();
    let begun = Instant::now();
    let until = begun + WARM_UP + WINDOW;
    let mut all = JoinSet::new();
    for writer in 0..writers {
        let (store, fences) = (Arc::clone(&store), Arc::clone(&fences));
        all.spawn(write(store, fences, writer, begun + WARM_UP, until));
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
    let quantile = |name: &str, share: usize| Value::new(name, at(share).unwrap_or_default(), "us");
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
}

/// Appends until the time is over; how long each took that began after `from`, in microseconds.
async fn write(
    store: Arc<dyn RunStore>,
    fences: Arc<[Fence]>,
    writer: u64,
    from: Instant,
    until: Instant,
) -> anyhow::Result<Vec<f64>> {
    let input = Json::from_trusted(format!("\"{}\"", "x".repeat(INPUT_BYTES)));
    let mut waits = Vec::new();
    let mut runs = 0;
    loop {
        runs += 1;
        let run = id(writer, runs);
        let shard = usize::from(run.shard().0);
        let fence = *fences.get(shard).context("a shard was not acquired")?;
        for seq in 0..APPENDS {
            let begun = Instant::now();
            if begun >= until {
                return Ok(waits);
            }
            let write = Write::Append(append(fence, run, seq, &input));
            commit(store.as_ref(), write).await?;
            if begun >= from {
                waits.push(begun.elapsed().as_secs_f64() * 1e6);
            }
        }
    }
}

fn append(fence: Fence, run: RunId, seq: u64, input: &Json) -> Append {
    let ends = seq + 1 == APPENDS;
    let at = Timestamp(1_700_000_000_000_000);
    let event = Event::StepStarted {
        step: StepIndex(0),
        attempt: Attempt(1),
        input: input.clone(),
    };
    let record = Record {
        seq: Seq(seq + 1),
        at,
        event,
    };
    Append {
        fence,
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
        events: codec::encode(&[record]),
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
