//! The pure domain of Crane.
//!
//! Here live the plan (a checked DAG of tool calls), the run state machine, and every policy that
//! is arithmetic: retry back-off, restart intensity, the circuit breaker. Nothing here awaits,
//! reads a clock, draws a random number or touches a file: times and seeds are arguments.
//!
//! ```text
//!   Input ──> decide(&Run, Input, now) ──> events + effects      what should happen
//!   Event ──> apply(&mut Run, &Event)                            the fold, the same live and on replay
//!   Run   ──> resume(&Run) ──> effects                           what is owed after a restart
//! ```
//!
//! Architecture Invariant: this crate's manifest names no runtime, clock, random source, file
//! system or environment; a test reads `cargo metadata` and holds it.

pub mod breaker;
pub mod event;
pub mod expr;
pub mod ids;
pub mod json;
pub mod limits;
pub mod placement;
pub mod plan;
pub mod restart;
pub mod retry;
pub mod run;
pub mod time;
pub mod tool;

pub use event::{Event, Record};
pub use ids::{
    Attempt, Epoch, Generation, NodeName, Round, RunId, Seq, ShardId, StepId, StepIndex, ToolName,
};
pub use json::Json;
pub use limits::Limits;
pub use plan::Plan;
pub use run::{Run, RunStatus, StepStatus};
pub use time::Timestamp;
