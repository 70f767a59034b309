//! The port through which a run gets a plan for its prompt.

use futures_util::future::BoxFuture;
use serde_json::Value;

/// Makes plans of prompts.
pub trait Planner: Send + Sync + 'static {
    /// A plan in the form that users write, or why there is none, as the text a user reads
    /// (`Could not parse prompt: ...`).
    fn plan(&self, prompt: &str) -> BoxFuture<'static, Result<Value, String>>;

    /// Whether [`Planner::plan`] answers at once, without a network; its plans are then part of
    /// the acknowledgement of a submission.
    fn is_local(&self) -> bool;
}
