//! One call of a tool, from the check of its input to the report to its breaker; the same for a
//! step's attempt and for a dry run.

use std::sync::Arc;
use std::time::Duration;

use crane_core::breaker::CallOutcome;
use crane_core::tool::{ErrorKind, ToolError};
use serde_json::Value;

use crate::gate::{CallPermit, Gate};
use crate::kernel::Kernel;
use crate::metrics::{CallEnd, Refusal};
use crate::tenure::Tenure;
use crate::tool::{CallContext, Origin};

/// How a call ended.
#[derive(Debug)]
pub(crate) struct Called {
    pub(crate) result: Result<Value, ToolError>,
    /// Time inside the tool; zero when it was not called.
    pub(crate) took: Duration,
    /// Whether it was called.
    pub(crate) reached: bool,
}

impl Called {
    fn refused(error: ToolError) -> Self {
        Self {
            result: Err(error),
            took: Duration::ZERO,
            reached: false,
        }
    }
}

/// Counts a call when it ends, in whatever way.
struct Counted<'a> {
    gate: &'a Gate,
    end: Option<CallEnd>,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let end = self.end.unwrap_or(if std::thread::panicking() {
            CallEnd::Failure
        } else {
            CallEnd::Cancelled
        });
        self.gate.metrics.called(end);
    }
}

/// Checks the input, waits for a permit and, in a `tenure` that depends on one, for a lease; calls
/// the tool within `timeout`, reports the outcome.
pub(crate) async fn call(
    kernel: &Kernel,
    tenure: Option<&Tenure>,
    gate: &Arc<Gate>,
    input: Value,
    origin: Option<Origin>,
    trace_id: Option<Arc<str>>,
    timeout: Option<Duration>,
) -> Called {
    if !gate.schema().accepts(&input) {
        gate.metrics.refused(Refusal::InvalidInput);
        return Called::refused(ToolError::invalid_input(describe(gate, &input)));
    }
    let permit = match admit(kernel, tenure, gate).await {
        Ok(permit) => permit,
        Err(error) => return Called::refused(error),
    };
    let context = CallContext {
        origin,
        store: kernel.store.clone(),
        now: kernel.clock.now(),
        trace_id,
    };
    let is_attempt = context.origin.is_some();
    let mut counted = Counted { gate, end: None };
    let timeout = timeout.unwrap_or(gate.spec().timeout);
    let future = gate.tool().call(input, context);
    let result = match tokio::time::timeout(timeout, future).await {
        Ok(result) => result,
        Err(_) => {
            if is_attempt {
                kernel.metrics.timeouts.increment(1);
            }
            Err(ToolError::new(
                ErrorKind::Timeout,
                format!("no answer within {timeout:?}"),
            ))
        }
    };
    let took = permit.finish(outcome_for_breaker(&result));
    counted.end = Some(match &result {
        Ok(_) => CallEnd::Success,
        Err(_) => CallEnd::Failure,
    });
    drop(counted);
    Called {
        result,
        took,
        reached: true,
    }
}

/// Waits until the tool may be called.
async fn admit(
    kernel: &Kernel,
    tenure: Option<&Tenure>,
    gate: &Arc<Gate>,
) -> Result<CallPermit, ToolError> {
    loop {
        let permit = gate.acquire(&kernel.clock).await?;
        match tenure {
            // Looked at last: waiting for a permit may have taken longer than the lease lasts.
            Some(tenure) if !tenure.may_call() => {
                // Others may have more use for it meanwhile.
                drop(permit);
                tenure.wait_for_lease().await;
                if tenure.is_over() {
                    // Whoever makes this call is about to be killed.
                    std::future::pending::<()>().await;
                }
            }
            Some(_) | None => return Ok(permit),
        }
    }
}

/// What a result says about the health of the tool: an answer that blames the caller says it is
/// healthy.
fn outcome_for_breaker(result: &Result<Value, ToolError>) -> CallOutcome {
    let Err(error) = result else {
        return CallOutcome::Success;
    };
    match error.kind {
        ErrorKind::InvalidInput
        | ErrorKind::Permanent
        | ErrorKind::Expression
        | ErrorKind::Limit
        | ErrorKind::Interrupted => CallOutcome::Ignored,
        ErrorKind::Transient
        | ErrorKind::Timeout
        | ErrorKind::Unavailable
        | ErrorKind::Panic
        | ErrorKind::OutcomeUnknown => CallOutcome::Failure {
            retry_after: error.retry_after,
        },
    }
}

fn describe(gate: &Gate, input: &Value) -> String {
    let findings: Vec<String> = gate
        .schema()
        .findings(input)
        .into_iter()
        .map(|(path, message)| match path.as_str() {
            "" => message,
            path => format!("{path}: {message}"),
        })
        .collect();
    format!(
        "invalid input for {}: {}",
        gate.spec().name,
        findings.join("; ")
    )
}
