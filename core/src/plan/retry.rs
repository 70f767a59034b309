//! The retry policy of a step, from JSON.

use serde_json::{Map, Value};

use super::fields::{duration, must_be, unknown_fields};
use super::findings::{Findings, Place};
use crate::json::kind;
use crate::limits;
use crate::retry::RetryPolicy;

/// The fields of a retry policy.
pub(super) const FIELDS: &[&str] = &["max_attempts", "initial", "factor", "max", "jitter"];

/// The policy: what is written, over the defaults. With `once` an attempt may not be repeated, and
/// `most` is the limit of attempts.
pub(super) fn read(
    written: Option<&Value>,
    once: bool,
    most: u32,
    place: &Place<'_>,
    findings: &mut Findings,
) -> RetryPolicy {
    let mut policy = RetryPolicy::default();
    if once {
        policy.max_attempts = 1;
    }
    let fields = match written {
        None => return policy,
        Some(Value::Object(fields)) => fields,
        Some(other) => {
            findings.add(place, must_be("an object", other));
            return policy;
        }
    };
    unknown_fields(fields, FIELDS, place, findings);
    if let Some(attempts) = attempts(fields, most, place, findings) {
        policy.max_attempts = attempts;
        if once && attempts > 1 {
            findings.add(
                &place.key("max_attempts"),
                "must be 1 with delivery at_most_once: an attempt of unknown outcome is never repeated",
            );
        }
    }
    delays(fields, &mut policy, place, findings);
    if let Some(factor) = factor(fields, place, findings) {
        policy.factor = factor;
    }
    match fields.get("jitter") {
        None => {}
        Some(Value::Bool(jitter)) => policy.jitter = *jitter,
        Some(other) => findings.add(&place.key("jitter"), must_be("true or false", other)),
    }
    policy
}

fn attempts(
    fields: &Map<String, Value>,
    most: u32,
    place: &Place<'_>,
    findings: &mut Findings,
) -> Option<u32> {
    let written = fields.get("max_attempts")?;
    let attempts = written
        .as_u64()
        .and_then(|number| u32::try_from(number).ok())
        .filter(|attempts| (1..=most).contains(attempts));
    if attempts.is_none() {
        findings.add(
            &place.key("max_attempts"),
            format!(
                "must be a whole number from 1 to {most}, and is {}",
                number_or_kind(written)
            ),
        );
    }
    attempts
}

/// `initial` and `max`. Where only one is written, the default of the other gives way.
fn delays(
    fields: &Map<String, Value>,
    policy: &mut RetryPolicy,
    place: &Place<'_>,
    findings: &mut Findings,
) {
    let initial = duration(fields, "initial", place, findings);
    let max = duration(fields, "max", place, findings);
    match (initial, max) {
        (Some(initial), Some(max)) => {
            if initial > max {
                findings.add(
                    &place.key("initial"),
                    "must not be longer than max: no delay is longer than that",
                );
            }
            (policy.initial, policy.max) = (initial, max);
        }
        (Some(initial), None) => {
            policy.initial = initial;
            policy.max = policy.max.max(initial);
        }
        (None, Some(max)) => {
            policy.max = max;
            policy.initial = policy.initial.min(max);
        }
        (None, None) => {}
    }
}

fn factor(fields: &Map<String, Value>, place: &Place<'_>, findings: &mut Findings) -> Option<f64> {
    let written = fields.get("factor")?;
    let factor = written
        .as_f64()
        .filter(|factor| (1.0..=limits::RETRY_FACTOR).contains(factor));
    if factor.is_none() {
        findings.add(
            &place.key("factor"),
            format!(
                "must be a number from 1 to {}, and is {}",
                limits::RETRY_FACTOR,
                number_or_kind(written)
            ),
        );
    }
    factor
}

fn number_or_kind(value: &Value) -> String {
    if value.is_number() {
        value.to_string()
    } else {
        kind(value).to_owned()
    }
}
