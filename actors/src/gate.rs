//! The gate of a tool: its breaker, its permits and its rate, behind one short lock.
//!
//! ```text
//!   attempt ── admit ──> free?  yes ──────────────> CallPermit ──> call ──> report to the breaker
//!                          │ no: all permits out                     (given back on drop, whatever
//!                          └──> ToolActor queues it, grants later     happens to its owner)
//! ```
//!
//! The gate outlives the [`crate::tool_actor::ToolActor`] that guards it, so a crash of that actor
//! loses neither the window of the breaker nor a permit. A permit is given back when it is
//! dropped: an attempt that is killed, times out or panics cannot keep one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use crane_core::breaker::{self, Breaker, CallOutcome, Denied, Mode, Permit, Snapshot};
use crane_core::tool::{ErrorKind, ToolError, ToolSpec};
use crane_core::{Timestamp, limits};
use tokio::sync::oneshot;

use crate::clock::Clock;
use crate::mailbox::Mailbox;
use crate::metrics::{Refusal, ToolMetrics};
use crate::registry::Schema;
use crate::tool::Tool;
use crate::tool_actor::ToolMsg;

/// See the module.
pub(crate) struct Gate {
    spec: ToolSpec,
    schema: Schema,
    tool: Arc<dyn Tool>,
    pub(crate) metrics: ToolMetrics,
    state: Mutex<State>,
    actor: RwLock<Option<Mailbox<ToolMsg>>>,
}

struct State {
    breaker: Breaker,
    inflight: usize,
    waiting: usize,
    bucket: Option<Bucket>,
}

/// A token bucket that holds one second's worth of calls.
struct Bucket {
    per_second: f64,
    tokens: f64,
    filled_at: Timestamp,
}

/// What the gate says to one attempt.
pub(crate) enum Admission {
    /// Go on.
    Granted(CallPermit),
    /// All permits are out, or the rate is used up: wait for the tool actor's word.
    Busy,
    /// Do not call.
    Denied(ToolError),
}

impl Gate {
    pub(crate) fn new(spec: ToolSpec, schema: Schema, tool: Arc<dyn Tool>) -> Self {
        let bucket = spec.rate_limit.map(|per_second| Bucket {
            per_second: f64::from(per_second.max(1)),
            tokens: f64::from(per_second.max(1)),
            filled_at: Timestamp::default(),
        });
        Self {
            metrics: ToolMetrics::new(spec.name.as_str()),
            state: Mutex::new(State {
                breaker: Breaker::new(spec.breaker.clone(), seed(&spec)),
                inflight: 0,
                waiting: 0,
                bucket,
            }),
            actor: RwLock::new(None),
            spec,
            schema,
            tool,
        }
    }

    pub(crate) fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    pub(crate) fn schema(&self) -> &Schema {
        &self.schema
    }

    pub(crate) fn tool(&self) -> &dyn Tool {
        self.tool.as_ref()
    }

    /// Names the actor that guards this gate from now on.
    pub(crate) fn attach(&self, actor: Mailbox<ToolMsg>) {
        *self.actor.write().unwrap_or_else(PoisonError::into_inner) = Some(actor);
    }

    /// Waits for a permit, or hears that the tool is not available.
    pub(crate) async fn acquire(self: &Arc<Self>, clock: &Clock) -> Result<CallPermit, ToolError> {
        match self.admit(clock, false) {
            Admission::Granted(permit) => return Ok(permit),
            Admission::Denied(error) => return Err(error),
            Admission::Busy => {}
        }
        let _ticket = self.queue()?;
        loop {
            let (sender, receiver) = oneshot::channel();
            self.tell(ToolMsg::Wait(sender));
            match receiver.await {
                Ok(answer) => return answer,
                // The tool actor died and its queue with it; the next one takes the wish again.
                Err(_) => tokio::time::sleep(limits::LAZY_DELAY).await,
            }
        }
    }

    /// Decides about one attempt. `queued` attempts have waited their turn; others may not
    /// overtake them.
    pub(crate) fn admit(self: &Arc<Self>, clock: &Clock, queued: bool) -> Admission {
        let now = clock.now();
        let mut state = self.lock();
        if state.inflight >= self.spec.concurrency || (state.waiting > 0 && !queued) {
            return Admission::Busy;
        }
        if !state.has_token(now) {
            return Admission::Busy;
        }
        let before = state.breaker.state();
        let verdict = state.breaker.admit(now);
        let after = state.breaker.state();
        let admission = match verdict {
            Ok(permit) => {
                state.take_token();
                state.inflight += 1;
                Admission::Granted(CallPermit {
                    gate: self.clone(),
                    clock: clock.clone(),
                    permit: Some(permit),
                    started: tokio::time::Instant::now(),
                })
            }
            Err(denied) => {
                let mode = state.breaker.mode();
                Admission::Denied(self.unavailable(mode, &denied))
            }
        };
        drop(state);
        if let Admission::Denied(_) = admission {
            self.metrics.refused(Refusal::BreakerOpen);
        }
        if before != after {
            self.tell(ToolMsg::Changed);
        }
        admission
    }

    /// How long until the rate admits another call, when it is the rate that makes calls wait.
    pub(crate) fn next_token(&self, now: Timestamp) -> Option<Duration> {
        let mut state = self.lock();
        if state.has_token(now) {
            return None;
        }
        let bucket = state.bucket.as_ref()?;
        Some(Duration::from_secs_f64(
            (1.0 - bucket.tokens).max(0.001) / bucket.per_second,
        ))
    }

