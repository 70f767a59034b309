//! The `echo` tool: returns its input. For trying plans, and for measuring everything but a tool.

use std::time::Duration;

use crane_actors::tool::{CallContext, Tool};
use crane_core::tool::{ToolError, ToolSpec};
use futures_util::future::{BoxFuture, FutureExt, ready};
use serde_json::{Value, json};

/// The name plans use.
pub const NAME: &str = "echo";

/// The `echo` tool. Its output is its input, unchanged.
#[derive(Clone, Copy, Debug, Default)]
pub struct Echo;

impl Tool for Echo {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            timeout: Duration::from_secs(5),
            // Never the bottleneck: a call holds its permit for no time at all.
            concurrency: 10_000,
            ..ToolSpec::pure(
                NAME,
                "Returns its input unchanged.",
                json!({
                    "type": "object",
                    "description": "Any object; it comes back as the output."
                }),
            )
        }
    }

    // The context is dropped here and not carried along: the future holds the input alone, and
    // its box is the only allocation.
    fn call(
        &self,
        input: Value,
        _context: CallContext,
    ) -> BoxFuture<'static, Result<Value, ToolError>> {
        ready(Ok(input)).boxed()
    }
}
