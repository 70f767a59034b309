//! The port through which a run gets a plan for its prompt.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crane_core::Plan;
use futures_util::future::BoxFuture;
use serde_json::Value;

use crate::kernel::Kernel;

/// Makes plans of prompts.
pub trait Planner: Send + Sync + 'static {
    /// A plan in the form that users write, or why there is none, as the text a user reads
    /// (`Could not parse prompt: ...`).
    fn plan(&self, prompt: &str) -> BoxFuture<'static, Result<Value, String>>;

    /// Whether [`Planner::plan`] answers at once, without a network; its plans are then part of
    /// the acknowledgement of a submission.
    fn is_local(&self) -> bool;

    /// What kind of planner this is, for operators.
    fn kind(&self) -> &'static str;
}

/// Asks the planner and checks its plan like a user's; what is found wrong with it is a planning
/// failure.
pub(crate) async fn plan(kernel: &Kernel, prompt: &str) -> Result<Arc<Plan>, Arc<str>> {
    let counts = &kernel.metrics.planner;
    let begun = tokio::time::Instant::now();
    let made = kernel.planner.plan(prompt).await;
    counts.took.add(begun.elapsed());
    let (count, planned) = match made {
        Err(reason) => (&counts.not_understood, Err(reason.into())),
        Ok(source) => match check(kernel, &source) {
            Ok(plan) => (&counts.planned, Ok(plan)),
            Err(reason) => (&counts.refused, Err(reason.into())),
        },
    };
    count.fetch_add(1, Ordering::Relaxed);
    planned
}

fn check(kernel: &Kernel, source: &Value) -> Result<Arc<Plan>, String> {
    kernel
        .plans
        .check(source, kernel.tools.as_ref(), &kernel.limits)
        .map_err(|findings| {
            let all: Vec<String> = findings
                .iter()
                .map(|finding| format!("{}: {}", finding.path, finding.message))
                .collect();
            format!("the planner's plan is not valid: {}", all.join("; "))
        })
}
