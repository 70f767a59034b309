//! Makes many unfinished runs, through the store alone: what a node would have written of them.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use crane_actors::clock::Clock;
use crane_core::run::{Input, Outcome};
use crane_core::tool::ToolError;
use crane_core::{
    Attempt, Epoch, Json, Limits, Plan, Run, RunId, RunStatus, ShardId, StepIndex, Timestamp,
};
use crane_store::embedded::EmbeddedStore;
use crane_store::{Append, RunStore as _, Write};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use serde_json::Value;

use crate::machine;
use crate::node::{self, open_store};
use crate::plans;
use crate::runs;

/// Runs that are written at a time.
const CONCURRENCY: usize = 1_024;

/// Where a run has stopped.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Its first step has failed and is tried again in ten hours.
    Waiting,
    /// It is a 10-step chain that has not started.
    Pending,
    /// Its step, which takes an hour, is under way.
    Running,
}

/// How the store is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    /// Closed: what waits is in snapshots.
    Closed,
    /// As a kill leaves it: everything is in the journal.
    Killed,
}

/// What is needed to write runs.
struct Maker {
    store: Arc<EmbeddedStore>,
    epoch: Epoch,
    now: Timestamp,
    limits: Limits,
    plans: [Arc<Plan>; 3],
}

/// Makes `count` runs in the store of `dir`, whose kinds follow one another in turn, and drops the
/// files from the page cache. Does not return when the store is to be left as a kill leaves it.
pub(crate) fn make(dir: &Path, count: u32, kinds: &[Kind], leave: Leave) -> anyhow::Result<()> {
    node::block_on(async {
        let maker = Maker::new(open_store(dir)?).await?;
        let all = (0..count).zip(kinds.iter().cycle());
        stream::iter(all.map(|(number, kind)| maker.write(number, *kind)))
            .buffer_unordered(CONCURRENCY)
            .try_collect::<()>()
            .await?;
        if leave == Leave::Closed {
            maker.store.close().await?;
        }
        machine::forget(dir)
    })?;
    if leave == Leave::Killed {
        // Nothing is closed, dropped or flushed by this.
        std::process::exit(0);
    }
    Ok(())
}

impl Maker {
    async fn new(store: Arc<EmbeddedStore>) -> anyhow::Result<Self> {
        let fences = store.acquire(vec![ShardId(0)]).await?;
        let epoch = fences.first().context("no epoch")?.epoch;
        Ok(Self {
            store,
            epoch,
            now: Clock::system().now(),
            limits: Limits::default(),
            plans: [
                compiled(&plans::retrying())?,
                compiled(&plans::chain("chain", plans::CHAIN))?,
                compiled(&plans::sleeping())?,
            ],
        })
    }

    async fn write(&self, number: u32, kind: Kind) -> anyhow::Result<()> {
        let mut run = Run::empty(id(number, self.now));
        let [retrying, chain, sleeping] = &self.plans;
        let (plan, wanted) = match kind {
            Kind::Waiting => (retrying, RunStatus::Waiting),
            Kind::Pending => (chain, RunStatus::Pending),
            Kind::Running => (sleeping, RunStatus::Running),
        };
        let submit = Input::Submit(Box::new(runs::submission(plan)));
        let failed = Input::StepReported {
            step: StepIndex(0),
            attempt: Attempt(1),
            outcome: Outcome::Failed(ToolError::transient("not now")),
            duration_us: 1_000,
        };
        match kind {
            Kind::Waiting => {
                self.append(&mut run, vec![submit, Input::Start]).await?;
                self.append(&mut run, vec![failed]).await?;
                self.store.passivate(run.id);
            }
            Kind::Pending => self.append(&mut run, vec![submit]).await?,
            Kind::Running => self.append(&mut run, vec![submit, Input::Start]).await?,
        }
        if run.status() != wanted {
            bail!("run {} is {}", run.id, run.status().as_str());
        }
        Ok(())
    }

    /// One turn of a run, durable on return.
    async fn append(&self, run: &mut Run, inputs: Vec<Input>) -> anyhow::Result<()> {
        let (turn, answers) = run.turn(inputs, self.now, &self.limits);
        answers.into_iter().collect::<Result<(), _>>()?;
        let append = Append::new(self.epoch, run, &turn.records, true);
        Ok(crane_store::commit(self.store.as_ref(), Write::Append(append)).await?)
    }
}

fn compiled(source: &Value) -> anyhow::Result<Arc<Plan>> {
    match Plan::load(&Json::from_value(source)) {
        Ok(plan) => Ok(Arc::new(plan)),
        Err(findings) => bail!("{findings:?}"),
    }
}

/// An id as random as those of a node, and the same in every process.
fn id(number: u32, now: Timestamp) -> RunId {
    let mixed = u128::from(number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
    let mut random = [0; 10];
    random.copy_from_slice(&mixed.to_be_bytes()[..10]);
    RunId::from_time(now.as_millis(), random)
}
