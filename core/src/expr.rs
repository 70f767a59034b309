//! `${...}` templates and `when` conditions.
//!
//! ```text
//!   plan JSON ──split──> texts and expressions ──names──> references   (dependencies of the step)
//!                                      │
//!                                      ├─ a plain path ─────> followed through JSON text
//!                                      └─ anything else ────> compiled by the engine (minijinja)
//!   Template + Scope(run) ──resolve──> JSON text
//!   Condition + Scope(run) ──test──> true or false
//! ```
//!
//! Everything is checked and compiled when a plan is loaded; a run only evaluates. Evaluation is
//! pure and bounded: source length, instructions, depth and size of the result each have a limit.

mod arguments;
mod compile;
mod engine;
mod error;
mod expression;
mod guard;
mod names;
mod path;
mod scan;
mod scope;
mod slices;
mod split;
mod template;
mod write;

#[cfg(test)]
mod tests;

pub use error::ExprError;
pub use scope::{Scope, ScopeSource};
pub use template::{Condition, Template};

pub(crate) use compile::{Compiler, Uses};
pub(crate) use names::StepIds;
pub(crate) use path::StepName;

/// Whether `text` is changed when it is resolved: it holds a `${`.
pub(crate) fn is_templated(text: &str) -> bool {
    text.contains("${")
}
