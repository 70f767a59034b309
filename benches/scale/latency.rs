//! One 10-step chain at a time, from its submission to its end, against the time that the disk
//! takes for it at the least: 11 syncs, one for the acceptance and one for each step.
//!
//! The disk's part is taken without waiting for a core (see [`Probe`]), the chain's time with it. So
//! other work on the machine can make the ratio worse than it is, and never better.

use std::path::Path;
use std::time::Duration;

use crane_core::Limits;
use tokio::time::Instant;

use crate::load;
use crate::machine::Probe;
use crate::node::{self, Node};
use crate::plans::{self, CHAIN};
use crate::rows::Value;

/// Each round has a median of its own.
const ROUNDS: usize = 5;
const WINDOW: Duration = Duration::from_secs(3);
/// Chains before anything is counted.
const WARM_UP: usize = 200;
/// Syncs that a chain waits for, one after the other.
const SYNCS: usize = CHAIN + 1;
/// Times the disk's part that a chain may take.
const TARGET: f64 = 1.4;

/// There is but one task.
pub(crate) fn run(_task: &str, dir: &Path) -> anyhow::Result<Vec<Value>> {
    node::block_on(async {
        let node = Node::open(dir, Limits::default()).await?;
        let plan = plans::chain("chain", CHAIN);
        let mut probe = Probe::new(dir)?;
        for _ in 0..WARM_UP {
            load::one(&node.runtime, &plan).await?;
        }
        let (mut elapsed, mut disk) = (Vec::new(), Vec::new());
        let (mut chains, mut ratios) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let (mut samples, mut times) = (Vec::new(), Vec::new());
            let begun = Instant::now();
            while begun.elapsed() < WINDOW {
                // Taken in turn, so that both see the same disk.
                samples.extend(probe.samples(SYNCS)?);
                let start = Instant::now();
                load::one(&node.runtime, &plan).await?;
                times.push(start.elapsed().as_secs_f64() * 1e6);
            }
            let sync = median(samples.iter().map(|sample| sample.disk).collect());
            let chain = median(times);
            elapsed.push(median(
                samples.iter().map(|sample| sample.elapsed).collect(),
            ));
            disk.push(sync);
            chains.push(chain);
            ratios.push(chain / (sync * SYNCS as f64));
        }
        node.close().await?;
        Ok(vec![
            Value::median("fdatasync of 4 KiB, p50", elapsed, "us"),
            Value::median("the same without waiting for a core", disk, "us"),
            Value::median("chain, p50", chains, "us"),
            Value::median("chain against 11 fdatasyncs", ratios, "").at_most(TARGET),
        ])
    })
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}
