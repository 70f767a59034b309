//! The tools and planners that ship with Crane.
//!
//! Everything that talks to the world on behalf of a step lives here and nowhere else: the
//! calculator, the todo store, HTTP. A tool knows its input and its [`CallContext`]; it never
//! knows of actors, retries or breakers, which the runtime puts around it.
//!
//! ```text
//!   prompt ──> planner ──> plan (JSON) ──> checked and run by the rest of Crane
//!                                                        │ each ready step
//!                                                        v
//!              ToolActor ──> Tool::call(input, CallContext) ──> output or ToolError
//! ```
//!
//! [`CallContext`]: crane_actors::tool::CallContext

pub mod calculator;
pub mod echo;
pub mod fail;
pub mod http;
mod input;
pub mod planner;
pub mod sleep;
pub mod todo_store;

use std::sync::Arc;

use crane_actors::tool::Tool;
use serde::Deserialize;

/// The settings of the tools, as they stand in the configuration file under `[tools]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ToolsConfig {
    /// Settings of the `http` tool.
    pub http: http::HttpConfig,
}

/// The tools of every node, ordered by name.
pub fn standard(config: ToolsConfig) -> Vec<Arc<dyn Tool>> {
    vec![
        Arc::new(calculator::Calculator),
        Arc::new(echo::Echo),
        Arc::new(fail::Fail::default()),
        Arc::new(http::HttpTool::new(config.http)),
        Arc::new(sleep::Sleep),
        Arc::new(todo_store::TodoStore::default()),
    ]
}

#[cfg(test)]
mod tests;
