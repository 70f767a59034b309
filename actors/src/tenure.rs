//! The time in which this node owns a shard, in one epoch: what all actors of the shard's runs
//! share.
//!
//! ```text
//!   Open ── closed, or the node goes down ──> Closing ── grace is over ──> CutOff ──┐
//!     └──────────── stopped, fenced, opened in a later epoch ───────────────────────┴──> Over
//! ```
//!
//! A tenure only goes forward. A shard that is opened again gets another one, so that whoever holds
//! an old one writes under the old epoch or not at all, and starts nothing.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crane_core::ids::SHARD_COUNT;
use crane_core::{Epoch, RunId, ShardId};
use crane_store::{Error, Fence};
use tokio::sync::Notify;

use crate::lease::{Lease, is_loss};

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
enum Stage {
    Open,
    Closing,
    CutOff,
    Over,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Tenure {
    fence: Fence,
    /// `None` when the shard is this node's for good.
    lease: Option<Arc<Lease>>,
    /// Runs to take up first.
    hot: Vec<RunId>,
    stage: AtomicU8,
    ended: Notify,
    /// Runs that have an actor, are being loaded or wait for a restart.
    load: AtomicU32,
}

impl Tenure {
    pub(crate) fn new(fence: Fence, lease: Option<Arc<Lease>>, hot: Vec<RunId>) -> Self {
        Self {
            fence,
            lease,
            hot,
            stage: AtomicU8::new(Stage::Open as u8),
            ended: Notify::new(),
            load: AtomicU32::new(0),
        }
    }

    pub(crate) fn fence(&self) -> Fence {
        self.fence
    }

    pub(crate) fn shard(&self) -> ShardId {
        self.fence.shard
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.fence.epoch
    }

    pub(crate) fn hot(&self) -> &[RunId] {
        &self.hot
    }

    /// Whether it depends on a lease.
    pub(crate) fn is_leased(&self) -> bool {
        self.lease.is_some()
    }

    /// This, if it depends on a lease.
    pub(crate) fn if_leased(self: &Arc<Self>) -> Option<Arc<Self>> {
        self.is_leased().then(|| self.clone())
    }

    /// Whether no step starts any more.
    pub(crate) fn is_closing(&self) -> bool {
        self.is_past(Stage::Closing)
    }

    /// Whether running steps are cut off.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.is_past(Stage::CutOff)
    }

    /// Whether nothing is done or written any more.
    pub(crate) fn is_over(&self) -> bool {
        self.is_past(Stage::Over)
    }

    /// Whether a run without an actor gets one: on a node that goes down a command to a sleeping run
    /// is still carried out, a shard that is handed over leaves it to the next owner.
    pub(crate) fn wakes(&self) -> bool {
        match self.is_leased() {
            true => !self.is_closing(),
            false => !self.is_over(),
        }
    }

    /// Whether there is no lease at the moment.
    pub(crate) fn is_put_off(&self) -> bool {
        self.lease.as_ref().is_some_and(|lease| !lease.has_time())
    }

    /// Whether a tool may be called now.
    pub(crate) fn may_call(&self) -> bool {
        !self.is_over() && !self.is_put_off()
    }

    /// Waits until there is a lease, or the tenure is over.
    pub(crate) async fn wait_for_lease(&self) {
        let Some(lease) = &self.lease else { return };
        tokio::select! {
            () = lease.wait() => {}
            () = self.over() => {}
        }
    }

    /// Resolves when the tenure is over.
    pub(crate) async fn over(&self) {
        let mut ended = pin!(self.ended.notified());
        // Listens before it looks, so that what is told in between is not missed.
        ended.as_mut().enable();
        if !self.is_over() {
            ended.await;
        }
    }

    /// From here on no step starts.
    pub(crate) fn close(&self) {
        self.advance(Stage::Closing);
    }

    /// From here on running steps are cut off.
    pub(crate) fn cut_off(&self) {
        self.advance(Stage::CutOff);
    }

    /// From here on nothing is done or written. Returns whether that is new.
    pub(crate) fn end(&self) -> bool {
        let is_new = self.advance(Stage::Over);
        self.ended.notify_waiters();
        is_new
    }

    /// Looks at what became of a write: when the shard is not this node's any more, the tenure is
    /// over.
    pub(crate) fn note(&self, result: &Result<(), Error>) {
        let Some(lease) = &self.lease else { return };
        lease.wrote(result);
        if let Err(error) = result
            && is_loss(error)
            && self.end()
        {
            tracing::warn!(shard = %self.fence.shard, epoch = %self.fence.epoch, %error, "shard is lost");
            lease.fenced(self.fence);
        }
    }

