//! One attempt of a step.
//!
//! A step actor lives for one attempt and leaves its outcome in its final state: the event of its
//! termination reaches the run actor before any message it could have sent. When its tool panics,
//! it fails alone; when the run is cancelled, it is killed and its permit comes back by itself.

use std::sync::Arc;

use crane_core::plan::Delivery;
use crane_core::run::{Outcome, StartStep};
use crane_core::tool::{ErrorKind, ToolError};
use crane_core::{Attempt, Json, Round, RunId, StepId, StepIndex, ToolName};
use ractor::{Actor, ActorProcessingErr, ActorRef};

use crate::call;
use crate::gate::Gate;
use crate::kernel::{Kernel, Living};
use crate::metrics::ActorKind;
use crate::probe;
use crate::tenure::Tenure;
use crate::tool::Origin;

/// See the module.
#[derive(Debug)]
pub(crate) struct StepActor;

/// A step actor takes no messages: it is spawned, works and stops.
#[derive(Debug)]
pub(crate) enum StepMsg {}

impl ractor::Message for StepMsg {}

/// What an attempt needs, and what came of it.
#[derive(Debug)]
pub(crate) struct StepState {
    pub(crate) kernel: Living,
    /// The tenure of the run's shard, if it depends on a lease.
    pub(crate) tenure: Option<Arc<Tenure>>,
    /// `None` when the node has no such tool (any more).
    pub(crate) gate: Option<Arc<Gate>>,
    pub(crate) run: RunId,
    pub(crate) step: StepId,
    pub(crate) start: Box<StartStep>,
    pub(crate) trace_id: Option<Arc<str>>,
    pub(crate) scheduled: tokio::time::Instant,
    pub(crate) report: Option<Report>,
}

/// What came of an attempt.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) outcome: Outcome,
    pub(crate) duration_us: u64,
}

impl StepState {
    async fn attempt(&self) -> Report {
        let Some(gate) = &self.gate else {
            return Report {
                outcome: Outcome::Failed(ToolError::permanent(format!(
                    "this node has no tool named {}",
                    self.start.tool
                ))),
                duration_us: 0,
            };
        };
        let origin = Origin {
            run: self.run,
            step: self.step.clone(),
            round: self.start.round,
            attempt: self.start.attempt,
        };
        let called = call::call(
            &self.kernel,
            self.tenure.as_deref(),
            gate,
            self.start.input.to_value(),
            Some(origin),
            self.trace_id.clone(),
            self.start.timeout,
        )
        .await;
        let waited = self.scheduled.elapsed().saturating_sub(called.took);
        self.kernel.metrics.schedule_to_start.record(waited);
        if called.reached {
            gate.metrics.duration.record(called.took);
        }
        Report {
            outcome: match called.result {
                Ok(value) => Outcome::Completed(Json::from_value(&value)),
                Err(error) => Outcome::Failed(error),
            },
            duration_us: u64::try_from(called.took.as_micros()).unwrap_or(u64::MAX),
        }
    }
}

impl Actor for StepActor {
    type Msg = StepMsg;
    // Boxed: the state moves through several futures between spawning and termination.
    type State = Box<StepState>;
    type Arguments = Box<StepState>;

    async fn pre_start(
        &self,
        _myself: ActorRef<StepMsg>,
        state: Box<StepState>,
    ) -> Result<Box<StepState>, ActorProcessingErr> {
        Ok(state)
    }

    async fn post_start(
        &self,
        myself: ActorRef<StepMsg>,
        state: &mut Box<StepState>,
    ) -> Result<(), ActorProcessingErr> {
        state.report = Some(state.attempt().await);
        myself.stop(None);
        Ok(())
    }
}

/// The report of an attempt whose actor ended without one.
pub(crate) fn report_of_panic(reason: &str) -> Report {
    Report {
        outcome: Outcome::Failed(ToolError::new(
            ErrorKind::Panic,
            format!("the tool panicked: {reason}"),
        )),
        duration_us: 0,
    }
}

/// Sends an attempt of a step that calls nothing through an actor, as every attempt goes. Whether it
/// came to its end in time.
pub(crate) async fn self_test(kernel: Arc<Kernel>) -> bool {
    let id = "self_test";
    let state = Box::new(StepState {
        kernel: Living::new(kernel, ActorKind::Step),
        tenure: None,
        gate: None,
        run: RunId::from_bytes([0; 16]),
        step: StepId::new(id),
        start: Box::new(StartStep {
            step: StepIndex(0),
            attempt: Attempt(1),
            round: Round(1),
            tool: ToolName::new(id),
            input: Json::null(),
            timeout: None,
            delivery: Delivery::AtLeastOnce,
        }),
        trace_id: None,
        scheduled: tokio::time::Instant::now(),
        report: None,
    });
    let Ok((actor, ended)) = StepActor::spawn(None, StepActor, state).await else {
        return false;
    };
    let in_time = tokio::time::timeout(probe::DEADLINE, ended).await;
    if in_time.is_err() {
        actor.kill();
    }
    matches!(in_time, Ok(Ok(())))
}
