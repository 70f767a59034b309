//! The supervision tree of a Crane node.
//!
//! ```text
//!   Runtime (typed handle)
//!      │ messages
//!   NodeSupervisor
//!    |- JournalActor                 watches the store
//!    |- ToolSupervisor
//!    |   `- ToolActor per tool       queue, alarms and durable state of the tool's gate
//!    `- RunShard x n                 slots, timers, restarts, passivation
//!        `- RunActor per active run  one turn = decide, append, apply, effects
//!            `- StepActor per attempt
//! ```
//!
//! What this crate guarantees, beside what the store does:
//! * No effect, reply or published event before its events are durable (lazy events: design).
//! * A panic of a tool, a step, a run or a shard is contained by its supervisor; only a failing
//!   store, or a shard that fails again and again, ends the node.
//! * Any actor's memory can be lost at any await without losing an accepted run.
//! * Shards may come and go ([`Owning::Leased`]): what was started in one epoch of a shard neither
//!   writes nor starts anything in another.
//!
//! Architecture Invariant: no message of this crate is remotable; the cluster's gateway is the
//! only actor other nodes can reach.

pub mod clock;
pub mod follow;
pub mod metrics;
pub mod planner;
pub mod probe;
pub mod registry;
pub mod runtime;
pub mod submit;
pub mod supervision;
pub mod tool;

mod breaker_rows;
mod call;
mod gate;
mod hub;
mod journal;
mod kernel;
mod lease;
mod mailbox;
mod plans;
mod run;
mod shard;
mod step;
mod supervisor;
mod tenure;
mod tool_actor;
mod tool_supervisor;

pub use runtime::{Leased, Options, Owning, Restore, Runtime};

#[cfg(test)]
mod tests;
