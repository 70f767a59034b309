//! A node among others: it owns the shards that a test gives it, as long as the test lets it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crane_core::event::Event;
use crane_core::{Limits, RunId, ShardId};
use crane_store::memory::MemoryStore;
use crane_store::{Fence, RunStore as _};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::shared::SharedStore;
use super::world::World;
use super::{Node, request};
use crate::metrics::ActorKind;
use crate::runtime::{Leased, Owning};
use crate::submit::Request;

/// The shard that the tests own.
pub(super) const SHARD: ShardId = ShardId(7);

/// What a node asks about its lease, and what it told.
pub(super) struct Keeper {
    /// Milliseconds left.
    pub(super) left: AtomicU64,
    pub(super) fenced: Mutex<Vec<Fence>>,
    /// A permit for each time that a fence was told.
    pub(super) told: Semaphore,
    wrote: Mutex<Vec<bool>>,
}

impl Keeper {
    pub(super) fn wrote(&self) -> Vec<bool> {
        self.wrote.lock().unwrap().clone()
    }
}

/// A node that owns what it is told to.
pub(super) struct Member {
    pub(super) node: Node,
    pub(super) store: Arc<SharedStore>,
    pub(super) keeper: Arc<Keeper>,
}

impl Member {
    pub(super) async fn start() -> Self {
        Self::with(Limits::default()).await
    }

    pub(super) async fn with(limits: Limits) -> Self {
        let store = Arc::new(MemoryStore::new());
        Self::on(store, Arc::new(World::new()), limits).await
    }

    async fn on(store: Arc<MemoryStore>, world: Arc<World>, limits: Limits) -> Self {
        let keeper = Arc::new(Keeper {
            left: AtomicU64::new(1_000),
            fenced: Mutex::default(),
            told: Semaphore::new(0),
            wrote: Mutex::default(),
        });
        let outer = Arc::new(SharedStore::new(store.clone()));
        let leased = Leased {
            left: Arc::new({
                let keeper = keeper.clone();
                move || Duration::from_millis(keeper.left.load(Ordering::SeqCst))
            }),
            fenced: Arc::new({
                let keeper = keeper.clone();
                move |fence| {
                    keeper.fenced.lock().unwrap().push(fence);
                    keeper.told.add_permits(1);
                }
            }),
            wrote: Arc::new({
                let keeper = keeper.clone();
                move |works| keeper.wrote.lock().unwrap().push(works)
            }),
        };
        let owning = Owning::Leased(leased);
        let node = Node::owning(store, outer.clone(), world, limits, owning).await;
        Self {
            node,
            store: outer,
            keeper,
        }
    }

    /// Another node on the same store, whose tools are those of the same world.
    pub(super) async fn peer(&self) -> Self {
        let (store, world) = (self.node.store.clone(), self.node.world.clone());
        Self::on(store, world, self.node.limits.clone()).await
    }

    /// Takes the shard in the store: from now on nobody else writes to it.
    pub(super) async fn acquire(&self) -> Fence {
        let fences = self.store.acquire(vec![SHARD]).await.unwrap();
        fences[0]
    }

    /// Takes the shard and opens it.
    pub(super) async fn open(&self, hot: &[RunId]) -> Fence {
        let fence = self.acquire().await;
        self.node.runtime.open_shard(fence, hot.to_vec());
        fence
    }

    pub(super) async fn submit(&self, id: RunId, plan: Value) -> RunId {
        let request = with_id(id, plan);
        let submitted = self.node.runtime.submit(request, false).await;
        assert!(submitted.unwrap().created);
        id
    }

    /// Submits a plan whose first step blocks; that step has begun, and its start is written.
    pub(super) async fn begin(&self, id: RunId, plan: Value) -> RunId {
        let run = self.submit(id, plan).await;
        self.node.world.wait_begun().await;
        // The start is lazy: waited for, so that what is written by then is known.
        let is_start = |event: &Event| event.name() == "step_started";
        self.node.wait_for(run, is_start).await;
        run
    }

    /// Run actors that failed, and that were restarted.
    pub(super) fn failures(&self) -> (u64, u64) {
        let tree = self.node.runtime.supervision();
        let runs = tree.kinds.iter().find(|kind| kind.kind == ActorKind::Run);
        let runs = runs.unwrap();
        (runs.failures, runs.restarts_store + runs.restarts_failed)
    }
}

/// The `number`th id of a run of [`SHARD`].
pub(super) fn id(number: usize) -> RunId {
    let ids = (0u64..).map(|millis| RunId::from_time(millis, [0; 10]));
    let mut ids = ids.filter(|id| id.shard() == SHARD);
    ids.nth(number).unwrap()
}

pub(super) fn with_id(id: RunId, plan: Value) -> Request {
    Request {
        id: Some(id),
        ..request(plan)
    }
}

/// A blocking step and one after it.
pub(super) fn two_steps() -> Value {
    json!({ "steps": [
        { "id": "first", "tool": "block", "input": {} },
        { "id": "second", "tool": "echo", "input": {}, "depends_on": ["first"] },
    ] })
}

/// A step that fails once, while `flaky` does, and then waits for an hour.
pub(super) fn asleep() -> Value {
    json!({ "steps": [{
        "id": "a", "tool": "flaky", "input": {},
        "retry": { "max_attempts": 2, "initial": "1h", "max": "1h", "jitter": false },
    }] })
}
