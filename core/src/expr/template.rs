//! Templates and conditions, ready to be evaluated.

use std::sync::Arc;

use serde_json::Value;

use super::error::ExprError;
use super::expression::Expression;
use super::path::StepName;
use super::scope::Scope;
use super::write::{WriteError, Writer};
use crate::json::Json;

/// A JSON value that may hold `${...}`, compiled.
///
/// The written value is cut into the text that never changes and the expressions between, so that
/// to resolve it is to copy the one and to write the other.
#[derive(Clone, Debug)]
pub struct Template {
    pub(super) body: Body,
    /// The steps that a computed reference (`steps[...]`) may reach; empty when there is none.
    pub(super) visible: Arc<[StepName]>,
}

/// What a template is made of.
#[derive(Clone, Debug)]
pub(super) enum Body {
    /// No expression: the value itself.
    Literal(Json),
    /// Pieces, in order.
    Parts(Arc<[Part]>),
}

/// A piece of a template's JSON text.
#[derive(Debug)]
pub(super) enum Part {
    /// JSON text as it is.
    Literal(Box<str>),
    /// A value, this many levels deep in the result.
    Value(Arc<Expression>, usize),
    /// A value rendered into the string around it.
    Text(Arc<Expression>),
}

impl Template {
    /// The value, when there is nothing to evaluate.
    pub(crate) fn literal(&self) -> Option<&Json> {
        match &self.body {
            Body::Literal(json) => Some(json),
            Body::Parts(_) => None,
        }
    }

    /// The value for a run, as JSON text. A literal template gives the text it keeps, and one that
    /// is all of a document (`${steps.a.output}`) that document, both without a copy.
    ///
    /// # Errors
    /// When a name is undefined, an expression fails, or the result passes a limit.
    pub fn resolve_json(&self, scope: &Scope<'_>) -> Result<Json, ExprError> {
        let parts = match &self.body {
            Body::Literal(json) => return Ok(json.clone()),
            Body::Parts(parts) => parts,
        };
        if let [Part::Value(expression, _)] = &**parts
            && let Some(document) = expression.document(scope)
            && super::path::depth(document.as_str()) <= crate::limits::JSON_DEPTH
        {
            return Ok(document.clone());
        }
        let literals = parts.iter().map(|part| match part {
            Part::Literal(text) => text.len(),
            Part::Value(..) | Part::Text(_) => 16,
        });
        let mut writer = Writer::with_capacity(literals.sum());
        for part in &**parts {
            match part {
                // A plan file is smaller than the largest result; only values can pass the limit.
                Part::Literal(text) => {
                    writer.raw(text).map_err(|error| too_large(parts, &error))?
                }
                Part::Value(expression, depth) => {
                    expression.write(scope, &self.visible, &mut writer, *depth)?;
                }
                Part::Text(expression) => {
                    expression.write_text(scope, &self.visible, &mut writer)?;
                }
            }
        }
        Ok(Json::from_trusted(writer.into_text()))
    }

    /// The value for a run.
    ///
    /// # Errors
    /// As [`Template::resolve_json`].
    pub fn resolve(&self, scope: &Scope<'_>) -> Result<Value, ExprError> {
        self.resolve_json(scope).map(|json| json.to_value())
    }
}

/// The error of a template whose text passed the limit, named after its first expression.
fn too_large(parts: &[Part], error: &WriteError) -> ExprError {
    let first = parts.iter().find_map(|part| match part {
        Part::Literal(_) => None,
        Part::Value(expression, _) | Part::Text(expression) => Some(expression.source()),
    });
    let expression = first.unwrap_or_default().into();
    match error {
        WriteError::TooDeep => ExprError::TooDeep { expression },
        WriteError::TooLarge | WriteError::Undefined | WriteError::Invalid(_) => {
            ExprError::TooLarge { expression }
        }
    }
}

/// A `when` expression, compiled.
#[derive(Clone, Debug)]
pub struct Condition {
    pub(super) test: Test,
    /// The steps that a computed reference (`steps[...]`) may reach; empty when there is none.
    pub(super) visible: Arc<[StepName]>,
}

/// What a condition is.
#[derive(Clone, Debug)]
pub(super) enum Test {
    /// Written as `true` or `false`.
    Always(bool),
    /// An expression.
    Expression(Arc<Expression>),
}

impl Condition {
    /// Whether it holds for a run.
    ///
    /// # Errors
    /// When a name is undefined, the expression fails, or gives anything but a boolean.
    pub fn test(&self, scope: &Scope<'_>) -> Result<bool, ExprError> {
        match &self.test {
            Test::Always(value) => Ok(*value),
            Test::Expression(expression) => expression.test(scope, &self.visible),
        }
    }

    /// The expression as written, without `${` and `}`.
    pub fn source(&self) -> &str {
        match &self.test {
            Test::Always(true) => "true",
            Test::Always(false) => "false",
            Test::Expression(expression) => expression.source(),
        }
    }
}
