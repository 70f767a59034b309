//! Steps a second of 10-step chains of `echo`, durable: history and snapshots on, every
//! acknowledgement behind an fdatasync.

use std::path::Path;
use std::time::Duration;

use crane_core::Limits;

use crate::load::Load;
use crate::machine::{Stretch, resident};
use crate::node::{self, Node};
use crate::plans::{self, CHAIN};
use crate::rows::Value;

/// Time before anything is counted: the allocator, the plan cache and the first segments are warm.
const WARM_UP: Duration = Duration::from_secs(3);
const WINDOW: Duration = Duration::from_secs(5);
const WINDOWS: usize = 5;
/// Steps a second that a machine with two cores should reach.
const TARGET: f64 = 90_000.0;

/// `task` is the number of chains at a time.
pub(crate) fn run(task: &str, dir: &Path) -> anyhow::Result<Vec<Value>> {
    let concurrency = task.parse()?;
    node::block_on(async {
        let node = Node::open(dir, Limits::default()).await?;
        let plan = plans::chain("chain", CHAIN);
        let load = Load::start(&node.runtime, plan, concurrency, u64::MAX);
        tokio::time::sleep(WARM_UP).await;
        let (mut steps, mut own) = (Vec::new(), Vec::new());
        // What other work on the machine does not take away.
        let mut efficiency = Vec::new();
        for _ in 0..WINDOWS {
            let (before, stretch) = (load.completed(), Stretch::begin()?);
            tokio::time::sleep(WINDOW).await;
            let (chains, stretched) = (load.completed() - before, stretch.end()?);
            let rate = (chains * CHAIN as u64) as f64 / stretched.seconds;
            steps.push(rate);
            efficiency.push(rate / stretched.own_cores);
            own.push(stretched.own_cores);
        }
        load.stop().await?;
        let (_, peak) = resident()?;
        node.close().await?;
        Ok(vec![
            Value::median("steps a second", steps, "").at_least(TARGET),
            Value::median("steps a second of processor time", efficiency, ""),
            Value::median("cores used by the node and the load", own, ""),
            Value::megabytes("peak of resident memory", peak),
        ])
    })
}