    /// When time alone changes the breaker.
    pub(crate) fn next_change(&self) -> Option<Timestamp> {
        self.lock().breaker.next_change()
    }

    /// Forces the breaker, or gives it back to its own rules.
    pub(crate) fn force(&self, mode: Mode, now: Timestamp) -> breaker::State {
        let state = {
            let mut state = self.lock();
            state.breaker.force(mode, now);
            state.breaker.state()
        };
        self.tell(ToolMsg::Changed);
        state
    }

    /// A peer's breaker is open until then: here the tool is put on trial, see [`Breaker::advise`].
    pub(crate) fn advise(&self, until: Timestamp, now: Timestamp) {
        let changed = self.lock().breaker.advise(until, now);
        if changed {
            self.tell(ToolMsg::Changed);
        }
    }

    /// The breaker as it is, for users and for surviving a restart.
    pub(crate) fn snapshot(&self, now: Timestamp) -> Snapshot {
        let mut state = self.lock();
        state.breaker.advance(now);
        state.breaker.snapshot()
    }

    /// Brings the recorder up to date.
    pub(crate) fn show_metrics(&self) {
        let inflight = self.lock().inflight;
        self.metrics.show(inflight);
    }

    /// Puts back a breaker that was stored.
    pub(crate) fn restore(&self, snapshot: &Snapshot, now: Timestamp) {
        let policy = self.spec.breaker.clone();
        self.lock().breaker = Breaker::restore(policy, seed(&self.spec), snapshot, now);
    }

    fn unavailable(&self, mode: Mode, denied: &Denied) -> ToolError {
        let (name, wait) = (&self.spec.name, denied.retry_after);
        let message = match mode {
            // No time lets calls through again.
            Mode::ForcedOpen => format!(
                "tool_unavailable: the breaker of {name} is forced open by an operator; \
                 `crane tools reset {name}` gives it back to its own rules"
            ),
            Mode::Auto | Mode::ForcedClosed => format!(
                "tool_unavailable: the breaker of {name} is open, try again in {:.1} s",
                wait.as_secs_f64()
            ),
        };
        ToolError {
            kind: ErrorKind::Unavailable,
            message: message.into(),
            retry_after: Some(wait),
        }
    }

    fn queue(self: &Arc<Self>) -> Result<Ticket, ToolError> {
        let mut state = self.lock();
        if state.waiting >= limits::TOOL_QUEUE {
            drop(state);
            self.metrics.refused(Refusal::QueueFull);
            return Err(ToolError::transient(format!(
                "{} calls of {} are waiting already",
                limits::TOOL_QUEUE,
                self.spec.name
            )));
        }
        state.waiting += 1;
        Ok(Ticket(self.clone()))
    }

    fn tell(&self, message: ToolMsg) {
        let actor = self.actor.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(actor) = actor.as_ref() {
            // A dead tool actor is being restarted and then looks for itself.
            actor.send(message);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate")
            .field("tool", &self.spec.name)
            .finish_non_exhaustive()
    }
}

impl State {
    fn has_token(&mut self, now: Timestamp) -> bool {
        let Some(bucket) = &mut self.bucket else {
            return true;
        };
        let passed = now.since(bucket.filled_at).as_secs_f64();
        bucket.tokens = (bucket.tokens + passed * bucket.per_second).min(bucket.per_second);
        bucket.filled_at = now;
        bucket.tokens >= 1.0
    }

    fn take_token(&mut self) {
        if let Some(bucket) = &mut self.bucket {
            bucket.tokens -= 1.0;
        }
    }
}

/// Spreads the opening times of breakers that open together.
fn seed(spec: &ToolSpec) -> u64 {
    let bytes = spec.name.as_str().bytes();
    bytes.fold(0, |sum: u64, byte| sum.wrapping_mul(31) + u64::from(byte))
}

/// A place in the queue of a gate.
struct Ticket(Arc<Gate>);

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.lock().waiting -= 1;
    }
}

/// The right to make one call; given back when dropped.
pub(crate) struct CallPermit {
    gate: Arc<Gate>,
    clock: Clock,
    permit: Option<Permit>,
    started: tokio::time::Instant,
}

impl CallPermit {
    /// Tells the breaker how the call ended and gives the permit back. Returns how long it took.
    pub(crate) fn finish(mut self, outcome: CallOutcome) -> Duration {
        let took = self.started.elapsed();
        self.give_back(outcome, took);
        took
    }

    fn give_back(&mut self, outcome: CallOutcome, took: Duration) {
        let Some(permit) = self.permit.take() else {
            return;
        };
        let now = self.clock.now();
        let (changed, waiting) = {
            let mut state = self.gate.lock();
            let before = state.breaker.state();
            state.breaker.report(permit, outcome, took, now);
            state.inflight -= 1;
            (before != state.breaker.state(), state.waiting > 0)
        };
        if changed {
            self.gate.tell(ToolMsg::Changed);
        }
        if waiting {
            self.gate.tell(ToolMsg::Released);
        }
    }
}

impl Drop for CallPermit {
    fn drop(&mut self) {
        if self.permit.is_some() {
            // A panic counts against the tool; a killed attempt says nothing about it.
            let outcome = if std::thread::panicking() {
                CallOutcome::Failure { retry_after: None }
            } else {
                CallOutcome::Abandoned
            };
            let took = self.started.elapsed();
            self.give_back(outcome, took);
        }
    }
}