    /// Runs under way.
    pub(crate) fn load(&self) -> u32 {
        self.load.load(Ordering::Acquire)
    }

    fn is_past(&self, stage: Stage) -> bool {
        self.stage.load(Ordering::Acquire) >= stage as u8
    }

    fn advance(&self, stage: Stage) -> bool {
        self.stage.fetch_max(stage as u8, Ordering::AcqRel) < stage as u8
    }
}

/// A run that is under way in a tenure, and counted as such.
#[derive(Debug)]
pub(crate) struct UnderWay(Arc<Tenure>);

impl UnderWay {
    pub(crate) fn new(tenure: Arc<Tenure>) -> Self {
        tenure.load.fetch_add(1, Ordering::AcqRel);
        Self(tenure)
    }

    pub(crate) fn tenure(&self) -> &Arc<Tenure> {
        &self.0
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.load.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What a node owns, by shard. This is the truth that the shard actors follow.
#[derive(Debug)]
pub(crate) struct Tenures(Box<[RwLock<Option<Arc<Tenure>>>]>);

impl Default for Tenures {
    fn default() -> Self {
        Self((0..SHARD_COUNT).map(|_| RwLock::default()).collect())
    }
}

impl Tenures {
    /// The tenure of a shard, unless it is over.
    pub(crate) fn get(&self, shard: ShardId) -> Option<Arc<Tenure>> {
        let place = self.0.get(usize::from(shard.0))?;
        let held = place.read().unwrap_or_else(PoisonError::into_inner);
        held.clone().filter(|tenure| !tenure.is_over())
    }

    /// The tenure of a shard that takes in new runs.
    pub(crate) fn open(&self, shard: ShardId) -> Option<Arc<Tenure>> {
        self.get(shard).filter(|tenure| !tenure.is_closing())
    }

    /// Begins a tenure and ends the one before it; refuses one that is not later.
    pub(crate) fn begin(&self, tenure: Tenure) -> bool {
        let Some(place) = self.0.get(usize::from(tenure.shard().0)) else {
            return false;
        };
        let mut held = place.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = &*held {
            if before.epoch() >= tenure.epoch() {
                return false;
            }
            before.end();
        }
        *held = Some(Arc::new(tenure));
        true
    }

    /// Ends the tenure of this fence, or of an earlier epoch.
    pub(crate) fn end(&self, fence: Fence) {
        if let Some(tenure) = self.get(fence.shard)
            && tenure.epoch() <= fence.epoch
        {
            tenure.end();
        }
    }

    /// All that are not over, by shard.
    pub(crate) fn all(&self) -> Vec<Arc<Tenure>> {
        let shards = (0..SHARD_COUNT).map(ShardId);
        shards.filter_map(|shard| self.get(shard)).collect()
    }

    /// Runs under way, by shard.
    pub(crate) fn loads(&self) -> BTreeMap<ShardId, u32> {
        let tenures = self.all().into_iter();
        let loads = tenures.map(|tenure| (tenure.shard(), tenure.load()));
        loads.filter(|(_, load)| *load > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenure(epoch: u64) -> Tenure {
        let fence = Fence {
            shard: ShardId(3),
            epoch: Epoch(epoch),
        };
        Tenure::new(fence, None, Vec::new())
    }

    #[test]
    fn a_tenure_only_goes_forward() {
        let tenure = tenure(1);
        assert!(!tenure.is_closing());
        tenure.cut_off();
        tenure.close();
        assert!(tenure.is_cut_off() && !tenure.is_over());
        assert!(tenure.end());
        assert!(!tenure.end());
        tenure.close();
        assert!(tenure.is_over());
    }

    #[test]
    fn an_epoch_that_is_not_later_is_not_begun() {
        let tenures = Tenures::default();
        assert!(tenures.begin(tenure(2)));
        assert!(!tenures.begin(tenure(2)));
        assert!(!tenures.begin(tenure(1)));
        let first = tenures.get(ShardId(3)).unwrap();
        assert!(tenures.begin(tenure(3)));
        assert!(first.is_over());
        tenures.end(first.fence());
        assert_eq!(tenures.get(ShardId(3)).unwrap().epoch(), Epoch(3));
        tenures.end(Fence {
            shard: ShardId(3),
            epoch: Epoch(3),
        });
        assert!(tenures.get(ShardId(3)).is_none());
        // What was owned once is not owned again in the same epoch.
        assert!(!tenures.begin(tenure(3)));
    }
}
