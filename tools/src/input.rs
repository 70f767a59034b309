//! Reading of tool inputs: a JSON value into a tool's own type, with errors for people.
//!
//! The schema of a tool refuses most mistakes before the tool sees them; what is checked here
//! holds also for callers that have no schema check in front, such as tests.

use crane_core::tool::ToolError;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The input as a `T`, or the caller's mistake in words.
///
/// # Errors
/// [`ErrorKind::InvalidInput`](crane_core::tool::ErrorKind::InvalidInput) when it does not fit.
pub(crate) fn read<T: DeserializeOwned>(input: Value) -> Result<T, ToolError> {
    serde_json::from_value(input)
        .map_err(|error| ToolError::invalid_input(format!("the input does not fit: {error}")))
}
