//! The one place where a run meets the expressions of its plan.

use super::Run;
use crate::expr::{ExprError, Scope};
use crate::ids::StepIndex;
use crate::json::Json;
use crate::tool::{ErrorKind, ToolError};

/// The resolved input of a step, `None` when its `when` is false.
pub(super) fn step(run: &Run, step: StepIndex) -> Result<Option<Json>, ToolError> {
    let Some(definition) = run.definition(step) else {
        return Err(ToolError::permanent(format!("there is no step {step}")));
    };
    let scope = Scope::new(run);
    if let Some(when) = &definition.when
        && !when.test(&scope).map_err(|error| failure("when", &error))?
    {
        return Ok(None);
    }
    match definition.input.resolve_json(&scope) {
        Ok(input) => Ok(Some(input)),
        Err(error) => Err(failure("input", &error)),
    }
}

/// The plan's own output, `None` when it leaves the result to the last step.
pub(super) fn output(run: &Run) -> Result<Option<Json>, ToolError> {
    let Some(output) = run.plan.as_ref().and_then(|plan| plan.output.as_ref()) else {
        return Ok(None);
    };
    match output.resolve_json(&Scope::new(run)) {
        Ok(output) => Ok(Some(output)),
        Err(error) => Err(failure("output", &error)),
    }
}

fn failure(what: &str, error: &ExprError) -> ToolError {
    let kind = if error.is_limit() {
        ErrorKind::Limit
    } else {
        ErrorKind::Expression
    };
    ToolError::new(kind, format!("{what}: {error}"))
}
