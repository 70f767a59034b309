//! Tests of the supervision tree on the store in memory: every way in which a part of it can die,
//! and what the rest does then.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests fail by panicking, and start what they test themselves"
)]

mod admission;
mod changes;
mod following;
mod handover;
mod leasing;
mod member;
mod operating;
mod owning;
mod shared;
mod supervision;
mod tools;
mod turned_away;
mod world;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crane_core::event::Event;
use crane_core::{Limits, Record, Run, RunId, Seq};
use crane_store::RunStore;
use crane_store::memory::MemoryStore;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use crate::clock::Clock;
use crate::planner::Planner;
use crate::runtime::{Options, Owning, Restore, Runtime};
use crate::submit::Request;
use world::{World, test_tools};

/// When the tests begin.
const START: crane_core::Timestamp = crane_core::Timestamp(1_750_000_000_000_000);

struct NoPlanner;

impl Planner for NoPlanner {
    fn plan(&self, prompt: &str) -> BoxFuture<'static, Result<Value, String>> {
        let plan = match prompt {
            "hello" => Ok(json!({ "steps": [{ "id": "a", "tool": "echo", "input": { "v": 1 } }] })),
            other => Err(format!("Could not parse prompt: {other}")),
        };
        Box::pin(async move { plan })
    }

    fn is_local(&self) -> bool {
        true
    }

    fn kind(&self) -> &'static str {
        "none"
    }
}

/// A node on a store in memory.
struct Node {
    runtime: Runtime,
    store: Arc<MemoryStore>,
    world: Arc<World>,
    limits: Limits,
}

impl Node {
    async fn start() -> Self {
        Self::with(Limits::default()).await
    }

    async fn with(limits: Limits) -> Self {
        let world = Arc::new(World::new());
        Self::on(Arc::new(MemoryStore::new()), world, limits).await
    }

    async fn on(store: Arc<MemoryStore>, world: Arc<World>, limits: Limits) -> Self {
        Self::owning(store.clone(), store, world, limits, Owning::All).await
    }

    /// A node whose store is `outer`, around `store`.
    async fn owning(
        store: Arc<MemoryStore>,
        outer: Arc<dyn RunStore>,
        world: Arc<World>,
        limits: Limits,
        owning: Owning,
    ) -> Self {
        Self::restoring(store, outer, world, limits, owning, Restore::All).await
    }

    async fn restoring(
        store: Arc<MemoryStore>,
        outer: Arc<dyn RunStore>,
        world: Arc<World>,
        limits: Limits,
        owning: Owning,
        restore: Restore,
    ) -> Self {
        let runtime = Runtime::start(Options {
            store: outer,
            tools: test_tools(&world),
            planner: Arc::new(NoPlanner),
            limits: limits.clone(),
            clock: Clock::new({
                // What has passed on tokio's clock, which a test may pause.
                let (world, start) = (world.clone(), tokio::time::Instant::now());
                move || {
                    let now = START.after(start.elapsed());
                    crane_core::Timestamp(now.0 + world.ahead.load(Ordering::SeqCst))
                }
            }),
            owning,
            restore,
            shards: 2,
        })
        .await
        .unwrap();
        Self {
            runtime,
            store,
            world,
            limits,
        }
    }

    /// The node after a crash: a new tree on the same data. The old tree's actors are left as a
    /// crash leaves them, without a word; its epoch is over.
    async fn crash(self) -> Self {
        let store = Arc::new(self.store.reopen());
        Self::on(store, self.world, self.limits).await
    }

    /// The same, of a node that has not read yet what is unfinished.
    async fn crash_unread(self) -> Self {
        let store = Arc::new(self.store.reopen());
        let (outer, all, none) = (store.clone(), Owning::All, Restore::None);
        Self::restoring(store, outer, self.world, self.limits, all, none).await
    }

    async fn submit(&self, plan: Value) -> RunId {
        self.runtime
            .submit(request(plan), false)
            .await
            .unwrap()
            .run
            .id
    }

    async fn ended(&self, id: RunId) -> Run {
        self.runtime.ended(id).await.unwrap().unwrap()
    }

    async fn events(&self, id: RunId) -> Vec<Record> {
        let image = self.store.load(id).await.unwrap().unwrap();
        crane_store::codec::decode(&image.events).unwrap()
    }

