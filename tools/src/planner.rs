//! Planners: what makes a plan of a prompt.
//!
//! A planner (the port is [`crane_actors::planner::Planner`]) returns a plan in the form in which
//! users write plans; whether it is a good one is checked where all plans are checked. It never
//! runs anything.

pub mod rules;

use crane_core::limits::{CALCULATOR_CHARS, PROMPT_CHARS};
pub use rules::RulesPlanner;

/// Why there is no plan. The texts begin with "Could not parse prompt: ", as users know it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Nothing, or nothing but white space.
    #[error("Could not parse prompt: it is empty")]
    Empty,
    /// More than [`PROMPT_CHARS`].
    #[error("Could not parse prompt: it is longer than {PROMPT_CHARS} characters")]
    TooLong,
    /// A part of the prompt is no command.
    #[error(
        "Could not parse prompt: '{0}' is no known command; try 'calculate (10 + 5) * 2', 'add a \
         todo to buy milk' or 'list my todos'"
    )]
    NotUnderstood(String),
    /// A calculation of nothing.
    #[error("Could not parse prompt: nothing to calculate; give an expression such as 10 + 5")]
    MissingExpression,
    /// A calculation that the calculator would refuse.
    #[error(
        "Could not parse prompt: the expression is longer than {CALCULATOR_CHARS} characters; \
         divide it"
    )]
    ExpressionTooLong,
    /// A todo without a text.
    #[error("Could not parse prompt: the todo has no text; say 'add a todo to buy milk'")]
    MissingText,
    /// A todo to get, complete or delete, without its id.
    #[error("Could not parse prompt: '{0}' needs the id of one todo; 'list todos' shows the ids")]
    MissingId(String),
}
