//! What can go wrong when an expression runs.

use crate::limits;

/// Why a template or condition gave no value. The text says which expression and, where a name is
/// undefined, which one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExprError {
    /// A name or a part of a value does not exist.
    #[error("`{expression}`: {what} is undefined")]
    Undefined {
        /// The expression as written.
        expression: Box<str>,
        /// The names that are undefined, and why where that is known.
        what: Box<str>,
    },
    /// The expression ran into an error, such as a division by zero.
    #[error("`{expression}`: {message}")]
    Failed {
        /// The expression as written.
        expression: Box<str>,
        /// What went wrong.
        message: Box<str>,
    },
    /// The expression did not end within its cost limit.
    #[error(
        "`{expression}` costs too much to evaluate (limit {} instructions): make it simpler or give it less data",
        limits::EXPRESSION_FUEL
    )]
    TooCostly {
        /// The expression as written.
        expression: Box<str>,
    },
    /// A condition gave something else than `true` or `false`.
    #[error("`{expression}` must give true or false, and gave {got}: compare it, as in `x > 0`")]
    NotBoolean {
        /// The expression as written.
        expression: Box<str>,
        /// The kind of value that it gave.
        got: Box<str>,
    },
    /// The result is larger than any run may hold.
    #[error(
        "`{expression}`: the result is larger than {} bytes",
        limits::RESOLVED_BYTES
    )]
    TooLarge {
        /// The expression as written.
        expression: Box<str>,
    },
    /// The result nests deeper than a document may.
    #[error(
        "`{expression}`: the result nests deeper than {} levels",
        limits::JSON_DEPTH
    )]
    TooDeep {
        /// The expression as written.
        expression: Box<str>,
    },
}

impl ExprError {
    /// Whether a limit was passed (and not a mistake made).
    pub fn is_limit(&self) -> bool {
        match self {
            Self::TooCostly { .. } | Self::TooLarge { .. } | Self::TooDeep { .. } => true,
            Self::Undefined { .. } | Self::Failed { .. } | Self::NotBoolean { .. } => false,
        }
    }
}
