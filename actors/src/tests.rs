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
mod operating;
mod supervision;
mod tools;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crane_core::breaker::BreakerPolicy;
use crane_core::event::Event;
use crane_core::tool::{ToolError, ToolSpec};
use crane_core::{Limits, Record, Run, RunId, Seq};
use crane_store::RunStore;
use crane_store::memory::MemoryStore;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::clock::Clock;
use crate::planner::Planner;
use crate::runtime::{Options, Restore, Runtime};
use crate::submit::Request;
use crate::tool::{CallContext, Tool};

/// When the tests begin.
const START: crane_core::Timestamp = crane_core::Timestamp(1_750_000_000_000_000);

/// What a test tool does with a call.
type Behavior =
    dyn Fn(Value, CallContext) -> BoxFuture<'static, Result<Value, ToolError>> + Send + Sync;

/// A tool made of a closure.
struct TestTool {
    spec: ToolSpec,
    behavior: Arc<Behavior>,
}

impl Tool for TestTool {
    fn spec(&self) -> ToolSpec {
        self.spec.clone()
    }

    fn call(
        &self,
        input: Value,
        context: CallContext,
    ) -> BoxFuture<'static, Result<Value, ToolError>> {
        (self.behavior)(input, context)
    }
}

/// What the test tools saw, and what they wait for.
#[derive(Debug)]
struct World {
    calls: Mutex<Vec<(String, u32)>>,
    inflight: AtomicUsize,
    most_inflight: AtomicUsize,
    /// One permit lets one call of `block` go on.
    open: Semaphore,
    /// One permit for each call of `block` that has begun.
    begun: Semaphore,
    /// Microseconds that the time of day is ahead of what has passed.
    ahead: std::sync::atomic::AtomicI64,
    /// Whether `flaky` fails.
    failing: std::sync::atomic::AtomicBool,
}

impl World {
    fn calls_of(&self, step: &str) -> usize {
        let calls = self.calls.lock().unwrap();
        calls.iter().filter(|(name, _)| name == step).count()
    }

    /// Lets the time of day go on; alarms that are set do not ring by that.
    fn pass(&self, time: Duration) {
        let micros = i64::try_from(time.as_micros()).unwrap();
        self.ahead.fetch_add(micros, Ordering::SeqCst);
    }

    /// Waits until one more call of `block` has begun.
    async fn wait_begun(&self) {
        self.begun.acquire().await.unwrap().forget();
    }
}

fn tool(
    spec: ToolSpec,
    behavior: impl Fn(Value, CallContext) -> BoxFuture<'static, Result<Value, ToolError>>
    + Send
    + Sync
    + 'static,
) -> Arc<dyn Tool> {
    Arc::new(TestTool {
        spec,
        behavior: Arc::new(behavior),
    })
}

fn spec(name: &str) -> ToolSpec {
    ToolSpec::pure(name, "a tool for tests", json!({ "type": "object" }))
}

fn note(world: &World, context: &CallContext) {
    if let Some(origin) = &context.origin {
        let call = (origin.step.to_string(), origin.attempt.0);
        world.calls.lock().unwrap().push(call);
    }
}

fn test_tools(world: &Arc<World>) -> Vec<Arc<dyn Tool>> {
    let echo = {
        let world = world.clone();
        tool(spec("echo"), move |input, context| {
            note(&world, &context);
            Box::pin(async move { Ok(input) })
        })
    };
    let panic = {
        let world = world.clone();
        tool(spec("panic"), move |_, context| {
            note(&world, &context);
            Box::pin(async { panic!("boom") })
        })
    };
    let block = {
        let world = world.clone();
        let mut spec = spec("block");
        spec.concurrency = 2;
        spec.timeout = Duration::from_secs(3600);
        tool(spec, move |input, context| {
            note(&world, &context);
            let world = world.clone();
            Box::pin(async move {
                struct Leave(Arc<World>);
                impl Drop for Leave {
                    fn drop(&mut self) {
                        self.0.inflight.fetch_sub(1, Ordering::SeqCst);
                    }
                }
                let now = world.inflight.fetch_add(1, Ordering::SeqCst) + 1;
                world.most_inflight.fetch_max(now, Ordering::SeqCst);
                let _leave = Leave(world.clone());
                world.begun.add_permits(1);
                world.open.acquire().await.unwrap().forget();
                Ok(input)
            })
        })
    };
    let flaky = {
        let world = world.clone();
        let mut spec = spec("flaky");
        spec.breaker = BreakerPolicy {
            consecutive_failures: 3,
            ..BreakerPolicy::default()
        };
        tool(spec, move |input, context| {
            note(&world, &context);
            let failing = world.failing.load(Ordering::SeqCst);
            Box::pin(async move {
                if failing {
                    Err(ToolError::transient("flaky as told"))
                } else {
                    Ok(input)
                }
            })
        })
    };
    vec![echo, panic, block, flaky]
}

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
        let world = Arc::new(World {
            calls: Mutex::default(),
            inflight: AtomicUsize::new(0),
            most_inflight: AtomicUsize::new(0),
            open: Semaphore::new(0),
            begun: Semaphore::new(0),
            ahead: std::sync::atomic::AtomicI64::new(0),
            failing: std::sync::atomic::AtomicBool::new(false),
        });
        Self::on(Arc::new(MemoryStore::new()), world, limits).await
    }

    async fn on(store: Arc<MemoryStore>, world: Arc<World>, limits: Limits) -> Self {
        let runtime = Runtime::start(Options {
            store: store.clone(),
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
            restore: Restore::All,
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
