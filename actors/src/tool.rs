//! The trait that every tool implements, and what a call is given.

use std::fmt;
use std::sync::Arc;

use crane_core::tool::{ToolError, ToolSpec};
use crane_core::{Attempt, Round, RunId, StepId, Timestamp};
use crane_store::RunStore;
use futures_util::future::BoxFuture;
use serde_json::Value;

/// Something that steps can call.
///
/// A call may be dropped at any await (timeout, cancellation) and may be repeated with the same
/// idempotency key after a crash. A panic fails the attempt and nothing else.
pub trait Tool: Send + Sync + 'static {
    /// What the tool declares; read once, when the node starts.
    fn spec(&self) -> ToolSpec;

    /// Carries out one call. `input` has passed the tool's schema.
    fn call(
        &self,
        input: Value,
        context: CallContext,
    ) -> BoxFuture<'static, Result<Value, ToolError>>;
}

/// On whose behalf a call is made.
#[derive(Clone)]
pub struct CallContext {
    /// The run, step, round and attempt; `None` for a dry run of the tool.
    pub origin: Option<Origin>,
    /// The node's store, for tools whose data must be as durable as a run.
    pub store: Arc<dyn RunStore>,
    /// When the call starts.
    pub now: Timestamp,
    /// W3C trace id to pass on, if the run has one.
    pub trace_id: Option<Arc<str>>,
}

impl fmt::Debug for CallContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallContext")
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

/// Which attempt makes a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The run.
    pub run: RunId,
    /// The step.
    pub step: StepId,
    /// The round of the run.
    pub round: Round,
    /// The attempt of the step.
    pub attempt: Attempt,
}

impl Origin {
    /// The key of the call's effect: the same for all automatic attempts, another after a retry of
    /// the ended run.
    pub fn idempotency_key(&self) -> String {
        format!("{}/{}/{}", self.run, self.step, self.round)
    }
}