    async fn names(&self, id: RunId) -> Vec<&'static str> {
        self.events(id)
            .await
            .iter()
            .map(|r| r.event.name())
            .collect()
    }

    /// Waits until an event of the run satisfies `wanted`.
    async fn wait_for(&self, id: RunId, wanted: impl Fn(&Event) -> bool) {
        let mut follower = self.runtime.follow(id, Seq(0)).await.unwrap().unwrap();
        while let Some(record) = follower.next().await.unwrap() {
            if wanted(&record.event) {
                return;
            }
        }
        panic!("run {id} ended without the event");
    }
}

fn request(plan: Value) -> Request {
    Request {
        plan: Some(plan),
        labels: BTreeMap::new(),
        ..Request::default()
    }
}

/// A plan of one step.
fn one(tool: &str) -> Value {
    json!({ "steps": [{ "id": "a", "tool": tool, "input": { "v": 1 } }] })
}

/// A chain of `length` echo steps.
fn chain(length: usize) -> Value {
    let steps: Vec<Value> = (0..length)
        .map(|i| match i {
            0 => json!({ "id": "s0", "tool": "echo", "input": { "v": 0 } }),
            _ => json!({
                "id": format!("s{i}"), "tool": "echo",
                "input": { "v": format!("${{steps.s{}.output.v + 1}}", i - 1) }
            }),
        })
        .collect();
    json!({ "steps": steps })
}

#[tokio::test]
async fn a_chain_runs_to_its_end_and_hands_values_on() {
    let node = Node::start().await;
    let id = node.submit(chain(10)).await;
    let run = node.ended(id).await;
    assert_eq!(run.result.unwrap().to_value(), json!({ "v": 9 }));
    let seqs: Vec<u64> = node.events(id).await.iter().map(|r| r.seq.0).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_fan_keeps_to_the_limit_of_steps_at_once() {
    let limits = Limits {
        parallel_steps: 8,
        ..Limits::default()
    };
    let node = Node::with(limits).await;
    let mut steps: Vec<Value> = (0..100)
        .map(|i| json!({ "id": format!("f{i}"), "tool": "echo", "input": { "i": i } }))
        .collect();
    let all: Vec<String> = (0..100).map(|i| format!("f{i}")).collect();
    steps.push(json!({ "id": "join", "tool": "echo", "input": {}, "depends_on": all }));
    let id = node.submit(json!({ "steps": steps })).await;
    let run = node.ended(id).await;
    assert_eq!(run.status().as_str(), "completed");
    let mut running: usize = 0;
    for record in node.events(id).await {
        match record.event {
            Event::StepStarted { .. } => running += 1,
            Event::StepCompleted { .. } => running -= 1,
            _ => {}
        }
        assert!(running <= 8, "{running} steps at once");
    }
}

#[tokio::test]
async fn a_prompt_gets_its_plan_with_the_acknowledgement() {
    let node = Node::start().await;
    let request = Request {
        prompt: Some("hello".to_owned()),
        ..Request::default()
    };
    let submitted = node.runtime.submit(request, false).await.unwrap();
    assert!(submitted.run.plan.is_some());
    let run = node.ended(submitted.run.id).await;
    assert_eq!(run.result.unwrap().to_value(), json!({ "v": 1 }));
}

#[tokio::test]
async fn a_prompt_that_nobody_understands_is_accepted_and_fails() {
    let node = Node::start().await;
    let request = Request {
        prompt: Some("gibberish".to_owned()),
        ..Request::default()
    };
    let submitted = node.runtime.submit(request, false).await.unwrap();
    let run = node.ended(submitted.run.id).await;
    assert_eq!(
        run.error.as_deref(),
        Some("Could not parse prompt: gibberish")
    );
}

#[tokio::test]
async fn no_actor_is_remotable() {
    let node = Node::start().await;
    let blocked = node.submit(one("block")).await;
    node.world.wait_begun().await;
    let remotable: Vec<_> = ractor::registry::get_all_pids()
        .into_iter()
        .filter(ractor::ActorCell::supports_remoting)
        .collect();
    assert!(!ractor::registry::get_all_pids().is_empty());
    assert_eq!(remotable.len(), 0, "{remotable:?}");
    node.world.open.add_permits(1);
    node.ended(blocked).await;
}
