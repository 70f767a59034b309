//! The runtime as ownership sees it: shards that are opened, stopped and closed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crane_actors::{Leased, Runtime};
use crane_cluster::ownership::words::Elapsed;
use crane_cluster::ports::RunHost;
use crane_core::{Epoch, RunId, ShardId};
use crane_store::Fence;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::unfenced;
use crate::cluster::Link;

/// See the module.
pub(super) struct Host {
    pub(super) runtime: Runtime,
    pub(super) link: Arc<Link>,
    /// How long running steps may go on in a shard that is closed.
    pub(super) grace: Duration,
}

/// What the runtime asks of ownership and tells it, through `link`.
pub(super) fn leased(link: &Arc<Link>) -> Leased {
    let (left, fenced, wrote) = (link.clone(), link.clone(), link.clone());
    Leased {
        left: Arc::new(move || left.left()),
        fenced: Arc::new(move |fence| fenced.fenced(fence)),
        wrote: Arc::new(move |ok| wrote.wrote(ok)),
    }
}

impl RunHost for Host {
    fn lease_until(&self, until: Elapsed) {
        match unfenced::is_asked_for() {
            true => self.link.lease_until(Elapsed(Duration::MAX)),
            false => self.link.lease_until(until),
        }
    }

    fn open_shard(&self, shard: ShardId, epoch: Epoch, hot: Vec<RunId>) {
        self.runtime.open_shard(Fence { shard, epoch }, hot);
    }

    fn stop_shard(&self, shard: ShardId, epoch: Epoch) {
        if unfenced::is_asked_for() {
            return;
        }
        self.runtime.stop_shard(Fence { shard, epoch });
    }

    fn close_shard(&self, shard: ShardId, epoch: Epoch) -> BoxFuture<'static, Vec<RunId>> {
        let (runtime, grace) = (self.runtime.clone(), self.link.grace(self.grace));
        async move { runtime.close_shard(Fence { shard, epoch }, grace).await }.boxed()
    }

    fn self_test(&self) -> BoxFuture<'static, bool> {
        let runtime = self.runtime.clone();
        async move { runtime.self_test().await }.boxed()
    }

    fn loads(&self) -> BTreeMap<ShardId, u32> {
        self.runtime.loads()
    }
}
