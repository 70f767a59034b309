//! Tools as text for people, made of the JSON in which they come from either place.

use std::time::Duration;

use crane_core::breaker::Mode;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::cli::failure::Failure;
use crate::output::{self, Table};
use crate::tool_view;

/// A tool, as far as people look at it. Servers of later versions may say more, and less.
#[derive(Debug, Deserialize)]
struct Tool {
    name: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    input_schema: Value,
    #[serde(default)]
    stateful: bool,
    #[serde(default)]
    idempotent: bool,
    timeout_ms: Option<f64>,
    concurrency: Option<u64>,
    rate_limit: Option<u64>,
    breaker: Breaker,
}

#[derive(Debug, Deserialize)]
struct Breaker {
    state: String,
    #[serde(default)]
    mode: String,
    #[serde(default)]
    transitions: Vec<Transition>,
}

#[derive(Debug, Deserialize)]
struct Transition {
    at: String,
    from: String,
    to: String,
    reason: String,
}

/// How a dry run ended.
#[derive(Debug)]
pub(super) struct Tried {
    pub(super) success: bool,
    pub(super) output: Value,
    pub(super) error: Option<String>,
    /// All of it.
    pub(super) json: Box<RawValue>,
}

#[derive(Deserialize)]
struct TriedMembers {
    success: bool,
    #[serde(default)]
    output: Value,
    error: Option<String>,
}

impl Tried {
    /// Reads the JSON of a dry run.
    pub(super) fn read(json: Box<RawValue>) -> Result<Self, Failure> {
        let members: TriedMembers =
            serde_json::from_str(json.get()).map_err(|error| not_understood(&error))?;
        Ok(Self {
            success: members.success,
            output: members.output,
            error: members.error,
            json,
        })
    }
}

fn not_understood(error: &serde_json::Error) -> Failure {
    Failure::failed(format!("the answer is not understood: {error}"))
}

fn read(tool: &RawValue) -> Result<Tool, Failure> {
    serde_json::from_str(tool.get()).map_err(|error| not_understood(&error))
}

/// The names of the tools.
pub(super) fn names(tools: &[Box<RawValue>]) -> Result<Vec<String>, Failure> {
    tools.iter().map(|tool| Ok(read(tool)?.name)).collect()
}

/// Where a tool's breaker stands.
pub(super) fn breaker(tool: &RawValue) -> Result<String, Failure> {
    Ok(read(tool)?.breaker.in_words())
}

/// Several tools, a line each.
pub(super) fn list(tools: &[Box<RawValue>]) -> Result<String, Failure> {
    let mut table = Table::new(["TOOL", "BREAKER", "KIND", "TIMEOUT", "DESCRIPTION"]);
    for tool in tools {
        let tool = read(tool)?;
        table.row([
            tool.name.clone(),
            tool.breaker.in_words(),
            tool.kind(),
            tool.timeout(),
            tool.description,
        ]);
    }
    Ok(table.render())
}

/// One tool, with all that is known of it.
pub(super) fn describe(tool: &RawValue) -> Result<String, Failure> {
    let tool = read(tool)?;
    let mut lines = vec![
        format!("tool         {}", tool.name),
        format!("description  {}", tool.description),
        format!("kind         {}", tool.kind()),
        format!("timeout      {}", tool.timeout()),
    ];
    if let Some(concurrency) = tool.concurrency {
        lines.push(format!("concurrency  {concurrency}"));
    }
    if let Some(rate) = tool.rate_limit {
        lines.push(format!("rate limit   {rate}/s"));
    }
    lines.push(format!("breaker      {}", tool.breaker.in_words()));
    for transition in tool.breaker.transitions.iter().rev() {
        let Transition {
            at,
            from,
            to,
            reason,
        } = transition;
        lines.push(format!("             {at} {from} -> {to}: {reason}"));
    }
    lines.push("input".to_owned());
    let schema = serde_json::to_string_pretty(&tool.input_schema).unwrap_or_default();
    lines.extend(schema.lines().map(|line| format!("  {line}")));
    Ok(lines.join("\n"))
}

impl Tool {
    fn kind(&self) -> String {
        // "Stateless" is said of what is kept here: another try may change something elsewhere.
        let kind = match (self.stateful, self.idempotent) {
            (true, true) => "stateful",
            (true, false) => "stateful, not idempotent",
            (false, true) => "pure",
            (false, false) => "stateless, not idempotent",
        };
        kind.to_owned()
    }

    fn timeout(&self) -> String {
        let seconds = self.timeout_ms.map(|milliseconds| milliseconds / 1_000.0);
        let timeout = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        timeout.map(output::duration).unwrap_or_default()
    }
}

impl Breaker {
    fn in_words(&self) -> String {
        if self.mode == tool_view::mode(Mode::Auto) || self.mode.is_empty() {
            self.state.clone()
        } else {
            format!("{} (forced)", self.state)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    #[test]
    fn what_a_server_leaves_out_is_left_out() {
        let tool = raw(r#"{"name": "x", "description": "does", "input_schema": {},
            "breaker": {"state": "half_open"}}"#);
        assert_eq!(breaker(&tool).unwrap(), "half_open");
        assert!(describe(&tool).unwrap().contains("tool         x"));
        assert!(list(&[tool]).unwrap().contains("half_open"));
        assert!(list(&[raw(r#"{"name": "x"}"#)]).is_err());
        assert!(Tried::read(raw("[]")).is_err());
    }
}
