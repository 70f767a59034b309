//! The tools that the tests call, and what these saw and wait for.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crane_core::breaker::BreakerPolicy;
use crane_core::tool::{ToolError, ToolSpec};
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::tool::{CallContext, Tool};

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
pub(super) struct World {
    calls: Mutex<Vec<(String, u32)>>,
    pub(super) inflight: AtomicUsize,
    pub(super) most_inflight: AtomicUsize,
    /// One permit lets one call of `block` go on.
    pub(super) open: Semaphore,
    /// One permit for each call of `block` that has begun.
    begun: Semaphore,
    /// Microseconds that the time of day is ahead of what has passed.
    pub(super) ahead: AtomicI64,
    /// Whether `flaky` fails.
    pub(super) failing: AtomicBool,
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            calls: Mutex::default(),
            inflight: AtomicUsize::new(0),
            most_inflight: AtomicUsize::new(0),
            open: Semaphore::new(0),
            begun: Semaphore::new(0),
            ahead: AtomicI64::new(0),
            failing: AtomicBool::new(false),
        }
    }

    pub(super) fn calls_of(&self, step: &str) -> usize {
        let calls = self.calls.lock().unwrap();
        calls.iter().filter(|(name, _)| name == step).count()
    }

    /// The steps that were called, in order.
    pub(super) fn called(&self) -> Vec<String> {
        let calls = self.calls.lock().unwrap();
        calls.iter().map(|(name, _)| name.clone()).collect()
    }

    /// Waits until no call of `block` is under way.
    pub(super) async fn wait_quiet(&self) {
        while self.inflight.load(Ordering::SeqCst) > 0 {
            tokio::task::yield_now().await;
        }
    }

    /// Lets the time of day go on; alarms that are set do not ring by that.
    pub(super) fn pass(&self, time: Duration) {
        let micros = i64::try_from(time.as_micros()).unwrap();
        self.ahead.fetch_add(micros, Ordering::SeqCst);
    }

    /// Waits until one more call of `block` has begun.
    pub(super) async fn wait_begun(&self) {
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

pub(super) fn test_tools(world: &Arc<World>) -> Vec<Arc<dyn Tool>> {
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
