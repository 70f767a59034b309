//! Runs of many steps: ten times the steps should cost ten times as much, and not a hundred times.

use std::path::Path;

use anyhow::Context as _;
use crane_core::Limits;
use tokio::time::Instant;

use crate::load;
use crate::machine::{reset_peak, resident};
use crate::node::{self, Node};
use crate::plans;
use crate::rows::{Row, Value};

/// Runs of each kind. Each has a name of its own, so that each plan is checked and compiled.
const RUNS: usize = 5;
/// Times the cost of a tenth of the steps.
const TARGET: f64 = 13.0;

const TIME: &str = "time of a run";
const MEMORY: &str = "growth of resident memory at most";

/// `task` is a shape and the number of its steps; the join of a fan comes on top.
pub(crate) fn run(task: &str, dir: &Path) -> anyhow::Result<Vec<Value>> {
    let (shape, steps) = task.split_once(' ').context("a shape and a number")?;
    let steps: usize = steps.parse()?;
    let plan = match shape {
        "chain" => plans::chain,
        _ => plans::fan,
    };
    let limits = Limits {
        steps: steps + 1,
        ..Limits::default()
    };
    node::block_on(async {
        let node = Node::open(dir, limits).await?;
        // Threads, first segments and the allocator's own are there before anything counts.
        load::one(&node.runtime, &plan("warm up", 10)).await?;
        reset_peak()?;
        let (before, _) = resident()?;
        let mut times = Vec::new();
        for number in 0..RUNS {
            let plan = plan(&format!("run {number}"), steps);
            let begun = Instant::now();
            load::one(&node.runtime, &plan).await?;
            times.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        let (_, peak) = resident()?;
        node.close().await?;
        Ok(vec![
            Value::median(TIME, times, "ms"),
            Value::megabytes(MEMORY, peak.saturating_sub(before)),
        ])
    })
}

/// What ten times the steps cost, in times.
pub(crate) fn ratios(rows: &[Row]) -> Vec<Row> {
    let find = |task: &str, measure| rows.iter().find_map(|row| row.is(task, measure));
    let mut ratios = Vec::new();
    for shape in ["chain", "fan"] {
        for measure in [TIME, MEMORY] {
            let small = find(&format!("{shape} 1000"), measure);
            let large = find(&format!("{shape} 10000"), measure);
            if let (Some(small), Some(large)) = (small, large) {
                let name = format!("{measure}, 10,000 against 1,000");
                let ratio = Value::new(&name, large / small, "times").at_most(TARGET);
                ratios.push(ratio.of("large", shape));
            }
        }
    }
    ratios
}
