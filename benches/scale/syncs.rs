//! What the journal does for a step: its syncs, records and bytes, by the number of chains at a
//! time. Read from the node's own metrics; `strace -f -c -e trace=fdatasync` sees the same syncs.

use std::path::Path;
use std::time::Duration;

use crane_core::Limits;

use crate::load::Load;
use crate::node::{self, Node};
use crate::plans::{self, CHAIN};
use crate::recorder::Metrics;
use crate::rows::Value;

const WARM_UP: Duration = Duration::from_secs(2);
const WINDOW: Duration = Duration::from_secs(5);

/// `task` is the number of chains at a time.
pub(crate) fn run(task: &str, dir: &Path) -> anyhow::Result<Vec<Value>> {
    let concurrency = task.parse()?;
    let metrics = Metrics::install()?;
    node::block_on(async {
        let node = Node::open(dir, Limits::default()).await?;
        let plan = plans::chain("chain", CHAIN);
        let load = Load::start(&node.runtime, plan, concurrency, u64::MAX);
        tokio::time::sleep(WARM_UP).await;
        let read = || -> anyhow::Result<[f64; 4]> {
            let (syncs, records) = metrics.histogram("crane_journal_batch_records")?;
            let bytes = metrics.counter("crane_journal_bytes_total")?;
            let steps = load.completed() * CHAIN as u64;
            Ok([steps as f64, syncs as f64, records, bytes as f64])
        };
        let before = read()?;
        tokio::time::sleep(WINDOW).await;
        let after = read()?;
        let [steps, syncs, records, bytes] =
            std::array::from_fn(|place| after[place] - before[place]);
        load.stop().await?;
        node.close().await?;
        Ok(vec![
            Value::new("steps a second", steps / WINDOW.as_secs_f64(), ""),
            Value::new("syncs a step", syncs / steps, ""),
            Value::new("batches a sync", records / syncs, ""),
            Value::new("bytes of journal a step", bytes / steps, "B"),
        ])
    })
}
