//! A start with 100,000 unfinished runs, their files not in the page cache.
//!
//! ```text
//!   waiting   each has a timer hours ahead          nothing may be spawned
//!   mixed     every second one is pending           these run, a slot each, until they are done
//!   running   were under way when the process died  as many are loaded as there are slots
//! ```

use std::path::Path;
use std::time::Duration;

use anyhow::bail;
use crane_actors::metrics::ActorKind;
use crane_core::{Limits, RunStatus};
use tokio::time::Instant;

use crate::machine::{reset_peak, resident};
use crate::node::{self, Node, open_store};
use crate::rows::Value;
use crate::unfinished::{self, Kind, Leave};

const RUNS: u32 = 100_000;
/// Longest time for a start, in seconds.
const TARGET: f64 = 2.0;
/// Time in which nothing may be spawned for runs that wait.
const QUIET: Duration = Duration::from_secs(2);
/// Pause between two looks at the metrics.
const LOOK: Duration = Duration::from_millis(1);
/// When to give up.
const PATIENCE: Duration = Duration::from_secs(120);

/// `task` says how the runs stand; with `prepare`, they are made.
pub(crate) fn run(task: &str, dir: &Path) -> anyhow::Result<Vec<Value>> {
    match task {
        "prepare waiting" => unfinished::make(dir, RUNS, &[Kind::Waiting], Leave::Closed)?,
        "prepare mixed" => {
            let kinds = [Kind::Waiting, Kind::Pending];
            unfinished::make(dir, RUNS, &kinds, Leave::Closed)?;
        }
        "prepare running" => unfinished::make(dir, RUNS, &[Kind::Running], Leave::Killed)?,
        _ => return start(task, dir),
    }
    Ok(Vec::new())
}

fn start(task: &str, dir: &Path) -> anyhow::Result<Vec<Value>> {
    node::block_on(async {
        let (before, _) = resident()?;
        reset_peak()?;
        let begun = Instant::now();
        let store = open_store(dir)?;
        let opened = begun.elapsed();
        let node = Node::start(store, Limits::default()).await?;
        let started = begun.elapsed();
        let (after, _) = resident()?;
        if node.runtime.unfinished_at_start() != RUNS as usize {
            bail!("{} runs were found", node.runtime.unfinished_at_start());
        }
        let mut values = vec![
            Value::megabytes("before the node", before),
            Value::new("opening the store", opened.as_secs_f64(), "s"),
            Value::new("opening and starting", started.as_secs_f64(), "s").at_most(TARGET),
            Value::megabytes("after the start", after),
        ];
        values.extend(match task {
            "waiting" => waiting(&node).await,
            "mixed" => mixed(&node, begun).await?,
            _ => running(&node, begun).await?,
        });
        let (_, peak) = resident()?;
        values.push(Value::megabytes("at most until then", peak));
        if task != "running" {
            // Those steps take an hour; the directory is removed by the parent.
            node.close().await?;
        }
        Ok(values)
    })
}

/// Nothing happens.
async fn waiting(node: &Node) -> Vec<Value> {
    tokio::time::sleep(QUIET).await;
    let (spawned, _) = actors(node, ActorKind::Run);
    vec![Value::new("run actors spawned", spawned, "").at_most(0.0)]
}

/// The pending ones are carried out; what waits is left alone.
async fn mixed(node: &Node, begun: Instant) -> anyhow::Result<Vec<Value>> {
    let mut most = 0.0_f64;
    loop {
        most = most.max(actors(node, ActorKind::Run).1);
        let counts = node.runtime.counts().await?;
        let completed = counts.get(&RunStatus::Completed).copied().unwrap_or(0);
        if completed == RUNS as usize / 2 {
            break;
        }
        look_again(begun).await?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let (spawned, _) = actors(node, ActorKind::Run);
    Ok(vec![
        Value::new("pending runs done after", seconds, "s"),
        Value::new("run actors spawned", spawned, "").at_most(f64::from(RUNS / 2)),
        Value::new("run actors at a time, at most seen", most, "").at_most(slots()),
    ])
}

/// Each slot is taken by a run whose step has started again.
async fn running(node: &Node, begun: Instant) -> anyhow::Result<Vec<Value>> {
    while actors(node, ActorKind::Step).1 < slots() {
        look_again(begun).await?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    tokio::time::sleep(QUIET).await;
    let (spawned, _) = actors(node, ActorKind::Run);
    let (now, _) = resident()?;
    Ok(vec![
        Value::new("every slot's step under way after", seconds, "s"),
        Value::new("run actors spawned", spawned, "").at_most(slots()),
        Value::megabytes("with every slot taken", now),
    ])
}

/// How many actors of a kind were spawned, and how many are alive.
fn actors(node: &Node, kind: ActorKind) -> (f64, f64) {
    let tree = node.runtime.supervision();
    let view = tree.kinds.iter().find(|view| view.kind == kind);
    view.map_or((0.0, 0.0), |view| (view.spawned as f64, view.alive as f64))
}

fn slots() -> f64 {
    Limits::default().active_runs as f64
}

async fn look_again(begun: Instant) -> anyhow::Result<()> {
    if begun.elapsed() > PATIENCE {
        bail!("not done after {PATIENCE:?}");
    }
    tokio::time::sleep(LOOK).await;
    Ok(())
}
