//! The `sleep` tool: waits. For trying timeouts, cancellation and parallel steps.

use std::time::Duration;

use crane_actors::tool::{CallContext, Tool};
use crane_core::breaker::BreakerPolicy;
use crane_core::limits::LONGEST_SLEEP;
use crane_core::tool::{ToolError, ToolSpec};
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

/// The name plans use.
pub const NAME: &str = "sleep";

/// The `sleep` tool. Dropping the call ends the sleep.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sleep;

impl Tool for Sleep {
    fn spec(&self) -> ToolSpec {
        let longest_call = LONGEST_SLEEP + Duration::from_secs(60);
        ToolSpec {
            timeout: longest_call,
            concurrency: 10_000,
            breaker: BreakerPolicy {
                // To be slow is what it is asked for.
                slow_call: longest_call,
                permit_deadline: longest_call,
                ..BreakerPolicy::default()
            },
            ..ToolSpec::pure(
                NAME,
                "Waits for a number of milliseconds.",
                json!({
                    "type": "object",
                    "properties": {
                        "milliseconds": {
                            "type": "integer",
                            "minimum": 0,
                            "maximum": longest_milliseconds(),
                            "description": "How long to wait, in milliseconds; at most a day."
                        }
                    },
                    "required": ["milliseconds"],
                    "additionalProperties": false
                }),
            )
        }
    }

    fn call(
        &self,
        input: Value,
        _context: CallContext,
    ) -> BoxFuture<'static, Result<Value, ToolError>> {
        Box::pin(async move {
            let milliseconds = milliseconds(&input)?;
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            Ok(json!({ "slept_ms": milliseconds }))
        })
    }
}

fn longest_milliseconds() -> u64 {
    u64::try_from(LONGEST_SLEEP.as_millis()).unwrap_or(u64::MAX)
}

/// A whole number, also when an expression made a float of it, such as `1500.0`.
fn milliseconds(input: &Value) -> Result<u64, ToolError> {
    let longest = longest_milliseconds();
    let given = input.get("milliseconds").unwrap_or(&Value::Null);
    let whole = given.as_u64().or_else(|| {
        let float = given.as_f64()?;
        #[allow(clippy::cast_precision_loss)]
        let fits = float.fract() == 0.0 && (0.0..=longest as f64).contains(&float);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        fits.then_some(float as u64)
    });
    whole.filter(|number| *number <= longest).ok_or_else(|| {
        ToolError::invalid_input(format!(
            "milliseconds is {given}; give a whole number from 0 to {longest}"
        ))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn only_whole_milliseconds_up_to_a_day_are_accepted() {
        for (given, wanted) in [
            (json!(0), Some(0)),
            (json!(1500), Some(1500)),
            (json!(1500.0), Some(1500)),
            (json!(86_400_000), Some(86_400_000)),
            (json!(86_400_001), None),
            (json!(1.5), None),
            (json!(-1), None),
            (json!(-1.0), None),
            (json!(1e300), None),
            (json!("5"), None),
            (json!(null), None),
        ] {
            let result = milliseconds(&json!({ "milliseconds": given }));
            assert_eq!(result.ok(), wanted, "{given}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_sleeps_as_long_as_it_says() {
        let start = tokio::time::Instant::now();
        let context = crate::tests::dry_run();
        let output = Sleep
            .call(json!({"milliseconds": 3_600_000}), context)
            .await;
        assert_eq!(output.unwrap(), json!({"slept_ms": 3_600_000}));
        assert_eq!(start.elapsed().as_secs(), 3600);
    }
}
