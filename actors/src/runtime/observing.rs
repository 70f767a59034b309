//! Looking at a node from outside: health, figures, the supervision tree, metrics. Nothing here
//! changes anything, and but for the probe nothing is asked of an actor.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{ReadError, Runtime};
use crate::metrics::ActorKind;
use crate::probe::Probed;
use crate::supervision::{KindView, Tree};

/// What a node has done since it started.
#[derive(Clone, Debug, PartialEq)]
pub struct Figures {
    /// Mean time from acceptance to the end, of runs that ended, in seconds; 0 of none.
    pub run_seconds: f64,
    /// Steps that completed or failed.
    pub steps_executed: u64,
    /// Calls that reached their tool and ended, by tool; dry runs as well.
    pub tool_calls: BTreeMap<String, u64>,
    /// What kind of planner it has.
    pub planner: &'static str,
    /// Prompts that became a plan.
    pub prompts_planned: u64,
    /// Prompts that the planner did not understand.
    pub prompts_not_understood: u64,
    /// Prompts whose plan was not valid.
    pub plans_refused: u64,
    /// Mean time that the planner took for a prompt, in seconds; 0 of none.
    pub planner_seconds: f64,
}

impl Runtime {
    /// How long the node has been up.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Asks whether shards and journal do their work; see [`crate::probe`].
    pub async fn probe(&self) -> Probed {
        let shards = self.kernel.actors.each();
        self.prober.probe(shards, self.kernel.store.as_ref()).await
    }

    /// Why the node refuses new runs at the moment, if it does, such as a disk that is nearly full.
    pub fn refusing(&self) -> Option<crane_store::Error> {
        self.kernel.store.refusing()
    }

    /// The supervision tree as it is now.
    pub fn supervision(&self) -> Tree {
        let metrics = &self.kernel.metrics;
        let kinds = ActorKind::ALL.map(|kind| {
            let of_kind = metrics.kind(kind);
            let depth = match kind {
                ActorKind::Shard => self.shards_depth(),
                ActorKind::Node
                | ActorKind::Journal
                | ActorKind::ToolSupervisor
                | ActorKind::Tool
                | ActorKind::Run
                | ActorKind::Step => of_kind.depth.get(),
            };
            KindView::of(kind, of_kind, depth)
        });
        let alive = self.kernel.actors.each();
        let shards = self.kernel.shards.iter().zip(alive).enumerate();
        Tree {
            kinds: kinds.into(),
            shards: shards
                .map(|(index, (counts, actor))| counts.view(index, actor.is_some()))
                .collect(),
        }
    }

    /// What the node has done since it started.
    pub fn figures(&self) -> Figures {
        let metrics = &self.kernel.metrics;
        let planner = &metrics.planner;
        let mut steps_executed = metrics.unknown_tool.executed();
        let mut tool_calls = BTreeMap::new();
        for gate in self.kernel.tools.gates() {
            steps_executed += gate.metrics.steps.executed();
            tool_calls.insert(gate.spec().name.to_string(), gate.metrics.calls());
        }
        Figures {
            run_seconds: metrics.run_seconds.seconds(),
            steps_executed,
            tool_calls,
            planner: self.kernel.planner.kind(),
            prompts_planned: planner.planned.load(Ordering::Relaxed),
            prompts_not_understood: planner.not_understood.load(Ordering::Relaxed),
            plans_refused: planner.refused.load(Ordering::Relaxed),
            planner_seconds: planner.took.seconds(),
        }
    }

    /// Brings the recorder of metrics up to date; to be called before it is read.
    ///
    /// # Errors
    /// When the store cannot count its runs.
    pub async fn show_metrics(&self) -> Result<(), ReadError> {
        let counts = self.counts().await?;
        self.kernel.metrics.show(self.shards_depth(), |status| {
            counts.get(&status).copied().unwrap_or(0)
        });
        for gate in self.kernel.tools.gates() {
            gate.show_metrics();
        }
        Ok(())
    }

    fn shards_depth(&self) -> u64 {
        let shards = self.kernel.shards.iter();
        shards.map(|counts| counts.depth.get()).sum()
    }
}
