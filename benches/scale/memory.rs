//! Resident memory after many finished runs: a node must not grow with what it has done, but for
//! the few bytes by which it finds a finished run again.

use std::path::Path;
use std::time::Duration;

use crane_core::Limits;

use crate::load::Load;
use crate::machine::{Stretch, resident};
use crate::node::{self, Node};
use crate::plans::{self, CHAIN};
use crate::rows::Value;

/// Runs under way at a time.
const CONCURRENCY: usize = 64;
/// Time after the last run, for the last of them to be written to history.
const SETTLE: Duration = Duration::from_secs(3);
/// Memory that a node may take, in megabytes.
const TARGET: f64 = 120.0;

/// `task` is the number of runs.
pub(crate) fn run(task: &str, dir: &Path) -> anyhow::Result<Vec<Value>> {
    let runs: u64 = task.parse()?;
    node::block_on(async {
        let (empty, _) = resident()?;
        let node = Node::open(dir, Limits::default()).await?;
        let (opened, _) = resident()?;
        let stretch = Stretch::begin()?;
        let plan = plans::chain("chain", CHAIN);
        let load = Load::start(&node.runtime, plan, CONCURRENCY, runs);
        load.join().await?;
        let stretched = stretch.end()?;
        tokio::time::sleep(SETTLE).await;
        let (settled, peak) = resident()?;
        node.close().await?;
        let steps = (runs * CHAIN as u64) as f64;
        Ok(vec![
            Value::megabytes("before the node", empty),
            Value::megabytes("after opening it", opened),
            Value::megabytes("after the runs", settled).at_most(TARGET),
            Value::megabytes("at most meanwhile", peak),
            Value::new("steps a second", steps / stretched.seconds, ""),
        ])
    })
}
