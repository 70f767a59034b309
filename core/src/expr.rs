//! `${...}` templates and `when` conditions.

/// A checked template.
#[derive(Clone, Debug)]
pub struct Template;

/// A checked `when` expression.
#[derive(Clone, Debug)]
pub struct Condition;
