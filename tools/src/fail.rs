//! The `fail` tool: fails as it is told. For trying retries, breakers and restarts.
//!
//! Without `times` each call fails. With `times`, the first so many attempts fail and the next
//! succeeds; attempts are those of the step, or, with `key`, all calls of this node that give
//! that key (counted in memory, so a restart begins anew).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crane_actors::tool::{CallContext, Tool};
use crane_core::limits::FAIL_KEYS;
use crane_core::tool::{ErrorKind, ToolError, ToolSpec};
use futures_util::future::{BoxFuture, FutureExt};
use serde::Deserialize;
use serde_json::{Value, json};

/// The name plans use.
pub const NAME: &str = "fail";

/// The `fail` tool.
#[derive(Debug, Default)]
pub struct Fail {
    /// Calls by key.
    calls: Mutex<HashMap<String, u32>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    message: Option<String>,
    #[serde(default)]
    kind: Kind,
    times: Option<u32>,
    key: Option<String>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    #[default]
    Transient,
    Permanent,
    InvalidInput,
    Timeout,
    Panic,
}

impl Tool for Fail {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            // Whether a call fails depends on the calls before it.
            idempotent: false,
            ..ToolSpec::pure(
                NAME,
                "Fails on purpose, to try out retries and breakers.",
                json!({
                    "type": "object",
                    "properties": {
                        "message": {
                            "type": "string",
                            "description": "The error's message."
                        },
                        "kind": {
                            "enum": ["transient", "permanent", "invalid_input", "timeout", "panic"],
                            "description": "How to fail; transient, timeout and panic are retried. \
                                            Default: transient."
                        },
                        "times": {
                            "type": "integer",
                            "minimum": 0,
                            "maximum": u32::MAX,
                            "description": "Fail the first so many attempts, then succeed. \
                                            Default: fail always."
                        },
                        "key": {
                            "type": "string",
                            "maxLength": 256,
                            "description": "Count all calls with this key on this node, instead \
                                            of the attempts of the step."
                        }
                    },
                    "additionalProperties": false
                }),
            )
        }
    }

    fn call(
        &self,
        input: Value,
        context: CallContext,
    ) -> BoxFuture<'static, Result<Value, ToolError>> {
        let decided = self.decide(input, &context);
        // In the future, so that a panic is one of the call and not of whoever makes the future.
        async move { decided?.carry_out() }.boxed()
    }
}

/// What a call will do.
enum Outcome {
    Succeed { attempts: u32 },
    Fail { kind: Kind, message: String },
}

impl Fail {
    fn decide(&self, input: Value, context: &CallContext) -> Result<Outcome, ToolError> {
        let input: Input = crate::input::read(input)?;
        let attempts = match input.key {
            Some(key) => self.count(key)?,
            None => context.origin.as_ref().map_or(1, |o| o.attempt.0),
        };
        if input.times.is_some_and(|times| attempts > times) {
            return Ok(Outcome::Succeed { attempts });
        }
        Ok(Outcome::Fail {
            kind: input.kind,
            message: input
                .message
                .unwrap_or_else(|| "failed as it was asked to".to_owned()),
        })
    }

    fn count(&self, key: String) -> Result<u32, ToolError> {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        if calls.len() >= FAIL_KEYS && !calls.contains_key(&key) {
            return Err(ToolError::new(
                ErrorKind::Limit,
                format!("{FAIL_KEYS} keys are counted already; use one of them"),
            ));
        }
        let count = calls.entry(key).or_default();
        *count = count.saturating_add(1);
        Ok(*count)
    }
}

impl Outcome {
    fn carry_out(self) -> Result<Value, ToolError> {
        let (kind, message) = match self {
            Self::Succeed { attempts } => return Ok(json!({ "attempts": attempts })),
            Self::Fail { kind, message } => (kind, message),
        };
        let kind = match kind {
            Kind::Transient => ErrorKind::Transient,
            Kind::Permanent => ErrorKind::Permanent,
            Kind::InvalidInput => ErrorKind::InvalidInput,
            Kind::Timeout => ErrorKind::Timeout,
            Kind::Panic => panic!("{message}"),
        };
        Err(ToolError::new(kind, message))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::tests::{attempt, dry_run};

    async fn call(fail: &Fail, input: Value, context: CallContext) -> Result<Value, ToolError> {
        fail.call(input, context).await
    }

    #[tokio::test]
    async fn it_fails_always_with_the_kind_and_message_it_was_given() {
        let fail = Fail::default();
        for (kind, wanted) in [
            ("transient", ErrorKind::Transient),
            ("permanent", ErrorKind::Permanent),
            ("invalid_input", ErrorKind::InvalidInput),
            ("timeout", ErrorKind::Timeout),
        ] {
            let input = json!({"kind": kind, "message": "no luck"});
            let error = call(&fail, input, attempt(9)).await.unwrap_err();
            assert_eq!(error, ToolError::new(wanted, "no luck"));
        }
        let error = call(&fail, json!({}), dry_run()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Transient);
    }

    #[tokio::test]
    async fn it_succeeds_after_so_many_attempts_of_the_step() {
        let fail = Fail::default();
        let input = json!({"times": 2});
        assert!(call(&fail, input.clone(), attempt(1)).await.is_err());
        assert!(call(&fail, input.clone(), attempt(2)).await.is_err());
        let output = call(&fail, input, attempt(3)).await.unwrap();
        assert_eq!(output, json!({"attempts": 3}));
    }

    #[tokio::test]
    async fn with_a_key_it_counts_the_calls_of_the_node() {
        let fail = Fail::default();
        let input = json!({"times": 1, "key": "a"});
        assert!(call(&fail, input.clone(), attempt(7)).await.is_err());
        assert!(
            call(&fail, json!({"times": 1, "key": "b"}), attempt(7))
                .await
                .is_err()
        );
        assert_eq!(
            call(&fail, input, dry_run()).await.unwrap(),
            json!({"attempts": 2})
        );
    }

    #[tokio::test]
    async fn the_number_of_keys_is_bounded() {
        let fail = Fail::default();
        for key in 0..FAIL_KEYS {
            let input = json!({"times": 0, "key": key.to_string()});
            assert!(call(&fail, input, dry_run()).await.is_ok());
        }
        let one_more = call(&fail, json!({"key": "one more"}), dry_run()).await;
        assert_eq!(one_more.unwrap_err().kind, ErrorKind::Limit);
        let known = call(&fail, json!({"times": 0, "key": "0"}), dry_run()).await;
        assert_eq!(known.unwrap(), json!({"attempts": 2}));
    }

    #[tokio::test]
    #[should_panic(expected = "really")]
    async fn a_panic_is_a_panic_of_the_call() {
        let fail = Fail::default();
        let future = fail.call(json!({"kind": "panic", "message": "really"}), dry_run());
        // Making the future is safe; awaiting it panics.
        let _ = future.await;
    }
}
