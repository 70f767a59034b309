//! What a tool declares about itself and how its calls fail. The trait that runs a tool lives in
//! the actors crate; here is only the data.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::breaker::BreakerPolicy;
use crate::ids::ToolName;
use crate::limits;

/// What a tool says about itself.
#[derive(Clone, Debug)]
pub struct ToolSpec {
    /// Name that plans use.
    pub name: ToolName,
    /// One sentence for people and planners.
    pub description: String,
    /// JSON Schema (2020-12) of the input; enforced before each call.
    pub input_schema: Value,
    /// Whether calls read or change state that outlives them. Steps of one prompt on the same
    /// stateful tool keep their order.
    pub stateful: bool,
    /// Whether repeating a call with the same idempotency key has no further effect.
    pub idempotent: bool,
    /// Longest time of one call; a step may ask for less or more.
    pub timeout: Duration,
    /// Calls that may run at once on a node.
    pub concurrency: usize,
    /// Calls started per second on a node; `None` for no limit.
    pub rate_limit: Option<u32>,
    /// When the tool's circuit breaker opens and closes.
    pub breaker: BreakerPolicy,
}

impl ToolSpec {
    /// A pure, idempotent tool with the default timeout, 256 calls at once and the default breaker.
    pub fn pure(name: &str, description: &str, input_schema: Value) -> Self {
        Self {
            name: ToolName::new(name),
            description: description.to_owned(),
            input_schema,
            stateful: false,
            idempotent: true,
            timeout: limits::STEP_TIMEOUT,
            concurrency: 256,
            rate_limit: None,
            breaker: BreakerPolicy::default(),
        }
    }
}

/// What the domain must know of the tools of a node to check a plan.
pub trait ToolCatalog {
    /// The tool's declaration, `None` when there is no such tool.
    fn spec(&self, tool: &str) -> Option<&ToolSpec>;

    /// The names of all tools, sorted.
    fn names(&self) -> Vec<&str>;

    /// Everything in which `input` misses the tool's schema: a JSON pointer below the input
    /// (empty for the input itself) and a sentence.
    fn check_input(&self, tool: &str, input: &Value) -> Vec<(String, String)>;
}

/// The kinds of failure of a call; they decide over retries and the breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The caller's mistake: never retried, not counted by the breaker.
    InvalidInput,
    /// The tool failed in a way that may pass.
    Transient,
    /// The tool failed in a way that will not pass.
    Permanent,
    /// The call took too long.
    Timeout,
    /// The breaker is open; the tool was not called.
    Unavailable,
    /// The tool panicked.
    Panic,
    /// The call may or may not have had its effect, and must not be repeated by itself.
    OutcomeUnknown,
    /// A template of the step could not be evaluated.
    Expression,
    /// An input or output passed a limit.
    Limit,
    /// The node was stopped in good order while the call was under way. Said by the runtime alone.
    Interrupted,
}

impl ErrorKind {
    /// All kinds.
    pub const ALL: [Self; 10] = [
        Self::InvalidInput,
        Self::Transient,
        Self::Permanent,
        Self::Timeout,
        Self::Unavailable,
        Self::Panic,
        Self::OutcomeUnknown,
        Self::Expression,
        Self::Limit,
        Self::Interrupted,
    ];

    /// The kind as users read it in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidInput => "invalid_input",
            Self::Transient => "transient",
            Self::Permanent => "permanent",
            Self::Timeout => "timeout",
            Self::Unavailable => "tool_unavailable",
            Self::Panic => "panic",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::Expression => "expression",
            Self::Limit => "limit_exceeded",
            Self::Interrupted => "interrupted",
        }
    }

    /// Whether another attempt may follow by itself.
    pub fn is_retryable(self) -> bool {
        match self {
            Self::Transient
            | Self::Timeout
            | Self::Unavailable
            | Self::Panic
            | Self::Interrupted => true,
            Self::InvalidInput
            | Self::Permanent
            | Self::OutcomeUnknown
            | Self::Expression
            | Self::Limit => false,
        }
    }
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolError {
    /// What kind of failure.
    pub kind: ErrorKind,
    /// What went wrong, for people; lower case, no full stop.
    pub message: Arc<str>,
    /// How long to wait at least before another attempt, when the tool said so.
    pub retry_after: Option<Duration>,
}

impl ToolError {
    /// An error without a hint when to try again.
    pub fn new(kind: ErrorKind, message: impl Into<Arc<str>>) -> Self {
        Self {
            kind,
            message: message.into(),
            retry_after: None,
        }
    }

    /// The caller's mistake.
    pub fn invalid_input(message: impl Into<Arc<str>>) -> Self {
        Self::new(ErrorKind::InvalidInput, message)
    }

    /// A failure that may pass.
    pub fn transient(message: impl Into<Arc<str>>) -> Self {
        Self::new(ErrorKind::Transient, message)
    }

    /// A failure that will not pass.
    pub fn permanent(message: impl Into<Arc<str>>) -> Self {
        Self::new(ErrorKind::Permanent, message)
    }
}

impl fmt::Display for ToolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ToolError {}
