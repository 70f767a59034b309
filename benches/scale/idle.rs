//! A node that has nothing to do: it must neither compute nor write.

use std::path::Path;
use std::time::Duration;

use crane_core::Limits;

use crate::load::Load;
use crate::machine::{Stretch, files, sleeps, written};
use crate::node::{self, Node};
use crate::plans::{self, CHAIN};
use crate::rows::Value;
use crate::unfinished::{self, Kind, Leave};

/// Chains that are carried out before.
const RUNS: u64 = 20_000;
/// Chains at a time.
const CONCURRENCY: usize = 64;
/// Runs that wait.
const WAITING: u32 = 10_000;
/// Time for what work leaves behind.
const SETTLE: Duration = Duration::from_secs(5);
/// Time that is looked at.
const WINDOW: Duration = Duration::from_secs(20);
/// Percent of a core.
const TARGET: f64 = 0.5;

/// `task` says what the node has behind or before it.
pub(crate) fn run(task: &str, dir: &Path) -> anyhow::Result<Vec<Value>> {
    if task.starts_with("prepare") {
        unfinished::make(dir, WAITING, &[Kind::Waiting], Leave::Closed)?;
        return Ok(Vec::new());
    }
    node::block_on(async {
        let node = Node::open(dir, Limits::default()).await?;
        if task == "after work" {
            let plan = plans::chain("chain", CHAIN);
            let load = Load::start(&node.runtime, plan, CONCURRENCY, RUNS);
            load.join().await?;
        }
        tokio::time::sleep(SETTLE).await;
        let (files_before, sleeps_before) = (files(dir)?, sleeps()?);
        let (before, stretch) = (written()?, Stretch::begin()?);
        tokio::time::sleep(WINDOW).await;
        let (stretched, after) = (stretch.end()?, written()?);
        let woken = sleeps()?.saturating_sub(sleeps_before) as f64;
        let files_after = files(dir)?;
        let changed = files_after
            .iter()
            .filter(|(path, file)| files_before.get(*path) != Some(*file))
            .count();
        node.close().await?;
        let bytes = (after.bytes - before.bytes) as f64;
        let calls = (after.calls - before.calls) as f64;
        Ok(vec![
            Value::new("processor", stretched.own_cores * 100.0, "% of a core").at_most(TARGET),
            Value::new("wake-ups a second", woken / stretched.seconds, ""),
            Value::new("bytes written to disk", bytes, "B").at_most(0.0),
            // Wakers write to event counters, which are no files.
            Value::new("calls that write", calls, ""),
            Value::new("files changed", changed as f64, "").at_most(0.0),
        ])
    })
}
