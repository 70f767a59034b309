//! Shards that come and go, for a node that owns them for a time ([`super::Owning::Leased`]).
//!
//! ```text
//!   open_shard ──> open ── close_shard ──> closing ──> gone      steps end or are cut off, journaled
//!                    └──── stop_shard, fenced ───────> gone      at once, nothing is written
//! ```

use std::collections::{BTreeMap, HashMap};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use crane_core::breaker::{Mode, Snapshot, State};
use crane_core::{Epoch, RunId, ShardId, Timestamp, limits};
use crane_store::Fence;
use tokio::sync::oneshot;

use super::Runtime;
use crate::shard::ShardMsg;
use crate::step;
use crate::supervisor::Shards;
use crate::tenure::Tenure;

impl Runtime {
    /// Goes on with the runs of a shard, writing under this fence; `hot` first. Returns at once: the
    /// runs are read in the background, and what arrives for them meanwhile is carried out. Does
    /// nothing when the shard was open here in this or a later epoch already, or is owned for good.
    pub fn open_shard(&self, fence: Fence, hot: Vec<RunId>) {
        if self.kernel.lease.is_none() || !self.kernel.own(fence, hot) {
            let Fence { shard, epoch } = fence;
            tracing::warn!(%shard, %epoch, "shard is not opened: it was in this or a later epoch already");
            return;
        }
        self.tell_owned(fence.shard);
    }

    /// Stops all that goes on in a shard, at once and without writing anything. Whoever waits hears
    /// that it is not here. It may be opened again, in a later epoch, as soon as this returns.
    pub fn stop_shard(&self, fence: Fence) {
        if self.kernel.lease.is_none() {
            return;
        }
        self.kernel.tenures.end(fence);
        self.tell_owned(fence.shard);
    }

    /// Closes a shard in good order: from now on it takes nothing in and starts no step. Running
    /// steps may end within `grace`; what still runs then is cut off, and that is journaled. Gives
    /// the runs that were under way and have not ended. Afterwards nothing of it is left here.
    pub async fn close_shard(&self, fence: Fence, grace: Duration) -> Vec<RunId> {
        if self.kernel.lease.is_none() {
            return Vec::new();
        }
        let open = self.kernel.tenures.get(fence.shard);
        match open.filter(|tenure| tenure.fence() == fence) {
            Some(tenure) => self.close(&[tenure], grace).await,
            None => Vec::new(),
        }
    }

    /// In which epoch a shard is open here: takes runs and commands in.
    pub fn epoch_of(&self, shard: ShardId) -> Option<Epoch> {
        let tenure = self.kernel.tenures.open(shard);
        tenure.map(|tenure| tenure.epoch())
    }

    /// Whether a shard is this node's, be it that it is being closed.
    pub fn holds(&self, shard: ShardId) -> bool {
        self.kernel.lease.is_none() || self.kernel.tenures.get(shard).is_some()
    }

    /// The fences under which this node may write; those of shards that are being closed as well.
    pub fn owned(&self) -> Vec<Fence> {
        self.kernel.fences()
    }

    /// Runs under way by shard: those that have an actor or are about to. Shards without any are
    /// left out.
    pub fn loads(&self) -> BTreeMap<ShardId, u32> {
        self.kernel.tenures.loads()
    }

    /// Whether this node can do its work: its shards answer, a write would become durable, an
    /// attempt of a step comes to its end.
    pub async fn self_test(&self) -> bool {
        let probed = self.probe().await;
        for answer in [&probed.shards, &probed.journal] {
            if let Some(trouble) = &answer.trouble {
                tracing::warn!(trouble, "self-test failed");
                return false;
            }
        }
        let stepped = step::self_test(self.kernel.clone()).await;
        if !stepped {
            tracing::warn!("self-test failed: no attempt of a step came to its end");
        }
        stepped
    }

    /// A peer's breaker of a tool is open until then. Here calls go on, but a few at a time until
    /// they succeed: the tool is on trial, not refused.
    pub fn advise_breaker(&self, tool: &str, until: Timestamp) {
        if let Some(gate) = self.kernel.tools.gate(tool) {
            gate.advise(until, self.kernel.clock.now());
        }
    }

    /// The breakers that are open by themselves, to tell peers.
    pub fn breakers_open(&self) -> Vec<(String, Snapshot)> {
        let now = self.kernel.clock.now();
        let gates = self.kernel.tools.gates();
        let snapshots = gates.map(|gate| (gate.spec().name.to_string(), gate.snapshot(now)));
        snapshots
            .filter(|(_, breaker)| breaker.state == State::Open && breaker.mode == Mode::Auto)
            .collect()
    }

    /// Closes these: no step starts, running ones may end for `grace` and are cut off then. Gives
    /// the runs that were under way and have not ended.
    pub(super) async fn close(&self, tenures: &[Arc<Tenure>], grace: Duration) -> Vec<RunId> {
        let mut by_actor: HashMap<usize, Vec<ShardId>> = HashMap::new();
        for tenure in tenures {
            tenure.close();
            let index = Shards::index_of(tenure.shard(), self.kernel.actors.count());
            by_actor.entry(index).or_default().push(tenure.shard());
        }
        let closed = by_actor.into_values().map(|shards| async move {
            let (sender, answer) = oneshot::channel();
            if let Some(actor) = shards
                .first()
                .and_then(|shard| self.kernel.actors.of(*shard))
            {
                actor.send(ShardMsg::Close(shards, sender));
            }
            // An actor that fails takes its runs with it.
            answer.await.unwrap_or_default()
        });
        let mut closed = pin!(futures_util::future::join_all(closed));
        let mut hurry = self.kernel.hurry.subscribe();
        let in_time = tokio::select! {
            // Also without any grace, what has nothing under way is not cut off.
            biased;
            hot = &mut closed => Some(hot),
            () = tokio::time::sleep(grace) => None,
            // Its sender is the kernel's, which lives as long as this.
            _ = hurry.wait_for(|hurry| *hurry) => None,
        };
        let hot = match in_time {
            Some(hot) => hot,
            None => {
                self.interrupt(tenures);
                let cut_off = tokio::time::timeout(limits::CUT_OFF, closed).await;
                cut_off.unwrap_or_else(|_| {
                    tracing::warn!("steps could not be cut off; they count as lost");
                    Vec::new()
                })
            }
        };
        for tenure in tenures.iter().filter(|tenure| tenure.is_leased()) {
            tenure.end();
            self.tell_owned(tenure.shard());
        }
        hot.into_iter().flatten().collect()
    }

    fn interrupt(&self, tenures: &[Arc<Tenure>]) {
        let shards = tenures.len();
        tracing::warn!(
            shards,
            "steps are still running and are cut off; they will run again"
        );
        for tenure in tenures {
            tenure.cut_off();
        }
        for actor in self.kernel.actors.all() {
            actor.send(ShardMsg::Interrupt);
        }
    }

    fn tell_owned(&self, shard: ShardId) {
        // One that is being restarted looks by itself.
        if let Some(actor) = self.kernel.actors.of(shard) {
            actor.send(ShardMsg::Owned);
        }
    }
}
